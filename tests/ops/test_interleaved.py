"""Two runs of zrep at the same time, in every way that a table can say.

The second begins before a command of the first, each of them in turn, and either goes to its end or from then on both
take turns. Invariants are judged after each command; then the two hosts must come to a whole pair by cron and by what
zrep advises, with every acknowledged write where it was promised.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, Work
from tests.ops.judge import SIDES, Watch, find, local
from tests.ops.pairs import A, B
from tests.ops.plugin import CASES
from tests.ops.simulation import Ledger, Overlap, Simulation
from tests.ops.turns import in_turns, schedule
from zrep.ops.changeconfig import Config

pytestmark = pytest.mark.thorough

Start = Callable[[Simulation], None]


def written(simulation: Simulation) -> None:
    """Something to send, and something to expire."""
    for _ in range(2):
        simulation.write("alpha", "write")
        simulation.run("alpha", "sync")
    simulation.write("alpha", "write")


def promoted(simulation: Simulation) -> None:
    """beta was promoted while alpha could not be reached; alpha is back, with a tail of its own."""
    simulation.write("alpha", "write")
    simulation.cut_the_link()
    simulation.run("beta", "takeover -L")
    simulation.write("beta", "write")
    simulation.heal_the_link()


@dataclass(frozen=True, slots=True)
class Both:
    """Two runs, each a host and a command, and where they begin."""

    first: tuple[str, str]
    second: tuple[str, str]
    start: Start = written

    def __str__(self) -> str:
        return ", ".join(f"{command} on {host}" for host, command in (self.first, self.second))


BOTH = [
    Both(("alpha", "sync all"), ("alpha", "sync")),
    Both(("alpha", "sync all"), ("alpha", "failover")),
    Both(("alpha", "failover"), ("alpha", "sync all")),
    Both(("alpha", "failover"), ("alpha", "failover")),
    Both(("alpha", "failover"), ("beta", "takeover")),
    Both(("beta", "takeover"), ("alpha", "failover")),
    Both(("beta", "takeover"), ("alpha", "sync all")),
    Both(("alpha", "sync all"), ("beta", "takeover -L")),
    Both(("beta", "takeover -L"), ("alpha", "sync all")),
    Both(("alpha", "failover"), ("beta", "takeover -L")),
    Both(("alpha", "failover"), ("alpha", "takeover -L")),
    Both(("beta", "takeover"), ("beta", "takeover -L")),
    Both(("beta", "takeover -L"), ("alpha", "failover")),
    Both(("alpha", "expire"), ("alpha", "sync all")),
    Both(("alpha", "sync all"), ("beta", "expire")),
    Both(("alpha", "failover"), ("alpha", "expire -L")),
    Both(("alpha", "failover"), ("beta", "expire")),
    Both(("alpha", "failover"), ("alpha", "pause")),
    Both(("alpha", "rejoin"), ("beta", "sync all"), promoted),
    Both(("beta", "sync all"), ("alpha", "rejoin"), promoted),
    Both(("alpha", "rejoin"), ("alpha", "rejoin"), promoted),
    Both(("alpha", "rejoin"), ("alpha", "sync all"), promoted),
    Both(("alpha", "rejoin"), ("beta", "failover"), promoted),
    Both(("alpha", "rejoin"), ("alpha", "takeover -L"), promoted),
    Both(("alpha", "sync all"), ("beta", "sync all"), promoted),
]

# How the two go on from there, and how many seconds a command takes: with the first who waits for a lock gets it in the
# end, with the last it gives up.
WAYS = {
    "the second in one piece": (False, 0.01),
    "in turns": (True, 0.01),
    "in turns, slowly": (True, 0.5),
}


@dataclass
class Table:
    """Goes through all ways and moments, or a part of them: another one for each row, the same in every run."""

    row: int
    everything: bool
    ran: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def go_through(self, overlap: Callable[[str, int], int]) -> None:
        """overlap: one way from one moment on; how many moments the first run had."""
        for shift, way in enumerate(WAYS):
            step = 1 if self.everything else 23
            for number in itertools.count((7 * self.row + 5 * shift) % step, step):
                what = f"two runs at the same time, {way}"
                self.ran[what] = self.ran.get(what, 0) + 1
                try:
                    if overlap(way, number) <= number:
                        break
                except AssertionError as error:
                    self.broken.append(f"{way}, from {number} on: {str(error)[:1000]}")
                    if len(self.broken) > 5:
                        return


@pytest.fixture
def table(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Table:
    found = Table(request.node.callspec.params["row"], request.config.getoption("--crash") == "all")
    record_property(CASES, found.ran)  # filled by the time that the test has run
    return found


@pytest.mark.parametrize("row", range(len(BOTH)), ids=map(str, BOTH))
def test_two_runs_at_the_same_time(table: Table, row: int) -> None:
    def overlap(way: str, number: int) -> int:
        simulation = Simulation()
        then, pace = WAYS[way]
        try:
            simulation.a_pair(layout="filesystem", keep="beta")
            BOTH[row].start(simulation)
            turns = [*[False] * number, True]
            first, _ = simulation.overlapping(Overlap((BOTH[row].first, BOTH[row].second), turns, pace, then))
            simulation.all_is_well()
            simulation.converge()
        finally:
            simulation.directory.cleanup()
        return first.turns

    table.go_through(overlap)
    assert not table.broken, "\n".join(table.broken)


def test_the_same_schedule_is_the_same_run() -> None:
    def play() -> tuple[list[str], dict[str, object]]:
        simulation = Simulation()
        try:
            simulation.a_pair(layout="filesystem", keep="beta")
            written(simulation)
            turns = [number % 3 == 0 for number in range(30)]
            simulation.overlapping(Overlap((("alpha", "failover"), ("beta", "takeover")), turns, 0.05))
            return simulation.history, simulation.hosts.world.view()
        finally:
            simulation.directory.cleanup()

    assert play() == play()


# --- beside runs that end a pair, begin one or change it ---


@dataclass(frozen=True, slots=True)
class Other:
    """A run beside another: when it has succeeded, or else has been run again, `done` holds."""

    name: str
    first: tuple[str, Work]
    second: tuple[str, Work]
    done: Callable[[Hosts], bool]
    start: Callable[[Hosts], None] = pairs.linked


def cleared(hosts: Hosts) -> bool:
    """Nothing of zrep is left, and the data is there."""
    sides = [find(hosts, *side) for side in SIDES]
    traces = [
        [key for side in sides if side for key in side.props if key.startswith("zrep:") and local(side, key[5:])],
        [one.name for side in sides if side for one in side.snapshots if one.holds or one.name.startswith("zrep_")],
    ]
    return traces == [[], []] and all(side and "one" in side.data for side in sides)


def whole(hosts: Hosts) -> bool:
    """Cron is content on both sides, and they agree on who they are."""
    codes = [hosts.run(host, pairs.SYNC_ALL).code for host in ("alpha", "beta")]
    keys = ("src-host", "src-fs", "dest-host", "dest-fs")
    here, there = ([local(side, key) for key in keys] for side in (find(hosts, *side) for side in SIDES) if side)
    return codes == [0, 0] and here == there and Ledger(hosts).whole()


CLEAR, CHANGE = pairs.clearing(A), pairs.changing(A, Config(peer_host="beta", savecount=3))
OTHERS = [
    Other("clear, sync", ("alpha", CLEAR), ("alpha", pairs.SYNC_ALL), cleared),
    Other("clear, failover", ("alpha", CLEAR), ("alpha", pairs.failing_over(A)), cleared),
    Other("clear, takeover", ("alpha", CLEAR), ("beta", pairs.taking_over(B)), cleared),
    Other("clear, clear of the other side", ("alpha", CLEAR), ("beta", pairs.clearing(B)), cleared),
    Other("clear, expire", ("alpha", CLEAR), ("beta", pairs.expiring(B)), cleared),
    Other("init, init", ("alpha", pairs.INIT), ("alpha", pairs.INIT), whole, pairs.source),
    Other("init, sync", ("alpha", pairs.INIT), ("alpha", pairs.SYNC_ALL), whole, pairs.source),
    Other("changeconfig, failover", ("alpha", CHANGE), ("alpha", pairs.failing_over(A)), whole),
    Other("changeconfig, takeover", ("alpha", CHANGE), ("beta", pairs.taking_over(B)), whole),
    Other("clear, changeconfig", ("alpha", CLEAR), ("alpha", CHANGE), cleared),
    Other("clear, pause", ("alpha", CLEAR), ("alpha", pairs.pausing(A)), cleared),
]
BACKWARDS = [Other(f"{o.name}, the other first", o.second, o.first, o.done, o.start) for o in OTHERS]


@pytest.mark.parametrize("row", range(2 * len(OTHERS)), ids=[other.name for other in OTHERS + BACKWARDS])
def test_a_run_beside_one_that_makes_or_ends_or_changes_a_pair(table: Table, hosts: Hosts, row: int) -> None:
    other = (OTHERS + BACKWARDS)[row]
    other.start(hosts)
    dumped = hosts.world.dump()
    decisive = row % len(OTHERS) == row

    def overlap(way: str, number: int) -> int:
        hosts.load(dumped)
        watch = Watch(hosts, forced=False, linked=False)
        hosts.wire.after = watch.look
        then, pace = WAYS[way]
        works = [(host, partial(hosts.run, host, work)) for host, work in (other.first, other.second)]
        runs = in_turns(hosts, works, schedule([*[False] * number, True], then), pace)
        mine = runs[0 if decisive else 1].ended
        host, work = other.first if decisive else other.second
        if mine is None or mine.code != 0:
            hosts.run(host, work)
        assert other.done(hosts), f"{[(run.ended and run.ended.code, run.ended and run.ended.text) for run in runs]}"
        assert not watch.broken, watch.broken
        return runs[0].turns

    table.go_through(overlap)
    assert not table.broken, "\n".join(table.broken)
