"""How two sides stand to each other: decided here and nowhere else, over generation, ancestors and role."""

from __future__ import annotations

from msgspec import Struct

from zrep.core.role import LEGACY, Role


class Relation(Struct, frozen=True):
    """A verdict, with the evidence that messages print. "I" is the first of the two sides compared."""

    mine: Role
    theirs: Role

    def evidence(self) -> str:
        return f"here {_describe(self.mine)}, there {_describe(self.theirs)}"


class Linked(Relation, frozen=True):
    """Same generation, one master: the healthy state."""


class Adoptable(Relation, frozen=True):
    """A pair of the shell zrep whose new generation has reached only the master so far."""


class Stale(Relation, frozen=True):
    """My generation is among their ancestors: the role has moved on without me."""


class PeerStale(Relation, frozen=True):
    """Their generation is among my ancestors."""


class SplitBrain(Relation, frozen=True):
    """Both were promoted from a common ancestor, or both are master of one generation."""


class Interrupted(Relation, frozen=True):
    """Same generation without a master, or only part of a set landed."""


class Unrelated(Relation, frozen=True):
    """Nothing links the two."""


def relate(mine: Role, theirs: Role) -> Relation:
    """The relation of two roles; first match wins (DRBD's generation identifiers are the model).

    A role that is not linked to the other by its four names is Unrelated whatever the generations say.
    """
    if not mine.paired or not theirs.paired:
        return Unrelated(mine, theirs)
    if mine.generation == theirs.generation:
        return _same_generation(mine, theirs)
    if _adoptable(mine, theirs) or _adoptable(theirs, mine):
        return Adoptable(mine, theirs)
    if mine.generation in theirs.parents:
        return Stale(mine, theirs)
    if theirs.generation in mine.parents:
        return PeerStale(mine, theirs)
    if set(mine.parents) & set(theirs.parents):
        return SplitBrain(mine, theirs)
    return Unrelated(mine, theirs)


def _same_generation(mine: Role, theirs: Role) -> Relation:
    if mine.master and theirs.master:
        return SplitBrain(mine, theirs)
    if not mine.master and not theirs.master:
        return Interrupted(mine, theirs)
    if mine.links[1::2] != theirs.links[1::2]:
        return Unrelated(mine, theirs)
    return Linked(mine, theirs)


def _adoptable(master: Role, replica: Role) -> bool:
    """A shell pair half way through getting its first generation: the master has it, the replica is still
    a replica without any. A promoted side would be master, so this cannot be a role that moved."""
    return bool(
        master.master and master.gen and master.parents == (LEGACY,) and not replica.gen and replica.master is not True
    )


def _describe(role: Role) -> str:
    kind = {True: "master", False: "replica", None: "no role"}[role.master]
    return f"{kind} gen {role.gen[:8] or 'none'} epoch {role.epoch if role.epoch is not None else 'none'}"
