"""Steps on the record of a role change: taken away, or a role made whole from it."""

from __future__ import annotations

from zrep.core.pair import Side, Unit
from zrep.core.role import intent_property, named
from zrep.core.steps import SetProperties, Step


def clear_intent(side: Side, dataset: str, tag: str) -> Step:
    return SetProperties(side, (dataset,), (intent_property(tag, None),))


def plan_whole(side: Side, unit: Unit, tag: str) -> tuple[Step, ...]:
    """A role of which only a part landed, made whole from its record."""
    role = unit.role
    if not (role.partially_applied and role.intent):
        return ()
    return (SetProperties(side, (unit.name,), named(tag, role.intent.role)),)
