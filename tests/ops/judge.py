"""What must hold, after every single command and at the end of it all: read from the model itself, not by zrep."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.model import mounting
from tests.model.machine import Machine
from tests.model.state import Dataset, Snapshot
from tests.ops.hosts import Hosts
from tests.ops.pairs import A, B

# A pair's two halves: each a host and a dataset.
Sides = tuple[tuple[str, str], tuple[str, str]]
SIDES: Sides = (("alpha", A), ("beta", B))
_OF_A_TAG = re.compile(r"[a-z]+_[0-9a-f]{6}")
OTHERS = "backup"  # the tag of holds that are somebody else's


def find(hosts: Hosts, host: str, name: str) -> Dataset | None:
    return hosts.world.state.hosts[host].datasets.get(name)


def value(hosts: Hosts, host: str, dataset: Dataset, name: str) -> str:
    state = hosts.world.state
    return Machine(state, state.hosts[host]).value(dataset, name)


def local(dataset: Dataset, name: str, tag: str = "zrep") -> str:
    """A property of zrep's, "" where it has no local value."""
    setting = dataset.props.get(f"{tag}:{name}")
    return (setting.local or "") if setting else ""


def follows(dataset: Dataset) -> bool:
    """Whether it is a replica under any tag, and passes on what it receives under the others."""
    return any(key.endswith(":master") and setting.local == "no" for key, setting in dataset.props.items())


def family(hosts: Hosts, host: str, name: str, root: str = "") -> Iterator[Dataset]:
    """A dataset and its split copies; root: that of the tree it is a member of."""
    top = root or name
    below = name.removeprefix(top)
    for dataset in hosts.world.state.hosts[host].datasets.values():
        copy = dataset.name.startswith(top + "_split") and dataset.name[len(top) :].partition("/")
        if dataset.name == name or (copy and f"{copy[1]}{copy[2]}" == below):
            yield dataset


def snapshots(hosts: Hosts, host: str, name: str, root: str = "") -> list[Snapshot]:
    return [snapshot for dataset in family(hosts, host, name, root) for snapshot in dataset.snapshots]


def held(hosts: Hosts, host: str, name: str, tag: str = "zrep", root: str = "") -> set[int]:
    return {snapshot.guid for snapshot in snapshots(hosts, host, name, root) if tag in snapshot.holds}


def writable(hosts: Hosts, host: str, name: str) -> bool:
    dataset = find(hosts, host, name)
    if dataset is None or dataset.inconsistent:
        return False
    if dataset.kind == "volume":
        return value(hosts, host, dataset, "readonly") == "off" and bool(local(dataset, "gen"))
    state = hosts.world.state
    return dataset.mounted_at is not None and not mounting.readonly(Machine(state, state.hosts[host]), dataset)


def base(hosts: Hosts, sides: Sides = SIDES) -> int | None:
    """GUID of the newest common snapshot."""
    here, there = (find(hosts, *side) for side in sides)
    if here is None or there is None:
        return None
    guids = {snapshot.guid for snapshot in there.snapshots}
    return next((s.guid for s in reversed(here.snapshots) if s.guid in guids), None)


@dataclass
class Watch:
    """Judges after every command. forced: somebody insisted, so the old master may be writable too;
    linked: the two sides are a pair from the start; roots: of the tree that the two are a member of, which have its
    role (None: they have their own)."""

    hosts: Hosts
    forced: bool
    linked: bool
    broken: list[str] = field(default_factory=list)
    epochs: dict[str, int] = field(default_factory=dict)
    foreign: set[tuple[str, str, int]] = field(default_factory=set)
    held_by_others: set[tuple[str, str, int]] = field(default_factory=set)
    sides: Sides = SIDES
    tag: str = "zrep"
    roots: Sides | None = None

    def __post_init__(self) -> None:
        self.root = dict(self.roots or self.sides)
        for host, name in self.sides:
            for snapshot in self._snapshots(host, name):
                if not _OF_A_TAG.fullmatch(snapshot.name):
                    self.foreign.add((host, name, snapshot.guid))
        self.look()

    def look(self) -> None:
        self._masters()
        self._replicas()
        one, other = ({s.guid for s in self._snapshots(*side) if self.tag in s.holds} for side in self.sides)
        if self.linked and not one & other:
            self._say("no common snapshot is held on both sides (5)")
        for host, name, guid in self.foreign:
            if all(snapshot.guid != guid for snapshot in self._snapshots(host, name)):
                self._say("a snapshot that zrep did not make is gone (6)")
        for host, name, guid in self.held_by_others:
            if all(snapshot.guid != guid or OTHERS not in snapshot.holds for snapshot in self._snapshots(host, name)):
                self._say("a hold that zrep did not make is gone (6)")

    def _masters(self) -> None:
        if self.forced:
            return
        if all(writable(self.hosts, *side) for side in self.sides):
            self._say("both sides are writable (1)")
        here, there = (host for host, _ in self.sides)
        both = self._local(here, "master") == self._local(there, "master") == "yes"
        if both and self._local(here, "gen") == self._local(there, "gen"):
            self._say("two masters of one generation (1)")

    def _replicas(self) -> None:
        for host, name in self.sides:
            dataset = find(self.hosts, host, name)
            if dataset is None:
                continue
            # A volume is opened just before a forced promotion: its size cannot be set while it is read-only.
            opened = self.forced and dataset.kind == "volume"
            replica = self._local(host, "master") == "no" and not opened
            if replica and value(self.hosts, host, dataset, "readonly") != "on":
                self._say(f"the replica on {host} is not read-only (18)")
            epoch = self._local(host, "epoch")
            if epoch:
                if int(epoch) < self.epochs.get(host, 0):
                    self._say(f"the epoch on {host} went back (3)")
                self.epochs[host] = int(epoch)

    def _local(self, host: str, name: str) -> str:
        dataset = find(self.hosts, host, self.root[host])
        return local(dataset, name, self.tag) if dataset else ""

    def _snapshots(self, host: str, name: str) -> list[Snapshot]:
        return snapshots(self.hosts, host, name, self.root[host])

    def _say(self, text: str) -> None:
        log = self.hosts.wire.log
        where = f" after {log[-1]}" if log else ""
        if not any(line.startswith(text) for line in self.broken):
            self.broken.append(text + where[:160])


def settled(hosts: Hosts, sides: Sides = SIDES, tag: str = "zrep") -> dict[str, object]:
    """Where the two sides have ended up, without what may differ between two good ends (ids, names, counts)."""
    common = base(hosts, sides)
    here, there = (find(hosts, *side) for side in sides)
    same = here is not None and there is not None and local(here, "gen", tag) == local(there, "gen", tag)
    return {"one generation": same, **{host: _side(hosts, host, name, common, tag) for host, name in sides}}


def _side(hosts: Hosts, host: str, name: str, common: int | None, tag: str) -> object:
    dataset = find(hosts, host, name)
    if dataset is None:
        return None
    # What is held beside the base: newer ones of ours, which have still to be sent (how many, may differ).
    held = {"base" if s.guid == common else "newer" for s in after(dataset, common) if tag in s.holds}
    roles = {
        key: setting.local.partition(" since ")[0]
        for key, setting in dataset.props.items()
        if key.startswith(f"{tag}:") and setting.local and key.partition(":")[2] not in ("gen", "parent", "flags")
    }
    native = {key: value(hosts, host, dataset, key) for key in ("readonly", "canmount") if dataset.kind != "volume"}
    splits = [
        (bool(local(copy, "split", tag)), *_role(copy, tag), writable(hosts, host, copy.name))
        for copy in family(hosts, host, name)
        if copy.name != name
    ]
    # Directories are made for mounts on them, at a boot that a fault brings about.
    files = {key: text for key, text in dataset.data.items() if not key.endswith("/")}
    older = [s.name for s in dataset.snapshots if tag in s.holds and s not in after(dataset, common)]
    mount = "as it was"  # a replica's is nobody's business: an old master stays mounted until it is booted again
    if roles.get(f"{tag}:master") == "yes" and not follows(dataset):
        mount = f"{dataset.mounted_at} {dataset.remounted == 'ro'}"
    end = {"roles": roles, **native, "held": held, "held older": older, "splits": splits, "files": files}
    return {**end, "partial": dataset.partial is not None, "mount": mount}


def _role(dataset: Dataset, tag: str) -> tuple[str, str]:
    return local(dataset, "master", tag), local(dataset, "inprogress", tag)


def after(dataset: Dataset, common: int | None) -> list[Snapshot]:
    """The base and what is newer."""
    guids = [s.guid for s in dataset.snapshots]
    return dataset.snapshots[guids.index(common) :] if common in guids else dataset.snapshots


def files(hosts: Hosts, host: str, name: str) -> set[str]:
    """Every file in a dataset and its split copies."""
    return {key for dataset in family(hosts, host, name) for key in dataset.data}
