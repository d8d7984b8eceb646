"""What the pools of this machine remember of datasets."""

from __future__ import annotations

from shlex import join

from zrep.core.errors import FailedError, one_line
from zrep.core.history import Happened, names
from zrep.core.names import pool_of
from zrep.core.requests import ReadHistory
from zrep.host.machine import Machine, carry_out
from zrep.zfs import commands
from zrep.zfs.history import parse_history

# Of one dataset, the newest: years of role changes, and months of the rest.
_MOST = 5000


@carry_out.register(ReadHistory)
def read_history(request: ReadHistory, machine: Machine) -> dict[str, list[Happened]]:
    found: dict[str, list[Happened]] = {name: [] for name in request.datasets}
    for pool in sorted({pool_of(name) for name in request.datasets}):
        done = machine.look(commands.history(pool))
        if done.err.strip():
            raise FailedError(
                f"cannot read the history of pool {pool}",
                evidence=one_line(done.err),
                advice=f"as root on {machine.name}: zrep history {join(request.datasets)}"
                if "permission denied" in done.err  # which no zfs allow gives
                else "",
            )
        told = parse_history(done.out)
        for name in (name for name in request.datasets if pool_of(name) == pool):
            found[name] = [each for each in told if names(each.command, name)][-_MOST:]
    return found
