"""The one place that starts processes of zrep's own, and ends them. An administrator's are in programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Protocol

from zrep.core.errors import FailedError, RefusedError

GRACE_SECONDS = 5.0

# cron's PATH is /usr/bin:/bin, and so may be that of a command over ssh; zfs lives in sbin.
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


class Child(Protocol):
    """What has been started, as subprocess.Popen has it."""

    returncode: int | None

    @property
    def pid(self) -> int: ...

    @property
    def stdout(self) -> IO[bytes] | None: ...

    @property
    def stderr(self) -> IO[bytes] | None: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


# Starts a program, as start does.
Start = Callable[..., subprocess.Popen[bytes]]


def environment() -> Mapping[str, str]:
    """The environment of every child: a PATH with sbin in it, and the C locale for what is parsed."""
    return {**os.environ, "PATH": ":".join(_folders()), "LC_ALL": "C"}


def _folders() -> list[str]:
    """Where programs are looked for: this process's own PATH, with sbin in it."""
    path = os.environ.get("PATH", "").split(":")
    return [folder for folder in (*path, *(more for more in _SYSTEM_PATH if more not in path)) if folder]


def find(program: str) -> str | None:
    """The program's full path on the children's PATH, None if there is none. As shutil.which, which would load every
    compressor there is into a helper that starts each minute."""
    folders = _folders() if "/" not in program else ["."]
    paths = [os.path.join(folder, program) for folder in folders]
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), None)


def start(argv: Sequence[str], **options: object) -> subprocess.Popen[bytes]:
    """Start a process of zrep's own: the only call that does. An administrator's are in programs.

    RefusedError when the program is not there."""
    try:
        # subprocess looks the program up on this process's own PATH, not on the one the child gets.
        program = find(argv[0]) or argv[0]
        words = [word.encode("utf-8", "surrogateescape") for word in (program, *argv[1:])]
        return subprocess.Popen(words, env=environment(), **options)  # type: ignore[call-overload,no-any-return]  # options are passed through
    except FileNotFoundError:
        raise RefusedError(
            f"the program {argv[0]} is not installed on {os.uname().nodename}",
            advice="install it, or put it where this user's PATH finds it",
        ) from None
    except OSError as error:
        raise FailedError(f"cannot start {argv[0]}", evidence=error.strerror or str(error)) from None


def end(child: Child) -> None:
    """End a child of ours and wait for it: first politely, then not."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        # A child in an uninterruptible wait, as of a suspended pool, ends later or never; it keeps its locks.
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_SECONDS)
