"""Run an administrator's own programs: hooks, a fence, what a rehearsal is looked at with."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import BinaryIO

from zrep.core.errors import RefusedError
from zrep.host.child import GRACE_SECONDS, environment
from zrep.host.process import text


def attended(argv: Sequence[str], extra: Mapping[str, str], folder: str) -> int:
    """Run an administrator's own command in a folder, with this program's terminal and own environment plus extra;
    its exit status. RefusedError when there is no such program."""
    try:
        return subprocess.run(list(argv), env={**os.environ, **extra}, cwd=folder, check=False).returncode
    except OSError as error:
        raise RefusedError(f"cannot run {argv[0]}", evidence=error.strerror or str(error)) from None


def bounded(argv: Sequence[str], extra: Mapping[str, str], seconds: float) -> tuple[int | None, str]:
    """Run an administrator's program to its end; its exit status and the last line it printed. A status of None: it
    could not be started, or was ended, with all it had started, when its time was up; the line says which.
    Its output goes to a file: a service that it starts may keep a pipe open for ever."""
    with _anonymous_file() as said:
        try:
            child = _administrators(argv, extra, subprocess.DEVNULL, said)
        except OSError as error:
            return None, error.strerror or str(error)
        return _waited_for(child, said, seconds)


def ending(status: int | None, said: str = "") -> str:
    """An answer of bounded in words, for the evidence of an error. A negative status is that of a
    signal."""
    if status is None:
        return said
    how = f"exit status {status}" if status >= 0 else f"ended by signal {-status}"
    return how + (f": {said}" if said else "")


class Afterwards:
    """An administrator's program that begins when it is told to, or as soon as this process has ended in whatever way:
    it undoes what another one has begun, and must not depend on who began that. A shell waits for it at a pipe, whose
    other end only this process has.

    OSError when it cannot be started: then what it is to undo must not begin."""

    # timeout(1), where there is one, bounds it once this process has ended.
    _SCRIPT = (
        "IFS= read -r nothing; seconds=$1; shift; "
        'command -v timeout >/dev/null && set -- timeout -k 5 "$seconds" "$@"; exec "$@" </dev/null'
    )

    def __init__(self, argv: Sequence[str], extra: Mapping[str, str], seconds: float) -> None:
        self._seconds = seconds
        self._said = _anonymous_file()
        words = ("sh", "-c", self._SCRIPT, "zrep", f"{seconds + GRACE_SECONDS:.0f}", *argv)
        try:
            self._child = _administrators(words, extra, subprocess.PIPE, self._said)
        except BaseException:
            self._said.close()
            raise

    def begin(self) -> tuple[int | None, str]:
        """Have it run to its end, for the answer of bounded."""
        assert self._child.stdin is not None
        with suppress(OSError):  # a shell that has ended says so by its status
            self._child.stdin.close()
        with self._said:
            return _waited_for(self._child, self._said, self._seconds, through_interrupts=True)


def _administrators(
    argv: Sequence[str], extra: Mapping[str, str], stdin: int, output: BinaryIO
) -> subprocess.Popen[bytes]:
    """Start an administrator's program in a session of its own; OSError when it cannot be."""
    return subprocess.Popen(
        list(argv),
        env={**environment(), **extra},
        cwd="/",
        stdin=stdin,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _waited_for(
    child: subprocess.Popen[bytes], said: BinaryIO, seconds: float, *, through_interrupts: bool = False
) -> tuple[int | None, str]:
    """The answer of bounded for a child whose output goes to a file. through_interrupts: it goes on when this process
    is told to end."""
    try:
        status = child.wait(seconds)
    except BaseException as error:  # its time is up, or Ctrl-C
        late = isinstance(error, subprocess.TimeoutExpired)
        if late or not through_interrupts:
            os.killpg(child.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_SECONDS)
        if late:
            return None, f"not done after {seconds:.0f} s, ended"
        raise
    said.seek(0)
    lines = text(said.read()[-2000:]).strip().splitlines()
    return status, lines[-1].strip() if lines else ""


def _anonymous_file() -> BinaryIO:
    """A file that is nowhere but in memory (memfd_create(2)), and needs no room on any disk."""
    return open(os.memfd_create("zrep", os.MFD_CLOEXEC), "w+b")
