"""Streams that come one after the other through one pipe, with real shells; a program that takes one line of it stands
in for zfs receive."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from zrep.core.names import STREAM_MARK
from zrep.host.locks import Locks
from zrep.host.process import Processes, Progress
from zrep.host.streams import STREAM_END, Admission, in_turn, parts, under_locks
from zrep.zfs.commands import Completed

NAMES = ("tank/a", "tank/b c", "tank/d")
# Reads a line byte by byte, as zfs receive reads its stream and not a byte more; "bad": fails then.
TAKE = ("sh", "-c", 'IFS= read -r line; echo "$1: $line"; [ "$line" != bad ] || { echo no good >&2; exit 3; }', "take")
SHELLS = [name for name in ("dash", "bash", "busybox", "mksh", "ksh", "zsh", "posh") if shutil.which(name)]


@pytest.fixture
def locks(tmp_path: Path) -> Locks:
    held = Locks(str(tmp_path))
    for name in NAMES:
        held.take(name, 0.0)
    return held


def received(locks: Locks, stream: str, *, marked: bool = False, shell: str = "sh") -> subprocess.CompletedProcess[str]:
    admissions = [Admission((*TAKE, name), *locks.grant(name)) for name in NAMES]
    words = under_locks(admissions, marked=marked)
    return run((shell, *(["sh"] if shell == "busybox" else []), *words[1:]), stream)


def run(words: tuple[str, ...], stream: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, input=stream, capture_output=True, text=True, check=False, timeout=20)


def ends(done: subprocess.CompletedProcess[str]) -> list[tuple[int, str] | None]:
    found = parts(Completed((), done.returncode, done.stdout, done.stderr), len(NAMES))
    return [(part.status, part.err.strip()) if part else None for part in found]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("noise", ["", f"Welcome!\n\n{STREAM_MARK}\n"])
def test_each_takes_its_own(locks: Locks, shell: str, noise: str) -> None:
    done = received(locks, f"{noise}one\n two \nthree\n", marked=bool(noise), shell=shell)
    assert done.stdout.splitlines() == ["tank/a: one", "tank/b c:  two ", "tank/d: three"]
    assert ends(done) == [(0, "")] * 3
    for name in NAMES:
        locks.revoke(name, 0.0)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_first_that_fails_is_the_last(locks: Locks, shell: str) -> None:
    done = received(locks, "one\nbad\nthree\n", shell=shell)
    assert ends(done) == [(0, ""), (3, "no good"), None]
    assert done.stdout.splitlines() == ["tank/a: one", "tank/b c: bad"]


def test_one_whose_token_was_taken_back_is_refused_and_so_is_what_comes_after_it(locks: Locks) -> None:
    admissions = [Admission((*TAKE, name), *locks.grant(name)) for name in NAMES]
    locks.revoke(NAMES[1], 0.0)
    locks.drop(NAMES[1])
    done = run(under_locks(admissions, marked=False), "one\ntwo\nthree\n")
    assert ends(done) == [(0, ""), (76, ""), None]


def test_each_lock_is_held_while_its_stream_is_received_and_no_longer(locks: Locks) -> None:
    first, second, third = [locks.grant(name) for name in NAMES]
    tried = ("sh", "-c", 'for f in "$@"; do flock -n "$f" true && echo free || echo held; done', "try")
    look = (*tried, first[0], second[0], third[0])
    done = run(under_locks([Admission(look, *each) for each in (first, second, third)], marked=False))
    assert done.stdout.split() == ["held", "free", "free", "free", "held", "free", "free", "free", "held"]


def test_streams_are_sent_one_after_the_other_until_one_fails() -> None:
    words = in_turn([("echo", "a  b"), ("sh", "-c", "echo c; echo why >&2; exit 4"), ("echo", "d")])
    done = run(words)
    assert (done.stdout, ends(done)) == ("a  b\nc\n", [(0, ""), (4, "why"), None])
    assert in_turn([("zfs", "send", "x")]) == ("zfs", "send", "x")


def test_marks_that_nobody_asked_for_are_of_no_use() -> None:
    done = Completed((), 1, "", f"{STREAM_END}\n" * 9 + "last\n")
    assert [part and (part.status, part.err.strip()) for part in parts(done, 2)] == [(0, ""), (1, "last")]


def test_of_each_its_size_is_known_before_it_moves_and_however_short_it_is() -> None:
    """As zfs send -vP says it first; the second stream takes long enough for a line of how far it is."""
    says = [
        r"printf 'incremental\ta\tb\t624\nsize\t624\n'",
        r"printf 'full\tb\t5\nsize\t5\n10:00:01\t3\tb\n'",
        r"printf 'size\t7\n'",
    ]
    told: list[Progress] = []
    senders = [("sh", "-c", f"{line} >&2") for line in says]
    ends = Processes().pipe(in_turn(senders), ("cat",), progress=told.append)
    assert [end.status for end in ends] == [0, 0]
    assert told == [
        Progress(0, 624, 0, begins=True),
        Progress(0, 5, 1, begins=True),
        Progress(3, 5, 1),
        Progress(0, 7, 2, begins=True),
    ]
