"""Planning a rejoin: how an old master becomes a replica again, and what it wrote alone stays readable in a split copy.

A clone of the base is given everything that is set on the dataset; the dataset is renamed, the clone takes its name,
and promote makes the history up to the base the clone's. What cannot be set again is known before the role is given up,
because it has been set then; and nothing of it needs to be recorded, because the copy has it until the clone is in its
place. Each sub-step is recognised by name, so a run that is cut anywhere is finished by planning again.
All steps are on the host of the old master, which will be the target of the new one's streams.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from zrep.core.dataset import Member, Snapshot, Value
from zrep.core.names import rejoin_dataset, split_dataset, split_snapshot
from zrep.core.pair import End, Tree
from zrep.core.plan_role import own_readonly, plan_closed, plan_follow
from zrep.core.quantities import size
from zrep.core.role import PREPARED, Intent, Role, intent_property
from zrep.core.steps import (
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
# Set last: a limit must not stand in the way of the promote, nor count twice while both exist.
_LIMITS = ("quota", "refquota", "reservation", "refreservation")
# So zfs prints that there is none (-p), and refuses to set it so (zprop_parse_value() in libzfs_util.c).
_NO_LIMIT = "0"
_LIMIT = "limit "
# A set of many properties that fails can land in part: small ones, each of which can be made again. A single value has
# at most 8 KiB.
_SET_BYTES = 4096
_END = End.TARGET


class Split(Struct, frozen=True):
    """A rejoin that leaves a split copy: the tag of its pair, the dataset's name, the copy's, that of the clone that
    will have the dataset's, and the intent, which records all that a later run needs to finish it."""

    tag: str
    name: str
    copy: str
    clone: str
    intent: Intent

    @property
    def base_guid(self) -> str:
        return self.intent.detail["base"]

    @property
    def written(self) -> int:
        """Bytes that were written alone and stay in the copy."""
        return int(self.intent.detail["written"])

    @property
    def limits(self) -> tuple[tuple[str, str], ...]:
        """Quotas and reservations to set on the clone: the copy gives up its own."""
        found = self.intent.detail
        return tuple((name, found[_LIMIT + name]) for name in _LIMITS if _LIMIT + name in found)


def new_split(
    tag: str,
    member: Member,
    master: Role,
    base: Snapshot,
    written: int,
    peer: tuple[str, str],
    own: Mapping[str, Value],
) -> Split:
    """Decide on a split and record what a later run needs to finish it: the base, the peer (its host and dataset: the
    copy loses its links before it loses this record), and the limits.

    master: the role of the new master; written: bytes since the base; own: what is set on the dataset, or was received
    there."""
    role, epoch = member.role, member.role.epoch or 0
    room = 1 + max(len(name) for name in (split_snapshot(tag, epoch), *(s.name for s in member.snapshots)))
    copy = split_dataset(member.name, epoch, role.generation, room)
    clone = rejoin_dataset(member.name, epoch, role.generation)
    limits = {_LIMIT + name: _settable(name, own[name].value) for name in _LIMITS if name in own}
    detail = {"fs": member.name, "base": base.guid, "written": str(written), "host": peer[0], "peer": peer[1]}
    names = {"copy": copy, "clone": clone}
    intent = Intent("rejoin", master.gen, "split", epoch, {**detail, **names, **limits})
    return Split(tag, member.name, copy, clone, intent)


def _settable(name: str, value: str) -> str:
    return "none" if name in _LIMITS and value == _NO_LIMIT else value


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
        "driver": role.driver,
        "keep": role.keep,
    }
    return {f"{tag}:{key}": str(value) for key, value in kept.items() if value}


def copied(tag: str, own: Mapping[str, Value]) -> dict[str, str]:
    """Of what is set on a dataset, or was received there, what the clone is given before it takes its name."""
    return {
        key: value.value
        for key, value in own.items()
        if value.source in ("local", "received") and key not in (*_NOT_COPIED, *_LIMITS)
        if not key.startswith(f"{tag}:")
    }


def received(tag: str, own: Mapping[str, Value]) -> list[str]:
    """Of those, and of the limits, the ones that were received: no command of zfs sets a received value, so that the
    clone has them itself."""
    limits = (name for name in _LIMITS if name in own)
    return [key for key in (*copied(tag, own), *limits) if own[key].source == "received"]


def is_prepared(split: Split, member: Member) -> bool:
    """Whether a dataset is the clone that an earlier run has prepared."""
    return member.role.split.startswith(f"{PREPARED} {split.name},") and member.get("origin") != "-"


def plan_clone(split: Split, member: Member, base: Snapshot) -> Clone:
    """Clone the base beside the dataset (or its copy, once that has been renamed): read-only, never mounted, and with
    a mark that says what it is."""
    text = f"{PREPARED} {split.name}, which has not come about: zfs destroy {split.clone}"
    quiet = ((f"{split.tag}:split", text), ("readonly", "on"))
    own = quiet if member.volume else (*quiet, ("canmount", "noauto"))
    return Clone(_END, f"{member.name}@{base.name}", split.clone, own)


def plan_settings(split: Split, member: Member, own: Mapping[str, Value]) -> tuple[SetProperties, ...]:
    """Give the clone what is set on the dataset: one native property after the other, so that it is known which of them
    cannot be, zoned last: it keeps mountpoint and shares from being set; then user properties."""
    values = {**copied(split.tag, own), **_settings(split.tag, member)}
    native = sorted((key for key in values if ":" not in key), key=lambda key: key in ("zoned", "jailed"))
    alone = [[(key, values[key])] for key in native]
    users = _bounded([(key, value) for key, value in values.items() if ":" in key])
    return tuple(SetProperties(_END, (split.clone,), tuple(part)) for part in (*alone, *users))


def _bounded(properties: Iterable[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    parts: list[list[tuple[str, str]]] = []
    size_of_last = 0
    for key, value in properties:
        bytes_of_it = len(key) + len(value.encode("utf-8", "surrogateescape"))
        if not parts or size_of_last + bytes_of_it > _SET_BYTES:
            parts.append([])
            size_of_last = 0
        parts[-1].append((key, value))
        size_of_last += bytes_of_it
    return parts


def find_split(tag: str, name: str, roles: Iterable[tuple[str, Role]]) -> Split | None:
    """Find a rejoin of a dataset that was cut after the record was made, on the dataset or on its copy, which is beside
    it: a record that is anywhere else is of somebody who may set properties there. roles: those of all datasets of its
    host, by name."""
    for dataset, role in roles:
        intent = role.intent
        if dataset.rpartition("/")[0] != name.rpartition("/")[0]:
            continue
        if intent and intent.operation == "rejoin" and intent.detail.get("fs") == name:
            copy = dataset if dataset != name else intent.detail.get("copy", "")
            return Split(tag, name, copy, intent.detail.get("clone", ""), intent)
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


def plan_take_place(split: Split, *, volume: bool) -> tuple[Step, ...]:
    """Give the clone the name of the dataset, which is the copy by now."""
    return (Rename(_END, split.clone, split.name, volume),)


def plan_seal(split: Split, copy: Member) -> tuple[Step, ...]:
    """Make the copy harmless, so that nothing mounts or writes it; only now: until the clone had its name, what was set
    on the copy was not to be lost."""
    quiet = (("readonly", "on"),)
    sealed = quiet if copy.volume else (("canmount", "noauto"), ("mountpoint", "none"), *quiet)
    room = (("refreservation", "none"), ("reservation", "none"))
    return (SetProperties(_END, (split.copy,), sealed), SetProperties(_END, (split.copy,), room))


def plan_promote(split: Split, clone: Member) -> tuple[Step, ...]:
    """Make the history up to the base the clone's, unless it is already."""
    return (PromoteClone(_END, split.name),) if clone.get("origin").startswith(split.copy + "@") else ()


def plan_limits(split: Split) -> tuple[SetProperties, ...]:
    """One after the other: there may be no room for a reservation beside the copy."""
    return tuple(SetProperties(_END, (split.name,), (limit,)) for limit in split.limits)


def plan_finish(split: Split, copy: Member, master: Role) -> tuple[Step, ...]:
    """The role on the clone, then the copy loses its role and says what it is. master: the role of the new master."""
    return (
        InheritProperty(_END, (split.name,), f"{split.tag}:split"),
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
