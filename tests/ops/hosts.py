"""Two hosts in process: hosts whose commands run on the model, and the one place where faults are put in.

Everything below zrep's own code is here: the runner stands where the real one starts processes, so that what is
counted, killed, cut or lost is exactly what zrep would have started.
"""

from __future__ import annotations

import base64
import copy
import fcntl
import itertools
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import pytest

from tests.model import Host, World
from tests.model.command import Result
from tests.model.library import ModelLibrary
from tests.model.stream import decode_begin, unpacked, without_properties
from zrep.core import place
from zrep.core.errors import FailedError, UnreachableError, ZrepError, worst
from zrep.core.incoming import Beginning, Incoming
from zrep.core.requests import (
    Answer,
    EndReceive,
    FindOpenVolumes,
    Identify,
    Identity,
    IsRunning,
    Lock,
    OpenVolumes,
    ReadRights,
    ReadUsers,
    Request,
    Users,
)
from zrep.core.rights import Rights
from zrep.core.settings import DEFAULT_SETTINGS, Settings
from zrep.core.steps import SendStream
from zrep.host import locks, reads
from zrep.host.guard import Guard, words
from zrep.host.local import Host as ZrepHost
from zrep.host.local import LocalHost
from zrep.host.process import COMMAND_SECONDS, Progress, Receiver
from zrep.host.streams import (
    RECEIVE_BUSY,
    RECEIVE_NOT_ADMITTED,
    RECEIVE_SCRIPT,
    RECEIVE_UNWANTED,
    SEND_SCRIPT,
    STREAM_END,
)
from zrep.host.wrapping import UnwantedError
from zrep.ops import execute, locking
from zrep.ops import pairs as reading
from zrep.ops import session as running
from zrep.ops.outcome import Outcome
from zrep.ops.rows import Row
from zrep.ops.session import Options, Session
from zrep.wire import messages, ssh
from zrep.wire.client import result
from zrep.wire.server import answer
from zrep.zfs import commands
from zrep.zfs.commands import CHANGE_SCRIPT, DIFFERENCES_SCRIPT, READABLE_SCRIPT, Argv, Completed
from zrep.zfs.records import BEGIN, END, OBJECT, QUOTAS, RECORD_BYTES, SPILL, WRITE, WRITE_EMBEDDED

Done = TypeVar("Done")
_SUSPENDED = "cannot do that: pool I/O is currently suspended\n"


def _text(data: bytes) -> str:
    """As zrep.host.process does."""
    return data.decode("utf-8", "surrogateescape")


class Clock:
    """Stands in for the module time where zrep waits. Nobody else goes on meanwhile: waiting is over at once."""

    def __init__(self) -> None:
        self.now = 0.0
        self.meanwhile: Callable[[], None] | None = None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """How long zrep waits between two tries is random: here it is always the same."""
        if self.meanwhile is None:
            self.now += 3600.0
        else:
            self.meanwhile()


CLOCK = Clock()


class Killed(BaseException):  # no error: the end of zrep's process
    """zrep was killed: nothing of it runs on, no handler of its own may take this for a failure."""


class Mode(Enum):
    """What happens at one command. Those with "peer" need a command on the other host."""

    KILL_BEFORE = "zrep is killed before it"
    KILL_AFTER = "zrep is killed after it"
    FAIL = "it fails"
    HANG = "it hangs, and is ended when its time is up"
    FAIL_ON = "it and everything after it fails"
    CUT = "the peer is lost before it"
    LOST = "it is done, but its answer is lost"
    PART = "a set lands in part and fails"
    TORN = "the stream is torn in the middle"
    TORN_CUT = "the stream is torn in the middle and the peer is lost"
    POWER_HERE = "zrep's host loses power after it"
    POWER_THERE = "the peer loses power after it"


@dataclass(frozen=True, slots=True)
class Command:
    """One thing zrep started: where, and its words; a stream is one, with the words of its sender."""

    host: str
    argv: tuple[str, ...]
    stream: bool = False
    remote: bool = False

    def __str__(self) -> str:
        return f"{self.host}: {' '.join(self.argv)}{' | receive' if self.stream else ''}"


@dataclass(frozen=True, slots=True)
class Ways(Generic[Done]):
    """How one command may go: as it should, not at all, and (a stream) torn in the middle."""

    do: Callable[[], Done]
    fail: Callable[[], Done]
    tear: Callable[[], Done] | None = None


@dataclass
class Wire:
    """All that zrep starts goes through here, in order, and is counted; at one number something may happen."""

    world: World
    mode: Mode | None = None
    at: int = -1
    cut: bool = False
    dead: bool = False
    failing: bool = False
    log: list[Command] = field(default_factory=list)
    driver: str = ""
    power_lost: set[str] = field(default_factory=set)
    # What each host has told its syslog.
    logged: list[tuple[str, str]] = field(default_factory=list)
    # Processes that are alive: the host of each, and its number.
    running: set[tuple[str, int]] = field(default_factory=set)
    # Who zrep runs as, by host; root where nobody else is named.
    users: dict[str, str] = field(default_factory=dict)
    # Datasets whose key is loaded, and was changed since.
    outdated_keys: set[str] = field(default_factory=set)
    # What a dishonest host makes of a stream that zfs send has made.
    forge: Callable[[str, bytes], bytes] = lambda host, stream: stream
    _incoming: Incoming | None = None
    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None

    def reset(self, mode: Mode | None = None, at: int = -1) -> None:
        self.mode, self.at, self.cut, self.dead, self.failing = mode, at, False, False, False
        self.log, self.power_lost = [], set()

    def reach(self, host: str) -> None:
        """A request to a host: it needs a living zrep, and for the peer a link."""
        if self.dead:
            raise Killed
        if host != self.driver and self.cut:
            raise UnreachableError(f"lost {host}", evidence="the link is cut")

    def run(self, host: str, argv: Sequence[str]) -> Completed:
        self.before()
        self.reach(host)
        command = Command(host, tuple(argv), remote=host != self.driver)
        failed = Completed(command.argv, 1, "", _SUSPENDED)
        return self._at(command, Ways(lambda: self._do(command), lambda: failed))

    def pipe(
        self,
        sender: Sequence[str],
        receiver: Sequence[str] | Receiver,
        progress: Callable[[Progress], None] | None = None,
    ) -> tuple[Completed, Completed]:
        """Each stream of a pipe is a command of its own: any of them may be the one at which something happens."""
        guard = receiver if isinstance(receiver, Guard) else None
        here, there = self._place(sender), self._place(guard.argv if guard else cast(Sequence[str], receiver))
        senders, receivers = _senders(here[1]), _guarded(guard) if guard else _receivers(there[1])
        assert len(senders) == len(receivers)
        done: list[tuple[Completed, Completed]] = []
        for number, (sends, takes) in enumerate(zip(senders, receivers, strict=True)):
            self._incoming = guard.incoming[number] if guard else None
            done.append(self._pipe((here[0], sends), (there[0], takes)))
            if progress and (said := re.search(r"^size\t(\d+)$", done[-1][0].err, re.MULTILINE)):
                progress(Progress(0, int(said.group(1)), len(done) - 1, begins=True))
            if any(side.status for side in done[-1]):
                break
        return _said(here[1], [sent for sent, _ in done]), _said(there[1], [received for _, received in done])

    def _pipe(
        self, here: tuple[str, tuple[str, ...]], there: tuple[str, tuple[str, ...]]
    ) -> tuple[Completed, Completed]:
        self.before()
        if self.dead:
            raise Killed
        remote = self.driver not in (here[0], there[0]) or here[0] != there[0]
        command = Command(here[0], here[1], stream=True, remote=remote)

        def fail() -> tuple[Completed, Completed]:
            if self.cut and remote:
                lost = "ssh: connect to host beta port 22: No route to host\n"
                return Completed(here[1], 1, "", ""), Completed(there[1], 255, "", lost)
            return Completed(here[1], 1, "", _SUSPENDED), Completed(there[1], 1, "", "cannot receive: invalid stream\n")

        if self.cut and remote:
            self.log.append(command)
            return fail()
        torn = partial(self._stream, here, there, torn=True)
        return self._at(command, Ways(partial(self._stream, here, there), fail, torn))

    # --- what happens ---

    def _at(self, command: Command, ways: Ways[Done]) -> Done:
        number = len(self.log)
        self.log.append(command)
        if number == self.at:
            answer = self._inject(command, ways)
        elif self.failing:
            answer = ways.fail()
        else:
            answer = ways.do()
        self.after()
        return answer

    def _inject(self, command: Command, ways: Ways[Done]) -> Done:
        mode = self.mode
        if mode is Mode.KILL_BEFORE:
            self._die()
        if mode is Mode.FAIL_ON:
            self.failing = True
        if mode in (Mode.FAIL, Mode.FAIL_ON):
            return ways.fail()
        if mode is Mode.HANG:
            raise FailedError(f"{' '.join(command.argv[:2])} did not finish in 600 s and was ended")
        if mode is Mode.CUT:
            self.cut = True
            if command.stream:
                return ways.fail()
            self.reach(command.host)
        if mode is Mode.PART:
            return cast(Done, self._part(command))
        if mode in (Mode.TORN, Mode.TORN_CUT):
            assert ways.tear is not None
            self.cut = mode is Mode.TORN_CUT
            return ways.tear()
        answer = ways.do()
        if mode is Mode.LOST:
            if command.stream:
                self.cut = True
                return ways.fail()
            if command.remote:
                self.cut = True
                self.after()
                self.reach(command.host)
            return cast(Done, Completed(command.argv, 1, "", "internal error: Interrupted system call\n"))
        if mode is Mode.KILL_AFTER:
            self._die()
        if mode is Mode.POWER_HERE:
            self._power(self.driver)
            self._die()
        if mode is Mode.POWER_THERE:
            self.cut = True
            for name in self.world.state.hosts:
                if name != self.driver:
                    self._power(name)
            if command.stream:
                return ways.fail()
            self.after()
            self.reach(command.host)
        return answer

    def _die(self) -> None:
        self.dead = True
        self.after()
        raise Killed

    def _power(self, name: str) -> None:
        self.world.host(name).crash()
        self.power_lost.add(name)

    def heal(self) -> None:
        """Everything works again: the link, the hosts (which mount what they mount at boot)."""
        for name in self.power_lost:
            self.world.host(name).mount_all()
        self.reset()

    # --- carrying out ---

    def _host(self, name: str) -> Host:
        return self.world.host(name)

    def _run(self, host: str, argv: Sequence[str], stdin: bytes = b"") -> Result:
        """Run it as the user that zrep is on that host."""
        return self._host(host).run(list(argv), stdin, self.users.get(host, "root"))

    def _do(self, command: Command) -> Completed:
        if command.argv[:3] == ("sh", "-c", CHANGE_SCRIPT):
            return self._change(command)
        if command.argv[:3] == ("sh", "-c", READABLE_SCRIPT):
            said = (f"{snapshot}\n{self._sent(command.host, snapshot)}" for snapshot in command.argv[4:])
            return Completed(command.argv, 0, "", "".join(said))
        if command.argv[:3] == ("sh", "-c", DIFFERENCES_SCRIPT):
            return self._do(Command(command.host, ("zfs", "diff", "-H", *command.argv[4:])))
        done = self._run(command.host, command.argv)
        return Completed(command.argv, done.rc, _text(done.out), _text(done.err))

    def _sent(self, host: str, snapshot: str) -> str:
        """What is said where a snapshot is sent."""
        if snapshot.partition("@")[0] in self.outdated_keys:
            return f"warning: cannot send '{snapshot}': dataset key must be loaded\n"
        return self._host(host).run(["zfs", "send", snapshot]).err.decode()

    def _change(self, command: Command) -> Completed:
        """What CHANGE_SCRIPT prints: a stream of the records that tell. Quotas are no data of the model."""
        snapshot, name = command.argv[-2:]
        dataset = self.world.state.hosts[command.host].datasets[name]
        [base] = [found for found in dataset.snapshots if f"{name}@{found.name}" == snapshot]
        if dataset.elsewhere and not dataset.mounted_at:
            return Completed(command.argv, 0, "", f"warning: cannot send '{name}': target is busy\n")
        kind = QUOTAS if dataset.data == base.data else 19
        changed = (record(OBJECT, 4, kind), record(WRITE, 4, kind)) if dataset.version != base.version else ()
        stream = () if dataset.mounted_at else (record(BEGIN), *changed, record(END))
        return Completed(command.argv, 0, base64.b64encode(b"".join(stream)).decode(), "")

    def _part(self, command: Command) -> Completed:
        """A zfs set of several properties of which half land (it is one transaction only when it succeeds)."""
        given = assignments(command.argv)
        landed = given[: len(given) // 2]
        rest = command.argv[2 + len(given) :]
        self._host(command.host).run(["zfs", "set", *landed, *rest])
        return Completed(command.argv, 1, "", "cannot set property: out of space\n")

    def _place(self, argv: Sequence[str]) -> tuple[str, tuple[str, ...]]:
        return (argv[1], tuple(argv[2:])) if argv[0] == "ssh" else (self.driver, tuple(argv))

    def _stream(
        self, here: tuple[str, tuple[str, ...]], there: tuple[str, tuple[str, ...]], torn: bool = False
    ) -> tuple[Completed, Completed]:
        sent = self._run(here[0], _without_filter(here[1]))
        stream = self.forge(here[0], sent.out)
        if torn:
            start = stream.find(b"\n") + 1
            stream = stream[: start + (len(stream) - start) // 2]
        received = self._receive(there[0], there[1], stream)
        status, said = sent.rc, _text(sent.err)
        if sent.rc == 0 and received.status != 0 and not torn:
            status, said = 1, f"warning: cannot send '{here[1][-1]}': Broken pipe\n"
        return Completed(here[1], status, "", said), received

    def _receive(self, host: str, argv: tuple[str, ...], stream: bytes) -> Completed:
        """What RECEIVE_SCRIPT does for one stream: the lock, the ticket, then the command."""
        lock, ticket, *command = argv
        with Path(lock).open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return Completed(argv, RECEIVE_BUSY, "", "")
            file.seek(0)
            if file.read() != f"{ticket}\n":
                return Completed(argv, RECEIVE_NOT_ADMITTED, "", "")
            if self._incoming:
                return self._guarded(host, self._incoming, stream)
            done = self._run(host, _without_filter(command), stream)
        return Completed(argv, done.rc, _text(done.out), _text(done.err))

    def _guarded(self, host: str, incoming: Incoming, stream: bytes) -> Completed:
        """What a guard does for one stream, taken out of its wrapping."""
        before = None
        argv = commands.receive(incoming.step)
        for each in unpacked(stream):
            begin = decode_begin(each[: each.find(b"\n") + 1])
            if begin is None and b"\n" not in each:
                return Completed(argv, 1, "", "cannot receive: invalid stream (it ended before it began)\n")
            if begin is None:
                return Completed(argv, RECEIVE_UNWANTED, "", "what was sent is no stream\n")
            found = Beginning(begin.toname, begin.toguid, begin.fromguid, begin.clone, begin.kind == "volume")
            try:
                argv = words(incoming, found, before)
            except UnwantedError as error:
                return Completed(argv, RECEIVE_UNWANTED, "", f"{error.evidence}\n")
            done = self._run(host, argv, without_properties(each))
            if done.rc:
                return Completed(argv, done.rc, _text(done.out), _text(done.err))
            before = found
        return Completed(argv, 0, "", "")


def _without_filter(argv: Sequence[str]) -> list[str]:
    """The command of a pipeline with filters, which give what they get."""
    return list(argv[4:]) if argv[0] == "sh" and '"$@"' in argv[2] else list(argv)


def _senders(argv: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The commands that a sender runs, one after the other."""
    return list(_turns(argv[4:], 0)) if argv[:4] == ("sh", "-c", SEND_SCRIPT, "zrep") else [argv]


def _receivers(argv: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The same of a receiver, each after the file of its lock and its ticket."""
    assert argv[:4] == ("sh", "-c", RECEIVE_SCRIPT, "zrep"), argv
    return list(_turns(argv[5:], 2))


def _guarded(guard: Guard) -> list[tuple[str, ...]]:
    """As _receivers, of what takes streams in the process of zrep."""
    return [(each.lock, each.token, *commands.receive(each.step)) for each in guard.incoming]


def _turns(words: tuple[str, ...], more: int) -> Iterator[tuple[str, ...]]:
    while words:
        end = more + 1 + int(words[more])
        yield (*words[:more], *words[more + 1 : end])
        words = words[end:]


def _said(argv: tuple[str, ...], done: Sequence[Completed]) -> Completed:
    """How commands that ran one after the other end together, and what they have said."""
    ended = f"{STREAM_END}\n"
    err = ended.join(f"{each.err.rstrip()}\n" if each.err.strip() else "" for each in done)
    return Completed(argv, done[-1].status, "".join(each.out for each in done), err)


# Where a record says how much follows it.
_LENGTHS = {BEGIN: 4, OBJECT: 28, WRITE: 32, SPILL: 16, WRITE_EMBEDDED: 52}


def name_of(mode: Mode) -> str:
    """Name a mode in the name of a test."""
    return mode.name.lower()


def record(kind: int, number: int = 0, word: int = 0, more: bytes = b"") -> bytes:
    """A record of a stream, with what follows it."""
    made = bytearray(struct.pack("<IIQI", kind, 0, number, word).ljust(RECORD_BYTES, b"\0"))
    if kind in _LENGTHS:
        struct.pack_into("<I", made, _LENGTHS[kind], len(more))
    return bytes(made) + more


def assignments(argv: Sequence[str]) -> list[str]:
    """The NAME=value words of a zfs set."""
    return [word for word in argv[2:] if "=" in word] if tuple(argv[:2]) == ("zfs", "set") else []


@dataclass(frozen=True, slots=True)
class ModelRunner:
    """Runner on one host of the model."""

    wire: Wire
    host: str

    def run(self, argv: Sequence[str], *, timeout: float = COMMAND_SECONDS, keep: Sequence[int] = ()) -> Completed:
        return self.wire.run(self.host, argv)

    def stop(self) -> None:
        """Nothing runs beside the one thread of a test."""

    def runs(self) -> int:
        return 0

    def pipe(
        self,
        sender: Sequence[str],
        receiver: Sequence[str] | Receiver,
        *,
        keep: Sequence[int] = (),
        progress: Callable[[Progress], None] | None = None,
    ) -> tuple[Completed, Completed]:
        return self.wire.pipe(sender, receiver, progress)


class ModelHost(LocalHost):
    """A host that sees no process of the machine the tests run on. Taking a lock is a moment at which another run may
    come first, as every command is. It dials as its peer's own helper would."""

    def __init__(self, wire: Wire, name: str, directory: Path, settings: Settings = DEFAULT_SETTINGS) -> None:
        def dial(host: str) -> Identity:
            if host not in wire.world.state.hosts:
                raise UnreachableError(f"cannot reach {host}")
            return ModelHost(wire, host, directory.parent / host).ask(Identify())

        super().__init__(settings, ModelRunner(wire, name), name, str(directory), dial)
        self.library = ModelLibrary(wire.world.host(name))
        self._wire = wire
        self._known_as = name  # in the world, whatever it is told to call itself

    def ask(self, request: Request[Answer]) -> Answer:
        match request:
            case Lock():
                self._wire.before()
            case EndReceive():
                return cast(Answer, 0)
            case ReadUsers():
                return cast(Answer, self.users(request))
            case FindOpenVolumes():
                return cast(Answer, self.open_volumes(request))
            case ReadRights():
                return cast(Answer, Rights(self.user, self.user == "root"))
            case IsRunning(pid=pid):
                return cast(Answer, (self.name, pid) in self._wire.running)
        return super().ask(request)

    @property
    def user(self) -> str:
        return self._wire.users.get(self.name, "root")

    def log(self, text: str) -> None:
        self._wire.logged.append((self.name, text))

    def mountinfo(self) -> str:
        return self._wire.world.host(self.name).mountinfo()

    def open_mount(self, point: str) -> None:
        """A path of the model is none of this machine: a remount goes by the path."""

    def can_make(self, path: str) -> bool:
        return self._wire.world.host(self.name).can_make(path)

    def host_id(self) -> str:
        return self._known_as.encode().hex().ljust(16, "0")[:16]

    def place(self, pool: str) -> str:
        known = self._wire.world.state.hosts[self._known_as].pools.get(pool)
        return place.place(str(known.guid) if known else "", self.host_id())

    def pool_states(self) -> dict[str, str]:
        return self._wire.world.host(self.name).pool_states()

    def users(self, request: ReadUsers) -> Users:
        """Those of the model have no names."""
        dataset = self._wire.world.host(self.name).dataset(request.dataset)
        if dataset is None or not (dataset.mounted_at or dataset.elsewhere):
            return Users()
        writing = ("postgres (7)",) * bool(dataset.open_files or dataset.mappings)
        mapped = writing * bool(dataset.mappings)
        return Users(writing, writing, mapped, ("/data for postgres (7)",) * dataset.elsewhere)

    def open_volumes(self, request: FindOpenVolumes) -> OpenVolumes:
        """As users: no names."""
        found = ((name, self._wire.world.host(self.name).dataset(name)) for name in request.volumes)
        return OpenVolumes({name: ("qemu (8)",) for name, dataset in found if dataset and dataset.open_files})


class Peer:
    """The other host, behind a link that may be cut. All that is asked and answered crosses it as it does in earnest:
    as lines that are written and read by both ends, and as command lines for ssh."""

    local = False
    answered = True
    noise = ""

    def __init__(self, wire: Wire, host: LocalHost) -> None:
        self.name = host.name
        self._wire, self._host = wire, host
        self._failure: ZrepError | None = None

    def ask(self, request: Request[Answer]) -> Answer:
        if self._failure is not None:
            raise copy.copy(self._failure)
        self._wire.reach(self.name)
        line = messages.encode(messages.Ask(1, request)).removesuffix(b"\n")
        try:
            asked = messages.read_for_helper(line)
        except messages.MalformedError as error:  # the helper ends with it, and so does the connection
            self.hang_up(error)
            raise
        assert isinstance(asked, messages.Ask)
        assert asked.request == request
        said = messages.read_from_helper(answer(self._host, asked).removesuffix(b"\n"))
        assert not isinstance(said, messages.Beat)
        return result(request, said)

    def sender(self, steps: Sequence[SendStream]) -> Argv:
        line = ssh.sender(steps)
        assert ssh.build(ssh.parse(line)) == line
        return self._session(self._host.sender(steps))

    def receiver(self, steps: Sequence[tuple[SendStream, tuple[str, str]]], *, marked: bool) -> Argv:
        line = ssh.receiver(steps, marked=marked)
        assert ssh.build(ssh.parse(line)) == line
        return self._session(self._host.receiver(steps, marked=marked))

    def _session(self, argv: Argv) -> Argv:
        self._wire.reach(self.name)
        return ("ssh", self.name, *argv)

    def close(self) -> None:
        self._host.close()

    def hang_up(self, reason: ZrepError) -> None:
        self._failure = reason


@dataclass(frozen=True, slots=True)
class Ended:
    """How one run of zrep ended. code: its exit status, None when it was killed."""

    code: int | None
    outcomes: tuple[Outcome, ...] = ()
    lines: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    error: ZrepError | None = None

    @property
    def text(self) -> str:
        """All that it said, a line each."""
        errors = [self.error, *(outcome.error for outcome in self.outcomes)]
        return "\n".join([error.line() for error in errors if error] + [outcome.message for outcome in self.outcomes])


def shown(session: Session) -> tuple[str, ...]:
    """What a dry run prints of its commands."""
    return tuple(f"{line.host}: {' '.join(line.argv)}" for line in session.lines)


Work = Callable[[Session], Outcome | Sequence[Outcome] | Sequence[Row]]


class Hosts:
    """Two hosts, alpha and beta, and zrep on either."""

    def __init__(self, directory: Path, world: World | None = None) -> None:
        self.directory = directory
        self.world = world or World()
        self.wire = Wire(self.world)
        self.said: list[str] = []
        self.settings = DEFAULT_SETTINGS
        self._identities = itertools.count(1)
        for name in self.world.state.hosts:
            (directory / name).mkdir(parents=True, exist_ok=True)

    def __getitem__(self, name: str) -> Host:
        return self.world.host(name)

    def load(self, dumped: bytes) -> None:
        self.world.load(dumped)
        self.wire.reset()

    def local(self, name: str) -> LocalHost:
        return ModelHost(self.wire, name, self.directory / name, self.settings)

    def peer(self, name: str) -> ZrepHost:
        if name not in self.world.state.hosts:
            raise UnreachableError(f"cannot reach {name}")
        return Peer(self.wire, self.local(name))

    @contextmanager
    def session(self, here: str, **options: Any) -> Iterator[Session]:
        self.wire.driver = here
        session = Session(
            Options(**options),
            self.settings,
            local=self.local(here),
            connect=self.peer,
            clock=lambda: float(self.world.state.now or 0),
            sleep=CLOCK.sleep,
            new_identity=lambda: f"{next(self._identities):08x}" * 2,
            say=self.said.append,
            warn=self.said.append,
        )
        try:
            yield session
        finally:
            session.close()

    def run(self, here: str, work: Work, **options: Any) -> Ended:
        """One run of zrep on a host, as the command line would end it."""
        self.world.pass_time(60)
        with self.session(here, **options) as session:
            try:
                done = work(session)
                found: list[Outcome | Row] = [*([done] if isinstance(done, Outcome) else done), *session.untidied]
            except ZrepError as error:
                return Ended(error.exit_code, error=error, lines=shown(session))
            except Killed:
                return Ended(None)
        outcomes = tuple(item for item in found if isinstance(item, Outcome))
        rows = tuple(item for item in found if isinstance(item, Row))
        return Ended(worst(item.code for item in found), outcomes, shown(session), rows)


def one_after_the_other(*readers: Callable[[], Done]) -> list[Done]:
    """In place of threads: the order of commands is the same in every run, so that a number names one of them."""
    return [reader() for reader in readers]


@contextmanager
def in_order() -> Iterator[None]:
    """One after the other, and no wait takes time: a run is the same whenever and wherever it runs."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (locking, reading, reads, execute):
            patch.setattr(module, "together", one_after_the_other)
        patch.setattr(running, "at_once", lambda works, limit, interrupted: one_after_the_other(*works))
        patch.setattr(locks, "time", CLOCK)
        yield
