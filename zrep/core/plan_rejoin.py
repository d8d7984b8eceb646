"""Planning a rejoin: how an old master becomes a replica again, and what it wrote alone stays readable in a split copy.

The dataset is renamed, a clone of the base takes its name, and promote makes the history up to the base the clone's.
Each sub-step is recognised by name and ``origin``, so a run that is cut anywhere is finished by planning again.
All steps are on the host of the old master, which will be the target of the new one's streams.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from zrep.core.dataset import Member, Snapshot, Value
from zrep.core.names import split_dataset, split_snapshot
from zrep.core.pair import End, Tree
from zrep.core.plan_role import own_readonly, plan_closed, plan_follow
from zrep.core.quantities import size
from zrep.core.role import Intent, Role, intent_property
from zrep.core.steps import (
    Allow,
    Clone,
    InheritProperty,
    PromoteClone,
    Rename,
    SetProperties,
    Step,
    TakeSnapshot,
)

# Not given to the clone: made by zrep for a replica, or impossible to set on an existing dataset.
_NOT_COPIED = frozenset(
    (
        "readonly",
        "canmount",
        "volsize",
        "volblocksize",
        "encryption",
        "keyformat",
        "keylocation",
        "pbkdf2iters",
        "utf8only",
        "normalization",
        "casesensitivity",
    )
)
# Set last: a limit must not stand in the way of the clone, nor count twice while both exist.
_LIMITS = frozenset(["quota", "refquota", "reservation", "refreservation"])
_PROPERTY = "property "
_END = End.TARGET


class Split(Struct, frozen=True):
    """A rejoin that leaves a split copy: the tag of its pair, the dataset's name, the copy's name, and the intent,
    which records all that a later run needs to finish it."""

    tag: str
    name: str
    copy: str
    intent: Intent

    @property
    def base_guid(self) -> str:
        return self.intent.detail["base"]

    @property
    def written(self) -> int:
        """Bytes that were written alone and stay in the copy."""
        return int(self.intent.detail["written"])

    def properties(self, *, limits: bool) -> tuple[tuple[str, str], ...]:
        """Properties to set on the clone; limits: those that are set last."""
        found = ((key.removeprefix(_PROPERTY), value) for key, value in self.intent.detail.items() if " " in key)
        return tuple((name, value) for name, value in found if (name in _LIMITS) is limits)


def new_split(
    tag: str,
    member: Member,
    master: Role,
    base: Snapshot,
    written: int,
    peer: tuple[str, str],
    properties: Mapping[str, Value],
) -> Split:
    """Decide on a split and record what a later run needs to finish it: the base, the peer (its host and dataset: the
    copy loses its links before it loses this record), and every local property to give to the clone.

    master: the role of the new master; written: bytes since the base; properties: all of the dataset's."""
    role = member.role
    copied = {
        f"{_PROPERTY}{key}": value.value
        for key, value in properties.items()
        if value.local and key not in _NOT_COPIED and not key.startswith(f"{tag}:") and "\n" not in value.value
    }
    detail = {"fs": member.name, "base": base.guid, "written": str(written), "host": peer[0], "peer": peer[1]}
    epoch = role.epoch or 0
    intent = Intent("rejoin", master.gen, "split", epoch, {**detail, **copied, **_settings(tag, member)})
    return Split(tag, member.name, split_dataset(member.name, epoch, role.generation), intent)


def _settings(tag: str, member: Member) -> dict[str, str]:
    """What the pair was told to do, kept in the role of the clone."""
    role = member.role
    kept = {
        "savecount": role.savecount,
        "canmount": None if member.volume else member.master_canmount,
        "flags": role.flags,
        "outfilter": role.outfilter,
        "infilter": role.infilter,
        "lease": role.lease,
        "minfree": role.minfree,
        "maxlag": role.max_lag,
    }
    return {f"{_PROPERTY}{tag}:{key}": str(value) for key, value in kept.items() if value}


def find_split(tag: str, name: str, roles: Iterable[tuple[str, Role]]) -> Split | None:
    """Find a rejoin of a dataset that was cut after the record was made, on the dataset or on its copy. roles: those of
    all datasets of its host, by name."""
    for dataset, role in roles:
        intent = role.intent
        if intent and intent.operation == "rejoin" and intent.detail.get("fs") == name:
            copy = dataset if dataset != name else split_dataset(name, intent.epoch, role.generation)
            return Split(tag, name, copy, intent)
    return None


def has_landed(role: Role | None) -> bool:
    """Whether the dataset of a rejoin has its role on the clone: from then on the role may have moved on, and only the
    copy's record is left of the rejoin. A role that landed in part has not, unless it is a later one."""
    if role is None or role.rejoining or not role.gen:
        return False
    return not (role.partially_applied and role.intent is not None and role.intent.operation == "follow")


def plan_become_replica(tag: str, tree: Tree, master: Role) -> tuple[Step, ...]:
    """Take the role as the new master has it, where nothing was written alone; mounting is its business from now on."""
    names = tuple(member.name for member in own_readonly(tree))
    return (
        SetProperties(_END, names, (("readonly", "on"),)),
        *plan_closed(_END, tree, tag),
        *plan_follow(_END, tree.name, tag, master, master, swap=False),
    )


def plan_set_aside(split: Split, member: Member) -> tuple[Step, ...]:
    """Give the role up in the same set that records the intent (which goes first: of a set that lands in part the
    record is what a later run needs); then end the diverged history, and rename."""
    ending = split_snapshot(split.tag, split.intent.epoch)
    give_up = (intent_property(split.tag, split.intent), (f"{split.tag}:master", "no"))
    plan: list[Step] = [SetProperties(_END, (split.name,), give_up)]
    if member.by_name(ending) is None:
        plan.append(TakeSnapshot(_END, split.tag, (f"{split.name}@{ending}",)))
    plan.append(Rename(_END, split.name, split.copy, member.volume))
    return tuple(plan)


def plan_clone(split: Split, copy: Member, base: Snapshot) -> tuple[Step, ...]:
    """Make the copy harmless, so that nothing mounts or writes it, and clone the base under the dataset's own name."""
    quiet = (("readonly", "on"),)
    sealed = quiet if copy.volume else (("canmount", "noauto"), ("mountpoint", "none"), *quiet)
    room = (("refreservation", "none"), ("reservation", "none"))
    own = quiet if copy.volume else (*quiet, ("canmount", "noauto"))
    return (
        SetProperties(_END, (split.copy,), sealed),
        SetProperties(_END, (split.copy,), room),
        Clone(_END, f"{split.copy}@{base.name}", split.name, (*own, *split.properties(limits=False))),
    )


def plan_promote(split: Split, clone: Member) -> tuple[Step, ...]:
    """Make the history up to the base the clone's, unless it is already."""
    return (PromoteClone(_END, split.name),) if clone.get("origin").startswith(split.copy + "@") else ()


def plan_finish(split: Split, copy: Member, delegations: Iterable[tuple[str, ...]], master: Role) -> tuple[Step, ...]:
    """Delegations (a clone has none) and limits, then the role on the clone, then the copy loses its role and says what
    it is. delegations: those of the copy, as the words of ``zfs allow``; master: the role of the new master."""
    limits = split.properties(limits=True)
    return (
        *(Allow(_END, split.name, words) for words in delegations),
        *((SetProperties(_END, (split.name,), limits),) if limits else ()),
        *plan_follow(_END, split.name, split.tag, master, master, swap=False),
        *plan_forget(split, copy),
    )


def plan_forget(split: Split, copy: Member) -> tuple[Step, ...]:
    """Take the role and the record from the copy, the record last: by it a run that was cut here is recognised."""
    text = f"what {split.name} held alone: {size(split.written)}, epoch {split.intent.epoch}"
    mark, record = f"{split.tag}:split", f"{split.tag}:inprogress"
    own = [key for key, value in copy.properties.items() if key.startswith(f"{split.tag}:") and value.local]
    return (
        SetProperties(_END, (split.copy,), ((mark, text),)),
        *(InheritProperty(_END, (split.copy,), key) for key in own if key not in (mark, record)),
        InheritProperty(_END, (split.copy,), record),
    )
