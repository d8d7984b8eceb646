"""Sessions of a gate: so many at a time, each as long as its process lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zrep.core.errors import BusyError
from zrep.core.settings import Settings
from zrep.host import slots

HOLD = "import sys; from zrep.host.slots import take; print(take(sys.argv[1], 2), flush=True); sys.stdin.read()"


def holder(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_one_that_has_ended_leaves_its_place_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "slots"
    running = [holder(path) for _ in range(2)]
    assert sorted(each.stdout.readline() for each in running if each.stdout) == ["1\n", "2\n"]
    assert slots.take(str(path), 2) == 0
    running[0].kill()
    running[0].wait()
    assert slots.take(str(path), 2) in (1, 2)
    running[1].communicate()


def test_a_line_with_other_words_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "SESSIONS", 0)
    with pytest.raises(BusyError, match="0 sessions of this gate already"):
        slots.take_session(Settings(run_directory=str(tmp_path)), ["--receive", "--tree", "tank/a"])
    monkeypatch.setattr(slots, "SESSIONS", 1)
    assert slots.take_session(Settings(run_directory=str(tmp_path)), ["--receive", "--tree", "tank/b"])


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "slots").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        slots.take(str(tmp_path / "slots"), 1)
