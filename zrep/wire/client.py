"""The peer as a Host: one ssh connection a run, one helper process behind it, streams as sessions beside it."""

from __future__ import annotations

import copy
import itertools
import os
import queue
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn, TypeVar

from zrep.core.errors import MOST_TOLD, BusyError, RefusedError, UnreachableError, ZrepError, one_line
from zrep.core.names import STREAM_MARK
from zrep.core.requests import Answer, Identify, Identity, Request
from zrep.core.settings import DEFAULT_SETTINGS, Settings
from zrep.core.steps import SendStream
from zrep.host import parallel
from zrep.host.child import GRACE_SECONDS, end
from zrep.host.local import Watch
from zrep.wire import ssh
from zrep.wire.dial import CONNECT_SECONDS, Dialled, through
from zrep.wire.dial import start as dial_host
from zrep.wire.messages import (
    ANSWER_BYTES,
    BEAT_SECONDS,
    HEARD_NOTHING,
    HEARTBEAT_SECONDS,
    NOISE_BYTES,
    PROTOCOL,
    Answered,
    Ask,
    Beat,
    Failed,
    Greeting,
    Lines,
    MalformedError,
    UnfinishedError,
    check_weight,
    encode,
    read_answer,
    read_from_helper,
    read_greeting,
)
from zrep.zfs.commands import Argv
from zrep.zfs.errors import as_error

# The helper beats every 3 s while it works; ssh itself gives a dead connection up after 4 x 5 s.
SILENCE_SECONDS = 25.0
REQUEST_SECONDS = 900.0
# What ssh, a banner and login files say on stderr.
ERROR_BYTES = 1 << 20
# Seconds for what has come already.
_LAST_LOOK = 1.0
_NOISE_LINES = 2000
_CHUNK = 64 << 10
_NOISE_SHOWN = 80

Said = TypeVar("Said")


# Where one thread waits for one answer; an empty one: there will be none.
_Waiting = queue.SimpleQueue[tuple[Said, ...]]


# What ssh, sshd's client side and the shells say when they end.
_TELLING = re.compile(
    r"^(?:ssh\w*|kex_exchange_identification|client_loop|mux_client\S*|unix_listener\S*|banner exchange): |"
    r"^(?:Host key verification failed|Connection (?:closed|reset|timed out|refused|to \S+ (?:closed|timed))|"
    r"Timeout, server|Bad (?:configuration|owner)|Too many authentication|Received disconnect|No route)|"
    r": Permission denied \(|: (?:command )?not found$|Could not resolve"
)


class RemoteHost:
    """Another host, dialled by the name ssh knows it by. Nothing is started before the first request.

    Every wait is bounded. UnreachableError when ssh cannot connect or the peer falls silent; RefusedError when what
    answers there is not this zrep, or says what is no answer.
    """

    local = False

    def __init__(
        self,
        host: str,
        settings: Settings = DEFAULT_SETTINGS,
        moving: Callable[[], int] = lambda: 0,
        watch: Watch | None = None,
        dialled: Dialled | None = None,
    ) -> None:
        """moving: a number that changes while streams of this run move: then nobody has fallen silent, whose beats wait
        behind them. watch: who looks on, if anybody. dialled: the connection to it, where that was begun already."""
        self.name = host
        self._dialled = dialled
        self._watch = watch
        self._moving = moving
        self._settings = settings
        self._child: subprocess.Popen[bytes] | None = None
        self._greeting: _Waiting[Greeting] = queue.SimpleQueue()
        self._waiting: dict[int, tuple[Request[Any], _Waiting[Answered | Failed]]] = {}
        self._numbers = itertools.count(1)
        self._heard = 0.0
        self.noise = ""
        self._greeted = False
        self._ended = False
        self._write = threading.Lock()
        self._connecting = threading.RLock()
        self._failing = threading.RLock()
        self._directory = ""
        self._failure: ZrepError | None = None
        self._nonsense: MalformedError | None = None
        self._errors = bytearray()
        self._listening: threading.Event | None = None

    @property
    def answered(self) -> bool:
        return self._greeted

    def ask(self, request: Request[Answer]) -> Answer:
        """One request and its answer; several threads may ask at the same time."""
        if self._watch is None:
            return self._ask(request)
        with self._watch(self.name, request):
            return self._ask(request)

    def _ask(self, request: Request[Answer]) -> Answer:
        self._connect()
        number = next(self._numbers)
        line = encode(Ask(number, request))
        waiting: _Waiting[Answered | Failed] = queue.SimpleQueue()
        self._waiting[number] = (request, waiting)
        try:
            if self._ended:
                self._fail(self._reason)
            try:
                self._send(line)
            except (OSError, ValueError):  # ValueError: another thread has closed it
                self._fail(self._reason)
            answer = self._wait(waiting, REQUEST_SECONDS)
        finally:
            self._waiting.pop(number, None)
        try:
            return result(request, answer)
        except MalformedError as error:
            self._nonsense = error
            self._fail(self._reason)

    def sender(self, steps: Sequence[SendStream]) -> Argv:
        return self._session(ssh.sender(steps))

    def receiver(self, steps: Sequence[tuple[SendStream, tuple[str, str]]], *, marked: bool) -> Argv:
        return self._session(ssh.receiver(steps, marked=marked))

    def _session(self, line: str) -> Argv:
        """The command that carries a command line out there, over the connection."""
        self._connect()
        return (*through(self._directory, self._settings), "--", self.name, line)

    def close(self) -> None:
        """End the helper (it sees its input close) and the connection with it."""
        dialled, self._dialled = self._dialled, None
        if dialled is not None:
            dialled.end()
        child, self._child = self._child, None
        if child is not None:
            if not self._greeted:  # nobody is there yet who would end by himself
                end(child)
            with suppress(OSError):
                assert child.stdin is not None
                child.stdin.close()
            try:
                child.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                end(child)
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = ""

    def hang_up(self, reason: ZrepError) -> None:
        """End the connection at once: a full wire would keep the helper from hearing of it for long."""
        with self._failing:
            self._failure = self._failure or reason
        if (child := self._child) is not None:
            end(child)

    # --- one connection ---

    def _connect(self) -> None:
        with self._connecting:
            if self._failure is not None:
                raise copy.copy(self._failure)
            if self._child is not None:
                return
            dialled, self._dialled = self._dialled or dial_host(self.name, self._settings), None
            self._directory, self._child = dialled.directory, dialled.child
            # A pipe that nobody reads could fill and stop ssh.
            self._listening = parallel.start(partial(self._read_errors, self._child))
            self._heard = time.monotonic()
            threading.Thread(target=self._read, args=(self._child,), daemon=True).start()
            self._greet()
            threading.Thread(target=self._beat, args=(self._child,), daemon=True).start()

    def _greet(self) -> None:
        greeting = self._wait(self._greeting, CONNECT_SECONDS + 20)
        self._greeted = True
        if greeting.protocol != PROTOCOL:
            self._fail(
                lambda: RefusedError(
                    f"zrep on {self.name} speaks another protocol",
                    evidence=f"{greeting.protocol} there, {PROTOCOL} here",
                    advice="install the same zrep on both hosts",
                )
            )

    def _read(self, child: subprocess.Popen[bytes]) -> None:
        """Lines from the helper to whoever waits for them."""
        assert child.stdout is not None
        try:
            with suppress(OSError, ValueError):
                lines = Lines(child.stdout.fileno(), NOISE_BYTES, self._hear)
                said = iter(lines)
                self._skip_noise(said)
                lines.bound = ANSWER_BYTES
                for line in said:
                    self._pass_on(line)
        except UnfinishedError:
            pass  # the connection was lost
        except MalformedError as error:
            self._nonsense = error
        child.stdout.close()  # by nobody else: its number could be another file's before the last read
        self._ended = True
        self._greeting.put(())
        for _, waiting in list(self._waiting.values()):
            waiting.put(())

    def _read_errors(self, child: subprocess.Popen[bytes]) -> None:
        """What ssh says, and whatever the peer has it say: he may go on for ever."""
        assert child.stderr is not None
        with suppress(OSError, ValueError), child.stderr as stderr:
            while chunk := os.read(stderr.fileno(), _CHUNK):
                self._errors += chunk
                if len(self._errors) > ERROR_BYTES:
                    self._nonsense = MalformedError("too much on stderr", evidence=f"more than {ERROR_BYTES} bytes")
                    end(child)
                    return

    def _skip_noise(self, lines: Iterator[bytes]) -> None:
        """To the greeting: what login files print before it is skipped."""
        for number, line in enumerate(lines):
            if greeting := read_greeting(line):
                self._greeting.put((greeting,))
                return
            if not self.noise and (words := line.decode(errors="replace").strip()) != STREAM_MARK:
                self.noise = one_line(words[:_NOISE_SHOWN])
            if number >= _NOISE_LINES:
                raise MalformedError("no greeting", evidence=f"{_NOISE_LINES} lines of something else")

    def _pass_on(self, line: bytes) -> None:
        """One line after the greeting to whoever waits for it; nobody may, where Ctrl-C came between."""
        said = read_from_helper(line)
        if isinstance(said, Beat):
            return
        if isinstance(said, Failed) and not said.number:
            raise MalformedError(one_line(said.failure.what), evidence=one_line(said.failure.evidence))
        if found := self._waiting.get(said.number):
            request, waiting = found
            check_weight(type(request), line)
            self._waiting.pop(said.number, None)  # of a second one nothing is kept, however soon it comes
            waiting.put((said,))

    def _hear(self) -> None:
        self._heard = time.monotonic()

    def _beat(self, child: subprocess.Popen[bytes]) -> None:
        beat, moved = encode(Beat()), 0
        while child.poll() is None and self._child is child:
            if (now := self._moving()) != moved:
                moved = now
                self._hear()
            with suppress(OSError, ValueError):
                self._send(beat)
            time.sleep(BEAT_SECONDS)

    def _send(self, line: bytes) -> None:
        child = self._child
        if child is None or child.stdin is None:
            raise OSError("not connected")
        with self._write:
            child.stdin.write(line)
            child.stdin.flush()

    def _wait(self, waiting: _Waiting[Said], seconds: float) -> Said:
        """An answer; UnreachableError after silence (not even a beat) or when the time is up."""
        deadline = time.monotonic() + seconds
        last = False
        while True:
            now = time.monotonic()
            patience = min(self._heard + SILENCE_SECONDS + CONNECT_SECONDS, deadline) - now
            if patience <= 0 and last:
                self._fail(self._silence)
            # Where this process itself was held up, as on a machine that slept or is very busy, what has come in the
            # meantime is heard before anybody is given up.
            last = patience <= 0
            patience = _LAST_LOOK if last else patience
            with suppress(queue.Empty):
                answer = waiting.get(timeout=patience)
                if not answer:
                    self._fail(self._reason)
                return answer[0]

    def _silence(self) -> ZrepError:
        heard = time.monotonic() - self._heard
        what = "fell silent" if heard >= SILENCE_SECONDS else "takes too long to answer"
        return UnreachableError(f"{self.name} {what}", evidence=f"last heard of {heard:.0f} s ago")

    def _fail(self, reason: Callable[[], ZrepError]) -> NoReturn:
        """Remember why this peer is lost and raise it, now and at every later request of this run."""
        with self._failing:
            if self._failure is None:
                self._failure = reason()
                if self._child is not None:
                    end(self._child)
                self.close()
        raise copy.copy(self._failure)

    def _reason(self) -> ZrepError:
        """Why the helper is lost: it talks nonsense, ssh failed (255), no zrep is there (127), or what is there is not
        this zrep."""
        if self._nonsense is None and self._child is not None:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(GRACE_SECONDS)
            if self._listening is not None:  # what ssh has started, as a ProxyCommand, may outlive it
                self._listening.wait(GRACE_SECONDS)
        if self._nonsense is not None:
            return self._misunderstood(self._nonsense)
        if self._child is None:
            return UnreachableError(f"lost {self.name}", evidence="the connection was closed")
        status = self._child.returncode
        said = self._last_error()
        if status == 255 or status is None:
            return UnreachableError(
                f"cannot reach {self.name}",
                evidence=said or "ssh lost the connection",
                advice=f"try: ssh {self.name} true",
            )
        if status == 127:
            return RefusedError(
                f"zrep was not found on {self.name}",
                evidence=said,
                advice="install it there, or set ZREP_PATH to its full path",
            )
        if not self._greeted and status == BusyError.exit_code:  # so its gate has said
            return BusyError(f"{self.name} is busy", evidence=said)
        if not self._greeted:
            return RefusedError(
                f"what answers as zrep on {self.name} is not this program",
                evidence=said or f"exit status {status}",
                advice="the shell zrep and this one cannot work together: install this one on both hosts",
            )
        if status == HEARD_NOTHING:
            said = f"it heard nothing of this host for {HEARTBEAT_SECONDS:.0f} s"
        return UnreachableError(f"lost {self.name}", evidence=said or f"its zrep ended with status {status}")

    def _misunderstood(self, error: MalformedError) -> ZrepError:
        evidence = f"{error.what}: {error.evidence}" if error.evidence else error.what
        what = f"zrep on {self.name} and this one do not understand each other"
        if not self._greeted:
            what = f"what answers as zrep on {self.name} is not this program"
        return RefusedError(what, evidence=evidence, advice="install the same zrep on both hosts")

    def _last_error(self) -> str:
        lines = [
            line.strip()[:MOST_TOLD] for line in self._errors.decode(errors="replace").splitlines() if line.strip()
        ]
        # ssh's own last line is what matters; a banner, and what login files print, comes before it.
        telling = [line for line in lines if _TELLING.search(line)]
        return (telling or lines or [""])[-1]


def result(request: Request[Answer], said: Answered | Failed) -> Answer:
    """What a request's answer says: it is returned, or raised. MalformedError when it is none to this request."""
    if isinstance(said, Failed):
        raise as_error(said.failure)
    return read_answer(request, said.answer)


def dial(host: str, settings: Settings) -> Identity:
    """Who answers when this host dials a host."""
    remote = RemoteHost(host, settings)
    try:
        return remote.ask(Identify())
    finally:
        remote.close()
