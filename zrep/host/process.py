"""The one place that starts processes. Everything above it is tested by standing something else in for Runner."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, BinaryIO, Protocol

from msgspec import Struct

from zrep.core.errors import FailedError, RefusedError
from zrep.core.settings import DEFAULT_SETTINGS
from zrep.host import parallel
from zrep.zfs.commands import Completed
from zrep.zfs.errors import StuckError

COMMAND_SECONDS = 600.0
GRACE_SECONDS = 5.0

# cron's PATH is /usr/bin:/bin, and so may be that of a command over ssh; zfs lives in sbin.
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


class Progress(Struct, frozen=True):
    """How far a stream got: bytes sent, and the size estimated for the whole (0: not known). stream: which of those
    that go through one pipe it is, from 0."""

    sent: int
    total: int
    stream: int = 0


class Runner(Protocol):
    """Starts commands. The product has one implementation, Processes; tests have a model."""

    def run(self, argv: Sequence[str], *, timeout: float = COMMAND_SECONDS, keep: Sequence[int] = ()) -> Completed: ...

    def stop(self) -> None: ...

    def runs(self) -> int: ...

    def pipe(
        self,
        sender: Sequence[str],
        receiver: Sequence[str],
        *,
        keep: Sequence[int] = (),
        progress: Callable[[Progress], None] | None = None,
    ) -> tuple[Completed, Completed]: ...


def environment() -> Mapping[str, str]:
    """The environment of every child: a PATH with sbin in it, and the C locale for what is parsed."""
    path = os.environ.get("PATH", "").split(":")
    path += [folder for folder in _SYSTEM_PATH if folder not in path]
    return {**os.environ, "PATH": ":".join(filter(None, path)), "LC_ALL": "C"}


def find(program: str) -> str | None:
    """The program's full path on the children's PATH, None if there is none. As shutil.which, which would load every
    compressor there is into a helper that starts each minute."""
    folders = environment()["PATH"].split(":") if "/" not in program else ["."]
    paths = [os.path.join(folder, program) for folder in folders]
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), None)


def start(argv: Sequence[str], **options: object) -> subprocess.Popen[bytes]:
    """The only call that creates a process, but for what an administrator wrote (attended, bounded).

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
    with anonymous_file() as said:
        try:
            child = _administrators(argv, extra, subprocess.DEVNULL, said)
        except OSError as error:
            return None, error.strerror or str(error)
        return _waited_for(child, said, seconds)


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
        self._said = anonymous_file()
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
    lines = _text(said.read()[-2000:]).strip().splitlines()
    return status, lines[-1].strip() if lines else ""


def anonymous_file() -> BinaryIO:
    """A file that is nowhere but in memory (memfd_create(2)), and needs no room on any disk."""
    return open(os.memfd_create("zrep", os.MFD_CLOEXEC), "w+b")


def ending(status: int | None, said: str) -> str:
    """An answer of bounded in words, for the evidence of an error."""
    if status is None:
        return said
    return f"exit status {status}" + (f": {said}" if said else "")


class Processes:
    """Runner on the real machine. stall: seconds without a byte after which a stream is ended. meanwhile: what is done,
    once, in a thread of its own while the first command is under way."""

    def __init__(self, stall: float = DEFAULT_SETTINGS.stall, meanwhile: Callable[[], None] | None = None) -> None:
        self._stall = stall
        self._meanwhile = meanwhile
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def stop(self) -> None:
        """End every command that runs in any thread, and start no more: FailedError for whoever tries."""
        self._stopped = True
        for child in list(self._running):
            with suppress(OSError):
                child.terminate()

    def runs(self) -> int:
        """How often the commands that run now have waited and gone on: while a stream of theirs moves, that changes."""
        return sum(runs(child.pid) for child in list(self._running))

    def _start(self, argv: Sequence[str], **options: object) -> subprocess.Popen[bytes]:
        if self._stopped:
            raise FailedError("interrupted")
        child = start(argv, **options)
        self._running.add(child)
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            parallel.start(meanwhile)
        if self._stopped:
            child.terminate()
        return child

    def run(self, argv: Sequence[str], *, timeout: float = COMMAND_SECONDS, keep: Sequence[int] = ()) -> Completed:
        """Run to the end. keep: descriptors (of locks) the child inherits. FailedError when time runs out."""
        child = self._start(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=tuple(keep)
        )
        try:
            out, err = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            end(child)
            raise StuckError(f"{' '.join(argv[:2])} did not finish in {timeout:.0f} s and was ended") from None
        except BaseException:
            end(child)
            raise
        finally:
            self._running.discard(child)
        return Completed(tuple(argv), child.returncode, _text(out), _text(err))

    def pipe(
        self,
        sender: Sequence[str],
        receiver: Sequence[str],
        *,
        keep: Sequence[int] = (),
        progress: Callable[[Progress], None] | None = None,
    ) -> tuple[Completed, Completed]:
        """sender | receiver, joined by the kernel: no byte of the stream passes through Python.

        keep: lock descriptors both inherit, so that a stream that outlives zrep still counts as busy.
        The sender reports progress on stderr once a second (``zfs send -vP``); when that stands still
        for ZREP_STALL seconds (600), both are ended and FailedError says so.
        """
        first = self._start(
            sender, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=tuple(keep)
        )
        try:
            second = self._start(
                receiver, stdin=first.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=tuple(keep)
            )
        except BaseException:
            end(first)
            raise
        assert first.stdout is not None
        first.stdout.close()  # the receiver has it; the sender must get SIGPIPE when the receiver goes
        watch = _Watch(first, second, self._stall, progress)
        try:
            watch.until_done()
        finally:
            # Also on Ctrl-C: the lock may only be released once the children that share it have ended.
            end(first)
            end(second)
            self._running -= {first, second}
        if watch.stalled:
            raise FailedError(f"the stream stopped moving for {self._stall:.0f} s and was cancelled")
        return (
            Completed(tuple(sender), first.returncode, "", watch.errors[0]),
            Completed(tuple(receiver), second.returncode, watch.errors[2], watch.errors[1]),
        )


def runs(pid: int) -> int:
    """How often a process has waited for something and gone on (proc_pid_status(5)); 0 where nobody tells."""
    try:
        with open(f"/proc/{pid}/status", errors="replace") as file:
            found = re.search(r"^voluntary_ctxt_switches:\s*([0-9]+)", file.read(), re.MULTILINE)
    except OSError:
        return 0
    return int(found.group(1)) if found else 0


def end(child: subprocess.Popen[bytes]) -> None:
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


class _Watch:
    """Reads the errors of both ends of a pipeline until both are done, and notices when nothing moves."""

    _PROGRESS = re.compile(r"(?:\d\d:\d\d:\d\d|full|incremental|size)\t.*")

    def __init__(
        self,
        sender: subprocess.Popen[bytes],
        receiver: subprocess.Popen[bytes],
        stall: float,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.errors = ["", "", ""]
        self.stalled = False
        self._stall = stall
        self._progress = progress
        self._sent = -1
        self._total = 0
        self._begun = 0
        self._buffer = b""
        self._moved = time.monotonic()
        self._children = (sender, receiver)
        self._selector = selectors.DefaultSelector()
        for index, stream in enumerate((sender.stderr, receiver.stderr, receiver.stdout)):
            self._selector.register(_open(stream), selectors.EVENT_READ, index)

    def until_done(self) -> None:
        while self._selector.get_map():
            for key, _ in self._selector.select(1.0):
                data = os.read(key.fd, 65536)
                if not data:
                    self._selector.unregister(key.fileobj)
                elif key.data == 0:
                    self._sender_said(data)
                else:
                    self.errors[key.data] += _text(data)
            if time.monotonic() - self._moved > self._stall:
                self.stalled = True
                return
        if self._buffer:
            self._sender_said(b"\n")
        for child in self._children:
            child.wait()

    def _sender_said(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in map(_text, lines):
            if self._PROGRESS.fullmatch(line):
                self._advance(line.split("\t"))
            elif line:
                self.errors[0] += line + "\n"

    def _advance(self, fields: list[str]) -> None:
        if fields[0] == "size" and fields[1].isdigit():
            self._total, self._sent = int(fields[1]), -1
            self._begun += 1
            self._moved = time.monotonic()
        elif ":" in fields[0] and fields[1].isdigit() and int(fields[1]) != self._sent:
            self._sent = int(fields[1])
            self._moved = time.monotonic()
            if self._progress:
                self._progress(Progress(self._sent, self._total, max(0, self._begun - 1)))


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _text(data: bytes) -> str:
    """What a program printed. A byte that is no UTF-8 stands for itself, so that it can be given back as it was."""
    return data.decode("utf-8", "surrogateescape")
