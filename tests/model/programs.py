"""The model as programs on PATH: zfs, zpool, mount, umount, sync, hostname, and an ssh between its hosts."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from . import command, receiving, stream
from .command import Result
from .errors import RefusalError
from .machine import Machine
from .receiving import Receive
from .state import Trap, WorldState
from .world import World

if TYPE_CHECKING:
    import subprocess
    import threading

# A program of the model is started for every command: what only some of them need is imported there.
BIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin")
_UNREACHABLE = 255
_POLL = 0.05


def environment(world: World, host: str, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process that runs on this host of a world stored in a file."""
    env = dict(os.environ if base is None else base)
    rest = [part for part in env.get("PATH", os.defpath).split(os.pathsep) if part != BIN]
    env["PATH"] = os.pathsep.join([BIN, *rest])
    env["ZREP_MODEL"] = os.path.abspath(world.path)
    env["ZREP_MODEL_HOST"] = host
    env["ZREP_MODEL_PYTHON"] = os.path.realpath(sys.executable)
    env["LC_ALL"] = "C"
    env["ZREP_LIBRARY"] = "no"  # should this machine have a real ZFS
    return env


def main(argv: list[str]) -> int:
    program, host = argv[0], os.environ["ZREP_MODEL_HOST"]
    if program == "hostname":
        print(host.partition(".")[0])
        return 0
    world = World(os.environ["ZREP_MODEL"])
    if program == "ssh":
        return Ssh(world, host, argv[1:]).run()
    if program in ("mount", "umount") and not _is_ours(world, host, argv[-1]):
        return _the_real(argv)
    trap = _sprung(world)
    if trap is None:
        return _carry_out(world, host, argv)
    if trap.what == "fail":
        return _answer(Result(1, b"", b"cannot do that: pool I/O is currently suspended\n"))
    if trap.what == "kill before":
        _kill(trap)
        return 1
    if trap.what == "cut":
        names = list(world.state.hosts)
        world.cut(names[0], names[1])
    status = _carry_out(world, host, argv)
    if trap.what == "kill after":
        _kill(trap)
    return status


def _sprung(world: World) -> Trap | None:
    """The trap, at its command."""
    if world.state.trap is None:
        return None
    with world.transaction() as state:
        assert state.trap is not None
        state.trap.seen += 1
        return state.trap if state.trap.seen == state.trap.at + 1 else None


def _kill(trap: Trap) -> None:
    with open(trap.pid_file) as file:
        os.kill(int(file.read()), signal.SIGKILL)


def _carry_out(world: World, host: str, argv: list[str]) -> int:
    if command.is_receive(argv):
        return _answer(_receive(world, host, argv))
    result = world.host(host).run(argv)
    if argv[1:2] == ["send"]:
        return _send(result, world.state.record_delay)
    return _answer(result)


def _answer(result: Result) -> int:
    sys.stderr.buffer.write(result.err)
    sys.stderr.flush()
    try:
        sys.stdout.buffer.write(result.out)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    return result.rc


def _send(result: Result, delay: float) -> int:
    result = replace(result, out=stream.header(result.out) + result.out)
    if not delay:
        return _answer(result)
    try:
        head, rest = _split(result.out)
        _write_all(1, head)
        for line in rest.splitlines(keepends=True):
            _write_all(1, line)
            time.sleep(delay)
    except BrokenPipeError:
        return 1
    return _answer(Result(result.rc, b"", result.err))


def _split(sent: bytes) -> tuple[bytes, bytes]:
    """The first record of a stream, as OpenZFS has it, and the model's own."""
    return (sent[: stream.HEADER_BYTES], sent[stream.HEADER_BYTES :]) if sent[:1] == b"\0" else (b"", sent)


def _is_ours(world: World, host: str, where: str) -> bool:
    return any(where in (d.mounted_at, d.name) for d in world.state.hosts[host].datasets.values())


def _the_real(argv: list[str]) -> int:
    import shutil
    import subprocess

    path = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if p != BIN)
    program = shutil.which(argv[0], path=path)
    return subprocess.call(argv, executable=program) if program else 127


# -- receive: the stream comes as it comes, and what has come survives the process


def _receive(world: World, name: str, argv: list[str]) -> Result:
    with world.transaction() as state:
        host = state.hosts[name]
        host.log.append(tuple(argv))
        fault = command.take_fault(host, argv)
    if fault is not None and not fault.applied:
        return Result(fault.rc, b"", fault.err.encode())
    options = receiving.parse_receive(argv[2:]) if "-A" in argv else None
    first = b"" if options is not None else _first_line()
    with world.transaction() as state:
        machine = Machine(state, state.hosts[name])
        try:
            started = command.start_receive(machine, argv[2:], first, os.getpid())
        except RefusalError as fail:
            return command.answer(machine, fail.rc, fail)
    if isinstance(started, Result):
        return started
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    result = _take(world, name, started, stream.length(first))
    return Result(fault.rc, b"", fault.err.encode()) if fault is not None else result


class _StoppedError(Exception):
    pass


def _stop(number: int, frame: object) -> None:
    raise _StoppedError


def _first_line() -> bytes:
    line = os.read(0, 1)
    if line == b"\0":  # what OpenZFS has before it
        left = stream.HEADER_BYTES - 1
        while left and (more := os.read(0, left)):
            left -= len(more)
        line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            break
        line += byte
    return line


def _take(world: World, name: str, receive: Receive, length: int | None) -> Result:
    """The rest of the stream, and not a byte more: another one may follow it. length: of that rest, None to take all
    that comes."""
    body, saved = b"", 0
    try:
        while length is None or len(body) < length:
            if not select.select([0], [], [], _POLL)[0]:
                saved = _save(world, name, receive, body, saved)
            chunk = os.read(0, 1 << 16 if length is None else min(1 << 16, length - len(body)))
            if not chunk:
                break
            body += chunk
    except _StoppedError:
        pass
    records, complete = stream.decode_records(body)
    with world.transaction() as state:
        machine = Machine(state, state.hosts[name])
        try:
            receiving.finish(machine, receive, records[saved:], complete)
        except RefusalError as fail:
            return command.answer(machine, fail.rc, fail)
        return command.answer(machine)


def _save(world: World, name: str, receive: Receive, body: bytes, saved: int) -> int:
    """The stream has paused: keep what has come, in case this process is killed."""
    records, _ = stream.decode_records(body)
    if receive.skip or len(records) == saved:
        return saved
    with world.transaction() as state:
        partial = state.hosts[name].datasets[receive.name].partial
        if partial is not None:
            partial.records += records[saved:]
    return len(records)


# -- ssh


class Ssh:
    """ssh [options] HOST COMMAND…: the command runs as a process of that host, as long as the link is there."""

    _WITH_VALUE = "bcDEeFIiJLlmOopQRSWw"

    def __init__(self, world: World, here: str, args: list[str]) -> None:
        self.world, self.here = world, here
        self.settings: dict[str, str] = {}
        self.control: str | None = None
        self.no_command = False
        self.words = self._options(args)

    def _options(self, args: list[str]) -> list[str]:
        words = list(args)
        while words and words[0].startswith("-") and words[0] != "--":
            flags = words.pop(0)[1:]
            while flags:
                letter, flags = flags[0], flags[1:]
                if letter in self._WITH_VALUE:
                    value = flags or (words.pop(0) if words else "")
                    flags = ""
                    if letter == "o":
                        key, _, setting = value.replace(" ", "=", 1).partition("=")
                        self.settings.setdefault(key.lower(), setting.strip("= "))  # the first one counts
                    if letter == "O":
                        self.control = value
                elif letter == "N":
                    self.no_command = True
        if words[:1] == ["--"]:
            del words[0]
        return words

    def run(self) -> int:
        if not self.words:
            return self._complain("usage: ssh [options] destination [command [argument ...]]")
        name, words = self.words[0].rpartition("@")[2], self.words[1:]
        if self.control is not None:
            return self._answer_control()
        with self.world.transaction() as state:
            here = state.hosts[self.here]
            here.log.append(("ssh", name, *words))
            fault = command.take_fault(here, ["ssh", name, *words])
            there = self._resolve(state, name)
        if fault is not None:
            sys.stderr.write(fault.err)
            return fault.rc
        if there is None:
            return self._complain(f"ssh: Could not resolve hostname {name}: Name or service not known")
        if self._is_cut(there):
            return self._complain(f"ssh: connect to host {name} port 22: No route to host")
        if self.no_command or not words:
            return 0
        return self._session(there, " ".join(words), name)

    def _answer_control(self) -> int:
        if self.control == "check":
            return self._complain("Control socket connect: No such file or directory")
        return 0

    @staticmethod
    def _complain(line: str) -> int:
        sys.stderr.write(line + "\r\n")
        return _UNREACHABLE

    @staticmethod
    def _resolve(state: WorldState, name: str) -> str | None:
        name = state.aliases.get(name, name)
        return name if name in state.hosts else None

    def _is_cut(self, there: str) -> bool:
        state = self.world.state
        return frozenset((self.here, there)) in state.cut or not state.hosts[there].up

    def _session(self, there: str, line: str, name: str) -> int:
        """A process of its own, reached through pipes: when this one dies, that one sees the end of its input."""
        import subprocess
        import threading

        env = {**os.environ, "ZREP_MODEL_HOST": there}
        child = subprocess.Popen(
            ["/bin/sh", "-c", line], env=env, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert child.stdin
        assert child.stdout
        assert child.stderr
        self.connected = threading.Event()
        self.connected.set()
        if "-n" in sys.argv:
            child.stdin.close()
        else:
            threading.Thread(target=self._copy, args=(0, child.stdin.fileno(), child.stdin), daemon=True).start()
        copies = [
            threading.Thread(target=self._copy, args=(source.fileno(), target, None), daemon=True)
            for source, target in ((child.stdout, 1), (child.stderr, 2))
        ]
        for copy in copies:
            copy.start()
        if not self._watch(child, copies, there):
            sys.stderr.write(f"Timeout, server {name} not responding.\r\n")
            sys.stderr.flush()
            os._exit(_UNREACHABLE)
        return child.returncode if child.returncode >= 0 else 128 - child.returncode

    def _watch(self, child: subprocess.Popen[bytes], copies: list[threading.Thread], there: str) -> bool:
        """Until the command ends; False when the link has been cut for longer than the keepalives allow."""
        interval = float(self.settings.get("serveraliveinterval", "0"))
        patience = interval * float(self.settings.get("serveralivecountmax", "3"))
        gone_since: float | None = None
        while child.poll() is None or any(copy.is_alive() for copy in copies):
            if self._is_cut(there):
                self.connected.clear()
                gone_since = gone_since or time.monotonic()
                if patience and time.monotonic() - gone_since > patience:
                    return False
            else:
                self.connected.set()
                gone_since = None
            copies[0].join(_POLL)
            if not copies[0].is_alive() and child.poll() is None:
                time.sleep(_POLL / 10)
        return True

    def _copy(self, source: int, target: int, close: object) -> None:
        try:
            while chunk := os.read(source, 1 << 16):
                self.connected.wait()
                _write_all(target, chunk)
        except OSError:
            pass
        if close is not None:
            close.close()  # type: ignore[attr-defined]


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
