"""The datasets of one host while steps are applied to them: what ZFS makes of each step, as far as it is read.

Nothing here asks or changes a host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from zrep.core import steps
from zrep.core.dataset import Member, Snapshot, Value, build_member, role_of
from zrep.core.errors import FailedError
from zrep.core.names import MADE, RELAYED, SENT

# In the place of a guid that only ZFS can make.
_PLANNED = "planned:"
_UNSET = Value("-", "-")
# The source of what a mount has until it ends, whatever the property says (zfsprops(7)).
_TEMPORARY = "temporary"
# What is handed down to the datasets below, of what is read.
_INHERITED = ("mountpoint", "readonly", "sharenfs", "sharesmb")
_DEFAULTS = {"readonly": "off", "canmount": "on", "sharenfs": "off", "sharesmb": "off"}
_ONLY_FILESYSTEMS = ("mountpoint", "canmount", "sharenfs", "sharesmb")
_ENCRYPTION = ("encryption", "encryptionroot", "keystatus", "pbkdf2salt")
_UNCHANGED: Mapping[str, Value] = {}


class HostState:
    """The datasets of one host, by name, and what becomes of them. Every change raises FailedError where ZFS would
    refuse it: a dataset or snapshot is not there, a name is taken, a snapshot is held, cloned or not the newest."""

    def __init__(self, tag: str, members: Mapping[str, Member]) -> None:
        self.tag = tag
        self.members = dict(members)

    def apply(self, step: steps.Step, made: Mapping[str, Snapshot]) -> None:
        match step:
            case steps.TakeSnapshot(tag=tag, snapshots=names):
                for full in names:
                    self._take(full, made.get(full), marked=tag == self.tag)
            case steps.Hold(tag=tag, snapshots=names):
                self._each(names, lambda snapshot: replace(snapshot, holds=snapshot.holds | {tag}))
            case steps.Release(tag=tag, snapshots=names):
                self._each(names, lambda snapshot: replace(snapshot, holds=snapshot.holds - {tag}))
            case steps.DestroySnapshots(dataset=dataset, names=names):
                for name in names:
                    self._destroy(dataset, name)
            case steps.Bookmark(snapshot=snapshot, bookmark=bookmark):
                self._bookmark(snapshot, bookmark)
            case steps.DestroyBookmark(bookmark=bookmark):
                dataset, _, name = bookmark.partition("#")
                member = self._get(dataset)
                left = tuple(mark for mark in member.bookmarks if mark.name != name)
                self.members[dataset] = replace(member, bookmarks=left)
            case steps.RenameSnapshot(snapshot=snapshot, new=new):
                self.refuse_taken(new)
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
                if not self._get(dataset).token:
                    raise FailedError("nothing is half received", filesystem=dataset)
                # What was received for the first time goes with its half.
                if self._get(dataset).snapshots:
                    self.forget_partial(dataset)
                else:
                    del self.members[dataset]
            case steps.Mount(dataset=dataset):
                self.change(dataset, self._mounted_anew(dataset))
            case steps.Unmount(dataset=dataset):
                self._unmount(dataset)
            case steps.Rename(dataset=dataset, new=new):
                self._rename(dataset, new)
            case steps.Clone(snapshot=snapshot, dataset=dataset, properties=properties):
                self._clone(snapshot, dataset, properties)
            case steps.PromoteClone(dataset=dataset):
                self._promote(dataset)
            case steps.PlaceKey(dataset=dataset, own=own):
                self._place_key(dataset, own=own)
            case steps.DestroyClone(dataset=dataset):
                self._destroy_clone(dataset)
            case steps.DestroyAside(dataset=dataset, since=since):
                if self._get(dataset).role.gone != since:
                    raise FailedError("it was not set aside then", filesystem=dataset)
                self._destroy_clone(dataset)
            case steps.Rollback(snapshot=snapshot):
                self._rollback(snapshot)
            case steps.Dirty(dataset=dataset, volsize=volsize):
                self._dirty(dataset, {"volsize": Value(volsize, "local")} if volsize else {})
            case steps.RemountReadOnly(dataset=dataset):
                self._remount(dataset, "on")
            case steps.RemountWritable(dataset=dataset):
                self._remount(dataset, "off")
            case steps.CloseTransactionGroup() | steps.ReplayLog() | steps.Share() | steps.Allow():
                pass  # nothing that is read of a dataset
            case _:
                raise AssertionError(step)

    # --- datasets ---

    def _get(self, name: str) -> Member:
        if name not in self.members:
            raise FailedError("there is no such dataset", filesystem=name)
        return self.members[name]

    def change(self, name: str, values: Mapping[str, Value]) -> None:
        """Give a dataset other properties; its role follows from those of the tag."""
        member = self._get(name)
        properties = {**member.properties, **values}
        changes_role = any(key.startswith(f"{self.tag}:") for key in values)
        role = role_of(self.tag, name, properties) if changes_role else member.role
        self.members[name] = replace(member, properties=properties, role=role)

    def forget_partial(self, name: str) -> None:
        """Nothing is half received any more: the clone that held it is gone too."""
        if not self._get(name).token:
            return
        self.change(name, {"receive_resume_token": _UNSET})
        member = self.members[name]
        snapshots = tuple(replace(s, clones=_without(s.clones, f"{name}/%recv")) for s in member.snapshots)
        self.members[name] = replace(member, snapshots=snapshots)

    def _set(self, target: str, properties: Iterable[tuple[str, str]]) -> None:
        if "@" in target:
            for key, value in properties:
                if key == f"{self.tag}:{SENT}":
                    self._each((target,), lambda found, at=int(value): replace(found, sent=at))  # type: ignore[misc]  # bound now
                elif key == f"{self.tag}:{MADE}":
                    self._each(
                        (target,),
                        lambda found, how=value: replace(found, made=True, relayed=how == RELAYED),  # type: ignore[misc]  # bound now
                    )
            return
        given = {key: Value(value, "local") for key, value in properties}
        if "readonly" in given:
            self._end_remounts_below(target, given["readonly"].value)
        self.change(target, given)
        if "volsize" in given:
            self._dirty(target)
        self._follow(target, given)

    def _inherit(self, target: str, key: str, as_received: bool) -> None:
        if "@" in target:
            if key == f"{self.tag}:{SENT}":
                self._each((target,), lambda found: replace(found, sent=None))
            elif key == f"{self.tag}:{MADE}":
                self._each((target,), lambda found: replace(found, made=False, relayed=False))
            return
        if as_received:  # there is one, or nobody would ask for it; which it is, only ZFS knows
            now = self._get(target).properties.get(key, _UNSET)
            self.change(target, {key: Value(now.value, "received")})
        else:
            self.change(target, {key: self._from_above(target, key)})
        self._follow(target, (key,))

    def _follow(self, dataset: str, changed: Iterable[str]) -> None:
        """What a change of properties brings about: those below inherit it, and mounts go with their place."""
        keys = set(changed)
        places = [dataset] if keys & {"mountpoint", "canmount"} else []
        for key in _INHERITED:
            if key in keys:
                heirs = self._hand_down(dataset, key)
                places += heirs if key == "mountpoint" else []
        for name in places:
            member = self.members[name]
            leaves = "canmount" in keys and member.get("canmount") == "off"
            if leaves or ("mountpoint" in keys and member.get("mountpoint") in ("none", "legacy")):
                self._unmount(name, f"{member.get('mountpoint').rstrip('/')}/")
            elif "mountpoint" in keys and self._mounts_itself(member):
                self.change(name, self._mounted_anew(name))

    def _dirty(self, dataset: str, given: Mapping[str, Value] = _UNCHANGED) -> None:
        """Once the transaction group has closed, it is written to."""
        written = max(1, self._get(dataset).number("written"))
        self.change(dataset, {"written": Value(str(written), "-"), **given})

    def _hand_down(self, dataset: str, key: str) -> list[str]:
        """Give the datasets below that have no value of their own, nor one from nearer, that of this one. Their
        names."""
        given = self._get(dataset).properties.get(key, _UNSET)
        changed = []
        for name, member in list(self.members.items()):
            own = member.properties.get(key, _UNSET)
            further = own.source.removeprefix("inherited from ")
            inherits = own.source == "default" or f"{dataset}/".startswith(f"{further}/")
            if name.startswith(f"{dataset}/") and inherits:
                self.change(name, {key: _inherited(dataset, name, key, given)})
                changed.append(name)
        return changed

    def _from_above(self, dataset: str, key: str) -> Value:
        """What a dataset has of a property that is not its own: that of its nearest known ancestor, or the default."""
        parent = dataset
        while key in _INHERITED and "/" in parent:
            parent = parent.rpartition("/")[0]
            if parent in self.members:
                of_mount = self._without_mount(parent) if key == "readonly" else {}
                given = {**self.members[parent].properties, **of_mount}
                return _inherited(parent, dataset, key, given.get(key, _UNSET))
        if key == "mountpoint":
            return Value(f"/{dataset}", "default")
        return Value(_DEFAULTS[key], "default") if key in _DEFAULTS else _UNSET

    # --- mounts ---

    def _mounts_itself(self, member: Member) -> bool:
        """Whether ZFS mounts a dataset that is new or has another place."""
        at_home = member.get("canmount") == "on" and member.get("mountpoint").startswith("/")
        return at_home and not member.volume and not member.key_missing

    def _without_mount(self, dataset: str) -> dict[str, Value]:
        """readonly as the property says, where a remount has said otherwise for as long as the mount lasts. Only which
        value it is can be told for sure; it is taken for the dataset's own where those above have another."""
        now = self._get(dataset).properties.get("readonly", _UNSET)
        if now.source != _TEMPORARY:
            return {}
        above, value = self._from_above(dataset, "readonly"), "off" if now.value == "on" else "on"
        return {"readonly": above if above.value == value else Value(value, "local")}

    def _end_remounts_below(self, dataset: str, readonly: str) -> None:
        """Mounts below that were remounted to what they are about to inherit say no other than their property then."""
        for name, member in list(self.members.items()):
            now = member.properties.get("readonly", _UNSET)
            if name.startswith(f"{dataset}/") and (now.value, now.source) == (readonly, _TEMPORARY):
                own = self._without_mount(name)["readonly"]
                self.change(name, {"readonly": own} if own.source != "local" else {})

    def _mounted_anew(self, dataset: str) -> dict[str, Value]:
        return {"mounted": Value("yes", "-"), **self._without_mount(dataset)}

    def _remount(self, dataset: str, readonly: str) -> None:
        """A remount changes nothing, ends what an earlier one has said, or says other than the property."""
        now = self._get(dataset).properties["readonly"]
        if now.value != readonly:
            other = {"readonly": Value(readonly, _TEMPORARY)}
            self.change(dataset, self._without_mount(dataset) or other)

    def _unmount(self, dataset: str, inside: str = "/") -> None:
        """Unmount a dataset, and what is mounted below it wherever that is; or, for a change of its mountpoint, only
        what is mounted inside that directory."""
        self._get(dataset)
        below = [
            name
            for name, member in self.members.items()
            if name.startswith(f"{dataset}/") and member.mounted and member.get("mountpoint").startswith(inside)
        ]
        for name in (dataset, *below):
            if not self.members[name].volume:
                self.change(name, {"mounted": Value("no", "-"), **self._without_mount(name)})

    # --- making, moving and removing datasets ---

    def create(self, name: str, values: Mapping[str, Value]) -> None:
        if name in self.members:
            raise FailedError("it exists already", filesystem=name)
        volume = values["type"].value == "volume"
        inherited = {key: self._from_above(name, key) for key in ("readonly", *(() if volume else _ONLY_FILESYSTEMS))}
        inherited |= self._encryption_above(name)
        born = {
            **({} if volume else {"mounted": Value("no", "-")}),
            "written": Value("1", "-"),  # its own few blocks
            "used": Value("0", "-"),
            "origin": _UNSET,
            "receive_resume_token": _UNSET,
            "guid": Value(f"{_PLANNED}{name}", "-"),
        }
        allowed = next((member.filters for member in self.members.values() if member.filters), ())
        programs = next((member.programs for member in self.members.values() if member.programs), ())
        made = build_member(self.tag, name, {**inherited, **born, **values}, ())
        self.members[name] = replace(made, filters=allowed, programs=programs)

    def _encryption_above(self, dataset: str) -> dict[str, Value]:
        above = self.members.get(dataset.rpartition("/")[0])
        if above is None or not above.encrypted:
            return {"encryption": Value("off", "default"), "pbkdf2salt": Value("0", "default")}
        return {key: above.properties[key] for key in _ENCRYPTION if key in above.properties}

    def _rename(self, dataset: str, new: str) -> None:
        """Rename a dataset and all below it; those that are mounted stay where they are."""
        if new in self.members:
            raise FailedError("the name is taken", filesystem=new)
        self._get(dataset)

        def renamed(name: str) -> str:
            return new + name.removeprefix(dataset) if f"{name}/".startswith(f"{dataset}/") else name

        for name in [name for name in self.members if renamed(name) != name]:
            member = self.members.pop(name)
            values = {key: _renamed(value, name, renamed, key) for key, value in member.properties.items()}
            built = build_member(self.tag, renamed(name), values, member.snapshots)
            same = {"filters": member.filters, "programs": member.programs, "bookmarks": member.bookmarks}
            self.members[renamed(name)] = replace(built, **same)
        self._encryption_roots(renamed)
        self._origins(lambda origin: "@".join((renamed(origin.partition("@")[0]), origin.partition("@")[2])))
        for name, member in list(self.members.items()):
            if any(renamed(clone) != clone for s in member.snapshots for clone in s.clones):
                snapshots = tuple(replace(s, clones=tuple(map(renamed, s.clones))) for s in member.snapshots)
                self.members[name] = replace(member, snapshots=snapshots)

    def _encryption_roots(self, renamed: Callable[[str], str]) -> None:
        for name, member in list(self.members.items()):
            root = member.get("encryptionroot")
            if renamed(root) != root:
                self.change(name, {"encryptionroot": Value(renamed(root), "-")})

    def _origins(self, renamed: Callable[[str], str]) -> None:
        for name, member in list(self.members.items()):
            origin = member.get("origin")
            if origin != "-" and renamed(origin) != origin:
                self.change(name, {"origin": Value(renamed(origin), "-")})

    def _clone(self, snapshot: str, dataset: str, properties: Iterable[tuple[str, str]]) -> None:
        """A clone has none of the local properties of its origin, and mounts itself unless told otherwise."""
        origin = self._get(snapshot.partition("@")[0])
        self._snapshot(snapshot)
        own = {key: Value(value, "local") for key, value in properties}
        values = {key: value for key, value in origin.properties.items() if key in ("type", "volsize", *_ENCRYPTION)}
        self.create(dataset, {**values, "origin": Value(snapshot, "-"), "written": Value("0", "-"), **own})
        if self._mounts_itself(self._get(dataset)):
            self.change(dataset, {"mounted": Value("yes", "-")})
        self._each((snapshot,), lambda found: replace(found, clones=(*found.clones, dataset)))

    def _promote(self, dataset: str) -> None:
        """The history up to the origin becomes the clone's, with holds, marks and bookmarks; what it was cloned from is
        a clone of it then, and it is one of what that was cloned from."""
        clone = self._get(dataset)
        origin = clone.get("origin")
        if origin == "-":
            raise FailedError("it is no clone", filesystem=dataset)
        was, base = self._get(origin.partition("@")[0]), self._snapshot(origin)
        moved = tuple(found for found in was.snapshots if found.createtxg <= base.createtxg)
        for found in moved:
            self.refuse_taken(f"{dataset}@{found.name}")
        before = was.properties.get("origin", _UNSET)
        marks = tuple(mark for mark in was.bookmarks if mark.createtxg <= base.createtxg)
        left = tuple(mark for mark in was.bookmarks if mark not in marks)
        self.members[was.name] = replace(was, snapshots=was.after(base), bookmarks=left)
        self.members[dataset] = replace(
            clone, snapshots=(*moved, *clone.snapshots), bookmarks=(*marks, *clone.bookmarks)
        )
        names = {f"{was.name}@{found.name}": f"{dataset}@{found.name}" for found in moved}
        self._origins(lambda name: names.get(name, name))
        self.change(dataset, {"origin": before})
        self.change(was.name, {"origin": Value(names[origin], "-")})
        self._each((names[origin],), lambda found: replace(found, clones=(*_without(found.clones, dataset), was.name)))
        if before.value.partition("@")[0] in self.members:
            inherited = before.value
            self._each((inherited,), lambda found: replace(found, clones=(*_without(found.clones, was.name), dataset)))
        if was.get("encryptionroot") == was.name:
            # The promoted one is the encryption root of both then, and no key is loaded for that.
            self._encryption_roots(lambda root: dataset if root == was.name else root)
            for name in [each.name for each in self.members.values() if each.get("encryptionroot") == dataset]:
                self.change(name, {"keystatus": Value("unavailable", "-")})

    def _place_key(self, dataset: str, *, own: bool) -> None:
        """What inherits from it goes along: what it had been the root of, or what is below it."""
        before, above = self._get(dataset).get("encryptionroot"), self._get(dataset.rpartition("/")[0])
        if own is (before == dataset) or not above.encrypted:
            raise FailedError("its key is placed so already", filesystem=dataset)
        root, status = (dataset, "unavailable") if own else (above.get("encryptionroot"), above.get("keystatus"))
        for name, member in list(self.members.items()):
            inherits = member.get("encryptionroot") == before and (not own or name.startswith(f"{dataset}/"))
            if name == dataset or inherits:
                self.change(name, {"encryptionroot": Value(root, "-"), "keystatus": Value(status, "-")})

    def _destroy_clone(self, dataset: str) -> None:
        member = self._get(dataset)
        if member.snapshots or any(name.startswith(f"{dataset}/") for name in self.members):
            raise FailedError("something depends on it", filesystem=dataset)
        origin = member.get("origin")
        if origin.partition("@")[0] in self.members:
            self._each((origin,), lambda found: replace(found, clones=_without(found.clones, dataset)))
        del self.members[dataset]

    def _rollback(self, snapshot: str) -> None:
        dataset = snapshot.partition("@")[0]
        base, member = self._snapshot(snapshot), self._get(dataset)
        marks = tuple(mark for mark in member.bookmarks if mark.createtxg > base.createtxg)
        if newer := (*member.after(base), *marks):
            raise FailedError("there are more recent snapshots", filesystem=dataset, evidence=newer[0].name)
        self.change(dataset, {"written": Value("0", "-")})

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

    def _bookmark(self, full: str, bookmark: str) -> None:
        of, member = self._snapshot(full), self._get(full.partition("@")[0])
        mark = Snapshot(bookmark.partition("#")[2], of.guid, of.createtxg, of.creation, bookmark=True)
        self.members[member.name] = replace(member, bookmarks=(*member.bookmarks, mark))

    def refuse_taken(self, full: str) -> None:
        dataset, _, name = full.partition("@")
        if self._get(dataset).by_name(name) is not None:
            raise FailedError("the snapshot exists already", filesystem=dataset, evidence=full)

    def _take(self, full: str, made: Snapshot | None, *, marked: bool) -> None:
        dataset, _, name = full.partition("@")
        self.refuse_taken(full)
        written = self._get(dataset).number("written")
        new = made or Snapshot(name, f"{_PLANNED}{full}", 0)
        self.add_snapshot(dataset, replace(new, written=written, made=marked))

    def add_snapshot(self, dataset: str, snapshot: Snapshot) -> None:
        """Put a snapshot after all others: nothing is written after it."""
        member = self._get(dataset)
        newest = max((found.createtxg for found in (*member.snapshots, *member.bookmarks)), default=0)
        if snapshot.createtxg <= newest:
            snapshot = replace(snapshot, createtxg=newest + 1)
        self.members[dataset] = replace(member, snapshots=(*member.snapshots, snapshot))
        self.change(dataset, {"written": Value("0", "-")})

    def _destroy(self, dataset: str, name: str) -> None:
        """What was written before a snapshot counts for the next one, or as written since."""
        gone, member = self._snapshot(f"{dataset}@{name}"), self._get(dataset)
        if gone.holds or gone.clones:
            why = f"held by {', '.join(sorted(gone.holds))}" if gone.holds else f"cloned as {', '.join(gone.clones)}"
            raise FailedError("the snapshot cannot be destroyed", filesystem=dataset, evidence=f"@{name} is {why}")
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


def _without(names: tuple[str, ...], gone: str) -> tuple[str, ...]:
    return tuple(name for name in names if name != gone)


def _inherited(parent: str, dataset: str, key: str, value: Value) -> Value:
    """What a dataset inherits when one above it has this value; a mountpoint goes on below."""
    below = dataset.removeprefix(parent) if key == "mountpoint" and value.value.startswith("/") else ""
    source = f"inherited from {parent}" if value.source in ("local", "received") else value.source
    return Value(value.value + below, source)


def _renamed(value: Value, dataset: str, renamed: Callable[[str], str], key: str) -> Value:
    """A property's value once its dataset has another name below the same parent: where it inherits from may have
    another name too, and the directory below an inherited mountpoint is named for the dataset."""
    if not (value.source == "default" or value.source.startswith("inherited from ")):
        return value
    above = value.source.removeprefix("inherited from ") if value.source != "default" else ""
    source = f"inherited from {renamed(above)}" if above else value.source
    if key != "mountpoint" or not value.value.startswith("/"):
        return Value(value.value, source)
    below = dataset.removeprefix(above) if above else dataset
    return Value(value.value.removesuffix(below) + renamed(dataset).removeprefix(renamed(above)), source)
