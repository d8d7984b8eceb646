"""Which commands libzfs_core may carry out: those whose meaning is the same, and nothing else.

tests/lab/test_library.py compares what becomes of them on real OpenZFS."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import pytest

from zrep.core.pair import End
from zrep.core.steps import DestroySnapshots, Hold, Release, SetProperties, TakeRole, TakeSnapshot
from zrep.host import library
from zrep.host.library import Library
from zrep.host.process import Processes
from zrep.zfs import commands

CALLS = ("snapshot", "hold", "release", "holds", "identify", "own", "destroy", "set", "settle")


class Calls:
    """Notes what libzfs_core is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., str]:
        assert name in CALLS

        def call(*arguments: object) -> str:
            self.asked.append((name, *arguments))
            return ""

        return call


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    noted = Calls()
    monkeypatch.delenv("ZREP_LIBRARY", raising=False)
    monkeypatch.setattr(library, "_Calls", lambda: noted)
    return noted


A, B = "tank/a@zrep_000001", "tank/b@zrep_000001"
MARK = ("zrep:sent", "5")


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (commands.command(TakeSnapshot(End.SOURCE, (A, B))), ("snapshot", [A, B])),
        (commands.command(Hold(End.SOURCE, "zrep", (A, B))), ("hold", "zrep", [A, B])),
        (commands.command(Release(End.SOURCE, "zrep", (A,))), ("release", "zrep", [A])),
        (commands.list_holds([A, B]), ("holds", [A, B])),
        (commands.get_snapshots([A, B]), ("identify", "tank", [A, B])),
        (
            commands.get_standing("zrep", ["tank/a", "tank/b"]),
            ("own", "tank", ["zrep:gen", "zrep:master"], ["tank/a", "tank/b"]),
        ),
        (commands.command(DestroySnapshots(End.SOURCE, "tank/a", ("x", "y"))), ("destroy", ["tank/a@x", "tank/a@y"])),
        (commands.command(SetProperties(End.SOURCE, (A, B), (MARK,))), ("set", "tank", ["zrep:sent"], ["5"], [A, B])),
        (
            commands.command(
                TakeRole(End.SOURCE, "t/a", "", "", (("zrep:inprogress", "{a=b: c}"), ("zrep:master", "yes")))
            ),
            ("set", "t", ["zrep:inprogress", "zrep:master"], ["{a=b: c}", "yes"], ["t/a"]),
        ),
        (("zpool", "sync", "tank"), ("settle", "tank")),
    ],
)
def test_it_carries_out(calls: Calls, words: tuple[str, ...], asked: tuple[object, ...]) -> None:
    assert Library().carry_out(words, 9) == ""
    assert calls.asked == [asked]


@pytest.mark.parametrize(
    "words",
    [
        ("zfs", "set", "readonly=on", "tank/a"),  # no user property
        ("zfs", "set", "mountpoint=/a:b", "tank/a"),
        ("zfs", "set", "zrep:a=1", "readonly=on", "tank/a"),
        ("zfs", "set", "zrep:a=1", "tank/a", "other/b"),  # two pools
        ("zfs", "set", "-u", "zrep:a=1", "tank/a"),
        ("zfs", "hold", "-r", "zrep", A),
        ("zfs", "hold", "zrep"),
        ("zfs", "snapshot", "-r", "tank@x"),
        ("zfs", "destroy", "tank/a"),
        ("zfs", "destroy", "-r", "tank/a"),
        ("zfs", "destroy", "-r", A),
        ("zfs", "destroy", "tank/a@x%y"),
        ("zfs", "holds", "-r", A),
        ("zfs", "list", "tank/a"),
        commands.get_snapshots([A, "other/b@x"]),
        ("zpool", "sync"),
    ],
)
def test_it_leaves_everything_else_to_the_program(calls: Calls, words: tuple[str, ...]) -> None:
    assert Library().carry_out(words, 9) is None
    assert not calls.asked


def test_the_program_runs_where_there_is_no_library_or_nobody_wants_it(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZREP_LIBRARY", "no")
    assert Library().carry_out(("zpool", "sync", "tank"), 9) is None
    monkeypatch.undo()
    monkeypatch.setattr(library, "_CORE", "libzfs_core.so.none")
    assert Library().carry_out(("zpool", "sync", "tank"), 9) is None


def test_what_the_kernel_does_not_answer_is_not_waited_for(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    never = Event()
    monkeypatch.setattr(calls, "settle", lambda pool: never.wait(20) and "", raising=False)
    assert Library().carry_out(("zpool", "sync", "tank"), 0.05) is None
    never.set()


def test_a_run_that_is_stopped_begins_nothing_more(calls: Calls) -> None:
    runner = Processes()
    runner.stop()
    with pytest.raises(Exception, match="interrupted"):
        runner.run(("zpool", "sync", "tank"))
    assert not calls.asked
