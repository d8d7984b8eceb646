"""Carrying out steps on the host that has the datasets: by libzfs_core where it can, else by the program."""

from __future__ import annotations

from zrep.core.dataset import role_of
from zrep.core.errors import FailedError, RefusedError, ZrepError
from zrep.core.mounts import hidden_by, mount_of, unreachable_by_path
from zrep.core.requests import Carried, CarryOut, TakeRole
from zrep.core.steps import (
    Bookmark,
    DestroyAside,
    DestroyBookmark,
    Mount,
    PlaceKey,
    PromoteClone,
    RemountReadOnly,
    RemountWritable,
    Step,
    Unmount,
)
from zrep.host import exact
from zrep.host.machine import Machine, carry_out
from zrep.host.process import COMMAND_SECONDS
from zrep.zfs import commands, parse
from zrep.zfs import errors as zfs_errors


@carry_out.register(CarryOut)
def carry_steps_out(request: CarryOut, machine: Machine) -> Carried:
    if len(request.steps) > 1 and machine.library.carry_out_together(request.steps, COMMAND_SECONDS):
        return Carried(len(request.steps))
    for number, step in enumerate(request.steps):
        try:
            error = do(step, machine)
        except ZrepError as raised:  # not started, or not ended in time
            error = raised
        if error is not None:
            return Carried(number, zfs_errors.as_failure(error))
    return Carried(len(request.steps))


@carry_out.register(TakeRole)
def take_role(request: TakeRole, machine: Machine) -> Carried:
    tag, step = request.tag, request.step
    machine.locks.take(step.dataset)
    found = exact.properties(machine, commands.role_properties(tag), [step.dataset])
    if step.dataset not in found:
        raise zfs_errors.AbsentError("it is not there", filesystem=step.dataset)
    role = role_of(tag, step.dataset, found[step.dataset])
    if role.generation != step.expected:
        raise RefusedError("its generation changed meanwhile", filesystem=step.dataset, evidence=role.generation)
    if role.intent and role.intent.operation == "cancelled" and role.intent.identity == step.identity:
        raise RefusedError("this role change was cancelled meanwhile", filesystem=step.dataset)
    error = do(step, machine)
    return Carried(0, zfs_errors.as_failure(error)) if error else Carried(1)


def do(step: Step, machine: Machine, seconds: float = COMMAND_SECONDS) -> ZrepError | None:
    """One step, which may take so long; what its command stands for when that failed."""
    if refusal := _mount_refusal(step, machine) or _kept(step, machine):
        return refusal
    if isinstance(step, RemountReadOnly | RemountWritable):
        from zrep.host.remount import remount  # seldom needed

        return remount(step, machine, seconds)
    if machine.library.carry_out(step, seconds):
        return None
    if isinstance(step, PlaceKey):  # the program wraps keys anew, which must be loaded for that
        return FailedError("libzfs_core is not there, or cannot do it", filesystem=step.dataset)
    done = machine.run(commands.command(step), seconds)
    # Nothing depends on a bookmark: a user may lack the permission, and a pool the feature.
    return None if isinstance(step, Bookmark | DestroyBookmark) else zfs_errors.step_error(step, done)


def _kept(step: Step, machine: Machine) -> ZrepError | None:
    """Why a dataset is not destroyed, as it does not say itself that it was set aside then, or not promoted, as it is a
    clone of something else by now."""
    if isinstance(step, PromoteClone) and step.origin:
        found = exact.properties(machine, ("origin",), [step.dataset]).get(step.dataset, {}).get("origin")
        if found is not None and found.value == step.origin:
            return None
        return RefusedError("it is a clone of another snapshot", filesystem=step.dataset, evidence=f"not {step.origin}")
    if not isinstance(step, DestroyAside):
        return None
    name = f"{step.tag}:gone"
    own = exact.properties(machine, (name,), [step.dataset]).get(step.dataset, {}).get(name)
    if own is not None and own.local and own.value == str(step.since):
        return None
    return RefusedError("it is no copy that was set aside", filesystem=step.dataset, evidence=f"{name} has changed")


def _mount_refusal(step: Step, machine: Machine) -> ZrepError | None:
    """Why a mount of a dataset must not be made, changed or ended. All go by a path, and what is mounted may have
    changed since it was looked at: asked right before, in the mount namespace in which the command runs.

    A remount then goes by the id of the mount (see remount). zfs takes nothing but a path, and what readonly=on does to
    a mount goes by it too: what is mounted over a master in the milliseconds until zfs has begun may be made read-only,
    if it is ZFS itself. Never is data lost: the property and the look at what was written go by the dataset.
    """
    match step:
        case (
            RemountReadOnly(dataset=dataset, mountpoint=point)
            | RemountWritable(dataset=dataset, mountpoint=point)
            | Unmount(dataset=dataset, mountpoint=point)
        ) if point:
            return unreachable_by_path(parse.parse_mountinfo(machine.mountinfo()), dataset, point, machine.name)
        case Mount(dataset=dataset, mountpoint=point) if point:
            table = parse.parse_mountinfo(machine.mountinfo())
            if mount_of(table, dataset, point) is not None:
                return None  # that it is mounted already is for zfs to say
            return next(iter(hidden_by(table, dataset, point, machine.name)), None)
    return None
