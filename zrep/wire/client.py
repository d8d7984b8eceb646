"""The peer as an Agent: one ssh connection a run, one helper process behind it, streams as sessions beside it."""

from __future__ import annotations

import copy
import itertools
import json
import os
import queue
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Any, NoReturn

from zrep.core import errors
from zrep.core.errors import BugError, FailedError, RefusedError, UnreachableError, UsageError, ZrepError
from zrep.host import process
from zrep.host.local import PROTOCOL, STREAM_MARK, Identity
from zrep.wire.server import BEAT_SECONDS, GREETING
from zrep.zfs import errors as zfs_errors
from zrep.zfs.commands import Completed

CONNECT_SECONDS = 10
# The helper beats every 3 s while it works; ssh itself gives a dead connection up after 4 x 5 s.
SILENCE_SECONDS = 25.0
REQUEST_SECONDS = 900.0
_NOISE_LINES = 2000

# Any login shell over there, any PATH: single quotes only, no "!", no line break. What login files printed, with or
# without a line break at its end, is followed by the mark on a line of its own.
_COMMAND = (
    "PATH=/usr/local/bin:$PATH:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH; "
    f'echo; echo {STREAM_MARK}; exec "$0" "$@"'
)


# Where one thread waits for one answer; None: there will be none.
_Waiting = queue.SimpleQueue[dict[str, Any] | None]


class RemoteAgent:
    """Another host, dialled by the name ssh knows it by. Nothing is started before the first request.

    Every wait is bounded. UnreachableError when ssh cannot connect or the peer falls silent.
    """

    local = False

    def __init__(self, host: str) -> None:
        self.name = host
        self._child: subprocess.Popen[bytes] | None = None
        self._greeting: _Waiting = queue.SimpleQueue()
        self._waiting: dict[int, _Waiting] = {}
        self._numbers = itertools.count(1)
        self._heard = 0.0
        self._greeted = False
        self._ended = False
        self._write = threading.Lock()
        self._connecting = threading.RLock()
        self._failing = threading.RLock()
        self._identity: Identity | None = None
        self._directory = ""
        self._failure: ZrepError | None = None
        self._errors: IO[bytes] | None = None

    # --- the requests of Agent ---

    def identity(self) -> Identity:
        if self._identity is None:
            self._identity = Identity(**self._ask("identity"))
        return self._identity

    def run(self, commands: Sequence[Sequence[str]]) -> list[Completed]:
        return [_completed(record) for record in self._ask("run", [list(command) for command in commands])]

    def lock(self, datasets: Sequence[str], wait: float) -> list[str]:
        return list(self._ask("lock", list(datasets), wait))

    def unlock(self, datasets: Sequence[str]) -> None:
        self._ask("unlock", list(datasets))

    def grant(self, tag: str, generations: dict[str, str]) -> dict[str, tuple[str, str]]:
        return {name: (lock, token) for name, (lock, token) in self._ask("grant", tag, generations).items()}

    def revoke(self, dataset: str) -> None:
        self._ask("revoke", dataset)

    def take_role(self, tag: str, dataset: str, expected: str, identity: str, command: Sequence[str]) -> Completed:
        return _completed(self._ask("take_role", tag, dataset, expected, identity, list(command)))

    def end_receive(self, dataset: str) -> int:
        return int(self._ask("end_receive", dataset))

    def is_unmodified(self, snapshot: str, dataset: str) -> bool:
        return bool(self._ask("is_unmodified", snapshot, dataset))

    def occupants(self, mountpoint: str, writing: bool = False) -> list[str]:
        return list(self._ask("occupants", mountpoint, writing))

    def hooks(self, event: str, about: dict[str, str]) -> list[str]:
        return list(self._ask("hooks", event, about))

    def remember(self, records: dict[str, dict[str, object]]) -> None:
        self._ask("remember", records)

    def recall(self, keys: Sequence[str]) -> dict[str, dict[str, object]]:
        return dict(self._ask("recall", list(keys)))

    def dial(self, host: str) -> Identity:
        return Identity(**self._ask("dial", host))

    def stream_argv(self, argv: Sequence[str], *, receives: bool = False) -> tuple[str, ...]:
        self._connect()
        if receives:  # it prints nothing that anybody reads, and is a shell that knows its way: no other one is needed
            script, *arguments = argv[2:]
            words = [f"PATH=/usr/local/bin:$PATH; {script}", *arguments]
        else:
            words = [_COMMAND, *argv]
        return (*self._ssh(), "--", self.name, "sh -c " + _quoted(words))

    def close(self) -> None:
        """End the helper (it sees its input close) and the connection with it."""
        child, self._child = self._child, None
        if child is not None:
            with suppress(OSError):
                assert child.stdin is not None
                child.stdin.close()
            try:
                child.wait(process.GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.end(child)
            if child.stdout is not None:
                child.stdout.close()
        if self._errors is not None:
            self._errors.close()
            self._errors = None
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = ""

    # --- one connection ---

    def _ssh(self) -> list[str]:
        return [
            *_ssh_command(),
            *("-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}"),
            *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=4"),
            *("-o", "ControlMaster=auto", "-o", f"ControlPath={self._directory}/%C", "-o", "ControlPersist=no"),
        ]

    def _connect(self) -> None:
        with self._connecting:
            if self._failure is not None:
                raise copy.copy(self._failure)
            if self._child is not None:
                return
            # In a private directory of this run: nobody else's connection is used, and nobody else uses this one.
            self._directory = tempfile.mkdtemp(prefix="zrep-")
            # Errors go to a file: a pipe that nobody reads could fill and stop ssh.
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the connection; close() ends it
            program = os.environ.get("ZREP_PATH") or "zrep"
            self._child = process.start(
                [*self._ssh(), "--", self.name, "sh -c " + _quoted([_COMMAND, program, "peer"])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
            self._heard = time.monotonic()
            threading.Thread(target=self._read, args=(self._child,), daemon=True).start()
            self._greet()
            threading.Thread(target=self._beat, args=(self._child,), daemon=True).start()

    def _greet(self) -> None:
        greeting = self._wait(self._greeting, CONNECT_SECONDS + 20)
        self._greeted = True
        if greeting.get("protocol") != PROTOCOL:
            self._fail(
                lambda: RefusedError(
                    f"zrep on {self.name} speaks another protocol",
                    evidence=f"{greeting.get('protocol')} there, {PROTOCOL} here",
                    advice="install the same zrep on both hosts",
                )
            )

    def _read(self, child: subprocess.Popen[bytes]) -> None:
        """Lines from the helper to whoever waits for them. What login files print before the greeting is skipped."""
        assert child.stdout is not None
        greeted = False
        noise = 0
        with suppress(OSError, ValueError):
            for line in child.stdout:
                self._heard = time.monotonic()
                try:
                    answer = json.loads(line)
                except ValueError:
                    answer = None
                if isinstance(answer, dict) and greeted:
                    if waiting := self._waiting.get(answer.get("id", 0)):
                        waiting.put(answer)
                elif isinstance(answer, dict) and answer.get("greeting") == GREETING:
                    greeted = True
                    self._greeting.put(answer)
                elif (noise := noise + 1) > _NOISE_LINES:
                    break
        self._ended = True
        for waiting in (self._greeting, *list(self._waiting.values())):
            waiting.put(None)

    def _beat(self, child: subprocess.Popen[bytes]) -> None:
        while child.poll() is None and self._child is child:
            with suppress(OSError, ValueError):
                self._send({"beat": 1})
            time.sleep(BEAT_SECONDS)

    def _send(self, record: dict[str, Any]) -> None:
        child = self._child
        if child is None or child.stdin is None:
            raise OSError("not connected")
        with self._write:
            child.stdin.write(json.dumps(record).encode() + b"\n")
            child.stdin.flush()

    def _ask(self, call: str, *args: Any) -> Any:
        """One request and its answer; several threads may ask at the same time."""
        self._connect()
        number = next(self._numbers)
        waiting: _Waiting = queue.SimpleQueue()
        self._waiting[number] = waiting
        try:
            if self._ended:
                self._fail(self._reason)
            try:
                self._send({"id": number, "call": call, "args": args})
            except (OSError, ValueError):  # ValueError: another thread has closed it
                self._fail(self._reason)
            answer = self._wait(waiting, REQUEST_SECONDS)
        finally:
            del self._waiting[number]
        if "error" in answer:
            raise _error(answer["error"])
        return answer["result"]

    def _wait(self, waiting: _Waiting, seconds: float) -> dict[str, Any]:
        """An answer; UnreachableError after silence (not even a beat) or when the time is up."""
        deadline = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            patience = min(self._heard + SILENCE_SECONDS + CONNECT_SECONDS, deadline) - now
            if patience <= 0:
                self._fail(self._silence)
            with suppress(queue.Empty):
                answer = waiting.get(timeout=patience)
                if answer is None:
                    self._fail(self._reason)
                return answer

    def _silence(self) -> ZrepError:
        heard = time.monotonic() - self._heard
        return UnreachableError(f"{self.name} fell silent", evidence=f"last heard of {heard:.0f} s ago")

    def _fail(self, reason: Callable[[], ZrepError]) -> NoReturn:
        """Remember why this peer is lost and raise it, now and at every later request of this run."""
        with self._failing:
            if self._failure is None:
                self._failure = reason()
                if self._child is not None:
                    process.end(self._child)
                self.close()
        raise copy.copy(self._failure)

    def _reason(self) -> ZrepError:
        """Why the helper ended: ssh failed (255), no zrep over there (127), or something that is not this zrep."""
        if self._child is None:
            return UnreachableError(f"lost {self.name}", evidence="the connection was closed")
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(process.GRACE_SECONDS)
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
        if not self._greeted:
            return RefusedError(
                f"what answers as zrep on {self.name} is not this program",
                evidence=said or f"exit status {status}",
                advice="the shell zrep and this one cannot work together: install this one on both hosts",
            )
        return UnreachableError(f"lost {self.name}", evidence=said or f"its zrep ended with status {status}")

    def _last_error(self) -> str:
        if self._errors is None:
            return ""
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        # ssh's own line is what matters; what login files print comes before it.
        telling = [line for line in lines if re.search(r"ssh:|denied|verification|not found|resolve|refused", line)]
        return (telling or lines or [""])[-1]


def _ssh_command() -> list[str]:
    text = os.environ.get("SSH", "")
    try:
        return shlex.split(text) or ["ssh"]
    except ValueError as error:
        raise UsageError(f"SSH is {text!r}", evidence=str(error)) from None


def _completed(record: dict[str, Any]) -> Completed:
    return Completed(tuple(record["argv"]), record["status"], record["out"], record["err"])


def _error(record: dict[str, str]) -> ZrepError:
    for source in (errors, zfs_errors):
        kind = getattr(source, record["type"], None)
        if isinstance(kind, type) and issubclass(kind, ZrepError):
            return kind(
                record["what"],
                filesystem=record.get("filesystem", ""),
                evidence=record.get("evidence", ""),
                advice=record.get("advice", ""),
            )
    return FailedError(record["what"])


def _quoted(words: Sequence[str]) -> str:
    """Words for a remote shell of any kind: all in single quotes, which sh, csh and fish read alike as long as
    there is no quote, exclamation mark or backslash in them. zrep's own words have none; names are checked."""
    for word in words:
        if "'" in word or "!" in word or "\\" in word or "\n" in word:
            raise BugError(f"{word!r} cannot be passed through every shell")
    return " ".join(f"'{word}'" for word in words)
