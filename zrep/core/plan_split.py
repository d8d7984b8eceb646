"""Planning a split: what an old master wrote alone leaves it for a split copy, and its history up to the base stays.

Each dataset that was written to alone is a *part*: a clone of its base is given everything that is set on it; it is
renamed to its place in the copy, the clone takes its name, promote makes the history up to the base the clone's, and
what lies below it goes back below its name. What was not written to is not touched. What cannot be set again is known
before the role is given up, because it has been set then; and nothing of it needs to be recorded, because the copy has
it until the clone is in its place. Each sub-step is recognised by names, origins and marks, so a run that is cut
anywhere is finished by planning again. All steps are on the host of the old master, which will be the target of the new
one's streams.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from zrep.core.apply import applied
from zrep.core.dataset import Member, Snapshot, Value
from zrep.core.names import LIMITS, ancestors, is_split, rejoin_dataset, split_dataset, split_snapshot
from zrep.core.pair import End
from zrep.core.quantities import size
from zrep.core.role import PREPARED, Intent, Role, intent_property
from zrep.core.steps import (
    Clone,
    CreateParent,
    InheritProperty,
    PromoteClone,
    Rename,
    SetProperties,
    Step,
    TakeSnapshot,
)
from zrep.core.tags import LINKS, properties_of_tags

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
# A set of many properties that fails can land in part: small ones, each of which can be made again. A single value has
# at most 8 KiB.
_SET_BYTES = 4096
_END = End.TARGET
# The bytes of what tells the clones of a tree from each other.
_NUMBER = 9


class Split(Struct, frozen=True):
    """A rejoin that leaves a split copy: the tag of its pair, the dataset's name, the copy's, how the names of the
    clones begin that are to take places in it, and the intent, which records what a later run needs to finish it."""

    tag: str
    name: str
    copy: str
    clone: str
    intent: Intent

    @property
    def written(self) -> int:
        """Bytes that were written alone and stay in the copy."""
        return int(self.intent.detail["written"])

    @property
    def ending(self) -> str:
        """The snapshot that ends the diverged history of each part."""
        return split_snapshot(self.tag, self.intent.epoch)

    @property
    def mark(self) -> tuple[str, str]:
        """What the copy says that it is."""
        return f"{self.tag}:split", f"what {self.name} held alone: {size(self.written)}, epoch {self.intent.epoch}"

    def place(self, name: str) -> str:
        """Where in the copy a member of the tree goes."""
        return self.copy + name.removeprefix(self.name)


class Part(Struct, frozen=True):
    """A dataset that was written to alone: its name, its place in the copy, the clone that is to take its name, and the
    base that this is made of. No base: the other side has nothing of it, so that it only leaves."""

    name: str
    copy: str
    clone: str
    base: Snapshot | None


def new_split(tag: str, root: Member, master: Role, written: int, peer: tuple[str, str], room: int) -> Split:
    """Decide on a split and record what a later run needs to finish it. master: the role of the new master; written:
    bytes since the bases; peer: the new master's host and dataset, for a copy loses its links before it loses this
    record; room: the most bytes that follow in a name after that of the copy."""
    role, epoch = root.role, root.role.epoch or 0
    copy = split_dataset(root.name, epoch, role.generation, room)
    clone = rejoin_dataset(root.name, epoch, role.generation, _NUMBER)
    detail = {"fs": root.name, "written": str(written), "host": peer[0], "peer": peer[1]}
    intent = Intent("rejoin", master.gen, "split", epoch, {**detail, "copy": copy, "clone": clone})
    return Split(tag, root.name, copy, clone, intent)


def room_for(tag: str, root: Member, parts: Iterable[Member]) -> int:
    """The most bytes that follow in a name of the copy, or of something in it, after the copy's own."""
    ending = split_snapshot(tag, root.role.epoch or 0)
    names = [(part.name, [ending, *(snapshot.name for snapshot in part.snapshots)]) for part in parts]
    return max(len(name) - len(root.name) + 1 + max(map(len, own)) for name, own in names)


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
            if is_split(copy, name, intent.epoch):
                return Split(tag, name, copy, intent.detail.get("clone", ""), intent)
    return None


# --- which datasets ---


def with_key_holders(written: Collection[str], members: Iterable[Member]) -> set[str]:
    """Those of a tree that were written to, and those that hold their keys: ZFS renames none out of where it has its
    key from (dsl_dir_rename_crypt_check() in dsl_crypt.c)."""
    root_of = {member.name: member.get("encryptionroot") for member in members}
    return {*written, *(root_of[name] for name in written if root_of[name] in root_of)}


def leaving(written: Collection[str], members: Collection[Member]) -> set[str]:
    """Those of a tree that leave it where these were written to: with what holds their keys, and with what lies between
    two of them of which the outer one is encrypted. In a copy that is encrypted nothing can be made for what lies
    deeper: its key is loaded no more once it is one."""
    encrypted = {member.name for member in members if member.encrypted}
    found: set[str] = set()
    more = set(written)
    while found != more:
        found = with_key_holders(more, members)
        above = {name for part in found for name in ancestors(part)}
        between = (m.name for m in members if m.name in above and encrypted & found & set(ancestors(m.name)))
        more = {*found, *between}
    return found


def new_parts(split: Split, members: Iterable[Member], bases: Mapping[str, Snapshot]) -> tuple[Part, ...]:
    """The parts of a split that has still to begin. bases: of each what the other side has of it, by name."""
    found = []
    for number, member in enumerate(sorted(members, key=lambda member: member.name.split("/"))):
        folder = member.name.rpartition("/")[0] if _is_key_holder(member) else ""
        clone = _clone_name(split, member.name, number, folder)
        found.append(Part(member.name, split.place(member.name), clone, bases.get(member.name)))
    return tuple(found)


def _is_key_holder(member: Member) -> bool:
    """Whether it is an encryption root: its clones have their key from it, and until one is promoted ZFS renames it
    only where it is (dsl_dir_rename_crypt_check() in dsl_crypt.c)."""
    return member.get("encryptionroot") == member.name


def _clone_name(split: Split, name: str, number: int, folder: str) -> str:
    """What the clone is called that is to take a name: beside the tree's root, or in the folder that is given."""
    if name == split.name:
        return split.clone
    base = f"{folder}/{split.clone.rpartition('/')[2]}" if folder else split.clone
    return f"{base}_{number:x}"


def found_parts(
    split: Split, there: Mapping[str, Member], clones: Mapping[str, str], known: Mapping[str, Snapshot]
) -> tuple[Part, ...]:
    """The parts of a split that has begun: what has the snapshot that ends its history, at its place in the copy or
    still under its name. there: all datasets at and below both names; clones: those that were prepared, by the names
    that they are to take; known: of each dataset what the other side has of it."""
    found = []
    for name, member in there.items():
        if member.by_name(split.ending) is None:
            continue
        inside = f"{name}/".startswith(f"{split.copy}/")
        own = split.name + name.removeprefix(split.copy) if inside else name
        found.append(own)
    parts = []
    for number, own in enumerate(sorted(found, key=lambda name: name.split("/"))):
        copy = split.place(own)
        at = copy if copy in there else own
        beside = own if own.rpartition("/")[0] in there else copy
        folder = beside.rpartition("/")[0] if _is_key_holder(there[at]) else ""
        clone = clones.get(own) or _clone_name(split, own, number, folder)
        parts.append(Part(own, copy, clone, known.get(at) or known.get(clone)))
    return tuple(parts)


# --- the clones ---


def prepared_for(mark: str) -> str:
    """The name of the dataset whose place a clone is to take, by its mark; "" for any other mark."""
    return mark.removeprefix(f"{PREPARED} ").partition(",")[0] if mark.startswith(f"{PREPARED} ") else ""


def plan_clone(split: Split, part: Part, base: str, *, volume: bool) -> Clone:
    """Clone the base of a part: read-only, never mounted, and with a mark that says what it is. base: its name in full,
    wherever it is by now."""
    text = f"{PREPARED} {part.name}, which has not come about: zfs destroy {part.clone}"
    quiet = ((f"{split.tag}:split", text), ("readonly", "on"))
    return Clone(_END, base, part.clone, quiet if volume else (*quiet, ("canmount", "noauto")))


def plan_settings(tag: str, clone: str, member: Member, own: Mapping[str, Value]) -> tuple[SetProperties, ...]:
    """Give the clone what is set on the dataset: one native property after the other, so that it is known which of them
    cannot be, zoned last: it keeps mountpoint and shares from being set; then user properties, the limits that are to
    be set last among them."""
    values = {**copied(tag, own), **_settings(tag, member)}
    if limits := ",".join(f"{name}={_settable(own[name].value)}" for name in _LIMITS if name in own):
        values[f"{tag}:{LIMITS}"] = limits
    native = sorted((key for key in values if ":" not in key), key=lambda key: key in ("zoned", "jailed"))
    alone = [[(key, values[key])] for key in native]
    users = _bounded([(key, value) for key, value in values.items() if ":" in key])
    return tuple(SetProperties(_END, (clone,), tuple(part)) for part in (*alone, *users))


def _settable(value: str) -> str:
    return "none" if value == _NO_LIMIT else value


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
        "maxlag": _said(role.max_lag),
        "after": _said(role.after),
        "foreign": ",".join(role.foreign),
        "compress": role.compress,
        "bwlimit": role.bwlimit,
        "unsent": "drop" if role.drop_unsent else "",
        "driver": role.driver,
        "keep": role.keep,
        "props": role.props,
        "recursive": "on" if role.recursive else None,
        "allsnaps": "on" if role.all_snapshots else None,
    }
    return {f"{tag}:{key}": str(value) for key, value in kept.items() if value}


def _said(seconds: int | None) -> str:
    """Of a time 0 is a choice too."""
    return "" if seconds is None else str(seconds)


def copied(tag: str, own: Mapping[str, Value]) -> dict[str, str]:
    """Of what is set on a dataset, or was received there, what the clone is given before it takes its name: not what it
    is under other tags, see plan_other_tags."""
    roles = set(properties_of_tags(own))
    return {
        key: value.value
        for key, value in own.items()
        if value.source in ("local", "received") and key not in (*_NOT_COPIED, *_LIMITS)
        if not key.startswith(f"{tag}:") and key not in roles
    }


def plan_other_tags(tag: str, copy: str, own: Mapping[str, Value], name: str) -> tuple[Step, ...]:
    """What a dataset that was split is under other tags goes along with its name, from its copy: it is a source there
    as before, or a relay. Of a set that lands in part the links come last, and from the copy they go first.

    own: what is set on the copy; name: the dataset."""
    found = [key for key in properties_of_tags(own) if own[key].local and not key.startswith(f"{tag}:")]
    links = [key for key in found if key.rpartition(":")[2] in LINKS]
    values = [(key, own[key].value) for key in (*(key for key in found if key not in links), *links)]
    steps: list[Step] = [SetProperties(_END, (name,), tuple(part)) for part in _bounded(values)]
    steps += [InheritProperty(_END, (copy,), key) for key in (*links, *(key for key in found if key not in links))]
    return tuple(steps)


def received(tag: str, own: Mapping[str, Value]) -> list[str]:
    """Of those, and of the limits, the ones that were received: no command of zfs sets a received value, so that the
    clone has them itself."""
    limits = (name for name in _LIMITS if name in own)
    return [key for key in (*copied(tag, own), *limits) if own[key].source == "received"]


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


def plan_limits(name: str, limits: str) -> tuple[SetProperties, ...]:
    """Quotas and reservations, as a clone remembers them, one after the other: there may be no room for a reservation
    beside the copy."""
    pairs = (limit.partition("=") for limit in limits.split(",") if limit)
    return tuple(SetProperties(_END, (name,), ((key, value),)) for key, _, value in pairs if key in _LIMITS)


# --- the exchange ---


def plan_give_up(split: Split, parts: Iterable[str]) -> tuple[Step, ...]:
    """Give the role up in the same set that records the intent (which goes first: of a set that lands in part the
    record is what a later run needs); then end the diverged history of all parts at one moment: by that they are
    recognised."""
    return (
        SetProperties(_END, (split.name,), (intent_property(split.tag, split.intent), (f"{split.tag}:master", "no"))),
        TakeSnapshot(_END, split.tag, tuple(f"{name}@{split.ending}" for name in parts)),
    )


class _Plan:
    """Steps, and what the datasets of the host look like after them."""

    def __init__(self, tag: str, there: Mapping[str, Member]) -> None:
        self.tag = tag
        self.there = dict(there)
        self.steps: list[Step] = []
        self._moved: list[tuple[str, str]] = []

    def do(self, *steps: Step) -> None:
        for step in steps:
            self.there = applied(self.tag, self.there, step)
            self.steps.append(step)

    def rename(self, name: str, new: str) -> None:
        self.do(Rename(_END, name, new, self.there[name].volume))
        self._moved.append((name, new))

    def now(self, name: str) -> str:
        """What a dataset is called by now that had a name when this began."""
        for old, new in self._moved:
            if f"{name}/".startswith(f"{old}/"):
                name = new + name.removeprefix(old)
        return name


def plan_exchange(split: Split, parts: Iterable[Part], there: Mapping[str, Member]) -> tuple[Step, ...]:
    """From wherever it stands, the outer ones first: each part leaves for its place in the copy, with all below it; its
    clone takes its name and history; what is below it and no part itself goes back. A clone that was carried along, as
    it lies beside an encryption root, has the history before it takes the name: it is the encryption root then, and can
    be moved. Nothing is unmounted by that (rename -u). there: every dataset at and below the names of the tree and the
    copy, and the clones."""
    plan = _Plan(split.tag, there)
    parts = sorted(parts, key=lambda part: part.name.split("/"))
    names = {part.name for part in parts}
    for part in parts:
        if part.copy not in plan.there:
            _make_room(plan, split, part, contains_root=split.name in names)
            plan.rename(part.name, part.copy)
        clone = plan.now(part.clone)
        if clone in plan.there and part.name not in plan.there:
            carried = f"{clone}/".startswith(f"{split.copy}/")
            if carried and plan.there[clone].get("origin").startswith(f"{part.copy}@"):
                plan.do(PromoteClone(_END, clone))
            plan.rename(clone, part.name)
        live = plan.there.get(part.name)
        if live is not None and live.get("origin").startswith(f"{part.copy}@"):
            plan.do(PromoteClone(_END, part.name))
        for below in [name for name in plan.there if name.rpartition("/")[0] == part.copy]:
            back = part.name + below.removeprefix(part.copy)
            if (
                back not in names
                and below not in {plan.now(each.clone) for each in parts}
                and back not in plan.there
                and part.name in plan.there
            ):
                plan.rename(below, back)
        plan.do(*_sealed(plan.there[part.copy]))
    return tuple(plan.steps)


def _make_room(plan: _Plan, split: Split, part: Part, *, contains_root: bool) -> None:
    """What a part lies below in the copy: the copy of another part, or something empty that is there for that."""
    above = [name for name in ancestors(part.copy) if f"{name}/".startswith(f"{split.copy}/")]
    for name in above:
        if name not in plan.there:
            plan.do(CreateParent(_END, name))
        if name == split.copy and not contains_root and not plan.there[name].role.split:
            # Nothing in it finds a place to be mounted, whatever is done with it.
            plan.do(SetProperties(_END, (name,), (("mountpoint", "none"), ("readonly", "on"), split.mark)))


def _sealed(copy: Member) -> tuple[Step, ...]:
    """Make a part harmless, so that nothing mounts or writes it; only now: until its clone had its name, what was set
    on it was not to be lost, and what was mounted below it has gone back."""
    quiet = (("readonly", "on"),)
    sealed = quiet if copy.volume else (("canmount", "noauto"), ("mountpoint", "none"), *quiet)
    room = (("refreservation", "none"), ("reservation", "none"))
    return (SetProperties(_END, (copy.name,), sealed), SetProperties(_END, (copy.name,), room))
