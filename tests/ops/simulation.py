"""The simulation: applications, administrators, cron, crashes and cuts in any order, on two model hosts.

Hypothesis draws what happens; everything else is the same in every run: no clock, no threads, nothing random. What
applications were promised is kept in a ledger of its own, beside what judge.py reads from the model.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.model.state import Dataset
from tests.ops import pairs
from tests.ops.hosts import Command, Ended, Hosts, Mode, ModelHost, Ways, Wire, Work
from tests.ops.judge import SIDES, Watch, family, find, local, settled, writable
from tests.ops.pairs import MINUTE
from tests.ops.test_crash import applies
from tests.ops.turns import Run, in_turns, schedule
from zrep.core.errors import UnreachableError
from zrep.core.role import Intent
from zrep.host.local import LocalHost
from zrep.ops.changeconfig import Config

Answer = TypeVar("Answer")
NAMES = dict(SIDES)
HEALED = "--- healed"
OTHER = {"alpha": "beta", "beta": "alpha"}

COMMANDS: dict[str, Callable[[str], Work]] = {
    "sync": pairs.syncing,
    "sync all": lambda name: pairs.SYNC_ALL,
    "sync -f": pairs.syncing,
    "failover": pairs.failing_over,
    "failover --force-unmount": lambda name: pairs.failing_over(name, insist=True),
    "takeover": pairs.taking_over,
    "takeover -L": pairs.forcing,
    "takeover -L --fence-cmd": pairs.forcing,
    "rejoin": pairs.rejoining,
    "rejoin -f": pairs.rejoining,
    "expire": pairs.expiring,
    "expire -L": lambda name: pairs.expiring(name, here_only=True),
    "pause": pairs.pausing,
    "unpause": pairs.unpausing,
}
# What moves the role most often; the one command that only says yes to a loss is left to who is told to run it.
DRAWN = [name for name in COMMANDS if name not in ("sync -f", "takeover -L --fence-cmd")]
DRAWN += ["sync", "failover", "takeover", "takeover -L", "rejoin"] * 2
MOVES = {"failover", "failover --force-unmount", "takeover"}


# --- two hosts on which time and chance play no part --------------------------------------------------------


@dataclass
class Line(Wire):
    """A fault falls on the first command from its number on at which it means anything."""

    before_power: Callable[[str], None] = lambda host: None

    def _inject(self, command: Command, ways: Ways[Answer]) -> Answer:
        if self.mode is not None and applies(self.mode, command):
            return super()._inject(command, ways)
        self.at += 1
        return ways.do()

    def _power(self, name: str) -> None:
        self.before_power(name)
        super()._power(name)


class Fencing(ModelHost):
    """fenced: the fence command of this host, and what it exits with."""

    fenced: Callable[[], int]

    def fence(self, command: str, about: dict[str, str]) -> tuple[int | None, str]:
        return self.fenced(), "said the fence command"


class Pair(Hosts):
    """Hosts whose runs take no time."""

    def __init__(self, directory: Path, fenced: Callable[[str], int]) -> None:
        super().__init__(directory)
        self.line = Line(self.world)
        self.wire = self.line
        self._fenced = fenced

    def local(self, name: str) -> LocalHost:
        host = Fencing(self.wire, name, self.directory / name)
        host.fenced = partial(self._fenced, name)
        return host


# --- what was promised --------------------------------------------------------------------------------------


def readable(dataset: Dataset) -> set[str]:
    """What an application finds, or will find after the next mount."""
    return {*dataset.data, *dataset.pending, *dataset.intent_log}


@dataclass
class Ledger:
    """The checker's own record of every acknowledged write, and what must be true of them after each command.

    writes: where and when each was made; excused: those that a forced takeover gave up for the master (they must
    still be somewhere); synced: those that a run which returned 0 had put on both sides; seen: those each host has
    had, which nothing but an administrator's destroy takes away again, or a sync -f what the master has; dropping: one
    is under way.
    """

    hosts: Hosts
    writes: dict[str, tuple[str, int]] = field(default_factory=dict)
    excused: set[str] = field(default_factory=set)
    synced: set[str] = field(default_factory=set)
    seen: dict[str, set[str]] = field(default_factory=lambda: {"alpha": set(), "beta": set()})
    generations: dict[str, set[str]] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    forced: bool = False
    dropping: bool = False
    broken: list[str] = field(default_factory=list)

    def acknowledge(self, host: str, key: str) -> None:
        self.writes[key] = (host, self.hosts.world.state.now or 0)

    def on(self, host: str) -> set[str]:
        """The acknowledged writes that the dataset of the pair on a host has."""
        dataset = find(self.hosts, host, NAMES[host])
        return readable(dataset) & self.writes.keys() if dataset else set()

    def kept(self, host: str) -> set[str]:
        """The same, with split copies."""
        found = [readable(dataset) for dataset in family(self.hosts, host, NAMES[host])]
        return set().union(*found) & self.writes.keys()

    def forget_unflushed(self, host: str) -> None:
        """A host is about to lose power: what no fsync asked for goes with it, and nobody was promised that."""
        for dataset in family(self.hosts, host, NAMES[host]):
            lost = dataset.pending.keys() - dataset.intent_log.keys() - dataset.data.keys()
            for key in lost & self.writes.keys():
                del self.writes[key]
                self._strike(key)

    def forget_destroyed(self, host: str) -> None:
        """An administrator has destroyed a split copy."""
        for key in self.seen[host] - self.kept(host):
            self.seen[host].discard(key)
            if key not in self.kept(OTHER[host]):
                self._strike(key)
                del self.writes[key]

    def _strike(self, key: str) -> None:
        for keys in (self.excused, self.synced, *self.seen.values()):
            keys.discard(key)

    def masters(self) -> list[tuple[str, Dataset]]:
        """The sides that say they are master, of the newest epoch."""
        found = [(host, find(self.hosts, host, name)) for host, name in SIDES]
        claims = [(host, dataset) for host, dataset in found if dataset and local(dataset, "master") == "yes"]
        newest = max((_epoch(dataset) for _, dataset in claims), default=0)
        return [(host, dataset) for host, dataset in claims if _epoch(dataset) == newest]

    def whole(self) -> bool:
        """Linked, with nothing under way: whatever was forced before is over."""
        here, there = (find(self.hosts, *side) for side in SIDES)
        if here is None or there is None or local(here, "gen") != local(there, "gen"):
            return False
        roles = {local(here, "master"), local(there, "master")}
        quiet = all(settled_intent(local(dataset, "inprogress")) for dataset in (here, there))
        both = all(writable(self.hosts, *side) for side in SIDES)
        return roles == {"yes", "no"} and quiet and not both

    def settle(self) -> None:
        """The pair is whole again: what the master lacks now was given up by the forced takeover."""
        self.forced = False
        [(host, _)] = self.masters()
        self.excused = self.writes.keys() - self.on(host)

    def look(self) -> None:
        self._nothing_gone()
        self._master_has_all()
        self._one_master_a_generation()
        self._no_stream_into_a_master()

    def _nothing_gone(self) -> None:
        for host in NAMES:
            have = self.kept(host)
            if self.dropping:
                self.seen[host] -= self.on(OTHER[host]) - have
            self._say(f"gone from {host} (9)", self.seen[host] - have)
            self.seen[host] |= have
            dataset = find(self.hosts, host, NAMES[host])
            if dataset is not None and not dataset.inconsistent:
                missing = self.synced - readable(dataset)
                if self.dropping:  # what the master has, the replica gets again after its rollback
                    missing -= self.on(OTHER[host])
                self._say(f"synced, and not on {host} (7)", missing)

    def _master_has_all(self) -> None:
        masters = self.masters()
        if self.forced or not masters:
            return
        wanted = self.writes.keys() - self.excused
        missing = [wanted - self.on(host) for host, _ in masters]
        self._say("not on the master (8)", min(missing, key=len))

    def _one_master_a_generation(self) -> None:
        for host, dataset in self.masters():
            hosts = self.generations.setdefault(local(dataset, "gen"), set())
            hosts.add(host)
            self._say("masters of one generation (1)", hosts if len(hosts) > 1 else set())

    def _no_stream_into_a_master(self) -> None:
        log = self.hosts.wire.log
        for host, name in SIDES:
            dataset = find(self.hosts, host, name)
            newest = dataset.snapshots[-1].guid if dataset and dataset.snapshots else 0
            received = bool(log) and log[-1].stream and log[-1].host != host and newest != self.newest.get(host)
            if dataset and received and local(dataset, "master") == "yes":
                self._say("a master accepted a stream (2)", {host})
            self.newest[host] = newest

    def _say(self, what: str, which: set[str]) -> None:
        if which and not any(line.startswith(what) for line in self.broken):
            log = self.hosts.wire.log
            self.broken.append(f"{what}: {', '.join(sorted(which))}{f' after {log[-1]}' if log else ''}")


def settled_intent(text: str) -> bool:
    """Nothing is under way: no record, or one that only waits to be taken away."""
    intent = Intent.parse(text)
    return intent is None or intent.completed


def _is_replica(dataset: Dataset) -> bool:
    """By its role, or by the record of a new one."""
    intent = Intent.parse(local(dataset, "inprogress"))
    return (intent.role if intent else {}).get("master", local(dataset, "master")) == "no"


def _epoch(dataset: Dataset) -> int:
    return int(local(dataset, "epoch") or 0)


# --- what is drawn ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fault:
    """At the first command from number `at` on at which it means anything."""

    mode: Mode
    at: int


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two runs at the same time, each a host and a command: whether the other one comes first, at each command (then:
    at all further ones), and how many seconds a command takes (who waits for a lock does so for a time)."""

    runs: tuple[tuple[str, str], tuple[str, str]]
    turns: list[bool]
    pace: float
    then: bool = True

    @property
    def commands(self) -> list[str]:
        return [command for _, command in self.runs]


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """What somebody else does, on which host, once a run has carried out its command number `at`: a command of
    zrep (a second run), or a word of ACTIONS."""

    at: int
    host: str
    what: str


ACTIONS = ("write", "fsync", "store", "snapshot", "destroy", "rename", "cut", "heal")
HOST = st.sampled_from(["alpha", "beta"])
AT = st.integers(0, 60)
FAULT = st.builds(Fault, st.sampled_from(list(Mode)), AT)
MEANWHILE = st.builds(Meanwhile, AT, HOST, st.sampled_from([*ACTIONS, *DRAWN]))
PICK = st.integers(0, 9)
COMMAND = st.sampled_from(DRAWN)
RUN = st.tuples(HOST, COMMAND)
OVERLAP = st.builds(
    Overlap, st.tuples(RUN, RUN), st.lists(st.booleans(), max_size=80), st.sampled_from([0.01, 0.05, 0.5])
)
counted: Counter[str] = Counter()


class Simulation(RuleBasedStateMachine):
    """Two hosts, and all that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="zrep-simulation-")
        self.hosts = Pair(Path(self.directory.name), self._fence)
        self.fence_says = 0
        self.reachable: dict[str, int] = {}
        self.number = 0
        self.cut = False
        self.down: set[str] = set()
        self.insisted: set[str] = set()
        self.history: list[str] = []
        counted["examples"] += 1

    # --- the beginning ---

    @initialize(volume=st.sampled_from([False, False, False, True]), keep=HOST, lease=st.sampled_from([0, 0, 300]))
    def a_pair(self, volume: bool, keep: str, lease: int = 0) -> None:
        """keep: the side that a person decides for when asked; lease: seconds, on both sides."""
        self.keep, self.lease = keep, lease
        pairs.linked(self.hosts, volume)
        for host, name in SIDES:
            pairs.good(self.hosts.run(host, pairs.changing(name, Config(savecount=2, lease=lease))))
            self.reachable[host] = self._now()
        self.hosts.wire.reset()
        self.watch = Watch(self.hosts, forced=False, linked=True)
        self.ledger = Ledger(self.hosts)
        self.hosts.line.before_power = self.ledger.forget_unflushed
        self.hosts.wire.after = self.look

    def look(self) -> None:
        self.watch.look()
        self.ledger.look()

    # --- applications ---

    @rule(host=HOST, how=st.sampled_from(["write", "fsync", "buffered"]))
    def write(self, host: str, how: str) -> None:
        self._act(host, how)

    @rule(host=HOST, change=st.sampled_from([1, 1, -1]))
    def map_file(self, host: str, change: int) -> None:
        """A process maps a file writable, or no longer."""
        dataset = find(self.hosts, host, NAMES[host])
        if host in self.down or dataset is None or dataset.kind == "volume":
            return
        with suppress(OSError):
            self.hosts[host].map_file(NAMES[host], change)

    @rule(host=HOST)
    def store(self, host: str) -> None:
        self._act(host, "store")

    # --- administrators ---

    @rule(host=HOST, what=st.sampled_from(["snapshot", "destroy", "rename"]), pick=PICK)
    def administer(self, host: str, what: str, pick: int) -> None:
        self._act(host, what, pick)

    @rule(host=HOST, pick=PICK)
    def destroy_a_split_copy(self, host: str, pick: int) -> None:
        """One that rejoin has finished with."""
        copies = [d for d in family(self.hosts, host, NAMES[host]) if local(d, "split") and not local(d, "inprogress")]
        if not copies or host in self.down:
            return
        copy = copies[pick % len(copies)]
        for snapshot in copy.snapshots:
            if "zrep" in snapshot.holds:
                self.hosts[host].sh(f"zfs release zrep {copy.name}@{snapshot.name}")
            self.watch.foreign.discard((host, NAMES[host], snapshot.guid))
        self.hosts[host].sh(f"zfs destroy -r {copy.name}")
        self.ledger.forget_destroyed(host)

    # --- zrep ---

    @rule(host=HOST, command=COMMAND)
    def run(self, host: str, command: str) -> None:
        if host not in self.down:
            self._run(host, command)

    @rule(host=HOST, says=st.sampled_from([0, 0, 1, 2, 9]))
    def fence_and_take_over(self, host: str, says: int) -> None:
        """Nothing is changed unless the fence command says that the peer is off, which it then is."""
        if host in self.down:
            return
        self.fence_says = says
        self.hosts[host].sh("zpool sync tank")  # which zrep does too, to tell the truth of what was written
        before = self.hosts.world.view()
        fenced = OTHER[host] in self.down
        ended = self._run(host, "takeover -L --fence-cmd")
        if says != 0:
            assert ended.code == 0 or self.hosts.world.view() == before, f"changed without a fence\n{self._story(12)}"
        elif not fenced and OTHER[host] in self.down:
            counted["fenced"] += 1

    @rule(host=HOST, command=COMMAND, fault=FAULT)
    def run_with(self, host: str, command: str, fault: Fault) -> None:
        if host not in self.down:
            self._run(host, command, fault=fault)

    @rule(host=HOST, command=COMMAND, meanwhile=MEANWHILE)
    def run_while(self, host: str, command: str, meanwhile: Meanwhile) -> None:
        if host not in self.down:
            self._run(host, command, meanwhile=meanwhile)

    @rule(overlap=OVERLAP)
    def run_both(self, overlap: Overlap) -> None:
        self.overlapping(overlap)

    @rule(overlap=OVERLAP, fault=FAULT)
    def run_both_with(self, overlap: Overlap, fault: Fault) -> None:
        """The fault falls on whichever of the two is at it: a kill ends that one, a lost link is lost for both."""
        self.overlapping(overlap, fault)

    # --- the surroundings ---

    @precondition(lambda self: not self.cut)
    @rule()
    def cut_the_link(self) -> None:
        self.history.append("(cut)")
        self.cut = True

    @precondition(lambda self: self.cut)
    @rule()
    def heal_the_link(self) -> None:
        self.history.append("(heal)")
        self.cut = False

    @rule(host=HOST)
    def lose_power(self, host: str) -> None:
        if host not in self.down:
            self.history.append(f"{host}: (power lost)")
            self.ledger.forget_unflushed(host)
            self.hosts[host].crash()
            self.down.add(host)

    @rule(host=HOST)
    def boot(self, host: str) -> None:
        if host in self.down:
            self.history.append(f"{host}: (boot)")
            self.down.discard(host)
            self.hosts[host].mount_all()

    @invariant()
    def all_is_well(self) -> None:
        counted["steps"] += 1
        if hasattr(self, "ledger"):
            self.hosts.wire.log = []
            self.look()
            self._judge()

    def _judge(self) -> None:
        broken = [*self.watch.broken, *self.ledger.broken]
        assert not broken, "\n".join([*broken, self._story(12)])

    def _story(self, end: int) -> str:
        """What happened, the end of it."""
        healed = self.history.index(HEALED) if HEALED in self.history else len(self.history)
        return "\n".join([*self.history[max(0, healed - 40) : healed + 8], "...", *self.history[healed + 8 :][-end:]])

    # --- how each is done ---

    def _now(self) -> int:
        return self.hosts.world.state.now or 0

    def _may_be_reached(self, *hosts: str) -> None:
        """Runs of these hosts, one each, that begin now find their peer: the last of them when that many have begun."""
        if not self.hosts.wire.cut:
            self.reachable |= dict.fromkeys(hosts, self._now() + len(hosts) * MINUTE)

    def _fence(self, host: str) -> int:
        """The fence command of a host: it takes the power from the other one, or says why not."""
        self.history.append(f"{host}: (fence command: {self.fence_says})")
        if self.fence_says == 0:
            self.lose_power(OTHER[host])
            self.hosts.wire.cut = True
        return self.fence_says

    def _act(self, host: str, what: str, pick: int = 0) -> None:
        """One thing that is not zrep's doing."""
        name = NAMES[host]
        dataset = find(self.hosts, host, name)
        self.history.append(f"{host}: ({what})")
        if what in ("cut", "heal"):
            self.cut = what == "cut"
            self.hosts.wire.cut = self.cut or bool(self.down)  # whoever lost power does not answer
            self._may_be_reached(*NAMES)
        if host in self.down or dataset is None or dataset.inconsistent:
            return
        if what in ("write", "fsync", "buffered", "store"):
            self._write(host, what)
        elif what == "snapshot":
            self.number += 1
            self.hosts[host].sh(f"zfs snapshot {name}@by-hand-{self.number}")
            self.watch.foreign.add((host, name, dataset.snapshots[-1].guid))
        elif what == "destroy":
            self._destroy(host, dataset, pick)
        elif what == "rename" and dataset.snapshots:
            snapshot = dataset.snapshots[pick % len(dataset.snapshots)]
            self.number += 1
            self.hosts[host].sh(f"zfs rename {name}@{snapshot.name} {name}@renamed-{self.number}")
            self.watch.foreign.add((host, name, snapshot.guid))

    def _write(self, host: str, how: str) -> None:
        self.number += 1
        key, name = f"w{self.number}", NAMES[host]
        dataset = find(self.hosts, host, name)
        if dataset is not None and dataset.kind == "volume":
            how = "write"  # the model replays the intent log of what is mounted only
        given_up = how == "store" and dataset is not None and self._insisted_past(host, dataset)
        if dataset is not None and _is_replica(dataset):
            given_up = (
                True  # a takeover -L of a volume that was cut left it writable: this is by hand, sync -f's to drop
            )
        try:
            if how == "store":
                self.hosts[host].store_mapped(name, key, b"mapped")
            else:
                self.hosts[host].write(name, key, b"written", flushed=how == "write", fsync=how == "fsync")
        except OSError:
            return
        if not given_up:
            self.ledger.acknowledge(host, key)

    def _insisted_past(self, host: str, dataset: Dataset) -> bool:
        """Whether zrep has looked for the last time: a failover --force-unmount, as its manual says, does not stop who
        has a file mapped, and what is stored from then on is nobody's loss but of the person who insisted."""
        if host not in self.insisted or local(dataset, "master") == "no":
            return host in self.insisted
        intent = Intent.parse(local(dataset, "inprogress"))
        there = find(self.hosts, OTHER[host], NAMES[OTHER[host]])
        if intent is None or intent.operation != "failover" or there is None:
            return False
        final = dataset.snapshots[-1]
        return "zrep" in final.holds and any(snapshot.guid == final.guid for snapshot in there.snapshots)

    def _destroy(self, host: str, dataset: Dataset, pick: int) -> None:
        """Any snapshot that nothing holds: ZFS refuses the others."""
        free = [s for s in dataset.snapshots if not s.holds]
        if not free:
            return
        self._destroy_named(host, dataset, free[pick % len(free)].name)

    def _destroy_named(self, host: str, dataset: Dataset, name: str) -> None:
        snapshot = dataset.snapshot(name)
        done = self.hosts[host].run(["zfs", "destroy", f"{dataset.name}@{name}"])
        if snapshot and done.rc == 0:
            self.watch.foreign.discard((host, dataset.name, snapshot.guid))

    def _run(self, host: str, command: str, fault: Fault | None = None, meanwhile: Meanwhile | None = None) -> Ended:
        also = [meanwhile.what] if meanwhile else []
        with self._judged([command, *also], fault):
            self.hosts.wire.cut = self.hosts.wire.cut or bool(self.down - {host})
            self.hosts.wire.after = self._looking(meanwhile)
            had = self.ledger.on(host)
            self._may_be_reached(*(NAMES if meanwhile else [host]))
            ended = self._start(host, command)
        if command == "sync all" and not fault and not meanwhile:
            self._lease_is_kept(host, ended)
        if ended.code == 0 and meanwhile is None:
            self._reached(host, command, ended, had)
        self._settle()
        return ended

    def _lease_is_kept(self, host: str, ended: Ended) -> None:
        """A master whose peer could not be reached for longer than its lease is not written to after a run."""
        dataset = find(self.hosts, host, NAMES[host])
        silent = self._now() - self.reachable[host]
        if ended.code != UnreachableError.exit_code or not self.lease or silent <= self.lease or dataset is None:
            return
        if local(dataset, "master") == "yes" and local(dataset, "alone") != "yes":
            counted["lease over"] += 1
            if writable(self.hosts, host, NAMES[host]):
                self.ledger.broken.append(f"{host} is writable {silent} s after its peer was last reachable")

    def overlapping(self, overlap: Overlap, fault: Fault | None = None) -> list[Run]:
        """Both, or the one whose host is up."""
        which = [run for run in overlap.runs if run[0] not in self.down]
        counted["overlaps"] += 1
        with self._judged(overlap.commands, fault):
            self.hosts.wire.cut = self.hosts.wire.cut or bool(self.down)
            had = {host: self.ledger.on(host) for host in NAMES}
            self._may_be_reached(*NAMES)
            self.history.append(f"(at the same time: {which})")
            works = [(host, partial(self._start, host, command)) for host, command in which]
            runs = in_turns(self.hosts, works, schedule(overlap.turns, overlap.then), overlap.pace)
        for (host, command), run in zip(which, runs, strict=True):
            # What another run has done to the roles since is judged by what comes after.
            if run.ended and run.ended.code == 0 and (command not in MOVES or len(runs) == 1):
                self._reached(host, command, run.ended, had[host])
        self._settle()
        return runs

    @contextmanager
    def _judged(self, commands: list[str], fault: Fault | None) -> Iterator[None]:
        """Runs of zrep, maybe with a fault: after each command all is looked at."""
        wire, forced = self.hosts.line, self.ledger.forced
        wire.reset(fault.mode if fault else None, fault.at if fault else -1)
        wire.cut, wire.after = self.cut, self.look
        before = self._roles()
        self.ledger.dropping = "sync -f" in commands
        self._force(forced or any(command.startswith("takeover -L") for command in commands))
        if fault:
            self.history.append(f"({fault.mode.name} from {fault.at} on)")
        yield
        self.ledger.dropping = False
        wire.after = self.look
        self._after_faults(fault)
        if not forced and self._roles() == before:
            self._force(False)

    def _settle(self) -> None:
        if self.ledger.whole() and not self.down:
            self._force(False)
            self.ledger.settle()

    def _start(self, host: str, command: str) -> Ended:
        counted["runs"] += 1
        work = COMMANDS[command](NAMES[host])
        dataset = find(self.hosts, host, NAMES[host])
        if command == "failover --force-unmount" and dataset is not None and dataset.mappings:
            self.insisted.add(host)
        fence = "fence" if command.endswith("--fence-cmd") else ""
        ended = self.hosts.run(host, work, force=command.endswith(" -f"), fence=fence)
        counted[f"{command}: {'killed' if ended.code is None else ended.code}"] += 1
        self.history.append(f"{host}: {command}: {'killed' if ended.code is None else ended.code} {ended.text[:300]}")
        return ended

    def _looking(self, meanwhile: Meanwhile | None) -> Callable[[], None]:
        """What follows each command: the judges, and at one number somebody else."""
        if meanwhile is None:
            return self.look
        waiting = [meanwhile]

        def after() -> None:
            self.look()
            if waiting and len(self.hosts.wire.log) > waiting[0].at:
                self._in_between(waiting.pop())

        return after

    def _in_between(self, other: Meanwhile) -> None:
        """Another run has its own host, and leaves the wire to the first one as it was."""
        if other.what in ACTIONS:
            self._act(other.host, other.what)
        elif other.host not in self.down:
            wire = self.hosts.wire
            driver = wire.driver
            self._start(other.host, other.what)
            wire.driver = driver

    def _after_faults(self, fault: Fault | None) -> None:
        wire = self.hosts.wire
        if wire.power_lost:
            self.down |= wire.power_lost
        elif wire.cut and fault and fault.mode in (Mode.CUT, Mode.LOST, Mode.TORN_CUT):
            self.cut = True
        wire.reset()

    def _roles(self) -> list[tuple[object, ...]]:
        found = [(find(self.hosts, *side), writable(self.hosts, *side)) for side in SIDES]
        keys = ("gen", "master", "epoch", "inprogress")
        return [(*(local(dataset, key) for key in keys), opened) if dataset else () for dataset, opened in found]

    def _force(self, forced: bool) -> None:
        self.watch.forced = self.ledger.forced = forced

    def _reached(self, host: str, command: str, ended: Ended, had: set[str]) -> None:
        """Exit 0 means the goal holds on both sides (15)."""
        said = [
            outcome
            for outcome in ended.outcomes
            if outcome.filesystem == NAMES[host] and not (outcome.skipped or outcome.harmless)
        ]
        moved = command in MOVES and "role moved" in ended.text
        if moved or (said and command.startswith("sync")):
            self.ledger.synced |= had
        unasked = "could not be asked" in ended.text  # the master is one all the same, and says what it does not know
        if command in MOVES and not self.ledger.forced and not unasked:
            master = OTHER[host] if command.startswith("failover") else host
            if [found for found, _ in self.ledger.masters()] != [master] or not self.ledger.whole():
                self.ledger.broken.append(f"{command} on {host} returned 0, but {master} is not the master (15)")

    # --- the end ---

    def teardown(self) -> None:
        try:
            if hasattr(self, "ledger"):
                self.converge()
        finally:
            self.directory.cleanup()

    def converge(self) -> None:
        """Everything works again; cron runs, and a person does what zrep advises. It must come to a whole pair."""
        self.history.append(HEALED)
        self.cut = False
        for host in sorted(self.down):
            self.boot(host)
        for host in NAMES:
            self._run(host, "unpause")
        for _ in range(8):
            ended = [self._run(host, "sync all") for host in NAMES]
            self._judge()
            if self._linked() and not any(one.code for one in ended):
                break
            self._follow(ended)
        else:
            raise AssertionError(f"no whole pair:\n{settled(self.hosts)}\n{self._story(12)}")
        self._there_and_back()

    def _linked(self) -> bool:
        return self.ledger.whole() and all("base" in held for held in self._held())

    def _held(self) -> list[list[str]]:
        """What each side holds, beside the base: see judge.settled."""
        sides = [settled(self.hosts)[host] for host in NAMES]
        return [sorted({*side["held"], *side["held older"]}) for side in sides if isinstance(side, dict)]

    def _follow(self, ended: list[Ended]) -> None:
        for host, one in zip(NAMES, ended, strict=True):
            advised = next_command(one.text, host, self.keep)
            if advised is not None:
                counted[f"advised: {advised[1]}"] += 1
                self._as_told(*advised)
                return

    def _as_told(self, host: str, command: str) -> Ended:
        """Run it; where it says what a person must do first, do that and run it again."""
        ended = self._run(host, command)
        if "remove them on" in ended.text:
            self._remove(OTHER[host], re.findall(r"newer than the base @\S+ \(([^)]*)\)", ended.text)[0].split(", "))
        elif "stop the writer" in ended.text or "stop what uses" in ended.text:
            self._stop_writers()
        else:
            return ended
        return self._run(host, command)

    def _remove(self, host: str, names: list[str]) -> None:
        dataset = find(self.hosts, host, NAMES[host])
        assert dataset is not None
        for name in names:
            self.history.append(f"{host}: (removes @{name})")
            self.hosts[host].run(["zfs", "release", "zrep", f"{dataset.name}@{name}"])
            self._destroy_named(host, dataset, name)

    def _stop_writers(self) -> None:
        self.history.append("(writers stopped)")
        for dataset in filter(None, (find(self.hosts, *side) for side in SIDES)):
            dataset.mappings = 0

    def _there_and_back(self) -> None:
        """The role moves both ways, with a write on each side, and moving nothing changes nothing."""
        for _ in range(2):
            [(master, _)] = self.ledger.masters()
            self._act(master, "write")
            for host, command in ((master, "failover"), ("alpha", "sync all"), ("beta", "sync all")):
                assert self._as_told(host, command).code == 0, self._story(12)
            self._judge()
        assert self._held() == [["base"], ["base"]], f"holds have piled up (17): {self._held()}\n{self._story(12)}"
        before = self.hosts.world.view()
        for host in NAMES:
            self._run(host, "sync all")
        assert self.hosts.world.view() == before, "running it again changed something (11)"


ADVICE = re.compile(
    r"next: (?:on (alpha|beta): )?.*?zrep (rejoin -f|rejoin|takeover -L|takeover|sync -f|sync|unpause)"
    r"(?: '[^']*' on (alpha|beta))?"
)


def next_command(text: str, host: str, keep: str) -> tuple[str, str] | None:
    """Where to run what, by zrep's own words; where it leaves the choice to a person, for the side to keep."""
    found = ADVICE.search(text)
    if found is None:
        return None
    where, command, elsewhere = found.groups()
    if command == "rejoin -f":
        where = OTHER[keep]
    elif command == "takeover -L" and "FS" in text[found.start() :]:
        where = keep
    return where or elsewhere or host, command
