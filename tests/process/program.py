"""zrep as a program on the hosts of a model world, each with a name and locks of its own, as two machines have."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.model import World
from tests.model.programs import environment

# "peer" is the half that the other host's zrep starts here: it is not the process a test has started.
WRAPPER = """#!/bin/sh
export ZREP_HOST="$ZREP_MODEL_HOST" ZREP_RUNDIR="{run}/$ZREP_MODEL_HOST"
[ "$1" = peer ] || echo $$ > {run}/pid
exec {python} -c 'from zrep.cli.main import main; main()' "$@"
"""
# A lost link is noticed in a second, not in 20.
SSH = "ssh -o ServerAliveInterval=0.3 -o ServerAliveCountMax=3"


class Program:
    def __init__(self, world: World, directory: Path) -> None:
        self._world, self._directory = world, directory
        self._path = directory / "zrep"
        self._path.write_text(WRAPPER.format(run=directory, python=sys.executable))
        self._path.chmod(0o755)

    @property
    def pid_file(self) -> str:
        """Of the process that was started last."""
        return str(self._directory / "pid")

    def run(self, host: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        words, env = self.command(host, *arguments)
        return subprocess.run(
            words,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def command(self, host: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """The words of a run on a host, and its environment."""
        base = {"ZREP_PATH": str(self._path), "PYTHONPATH": os.getcwd(), "SSH": SSH, "ZREP_SYSLOG": "no"}
        return [str(self._path), *arguments], dict(environment(self._world, host, {**os.environ, **base}))

    def wait_for_locks(self, seconds: float = 60.0) -> None:
        """Until nothing that a killed zrep has left at work has a lock."""
        give_up = time.monotonic() + seconds
        for path in [*self._directory.glob("*/zrep/*.lock"), *self._directory.glob("*/zrep/*.receive")]:
            with path.open("a") as file:
                while not _free(file.fileno()):
                    assert time.monotonic() < give_up, f"{path.name} is still locked"
                    time.sleep(0.02)


def _free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
