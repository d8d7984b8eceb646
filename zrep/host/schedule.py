"""What runs zrep on this host by itself: lines of cron(8), and timers of systemd that are enabled."""

from __future__ import annotations

import glob
import re

from zrep.core.requests import ReadSchedule
from zrep.host.machine import Machine, carry_out
from zrep.host.procfs import read

CRON = ("/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/crontabs/*", "/var/spool/cron/*")
TIMERS = ("/etc/systemd/system/timers.target.wants/zrep*.timer",)
_SYNC = re.compile(r"^[^#\n]*\bzrep\b[^#\n]*\s(?:sync|-S|refresh)\b", re.MULTILINE)


@carry_out.register(ReadSchedule)
def read_schedule(request: ReadSchedule, machine: Machine) -> list[str]:
    lines = [path for pattern in CRON for path in sorted(glob.glob(pattern)) if _SYNC.search(read(path))]
    return [*lines, *(path for pattern in TIMERS for path in sorted(glob.glob(pattern)))]
