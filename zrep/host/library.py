"""Small zfs commands, carried out by libzfs_core in this process instead of a process of their own.

A zfs command costs a process and waits for one transaction group for each of its arguments; libzfs_core's calls, and a
channel program (zfs-program(8)), take any number of arguments in one group. What a command means stays what zfs(8)
says: only its success is believed. Whatever libzfs_core cannot do (not installed, no permission, a tag that is there
already, a snapshot that is gone), the command itself is run and says so in its own words.

Signatures: libzfs_core.h and libnvpair.h of OpenZFS 2.1 to 2.4, the same in all of them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from zrep.host.parallel import start

if TYPE_CHECKING:
    import ctypes

# Debian, Red Hat and Alpine name them so for every OpenZFS 2.
_CORE = "libzfs_core.so.3"
_PAIRS = "libnvpair.so.3"
_UNIQUE_NAMES = 1
_GRACE_SECONDS = 5.0
# zfs-program(8)'s own defaults.
_INSTRUCTIONS = 10_000_000
_MEMORY = 10 << 20

# zfs.sync.set_prop takes user properties only, on snapshots too; all calls of a program are one transaction group. In
# the order of the command: of a role, its record comes first.
_SET = """
arguments = ...
for _, target in ipairs(arguments["targets"]) do
    for number, name in ipairs(arguments["names"]) do
        failed = zfs.sync.set_prop(target, name, arguments["values"][number])
        if failed ~= 0 then error(target) end
    end
end
"""

# Numbers of Lua are signed, those of ZFS are not.
_IDENTIFY = """
arguments = ...
lines = {}
for _, name in ipairs(arguments["snapshots"]) do
    for _, property in ipairs({"guid", "createtxg", "creation"}) do
        value = zfs.get_prop(name, property)
        lines[#lines + 1] = name .. "\\t" .. property .. "\\t" .. value
    end
end
return table.concat(lines, "\\n")
"""


# The properties that datasets have themselves.
_OWN = """
arguments = ...
lines = {}
for _, dataset in ipairs(arguments["targets"]) do
    for _, name in ipairs(arguments["names"]) do
        value, source = zfs.get_prop(dataset, name)
        if source == dataset then lines[#lines + 1] = dataset .. "\\t" .. name .. "\\t" .. value end
    end
end
return table.concat(lines, "\\n")
"""


# A program is run, and waited for, while its transaction group is written: what was written to the pool before is in
# this group or an earlier one. One that fails leaves no line in the pool's history. zpool sync closes two groups more
# (TXG_DEFER_SIZE in OpenZFS's txg.c), each of them written to every disk.
_SETTLED = "zrep: settled"
_SETTLE = f'error("{_SETTLED}")'


class Library:
    """libzfs_core, loaded when it is first used. ZREP_LIBRARY=no in the environment: never."""

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._loaded: _Calls | None = None
        self._absent = os.environ.get("ZREP_LIBRARY") == "no"

    def carry_out(self, argv: Sequence[str], seconds: float) -> str | None:
        """What the command prints when it succeeds; None: it was not carried out here, or not known to be.

        Waits at most so many seconds: on a suspended pool the kernel answers late or never."""
        if self._absent or (work := _work(argv)) is None:
            return None
        calls = self._calls()
        if calls is None:
            return None
        said: list[str | None] = []

        def carry_out() -> None:
            with suppress(MemoryError):
                said.append(work(calls))

        ended = start(carry_out)
        try:
            ended.wait(seconds)
        except BaseException:  # Ctrl-C: the locks may only be given up once this has ended
            ended.wait(_GRACE_SECONDS)
            raise
        return said[0] if said else None

    def _calls(self) -> _Calls | None:
        with self._loading:
            if self._loaded is None and not self._absent:
                with suppress(OSError, AttributeError, ImportError):
                    self._loaded = _Calls()
                self._absent = self._loaded is None
            return self._loaded


_Work = Callable[["_Calls"], "str | None"]


def _work(argv: Sequence[str]) -> _Work | None:
    """How to carry out a command; None for one of another shape."""
    match tuple(argv):
        case ("zfs", "snapshot", *names) if _snapshots(names):
            return lambda calls: calls.snapshot(names)
        case ("zfs", "hold", tag, *names) if _snapshots(names):
            return lambda calls: calls.hold(tag, names)
        case ("zfs", "release", tag, *names) if _snapshots(names):
            return lambda calls: calls.release(tag, names)
        case ("zfs", "holds", "-H", *names) if _snapshots(names):
            return lambda calls: calls.holds(names)
        case ("zfs", "get", "-Hp", "-o", "name,property,value", "guid,createtxg,creation", *names) if _snapshots(names):
            return _in_one_pool(names, lambda calls, pool: calls.identify(pool, names))
        case ("zfs", "get", "-Hp", "-s", "local", "-o", "name,property,value", wanted, *targets) if targets:
            return _in_one_pool(targets, lambda calls, pool: calls.own(pool, wanted.split(","), targets))
        case ("zfs", "destroy", names) if "@" in names and "%" not in names:
            dataset, _, short = names.partition("@")
            return lambda calls: calls.destroy([f"{dataset}@{name}" for name in short.split(",")])
        case ("zfs", "set", *words) if properties := [word for word in words if "=" in word and ":" in word]:
            return _setting(properties, words[len(properties) :])
        case ("zpool", "sync", pool):
            return lambda calls: calls.settle(pool)
    return None


def _snapshots(names: Iterable[str]) -> bool:
    return bool(names) and all("@" in name and not name.startswith("-") for name in names)


def _setting(properties: Sequence[str], targets: Sequence[str]) -> _Work | None:
    """User properties of datasets or snapshots."""
    names = [text.partition("=")[0] for text in properties]
    values = [text.partition("=")[2] for text in properties]
    if not all(":" in name for name in names) or any("=" in target for target in targets):
        return None
    return _in_one_pool(targets, lambda calls, pool: calls.set(pool, names, values, targets))


def _in_one_pool(names: Iterable[str], work: Callable[[_Calls, str], str | None]) -> _Work | None:
    """A channel program runs in one pool and sees no other."""
    pools = {name.partition("@")[0].partition("/")[0] for name in names}
    if len(pools) != 1:
        return None
    [pool] = pools
    return lambda calls: work(calls, pool)


class _Calls:
    """The calls themselves. OSError or AttributeError when the libraries, the kernel module or a call are not there.

    Each answers what its command prints, None when it was not all done."""

    def __init__(self) -> None:
        import ctypes

        self._c = ctypes
        self._core = ctypes.CDLL(_CORE)
        self._pairs = ctypes.CDLL(_PAIRS)
        self._declare()
        if self._core.libzfs_core_init() != 0:
            raise OSError("no /dev/zfs")

    def _declare(self) -> None:
        """Pointers are not the ints that ctypes would take them for."""
        c = self._c
        pointer, text = c.c_void_p, c.c_char_p
        out = c.POINTER(pointer)
        for function, arguments, result in (
            (self._pairs.nvlist_alloc, (out, c.c_uint, c.c_int), c.c_int),
            (self._pairs.nvlist_free, (pointer,), None),
            (self._pairs.nvlist_empty, (pointer,), c.c_int),
            (self._pairs.nvlist_add_boolean, (pointer, text), c.c_int),
            (self._pairs.nvlist_add_string, (pointer, text, text), c.c_int),
            (self._pairs.nvlist_add_string_array, (pointer, text, c.POINTER(text), c.c_uint), c.c_int),
            (self._pairs.nvlist_add_nvlist, (pointer, text, pointer), c.c_int),
            (self._pairs.nvlist_next_nvpair, (pointer, pointer), pointer),
            (self._pairs.nvlist_lookup_string, (pointer, text, c.POINTER(text)), c.c_int),
            (self._pairs.nvpair_name, (pointer,), text),
            (self._core.libzfs_core_init, (), c.c_int),
            (self._core.lzc_snapshot, (pointer, pointer, out), c.c_int),
            (self._core.lzc_hold, (pointer, c.c_int, out), c.c_int),
            (self._core.lzc_release, (pointer, out), c.c_int),
            (self._core.lzc_get_holds, (text, out), c.c_int),
            (self._core.lzc_destroy_snaps, (pointer, c.c_int, out), c.c_int),
            (self._core.lzc_channel_program, (text, text, c.c_uint64, c.c_uint64, pointer, out), c.c_int),
            (self._core.lzc_channel_program_nosync, (text, text, c.c_uint64, c.c_uint64, pointer, out), c.c_int),
        ):
            function.argtypes = arguments
            function.restype = result

    def snapshot(self, names: Sequence[str]) -> str | None:
        with _List(self._c, self._pairs) as snapshots:
            for name in names:
                snapshots.add_boolean(name)
            return self._done(lambda errors: self._core.lzc_snapshot(snapshots.pointer, None, errors))

    def hold(self, tag: str, names: Sequence[str]) -> str | None:
        with _List(self._c, self._pairs) as holds:
            for name in names:
                holds.add_string(name, tag)
            return self._done(lambda errors: self._core.lzc_hold(holds.pointer, -1, errors))

    def release(self, tag: str, names: Sequence[str]) -> str | None:
        with _List(self._c, self._pairs) as holds, _List(self._c, self._pairs) as tags:
            tags.add_boolean(tag)
            for name in names:
                holds.add_list(name, tags)
            return self._done(lambda errors: self._core.lzc_release(holds.pointer, errors))

    def holds(self, names: Sequence[str]) -> str | None:
        """The third column, when each hold was placed, is left empty: nobody reads it."""
        lines = []
        for name in names:
            with _List(self._c, self._pairs, made=False) as tags:
                if self._core.lzc_get_holds(name.encode(), tags.reference) != 0:
                    return None
                lines += [f"{name}\t{tag}\t\n" for tag in tags.names()]
        return "".join(lines)

    def destroy(self, names: Sequence[str]) -> str | None:
        with _List(self._c, self._pairs) as snapshots:
            for name in names:
                snapshots.add_boolean(name)
            return self._done(lambda errors: self._core.lzc_destroy_snaps(snapshots.pointer, 0, errors))

    def set(self, pool: str, names: Sequence[str], values: Sequence[str], targets: Sequence[str]) -> str | None:
        run = self._core.lzc_channel_program
        status, _ = self._program(run, pool, _SET, names=names, values=values, targets=targets)
        return "" if status == 0 else None

    def identify(self, pool: str, names: Sequence[str]) -> str | None:
        status, said = self._program(self._core.lzc_channel_program_nosync, pool, _IDENTIFY, snapshots=names)
        if status != 0:
            return None
        rows = [line.split("\t") for line in said.splitlines()]
        return "".join(f"{name}\t{prop}\t{int(value) % 2**64}\n" for name, prop, value in rows)

    def own(self, pool: str, names: Sequence[str], targets: Sequence[str]) -> str | None:
        run = self._core.lzc_channel_program_nosync
        status, said = self._program(run, pool, _OWN, names=names, targets=targets)
        return (said and f"{said}\n") if status == 0 else None

    def settle(self, pool: str) -> str | None:
        _, said = self._program(self._core.lzc_channel_program, pool, _SETTLE)
        return "" if _SETTLED in said else None

    def _program(self, run: Any, pool: str, program: str, **arguments: Sequence[str]) -> tuple[int, str]:
        """The status of a channel program, 0 for success, and what it returned, or why it failed."""
        with _List(self._c, self._pairs) as given, _List(self._c, self._pairs, made=False) as said:
            for name, values in arguments.items():
                given.add_strings(name, values)
            status = run(pool.encode(), program.encode(), _INSTRUCTIONS, _MEMORY, given.pointer, said.reference)
            return status, said.text("error" if status else "return")

    def _done(self, call: Callable[[Any], int]) -> str | None:
        with _List(self._c, self._pairs, made=False) as errors:
            return "" if call(errors.reference) == 0 and errors.empty else None


class _List:
    """One nvlist_t, freed at the end; made=False: libzfs_core makes it, or does not."""

    def __init__(self, c: Any, pairs: ctypes.CDLL, *, made: bool = True) -> None:
        self._c = c
        self._pairs = pairs
        self.pointer = c.c_void_p()
        self.reference = c.byref(self.pointer)
        if made:
            self._check(pairs.nvlist_alloc(self.reference, _UNIQUE_NAMES, 0))

    def __enter__(self) -> _List:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pointer:
            self._pairs.nvlist_free(self.pointer)

    @property
    def empty(self) -> bool:
        return not self.pointer or bool(self._pairs.nvlist_empty(self.pointer))

    def names(self) -> list[str]:
        found = []
        pair = self._pairs.nvlist_next_nvpair(self.pointer, None) if self.pointer else None
        while pair:
            found.append(self._pairs.nvpair_name(pair).decode())
            pair = self._pairs.nvlist_next_nvpair(self.pointer, pair)
        return found

    def text(self, name: str) -> str:
        """A string by name, empty when there is none."""
        value = self._c.c_char_p()
        found = (
            self.pointer and self._pairs.nvlist_lookup_string(self.pointer, name.encode(), self._c.byref(value)) == 0
        )
        return (value.value or b"").decode() if found else ""

    def add_boolean(self, name: str) -> None:
        self._check(self._pairs.nvlist_add_boolean(self.pointer, name.encode()))

    def add_string(self, name: str, value: str) -> None:
        self._check(self._pairs.nvlist_add_string(self.pointer, name.encode(), value.encode()))

    def add_strings(self, name: str, values: Sequence[str]) -> None:
        array = (self._c.c_char_p * len(values))(*(value.encode() for value in values))
        self._check(self._pairs.nvlist_add_string_array(self.pointer, name.encode(), array, len(values)))

    def add_list(self, name: str, other: _List) -> None:
        self._check(self._pairs.nvlist_add_nvlist(self.pointer, name.encode(), other.pointer))

    @staticmethod
    def _check(status: int) -> None:
        if status != 0:
            raise MemoryError(os.strerror(status))
