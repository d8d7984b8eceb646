"""A sample of the crash loop through real processes: kill -9, a command that fails, a link that is lost.

Where it begins, what must hold and how it must end are those of the crash loop in process. Between the runs of the
real program the world is carried over, so that only the run with the fault and the same one again are processes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.model import World
from tests.model.state import Trap
from tests.ops.hosts import Ended, Hosts, ModelHost, in_order
from tests.ops.pairs import A, B
from tests.ops.plugin import CASES
from tests.ops.test_crash import SCENARIOS, Loop, Scenario
from tests.process.program import Program
from zrep.core.errors import FailedError
from zrep.host.machine import Machine

pytestmark = pytest.mark.thorough

ARGUMENTS = {
    "init": ("init", A, "beta", B),
    "sync": ("sync", "all"),
    "failover": ("failover", A),
    "takeover": ("takeover", B),
    "takeover -L": ("takeover", "-L", "-f", "--yes", B),
    "rejoin with a tail": ("rejoin", A),
}
CHOSEN = [scenario for scenario in SCENARIOS if scenario.name in ARGUMENTS]
FAULTS = {
    "kill before": "kill -9 before a command of a real process",
    "kill after": "kill -9 after a command of a real process",
    "fail": "a command of a real process fails",
    "cut": "the link is lost under a real process",
}


class RealLoop(Loop):
    """The same scenarios, with the run that is hit and the one after it in real processes."""

    def __init__(self, hosts: Hosts, scenario: Scenario) -> None:
        super().__init__(hosts, scenario)
        self._world = World(hosts.directory / "world")
        self._program = Program(self._world, hosts.directory)

    def hit(self, fault: str, at: int) -> list[str]:
        """What is wrong with one case; nothing when all is well."""
        self.hosts.load(self.dumped)
        watch = self.watch()
        first = self._really(Trap(fault, at, self._program.pid_file), cut=self.scenario.alone)
        watch.look()
        second = self._really()
        if second.code:
            second = self._really()
        watch.look()
        return self.judged(watch, first, second)

    def _really(self, trap: Trap | None = None, cut: bool = False) -> Ended:
        world, arguments = self._world, ARGUMENTS[self.scenario.name]
        world.load(self.hosts.world.dump())
        with world.transaction() as state:
            state.trap = trap
        if cut:
            world.cut("alpha", "beta")
        done = self._program.run(self.scenario.host, *arguments)
        self._program.wait_for_locks()
        world.heal()
        with world.transaction() as state:
            assert trap is None or (state.trap is not None and state.trap.seen > trap.at), "the fault was not reached"
            state.trap = None
        self.hosts.load(world.dump())
        error = FailedError(done.stderr.strip()) if done.stderr else None
        return Ended(None if done.returncode < 0 else done.returncode, error=error)


def cases(loop: RealLoop, everything: bool) -> list[tuple[str, int]]:
    """Which fault at which command: others for each scenario, the same in every run."""
    row, count = CHOSEN.index(loop.scenario), len(loop.commands)
    faults = [fault for fault in FAULTS if fault != "cut" or not loop.scenario.alone]
    if everything:
        return [(fault, at) for fault in faults for at in range(row % 7, count, 7)]
    return [(faults[(row + k) % len(faults)], (7 * row + (2 * k + 1) * count // 4) % count) for k in range(2)]


@pytest.mark.parametrize("scenario", CHOSEN, ids=lambda scenario: scenario.name)
def test_whatever_happens_to_a_real_process(
    tmp_path: Path,
    scenario: Scenario,
    pytestconfig: pytest.Config,
    record_property: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What is made in process is gone on with by a program: to both the hosts are this machine.
    monkeypatch.setattr(ModelHost, "place", Machine.place)
    monkeypatch.setattr(ModelHost, "host_id", Machine.host_id)
    ran: dict[str, int] = {}
    broken: list[str] = []
    with in_order():
        loop = RealLoop(Hosts(tmp_path), scenario)
        for fault, at in cases(loop, pytestconfig.getoption("--crash") == "all"):
            ran[FAULTS[fault]] = ran.get(FAULTS[fault], 0) + 1
            broken += [f"{fault} at {at}: {line}" for line in loop.hit(fault, at)]
    record_property(CASES, ran)
    assert not broken, "\n".join(broken)
