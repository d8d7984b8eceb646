"""Remounting one mount by its id. mount(8) takes a path, and what a path leads to may change before the program has
begun; but a directory that this process has opened is a path too, and nothing that is mounted over it comes between."""

from __future__ import annotations

import os

from msgspec.structs import replace

from zrep.core.errors import RefusedError, ZrepError
from zrep.core.steps import RemountReadOnly, RemountWritable
from zrep.host.machine import Machine
from zrep.zfs import commands, parse
from zrep.zfs import errors as zfs_errors


def remount(step: RemountReadOnly | RemountWritable, machine: Machine, seconds: float) -> ZrepError | None:
    """Remount a dataset, within so many seconds, and nothing else, whatever is mounted over it meanwhile; what speaks
    against it, or what the command's end stands for.

    By the path, for which the caller has just looked at where it leads, only where there is no other way: this host
    does not tell the id of a mount, or its mount(8) knows no such path.
    """
    found = machine.open_mount(step.mountpoint)
    if found is not None:
        descriptor, identity = found
        try:
            error = _remount_open(step, machine, seconds, descriptor, identity)
        finally:
            os.close(descriptor)
        if error is None or isinstance(error, RefusedError | zfs_errors.OccupiedError):
            return error
    return zfs_errors.step_error(step, machine.run(commands.command(step), seconds))


def _remount_open(
    step: RemountReadOnly | RemountWritable, machine: Machine, seconds: float, descriptor: int, identity: int
) -> ZrepError | None:
    """The same for the directory that is open as descriptor, in the mount of that id: it stays this mount's for as
    long as it is open."""
    # Its own line, of however many: nothing can be written to a tree while its members are remounted one by one.
    line = parse.mount_line(machine.mountinfo(), identity)
    entry = next(iter(parse.parse_mountinfo(line)), None)
    if entry is None or (entry.kind, entry.source) != ("zfs", step.dataset):
        return RefusedError(
            f"{step.mountpoint} leads to another mount by now",
            filesystem=step.dataset,
            evidence=f"{entry.source} on {entry.point}, on {machine.name}" if entry else f"on {machine.name}",
        )
    path = f"/proc/self/fd/{descriptor}"
    command = commands.remount(step, path, parse.mount_flags(line, identity))
    done = machine.run(command, seconds, keep=(descriptor,))
    return zfs_errors.step_error(step, replace(done, err=done.err.replace(path, step.mountpoint)))
