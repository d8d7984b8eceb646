"""Planning where a replica's members have their keys from: as on the master, from what they lie below, or their own.

What comes raw for the first time is an encryption root of its own. Made to inherit, one key opens all of them. A key
that was changed on the master comes with the next stream of each member, and nothing counts as written by it.
"""

from __future__ import annotations

from collections.abc import Iterable

from zrep.core.dataset import Member
from zrep.core.names import ancestors
from zrep.core.pair import End, Pair
from zrep.core.steps import PlaceKey

_NO_SALT = ("-", "0")


def key_changed(source: Member, target: Member) -> bool:
    """Whether the passphrase of what is sent raw was changed since the last stream, which alone brings it. Nothing
    tells of another kind of key."""
    salts = source.get("pbkdf2salt"), target.get("pbkdf2salt")
    return source.sent_raw and salts[0] != salts[1] and not set(salts) & set(_NO_SALT)


def plan_kept_keys(end: End, left: Iterable[Member]) -> tuple[PlaceKey, ...]:
    """Work out which of the datasets that have left a tree, and follow no master any more, have their key from one in
    the tree: the next stream of that may bring it another key, which would never open them. They get one of their own,
    the one that they have; what lies below one of them and inherits it goes along.

    A clone has what its origin has, and has it after a change too; what has clones would take them along."""
    outer_first = sorted(left, key=lambda member: member.name.split("/"))
    names = {member.name for member in outer_first}
    placed: dict[str, str] = {}
    for member in outer_first:
        root = member.get("encryptionroot")
        goes_along = any(placed.get(name) == root for name in ancestors(member.name))
        related = member.get("origin") != "-" or any(snapshot.clones for snapshot in member.snapshots)
        if member.encrypted and root not in names and not (goes_along or related):
            placed[member.name] = root
    return tuple(PlaceKey(end, name, own=True) for name in placed)


def plan_keys(pair: Pair) -> tuple[PlaceKey, ...]:
    """Work out which members of the target have a key of their own and should inherit it, or inherit one and should
    have their own; those that others lie in first, for their key is what these inherit."""
    here = {member.name: member for member in pair.source.members}
    root = {member.name: member.get("encryptionroot") for member in pair.target.members}
    partner = pair.partners
    steps: list[PlaceKey] = []
    for lane in pair.lanes[1:]:
        source, target = lane.source, lane.target
        if lane.base is None or not (source.sent_raw and target.encrypted):
            continue
        above, parent = source.name.rpartition("/")[0], target.name.rpartition("/")[0]
        own = source.get("encryptionroot") == source.name
        inherits = above in here and here[above].get("encryptionroot") == source.get("encryptionroot")
        placed = partner.get(above) == parent and root.get(parent, "-") != "-"
        if own and root[target.name] != target.name:
            steps.append(PlaceKey(End.TARGET, target.name, own=True))
            root[target.name] = target.name
        elif inherits and placed and root[target.name] == target.name:
            steps.append(PlaceKey(End.TARGET, target.name))
            root[target.name] = root[parent]
    return tuple(steps)
