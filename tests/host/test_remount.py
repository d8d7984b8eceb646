"""A remount goes to the mount of its dataset by the mount's id, whatever is mounted over it meanwhile."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from zrep.core.errors import RefusedError, ZrepError
from zrep.core.pair import End
from zrep.core.steps import RemountReadOnly, RemountWritable
from zrep.host.machine import Machine
from zrep.host.process import COMMAND_SECONDS, Processes
from zrep.host.remount import remount
from zrep.zfs.commands import Completed
from zrep.zfs.errors import OccupiedError

A = "tank/a"
BUSY = "mount: {}: mount point is busy."
UNKNOWN = "mount: invalid option -- 'c'"


class Recorder(Processes):
    """Says of each command what it is told to, by the words it begins with; keeps what ran and where it led."""

    def __init__(self, said: str = "", begins: tuple[str, ...] = ("mount",)) -> None:
        super().__init__(10.0)
        self.said, self.begins = said, begins
        self.ran: list[tuple[str, ...]] = []
        self.led: list[str] = []

    def run(self, argv: Sequence[str], *, timeout: float = COMMAND_SECONDS, keep: Sequence[int] = ()) -> Completed:
        path = argv[-1]
        self.ran.append(tuple(argv[:-1]))
        self.led.append(os.readlink(path) if path.startswith("/proc/") else path)
        assert path.startswith("/proc/") == bool(keep)
        failed = bool(self.said) and tuple(argv[: len(self.begins)]) == self.begins
        return Completed(tuple(argv), int(failed), "", self.said.format(path) if failed else "")


class OneMount(Machine):
    """A machine on which the directory of the tests is a mount of its own."""

    def __init__(self, runner: Recorder, point: Path, source: str, known: bool = True) -> None:
        super().__init__(runner=runner, name="alpha")
        self._point, self._source, self._known = point, source, known

    def open_mount(self, point: str) -> tuple[int, int] | None:
        return super().open_mount(point) if self._known else None

    def mountinfo(self) -> str:
        here = super().open_mount(str(self._point))
        assert here is not None
        os.close(here[0])
        return f"{here[1]} 1 0:40 / {self._point} rw,nosuid,noatime - zfs {self._source} rw\n"


def carried_out(tmp_path: Path, way: str, runner: Recorder, source: str = A, known: bool = True) -> ZrepError | None:
    step = (RemountReadOnly if way == "ro" else RemountWritable)(End.SOURCE, A, str(tmp_path))
    return remount(step, OneMount(runner, tmp_path, source, known), COMMAND_SECONDS)


@pytest.mark.parametrize("way", ["ro", "rw"])
def test_a_remount_goes_by_an_open_directory_with_the_flags_that_the_mount_has(tmp_path: Path, way: str) -> None:
    runner = Recorder()
    assert carried_out(tmp_path, way, runner) is None
    assert runner.ran == [("mount", "-i", "-c", "-o", f"remount,{way},nosuid,noatime")]
    assert runner.led == [str(tmp_path)]


def test_another_mount_on_the_path_by_then_is_left_alone(tmp_path: Path) -> None:
    runner = Recorder()
    error = carried_out(tmp_path, "ro", runner, source="tank/other")
    assert isinstance(error, RefusedError)
    assert "tank/other" in error.evidence
    assert runner.ran == []


def test_a_writer_is_told_of_by_the_name_of_the_path(tmp_path: Path) -> None:
    runner = Recorder(BUSY)
    error = carried_out(tmp_path, "ro", runner)
    assert isinstance(error, OccupiedError)
    assert str(tmp_path) in error.evidence
    assert "/proc" not in error.line()
    assert len(runner.ran) == 1


@pytest.mark.parametrize("known", [True, False], ids=["mount(8) knows no such path", "nobody tells the id"])
def test_a_remount_goes_by_the_path_where_there_is_no_other_way(tmp_path: Path, known: bool) -> None:
    runner = Recorder(UNKNOWN, ("mount", "-i"))
    assert carried_out(tmp_path, "ro", runner, known=known) is None
    assert (runner.ran[-1], runner.led[-1]) == (("mount", "-o", "remount,ro"), str(tmp_path))
    assert len(runner.ran) == 1 + known
