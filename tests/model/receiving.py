"""zfs receive, in its two steps: what is checked before a stream is read, and what it comes to at its end."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from . import mounting, stream
from .errors import RefusalError, usage
from .machine import SUSPENDED, Machine
from .names import FILESYSTEM, SNAPSHOT, VOLUME, parent, problem, split
from .options import Options, parse
from .properties import NATIVE, READONLY, canonical, is_user
from .setting import validate
from .state import Dataset, Partial, Setting, Snapshot
from .stream import Begin, Record


@dataclass(slots=True)
class Receive:
    """A receive that has passed its first checks."""

    options: Options
    name: str
    snap: str
    begin: Begin
    overrides: dict[str, str]
    excluded: list[str]
    action: str
    skip: bool = False  # the snapshot is there already: read the stream and ignore it
    had_token: bool = False
    new: bool = False
    into: int = 0  # objid of the dataset
    origin: int | None = None  # objid of the snapshot that it becomes a clone of


def parse_receive(args: list[str]) -> Options:
    options = parse(args, "o:x:dehMnuvFsAc")
    if not options.rest:
        raise usage("missing snapshot argument")
    if len(options.rest) > 1:
        raise usage("too many arguments")
    return options


def overrides_of(options: Options) -> tuple[dict[str, str], list[str]]:
    given: dict[str, str] = {}
    for word in options.all("o"):
        name, equals, value = word.partition("=")
        if not equals:
            raise usage("missing '=' for property=value argument")
        if name in given:
            raise usage(f"property '{name}' specified multiple times")
        given[name] = value
    for name in options.all("x"):
        if "=" in name:
            raise usage("invalid character '=' in property argument")
        if name in given:
            raise usage(f"property '{name}' specified multiple times")
    return given, options.all("x")


def _receivable(word: str) -> bool:
    native = NATIVE.get(canonical(word))
    if native is None:
        return is_user(word)
    return native.how != READONLY and native.name not in ("volsize", "version")


def abort(machine: Machine, options: Options) -> None:
    """zfs receive -A."""
    name = options.rest[0]
    dataset = machine.host.datasets.get(name)
    if dataset is None:
        try:
            machine.head(name)
        except RefusalError as fail:
            raise RefusalError(*fail.lines, "usage:", rc=2) from None
        return
    partial = dataset.partial
    if partial is None:
        raise RefusalError(f"'{name}' does not have any resumable receive state to abort")
    if partial.pid is not None:
        where = name if dataset.inconsistent else f"{name}/%recv"
        raise RefusalError(f"cannot destroy '{where}': dataset is busy")
    machine.wait_txg(machine.pool(dataset))
    dataset.partial = None
    if dataset.inconsistent:
        del machine.host.datasets[name]


def start(machine: Machine, options: Options, first_line: bytes, pid: int | None) -> Receive:
    """All that is refused before any data is read; afterwards the target counts as being received into."""
    overrides, excluded = overrides_of(options)
    named = overrides.pop("origin", "")
    for given in [*overrides, *excluded]:
        if not _receivable(given):
            raise RefusalError(f"cannot receive: cannot receive: invalid property '{given}'")
    begin = stream.decode_begin(first_line)
    if not first_line.endswith(b"\n"):
        raise RefusalError("cannot receive: failed to read from stream")
    if begin is None:
        raise RefusalError("cannot receive: invalid stream (bad magic number)")
    target = options.rest[0]
    tosnap = split(begin.toname)[1]
    name, at, snap = target.partition("@")
    wants_new = (begin.fromguid == 0 or begin.clone) and begin.resuming is None
    action = "cannot receive "
    action += (
        "new filesystem stream"
        if wants_new
        else "resume stream"
        if begin.resuming is not None
        else "incremental stream"
    )
    if problem(f"{name}@{snap if at else tosnap}", frozenset({SNAPSHOT})):
        raise RefusalError("cannot receive: invalid name")
    if "%" in name:
        raise RefusalError(f"{action}: invalid backup stream")
    receive = Receive(options, name, snap if at else tosnap, begin, overrides, excluded, action)
    if machine.suspended(name):
        pool = f"cannot open '{name.partition('/')[0]}': {SUSPENDED}"
        raise RefusalError(pool, f"{action}: unable to restore to destination")
    if begin.clone:
        receive.origin = _named_origin(machine, receive, named) if named else _origin(machine, receive)
    dataset = machine.host.datasets.get(name)
    if dataset is not None and not (dataset.inconsistent and begin.resuming is None and dataset.partial is None):
        _existing(machine, receive, dataset, wants_new)
    else:
        _check_new(machine, receive, wants_new)
    try:
        validate(begin.kind, overrides, action, creating=True)
    except RefusalError as fail:
        raise RefusalError(*fail.lines, f"{action}: invalid property value") from None
    _begin(machine, receive, dataset, pid)
    return receive


def _origin(machine: Machine, receive: Receive) -> int:
    """The snapshot of which a clone is made: the one with the guid that the stream begins at."""
    found = machine.nearest(receive.name, receive.begin.fromguid)
    if found is None:
        why = f"local origin for clone {receive.name}@{receive.snap} does not exist"
        raise RefusalError(f"cannot receive: {why}")
    return found[1].objid


def _named_origin(machine: Machine, receive: Receive, name: str) -> int:
    """The snapshot that -o origin= names, if it is what the stream begins at."""
    found = machine.find(name)
    if found is None or found[1] is None:
        raise RefusalError(f"cannot receive: specified origin fs ({name}) does not exist")
    if found[1].guid != receive.begin.fromguid:
        why = f"most recent snapshot of {receive.name} does not"
        raise RefusalError(f"{receive.action}: {why}", "match incremental source")
    return found[1].objid


def _existing(machine: Machine, receive: Receive, dataset: Dataset, wants_new: bool) -> None:
    """What libzfs refuses about a destination that exists."""
    action, force, name = receive.action, receive.options.has("F"), dataset.name
    if wants_new:
        if not force:
            raise RefusalError(f"{action}: destination '{name}' exists", "must specify -F to overwrite it")
        if dataset.snapshots:
            raise RefusalError(
                f"{action}: destination has snapshots (eg. {name}@{dataset.snapshots[0].name})",
                "must destroy them to overwrite it",
            )
        if dataset.origin is not None:
            raise RefusalError(f"{action}: destination '{name}' is a clone", "must destroy it to overwrite it")
    if receive.begin.resuming is not None and receive.begin.fromguid == 0 and not dataset.inconsistent and not force:
        raise RefusalError(
            f"{action}: Resuming recv on existing destination '{name}'", "must specify -F to overwrite it"
        )
    if receive.begin.raw and not wants_new and dataset.encryption_root is None and not dataset.inconsistent:
        raise RefusalError(f"{action}: cannot perform raw receive on top of existing unencrypted dataset")
    receive.had_token = stream.token_of(dataset) is not None


def _check_new(machine: Machine, receive: Receive, wants_new: bool) -> None:
    name, action = receive.name, receive.action
    if not wants_new or "/" not in name:
        raise RefusalError(f"{action}: destination '{name}' does not exist")
    above = machine.host.datasets.get(parent(name))
    if above is None:
        raise RefusalError(
            f"cannot open '{parent(name)}': dataset does not exist",
            f"{action}: unable to restore to destination",
        )
    if above.kind != FILESYSTEM:
        raise RefusalError(f"{action}: parent '{above.name}' is not a filesystem")
    receive.new = True


def _plain(receive: Receive) -> bool:
    """Whether the properties of a first stream, or what it is to get, make a plain dataset, below whatever parent."""
    begin = receive.begin
    if receive.overrides.get("encryption") == "off":
        return receive.new
    return (
        receive.new and begin.props is not None and not begin.encryption_root and "encryption" not in receive.excluded
    )


def _begin(machine: Machine, receive: Receive, dataset: Dataset | None, pid: int | None) -> None:
    """The kernel's own checks, and the hidden state that a receive works in."""
    begin, action = receive.begin, receive.action
    machine.permit("receive", dataset or machine.host.datasets[parent(receive.name)], action)
    above = machine.host.datasets.get(parent(receive.name))
    root = dataset if dataset is not None and not receive.new else above
    if not begin.raw and not _plain(receive) and root and root.encryption_root:
        if not root.key_loaded:
            raise RefusalError(f"{action}: inherited key must be loaded")
        if begin.embedded:
            raise RefusalError(f"{action}: incompatible embedded data stream feature with encrypted receive.")
    pool = machine.host.pools[receive.name.partition("/")[0]]
    if pool.readonly:
        raise RefusalError(f"{action}: pool is read-only")
    if begin.resuming is not None:
        _resume(machine, receive, dataset, pid)
        return
    after: int | None = None
    if dataset is not None:
        error = _refusal(receive, dataset)
        if error == "there":
            receive.skip = True
            return
        if error:
            raise RefusalError(*error.split("\n"))
        newest = dataset.newest()
        after = newest.objid if newest else None
    if pool.full:
        raise RefusalError(f"{action}: out of space")
    machine.wait_txg(pool)
    if dataset is None:
        dataset = machine.new_dataset(receive.name, begin.kind)
        dataset.inconsistent, dataset.origin = True, receive.origin
    state = asdict(begin)
    state["snap"] = receive.snap
    receive.into = dataset.objid
    dataset.partial = Partial(state, receive.options.has("s"), pid or 0, after, new_filesystem=receive.new)


def _refusal(receive: Receive, dataset: Dataset) -> str | None:
    """Why the kernel does not take this stream, in its order; "there" where it need not."""
    begin, action, force = receive.begin, receive.action, receive.options.has("F")
    if dataset.partial is not None:
        if receive.had_token:
            return f'{action}: destination {dataset.name} contains partially-complete state from "zfs receive -s".'
        return f"{action}: dataset is busy"
    there = dataset.snapshot(receive.snap)
    if there is not None:
        if any(s.guid == begin.toguid for s in dataset.snapshots):
            return "there"
        return f"cannot restore to {dataset.name}@{receive.snap}: destination already exists"
    if begin.fromguid and receive.origin is None:
        base = next((s for s in reversed(dataset.snapshots) if s.guid == begin.fromguid), None)
        if base is None:
            return f"{action}: most recent snapshot of {dataset.name} does not\nmatch incremental source"
        modified = dataset.version != base.version or (begin.raw and dataset.newest() is not base)
        if modified and not force:
            return f"{action}: destination {dataset.name} has been modified\nsince most recent snapshot"
    return None


def _resume(machine: Machine, receive: Receive, dataset: Dataset | None, pid: int | None) -> None:
    begin, action = receive.begin, receive.action
    if dataset is None:
        raise RefusalError(f"{action}: destination '{receive.name}' does not exist")
    partial = dataset.partial
    if partial is None or not partial.resumable:
        raise RefusalError(f"{action}: kernel modules must be upgraded to receive this stream.")
    if partial.pid is not None:
        raise RefusalError(f"{action}: dataset is busy")
    same = partial.begin["toguid"] == begin.toguid and partial.begin["fromguid"] == begin.fromguid
    if not same or len(partial.records) != begin.resuming:
        raise RefusalError(f"{action}: kernel modules must be upgraded to receive this stream.")
    if dataset.newest() is not None and partial.after != getattr(dataset.newest(), "objid", None):
        raise RefusalError(f"{action}: kernel modules must be upgraded to receive this stream.")
    machine.wait_txg(machine.pool(dataset))
    receive.new, receive.into = partial.new_filesystem, dataset.objid
    partial.pid = pid or 0


def finish(machine: Machine, receive: Receive, records: list[Record], complete: bool) -> None:
    """The stream has ended, whole or torn."""
    if receive.skip:
        return
    dataset = next(d for d in machine.host.datasets.values() if d.objid == receive.into)
    partial = dataset.partial
    assert partial is not None
    partial.records += records
    partial.pid = None
    pool = machine.pool(dataset)
    machine.wait_txg(pool)
    if not complete:
        _torn(machine, receive, dataset, partial)
    error = _end_refusal(receive, dataset, partial)
    if error:
        if not partial.resumable:
            discard(machine, dataset)
        raise RefusalError(*error.split("\n"))
    base = None
    if dataset.origin is not None and not dataset.snapshots:
        base = machine.owner(dataset.origin)[1]
    elif receive.begin.fromguid:
        base = next(s for s in dataset.snapshots if s.guid == receive.begin.fromguid)
        _destroy_newer(machine, receive, dataset, base)
    _land(machine, receive, dataset, partial, base)


def _torn(machine: Machine, receive: Receive, dataset: Dataset, partial: Partial) -> None:
    if not partial.resumable:
        discard(machine, dataset)
        raise RefusalError(f"{receive.action}: incomplete stream")
    raise RefusalError(
        f"{receive.action}: checksum mismatch or incomplete stream.",
        "Partially received snapshot is saved.",
        "A resuming stream can be generated on the sending system by running:",
        f"    zfs send -t {stream.make_token(partial)}",
    )


def discard(machine: Machine, dataset: Dataset) -> None:
    dataset.partial = None
    if dataset.inconsistent:
        del machine.host.datasets[dataset.name]


def _end_refusal(receive: Receive, dataset: Dataset, partial: Partial) -> str | None:
    """What has happened to the target while the stream was under way."""
    if dataset.name != receive.name:
        gone = "dataset does not exist"
        return f"cannot open '{receive.name}': {gone}\n{receive.action}: {gone}"
    if dataset.inconsistent or receive.options.has("F"):
        return None
    newest = dataset.newest()
    if partial.after != (newest.objid if newest else None):
        why = ": kernel modules must be upgraded to receive this stream." if partial.resumable else ""
        return receive.action + (why or ": invalid backup stream")
    if newest is not None and dataset.version != newest.version:
        return f"{receive.action}: destination {dataset.name} has been modified\nsince most recent snapshot"
    return None


def _destroy_newer(machine: Machine, receive: Receive, dataset: Dataset, base: Snapshot) -> None:
    """What receive -F does to every snapshot after the base that nobody holds."""
    if not receive.options.has("F"):
        return
    newer = dataset.snapshots[dataset.snapshots.index(base) + 1 :]
    if any(s.holds or machine.clones(s) for s in newer):
        discard(machine, dataset)
        raise RefusalError(f"{receive.action}: dataset is busy")
    for snapshot in newer:
        dataset.snapshots.remove(snapshot)


def _land(machine: Machine, receive: Receive, dataset: Dataset, partial: Partial, base: Snapshot | None) -> None:
    begin = receive.begin
    txg = machine.wait_txg(machine.pool(dataset))
    dataset.data = stream.apply(base.data if base else {}, partial.records)
    if base is None or begin.changed:
        dataset.version = machine.fresh()
        dataset.written = sum(len(value or b"") + 4096 for _, value in partial.records) + 12288
        dataset.referenced += dataset.written if base else 0
    else:
        dataset.version, dataset.written = base.version, 0
    dataset.pending, dataset.intent_log, dataset.unreplayed = {}, {}, False
    dataset.volsize = begin.volsize
    dataset.partial, dataset.inconsistent = None, False
    if begin.kind == VOLUME:
        dataset.props["volsize"] = Setting(local=str(begin.volsize))
    if receive.new:
        above = machine.host.datasets[parent(dataset.name)]
        if not _plain(receive):
            dataset.encryption_root, dataset.key_loaded = above.encryption_root, above.key_loaded
            dataset.salt = above.salt
        if dataset.origin is not None:
            first = machine.owner(dataset.origin)[0]
            dataset.encryption_root, dataset.key_loaded = first.encryption_root, first.key_loaded
        elif begin.raw and begin.encryption_root:
            dataset.encryption_root, dataset.key_loaded = dataset.name, False
            dataset.props["keylocation"] = Setting(local="prompt")
    dataset.salt = begin.salt if begin.raw and begin.encryption_root else dataset.salt
    dataset.came_raw = begin.raw and dataset.encryption_root is not None
    snapshot = machine.take(dataset, receive.snap, txg, begin.toguid)
    snapshot.creation = begin.created
    snapshot.props = {key: Setting(received=value) for key, value in begin.snapprops.items()}
    _receive_properties(machine, receive, dataset)
    if receive.new and not receive.options.has("u"):
        mounting.mount_by_itself(machine, dataset, unless=("off",))


def _receive_properties(machine: Machine, receive: Receive, dataset: Dataset) -> None:
    received = receive.begin.props
    if received is not None:
        if not dataset.had_properties and not receive.new:
            for setting in dataset.props.values():  # whatever is local is taken for the received of long ago
                setting.local = None
        dataset.had_properties = True
        for key in [k for k, s in dataset.props.items() if s.received is not None and k not in received]:
            dataset.props[key].received = None
        for key, value in received.items():
            setting = machine.setting(dataset, key)
            setting.received, setting.cleared = value, False
    for key in receive.excluded:
        excluded = dataset.props.get(key)
        if excluded is not None and excluded.received is not None:
            excluded.cleared = True
    checked = validate(receive.begin.kind, receive.overrides, receive.action, creating=True)
    for key, value in checked.items():
        machine.setting(dataset, key).local = value
    for key in [k for k, s in dataset.props.items() if s.local is None and s.received is None]:
        del dataset.props[key]
