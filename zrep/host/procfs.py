"""Other processes of a machine, as /proc shows them (proc(5)); where there is none, nobody is at work."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Collection
from contextlib import suppress

from zrep.core.requests import EndReceive, IsRunning
from zrep.host.machine import Machine, carry_out
from zrep.host.process import runs


@carry_out.register(EndReceive)
def end_receive(request: EndReceive, machine: Machine) -> int:
    ended = 0
    for pid in processes():
        words = read(f"/proc/{pid}/cmdline").split("\0")
        if words[1:2] == ["receive"] and os.path.basename(words[0]) == "zfs" and request.dataset in words:
            with suppress(OSError):
                os.kill(pid, signal.SIGTERM)
                ended += 1
    return ended


def runs_of_receives(datasets: Collection[str]) -> int:
    """How often processes that receive into these datasets have waited and gone on: as long as bytes of their streams
    arrive, that number grows."""
    if not datasets:
        return 0
    found = ((pid, read(f"/proc/{pid}/cmdline").split("\0")) for pid in processes())
    return sum(
        runs(pid)
        for pid, words in found
        if words[1:2] == ["receive"] and os.path.basename(words[0]) == "zfs" and not set(datasets).isdisjoint(words)
    )


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
