"""Notes: lost where they could be from others, or would be written where others have put something."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zrep.host import notes

KEY = "zrep :dialled by sync"
NEWS = {"hosts": ["beta"]}
SOMEBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    notes.write(str(tmp_path), KEY, NEWS)
    assert notes.read(str(tmp_path), KEY) == NEWS
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def planted(tmp_path: Path, folder: Path) -> Path:
    """A folder in which somebody has a note, and links in the place of what the next one is written to first; what they
    lead to."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder.mkdir(exist_ok=True)
    (folder / KEY).write_text('{"hosts": ["evil"]}')
    (folder / f"{KEY}.{os.getpid()}").symlink_to(victim)
    return victim


@root_only
def test_a_directory_of_another_user_has_no_notes(tmp_path: Path) -> None:
    """He has put it there before zrep narrowed the one above it, and is still in it."""
    victim = planted(tmp_path, tmp_path / "state")
    os.chown(tmp_path / "state", SOMEBODY, SOMEBODY)
    assert notes.read(str(tmp_path), KEY) == {}
    notes.write(str(tmp_path), KEY, NEWS)
    assert victim.read_text() == "precious"


def test_a_directory_that_others_may_write_has_none(tmp_path: Path) -> None:
    victim = planted(tmp_path, tmp_path / "state")
    (tmp_path / "state").chmod(0o777)
    assert notes.read(str(tmp_path), KEY) == {}
    notes.write(str(tmp_path), KEY, NEWS)
    assert victim.read_text() == "precious"


def test_no_link_is_followed_to_another_directory(tmp_path: Path) -> None:
    victim = planted(tmp_path, tmp_path / "other")
    (tmp_path / "state").symlink_to(tmp_path / "other")
    assert notes.read(str(tmp_path), KEY) == {}
    notes.write(str(tmp_path), KEY, NEWS)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("suffix", ["", ".PID"], ids=["the notes", "what is to replace them"])
def test_no_link_is_followed_in_it(tmp_path: Path, suffix: str) -> None:
    name = KEY + suffix.replace("PID", str(os.getpid()))
    victim = tmp_path / "victim"
    victim.write_text('{"hosts": ["evil"]}')
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / name).symlink_to(victim)
    assert notes.read(str(tmp_path), KEY) == {}
    notes.write(str(tmp_path), KEY, NEWS)
    assert victim.read_text() == '{"hosts": ["evil"]}'
    assert notes.read(str(tmp_path), KEY) == NEWS
