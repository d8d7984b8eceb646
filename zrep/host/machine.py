"""What carrying out a request takes: the programs, the library, the locks and the bookkeeping of one machine."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch
from typing import Any

from zrep.core import place
from zrep.core.errors import BugError, RefusedError, one_line
from zrep.core.requests import Identity, Request
from zrep.core.settings import DEFAULT_SETTINGS, Settings
from zrep.core.shape import PROGRAMS, begun
from zrep.host import process
from zrep.host.child import find
from zrep.host.library import Library
from zrep.host.locks import Locks
from zrep.host.process import COMMAND_SECONDS, Runner
from zrep.host.trust import others_may_write
from zrep.zfs import errors as zfs_errors
from zrep.zfs import parse
from zrep.zfs.commands import Argv, Completed

_KSTAT = "/proc/spl/kstat/zfs"
# Of a pool: a transaction group takes seconds, and where the disks are slow or very busy some more.
HUNG = "HUNG"
HUNG_SECONDS = 90.0
# Its number in capabilities(7).
_SYS_ADMIN = 21


@singledispatch
def carry_out(request: Request[Any], machine: Machine) -> Any:
    """Carry a request out on a machine, for its answer. Each kind of request registers the function that does it;
    what the function returns is of the request's answer type."""
    raise BugError(f"nothing carries out a {type(request).__name__}")


def short_name(settings: Settings) -> str:
    """This host's short name, or the one that stands in for it."""
    return (settings.host or os.uname().nodename).split(".")[0]


class Machine:
    """This machine. name: its short name. runner and directory (of locks): others stand in for them in tests.
    dial: who answers when this host dials a host, where it may be asked that."""

    def __init__(
        self,
        settings: Settings = DEFAULT_SETTINGS,
        runner: Runner | None = None,
        name: str = "",
        directory: str = "",
        dial: Callable[[str], Identity] | None = None,
    ) -> None:
        self.settings = settings
        self.name = name or short_name(settings)
        self.runner: Runner = runner or process.Processes(settings.stall)
        # Where another runner stands in for the programs, nothing goes past it.
        self.library = Library(settings.library and runner is None)
        self.locks = Locks(directory, settings)
        self.dial = dial

    def mountinfo(self) -> str:
        """The kernel's list of the mounts that this process sees, "" where there is none; see parse_mountinfo."""
        try:
            with open("/proc/self/mountinfo", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def open_mount(self, point: str) -> tuple[int, int] | None:
        """A descriptor of the directory at a path, for the caller to close, and the id of the mount it is in
        (proc_pid_fdinfo(5)). None where it cannot be opened, or there is no telling."""
        try:
            descriptor = os.open(point, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return None
        found = re.search(r"^mnt_id:\s*([0-9]+)$", _read(f"/proc/self/fdinfo/{descriptor}"), re.MULTILINE)
        if found is None:
            os.close(descriptor)
            return None
        return descriptor, int(found.group(1))

    def log(self, text: str) -> None:
        """Tell syslog, or the journal, a line; nobody need be listening."""
        if not self.settings.syslog:
            return
        import syslog  # seldom needed

        syslog.openlog("zrep", syslog.LOG_PID, syslog.LOG_DAEMON)
        syslog.syslog(syslog.LOG_NOTICE, one_line(text))

    @property
    def user(self) -> str:
        """Whose rights this process has, whatever its environment says."""
        import pwd  # seldom needed

        number = os.geteuid()
        try:
            return pwd.getpwuid(number).pw_name
        except KeyError:
            return f"user {number}"

    def may_mount(self) -> bool:
        """Whether what is started from here may mount: mount(8) wants root, and the kernel root's capability."""
        if os.geteuid() != 0:
            return False
        found = re.search(r"^CapEff:\s*([0-9a-f]+)$", _read("/proc/self/status"), re.MULTILINE)
        return found is None or bool(int(found.group(1), 16) >> _SYS_ADMIN & 1)

    def can_make(self, path: str) -> bool:
        """Whether a directory is there, or those above it can be written to."""
        above = path
        while above != "/" and not os.path.lexists(above):
            above = os.path.dirname(above)
        return os.path.isdir(above) and (above == path or not os.statvfs(above).f_flag & os.ST_RDONLY)

    def pool_states(self) -> Mapping[str, str] | None:
        """What the kernel says of each pool that is imported (ONLINE, SUSPENDED ...), HUNG where a transaction group
        is being written for long: no command, no wait. None where it does not tell."""
        try:
            with os.scandir(_KSTAT) as entries:
                found = {entry.path: state for entry in entries if (state := _read(f"{entry.path}/state"))}
        except OSError:
            return None
        now = time.clock_gettime(time.CLOCK_MONOTONIC_RAW)
        return {
            os.path.basename(path): HUNG if parse.seconds_of_sync(_read(f"{path}/txgs"), now) > HUNG_SECONDS else state
            for path, state in found.items()
        }

    def place(self, pool: str) -> str:
        """Where what is in a pool is (see core/place.py). The kernel tells a pool's GUID since OpenZFS 2.1.6."""
        return place.place(_digits(_read(f"{_KSTAT}/{pool}/guid")), self.host_id())

    def host_id(self) -> str:
        """Half of the machine id: enough to tell hosts apart, and what machine-id(5) wants kept stays here. "" where
        there is none, or one that ends with this boot: systemd mounts that over the file."""
        if os.path.ismount("/etc/machine-id"):
            return ""
        found = _read("/etc/machine-id").strip()[:16]
        return found if len(found) == 16 and set(found) <= set("0123456789abcdef") else ""

    @property
    def directory(self) -> str:
        """Where locks and bookkeeping are kept. RefusedError when it cannot be made."""
        return self.locks.directory

    def allowed_filters(self) -> tuple[str, ...]:
        """The filters that root lets streams be passed through on this host: those of the file of settings, and each
        line of the file for them, unless others could have written it."""
        text = "" if others_may_write(self.settings.filters) else _read(self.settings.filters)
        lines = (line.strip() for line in text.splitlines())
        return (*self.settings.allowed, *(line for line in lines if line and not line.startswith("#")))

    def stream_programs(self, filters: Sequence[str]) -> tuple[str, ...]:
        """Those that are installed here of the programs that zrep itself may pass streams through, and of those that
        these filters begin."""
        wanted = dict.fromkeys((*PROGRAMS, *(name for text in filters for name in begun(text))))
        return tuple(name for name in wanted if find(name))

    def check_filter(self, text: str, dataset: str) -> None:
        """The last look before a filter becomes a shell command, wherever its text is from. RefusedError for one that
        is not allowed."""
        if text and text not in self.allowed_filters():
            raise RefusedError(
                f"a filter is not one that root of {self.name} has allowed", filesystem=dataset, evidence=repr(text)
            )

    def run(self, argv: Argv, seconds: float = COMMAND_SECONDS, keep: Sequence[int] = ()) -> Completed:
        """Run a command to its end, for so many seconds. The locks go along, and the descriptors to keep: a command
        that outlives zrep still counts as busy."""
        return self.runner.run(argv, timeout=seconds, keep=(*self.locks.descriptors(), *keep))

    def look(self, argv: Argv, seconds: float = COMMAND_SECONDS) -> Completed:
        """Run a command that changes nothing, for so many seconds. No lock goes along: one that hangs in the kernel
        is in nobody's way."""
        return self.runner.run(argv, timeout=seconds)

    def output(self, argv: Argv) -> str:
        """What a command that changes nothing printed; its typed error when it failed."""
        done = self.look(argv)
        if done.status != 0:
            raise zfs_errors.error(done)
        return done.out

    def stop(self) -> None:
        """End every command that runs in any thread, and start no more."""
        self.library.stop()
        self.runner.stop()

    def close(self) -> None:
        """Give up the locks."""
        self.locks.drop_all()


def _digits(text: str) -> str:
    """A number as text, "" for anything else."""
    found = text.strip()
    return found if found.isascii() and found.isdigit() else ""


def _read(path: str) -> str:
    """What is in a file, "" where there is none."""
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""
