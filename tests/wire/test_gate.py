"""The gate itself: what its words say, and that whatever comes is one refusal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

from tests.host.test_wrapping import BEGIN, END, record, wrapping
from tests.wire import fuzz
from zrep.core.errors import RefusedError, UsageError, ZrepError
from zrep.core.gate_rules import Gate
from zrep.core.pair import End
from zrep.core.requests import CarryOut
from zrep.core.settings import Settings
from zrep.core.steps import DestroySnapshots
from zrep.host.locks import Locks
from zrep.host.streams import RECEIVE_BUSY, RECEIVE_NOT_ADMITTED
from zrep.wire import gate, ssh
from zrep.zfs.stream_words import Receiving, Sending

TREE = Gate(("tank/data",), receive=True)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("--tree tank/data --receive", TREE),
        ("--receive --tree=tank/data", TREE),
        ("--tree tank/a --tree tank/b --send --receive", Gate(("tank/a", "tank/b"), True, True)),
        ("--tree tank/data --receive --keep", Gate(("tank/data",), False, True, True)),
        ("--tree tank/data", None),
        ("--receive", None),
        ("--tree", None),
        ("--tree tank/data --receive --all", None),
        ("--tree tank/data --receive tank/b", None),
        ("", None),
    ],
)
def test_its_words(words: str, found: Gate | None) -> None:
    assert gate.gate_of(words.split()) == found


def test_its_trees_are_names() -> None:
    with pytest.raises(UsageError):
        gate.gate_of(["--tree", "/tank", "--receive"])


def send(*sendings: Sending) -> str:
    return ssh.build(ssh.Sender(sendings))


def receive(*receivings: Receiving, lock: str = "/var/run/zrep/x.receive") -> str:
    return ssh.build(ssh.Receiver(False, tuple(ssh.Admitted(lock, "4711.0123456789abcdef", x) for x in receivings)))


INSIDE = Receiving("tank/data/a")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "no command line of zrep"),
        ("zfs destroy -r tank", "no command line of zrep"),
        (send(Sending("tank/data/a@1")), "it without --send"),
        (receive(Receiving("tank/other")), "anything of 'tank/other'"),
        (receive(INSIDE, Receiving("tank/other")), "such a lock"),
        (receive(Receiving("tank/data/a", (), (("mountpoint", "/etc"),))), "a stream with"),
        (receive(Receiving("tank/data/a", infilter="tee /loot")), "a filter is not one"),
        (receive(INSIDE), "such a lock"),
    ],
)
def test_a_line_that_is_not_admitted_is_refused_and_logged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, says: str
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(gate, "log", lambda client, reason: logged.append(f"{client}: {reason}"))
    environment: Mapping[str, str] = {"SSH_ORIGINAL_COMMAND": line, "SSH_CONNECTION": "10.0.0.1 22 10.0.0.2 22"}
    with pytest.raises(ZrepError) as refused:
        gate.serve(TREE, Settings(run_directory=str(tmp_path)), environment)
    assert says in refused.value.line()
    assert logged == [f"10.0.0.1: {refused.value.line()}"]


@pytest.mark.parametrize("way", [fuzz.through_gate, fuzz.line_through_gate], ids=lambda way: way.__name__)
def test_nothing_outside_is_admitted_whatever_is_sent(way: fuzz.Way) -> None:
    random = Random(5)
    assert sum(way(random) for _ in range(3000))


ZFS = """#!{python}
import os, sys
with open("{ran}", "a") as ran:
    print(*sys.argv[1:], file=ran)
record = b""
while len(record) < 312 and (more := os.read(0, 312 - len(record))):
    record += more
sys.exit(0 if record[0] == 0 and record[8:16] != bytes(8) else 1)
"""


class Behind:
    """zrep gate as sshd starts it, with a zfs that takes a stream of one record, and locks that this process has."""

    def __init__(self, folder: Path) -> None:
        self.ran = folder / "ran"
        (folder / "zfs").write_text(ZFS.format(python=sys.executable, ran=self.ran))
        (folder / "zfs").chmod(0o755)
        self._folder = folder
        self.locks = Locks(settings=Settings(run_directory=str(folder)))

    def admitted(self, name: str) -> ssh.Admitted:
        self.locks.take(name, 0.0)
        override = (("readonly", "on"),)
        return ssh.Admitted(*self.locks.grant(name), Receiving(name, ("mountpoint",), override))

    def run(self, line: ssh.Line, stream: bytes) -> tuple[int, str, list[str]]:
        program = "from zrep.wire.gate import *; from zrep.core.settings import Settings; import sys; "
        program += f"sys.exit(run(gate_of(sys.argv[1:]), Settings(run_directory={str(self._folder)!r}, library=False)))"
        done = subprocess.run(
            [sys.executable, "-c", program, "--tree", "tank/data", "--receive"],
            env={"PATH": f"{self._folder}:/usr/bin:/bin", "SSH_ORIGINAL_COMMAND": ssh.build(line)},
            input=stream,
            capture_output=True,
            check=False,
            timeout=60,
        )
        ran = self.ran.read_text().splitlines() if self.ran.exists() else []
        return done.returncode, done.stderr.decode(), ran


@pytest.fixture
def behind(tmp_path: Path) -> Behind:
    return Behind(tmp_path)


A, B = "tank/data/a", "tank/data/b"
TAKEN = "receive -s -u -o readonly=on"


def test_streams_come_one_after_the_other_out_of_their_wrappings(behind: Behind) -> None:
    streams = tuple(map(behind.admitted, (A, B)))
    sent = b"hello\nzrep-stream\n" + wrapping() + record(BEGIN) + record(END) + record(BEGIN)
    status, said, ran = behind.run(ssh.Receiver(True, streams), sent)
    assert (status, said) == (0, "zrep-stream-end\nzrep-stream-end\n")
    assert ran == [f"{TAKEN} {A}", f"{TAKEN} {B}"]


def test_the_first_that_fails_is_the_last(behind: Behind) -> None:
    streams = tuple(map(behind.admitted, (A, B)))
    two = wrapping() + record(BEGIN) + record(BEGIN) + record(END)
    status, said, ran = behind.run(ssh.Receiver(False, streams), two + record(BEGIN))
    assert (status, ran) == (3, [f"{TAKEN} {A}"])
    assert "more than one in a wrapping" in said


def test_a_token_lets_one_stream_in_and_a_lock_keeps_it_out(behind: Behind) -> None:
    [stream] = map(behind.admitted, (A,))
    behind.locks.revoke(A)
    line = ssh.Receiver(False, (stream,))
    assert behind.run(line, record(BEGIN))[0::2] == (RECEIVE_BUSY, [])
    behind.locks.drop(A)
    assert behind.run(line, record(BEGIN))[0::2] == (RECEIVE_NOT_ADMITTED, [])


def test_many_refusals_are_each_answered_and_not_all_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a sync of hundreds of filesystems, none of which may expire anything, none fails for the number of them."""
    logged: list[str] = []
    monkeypatch.setattr(gate, "log", lambda client, reason: logged.append(reason))
    host = gate.GatedHost(Gate(("tank/data",), receive=True, keep=True), Settings(library=False), "10.0.0.1")
    step = DestroySnapshots(End.TARGET, "tank/data/a", ("zrep_000001",))
    for _ in range(3 * gate.REFUSALS):
        with pytest.raises(RefusedError, match="this side keeps it"):
            host.ask(CarryOut((step,)))
    assert len(logged) == gate.REFUSALS
