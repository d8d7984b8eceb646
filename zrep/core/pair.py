"""Two sides that belong together, and what they have in common."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from zrep.core.dataset import Member, Snapshot
from zrep.core.names import next_sequence
from zrep.core.role import Role


class Side(Enum):
    """Which half of a pair a step acts on, by its role when the plan was made."""

    MASTER = "master"
    REPLICA = "replica"


class Unit(Struct, frozen=True):
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


class Pair(Struct, frozen=True):
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
