"""Which steps libzfs_core may carry out, and what it may read: what means the same as the command, and nothing else.

tests/lab/test_library.py compares what becomes of them on real OpenZFS."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any, cast

import pytest

from zrep.core.pair import End
from zrep.core.requests import CarryOut
from zrep.core.steps import (
    Bookmark,
    CloseTransactionGroup,
    DestroyBookmark,
    DestroyClone,
    DestroySnapshots,
    Hold,
    InheritProperty,
    Mount,
    Release,
    SetProperties,
    Step,
    TakeRole,
    TakeSnapshot,
)
from zrep.host import library
from zrep.host.library import Library
from zrep.host.local import LocalHost
from zrep.zfs.errors import StuckError

CALLS = (
    "snapshot",
    "hold",
    "release",
    "holds",
    "identify",
    "own",
    "destroy",
    "set",
    "sync",
    "bookmark",
    "destroy_bookmarks",
)


class Calls:
    """Notes what libzfs_core is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., bool]:
        assert name in CALLS

        def call(*arguments: object) -> bool:
            self.asked.append((name, *arguments))
            return True

        return call


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    noted = Calls()
    monkeypatch.setattr(library, "_Calls", lambda: noted)
    return noted


A, B = "tank/a@zrep_000001", "tank/b@zrep_000001"
MARK = ("zrep:sent", "5")
END = End.SOURCE
ROLE = (("zrep:inprogress", "{a=b: c}"), ("zrep:master", "yes"))


@pytest.mark.parametrize(
    ("step", "asked"),
    [
        (TakeSnapshot(END, "k", (A, B)), ("snapshot", (A, B), "k:made", "yes")),
        (Hold(END, "zrep", (A, B)), ("hold", "zrep", (A, B))),
        (Release(END, "zrep", (A,)), ("release", "zrep", (A,))),
        (DestroySnapshots(END, "tank/a", ("x", "y")), ("destroy", ("tank/a@x", "tank/a@y"))),
        (SetProperties(END, (A, B), (MARK,)), ("set", "tank", ["zrep:sent"], ["5"], (A, B))),
        (
            TakeRole(END, "t/a", "", "", ROLE),
            ("set", "t", ["zrep:inprogress", "zrep:master"], ["{a=b: c}", "yes"], ("t/a",)),
        ),
        (CloseTransactionGroup(END, "tank"), ("sync", "tank")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_library_carries_steps_out(calls: Calls, step: Step, asked: tuple[object, ...]) -> None:
    assert Library().carry_out(step, 9)
    assert calls.asked == [asked]


@pytest.mark.parametrize(
    ("batch", "asked"),
    [
        (
            (DestroySnapshots(END, "tank/a", ("x", "y")), DestroySnapshots(END, "tank/b", ("x",))),
            [("destroy", ["tank/a@x", "tank/a@y", "tank/b@x"])],
        ),
        (
            (DestroyBookmark(END, "tank/a#x"), DestroyBookmark(END, "tank/b#x")),
            [("destroy_bookmarks", ["tank/a#x", "tank/b#x"])],
        ),
        ((Bookmark(END, A, "tank/a#x"),), [("bookmark", [Bookmark(END, A, "tank/a#x")])]),
        # Two pools, and two kinds: one by one.
        ((DestroySnapshots(END, "tank/a", ("x",)), DestroySnapshots(END, "other/b", ("x",))), []),
        ((DestroySnapshots(END, "tank/a", ("x",)), DestroyBookmark(END, "tank/a#x")), []),
        ((Hold(END, "zrep", (A,)), Hold(END, "zrep", (B,))), []),
    ],
    ids=["snapshots", "bookmarks", "new bookmarks", "two pools", "two kinds", "holds"],
)
def test_it_carries_out_at_once_what_is_of_one_kind(
    calls: Calls, batch: tuple[Step, ...], asked: list[tuple[object, ...]]
) -> None:
    assert Library().carry_out_together(batch, 9) == bool(asked)
    assert calls.asked == asked


@pytest.mark.parametrize(
    "step",
    [
        SetProperties(END, ("tank/a",), (("readonly", "on"),)),  # no user property
        SetProperties(END, ("tank/a",), (("mountpoint", "/a:b"),)),
        SetProperties(END, ("tank/a",), (MARK, ("readonly", "on"))),
        SetProperties(END, ("tank/a", "other/b"), (MARK,)),  # two pools
        SetProperties(END, ("tank/a",), ()),
        Hold(END, "zrep", ()),
        DestroySnapshots(END, "tank/a", ()),
        DestroyClone(END, "tank/a"),
        InheritProperty(END, ("tank/a",), "zrep:sent"),
        Mount(END, "tank/a"),
    ],
    ids=str,
)
def test_it_leaves_everything_else_to_the_program(calls: Calls, step: Step) -> None:
    assert not Library().carry_out(step, 9)
    assert not calls.asked


def test_the_library_reads_holds_snapshots_and_properties(calls: Calls) -> None:
    library = Library()
    library.read_holds([A, B], 9)
    library.read_snapshots([A, B], 9)
    library.read_own(["zrep:gen", "zrep:master"], ["tank/a", "tank/b"], 9)
    assert calls.asked == [
        ("holds", [A, B]),
        ("identify", "tank", [A, B]),
        ("own", "tank", ["zrep:gen", "zrep:master"], ["tank/a", "tank/b"]),
    ]


def test_it_reads_of_one_pool_at_a_time(calls: Calls) -> None:
    assert Library().read_snapshots([A, "other/b@x"], 9) is None
    assert Library().read_own(["zrep:gen"], ["tank/a", "other/b"], 9) is None
    assert not calls.asked


def test_the_program_runs_where_there_is_no_library_or_nobody_wants_it(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not Library(wanted=False).sync("tank", 9)
    monkeypatch.undo()
    monkeypatch.setattr(library, "_CORE", "libzfs_core.so.none")
    assert not Library().sync("tank", 9)


def test_what_the_kernel_does_not_answer_is_not_waited_for(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    never = Event()
    monkeypatch.setattr(calls, "sync", lambda pool: never.wait(20), raising=False)
    with pytest.raises(StuckError, match="did not answer"):
        Library().sync("tank", 0.05)
    never.set()


def test_a_run_that_is_stopped_begins_nothing_more(calls: Calls, tmp_path: Path) -> None:
    host = LocalHost(directory=str(tmp_path))
    host.stop()
    carried = host.ask(CarryOut((CloseTransactionGroup(END, "tank"),)))
    assert carried.failure
    assert carried.failure.what == "interrupted"
    assert not calls.asked


class Lists:
    """libnvpair, of which nothing is kept."""

    def __getattr__(self, name: str) -> Callable[..., int]:
        return lambda *_: 0


class Core:
    """lzc_snapshot as it ends where somebody's snapshot was made in the same transaction group: done in the next one,
    with EAGAIN left in the list of errors; or not done."""

    def __init__(self, status: int) -> None:
        self._status = status

    def lzc_snapshot(self, names: object, properties: object, errors: Any) -> int:
        errors._obj.value = 1  # a list, in which there is something
        return self._status


@pytest.mark.parametrize(("status", "done"), [(0, True), (11, False)])
def test_a_snapshot_that_the_kernel_took_at_the_second_try_is_done(status: int, done: bool) -> None:
    calls = object.__new__(library._Calls)
    calls._c, calls._pairs, calls._core = ctypes, cast(ctypes.CDLL, Lists()), cast(ctypes.CDLL, Core(status))
    assert calls.snapshot([A], "zrep:made", "yes") is done
