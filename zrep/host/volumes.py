"""Who has volumes open to write: processes, by the number of the device (proc(5)), and the kernel, which has what is
mounted, swapped to, exported or part of another device for itself alone (open(2), O_EXCL).

What they have written is in the device's own cache until they ask for it to be stored, and none of it is stored any
more once the volume is read-only: no snapshot has it, and nobody is told.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress

from zrep.core.requests import FindOpenVolumes, OpenVolumes
from zrep.host.machine import Machine, carry_out
from zrep.host.procfs import open_for_writing, processes, read
from zrep.host.users import process_name, unseen
from zrep.zfs import parse

# BLKZNAME of OpenZFS (zvol_impl.h's ioctl, as zvol_id asks it): the name of the volume behind a device.
_NAME_LENGTH = 256
_BLKZNAME = 0x80000000 | _NAME_LENGTH << 16 | 0x12 << 8 | 125


@carry_out.register(FindOpenVolumes)
def find_open_volumes(request: FindOpenVolumes, machine: Machine) -> OpenVolumes:
    """A volume without a device (volmode=none) is open to nobody. Each table of the kernel is read once for all."""
    devices, closed = _devices(request.volumes)
    parts = {name: _parts(device) for name, device in devices.items()}
    owners = {_read_number(part): name for name, each in parts.items() for part in each}
    found: dict[str, list[str]] = {name: [] for name in devices}
    hidden = _add_writers(found, owners)
    _add_uses(found, owners)
    for name, device in devices.items():
        found[name] += (f"part of {holder}" for part in parts[name] for holder in _listed(f"{part}/holders"))
        if not found[name] and _is_taken(device):
            found[name].append("the kernel has it for itself, as what is mounted in a container or exported")
    return OpenVolumes(
        {name: tuple(who) for name, who in found.items() if who}, closed or (unseen(hidden) if devices else "")
    )


def _devices(volumes: Iterable[str]) -> tuple[dict[str, str], str]:
    """The device of each volume that has one; and why some could not be found. udev's links are tried first; where it
    does not run, or a link is an old one, every device is asked for its name."""
    wanted = set(volumes)
    found: dict[str, str] = {}
    refused = ""
    for path in _candidates(wanted):
        if not wanted - found.keys():
            break
        try:
            with _opened(path) as descriptor:
                name = _name_of(descriptor)
        except PermissionError:
            refused = f"{path} may not be opened; root may"
            continue
        except OSError:  # gone, or without its key
            continue
        if name in wanted:
            found[name] = f"/dev/{os.path.basename(os.path.realpath(path))}"
    return found, refused if wanted - found.keys() else ""


def _candidates(volumes: Iterable[str]) -> Iterator[str]:
    yield from (path for name in sorted(volumes) if os.path.exists(path := f"/dev/zvol/{name}"))
    with suppress(OSError):
        yield from (f"/dev/{name}" for name in os.listdir("/sys/block") if name.startswith("zd"))


@contextmanager
def _opened(path: str, flags: int = 0) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _name_of(descriptor: int) -> str:
    """The volume behind a device; "" for what is no volume."""
    with suppress(OSError):
        return fcntl.ioctl(descriptor, _BLKZNAME, bytes(_NAME_LENGTH)).split(b"\0", 1)[0].decode(errors="replace")
    return ""


def _parts(device: str) -> list[str]:
    """The folders of a device and its partitions below /sys."""
    name = os.path.basename(device)
    place = f"/sys/block/{name}"
    return [place, *(f"{place}/{part}" for part in _listed(place) if part.startswith(name))]


def _read_number(part: str) -> str:
    """The device number of a folder below /sys, "major:minor" as mountinfo has it too."""
    return read(f"{part}/dev").strip()


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _add_writers(found: Mapping[str, list[str]], owners: Mapping[str, str]) -> set[int]:
    """Add to each volume the processes that have it open to write; those that could not be looked into. owners: the
    volume of each device number."""
    hidden = set()
    for pid in processes() if owners else ():
        try:
            files = os.listdir(f"/proc/{pid}/fd")
        except PermissionError:
            hidden.add(pid)
            continue
        except OSError:  # it has ended
            continue
        for name in {owners[number] for file in files if (number := _device_open(pid, file)) in owners}:
            found[name].append(process_name(pid))
    return hidden


def _device_open(pid: int, file: str) -> str:
    """The number of the device that a process has open to write by one of its descriptors; "" for anything else. Device
    nodes are looked for below a directory dev: a file of any other place may be on a server that does not answer."""
    with suppress(OSError):
        if "/dev/" in os.readlink(f"/proc/{pid}/fd/{file}"):
            number = _number(f"/proc/{pid}/fd/{file}")
            if number and open_for_writing(read(f"/proc/{pid}/fdinfo/{file}")):
                return number
    return ""


def _add_uses(found: Mapping[str, list[str]], owners: Mapping[str, str]) -> None:
    """Add what this mount namespace has mounted of each volume, swaps to, or has behind a loop device."""
    for entry in parse.parse_mountinfo(read("/proc/self/mountinfo")):
        if (name := owners.get(entry.device)) and (use := f"mounted on {entry.point}") not in found[name]:
            found[name].append(use)
    swaps = [("swap", line.split()[0]) for line in read("/proc/swaps").splitlines()[1:]]
    loops = [f"/sys/block/{block}" for block in _listed("/sys/block") if block.startswith("loop")]
    behind = [(f"behind /dev/{os.path.basename(loop)}", read(f"{loop}/loop/backing_file").strip()) for loop in loops]
    for use, path in (*swaps, *behind):
        if path.startswith("/dev/") and (name := owners.get(_number(path))):
            found[name].append(use)


def _number(path: str) -> str:
    """The number of a block device; "" for anything else."""
    with suppress(OSError):
        found = os.stat(path)
        if stat.S_ISBLK(found.st_mode):
            return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    return ""


def _is_taken(device: str) -> bool:
    """Whether the kernel has a device, or one of its partitions, for itself alone."""
    try:
        with _opened(device, os.O_EXCL):
            return False
    except OSError as error:
        return error.errno == errno.EBUSY
