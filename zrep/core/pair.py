"""Two trees that belong together, and the lanes between them.

*source* and *target* are the ends of a stream: where it comes from and where it goes to. They are fixed for a run.
*master* and *replica* are roles: they change, and a role change is a plan over two ends that stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.dataset import Member, Snapshot
from zrep.core.names import fits, next_sequence, snapshot_name
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
    volume is a tree of one member. aside: what lies below the root and was set aside; excluded: what is left out of the
    tree there, and what lies below that. apart: the names of what else lies below the root, and is no member: pairs of
    their own, copies that rejoin keeps, and what lies below those. origins: of what is neither, whatever members that
    have nothing which was ever sent are clones of (see unknown_origins)."""

    members: tuple[Member, ...]
    aside: tuple[Member, ...] = ()
    excluded: tuple[Member, ...] = ()
    apart: tuple[str, ...] = ()
    origins: tuple[Member, ...] = ()

    @property
    def name(self) -> str:
        return self.members[0].name

    @property
    def role(self) -> Role:
        return self.members[0].role

    def below(self, name: str) -> tuple[str, ...]:
        """What follows a name in those of the dataset, of what is below it, and of all their snapshots."""
        known = (
            each for each in (*self.members, *self.aside, *self.excluded) if f"{each.name}/".startswith(f"{name}/")
        )
        full = (name for x in known for name in (x.name, *(f"{x.name}@{snapshot.name}" for snapshot in x.snapshots)))
        return tuple(each.removeprefix(name) for each in full)

    def with_member(self, member: Member) -> Tree:
        """Put another reading in the place of the member of the same name."""
        return replace(self, members=tuple(member if member.name == other.name else other for other in self.members))


class Origin(Struct, frozen=True):
    """A snapshot of another member of the source's tree, in full and by its guid, that both sides have: what has still
    to arrive, and is a clone, arrives as a clone of that. there: what the target has of it, in full."""

    name: str
    guid: str
    there: str


class Lane(Struct, frozen=True):
    """One dataset at the source and the one at the target that its streams go to, each with its own snapshots, holds
    and resume token. tag: that of the pair; taken: the highest number of a snapshot of the pair's other lanes: those of
    one moment have one name. upstream: the tag under which the source is itself a replica, "" where it is none: then
    it is a relay, which makes no snapshots, and passes on what it has received whole. origin: where the first stream of
    a clone begins; None where it is none, and where the target has nothing that it could be a clone of. first: the guid
    of what the first stream of all has to end at, so that clones of it can be clones there too; "" for the newest."""

    tag: str
    source: Member
    target: Member
    taken: int = 0
    upstream: str = ""
    origin: Origin | None = None
    first: str = ""

    def at(self, end: End) -> Member:
        return self.source if end is End.SOURCE else self.target

    @property
    def base(self) -> Snapshot | None:
        """The newest snapshot of the source that the target has too, by GUID, as the source knows it: maybe only by a
        bookmark."""
        return newest_base(self.source, self.target)

    def ours(self, end: End) -> tuple[Snapshot, ...]:
        """zrep's own snapshots at one end, oldest first: those that are known to be that at either end."""
        other = self.at(end.other)
        return self.at(end).ours(self.tag, {snapshot.guid for snapshot in other.ours(self.tag)})

    @property
    def pending(self) -> Snapshot | None:
        """The newest snapshot of ours that the target has still to get; of a relay, the newest base of the pair that it
        is the replica of."""
        if self.first and self.base is None:
            return self.source.by_guid(self.first)
        ours = received_whole(self.source, self.upstream) if self.upstream else self.ours(End.SOURCE)
        base = self.base
        return ours[-1] if ours and (base is None or ours[-1].createtxg > base.createtxg) else None

    @property
    def next_snapshot(self) -> str:
        """Full name of the next snapshot of the source: its number is higher than any of zrep's own on either end, and
        of the pair's other lanes."""
        own = [snapshot.name for end in End for snapshot in self.ours(end)]
        taken = [snapshot.name for snapshot in (*self.source.snapshots, *self.target.snapshots)]
        number = next_sequence(self.tag, own, taken)
        return f"{self.source.name}@{snapshot_name(self.tag, max(number, self.taken + 1))}"


class Pair(Struct, frozen=True):
    """The tree at the source and the one at the target, and the tag that links them. The source is the master until the
    role has moved. taken, origin, first: as of its lane, where it is itself one of a tree; upstream: as of its
    lanes."""

    tag: str
    source: Tree
    target: Tree
    taken: int = 0
    upstream: str = ""
    origin: Origin | None = None
    first: str = ""

    def at(self, end: End) -> Tree:
        return self.source if end is End.SOURCE else self.target

    def with_tree(self, end: End, tree: Tree) -> Pair:
        """Put another reading in the place of the tree at one end."""
        return replace(self, source=tree) if end is End.SOURCE else replace(self, target=tree)

    @property
    def turned(self) -> Pair:
        """The same trees with the streams going the other way: after the role has moved."""
        return replace(self, source=self.target, target=self.source, upstream="", origin=None, first="")

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """A lane for each member of the source to its partner. Where it has none yet its target is a member without
        properties (see Member.arriving), in its place."""
        there = {member.name: member for member in self.target.members}
        taken = self.taken
        if len(self.source.members) > 1:
            taken = next_number(self.tag, *self.source.members, *self.target.members) - 1
        partners = self.partners
        lanes = (self._lane(source, there.get(partners.get(source.name, "")), taken) for source in self.source.members)
        return tuple(self._with_place_taken(lane, there, partners) for lane in lanes)

    @property
    def partners(self) -> dict[str, str]:
        """The target's member that each of the source's goes to, by name: the one that has the newest of its snapshots
        and bookmarks that any has; else what is half received, or has no snapshot of ours, in its place."""
        found: dict[str, str] = {self.source.name: self.target.name}
        if len(self.source.members) == 1:
            return found
        owner = {s.guid: (s.createtxg, member.name) for member in self.target.members for s in member.snapshots}
        claims: list[tuple[int, str, str]] = []
        for source in self.source.members[1:]:
            known = (owner[snapshot.guid] for snapshot in source.beginnings if snapshot.guid in owner)
            claims += [(*claim, source.name) for claim in [next(known, None)] if claim]
        # A clone that was promoted has what both of them had been: whoever has the newest of it is the one.
        for _, name, source_name in sorted(claims, reverse=True):
            if name not in found.values():
                found[source_name] = name
        taken = set(found.values())
        places = {m.name for m in self.target.members if not m.ours(self.tag) and not is_bare(m)} - taken
        for source in self.source.members[1:]:
            place = self.place(source)
            if source.name not in found and (place in places or (place not in taken and self._base_with(source))):
                found[source.name] = place
        return found

    def _base_with(self, source: Member) -> str:
        """What outside of the tree has the snapshots of a member that the target's in its place knows: a clone that was
        promoted over it. "" for nothing."""
        place, owner = self.place(source), source.get("origin").partition("@")[0]
        if owner == "-" or any(member.name == owner for member in self.source.members):
            return ""
        there = next((member for member in self.target.members if member.name == place), None)
        if there is None or newest_base(source, there):
            return ""
        guids = {snapshot.guid for snapshot in there.snapshots}
        outside = (*self.source.excluded, *self.source.origins)
        has = (full for full, snapshot in _before(outside, source) if snapshot.guid in guids)
        return next(has, "").partition("@")[0]

    def place(self, source: Member) -> str:
        """Where a member of the source's tree belongs on the target."""
        return f"{self.target.name}{source.name.removeprefix(self.source.name)}"

    def overlong(self, source: Member, target: Member) -> str:
        """The longest name that would be there, in full, were the target of a member of the source's tree given the
        name that it is to have, where that is more than ZFS takes; "" where it is not, and where it has that name."""
        place = self.place(source)
        if len(place) <= len(target.name):  # what there is has a name
            return ""
        longest = place + max(self.target.below(target.name), key=len, default="")
        return "" if fits(longest) else longest

    def taken_by(self, place: str, there: Mapping[str, Member], partners: Mapping[str, str]) -> str:
        """A name that a member of the target's tree is to have, where it is that of a dataset which zrep did not make,
        or which is in no tree; "" where it is free, or will be. there: the target's members, partners: as of that, both
        by name."""
        member = there.get(place)
        if member is None:
            return place if place in self.target.apart or any(x.name == place for x in self.target.excluded) else ""
        known = place in partners.values() or member.token or is_bare(member) or member.ours(self.tag)
        return "" if known else place

    def _with_place_taken(self, lane: Lane, there: Mapping[str, Member], partners: Mapping[str, str]) -> Lane:
        """The same lane, known not to get its place on the target where somebody else has that."""
        place = self.place(lane.source)
        if place == partners.get(lane.source.name) or not (taken := self.taken_by(place, there, partners)):
            return lane
        source, target = (
            replace(member, role=replace(member.role, taken=taken)) for member in (lane.source, lane.target)
        )
        return replace(lane, source=source, target=target)

    def _lane(self, source: Member, target: Member | None, taken: int) -> Lane:
        if source.name == self.source.name and target is not None:
            return Lane(self.tag, source, target, taken, self.upstream, self.origin, self.first)
        there = target or Member(self.place(source), {}, Role())
        links = {"src_fs": source.name, "dest_fs": there.name}
        if not self.source.role.master:
            links = {"src_fs": there.name, "dest_fs": source.name}
        links["overlong"] = self.overlong(source, there)
        links["base_with"] = "" if there.arriving else self._base_with(source)
        source_root, target_root = self.source.members[0], self.target.members[0]
        ends = _in_lane(source, source_root, links), _in_lane(there, target_root, links)
        lane = Lane(self.tag, *ends, taken, self.upstream)
        return replace(lane, origin=self._origin(source), first=self._first(source)) if there.arriving else lane

    def _origin(self, source: Member) -> Origin | None:
        """The newest of what a clone has from others that the target has too."""
        there = {x.guid: f"{member.name}@{x.name}" for member in self.target.members for x in member.snapshots}
        found = (
            Origin(full, snapshot.guid, there[snapshot.guid])
            for full, snapshot in _before(self.source.members, source)
            if snapshot.guid in there
        )
        return next(found, None)

    def _first(self, source: Member) -> str:
        """The oldest snapshot of a member that another one is a clone of."""
        cloned = {member.get("origin") for member in self.source.members}
        return next((s.guid for s in source.snapshots if f"{source.name}@{s.name}" in cloned), "")


def _before(others: Iterable[Member], clone: Member) -> Iterator[tuple[str, Snapshot]]:
    """The snapshots of others, in full too, from which a clone has what it began with, the newest first: that which it
    was made of, the older ones of its dataset, and so on where that is a clone itself."""
    members = {member.name: member for member in others}
    for _ in members:
        name, _, origin = clone.get("origin").partition("@")
        owner = members.get(name)
        last = owner.by_name(origin) if owner else None
        if owner is None or last is None:
            return
        for snapshot in reversed(owner.snapshots):
            if snapshot.createtxg <= last.createtxg:
                yield f"{name}@{snapshot.name}", snapshot
        clone = owner


def is_bare(member: Member) -> bool:
    """Whether a replica's member is a clone without any snapshot, as one is left whose clone was promoted, when all of
    its snapshots have gone over to that: nothing can be received on top of it."""
    return not member.snapshots and not member.token and member.get("origin") != "-"


def _in_lane(member: Member, root: Member, links: Mapping[str, str]) -> Member:
    """A member below the root with the role that its lane goes by: that of the root, under its own names. What is
    recorded of a role change, and of the tree, is the root's alone; what its master's canmount and readonly are is its
    own."""
    own = {
        "canmount": member.role.canmount,
        "frozen": member.role.frozen,
        "intent": None,
        "partially_applied": False,
        "recursive": False,
        "within": True,
        "within_encrypted": root.encrypted,
        "roots": (root.name, root.role.peer_fs),
    }
    role = replace(root.role, **links, **own, flags=_flags(root, member))
    return replace(member, role=role, filters=root.filters, programs=root.programs)


def lane_members(tree: Tree) -> tuple[Member, ...]:
    """The members of a tree with the roles that their lanes go by, as far as its own host knows them."""
    root, *below = tree.members
    found = [root]
    for member in below:
        there = root.role.peer_fs + member.name.removeprefix(tree.name)
        names = (member.name, there) if root.role.master else (there, member.name)
        found.append(_in_lane(member, root, dict(zip(("src_fs", "dest_fs"), names, strict=True))))
    return tuple(found)


def _flags(root: Member, member: Member) -> str | None:
    """The flags settled at init. An encrypted member goes raw all the same, its key never leaves its host, but where
    the key is the root's too, which does not: one of the two sides is below an encrypted dataset, and encrypted as
    that is. ZFS sends the properties of what is encrypted with a raw stream only."""
    flags, words = root.role.flags, (root.role.flags or "").split()
    if flags is None or not member.encrypted or root.role.raw:
        return flags
    carries = [word for word in words if word in ("-p", "--props")]
    if member.get("encryptionroot") == root.get("encryptionroot"):
        return " ".join(word for word in words if word not in carries)
    return " ".join([*carries, "-w"])


def plain_tree(member: Member) -> Tree:
    """The tree of a dataset without descendants."""
    return Tree((member,))


def next_snapshots(tag: str, *members: Member) -> tuple[str, ...]:
    """Full names of the next snapshot of datasets whose other halves are not asked, one name for all."""
    number = next_number(tag, *members)
    return tuple(f"{member.name}@{snapshot_name(tag, number)}" for member in members)


def next_number(tag: str, *members: Member) -> int:
    """The number that the next snapshot of these datasets gets: higher than any of zrep's own that one of them has, and
    taken by none."""
    own = [snapshot.name for member in members for snapshot in member.ours(tag)]
    return next_sequence(tag, own, [snapshot.name for member in members for snapshot in member.snapshots])


def received_whole(member: Member, upstream: str) -> tuple[Snapshot, ...]:
    """The snapshots of a replica that are, or were last, the base of its pair under a tag: that hold them."""
    return tuple(snapshot for snapshot in member.snapshots if upstream in snapshot.holds)


def newest_base(source: Member, target: Member) -> Snapshot | None:
    """The newest snapshot of a target from which an increment can begin: the source has it too, or a bookmark of it,
    by GUID. As the source knows it."""
    guids = {snapshot.guid for snapshot in target.snapshots}
    return next((found for found in source.beginnings if found.guid in guids), None)


def newest_common(one: Member, other: Member) -> Snapshot | None:
    """The newest snapshot of one that other has too, by GUID."""
    guids = {snapshot.guid for snapshot in other.snapshots}
    return next((snapshot for snapshot in reversed(one.snapshots) if snapshot.guid in guids), None)
