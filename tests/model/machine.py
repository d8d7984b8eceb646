"""One host at work: looking datasets up, transaction groups, content, and what a property's value is."""

from __future__ import annotations

import time
from collections.abc import Iterator

from . import properties
from .errors import RefusalError, missing
from .names import DATASETS, FILESYSTEM, SNAPSHOT, VOLUME, check, is_under, parent, split
from .properties import INHERIT, NATIVE
from .state import FRESH_BYTES, METADATA_BYTES, Dataset, HostState, Pool, Setting, Snapshot, WorldState
from .stream import token_of

Target = tuple[Dataset, Snapshot | None]
_MASK = (1 << 64) - 1
VOLUME_BYTES = 57344
SUSPENDED = "pool I/O is currently suspended"


class Machine:
    """A host while it runs one command."""

    def __init__(self, world: WorldState, host: HostState, user: str = "root") -> None:
        self.world = world
        self.host = host
        self.user = user
        self.out: list[str] = []
        self.err: list[str] = []

    # -- looking up

    def find(self, name: str) -> Target | None:
        head, snap = split(name)
        dataset = self.host.datasets.get(head)
        if dataset is None:
            return None
        if "@" not in name:
            return dataset, None
        snapshot = dataset.snapshot(snap)
        return (dataset, snapshot) if snapshot else None

    def open(self, name: str, types: frozenset[str] = DATASETS) -> Target:
        """zfs_open() of libzfs, with its complaints."""
        check(name, types, f"cannot open '{name}'")
        if self.suspended(name):
            raise RefusalError(f"cannot open '{name}': {SUSPENDED}")
        target = self.find(name)
        if target is None:
            raise missing(name)
        if (SNAPSHOT if target[1] else target[0].kind) not in types:
            raise RefusalError(f"cannot open '{name}': operation not applicable to datasets of this type")
        return target

    def suspended(self, name: str) -> bool:
        """Whether all that names something in its pool is refused."""
        pool = self.host.pools.get(split(name)[0].partition("/")[0])
        return pool is not None and pool.health == "SUSPENDED"

    def head(self, name: str, types: frozenset[str] = frozenset({FILESYSTEM, VOLUME})) -> Dataset:
        return self.open(name, types)[0]

    def tree(self, top: Dataset) -> list[Dataset]:
        """A dataset and all below it, in the order of their names."""
        return sorted(
            (d for d in self.host.datasets.values() if is_under(d.name, top.name)), key=lambda d: d.name.split("/")
        )

    def children(self, top: Dataset) -> list[Dataset]:
        return [d for d in self.tree(top) if d is not top]

    def owner(self, objid: int) -> Target:
        for dataset in self.host.datasets.values():
            for snapshot in dataset.snapshots:
                if snapshot.objid == objid:
                    return dataset, snapshot
        raise KeyError(objid)

    def near(self, name: str) -> Iterator[Dataset]:
        """In the order in which guid_to_name() of libzfs looks: the dataset of that name, then what lies below each
        that it lies in, the nearest first."""
        for count in range(name.count("/") + 1, 0, -1):
            top = "/".join(name.split("/")[:count])
            yield from (d for key, d in sorted(self.host.datasets.items()) if f"{key}/".startswith(f"{top}/"))

    def nearest(self, name: str, guid: int) -> tuple[Dataset, Snapshot] | None:
        """The nearest snapshot with a guid."""
        found = ((dataset, s) for dataset in self.near(name) for s in dataset.snapshots if s.guid == guid)
        return next(found, None)

    def clones(self, snapshot: Snapshot) -> list[Dataset]:
        return [d for d in self.host.datasets.values() if d.origin == snapshot.objid]

    def clone_names(self, dataset: Dataset, snapshot: Snapshot) -> list[str]:
        """A receive works, or has stopped half way, in a hidden clone too."""
        return self.hidden(dataset, snapshot) + sorted(d.name for d in self.clones(snapshot))

    def hidden(self, dataset: Dataset, snapshot: Snapshot) -> list[str]:
        partial = dataset.partial
        receiving = partial is not None and not dataset.inconsistent and partial.after == snapshot.objid
        return [f"{dataset.name}/%recv"] if receiving else []

    def pool(self, dataset: Dataset) -> Pool:
        return self.host.pools[dataset.pool]

    # -- permissions

    def may(self, permission: str, dataset: Dataset) -> bool:
        """root may everything, others what was delegated on the dataset or above it."""
        wanted = ("", f"user {self.user}", permission)
        return self.user == "root" or any(wanted in above.allowed for above in self.ancestors(dataset))

    def permit(self, permission: str, dataset: Dataset, action: str, *more: str) -> None:
        if not self.may(permission, dataset):
            raise RefusalError(f"{action}: permission denied", *more)

    # -- time and identity

    def now(self) -> int:
        return int(time.time()) if self.world.now is None else self.world.now

    def fresh(self) -> int:
        """A number nothing else in the world has."""
        self.world.counter += 1
        return self.world.counter

    def guid(self) -> int:
        """The same in every run of a test (splitmix64), and nobody else's."""
        mixed = (self.world.seed * 1_000_003 + self.fresh()) * 0x9E3779B97F4A7C15 & _MASK
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
        return mixed ^ mixed >> 31

    def wait_txg(self, pool: Pool, waits: int = 1) -> int:
        """Close the open transaction group, as every change of metadata does, and count it."""
        pool.txg += 1
        pool.txg_waits += waits
        for dataset in self.host.datasets.values():
            if (dataset.pending or dataset.dirtied) and dataset.pool == pool.name:
                self.settle(dataset)
        return pool.txg

    def settle(self, dataset: Dataset) -> None:
        """What was written to an open file reaches the disk."""
        self.change(dataset, dataset.pending)
        dataset.pending, dataset.dirtied = {}, False
        if not dataset.unreplayed:
            dataset.intent_log = {}

    def change(self, dataset: Dataset, data: dict[str, bytes] | None = None) -> None:
        """The content of a dataset is no longer that of its newest snapshot."""
        dataset.version = self.fresh()
        size = METADATA_BYTES + sum(len(v) for v in (data or {}).values())
        dataset.written += size
        if data:
            dataset.data = {**dataset.data, **data}
            dataset.referenced += size

    # -- properties

    def setting(self, dataset: Dataset, prop: str) -> Setting:
        return dataset.props.setdefault(prop, Setting())

    def ancestors(self, dataset: Dataset) -> Iterator[Dataset]:
        """From the dataset up to the root of its pool."""
        name = dataset.name
        while name:
            yield self.host.datasets[name]
            name = parent(name)

    def stored(self, dataset: Dataset, prop: str) -> tuple[str, str, Dataset] | None:
        """The value that applies, where it comes from and the dataset that has it."""
        native = NATIVE.get(prop)
        alone = native is not None and native.how != INHERIT
        for ancestor in (dataset,) if alone else self.ancestors(dataset):
            setting = ancestor.props.get(prop)
            effective = setting.effective() if setting else None
            if effective:
                value, source = effective
                return value, source if ancestor is dataset else f"inherited from {ancestor.name}", ancestor
        return None

    def value(self, dataset: Dataset, prop: str) -> str:
        """A stored native property's value."""
        if prop == "mountpoint":
            return self.mountpoint(dataset)[0]
        found = self.stored(dataset, prop)
        return found[0] if found else NATIVE[prop].default

    def mountpoint(self, dataset: Dataset) -> tuple[str, str]:
        found = self.stored(dataset, "mountpoint")
        if found is None:
            return "/" + dataset.name, "default"
        value, source, ancestor = found
        if ancestor is dataset or value in ("none", "legacy"):
            return value, source
        return value.rstrip("/") + dataset.name.removeprefix(ancestor.name), source

    def get(self, target: Target, prop: str) -> tuple[str, str] | None:
        """Value and source as `zfs get -p` prints them; None where the property does not apply."""
        dataset, snapshot = target
        if ":" in prop and prop not in NATIVE:
            return self.user_property(dataset, snapshot, prop)
        if properties.is_written(prop):
            written = self.written_since(dataset, snapshot, prop)
            return (str(written), "local") if written is not None else None
        native = NATIVE[prop]
        if (SNAPSHOT if snapshot else dataset.kind) not in native.types:
            return None
        if native.how == properties.READONLY:
            computed = self.computed(dataset, snapshot, prop)
            return (computed, "-") if computed is not None else None
        if prop == "pbkdf2salt":
            return str(dataset.salt), "-" if dataset.salt else "default"
        if prop == "volsize" and snapshot:
            return (str(snapshot.volsize), "local") if dataset.kind == VOLUME else None
        if prop == "mountpoint":
            return self.mountpoint(dataset)
        if prop == "readonly" and self.readonly_for_now(dataset):
            return "on" if dataset.remounted == "ro" else "off", "temporary"
        if prop == "encryption" and dataset.encryption_root:
            return "aes-256-gcm", "-"
        if prop == "keyformat" and dataset.encryption_root:
            return self.value(self.host.datasets[dataset.encryption_root], prop).replace("none", "raw"), "-"
        found = self.stored(dataset, prop)
        if found:
            return found[0], found[1]
        return native.default, "-" if prop in properties.WITHOUT_SOURCE else "default"

    def readonly_for_now(self, dataset: Dataset) -> bool:
        """Remounted against its property."""
        remounted = {"ro": "on", "rw": "off"}.get(dataset.remounted or "")
        return remounted is not None and remounted != self.value(dataset, "readonly")

    def user_property(self, dataset: Dataset, snapshot: Snapshot | None, prop: str) -> tuple[str, str] | None:
        if snapshot is not None:
            own = snapshot.props.get(prop)
            effective = own.effective() if own else None
            if effective:
                return effective
        found = self.stored(dataset, prop)
        if found is None:
            return None
        value, source, ancestor = found
        return value, f"inherited from {ancestor.name}" if snapshot is not None else source

    def computed(self, dataset: Dataset, snapshot: Snapshot | None, prop: str) -> str | None:
        """A property that is not stored; None is no value."""
        item = snapshot or dataset
        match prop:
            case "type":
                return SNAPSHOT if snapshot else dataset.kind
            case "guid" | "createtxg" | "creation" | "objsetid":
                return str(item.objid if prop == "objsetid" else getattr(item, prop))
            case "referenced" | "logicalreferenced":
                return str(item.referenced)
            case "used":
                return str(self.snapshot_used(dataset, snapshot) if snapshot else self.used(dataset))
            case "written":
                return str(item.written)
            case "compressratio" | "refcompressratio":
                return "1.00"
            case "userrefs":
                return str(len(snapshot.holds)) if snapshot else None
            case "defer_destroy":
                return "off"
            case "clones":
                return ",".join(self.clone_names(dataset, snapshot)) or None if snapshot else None
            case "origin":
                return self.full_name(dataset.origin) if dataset.origin is not None else None
            case "mounted":
                return "yes" if dataset.mounted_at else "no"
            case "receive_resume_token":
                return token_of(dataset)
            case "snapshots_changed":
                return str(max(s.creation for s in dataset.snapshots)) if dataset.snapshots else None
            case "encryptionroot":
                return dataset.encryption_root
            case "keystatus":
                return ("available" if dataset.key_loaded else "unavailable") if dataset.encryption_root else None
        return self.sizes(dataset, prop)

    def sizes(self, dataset: Dataset, prop: str) -> str | None:
        match prop:
            case "available":
                return str(self.available(dataset))
            case "usedbydataset":
                return str(dataset.referenced)
            case "usedbysnapshots":
                return str(sum(self.snapshot_used(dataset, s) for s in dataset.snapshots))
            case "usedbychildren":
                return str(self.used_below(dataset))
            case "logicalused":
                return str(self.used(dataset))
        return "0" if prop == "usedbyrefreservation" else None

    def full_name(self, objid: int) -> str:
        dataset, snapshot = self.owner(objid)
        assert snapshot
        return f"{dataset.name}@{snapshot.name}"

    # -- space

    def snapshot_used(self, dataset: Dataset, snapshot: Snapshot) -> int:
        index = dataset.snapshots.index(snapshot)
        newer = dataset.snapshots[index + 1] if index + 1 < len(dataset.snapshots) else dataset
        return 0 if newer.version == snapshot.version else METADATA_BYTES

    def used(self, dataset: Dataset) -> int:
        origin = self.owner(dataset.origin)[1] if dataset.origin is not None else None
        # What a clone has not changed is its origin's.
        own = 0 if origin and origin.version == dataset.version else dataset.referenced
        return own + sum(self.snapshot_used(dataset, s) for s in dataset.snapshots) + self.used_below(dataset)

    def used_below(self, dataset: Dataset) -> int:
        prefix, depth = dataset.name + "/", dataset.name.count("/") + 1
        return sum(
            self.used(d)
            for d in self.host.datasets.values()
            if d.name.startswith(prefix) and d.name.count("/") == depth
        )

    def available(self, dataset: Dataset) -> int:
        pool = self.pool(dataset)
        return 0 if pool.full else max(0, pool.size - self.used(self.host.datasets[pool.name]))

    def written_since(self, dataset: Dataset, snapshot: Snapshot | None, prop: str) -> int | None:
        name = prop.partition("@")[2]
        base = dataset.snapshot(name.rpartition("@")[2])
        if base is None or "@" not in prop:
            return None
        end = dataset.snapshots.index(snapshot) + 1 if snapshot else len(dataset.snapshots)
        start = dataset.snapshots.index(base) + 1
        if snapshot and start > end:
            return None
        return sum(s.written for s in dataset.snapshots[start:end]) + (0 if snapshot else dataset.written)

    # -- snapshots

    def take(self, dataset: Dataset, name: str, txg: int, guid: int | None = None) -> Snapshot:
        snapshot = Snapshot(
            name, self.fresh(), guid or self.guid(), txg, self.now(), dataset.version, dataset.data,
            dataset.written, dataset.referenced, dataset.volsize,
        )  # fmt: skip
        dataset.snapshots.append(snapshot)
        dataset.written = 0
        return snapshot

    def new_dataset(self, name: str, kind: str) -> Dataset:
        pool = self.host.pools[name.partition("/")[0]]
        txg = self.wait_txg(pool)
        dataset = Dataset(name, kind, self.fresh(), self.guid(), txg, self.now(), self.fresh())
        if kind == VOLUME:
            dataset.written = dataset.referenced = VOLUME_BYTES
        self.host.datasets[name] = dataset
        return dataset


__all__ = ["FRESH_BYTES", "Machine", "Target"]
