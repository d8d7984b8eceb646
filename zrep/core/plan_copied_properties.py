"""Planning what a replica's properties have to follow: what is set on its master itself is set there too.

A stream brings properties only the first time, and never more (see plan_data). Whose a property of the replica is, is
told by what it is: what was received, or is what the master's is, or is what zrep has recorded of what it set, follows;
what the replica has set itself otherwise is an administrator's, and is kept. The record (zrep:followed) is written
after what it tells of: a run that is cut between leaves what equals the master's, which the next one records.
"""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

from msgspec import Struct

from zrep.core.dataset import Member, Value
from zrep.core.names import FOLLOWED, UNINHERITED
from zrep.core.pair import End, Lane
from zrep.core.quantities import size, whole_number
from zrep.core.steps import Change, InheritProperty, SetProperties

_RECORD = "followed"


class Kept(Struct, frozen=True):
    """A property that a replica has otherwise than its master, by somebody's hand. there: the master's own value, ""
    where it has none."""

    name: str
    value: str
    there: str

    @property
    def text(self) -> str:
        there = _shown(self.name, self.there) if self.there else "none"
        return f"{self.name}={_shown(self.name, self.value)} (the master has {there})"


def _shown(name: str, value: str) -> str:
    """A value for a person: a limit as a size, or none."""
    number = whole_number(value) if name in UNINHERITED else None
    return value if number is None else size(number) if number else "none"


def plan_copied_properties(lane: Lane) -> tuple[Change, ...]:
    """Work out what is to be changed on a replica, each property in a step of its own: one that cannot be set there
    keeps no other from it. Nothing where it is still to arrive, with its properties."""
    steps: list[Change] = []
    target, ours = lane.target.name, _recorded(lane)
    for name, wanted, value in _differing(lane):
        if _theirs(name, value, ours):
            continue
        if wanted is None and name not in UNINHERITED:
            steps.append(InheritProperty(End.TARGET, (target,), name))
        else:
            steps.append(SetProperties(End.TARGET, (target,), ((name, "none" if wanted is None else wanted),)))
    return tuple(steps)


def plan_chosen(lane: Lane, chosen: Mapping[str, str]) -> tuple[Change, ...]:
    """Work out what is to be changed on a replica when from now on these properties are not to follow (Role.chosen),
    and others are again: what it is given is set, of the others goes what zrep has set. What an administrator has set
    there stays."""
    ours, before = _recorded(lane), lane.source.role.chosen
    limits = UNINHERITED - {"quota", "refquota"} if lane.target.volume else UNINHERITED
    found = (
        _limited(lane, name, chosen, ours) if name in limits else _unlimited(lane, name, chosen, ours)
        for name in dict.fromkeys((*before, *chosen))
        if name in limits or name not in UNINHERITED
    )
    return tuple(step for step in found if step is not None)


def _limited(lane: Lane, name: str, chosen: Mapping[str, str], ours: Mapping[str, str]) -> Change | None:
    """The same of a limit, which nothing inherits: each member has its own."""
    own, wanted = _own(lane.target, name), chosen.get(name)
    if wanted is None:
        wanted = _text(name, _own(lane.source, name)) or "none"
    elif not wanted and _theirs(name, own, ours):
        return None
    same = (own.value if own and _text(name, own) else "none") == (wanted or "none")
    return None if same else SetProperties(End.TARGET, (lane.target.name,), ((name, wanted or "none"),))


def _unlimited(lane: Lane, name: str, chosen: Mapping[str, str], ours: Mapping[str, str]) -> Change | None:
    """The same of what is inherited: of a tree it is given to the root."""
    own, given = _own(lane.target, name), lane.source.role.chosen.get(name)
    wanted = "" if lane.source.role.within else chosen.get(name, "")
    if wanted:
        same = own is not None and own.value == wanted
        return None if same else SetProperties(End.TARGET, (lane.target.name,), ((name, wanted),))
    if own is None or (_theirs(name, own, ours) and not (given and own.value == given)):
        return None
    return InheritProperty(End.TARGET, (lane.target.name,), name)


def plan_copied_record(lane: Lane) -> tuple[Change, ...]:
    """Record what a replica has set itself because its master has. A value that was recorded and could not follow is
    still zrep's."""
    source, target, ours = lane.source, lane.target, _recorded(lane)
    found: dict[str, str] = {}
    for name in FOLLOWED if lane.base else ():
        value, wanted = _own(target, name), _own(source, name)
        alike = _text(name, wanted) == _text(name, value)
        if value is not None and value.local and (alike or ours.get(name) == _digest(name, value)):
            found[name] = _digest(name, value)
    if found == ours:
        return ()
    name = f"{lane.tag}:{_RECORD}"
    if not found:
        return (InheritProperty(End.TARGET, (target.name,), name),)
    text = ",".join(f"{key}={digest}" for key, digest in sorted(found.items()))
    return (SetProperties(End.TARGET, (target.name,), ((name, text),)),)


def plan_frozen(lane: Lane) -> tuple[Change, ...]:
    """Record on a member of a replica's tree whether its master keeps it read-only, by a value of its own or of another
    member's: a promotion makes all others writable. Of what a relay passes on nothing is known."""
    role, name = lane.source.role, f"{lane.tag}:frozen"
    if not (role.within and role.master and lane.base) or lane.upstream:
        return ()
    frozen = _kept_read_only(lane.source)
    if frozen is lane.target.role.frozen:
        return ()
    if frozen:
        return (SetProperties(End.TARGET, (lane.target.name,), ((name, "on"),)),)
    return (InheritProperty(End.TARGET, (lane.target.name,), name),)


def _kept_read_only(member: Member) -> bool:
    """Whether a member below the root of a master's tree is read-only, and not with that."""
    value, root = member.properties.get("readonly"), member.role.roots[0] if member.role.roots else member.name
    if value is None or value.value != "on":
        return False
    return value.source in ("local", "received") or value.source.startswith(f"inherited from {root}/")


def kept(lane: Lane) -> tuple[Kept, ...]:
    """What the replica has set itself by an administrator's hand, and otherwise than its master."""
    ours = _recorded(lane)
    return tuple(
        Kept(name, value.value, wanted or "")
        for name, wanted, value in _differing(lane)
        if value is not None and _theirs(name, value, ours)
    )


def _differing(lane: Lane) -> list[tuple[str, str | None, Value | None]]:
    """The properties that source and target do not have alike: by name, what the source has set (None: nothing), and
    the target's own value. Without those for which init has chosen."""
    if not lane.base:
        return []
    chosen = lane.source.role.chosen
    names = (name for name in FOLLOWED if name not in chosen)
    found = ((name, _text(name, _own(lane.source, name)), _own(lane.target, name)) for name in names)
    return [(name, wanted, value) for name, wanted, value in found if wanted != _text(name, value)]


def _theirs(name: str, value: Value | None, ours: Mapping[str, str]) -> bool:
    """Whether a replica's own value of a property was set there by an administrator."""
    return value is not None and value.local and ours.get(name) != _digest(name, value)


def _own(member: Member, name: str) -> Value | None:
    """What a dataset has set itself, or received; None for what it inherits, or has by default."""
    value = member.properties.get(name)
    return value if value is not None and value.source in ("local", "received") else None


def _text(name: str, value: Value | None) -> str | None:
    """What an own value comes to: a limit of none is none, however that came."""
    return None if value is None or (name in UNINHERITED and value.value in ("0", "none")) else value.value


def _recorded(lane: Lane) -> dict[str, str]:
    record = lane.target.properties.get(f"{lane.tag}:{_RECORD}")
    words = record.value.split(",") if record is not None and record.local else []
    return {name: digest for name, _, digest in (word.partition("=") for word in words)}


def _digest(name: str, value: Value) -> str:
    """A value as it is recorded: a record has room for many."""
    return f"{crc32((_text(name, value) or 'none').encode('utf-8', 'surrogateescape')):08x}"
