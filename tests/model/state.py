"""What a world of hosts consists of: plain data, copied and stored by pickling it whole."""

from __future__ import annotations

from dataclasses import dataclass, field

FRESH_BYTES = 98304  # what an empty filesystem refers to on a pool with 4 KiB sectors
METADATA_BYTES = 12288  # what the smallest change costs
LOG_HEADER_BYTES = 8192  # what an intent log leaves, without a word of it


@dataclass(slots=True)
class Setting:
    """One property as it is stored on one dataset."""

    local: str | None = None
    received: str | None = None
    cleared: bool = False  # inherited explicitly, hiding the received value

    def effective(self) -> tuple[str, str] | None:
        if self.local is not None:
            return self.local, "local"
        if self.received is not None and not self.cleared:
            return self.received, "received"
        return None


@dataclass(slots=True)
class Snapshot:
    name: str  # the part after the @
    objid: int
    guid: int
    createtxg: int
    creation: int
    version: int  # of the content: equal versions mean nothing was modified in between
    data: dict[str, bytes]  # never changed once here
    written: int
    referenced: int
    volsize: int = 0
    holds: dict[str, int] = field(default_factory=dict)
    props: dict[str, Setting] = field(default_factory=dict)


@dataclass(slots=True)
class Bookmark:
    """What is left of a snapshot. data, version: as the snapshot had them, by which ZFS knows what has changed since:
    here that is compared."""

    name: str  # the part after the #
    guid: int
    createtxg: int
    creation: int
    version: int
    data: dict[str, bytes]


@dataclass(slots=True)
class Partial:
    """A receive that is under way, or was torn and left its state behind."""

    begin: dict[str, object]
    resumable: bool
    pid: int | None  # of the process that is receiving now
    after: int | None  # the newest snapshot when it started: it must still be that at the end
    records: list[tuple[str, bytes | None]] = field(default_factory=list)
    new_filesystem: bool = False


@dataclass(slots=True)
class Dataset:
    name: str
    kind: str  # filesystem or volume
    objid: int
    guid: int
    createtxg: int
    creation: int
    version: int
    data: dict[str, bytes] = field(default_factory=dict)
    written: int = FRESH_BYTES
    referenced: int = FRESH_BYTES
    volsize: int = 0
    props: dict[str, Setting] = field(default_factory=dict)
    had_properties: bool = False  # a stream with properties has been received
    snapshots: list[Snapshot] = field(default_factory=list)  # oldest first
    bookmarks: dict[str, Bookmark] = field(default_factory=dict)
    origin: int | None = None  # objid of the snapshot this is a clone of
    mounted_at: str | None = None
    mount_number: int = 0  # of the mounts of its host, in the order they were made
    remounted: str | None = None  # ro or rw: what mount -o remount said, whatever the property says
    open_files: int = 0
    mappings: int = 0  # files mapped writable
    elsewhere: bool = False  # mounted in another mount namespace too, which goes on when it is unmounted here
    pending: dict[str, bytes] = field(default_factory=dict)  # written, the transaction group still open
    intent_log: dict[str, bytes] = field(default_factory=dict)  # the fsynced part of what is pending
    dirtied: bool = False  # the open transaction group has a change of metadata
    has_log: bool = False  # an intent log was made, by the first fsync
    claimed: bool = False  # by the pool that was opened after a crash
    unreplayed: bool = False  # the intent log is from before a crash
    partial: Partial | None = None
    inconsistent: bool = False  # made by a receive that has not ended
    encryption_root: str | None = None
    key_loaded: bool = True
    salt: int = 0  # of the passphrase that its key is wrapped by; 0 for another kind of key
    came_raw: bool = False  # and was not mounted writable since: that will be a modification
    allowed: list[tuple[str, str, str]] = field(
        default_factory=list
    )  # (scope: the letter of an option, who, permission)

    @property
    def pool(self) -> str:
        return self.name.partition("/")[0]

    def snapshot(self, name: str) -> Snapshot | None:
        return next((s for s in self.snapshots if s.name == name), None)

    def newest(self) -> Snapshot | None:
        return self.snapshots[-1] if self.snapshots else None


@dataclass(slots=True)
class Pool:
    name: str
    guid: int
    size: int = 3 << 30
    txg: int = 10
    txg_waits: int = 0  # how often a command had to wait for a transaction group
    full: bool = False
    readonly: bool = False
    health: str = "ONLINE"
    lacks: tuple[str, ...] = ()  # features that are not enabled


@dataclass(slots=True)
class HostState:
    name: str
    pools: dict[str, Pool] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    log: list[tuple[str, ...]] = field(default_factory=list)  # every zfs, zpool and mount command run here
    faults: list[Fault] = field(default_factory=list)
    up: bool = True
    exported: dict[str, tuple[Pool, dict[str, Dataset]]] = field(default_factory=dict)  # by the name of the pool
    others: dict[str, str] = field(default_factory=dict)  # mounts that are not of ZFS: where, and ro or rw
    other_numbers: dict[str, int] = field(default_factory=dict)  # of these mounts
    mounts_made: int = 0


@dataclass(slots=True)
class Fault:
    """What is to go wrong with commands that begin with these words."""

    words: tuple[str, ...]
    rc: int
    err: str
    times: int
    applied: bool  # whether the command still took effect (the answer is what got lost)


@dataclass(slots=True)
class Trap:
    """What happens at one command of all that programs of the model carry out, on whichever host, counted from 0.

    what: "kill before", "kill after", "fail" or "cut" (all links, before it); pid_file: of the process to be killed.
    """

    what: str
    at: int
    pid_file: str
    seen: int = 0


@dataclass(slots=True)
class WorldState:
    hosts: dict[str, HostState] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)  # other names ssh knows a host by
    cut: set[frozenset[str]] = field(default_factory=set)
    now: int | None = 1_700_000_000  # None: the machine's clock
    counter: int = 0
    seed: int = 1
    record_delay: float = 0.0  # seconds that the zfs program takes to send each record
    trap: Trap | None = None
