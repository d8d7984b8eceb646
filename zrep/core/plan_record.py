"""Steps on the record of a role change: taken away, or a role made whole from it."""

from __future__ import annotations

from zrep.core.dataset import Member
from zrep.core.pair import End, Tree
from zrep.core.role import intent_property, named
from zrep.core.steps import SetProperties, Step


def clear_intent(end: End, dataset: str, tag: str) -> Step:
    return SetProperties(end, (dataset,), (intent_property(tag, None),))


def plan_complete_role(end: End, holder: Tree | Member, tag: str) -> tuple[Step, ...]:
    """Make a role of which only a part landed whole, from its record. holder: what has the role."""
    role = holder.role
    if not (role.partially_applied and role.intent):
        return ()
    return (SetProperties(end, (holder.name,), named(tag, role.intent.role)),)
