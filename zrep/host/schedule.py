"""What runs zrep on this host by itself: lines of cron(8), and timers of systemd that are enabled."""

from __future__ import annotations

import glob
import os
import re
from contextlib import suppress

from zrep.core.errors import ZrepError
from zrep.core.names import DEFAULT_TAG
from zrep.core.requests import ReadSchedule
from zrep.host.machine import Machine, carry_out
from zrep.host.procfs import read

CRON = ("/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/crontabs/*", "/var/spool/cron/*")
DEFAULTS = "/etc/default/zrep"
TIMERS = ("/etc/systemd/system/timers.target.wants/zrep*.timer",)
_SYNC = re.compile(r"^[^#\n]*\bzrep\b[^#\n]*\s(?:sync|-S|refresh)\b", re.MULTILINE)
_TAGGED = re.compile(r"(?:\s(?:-t|--tag)[ =]+|\bZREPTAG=)[\"']?([\w.${}-]+)")
# What cron(8) searches where nobody says otherwise.
_CRON_PATH = "/usr/bin:/bin"
_PATH = re.compile(r"\s*PATH\s*=\s*(.*?)\s*")
# Called by its name alone, which is no tag, in a line that says no path of its own.
_BY_NAME = re.compile(r"(?!.*\bPATH=).*(?<![\w/.-])(?<!-t )(?<!--tag )zrep\s")


@carry_out.register(ReadSchedule)
def read_schedule(request: ReadSchedule, machine: Machine) -> dict[str, str]:
    texts = {path: read(path) for pattern in CRON for path in sorted(glob.glob(pattern))} | _own_crontab(machine)
    usual = _tag_in(read(DEFAULTS)) or DEFAULT_TAG
    lines = {path: _unfound(text) for path, text in texts.items() if _syncs(text, request.tag, usual)}
    timers = [path for pattern in TIMERS for path in sorted(glob.glob(pattern)) if "status" not in path]
    return lines | {path: "" for path in timers if request.tag == usual or request.tag in os.path.basename(path)}


def _own_crontab(machine: Machine) -> dict[str, str]:
    """The crontab of a user other than root, who is kept from its file."""
    if machine.user == "root":
        return {}
    with suppress(ZrepError):  # he has none, or may have none, or there is no cron here
        return {f"the crontab of {machine.user}": machine.output(("crontab", "-l"))}
    return {}


def _syncs(text: str, tag: str, usual: str) -> bool:
    """Whether a line of a file of cron's syncs the pairs of a tag. usual: the tag of one that names none. Nobody knows
    here what a variable of a line stands for: it may be this one."""
    for line in text.splitlines():
        if _SYNC.match(line):
            named = _tag_in(line) or usual
            if named == tag or "$" in named:
                return True
        elif line.lstrip().startswith("ZREPTAG="):
            usual = _tag_in(line) or usual
    return False


def _tag_in(text: str) -> str:
    found = _TAGGED.search(text)
    return found[1] if found else ""


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
