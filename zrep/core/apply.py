"""What datasets look like after a step, said once: for a run that need not read again what it knows, and for -n, which
cannot read what would be there.

Sizes are told as far as they decide something: whether anything was written. Nothing here asks or changes a host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from zrep.core import steps
from zrep.core.dataset import Member, Snapshot, Value, build_member
from zrep.core.errors import FailedError
from zrep.core.pair import End, Pair, Tree

# In the place of a guid that only ZFS can make.
_PLANNED = "planned:"
_UNSET = Value("-", "-")
# The source of what a mount has until it ends, whatever the property says (zfsprops(7)).
_TEMPORARY = "temporary"
_INHERITED = ("readonly", "sharenfs", "sharesmb")
_DEFAULTS = {"readonly": "off", "canmount": "on", "sharenfs": "off", "sharesmb": "off"}
_ONLY_FILESYSTEMS = ("mountpoint", "canmount", "sharenfs", "sharesmb")
_NOTHING: Mapping[str, Snapshot] = {}


def applied(
    tag: str, members: Mapping[str, Member], step: steps.Step, made: Mapping[str, Snapshot] = _NOTHING
) -> dict[str, Member]:
    """Apply a step on one host to its datasets, by name; the others are as they were.

    made: snapshots that the step has made, by full name, as far as they have been read. One that has not gets a guid
    that no snapshot has. FailedError when a dataset or snapshot is not there, or the name is taken."""
    host = _Host(tag, members)
    host.apply(step, made)
    return host.members


def received(
    tag: str, target: Member | None, step: steps.SendStream, source: Member, made: Mapping[str, Snapshot] = _NOTHING
) -> Member:
    """The target of a stream after it has arrived. source: the dataset it comes from; made: as for applied."""
    name = step.snapshot.partition("@")[2]
    sent = source.by_name(name)
    if sent is None:
        raise FailedError("there is no such snapshot to send", evidence=step.snapshot)
    host = _Host(tag, {} if target is None else {step.target: target})
    if target is None:
        host.members[step.target] = _first_received(tag, step, source)
    arrived = made.get(f"{step.target}@{name}") or replace(sent, createtxg=0, holds=frozenset(), sent=None, clones=())
    host.add_snapshot(step.target, arrived)
    host.change(step.target, {key: Value(value, "local") for key, value in step.override})
    host.forget_partial(step.target)
    return host.members[step.target]


def after(pair: Pair, step: steps.Step, made: Mapping[str, Snapshot] = _NOTHING) -> Pair:
    """The pair after a step at one of its ends; a stream changes its target."""
    if isinstance(step, steps.SendStream):
        trees = {lane.target.name: lane for lane in pair.lanes}
        lane = trees[step.target]
        target = received(pair.tag, lane.target, step, lane.source, made)
        return pair.with_tree(End.TARGET, pair.target.with_member(target))
    return pair.with_tree(step.end, tree_after(pair.tag, pair.at(step.end), (step,), made))


def tree_after(tag: str, tree: Tree, done: Iterable[steps.Step], made: Mapping[str, Snapshot] = _NOTHING) -> Tree:
    """A tree after steps on its members, none of which takes one away."""
    found: Mapping[str, Member] = {member.name: member for member in tree.members}
    for step in done:
        found = applied(tag, found, step, made)
    return Tree(tuple(found[member.name] for member in tree.members))


class _Host:
    """The datasets of one host while a step is applied to them."""

    def __init__(self, tag: str, members: Mapping[str, Member]) -> None:
        self.tag = tag
        self.members = dict(members)

    def apply(self, step: steps.Step, made: Mapping[str, Snapshot]) -> None:
        match step:
            case steps.TakeSnapshot(snapshots=names):
                for full in names:
                    self._take(full, made.get(full))
            case steps.Hold(tag=tag, snapshots=names):
                self._each(names, lambda snapshot: replace(snapshot, holds=snapshot.holds | {tag}))
            case steps.Release(tag=tag, snapshots=names):
                self._each(names, lambda snapshot: replace(snapshot, holds=snapshot.holds - {tag}))
            case steps.DestroySnapshots(dataset=dataset, names=names):
                for name in names:
                    self._destroy(dataset, name)
            case steps.RenameSnapshot(snapshot=snapshot, new=new):
                self._each((snapshot,), lambda found: replace(found, name=new.partition("@")[2]))
                self._origins(lambda origin: new if origin == snapshot else origin)
            case steps.SetProperties(targets=targets, properties=properties):
                for target in targets:
                    self._set(target, properties)
            case steps.TakeRole(dataset=dataset, properties=properties):
                self._set(dataset, properties)
            case steps.InheritProperty(targets=targets, name=name, received=as_received):
                for target in targets:
                    self._inherit(target, name, as_received)
            case steps.CreateParent(dataset=dataset):
                self.create(dataset, {"type": Value("filesystem", "-"), "canmount": Value("off", "local")})
            case steps.DiscardPartial(dataset=dataset):
                # What was received for the first time goes with its half.
                if self._get(dataset).snapshots:
                    self.forget_partial(dataset)
                else:
                    del self.members[dataset]
            case steps.Mount(dataset=dataset):
                self.change(dataset, {"mounted": Value("yes", "-")})
            case steps.Unmount(dataset=dataset):
                self.change(dataset, {"mounted": Value("no", "-")})
            case steps.Rename(dataset=dataset, new=new):
                self._rename(dataset, new)
            case steps.Clone(snapshot=snapshot, dataset=dataset, properties=properties):
                self._clone(snapshot, dataset, properties)
            case steps.PromoteClone(dataset=dataset):
                self._promote(dataset)
            case steps.DestroyClone(dataset=dataset):
                origin = self._get(dataset).get("origin")
                self._each((origin,), lambda found: replace(found, clones=_without(found.clones, dataset)))
                del self.members[dataset]
            case steps.Rollback(snapshot=snapshot):
                dataset, _, name = snapshot.partition("@")
                member, base = self._get(dataset), self._snapshot(snapshot)
                kept = tuple(found for found in member.snapshots if found.createtxg <= base.createtxg)
                self.members[dataset] = replace(member, snapshots=kept)
                self.change(dataset, {"written": Value("0", "-")})
            case steps.Dirty(dataset=dataset):
                written = max(1, self._get(dataset).number("written"))
                self.change(dataset, {"written": Value(str(written), "-")})
            case steps.RemountReadOnly(dataset=dataset):
                self.change(dataset, {"readonly": Value("on", _TEMPORARY)})
            case steps.RemountWritable(dataset=dataset):
                if self._get(dataset).properties["readonly"].source == _TEMPORARY:
                    self.change(dataset, {"readonly": self._from_above(dataset, "readonly")})
            case steps.CloseTransactionGroup() | steps.Share() | steps.Allow():
                pass  # nothing that is read of a dataset
            case _:
                raise AssertionError(step)

    # --- datasets ---

    def _get(self, name: str) -> Member:
        if name not in self.members:
            raise FailedError("there is no such dataset", filesystem=name)
        return self.members[name]

    def change(self, name: str, values: Mapping[str, Value]) -> None:
        """Give a dataset other properties; what it is a role of follows from them."""
        member = self._get(name)
        self.members[name] = build_member(self.tag, name, {**member.properties, **values}, member.snapshots)

    def forget_partial(self, name: str) -> None:
        """Nothing is half received any more: the clone that held it is gone too."""
        self.change(name, {"receive_resume_token": _UNSET})
        member = self.members[name]
        snapshots = tuple(replace(s, clones=_without(s.clones, f"{name}/%recv")) for s in member.snapshots)
        self.members[name] = replace(member, snapshots=snapshots)

    def _set(self, target: str, properties: Iterable[tuple[str, str]]) -> None:
        if "@" in target:
            for key, value in properties:
                if key == f"{self.tag}:sent":
                    self._each((target,), lambda found, at=int(value): replace(found, sent=at))  # type: ignore[misc]  # bound now
            return
        given = {key: Value(value, "local") for key, value in properties}
        if given.get("mountpoint", _UNSET).value in ("none", "legacy"):
            given["mounted"] = Value("no", "-")
        self.change(target, given)
        for key in _INHERITED:
            if key in given:
                self._pass_on(target, key)

    def _pass_on(self, dataset: str, key: str) -> None:
        """Let those that inherit a property from a dataset have its value."""
        value = self._get(dataset).properties[key].value
        for name, member in list(self.members.items()):
            own = member.properties.get(key)
            if own is not None and own.source == f"inherited from {dataset}":
                self.change(name, {key: Value(value, own.source)})

    def _inherit(self, target: str, key: str, as_received: bool) -> None:
        if "@" in target:
            if key == f"{self.tag}:sent":
                self._each((target,), lambda found: replace(found, sent=None))
            return
        if as_received:  # which value that is, only ZFS knows
            now = self._get(target).properties.get(key, _UNSET)
            self.change(target, {key: Value(now.value, "received")})
        else:
            self.change(target, {key: self._from_above(target, key)})
        if key in _INHERITED:
            self._pass_on(target, key)

    def _from_above(self, dataset: str, key: str) -> Value:
        """What a dataset has of a property that is not its own: the nearest known ancestor's, or the default."""
        parent = dataset
        while key != "canmount" and "/" in parent:
            parent = parent.rpartition("/")[0]
            above = self.members.get(parent)
            if above is not None and (own := above.properties.get(key, _UNSET)).source in ("local", "received"):
                below = dataset.removeprefix(parent) if key == "mountpoint" and own.value.startswith("/") else ""
                return Value(own.value + below, f"inherited from {parent}")
        if key == "mountpoint":
            return Value(f"/{dataset}", "default")
        return Value(_DEFAULTS[key], "default") if key in _DEFAULTS else _UNSET

    def create(self, name: str, values: Mapping[str, Value]) -> None:
        if name in self.members:
            raise FailedError("it exists already", filesystem=name)
        volume = values["type"].value == "volume"
        inherited = {key: self._from_above(name, key) for key in ("readonly", *(() if volume else _ONLY_FILESYSTEMS))}
        born = {
            **({} if volume else {"mounted": Value("no", "-")}),
            "written": Value("1", "-"),  # its own few blocks
            "used": Value("0", "-"),
            "encryption": Value("off", "default"),
            "origin": _UNSET,
            "receive_resume_token": _UNSET,
            "guid": Value(f"{_PLANNED}{name}", "-"),
        }
        self.members[name] = build_member(self.tag, name, {**inherited, **born, **values}, ())

    def _rename(self, dataset: str, new: str) -> None:
        if new in self.members:
            raise FailedError("the name is taken", filesystem=new)
        self._get(dataset)
        for name in [name for name in self.members if name == dataset or name.startswith(f"{dataset}/")]:
            member = self.members.pop(name)
            now = new + name.removeprefix(dataset)
            values = dict(member.properties)
            if (own := values.get("encryptionroot")) and own.value == name:
                values["encryptionroot"] = Value(now, own.source)
            self.members[now] = build_member(self.tag, now, values, member.snapshots)
            if (place := values.get("mountpoint")) and place.source == "default" and place.value.startswith("/"):
                self.change(now, {"mountpoint": self._from_above(now, "mountpoint")})
        self._origins(lambda origin: new + origin.removeprefix(dataset) if origin.startswith(f"{dataset}@") else origin)

    def _origins(self, renamed: Callable[[str], str]) -> None:
        for name, member in list(self.members.items()):
            origin = member.get("origin")
            if origin != "-" and renamed(origin) != origin:
                self.change(name, {"origin": Value(renamed(origin), "-")})

    def _clone(self, snapshot: str, dataset: str, properties: Iterable[tuple[str, str]]) -> None:
        """A clone has none of the local properties of its origin, and mounts itself unless told otherwise."""
        origin = self._get(snapshot.partition("@")[0])
        self._snapshot(snapshot)
        kept = ("type", "encryption", "encryptionroot", "keystatus", "volsize")
        own = {key: Value(value, "local") for key, value in properties}
        values = {key: value for key, value in origin.properties.items() if key in kept}
        self.create(dataset, {**values, "origin": Value(snapshot, "-"), "written": Value("0", "-"), **own})
        member = self._get(dataset)
        if not member.volume and member.get("canmount") == "on" and member.get("mountpoint").startswith("/"):
            self.change(dataset, {"mounted": Value("yes", "-")})
        self._each((snapshot,), lambda found: replace(found, clones=(*found.clones, dataset)))

    def _promote(self, dataset: str) -> None:
        """The history up to the origin becomes the clone's, with holds and marks; what it was cloned from is a clone
        of it then."""
        clone = self._get(dataset)
        origin = clone.get("origin")
        was, base = self._get(origin.partition("@")[0]), self._snapshot(origin)
        moved = tuple(found for found in was.snapshots if found.createtxg <= base.createtxg)
        self.members[was.name] = replace(was, snapshots=was.after(base))
        self.members[dataset] = replace(clone, snapshots=(*moved, *clone.snapshots))
        now = f"{dataset}@{base.name}"
        self.change(dataset, {"origin": was.properties.get("origin", _UNSET)})
        self.change(was.name, {"origin": Value(now, "-")})
        self._each((now,), lambda found: replace(found, clones=(*_without(found.clones, dataset), was.name)))

    # --- snapshots ---

    def _snapshot(self, full: str) -> Snapshot:
        dataset, _, name = full.partition("@")
        found = self._get(dataset).by_name(name)
        if found is None:
            raise FailedError("there is no such snapshot", filesystem=dataset, evidence=full)
        return found

    def _each(self, names: Iterable[str], change: Callable[[Snapshot], Snapshot]) -> None:
        for full in names:
            one = self._snapshot(full)
            member = self._get(full.partition("@")[0])
            snapshots = tuple(change(found) if found is one else found for found in member.snapshots)
            self.members[member.name] = replace(member, snapshots=snapshots)

    def _take(self, full: str, made: Snapshot | None) -> None:
        dataset, _, name = full.partition("@")
        if self._get(dataset).by_name(name) is not None:
            raise FailedError("the snapshot exists already", filesystem=dataset, evidence=full)
        written = self._get(dataset).number("written")
        self.add_snapshot(dataset, replace(made or Snapshot(name, f"{_PLANNED}{full}", 0), written=written))

    def add_snapshot(self, dataset: str, snapshot: Snapshot) -> None:
        """Put a snapshot after all others: nothing is written after it."""
        member = self._get(dataset)
        newest = max((found.createtxg for found in member.snapshots), default=0)
        if snapshot.createtxg <= newest:
            snapshot = replace(snapshot, createtxg=newest + 1)
        self.members[dataset] = replace(member, snapshots=(*member.snapshots, snapshot))
        self.change(dataset, {"written": Value("0", "-")})

    def _destroy(self, dataset: str, name: str) -> None:
        """What was written before a snapshot counts for the next one, or as written since."""
        gone, member = self._snapshot(f"{dataset}@{name}"), self._get(dataset)
        later = member.after(gone)
        kept = tuple(
            replace(found, written=found.written + gone.written) if later and found is later[0] else found
            for found in member.snapshots
            if found is not gone
        )
        self.members[dataset] = replace(member, snapshots=kept)
        if not later:
            written = member.number("written") + gone.written
            self.change(dataset, {"written": Value(str(written), "-")})


def _first_received(tag: str, step: steps.SendStream, source: Member) -> Member:
    """A dataset that a full stream makes: not mounted, with the properties that travel, if they do."""
    host = _Host(tag, {})
    native = {key: source.properties[key] for key in ("type", "encryption", "volsize") if key in source.properties}
    host.create(step.target, native)
    if {"-p", "--props"} & set(step.options):
        left_out = {*step.exclude, *(key for key, _ in step.override)}
        travels = {
            key: Value(value.value, "received")
            for key, value in source.properties.items()
            if value.source in ("local", "received") and key not in left_out
        }
        host.change(step.target, travels)
    return host.members[step.target]


def _without(names: tuple[str, ...], gone: str) -> tuple[str, ...]:
    return tuple(name for name in names if name != gone)
