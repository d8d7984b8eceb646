"""Locks: flock on one file per dataset, through filelock, inherited by the stream's processes.

Two files a dataset. NAME.lock is held by a zrep for as long as it works on the dataset. NAME.receive is held by the
process that receives into it: a `zfs receive` whose sender lost power was seen to live on for 20 s, and it must
count as busy although no zrep is left. The kernel frees both when the last process that has them open ends, so
nothing can go stale, kill -9 and power loss included.
"""

from __future__ import annotations

import fcntl
import os
import random
import resource
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from zrep.core.errors import BusyError, RefusedError
from zrep.core.names import lock_file

TRY_SECONDS = 2.0


def run_directory() -> Path:
    """Where locks live: $ZREP_RUNDIR/zrep, /var/run/zrep by default. RefusedError when it cannot be made."""
    path = Path(os.environ.get("ZREP_RUNDIR") or "/var/run") / "zrep"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RefusedError(
            f"cannot create {path} for the locks on {os.uname().nodename}",
            evidence=error.strerror or str(error),
            advice=f"as root: install -d -o {os.environ.get('USER', 'the user')} {path}, or set ZREP_RUNDIR",
        ) from None
    return path


class Locks:
    """The locks this process holds, in one directory (run_directory unless given)."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._paths: dict[str, Path] = {}
        self._held: dict[Path, FileLock] = {}
        self._unlocked: list[FileLock] = []
        _allow_descriptors()

    def take(self, dataset: str, wait: float = TRY_SECONDS) -> None:
        """Lock a dataset, waiting at most wait seconds; BusyError when another zrep or a stream has it.

        Try-lock with a jittered retry: two runs that want each other's locks never wait for each other long.
        """
        self._acquire(self.path(dataset), dataset, wait, "another zrep is working on it")
        try:
            self.regain(dataset, wait)
        except BusyError:
            self.drop(dataset)
            raise

    def has(self, dataset: str) -> bool:
        return self.path(dataset) in self._held

    def lend(self, dataset: str) -> None:
        """Free the receive lock for the process about to receive into the dataset."""
        self._release(self.receive_path(dataset))

    def regain(self, dataset: str, wait: float = TRY_SECONDS) -> None:
        """Take the receive lock back; BusyError while a receive still runs."""
        self._acquire(self.receive_path(dataset), dataset, wait, "a stream is still being received into it")

    def drop(self, dataset: str) -> None:
        """Unlock a dataset. filelock's release unlocks even while a child still has the descriptor: the caller
        has waited for its streams."""
        self._release(self.receive_path(dataset))
        self._release(self.path(dataset))

    def drop_all(self) -> None:
        for path in list(self._held):
            self._release(path)
        for lock in self._unlocked:
            lock.release()
        self._unlocked.clear()

    def descriptors(self, datasets: Collection[str] | None = None) -> tuple[int, ...]:
        """The locks' descriptors (of some datasets), for children that must count as busy when zrep is gone."""
        paths = {path for name in datasets or () for path in (self.path(name), self.receive_path(name))}
        held = [lock for path, lock in list(self._held.items()) if datasets is None or path in paths]
        return tuple(_descriptor(lock) for lock in held)

    def path(self, dataset: str) -> Path:
        if dataset not in self._paths:
            if self._directory is None:
                self._directory = run_directory()
            self._paths[dataset] = self._directory / lock_file(dataset)
        return self._paths[dataset]

    def receive_path(self, dataset: str) -> Path:
        """The file the receiving process of a dataset locks."""
        return self.path(dataset).with_suffix(".receive")

    def _acquire(self, path: Path, dataset: str, wait: float, why: str) -> None:
        if path in self._held:
            return
        lock = FileLock(path, timeout=0, thread_local=False)
        give_up = time.monotonic() + wait
        while True:
            try:
                lock.acquire()
            except Timeout:
                if time.monotonic() >= give_up:
                    raise BusyError("busy", filesystem=dataset, evidence=why) from None
                time.sleep(random.uniform(0.02, 0.15))
            except OSError as error:
                raise RefusedError(
                    f"cannot lock {path} on {os.uname().nodename}",
                    filesystem=dataset,
                    evidence=error.strerror or str(error),
                    advice="run it as root, or set ZREP_RUNDIR to a directory this user may write",
                ) from None
            else:
                self._held[path] = lock
                return

    def _release(self, path: Path) -> None:
        """Unlocked now, closed at the end: another thread may be starting a process that is to inherit the descriptor,
        and would find it closed, or find another file in its place."""
        lock = self._held.pop(path, None)
        if lock is not None:
            fcntl.flock(_descriptor(lock), fcntl.LOCK_UN)
            self._unlocked.append(lock)


def _allow_descriptors() -> None:
    """As many open files as this process may have: two locks a dataset, and cron's usual limit is 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _descriptor(lock: FileLock) -> int:
    descriptor = lock._context.lock_file_fd  # filelock has no public name for it
    assert descriptor is not None
    return descriptor
