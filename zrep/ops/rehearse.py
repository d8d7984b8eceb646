"""rehearse: prove on the replica that what is there can be used, without touching the pair.

A clone of the newest received snapshot is mounted aside, the administrator's own check runs against it, and the clone
goes again. The snapshot cannot be destroyed while it is cloned, so that nothing needs to be locked and sync goes on.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from zrep.core.dataset import Member, Snapshot
from zrep.core.errors import FailedError, RefusedError, ZrepError
from zrep.core.pair import End
from zrep.core.steps import Clone, DestroyClone, Mount, Step, Unmount
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import Session
from zrep.ops.read import observe, read_marked
from zrep.zfs import errors as zfs_errors

_MARK = "rehearse"


class _Rehearsal(Struct, frozen=True):
    """What is cloned, under which name, and where it is mounted ("" for a volume)."""

    source: Member
    snapshot: Snapshot
    clone: str
    place: str


def rehearse(session: Session, name: str, command: Sequence[str], *, suid_dev: bool = False) -> Outcome:
    """Clone, mount, run the command (without one: only mount), destroy. suid_dev: setuid programs and devices in the
    clone work. FailedError when the command fails."""
    session.link(name)
    member = observe(session.local, session.tag, [name])[name]
    job = _prepared(session, member)
    _clear_leftovers(session)
    started = time.monotonic()
    try:
        session.alone().do_all(_up(session, job, suid_dev))
        status = session.local.attend(command, _environment(job), job.place or "/") if command else 0
    finally:
        _take_down(session, job)
    age = max(0, session.now - job.snapshot.creation)
    about = f"@{job.snapshot.name}, made {age} s ago"
    if status:
        raise FailedError(
            f"the check failed on a clone of {about}", filesystem=name, evidence=f"{command[0]}: exit status {status}"
        )
    done = f"{command[0]} succeeded in {time.monotonic() - started:.0f} s" if command else "it could be made available"
    return Outcome(name, message=f"{done}, on a clone of {about}")


def _prepared(session: Session, member: Member) -> _Rehearsal:
    """The newest snapshot of ours that is complete here. RefusedError when there is none or no key."""
    ours = [snapshot for snapshot in member.ours(session.tag) if snapshot.sent] or member.ours(session.tag)
    if not ours:
        raise RefusedError("there is no snapshot of zrep to clone", filesystem=member.name, advice="zrep sync first")
    if member.key_missing:
        raise RefusedError("its key is not loaded", filesystem=member.name, advice=member.load_key)
    word = f"{_MARK}_{session.new_identity()[:8]}"
    place = "" if member.volume else f"{session.local.directory}/{word}"
    return _Rehearsal(member, ours[-1], f"{member.name}_{word}", place)


def _up(session: Session, job: _Rehearsal, suid_dev: bool) -> list[Step]:
    """Marked before anything else can be known of it: a clone that a killed run left is found by its mark. It shares
    nothing, and is mounted nowhere by itself."""
    mark = (f"{session.tag}:{_MARK}", str(os.getpid()))
    shares = (("sharenfs", "off"), ("sharesmb", "off"))
    # What it opens is for the check alone: programs and devices in it are those of another host.
    closed = () if suid_dev else (("setuid", "off"), ("devices", "off"))
    quiet = (("canmount", "noauto"), ("mountpoint", job.place), *shares, *closed)
    snapshot = f"{job.source.name}@{job.snapshot.name}"
    clone = Clone(End.TARGET, snapshot, job.clone, (mark, *(() if job.source.volume else quiet)))
    return [clone] if job.source.volume else [clone, Mount(End.TARGET, job.clone)]


def _down(job: _Rehearsal) -> list[Step]:
    unmount = [] if job.source.volume else [Unmount(End.TARGET, job.clone)]
    return [*unmount, DestroyClone(End.TARGET, job.clone)]


def _take_down(session: Session, job: _Rehearsal) -> None:
    """Also after a failure, or Ctrl-C. What cannot go, because the check left something running, is said."""
    trouble: ZrepError | None = None
    for step in _down(job):
        trouble = session.alone().try_do(step)
    if job.place:
        with suppress(OSError):
            Path(job.place).rmdir()
    if trouble is not None and not isinstance(trouble, zfs_errors.AbsentError):
        session.say(f"{job.source.name}: {job.clone} could not be removed ({trouble.evidence}); the next rehearse does")


def _clear_leftovers(session: Session) -> None:
    """Clones that killed runs left. One whose run is alive stays, as one that somebody is still at work in."""
    for clone, pid in read_marked(session.local, f"{session.tag}:{_MARK}"):
        if re.search(rf"_{_MARK}_[0-9a-f]{{8}}\Z", clone) and not Path(f"/proc/{pid}").exists():
            session.alone().try_do(Unmount(End.TARGET, clone))
            session.alone().try_do(DestroyClone(End.TARGET, clone))


def _environment(job: _Rehearsal) -> Mapping[str, str]:
    where = {"ZREP_DEVICE": f"/dev/zvol/{job.clone}"} if job.source.volume else {"ZREP_DIR": job.place}
    return {"ZREP_FS": job.source.name, "ZREP_SNAPSHOT": job.snapshot.name, "ZREP_CLONE": job.clone, **where}
