"""Commands that make, move and remove datasets and snapshots."""

from __future__ import annotations

from . import mounting, properties
from .errors import RefusalError, missing, usage
from .machine import SUSPENDED, Machine, Target
from .names import BOOKMARK, DATASETS, FILESYSTEM, SNAPSHOT, VOLUME, check, is_under, parent, split, too_long
from .options import Options, assignments, parse
from .reading import name_of
from .setting import validate
from .state import LOG_HEADER_BYTES, Bookmark, Dataset, Setting, Snapshot

_HEADS = frozenset({FILESYSTEM, VOLUME})
_MAX_TAG = 256
BLOCK = 16384


def check_parent(machine: Machine, name: str) -> None:
    above, action = parent(name), f"cannot create '{name}'"
    if not above:
        raise RefusalError(f"{action}: missing dataset name")
    if name.partition("/")[0] not in machine.host.pools:
        raise RefusalError(f"{action}: no such pool '{name.partition('/')[0]}'")
    if machine.suspended(name):
        raise RefusalError(f"{action}: {SUSPENDED}")
    holder = machine.host.datasets.get(above)
    if holder is None:
        raise RefusalError(f"{action}: parent does not exist")
    if holder.kind != FILESYSTEM:
        raise RefusalError(f"{action}: parent is not a filesystem")


def check_room(machine: Machine, name: str, action: str) -> None:
    pool = machine.host.pools[name.partition("/")[0]]
    if pool.readonly:
        raise RefusalError(f"{action}: pool is read-only")
    if pool.full:
        raise RefusalError(f"{action}: out of space")


def store(machine: Machine, dataset: Dataset, given: dict[str, str]) -> None:
    for key, value in given.items():
        machine.setting(dataset, key).local = value


# -- create


def do_create(machine: Machine, args: list[str]) -> None:
    options = parse(args, "PV:b:nso:puv")
    given = assignments(options.all("o"))
    size = options.last("V")
    kind = VOLUME if size is not None else FILESYSTEM
    if (options.has("s") or options.has("b")) and size is None:
        raise usage("'-s' and '-b' can only be used when creating a volume")
    if options.has("u") and size is not None:
        raise usage("'-u' can only be used when creating a filesystem")
    if not options.rest:
        raise usage(f"missing {kind} argument")
    if len(options.rest) > 1:
        raise usage("too many arguments")
    name = options.rest[0]
    action = f"cannot create '{name}'"
    check(name, frozenset({kind}), action, modifying=True)
    if options.has("p"):
        if name in machine.host.datasets:
            return
        create_ancestors(machine, name)
    check_parent(machine, name)
    if name in machine.host.datasets:
        raise RefusalError(f"{action}: dataset already exists")
    checked = validate(kind, given, action, creating=True)
    machine.permit("create", machine.host.datasets[parent(name)], action)
    check_room(machine, name, action)
    volsize = _volsize(size, action) if size is not None else 0
    above = machine.host.datasets[parent(name)]
    if above.encryption_root and not above.key_loaded and "encryption" not in checked:
        raise RefusalError(f"{action}: encryption root's key is not loaded or provided")
    dataset = machine.new_dataset(name, kind)
    store(machine, dataset, checked)
    if kind == VOLUME:
        dataset.volsize = volsize
        dataset.props["volsize"] = Setting(local=str(volsize))
        if not options.has("s"):
            dataset.props["refreservation"] = Setting(local=str(volsize + volsize // 32))
    if checked.get("encryption", "off") != "off":
        dataset.encryption_root = name
        dataset.salt = _salt(machine) if checked.get("keyformat") == "passphrase" else 0
    elif "encryption" not in checked:
        dataset.encryption_root, dataset.key_loaded = above.encryption_root, above.key_loaded
        dataset.salt = above.salt
    if not options.has("u"):
        _mount_new(machine, dataset)


def _mount_new(machine: Machine, dataset: Dataset) -> None:
    try:
        mounting.mount_by_itself(machine, dataset)
    except RefusalError as fail:
        raise RefusalError(*fail.lines, "filesystem successfully created, but not mounted") from None


def _volsize(text: str, action: str) -> int:
    size = properties.number(text)
    if size is None:
        raise RefusalError(f"bad volume size '{text}': bad numeric value '{text}'")
    if size == 0:
        raise RefusalError(f"{action}: volume size cannot be zero")
    return -(-size // BLOCK) * BLOCK


def create_ancestors(machine: Machine, name: str) -> None:
    parts = name.split("/")
    for end in range(2, len(parts)):
        above = "/".join(parts[:end])
        if above not in machine.host.datasets:
            mounting.mount_by_itself(machine, machine.new_dataset(above, FILESYSTEM))


# -- snapshot, bookmark


def do_snapshot(machine: Machine, args: list[str]) -> None:
    options = parse(args, "ro:")
    if not options.rest:
        raise usage("missing snapshot argument")
    given = assignments(options.all("o"))
    wanted: list[tuple[Dataset, str]] = []
    for name in options.rest:
        head, snap = split(name)
        if "@" not in name:
            raise usage()
        try:
            top = machine.head(head)
        except RefusalError as fail:
            raise RefusalError(*fail.lines, "usage:", rc=2) from None
        wanted += [
            (d, snap)
            for d in (machine.tree(top) if options.has("r") else [top])
            if not (d.inconsistent and d is not top)
        ]
    several = len(options.rest) > 1 or options.has("r")
    tail = ["no snapshots were created"] if several else []
    try:
        problems = _snapshot_problems(machine, wanted)
    except RefusalError as fail:  # of the first name that is none
        problems = list(fail.lines)
    if problems:
        raise RefusalError(*problems, *tail)
    checked = validate(SNAPSHOT, given, "cannot create snapshots ")
    if len({dataset.name for dataset, _ in wanted}) < len(wanted):
        raise RefusalError("cannot create snapshots : multiple snapshots of same fs not allowed", *tail)
    if len({dataset.pool for dataset, _ in wanted}) > 1:
        raise RefusalError("cannot create snapshots : operation crosses datasets or pools", *tail)
    for dataset, _ in wanted:
        machine.permit("snapshot", dataset, "cannot create snapshots ", *tail)
    txg = machine.wait_txg(machine.pool(wanted[0][0]))
    for dataset, snap in wanted:
        snapshot = machine.take(dataset, snap, txg)
        snapshot.props = {key: Setting(local=value) for key, value in checked.items()}


def _snapshot_problems(machine: Machine, wanted: list[tuple[Dataset, str]]) -> list[str]:
    lines = []
    for dataset, snap in wanted:
        action = f"cannot create snapshot '{dataset.name}@{snap}'"
        check(f"{dataset.name}@{snap}", frozenset({SNAPSHOT}), action, modifying=True)
        pool = machine.pool(dataset)
        if dataset.snapshot(snap):
            lines.append(f"{action}: dataset already exists")
        elif dataset.inconsistent:
            lines.append(f"{action}: dataset is busy")
        elif pool.readonly:
            lines.append(f"{action}: pool is read-only")
        elif pool.full:
            lines = ["cannot create snapshots : out of space"]
    return lines


def do_bookmark(machine: Machine, args: list[str]) -> None:
    source, name = parse(args, "").rest
    dataset, snapshot = machine.open(source, frozenset({SNAPSHOT}))
    assert snapshot
    head, _, mark = name.partition("#")
    action = f"cannot create bookmark '{name}'"
    machine.permit("bookmark", machine.head(head), action)
    if head != dataset.name:
        raise RefusalError(f"{action}: source is not an ancestor of the new bookmark's dataset")
    if mark in dataset.bookmarks:
        raise RefusalError(f"{action}: bookmark exists")
    machine.wait_txg(machine.pool(dataset))
    dataset.bookmarks[mark] = Bookmark(
        mark, snapshot.guid, snapshot.createtxg, snapshot.creation, snapshot.version, snapshot.data
    )


# -- hold, release


def do_hold(machine: Machine, args: list[str]) -> int:
    return _holding(machine, args, "rt", _hold)


def do_release(machine: Machine, args: list[str]) -> int:
    return _holding(machine, args, "r", _release)


def _holding(machine: Machine, args: list[str], spec: str, act: object) -> int:
    options = parse(args, spec)
    if len(options.rest) < 2:
        raise usage()
    tag, names = options.rest[0], options.rest[1:]
    if act is _hold and tag.startswith("."):
        raise usage("tag may not start with '.'")
    failed = False
    for name in names:
        try:
            if "@" not in name:
                raise RefusalError(f"'{name}' is not a snapshot")
            head, snap = split(name)
            top = machine.head(head)
            (_hold if act is _hold else _release)(machine, top, snap, tag, options.has("r"))
        except RefusalError as fail:
            machine.err.extend(fail.lines)
            failed = True
    return int(failed)


def _named(machine: Machine, top: Dataset, snap: str, recursive: bool) -> list[tuple[Dataset, Snapshot]]:
    return [(d, s) for d in (machine.tree(top) if recursive else [top]) if (s := d.snapshot(snap))]


def _hold(machine: Machine, top: Dataset, snap: str, tag: str, recursive: bool) -> None:
    found = _named(machine, top, snap, recursive)
    if not found:
        raise RefusalError(f"cannot hold snapshot '{top.name}@{snap}': dataset does not exist")
    machine.permit("hold", top, "cannot hold")
    for dataset, snapshot in found:
        action = f"cannot hold snapshot '{dataset.name}@{snap}'"
        if len(tag) >= _MAX_TAG:
            raise RefusalError(f"{action}: tag too long")
        if tag in snapshot.holds:
            raise RefusalError(f"{action}: tag already exists on this dataset")
        if machine.pool(dataset).readonly:
            raise RefusalError(f"{action}: pool is read-only")
    machine.wait_txg(machine.pool(top))
    for _, snapshot in found:
        snapshot.holds[tag] = machine.now()


def _release(machine: Machine, top: Dataset, snap: str, tag: str, recursive: bool) -> None:
    found = _named(machine, top, snap, recursive)
    action = f"cannot release hold from snapshot '{top.name}@{snap}'"
    if not found:
        raise RefusalError(f"{action}: dataset does not exist")
    machine.permit("release", top, "cannot release")
    held = [(d, s) for d, s in found if tag in s.holds]
    if not held:
        raise RefusalError(f"{action}: no such tag on this dataset")
    machine.wait_txg(machine.pool(top))
    for _, snapshot in held:
        del snapshot.holds[tag]


# -- destroy


def do_destroy(machine: Machine, args: list[str]) -> None:
    options = parse(args, "vpndfrR")
    if not options.rest:
        raise usage("missing dataset argument")
    if len(options.rest) > 1:
        raise usage("too many arguments")
    name = options.rest[0]
    if "#" in name:
        return _destroy_bookmark(machine, name)
    if "@" in name:
        return _destroy_snapshots(machine, name, options.has("r"), options.has("d"), options.has("R"))
    dataset = machine.head(name, DATASETS)
    recursive = options.has("r") or options.has("R")
    if "/" not in name and not recursive:
        raise RefusalError(
            f"cannot destroy '{name}': operation does not apply to pools",
            f"use 'zfs destroy -r {name}' to destroy all datasets in the pool",
            f"use 'zpool destroy {name}' to destroy the pool itself",
        )
    return _destroy_head(machine, dataset, recursive, options.has("R"), options.has("f"))


def _destroy_bookmark(machine: Machine, name: str) -> None:
    head, _, mark = name.partition("#")
    dataset = machine.host.datasets.get(head)
    if dataset is None or mark not in dataset.bookmarks:
        raise RefusalError(f"bookmark '{name}' does not exist.")
    machine.permit("destroy", dataset, "cannot destroy bookmark")
    machine.wait_txg(machine.pool(dataset))
    del dataset.bookmarks[mark]


def _range(dataset: Dataset, spec: str) -> list[Snapshot]:
    if "%" not in spec:
        return [s for s in dataset.snapshots if s.name == spec]
    first, _, last = spec.partition("%")
    names = [s.name for s in dataset.snapshots]
    start = names.index(first) if first else 0
    stop = names.index(last) + 1 if last else len(names)
    return dataset.snapshots[start:stop]


def _destroy_snapshots(machine: Machine, name: str, recursive: bool, defer: bool, clones: bool) -> None:
    head, spec = split(name)
    top = machine.head(head)
    doomed = [
        (dataset, snapshot)
        for dataset in (machine.tree(top) if recursive or clones else [top])
        for part in spec.split(",")
        for snapshot in _range(dataset, part)
    ]
    if not doomed:
        raise RefusalError("could not find any snapshots to destroy; check snapshot names.")
    for dataset, snapshot in doomed:
        dependents = _dependents(machine, dataset, snapshot)
        if dependents and not defer and not clones:
            raise RefusalError(
                f"cannot destroy '{dataset.name}@{snapshot.name}': snapshot has dependent clones",
                "use '-R' to destroy the following datasets:",
                *dependents,
            )
    machine.permit("destroy", top, "cannot destroy snapshots")
    held = [f"{d.name}@{s.name}" for d, s in sorted(doomed, key=name_of) if s.holds and not defer]
    if held:
        raise RefusalError(*map(_held, held))
    machine.wait_txg(machine.pool(top))
    for dataset, snapshot in doomed:
        if not snapshot.holds:
            drop(dataset, snapshot)


def _held(full: str) -> str:
    return f"cannot destroy snapshot {full}: it's being held. Run 'zfs holds -r {full}' to see holders."


def _dependents(machine: Machine, dataset: Dataset, snapshot: Snapshot | None = None) -> list[str]:
    """What hangs on a snapshot, or on a dataset: each comes after what hangs on it in turn."""
    if snapshot is not None:
        hidden = machine.hidden(dataset, snapshot)
        return hidden + [name for c in machine.clones(snapshot) for name in [*_dependents(machine, c), c.name]]
    direct = [d for d in machine.children(dataset) if parent(d.name) == dataset.name]
    below = [name for child in direct for name in [*_dependents(machine, child), child.name]]
    for own in dataset.snapshots:
        below += [*_dependents(machine, dataset, own), f"{dataset.name}@{own.name}"]
    return below


def drop(dataset: Dataset, snapshot: Snapshot) -> None:
    """Take a snapshot out; what was written for it counts for the next one."""
    index = dataset.snapshots.index(snapshot)
    if index + 1 < len(dataset.snapshots):
        dataset.snapshots[index + 1].written += snapshot.written
    else:
        dataset.written += snapshot.written
    dataset.snapshots.remove(snapshot)


def _destroy_head(machine: Machine, top: Dataset, recursive: bool, clones: bool, force: bool) -> None:
    tree = machine.tree(top)
    if not recursive:
        below = [name for name in _dependents(machine, top) if is_under(name.partition("@")[0], top.name)]
        if below:
            raise RefusalError(
                f"cannot destroy '{top.name}': {top.kind} has children",
                "use '-r' to destroy the following datasets:",
                *below,
            )
    machine.permit("destroy", top, f"cannot destroy '{top.name}'")
    doomed = {member.name for member in tree}
    foreign = [c for member in tree for s in member.snapshots for c in machine.clones(s) if c.name not in doomed]
    if foreign and not clones:
        raise RefusalError(
            f"cannot destroy '{top.name}': filesystem has dependent clones",
            "use '-R' to destroy the following datasets:",
            *(c.name for c in foreign),
        )
    held = [f"{d.name}@{s.name}" for d in tree for s in d.snapshots if s.holds]
    if held:
        raise RefusalError(*map(_held, held))
    for member in tree:
        if member.partial is not None and member.partial.pid is not None:
            if member.inconsistent:
                raise RefusalError(f"cannot destroy '{member.name}': dataset is busy")
            raise RefusalError(
                f"cannot destroy '{member.name}/%recv': dataset is busy",
                *(
                    f"cannot destroy snapshot {member.name}@{s.name}: snapshot is cloned"
                    for s in member.snapshots
                    if machine.hidden(member, s)
                ),
            )
    mounting.unmount_tree(machine, tree, force)
    for clone in foreign:
        mounting.unmount(machine, clone, force)
        machine.host.datasets.pop(clone.name, None)
    for member in reversed(tree):
        if "/" in member.name:
            machine.wait_txg(machine.pool(member))
            where = machine.value(member, "mountpoint") if member.kind == FILESYSTEM else "none"
            del machine.host.datasets[member.name]
            if where not in ("none", "legacy"):
                mounting.remove_directory(machine, member, where)
        else:
            member.snapshots.clear()


# -- rename, clone, promote, rollback


def do_rename(machine: Machine, args: list[str]) -> None:
    options = parse(args, "pruf")
    for count, message in ((0, "missing source dataset argument"), (1, "missing target dataset argument")):
        if len(options.rest) == count:
            raise usage(message)
    source, target = options.rest
    types = frozenset({FILESYSTEM}) if options.has("u") else DATASETS
    dataset, snapshot = machine.open(source, types)
    if source == target:
        return None
    if snapshot is not None:
        return _rename_snapshot(machine, dataset, snapshot, target)
    action = f"cannot rename to '{target}'"
    check(target, frozenset({dataset.kind}), action, modifying=True)
    if options.has("p"):
        create_ancestors(machine, target)
    check_parent(machine, target)
    if target.partition("/")[0] != dataset.pool:
        raise RefusalError(f"{action}: datasets must be within same pool")
    if is_under(target, source):
        raise RefusalError(f"{action}: New dataset name cannot be a descendant of current dataset name")
    return _rename_head(machine, dataset, target, options.has("u"), options.has("f"))


def _rename_snapshot(machine: Machine, dataset: Dataset, snapshot: Snapshot, target: str) -> None:
    head, at, snap = target.partition("@")
    if not at:
        head, snap = "", target
    if head and head != dataset.name:
        raise RefusalError(f"cannot rename to '{target}': snapshots must be part of same dataset")
    check(f"{dataset.name}@{snap}", frozenset({SNAPSHOT}), f"cannot rename to '{dataset.name}@{snap}'", modifying=True)
    if dataset.snapshot(snap):
        raise RefusalError(f"cannot rename '{dataset.name}@{snapshot.name}': dataset already exists")
    machine.permit("rename", dataset, f"cannot rename '{dataset.name}@{snapshot.name}'")
    machine.wait_txg(machine.pool(dataset))
    snapshot.name = snap


def _rename_head(machine: Machine, top: Dataset, target: str, keep_mounted: bool, force: bool) -> None:
    source, tree = top.name, machine.tree(top)
    machine.permit("rename", top, f"cannot rename '{source}'")
    if machine.value(top, "mountpoint") in ("none", "legacy"):
        keep_mounted = True
    places = {d.name: machine.value(d, "mountpoint") for d in tree if d.kind == FILESYSTEM}
    mounted = [] if keep_mounted else mounting.unmount_tree(machine, tree, force)
    if target in machine.host.datasets:
        mounting.remount_tree(machine, mounted)
        raise RefusalError(f"cannot rename '{source}': dataset already exists")
    full = (f"{d.name}{at}" for d in tree for at in ("", *(f"@{snapshot.name}" for snapshot in d.snapshots)))
    if too_long(target + max(full, key=len).removeprefix(source)):
        mounting.remount_tree(machine, mounted)
        raise RefusalError(f"cannot rename '{source}': dataset name is too long")
    above = machine.host.datasets[target.rpartition("/")[0]]
    moved = above.name != source.rpartition("/")[0]
    if moved and top.encryption_root not in (None, "", source, above.encryption_root):
        mounting.remount_tree(machine, mounted)
        raise RefusalError(f"cannot rename '{source}': cannot move encrypted child outside of its encryption root")
    machine.wait_txg(machine.pool(top))
    for member in tree:
        del machine.host.datasets[member.name]
        where = places.get(member.name, "none")
        if member in mounted and where not in ("none", "legacy"):
            mounting.remove_directory(machine, member, where)
        member.name = target + member.name.removeprefix(source)
        machine.host.datasets[member.name] = member
    for other in machine.host.datasets.values():
        if other.encryption_root and is_under(other.encryption_root, source):
            other.encryption_root = target + other.encryption_root.removeprefix(source)
    mounting.remount_tree(machine, mounted)


def do_clone(machine: Machine, args: list[str]) -> None:
    options = parse(args, "o:p")
    given = assignments(options.all("o"))
    for count, message in ((0, "missing source dataset argument"), (1, "missing target dataset argument")):
        if len(options.rest) == count:
            raise usage(message)
    source, target = options.rest
    origin, snapshot = machine.open(source, frozenset({SNAPSHOT}))
    assert snapshot
    action = f"cannot create '{target}'"
    check(target, frozenset({FILESYSTEM}), action, modifying=True)
    if options.has("p"):
        create_ancestors(machine, target)
    check_parent(machine, target)
    checked = validate(origin.kind, given, action, creating=True)
    if target.partition("/")[0] != origin.pool:
        raise RefusalError(f"{action}: source and target pools differ")
    if target in machine.host.datasets:
        raise RefusalError(f"{action}: dataset already exists")
    machine.permit("clone", origin, action)
    check_room(machine, target, action)
    clone = machine.new_dataset(target, origin.kind)
    clone.origin = snapshot.objid
    clone.data, clone.version = snapshot.data, snapshot.version
    clone.written, clone.referenced, clone.volsize = 0, snapshot.referenced, snapshot.volsize
    clone.encryption_root, clone.key_loaded, clone.salt = origin.encryption_root, origin.key_loaded, origin.salt
    if origin.kind == VOLUME:
        clone.props["volsize"] = Setting(local=str(snapshot.volsize))
    store(machine, clone, checked)
    _mount_new(machine, clone)


def do_promote(machine: Machine, args: list[str]) -> None:
    if not args:
        raise usage("missing clone filesystem argument")
    name = args[0]
    clone = machine.head(name)
    if clone.origin is None:
        raise RefusalError(f"cannot promote '{name}': not a cloned filesystem")
    machine.permit("promote", clone, f"cannot promote '{name}'")
    former, snapshot = machine.owner(clone.origin)
    assert snapshot
    index = former.snapshots.index(snapshot) + 1
    moved = former.snapshots[:index]
    clash = next((s for s in moved if clone.snapshot(s.name)), None)
    if clash:
        raise RefusalError(
            f"cannot promote '{name}': conflicting snapshot '{clash.name}' from parent '{former.name}@{snapshot.name}'"
        )
    machine.wait_txg(machine.pool(clone))
    clone.snapshots = moved + clone.snapshots
    former.snapshots = former.snapshots[index:]
    for name, mark in list(former.bookmarks.items()):
        if mark.createtxg <= snapshot.createtxg:
            clone.bookmarks[name] = former.bookmarks.pop(name)
    clone.origin, former.origin = former.origin, snapshot.objid
    if former.encryption_root == former.name:
        _move_root(machine, former, clone)


def _move_root(machine: Machine, former: Dataset, clone: Dataset) -> None:
    """The promoted one becomes the encryption root of both, under which no key is loaded."""
    for dataset in machine.host.datasets.values():
        if dataset.encryption_root == former.name:
            dataset.encryption_root, dataset.key_loaded = clone.name, False
    location = former.props.pop("keylocation", None)
    if location is not None:
        clone.props["keylocation"] = location


def do_rollback(machine: Machine, args: list[str]) -> None:
    options = parse(args, "rRf")
    if not options.rest:
        raise usage("missing dataset argument")
    name = options.rest[0]
    dataset, snapshot = machine.open(name, frozenset({SNAPSHOT}))
    assert snapshot
    newer = [s for s in dataset.snapshots if s.createtxg > snapshot.createtxg]
    marks = [mark.name for mark in dataset.bookmarks.values() if mark.createtxg > snapshot.createtxg]
    if not newer:
        machine.permit("rollback", dataset, f"cannot rollback '{dataset.name}'")
    recursive = options.has("r") or options.has("R")
    if (newer or marks) and not recursive:
        raise RefusalError(
            f"cannot rollback to '{name}': more recent snapshots or bookmarks exist",
            "use '-r' to force deletion of the following snapshots and bookmarks:",
            *(f"{dataset.name}@{s.name}" for s in newer),
            *(f"{dataset.name}#{name}" for name in marks),
        )
    for name in marks:
        del dataset.bookmarks[name]
    clones = [c.name for s in newer for c in machine.clones(s)]
    if clones and not options.has("R"):
        raise RefusalError(
            f"cannot rollback to '{name}': clones of previous snapshots exist",
            "use '-R' to force deletion of the following clones and dependents:",
            *clones,
        )
    for doomed in newer:
        if doomed.holds:
            raise RefusalError(f"cannot destroy '{dataset.name}@{doomed.name}': dataset is busy")
        machine.wait_txg(machine.pool(dataset))
        drop(dataset, doomed)
    machine.wait_txg(machine.pool(dataset))
    dataset.pending, dataset.intent_log, dataset.unreplayed = {}, {}, False
    dataset.data, dataset.version = snapshot.data, snapshot.version
    dataset.written = LOG_HEADER_BYTES if dataset.claimed or dataset.has_log else 0
    dataset.referenced, dataset.volsize = snapshot.referenced, snapshot.volsize


# -- keys


def do_load_key(machine: Machine, args: list[str]) -> int:
    options = parse(args, "aL:nr")
    dataset = machine.head(options.rest[0])
    root = dataset.encryption_root
    if root is None:
        raise RefusalError(f"Key load error: '{dataset.name}' not encrypted.", rc=255)
    if root != dataset.name:
        raise RefusalError(
            f"Key load error: Keys must be loaded for encryption root of '{dataset.name}' ({root}).", rc=255
        )
    if dataset.key_loaded:
        raise RefusalError(f"Key load error: Key already loaded for '{dataset.name}'.", rc=255)
    if options.last("L") is None and machine.value(dataset, "keylocation") == "prompt":
        raise RefusalError("Key load error: encryption failure", rc=255)
    return _keys(machine, root, True)


def do_unload_key(machine: Machine, args: list[str]) -> int:
    dataset = machine.head(parse(args, "ar").rest[0])
    if not dataset.key_loaded:
        raise RefusalError(f"Key unload error: Key already unloaded for '{dataset.name}'.", rc=255)
    if any(d.mounted_at for d in machine.host.datasets.values() if d.encryption_root == dataset.name):
        raise RefusalError(f"Key unload error: '{dataset.name}' is busy.", rc=255)
    return _keys(machine, dataset.name, False)


def do_change_key(machine: Machine, args: list[str]) -> None:
    """Wrapped anew: nothing of it counts as written."""
    options = parse(args, "lio:")
    dataset = machine.head(options.rest[0])
    if dataset.encryption_root is None:
        raise RefusalError(f"Key change error: '{dataset.name}' not encrypted.", rc=255)
    if not dataset.key_loaded:
        raise RefusalError("Key change error: Dataset key must be loaded.", rc=255)
    if options.has("i"):
        place_key(machine, dataset.name, own=False)
        above = machine.host.datasets[parent(dataset.name)]
        for each in machine.host.datasets.values():
            if each.encryption_root == above.encryption_root:
                each.salt = above.salt
        return
    if dataset.encryption_root != dataset.name:
        place_key(machine, dataset.name, own=True)
    for word in options.all("o"):
        name, _, value = word.partition("=")
        machine.setting(dataset, name).local = value
    salt = _salt(machine)
    for each in machine.host.datasets.values():
        if each.encryption_root == dataset.name:
            each.salt, each.key_loaded = salt, True


def place_key(machine: Machine, name: str, *, own: bool) -> int:
    """lzc_change_key(): DCP_CMD_FORCE_NEW_KEY or DCP_CMD_FORCE_INHERIT, no key being loaded; 0, or an errno. What has
    inherited from it goes along."""
    dataset = machine.host.datasets[name]
    if dataset.encryption_root is None or (dataset.encryption_root == name) is own:
        return 22
    above = machine.host.datasets[parent(name)]
    if not own and above.encryption_root is None:
        return 13
    for each in machine.host.datasets.values():
        under = is_under(each.name, name) and each.encryption_root == dataset.encryption_root
        if each is not dataset and (under if own else each.encryption_root == name):
            each.encryption_root = name if own else above.encryption_root
            each.key_loaded = False if own else above.key_loaded
    dataset.encryption_root = name if own else above.encryption_root
    dataset.key_loaded = False if own else above.key_loaded
    if own:
        dataset.props["keylocation"] = Setting(local="prompt")
    else:
        dataset.props.pop("keylocation", None)
    return 0


def _salt(machine: Machine) -> int:
    return machine.fresh() + 10**18


def _keys(machine: Machine, root: str, loaded: bool) -> int:
    for dataset in machine.host.datasets.values():
        if dataset.encryption_root == root:
            dataset.key_loaded = loaded
    mounting.make_devices(machine)
    return 0


# -- delegation


SCOPES = {
    "s": "Permission sets:", "c": "Create time permissions:", "l": "Local permissions:",
    "d": "Descendent permissions:", "": "Local+Descendent permissions:",
}  # fmt: skip


def do_allow(machine: Machine, args: list[str]) -> None:
    options = parse(args, "ldu:g:ecs:h")
    if len(options.rest) == 1:
        for dataset in machine.ancestors(machine.head(options.rest[0])):
            machine.out.extend(_delegated(dataset))
        return
    scope, who, words = _who(options)
    dataset = machine.head(words[-1])
    machine.permit("allow", dataset, f"cannot set permissions on '{dataset.name}'")
    dataset.allowed += [(scope, who, permission) for permission in words[0].split(",")]


def _who(options: Options) -> tuple[str, str, list[str]]:
    """The scope, who in it, and the words that are left."""
    scope = next((letter for letter in "scld" if options.has(letter)), "")
    if scope in ("s", "c"):
        return scope, options.last("s") or "", options.rest
    for letter, kind in (("u", "user"), ("g", "group")):
        if name := options.last(letter):
            return scope, f"{kind} (unknown: {name})" if name.isdigit() else f"{kind} {name}", options.rest
    if options.has("e"):
        return scope, "everyone", options.rest
    return scope, f"user {options.rest[0]}", options.rest[1:]


def _delegated(dataset: Dataset) -> list[str]:
    lines = [f"---- Permissions on {dataset.name} ".ljust(70, "-")] if dataset.allowed else []
    for scope, heading in SCOPES.items():
        whos = {who for where, who, _ in dataset.allowed if where == scope}
        lines += [heading] if whos else []
        for who in sorted(whos, key=lambda who: _rank(who)):
            what = ",".join(sorted({p for where, whose, p in dataset.allowed if (where, whose) == (scope, who)}))
            lines.append(f"\t{who} {what}" if who else f"\t{what}")
    return lines


def _rank(who: str) -> tuple[int, str]:
    kinds = ("user", "group", "everyone")
    kind = who.split(" ")[0]
    return (kinds.index(kind) if kind in kinds else 0, who)


def do_unallow(machine: Machine, args: list[str]) -> None:
    options = parse(args, "ldu:g:ecs:rh")
    dataset = machine.head(options.rest[-1])
    _, gone, _ = _who(options)
    dataset.allowed = [(scope, who, what) for scope, who, what in dataset.allowed if who != gone]


__all__ = ["BOOKMARK", "Target", "missing"]
