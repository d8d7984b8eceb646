"""A role as ZFS properties: how it is written, and made whole when only a part of it landed."""

from __future__ import annotations

from collections.abc import Mapping

from zrep.core.state import Intent, Role, Side, Unit
from zrep.core.steps import SetProperties, Step


def intent_property(tag: str, intent: Intent | None) -> tuple[str, str]:
    return (f"{tag}:inprogress", intent.text() if intent else "")


def clear_intent(side: Side, dataset: str, tag: str) -> Step:
    return SetProperties(side, (dataset,), (intent_property(tag, None),))


def role_values(
    role: Role, *, master: bool, swap: bool, epoch: int, gen: str, parents: tuple[str, ...]
) -> dict[str, str]:
    """The properties of a role that its changes change, by short name. swap: direction reversed."""
    src_host, src_fs, dest_host, dest_fs = role.links
    if swap:
        src_host, src_fs, dest_host, dest_fs = dest_host, dest_fs, src_host, src_fs
    return {
        "src-host": src_host,
        "src-fs": src_fs,
        "dest-host": dest_host,
        "dest-fs": dest_fs,
        "epoch": str(epoch),
        "gen": gen,
        "parent": ",".join(parents),
        "master": "yes" if master else "no",
    }


def named(tag: str, values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Properties by full name: one set of them, only short user properties, is one transaction. Should it land in part
    all the same, the first ones have: a side stops being master before, and becomes it after all else. Whoever reads
    the properties without their record then sees no second master of a generation."""
    others = {name: value for name, value in values.items() if name != "master"}
    master = {name: value for name, value in values.items() if name == "master"}
    ordered = {**others, **master} if values.get("master") == "yes" else {**master, **others}
    return tuple((f"{tag}:{name}", value) for name, value in ordered.items())


# Of a side that is promoted without its peer, until it has met it.
ALONE = {"alone": "yes"}


def role_properties(tag: str, operation: str, identity: str, values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """One set of a new role, its record first: of a set that lands in part, the record decides (see Intent)."""
    return (intent_property(tag, Intent(operation, identity, role=values)), *named(tag, values))


def plan_whole(side: Side, unit: Unit, tag: str) -> tuple[Step, ...]:
    """A role of which only a part landed, made whole from its record."""
    role = unit.role
    if not (role.torn and role.intent):
        return ()
    return (SetProperties(side, (unit.name,), named(tag, role.intent.role)),)


def next_epoch(*roles: Role) -> int:
    return 1 + max((role.epoch or 0 for role in roles), default=0)
