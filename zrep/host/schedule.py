"""What runs zrep on this host by itself: lines of cron(8), and timers of systemd that are enabled."""

from __future__ import annotations

import glob
import os
import re

from zrep.core.requests import ReadSchedule
from zrep.host.machine import Machine, carry_out
from zrep.host.procfs import read

CRON = ("/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/crontabs/*", "/var/spool/cron/*")
TIMERS = ("/etc/systemd/system/timers.target.wants/zrep*.timer",)
_SYNC = re.compile(r"^[^#\n]*\bzrep\b[^#\n]*\s(?:sync|-S|refresh)\b", re.MULTILINE)
# What cron(8) searches where nobody says otherwise.
_CRON_PATH = "/usr/bin:/bin"
_PATH = re.compile(r"\s*PATH\s*=\s*(.*?)\s*")
# Called by its name alone, in a line that says no path of its own.
_BY_NAME = re.compile(r"(?!.*\bPATH=).*(?<![\w/.-])zrep\s")


@carry_out.register(ReadSchedule)
def read_schedule(request: ReadSchedule, machine: Machine) -> dict[str, str]:
    texts = {path: read(path) for pattern in CRON for path in sorted(glob.glob(pattern))}
    lines = {path: _unfound(text) for path, text in texts.items() if _SYNC.search(text)}
    return lines | {path: "" for pattern in TIMERS for path in sorted(glob.glob(pattern))}


def _unfound(text: str) -> str:
    """The path in which cron finds no zrep for a line of a file; "": it finds it for each. cron puts nothing in the
    place of $PATH, and what a line says counts for those after it."""
    path = _CRON_PATH
    for line in text.splitlines():
        if said := _PATH.fullmatch(line):
            path = said[1].strip("\"'")
        elif _SYNC.match(line) and _BY_NAME.match(line) and not _has_zrep(path):
            return path
    return ""


def _has_zrep(path: str) -> bool:
    return any(os.access(f"{directory}/zrep", os.X_OK) for directory in path.split(":"))
