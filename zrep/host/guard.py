"""Streams that come from another host into this one, which has asked for them: each is looked at before zfs has it.

The process that runs already does it, in a thread beside the one that reads what both ends say: no other is started
for it, and no byte of a stream passes through it. It looks at what begins at the pipe, starts ``zfs receive`` on that,
which reads the one stream to its last record, and looks at what begins next.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from signal import SIGKILL, SIGTERM, Signals
from subprocess import PIPE, Popen, TimeoutExpired
from typing import IO

from zrep.core import shape
from zrep.core.errors import RefusedError, ZrepError
from zrep.core.incoming import Beginning, Incoming, improper, unwanted
from zrep.core.names import STREAM_MARK
from zrep.host.child import Start
from zrep.host.locks import lock_at_once
from zrep.host.streams import (
    RECEIVE_BUSY,
    RECEIVE_NOT_ADMITTED,
    RECEIVE_UNWANTED,
    STREAM_END,
)
from zrep.host.wrapping import EndedError, UnwantedError, streams
from zrep.zfs import commands
from zrep.zfs.commands import Argv

_NOISE_BYTES = 64 << 10
# As zfs says it: the cause is at the other end.
NO_STREAM = "cannot receive: invalid stream (it ended before it began)"


def words(incoming: Incoming, found: Beginning, before: Beginning | None = None) -> Argv:
    """The command that receives a stream which begins so, the next of its step's. UnwantedError for one that was not
    asked for."""
    step = incoming.step
    if why := unwanted(incoming.wanted, found, before):
        raise UnwantedError("what came is not what was asked for", evidence=why)
    if name := improper(step.override):
        raise UnwantedError("what came is not what was asked for", evidence=f"it would get {name}")
    return commands.receive_alone(step.target, step.override if before is None else ())


class Guard:
    """What takes streams in, one after the other. It is what Runner.pipe is given in the place of a command."""

    def __init__(self, incoming: Sequence[Incoming]) -> None:
        self.incoming = tuple(incoming)
        self.argv = commands.receive(self.incoming[0].step)

    def begin(self, source: IO[bytes], start: Start, keep: Sequence[int]) -> Taking:
        """Take them from the pipe, which is read by nobody else from now on. The first begins after a line that is
        STREAM_MARK. keep: what each receiver inherits."""
        return Taking(self.incoming, source, start, keep)


class Taking:
    """Streams that are being taken in, as process.Child has it: seen from outside it is a child process."""

    def __init__(self, incoming: Sequence[Incoming], source: IO[bytes], start: Start, keep: Sequence[int]) -> None:
        self._incoming, self._source, self._start, self._keep = incoming, source, start, tuple(keep)
        self.returncode: int | None = None
        self._bug: BaseException | None = None
        self._stopped = threading.Event()
        self._children: list[Popen[bytes]] = []
        self._out, self._err = _pipe(), _pipe()
        self.stdout, self.stderr = self._out[0], self._err[0]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # --- as a child process ---

    @property
    def pid(self) -> int:
        """That of the receiver which runs now, or was the last."""
        return self._children[-1].pid if self._children else os.getpid()

    def poll(self) -> int | None:
        return None if self._thread.is_alive() else self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._thread.join(timeout)
        if self._thread.is_alive() or self.returncode is None:
            raise TimeoutExpired(self._incoming[0].step.target, timeout or 0)
        if self._bug is not None:
            raise self._bug
        return self.returncode

    def terminate(self) -> None:
        self._stop(SIGTERM)

    def kill(self) -> None:
        self._stop(SIGKILL)

    def _stop(self, number: Signals) -> None:
        self._stopped.set()
        for child in list(self._children):
            with suppress(OSError):
                child.send_signal(number)

    # --- the thread ---

    def _run(self) -> None:
        status, said = 1, ""
        try:
            status = self._take_all()
        except EndedError:
            said = NO_STREAM
        except UnwantedError as error:
            status, said = RECEIVE_UNWANTED, error.evidence or error.what
        except ZrepError as error:
            said = error.line()
        except OSError as error:
            said = f"cannot receive: {error.strerror or error}"
        except BaseException as error:  # for whoever waits
            self._bug = error
        finally:
            self._say(said)
            self.returncode = status
            for file in (self._source, self._out[1], self._err[1]):  # whoever writes, or reads, has to hear of it
                with suppress(OSError):
                    file.close()

    def _say(self, line: str) -> None:
        if line:
            with suppress(OSError):
                os.write(self._err[1].fileno(), f"{line}\n".encode())

    def _take_all(self) -> int:
        skip_to_mark(self._source.fileno(), self._stopped.is_set)
        for incoming in self._incoming:
            if status := self._take(incoming):
                return status
            self._say(STREAM_END)
        return 0

    def _take(self, incoming: Incoming) -> int:
        lock, status = receive_lock(incoming.lock, incoming.token)
        if status:
            return status
        through = shape.receiving(incoming.step.infilter, incoming.step.compress)
        filter_ = self._begin(("sh", "-c", through), self._source, stdout=PIPE) if through else None
        try:
            source = filter_.stdout if filter_ else self._source
            assert source is not None
            return self._receive(incoming, source, lock)
        finally:
            os.close(lock)
            if filter_:
                assert filter_.stdout is not None
                filter_.stdout.close()
                filter_.wait()

    def _receive(self, incoming: Incoming, source: IO[bytes], lock: int) -> int:
        before: Beginning | None = None
        for found in streams(source.fileno(), self._stopped.is_set):
            argv = words(incoming, found, before)
            child = self._begin(argv, source, stdout=self._out[1], pass_fds=(lock, *self._keep))
            if status := child.wait():
                return status
            before = found
        if before is None or before.guid != incoming.wanted.guid:
            raise UnwantedError("what came is not what was asked for", evidence="it ended before that")
        return 0

    def _begin(self, argv: Sequence[str], source: IO[bytes], **options: object) -> Popen[bytes]:
        child = self._start(argv, stdin=source, stderr=self._err[1], **options)
        self._children = [*(each for each in self._children if each.poll() is None), child]
        if self._stopped.is_set():
            child.terminate()
        return child


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    reader, writer = os.pipe()
    return os.fdopen(reader, "rb", buffering=0), os.fdopen(writer, "wb", buffering=0)


def receive_lock(path: str, token: str) -> tuple[int, int]:
    """Take a receive lock, as the processes of RECEIVE_SCRIPT do: its descriptor and 0, or what their exit status would
    be."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return -1, RECEIVE_NOT_ADMITTED
    status = RECEIVE_BUSY
    if lock_at_once(lock):
        found = os.pread(lock, 100, 0).decode(errors="replace").partition("\n")[0]
        status = 0 if found == token and _lives(int(token.partition(".")[0])) else RECEIVE_NOT_ADMITTED
    if status:
        os.close(lock)
        return -1, status
    return lock, 0


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def skip_to_mark(source: int, stopped: Callable[[], bool] = lambda: False) -> None:
    """Read to the end of the line after which a stream begins: byte by byte, for what follows is the stream."""
    noise, last = 0, b""
    while last != STREAM_MARK.encode():
        last, byte = b"", os.read(source, 1)
        while byte not in (b"", b"\n") and noise < _NOISE_BYTES:
            last, noise, byte = last + byte, noise + 1, os.read(source, 1)
        noise += 1
        if not byte:
            raise EndedError("the stream has no beginning")
        if noise >= _NOISE_BYTES or stopped():
            raise RefusedError("the stream has no beginning")
