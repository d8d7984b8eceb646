"""zfs set and inherit: validating values, and what a change of a property does besides being stored."""

from __future__ import annotations

from . import mounting, properties
from .errors import RefusalError, usage
from .machine import Machine
from .names import FILESYSTEM, SNAPSHOT, VOLUME
from .options import parse
from .properties import ALONE, INHERIT, NATIVE, ONCE, OWN, READONLY, canonical
from .state import Dataset, Setting, Snapshot

_MAX_VALUE = 8192
_MAX_NAME = 256
_REMOUNTING = frozenset({"mountpoint", "canmount"})


def validate(kind: str, given: dict[str, str], action: str, creating: bool = False) -> dict[str, str]:
    """zfs_valid_proplist(): canonical names and values, or the first complaint."""
    checked: dict[str, str] = {}
    for word, value in given.items():
        name = canonical(word)
        if name not in NATIVE and properties.is_user(name):
            if len(name) >= _MAX_NAME:
                raise RefusalError(f"{action}: property name '{name}' is too long")
            if len(value) >= _MAX_VALUE:
                raise RefusalError(f"{action}: property value too long")
            checked[name] = value
            continue
        if kind == SNAPSHOT:
            raise RefusalError(f"{action}: this property can not be modified for snapshots")
        if properties.is_userquota(name):
            if value != "none" and not value.isdigit():
                raise RefusalError(f"{action}: '{name}' must be a number")
            if value == "0":
                raise RefusalError(f"{action}: use 'none' to disable {{user|group|project}}quota")
            checked[name] = value
            continue
        checked[name] = _native(kind, name, value, action, creating)
    return checked


def _native(kind: str, name: str, value: str, action: str, creating: bool) -> str:
    native = NATIVE.get(name)
    if native is None:
        raise RefusalError(f"{action}: invalid property '{name}'")
    if kind not in native.types:
        raise RefusalError(f"{action}: '{name}' does not apply to datasets of this type")
    if native.how == READONLY or (native.how == ONCE and not creating):
        raise RefusalError(f"{action}: '{name}' is readonly")
    if native.number:
        size = properties.number(value)
        if size is None:
            raise RefusalError(f"{action}: bad numeric value '{value}'")
        if name in ("quota", "refquota") and size == 0 and value != "none":
            raise RefusalError(f"{action}: use 'none' to disable quota/refquota")
        return str(size)
    if native.values and value not in native.values:
        choices = " | ".join(native.values)
        raise RefusalError(f"{action}: '{name}' must be one of '{choices}'")
    if name == "mountpoint" and value not in ("none", "legacy") and not value.startswith("/"):
        raise RefusalError(f"{action}: '{name}' must be an absolute path, 'none', or 'legacy'")
    return value


def do_set(machine: Machine, args: list[str]) -> int:
    options = parse(args, "u")
    words = options.rest
    start = next((i for i, word in enumerate(words) if "=" not in word), None)
    if not words:
        raise usage("missing arguments")
    if len(words) < 2:
        raise usage("missing dataset name(s)" if "=" in words[0] else "missing property=value argument(s)")
    if start is None:
        raise usage("missing dataset name(s)")
    if any("=" in word for word in words[start:]):
        raise usage("invalid argument order")
    given: dict[str, str] = {}
    for word in words[:start]:
        name, _, value = word.partition("=")
        if name in given:
            raise RefusalError(f"property '{name}' specified multiple times", rc=255)
        given[name] = value
    status = 0
    targets = []
    for name in words[start:]:
        try:
            targets.append(machine.open(name))
        except RefusalError as fail:
            machine.err.extend(fail.lines)
            status = 1
    for dataset, snapshot in sorted(targets, key=lambda t: (t[0].name, t[1].createtxg if t[1] else 0)):
        try:
            set_properties(machine, dataset, snapshot, given, remount=not options.has("u"))
        except RefusalError as fail:
            machine.err.extend(fail.lines)
            status = 255
    return status


def set_properties(
    machine: Machine, dataset: Dataset, snapshot: Snapshot | None, given: dict[str, str], remount: bool = True
) -> None:
    name = f"{dataset.name}@{snapshot.name}" if snapshot else dataset.name
    action = f"cannot set property for '{name}'"
    checked = validate(SNAPSHOT if snapshot else dataset.kind, given, action)
    pool = machine.pool(dataset)
    for key in checked:
        machine.permit(_permission(key), dataset, action)
    if pool.readonly:
        raise RefusalError(f"{action}: pool is read-only")
    if snapshot is not None:
        machine.wait_txg(pool)
        for key, value in checked.items():
            snapshot.props.setdefault(key, Setting()).local = value
        return
    plain = {key: value for key, value in checked.items() if key not in ALONE and not properties.is_userquota(key)}
    moved = _affected(machine, dataset, checked) if remount else []
    mounted = mounting.unmount_tree(machine, moved)
    if plain:
        machine.wait_txg(pool)
        for key, value in plain.items():
            machine.setting(dataset, key).local = value
    for key, value in checked.items():
        if key not in plain:
            _set_alone(machine, dataset, key, value, action)
    if remount and "canmount" not in checked:
        mounting.remount_tree(machine, mounted)
    if "mountpoint" in checked and remount:
        _mount_at_new_place(machine, dataset)
    if "readonly" in checked:
        mounting.remount_by_property(machine, dataset, "property may be set but unable to remount filesystem")


def _permission(prop: str) -> str:
    return "userprop" if ":" in prop and prop not in NATIVE else prop.partition("@")[0]


def _affected(machine: Machine, dataset: Dataset, checked: dict[str, str]) -> list[Dataset]:
    """The mounted filesystems that a new mountpoint or canmount=off unmounts first."""
    if "mountpoint" in checked:
        inherits = [
            d for d in machine.tree(dataset) if d is dataset or mounting.inherits(machine, d, dataset, "mountpoint")
        ]
        return [d for d in inherits if d.mounted_at]
    if checked.get("canmount") == "off":
        return [dataset]
    return []


def _mount_at_new_place(machine: Machine, dataset: Dataset) -> None:
    """Leaving none or legacy mounts the filesystem, unless canmount says no."""
    for member in machine.tree(dataset):
        if member is dataset or mounting.inherits(machine, member, dataset, "mountpoint"):
            mounting.mount_by_itself(machine, member)


def _set_alone(machine: Machine, dataset: Dataset, key: str, value: str, action: str) -> None:
    pool = machine.pool(dataset)
    if properties.is_userquota(key):
        if dataset.kind != FILESYSTEM:
            raise RefusalError(f"{action}: invalid property value")
        if dataset.encryption_root and not dataset.key_loaded:
            raise RefusalError(f"{action}: permission denied")
        limits = [int(machine.value(dataset, limit)) for limit in ("quota", "refquota")]
        if machine.available(dataset) <= 0 or any(0 < limit <= machine.used(dataset) for limit in limits):
            raise RefusalError(f"{action}: out of space")
        dataset.dirtied = True  # in the open transaction group: this does not wait for it to close
        return
    size = int(value) if value.isdigit() else 0
    if key in ("quota", "refquota") and 0 < size < machine.used(dataset):
        raise RefusalError(f"{action}: size is less than current used or reserved space")
    if key in ("reservation", "refreservation") and size > machine.available(dataset):
        raise RefusalError(f"{action}: size is greater than available space")
    if key == "volsize":
        if size == 0:
            raise RefusalError(f"{action}: 'volsize' cannot be zero")
        if machine.value(dataset, "readonly") == "on":
            raise RefusalError(f"{action}: dataset is read-only")
        dataset.volsize = size
        dataset.dirtied = True
    machine.wait_txg(pool)
    machine.setting(dataset, key).local = value


def do_inherit(machine: Machine, args: list[str]) -> int:
    options = parse(args, "rS")
    if not options.rest:
        raise usage("missing property argument")
    if len(options.rest) < 2:
        raise usage("missing dataset argument")
    prop, received = canonical(options.rest[0]), options.has("S")
    native = NATIVE.get(prop)
    if native is not None:
        if native.how == READONLY or native.how == ONCE:
            raise RefusalError(f"{prop} property is read-only")
        if native.how == OWN and not received:
            lines = [f"'{prop}' property cannot be inherited"]
            if prop in ("quota", "reservation", "refquota", "refreservation"):
                lines += [
                    f"use 'zfs set {prop}=none' to clear",
                    f"use 'zfs inherit -S {prop}' to revert to received value",
                ]
            raise RefusalError(*lines)
        if received and prop in ("volsize", "version"):
            raise RefusalError(f"'{prop}' property cannot be reverted to a received value")
    elif not properties.is_user(prop):
        raise usage(f"invalid property '{prop}'")
    status = 0
    targets: list[tuple[Dataset, Snapshot | None]] = []
    for name in options.rest[1:]:
        try:
            dataset, snapshot = machine.open(name)
            below = machine.tree(dataset) if options.has("r") and not snapshot else [dataset]
            targets.extend((member, snapshot) for member in below)
        except RefusalError as fail:
            machine.err.extend(fail.lines)
            status = 1
    for dataset, snapshot in targets:
        try:
            inherit(machine, dataset, snapshot, prop, received)
        except RefusalError as fail:
            machine.err.extend(fail.lines)
            status = 1
    return status


def inherit(machine: Machine, dataset: Dataset, snapshot: Snapshot | None, prop: str, received: bool) -> None:
    name = f"{dataset.name}@{snapshot.name}" if snapshot else dataset.name
    native = NATIVE.get(prop)
    if native and (SNAPSHOT if snapshot else dataset.kind) not in native.types:
        raise RefusalError(f"cannot inherit {prop} for '{name}': property doesn't apply to datasets of this type")
    machine.permit(_permission(prop), dataset, f"cannot inherit {prop} for '{name}'")
    moves = prop == "mountpoint" and snapshot is None
    mounted = mounting.unmount_tree(machine, _affected(machine, dataset, {prop: ""})) if moves else []
    machine.wait_txg(machine.pool(dataset))
    holder = snapshot.props if snapshot else dataset.props
    setting = holder.get(prop)
    if setting is not None:
        setting.local = None
        setting.cleared = setting.received is not None and not received
        if setting.received is None:
            del holder[prop]
    mounting.remount_tree(machine, mounted)
    if moves:
        _mount_at_new_place(machine, dataset)
    if prop == "readonly" and snapshot is None:
        mounting.remount_by_property(machine, dataset)


__all__ = ["INHERIT", "VOLUME", "do_inherit", "do_set", "validate"]
