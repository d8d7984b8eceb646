"""What zrep knows of one dataset and its snapshots, frozen at the moment it was read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.names import sequence_of
from zrep.core.role import Role

# One for all snapshots without any: Python makes a new one of 216 bytes each time.
NO_HOLDS: frozenset[str] = frozenset()


class Value(Struct, frozen=True):
    """A property's value and its source as ``zfs get`` names it (local, default, received, inherited from X, -)."""

    value: str
    source: str

    @property
    def local(self) -> bool:
        return self.source == "local"


class Snapshot(Struct, frozen=True):
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


class PoolSpace(Struct, frozen=True):
    """A pool's size and what is free in it, in bytes."""

    size: int
    free: int


class TokenContents(Struct, frozen=True):
    """What a resume token stands for. sendable: the host that was asked can go on with it; guids are "" where the
    token names none; received: bytes that have arrived."""

    sendable: bool = False
    from_guid: str = ""
    to_guid: str = ""
    received: int = 0


NO_TOKEN = TokenContents()


class Member(Struct, frozen=True):
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


def in_order(snapshots: Iterable[Snapshot]) -> tuple[Snapshot, ...]:
    """Snapshots oldest first."""
    return tuple(sorted(snapshots, key=lambda snapshot: snapshot.createtxg))
