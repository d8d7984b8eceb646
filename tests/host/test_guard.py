"""Streams that come from another host go past a guard in this process: it looks at them, and has zfs receive them."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.host.test_wrapping import END, increment, record, wrapping
from zrep.core.errors import FailedError
from zrep.core.incoming import Incoming, Wanted
from zrep.core.names import STREAM_MARK
from zrep.core.pair import End
from zrep.core.steps import SendStream
from zrep.host.guard import Guard
from zrep.host.locks import Locks
from zrep.host.process import Processes
from zrep.host.streams import RECEIVE_BUSY, RECEIVE_NOT_ADMITTED, RECEIVE_UNWANTED, STREAM_END
from zrep.zfs.commands import Completed

A, B = "tank/a", "tank/b"
# Takes a stream of one record, and not a byte more.
ZFS = """#!/bin/sh
echo "$*" >> {ran}
dd bs=312 count=1 iflag=fullblock of=/dev/null 2> /dev/null
case "$*" in *bad) echo no good >&2; exit 3 ;; esac
"""
MARK = f"login says\n\n{STREAM_MARK}\n".encode()
FIRST = increment(0, 1, name="there/a@one")
GIVEN = (("readonly", "on"), ("canmount", "noauto"))


class Guarded:
    """Locks that this process has, and a zfs that says what it was called for."""

    def __init__(self, folder: Path) -> None:
        self.locks = Locks(str(folder))
        self._folder = folder
        self._ran = folder / "ran"
        (folder / "zfs").write_text(ZFS.format(ran=self._ran))
        (folder / "zfs").chmod(0o755)

    def incoming(self, target: str, wanted: Wanted, **step: object) -> Incoming:
        self.locks.take(target, 0.0)
        asked = SendStream(End.SOURCE, "there/a@one", target, override=GIVEN)
        return Incoming(replace(asked, **step), wanted, *self.locks.grant(target))

    def take(self, stream: bytes, *incoming: Incoming) -> Completed:
        sent = self._folder / "stream"
        sent.write_bytes(stream)
        return Processes().pipe(("cat", str(sent)), Guard(incoming))[1]

    @property
    def ran(self) -> list[str]:
        return self._ran.read_text().splitlines() if self._ran.exists() else []


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guarded:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Guarded(tmp_path)


TAKEN = "receive -s -u -o readonly=on -o canmount=noauto"


def test_streams_come_one_after_the_other_out_of_their_wrappings(guarded: Guarded) -> None:
    two = guarded.incoming(A, Wanted("one", 1)), guarded.incoming(B, Wanted("two", 3, 2))
    stream = MARK + wrapping() + FIRST + record(END) + increment(2, 3, name="there/b@two")
    done = guarded.take(stream, *two)
    assert (done.status, done.err, guarded.ran) == (0, f"{STREAM_END}\n" * 2, [f"{TAKEN} {A}", f"{TAKEN} {B}"])
    for name in (A, B):
        guarded.locks.revoke(name, 0.0)


def test_streams_on_the_way_to_a_snapshot_come_each_on_top_of_the_other(guarded: Guarded) -> None:
    asked = guarded.incoming(A, Wanted("one", 4, 2, between=True))
    stream = wrapping() + increment(2, 3, name="x@daily") + increment(3, 4, name="x@one") + record(END)
    done = guarded.take(MARK + stream, asked)
    assert (done.status, guarded.ran) == (0, [f"{TAKEN} {A}", f"receive -s -u {A}"])


def test_what_passes_through_a_program_is_looked_at_behind_it(guarded: Guarded) -> None:
    asked = guarded.incoming(A, Wanted("one", 1), infilter="tail -c +4")
    done = guarded.take(MARK + b"zzz" + FIRST, asked)
    assert (done.status, guarded.ran) == (0, [f"{TAKEN} {A}"])


@pytest.mark.parametrize(
    ("stream", "status", "said"),
    [
        (increment(0, 2, name="there/a@one"), RECEIVE_UNWANTED, "it brings the guid 2, 1 was asked for"),
        (b"#!/bin/sh\n" * 40, RECEIVE_UNWANTED, "what was sent is no stream"),
        (wrapping() + wrapping() + FIRST, RECEIVE_UNWANTED, "a wrapping in a wrapping"),
        (b"", 1, "invalid stream"),
        (FIRST[:-1], 1, "invalid stream"),
        (wrapping()[:-1], 1, "invalid stream"),
    ],
)
def test_what_was_not_asked_for_is_not_received(guarded: Guarded, stream: bytes, status: int, said: str) -> None:
    done = guarded.take(MARK + stream, guarded.incoming(A, Wanted("one", 1)))
    assert (done.status, said in done.err, guarded.ran) == (status, True, []), done


def test_nothing_is_received_after_the_stream_that_was_asked_for(guarded: Guarded) -> None:
    two = guarded.incoming(A, Wanted("one", 1)), guarded.incoming(B, Wanted("one", 1))
    done = guarded.take(MARK + wrapping() + FIRST + increment(0, 666) + record(END) + FIRST, *two)
    assert (done.status, done.err, guarded.ran) == (RECEIVE_UNWANTED, "more than one stream came\n", [f"{TAKEN} {A}"])


def test_what_ends_before_the_snapshot_that_was_asked_for_is_not_all(guarded: Guarded) -> None:
    """The last stream of those on the way may be missing: the run must not take it for there."""
    asked = guarded.incoming(A, Wanted("one", 4, 2, between=True))
    done = guarded.take(MARK + wrapping() + increment(2, 3, name="x@daily") + record(END), asked)
    assert (done.status, done.err) == (RECEIVE_UNWANTED, "it ended before that\n")


def test_nothing_arrives_with_a_property_that_zrep_gives_none(guarded: Guarded) -> None:
    asked = guarded.incoming(A, Wanted("one", 1), override=(*GIVEN, ("com.sun:x", "y")))
    done = guarded.take(MARK + FIRST, asked)
    assert (done.status, done.err, guarded.ran) == (RECEIVE_UNWANTED, "it would get com.sun:x\n", [])


def test_a_token_of_a_process_that_has_ended_lets_nothing_in(guarded: Guarded) -> None:
    """As after a crash: what is written in the file stays there."""
    asked = guarded.incoming(A, Wanted("one", 1))
    with subprocess.Popen(("true",)) as ended:
        pass
    left = replace(asked, token=f"{ended.pid}.0123456789abcdef")
    Path(asked.lock).write_text(f"{left.token}\n")
    done = guarded.take(MARK + FIRST, left)
    assert (done.status, guarded.ran) == (RECEIVE_NOT_ADMITTED, [])


@pytest.mark.parametrize("noise", [b"x" * 70_000 + b"\n", b"\n" * 70_000], ids=["one line", "many"])
def test_what_comes_before_a_stream_has_a_bound(guarded: Guarded, noise: bytes) -> None:
    done = guarded.take(noise + MARK + FIRST, guarded.incoming(A, Wanted("one", 1)))
    assert (done.status, "no beginning" in done.err, guarded.ran) == (1, True, [])


def test_the_first_that_fails_is_the_last(guarded: Guarded) -> None:
    two = guarded.incoming("tank/bad", Wanted("one", 1)), guarded.incoming(B, Wanted("one", 1))
    done = guarded.take(MARK + FIRST + FIRST, *two)
    assert (done.status, done.err, guarded.ran) == (3, "no good\n", [f"{TAKEN} tank/bad"])


def test_a_token_lets_one_stream_in_and_a_lock_keeps_it_out(guarded: Guarded) -> None:
    asked = guarded.incoming(A, Wanted("one", 1))
    guarded.locks.revoke(A, 0.0)
    assert guarded.take(MARK + FIRST, asked).status == RECEIVE_BUSY
    guarded.locks.drop(A)
    assert guarded.take(MARK + FIRST, asked).status == RECEIVE_NOT_ADMITTED
    assert guarded.ran == []


def test_one_that_never_begins_is_given_up(guarded: Guarded) -> None:
    asked = guarded.incoming(A, Wanted("one", 1))
    with pytest.raises(FailedError, match="stopped moving"):
        Processes(stall=0.5).pipe(("sleep", "60"), Guard([asked]))
    guarded.locks.revoke(A, 0.0)


def test_it_ends_when_it_is_told_to_although_nobody_has_closed_the_pipe(guarded: Guarded) -> None:
    asked = guarded.incoming(A, Wanted("one", 1))
    with subprocess.Popen(("sh", "-c", f"echo {STREAM_MARK}; sleep 60"), stdout=subprocess.PIPE) as sender:
        assert sender.stdout is not None
        taking = Guard([asked]).begin(sender.stdout, subprocess.Popen, ())
        threading.Timer(0.1, taking.terminate).start()
        assert taking.wait(30) == 1
        sender.kill()
