"""What belongs to a tree, and which dataset of the one side is which of the other.

Membership is read, never stored: a tree is what lies below its root, without what was left out. The two sides' members
are told by the GUIDs of their snapshots, so that one that was renamed, moved or made anew under an old name is known
for what it is. Nothing on the replica is destroyed for what happens on the master: what has lost its source is set
aside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.dataset import Member, Snapshot
from zrep.core.names import ancestors, beside, sequence_of
from zrep.core.pair import End, Pair, Tree, is_bare
from zrep.core.role import Role
from zrep.core.steps import InheritProperty, PlaceKey, PromoteClone, Rename, SetProperties, Step


def tree_of(root: Member, below: Iterable[Member]) -> Tree:
    """The tree of a root: of what is below it all that is not left out (zrep:exclude), not set aside, and neither in a
    pair of its own nor a copy that rejoin keeps; and nothing below those."""
    members = [root]
    aside: list[Member] = []
    excluded: list[Member] = []
    apart: list[str] = []
    out: set[str] = set()
    for member in sorted(below, key=lambda member: member.name.split("/")):
        if is_outside(member.role) or out & set(ancestors(member.name)):
            out.add(member.name)
            known = {other.name for other in excluded}
            if member.role.gone is not None:
                aside.append(member)
            elif member.role.excluded or known & set(ancestors(member.name)):
                excluded.append(member)
            elif not {other.name for other in aside} & set(ancestors(member.name)):
                apart.append(member.name)
        else:
            members.append(member)
    return Tree(tuple(members), tuple(aside), tuple(excluded), tuple(apart))


def unknown_origins(tree: Tree) -> list[str]:
    """The datasets outside of a master's tree that have still to be read to know what its members are, by name: what
    those are clones of that have nothing which was ever sent. It may be all that they had, when a clone outside of the
    tree was promoted over them."""
    known = {"-", *(each.name for each in (*tree.members, *tree.excluded, *tree.origins))}
    bare = [member for member in tree.members[1:] if not member.marked] if tree.role.master else []
    return sorted({each.get("origin").partition("@")[0] for each in (*bare, *tree.origins)} - known)


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
    if promoted := _promoted(pair):
        return promoted
    partner = pair.partners
    there = {member.name: member for member in pair.target.members}
    wanted = {source.name: pair.place(source) for source in pair.source.members}
    kept = set(partner.values())
    taken: list[str] = []
    for member in pair.target.aside:
        if member.name in wanted.values() and (away := _out_of_the_way(pair, member, f"gone_{member.role.gone}")):
            return away
    for source in pair.source.members[1:]:
        has, place = partner.get(source.name), wanted[source.name]
        old = there.get(place) if has is None else None
        # With what is below it, which goes back below what arrives in its place.
        leaves = old is not None and (
            _left_bare(pair, old) or _lost_around(pair, old, kept) or _cannot_go_on(pair, old, partner)
        )
        if old and leaves and (away := _out_of_the_way(pair, old, f"moving_{old.get('guid')[-8:]}")):
            return away
        if has is None or has == place:
            continue  # new, or in its place
        if pair.overlong(source, there[has]):
            # It cannot go where it belongs, but must not be where another one does.
            if has in wanted.values() and (away := _moving(pair, there[has])):
                return away
            continue
        if not _parent_placed(pair, source, partner) or place.startswith(tuple(f"{name}/" for name in taken)):
            continue  # its parent has still to come, or is not in its place
        if pair.taken_by(place, there, partner):
            taken.append(place)
            continue
        if place not in there:
            return _renamed(pair, there[has], place, "renamed with its source")
        if there[place].snapshots and (away := _moving(pair, there[place])):
            return away
    lost = [m for m in pair.target.members[1:] if m.name not in kept and (m.ours(pair.tag) or _left_bare(pair, m))]
    free = [member.name for member in lost if not any(name.startswith(f"{member.name}/") for name in kept)]
    if free:
        step = set_aside(End.TARGET, pair.tag, free, now)
        excluded = {pair.place(member) for member in pair.source.excluded}
        left = [name for name in free if name in excluded]
        gone = [name for name in free if name not in excluded]
        reasons = (("left out on the master", left), ("the source is gone", gone))
        return Change(step, "; ".join(f"set aside, {why}: {', '.join(names)}" for why, names in reasons if names))
    return None


def _taken_back(pair: Pair) -> Change | None:
    """What was set aside, and whose source is in the tree again: it was left out for a while, or moved away and back.
    What it lies below comes first."""
    partner = pair.partners
    lonely = [member for member in pair.source.members if member.name not in partner]
    guids = {snapshot.guid for source in lonely for snapshot in source.beginnings}
    for member in pair.target.aside:
        if any(snapshot.guid in guids for snapshot in member.snapshots):
            around = [each for each in pair.target.aside if member.name.startswith(f"{each.name}/")]
            if around:  # what stays set aside keeps out of the tree whatever is below it
                if out := _out_of(pair, around[0], member):
                    return out
                continue
            step = InheritProperty(End.TARGET, (member.name,), f"{pair.tag}:gone")
            return Change(step, f"taken back, its source is in the tree again: {member.name}")
    return None


def _promoted(pair: Pair) -> Change | None:
    """A clone that was promoted on the source: what is still its origin's on the target is its own there."""
    there = {member.name: member for member in pair.target.members}
    partner = pair.partners
    for source in pair.source.members:
        clone = there.get(partner.get(source.name, ""))
        owner, _, short = clone.get("origin").partition("@") if clone else ("", "", "")
        origin = there[owner].by_name(short) if owner in there else None
        if clone is None or origin is None:
            continue
        own = {snapshot.guid for snapshot in source.snapshots}
        if any(s.guid in own and s.createtxg <= origin.createtxg for s in there[owner].snapshots):
            step = PromoteClone(End.TARGET, clone.name, clone.get("origin"))
            return Change(step, f"promoted with its source: {clone.name}")
    return None


def _lost_around(pair: Pair, member: Member, kept: Collection[str]) -> bool:
    """Whether a member of the target's tree has lost its source, which another one has the place of, and what is below
    it has not: it cannot be set aside before that has left it. kept: those that have a source, by name."""
    around = any(name.startswith(f"{member.name}/") for name in kept)
    return around and member.name not in kept and bool(member.ours(pair.tag))


def _parent_placed(pair: Pair, source: Member, partner: Mapping[str, str]) -> bool:
    """Whether what a member of the source's tree lies below is on the target in its place: what has that name there may
    be another one, even a volume. partner: as Pair.partners."""
    above = source.name.rpartition("/")[0]
    return partner.get(above) == pair.place(source).rpartition("/")[0]


def _cannot_go_on(pair: Pair, member: Member, partner: Mapping[str, str]) -> bool:
    """Whether a member of the target's tree is not to stay where it is, and its own place is below what has still to
    arrive, or to get there."""
    sources = (source for source in pair.source.members if partner.get(source.name) == member.name)
    return any(not _parent_placed(pair, source, partner) for source in sources)


def _left_bare(pair: Pair, member: Member) -> bool:
    """Whether all that a member had of zrep's has gone to another one of the target's tree with a promotion."""
    owner, _, short = member.get("origin").partition("@")
    others = (each for each in pair.target.members if each.name == owner)
    return is_bare(member) and any(s.name == short for each in others for s in each.ours(pair.tag))


class Wave(Struct, frozen=True):
    """What of a tree is sent before the rest, by name at the source: clones, and what has to be there before them.
    waiting: clones whose origin has still to arrive, or that have become the root's, and what is below them."""

    members: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()


def next_wave(pair: Pair, failed: Collection[str]) -> Wave:
    """Work out which new members go first, so that a clone finds what it is a clone of. What has failed, and what waits
    for that, does not go."""
    lanes = pair.lanes
    arriving = {lane.source.name: lane.source for lane in lanes if lane.target.arriving}
    absent = {lane.source.name for lane in lanes if lane.base is None}
    members = {member.name for member in pair.source.members}
    owners = {name: member.get("origin").partition("@")[0] for name, member in arriving.items()}
    # One that lies below its own clone can not be there before that.
    origin = {name: owner for name, owner in owners.items() if owner in members and not owner.startswith(f"{name}/")}
    waiting = {name for name, owner in origin.items() if owner in absent} | _over_the_root(pair)
    waiting |= {name for name in arriving if waiting & set(ancestors(name))}
    wave: set[str] = set()
    more = set(origin)
    while more - wave:
        wave |= more
        more = {above for name in wave for above in (origin.get(name, name), *ancestors(name)) if above in arriving}
    return Wave(frozenset(wave - waiting - set(failed)), frozenset(waiting - set(failed)))


def _over_the_root(pair: Pair) -> set[str]:
    """New members that have the base of the tree's root since they were promoted over it: they would be sent in full
    what the root on the other side has."""
    root, *others = pair.lanes
    known = {snapshot.guid for snapshot in root.target.snapshots} if root.base is None else set()
    return {
        lane.source.name
        for lane in others
        if lane.target.arriving and any(snapshot.guid in known for snapshot in lane.source.beginnings)
    }


def set_aside(end: End, tag: str, names: Iterable[str], now: int) -> SetProperties:
    """Take members of a replica out of their tree, with all they have. Read-only by themselves: when their root is
    promoted, what they inherit changes."""
    return SetProperties(end, tuple(names), (("readonly", "on"), (f"{tag}:gone", str(now))))


def _moving(pair: Pair, member: Member) -> Change | None:
    return _out_of_the_way(pair, member, f"moving_{member.snapshots[-1].guid[-8:]}") if member.snapshots else None


def _out_of_the_way(pair: Pair, member: Member, ending: str) -> Change | None:
    """Give a member of the target another name beside its own, the end of that left out where it would be too long for
    what is below it; None where even that would not help."""
    new = _name_beside(pair, member.name, ending, member)
    return _renamed(pair, member, new, "makes room") if new else None


def _out_of(pair: Pair, aside: Member, member: Member) -> Change | None:
    """The same beside what was set aside and lies around it: from there it goes to its place as any other."""
    new = _name_beside(pair, aside.name, f"moving_{member.snapshots[-1].guid[-8:]}", member)
    return _renamed(pair, member, new, "its source has left what was set aside") if new else None


def _name_beside(pair: Pair, name: str, ending: str, member: Member) -> str:
    room = len(max(pair.target.below(member.name), key=len))
    return beside(name, f"_{pair.tag}_{ending}", room)


def _renamed(pair: Pair, member: Member, new: str, why: str) -> Change:
    """ZFS moves nothing out of what it has its key from (dsl_dir_rename_crypt_check() in dsl_crypt.c): it gets a key of
    its own before, as it has on the source. Nobody needs the key for that."""
    known = {each.name: each.get("encryptionroot") for each in (*pair.target.members, *pair.target.aside)}
    root, above = member.get("encryptionroot"), new.rpartition("/")[0]
    moved = above != member.name.rpartition("/")[0]  # a clone beside its origin has its key from that
    if moved and root not in ("-", member.name, known.get(above, root)):
        return Change(PlaceKey(End.TARGET, member.name, own=True), f"{member.name} has a key of its own: it moves")
    return Change(Rename(End.TARGET, member.name, new, member.volume), f"{member.name} is {new} now: {why}")
