"""Whom a file could be from: its owner, its mode, and those of what is above it and what it is a link to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zrep.core.settings import Settings
from zrep.host.local import LocalHost
from zrep.host.trust import others_may_write

SOMEBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "etc"
    folder.mkdir()
    path = folder / "filters"
    path.write_text("# mine\n\nzstd -3\n zstd -d \n")
    return path


def test_what_root_alone_may_write_is_trusted(file: Path) -> None:
    assert others_may_write(str(file)) == ""
    assert others_may_write(str(file.parent / "none")) == ""


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_may_write_is_named(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert others_may_write(str(file)) == f"{file} has mode {mode:o}: others may write to it"


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_a_directory_that_others_may_write_is_named(file: Path, mode: int) -> None:
    file.parent.chmod(mode)
    assert others_may_write(str(file)) == f"{file.parent} has mode {mode:o}: others may write to it"
    assert others_may_write(str(file.parent / "none"))


def test_a_directory_with_the_sticky_bit_is_trusted(file: Path) -> None:
    file.parent.chmod(0o1777)
    assert others_may_write(str(file)) == ""


@root_only
@pytest.mark.parametrize("name", ["filters", ""])
def test_what_somebody_else_owns_is_named(file: Path, name: str) -> None:
    path = file.parent / name
    os.chown(path, SOMEBODY, -1)
    assert others_may_write(str(file)) == f"{path} belongs to the user {SOMEBODY}"


@root_only
def test_a_link_of_somebody_and_one_to_what_others_write(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    assert others_may_write(str(link)) == ""
    file.chmod(0o666)
    assert others_may_write(str(link)) == f"{file} has mode 666: others may write to it"
    file.chmod(0o600)
    os.lchown(link, SOMEBODY, -1)
    assert others_may_write(str(link)) == f"{link} belongs to the user {SOMEBODY}"


@root_only
@pytest.mark.parametrize("below", [False, True])
def test_a_link_of_somebody_on_the_way(file: Path, tmp_path: Path, below: bool) -> None:
    """He decides where it leads, from one moment to the next."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "his").symlink_to(file.parent if below else file)
    os.chown(home, SOMEBODY, -1)
    link = tmp_path / "link"
    link.symlink_to(home / "his" / file.name if below else home / "his")
    assert others_may_write(str(link)) == f"{home} belongs to the user {SOMEBODY}"
    assert others_may_write(str(link / "none")) == f"{home} belongs to the user {SOMEBODY}"


def test_links_that_lead_nowhere_end(tmp_path: Path) -> None:
    for name, target in (("a", "b"), ("b", "a"), ("c", "../" * 50 + "x"), ("d", "d/d")):
        (tmp_path / name).symlink_to(target)
        assert others_may_write(str(tmp_path / name)) == ""


def test_filters_are_the_lines_of_a_file_that_only_root_may_write(file: Path) -> None:
    host = LocalHost(Settings(filters=str(file), allowed=("gzip",)))
    assert host.allowed_filters() == ("gzip", "zstd -3", "zstd -d")
    file.chmod(0o666)
    assert host.allowed_filters() == ("gzip",)
