"""What zpool history prints, as data."""

from __future__ import annotations

import re
from datetime import datetime

from zrep.core.history import Happened

# 2026-11-28.12:00:05 zfs set a=b tank/a [user 0 (root) on alpha:linux]
_HISTORY = re.compile(
    r"(\d{4}-\d\d-\d\d\.\d\d:\d\d:\d\d) (.*?)(?: \[user (\d+ \(.*?\)|\d+)(?: on ([^:\]]*)(?::\w*)?)?\])?"
)


def parse_history(text: str) -> list[Happened]:
    """``zpool history -l`` of a pool, its time in UTC. What is no command of that form is left out."""
    found = []
    for line in text.splitlines():
        match = _HISTORY.fullmatch(line.strip())
        if not match:
            continue
        when, command, user, host = match.groups()
        try:
            at = int(datetime.strptime(f"{when} +0000", "%Y-%m-%d.%H:%M:%S %z").timestamp())
        except ValueError:
            continue
        name = re.sub(r"\d+ \((.*)\)", r"\1", user or "")
        found.append(Happened(at, command, f"{name}@{host}" if name and host else name))
    return found
