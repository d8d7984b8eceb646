"""The mounts of a host in the order they were made: what lies over what, and where a path leads."""

from __future__ import annotations

from dataclasses import dataclass

from .state import Dataset, HostState


@dataclass(frozen=True, slots=True)
class Mounted:
    """One mount. number: the later, the higher; parent: the one that its directory is in."""

    number: int
    parent: int
    point: str
    kind: str
    source: str


_ROOT = Mounted(1, 0, "/", "ext4", "/dev/sda1")


def next_number(host: HostState) -> int:
    host.mounts_made += 1
    return host.mounts_made + _ROOT.number


def table(host: HostState) -> list[Mounted]:
    """All mounts, the oldest first."""
    made = [(d.mount_number, d.mounted_at, "zfs", d.name) for d in host.datasets.values() if d.mounted_at]
    made += [(number, point, "tmpfs", "tmpfs") for point, number in host.other_numbers.items()]
    found = [_ROOT]
    for number, point, kind, source in sorted(made):
        found.append(Mounted(number, _walk(found, point).number, point, kind, source))
    return found


def leads(host: HostState, path: str) -> Mounted:
    """The mount in which a path ends."""
    return _walk(table(host), path)


def seen(host: HostState, dataset: Dataset) -> bool:
    """Whether the path of a mounted filesystem leads to it."""
    return dataset.mounted_at is not None and leads(host, dataset.mounted_at).number == dataset.mount_number


def _walk(mounts: list[Mounted], path: str) -> Mounted:
    """Down the path: at each directory that something is mounted on, into that."""
    here = _ROOT
    while True:
        inside = [m for m in mounts if m.parent == here.number and _within(path, m.point)]
        if not inside:
            return here
        here = min(inside, key=lambda mounted: len(mounted.point))


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
