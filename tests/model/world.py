"""The world of a test: hosts with pools, links between them, and everything a test does to them from outside."""

from __future__ import annotations

import os
import pickle
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from . import command, datasets, mounting, mounts, receiving, stream
from .command import Result
from .errors import RefusalError
from .machine import Machine
from .receiving import Receive
from .state import METADATA_BYTES, Dataset, Fault, HostState, Pool, WorldState

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA = "create table if not exists world (id integer primary key check (id = 1), state blob)"
T = TypeVar("T")


class World:
    """In memory, or in one SQLite file that the programs on PATH share; there every command is one transaction."""

    def __init__(self, path: str | Path = ":memory:", hosts: tuple[str, ...] = ("alpha", "beta"), pool: str = "tank"):
        self.path = str(path)
        self._state = WorldState()
        self._database: sqlite3.Connection | None = None
        if self.path != ":memory:":
            self._database = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
            self._database.execute("pragma journal_mode=wal")
            self._database.execute("pragma synchronous=off")
            self._database.execute(_SCHEMA)
        with self.transaction() as state:
            if not state.hosts:
                for name in hosts:
                    state.hosts[name] = HostState(name)
                    add_pool(state, state.hosts[name], pool)

    @contextmanager
    def transaction(self) -> Iterator[WorldState]:
        """The state, to be changed: of the whole world, and of nobody else meanwhile."""
        if self._database is None:
            yield self._state
            return
        self._database.execute("begin immediate")
        try:
            row = self._database.execute("select state from world").fetchone()
            state = pickle.loads(row[0]) if row else WorldState()
            bury(state)
            yield state
            blob = pickle.dumps(state, pickle.HIGHEST_PROTOCOL)
            self._database.execute("insert or replace into world values (1, ?)", (blob,))
            self._database.execute("commit")
        except BaseException:
            self._database.execute("rollback")
            raise

    @property
    def state(self) -> WorldState:
        """The state as it is now, to be read."""
        if self._database is None:
            return self._state
        row = self._database.execute("select state from world").fetchone()
        state: WorldState = pickle.loads(row[0])
        return state

    def close(self) -> None:
        if self._database is not None:
            self._database.close()

    def host(self, name: str) -> Host:
        return Host(self, name)

    # -- the whole of it

    def dump(self) -> bytes:
        """Equal worlds have equal dumps only where they were made by the same steps: compare `view()` instead."""
        return pickle.dumps(self.state, pickle.HIGHEST_PROTOCOL)

    def load(self, dumped: bytes) -> None:
        if self._database is None:
            self._state = pickle.loads(dumped)
            return
        self._database.execute("insert or replace into world values (1, ?)", (dumped,))

    def clone(self) -> World:
        """A copy in memory, for trying out what happens next."""
        copy = World.__new__(World)
        copy.path, copy._database = ":memory:", None
        copy._state = pickle.loads(self.dump())
        return copy

    def view(self) -> dict[str, object]:
        """Everything a command could show, without counters and logs: equal exactly when nothing differs."""
        return {name: _view(host) for name, host in sorted(self.state.hosts.items())}

    # -- the surroundings

    def cut(self, one: str, other: str) -> None:
        with self.transaction() as state:
            state.cut.add(frozenset((one, other)))

    def heal(self, one: str | None = None, other: str | None = None) -> None:
        """One link, or all of them."""
        with self.transaction() as state:
            if one is None:
                state.cut.clear()
            else:
                state.cut.discard(frozenset((one, other or one)))

    def alias(self, name: str, host: str) -> None:
        with self.transaction() as state:
            state.aliases[name] = host

    def set_time(self, now: int | None) -> None:
        """Unix time in the world; None for the machine's own clock."""
        with self.transaction() as state:
            state.now = now

    def pass_time(self, seconds: int) -> None:
        with self.transaction() as state:
            state.now = (state.now or 0) + seconds


def bury(state: WorldState) -> None:
    """Receives whose process has died: the kernel keeps what is resumable and forgets the rest."""
    for host in state.hosts.values():
        for dataset in list(host.datasets.values()):
            partial = dataset.partial
            if partial is not None and partial.pid and not os.path.exists(f"/proc/{partial.pid}"):
                partial.pid = None
                if not partial.resumable:
                    receiving.discard(Machine(state, host), dataset)


def add_pool(state: WorldState, host: HostState, name: str) -> None:
    machine = Machine(state, host)
    host.pools[name] = Pool(name, machine.guid())
    root = machine.new_dataset(name, "filesystem")
    machine.setting(root, "compression").local = "lz4"
    mounting.mount_by_itself(machine, root)
    host.pools[name].txg_waits = 0


def _view(host: HostState) -> dict[str, object]:
    return {
        name: (
            d.kind, d.guid, d.data, d.volsize, d.mounted_at, d.remounted, d.inconsistent, d.partial,
            {key: setting for key, setting in d.props.items() if setting.effective() or setting.received},
            [(s.name, s.guid, s.data, sorted(s.holds), s.props) for s in d.snapshots],
            d.origin, d.pending, d.intent_log, d.written > 0, sorted(d.allowed),
        )
        for name, d in sorted(host.datasets.items())
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Host:
    """One host of a world."""

    world: World
    name: str

    def run(self, argv: list[str], stdin: bytes = b"", user: str = "root") -> Result:
        with self.world.transaction() as state:
            return command.run(state, state.hosts[self.name], argv, stdin, user)

    def sh(self, line: str, stdin: bytes = b"") -> bytes:
        """One command, split at blanks, that must succeed."""
        result = self.run(line.split(), stdin)
        if result.rc:
            raise AssertionError(f"{self.name}: {line}: exit {result.rc}: {result.err.decode()}")
        return result.out

    # -- a receive in two steps, for what happens while a stream is under way

    def start_receive(self, argv: list[str], sent: bytes, pid: int | None = None) -> Receive | Result:
        """Begin to receive; `sent` needs only to hold the first line of the stream."""
        with self.world.transaction() as state:
            host = state.hosts[self.name]
            machine = Machine(state, host)
            host.log.append(tuple(argv))
            first = sent[: sent.find(b"\n") + 1] or sent
            try:
                return command.start_receive(machine, argv[2:], first, pid)
            except RefusalError as fail:
                return command.answer(machine, fail.rc, fail)

    def finish_receive(self, receive: Receive, sent: bytes) -> Result:
        """The stream has ended after these bytes of it."""
        with self.world.transaction() as state:
            machine = Machine(state, state.hosts[self.name])
            body = sent[sent.find(b"\n") + 1 :] if b"\n" in sent else b""
            try:
                receiving.finish(machine, receive, *stream.decode_records(body))
            except RefusalError as fail:
                return command.answer(machine, fail.rc, fail)
            return command.answer(machine)

    # -- what applications do

    def write(self, fs: str, key: str, data: bytes, *, flushed: bool = True, fsync: bool = False) -> None:
        """Write a file. Not `flushed`: the open transaction group has it, and a crash loses it unless `fsync`.

        As in reality the first fsync of a filesystem makes its intent log, and closes the transaction group for that.
        """

        def act(machine: Machine, dataset: Dataset) -> None:
            _require_writable(machine, dataset)
            _put(machine, dataset, key, data, flushed, fsync)

        self._on(fs, act)

    def unlink(self, fs: str, key: str) -> None:
        """Remove a file."""

        def act(machine: Machine, dataset: Dataset) -> None:
            _require_writable(machine, dataset)
            machine.change(dataset)
            dataset.data = {name: data for name, data in dataset.data.items() if name != key}

        self._on(fs, act)

    def store_mapped(self, fs: str, key: str, data: bytes) -> None:
        """A store through a writable mapping: readonly=on does not stop it."""

        def act(machine: Machine, dataset: Dataset) -> None:
            if not dataset.mappings:
                raise OSError(14, "Bad address")
            _put(machine, dataset, key, data, flushed=True, fsync=False)

        self._on(fs, act)

    def read(self, fs: str) -> dict[str, bytes]:
        """The files of a mounted filesystem, of a volume, or of a snapshot."""
        target = Machine(state := self.world.state, state.hosts[self.name]).find(fs)
        if target is None:
            raise FileNotFoundError(fs)
        dataset, snapshot = target
        data = snapshot.data if snapshot else {**dataset.data, **dataset.pending}
        return {key: value for key, value in data.items() if not key.endswith("/")}

    def open_file(self, fs: str, change: int = 1) -> None:
        """A process works in the filesystem (or, with -1, no longer)."""
        self._on(fs, lambda machine, dataset: _count(dataset, "open_files", change))

    def map_file(self, fs: str, change: int = 1) -> None:
        """A process maps a file writable (or, with -1, no longer)."""

        def act(machine: Machine, dataset: Dataset) -> None:
            if change > 0:
                _require_writable(machine, dataset)
            _count(dataset, "mappings", change)

        self._on(fs, act)

    def mount_elsewhere(self, fs: str) -> None:
        """A container has it mounted too, and whoever uses it does so there."""

        def act(machine: Machine, dataset: Dataset) -> None:
            dataset.elsewhere = True

        self._on(fs, act)

    def leave(self, fs: str) -> None:
        """The container ends, and whoever used the filesystem there with it."""

        def act(machine: Machine, dataset: Dataset) -> None:
            dataset.elsewhere = False
            if dataset.mounted_at is None:
                dataset.open_files = dataset.mappings = 0

        self._on(fs, act)

    def crash(self) -> None:
        """Power off and on again: what no transaction group had is lost, the fsynced part waits for a mount."""
        with self.world.transaction() as state:
            host = state.hosts[self.name]
            machine = Machine(state, host)
            for dataset in list(host.datasets.values()):
                dataset.pending = {}
                dataset.unreplayed = bool(dataset.intent_log)
                if dataset.has_log:  # claimed when the pool is opened: that is written, but no modification
                    dataset.written += METADATA_BYTES
                    dataset.has_log = dataset.unreplayed
                    dataset.claimed = True
                dataset.open_files = dataset.mappings = 0
                dataset.mounted_at, dataset.elsewhere = None, False
                if dataset.partial is not None:
                    dataset.partial.pid = None
                    if not dataset.partial.resumable:
                        receiving.discard(machine, dataset)
                if dataset.encryption_root:
                    dataset.key_loaded = False
            host.others, host.other_numbers = {}, {}
            mounting.make_devices(machine)

    def power_off(self) -> None:
        """A crash, and nobody reaches the host any more."""
        self.crash()
        with self.world.transaction() as state:
            state.hosts[self.name].up = False

    def power_on(self) -> None:
        with self.world.transaction() as state:
            state.hosts[self.name].up = True
        self.mount_all()

    def mount_all(self) -> None:
        """zfs mount -a, as it happens at boot."""
        self.run(["zfs", "mount", "-a"])

    # -- what tests set up and look at

    def mount_other(self, where: str) -> None:
        """Mount something that is not of ZFS, over whatever is there."""
        with self.world.transaction() as state:
            host = state.hosts[self.name]
            host.others[where], host.other_numbers[where] = "rw", mounts.next_number(host)

    def unmount_other(self, where: str) -> None:
        with self.world.transaction() as state:
            del state.hosts[self.name].others[where], state.hosts[self.name].other_numbers[where]

    def mountinfo(self) -> str:
        return mounting.mountinfo(self.world.state.hosts[self.name])

    def can_make(self, path: str) -> bool:
        """Whether a directory is there, or can be made."""
        return mounting.can_make(Machine(self.world.state, self.world.state.hosts[self.name]), path)

    def leads(self, path: str) -> str:
        """What is mounted where a path leads."""
        return mounts.leads(self.world.state.hosts[self.name], path).source

    def add_pool(self, name: str) -> None:
        with self.world.transaction() as state:
            add_pool(state, state.hosts[self.name], name)

    def export_pool(self, name: str) -> None:
        with self.world.transaction() as state:
            host = state.hosts[self.name]
            inside = {each: host.datasets.pop(each) for each in list(host.datasets) if each.partition("/")[0] == name}
            for dataset in inside.values():
                dataset.mounted_at = None
            host.exported[name] = (host.pools.pop(name), inside)

    def import_pool(self, name: str, new: str = "") -> None:
        with self.world.transaction() as state:
            host = state.hosts[self.name]
            new = new or name
            host.pools[new], inside = host.exported.pop(name)
            host.pools[new].name = new
            for dataset in inside.values():
                dataset.name = new + dataset.name.removeprefix(name)
                host.datasets[dataset.name] = dataset
        self.mount_all()

    def pool_states(self) -> dict[str, str]:
        """What /proc/spl/kstat/zfs/POOL/state says of each pool."""
        return {name: pool.health for name, pool in self.world.state.hosts[self.name].pools.items()}

    def set_pool(self, name: str, **values: object) -> None:
        """full, readonly, size or health."""
        with self.world.transaction() as state:
            for key, value in values.items():
                setattr(state.hosts[self.name].pools[name], key, value)

    def load_key(self, fs: str, loaded: bool = True) -> None:
        with self.world.transaction() as state:
            for dataset in state.hosts[self.name].datasets.values():
                if dataset.encryption_root == fs:
                    dataset.key_loaded = loaded
            mounting.make_devices(Machine(state, state.hosts[self.name]))

    def place_key(self, fs: str, *, own: bool) -> int:
        """What libzfs_core does, which no program can."""
        with self.world.transaction() as state:
            return datasets.place_key(Machine(state, state.hosts[self.name]), fs, own=own)

    def fail(self, words: str, rc: int = 1, err: str = "", times: int = 1, applied: bool = False) -> None:
        """Make the next commands that begin so fail; `applied`: they do their work, only the answer is lost."""
        with self.world.transaction() as state:
            state.hosts[self.name].faults.append(Fault(tuple(words.split()), rc, err, times, applied))

    @property
    def commands(self) -> list[tuple[str, ...]]:
        """Every command run here so far."""
        return self.world.state.hosts[self.name].log

    def txg_waits(self, pool: str = "tank") -> int:
        """How many transaction groups commands have waited for."""
        return self.world.state.hosts[self.name].pools[pool].txg_waits

    def reset_counters(self) -> None:
        with self.world.transaction() as state:
            host = state.hosts[self.name]
            host.log.clear()
            for pool in host.pools.values():
                pool.txg_waits = 0

    def names(self) -> list[str]:
        """Every dataset here."""
        return list(self.world.state.hosts[self.name].datasets)

    def dataset(self, name: str) -> Dataset | None:
        return self.world.state.hosts[self.name].datasets.get(name)

    def _on(self, fs: str, act: Callable[[Machine, Dataset], T]) -> T:
        with self.world.transaction() as state:
            host = state.hosts[self.name]
            return act(Machine(state, host), host.datasets[fs])


def _count(dataset: Dataset, what: str, change: int) -> None:
    setattr(dataset, what, max(0, getattr(dataset, what) + change))


def _require_writable(machine: Machine, dataset: Dataset) -> None:
    if dataset.kind == "filesystem" and dataset.mounted_at is None and not dataset.elsewhere:
        raise FileNotFoundError(2, "No such file or directory", dataset.name)
    if mounting.readonly(machine, dataset):
        raise OSError(30, "Read-only file system", dataset.name)
    if machine.pool(dataset).full:
        raise OSError(28, "No space left on device", dataset.name)


def _put(machine: Machine, dataset: Dataset, key: str, data: bytes, flushed: bool, fsync: bool) -> None:
    if flushed:
        machine.change(dataset, {key: data})
        return
    dataset.pending = {**dataset.pending, key: data}
    if fsync and not dataset.has_log:
        dataset.has_log = True
        machine.wait_txg(machine.pool(dataset), waits=0)
    elif fsync:
        dataset.intent_log = {**dataset.intent_log, key: data}
