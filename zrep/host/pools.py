"""Pools that are imported and answer nothing, and pools that are not imported: what is in them is not absent.

Asked of the kernel's counters (/proc/spl/kstat/zfs/POOL/state, OpenZFS 0.8 and later), which never wait for a pool and
cost no process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from zrep.core.names import pool_of
from zrep.core.requests import Failure, ReadLostPools
from zrep.host.machine import HUNG, HUNG_SECONDS, Machine, carry_out
from zrep.zfs.errors import PoolAbsentError, PoolError, as_failure

# In all others something can be read, or the command itself says why not.
_LOST = frozenset({"SUSPENDED", "UNAVAIL", "FAULTED", HUNG})
# What an administrator can see of it.
LOOK = "see what its disks do: zpool status -s, zpool iostat -w"


def trouble(pool: str, states: Mapping[str, str] | None, host: str) -> PoolError | None:
    """Why nothing in a pool can be asked, None where it can. states: see Machine.pool_states."""
    if states is None:
        return None
    state = states.get(pool)
    if state is None:
        return PoolAbsentError(
            f"pool {pool} on {host} is not imported",
            evidence="what is in it is not lost",
            advice=f"on {host}: zpool import {pool}",
        )
    if state not in _LOST:
        return None
    if state == HUNG:
        return hung(pool, f"a transaction group is being written for more than {HUNG_SECONDS:.0f} s", host)
    return PoolError(
        f"pool {pool} on {host} is {'suspended' if state == 'SUSPENDED' else state}",
        evidence="nothing in it can be read or written",
        advice=f"on {host}: zpool status {pool}; once its disks are back: zpool clear {pool}",
    )


def hung(pool: str, evidence: str, host: str) -> PoolError:
    """What waits for a pool waits for long, or for ever."""
    return PoolError(f"pool {pool} on {host} does not write", evidence=evidence, advice=f"on {host}: {LOOK}")


def check(machine: Machine, dataset: str) -> None:
    """Raise what keeps a dataset's pool from being asked."""
    if error := trouble(pool_of(dataset), machine.pool_states(), machine.name):
        raise error


def troubles(machine: Machine, datasets: Iterable[str]) -> dict[str, PoolError]:
    """Those of datasets whose pool cannot be asked, each with the reason."""
    states = machine.pool_states()
    found = {pool: trouble(pool, states, machine.name) for pool in {pool_of(name) for name in datasets}}
    return {name: error for name in datasets if (error := found[pool_of(name)])}


@carry_out.register(ReadLostPools)
def read_lost_pools(request: ReadLostPools, machine: Machine) -> dict[str, Failure]:
    states = machine.pool_states() or {}
    found = {pool: trouble(pool, states, machine.name) for pool in sorted(states)}
    return {pool: as_failure(error) for pool, error in found.items() if error}
