"""Whose the snapshots are that a promotion has moved.

A clone that is promoted takes the snapshots of what it was a clone of along, up to the one that it was made of, with
all their marks, holds and bookmarks. Where the two are in pairs of their own under one tag, nothing of that tells whose
they are: among them is the base of the other pair, to which nothing is left but to take them back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.dataset import Member, Snapshot
from zrep.core.names import ancestors, is_bookmark
from zrep.core.role import Role


class Clone(Struct, frozen=True):
    """A clone in a pair of another tree: of what was promoted over it, if that has what is older than itself. held:
    whether it has a snapshot that its pair holds itself; created: in which transaction group."""

    name: str
    created: int
    held: bool

    def may_have_made(self, snapshot: Snapshot) -> bool:
        """Whether it was there when a snapshot was made, or has lost all that its pair knows."""
        return self.created < snapshot.createtxg or not self.held


def clones_of_older(member: Member, created: int) -> list[str]:
    """The clones of a dataset's snapshots that are older than itself: it has got them with a promotion, and the clone
    may be what had them before. created: in which transaction group it was made itself."""
    return [clone for snapshot in _older(member, created) for clone in snapshot.clones]


def in_another_pair(member: Member, clone: str, role: Role | None) -> bool:
    """Whether a clone is in a pair, and not in that of the tree that a member is in. role: the clone's, its own or as a
    member of a tree, None for none."""
    if role is None or not role.paired:
        return False
    if role.own_fs != clone and member.name in (role.src_fs, role.dest_fs):
        return False  # the copy that a rejoin splits off, until its role is taken from it
    root = role.own_fs if role.within else clone
    return root != member.name and (member.role.paired or root not in ancestors(member.name))


def with_owners(tag: str, member: Member, created: int, clones: Mapping[str, Clone]) -> Member:
    """The same, its snapshots and bookmarks known that may be those of another pair under the tag. created: as of
    clones_of_older; clones: those of its older snapshots that are in other pairs, by name."""
    owners = [(s.createtxg, clones[name]) for s in _older(member, created) for name in s.clones if name in clones]
    if not owners:
        return member

    def owned(snapshot: Snapshot) -> Snapshot:
        if snapshot.createtxg >= created or (snapshot.bookmark and not is_bookmark(tag, snapshot.name)):
            return snapshot
        of = (clone.name for last, clone in owners if snapshot.createtxg <= last and clone.may_have_made(snapshot))
        return replace(snapshot, of=next(of, ""))

    return replace(member, snapshots=tuple(map(owned, member.snapshots)), bookmarks=tuple(map(owned, member.bookmarks)))


def _older(member: Member, created: int) -> Iterable[Snapshot]:
    return (snapshot for snapshot in member.snapshots if snapshot.createtxg < created)
