"""What the ssh server of this host lets a connection have, as its configuration says."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator

from zrep.core.requests import ReadSessionLimit
from zrep.host.machine import Machine, carry_out
from zrep.host.procfs import read

CONFIG = "/etc/ssh/sshd_config"
# What it is where nobody says otherwise (sshd_config(5)).
_DEFAULT = 10
_DEEP = 8


@carry_out.register(ReadSessionLimit)
def read_session_limit(request: ReadSessionLimit, machine: Machine) -> int:
    return next(_limits(CONFIG, _DEEP), _DEFAULT)


def _limits(path: str, deep: int) -> Iterator[int]:
    """Each MaxSessions in the order of sshd, of which the first counts; what is for some users only is left out."""
    for line in read(path).splitlines():
        name, *rest = re.split(r"[\s=]+", line.strip(), maxsplit=1)
        value = rest[0].replace('"', "") if rest else ""
        match name.lower():
            case "match":
                return
            case "maxsessions" if re.fullmatch(r"[0-9]{1,6}", value):
                yield int(value)
            case "include" if deep:
                for pattern in value.split():
                    for included in sorted(glob.glob(pattern if pattern.startswith("/") else f"/etc/ssh/{pattern}")):
                        yield from _limits(included, deep - 1)
