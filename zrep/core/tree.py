"""What belongs to a tree, and which dataset of the one side is which of the other.

Membership is read, never stored: a tree is what lies below its root, without what was left out. The two sides' members
are told by the GUIDs of their snapshots, so that one that was renamed, moved or made anew under an old name is known
for what it is. Nothing on the replica is destroyed for what happens on the master: what has lost its source is set
aside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.dataset import Member, Snapshot
from zrep.core.names import ancestors, sequence_of
from zrep.core.pair import End, Pair, Tree
from zrep.core.role import Role
from zrep.core.steps import InheritProperty, Rename, SetProperties, Step


def tree_of(root: Member, below: Iterable[Member]) -> Tree:
    """The tree of a root: of what is below it all that is not left out (zrep:exclude), not set aside, and neither in a
    pair of its own nor a copy that rejoin keeps; and nothing below those."""
    members = [root]
    aside: list[Member] = []
    excluded: list[Member] = []
    out: set[str] = set()
    for member in sorted(below, key=lambda member: member.name.split("/")):
        if is_outside(member.role) or out & set(ancestors(member.name)):
            out.add(member.name)
            aside += [member] if member.role.gone is not None else []
            known = {other.name for other in excluded}
            excluded += [member] if member.role.excluded or known & set(ancestors(member.name)) else []
        else:
            members.append(member)
    return Tree(tuple(members), tuple(aside), tuple(excluded))


def matching(root: str, names: Iterable[str], pattern: str) -> list[str]:
    """Those of the datasets below a root that a pattern of the shell's kind matches, the outermost of each branch: by
    what follows the root's name; one without a slash by the last part, wherever it is."""
    found: list[str] = []
    for name in sorted(names):
        path = name.removeprefix(f"{root}/")
        if fnmatchcase(path if "/" in pattern else path.rpartition("/")[2], pattern):
            found += [] if set(ancestors(name)) & set(found) else [name]
    return found


def is_outside(role: Role) -> bool:
    """Whether a dataset is no member of the tree that it lies in, by its own properties."""
    return bool(role.excluded or role.gone is not None or role.paired or role.split or role.rejoining)


def role_within(name: str, chain: Sequence[tuple[str, Role]]) -> Role | None:
    """The role that a dataset has as a member of a tree: that of the tree's root, but for its own canmount; None where
    it is in none. chain: itself, then what it lies below, the nearest first, each with its role under one tag."""
    for root, role in chain:
        if role.paired and role.recursive and root != name:
            own = {"src_fs" if role.master else "dest_fs": root}
            return replace(role, within=True, canmount=chain[0][1].canmount, **own)
        if is_outside(role):
            return None
    return None


def newest_upto(tag: str, ours: Iterable[Snapshot], moment: str) -> Snapshot | None:
    """What a member has of a moment, by the name of that moment's snapshots: the newest of zrep's own that is not
    later. One that was not written to then has its content of it in an older one."""
    last = sequence_of(tag, moment)
    if last is None:
        return None
    upto = (snapshot for snapshot in ours if (sequence_of(tag, snapshot.name) or 0) <= last)
    return max(upto, key=lambda snapshot: snapshot.createtxg, default=None)


class Change(Struct, frozen=True):
    """A step at the target that brings its tree nearer to the shape of the source's; text: the same for a person."""

    step: Step
    text: str


def next_change(pair: Pair, now: int) -> Change | None:
    """Work out what the target's tree lacks first to be in the source's shape; None when nothing is left. Carried out,
    both are read again and asked about again: each is one command, so that a run that is cut leaves what the next one
    recognises. now: seconds since 1970.

    The shallowest member that is not where its source is goes there; what is in its place first makes room, and is
    moved on in its own turn. Only then is set aside what has lost its source: what was below it has left it by then."""
    if back := _taken_back(pair):
        return back
    partner = pair.partners
    there = {member.name: member for member in pair.target.members}
    wanted = {source.name: pair.place(source) for source in pair.source.members}
    for member in pair.target.aside:
        if member.name in wanted.values():
            return _renamed(member, f"{member.name}_{pair.tag}_gone_{member.role.gone}", "makes room")
    for source in pair.source.members[1:]:
        has, place = partner.get(source.name), wanted[source.name]
        if has is None or has == place or place.rpartition("/")[0] not in there:
            continue  # new, in its place, or its parent has still to come
        if place not in there:
            return _renamed(there[has], place, "renamed with its source")
        if there[place].snapshots:
            number = there[place].snapshots[-1].guid[-8:]
            return _renamed(there[place], f"{place}_{pair.tag}_moving_{number}", "makes room")
    kept = set(partner.values())
    lost = [member for member in pair.target.members[1:] if member.name not in kept and member.ours(pair.tag)]
    free = [member.name for member in lost if not any(name.startswith(f"{member.name}/") for name in kept)]
    if free:
        step = set_aside(End.TARGET, pair.tag, free, now)
        return Change(step, f"set aside, the source is gone: {', '.join(free)}")
    return None


def _taken_back(pair: Pair) -> Change | None:
    """What was set aside, and whose source is in the tree again: it was left out for a while, or moved away and back.
    What it lies below comes first."""
    partner = pair.partners
    lonely = [member for member in pair.source.members if member.name not in partner]
    guids = {snapshot.guid for source in lonely for snapshot in source.beginnings}
    for member in pair.target.aside:
        if any(snapshot.guid in guids for snapshot in member.snapshots):
            step = InheritProperty(End.TARGET, (member.name,), f"{pair.tag}:gone")
            return Change(step, f"taken back, its source is in the tree again: {member.name}")
    return None


def set_aside(end: End, tag: str, names: Iterable[str], now: int) -> SetProperties:
    """Take members of a replica out of their tree, with all they have. Read-only by themselves: when their root is
    promoted, what they inherit changes."""
    return SetProperties(end, tuple(names), (("readonly", "on"), (f"{tag}:gone", str(now))))


def _renamed(member: Member, new: str, why: str) -> Change:
    return Change(Rename(End.TARGET, member.name, new, member.volume), f"{member.name} is {new} now: {why}")
