"""What -n stands on: hosts on which steps are shown and applied to what was read, and nothing is changed.

An operation runs against them as it runs against the real ones, so that the plan that is shown is the plan that runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zrep.core.apply import applied, received
from zrep.core.dataset import Member, Snapshot, Value
from zrep.core.errors import BugError
from zrep.core.role import Role
from zrep.core.steps import Rename, SendStream, Step, TakeRole
from zrep.host.local import Agent
from zrep.ops import read
from zrep.ops.execute import Executor, Line
from zrep.zfs import commands

_LOOKS = frozenset(
    (
        "run",
        "identity",
        "lock",
        "unlock",
        "recall",
        "occupants",
        "is_unmodified",
        "differences",
        "dial",
        "close",
        "locks",
    )
)


class DryRunHost:
    """One host as an operation would leave it. show: told each command that would run."""

    def __init__(self, host: Agent, tag: str, show: Callable[[Line], None]) -> None:
        self.name = host.name
        self.local = host.local
        self.host = host
        self.picture = self
        self._tag = tag
        self._show = show
        self._members: Mapping[str, Member] = {}
        self._absent: set[str] = set()
        # What a dataset that would be renamed is called as yet.
        self._names: dict[str, str] = {}

    # --- what would change something ---

    def carry_out(self, steps: Sequence[Step]) -> None:
        """Show steps and apply them. FailedError when one could not be carried out."""
        for step in steps:
            self._show(Line(self.name, commands.command(step)))
            self.observe(self._tag, list(step.datasets))
            self._now(applied(self._tag, self._members, step))
            if isinstance(step, Rename):
                self._names[step.new] = self._names.pop(step.dataset, step.dataset)

    def sends(self, step: SendStream) -> Member:
        """Show the sending half of a stream; the dataset it comes from."""
        self._show(Line(self.name, commands.send(step)))
        dataset = step.snapshot.partition("@")[0]
        return self.observe(self._tag, [dataset])[dataset]

    def receive(self, step: SendStream, source: Member) -> None:
        """Apply a stream whose target is here. source: the dataset it comes from."""
        self._show(Line(self.name, commands.receive(step)))
        self.observe(self._tag, [step.target])
        target = received(self._tag, self._members.get(step.target), step, source)
        self._now({**self._members, step.target: target})

    def _now(self, members: Mapping[str, Member]) -> None:
        self._absent = (self._absent | self._members.keys()) - members.keys()
        self._members = members

    def grant(self, tag: str, generations: dict[str, str]) -> dict[str, tuple[str, str]]:
        return {}

    def revoke(self, dataset: str) -> None:
        pass

    def end_receive(self, dataset: str) -> int:
        return 0

    def hooks(self, event: str, about: dict[str, str]) -> list[str]:
        return []

    def fence(self, command: str, about: dict[str, str]) -> tuple[int | None, str]:
        self._show(Line(self.name, ("sh", "-c", command)))
        return 0, ""

    def attend(self, argv: Sequence[str], extra: Mapping[str, str], folder: str) -> int:
        self._show(Line(self.name, tuple(argv)))
        return 0

    def remember(self, records: dict[str, dict[str, object]]) -> None:
        pass

    # --- what is read ---

    def __getattr__(self, name: str) -> Any:
        """What only looks is asked of the host itself."""
        if name in _LOOKS:
            return getattr(self.host, name)
        raise AttributeError(name)

    def observe(self, tag: str, names: Sequence[str], *, sync_txg: bool = False) -> dict[str, Member]:
        unknown = [name for name in names if name not in self._members and name not in self._absent]
        found = read.observe(self.host, tag, unknown, sync_txg=sync_txg) if unknown else {}
        self._members = {**self._members, **found}
        self._absent |= set(unknown) - found.keys()
        return {name: self._members[name] for name in names if name in self._members}

    def find_roles(self, tag: str) -> dict[str, Role]:
        real = read.find_roles(self.host, tag)
        kept = {name: role for name, role in real.items() if name not in self._absent}
        return {**kept, **{name: member.role for name, member in self._members.items() if _has_role(tag, member)}}

    def snapshots(self, names: Sequence[str]) -> dict[str, Snapshot]:
        self.observe(self._tag, sorted({name.partition("@")[0] for name in names}))
        known = {f"{member.name}@{s.name}": s for member in self._members.values() for s in member.snapshots}
        return {name: known[name] for name in names if name in known}

    def below(self, name: str) -> list[str]:
        real = read.observe_children(self.host, self._names.get(name, name)) if name not in self._absent else []
        return sorted({*real, *(other for other in self._members if other.startswith(f"{name}/"))} - self._absent)

    def all_properties(self, name: str) -> Mapping[str, Value]:
        real = read.read_all_properties(self.host, self._names.get(name, name))
        return {**real, **self.observe(self._tag, [name])[name].properties}

    def delegations(self, name: str) -> list[tuple[str, ...]]:
        return read.read_delegations(self.host, self._names.get(name, name))


class DryRun(Executor):
    """An executor whose streams are shown and applied too; both hosts are DryRunHosts."""

    def take_role(self, step: TakeRole) -> str:
        self.carry_out(step.end, [step])
        return ""

    def side_by_side(self, works: Sequence[Callable[[], None]]) -> None:
        for work in works:
            work()

    def _stream(self, step: SendStream, generation: str) -> None:
        source, target = self.source, self.target
        if not isinstance(source, DryRunHost) or not isinstance(target, DryRunHost):
            raise BugError("a stream of a dry run would run")
        target.receive(step, source.sends(step))


def _has_role(tag: str, member: Member) -> bool:
    return any(value.local for key, value in member.properties.items() if key.startswith(f"{tag}:"))
