"""zfs get, list and holds: the commands that change nothing."""

from __future__ import annotations

from functools import lru_cache

from . import properties
from .errors import RefusalError, usage
from .machine import Machine, Target
from .names import BOOKMARK, DATASETS, FILESYSTEM, SNAPSHOT, VOLUME
from .options import Options, parse
from .properties import NATIVE, canonical
from .state import Bookmark

_TYPES = {
    "filesystem": {FILESYSTEM}, "fs": {FILESYSTEM}, "volume": {VOLUME}, "vol": {VOLUME},
    "snapshot": {SNAPSHOT}, "snap": {SNAPSHOT}, "bookmark": {BOOKMARK}, "all": DATASETS | {BOOKMARK},
}  # fmt: skip
_COLUMNS = ("name", "property", "value", "received", "source")


def name_of(target: Target) -> str:
    dataset, snapshot = target
    return f"{dataset.name}@{snapshot.name}" if snapshot else dataset.name


def _types(options: Options, default: frozenset[str]) -> frozenset[str]:
    given = options.last("t")
    if given is None:
        return default
    types: set[str] = set()
    for word in given.split(","):
        if word not in _TYPES:
            raise usage(f"invalid type '{word}'")
        types |= _TYPES[word]
    return frozenset(types)


def select(machine: Machine, options: Options, names: list[str], types: frozenset[str]) -> tuple[list[Target], bool]:
    """What zfs_for_each() goes over, by name and for snapshots by createtxg; and whether an argument failed."""
    depth = int(options.last("d") or -1) if options.last("d") is not None else None
    recurse = options.has("r") or depth is not None
    if types in ({SNAPSHOT}, {BOOKMARK}) and names and not recurse:
        recurse, depth = True, 1
    openable = types
    if recurse:
        openable |= {FILESYSTEM} | ({VOLUME} if types & {SNAPSHOT, BOOKMARK} else set())
    failed = False
    found: dict[str, Target] = {}
    if not names:
        recurse, names = True, [name for name in machine.host.pools if not machine.suspended(name)]
        openable |= {FILESYSTEM}
    for name in names:
        try:
            dataset, snapshot = machine.open(_from_path(machine, name), openable)
        except RefusalError as fail:
            machine.err.extend(fail.lines)
            failed = True
            continue
        if snapshot:
            found[name] = (dataset, snapshot)
        else:
            _walk(machine, (dataset, None), types, depth if recurse else 0, found)
    return sorted(found.values(), key=_by_name), failed


def _from_path(machine: Machine, name: str) -> str:
    """get and list take a directory for the filesystem mounted there."""
    where = name.rstrip("/")
    mounted = (d.name for d in machine.host.datasets.values() if name.startswith("/") and d.mounted_at == where)
    return next(mounted, name)


def _walk(machine: Machine, top: Target, types: frozenset[str], depth: int | None, found: dict[str, Target]) -> None:
    dataset = top[0]
    level = dataset.name.count("/")
    below = [dataset] if depth == 0 else machine.tree(dataset)
    for member in below:
        distance = member.name.count("/") - level
        if depth is not None and distance > depth:
            continue
        if member.kind in types:
            found[member.name] = (member, None)
        if SNAPSHOT in types and (depth is None or distance < depth):
            for snapshot in member.snapshots:
                found[f"{member.name}@{snapshot.name}"] = (member, snapshot)


def _by_name(target: Target) -> tuple[str, int, int]:
    dataset, snapshot = target
    return dataset.name, snapshot is not None, snapshot.createtxg if snapshot else 0


@lru_cache(256)
def _properties(text: str) -> tuple[str, ...]:
    wanted: list[str] = []
    for word in text.split(","):
        name = canonical(word)
        known = name in NATIVE or name in ("name", "all") or properties.is_user(name)
        if not known and not properties.is_written(name) and not properties.is_userquota(name):
            raise usage(f"bad property list: invalid property '{word}'")
        wanted.append(name)
    return tuple(wanted)


def _all(machine: Machine, target: Target) -> list[str]:
    """What `zfs get all` shows: every native property that has a value, then the user properties."""
    native = [name for name in NATIVE if name != "pbkdf2salt" and machine.get(target, name) is not None]
    users = {name for ancestor in machine.ancestors(target[0]) for name in ancestor.props if ":" in name}
    users |= set(target[1].props) if target[1] else set()
    return native + sorted(name for name in users if machine.get(target, name) is not None)


def _received(target: Target, prop: str) -> str:
    holder = target[1] or target[0]
    setting = holder.props.get(prop)
    return setting.received if setting and setting.received is not None else "-"


def _kind(source: str) -> str:
    if source == "-":
        return "none"
    return "inherited" if source.startswith("inherited") else source


def do_get(machine: Machine, args: list[str]) -> int:
    options = parse(args, "d:o:s:rt:Hpj")
    if not options.rest:
        raise usage("missing property argument")
    columns = (options.last("o") or "name,property,value,source").split(",")
    if columns == ["all"]:
        columns = list(_COLUMNS)
    for column in columns:
        if column not in _COLUMNS:
            raise usage(f"invalid column name '{column}'")
    sources = options.last("s")
    wanted = _properties(options.rest[0])
    targets, failed = select(machine, options, options.rest[1:], _types(options, DATASETS | {BOOKMARK}))
    kinds = sources.split(",") if sources else []
    for target in targets:
        name = name_of(target)
        names = [n for w in wanted for n in (_all(machine, target) if w == "all" else [w])]
        for prop in names:
            value, source = (name, "-") if prop == "name" else machine.get(target, prop) or ("-", "-")
            if kinds and _kind(source) not in kinds:
                continue
            cells = {"name": name, "property": prop, "value": value, "source": source}
            if "received" in columns:
                cells["received"] = _received(target, prop)
            machine.out.append("\t".join(cells[column] for column in columns))
    return int(failed)


def _marks(machine: Machine, options: Options, types: frozenset[str]) -> list[tuple[str, Bookmark]]:
    """Bookmarks of what was asked for and is no deeper than that, in full."""
    if BOOKMARK not in types:
        return []
    deep = options.last("d")
    depth = int(deep) if deep is not None else None if options.has("r") else 1
    found: dict[str, Bookmark] = {}
    for name in options.rest:
        top = machine.host.datasets.get(name)
        for member in machine.tree(top) if top else ():
            if depth is None or member.name.count("/") - name.count("/") < depth:
                found |= {f"{member.name}#{mark.name}": mark for mark in member.bookmarks.values()}
    return list(found.items())


_OF_BOOKMARKS = ("guid", "createtxg", "creation")


def do_list(machine: Machine, args: list[str]) -> int:
    options = parse(args, "jHS:d:o:prs:t:")
    wanted = _properties(options.last("o") or "name,used,available,referenced,mountpoint")
    default = frozenset({FILESYSTEM, VOLUME})
    targets, failed = select(machine, options, options.rest, _types(options, DATASETS if options.rest else default))
    marks = _marks(machine, options, _types(options, DATASETS))
    for key, prop in reversed([p for p in options.pairs if p[0] in ("-s", "-S")]):
        targets.sort(key=lambda t, prop=prop: _sort_key(machine, t, prop), reverse=key == "-S")  # type: ignore[misc]
    rows: list[tuple[tuple[str, int, int], list[str]]] = []
    for target in targets:
        cells = [name_of(target) if p == "name" else (machine.get(target, p) or ("-", ""))[0] for p in wanted]
        rows.append((_by_name(target), cells))
    for full, mark in marks:
        cells = [full if p == "name" else str(getattr(mark, p)) if p in _OF_BOOKMARKS else "-" for p in wanted]
        rows.append(((full, 0, 0), cells))
    for _, cells in sorted(rows) if marks else rows:
        machine.out.append("\t".join(cells))
    if not rows and not failed and not options.has("H"):
        machine.err.append("no datasets available")
    return int(failed)


def _sort_key(machine: Machine, target: Target, prop: str) -> tuple[int, str]:
    value = name_of(target) if prop == "name" else (machine.get(target, prop) or ("-", ""))[0]
    return (int(value), "") if value.isdigit() else (0, value)


def do_holds(machine: Machine, args: list[str]) -> int:
    options = parse(args, "rHp")
    failed, printed = False, False
    if not options.rest:
        raise usage()
    for name in options.rest:
        if "@" not in name:
            machine.err.append(f"'{name}' is not a snapshot")
            failed = True
            continue
        try:
            head, _, snap = name.partition("@")
            tops = machine.tree(machine.head(head)) if options.has("r") else [machine.open(name)[0]]
        except RefusalError as fail:
            machine.err.extend(fail.lines)
            failed = True
            continue
        for dataset in tops:
            snapshot = dataset.snapshot(snap)
            if snapshot is None:
                continue
            printed = True
            for tag, when in sorted(snapshot.holds.items()):
                machine.out.append(f"{dataset.name}@{snap}\t{tag}\t{when}")
    if not printed:
        machine.err.append("no datasets available")
    return int(failed)


def do_diff(machine: Machine, args: list[str]) -> int:
    """zfs diff -H SNAPSHOT FILESYSTEM: files added and modified, the directory that a new one is in last."""
    since, name = parse(args, "FHth").rest
    dataset, _ = machine.open(name, frozenset({FILESYSTEM, SNAPSHOT}))
    snapshot = dataset.snapshot(since.partition("@")[2])
    if snapshot is None:
        raise RefusalError("Unable to obtain diffs: No such file or directory")
    if dataset.mounted_at is None:
        raise RefusalError("Cannot diff an unmounted snapshot: operation not applicable to datasets of this type")
    for key, data in dataset.data.items():
        if snapshot.data.get(key) != data:
            machine.out.append(f"{'M' if key in snapshot.data else '+'}\t{dataset.mounted_at}/{key}")
    if set(dataset.data) - set(snapshot.data):
        machine.out.append(f"M\t{dataset.mounted_at}/")
    return 0
