"""What applications were promised of one pair."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.model.state import Dataset
from tests.ops.hosts import Hosts
from tests.ops.judge import SIDES, Sides, family, find, follows, local, writable
from zrep.core.role import Intent


def readable(dataset: Dataset) -> set[str]:
    """What an application finds, or will find after the next mount."""
    return {*dataset.data, *dataset.pending, *dataset.intent_log}


def settled_intent(text: str) -> bool:
    """Nothing is under way: no record, or one that only waits to be taken away."""
    intent = Intent.parse(text)
    return intent is None or intent.completed


@dataclass
class Ledger:
    """The checker's own record of every acknowledged write, and what must be true of them after each command.

    writes: where and when each was made; excused: those that a forced takeover gave up for the master (they must
    still be somewhere); synced: those that a run which returned 0 had put on both sides; seen: those each host has
    had, which nothing but an administrator's destroy takes away again, or a sync -f what the master has; dropping: one
    is under way; set_back: so is a takeover -L of a tree, which takes members back to its newest complete set. roots:
    of the tree that the two sides are a member of, which have its role (None: they have their own).
    """

    hosts: Hosts
    sides: Sides = SIDES
    tag: str = "zrep"
    roots: Sides | None = None
    writes: dict[str, tuple[str, int]] = field(default_factory=dict)
    excused: set[str] = field(default_factory=set)
    synced: set[str] = field(default_factory=set)
    seen: dict[str, set[str]] = field(default_factory=dict)
    generations: dict[str, set[str]] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    forced: bool = False
    dropping: bool = False
    set_back: bool = False
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = dict(self.sides)
        self.root = dict(self.roots or self.sides)
        (one, _), (other, _) = self.sides
        self.other = {one: other, other: one}
        self.seen = {one: set(), other: set()}

    def acknowledge(self, host: str, key: str) -> None:
        self.writes[key] = (host, self.hosts.world.state.now or 0)

    def on(self, host: str) -> set[str]:
        """The acknowledged writes that the dataset of the pair on a host has."""
        dataset = find(self.hosts, host, self.names[host])
        return readable(dataset) & self.writes.keys() if dataset else set()

    def can_be_sent(self, host: str) -> set[str]:
        """Those of them that a snapshot has: what only a crash's intent log has waits for a mount."""
        dataset = find(self.hosts, host, self.names[host])
        if dataset is None:
            return set()
        return (readable(dataset) - (dataset.intent_log.keys() if dataset.unreplayed else set())) & self.writes.keys()

    def kept(self, host: str) -> set[str]:
        """The same, with split copies."""
        found = [readable(dataset) for dataset in self.family(host)]
        return set().union(*found) & self.writes.keys()

    def family(self, host: str) -> list[Dataset]:
        return list(family(self.hosts, host, self.names[host], self.root[host]))

    def forget_unflushed(self, host: str) -> None:
        """A host is about to lose power: what no fsync asked for goes with it, and nobody was promised that."""
        for dataset in self.family(host):
            lost = dataset.pending.keys() - dataset.intent_log.keys() - dataset.data.keys()
            for key in lost & self.writes.keys():
                del self.writes[key]
                self._strike(key)

    def forget_destroyed(self, host: str) -> None:
        """An administrator has destroyed a split copy, or rolled back what was written alone."""
        for key in self.seen[host] - self.kept(host):
            self.seen[host].discard(key)
            if key not in self.kept(self.other[host]):
                self._strike(key)
                del self.writes[key]

    def _strike(self, key: str) -> None:
        for keys in (self.excused, self.synced, *self.seen.values()):
            keys.discard(key)

    def masters(self) -> list[tuple[str, Dataset]]:
        """The sides that say they are master, of the newest epoch."""
        found = [(host, find(self.hosts, host, name)) for host, name in self.sides]
        claims = [(host, dataset) for host, dataset in found if dataset and self._local(host, "master") == "yes"]
        newest = max((self.epoch(host) for host, _ in claims), default=0)
        return [(host, dataset) for host, dataset in claims if self.epoch(host) == newest]

    def epoch(self, host: str) -> int:
        return int(self._local(host, "epoch") or 0)

    def whole(self) -> bool:
        """Linked, with nothing under way: whatever was forced before is over."""
        here, there = self.names
        found = [find(self.hosts, *side) for side in (*self.sides, *self.root.items())]
        if not all(found) or self._local(here, "gen") != self._local(there, "gen"):
            return False
        roles = {self._local(here, "master"), self._local(there, "master")}
        quiet = all(settled_intent(self._local(host, "inprogress")) for host in self.names)
        both = all(writable(self.hosts, *side) for side in self.sides)
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
        for host, name in self.sides:
            have = self.kept(host)
            if self.set_back:
                self.seen[host] &= have | self.synced
            if self.dropping:
                self.seen[host] -= self.on(self.other[host]) - have
            self._say(f"gone from {name} on {host} (9)", self.seen[host] - have)
            self.seen[host] |= have
            dataset = find(self.hosts, host, name)
            if dataset is not None and not dataset.inconsistent:
                missing = self.synced - readable(dataset)
                if self.dropping:  # what the master has, the replica gets again after its rollback
                    missing -= self.on(self.other[host])
                self._say(f"synced, and not in {name} on {host} (7)", missing)

    def _master_has_all(self) -> None:
        masters = self.masters()
        if self.forced or not masters:
            return
        wanted = self.writes.keys() - self.excused
        missing = [wanted - self.on(host) for host, _ in masters]
        self._say("not on the master (8)", min(missing, key=len))

    def _one_master_a_generation(self) -> None:
        for host, _ in self.masters():
            hosts = self.generations.setdefault(self._local(host, "gen"), set())
            hosts.add(host)
            self._say("masters of one generation (1)", hosts if len(hosts) > 1 else set())

    def _no_stream_into_a_master(self) -> None:
        log = self.hosts.wire.log
        for host, name in self.sides:
            dataset = find(self.hosts, host, name)
            newest = dataset.snapshots[-1].guid if dataset and dataset.snapshots else 0
            received = bool(log) and log[-1].stream and log[-1].host != host and newest != self.newest.get(host)
            if dataset and received and self._local(host, "master") == "yes" and not follows(dataset):
                self._say("a master accepted a stream (2)", {host})
            self.newest[host] = newest

    def _local(self, host: str, name: str) -> str:
        dataset = find(self.hosts, host, self.root[host])
        return local(dataset, name, self.tag) if dataset else ""

    def _say(self, what: str, which: set[str]) -> None:
        if which and not any(line.startswith(what) for line in self.broken):
            log = self.hosts.wire.log
            self.broken.append(f"{what}: {', '.join(sorted(which))}{f' after {log[-1]}' if log else ''}")
