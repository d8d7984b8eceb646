"""The cut sweep: every operation cut at every command; then status and sync say the same of every filesystem, on both
hosts, and who does what status advises, again and again, gets to ok without losing anything.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, Mode, Work
from tests.ops.judge import family
from tests.ops.pairs import SYNC_ALL, A, B
from tests.ops.plugin import CASES, one_in
from tests.ops.test_crash import SCENARIOS, Scenario, applies
from zrep.core.pair_state import Action, State
from zrep.ops.across import rejoin_there
from zrep.ops.changeconfig import Config
from zrep.ops.init_way import Request
from zrep.ops.outcome import Outcome
from zrep.ops.rows import Row
from zrep.ops.status import status

CUTS = "cut, then asked and advised on both hosts"
BOTH = ("alpha", "beta")
# Nothing is left to do about these.
GOOD = (State.OK, State.PAUSED, State.SPLIT_COPY)
# What a person may have to do, one after the other, until all is well: finish, then rejoin, then sync.
ROUNDS = 6
# What is in the way of a run: what is to be typed beside zrep, before it is run again.
UNMOUNT = re.compile(r"next: stop what uses it, then on (\w+): zfs unmount '(\S+)'")
MOVE_OUT = re.compile(r"a split would move them along \((\S+)\); next: move them out of it \(zfs rename\)")
# Where a person is left a choice between two pairs, who does as told without one is at an end.
CHOICE = "next: end the others first"
# Only who was about to end a pair, or has none yet, is told to end it.
MAY_ADVISE_CLEAR = ("clear", "init", "init, half done before")
# Its rollback is what the person asked for; status tells to ask for it again.
DROPS = {"sync -f": {"by hand"}}


@dataclass(frozen=True, slots=True)
class Advice:
    """A command that an advice names, and the host it is for."""

    host: str
    words: tuple[str, ...]

    @property
    def work(self) -> Work:
        """The run that it is."""
        command, *arguments = self.words
        names = [word for word in arguments if not word.startswith("-")]
        match command, names:
            case "sync", [name]:
                return pairs.syncing(name)
            case "rejoin", [name] if "--peer" in arguments:
                return lambda session: rejoin_there(session, name)
            case "rejoin", [name]:
                return pairs.rejoining(name)
            case "init", [host, name, target] if "--pull" in arguments:
                return pairs.initialising(Request(name, host, target, pull=True))
            case "init", [name, host, target]:
                adopt, below = ("--adopt" in arguments, "-r" in arguments)
                return pairs.initialising(Request(name, host, target, adopt=adopt, recursive=below))
            case "takeover", [name]:
                return pairs.forcing(name) if "-L" in arguments else pairs.taking_over(name)
            case "clear", [name]:
                return pairs.clearing(name, here_only="-L" in arguments)
            case "changeconfig", [name, *peer]:
                host, target = [*peer, "", ""][:2]
                return pairs.changing(name, Config(host, target))
        raise AssertionError(f"no command that can be run: {' '.join(self.words)}")

    @property
    def options(self) -> dict[str, object]:
        return {"force": "-f" in self.words}


def advised(text: str, host: str) -> list[Advice]:
    """The commands of an advice given on a host, in order; not an init to a place that a person chooses."""
    found = re.findall(r"(?:on (\w+): )?zrep (?!init (?:to|again)\b)((?:(?! here\b)[^,;])+)", text)
    return [Advice(where or host, tuple(shlex.split(words))) for where, words in found]


def first_of(text: str, host: str) -> list[Advice]:
    """What somebody does who is told so: the first command, and what is to follow it; of two that are to be decided
    between, the first."""
    return advised(text.partition(", or ")[0], host)


def rows(hosts: Hosts, host: str, *, lost: bool = False) -> list[Row]:
    """What status says on a host. lost: while it cannot reach the other."""
    hosts.wire.reset()
    hosts.wire.cut = lost
    ended = hosts.run(host, lambda session: status(session, []), may_be_empty=True)
    assert ended.error is None, ended.text
    return list(ended.rows)


# --- status and sync ---


def disagreements(hosts: Hosts, cut: bytes) -> Iterator[str]:
    """Where the two say different things of a filesystem: one that may go on, or that the next run finishes, is synced
    without an error; of any other both advise the same. What is a replica here is synced from its master's host."""
    told: dict[str, Outcome] = {}
    for host in BOTH:
        hosts.load(cut)
        told |= {
            f"{host}:{outcome.filesystem}": outcome for outcome in hosts.run(host, SYNC_ALL, may_be_empty=True).outcomes
        }
    for host in BOTH:
        hosts.load(cut)
        for row in rows(hosts, host):
            where = host if f"{host}:{row.name}" in told else row.peer.partition(":")[0]
            outcome = told.get(f"{host}:{row.name}") or told.get(row.peer)
            if row.detail.startswith("as known here"):  # whoever never dials knows no more
                continue
            if outcome is None:
                if row.diagnosis.state is not State.SPLIT_COPY and row.diagnosis.state.action is not Action.REFUSE:
                    yield f"{host} {row.name}: status says {row.state}, no sync says anything"
                continue
            state = row.diagnosis.state
            goes_on = state in GOOD or state.action in (Action.PROCEED, Action.REPAIR)
            says = "nothing" if outcome.error is None or outcome.skipped else outcome.error.line()
            said = f"{host} {row.name}: status says {row.state} ({row.advice}), sync on {where} says {says}"
            if goes_on != (says == "nothing"):
                yield said
            elif outcome.error is not None and says != "nothing":
                same = advised(row.advice, host) == advised(outcome.error.advice, where)
                if not same or row.code != outcome.error.exit_code:
                    yield said


def disagreements_alone(hosts: Hosts, cut: bytes) -> Iterator[str]:
    """The same while the hosts do not reach each other: both end with the same exit status. Of a replica, and of a
    filesystem that is paused, sync says nothing."""
    for host in BOTH:
        hosts.load(cut)
        hosts.wire.cut = True
        told = {outcome.filesystem: outcome for outcome in hosts.run(host, SYNC_ALL, may_be_empty=True).outcomes}
        hosts.load(cut)
        for row in rows(hosts, host, lost=True):
            outcome = told.get(row.name)
            if outcome is not None and outcome.error is not None and outcome.error.exit_code != row.code:
                yield f"{host} {row.name}: status says {row.state} ({row.code}), sync {outcome.error.line()}"


# --- doing what is advised ---


def kept(hosts: Hosts) -> set[tuple[str, str, object]]:
    """All that is on either side and not zrep's own: files by their content, snapshots of others by their GUID; where
    a filesystem was split, what is in the copy counts."""
    found: set[tuple[str, str, object]] = set()
    for host, name in (("alpha", A), ("beta", B)):
        for dataset in family(hosts, host, name):
            found |= {(host, key, content) for key, content in dataset.data.items()}
            for snapshot in dataset.snapshots:
                found |= {(host, key, content) for key, content in snapshot.data.items()}
                if not snapshot.name.startswith("zrep_"):
                    found.add((host, "snapshot", snapshot.guid))
    return found


def make_way(hosts: Hosts, host: str, text: str) -> bool:
    """Do what a refusal on a host asks a person to do beside zrep; whether it asked for anything."""
    if found := UNMOUNT.search(text):
        hosts[found.group(1)].sh(f"zfs unmount {found.group(2)}")
    elif found := MOVE_OUT.search(text):
        hosts[host].sh(f"zfs rename {found.group(1)} tank/moved_out")
    return found is not None


def follow(hosts: Hosts, scenario: Scenario, first: str) -> Iterator[str]:
    """Do what status says, asked on one host first; what is wrong with how that ends."""
    before = kept(hosts)
    done: list[str] = []
    order = (first, *(host for host in BOTH if host != first))
    for _ in range(ROUNDS):
        if done and CHOICE in done[-1]:
            break
        found = [(host, row) for host in order for row in rows(hosts, host) if row.diagnosis.state not in GOOD]
        if not found:
            break
        host, row = next(((host, row) for host, row in found if row.advice), found[0])
        done.append(f"{host} {row.name} {row.state}: {row.advice}")
        if row.diagnosis.state is State.NOT_MOUNTED:  # a person's command, of ZFS
            where, _, command = row.advice.rpartition(": ")
            hosts[where.removeprefix("on ") or host].sh(command)
            continue
        for advice in first_of(row.advice, host):
            if advice.words[0] == "clear" and scenario.name not in MAY_ADVISE_CLEAR:
                yield f"clear is advised: {done}"
            hosts.wire.reset()
            ended = hosts.run(advice.host, advice.work, **advice.options)
            while ended.code and make_way(hosts, advice.host, ended.text):
                ended = hosts.run(advice.host, advice.work, **advice.options)
            if ended.code:
                done.append(f"it said {ended.text}")
    else:
        yield f"it does not end: {done}"
    drops = DROPS.get(scenario.name, set())
    lost = {key for _, key, _ in before - kept(hosts)} - drops
    if lost:
        yield f"{sorted(map(str, lost))} is lost: {done}"


def cuts(hosts: Hosts, scenario: Scenario, modes: Sequence[Mode], chosen: slice) -> Iterator[tuple[str, bytes]]:
    """Ways in which the scenario's run can be cut at one of its commands, those chosen of all, and the world as it is
    then, when all that had failed works again."""
    scenario.start(hosts)
    hosts.wire.reset()
    dumped = hosts.world.dump()
    options = dict(scenario.options)
    hosts.wire.cut = scenario.alone
    hosts.run(scenario.host, scenario.work, **options)
    found = [(mode, at) for at, command in enumerate(hosts.wire.log) for mode in modes if applies(mode, command)]
    for mode, at in found[chosen]:
        hosts.load(dumped)
        hosts.wire.reset(mode, at)
        hosts.wire.cut = scenario.alone
        hosts.run(scenario.host, scenario.work, **options)
        hosts.wire.heal()
        yield f"command {at}, {mode.value}", hosts.world.dump()


@pytest.mark.thorough
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_status_and_sync_agree_and_their_advice_leads_to_ok(
    hosts: Hosts, scenario: Scenario, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    everything = pytestconfig.getoption("--crash") == "all"
    # A sample: another part of the cuts for each scenario, the same in every run.
    every = one_in(pytestconfig, 7)
    chosen = slice(SCENARIOS.index(scenario) % every, None, every)
    modes = tuple(Mode) if everything else (Mode.KILL_AFTER,)
    count = 0
    broken: list[str] = []
    for where, cut in cuts(hosts, scenario, modes, chosen):
        count += 1
        found = [f"status and sync: {line}" for line in disagreements(hosts, cut)]
        found += [f"status and sync, the peer lost: {line}" for line in disagreements_alone(hosts, cut)]
        for first in BOTH:
            hosts.load(cut)
            found += [f"following {first}: {line}" for line in follow(hosts, scenario, first)]
        broken += [f"{where}: {line}" for line in found]
    record_property(CASES, {CUTS: count})
    assert not broken, f"{len(broken)} at {count} cuts:\n" + "\n".join(broken)
