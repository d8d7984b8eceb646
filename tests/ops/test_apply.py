"""What core/apply says a dataset looks like after a step is what is read after it, in every operation on the model.

The model's answers are those of real OpenZFS (tests/contract).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.ops.hosts import Hosts
from tests.ops.pairs import good
from tests.ops.test_dry_run import CASES, Case, ran
from zrep.core.apply import applied, received
from zrep.core.dataset import Member
from zrep.core.steps import Change, SendStream
from zrep.host.local import Host
from zrep.ops.execute import Executor
from zrep.ops.read import observe
from zrep.zfs import commands

TAG = "zrep"
# What is told of a dataset: the rest are sizes, and identities that only ZFS makes.
TOLD = ("type", "readonly", "mounted", "mountpoint", "canmount", "origin", "receive_resume_token", "sharenfs")


def told(member: Member) -> dict[str, object]:
    """What core/apply promises of a dataset."""
    found: dict[str, object] = {key: member.get(key) for key in TOLD if not (member.volume and key in ("mounted",))}
    found["readonly is local"] = member.properties["readonly"].source == "local"
    found["written"] = member.number("written") > 0
    found["role"] = member.role
    found["snapshots"] = [
        (s.name, s.guid if s.guid.isdigit() else "new", sorted(s.holds), s.sent, sorted(s.clones))
        for s in member.snapshots
    ]
    return found


def same(expected: dict[str, object], seen: dict[str, object]) -> list[str]:
    """Where they differ; a new snapshot has any guid."""
    found = []
    for key, value in expected.items():
        other = seen[key]
        if key == "snapshots":
            assert isinstance(value, list)
            assert isinstance(other, list)
            names = {one[0] for one in value if one[1] == "new"}
            other = [(one[0], "new", *one[2:]) if one[0] in names else one for one in other]
        if value != other:
            found.append(f"{key}: {value} and not {other}")
    return found


@dataclass
class Witness:
    """Looks at the datasets of a host before and after what is carried out there."""

    hosts: Hosts
    wrong: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def look(self, host: Host) -> dict[str, Member]:
        names = list(self.hosts.world.state.hosts[host.name].datasets)
        return observe(host, TAG, names)

    def compare(self, what: str, expected: dict[str, Member], host: Host) -> None:
        found = self.look(host)
        if expected.keys() != found.keys():
            self.wrong.append(f"{what}: {sorted(expected)} and not {sorted(found)}")
        for name in expected.keys() & found.keys():
            self.wrong += [f"{what}: {name}: {line}" for line in same(told(expected[name]), told(found[name]))]

    def carried_out(self, executor: Executor, batch: Sequence[Change], work: Callable[[], None]) -> None:
        host = executor.host(batch[0].end)
        expected = self.look(host)
        for step in batch:
            self.seen.add(type(step).__name__)
            expected = applied(TAG, expected, step)
        work()
        self.compare("; ".join(" ".join(commands.command(step)) for step in batch), expected, host)

    def streamed(self, executor: Executor, step: SendStream, work: Callable[[], None]) -> None:
        self.seen.add(type(step).__name__)
        source = self.look(executor.source)[step.snapshot.partition("@")[0]]
        targets = self.look(executor.target)
        expected = {**targets, step.target: received(TAG, targets.get(step.target), step, source)}
        work()
        self.compare(" ".join(commands.send(step)), expected, executor.target)


@contextmanager
def witnessed(hosts: Hosts) -> Iterator[Witness]:
    """Everything that is carried out meanwhile is looked at."""
    witness = Witness(hosts)
    plain_carry_out, plain_stream = Executor.carry_out, Executor._stream

    def carry_out(executor: Executor, batch: Sequence[Change]) -> None:
        witness.carried_out(executor, batch, lambda: plain_carry_out(executor, batch))

    def stream(executor: Executor, step: SendStream, generation: str) -> None:
        witness.streamed(executor, step, lambda: plain_stream(executor, step, generation))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Executor, "carry_out", carry_out)
        patch.setattr(Executor, "_stream", stream)
        yield witness


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_said_to_be_there_is_there(hosts: Hosts, case: Case) -> None:
    case.start(hosts)
    hosts.wire.reset()
    hosts.wire.cut = case.alone
    with witnessed(hosts) as witness:
        good(hosts.run(case.host, case.work, **dict(case.options)))
    assert not witness.wrong, "\n".join(witness.wrong)
    assert bool(witness.seen) == bool(ran(hosts.wire.log))
