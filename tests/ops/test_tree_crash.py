"""The crash loop over trees: at every command of every operation something goes wrong; the same run again, and cron's,
make it good, every member of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Ended, Hosts, Mode, Work
from tests.ops.pairs import SYNC_ALL, A, B
from tests.ops.plugin import one_in
from tests.ops.test_crash import differences, hit_all, said


@dataclass(frozen=True, slots=True)
class Scenario:
    """Where it begins and what is run. alone: the link is cut while it runs without a fault, too; every: of all cases
    only one in so many."""

    name: str
    start: Callable[[Hosts], None]
    work: Work
    host: str = "alpha"
    alone: bool = False
    every: int = 1


SCENARIOS = [
    Scenario("init", trees.planted, trees.INIT),
    Scenario("sync", trees.written, SYNC_ALL),
    Scenario("sync of a tree that has changed", trees.changed, SYNC_ALL),
    Scenario("sync of clones", trees.cloned, SYNC_ALL),
    Scenario("sync of keys", trees.keyed, SYNC_ALL),
    Scenario("failover", trees.written, pairs.failing_over(A)),
    Scenario("takeover", trees.changed, pairs.taking_over(B), "beta"),
    Scenario("takeover -L", trees.grown, pairs.forcing(B), "beta", alone=True),
    Scenario("rejoin", trees.promoted, pairs.rejoining(A)),
    Scenario("rejoin with a tail", trees.diverged, pairs.rejoining(A)),
    Scenario(
        "rejoin with a tail of the root",
        partial(trees.diverged, written=(A, f"{A}/x/deep")),
        pairs.rejoining(A),
        every=5,
    ),
    Scenario("rejoin with a tail under keys of their own", trees.locked, pairs.rejoining(A)),
    Scenario(
        "rejoin with a tail of all, under keys of their own",
        partial(trees.locked, written=("", *trees.LOCKED), root=trees.KEY),
        pairs.rejoining(A),
        every=3,
    ),
    Scenario("clear", trees.grown, pairs.clearing(A)),
]


class Loop:
    """One scenario: its end without a fault, and one case after the other from the same start."""

    def __init__(self, hosts: Hosts, scenario: Scenario) -> None:
        self.hosts, self.scenario = hosts, scenario
        scenario.start(hosts)
        hosts.wire.reset()
        self.dumped = hosts.world.dump()
        ended = self.run()
        assert ended.code == 0, ended.text
        self.commands = list(hosts.wire.log)
        trees.cron(hosts)
        self.end = trees.picture(hosts)

    def run(self) -> Ended:
        self.hosts.wire.cut = self.scenario.alone
        ended = self.hosts.run(self.scenario.host, self.scenario.work)
        self.hosts.wire.cut = False
        return ended

    def case(self, mode: Mode, at: int) -> list[str]:
        """What is wrong with one case; nothing when all is well."""
        hosts = self.hosts
        hosts.load(self.dumped)
        hosts.wire.reset(mode, at)
        first = self.run()
        assert len(hosts.wire.log) > at, "the fault was not reached"
        hosts.wire.heal()
        second = self.run()
        trees.cron(hosts)
        end = trees.picture(hosts)
        if end != self.end:
            return [f"another end: {differences(self.end, end)}; first {said(first)}; then {said(second)}"]
        before = hosts.world.view()
        trees.cron(hosts)
        return [] if hosts.world.view() == before else ["cron's next run changed something"]


@pytest.mark.thorough
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_whatever_happens_at_any_command(
    hosts: Hosts, scenario: Scenario, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    every = max(scenario.every, one_in(pytestconfig, 23))
    hit_all(Loop(hosts, scenario), SCENARIOS.index(scenario), every, record_property)
