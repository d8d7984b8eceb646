"""zfs send: a snapshot, in full, since an older one, or the rest of a torn stream."""

from __future__ import annotations

from . import stream
from .errors import RefusalError, usage
from .machine import Machine
from .names import DATASETS, SNAPSHOT, split
from .options import Options
from .options import parse as parse_options
from .state import Bookmark, Dataset, Snapshot

_LONG = {
    "--replicate": "-R", "--props": "-p", "--parsable": "-P", "--verbose": "-v", "--dryrun": "-n",
    "--large-block": "-L", "--embed": "-e", "--compressed": "-c", "--raw": "-w", "--backup": "-b", "--holds": "-h",
    "--saved": "-S", "--resume": "-t", "--skip-missing": "-s", "--proctitle": "-V",
}  # fmt: skip


def do_send(machine: Machine, args: list[str]) -> bytes:
    options = parse_options([_LONG.get(arg, arg) for arg in args], "i:I:RsDpVvnPLeht:cwbd:SX:")
    token = options.last("t")
    if token is not None:
        try:
            return _resume(machine, token, options)
        except RefusalError as fail:
            raise RefusalError(*fail.lines, rc=255) from None
    if not options.rest:
        raise usage("missing snapshot argument")
    if len(options.rest) > 1:
        raise usage("too many arguments")
    name, base, several = options.rest[0], options.last("i"), options.last("I")
    if several is not None:
        return _send_between(machine, several, name, options)
    if base is not None and "@" not in base and "#" not in base:
        machine.err.append(
            "Warning: incremental source didn't specify type, assuming snapshot. "
            "Use '@' or '#' prefix to avoid ambiguity."
        )
        base = "@" + base
    if base is not None and base[0] in "@#":
        base = split(name)[0] + base
    dataset, snapshot = machine.open(name, DATASETS)
    action = f"warning: cannot send '{name}'"
    if snapshot is None:
        if dataset.mounted_at:
            raise RefusalError(f"{action}: target is busy; if a filesystem, it must not be mounted")
        raise RefusalError(f"{action}: operation not applicable to datasets of this type")
    fromguid, old = _base(machine, dataset, snapshot, base, action)
    if options.has("v") or options.has("P"):
        _estimate(machine, name, base, old, snapshot, options)
    raw = options.has("w")
    if options.has("n"):
        return b""
    if dataset.encryption_root and not raw and (options.has("p") or options.has("b")):
        what = f"{dataset.name}@{snapshot.name}: encrypted dataset {dataset.name}"
        machine.err.append(f"cannot send {what} may not be sent with properties without the raw flag")
        raise RefusalError(f"{action}: backup failed")
    machine.permit("send", dataset, action)
    if dataset.encryption_root and not raw and not dataset.key_loaded:
        raise RefusalError(f"{action}: dataset key must be loaded")
    return _build(
        machine, dataset, snapshot, fromguid, old, raw, options.has("p") or options.has("b"), embedded=options.has("e")
    )


def _send_between(machine: Machine, base: str, name: str, options: Options) -> bytes:
    """-I: an increment for each snapshot between."""
    if "#" in base:
        raise RefusalError("Error: multiple snapshots cannot be sent from a bookmark.")
    if base.startswith("@"):
        base = split(name)[0] + base
    dataset, snapshot = machine.open(name, DATASETS)
    holder, old = machine.open(base, DATASETS)
    action = f"warning: cannot send '{name}'"
    if (
        snapshot is None
        or old is None
        or holder is not dataset
        or not _is_before(machine, holder, old, dataset, snapshot)
    ):
        raise RefusalError(f"{action}: not an earlier snapshot from the same fs")
    first, last = dataset.snapshots.index(old), dataset.snapshots.index(snapshot)
    steps = list(zip(dataset.snapshots[first:last], dataset.snapshots[first + 1 : last + 1], strict=True))
    if options.has("v") or options.has("P"):
        sizes = [(one.name, f"{dataset.name}@{other.name}", _size(one.data, other)) for one, other in steps]
        lines = [f"incremental\t{since}\t{full}\t{size}" for since, full, size in sizes]
        lines.append(f"size\t{sum(size for *_, size in sizes)}")
        (machine.out if options.has("n") else machine.err).extend(lines)
    if options.has("n"):
        return b""
    machine.permit("send", dataset, action)
    raw = options.has("w")
    if dataset.encryption_root and not raw and not dataset.key_loaded:
        raise RefusalError(f"{action}: dataset key must be loaded")
    return stream.package(
        [
            _build(machine, dataset, other, one.guid, one.data, raw, props=False, embedded=options.has("e"))
            for one, other in steps
        ]
    )


def _base(
    machine: Machine, dataset: Dataset, snapshot: Snapshot, base: str | None, action: str
) -> tuple[int, dict[str, bytes] | None]:
    if base is None:
        return 0, None
    if "#" in base:
        head, _, mark = base.partition("#")
        holder = machine.host.datasets.get(head)
        if holder is None or mark not in holder.bookmarks:
            raise RefusalError(f"{action}: incremental source ({base}) does not exist")
        kept = holder.bookmarks[mark]
        return kept.guid, kept.data
    holder, old = machine.open(base, DATASETS)
    if old is None or not _is_before(machine, holder, old, dataset, snapshot):
        raise RefusalError(f"{action}: not an earlier snapshot from the same fs")
    return old.guid, old.data


def _is_before(machine: Machine, holder: Dataset, old: Snapshot, dataset: Dataset, snapshot: Snapshot) -> bool:
    while True:
        if holder is dataset:
            return dataset.snapshots.index(old) < dataset.snapshots.index(snapshot)
        if dataset.origin is None:
            return False
        dataset, origin = machine.owner(dataset.origin)
        assert origin
        if dataset is holder and origin is old:
            return True
        snapshot = origin


def _build(
    machine: Machine,
    dataset: Dataset,
    snapshot: Snapshot,
    fromguid: int,
    old: dict[str, bytes] | None,
    raw: bool,
    props: bool,
    embedded: bool = False,
    skip: int | None = None,
) -> bytes:
    records = stream.difference(old or {}, snapshot.data)
    begin = stream.Begin(
        f"{dataset.name}@{snapshot.name}", snapshot.guid, fromguid, dataset.kind, raw, skip,
        clone=_from_origin(dataset, fromguid), changed=_changed(dataset, snapshot, fromguid), volsize=snapshot.volsize,
        encryption_root=dataset.encryption_root is not None, salt=dataset.salt, created=snapshot.creation,
        embedded=embedded,
    )  # fmt: skip
    if props:
        effective = {key: setting.effective() for key, setting in dataset.props.items() if key != "volsize"}
        begin.props = {key: value[0] for key, value in effective.items() if value}
        own = {key: setting.effective() for key, setting in snapshot.props.items()}
        begin.snapprops = {key: value[0] for key, value in own.items() if value}
    return stream.encode(begin, records)


def _from_origin(dataset: Dataset, fromguid: int) -> bool:
    here = [s.guid for s in dataset.snapshots] + [mark.guid for mark in dataset.bookmarks.values()]
    return bool(fromguid) and fromguid not in here


def _changed(dataset: Dataset, snapshot: Snapshot, fromguid: int) -> bool:
    kept: list[Snapshot | Bookmark] = [*dataset.snapshots, *dataset.bookmarks.values()]
    old = next((s for s in kept if s.guid == fromguid), None)
    return old is None or old.version != snapshot.version


def _size(old: dict[str, bytes] | None, snapshot: Snapshot) -> int:
    changed = stream.difference(old or {}, snapshot.data)
    return 624 + sum(312 + len(value or b"") for _, value in changed) + (13000 if old is None else 0)


def _estimate(
    machine: Machine, name: str, base: str | None, old: dict[str, bytes] | None, snapshot: Snapshot, options: Options
) -> None:
    size = _size(old, snapshot)
    if options.has("P"):
        lines = [f"incremental\t{base}\t{name}\t{size}" if base else f"full\t{name}\t{size}", f"size\t{size}"]
    else:
        what = f"send from {base} to {name}" if base else f"full send of {name}"
        lines = [f"{what} estimated size is {size}B", f"total estimated size is {size}B"]
    (machine.out if options.has("n") else machine.err).extend(lines)


def _resume(machine: Machine, token: str, options: Options) -> bytes:
    action = "cannot resume send"
    content = stream.read_token(token)
    if isinstance(content, str):
        raise RefusalError(f"{action}: {content}")
    toname, toguid, fromguid = str(content["toname"]), int(str(content["toguid"])), int(str(content["fromguid"]))
    skip = int(str(content["records"]))
    if options.has("v") or options.has("P"):
        printed = machine.out if options.has("n") else machine.err
        printed += ["resume token contents:", "nvlist version: 0"]
        printed += [f"\tfromguid = {fromguid:#x}"] if fromguid else []
        printed += [f"\tobject = {skip + 1:#x}", "\toffset = 0x0", "\tbytes = 0x0"]
        printed += [f"\ttoguid = {toguid:#x}", f"\ttoname = {toname}"]
    found = _by_guid(machine, toname, toguid)
    if found is None or isinstance(found[1], Bookmark):
        if machine.find(toname):
            raise RefusalError(f"{action}: '{toname}' is no longer the same snapshot used in the initial send")
        raise RefusalError(f"{action}: '{toname}' used in the initial send no longer exists")
    dataset, snapshot = found
    old: dict[str, bytes] | None = None
    base = None
    if fromguid:
        source = _by_guid(machine, toname, fromguid)
        if source is None:
            raise RefusalError(f"{action}: incremental source {fromguid:#x} no longer exists")
        old = source[1].data
        base = f"{source[0].name}{'#' if isinstance(source[1], Bookmark) else '@'}{source[1].name}"
    if options.has("v") or options.has("P"):
        _estimate(machine, f"{dataset.name}@{snapshot.name}", base, old, snapshot, options)
    if options.has("n"):
        return b""
    return _build(machine, dataset, snapshot, fromguid, old, bool(content["raw"]), props=False, skip=skip)


def _by_guid(machine: Machine, toname: str, guid: int) -> tuple[Dataset, Snapshot] | tuple[Dataset, Bookmark] | None:
    """guid_to_name(), of a bookmark too."""
    for dataset in machine.near(split(toname)[0]):
        for snapshot in dataset.snapshots:
            if snapshot.guid == guid:
                return dataset, snapshot
        for mark in dataset.bookmarks.values():
            if mark.guid == guid:
                return dataset, mark
    return None


__all__ = ["SNAPSHOT", "do_send"]
