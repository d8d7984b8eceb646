"""The gate itself: what its words say, and that whatever comes is one refusal."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from tests.host.test_wrapping import BEGIN, END, VOLUME, increment, record, wrapping
from tests.wire import fuzz
from tests.zfs import tokens
from zrep.core.dataset import Value
from zrep.core.errors import RefusedError, UsageError, ZrepError
from zrep.core.gate import Gate
from zrep.core.incoming import Beginning
from zrep.core.pair import End
from zrep.core.requests import CarryOut, Dial, FindUnmakable, Identify, Lock, ReadTags, Recall, Remember
from zrep.core.settings import Settings
from zrep.core.steps import DestroySnapshots
from zrep.host import exact, room
from zrep.host.guard import NO_STREAM
from zrep.host.local import LocalHost
from zrep.host.locks import Locks
from zrep.host.streams import RECEIVE_BUSY, RECEIVE_NOT_ADMITTED
from zrep.wire import gate, ssh
from zrep.wire.line import helper
from zrep.wire.messages import Ask
from zrep.wire.server import Server
from zrep.zfs import commands, resume_token
from zrep.zfs.commands import Completed
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
def test_the_words_of_a_gate(words: str, found: Gate | None) -> None:
    assert gate.gate_of(words.split()) == found


def test_the_trees_of_a_gate_are_names() -> None:
    with pytest.raises(UsageError):
        gate.gate_of(["--tree", "/tank", "--receive"])


def send(*sendings: Sending) -> str:
    return ssh.build(ssh.Sender(sendings))


def receive(*receivings: Receiving, lock: str = "/var/run/zrep/x.receive") -> str:
    return ssh.build(ssh.Receiver(False, tuple(ssh.Admitted(lock, "4711.0123456789abcdef", x) for x in receivings)))


INSIDE = Receiving("tank/data/a")
LINE = 'on beta, if its peer may do that: in the authorized_keys of root: restrict,command="zrep gate'
SENDS = Gate(("tank/data",), send=True)


@pytest.mark.parametrize(
    ("resumed", "says"),
    [
        (tokens.token(toguid=7, toname="tank/data/a@1"), ""),
        (tokens.token(toguid=8, toname="tank/data/a@1"), "of no snapshot here (tank/data/a@1)"),
        (tokens.token(toguid=7, toname="tank/other@1"), "anything of 'tank/other@1'"),
        (tokens.token(toguid=7, toname="tank/data/a@1\n\trawok = 1"), "no resume token"),
        ("1-ab", "no resume token"),
    ],
)
def test_a_resume_token_is_of_what_is_in_the_trees_by_its_guid(
    monkeypatch: pytest.MonkeyPatch, resumed: str, says: str
) -> None:
    """By guid alone, and in the whole pool, zfs looks for what it sends."""
    monkeypatch.setattr(
        LocalHost, "output", lambda self, argv: "7\ttank/data/a@1\n" if argv == commands.list_guids("tank/data") else ""
    )
    host = gate.GatedHost(SENDS, Settings(library=False), "10.0.0.1")
    said = ""
    try:
        gate._check_token(SENDS, host, resumed)
    except RefusedError as error:
        said = error.line()
    assert (bool(said), says in said) == (bool(says), True)


NAMED = "7\ttank/data/a@1\n"


@pytest.mark.parametrize(
    ("then", "held", "refused"),
    [
        (NAMED, True, False),
        (NAMED, False, True),
        ("8\ttank/data/a@1\n7\ttank/data/b@1\n", True, True),
        (NAMED, None, False),
    ],
    ids=["held", "not held", "its name has come to mean another", "no library"],
)
def test_what_a_resume_token_is_of_is_held_before_zfs_looks(
    monkeypatch: pytest.MonkeyPatch, then: str, held: bool | None, refused: bool
) -> None:
    looks, asked = [NAMED, then], list[str]()
    monkeypatch.setattr(LocalHost, "output", lambda self, argv: looks.pop(0))
    host = gate.GatedHost(SENDS, Settings(library=False), "10.0.0.1")

    def hold(tag: str, snapshot: str, seconds: float) -> bool | None:
        asked.append(snapshot)
        return held

    monkeypatch.setattr(host.library, "hold_for_this_process", hold)
    said = ""
    try:
        gate._keep_named(SENDS, host, resume_token.read(tokens.token(toguid=7, toname="tank/data/a@1")))
    except RefusedError as error:
        said = error.line()
    assert asked == ["tank/data/a@1"]
    assert (bool(said), "cannot be held here (tank/data/a@1)" in said) == (refused, refused)


@pytest.mark.parametrize(
    ("sending", "says"),
    [
        (Sending("tank/data/a@1"), ""),
        (Sending("tank/data/a@1", outfilter="tee /root/loot"), "a filter is not one that root of"),
        (Sending("tank/data/a@1", outfilter="squeeze"), ""),
        (Sending("tank/data/a@1", base="tank/other@1"), "anything of 'tank/other@1'"),
        (Sending("tank/data/a@1", options=("-R",)), "zfs send -R"),
        (Sending("tank/data/key@1"), "an encrypted dataset other than raw"),
        (Sending("tank/data/key@1", options=("-w",)), ""),
        (Sending(token=tokens.token(toguid=7, toname="tank/data/a@1")), "cannot be held here"),
        (Sending(token=tokens.token(toguid=8, toname="tank/data/a@1")), "of no snapshot here"),
    ],
)
def test_what_leaves_is_looked_at_before_zfs_is_started(
    monkeypatch: pytest.MonkeyPatch, sending: Sending, says: str
) -> None:
    def output(self: LocalHost, argv: commands.Argv) -> str:
        if argv == commands.list_guids("tank/data"):
            return NAMED
        return "aes-256-gcm\n" if "tank/data/key@1" in argv else "off\n"

    monkeypatch.setattr(LocalHost, "output", output)
    host = gate.GatedHost(SENDS, Settings(library=False, allowed=("squeeze",)), "10.0.0.1")
    monkeypatch.setattr(host.library, "hold_for_this_process", lambda tag, snapshot, seconds: False)
    said = ""
    try:
        gate._check_send(SENDS, host, sending)
    except RefusedError as error:
        said = error.line()
    assert (bool(said), says in said) == (bool(says), True), said


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "no command line of zrep"),
        ("zfs destroy -r tank", "no command line of zrep"),
        (send(Sending("tank/data/a@1")), f'it without --send; next: {LINE} --tree tank/data --send --receive"'),
        (
            receive(Receiving("tank/other")),
            f"anything of 'tank/other'; next: {LINE} --tree tank/data --tree tank/other --receive\"",
        ),
        (receive(INSIDE, Receiving("tank/other")), "such a lock"),
        (receive(Receiving("tank/data/a", (), (("mountpoint", "/etc"),))), "a stream with"),
        (receive(Receiving("tank/data/a", infilter="tee /loot")), "a filter is not one"),
        (receive(INSIDE), "; next: do it on beta itself"),
    ],
)
def test_a_line_that_is_not_admitted_is_refused_and_logged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, says: str
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(gate, "log", lambda client, reason: logged.append(f"{client}: {reason}"))
    environment: Mapping[str, str] = {"SSH_ORIGINAL_COMMAND": line, "SSH_CONNECTION": "10.0.0.1 22 10.0.0.2 22"}
    with pytest.raises(ZrepError) as refused:
        gate.serve(TREE, Settings(run_directory=str(tmp_path), host="beta"), environment)
    assert says in refused.value.line()
    assert logged == [f"10.0.0.1: {refused.value.line()}"]


@pytest.mark.parametrize(
    "way", [fuzz.through_gate, fuzz.line_through_gate, fuzz.role_behind_gate], ids=lambda way: way.__name__
)
def test_nothing_outside_is_admitted_whatever_is_sent(way: fuzz.Way) -> None:
    random = Random(5)
    assert sum(way(random) for _ in range(3000))


ZFS = """#!{python}
import os, sys
with open("{ran}", "a") as ran:
    print(*sys.argv[1:], file=ran)
if sys.argv[1] == "get":
    sys.exit(0)
if sys.argv[1] == "list":
    print("7\\ttank/data/x@1", "4711\\ttank/data/copies/x@2", "4711\\ttank/data/x@2", sep="\\n")
    sys.exit(0)
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
QUIET = "-o canmount=noauto"


def test_streams_come_one_after_the_other_out_of_their_wrappings(behind: Behind) -> None:
    streams = tuple(map(behind.admitted, (A, B)))
    sent = b"hello\nzrep-stream\n" + wrapping() + record(BEGIN) + record(END) + record(BEGIN)
    status, said, ran = behind.run(ssh.Receiver(True, streams), sent)
    assert (status, said) == (0, "zrep-stream-end\nzrep-stream-end\n")
    assert ran == [f"{TAKEN} {A}", f"{TAKEN} {B}"]


def test_the_first_that_fails_is_the_last(behind: Behind) -> None:
    streams = tuple(map(behind.admitted, (A, B)))
    two = wrapping() + increment(1, 2) + increment(7, 8) + record(END)
    status, said, ran = behind.run(ssh.Receiver(False, streams), two + record(BEGIN))
    assert (status, ran) == (3, [f"{TAKEN} {A}"])
    assert "more than one in a wrapping" in said


@pytest.mark.parametrize("sent", [b"", b"hello\n", b"hello\nzrep-stream\n", b"zrep-stream\n" + record(BEGIN)[:100]])
def test_one_that_never_began_is_told_as_zfs_tells_it(behind: Behind, sent: bytes) -> None:
    """And not as a refusal: why it did not begin is known at the other end."""
    status, said, ran = behind.run(ssh.Receiver(True, (behind.admitted(A),)), sent)
    assert (status, said, ran) == (1, f"{NO_STREAM}\n", [])


def test_streams_on_the_way_to_a_snapshot_come_each_on_top_of_the_other(behind: Behind) -> None:
    """As --all-snapshots has them; of a pair that is still to be made here."""
    two = wrapping() + increment(1, 2) + increment(2, 3) + record(END) + record(BEGIN)
    status, _, ran = behind.run(ssh.Receiver(False, tuple(map(behind.admitted, (A, B)))), two)
    assert (status, [words for words in ran if "receive" in words]) == (0, [f"{TAKEN} {A}"] * 2 + [f"{TAKEN} {B}"])


def on(name: str, source: str = "local") -> dict[str, Value]:
    return {name: Value("on", source)}


@pytest.mark.parametrize(
    ("own", "marks", "admitted"),
    [
        ({}, {}, True),
        ({A: ["com.sun:auto-snapshot"]}, {}, True),
        ({A: ["zrep:src-fs"]}, {A: on("zrep:allsnaps")}, True),
        ({"tank/data": ["zrep:src-fs"]}, {"tank/data": on("zrep:allsnaps")}, True),
        ({A: ["zrep:src-fs", "offsite:src-fs"]}, {A: on("offsite:allsnaps")}, True),
        ({A: ["zrep:src-fs"]}, {A: {"zrep:allsnaps": Value("off", "local")}}, False),
        ({A: ["zrep:src-fs"]}, {A: on("zrep:allsnaps", "received")}, False),
        ({A: ["zrep:src-fs"]}, {A: {"zrep:allsnaps": Value("-", "-")}}, False),
    ],
)
def test_streams_on_the_way_come_only_where_the_pair_says_so(
    monkeypatch: pytest.MonkeyPatch,
    own: dict[str, list[str]],
    marks: dict[str, dict[str, Value]],
    admitted: bool,
) -> None:
    monkeypatch.setattr(exact, "own_names", lambda host, names, sources: {n: own[n] for n in names if n in own})
    monkeypatch.setattr(exact, "properties", lambda host, names, datasets: {n: marks[n] for n in datasets})
    said = ""
    try:
        gate._check_several(TREE, LocalHost(Settings(library=False)), A)
    except RefusedError as error:
        said = error.line()
    assert (said == "") is admitted
    assert admitted or f": zrep changeconfig --all-snapshots {A}" in said


@pytest.mark.parametrize(
    ("stream", "taken"),
    [
        (increment(4711, clone=True), f"{TAKEN} {QUIET} -o origin=tank/data/copies/x@2 tank/data/copies/a"),
        (increment(471, clone=True), ""),
        (wrapping() + increment(471, clone=True) + record(END), ""),
        (increment(471), f"{TAKEN} tank/data/copies/a"),
    ],
)
def test_a_clone_of_what_is_outside_is_refused(behind: Behind, stream: bytes, taken: str) -> None:
    """Its origin is named by guid alone, and zfs takes whatever of the pool has it, unless it is told which: the one
    that was found may be gone when zfs looks."""
    status, said, ran = behind.run(ssh.Receiver(False, (behind.admitted("tank/data/copies/a"),)), stream)
    assert (status == 0) is bool(taken), said
    assert [words for words in ran if "receive" in words] == ([taken] if taken else [])
    assert taken or "does not admit a clone of what is outside of tank/data; next: on " in said


@pytest.mark.parametrize(
    ("stream", "given", "quiet"),
    [
        (increment(0), (), QUIET),
        (increment(0), (("canmount", "noauto"),), QUIET),
        (wrapping() + increment(0) + record(END), (), QUIET),
        (increment(4711, clone=True), (), f"{QUIET} -o origin=tank/data/copies/x@2"),
        (increment(0, kind=VOLUME), (), ""),
        (increment(5), (), ""),
    ],
)
def test_what_is_new_is_not_mounted_at_the_next_boot_whatever_the_peer_says(
    behind: Behind, stream: bytes, given: tuple[tuple[str, str], ...], quiet: str
) -> None:
    admitted = replace(behind.admitted(A), receiving=Receiving(A, (), given))
    status, said, ran = behind.run(ssh.Receiver(False, (admitted,)), stream)
    assert (status, ran[-1]) == (0, f"receive -s -u {quiet} {A}".replace("  ", " ")), said


def test_each_stream_on_the_way_waits_for_what_the_pair_says(behind: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before zfs has the second one."""
    begun = [Beginning(f"{A}@1", 1), Beginning(f"{A}@2", 2, 1)]
    ran: list[str] = []

    def start(words: commands.Argv, **options: object) -> SimpleNamespace:
        ran.append(" ".join(words))
        return SimpleNamespace(wait=lambda: 0)

    def refuse(*about: object) -> None:
        raise RefusedError("not of this pair")

    monkeypatch.setattr(gate, "streams", lambda source: iter(begun))
    monkeypatch.setattr(gate, "start", start)
    monkeypatch.setattr(gate, "_check_several", refuse)
    monkeypatch.setattr(gate, "receive_lock", lambda path, token: (os.open(os.devnull, os.O_RDONLY), 0))
    with pytest.raises(RefusedError, match="not of this pair"):
        gate._receive_one(TREE, LocalHost(Settings(library=False)), behind.admitted(A))
    assert len(ran) == 1


@pytest.mark.parametrize(("alone", "says"), [(True, ""), (False, "a filter for one of several streams")])
@pytest.mark.parametrize("through", [{"infilter": "squeeze"}, {"compress": "zstd"}])
def test_what_a_stream_passes_through_is_of_one_alone(
    behind: Behind, tmp_path: Path, through: dict[str, str], alone: bool, says: str
) -> None:
    """It would read into the next one."""
    admitted = behind.admitted(A)
    admitted = replace(admitted, receiving=replace(admitted.receiving, **through))
    host = LocalHost(Settings(library=False, run_directory=str(tmp_path), allowed=("squeeze",)))
    admitted = replace(admitted, lock=host.locks.receive_path(A))
    said = ""
    try:
        gate._check_receive(TREE, host, admitted, alone=alone)
    except RefusedError as error:
        said = error.line()
    assert (bool(said), says in said) == (bool(says), True), said


def test_what_is_no_name_of_a_host_is_no_word_of_ssh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(LocalHost, "output", lambda self, argv: pytest.fail(f"{argv}"))
    monkeypatch.setattr(LocalHost, "ask", lambda self, request: pytest.fail(f"{request}"))
    for name in ("-oProxyCommand=reboot", "a b", "x\n", ""):
        assert not gated(tmp_path, receive=True).dials("zrep", name)


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


def gated(folder: Path, **words: bool) -> gate.GatedHost:
    settings = Settings(library=False, run_directory=str(folder))
    return gate.GatedHost(Gate(("tank/data",), **words), settings, "10.0.0.1")


@pytest.mark.parametrize(
    ("addresses", "dialled"),
    [(["10.0.0.1"], True), (["10.0.0.7", "10.0.0.1"], True), (["10.0.0.7"], False), ([], False)],
)
def test_nobody_is_dialled_but_where_the_peer_comes_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, addresses: list[str], dialled: bool
) -> None:
    """By the name that ssh has for a host."""
    asked: list[str] = []
    monkeypatch.setattr(LocalHost, "output", lambda self, argv: f"user root\nhostname {argv[-1]}.lan\nport 22\n")
    monkeypatch.setattr(
        "socket.getaddrinfo", lambda name, port: [(0, 0, 0, "", (each, 0)) for each in addresses if name == "alpha.lan"]
    )
    monkeypatch.setattr("zrep.wire.client.dial", lambda host, settings: asked.append(host))
    monkeypatch.setattr(gate, "log", lambda client, reason: None)
    host = gated(tmp_path, receive=True)
    if dialled:
        host.ask(Dial("alpha"))
    else:
        with pytest.raises(RefusedError, match="to dial alpha, which is not where it comes from"):
            host.ask(Dial("alpha"))
    assert asked == (["alpha"] if dialled else [])


def test_no_path_is_looked_for_but_of_what_is_in_the_trees(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = "tank/data\tmountpoint\t/tank/data\tdefault\ntank/data/a\tmountpoint\t/srv/a\tlocal\n"
    monkeypatch.setattr(LocalHost, "look", lambda self, argv: Completed(argv, 0, rows, ""))
    monkeypatch.setattr(gate, "log", lambda client, reason: None)
    host = gated(tmp_path, send=True, receive=True)
    assert host.ask(FindUnmakable(("/srv/a",))) == []
    with pytest.raises(RefusedError, match="to look for /root/secret/x"):
        host.ask(FindUnmakable(("/srv/a", "/root/secret/x")))


def test_tags_are_not_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(LocalHost, "output", lambda self, argv: pytest.fail(f"{argv}"))
    assert gated(tmp_path, receive=True).ask(ReadTags()) == []


def test_so_many_requests_are_carried_out_side_by_side(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    under_way, most, lock = [0], [0], threading.Lock()

    def ask(self: LocalHost, request: object) -> None:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.05)
        with lock:
            under_way[0] -= 1

    made: list[Server] = []

    def serve(self: Server) -> int:
        made.append(self)
        return 0

    monkeypatch.setattr(LocalHost, "ask", ask)
    monkeypatch.setattr(Server, "serve", serve)
    gate.serve(TREE, Settings(run_directory=str(tmp_path)), {"SSH_ORIGINAL_COMMAND": helper("zrep")})
    monkeypatch.setattr(Server, "_say", lambda self, line: time.sleep(0.05))  # as long as its answer is not read
    threads = [threading.Thread(target=made[0]._carry_out, args=(Ask(1, Identify()), 0)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [gate.AT_WORK]


def test_what_a_peer_leaves_in_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of the directory of the locks, which others need too: names of locks and notes."""
    monkeypatch.setattr(gate, "log", lambda client, reason: None)
    monkeypatch.setattr(room, "_SHARE", 1)
    of = os.statvfs(tmp_path)
    small = os.statvfs_result((of.f_bsize, 4096, 20, 20, 20, 20, 10, 10, of.f_flag, of.f_namemax))
    monkeypatch.setattr("os.statvfs", lambda path: small)
    host = gated(tmp_path, receive=True)
    first = tuple(f"tank/data/{number}" for number in range(9))
    assert host.ask(Lock(first, 0.0)) == []
    with pytest.raises(RefusedError, match="so many names: 18 files are about tank/data"):
        host.ask(Lock(("tank/data/x", "tank/data/y"), 0.0))
    host.ask(Remember({"zrep tank/data/0": {"n": 1}}))
    with pytest.raises(RefusedError, match="so much: 77824 bytes are about tank/data"):
        host.ask(Remember({"zrep tank/data/0": {"n": ["x" * 60_000]}}))
    host.ask(Remember({"zrep tank/data/0": {"n": 2}}))
    assert host.ask(Lock(first, 0.0)) == []
    assert not room.lacking(host.directory, ("tank/other",), {f"{host.directory}/tank%other%x.lock": 0})
    host.close()


def test_notes_do_not_grow_for_ever(tmp_path: Path) -> None:
    host = LocalHost(Settings(library=False, run_directory=str(tmp_path)))
    for number in range(5):
        host.ask(Remember({"zrep tank/a": {f"n{number}": ["x" * 50_000]}}))
    [found] = host.ask(Recall(("zrep tank/a",))).values()
    assert "n4" in found
    assert len(found) < 4


def test_what_lies_in_a_pair_is_in_it_where_that_is_a_tree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = {
        "tank": ["above:src-fs", "above:recursive"],
        "tank/data": ["plain:src-fs"],
        "tank/data/a": ["zrep:src-fs", "zrep:recursive"],
        "tank/data/a/x": ["other:dest-fs", "com.sun:auto-snapshot"],
    }
    monkeypatch.setattr(exact, "own_names", lambda host, names, sources: {n: own[n] for n in names if n in own})
    host = gated(tmp_path, receive=True, keep=True)
    found = host.around(["tank/data/a", "tank/data/a/x", "tank/data/a/y@zrep_000001", "tank/data/b"])
    assert {name: sorted(tags) for name, tags in found.items()} == {
        "tank/data/a": ["zrep"],
        "tank/data/a/x": ["other", "zrep"],
        "tank/data/a/y@zrep_000001": ["zrep"],
        "tank/data/b": [],
    }
