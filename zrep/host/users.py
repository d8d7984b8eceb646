"""Who uses a dataset, in whatever mount namespace: what the kernel tells of each process in /proc (proc(5)).

A container has mounts of its own: a dataset may be mounted there under another path, or there alone. What is mounted
has one device number for all of them; a file that is open has the number of its mount, one that is mapped that of its
device. Names of files are of no use: they are those of each process's own root.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from msgspec import Struct

from zrep.core.errors import FailedError
from zrep.core.mounts import MountEntry
from zrep.core.requests import ReadUsers, Users
from zrep.host.machine import Machine, carry_out
from zrep.host.procfs import open_for_writing, processes, read
from zrep.zfs import parse

# The first pid namespace (PROC_PID_INIT_INO of the kernel): whoever is in another one does not see all processes.
_FIRST = "pid:[4026531836]"


class _Place(Struct, frozen=True):
    """What one mount namespace shows of a dataset to the processes with one root. groups: those of what it is mounted
    on."""

    namespace: str
    mounts: tuple[MountEntry, ...] = ()
    groups: frozenset[str] = frozenset()


@carry_out.register(ReadUsers)
def read_users(request: ReadUsers, machine: Machine) -> Users:
    pids = processes()
    places = _places(request.dataset, pids)
    found = [mount for place in places.values() for mount in place.mounts]
    numbers = {str(mount.identity) for mount in found}
    devices = {_as_in_maps(mount.device) for mount in found}
    users, writing, mapped = [], [], []
    hidden = set(pids) - places.keys()
    for pid, place in places.items():
        try:
            maps = _mapped(pid, devices)
            files = _open(pid, numbers)
        except PermissionError:
            hidden.add(pid)
            continue
        except OSError:  # it has ended
            continue
        name = process_name(pid)
        if maps:
            mapped.append(name)
        if maps or any(files):
            writing.append(name)
        if maps is not None or files or _inside(pid, [mount.point for mount in place.mounts]):
            users.append(name)
    return Users(tuple(users), tuple(writing), tuple(mapped), _elsewhere(places), unseen(hidden))


def _places(dataset: str, pids: Iterable[int]) -> dict[int, _Place]:
    """What each process sees of a dataset: one reading for all with the same namespace and root. Without those that
    have ended, or may not be looked into."""
    known: dict[tuple[str, str], _Place] = {}
    found = {}
    for pid in pids:
        try:
            key = os.readlink(f"/proc/{pid}/ns/mnt"), os.readlink(f"/proc/{pid}/root")
            if key not in known:
                with open(f"/proc/{pid}/mountinfo", errors="replace") as file:
                    known[key] = _place(key[0], dataset, parse.parse_mountinfo(file.read()))
        except (FileNotFoundError, ProcessLookupError, FailedError):
            found[pid] = _Place("")
        except OSError:
            continue
        else:
            found[pid] = known[key]
    return found


def _place(namespace: str, dataset: str, table: Sequence[MountEntry]) -> _Place:
    own = tuple(mount for mount in table if (mount.kind, mount.source) == ("zfs", dataset))
    parents = {mount.parent for mount in own}
    groups = frozenset(group for mount in table if mount.identity in parents for group in mount.groups)
    return _Place(namespace, own, groups)


def _as_in_maps(device: str) -> str:
    """A device number as proc_pid_maps(5) has it, in hexadecimal."""
    major, _, minor = device.partition(":")
    return f"{int(major):02x}:{int(minor):02x}" if major.isdigit() and minor.isdigit() else device


def _mapped(pid: int, devices: set[str]) -> bool | None:
    """Whether a process has a file of these devices mapped so that what it stores gets into the file, now or once it
    asks to; None: it has none mapped."""
    if not devices:
        return None
    with open(f"/proc/{pid}/maps", errors="replace") as file:
        areas = [line.split(" ", 4) for line in file]
    own = [area for area in areas if len(area) > 3 and area[3] in devices]
    if not own:
        return None
    shared = [area for area in own if area[1].endswith("s")]
    return any("w" in area[1] for area in shared) or (bool(shared) and _may_write(pid, {area[0] for area in shared}))


def _may_write(pid: int, ranges: set[str]) -> bool:
    """Whether mprotect(2) could make one of these areas writable: that of a file that is open to write."""
    current = ""
    with open(f"/proc/{pid}/smaps", errors="replace") as file:
        for line in file:
            if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
                current = line.split(" ", 1)[0]
            elif line.startswith("VmFlags:") and current in ranges and "mw" in line.split():
                return True
    return False


def _open(pid: int, numbers: set[str]) -> list[bool]:
    """For each file that a process has open on these mounts, whether it is open to write."""
    if not numbers:
        return []
    texts = []
    for number in os.listdir(f"/proc/{pid}/fdinfo"):
        with suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/fdinfo/{number}") as file:
            texts.append(file.read())
    return [open_for_writing(text) for text in texts if _mount_of(text) in numbers]


def _mount_of(fdinfo: str) -> str:
    found = re.search(r"^mnt_id:\s*(\d+)", fdinfo, re.MULTILINE)
    return found[1] if found else ""


def _inside(pid: int, points: Iterable[str]) -> bool:
    """Whether a process works in one of these directories."""
    places = []
    for link in ("cwd", "root"):
        with suppress(OSError):
            places.append(os.readlink(f"/proc/{pid}/{link}"))
    return any(place == point or place.startswith(f"{point.rstrip('/')}/") for place in places for point in points)


def _elsewhere(places: Mapping[int, _Place]) -> tuple[str, ...]:
    """Mounts in other namespaces that an unmount here does not end: a service's own namespace mostly repeats what is
    done here."""
    with suppress(OSError):
        here = os.readlink("/proc/self/ns/mnt")
        followed = {group for place in places.values() if place.namespace == here for group in place.groups}
        found: dict[str, str] = {}
        for pid, place in places.items():
            if place.mounts and place.namespace != here and not place.groups & followed:
                found.setdefault(place.namespace, f"{place.mounts[0].point} for {process_name(pid)}")
        return tuple(found.values())
    return ()


def unseen(hidden: Iterable[int]) -> str:
    """Why there may be others than those that were seen."""
    if not os.path.isdir("/proc/self"):
        return "there is no /proc"
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except FileNotFoundError:  # a kernel without pid namespaces hides nobody in one
        namespace = _FIRST
    except OSError as error:
        return f"/proc/self/ns/pid: {error.strerror or error}"
    if namespace != _FIRST:
        return "zrep runs in a container there, and sees only its own processes"
    count = len(set(hidden))
    return f"{count} processes could not be looked into; root may" if count else ""


def process_name(pid: int) -> str:
    return f"{read(f'/proc/{pid}/comm').strip()} ({pid})"
