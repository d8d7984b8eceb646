"""One host, as the operations see it; and the one that this program runs on.

The same class answers for the host zrep runs on (asked directly) and on the peer (through the helper of zrep.wire), so
that which of the two hosts drives an operation makes no difference to the operation.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from zrep import __version__
from zrep.core.errors import BugError, BusyError, RefusedError, ZrepError
from zrep.core.incoming import Incoming
from zrep.core.requests import Answer, Dial, Identify, Identity, Lock, ReadHolders, ReadRights, Request, Unlock
from zrep.core.rights import Rights
from zrep.core.steps import SendStream
from zrep.host import (  # noqa: F401  # each registers what it carries out
    changes,
    history,
    hooks,
    memory,
    pools,
    procfs,
    programs,
    quiesce,
    reads,
    schedule,
    sshd,
    streams,
    users,
    volumes,
)
from zrep.host.locks import Locks
from zrep.host.machine import Machine, carry_out
from zrep.zfs import commands, parse
from zrep.zfs.commands import Argv

if TYPE_CHECKING:
    from zrep.host.guard import Guard

# Told of each request while it is under way, by the name of its host.
Watch = Callable[[str, Request[Any]], AbstractContextManager[None]]


class Host(Protocol):
    """One host, as the operations see it: its name, whether it is this one, and whatever is asked of it."""

    name: str
    local: bool

    @property
    def answered(self) -> bool:
        """Whether it has said anything yet."""
        ...

    @property
    def noise(self) -> str:
        """What login files there printed before zrep began, the first line of it."""
        ...

    def ask(self, request: Request[Answer]) -> Answer:
        """Have a request carried out, for its answer. A ZrepError says why it was not; UnreachableError: the host did
        not answer, and whether it was is not known."""
        ...

    def sender(self, steps: Sequence[SendStream]) -> Argv:
        """The command here that brings streams out of that host, one after the other."""
        ...

    def receiver(self, steps: Sequence[tuple[SendStream, tuple[str, str]]], *, marked: bool) -> Argv:
        """The command here that takes streams into that host, one after the other, each under its receive lock as it
        was granted. marked: the first begins after a line that is STREAM_MARK."""
        ...

    def close(self) -> None:
        """Give up what is held there."""
        ...

    def hang_up(self, reason: ZrepError) -> None:
        """End at once what another thread has under way there; only for what changes nothing. reason: what it, and
        whoever asks later, hears."""
        ...


class OwnHost(Host, Protocol):
    """The host that zrep runs on: what only it is asked."""

    @property
    def locks(self) -> Locks: ...

    @property
    def directory(self) -> str:
        """Where locks and bookkeeping are kept."""
        ...

    def fence(self, command: str, about: dict[str, str]) -> tuple[int | None, str]:
        """Run a fence command, a line for sh; see programs.bounded for the answer."""
        ...

    def attend(self, argv: Sequence[str], extra: Mapping[str, str], folder: str) -> int:
        """Run an administrator's own command; see programs.attended."""
        ...


class LocalHost(Machine):
    """The host this program runs on. What it does beside requests, nobody else may have it do."""

    local = True
    answered = True
    noise = ""
    watch: Watch | None = None

    def ask(self, request: Request[Answer]) -> Answer:
        if self.watch is None:
            return self._carry_out(request)
        with self.watch(self.name, request):
            return self._carry_out(request)

    def _carry_out(self, request: Request[Answer]) -> Answer:
        answer: Answer = carry_out(request, self)
        return answer

    def sender(self, steps: Sequence[SendStream]) -> Argv:
        for step in steps:
            self.check_filter(step.outfilter, step.target)
        return streams.send(steps)

    def receiver(self, steps: Sequence[tuple[SendStream, tuple[str, str]]], *, marked: bool) -> Argv:
        for step, _ in steps:
            self.check_filter(step.infilter, step.target)
        return streams.receive(steps, marked=marked)

    def guard(self, incoming: Sequence[Incoming]) -> Guard:
        """What takes streams of another host into this one, one after the other."""
        from zrep.host.guard import Guard  # only a host that pulls needs it

        for each in incoming:
            self.check_filter(each.step.infilter, each.step.target)
        return Guard(incoming)

    def hang_up(self, reason: ZrepError) -> None:
        """Nobody is dialled."""

    def fence(self, command: str, about: dict[str, str]) -> tuple[int | None, str]:
        return hooks.fence(command, about)

    def attend(self, argv: Sequence[str], extra: Mapping[str, str], folder: str) -> int:
        return programs.attended(argv, extra, folder)


@carry_out.register(Identify)
def identify(request: Identify, machine: Machine) -> Identity:
    done = machine.runner.run(commands.version())
    version = parse.parse_version(done.out)
    if not version:
        raise RefusedError("cannot tell the OpenZFS version", evidence=(done.err or done.out).strip()[:200])
    text = ".".join(map(str, version))
    if version < (2, 1):
        raise RefusedError(f"OpenZFS {text} is too old", advice="zrep needs 2.1 or later")
    return Identity(machine.name, _boot_id(), __version__, text, time.time(), machine.settings.user)


@carry_out.register(ReadRights)
def read_rights(request: ReadRights, machine: Machine) -> Rights:
    return Rights(machine.user, machine.may_mount())


def _boot_id() -> str:
    return procfs.read("/proc/sys/kernel/random/boot_id").strip() or os.uname().nodename


@carry_out.register(Dial)
def dial(request: Dial, machine: Machine) -> Identity:
    if machine.dial is None:
        raise BugError(f"{machine.name} was not given a way to dial {request.host}")
    return machine.dial(request.host)


@carry_out.register(Lock)
def lock(request: Lock, machine: Machine) -> list[str]:
    busy = []
    give_up = time.monotonic() + request.wait
    for dataset in request.datasets:
        try:
            machine.locks.take(dataset, max(0.0, give_up - time.monotonic()))
        except BusyError:
            busy.append(dataset)
        else:
            machine.locks.note(dataset, request.tag)
    return busy


@carry_out.register(ReadHolders)
def read_holders(request: ReadHolders, machine: Machine) -> dict[str, tuple[str, int]]:
    try:
        found = [(dataset, machine.locks.holder(dataset)) for dataset in request.datasets]
    except RefusedError:  # who may make no directory for locks may look all the same
        return {}
    return {dataset: holder for dataset, holder in found if holder is not None}


@carry_out.register(Unlock)
def unlock(request: Unlock, machine: Machine) -> None:
    for dataset in request.datasets:
        machine.locks.drop(dataset)
