"""-n prints, command for command, what then runs; and it changes nothing.

Sizes, times and made up ids aside: a stream is its two ends, and what -n cannot know before it is done is a dash.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Command, Hosts, Mode, Work
from tests.ops.pairs import SYNC_ALL, A, B, good
from tests.ops.test_crash import SCENARIOS, changes_nothing
from zrep.ops.init_way import Request

# A generation is made up anew in each run, and the seconds of a mark are those of its run.
_MADE_UP = re.compile(r"[0-9a-f]{16}|(?<=zrep:sent=)\d+|(?<=since )\S+")


@dataclass(frozen=True, slots=True)
class Case:
    """Where it begins, and what is run where."""

    name: str
    start: Callable[[Hosts], None]
    work: Work
    host: str = "alpha"
    options: tuple[tuple[str, object], ...] = ()
    alone: bool = False


def cut(start: Callable[[Hosts], None], host: str, work: Work, *words: str) -> Callable[[Hosts], None]:
    """Begin after a run that was killed after its first command that begins so."""

    def begin(hosts: Hosts) -> None:
        start(hosts)
        pairs.hit(hosts, host, work, Mode.KILL_AFTER, *words)
        hosts.wire.reset()

    return begin


def three(hosts: Hosts) -> None:
    pairs.linked(hosts)
    for name in ("x", "y"):
        hosts["alpha"].sh(f"zfs create tank/{name}")
        good(hosts.run("alpha", pairs.initialising(Request(f"tank/{name}", "beta", f"tank/{name}"))))
        pairs.written(hosts, name=f"tank/{name}")


def with_parents(hosts: Hosts) -> None:
    pairs.source(hosts)


def written(hosts: Hosts) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)


def delegated(hosts: Hosts) -> None:
    pairs.diverged(hosts)
    hosts["alpha"].sh(f"zfs allow -u zrep hold,release {A}")
    hosts["alpha"].sh(f"zfs set quota=1G {A}")
    hosts["alpha"].sh(f"zfs set com.example:owner=ops {A}")


def paused(hosts: Hosts) -> None:
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.pausing(A, "x")))


REJOIN = pairs.rejoining(A)
CASES = [
    *(Case(s.name, s.start, s.work, s.host, s.options, s.alone) for s in SCENARIOS),
    Case("init below parents", with_parents, pairs.initialising(Request(A, "beta", "tank/over/there/b"))),
    Case("init of a tree", trees.planted, trees.INIT),
    Case("sync of a tree that has changed", trees.changed, SYNC_ALL),
    Case("failover of a tree", trees.written, pairs.failing_over(A)),
    Case("takeover -L of a tree", trees.grown, pairs.forcing(B), "beta", alone=True),
    Case("clear of a tree", trees.grown, pairs.clearing(A)),
    Case("init of a volume", partial(pairs.source, volume=True), pairs.INIT),
    Case("sync of three", three, SYNC_ALL),
    Case("unpause", paused, pairs.unpausing(A)),
    Case("clear -L", written, pairs.clearing(A, here_only=True)),
    Case("rejoin with delegations and limits", delegated, REJOIN),
    Case("rejoin cut after the rename", cut(pairs.diverged, "alpha", REJOIN, "zfs", "rename"), REJOIN),
    Case("rejoin cut after the clone", cut(pairs.diverged, "alpha", REJOIN, "zfs", "clone"), REJOIN),
    Case("rejoin cut after the promote", cut(pairs.diverged, "alpha", REJOIN, "zfs", "promote"), REJOIN),
    Case("sync after a cut failover", cut(written, "alpha", pairs.failing_over(A), "mount"), SYNC_ALL),
    Case("takeover after a cut one", cut(written, "beta", pairs.taking_over(B), "mount"), pairs.taking_over(B), "beta"),
]


def ran(log: list[Command]) -> list[str]:
    """The commands that changed something, and each stream as its sender."""
    return [
        f"{command.host}: {' '.join(command.argv)}"
        for command in log
        if command.stream or not (changes_nothing(command) or _asks(command.argv))
    ]


def _asks(argv: tuple[str, ...]) -> bool:
    """Commands that are no read by their name, and change nothing all the same."""
    return argv[0] == "sh" or (argv[:2] == ("zfs", "allow") and len(argv) == 3) or argv[:3] == ("zfs", "send", "-nvP")


def shown(lines: tuple[str, ...]) -> list[str]:
    """The same of what -n has printed: the receiving half of a stream is not in the log of what ran."""
    return [line for line in lines if ": zfs receive -s " not in line and ": zpool sync " not in line]


def normal(lines: list[str]) -> list[str]:
    return [_MADE_UP.sub("-", line) for line in lines]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_printed_is_what_runs(hosts: Hosts, case: Case) -> None:
    case.start(hosts)
    hosts.wire.reset()
    before, view = hosts.world.dump(), hosts.world.view()
    hosts.wire.cut = case.alone
    foreseen = good(hosts.run(case.host, case.work, dry_run=True, **dict(case.options)))
    assert ran(hosts.wire.log) == [], "-n changed something"
    assert hosts.world.view() == view
    hosts.load(before)
    hosts.wire.cut = case.alone
    good(hosts.run(case.host, case.work, **dict(case.options)))
    assert normal(shown(foreseen.lines)) == normal(ran(hosts.wire.log))
