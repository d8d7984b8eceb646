"""Steps on the record of a role change: taken away, or a role made whole from it."""

from __future__ import annotations

from zrep.core.dataset import Member
from zrep.core.pair import End, Pair, Tree
from zrep.core.place import NOWHERE, learned
from zrep.core.role import intent_property, named
from zrep.core.steps import SetProperties, Step


def clear_intent(end: End, dataset: str, tag: str) -> Step:
    return SetProperties(end, (dataset,), (intent_property(tag, None),))


def plan_places(pair: Pair) -> tuple[Step, ...]:
    """Let both halves remember where they and each other are, as far as they do not: a pair that was made before."""
    ends = ((End.SOURCE, pair.source, pair.target), (End.TARGET, pair.target, pair.source))
    steps = []
    for end, own, other in ends:
        places = learned(own.role.places, own.members[0].place, other.members[0].place)
        if places not in (own.role.places, f"{NOWHERE} {NOWHERE}"):
            steps.append(SetProperties(end, (own.name,), ((f"{pair.tag}:places", places),)))
    return tuple(steps)


def plan_complete_role(end: End, holder: Tree | Member, tag: str) -> tuple[Step, ...]:
    """Make a role of which only a part landed whole, from its record. holder: what has the role."""
    role = holder.role
    if not (role.partially_applied and role.intent):
        return ()
    return (SetProperties(end, (holder.name,), named(tag, role.intent.role)),)
