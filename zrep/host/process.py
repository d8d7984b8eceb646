"""Commands, and pipes of two. Everything above it is tested by standing something else in for Runner."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Protocol

from msgspec import Struct

from zrep.core.errors import FailedError
from zrep.core.quantities import whole_number
from zrep.core.settings import DEFAULT_SETTINGS
from zrep.host.child import Child, Start, end, start
from zrep.zfs.commands import Completed
from zrep.zfs.errors import StuckError

COMMAND_SECONDS = 600.0


class Progress(Struct, frozen=True):
    """How far a stream got: bytes sent, and the size estimated for the whole (0: not known). stream: which of those
    that go through one pipe it is, from 0; begins: it has not moved yet, and may be over before it is told of again."""

    sent: int
    total: int
    stream: int = 0
    begins: bool = False


class Receiver(Protocol):
    """What takes streams in this process, see guard. argv: how it is called in what is said of it."""

    @property
    def argv(self) -> Sequence[str]: ...

    def begin(self, source: IO[bytes], start: Start, keep: Sequence[int]) -> Child: ...


class Runner(Protocol):
    """Starts commands. The product has one implementation, Processes; tests have a model."""

    def run(self, argv: Sequence[str], *, timeout: float = COMMAND_SECONDS, keep: Sequence[int] = ()) -> Completed: ...

    def stop(self) -> None: ...

    def runs(self) -> int: ...

    def pipe(
        self,
        sender: Sequence[str],
        receiver: Sequence[str] | Receiver,
        *,
        keep: Sequence[int] = (),
        progress: Callable[[Progress], None] | None = None,
    ) -> tuple[Completed, Completed]: ...


class Processes:
    """Runner on the real machine. stall: seconds without a byte after which a stream is ended."""

    def __init__(self, stall: float = DEFAULT_SETTINGS.stall) -> None:
        self._stall = stall
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
        return Completed(tuple(argv), child.returncode, text(out), text(err))

    def pipe(
        self,
        sender: Sequence[str],
        receiver: Sequence[str] | Receiver,
        *,
        keep: Sequence[int] = (),
        progress: Callable[[Progress], None] | None = None,
    ) -> tuple[Completed, Completed]:
        """sender | receiver, joined by the kernel: no byte of the stream passes through Python.

        keep: lock descriptors both inherit, so that a stream that outlives zrep still counts as busy.
        The sender reports progress on stderr once a second (``zfs send -vP``); when that stands still
        for ZREP_STALL seconds (600), both are ended and FailedError says so.
        """
        children: list[subprocess.Popen[bytes]] = []

        def begin(argv: Sequence[str], **options: object) -> subprocess.Popen[bytes]:
            children.append(self._start(argv, **options))
            return children[-1]

        first = begin(
            sender, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=tuple(keep)
        )
        try:
            second = _second(first, receiver, begin, keep)
        except BaseException:
            end(first)
            raise
        watch = _Watch(first, second, self._stall, progress)
        try:
            watch.until_done()
        finally:
            # Also on Ctrl-C: the lock may only be released once the children that share it have ended.
            end(first)
            end(second)
            self._running -= set(children)
        if watch.stalled:
            raise FailedError(f"the stream stopped moving for {self._stall:.0f} s and was cancelled")
        argv = tuple(receiver) if isinstance(receiver, Sequence) else tuple(receiver.argv)
        return (
            Completed(tuple(sender), first.returncode, "", watch.errors[0]),
            Completed(argv, _ended(second), watch.errors[2], watch.errors[1]),
        )


def _second(
    first: subprocess.Popen[bytes], receiver: Sequence[str] | Receiver, begin: Start, keep: Sequence[int]
) -> Child:
    """Have a receiver read what a sender writes: nobody else does then, so that the sender gets SIGPIPE when the
    receiver goes."""
    assert first.stdout is not None
    if not isinstance(receiver, Sequence):
        return receiver.begin(first.stdout, begin, keep)
    found = begin(receiver, stdin=first.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=tuple(keep))
    first.stdout.close()
    return found


def _ended(child: Child) -> int:
    """The exit status of a child that has ended, or was to: 1 while it does not."""
    return 1 if child.returncode is None else child.returncode


def runs(pid: int) -> int:
    """How often a process has waited for something and gone on (proc_pid_status(5)); 0 where nobody tells."""
    try:
        with open(f"/proc/{pid}/status", errors="replace") as file:
            found = re.search(r"^voluntary_ctxt_switches:\s*([0-9]+)", file.read(), re.MULTILINE)
    except OSError:
        return 0
    return int(found.group(1)) if found else 0


# What one end of a stream says beside its progress: so much of the beginning, and of the end.
_SAID = 32 << 10


class _Watch:
    """Reads the errors of both ends of a pipeline until both are done, and notices when nothing moves. Either end may
    be on a host that wants this one's memory, or its mistakes."""

    _PROGRESS = re.compile(r"(?:\d\d:\d\d:\d\d|full|incremental|size)\t.*")

    def __init__(
        self,
        sender: Child,
        receiver: Child,
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
                    self._keep(key.data, text(data))
            if time.monotonic() - self._moved > self._stall:
                self.stalled = True
                return
        if self._buffer:
            self._sender_said(b"\n")
        for child in self._children:
            child.wait()

    def _sender_said(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > _SAID:  # a filter that draws its own progress ends no line
            lines, self._buffer = [*lines, self._buffer], b""
        for line in map(text, lines):
            if self._PROGRESS.fullmatch(line):
                self._advance(line.split("\t"))
            elif line:
                self._keep(0, line + "\n")

    def _keep(self, end: int, text: str) -> None:
        said = self.errors[end] + text
        self.errors[end] = said if len(said) <= 4 * _SAID else f"{said[:_SAID]}\n{said[-_SAID:]}"

    def _advance(self, fields: list[str]) -> None:
        number = whole_number(fields[1])
        if number is None:
            return
        if fields[0] == "size":
            self._total, self._sent = number, -1
            self._begun += 1
            self._moved = time.monotonic()
            if self._progress:
                self._progress(Progress(0, self._total, self._begun - 1, begins=True))
        elif ":" in fields[0] and number != self._sent:
            self._sent = number
            self._moved = time.monotonic()
            if self._progress:
                self._progress(Progress(self._sent, self._total, max(0, self._begun - 1)))


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def text(data: bytes) -> str:
    """What a program printed. A byte that is no UTF-8 stands for itself, so that it can be given back as it was."""
    return data.decode("utf-8", "surrogateescape")
