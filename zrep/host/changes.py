"""Carrying out steps on the host that has the datasets: by libzfs_core where it can, else by the program."""

from __future__ import annotations

from zrep.core.dataset import role_of
from zrep.core.errors import RefusedError, ZrepError
from zrep.core.requests import Carried, CarryOut, TakeRole
from zrep.core.steps import Step
from zrep.host.machine import Machine, carry_out
from zrep.host.process import COMMAND_SECONDS
from zrep.zfs import commands, parse
from zrep.zfs import errors as zfs_errors


@carry_out.register(CarryOut)
def carry_steps_out(request: CarryOut, machine: Machine) -> Carried:
    for number, step in enumerate(request.steps):
        try:
            error = _do(step, machine)
        except ZrepError as raised:  # not started, or not ended in time
            error = raised
        if error is not None:
            return Carried(number, zfs_errors.as_failure(error))
    return Carried(len(request.steps))


@carry_out.register(TakeRole)
def take_role(request: TakeRole, machine: Machine) -> Carried:
    tag, step = request.tag, request.step
    machine.locks.take(step.dataset)
    read = machine.runner.run(commands.get_properties(tag, [step.dataset]))
    if read.status != 0:
        raise zfs_errors.error(read).about(step.dataset)
    role = role_of(tag, step.dataset, parse.parse_properties(read.out).get(step.dataset, {}))
    if role.generation != step.expected:
        raise RefusedError("its generation changed meanwhile", filesystem=step.dataset, evidence=role.generation)
    if role.intent and role.intent.operation == "cancelled" and role.intent.identity == step.identity:
        raise RefusedError("this role change was cancelled meanwhile", filesystem=step.dataset)
    error = _do(step, machine)
    return Carried(0, zfs_errors.as_failure(error)) if error else Carried(1)


def _do(step: Step, machine: Machine) -> ZrepError | None:
    """One step; what its command stands for when that failed."""
    if machine.library.carry_out(step, COMMAND_SECONDS):
        return None
    return zfs_errors.step_error(step, machine.run(commands.command(step)))
