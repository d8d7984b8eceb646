"""Carrying out steps, each on the host of the end it names."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from zrep.core import steps
from zrep.core.errors import BugError, FailedError, RefusedError, UnreachableError, ZrepError
from zrep.core.incoming import Incoming, Wanted
from zrep.core.pair import End
from zrep.core.requests import CarryOut, Grant, Revoke, Taken, TakeRole, TakeSnapshots
from zrep.host.local import Host, LocalHost
from zrep.host.parallel import together
from zrep.host.process import Progress, Receiver
from zrep.host.streams import RECEIVE_UNWANTED, gate_refusal, parts, stream_refusal
from zrep.ops.stream_progress import Follower
from zrep.zfs import commands
from zrep.zfs import errors as zfs_errors
from zrep.zfs.commands import Argv, Completed

# Snapshots that one request destroys: all of them in one transaction group, which others wait for.
_MOST_DESTROYED = 256
# The exit status of an ssh that lost its connection, or never had one.
SSH_FAILED = 255


class Line(Struct, frozen=True):
    """One command of a plan, for --dry-run: on which host, and its words."""

    host: str
    argv: tuple[str, ...]


class Stream(Struct, frozen=True):
    """A stream between two hosts. executor: that of its pair; wanted: what it has to be; generation: what its receiver
    must have (or NO_GENERATION), where it has not been looked at already (granted)."""

    executor: Executor
    step: steps.SendStream
    wanted: Wanted
    generation: str


class Sent(Struct, frozen=True):
    """What has been sent. size: bytes; begun, ended: when, by a clock of its own; long: it took so long that its pace
    says something."""

    size: int
    begun: float
    ended: float
    long: bool

    @property
    def pace(self) -> int:
        """Bytes a second."""
        return int(self.size / (self.ended - self.begun))

    @property
    def took(self) -> int:
        """Milliseconds, at least one."""
        return max(1, round(1000 * (self.ended - self.begun)))


class _Clock:
    """How far each of the streams that share a pipe has come, and when it began."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._begun: dict[int, float] = {}
        self._seen: dict[int, Progress] = {}
        self._long: set[int] = set()

    def note(self, progress: Progress) -> None:
        self._begun.setdefault(progress.stream, time.monotonic() if self._begun else self._start)
        self._seen[progress.stream] = progress
        if not progress.begins:  # zfs send tells how far it is once a second: this one takes longer
            self._long.add(progress.stream)

    def sent(self) -> dict[int, Sent]:
        """What was sent of each, by its number, now that the last one has ended."""
        now = time.monotonic()
        return {
            number: Sent(
                max(seen.sent, seen.total), self._begun[number], self._begun.get(number + 1, now), number in self._long
            )
            for number, seen in self._seen.items()
        }


def _portions(plan: Iterable[steps.DestroySnapshots]) -> Iterator[list[steps.DestroySnapshots]]:
    """Divide what goes among requests."""
    portion: list[steps.DestroySnapshots] = []
    for step in plan:
        if portion and sum(len(each.names) for each in (*portion, step)) > _MOST_DESTROYED:
            yield portion
            portion = []
        portion.append(step)
    if portion:
        yield portion


class Executor:
    """The hosts at the two ends of a pair's streams."""

    def __init__(
        self,
        driver: LocalHost,
        source: Host,
        target: Host,
        tag: str,
        follower: Follower | None = None,
        leave: Callable[[str, ZrepError], None] = lambda snapshot, error: None,
        note: Callable[[str, str], None] = lambda dataset, said: None,
    ) -> None:
        self.driver = driver
        self.source = source
        self.target = target
        self.tag = tag
        self.follower = follower
        # Told of each snapshot that could not be expired, by full name.
        self.leave = leave
        # Told what a stream's receiver said although it succeeded, by host and dataset.
        self.note = note
        # The streams that have arrived, of all that share them: those of a tree, and those the other way.
        self._arrived: list[Sent] = []
        # The receive token for the next stream where one has been granted already, with those of others.
        self.granted: tuple[str, str] | None = None
        # The target's dataset that has the role: that of a stream, or the root of the tree that its target is in.
        self.root = ""

    def within(self, root: str) -> Executor:
        """The same two hosts for a member of the tree of a target's root."""
        other = type(self)(self.driver, self.source, self.target, self.tag, self.follower, self.leave)
        other.root = root
        other._arrived = self._arrived
        return other

    def include(self, other: Executor) -> None:
        """Count what another has brought too."""
        self._arrived += other._arrived

    @property
    def turned(self) -> Executor:
        """The same two hosts with the streams going the other way."""
        other = type(self)(self.driver, self.target, self.source, self.tag, self.follower, self.leave, self.note)
        other._arrived = self._arrived
        return other

    @property
    def sent(self) -> Sent | None:
        """All that has arrived, from the beginning of the first stream to the end of the last."""
        if not self._arrived:
            return None
        return Sent(
            sum(each.size for each in self._arrived),
            min(each.begun for each in self._arrived),
            max(each.ended for each in self._arrived),
            any(each.long for each in self._arrived),
        )

    def host(self, end: End) -> Host:
        return self.source if end is End.SOURCE else self.target

    def do_all(self, plan: Iterable[steps.Step]) -> None:
        """Steps in order; neighbours at one end are one request, which ends at the first that fails."""
        batch: list[steps.Change] = []
        for step in plan:
            if batch and not (isinstance(step, steps.Change) and step.end is batch[0].end):
                self.carry_out(batch)
                batch = []
            if isinstance(step, steps.Change):
                batch.append(step)
            else:
                self.do(step)
        if batch:
            self.carry_out(batch)

    @property
    def pulls(self) -> bool:
        """Whether streams come from another host to this one, which takes of them no more than their data."""
        return self.target.local and not self.source.local

    def send(self, step: steps.SendStream, wanted: Wanted, generation: str) -> None:
        """One stream; its typed error when it fails."""
        for error in filter(None, self.stream([Stream(self, step, wanted, generation)])):
            raise error

    def do(self, step: steps.Step) -> None:
        """One step; its typed error when it fails."""
        match step:
            case steps.Change():
                self.carry_out([step])
            case _:
                raise BugError(f"{step} is no step to be carried out like any other")

    def carry_out(self, batch: Sequence[steps.Change]) -> None:
        """Steps at one end, in one request; the typed error of the first that fails."""
        _, error = self._carried(batch)
        if error is not None:
            raise error

    def _carried(self, batch: Sequence[steps.Change]) -> tuple[int, ZrepError | None]:
        """How many steps at one end were done, in one request, and why the next one failed."""
        host = self.host(batch[0].end)
        carried = host.ask(CarryOut(tuple(batch)))
        if carried.failure is None:
            return carried.done, None
        return carried.done, zfs_errors.placed(zfs_errors.as_error(carried.failure), host.name)

    def tidy(self, plan: Sequence[steps.DestroySnapshots]) -> None:
        """Let snapshots at one end go that nobody needs. One that somebody uses stays, and is told of: the next run
        tries again. That is no reason to call what was done before it a failure."""
        for portion in _portions(plan):
            self._tidy(portion)

    def _tidy(self, portion: Sequence[steps.DestroySnapshots]) -> None:
        """The same in one request, and in more around what stays. zfs destroys all snapshots of a step, or none."""
        left = list(portion)
        while left:
            try:
                done, error = self._carried(left)
            except UnreachableError:
                raise
            except ZrepError as refused:
                if len(left) > 1:  # for one of them
                    for step in left:
                        self._tidy([step])
                    return
                done, error = 0, refused
            if error is None:
                return
            stays, left = left[done], left[done + 1 :]
            if len(stays.names) > 1:
                self._tidy([replace(stays, names=(name,)) for name in stays.names])
            else:
                self.leave(stays.full[0], error)

    def take_role(self, step: steps.TakeRole) -> str:
        """Ask an end to take the role, in one guarded request; "" when it has, else what was said: then only what is
        read tells whether it has. RefusedError when the guard has said no."""
        try:
            carried = self.host(step.end).ask(TakeRole(self.tag, step))
        except FailedError as error:
            return error.line()
        return zfs_errors.as_error(carried.failure).line() if carried.failure else ""

    def take_snapshots(self, request: TakeSnapshots) -> Taken:
        """Have the source take snapshots, with the administrator's programs around them."""
        return self.source.ask(request)

    def try_do(self, step: steps.Step) -> ZrepError | None:
        """One step whose failure is reported, not raised."""
        try:
            self.do(step)
        except ZrepError as error:
            return error
        return None

    def side_by_side(self, works: Sequence[Callable[[], None]]) -> None:
        """Do what does not depend on each other at the same time."""
        together(*works)

    def stream(self, streams: Sequence[Stream]) -> list[ZrepError | None]:
        """Bring streams over, one after the other through one pipe; what went wrong with each. One that fails ends the
        pipe: those after it are sent again, through another one. Only what all of them share is the error of all."""
        found: dict[int, ZrepError | None] = {}
        while len(found) < len(streams):
            admitted: dict[int, tuple[Stream, tuple[str, str]]] = {}
            for number in (number for number in range(len(streams)) if number not in found):
                try:
                    each = streams[number]
                    admitted[number] = each, each.executor.take_grant(each.step.target, each.generation)
                except ZrepError as error:
                    found[number] = error
            if admitted:
                try:
                    ended = self._pipe(list(admitted.values()))
                except ZrepError as error:
                    ended = [copy.copy(error) for _ in admitted]
                found.update(zip(admitted, ended, strict=False))
        return [found[number] for number in range(len(streams))]

    def _pipe(self, admitted: Sequence[tuple[Stream, tuple[str, str]]]) -> list[ZrepError | None]:
        """Send and receive, joined by the kernel. The receivers' locks are granted to the processes that receive. What
        went wrong with each stream, up to the first that failed."""
        moving = [each.step for each, _ in admitted]
        sender = self.source.sender(moving)
        receiver = self._receiver(admitted)
        locks = {name for step in moving for name in (step.snapshot.partition("@")[0], step.target)}
        clock = _Clock()
        if self.follower:
            self.follower.begin(self._own(moving[0]))

        def note(progress: Progress) -> None:
            clock.note(progress)
            at = min(progress.stream, len(moving) - 1)
            if self.follower and not progress.begins:
                for step in moving[:at]:
                    self.follower.end(self._own(step), step.snapshot)
                self.follower.note(self._own(moving[at]), moving[at].snapshot, progress)

        try:
            sent, received = self.driver.runner.pipe(
                sender, receiver, keep=self.driver.locks.descriptors(locks), progress=note
            )
        except ZrepError:
            with suppress(ZrepError):
                self.target.ask(Revoke(tuple(step.target for step in moving)))
            raise
        finally:
            if self.follower:
                for step in moving:
                    self.follower.end(self._own(step), step.snapshot)
        self.target.ask(Revoke(tuple(step.target for step in moving)))
        sizes = clock.sent()
        ended = self._ended(moving, sent, received)
        for step, error in zip(moving, ended, strict=False):
            if self.follower and error is None:
                self.follower.arrived(step.snapshot)
        for number, error in enumerate(ended):
            if error is None and number in sizes:
                admitted[number][0].executor._arrived.append(sizes[number])
        return ended

    def _receiver(self, admitted: Sequence[tuple[Stream, tuple[str, str]]]) -> Argv | Receiver:
        """What takes streams into the target: on another host that sees to it itself, by its gate."""
        if self.pulls:
            return self.driver.guard([Incoming(each.step, each.wanted, *granted) for each, granted in admitted])
        return self.target.receiver([(each.step, granted) for each, granted in admitted], marked=not self.source.local)

    def _own(self, step: steps.SendStream) -> str:
        """The dataset of a stream that is on this host: on whose host it is followed."""
        return step.snapshot.partition("@")[0] if self.source.local else step.target

    def _ended(
        self, moving: Sequence[steps.SendStream], sent: Completed, received: Completed
    ) -> list[ZrepError | None]:
        """What went wrong with each stream, up to the first that failed; with all of them where ssh has."""
        found: list[ZrepError | None] = []
        sides = zip(moving, parts(sent, len(moving)), parts(received, len(moving)), strict=True)
        for step, at_source, at_target in sides:
            if at_target is None or at_source is None:
                break
            error = self._failure(step, at_source, at_target)
            found.append(error)
            if at_target.status == SSH_FAILED or at_source.status == SSH_FAILED:
                return [*found, *(copy.copy(error) for _ in moving[len(found) :])]
            if error is not None:
                break
            for said in zfs_errors.warnings(at_target, step.exclude):
                self.note(f"{self.target.name}:{step.target}", said)
        return found

    def _failure(self, step: steps.SendStream, sent: Completed, received: Completed) -> ZrepError | None:
        for done, host in ((received, self.target), (sent, self.source)):
            if missing := zfs_errors.missing_program(done, host.name):
                return missing.about(step.target)
            if refused := gate_refusal(done, host.name):
                return refused
        if received.status == RECEIVE_UNWANTED:
            return _unwanted(self.source.name, step, received)
        # Named by the command itself, not by the ssh that carried it.
        error = _judge(step, replace(sent, argv=commands.send(step)), replace(received, argv=commands.receive(step)))
        # A sender needs no room.
        return zfs_errors.placed(error, self.target.name) if error else None

    def take_grant(self, target: str, generation: str) -> tuple[str, str]:
        """The receive token for a target, where it has been granted already, else once it has been looked at again.
        RefusedError when it is not let in."""
        granted, self.granted = self.granted, None
        return granted or self._grant(target, generation)

    def _grant(self, target: str, generation: str) -> tuple[str, str]:
        granted = self.target.ask(Grant(self.tag, {target: generation}, {target: self.root or target}))
        if target not in granted:
            raise RefusedError(
                "the stream was not accepted", filesystem=target, evidence="it is no longer a replica of its generation"
            )
        return granted[target]


def _unwanted(source: str, step: steps.SendStream, received: Completed) -> RefusedError:
    return RefusedError(
        f"what {source} sent is not what was asked for, and was not received",
        filesystem=step.target,
        evidence=(received.err.strip().splitlines() or [""])[-1],
        advice=f"find out who is root on {source}, and what zfs is there; then try again",
    )


def _judge(step: steps.SendStream, sent: Completed, received: Completed) -> ZrepError | None:
    """Find why a stream failed, the cause and not its echo: a sender that died shows as a broken stream at the
    receiver, a receiver that refused shows as a broken pipe at the sender."""
    if received.status == 0 and sent.status == 0:
        return None
    if refusal := stream_refusal(received.status, step.target):
        return refusal
    at_receiver = zfs_errors.error(received) if received.status != 0 else None
    if at_receiver is not None and not isinstance(at_receiver, zfs_errors.BrokenStreamError) and received.err.strip():
        return at_receiver
    if sent.status != 0 or ((step.outfilter or step.compress or step.bwlimit) and sent.err.strip()):
        # Behind a filter the status is the filter's; what zfs send said is its own.
        at_sender = zfs_errors.error(sent)
        absent = isinstance(at_sender, zfs_errors.AbsentError)
        return zfs_errors.gone_meanwhile(at_sender.evidence) if absent else at_sender
    return at_receiver
