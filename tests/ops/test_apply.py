"""What core/apply says a dataset looks like after a step is what is read after it, in every operation on the model.

The model's answers are those of real OpenZFS (tests/contract).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from tests.ops.hosts import Hosts
from tests.ops.pairs import good
from tests.ops.picture import TAG, differences, look
from tests.ops.test_dry_run import CASES, Case, ran
from zrep.core.apply import applied, received
from zrep.core.dataset import Member
from zrep.core.errors import ZrepError
from zrep.core.pair import End
from zrep.core.requests import Taken, TakeSnapshots
from zrep.core.steps import Change, TakeRole, TakeSnapshot
from zrep.host.local import Host
from zrep.ops.execute import Executor, Stream
from zrep.zfs import commands

Answer = TypeVar("Answer")
Errors = list[ZrepError | None]


@dataclass
class Witness:
    """Looks at the datasets of a host before and after what is carried out there. seen: the commands of that."""

    hosts: Hosts
    wrong: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def look(self, host: Host) -> dict[str, Member]:
        return look(host, self.hosts[host.name])

    def compare(self, what: str, expected: dict[str, Member], host: Host) -> None:
        self.wrong += [f"{what}: {line}" for line in differences(expected, self.look(host))]

    def carried_out(self, host: Host, batch: Sequence[Change | TakeRole], work: Callable[[], Answer]) -> Answer:
        expected = self.look(host)
        for step in batch:
            self.seen.append(f"{host.name}: {' '.join(commands.command(step))}")
            expected = applied(TAG, expected, step)
        answer = work()
        self.compare("; ".join(" ".join(commands.command(step)) for step in batch), expected, host)
        return answer

    def streamed(self, executor: Executor, streams: Sequence[Stream], work: Callable[[], Errors]) -> Errors:
        expected = self.look(executor.target)
        said = [" ".join(commands.send(each.step)) for each in streams]
        self.seen += [f"{executor.source.name}: {line}" for line in said]
        for each in streams:
            source = self.look(executor.source)[each.step.snapshot.partition("@")[0]]
            expected = received(TAG, expected, each.step, source)
        errors = work()
        if not any(errors):
            self.compare("; ".join(said), expected, executor.target)
        return errors


@contextmanager
def witnessed(hosts: Hosts) -> Iterator[Witness]:
    """Everything that is carried out meanwhile is looked at."""
    witness = Witness(hosts)
    plain_carried, plain_take_role, plain_stream = Executor._carried, Executor.take_role, Executor.stream
    plain_take_snapshots = Executor.take_snapshots

    def carried(executor: Executor, batch: Sequence[Change]) -> tuple[int, ZrepError | None]:
        return witness.carried_out(executor.host(batch[0].end), batch, lambda: plain_carried(executor, batch))

    def take_role(executor: Executor, step: TakeRole) -> str:
        return witness.carried_out(executor.host(step.end), [step], lambda: plain_take_role(executor, step))

    def take_snapshots(executor: Executor, request: TakeSnapshots) -> Taken:
        names = tuple(name for moment in request.moments for name in moment.snapshots)
        step = TakeSnapshot(End.SOURCE, request.tag, names)
        return witness.carried_out(executor.source, [step], lambda: plain_take_snapshots(executor, request))

    def stream(executor: Executor, streams: Sequence[Stream]) -> Errors:
        return witness.streamed(executor, streams, lambda: plain_stream(executor, streams))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Executor, "_carried", carried)
        patch.setattr(Executor, "take_role", take_role)
        patch.setattr(Executor, "take_snapshots", take_snapshots)
        patch.setattr(Executor, "stream", stream)
        yield witness


@pytest.mark.thorough
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_said_to_be_there_is_there(hosts: Hosts, case: Case) -> None:
    case.start(hosts)
    hosts.wire.reset()
    hosts.wire.cut = case.alone
    with witnessed(hosts) as witness:
        good(hosts.run(case.host, case.work, **dict(case.options)))
    assert not witness.wrong, "\n".join(witness.wrong)
    seen = [line for line in witness.seen if ": zpool sync " not in line]
    assert seen == ran(hosts.wire.log), "something was carried out and not looked at"
