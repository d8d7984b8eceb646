"""Locks: flock(2) on one file per dataset, inherited by the stream's processes.

Two files a dataset. NAME.lock is held by a zrep for as long as it works on the dataset. NAME.receive is held by the
process that receives into it: a `zfs receive` whose sender lost power was seen to live on for 20 s, and it must
count as busy although no zrep is left. A zrep has both, and lends the second one to the stream it is about to send.
The kernel frees both when the last process that has them open ends, so nothing can go stale, kill -9 and power loss
included.

The descriptor is what children inherit and what must not be closed too early, so opening, locking and closing it all
stand here; the lock itself is the one call of the standard library.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import stat
import time
from collections.abc import Collection
from contextlib import suppress
from shlex import quote

from zrep.core.errors import BusyError, FailedError, RefusedError
from zrep.core.names import is_tag, lock_file
from zrep.core.settings import DEFAULT_SETTINGS, Settings
from zrep.host.trust import others_may_write

TRY_SECONDS = 2.0
# Whoever may open a file may lock it.
_DIRECTORY_MODE = 0o700
_FILE_MODE = 0o600
# A tag has at most 64 characters.
_LONGEST_NOTE = 100


def _run_directory(settings: Settings) -> str:
    """Make the directory where locks live, and name it: for root, and one for each other user beside it. RefusedError
    when it cannot be made, or others could change what is in it: whoever may open a file there may lock it, and nobody
    else is to stop replication by that; nor is anything that was planted there to be followed."""
    user = os.geteuid()
    path = f"{settings.run_directory.rstrip('/')}/zrep{f'-{user}' if user else ''}"
    try:
        os.makedirs(path, mode=_DIRECTORY_MODE, exist_ok=True)
        found = os.lstat(path)
        reason = "" if stat.S_ISDIR(found.st_mode) else "it is no directory"
        if not reason:
            _narrow(path, found, _DIRECTORY_MODE)
            reason = others_may_write(path)
        if reason:
            raise RefusedError(
                f"{path} on {os.uname().nodename} cannot hold the locks",
                evidence=reason,
                advice="remove it, or set ZREP_RUNDIR",
            )
    except OSError as error:
        raise RefusedError(
            f"cannot create {path} for the locks on {os.uname().nodename}",
            evidence=error.strerror or str(error),
            advice=f"as root: install -d -m 700 -o {settings.user or user} {path}, or set ZREP_RUNDIR",
        ) from None
    return path


def _narrow(path: str | int, found: os.stat_result, mode: int) -> None:
    """Take the rights of others from what an earlier version has made, or an administrator by hand."""
    if found.st_mode & ~mode & 0o777 and found.st_uid == os.geteuid():
        with suppress(OSError):  # a file system that is read-only: no lock can be made there either
            os.chmod(path, mode)


class Locks:
    """The locks this process holds, in one directory: unless given, the one that the settings say."""

    def __init__(self, directory: str = "", settings: Settings = DEFAULT_SETTINGS) -> None:
        self._directory = directory
        self._settings = settings
        self._paths: dict[str, str] = {}
        self._held: dict[str, int] = {}  # the descriptor of each
        self._unlocked: list[int] = []
        self._lent: set[str] = set()
        _allow_descriptors()

    @property
    def directory(self) -> str:
        """Where they are. RefusedError when it cannot be made."""
        self._directory = self._directory or _run_directory(self._settings)
        return self._directory

    def take(self, dataset: str, wait: float = TRY_SECONDS) -> None:
        """Lock a dataset, waiting at most wait seconds; BusyError when another zrep or a stream has it.

        Try-lock with a jittered retry: two runs that want each other's locks never wait for each other long.
        """
        self._acquire(self.path(dataset), dataset, wait, "another zrep is working on it")
        try:
            self.revoke(dataset, wait)
        except BusyError:
            self.drop(dataset)
            raise

    def note(self, dataset: str, tag: str) -> None:
        """Write under what tag, and as which process, a locked dataset is worked on: others wait for that, or say so.
        No lock depends on it."""
        with suppress(OSError):
            descriptor = self._held[self.path(dataset)]
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{tag} {os.getpid()}\n".encode(), 0)

    def holder(self, dataset: str) -> tuple[str, int] | None:
        """Who has a dataset locked, as noted: tag and process, "" and 0 where that is not known. None: nobody, or this
        process."""
        path = self.path(dataset)
        if path in self._held:
            return None
        if _is_locked(path):
            return _noted(path)
        return ("", 0) if _is_locked(self.receive_path(dataset)) else None

    def is_left(self, dataset: str) -> bool:
        """Whether nobody has a dataset locked but a process that receives into it: the zrep that had let it in is
        gone."""
        return not self.has(dataset) and not _is_locked(self.path(dataset)) and _is_locked(self.receive_path(dataset))

    def has(self, dataset: str) -> bool:
        return self.path(dataset) in self._held

    def grant(self, dataset: str) -> tuple[str, str]:
        """Free the receive lock of a locked dataset for the process about to receive into it: the file that it locks,
        and the receive token in it, which is there until anybody else takes that lock. It begins with this process's
        number: a process that has ended holds no lock, and has nothing to lend.

        BusyError when the dataset is not locked here, or is being received into; FailedError when the file cannot be
        written."""
        if not self.has(dataset):
            raise BusyError("busy", filesystem=dataset, evidence="its lock was given up meanwhile")
        path = self.receive_path(dataset)
        if path in self._held and not os.fstat(self._held[path]).st_nlink:
            self._release(path)  # the file was removed: who is to receive would find another one in its place
        self.revoke(dataset)  # also where it was granted before, for a stream that was not sent
        token = f"{os.getpid()}.{os.urandom(8).hex()}"
        try:
            os.pwrite(self._held[path], f"{token}\n".encode(), 0)
        except OSError as error:
            evidence = error.strerror or str(error)
            raise FailedError(f"cannot write {path} on {os.uname().nodename}", evidence=evidence) from None
        self._release(path)
        self._lent.add(dataset)
        return path, token

    @property
    def lent(self) -> frozenset[str]:
        """The datasets whose receive lock a stream has."""
        return frozenset(self._lent)

    def revoke(self, dataset: str, wait: float = TRY_SECONDS) -> None:
        """Take the receive lock back, so that nothing more is received; BusyError while a receive still runs."""
        path = self.receive_path(dataset)
        self._acquire(path, dataset, wait, "a stream is still being received into it")
        os.truncate(self._held[path], 0)
        self._lent.discard(dataset)

    def drop(self, dataset: str) -> None:
        """Unlock a dataset, also for a child that still has the descriptor: the caller has waited for its streams."""
        self._lent.discard(dataset)
        self._release(self.receive_path(dataset))
        self._release(self.path(dataset))

    def drop_all(self) -> None:
        for path in list(self._held):
            self._release(path)
        for descriptor in self._unlocked:
            os.close(descriptor)
        self._unlocked.clear()

    def descriptors(self, datasets: Collection[str] | None = None) -> tuple[int, ...]:
        """The locks' descriptors (of some datasets), for children that must count as busy when zrep is gone."""
        paths = {path for name in datasets or () for path in (self.path(name), self.receive_path(name))}
        return tuple(held for path, held in list(self._held.items()) if datasets is None or path in paths)

    def path(self, dataset: str) -> str:
        if dataset not in self._paths:
            self._paths[dataset] = f"{self.directory}/{lock_file(dataset)}"
        return self._paths[dataset]

    def receive_path(self, dataset: str) -> str:
        """The file the receiving process of a dataset locks."""
        return self.path(dataset).removesuffix(".lock") + ".receive"

    def _acquire(self, path: str, dataset: str, wait: float, why: str) -> None:
        if path in self._held:
            return
        give_up = time.monotonic() + wait
        while True:
            try:
                descriptor = _try_lock(path)
            except OSError as error:
                raise cannot_lock(path, error).about(dataset) from None
            if descriptor is not None:
                self._held[path] = descriptor
                return
            if time.monotonic() >= give_up:
                raise BusyError("busy", filesystem=dataset, evidence=why)
            time.sleep(0.02 + os.urandom(1)[0] / 2000)

    def _release(self, path: str) -> None:
        """Unlocked now, closed at the end: another thread may be starting a process that is to inherit the descriptor,
        and would find it closed, or find another file in its place."""
        descriptor = self._held.pop(path, None)
        if descriptor is not None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            self._unlocked.append(descriptor)


def lock_at_once(descriptor: int) -> bool:
    """Lock what a descriptor has open, as flock(1) does; whether that was possible without waiting. OSError where there
    are no such locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _allow_descriptors() -> None:
    """As many open files as this process may have: two locks a dataset, and cron's usual limit is 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _is_locked(path: str) -> bool:
    """Whether somebody else has a file locked; it is not made where it is not there."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        if lock_at_once(descriptor):
            # Closing it is not enough: another thread may be starting a process, which has a copy until it is another.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            return False
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _noted(path: str) -> tuple[str, int]:
    """What Locks.note has written; "" and 0 for anything else."""
    try:
        with open(path, "rb") as file:
            words = file.read(_LONGEST_NOTE).decode("ascii").split()
    except (OSError, ValueError):
        return "", 0
    return (words[0], int(words[1])) if len(words) == 2 and is_tag(words[0]) and words[1].isdigit() else ("", 0)


def cannot_lock(path: str, error: OSError) -> RefusedError:
    """The error of a file that cannot be opened for a lock."""
    planted = error.errno in (errno.ELOOP, errno.EMLINK, errno.EPERM)
    return RefusedError(
        f"cannot lock {path} on {os.uname().nodename}",
        evidence=error.strerror or str(error),
        advice=f"look at it, and remove it: rm {quote(path)}"
        if planted
        else "run it as root, or set ZREP_RUNDIR to a directory this user may write",
    )


def open_own(path: str) -> int:
    """Open a file for a lock on it, made where it is not there; OSError for one that somebody else has put there."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE)
    try:
        found = os.fstat(descriptor)
        _check_own(found)
        _narrow(descriptor, found, _FILE_MODE)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check_own(found: os.stat_result) -> None:
    """OSError for what is no file of this one name: a receive token is written into it, over whatever is there. And for
    one of another user: he may have it open since before its directory was closed to him, and lock it at any time."""
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise OSError(
            errno.EMLINK, "it is no file of its own: somebody has put a link, or something else, in its place"
        )
    if found.st_uid != os.geteuid():
        raise OSError(errno.EPERM, f"it belongs to the user {found.st_uid}")


def _try_lock(path: str) -> int | None:
    """The descriptor of a file that is locked now; None while somebody else has it."""
    while True:
        descriptor = open_own(path)
        try:
            locked = lock_at_once(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        if not locked:
            os.close(descriptor)
            return None
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # removed between the two calls, as by a cleaner of /var/run
