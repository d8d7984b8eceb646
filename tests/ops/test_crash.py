"""The crash loop: at every command of every operation something goes wrong; the same run again makes it good.

Invariants are judged after each single command; after healing, the command is run once more and cron's sync once on
both hosts, and the end must be the one without a fault. Then running both again changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import pytest

from tests.ops import pairs
from tests.ops.hosts import Command, Ended, Hosts, Mode, Work, assignments
from tests.ops.judge import SIDES, Sides, Watch, files, settled
from tests.ops.pairs import SYNC_ALL, A, B, good
from tests.ops.plugin import CASES, one_in
from zrep.ops.across import rejoin_there
from zrep.ops.changeconfig import Config
from zrep.ops.init_way import Request


@dataclass(frozen=True, slots=True)
class Scenario:
    """Where it begins and what is run. forced: somebody insisted on a promotion; linked: the pair was whole before;
    code: how the run ends without a fault; keep: files that must be on the host at the end, in FS or a split copy."""

    name: str
    start: Callable[[Hosts], None]
    work: Work
    host: str = "alpha"
    forced: bool = False
    linked: bool = True
    code: int = 0
    options: tuple[tuple[str, object], ...] = ()
    alone: bool = False  # the link is cut while it runs without a fault, too
    keep: tuple[tuple[str, str, str], ...] = ()
    beside: tuple[tuple[Sides, str], ...] = ()  # other pairs, each with its tag, that are judged too
    about: Sides = SIDES  # the pair that is forced
    relays: bool = False  # whether one of them passes on what it receives


def _written(hosts: Hosts, volume: bool = False) -> None:
    pairs.linked(hosts, volume)
    pairs.written(hosts)


def _base_gone(hosts: Hosts) -> None:
    """A tool of somebody's has taken the hold from the base on the master, and destroyed it."""
    _written(hosts)
    hosts["alpha"].sh(f"zfs release zrep {A}@zrep_000001")
    hosts["alpha"].sh(f"zfs destroy {A}@zrep_000001")


def _all_snapshots(hosts: Hosts) -> None:
    hosts["alpha"].sh(f"zfs create {A}")
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B, all_snapshots=True))))
    for number in range(2):
        pairs.written(hosts, key=f"n{number}")
        hosts["alpha"].sh(f"zfs snapshot {A}@autosnap_{number}")


def _turned(hosts: Hosts) -> None:
    _written(hosts)
    good(hosts.run("alpha", pairs.failing_over(A)))
    pairs.written(hosts, "beta", B, "three")


def _shell(hosts: Hosts) -> None:
    pairs.shell_pair(hosts)
    pairs.written(hosts)


def _many(hosts: Hosts) -> None:
    pairs.linked(hosts)
    for number in range(3):
        pairs.written(hosts, key=f"n{number}")
        good(hosts.run("alpha", SYNC_ALL))
    for host, name in (("alpha", A), ("beta", B)):
        good(hosts.run(host, pairs.changing(name, Config(savecount=2))))


def _unconverged(hosts: Hosts) -> None:
    """Three pairs, each as a stream leaves it: the new snapshot is on both sides, but held and marked on neither; and
    one too many of the older ones."""
    _many(hosts)
    for name in ("x", "y"):
        hosts["alpha"].sh(f"zfs create tank/{name}")
        good(hosts.run("alpha", pairs.initialising(Request(f"tank/{name}", "beta", f"tank/{name}"))))
        pairs.written(hosts, name=f"tank/{name}")
    good(hosts.run("alpha", SYNC_ALL))
    for host, name in (("alpha", A), ("beta", B), *((host, f"tank/{x}") for x in "xy" for host in ("alpha", "beta"))):
        older, newest = hosts[host].sh(f"zfs list -H -o name -t snapshot {name}").decode().split()[-2:]
        hosts[host].sh(f"zfs hold zrep {older}")
        hosts[host].sh(f"zfs inherit zrep:sent {newest}")
        if host == "beta":
            hosts[host].sh(f"zfs release zrep {newest}")
        good(hosts.run(host, pairs.changing(name, Config(savecount=1))))


def _pulled(hosts: Hosts) -> None:
    pairs.source(hosts)
    good(hosts.run("beta", pairs.PULL))
    pairs.written(hosts)


def _pulled_and_turned(hosts: Hosts) -> None:
    _pulled(hosts)
    good(hosts.run("beta", pairs.taking_over(B)))
    pairs.written(hosts, "beta", B, "three")


def _pulled_and_forced(hosts: Hosts) -> None:
    pairs.source(hosts)
    good(hosts.run("beta", pairs.PULL))
    pairs.written(hosts, key="tail")
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing(B)))
    hosts.wire.cut = False


def _torn_init(hosts: Hosts) -> None:
    pairs.source(hosts)
    hosts.wire.driver = "alpha"
    _tear(hosts, pairs.INIT)


def _torn_sync(hosts: Hosts) -> None:
    _written(hosts)
    _tear(hosts, SYNC_ALL)
    pairs.written(hosts, key="later")


def _tear(hosts: Hosts, work: Work) -> None:
    """Run with the stream torn in the middle, the peer lost with it."""
    dumped = hosts.world.dump()
    hosts.wire.reset()
    hosts.run("alpha", work)
    at = next(number for number, command in enumerate(hosts.wire.log) if command.stream)
    hosts.load(dumped)
    hosts.wire.reset(Mode.TORN_CUT, at)
    assert hosts.run("alpha", work).code not in (0, None)
    hosts.wire.heal()


def _modified(hosts: Hosts) -> None:
    _written(hosts)
    hosts["beta"].sh(f"zfs set readonly=off {B}")
    hosts["beta"].sh(f"zfs mount {B}")
    hosts["beta"].write(B, "by hand", b"x")
    hosts["beta"].sh(f"zfs unmount {B}")
    hosts["beta"].sh(f"zfs set readonly=on {B}")
    hosts["beta"].sh(f"zfs destroy {B}@weekly")


def _both(hosts: Hosts) -> None:
    """Somebody promoted beta, and then, when asked again, insisted on alpha too."""
    pairs.diverged(hosts)
    pairs.written(hosts, "beta", B, "beta")
    for key, text in (("gen", "c" * 16), ("parent", "1" * 16), ("epoch", "2")):
        if key != "parent":
            hosts["alpha"].sh(f"zfs set zrep:{key}={text} {A}")
    old = hosts["beta"].sh(f"zfs get -Hp -o value zrep:parent {B}").decode().strip()
    hosts["alpha"].sh(f"zfs set zrep:parent={old} {A}")


CHILDREN: Sides = (("alpha", f"{A}/c"), ("beta", f"{B}/c"))
DEEPER: Sides = (("alpha", f"{A}/c/d"), ("beta", f"{B}/c/d"))
OFFSITE: Sides = (("alpha", A), ("beta", "tank/g"))
CHILD_OFFSITE: Sides = (("alpha", f"{A}/c"), ("beta", "tank/gc"))
NEIGHBOURS = ((CHILDREN, "zrep"), (OFFSITE, "offsite"))
BETWEEN = ((CHILDREN, "zrep"), (DEEPER, "zrep"), (CHILD_OFFSITE, "offsite"))
MIDDLE, MIDDLE_THERE = f"{A}/c", f"{B}/c"


def _beside(hosts: Hosts, beside: tuple[tuple[Sides, str], ...]) -> None:
    """A pair, others inside it that keep what they are, and a second tag of one of them."""
    pairs.linked(hosts)
    for ((_, name), (_, target)), tag in beside:
        if name not in hosts.world.state.hosts["alpha"].datasets:
            hosts["alpha"].sh(f"zfs create -o readonly=off {name}")
        good(hosts.run("alpha", pairs.initialising(Request(name, "beta", target)), tag=tag))
    for name in {A, *(sides[0][1] for sides, _ in beside)}:
        pairs.written(hosts, name=name)


def _neighbours(hosts: Hosts) -> None:
    _beside(hosts, NEIGHBOURS)


def _between(hosts: Hosts) -> None:
    _beside(hosts, BETWEEN)


def _promoted_beside(hosts: Hosts, start: Callable[[Hosts], None], name: str) -> None:
    """The same, one of them promoted alone on beta, and nothing mounted below it on alpha, at no boot either: it would
    be in the way."""
    start(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing(name)))
    hosts.wire.cut = False
    below = f"{A}/c{'' if name == B else '/d'}"
    hosts["alpha"].sh(f"zfs set canmount=noauto {below}")
    hosts["alpha"].sh(f"zfs unmount {below}")


REJOIN_PEER: Work = lambda session: rejoin_there(session, B)  # noqa: E731  # like the works of pairs
TAIL = (("alpha", A, "tail0"), ("alpha", A, "tail3"))
SCENARIOS = [
    Scenario("init", pairs.source, pairs.INIT, linked=False),
    Scenario("init, half done before", _torn_init, pairs.INIT, linked=False),
    Scenario("sync", _written, SYNC_ALL),
    Scenario("sync, nothing written", pairs.linked, SYNC_ALL),
    Scenario("sync of three that were cut", _unconverged, SYNC_ALL),
    Scenario("sync, half received before", _torn_sync, SYNC_ALL),
    Scenario("sync, the base destroyed before", _base_gone, SYNC_ALL, linked=False),
    Scenario("failover, the base destroyed before", _base_gone, pairs.failing_over(A), linked=False),
    Scenario("sync of all snapshots", _all_snapshots, SYNC_ALL),
    Scenario("failover with all snapshots", _all_snapshots, pairs.failing_over(A)),
    Scenario("sync of a shell pair", _shell, SYNC_ALL, linked=False),
    Scenario("sync -f", _modified, pairs.syncing(A), options=(("force", True),)),
    Scenario("failover", _written, pairs.failing_over(A)),
    Scenario("failover of a volume", partial(_written, volume=True), pairs.failing_over(A)),
    Scenario("failover back", _turned, pairs.failing_over(B), "beta"),
    Scenario("failover of a shell pair", _shell, pairs.failing_over(A), linked=False),
    Scenario("takeover", _written, pairs.taking_over(B), "beta"),
    Scenario("takeover -L", _written, pairs.forcing(B), "beta", forced=True, alone=True),
    Scenario(
        "takeover -L of a volume", partial(_written, volume=True), pairs.forcing(B), "beta", forced=True, alone=True
    ),
    Scenario("rejoin", pairs.forced, pairs.rejoining(A), forced=True),
    Scenario("rejoin with a tail", pairs.diverged, pairs.rejoining(A), forced=True, keep=TAIL),
    Scenario(
        "rejoin of a volume with a tail",
        partial(pairs.diverged, volume=True),
        pairs.rejoining(A),
        forced=True,
        keep=TAIL,
    ),
    Scenario(
        "rejoin -f after a split brain",
        _both,
        pairs.rejoining(A),
        forced=True,
        options=(("force", True),),
        keep=(*TAIL, ("beta", B, "beta0")),
    ),
    Scenario("sync beside others", _neighbours, SYNC_ALL, beside=NEIGHBOURS),
    Scenario("failover of a parent beside others", _neighbours, pairs.failing_over(A), beside=NEIGHBOURS),
    Scenario("failover of a child", _neighbours, pairs.failing_over(CHILDREN[0][1]), beside=NEIGHBOURS),
    Scenario("takeover -L beside others", _neighbours, pairs.forcing(B), "beta", True, alone=True, beside=NEIGHBOURS),
    Scenario(
        "rejoin beside others",
        partial(_promoted_beside, start=_neighbours, name=B),
        pairs.rejoining(A),
        forced=True,
        beside=NEIGHBOURS,
        relays=True,
    ),
    Scenario("failover of one between others", _between, pairs.failing_over(MIDDLE), beside=BETWEEN),
    Scenario("takeover of one between others", _between, pairs.taking_over(MIDDLE_THERE), "beta", beside=BETWEEN),
    Scenario(
        "takeover -L of one between others",
        _between,
        pairs.forcing(MIDDLE_THERE),
        "beta",
        forced=True,
        alone=True,
        beside=BETWEEN,
        about=CHILDREN,
    ),
    Scenario(
        "rejoin of one between others",
        partial(_promoted_beside, start=_between, name=MIDDLE_THERE),
        pairs.rejoining(MIDDLE),
        forced=True,
        beside=BETWEEN,
        about=CHILDREN,
        relays=True,
    ),
    Scenario("init --pull", pairs.source, pairs.PULL, "beta", linked=False),
    Scenario("sync of a pulled pair", _pulled, SYNC_ALL, "beta"),
    Scenario("takeover of a pulled pair", _pulled, pairs.taking_over(B), "beta"),
    Scenario("failover of a pulled pair", _pulled_and_turned, pairs.failing_over(B), "beta"),
    Scenario("takeover -L of a pulled pair", _pulled, pairs.forcing(B), "beta", forced=True, alone=True),
    Scenario("rejoin --peer with a tail", _pulled_and_forced, REJOIN_PEER, "beta", forced=True, keep=TAIL),
    Scenario("expire", _many, pairs.expiring(A)),
    Scenario("expire after a sync that was cut", _unconverged, pairs.expiring(A)),
    Scenario("expire -L", _many, pairs.expiring(A, here_only=True)),
    Scenario("clear", _written, pairs.clearing(A), linked=False),
    Scenario("changeconfig", pairs.linked, pairs.changing(A, Config(savecount=3))),
    Scenario("pause", pairs.linked, pairs.pausing(A, "x")),
]

READS = ("get", "list", "holds", "version")


def applies(mode: Mode, command: Command) -> bool:
    """Whether a mode means anything at a command."""
    if mode in (Mode.TORN, Mode.TORN_CUT):
        return command.stream
    if mode is Mode.PART:
        return len(assignments(command.argv)) > 1
    if mode in (Mode.CUT, Mode.POWER_THERE):
        return command.remote
    if mode is Mode.HANG:
        return not command.stream
    if mode in (Mode.KILL_AFTER, Mode.LOST, Mode.POWER_HERE):
        return not changes_nothing(command) or (mode is Mode.LOST and command.remote)
    return True


def cut_at_each(hosts: Hosts, work: Work, mode: Mode) -> Iterator[None]:
    """Run on alpha with the fault at each command that it means anything at, from the same beginning, one after the
    other; the link is whole again after each."""
    dumped = hosts.world.dump()
    hosts.wire.reset()
    good(hosts.run("alpha", work))
    found = [at for at, command in enumerate(hosts.wire.log) if applies(mode, command)]
    assert found or mode is Mode.PART
    for at in found:
        hosts.load(dumped)
        hosts.wire.reset(mode, at)
        hosts.run("alpha", work)
        hosts.wire.heal()
        yield


def changes_nothing(command: Command) -> bool:
    return not command.stream and (command.argv[1] in READS or command.argv[0] == "zpool")


class Watches:
    """The judges of the pair, and of those beside it."""

    def __init__(self, hosts: Hosts, scenario: Scenario) -> None:
        forced = [scenario.about] if scenario.forced else []
        self._all = [Watch(hosts, SIDES in forced, scenario.linked)]
        self._all += [Watch(hosts, sides in forced, True, sides=sides, tag=tag) for sides, tag in scenario.beside]

    def look(self) -> None:
        for watch in self._all:
            watch.look()

    @property
    def broken(self) -> list[str]:
        return [line for watch in self._all for line in watch.broken]


class Loop:
    """One scenario: its start, its end without a fault, and one case after the other from the same start."""

    def __init__(self, hosts: Hosts, scenario: Scenario) -> None:
        self.hosts, self.scenario = hosts, scenario
        scenario.start(hosts)
        hosts.wire.reset()
        self.dumped = hosts.world.dump()
        watch = self.watch()
        ended = self.run(cut=scenario.alone)
        assert ended.code == scenario.code, ended.text
        self.commands = list(hosts.wire.log)
        self.cron()
        self.end = self.settled()
        assert not watch.broken, watch.broken
        self.check_stable("without a fault")

    def watch(self) -> Watches:
        watch = Watches(self.hosts, self.scenario)
        self.hosts.wire.after = watch.look
        return watch

    def settled(self) -> dict[str, object]:
        beside = {f"{sides} {tag}": settled(self.hosts, sides, tag) for sides, tag in self.scenario.beside}
        return {**settled(self.hosts), **beside}

    def run(self, cut: bool = False) -> Ended:
        self.hosts.wire.cut = cut
        ended = self.hosts.run(self.scenario.host, self.scenario.work, **dict(self.scenario.options))
        self.hosts.wire.cut = False
        return ended

    def cron(self) -> None:
        """On both hosts, for each tag, and again for what a relay passes on one run later."""
        for _ in range(2 if self.scenario.relays else 1):
            for host in ("alpha", "beta"):
                for tag in dict.fromkeys(["zrep", *(tag for _, tag in self.scenario.beside)]):
                    self.hosts.wire.reset()
                    self.hosts.run(host, SYNC_ALL, tag=tag)

    def check_stable(self, what: str) -> None:
        before = self.hosts.world.view()
        self.run()
        self.cron()
        assert self.hosts.world.view() == before, f"{what}: running it again changed something (11)"

    def case(self, mode: Mode, at: int) -> list[str]:
        """What is wrong with one case; nothing when all is well."""
        hosts = self.hosts
        hosts.load(self.dumped)
        watch = self.watch()
        hosts.wire.reset(mode, at)
        first = self.run(cut=self.scenario.alone)
        assert len(hosts.wire.log) > at, "the fault was not reached"
        lost = mode in (Mode.CUT, Mode.LOST, Mode.TORN_CUT, Mode.POWER_THERE)
        power = set(hosts.wire.power_lost)
        if lost:
            self._cron_while_cut(power)
            hosts.wire.power_lost = power
        hosts.wire.heal()
        second = self.run()
        return self.judged(watch, first, second)

    def judged(self, watch: Watches, first: Ended, second: Ended) -> list[str]:
        """What is wrong at the end, after a run with a fault and the same one again."""
        self.cron()
        broken = watch.broken
        end = self.settled()
        if end != self.end:
            broken.append(f"another end (10): {differences(self.end, end)}; first {said(first)}; then {said(second)}")
        for host, name, key in self.scenario.keep:
            if key not in files(self.hosts, host, name):
                broken.append(f"{key} is lost (9)")
        before = self.hosts.world.view()
        again = self.run()
        self.cron()
        if self.hosts.world.view() != before:
            broken.append(f"running it again changed something (11); it said {said(again)}")
        return broken

    def _cron_while_cut(self, down: set[str]) -> None:
        """Cron goes on while the hosts do not see each other."""
        for host in {"alpha", "beta"} - down:
            self.hosts.wire.reset()
            self.hosts.wire.cut = True
            self.hosts.run(host, SYNC_ALL)


def said(ended: Ended) -> str:
    return "killed" if ended.code is None else f"{ended.code}: {ended.text[:200]}"


def differences(one: object, other: object, where: str = "") -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        found = [
            differences(one.get(key), other.get(key), f"{where}.{key}" if where else str(key))
            for key in {**one, **other}
            if one.get(key) != other.get(key)
        ]
        return "; ".join(found)
    return f"{where} is {str(other)[:60]}, not {str(one)[:60]}"


def cases(commands: list[Command]) -> Iterator[tuple[Mode, int]]:
    for at, command in enumerate(commands):
        for mode in Mode:
            if applies(mode, command):
                yield mode, at


class Cases(Protocol):
    """A loop: the commands of its run without a fault, and what is wrong after a fault at one of them."""

    commands: list[Command]

    def case(self, mode: Mode, at: int) -> list[str]: ...


def hit_all(loop: Cases, number: int, every: int, record_property: Callable[[str, object], None]) -> None:
    """Put a fault at the commands of a loop: at one of so many, another part for each number of a scenario, the same in
    every run."""
    found = list(cases(loop.commands))
    chosen = found[number % every :: every]
    broken: list[str] = []
    ran: Counter[str] = Counter()
    for mode, at in chosen:
        ran[mode.value] += 1
        broken += [f"{mode.value}: {at} {loop.commands[at]}: {line}" for line in loop.case(mode, at)]
    record_property(CASES, dict(ran))
    assert not broken, f"{len(broken)} of {len(chosen)} cases:\n" + "\n".join(broken)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_whatever_happens_at_any_command(
    hosts: Hosts, scenario: Scenario, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    hit_all(Loop(hosts, scenario), SCENARIOS.index(scenario), one_in(pytestconfig, 11), record_property)
