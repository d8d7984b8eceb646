"""The forced command of a key that is not trusted with the whole host: what its peer asks for is read as zrep would
build it, judged by core/gate_rules, and carried out; everything else is refused and logged.

The three command lines of wire/ssh are all that get in. No word of them is given to a shell: the programs are started
from here, with the words that this side makes of what was read.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import syslog
from collections.abc import Mapping, Sequence

from zrep.core import shape
from zrep.core.errors import RefusedError, ZrepError, one_line
from zrep.core.gate_rules import RAW, Gate, refusal, refused_receive, refused_send, trimmed
from zrep.core.names import check_dataset
from zrep.core.requests import Answer, Identity, Request
from zrep.core.settings import Settings
from zrep.host import exact, process
from zrep.host.local import LocalHost
from zrep.host.streams import RECEIVE_BUSY, RECEIVE_NOT_ADMITTED, STREAM_END, STREAM_MARK
from zrep.host.wrapping import end_wrapping, unwrap
from zrep.wire import ssh
from zrep.wire.server import Server
from zrep.zfs import commands, stream_words
from zrep.zfs.errors import AbsentError

# What one peer may have under way: far less than a whole host's other half.
REQUEST_BYTES = 4 << 20
REQUESTS_AT_ONCE = 32
# So many refusals of one connection are told to syslog.
REFUSALS = 100
_NOISE_BYTES = 64 << 10
_LOGGED = 300


class GatedHost(LocalHost):
    """This host as a peer behind a gate may ask it."""

    def __init__(self, gate: Gate, settings: Settings, client: str) -> None:
        super().__init__(settings, dial=self._dial)
        self._gate = gate
        self._client = client
        self._refused = 0

    def ask(self, request: Request[Answer]) -> Answer:
        if reason := refusal(self._gate, request, self._paired):
            self._refused += 1
            if self._refused <= REFUSALS:
                log(self._client, reason)
            raise RefusedError(
                f"the gate of {self.name} does not admit {reason}",
                advice=f"see the zrep gate line in authorized_keys on {self.name}, and FORCED COMMAND in zrep(8)",
            )
        answer: Answer = trimmed(self._gate, request, super().ask(request))
        return answer

    def _paired(self, dataset: str) -> bool:
        """Whether a dataset is in a pair under any tag; one that is not there is in none."""
        try:
            names = exact.own_names(self, [dataset.partition("@")[0]], "local")
        except AbsentError:
            return False
        own = [name for found in names.values() for name in found]
        return any(name.rpartition(":")[2] in ("src-fs", "dest-fs") for name in own if ":" in name)

    def _dial(self, host: str) -> Identity:
        from zrep.wire.client import dial  # only init asks for it

        return dial(host, self.settings)


def log(client: str, reason: str) -> None:
    """Tell syslog what was refused to whom; whoever is refused chooses no line of it."""
    syslog.openlog("zrep-gate", syslog.LOG_PID, syslog.LOG_AUTH)
    syslog.syslog(syslog.LOG_NOTICE, one_line(f"refused {client}: {reason}")[:_LOGGED])


def serve(gate: Gate, settings: Settings, environment: Mapping[str, str]) -> int:
    """Carry out, or refuse, what the peer's command line asks for; the exit status."""
    client = _client(environment)
    line = environment.get("SSH_ORIGINAL_COMMAND", "")
    try:
        match ssh.parse(line):
            case ssh.Helper():
                host = GatedHost(gate, settings, client)
                return Server(host, most_bytes=REQUEST_BYTES, most_at_once=REQUESTS_AT_ONCE).serve()
            case ssh.Sender(streams=streams):
                return _send(gate, LocalHost(settings), streams)
            case ssh.Receiver() as found:
                return _receive(gate, LocalHost(settings), found)
    except ZrepError as error:
        log(client, error.line())
        raise


def _client(environment: Mapping[str, str]) -> str:
    return environment.get("SSH_CONNECTION", "somebody").split(" ")[0]


def _refuse(host: LocalHost, reason: str) -> None:
    if reason:
        raise RefusedError(f"the gate of {host.name} does not admit {reason}")


# --- streams from here ---


def _send(gate: Gate, host: LocalHost, streams: Sequence[stream_words.Sending]) -> int:
    """Send the streams one after the other, to the first that fails; the exit status, as that of SEND_SCRIPT."""
    for sending in streams:
        _check_send(gate, host, sending)
    _write(b"\n" + STREAM_MARK.encode() + b"\n")
    for sending in streams:
        if status := process.start(stream_words.send(sending), stdin=subprocess.DEVNULL).wait():
            return status
        if len(streams) > 1:
            _tell_end()
    return 0


def _check_send(gate: Gate, host: LocalHost, sending: stream_words.Sending) -> None:
    """RefusedError for what is not admitted; nothing is asked of ZFS before it must be."""
    _refuse(host, refused_send(gate, (), sending.options, encrypted=False, raw=False))
    if sending.token:
        name, raw = _of_token(host, sending.token)
    else:
        name, raw = sending.snapshot or "", bool(RAW & set(sending.options))
    names = [name, *([sending.base] if sending.base else [])]
    _refuse(host, refused_send(gate, names, sending.options, encrypted=False, raw=raw))
    encrypted = host.output(commands.get_one("value", "encryption", name)).strip() not in ("off", "-")
    _refuse(host, refused_send(gate, names, sending.options, encrypted=encrypted, raw=raw))
    host.check_filter(sending.outfilter, name)


def _of_token(host: LocalHost, token: str) -> tuple[str, bool]:
    """The snapshot that a resume token is of, and whether it is sent raw."""
    said = host.look(commands.token_contents(token))
    found = re.search(r"^\s*toname = (\S.*)$", said.out + said.err, re.MULTILINE)
    if said.status != 0 or found is None:
        raise RefusedError("a resume token of no snapshot here", evidence=(said.out + said.err)[:200])
    return found.group(1), re.search(r"^\s*rawok = 1$", said.out + said.err, re.MULTILINE) is not None


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def _tell_end() -> None:
    os.write(2, f"{STREAM_END}\n".encode())


# --- streams to here ---


def _receive(gate: Gate, host: LocalHost, line: ssh.Receiver) -> int:
    """Receive the streams one after the other, to the first that fails, as RECEIVE_SCRIPT does without its shell; the
    exit status is as its. What a stream says of properties is left out."""
    for admitted in line.streams:
        _check_receive(gate, host, admitted, alone=len(line.streams) == 1)
    if line.marked:
        _skip_to_mark()
    for admitted in line.streams:
        if status := _receive_one(admitted):
            return status
        _tell_end()
    return 0


def _check_receive(gate: Gate, host: LocalHost, admitted: ssh.Admitted, *, alone: bool) -> None:
    receiving = admitted.receiving
    _refuse(host, refused_receive(gate, receiving.target, receiving.override))
    host.check_filter(receiving.infilter, receiving.target)
    if admitted.lock != host.locks.receive_path(receiving.target):
        raise RefusedError(f"the gate of {host.name} does not admit such a lock", evidence=admitted.lock)
    if (receiving.infilter or receiving.compress) and not alone:
        raise RefusedError(f"the gate of {host.name} does not admit a filter for one of several streams")


def _receive_one(admitted: ssh.Admitted) -> int:
    receiving = admitted.receiving
    try:
        lock = os.open(admitted.lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return RECEIVE_NOT_ADMITTED
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        token = os.pread(lock, 100, 0).decode(errors="replace").partition("\n")[0]
        if token != admitted.token or not os.path.exists(f"/proc/{token.partition('.')[0]}"):
            return RECEIVE_NOT_ADMITTED
        source = _source(shape.receiving(receiving.infilter, receiving.compress))
        wrapped = unwrap(source)
        words = stream_words.receive(stream_words.Receiving(receiving.target, (), receiving.override))
        status = process.start(words, stdin=source, pass_fds=(lock,)).wait()
        if wrapped and status == 0:
            end_wrapping(source)
        return status
    except BlockingIOError:
        return RECEIVE_BUSY
    finally:
        os.close(lock)


def _skip_to_mark() -> None:
    """Byte by byte: what follows the mark is the stream."""
    noise, last = 0, b""
    while last != STREAM_MARK.encode():
        last, byte = b"", os.read(0, 1)
        while byte not in (b"", b"\n") and noise < _NOISE_BYTES:
            last, noise, byte = last + byte, noise + 1, os.read(0, 1)
        noise += 1
        if not byte or noise >= _NOISE_BYTES:
            raise RefusedError("the stream has no beginning")


def _source(through: str) -> int:
    """Where the stream is read from: stdin, through what it passes if that is anything."""
    if not through:
        return 0
    child = process.start(("sh", "-c", through), stdin=0, stdout=subprocess.PIPE)
    assert child.stdout is not None
    return os.dup(child.stdout.fileno())


def gate_of(words: list[str]) -> Gate | None:
    """What the words after ``zrep gate`` say, where they are plain; None: the parser of the command line is to say what
    is wrong with them."""
    trees: list[str] = []
    flags: set[str] = set()
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name == "--tree" and (tree := value if equals else next(rest, "")):
            trees.append(check_dataset(tree))
        elif word in ("--send", "--receive", "--keep"):
            flags.add(word)
        else:
            return None
    if not trees or not flags & {"--send", "--receive"}:
        return None
    return Gate(tuple(trees), "--send" in flags, "--receive" in flags, "--keep" in flags)


def run(gate: Gate, settings: Settings, *, last: bool = False) -> int:
    """One session of the peer; the exit status. Whatever is wrong is one line, and no more. last: no other session is
    let in until one has ended, which is told once and not for each that is turned away."""
    if last:
        log(_client(os.environ), "all that would be one session more")
    try:
        return serve(gate, settings, os.environ)
    except ZrepError as error:
        print(f"zrep: {error.line()}", file=sys.stderr)
        return error.exit_code
