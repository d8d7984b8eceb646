"""Run cases on a host with real OpenZFS: one shell script a case, one connection for it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Protocol

from .script import TOP, Case, Step

_HELPERS = (Path(__file__).parent / "guest.sh").read_text()
_TIMEOUT = "/sys/module/zfs/parameters/zfs_txg_timeout"
_TOKEN = re.compile(r"TOKEN:(\S+)")


class Answer(Protocol):
    @property
    def rc(self) -> int: ...
    @property
    def out(self) -> str: ...
    @property
    def err(self) -> str: ...


class Runner(Protocol):
    """The part of a lab's host that a case needs."""

    def run(
        self,
        command: str,
        *,
        check: bool = ...,
        timeout: float = ...,
        input: str | bytes | None = ...,  # noqa: A002
    ) -> Answer: ...
    def power_off(self) -> None: ...
    def boot(self) -> None: ...


def run(host: Runner, case: Case) -> list[Step]:
    """A line that says `power` takes the host's power and boots it again; the rest goes on from there."""
    steps: list[Step] = []
    lines: list[str] = []
    for line in [*case.lines, ""]:
        if line in ("power", ""):
            steps += _script(host, case, lines, first=not steps, last=not line)
            lines = []
        else:
            lines.append(line)
        if line == "power":
            host.power_off()
            host.boot()
            steps.append(Step(line, "", "", 0))
    return steps


def _script(host: Runner, case: Case, lines: list[str], first: bool, last: bool) -> list[Step]:
    script = [_HELPERS, f"exec 3<&-; echo 3600 > {_TIMEOUT}"]
    script += ["clean > /dev/null 2>&1", f"zfs create {TOP}"] if first else []
    script += [f"step {shlex.quote(_translate(line))}" for line in lines]
    script += ["printf '\\036'"]
    script += [f"clean > /dev/null 2>&1; echo 5 > {_TIMEOUT}", 'cd /; rm -rf "$W"'] if last else []
    answer = host.run("bash -s", check=False, timeout=120, input="\n".join(script) + "\n")
    parts = answer.out.split("\036")[1:-1]
    assert len(parts) == len(lines), f"{case.name}: {answer.out}\n{answer.err}"
    steps = []
    for line, part in zip(lines, parts, strict=True):
        out, err, rc = part.split("\037")
        steps.append(Step(line, out, err, int(rc)))
    return steps


def _translate(line: str) -> str:
    return _TOKEN.sub(r'"$(zfs get -H -p -o value receive_resume_token \1)"', line)
