"""Planning an init: how a new pair is announced, sent for the first time, and linked.

Each step may be the last one of a run: what is there tells the next run where to go on.
"""

from __future__ import annotations

from collections.abc import Sequence

from zrep.core.dataset import Member, TokenContents
from zrep.core.pair import End, Lane
from zrep.core.place import NOWHERE
from zrep.core.role import HERE, PEER, Intent, Role, intent_property, named, role_values
from zrep.core.rules import DEFAULT_SAVECOUNT
from zrep.core.steps import CreateParent, Hold, SetProperties, Step
from zrep.core.tags import NO_ROLES, Roles

_Properties = tuple[tuple[str, str], ...]


def is_begun(source: Member) -> bool:
    """Whether an init of it has been announced and not ended."""
    return source.role.intent is not None and source.role.intent.operation == "init"


def is_announced(source: Member) -> bool:
    """Whether the whole announcement is there, not only the beginning of it."""
    return is_begun(source) and source.role.savecount is not None


def begun_with(source: Member, tag: str) -> set[str]:
    """The guids of the snapshots of which one is that of an init: those that zrep made, and, of a relay, what it has
    received and holds for it; where all travel, any."""
    if source.role.all_snapshots:
        return {snapshot.guid for snapshot in source.snapshots}
    return {snapshot.guid for snapshot in (*source.ours(tag), *source.held(tag))}


def of_init(source: Member, tag: str, half: TokenContents) -> bool:
    """Whether what is half received at a target is the stream of an init of the source: by the snapshot it ends at."""
    return half.to_guid in begun_with(source, tag)


def plan_parents(missing: tuple[str, ...]) -> tuple[CreateParent, ...]:
    """Make the ancestors that the target lacks, the pool's side first."""
    return tuple(CreateParent(End.TARGET, parent) for parent in missing)


def plan_announce(tag: str, source: str, role: Role) -> SetProperties:
    """Write the master's role with the intent in it: what a second run recognises this one by, and by which every other
    command knows that the pair is not there yet. The intent goes first and what is_announced looks for last: a set
    that lands in part is ours, and is made again."""
    properties = (
        intent_property(tag, Intent("init", role.gen)),
        # Before the links: an init that is begun anew is known by both.
        *(((f"{tag}:driver", PEER),) if role.only_dialled else ()),
        *_role(tag, role, master=True),
        *_shape(tag, role),
        _savecount(tag, role),
    )
    return SetProperties(End.SOURCE, (source,), properties)


def plan_link(
    tag: str, source: Member, role: Role, places: tuple[str, str] = (NOWHERE, NOWHERE), others: Roles = NO_ROLES
) -> tuple[SetProperties, SetProperties]:
    """Link the replica first, then end the intent on the master: only then is it a pair that sync acts on. role: the
    master's; others: the roles of the source under its other tags: where it is a replica itself, what its canmount is
    says nothing."""
    canmount = next((each.canmount for each in others.values() if each.canmount), source.get("canmount"))
    remembered = () if source.volume else ((f"{tag}:canmount", canmount),)
    driver = ((f"{tag}:driver", HERE),) if role.only_dialled else ()
    properties = (*_role(tag, role, master=False), _savecount(tag, role), *_shape(tag, role), *driver, *remembered)
    here, there = places
    return (
        SetProperties(End.TARGET, (role.dest_fs,), (*properties, (f"{tag}:places", f"{there} {here}"))),
        SetProperties(End.SOURCE, (source.name,), (intent_property(tag, None), (f"{tag}:places", f"{here} {there}"))),
    )


def plan_take_up(tag: str, lanes: Sequence[Lane]) -> tuple[Step, ...]:
    """Make what is at the targets already a replica, each at the base of its lane: held on both sides first, so that
    nobody's expiry takes it away; then read-only, and it mounts itself no more. lanes: the root's first; what canmount
    is while they are on the master is remembered of those below it here, of the root when it is linked."""
    held: dict[End, list[str]] = {end: [] for end in End}
    quiet: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for lane in lanes:
        base = lane.base
        assert base is not None
        own = lane.target.by_guid(base.guid)
        assert own is not None
        for end, found in ((End.SOURCE, base), (End.TARGET, own)):
            if tag not in found.holds and not found.bookmark:
                held[end].append(f"{lane.at(end).name}@{found.name}")
        if not lane.target.volume:
            below = ((f"{tag}:canmount", lane.source.master_canmount),) if lane is not lanes[0] else ()
            quiet.setdefault((("canmount", "noauto"), *below), []).append(lane.target.name)
    return (
        *(Hold(end, tag, tuple(names)) for end, names in held.items() if names),
        SetProperties(End.TARGET, tuple(lane.target.name for lane in lanes), (("readonly", "on"),)),
        *(SetProperties(End.TARGET, tuple(names), properties) for properties, names in quiet.items()),
    )


def _role(tag: str, role: Role, *, master: bool) -> _Properties:
    return named(tag, role_values(role, master=master, swap=False, epoch=role.epoch or 1, gen=role.gen, parents=()))


def _savecount(tag: str, role: Role) -> tuple[str, str]:
    return f"{tag}:savecount", str(role.savecount or DEFAULT_SAVECOUNT)


def _shape(tag: str, role: Role) -> _Properties:
    """What shapes every stream of the pair, kept on both sides so that a moved master sends alike."""
    filters = (
        ("outfilter", role.outfilter),
        ("infilter", role.infilter),
        ("props", role.props),
        ("compress", role.compress),
        ("bwlimit", str(role.bwlimit or "")),
        ("recursive", "on" if role.recursive else ""),
        ("allsnaps", "on" if role.all_snapshots else ""),
    )
    return ((f"{tag}:flags", role.flags or ""), *((f"{tag}:{name}", value) for name, value in filters if value))
