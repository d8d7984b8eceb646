"""Snapshots, and around them an administrator's own programs: what a database or a virtual machine needs so that what
is on the disk is whole.

Between the end of the last program before and the beginning of the first after there is the one atomic ``zfs snapshot``
and nothing else: all of it is done by the host that has the datasets. What is at rest by then must go on whatever
happens: the programs after are started first, and wait.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from zrep.core.errors import BusyError, RefusedError, ZrepError
from zrep.core.pair import End
from zrep.core.requests import Failure, Moment, Taken, TakeSnapshots
from zrep.core.steps import TakeSnapshot
from zrep.host import changes, hooks, process
from zrep.host.locks import cannot_lock, lock_at_once, open_own
from zrep.host.machine import Machine, carry_out
from zrep.host.programs import Afterwards
from zrep.zfs import errors as zfs_errors

BEFORE, AFTER = "before-snapshot", "after-snapshot"
# What is at rest does not wait for a pool that does not write.
_SNAPSHOT_SECONDS = 60.0
# Programs around other snapshots end by themselves; these begin after them.
_TURN_SECONDS = 300.0
_ONE_IN_HERE = threading.Lock()


@carry_out.register(TakeSnapshots)
def take_snapshots(request: TakeSnapshots, machine: Machine) -> Taken:
    programs, trouble = hooks.find(f"{machine.settings.hooks}/snapshot.d") if request.telling else ([], "")
    if trouble or not programs:
        refused = {moment.dataset: trouble for moment in request.moments} if trouble else {}
        due = request.moments if request.insist or not trouble else ()
        return Taken(refused, _snapshots(request.tag, due, machine, process.COMMAND_SECONDS))
    try:
        with turn(machine):
            return _around(request, machine, programs)
    except (BusyError, RefusedError, OSError) as error:
        said = str(error) if isinstance(error, OSError) else error.line()
        return Taken({moment.dataset: said for moment in request.moments})


def _around(request: TakeSnapshots, machine: Machine, programs: Sequence[str]) -> Taken:
    refused: dict[str, str] = {}
    failed: dict[str, Failure] = {}
    after: dict[str, list[str]] = {}
    waiting: list[tuple[str, str, Afterwards]] = []
    try:
        for moment in request.moments:
            try:
                waiting += [(moment.dataset, path, _waits(path, moment.about)) for path in programs]
            except OSError as error:  # without a way to go on nothing is brought to rest
                refused[moment.dataset] = f"{programs[0]}: {error.strerror or error}"
                continue
            if said := _before(programs, moment.about):
                refused[moment.dataset] = said
        due = [moment for moment in request.moments if request.insist or moment.dataset not in refused]
        failed = _snapshots(request.tag, due, machine, _SNAPSHOT_SECONDS)
    finally:
        # Also of a run that is ended by a signal; those that are not begun here begin when this process has ended.
        for dataset, path, program in waiting:
            if said := hooks.said(path, *program.begin()):
                after.setdefault(dataset, []).append(said)
    return Taken(refused, failed, after)


def _waits(path: str, about: Mapping[str, str]) -> Afterwards:
    return Afterwards((path, AFTER), {**about, "ZREP_EVENT": AFTER}, hooks.HOOK_SECONDS)


def _before(programs: Sequence[str], about: Mapping[str, str]) -> str:
    """Tell the programs, to the first that fails: what went wrong, "" for nothing."""
    told = (hooks.said(path, *hooks.tell(path, BEFORE, {**about, "ZREP_EVENT": BEFORE})) for path in programs)
    return next(filter(None, told), "")


def _snapshots(tag: str, moments: Sequence[Moment], machine: Machine, seconds: float) -> dict[str, Failure]:
    """All at once; where that fails each moment alone, for what went wrong with it."""
    if not moments:
        return {}
    together = _snapshot(tag, moments, machine, seconds)
    if together is None or len(moments) == 1:
        return {moments[0].dataset: together} if together else {}
    alone = {moment.dataset: _snapshot(tag, [moment], machine, seconds) for moment in moments}
    return {dataset: failure for dataset, failure in alone.items() if failure}


def _snapshot(tag: str, moments: Sequence[Moment], machine: Machine, seconds: float) -> Failure | None:
    step = TakeSnapshot(End.SOURCE, tag, tuple(name for moment in moments for name in moment.snapshots))
    try:
        error = changes.do(step, machine, seconds)
    except ZrepError as raised:  # not started, or not ended in time
        error = raised
    return zfs_errors.as_failure(error) if error else None


@contextmanager
def turn(machine: Machine) -> Iterator[None]:
    """One at a time on this host, of any run and of any tag: what one lets go on another may just have brought to rest.
    BusyError when that takes too long, RefusedError when there is no lock for it."""
    give_up = time.monotonic() + _TURN_SECONDS
    if not _ONE_IN_HERE.acquire(timeout=_TURN_SECONDS):
        raise _busy()
    try:
        path = f"{machine.directory}/snapshots"
        try:
            descriptor = open_own(path)
        except OSError as error:
            raise cannot_lock(path, error) from None
        try:
            while not lock_at_once(descriptor):
                if time.monotonic() > give_up:
                    raise _busy()
                time.sleep(0.05)
            yield
        finally:
            os.close(descriptor)
    finally:
        _ONE_IN_HERE.release()


def _busy() -> BusyError:
    return BusyError("busy", evidence=f"programs around other snapshots are not done after {_TURN_SECONDS:.0f} s")
