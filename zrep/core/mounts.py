"""The mounts of a host as its kernel has them: whose a path is, and what a new mount would hide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from shlex import quote

from msgspec import Struct

from zrep.core.errors import RefusedError


class MountEntry(Struct, frozen=True):
    """One mount of proc_pid_mountinfo(5). identity, parent: mount ids; kind: of filesystem; source: of a dataset its
    name; device: the number by which what is mounted is told from all else, as MAJOR:MINOR; groups: those of mounts
    whose mounting and unmounting of others it repeats (mount_namespaces(7))."""

    identity: int
    parent: int
    point: str
    kind: str
    source: str
    device: str = ""
    groups: tuple[str, ...] = ()

    @property
    def unmounting(self) -> str:
        """The command that takes it away."""
        return f"zfs unmount '{self.source}'" if self.kind == "zfs" else f"umount '{self.point}'"


def mount_of(table: Iterable[MountEntry], dataset: str, point: str) -> MountEntry | None:
    """The mount of a dataset on a path; None where it is not mounted there."""
    found = [entry for entry in table if (entry.kind, entry.source, entry.point) == ("zfs", dataset, point)]
    return found[-1] if found else None


def leads(table: Sequence[MountEntry], path: str) -> MountEntry | None:
    """The mount in which a path ends: down from the root, at each directory that something is mounted on into that.
    None where the table has no root."""
    known = {entry.identity for entry in table}
    here = next((entry for entry in table if entry.parent not in known and entry.point == "/"), None)
    for _ in table:
        inside = [e for e in table if here and e.parent == here.identity != e.identity and within(path, e.point)]
        if not inside:
            break
        here = min(reversed(inside), key=lambda entry: len(entry.point))
    return here


def covering(table: Sequence[MountEntry], entry: MountEntry) -> MountEntry | None:
    """What is mounted over a mount, or over a directory that leads to it: its path leads there instead."""
    found = leads(table, entry.point)
    return None if found is None or found.identity == entry.identity else found


def in_the_way(table: Sequence[MountEntry], point: str) -> list[MountEntry]:
    """What is mounted on a path or below it, unless it is hidden already: a new mount on the path would hide it."""
    return [entry for entry in table if within(entry.point, point) and covering(table, entry) is None]


def mounted_by_hand(table: Iterable[MountEntry], dataset: str, mountpoint: str, host: str) -> RefusedError:
    """Why a dataset that mount(8) has mounted, and not ZFS, takes part in no role change: mounted so again, as at the
    next boot, it can be written to, whatever its readonly is (seen on OpenZFS 2.3.2)."""
    point = next((entry.point for entry in table if (entry.kind, entry.source) == ("zfs", dataset)), f"/{dataset}")
    return RefusedError(
        f"{dataset} is mounted by mount(8) on {host}, which mounts a replica writable whatever its readonly is",
        evidence=f"on {point}; its mountpoint is {mountpoint}",
        advice=f"on {host}: take it out of fstab; umount {quote(point)}; zfs set mountpoint={quote(point)} "
        f"{quote(dataset)}",
    )


def within(path: str, directory: str) -> bool:
    """Whether a path is a directory, or below it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def hidden_by(table: Sequence[MountEntry], dataset: str, point: str, host: str) -> list[RefusedError]:
    """Why a dataset must not be mounted on a path: each mount there, or below it, which it would hide."""
    return [
        RefusedError(
            f"{_named(entry)} is mounted on {entry.point}, where {dataset} belongs"
            if entry.point == point
            else f"{_named(entry)} is mounted on {entry.point}, which {dataset} on {point} would hide",
            evidence=f"on {host}",
            advice=f"on {host}: {entry.unmounting}",
        )
        for entry in in_the_way(table, point)
    ]


def unmakable(table: Sequence[MountEntry], dataset: str, point: str, host: str) -> RefusedError:
    """Why a dataset cannot be mounted on a path: its directory is not there, and cannot be made in what it is in."""
    entry = leads(table, point)
    return RefusedError(
        f"the directory {point} for {dataset} is not there and cannot be made",
        evidence=f"{_named(entry)} on {entry.point} is read-only on {host}" if entry else f"it is read-only on {host}",
        advice=f"on {host}: zfs set mountpoint='/mnt/{dataset}' '{dataset}'; or make that directory on its master",
    )


def unreachable_by_path(table: Sequence[MountEntry], dataset: str, point: str, host: str) -> RefusedError | None:
    """Why a mounted dataset must not be remounted, which goes by the path: the path leads to another mount. None where
    nothing speaks against it, or no mount of ZFS is known of at all."""
    if not any(entry.kind == "zfs" for entry in table):
        return None
    entry = mount_of(table, dataset, point)
    if entry is None:
        return RefusedError(
            f"{dataset} is not mounted on {point}, its mountpoint",
            evidence=f"on {host}",
            advice=f"on {host}: zfs unmount '{dataset}'; zfs mount '{dataset}'",
        )
    cover = covering(table, entry)
    if cover is None:
        return None
    return RefusedError(
        f"{_named(cover)} is mounted on {cover.point}, over {dataset}",
        evidence=f"on {host}",
        advice=f"on {host}: {cover.unmounting}",
    )


def _named(entry: MountEntry) -> str:
    return entry.source if entry.kind == "zfs" else f"{entry.source} ({entry.kind})"
