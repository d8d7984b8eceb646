"""What -n stands on: hosts on which steps are shown and applied to what was read, and nothing is changed.

An operation runs against them as it runs against the real ones, so that the plan that is shown is the plan that runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from zrep.core.apply import applied, received
from zrep.core.dataset import Member, Snapshot, Value
from zrep.core.errors import BugError, ZrepError
from zrep.core.pair import End
from zrep.core.requests import (
    Answer,
    Carried,
    CarryOut,
    EndReceive,
    FindRoles,
    Found,
    Grant,
    ReadAllProperties,
    ReadChildren,
    ReadDelegations,
    ReadMarked,
    ReadMembers,
    ReadRole,
    ReadSnapshots,
    Remember,
    Request,
    Revoke,
    RunHooks,
    Taken,
    TakeRole,
    TakeSnapshots,
)
from zrep.core.role import Role
from zrep.core.steps import Rename, SendStream, Step, TakeSnapshot
from zrep.host.local import Host, LocalHost
from zrep.ops import read
from zrep.ops.execute import Executor, Line, Stream
from zrep.zfs import commands
from zrep.zfs.commands import Argv


class DryRunHost:
    """One host as an operation would leave it: what only looks is asked of the host itself, and what would be changed
    is shown, and applied to what was read. show: told each command that would run."""

    def __init__(self, host: Host, tag: str, show: Callable[[Line], None]) -> None:
        self.name = host.name
        self.local = host.local
        self._host = host
        self._tag = tag
        self._show = show
        self._members: Mapping[str, Member] = {}
        self._absent: set[str] = set()
        # The trees that were read.
        self._whole: set[str] = set()
        # What a dataset that would be renamed is called as yet.
        self._names: dict[str, str] = {}

    @property
    def answered(self) -> bool:
        return self._host.answered

    @property
    def noise(self) -> str:
        return self._host.noise

    def ask(self, request: Request[Answer]) -> Answer:
        answer: Answer = self._looked(request) if request.looks else self._pretended(request)
        return answer

    def _looked(self, request: Request[Any]) -> Any:
        """The answer to a request that changes nothing; of what would have been changed, as it would be."""
        match request:
            case ReadMembers():
                return self._read(request)
            case ReadRole(tag=tag, dataset=dataset):
                member = self._observe(tag, [dataset]).get(dataset)
                return member.role if member else None
            case FindRoles(tag=tag):
                return self._find_roles(tag)
            case ReadSnapshots(snapshots=names):
                return self._snapshots(names)
            case ReadChildren(dataset=name):
                return self._below(name)
            case ReadAllProperties(dataset=name):
                return self._all_properties(name)
            case ReadMarked(name=name):
                return self._marked(name)
            case ReadDelegations(dataset=name):
                return read.read_delegations(self._host, self._names.get(name, name))
        return self._host.ask(request)

    def _pretended(self, request: Request[Any]) -> Any:
        """The answer to a request that would change something. FailedError when it could not be carried out."""
        match request:
            case CarryOut(steps=steps):
                self._apply(steps)
                return Carried(len(steps))
            case TakeRole(step=step):
                self._apply([step])
                return Carried(1)
            case TakeSnapshots(tag=tag, moments=moments):
                self._apply([TakeSnapshot(End.SOURCE, tag, tuple(name for x in moments for name in x.snapshots))])
                return Taken()
            case Revoke() | Remember():
                return None
            case EndReceive():
                return 0
            case Grant():
                return {}
            case RunHooks():
                return []
        raise BugError(f"a dry run would have asked {self.name}: {type(request).__name__}")

    def sender(self, steps: Sequence[SendStream]) -> Argv:
        raise BugError("a stream of a dry run would run")

    def receiver(self, steps: Sequence[tuple[SendStream, tuple[str, str]]], *, marked: bool) -> Argv:
        raise BugError("a stream of a dry run would run")

    def close(self) -> None:
        self._host.close()

    def hang_up(self, reason: ZrepError) -> None:
        self._host.hang_up(reason)

    # --- what would change something ---

    def _apply(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._show(Line(self.name, commands.command(step)))
            self._observe(self._tag, step.datasets)
            self._now(applied(self._tag, self._members, step))
            if isinstance(step, Rename):
                self._names[step.new] = self._names.pop(step.dataset, step.dataset)

    def send(self, step: SendStream) -> Member:
        """Show the sending half of a stream; the dataset it comes from."""
        self._show(Line(self.name, commands.send(step)))
        dataset = step.snapshot.partition("@")[0]
        return self._observe(self._tag, [dataset])[dataset]

    def receive(self, step: SendStream, source: Member) -> None:
        """Show the receiving half of a stream, and apply it. source: the dataset it comes from."""
        self._show(Line(self.name, commands.receive(step)))
        self._observe(self._tag, [step.target])
        self._now(received(self._tag, self._members, step, source))

    def _now(self, members: Mapping[str, Member]) -> None:
        self._absent = (self._absent | self._members.keys()) - members.keys()
        self._members = members

    # --- what is read ---

    def _read(self, request: ReadMembers) -> Found:
        """A tree is read whole once: what would be added to it, or renamed in it, is known from then on."""
        names = request.datasets
        trees = tuple(name for name in request.trees if name not in self._whole and name not in self._absent)
        new = (name for name in names if name not in self._members and name not in self._absent)
        unknown = tuple(dict.fromkeys((*new, *trees)))
        found = self._host.ask(replace(request, datasets=unknown, trees=trees)) if unknown else Found({})
        real = {name: member for name, member in found.members.items() if name not in self._absent}
        self._members = {**real, **self._members}
        self._whole.update(trees)
        self._absent |= set(unknown) - found.members.keys() - found.failed.keys() - self._members.keys()
        below = tuple(f"{name}/" for name in request.trees)
        asked = (*(name for name in names if name in self._members), *self._members)
        members = {name: self._members[name] for name in asked if name in names or (below and name.startswith(below))}
        return Found(members, found.failed)

    def _observe(self, tag: str, names: Sequence[str]) -> dict[str, Member]:
        return read.observe(self, tag, names)

    def _find_roles(self, tag: str) -> dict[str, Role]:
        real = read.find_roles(self._host, tag)
        kept = {name: role for name, role in real.items() if name not in self._absent}
        return {**kept, **{name: member.role for name, member in self._members.items() if _has_role(tag, member)}}

    def _marked(self, mark: str) -> list[tuple[str, str]]:
        real = {name: value for name, value in read.read_marked(self._host, mark) if name not in self._absent}
        own = {name: member.properties[mark] for name, member in self._members.items() if mark in member.properties}
        kept = {name: value for name, value in real.items() if name not in own}
        return [*kept.items(), *((name, value.value) for name, value in own.items() if value.local)]

    def _snapshots(self, names: Sequence[str]) -> dict[str, Snapshot]:
        self._observe(self._tag, sorted({name.partition("@")[0] for name in names}))
        known = {f"{member.name}@{s.name}": s for member in self._members.values() for s in member.snapshots}
        return {name: known[name] for name in names if name in known}

    def _below(self, name: str) -> list[str]:
        real = read.observe_children(self._host, self._names.get(name, name)) if name not in self._absent else []
        return sorted({*real, *(other for other in self._members if other.startswith(f"{name}/"))} - self._absent)

    def _all_properties(self, name: str) -> Mapping[str, Value]:
        real = read.read_all_properties(self._host, self._names.get(name, name))
        return {**real, **self._observe(self._tag, [name])[name].properties}


class DryRunOwnHost(DryRunHost):
    """The same of the host that zrep runs on."""

    def __init__(self, host: LocalHost, tag: str, show: Callable[[Line], None]) -> None:
        super().__init__(host, tag, show)
        self.locks = host.locks
        self._own = host

    @property
    def directory(self) -> str:
        return self._own.directory

    def fence(self, command: str, about: dict[str, str]) -> tuple[int | None, str]:
        self._show(Line(self.name, ("sh", "-c", command)))
        return 0, ""

    def attend(self, argv: Sequence[str], extra: Mapping[str, str], folder: str) -> int:
        self._show(Line(self.name, tuple(argv)))
        return 0


class DryRun(Executor):
    """An executor whose streams are shown and applied too; both hosts are DryRunHosts."""

    def side_by_side(self, works: Sequence[Callable[[], None]]) -> None:
        for work in works:
            work()

    def stream(self, streams: Sequence[Stream]) -> list[ZrepError | None]:
        source, target = self.source, self.target
        if not isinstance(source, DryRunHost) or not isinstance(target, DryRunHost):
            raise BugError("a stream of a dry run would run")
        for each in streams:
            target.receive(each.step, source.send(each.step))
        return [None] * len(streams)


def _has_role(tag: str, member: Member) -> bool:
    return any(value.local for key, value in member.properties.items() if key.startswith(f"{tag}:"))
