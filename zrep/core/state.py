"""What zrep knows of one side of a pair, frozen at the moment it was read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import Enum
from types import MappingProxyType

from zrep.core.names import next_sequence, sequence_of
from zrep.core.record import Record, replace

# The generation of a pair that the shell zrep made: it has no zrep:gen, so it descends from nothing.
LEGACY = "0" * 16
ANCESTORS_KEPT = 8
UNKNOWN = "unknown"
NOTHING: Mapping[str, str] = MappingProxyType({})
# One for all snapshots without any: Python makes a new one of 216 bytes each time.
NO_HOLDS: frozenset[str] = frozenset()


class Side(Enum):
    """Which half of a pair a step acts on, by its role when the plan was made."""

    MASTER = "master"
    REPLICA = "replica"


class Value(Record):
    """A property's value and its source as ``zfs get`` names it (local, default, received, inherited from X, -)."""

    value: str
    source: str

    @property
    def local(self) -> bool:
        return self.source == "local"


class Snapshot(Record):
    """One snapshot of one dataset. guid is its identity, createtxg its place in order; sent and creation in seconds."""

    name: str
    guid: str
    createtxg: int
    creation: int = 0
    written: int = 0
    used: int = 0
    holds: frozenset[str] = NO_HOLDS
    sent: int | None = None
    clones: tuple[str, ...] = ()


class Intent(Record):
    """A role change, init or rejoin under way, as ``zrep:inprogress`` keeps it.

    operation: failover, promote, follow, cancelled, stopped, init, rejoin; identity: the generation it makes (or a
    random id); phase: how far it got; detail: what to restore, by dataset and property: (value, source).
    role: the properties of a new role, by short name. A role is eight properties, and a set of several that fails
    can land in part; the record is one property, lands whole or not, and while it is there it is the role.
    """

    operation: str
    identity: str
    phase: str = ""
    epoch: int = 0
    detail: Mapping[str, str] = NOTHING
    role: Mapping[str, str] = NOTHING

    @property
    def settled(self) -> bool:
        """Nothing is left to do but to take the record away."""
        return self.operation in ("cancelled", "follow")

    def text(self) -> str:
        record: dict[str, object] = {"op": self.operation, "id": self.identity}
        if self.phase:
            record["phase"] = self.phase
        if self.epoch:
            record["epoch"] = self.epoch
        if self.detail:
            record["detail"] = dict(self.detail)
        if self.role:
            record["role"] = dict(self.role)
        return json.dumps(record, separators=(",", ":"), sort_keys=True)

    @classmethod
    def parse(cls, text: str) -> Intent | None:
        """None for no intent. One this program did not write becomes the operation "unknown", with the text as its
        identity: never taken for none, and refused wherever a pair is worked on."""
        if text in ("", "-"):
            return None
        try:
            record = json.loads(text)
            return cls(
                str(record["op"]),
                str(record["id"]),
                str(record.get("phase", "")),
                int(record.get("epoch", 0)),
                {str(key): str(value) for key, value in record.get("detail", {}).items()},
                {str(key): str(value) for key, value in record.get("role", {}).items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls(UNKNOWN, text[:80])


class Role(Record):
    """The zrep:* properties of one dataset, only those with source ``local``. torn: some of them are not yet what
    the record of a new role says; everything here is as the record says. alone: promoted without its peer, and not met
    it since; lease: seconds a master may go without its peer, 0 for ever; minfree: what must stay free in its pool,
    as floor_bytes reads it. unreadable: the properties whose values zrep never writes, as evidence."""

    src_host: str = ""
    src_fs: str = ""
    dest_host: str = ""
    dest_fs: str = ""
    master: bool | None = None
    savecount: int | None = None
    epoch: int | None = None
    gen: str = ""
    parents: tuple[str, ...] = ()
    intent: Intent | None = None
    paused: str = ""
    flags: str | None = None
    outfilter: str = ""
    infilter: str = ""
    split: str = ""
    canmount: str = ""
    alone: bool = False
    lease: int = 0
    minfree: str = ""
    lock_pid: str = ""
    lock_time: str = ""
    torn: bool = False
    unreadable: str = ""

    @property
    def paired(self) -> bool:
        return bool(self.src_host and self.src_fs and self.dest_host and self.dest_fs)

    @property
    def generation(self) -> str:
        """The generation, LEGACY for a pair of the shell zrep."""
        return self.gen or LEGACY

    @property
    def lineage(self) -> tuple[str, ...]:
        """The parent value of the next generation: this one and the last before it, newest first."""
        return (self.generation, *self.parents)[:ANCESTORS_KEPT]

    @property
    def own_fs(self) -> str:
        """The name its links give to the dataset it is a role of."""
        return self.src_fs if self.master else self.dest_fs

    @property
    def rejoining(self) -> str:
        """The filesystem whose unfinished rejoin is recorded here, on itself or on its split copy."""
        return self.intent.detail.get("fs", "") if self.intent and self.intent.operation == "rejoin" else ""

    @property
    def links(self) -> tuple[str, str, str, str]:
        return (self.src_host, self.src_fs, self.dest_host, self.dest_fs)


class Member(Record):
    """One filesystem or volume with its snapshots, oldest first (by createtxg)."""

    name: str
    properties: Mapping[str, Value]
    role: Role
    snapshots: tuple[Snapshot, ...] = ()

    def get(self, name: str, default: str = "-") -> str:
        value = self.properties.get(name)
        return default if value is None else value.value

    def number(self, name: str) -> int:
        text = self.get(name)
        return int(text) if text.isdigit() else 0

    @property
    def volume(self) -> bool:
        return self.get("type") == "volume"

    @property
    def readonly(self) -> bool:
        return self.get("readonly") == "on"

    @property
    def mounted(self) -> bool:
        return self.get("mounted") == "yes"

    @property
    def placed(self) -> bool:
        """Mounted where its mountpoint says, and not by hand (mountpoint=legacy)."""
        return self.mounted and self.get("mountpoint").startswith("/")

    @property
    def master_canmount(self) -> str:
        """What canmount is while this side is master; a replica has noauto and remembers it in its role."""
        return self.role.canmount or self.get("canmount", "on")

    @property
    def encrypted(self) -> bool:
        return self.get("encryption") not in ("off", "-")

    @property
    def key_missing(self) -> bool:
        return self.encrypted and self.get("keystatus") == "unavailable"

    @property
    def token(self) -> str:
        token = self.get("receive_resume_token")
        return "" if token == "-" else token

    def unwritten(self) -> Member:
        """The same, known to be what its newest snapshot is, whatever ZFS counts as written."""
        return replace(self, properties={**self.properties, "written": Value("0", "-")})

    def by_guid(self, guid: str) -> Snapshot | None:
        return next((snapshot for snapshot in self.snapshots if snapshot.guid == guid), None)

    def by_name(self, name: str) -> Snapshot | None:
        return next((snapshot for snapshot in self.snapshots if snapshot.name == name), None)

    def after(self, base: Snapshot) -> tuple[Snapshot, ...]:
        return tuple(snapshot for snapshot in self.snapshots if snapshot.createtxg > base.createtxg)

    def written_since(self, base: Snapshot) -> int:
        """Bytes written after base: in later snapshots and since the last of them. Zero means nothing was
        written only after the pool's transaction group has closed: an intent log may hold more."""
        return self.number("written") + sum(snapshot.written for snapshot in self.after(base))

    def ours(self, tag: str) -> tuple[Snapshot, ...]:
        """zrep's own snapshots, oldest first."""
        return tuple(snapshot for snapshot in self.snapshots if sequence_of(tag, snapshot.name) is not None)


class Unit(Record):
    """A root dataset and, where its pair is recursive, its descendants; a plain filesystem is a unit of one."""

    members: tuple[Member, ...]

    @property
    def root(self) -> Member:
        return self.members[0]

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def role(self) -> Role:
        return self.root.role


class Pair(Record):
    """One unit as seen on the master and on the replica, and the tag that links them."""

    tag: str
    master: Unit
    replica: Unit

    def side(self, side: Side) -> Unit:
        return self.master if side is Side.MASTER else self.replica

    def next_sequence(self) -> int:
        return next_sequence(self.tag, [s.name for s in (*self.master.root.snapshots, *self.replica.root.snapshots)])


def newest_common(one: Member, other: Member) -> Snapshot | None:
    """The base: one's newest snapshot that other has too, by guid."""
    guids = {snapshot.guid for snapshot in other.snapshots}
    return next((snapshot for snapshot in reversed(one.snapshots) if snapshot.guid in guids), None)


def in_order(snapshots: Iterable[Snapshot]) -> tuple[Snapshot, ...]:
    """Snapshots oldest first."""
    return tuple(sorted(snapshots, key=lambda snapshot: snapshot.createtxg))
