"""rehearse: prove on the replica that what is there can be used, without touching the pair.

A clone of the newest received snapshot is mounted aside, of a tree one of every member, as they were at the newest
moment of which all have arrived; the administrator's own check runs against it, and the clones go again. A snapshot
cannot be destroyed while it is cloned, so that nothing needs to be locked and sync goes on.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote

from msgspec import Struct

from zrep.core.advice import of_pair
from zrep.core.dataset import Member, Snapshot
from zrep.core.errors import FailedError, RefusedError, ZrepError
from zrep.core.names import beside, sequence_of
from zrep.core.pair import End, Tree
from zrep.core.steps import Clone, DestroyClone, Mount, Step, Unmount
from zrep.host.programs import ending
from zrep.ops.failures import attempt
from zrep.ops.finding import find_link
from zrep.ops.outcome import Outcome
from zrep.ops.preflight import cannot_mount
from zrep.ops.read import observe_tree, read_marked
from zrep.ops.session import Session
from zrep.ops.view import Link
from zrep.zfs import errors as zfs_errors

_MARK = "rehearse"


class _Copy(Struct, frozen=True):
    """A clone to be made: of what, and its name."""

    source: Member
    snapshot: Snapshot
    clone: str


class _Rehearsal(Struct, frozen=True):
    """The clones of a tree, its root's first, and where that is mounted ("" for a volume): the others are mounted in
    it."""

    copies: tuple[_Copy, ...]
    place: str

    @property
    def root(self) -> _Copy:
        return self.copies[0]


def rehearse(session: Session, name: str, command: Sequence[str], *, suid_dev: bool = False) -> Outcome:
    """Clone, mount, run the command (without one: only mount), destroy. suid_dev: setuid programs and devices in the
    clone work. FailedError when the command fails."""
    link = find_link(session, name)
    return attempt(session, "rehearse", name, lambda: _rehearse(session, link, command, suid_dev=suid_dev))


def _rehearse(session: Session, link: Link, command: Sequence[str], *, suid_dev: bool) -> Outcome:
    name = link.name
    tree = observe_tree(session.local, session.tag, name, recursive=link.role.recursive)
    job = _prepared(session, tree)
    if error := cannot_mount(session.local, _up(session, job, suid_dev), f"sudo zrep rehearse {quote(name)}"):
        raise error.about(name)
    _clear_leftovers(session)
    started = time.monotonic()
    try:
        session.alone().do_all(_up(session, job, suid_dev))
        status = session.local.attend(command, _environment(job), job.place or "/") if command else 0
    finally:
        _take_down(session, job)
    age = max(0, session.now - max(copy.snapshot.creation for copy in job.copies))
    members = f" and {len(job.copies) - 1} below it" if len(job.copies) > 1 else ""
    about = f"@{job.root.snapshot.name}{members}, made {age} s ago"
    if status:
        raise FailedError(
            f"the check failed on a clone of {about}", filesystem=name, evidence=f"{command[0]}: {ending(status)}"
        )
    done = f"{command[0]} succeeded in {time.monotonic() - started:.0f} s" if command else "it could be made available"
    return Outcome(name, message=f"{done}, on a clone of {about}")


def _prepared(session: Session, tree: Tree) -> _Rehearsal:
    """What is cloned of every member: the newest snapshot that is known to have come here whole, and no newer than the
    newest complete set. RefusedError when there is none of the root, or no key."""
    word = f"{_MARK}_{session.new_identity()[:8]}"
    root = tree.members[0]
    if "/" not in root.name:
        raise RefusedError(
            "it is the root of a pool, which no clone can be beside",
            filesystem=root.name,
            advice=f"on {tree.role.peer_host}: zrep rehearse {quote(tree.role.peer_fs)}",
        )
    last = sequence_of(session.tag, tree.role.complete)
    room = max(len(member.name) for member in tree.members) - len(root.name)
    name = beside(root.name, f"_{word}", room) or f"{root.name}_{word}"
    copies = []
    for member in tree.members:
        snapshot = _newest(session.tag, member, last)
        clone = name + member.name.removeprefix(root.name)
        if snapshot is not None:
            copies.append(_Copy(member, snapshot, clone))
        elif member is root:
            raise RefusedError(
                "nothing here is known to have come from its master",
                filesystem=root.name,
                evidence=f"{len(root.snapshots)} snapshots, none that zrep has marked or holds",
                advice=of_pair(root.name, root.role, "sync"),
            )
        if member.key_missing:
            raise RefusedError("its key is not loaded", filesystem=member.name, advice=member.load_key)
    there = {copy.clone for copy in copies}
    whole = (copy for copy in copies if copy.source is root or copy.clone.rpartition("/")[0] in there)
    return _Rehearsal(tuple(whole), "" if root.volume else f"{session.local.directory}/{word}")


def _newest(tag: str, member: Member, last: int | None) -> Snapshot | None:
    """The snapshot of a member that belongs to the set with this number; None for the number: the newest. What another
    program has made has no number, and is older than any set."""
    came = member.received(tag)
    known = [snapshot for snapshot in came if last is None or (sequence_of(tag, snapshot.name) or 0) <= last]
    return known[-1] if known else None


def _up(session: Session, job: _Rehearsal, suid_dev: bool) -> list[Step]:
    """Marked before anything else can be known of it: a clone that a killed run left is found by its mark. It shares
    nothing, and is mounted nowhere by itself. What is below the root has its place and the rest from that."""
    mark = (f"{session.tag}:{_MARK}", str(os.getpid()))
    shares = (("sharenfs", "off"), ("sharesmb", "off"))
    # What it opens is for the check alone: programs and devices in it are those of another host.
    closed = () if suid_dev else (("setuid", "off"), ("devices", "off"))
    steps: list[Step] = []
    for copy in job.copies:
        below = copy is not job.root
        quiet = (("canmount", "noauto"), *(() if below else (("mountpoint", job.place), *shares, *closed)))
        volume = copy.source.volume
        snapshot = f"{copy.source.name}@{copy.snapshot.name}"
        steps.append(Clone(End.TARGET, snapshot, copy.clone, (mark, *(() if volume else quiet))))
        steps += [] if volume else [Mount(End.TARGET, copy.clone)]
    return steps


def _down(job: _Rehearsal) -> list[Step]:
    steps: list[Step] = []
    for copy in reversed(job.copies):
        steps += [] if copy.source.volume else [Unmount(End.TARGET, copy.clone)]
        steps.append(DestroyClone(End.TARGET, copy.clone))
    return steps


def _take_down(session: Session, job: _Rehearsal) -> None:
    """Also after a failure, or Ctrl-C. What cannot go, because the check left something running, is said."""
    trouble: ZrepError | None = None
    for step in _down(job):
        error = session.alone().try_do(step)
        trouble = error if isinstance(step, DestroyClone) and error is not None else trouble
    if job.place:
        with suppress(OSError):
            Path(job.place).rmdir()
    if trouble is not None and not isinstance(trouble, zfs_errors.AbsentError):
        root = job.root
        session.say(
            f"{root.source.name}: {root.clone} could not be removed ({trouble.evidence}); the next rehearse does"
        )


def _clear_leftovers(session: Session) -> None:
    """Clones that killed runs left. One whose run is alive stays, as one that somebody is still at work in."""
    for clone, pid in sorted(read_marked(session.local, f"{session.tag}:{_MARK}"), reverse=True):
        if re.search(rf"_{_MARK}_[0-9a-f]{{8}}(/|\Z)", clone) and not Path(f"/proc/{pid}").exists():
            session.alone().try_do(Unmount(End.TARGET, clone))
            session.alone().try_do(DestroyClone(End.TARGET, clone))


def _environment(job: _Rehearsal) -> Mapping[str, str]:
    root = job.root
    where = {"ZREP_DEVICE": f"/dev/zvol/{root.clone}"} if root.source.volume else {"ZREP_DIR": job.place}
    return {"ZREP_FS": root.source.name, "ZREP_SNAPSHOT": root.snapshot.name, "ZREP_CLONE": root.clone, **where}
