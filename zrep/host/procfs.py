"""Other processes of a machine, as /proc shows them (proc(5)); where there is none, nobody is at work."""

from __future__ import annotations

import os
import re
import signal
import sys
from contextlib import suppress

from zrep.core.requests import EndReceive, IsRunning, Occupants
from zrep.host.machine import Machine, carry_out


@carry_out.register(EndReceive)
def end_receive(request: EndReceive, machine: Machine) -> int:
    ended = 0
    for pid in _processes():
        words = read(f"/proc/{pid}/cmdline").split("\0")
        if words[1:2] == ["receive"] and os.path.basename(words[0]) == "zfs" and request.dataset in words:
            with suppress(OSError):
                os.kill(pid, signal.SIGTERM)
                ended += 1
    return ended


@carry_out.register(Occupants)
def occupants(request: Occupants, machine: Machine) -> list[str]:
    place, writing = re.escape(request.mountpoint), request.writing
    inside = re.compile(place + r"(/.*)?\Z")
    mapped = re.compile(rf"^\S+ {'.w.s' if writing else '....'} .* {place}/", re.MULTILINE)
    found = []
    for pid in _processes():
        places = [] if writing else [f"/proc/{pid}/cwd", f"/proc/{pid}/root"]
        with suppress(OSError):
            numbers = [n for n in os.listdir(f"/proc/{pid}/fd") if not writing or _open_for_writing(pid, n)]
            places += [f"/proc/{pid}/fd/{number}" for number in numbers]
        if any(inside.match(_target(place)) for place in places) or mapped.search(read(f"/proc/{pid}/maps")):
            found.append(f"{read(f'/proc/{pid}/comm').strip()} ({pid})")
    return found


def read(path: str) -> str:
    """A file's text, "" where it cannot be read."""
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()] if sys.platform == "linux" else []


def _open_for_writing(pid: int, number: str) -> bool:
    """Whether an open file's access mode is other than read-only (proc_pid_fdinfo(5): flags, octal)."""
    flags = re.search(r"^flags:\s*([0-7]+)", read(f"/proc/{pid}/fdinfo/{number}"), re.MULTILINE)
    return flags is not None and int(flags.group(1), 8) & os.O_ACCMODE != os.O_RDONLY


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


@carry_out.register(IsRunning)
def is_running(request: IsRunning, machine: Machine) -> bool:
    return os.path.exists(f"/proc/{request.pid}")
