"""Streams, one or several of them through one pipe, one after the other. Each is received under a lock that its
receiving process takes itself, with a token for that one stream."""

from __future__ import annotations

import time
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.errors import MOST_TOLD, BusyError, RefusedError, UsageError, ZrepError
from zrep.core.names import STREAM_MARK
from zrep.core.requests import NO_GENERATION, Grant, Revoke
from zrep.core.steps import SendStream
from zrep.host import exact
from zrep.host.machine import Machine, carry_out
from zrep.host.process import COMMAND_SECONDS
from zrep.zfs import commands
from zrep.zfs.commands import Argv, Completed

RECEIVE_BUSY = 75
RECEIVE_NOT_ADMITTED = 76
# What came from another host was not what was asked for; the rest of what is said tells why. See guard.
RECEIVE_UNWANTED = 77
_REVOKE_SECONDS = 20.0

# What both scripts say on stderr after each stream that went well.
STREAM_END = "zrep-stream-end"
# Of the words, so many are a command and the rest is for later: the others are turned past it and dropped.
_RUN = 'while [ $k -gt 0 ]; do set -- "$@" "$1"; shift; k=$((k - 1)); done; shift $(($# - n)); exec "$@"'
_NEXT = f"|| exit $?; echo {STREAM_END} >&2; "

# Sends streams one after the other, each of its arguments' number of words.
SEND_SCRIPT = "while [ $# -gt 0 ]; do ( n=$1; shift; k=$n; " + _RUN + " ) " + _NEXT + "shift $((1 + $1)); done"

# Runs on the replica for one stream, or for several that come one after the other, under whatever login shell: single
# quotes only, no "!", no line break, no backslash. zfs receive reads its own stream to its last record and not a byte
# more. For each, a process takes the lock that the receiving process then holds, and looks for the receive token that
# Locks.grant left in it for this stream alone. Whoever takes the lock meanwhile empties the file, and the zrep that
# looked at the generation holds the dataset's other lock until it ends: a stream that comes late, to a dataset that has
# become a master, is refused here. The first that fails is the last: what comes after it is no stream's beginning.
# All of it without a program but flock: one costs as much as a small stream.
RECEIVE_SCRIPT = (
    "PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; LC_ALL=C; export PATH LC_ALL; "
    # Login files may print before a stream from another host begins. A shell reads a pipe byte by byte.
    'case "$1" in marked) while IFS= read -r line; do case "$line" in '
    + STREAM_MARK
    + ") break ;; esac; done ;; esac; shift; "
    "while [ $# -gt 0 ]; do ( "
    'exec 9<>"$1" || exit 1; flock -n 9 || exit 75; '
    'IFS= read -r token <&9; [ "$token" = "$2" ] || exit 76; '
    '[ -d "/proc/${2%%.*}" ] || kill -0 "${2%%.*}" || exit 76; '
    "n=$3; shift 3; k=$n; " + _RUN + " ) " + _NEXT + "shift $((3 + $3)); done"
)


class Admission(Struct, frozen=True):
    """A stream that is let in: the words of the command that takes it, and the file of its lock with the receive token,
    as they were granted."""

    argv: Argv
    lock: str
    token: str


def send(steps: Sequence[SendStream]) -> Argv:
    """The command that brings streams out, one after the other."""
    return in_turn([commands.send(step) for step in steps])


def in_turn(senders: Sequence[Argv]) -> Argv:
    """Commands that send a stream each, as send has them run: until one fails."""
    if len(senders) == 1:
        return senders[0]
    return ("sh", "-c", SEND_SCRIPT, "zrep", *(word for argv in senders for word in (str(len(argv)), *argv)))


def receive(steps: Sequence[tuple[SendStream, tuple[str, str]]], *, marked: bool) -> Argv:
    """The command that takes streams in, one after the other, each under the receive lock as it was granted. marked:
    the first begins after a line that is STREAM_MARK."""
    return under_locks([Admission(commands.receive(step), *granted) for step, granted in steps], marked=marked)


def under_locks(admissions: Sequence[Admission], *, marked: bool) -> Argv:
    """Commands that read a stream each, as receive has them run."""
    words = (word for x in admissions for word in (x.lock, x.token, str(len(x.argv)), *x.argv))
    return ("sh", "-c", RECEIVE_SCRIPT, "zrep", "marked" if marked else "plain", *words)


def parts(done: Completed, count: int) -> list[Completed | None]:
    """What became of each of so many streams of a command that sends or receives them: None for those that were not
    begun, after the one that failed."""
    said: list[list[str]] = [[]]
    for line in done.err.split("\n"):
        if line == STREAM_END and len(said) < count:
            said.append([])
        elif line != STREAM_END:
            said[-1].append(line)
    ended = [replace(done, status=0, err="\n".join(lines)) for lines in said[:-1]]
    last = replace(done, err="\n".join(said[-1]))
    return [*ended, last, *[None] * (count - len(ended) - 1)]


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


# How a gate ends the session of a stream that it does not admit: as zrep ends, with its line on stderr. No zfs does.
_BY_A_GATE: dict[int, type[ZrepError]] = {kind.exit_code: kind for kind in (RefusedError, BusyError)}
_ITS_LINE = "zrep: "


def gate_refusal(done: Completed, host: str) -> ZrepError | None:
    """What the gate of a host has said in the place of the command of a stream; None where there was no such word."""
    said = [line for line in done.err.splitlines() if line.startswith(_ITS_LINE)]
    kind = _BY_A_GATE.get(done.status)
    if kind is None or not said:
        return None
    why, _, advice = said[-1].removeprefix(_ITS_LINE)[:MOST_TOLD].partition("; next: ")
    return kind(f"{host} did not let the stream through", evidence=why, advice=advice)


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
    give_up = time.monotonic() + _REVOKE_SECONDS
    busy: list[BusyError] = []
    for dataset in request.datasets:
        try:
            machine.locks.revoke(dataset, max(0.0, give_up - time.monotonic()))
        except BusyError as error:
            busy.append(error)
    if busy:
        raise busy[0]
