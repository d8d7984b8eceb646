"""Other processes of a machine, as /proc shows them (proc(5)); where there is none, nobody is at work."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Collection
from contextlib import suppress

from zrep.core.requests import EndReceive, IsArriving, IsRunning
from zrep.host.machine import Machine, carry_out
from zrep.host.process import runs

# Seconds without a byte that a stream which flows does not have; before the rest of a cut connection there is a longer
# pause.
_PAUSE = 1.0


@carry_out.register(EndReceive)
def end_receive(request: EndReceive, machine: Machine) -> int:
    if request.quiet and not _is_left(request, machine):
        return 0
    ended = 0
    for pid in _receives({request.dataset}):
        with suppress(OSError):
            os.kill(pid, signal.SIGTERM)
            ended += 1
    return ended


def _is_left(request: EndReceive, machine: Machine) -> bool:
    """Whether all that has a dataset is a receive into which nothing comes, for as long as was asked. Into one that was
    left by a connection cut in silence, what that still had to send may come once the way is free again: its end comes
    right after it, and is waited for, as long again at most. One that flows from the start is somebody's: that is seen
    after two seconds."""
    watched = {request.dataset}
    before = runs_of_receives(watched)
    start = came = time.monotonic()
    paused = False
    while machine.locks.is_left(request.dataset):
        now = time.monotonic()
        if (runs_now := runs_of_receives(watched)) != before:
            before, came = runs_now, now
        elif now - came >= request.quiet:
            return True
        paused = paused or now - came >= _PAUSE
        if now - start >= (2 * request.quiet if paused else 2 * _PAUSE):
            return False
        time.sleep(0.2)
    return False


@carry_out.register(IsArriving)
def is_arriving(request: IsArriving, machine: Machine) -> bool:
    before = runs_of_receives(request.datasets)
    give_up = time.monotonic() + request.seconds
    while before and time.monotonic() < give_up:
        time.sleep(0.05)
        if runs_of_receives(request.datasets) > before:
            return True
    return False


def runs_of_receives(datasets: Collection[str]) -> int:
    """How often processes that receive into these datasets have waited and gone on: as long as bytes of their streams
    arrive, that number grows."""
    return sum(map(runs, _receives(datasets)))


def _receives(datasets: Collection[str]) -> list[int]:
    """The processes that receive into one of these datasets. Anybody may call one of his own like that: those of others
    than root and this user are none."""
    return [
        pid
        for pid in (processes() if datasets else ())
        if _owner(pid) in (0, os.geteuid())
        and (words := read(f"/proc/{pid}/cmdline").split("\0"))[1:2] == ["receive"]
        and os.path.basename(words[0]) == "zfs"
        and not set(datasets).isdisjoint(words)
    ]


def _owner(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:  # it has ended
        return None


def read(path: str) -> str:
    """A file's text, "" where it cannot be read."""
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()] if sys.platform == "linux" else []


def open_for_writing(fdinfo: str) -> bool:
    """Whether an open file's access mode is other than read-only (proc_pid_fdinfo(5): flags, octal)."""
    flags = re.search(r"^flags:\s*([0-7]+)", fdinfo, re.MULTILINE)
    return flags is not None and int(flags.group(1), 8) & os.O_ACCMODE != os.O_RDONLY


@carry_out.register(IsRunning)
def is_running(request: IsRunning, machine: Machine) -> bool:
    return os.path.exists(f"/proc/{request.pid}")
