"""Carrying out a split: what an old master wrote alone leaves it for a copy beside it (core/plan_split.py has the
steps). Every refusal comes before the role is given up; a run that is cut after that is finished by the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from shlex import quote

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.advice import command, rolling_back
from zrep.core.dataset import Member, Snapshot, Value
from zrep.core.errors import FailedError, RefusedError, ZrepError
from zrep.core.names import LIMITS, ancestors, fits, is_rejoin
from zrep.core.pair import End, Tree
from zrep.core.plan_keys import plan_kept_keys
from zrep.core.plan_rejoin import plan_finish
from zrep.core.plan_split import (
    Part,
    Split,
    found_parts,
    leaving,
    new_parts,
    new_split,
    plan_clone,
    plan_exchange,
    plan_give_up,
    plan_limits,
    plan_other_tags,
    plan_settings,
    prepared_for,
    received,
    room_for,
)
from zrep.core.role import Role
from zrep.core.steps import Allow, DestroyClone, InheritProperty, SetProperties, Step
from zrep.core.tags import tags_of
from zrep.ops.read import (
    observe,
    observe_children,
    observe_each,
    observe_tree,
    read_all_properties,
    read_delegations,
    read_marked,
)
from zrep.ops.session import Session
from zrep.zfs import commands
from zrep.zfs.errors import NoSpaceError

Bases = Mapping[str, Snapshot]


class Prepared(Struct, frozen=True):
    """A split of which all is made that can be before the role is given up; listed: what is to be said of it."""

    split: Split
    parts: tuple[Part, ...]
    listed: tuple[str, ...]


def prepare_split(
    session: Session, tree: Tree, master: Role, peer: tuple[str, str], written: Mapping[str, int], bases: Bases
) -> Prepared:
    """Decide on a split, and make the clones of all that was written to alone: what ZFS does not take is known then.
    written: bytes, by name; bases: of each member what the other side has of it; master, peer: as for new_split."""
    members = split_members(tree, written)
    refuse_split(session, tree, members, bases)
    room = room_for(session.tag, tree.members[0], members)
    split = new_split(session.tag, tree.members[0], master, sum(written.values()), peer, room)
    parts = new_parts(split, members, bases)
    _refuse_names(session, split, parts, members, bases)
    given = _prepare(session, split, [(part, part.name) for part in parts if part.base])
    lines = ((name, ", ".join(received(session.tag, own))) for name, own in given.items())
    what = "these properties were received, and will be its own, as if set by hand"
    of_root = ((f"{name}: " if name != tree.name else "", text) for name, text in lines if text)
    return Prepared(split, parts, tuple(f"{about}{what}: {text}" for about, text in of_root))


def split_members(tree: Tree, written: Iterable[str]) -> list[Member]:
    """The members of a tree that leave it for a split copy, where these were written to."""
    names = leaving(set(written), tree.members)
    return [member for member in tree.members if member.name in names]


def refuse_split(session: Session, tree: Tree, members: Sequence[Member], bases: Bases) -> None:
    """What keeps these members of a tree from being renamed into a split copy."""
    if members:
        _refuse_children(session, tree, members)
    names = {member.name for member in members}
    for member in members:
        new = [name for name in ancestors(member.name) if name in names and name not in bases]
        if member.name in bases and new:
            raise RefusedError(
                "it lies below one that the other side has nothing of",
                filesystem=member.name,
                evidence=new[0],
                advice=f"zfs rename {quote(member.name)} to where it was before, and run this again",
            )
        if "/" not in member.name:
            _refuse_pool_root(session, member, bases[member.name])
        if member.name not in bases:
            _refuse_other_pairs(session, member)
        else:
            _refuse_known_elsewhere(session, member, bases[member.name])


def _refuse_pool_root(session: Session, member: Member, base: Snapshot) -> None:
    """ZFS renames no pool's root, and the split copy is made by a rename. Of a tree, a copy inside it goes into the
    split copy with what else the other side has nothing of."""
    name, copy = quote(f"{member.name}@alone"), quote(f"{member.name}/alone")
    kept = f"to keep all of it: zfs snapshot {name}; zfs send {name} | zfs receive -u {copy}"
    first = kept if member.role.recursive else "copy what is wanted of it"
    again = f"zrep rejoin {'-f ' if session.options.force else ''}{quote(member.name)}"
    raise RefusedError(
        "it is the root of a pool, which cannot be renamed to keep what was written here alone",
        filesystem=member.name,
        evidence=f"written after @{base.name}",
        advice=f"{first}; then: {rolling_back(member, base)}, then {again}",
    )


def _refuse_children(session: Session, tree: Tree, members: Sequence[Member]) -> None:
    """A rename carries along what is below. What is left out of a tree, or was set aside, goes back at once; what is in
    a pair of its own, or in none at all, somebody may need by its name."""
    known = {member.name for member in (*tree.members, *tree.excluded, *tree.aside)}
    aside = tuple(f"{member.name}/" for member in tree.aside)
    below_it = (x for x in observe_children(session.local, tree.name) if not is_rejoin(x, tree.name))
    others = [x for x in below_it if x not in known and not x.startswith(aside)]
    below = [name for name in others if any(name.startswith(f"{member.name}/") for member in members)]
    if below:
        raise RefusedError(
            "it has child filesystems that are not replicated with it, and a split would move them along",
            filesystem=tree.name,
            evidence=", ".join(below[:5]),
            advice="move them out of it (zfs rename) and run this again",
        )


def _refuse_other_pairs(session: Session, member: Member) -> None:
    """What the other side has nothing of leaves whole: nothing is left under its name that another pair could go on
    with."""
    properties = read_all_properties(session.local, member.name)
    tags = [key.removesuffix(":src-fs") for key, value in properties.items() if key.endswith(":src-fs") and value.local]
    others = [tag for tag in tags if tag != session.tag]
    if others:
        raise RefusedError(
            "it is in another pair too, and a split would tear that one apart",
            filesystem=member.name,
            evidence=f"tags {', '.join(tags)}",
            advice="end the others first: " + ", ".join(f"zrep -t {tag} clear {quote(member.name)}" for tag in others),
        )


def _refuse_known_elsewhere(session: Session, member: Member, base: Snapshot) -> None:
    """What leaves has been sent on under another tag, and said there to be safe: that its replica is to drop it is for
    a person to say."""
    held = {tag for snapshot in member.after(base) for tag in snapshot.holds} - {session.tag}
    known = sorted(held & set(tags_of(read_all_properties(session.local, member.name)))) if held else []
    if known:
        raise RefusedError(
            f"what was written here alone has been sent on under the tag {known[0]}",
            filesystem=member.name,
            evidence=f"after @{base.name}; it would be in a split copy only, and that replica would have to drop it",
            advice="end the others first: " + ", ".join(f"zrep -t {tag} clear {quote(member.name)}" for tag in known),
        )


def _refuse_names(
    session: Session, split: Split, parts: Sequence[Part], members: Sequence[Member], bases: Bases
) -> None:
    """The copy, the clones and the snapshots that end what is in the copy have names that ZFS takes and nobody has."""
    endings = (f"{member.name}@{split.ending}" for member in members)
    if not (split.copy and split.clone and all(map(fits, (*endings, *(part.clone for part in parts))))):
        longest = max((member.name for member in members), key=len)
        advice = f"zfs rename {quote(longest)} to a shorter name"
        if longest == split.name:
            advice += ", then zrep changeconfig with that on both hosts"
        elif longest not in bases:  # nothing of it is to follow from the new master
            advice = f"leave it where it is, as it is: {command('', 'changeconfig', '--exclude', longest)}"
        raise RefusedError(
            "its name is so long that what was written here alone can be kept under no name beside "
            f"{'it' if longest == split.name else split.name}",
            filesystem=longest,
            evidence=f"{len(longest)} bytes",
            advice=advice,
        )
    if split.copy in observe(session.local, split.tag, [split.copy]):
        raise RefusedError(
            "the name that its split copy would have is taken",
            filesystem=split.name,
            evidence=split.copy,
            advice=f"zfs rename {quote(split.copy)} to another name and run this again",
        )


# --- the clones ---


def _prepare(session: Session, split: Split, wanted: Sequence[tuple[Part, str]]) -> dict[str, Mapping[str, Value]]:
    """Make the clones that will have the names of parts, with all that is set and delegated on each, which is given,
    by name. wanted: parts, and where the base of each is: its name or its place in the copy."""
    executor = session.alone()
    old = _clones(session, split)
    names = [old.get(part.name, part.clone) for part, _ in wanted]
    there = observe(session.local, split.tag, names) if names else {}
    for part, _ in wanted:
        if part.clone in there and old.get(part.name) != part.clone:
            raise RefusedError(
                "the name of the clone that would take its place is taken",
                filesystem=part.name,
                evidence=part.clone,
                advice=f"zfs rename {quote(part.clone)} to another name and run this again",
            )
    # Of a run that was cut: what is set may have changed since.
    executor.do_all(DestroyClone(End.TARGET, name) for name in there if there[name].get("origin") != "-")
    given = {part.name: read_all_properties(session.local, place) for part, place in wanted}
    made: list[str] = []
    try:
        members = observe(session.local, split.tag, [place for _, place in wanted])
        for part, place in wanted:
            made.append(part.clone)
            _make_clone(session, split, part, members[place], given[part.name])
    except ZrepError:
        for name in made:
            executor.try_do(DestroyClone(End.TARGET, name))
        raise
    return given


def _make_clone(session: Session, split: Split, part: Part, member: Member, own: Mapping[str, Value]) -> None:
    """One of them. member: where the base is."""
    assert part.base is not None
    executor = session.alone()
    here = member.by_guid(part.base.guid)
    if here is None:
        raise FailedError("the base is gone", filesystem=member.name, evidence=f"guid {part.base.guid}")
    executor.do(plan_clone(split, part, f"{member.name}@{here.name}", volume=member.volume))
    for step in plan_settings(split.tag, part.clone, member, own):
        if error := executor.try_do(step):
            raise _not_given(part.name, step, error)
    delegations = read_delegations(session.local, member.name)
    executor.do_all(Allow(End.TARGET, part.clone, words) for words in delegations)


def _not_given(name: str, step: SetProperties, error: ZrepError) -> ZrepError:
    names = ", ".join(key for key, _ in step.properties)
    return RefusedError(
        f"the clone that would take its place cannot be given its {names}",
        filesystem=name,
        evidence=error.evidence or error.what,
        advice=f"zfs inherit {quote(step.properties[0][0])} {quote(name)}, or set what zfs takes; then run this again",
    )


def _clones(session: Session, split: Split) -> dict[str, str]:
    """The clones of a run that was cut, by the names that they are to take, or have taken. What has the mark and is
    called otherwise is of somebody who may set properties there: no run makes it, and none may destroy it."""
    marked = read_marked(session.local, f"{split.tag}:split")
    taking = ((prepared_for(mark), clone) for clone, mark in marked if is_rejoin(clone, split.name))
    return {
        name: clone
        for name, clone in taking
        if f"{name}/".startswith(f"{split.name}/")
        and _folder(clone) in map(_folder, (split.name, name, split.place(name)))
    }


def _folder(name: str) -> str:
    """What a dataset lies in; of a pool's root itself, in which a copy of it is."""
    return name.rpartition("/")[0] or name


# --- the exchange ---


def give_up(session: Session, split: Split, parts: Iterable[Part]) -> None:
    """The first step that gives the role up: from here the next run goes on."""
    session.alone().do_all(plan_give_up(split, [part.name for part in parts]))


def look(session: Session, split: Split) -> dict[str, Member]:
    """Everything at and below the names of a tree and its copy, and the clones."""
    trees = (split.name, split.copy)
    clones = _clones(session, split).values()
    beside = [clone for clone in clones if not any(f"{clone}/".startswith(f"{name}/") for name in trees)]
    found = observe_each(session.local, split.tag, list(dict.fromkeys((*trees, *beside))), trees=trees)
    members: dict[str, Member] = {}
    for name, member in found.items():
        if isinstance(member, ZrepError):
            raise member.about(name)
        members[name] = member
    return members


def parts_of(session: Session, split: Split, there: Mapping[str, Member], guids: Collection[str]) -> tuple[Part, ...]:
    """The parts of a split that was cut after its role was given up. guids: of the snapshots of the other side."""
    known = {name: base for name, member in there.items() if (base := newest_known(member, guids))}
    return found_parts(split, there, _clones(session, split), known)


def parts_again(session: Session, split: Split, tree: Tree, written: Iterable[str], bases: Bases) -> tuple[Part, ...]:
    """The parts of a split of which nothing but the record has landed: what was written to, and whatever a clone has
    been prepared for."""
    clones = _clones(session, split)
    parts = new_parts(split, split_members(tree, {*written, *clones}), bases)
    return tuple(replace(part, clone=clones.get(part.name, part.clone)) for part in parts)


def newest_known(member: Member, guids: Collection[str]) -> Snapshot | None:
    """The newest snapshot of a member that the other side has, by the guids of those that it has."""
    return next((snapshot for snapshot in reversed(member.snapshots) if snapshot.guid in guids), None)


def exchange(session: Session, split: Split, parts: Sequence[Part], master: Role) -> None:
    """From wherever it stands to the end: parts in the copy, the tree a replica of the new master's role."""
    executor = session.alone()
    there = look(session, split)
    missing = [
        (part, part.copy if part.copy in there else part.name)
        for part in parts
        if part.base and part.clone not in there and not (part.copy in there and part.name in there)
    ]
    if missing:
        _prepare(session, split, missing)
        there = look(session, split)
    executor.do_all(plan_exchange(split, parts, there))
    _keep_keys(session, split, [part for part in parts if part.base is None])
    live = observe(session.local, split.tag, [part.name for part in parts])
    _limit(session, split, live)
    if below := tuple(name for name in live if name != split.name):
        executor.do(InheritProperty(End.TARGET, below, f"{split.tag}:split"))
    tree = observe_tree(session.local, split.tag, split.name, recursive=master.recursive)
    copy = None
    if any(part.name == split.name for part in parts):
        copy = observe(session.local, split.tag, [split.copy])[split.copy]
    executor.do_all(plan_finish(split, tree, copy, master, other_tags(session, split)))


def _keep_keys(session: Session, split: Split, parts: Sequence[Part]) -> None:
    """What leaves whole, as the other side has nothing of it, keeps the key that it has: a stream may bring another one
    to the tree, which would never open it. What cannot be given one is told of."""
    found = observe(session.local, split.tag, [part.copy for part in parts]) if parts else {}
    for step in plan_kept_keys(End.TARGET, found.values()):
        if session.alone().try_do(step):
            session.warn(
                f"{step.dataset}: it opens with the key of {split.name} alone, and no more once that is changed on the "
                f"new master; before: zfs load-key -r {quote(split.name)}; zfs change-key {quote(step.dataset)}"
            )


def other_tags(session: Session, split: Split) -> tuple[Step, ...]:
    """What moves the roles under other tags from the copies to what has their names now."""
    found = observe_each(session.local, split.tag, [split.copy], trees=(split.copy,))
    steps: list[Step] = []
    for copy, member in found.items():
        if isinstance(member, ZrepError):
            raise member.about(copy)
        own = read_all_properties(session.local, copy)
        name = split.name + copy.removeprefix(split.copy)
        moved = plan_other_tags(split.tag, copy, own, name)
        if moved and name in observe(session.local, split.tag, [name]):
            steps += moved
    return tuple(steps)


def _limit(session: Session, split: Split, live: Mapping[str, Member]) -> None:
    """Quotas and reservations. There may be no room for one beside the copy: that is told, and ends nothing."""
    mark = f"{split.tag}:{LIMITS}"
    for name, member in live.items():
        if not (limits := member.get(mark, "")) or limits == "-":
            continue
        for step in plan_limits(name, limits):
            error = session.alone().try_do(step)
            if isinstance(error, NoSpaceError):
                command = " ".join(map(quote, commands.command(step)))
                session.warn(f"{name}: {error.evidence}; once there is room: {command}")
            elif error is not None:
                raise error
        session.alone().do(InheritProperty(End.TARGET, (name,), mark))
