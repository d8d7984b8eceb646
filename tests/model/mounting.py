"""Mounting: where a filesystem appears, who keeps it busy, and the directories made for it on the way."""

from __future__ import annotations

from . import mounts
from .errors import RefusalError
from .machine import Machine
from .names import FILESYSTEM
from .options import parse
from .state import Dataset, HostState

BUSY = 128  # what mount.zfs exits with


def enclosing(machine: Machine, dataset: Dataset | None, where: str) -> Dataset | None:
    """The mounted filesystem that the directory of a mount point lies in."""
    best: Dataset | None = None
    for other in machine.host.datasets.values():
        at = other.mounted_at
        inside = at is not None and other is not dataset and where.startswith(at.rstrip("/") + "/")
        if inside and (best is None or len(at or "") > len(best.mounted_at or "")):
            best = other
    return best


def readonly(machine: Machine, dataset: Dataset) -> bool:
    if machine.pool(dataset).readonly:
        return True
    return dataset.remounted == "ro" if dataset.remounted else machine.value(dataset, "readonly") == "on"


def can_make(machine: Machine, where: str, dataset: Dataset | None = None) -> bool:
    """Whether the directory of a mount point is there, or what it lies in can be written to. dataset: what is to be
    mounted."""
    outer = enclosing(machine, dataset, where)
    if outer is None or outer.mounted_at is None or not readonly(machine, outer):
        return True
    return where[len(outer.mounted_at.rstrip("/")) + 1 :] + "/" in outer.data


def mount(machine: Machine, dataset: Dataset) -> None:
    """zfs_mount() of libzfs: the caller has looked at canmount."""
    where = machine.value(dataset, "mountpoint")
    if machine.user != "root":
        raise RefusalError(f"cannot mount '{where}': failed to create mountpoint: Permission denied")
    if dataset.encryption_root and not dataset.key_loaded:
        raise RefusalError(f"cannot mount '{where}': encryption key not loaded")
    if dataset.encryption_root and dataset.salt != machine.host.datasets[dataset.encryption_root].salt:
        raise RefusalError(f"cannot mount '{dataset.name}': Permission denied")
    if not can_make(machine, where, dataset):
        raise RefusalError(f"cannot mount '{where}': failed to create mountpoint: Read-only file system")
    outer = enclosing(machine, dataset, where)
    if outer is not None and outer.mounted_at is not None:
        directory = where[len(outer.mounted_at.rstrip("/")) + 1 :] + "/"
        if directory not in outer.data:
            machine.change(outer, {directory: b""})
    dataset.mounted_at, dataset.mount_number = where, mounts.next_number(machine.host)
    dataset.remounted = None
    if dataset.came_raw and not readonly(machine, dataset):
        dataset.came_raw = False
        machine.change(dataset)
    replay(machine, dataset)


def replay(machine: Machine, dataset: Dataset) -> None:
    """Mounting a filesystem, read-only or not, and making the device of a volume replay what a crash left."""
    if dataset.unreplayed:
        dataset.unreplayed = False
        if dataset.intent_log:
            log, dataset.intent_log = dataset.intent_log, {}
            machine.change(dataset, log)


def make_devices(machine: Machine) -> None:
    """The devices of volumes are made as their pool is opened, or their key is loaded (zvol_create_minors())."""
    for dataset in machine.host.datasets.values():
        if dataset.kind == "volume" and (dataset.key_loaded or not dataset.encryption_root):
            replay(machine, dataset)


def mount_by_itself(machine: Machine, dataset: Dataset, unless: tuple[str, ...] = ("off", "noauto")) -> None:
    """What create, clone and receive do at their end (receive does not heed canmount=noauto)."""
    if dataset.kind != FILESYSTEM or dataset.mounted_at or machine.value(dataset, "canmount") in unless:
        return
    if machine.value(dataset, "mountpoint") in ("none", "legacy"):
        return
    if dataset.encryption_root and not dataset.key_loaded:
        return
    mount(machine, dataset)


def busy(machine: Machine, dataset: Dataset) -> bool:
    return dataset.open_files > 0 or dataset.mappings > 0


def unmount(machine: Machine, dataset: Dataset, force: bool = False) -> None:
    """zfs_unmount() of libzfs goes by the path: what is mounted over the filesystem goes in its place."""
    if dataset.mounted_at is None:
        return
    at = dataset.mounted_at
    if machine.user != "root":
        raise RefusalError(f"cannot unmount '{at}': permission denied")
    top = mounts.leads(machine.host, at)
    if top.point != at:
        raise RefusalError(f"cannot unmount '{at}': unmount failed")
    if top.kind != "zfs":
        del machine.host.others[at], machine.host.other_numbers[at]
        return
    if top.source != dataset.name:
        unmount(machine, machine.host.datasets[top.source], force)
        return
    # -f does not help on Linux; what is busy in another mount namespace hinders nothing here.
    if (busy(machine, dataset) and not dataset.elsewhere) or _covers(machine, dataset):
        raise RefusalError(f"cannot unmount '{at}': pool or dataset is busy")
    if dataset.pending:
        machine.settle(dataset)
    dataset.mounted_at = dataset.remounted = None
    if not dataset.elsewhere:
        dataset.open_files = dataset.mappings = 0


def _covers(machine: Machine, dataset: Dataset) -> bool:
    """Whether something else is mounted inside this one."""
    return any(mounted.parent == dataset.mount_number for mounted in mounts.table(machine.host))


def unmount_tree(machine: Machine, datasets: list[Dataset], force: bool = False) -> list[Dataset]:
    """Unmount all of them, the deepest first; one that is busy leaves all of them mounted."""
    mounted = [d for d in datasets if d.mounted_at is not None]
    if mounted and machine.user != "root":
        raise RefusalError(f"cannot unmount '{mounted[-1].mounted_at}': permission denied")
    stuck = next((d for d in reversed(mounted) if busy(machine, d) and not d.elsewhere), None)
    if stuck is not None:
        raise RefusalError(f"cannot unmount '{stuck.mounted_at}': pool or dataset is busy")
    for dataset in reversed(mounted):
        unmount(machine, dataset, force)
    return mounted


def remount_tree(machine: Machine, datasets: list[Dataset]) -> None:
    for dataset in sorted(datasets, key=lambda d: d.name):
        if machine.value(dataset, "mountpoint") not in ("none", "legacy") and dataset.mounted_at is None:
            mount(machine, dataset)


def remove_directory(machine: Machine, dataset: Dataset, where: str) -> None:
    """Destroying and renaming take the empty mount point away."""
    outer = enclosing(machine, dataset, where)
    if outer is None or outer.mounted_at is None or readonly(machine, outer):
        return
    directory = where[len(outer.mounted_at.rstrip("/")) + 1 :] + "/"
    if directory in outer.data:
        outer.data = {key: value for key, value in outer.data.items() if key != directory}
        machine.change(outer)


def do_mount(machine: Machine, args: list[str]) -> None:
    options = parse(args, "aflo:Ov")
    if options.has("a"):
        for dataset in sorted(machine.host.datasets.values(), key=lambda d: machine.value(d, "mountpoint")):
            if not dataset.inconsistent:
                mount_by_itself(machine, dataset)
        return
    if not options.rest:
        mounted = sorted((d for d in machine.host.datasets.values() if d.mounted_at), key=lambda d: d.name)
        machine.out.extend(f"{d.name:<30}  {d.mounted_at}" for d in mounted)
        return
    name = options.rest[0]
    dataset = machine.head(name, frozenset({FILESYSTEM}))
    _refuse(machine, dataset, "mount")
    if dataset.mounted_at is not None:
        raise RefusalError(f"cannot mount '{name}': filesystem already mounted")
    mount(machine, dataset)


def do_mount_alone(machine: Machine, args: list[str]) -> None:
    """unshare --mount mount -t zfs -o ro[,zfsutil] DATASET DIRECTORY: mounted, read-only, as long as that takes."""
    assert args[:5] == ["--mount", "mount", "-t", "zfs", "-o"], args
    options, name = args[5].split(","), args[6]
    dataset = machine.head(name, frozenset({FILESYSTEM}))
    if machine.user != "root":
        raise RefusalError("unshare: unshare failed: Operation not permitted")
    if dataset.encryption_root and not dataset.key_loaded:
        raise RefusalError(f"filesystem '{name}' can not be mounted: Permission denied", rc=2)
    if (machine.value(dataset, "mountpoint") == "legacy") is ("zfsutil" in options):
        raise RefusalError(f"filesystem '{name}' cannot be mounted using 'mount'", rc=1)
    if dataset.elsewhere and not readonly(machine, dataset):
        raise RefusalError(f"filesystem '{name}' is already mounted", rc=BUSY)
    replay(machine, dataset)


def _refuse(machine: Machine, dataset: Dataset, verb: str) -> None:
    name, where = dataset.name, machine.value(dataset, "mountpoint")
    if where == "legacy":
        raise RefusalError(f"cannot {verb} '{name}': legacy mountpoint", f"use {verb}(8) to {verb} this filesystem")
    if where == "none":
        raise RefusalError(f"cannot {verb} '{name}': no mountpoint set")
    if machine.value(dataset, "canmount") == "off":
        raise RefusalError(f"cannot {verb} '{name}': 'canmount' property is set to 'off'")
    if dataset.encryption_root and not dataset.key_loaded:
        raise RefusalError(f"cannot {verb} '{name}': encryption key not loaded")
    if dataset.inconsistent:
        raise RefusalError(
            f"cannot {verb} '{name}': Contains partially-completed state from "
            '"zfs receive -s", which can be resumed with "zfs send -t"'
        )


def do_unmount(machine: Machine, args: list[str]) -> None:
    options = parse(args, "afu")
    name = options.rest[0]
    if name.startswith("/"):
        found = next((d for d in machine.host.datasets.values() if d.mounted_at == name), None)
        if found is None and name in machine.host.others:
            del machine.host.others[name], machine.host.other_numbers[name]
            return None
        if found is None:
            raise RefusalError(f"cannot unmount '{name}': not currently mounted")
        return unmount(machine, found, options.has("f"))
    dataset = machine.head(name, frozenset({FILESYSTEM}))
    if machine.value(dataset, "mountpoint") == "legacy":
        raise RefusalError(f"cannot unmount '{name}': legacy mountpoint", "use umount(8) to unmount this filesystem")
    if dataset.mounted_at is None:
        raise RefusalError(f"cannot unmount '{name}': not currently mounted")
    unmount_tree(machine, [dataset, *machine.children(dataset)], options.has("f"))
    return None


def do_share(machine: Machine, args: list[str]) -> None:
    options = parse(args, "al")
    if options.has("a"):
        return
    name = options.rest[-1]
    dataset = machine.head(name, frozenset({FILESYSTEM}))
    if machine.value(dataset, "sharenfs") == "off" and machine.value(dataset, "sharesmb") == "off":
        raise RefusalError(
            f"cannot share '{name}': legacy share",
            "use exports(5) or smb.conf(5) to share this filesystem, or set the sharenfs or sharesmb property",
        )
    _refuse(machine, dataset, "share")
    if dataset.mounted_at is None:
        mount(machine, dataset)


def do_system_mount(machine: Machine, args: list[str]) -> None:
    """mount(8) for what is mounted here: only -o remount,ro and remount,rw."""
    options = parse(args, "o:t:")
    flags = (options.last("o") or "").split(",")
    where = options.rest[-1]
    top = mounts.leads(machine.host, where)
    if top.point == where and top.kind != "zfs":
        machine.host.others[where] = "ro" if "ro" in flags else "rw"
        return
    dataset = machine.host.datasets.get(where if where in machine.host.datasets else top.source)
    if dataset is None or dataset.mounted_at is None or where not in (dataset.mounted_at, dataset.name):
        more = "       dmesg(1) may have more information after failed mount system call."
        raise RefusalError(f"mount: {where}: mount point not mounted or bad option.", more, rc=32)
    if "ro" in flags:
        if dataset.mappings and not readonly(machine, dataset):
            raise RefusalError(f"filesystem '{dataset.name}' is already mounted", rc=BUSY)
        if dataset.pending:
            machine.settle(dataset)
        dataset.remounted = "ro"
    elif "rw" in flags:
        dataset.remounted = "rw"


def remount_by_property(machine: Machine, dataset: Dataset, *more: str) -> None:
    """What a change of readonly does to a mounted filesystem: it goes by the path too, the property is what it is. What
    inherits it follows in the kernel, though not where mount(8) has made the mount itself read-only."""
    for member in machine.tree(dataset):
        if member.remounted == "rw" and inherits(machine, member, dataset, "readonly"):
            member.remounted = None
    if dataset.mounted_at is None:
        return
    dataset.remounted = None
    if not mounts.seen(machine.host, dataset):
        raise RefusalError(f"cannot mount '{dataset.name}': Invalid argument", *more)


def inherits(machine: Machine, dataset: Dataset, ancestor: Dataset, prop: str) -> bool:
    """Whether nothing below an ancestor has a value of its own that a dataset would have instead."""
    for step in machine.ancestors(dataset):
        if step is ancestor:
            return True
        setting = step.props.get(prop)
        if setting and setting.effective():
            return False
    return False


def mountinfo(host: HostState) -> str:
    """/proc/self/mountinfo of the model."""
    lines: list[str] = []
    for mounted in mounts.table(host):
        names = [name.replace("\\", "\\134").replace(" ", "\\040") for name in (mounted.point, mounted.source)]
        about = f"{mounted.number} {mounted.parent} 0:{mounted.number} / {names[0]} rw,relatime"
        lines.append(f"{about} - {mounted.kind} {names[1]} rw,xattr")
    return "".join(line + "\n" for line in lines)
