"""What can be asked of one host: typed requests, carried out on the machine where the datasets live.

The same class serves the host zrep runs on (called directly) and the peer (through the helper process of
peer.py), so that which of the two hosts drives an operation makes no difference to the operation.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from msgspec import Struct

from zrep import __version__
from zrep.core.dataset import role_of
from zrep.core.errors import BusyError, RefusedError, ZrepError
from zrep.host import process
from zrep.host.locks import Locks, run_directory
from zrep.host.process import Runner
from zrep.zfs import commands, parse
from zrep.zfs import errors as zfs_errors
from zrep.zfs.commands import Completed

PROTOCOL = 2
HOOKS = "/etc/zrep/hooks.d"
HOOK_SECONDS = 60.0
FENCE_SECONDS = 120.0
RECEIVE_BUSY = 75
RECEIVE_NOT_ADMITTED = 76
# In the place of the generation of a dataset that has no role yet.
NO_GENERATION = "new"
# The line after which the stdout of a command on another host is its own.
STREAM_MARK = "zrep-stream"
_PROGRAMS = frozenset({"zfs", "zpool", "mount"})

# Runs on the replica for each stream, under whatever login shell: single quotes only, no "!", no line break.
# It takes the lock that the receiving process then holds, and looks for the receive token that Locks.grant left
# in it for this stream alone. Whoever takes the lock meanwhile empties the file, and the zrep that looked at the
# generation holds the dataset's other lock until it ends: a stream that comes late, to a dataset that has become a
# master, is refused here.
# All of it without a process but flock's: one costs as much as a small stream.
RECEIVE_SCRIPT = (
    "PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; LC_ALL=C; export PATH LC_ALL; "
    'exec 9<>"$1" || exit 1; flock -n 9 || exit 75; '
    'IFS= read -r token <&9; [ "$token" = "$2" ] || exit 76; '
    '[ -d "/proc/${2%%.*}" ] || kill -0 "${2%%.*}" || exit 76; '
    # Login files may print before a stream from another host begins. A shell reads a pipe byte by byte.
    'case "$3" in marked) while IFS= read -r line; do case "$line" in '
    + STREAM_MARK
    + ") break ;; esac; done ;; esac; "
    'shift 3; exec "$@"'
)


# An incremental stream with nothing between its first record and its last: 2 x 312 bytes (struct dmu_replay_record in
# OpenZFS's zfs_ioctl.h; seen on 2.3.2). More is not read.
UNMODIFIED_BYTES = 624
UNMODIFIED_SCRIPT = f'zfs send -w -i "$1" "$2" | head -c {UNMODIFIED_BYTES + 1} | wc -c'

# What differs, a line for each file; no more of them than a person would want to see counted.
DIFFERENCES_KEPT = 10000
DIFFERENCES_SECONDS = 120.0
DIFFERENCES_SCRIPT = f'zfs diff -H "$1" "$2" | head -n {DIFFERENCES_KEPT}'


class Identity(Struct, frozen=True):
    """Who a host is: short name, kernel boot id (two names of one boot are one host), versions, clock in seconds."""

    host: str
    boot: str
    zrep: str
    zfs: str
    clock: float
    user: str


class Agent(Protocol):
    """One host, as the operations see it."""

    name: str
    local: bool

    def identity(self) -> Identity: ...
    def run(self, commands: Sequence[Sequence[str]]) -> list[Completed]: ...
    def lock(self, datasets: Sequence[str], wait: float) -> list[str]: ...
    def unlock(self, datasets: Sequence[str]) -> None: ...
    def grant(self, tag: str, generations: dict[str, str]) -> dict[str, tuple[str, str]]: ...
    def revoke(self, dataset: str) -> None: ...
    def take_role(self, tag: str, dataset: str, expected: str, identity: str, command: Sequence[str]) -> Completed: ...
    def end_receive(self, dataset: str) -> int: ...
    def occupants(self, mountpoint: str, writing: bool = False) -> list[str]: ...
    def is_unmodified(self, snapshot: str, dataset: str) -> bool: ...
    def hooks(self, event: str, about: dict[str, str]) -> list[str]: ...
    def remember(self, records: dict[str, dict[str, object]]) -> None: ...
    def recall(self, keys: Sequence[str]) -> dict[str, dict[str, object]]: ...
    def dial(self, host: str) -> Identity: ...
    def stream_argv(self, argv: Sequence[str], *, receives: bool = False) -> tuple[str, ...]: ...
    def close(self) -> None: ...


def short_name() -> str:
    """This host's short name; $ZREP_HOST stands in for it (as in the shell zrep's tests)."""
    return (os.environ.get("ZREP_HOST") or os.uname().nodename).split(".")[0]


def boot_id() -> str:
    return _read("/proc/sys/kernel/random/boot_id").strip() or os.uname().nodename


class LocalAgent:
    """This host."""

    local = True

    def __init__(self, runner: Runner | None = None, name: str = "", directory: str = "") -> None:
        self.name = name or short_name()
        self.runner: Runner = runner or process.Processes()
        self.directory = directory
        self.locks = Locks(directory)

    def identity(self) -> Identity:
        """FailedError or RefusedError when ZFS is not usable here."""
        done = self.runner.run(commands.version())
        version = parse.parse_version(done.out)
        if not version:
            raise RefusedError("cannot tell the OpenZFS version", evidence=(done.err or done.out).strip()[:200])
        if version < (2, 1):
            raise RefusedError(f"OpenZFS {'.'.join(map(str, version))} is too old", advice="zrep needs 2.1 or later")
        return Identity(
            self.name, boot_id(), __version__, ".".join(map(str, version)), time.time(), os.environ.get("USER", "")
        )

    def run(self, commands: Sequence[Sequence[str]]) -> list[Completed]:
        """Run commands in order; the answers end with the first that failed."""
        done: list[Completed] = []
        for command in commands:
            if command[0] not in _PROGRAMS:
                raise RefusedError(f"{command[0]!r} is not a command zrep runs")
            # The lock goes along: a zfs command that outlives zrep still counts as busy.
            done.append(self.runner.run(command, keep=self.locks.descriptors()))
            if done[-1].status != 0:
                break
        return done

    def lock(self, datasets: Sequence[str], wait: float) -> list[str]:
        """Lock what is free of datasets, waiting so many seconds in all; the ones that are busy come back."""
        busy = []
        give_up = time.monotonic() + wait
        for dataset in datasets:
            try:
                self.locks.take(dataset, max(0.0, give_up - time.monotonic()))
            except BusyError:
                busy.append(dataset)
        return busy

    def unlock(self, datasets: Sequence[str]) -> None:
        for dataset in datasets:
            self.locks.drop(dataset)

    def grant(self, tag: str, generations: dict[str, str]) -> dict[str, tuple[str, str]]:
        """Let the processes that are to receive streams have the receive locks of datasets this zrep has locked: for
        each the file to lock, and the receive token to show. Of datasets, each with the generation it must be a replica
        of (or NO_GENERATION); those that are not are not in the answer."""
        old = [dataset for dataset, generation in generations.items() if generation != NO_GENERATION]
        found: dict[str, str] = {}
        if old:
            found = parse.parse_replicas(tag, zfs_errors.present(self.runner.run(commands.get_standing(tag, old))).out)
        return {
            dataset: self.locks.grant(dataset)
            for dataset, generation in generations.items()
            if found.get(dataset, NO_GENERATION) == generation
        }

    def revoke(self, dataset: str) -> None:
        """The receive lock back, once the receiving process has ended."""
        self.locks.revoke(dataset, 20.0)

    def take_role(self, tag: str, dataset: str, expected: str, identity: str, command: Sequence[str]) -> Completed:
        """The commit point of a role change: only if the generation is still expected and no cancel mark names it.

        One process, under the lock it holds: a request that was delayed on its way finds another generation,
        a cancel mark, or no lock, and changes nothing. RefusedError then.
        """
        self.locks.take(dataset)
        read = self.runner.run(commands.get_properties(tag, [dataset]))
        if read.status != 0:
            raise zfs_errors.error(read).about(dataset)
        role = role_of(tag, dataset, parse.parse_properties(read.out).get(dataset, {}))
        if role.generation != expected:
            raise RefusedError("its generation changed meanwhile", filesystem=dataset, evidence=role.generation)
        if role.intent and role.intent.operation == "cancelled" and role.intent.identity == identity:
            raise RefusedError("this role change was cancelled meanwhile", filesystem=dataset)
        return self.runner.run(command, keep=self.locks.descriptors())

    def end_receive(self, dataset: str) -> int:
        """End `zfs receive` processes into the dataset whose sender is gone; how many there were."""
        ended = 0
        for pid in _processes():
            words = _read(f"/proc/{pid}/cmdline").split("\0")
            if words[1:2] == ["receive"] and os.path.basename(words[0]) == "zfs" and dataset in words:
                with suppress(OSError):
                    os.kill(pid, signal.SIGTERM)
                    ended += 1
        return ended

    def is_unmodified(self, snapshot: str, dataset: str) -> bool:
        """Whether a dataset surely is what its newest snapshot is, although its ``written`` is not 0.

        After a crash, and in a clone of a volume, only the header of the intent log differs, and written counts it.
        What ZFS would send tells: nothing. False for what cannot be asked (mounted, busy). Under the dataset's lock,
        its own where the caller has none: a send of a dataset keeps a receive out of it.
        """
        locked = self.locks.has(dataset)
        try:
            if not locked:
                self.locks.take(dataset, 0.0)
            done = self.runner.run(("sh", "-c", UNMODIFIED_SCRIPT, "zrep", snapshot, dataset))
        except ZrepError:
            return False
        finally:
            if not locked:
                self.locks.drop(dataset)
        return done.status == 0 and done.out.strip() == str(UNMODIFIED_BYTES)

    def differences(self, snapshot: str, dataset: str) -> list[tuple[str, str]]:
        """What was added (+), removed (-), modified (M) and renamed (R) in a mounted filesystem since a snapshot of
        it, with its path; at most DIFFERENCES_KEPT, none where it cannot be told."""
        try:
            words = ("sh", "-c", DIFFERENCES_SCRIPT, "zrep", snapshot, dataset)
            done = self.runner.run(words, timeout=DIFFERENCES_SECONDS)
        except ZrepError:
            return []
        rows = [line.split("\t") for line in done.out.splitlines()]
        return [(row[0], row[1]) for row in rows if len(row) > 1]

    def occupants(self, mountpoint: str, writing: bool = False) -> list[str]:
        """Processes that have something below mountpoint open, as "name (pid)"; needs root to see all. writing: only
        those that have a file open, or mapped, to write to it."""
        inside = re.compile(re.escape(mountpoint) + r"(/.*)?\Z")
        mapped = re.compile(rf"^\S+ {'.w.s' if writing else '....'} .* {re.escape(mountpoint)}/", re.MULTILINE)
        found = []
        for pid in _processes():
            places = [] if writing else [f"/proc/{pid}/cwd", f"/proc/{pid}/root"]
            with suppress(OSError):
                numbers = [n for n in os.listdir(f"/proc/{pid}/fd") if not writing or _open_for_writing(pid, n)]
                places += [f"/proc/{pid}/fd/{number}" for number in numbers]
            if any(inside.match(_target(place)) for place in places) or mapped.search(_read(f"/proc/{pid}/maps")):
                found.append(f"{_read(f'/proc/{pid}/comm').strip()} ({pid})")
        return found

    def hooks(self, event: str, about: dict[str, str]) -> list[str]:
        """Tell every executable of the hook directory of an event, in the order of their names; what failed."""
        folder = os.environ.get("ZREP_HOOKS") or HOOKS
        with suppress(OSError):
            paths = [f"{folder}/{name}" for name in sorted(os.listdir(folder))]
            programs = [path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)]
            about = {"ZREP_EVENT": event, **about}
            return [text for path in programs if (text := _hook(path, event, about))]
        return []

    def fence(self, command: str, about: dict[str, str]) -> tuple[int | None, str]:
        """Run a fence command, a line for sh; see process.bounded for the answer."""
        return process.bounded(("sh", "-c", command), about, FENCE_SECONDS)

    def attend(self, argv: Sequence[str], extra: Mapping[str, str], folder: str) -> int:
        """Run an administrator's own command; see process.attended."""
        return process.attended(argv, extra, folder)

    def remember(self, records: dict[str, dict[str, object]]) -> None:
        """Volatile bookkeeping by key: what is new is added to what is remembered already, None forgets. Losing it
        changes nothing, so failing to keep it is no error."""
        known = self.recall(list(records))
        folder = ""
        with suppress(OSError, RefusedError):
            folder = f"{self.directory or run_directory()}/state"
            os.makedirs(folder, exist_ok=True)
        for key, news in records.items() if folder else ():
            record = {name: value for name, value in {**known.get(key, {}), **news}.items() if value is not None}
            path = f"{folder}/{key.replace('/', '%')}"
            temporary = f"{path}.{os.getpid()}"
            with suppress(OSError):
                with open(temporary, "w") as file:
                    file.write(json.dumps(record))
                os.replace(temporary, path)

    def recall(self, keys: Sequence[str]) -> dict[str, dict[str, object]]:
        """What was remembered under each key; nothing for those it was not."""
        found: dict[str, dict[str, object]] = {}
        folder = ""
        with suppress(RefusedError):
            folder = f"{self.directory or run_directory()}/state"
        for key in keys if folder else ():
            with suppress(OSError, ValueError):
                with open(f"{folder}/{key.replace('/', '%')}") as file:
                    record = json.load(file)
                if isinstance(record, dict):
                    found[key] = {name: value for name, value in record.items() if _sane(value)}
        return found

    def dial(self, host: str) -> Identity:
        """Who answers when this host dials host: for the check of the way back at init."""
        from zrep.wire.client import RemoteAgent  # remote builds on this module

        remote = RemoteAgent(host)
        try:
            return remote.identity()
        finally:
            remote.close()

    def stream_argv(self, argv: Sequence[str], *, receives: bool = False) -> tuple[str, ...]:
        """The command by which argv takes part in a stream on this host. receives: argv is one of receive_argv."""
        return tuple(argv)

    def close(self) -> None:
        self.locks.drop_all()


def receive_argv(granted: tuple[str, str], argv: Sequence[str], *, marked: bool) -> tuple[str, ...]:
    """argv under the receive lock as Agent.grant has granted it. marked: the stream begins after a line that is
    STREAM_MARK."""
    return ("sh", "-c", RECEIVE_SCRIPT, "zrep", *granted, "marked" if marked else "plain", *argv)


def stream_refusal(status: int, dataset: str) -> BusyError | None:
    """What the exit status of RECEIVE_SCRIPT says, None when it is that of zfs receive."""
    if status == RECEIVE_BUSY:
        return BusyError("busy", filesystem=dataset, evidence="another stream is being received into it")
    if status == RECEIVE_NOT_ADMITTED:
        evidence = (
            "the zrep it was sent for has ended there, another one has worked on it since, or its lock was removed"
        )
        return BusyError("the stream came too late", filesystem=dataset, evidence=evidence)
    return None


def _sane(value: object) -> bool:
    """Not a number that no clock and no disk could give: whoever wrote that was not zrep."""
    return not isinstance(value, int | float) or abs(value) < 2**63


def _hook(path: str, event: str, about: dict[str, str]) -> str:
    """Tell one program of an event; "" when it succeeded, else what went wrong."""
    status, said = process.bounded((path, event), about, HOOK_SECONDS)
    if status == 0:
        return ""
    return f"{path}: {process.ending(status, said)}"


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()] if sys.platform == "linux" else []


def _open_for_writing(pid: int, number: str) -> bool:
    """Whether an open file's access mode is other than read-only (proc_pid_fdinfo(5): flags, octal)."""
    flags = re.search(r"^flags:\s*([0-7]+)", _read(f"/proc/{pid}/fdinfo/{number}"), re.MULTILINE)
    return flags is not None and int(flags.group(1), 8) & os.O_ACCMODE != os.O_RDONLY


def _read(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""
