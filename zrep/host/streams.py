"""Receiving a stream: under a lock that the receiving process takes itself, with a token for that one stream."""

from __future__ import annotations

from zrep.core.errors import BusyError, UsageError
from zrep.core.requests import NO_GENERATION, Grant, Revoke
from zrep.core.steps import SendStream
from zrep.host import exact
from zrep.host.machine import Machine, carry_out
from zrep.host.process import COMMAND_SECONDS
from zrep.zfs import commands
from zrep.zfs.commands import Argv

RECEIVE_BUSY = 75
RECEIVE_NOT_ADMITTED = 76
_REVOKE_SECONDS = 20.0
# The line after which the stdout of a command on another host is its own.
STREAM_MARK = "zrep-stream"

# Runs on the replica for each stream, under whatever login shell: single quotes only, no "!", no line break.
# It takes the lock that the receiving process then holds, and looks for the receive token that Locks.grant left
# in it for this stream alone. Whoever takes the lock meanwhile empties the file, and the zrep that looked at the
# generation holds the dataset's other lock until it ends: a stream that comes late, to a dataset that has become a
# master, is refused here.
# All of it without a process but flock's: one costs as much as a small stream.
RECEIVE_SCRIPT = (
    "PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; LC_ALL=C; export PATH LC_ALL; "
    'exec 9<>"$1" || exit 1; flock -n 9 || exit 75; '
    'IFS= read -r token <&9; [ "$token" = "$2" ] || exit 76; '
    '[ -d "/proc/${2%%.*}" ] || kill -0 "${2%%.*}" || exit 76; '
    # Login files may print before a stream from another host begins. A shell reads a pipe byte by byte.
    'case "$3" in marked) while IFS= read -r line; do case "$line" in '
    + STREAM_MARK
    + ") break ;; esac; done ;; esac; "
    'shift 3; exec "$@"'
)


def receive(step: SendStream, granted: tuple[str, str], *, marked: bool) -> Argv:
    """The command that takes a stream in, under the receive lock as it was granted. marked: the stream begins after a
    line that is STREAM_MARK."""
    return under_lock(commands.receive(step), granted, marked=marked)


def under_lock(argv: Argv, granted: tuple[str, str], *, marked: bool) -> Argv:
    """A command that reads a stream, as receive has it run."""
    return ("sh", "-c", RECEIVE_SCRIPT, "zrep", *granted, "marked" if marked else "plain", *argv)


def stream_refusal(status: int, dataset: str) -> BusyError | None:
    """What the exit status of RECEIVE_SCRIPT says, None when it is that of zfs receive."""
    if status == RECEIVE_BUSY:
        return BusyError("busy", filesystem=dataset, evidence="another stream is being received into it")
    if status == RECEIVE_NOT_ADMITTED:
        evidence = (
            "the zrep it was sent for has ended there, another one has worked on it since, or its lock was removed"
        )
        return BusyError("the stream came too late", filesystem=dataset, evidence=evidence)
    return None


@carry_out.register(Grant)
def grant(request: Grant, machine: Machine) -> dict[str, tuple[str, str]]:
    roots = {
        dataset: request.roots.get(dataset, dataset)
        for dataset, generation in request.generations.items()
        if generation != NO_GENERATION
    }
    astray = [name for name, root in roots.items() if f"{name}/".find(f"{root}/") != 0]
    if astray:
        raise UsageError(f"{astray[0]} is not in the tree of {roots[astray[0]]}")
    found = _replicas(request.tag, sorted(set(roots.values())), machine) if roots else {}
    return {
        dataset: machine.locks.grant(dataset)
        for dataset, generation in request.generations.items()
        if (found.get(roots[dataset]) if dataset in roots else NO_GENERATION) == generation
    }


def _replicas(tag: str, datasets: list[str], machine: Machine) -> dict[str, str]:
    """Those of datasets that are replicas, each with its generation."""
    names = commands.standing_properties(tag)
    found = machine.library.read_own(names, datasets, COMMAND_SECONDS)
    if found is None:
        read = exact.properties(machine, names, datasets)
        found = {dataset: {name: v.value for name, v in own.items() if v.local} for dataset, own in read.items()}
    return {name: own.get(f"{tag}:gen", "") for name, own in found.items() if own.get(f"{tag}:master") == "no"}


@carry_out.register(Revoke)
def revoke(request: Revoke, machine: Machine) -> None:
    machine.locks.revoke(request.dataset, _REVOKE_SECONDS)
