"""Two trees that belong together, and the lanes between them.

*source* and *target* are the ends of a stream: where it comes from and where it goes to. They are fixed for a run.
*master* and *replica* are roles: they change, and a role change is a plan over two ends that stay what they are.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.dataset import Member, Snapshot
from zrep.core.names import next_sequence, snapshot_name
from zrep.core.role import Role


class End(Enum):
    """One end of a stream: which of the two hosts of a plan a step acts on."""

    SOURCE = "source"
    TARGET = "target"

    @property
    def other(self) -> End:
        return End.TARGET if self is End.SOURCE else End.SOURCE


class Tree(Struct, frozen=True):
    """A dataset that has a role, and its descendants where its pair is recursive: the root first. A plain filesystem or
    volume is a tree of one member."""

    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        return self.members[0].name

    @property
    def role(self) -> Role:
        return self.members[0].role

    def with_member(self, member: Member) -> Tree:
        """Put another reading in the place of the member of the same name."""
        return Tree(tuple(member if member.name == other.name else other for other in self.members))


class Lane(Struct, frozen=True):
    """One dataset at the source and the one at the target that its streams go to, each with its own snapshots, holds
    and resume token. tag: that of the pair."""

    tag: str
    source: Member
    target: Member

    def at(self, end: End) -> Member:
        return self.source if end is End.SOURCE else self.target

    @property
    def base(self) -> Snapshot | None:
        """The newest snapshot of the source that the target has too, by GUID, as the source knows it."""
        return newest_common(self.source, self.target)

    def ours(self, end: End) -> tuple[Snapshot, ...]:
        """zrep's own snapshots at one end, oldest first: those that are known to be that at either end."""
        other = self.at(end.other)
        return self.at(end).ours(self.tag, {snapshot.guid for snapshot in other.ours(self.tag)})

    @property
    def next_snapshot(self) -> str:
        """Full name of the next snapshot of the source: its number is higher than any of zrep's own on either end."""
        own = [snapshot.name for end in End for snapshot in self.ours(end)]
        taken = [snapshot.name for snapshot in (*self.source.snapshots, *self.target.snapshots)]
        return f"{self.source.name}@{snapshot_name(self.tag, next_sequence(self.tag, own, taken))}"


class Pair(Struct, frozen=True):
    """The tree at the source and the one at the target, and the tag that links them. The source is the master until the
    role has moved."""

    tag: str
    source: Tree
    target: Tree

    def at(self, end: End) -> Tree:
        return self.source if end is End.SOURCE else self.target

    def with_tree(self, end: End, tree: Tree) -> Pair:
        """Put another reading in the place of the tree at one end."""
        return replace(self, source=tree) if end is End.SOURCE else replace(self, target=tree)

    @property
    def turned(self) -> Pair:
        """The same trees with the streams going the other way: after the role has moved."""
        return Pair(self.tag, self.target, self.source)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """A lane for each member of the source that the target's tree has in the same place below its root."""
        places = {member.name.removeprefix(self.target.name): member for member in self.target.members}
        found = ((member, places.get(member.name.removeprefix(self.source.name))) for member in self.source.members)
        return tuple(Lane(self.tag, source, target) for source, target in found if target is not None)


def plain_pair(tag: str, source: Member, target: Member) -> Pair:
    """Pair two datasets without descendants."""
    return Pair(tag, plain_tree(source), plain_tree(target))


def plain_tree(member: Member) -> Tree:
    """The tree of a dataset without descendants."""
    return Tree((member,))


def next_snapshot(tag: str, member: Member) -> str:
    """Full name of the next snapshot of a dataset whose other half is not asked."""
    own, taken = ([s.name for s in snapshots] for snapshots in (member.ours(tag), member.snapshots))
    return f"{member.name}@{snapshot_name(tag, next_sequence(tag, own, taken))}"


def newest_common(one: Member, other: Member) -> Snapshot | None:
    """The newest snapshot of one that other has too, by GUID."""
    guids = {snapshot.guid for snapshot in other.snapshots}
    return next((snapshot for snapshot in reversed(one.snapshots) if snapshot.guid in guids), None)
