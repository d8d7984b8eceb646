"""Small changes and reads, carried out by libzfs_core in this process instead of a zfs command of their own.

A zfs command costs a process and waits for one transaction group for each of its arguments; libzfs_core's calls, and a
channel program (zfs-program(8)), take any number of arguments in one group. What a change means stays what zfs(8) says
of its command: only its success is believed. Whatever libzfs_core cannot do (not installed, no permission, a tag that
is there already, a snapshot that is gone), the command itself is run and says so in its own words.

Signatures: libzfs_core.h and libnvpair.h of OpenZFS 2.1 to 2.4, the same in all of them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from zrep.core import steps
from zrep.core.dataset import Snapshot
from zrep.core.names import pool_of
from zrep.host.parallel import start
from zrep.zfs.errors import StuckError

if TYPE_CHECKING:
    import ctypes

# Debian, Red Hat and Alpine name them so for every OpenZFS 2.
_CORE = "libzfs_core.so.3"
_PAIRS = "libnvpair.so.3"
_DEVICE = "/dev/zfs"
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
    fields = {name}
    for _, property in ipairs({"guid", "createtxg", "creation"}) do
        value = zfs.get_prop(name, property)
        fields[#fields + 1] = value
    end
    lines[#lines + 1] = table.concat(fields, "\\t")
end
return table.concat(lines, "\\n")
"""


# The properties that datasets have themselves. A tab or a line end in one would make rows of others.
_OWN = """
arguments = ...
lines = {}
for _, dataset in ipairs(arguments["targets"]) do
    for _, name in ipairs(arguments["names"]) do
        value, source = zfs.get_prop(dataset, name)
        if source == dataset then
            value = string.gsub(value, "%c", "?")
            lines[#lines + 1] = dataset .. "\\t" .. name .. "\\t" .. value
        end
    end
end
return table.concat(lines, "\\n")
"""


# A program is run, and waited for, while its transaction group is written: what was written to the pool before is in
# this group or an earlier one. One that fails leaves no line in the pool's history. zpool sync closes two groups more
# (TXG_DEFER_SIZE in OpenZFS's txg.c), each of them written to every disk.
_SYNCED = "zrep: synced"
_SYNC = f'error("{_SYNCED}")'


# dcp_cmd_t of OpenZFS's dsl_crypt.h: what receive -F of a whole tree does in the end, too.
_FORCE_NEW_KEY = 4
_FORCE_INHERIT = 5

Answer = TypeVar("Answer")
Kind = TypeVar("Kind", bound=steps.Step)


class Library:
    """libzfs_core, loaded when it is first used. wanted: False for never."""

    def __init__(self, wanted: bool = True) -> None:
        self._loading = threading.Lock()
        self._loaded: _Calls | None = None
        self._absent = not wanted
        self._stopped = False

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True

    def carry_out(self, step: steps.Step, seconds: float) -> bool:
        """Carry a step out; False: it was not carried out here, or not known to be.

        Waits at most so many seconds, as all calls do: on a suspended pool the kernel answers late or never, and
        StuckError says so."""
        work = _change(step)
        return work is not None and self._call(work, seconds) is True

    def carry_out_together(self, batch: Sequence[steps.Step], seconds: float) -> bool:
        """Carry out several steps of one kind in one transaction group, where that can be."""
        work = _changes(batch)
        return work is not None and self._call(work, seconds) is True

    def sync(self, pool: str, seconds: float) -> bool:
        """Close a pool's transaction group; False: not known to be done."""
        return self._call(lambda calls: calls.sync(pool), seconds) is True

    def hold_for_this_process(self, tag: str, snapshot: str, seconds: float) -> bool | None:
        """Hold a snapshot until this process ends, however it ends: the kernel lets go with a descriptor. None: there
        is no library, and no command can do it."""
        return self._call(lambda calls: calls.hold_by_descriptor(tag, snapshot), seconds)

    def read_holds(self, snapshots: Sequence[str], seconds: float) -> dict[str, frozenset[str]] | None:
        """The tags of the holds on each snapshot; None: not known, as for all that read."""
        return self._call(lambda calls: calls.holds(snapshots), seconds)

    def read_snapshots(self, snapshots: Sequence[str], seconds: float) -> dict[str, Snapshot] | None:
        """Snapshots of one pool right after they were made, by full name."""
        pool = _only_pool(snapshots)
        return self._call(lambda calls: calls.identify(pool, snapshots), seconds) if pool else None

    def read_own(
        self, names: Sequence[str], datasets: Sequence[str], seconds: float
    ) -> dict[str, dict[str, str]] | None:
        """Of these properties, those that each of the datasets, all in one pool, has itself: dataset → name → value."""
        pool = _only_pool(datasets)
        return self._call(lambda calls: calls.own(pool, names, datasets), seconds) if pool else None

    def _call(self, work: Callable[[_Calls], Answer | None], seconds: float) -> Answer | None:
        calls = None if self._stopped else self._calls()
        if calls is None:
            return None
        said: list[Answer | None] = []

        def call() -> None:
            with suppress(MemoryError):
                said.append(work(calls))

        ended = start(call)
        try:
            answered = ended.wait(seconds)
        except BaseException:  # Ctrl-C: the locks may only be given up once this has ended
            ended.wait(_GRACE_SECONDS)
            raise
        if not answered:  # the command would hang where this does
            raise StuckError(f"zfs did not answer in {seconds:.0f} s")
        return said[0] if said else None

    def _calls(self) -> _Calls | None:
        with self._loading:
            if self._loaded is None and not self._absent:
                with suppress(OSError, AttributeError, ImportError):
                    self._loaded = _Calls()
                self._absent = self._loaded is None
            return self._loaded


def _change(step: steps.Step) -> Callable[[_Calls], bool] | None:
    """How to carry out a step; None for one that is left to the program."""
    match step:
        case steps.TakeSnapshot(tag=tag, snapshots=names) if names:
            return lambda calls: calls.snapshot(names, *steps.made(tag))
        case steps.Hold(tag=tag, snapshots=names) if names:
            return lambda calls: calls.hold(tag, names)
        case steps.Release(tag=tag, snapshots=names) if names:
            return lambda calls: calls.release(tag, names)
        case steps.DestroySnapshots(full=names) if names:
            return lambda calls: calls.destroy(names)
        case steps.Bookmark():
            return lambda calls: calls.bookmark((step,))
        case steps.DestroyBookmark(bookmark=name):
            return lambda calls: calls.destroy_bookmarks((name,))
        case steps.SetProperties(targets=targets, properties=properties):
            return _setting(properties, targets)
        case steps.TakeRole(dataset=dataset, properties=properties):
            return _setting(properties, (dataset,))
        case steps.CloseTransactionGroup(pool=pool):
            return lambda calls: calls.sync(pool)
        case steps.PlaceKey(dataset=dataset, own=own):
            return lambda calls: calls.place_key(dataset, own)
    return None


def _changes(batch: Sequence[steps.Step]) -> Callable[[_Calls], bool] | None:
    """How to carry out several steps of one kind at once; None where they are of none of these kinds."""
    if made := _all_of(batch, steps.Bookmark):
        return lambda calls: calls.bookmark(made)
    if gone := _all_of(batch, steps.DestroyBookmark):
        return lambda calls: calls.destroy_bookmarks([step.bookmark for step in gone])
    expired = _all_of(batch, steps.DestroySnapshots)
    names = [name for step in expired for name in step.full]
    return (lambda calls: calls.destroy(names)) if _only_pool(names) else None


def _all_of(batch: Sequence[steps.Step], kind: type[Kind]) -> list[Kind]:
    """The steps where all are of one kind; else none."""
    found = [step for step in batch if isinstance(step, kind)]
    return found if len(found) == len(batch) else []


def _setting(properties: Sequence[tuple[str, str]], targets: Sequence[str]) -> Callable[[_Calls], bool] | None:
    """User properties of datasets or snapshots of one pool: a channel program sets no others, and sees no other one."""
    names, values = [name for name, _ in properties], [value for _, value in properties]
    pool = _only_pool(targets)
    if not pool or not names or not all(":" in name for name in names):
        return None
    return lambda calls: calls.set(pool, names, values, targets)


def _only_pool(names: Iterable[str]) -> str:
    """The pool that all of these are in; "" when they are in several, or in none."""
    pools = {pool_of(name) for name in names}
    return pools.pop() if len(pools) == 1 else ""


class _Calls:
    """The calls themselves. OSError or AttributeError when the libraries, the kernel module or a call are not there.

    Each answers whether it was all done, or what it read, None when that was not all."""

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
            (self._core.lzc_change_key, (text, c.c_uint64, pointer, pointer, c.c_uint), c.c_int),
            (self._core.lzc_snapshot, (pointer, pointer, out), c.c_int),
            (self._core.lzc_hold, (pointer, c.c_int, out), c.c_int),
            (self._core.lzc_release, (pointer, out), c.c_int),
            (self._core.lzc_get_holds, (text, out), c.c_int),
            (self._core.lzc_destroy_snaps, (pointer, c.c_int, out), c.c_int),
            (self._core.lzc_bookmark, (pointer, out), c.c_int),
            (self._core.lzc_destroy_bookmarks, (pointer, out), c.c_int),
            (self._core.lzc_channel_program, (text, text, c.c_uint64, c.c_uint64, pointer, out), c.c_int),
            (self._core.lzc_channel_program_nosync, (text, text, c.c_uint64, c.c_uint64, pointer, out), c.c_int),
        ):
            function.argtypes = arguments
            function.restype = result

    def snapshot(self, names: Sequence[str], mark: str, value: str) -> bool:
        with _List(self._c, self._pairs) as snapshots, _List(self._c, self._pairs) as properties:
            for name in names:
                snapshots.add_boolean(name)
            properties.add_string(mark, value)
            with _List(self._c, self._pairs, made=False) as errors:
                # Where somebody's snapshot of one is in the same transaction group, the kernel takes it in the next
                # one: what it lists of errors then still says EAGAIN (seen on OpenZFS 2.3.2).
                return bool(self._core.lzc_snapshot(snapshots.pointer, properties.pointer, errors.reference) == 0)

    def hold(self, tag: str, names: Sequence[str], descriptor: int = -1) -> bool:
        with _List(self._c, self._pairs) as holds:
            for name in names:
                holds.add_string(name, tag)
            return self._done(lambda errors: self._core.lzc_hold(holds.pointer, descriptor, errors))

    def hold_by_descriptor(self, tag: str, name: str) -> bool:
        """It stays open; no child has it."""
        try:
            descriptor = os.open(_DEVICE, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
        except OSError:
            return False
        return self.hold(tag, (name,), descriptor)

    def release(self, tag: str, names: Sequence[str]) -> bool:
        with _List(self._c, self._pairs) as holds, _List(self._c, self._pairs) as tags:
            tags.add_boolean(tag)
            for name in names:
                holds.add_list(name, tags)
            return self._done(lambda errors: self._core.lzc_release(holds.pointer, errors))

    def holds(self, names: Sequence[str]) -> dict[str, frozenset[str]] | None:
        found = {}
        for name in names:
            with _List(self._c, self._pairs, made=False) as tags:
                if self._core.lzc_get_holds(name.encode(), tags.reference) != 0:
                    return None
                found[name] = frozenset(tags.names())
        return found

    def destroy(self, names: Sequence[str]) -> bool:
        with _List(self._c, self._pairs) as snapshots:
            for name in names:
                snapshots.add_boolean(name)
            return self._done(lambda errors: self._core.lzc_destroy_snaps(snapshots.pointer, 0, errors))

    def bookmark(self, made: Sequence[steps.Bookmark]) -> bool:
        with _List(self._c, self._pairs) as bookmarks:
            for each in made:
                bookmarks.add_string(each.bookmark, each.snapshot)
            return self._done(lambda errors: self._core.lzc_bookmark(bookmarks.pointer, errors))

    def destroy_bookmarks(self, names: Sequence[str]) -> bool:
        with _List(self._c, self._pairs) as bookmarks:
            for name in names:
                bookmarks.add_boolean(name)
            return self._done(lambda errors: self._core.lzc_destroy_bookmarks(bookmarks.pointer, errors))

    def place_key(self, name: str, own: bool) -> bool:
        command = _FORCE_NEW_KEY if own else _FORCE_INHERIT
        return bool(self._core.lzc_change_key(name.encode(), command, None, None, 0) == 0)

    def set(self, pool: str, names: Sequence[str], values: Sequence[str], targets: Sequence[str]) -> bool:
        run = self._core.lzc_channel_program
        status, _ = self._program(run, pool, _SET, names=names, values=values, targets=targets)
        return status == 0

    def identify(self, pool: str, names: Sequence[str]) -> dict[str, Snapshot] | None:
        status, said = self._program(self._core.lzc_channel_program_nosync, pool, _IDENTIFY, snapshots=names)
        if status != 0:
            return None
        rows = [line.split("\t") for line in said.splitlines()]
        return {
            full: Snapshot(full.partition("@")[2], str(int(guid) % 2**64), int(createtxg), int(creation))
            for full, guid, createtxg, creation in rows
        }

    def own(self, pool: str, names: Sequence[str], targets: Sequence[str]) -> dict[str, dict[str, str]] | None:
        run = self._core.lzc_channel_program_nosync
        status, said = self._program(run, pool, _OWN, names=names, targets=targets)
        if status != 0:
            return None
        rows = [line.split("\t") for line in said.split("\n") if line]
        found: dict[str, dict[str, str]] = {}
        for dataset, name, value in rows:
            found.setdefault(dataset, {})[name] = value
        return found

    def sync(self, pool: str) -> bool:
        _, said = self._program(self._core.lzc_channel_program, pool, _SYNC)
        return _SYNCED in said

    def _program(self, run: Any, pool: str, program: str, **arguments: Sequence[str]) -> tuple[int, str]:
        """The status of a channel program, 0 for success, and what it returned, or why it failed."""
        with _List(self._c, self._pairs) as given, _List(self._c, self._pairs, made=False) as said:
            for name, values in arguments.items():
                given.add_strings(name, values)
            status = run(pool.encode(), program.encode(), _INSTRUCTIONS, _MEMORY, given.pointer, said.reference)
            return status, said.text("error" if status else "return")

    def _done(self, call: Callable[[Any], int]) -> bool:
        with _List(self._c, self._pairs, made=False) as errors:
            return call(errors.reference) == 0 and errors.empty


def _bytes(text: str) -> bytes:
    """What was read, as it was: see process.text."""
    return text.encode("utf-8", "surrogateescape")


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
            found.append(self._pairs.nvpair_name(pair).decode("utf-8", "surrogateescape"))
            pair = self._pairs.nvlist_next_nvpair(self.pointer, pair)
        return found

    def text(self, name: str) -> str:
        """A string by name, empty when there is none."""
        value = self._c.c_char_p()
        found = (
            self.pointer and self._pairs.nvlist_lookup_string(self.pointer, name.encode(), self._c.byref(value)) == 0
        )
        return (value.value or b"").decode("utf-8", "surrogateescape") if found else ""

    def add_boolean(self, name: str) -> None:
        self._check(self._pairs.nvlist_add_boolean(self.pointer, name.encode()))

    def add_string(self, name: str, value: str) -> None:
        self._check(self._pairs.nvlist_add_string(self.pointer, _bytes(name), _bytes(value)))

    def add_strings(self, name: str, values: Sequence[str]) -> None:
        array = (self._c.c_char_p * len(values))(*map(_bytes, values))
        self._check(self._pairs.nvlist_add_string_array(self.pointer, name.encode(), array, len(values)))

    def add_list(self, name: str, other: _List) -> None:
        self._check(self._pairs.nvlist_add_nvlist(self.pointer, name.encode(), other.pointer))

    @staticmethod
    def _check(status: int) -> None:
        if status != 0:
            raise MemoryError(os.strerror(status))
