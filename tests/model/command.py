"""One command line on one host: which function it is, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import datasets, mounting, reading, receiving, sending, setting, stream, zpool
from .errors import RefusalError
from .machine import Machine
from .receiving import Receive
from .state import Fault, HostState, WorldState

VERSION = "zfs-2.3.2-2~bpo12+2\nzfs-kmod-2.3.2-2~bpo12+2\n"


@dataclass(frozen=True, slots=True)
class Result:
    rc: int
    out: bytes = b""
    err: bytes = b""


_ZFS: dict[str, Callable[[Machine, list[str]], int | None]] = {
    "get": reading.do_get, "list": reading.do_list, "holds": reading.do_holds, "diff": reading.do_diff,
    "set": setting.do_set, "inherit": setting.do_inherit,
    "create": datasets.do_create, "destroy": datasets.do_destroy, "snapshot": datasets.do_snapshot,
    "snap": datasets.do_snapshot, "hold": datasets.do_hold, "release": datasets.do_release,
    "bookmark": datasets.do_bookmark, "rename": datasets.do_rename, "clone": datasets.do_clone,
    "promote": datasets.do_promote, "rollback": datasets.do_rollback,
    "allow": datasets.do_allow, "unallow": datasets.do_unallow,
    "mount": mounting.do_mount, "unmount": mounting.do_unmount, "umount": mounting.do_unmount,
    "share": mounting.do_share, "load-key": datasets.do_load_key, "unload-key": datasets.do_unload_key,
    "change-key": datasets.do_change_key,
}  # fmt: skip
RECEIVE = ("receive", "recv")


def is_receive(argv: list[str]) -> bool:
    return argv[0] == "zfs" and len(argv) > 1 and argv[1] in RECEIVE


def run(world: WorldState, host: HostState, argv: list[str], stdin: bytes = b"", user: str = "root") -> Result:
    """Everything but a receive that must wait for its stream."""
    machine = Machine(world, host, user)
    host.log.append(tuple(argv))
    fault = take_fault(host, argv)
    if fault is not None and not fault.applied:
        return Result(fault.rc, b"", fault.err.encode())
    try:
        result = _receive(machine, argv[2:], stdin) if is_receive(argv) else _dispatch(machine, argv)
    except RefusalError as fail:
        result = answer(machine, fail.rc, fail)
    return Result(fault.rc, b"", fault.err.encode()) if fault is not None else result


def take_fault(host: HostState, argv: list[str]) -> Fault | None:
    for fault in host.faults:
        if fault.times and tuple(argv[: len(fault.words)]) == fault.words:
            fault.times -= 1
            return fault
    return None


def answer(machine: Machine, rc: int = 0, fail: RefusalError | None = None, out: bytes = b"") -> Result:
    lines = machine.err + list(fail.lines if fail else ())
    text = "".join(line + "\n" for line in lines)
    printed = "".join(line + "\n" for line in machine.out)
    return Result(rc, out + _bytes(printed), _bytes(text))


def _bytes(text: str) -> bytes:
    """As in the arguments of a program, a byte that is no UTF-8 stands for itself."""
    return text.encode("utf-8", "surrogateescape")


def _dispatch(machine: Machine, argv: list[str]) -> Result:
    program, args = argv[0], argv[1:]
    if program == "zpool":
        return answer(machine, zpool.run(machine, args))
    if program == "mount":
        mounting.do_system_mount(machine, args)
        return answer(machine)
    if program == "unshare":
        mounting.do_mount_alone(machine, args)
        return answer(machine)
    if program == "umount":
        mounting.do_unmount(machine, args)
        return answer(machine)
    if program == "sync":
        for pool in machine.host.pools.values():
            machine.wait_txg(pool)
        return answer(machine)
    if program != "zfs":
        return Result(127, b"", f"{program}: not found\n".encode())
    if not args:
        raise RefusalError("missing command", "usage:", rc=2)
    if args[0] in ("version", "-V", "--version"):
        return Result(0, VERSION.encode())
    if args[0] == "send":
        return answer(machine, out=sending.do_send(machine, args[1:]))
    if args[0] not in _ZFS:
        raise RefusalError(f"unrecognized command '{args[0]}'", "usage:", rc=2)
    return answer(machine, _ZFS[args[0]](machine, args[1:]) or 0)


def start_receive(machine: Machine, args: list[str], first_line: bytes, pid: int | None) -> Receive | Result:
    """The first half of a receive; a Result where that is already all."""
    options = receiving.parse_receive(args)
    if options.has("A"):
        receiving.abort(machine, options)
        return answer(machine)
    return receiving.start(machine, options, first_line, pid)


def _receive(machine: Machine, args: list[str], stdin: bytes) -> Result:
    end = stdin.find(b"\n") + 1
    if end and stream.is_package(stdin[:end]) and "-A" not in args:
        return _receive_each(machine, args, stdin[end:], stream.length(stdin[:end]) or 0)
    started = start_receive(machine, args, stdin[:end] if end else stdin, None)
    if isinstance(started, Result):
        return started
    records, complete = stream.decode_records(stdin[end:])
    receiving.finish(machine, started, records, complete)
    return answer(machine)


def _receive_each(machine: Machine, args: list[str], body: bytes, whole: int) -> Result:
    """The streams of a package, one after the other: what has arrived stays, whatever becomes of the next."""
    at = 0
    while at < len(body):
        end = body.find(b"\n", at) + 1 or len(body)
        last = end + (stream.length(body[at:end]) or 0)
        _receive(machine, args, body[at:last])
        at = last
    if at < whole:
        raise RefusalError("cannot receive: failed to read from stream")
    return answer(machine)
