"""Move the master role, from either host: what failover and takeover share (takeover -L: takeover_alone.py).

The order of the steps is the protocol; core/plan_role.py gives the reason for each. Up to the commit any failure undoes
everything; after it the old master stays read-only until its peer can be asked.
"""

from __future__ import annotations

import re
from shlex import quote

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.dataset import Snapshot
from zrep.core.diagnosis_data import diagnose_data
from zrep.core.errors import FailedError, RefusedError, UnreachableError, ZrepError
from zrep.core.pair import End
from zrep.core.plan_data import plan_advance
from zrep.core.plan_role import (
    plan_abort,
    plan_commit,
    plan_demote,
    plan_final_snapshot,
    plan_quiesce,
    plan_undo,
)
from zrep.core.quantities import size
from zrep.core.requests import ReadUsers
from zrep.core.role import next_epoch
from zrep.core.steps import RemountReadOnly, ReplayLog, Step, TakeRole
from zrep.host.local import Host
from zrep.ops import hooks
from zrep.ops.advance import converge_all, send_final, sync_view
from zrep.ops.locking import ROLE_SECONDS, busy
from zrep.ops.memory import remember_synced
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import after_snapshots, open_pair, read_again, read_turned
from zrep.ops.preflight import (
    Preflight,
    being_written,
    blockers,
    cannot_insist,
    obstacles,
    open_volumes,
    preflight,
    unusable_keys,
)
from zrep.ops.repair import open_master, prepare
from zrep.ops.session import Session
from zrep.ops.tree import lock_lanes, record_set
from zrep.ops.view import View
from zrep.zfs import errors as zfs_errors

# The read-only window opens when what is left to send is at most this, or after as many rounds.
_SMALL_DELTA = 16 * 1024 * 1024
_PRESYNC_ROUNDS = 4
# A remount read-only fails while any file is open for writing. A program that opens, writes and closes all the time is
# caught between two writes by trying often; one that keeps a file open or mapped is still there after this.
_BUSY_TRIES = 40
_BUSY_PAUSE = 0.05


class RoleChange(Struct, frozen=True):
    """How a person wants a role change done. insist: go on under those that have files of the master open to write."""

    insist: bool = False


def move_role(session: Session, name: str, change: RoleChange, *, become_master: bool) -> Outcome:
    """Exchange the roles, unless finishing or undoing what an earlier run left has brought about what is wanted:
    a takeover that is run again must not give the role away."""
    # before-demote has stopped what they would bring to rest, and would find gone.
    session.quiesces = False
    try:
        view = prepare(session, open_pair(session, name, wait=ROLE_SECONDS))
    except UnreachableError as error:
        # One that answers, if only to refuse, is not gone: the disaster's command would make a second master.
        if become_master and not re.search("denied|verification|refused", error.evidence):
            error.advice = f"if it is gone for good: zrep takeover -L {quote(name)}"
        raise
    if bool(view.mine.role.master) is become_master:
        converge_all(session, view)
        return Outcome(name, message=f"finished the role change: {_where(view)}")
    if session.options.dry_run:
        ahead = preflight(session, view, insist=change.insist)
        if ahead.blockers:
            return Outcome(name, message=ahead.text, notes=ahead.notes, blockers=ahead.blockers)
    else:
        ahead = Preflight(obstacles(view, insist=change.insist))
    for blocker in ahead.blockers:
        raise blocker.about(name)
    view = _prepare_and_commit(session, view, change)
    view = _handed_over(session, view)
    amount = f"; {ahead.text}" if ahead.text else ""
    return Outcome(name, message=f"role moved: {_where(view)}{amount}", notes=ahead.notes)


def _prepare_and_commit(session: Session, view: View, change: RoleChange) -> View:
    """All up to the commit, and the commit. Whatever undoes it on the way tells the hooks so."""
    generation = session.new_identity()
    try:
        _ask_hooks(session, view)
        view = _presync(session, view)
    except (ZrepError, KeyboardInterrupt):
        hooks.take_back(session, view)
        raise
    return _commit(session, _quiesced(session, view, change, generation), generation)


def _ask_hooks(session: Session, view: View) -> None:
    """Each side's own programs may say no while nothing has been changed."""
    role = view.pair.source.role
    epoch = next_epoch(role, view.pair.target.role)
    master, replica = view.pair.source.name, view.pair.target.name
    hooks.ask(session, view.executor.source, "before-demote", master, (role.dest_host, role.dest_fs), epoch)
    hooks.ask(session, view.executor.target, "before-promote", replica, (role.src_host, role.src_fs), epoch)


def _handed_over(session: Session, view: View) -> View:
    """After the commit. The new master first: writes may resume while the old one is still being told. Hooks come last,
    they may take the link away; each half that went well hears of it, the run that mends the other tells the rest."""
    old, new = view.pair.source, view.pair.target
    session.leaves = f"the role has moved: {new.name} on {view.executor.target.name} is master now"
    opened = _try_open(session, view)
    closed = None
    try:
        try:
            view.do(plan_demote(view.pair))
        except ZrepError as error:
            closed = error
        if trouble := opened or closed:
            raise trouble
        turned = read_turned(session, read_again(session, view))
        for lane in turned.lanes:
            if late := diagnose_data(view.tag, lane.lane.source, lane.lane.target):
                raise late.error(lane.name)
        converge_all(session, turned)
        if turned.link.role.recursive:
            record_set(session, turned)
        remember_synced(session, [turned])
        return turned
    finally:
        if closed is None:
            hooks.tell(session, view.executor.source, "after-demote", old.name, replace(new.role, master=False))
        if opened is None:
            hooks.tell(session, view.executor.target, "after-promote", new.name, new.role)


def _try_open(session: Session, view: View) -> ZrepError | None:
    """A new master that cannot be mounted, or asked, is master all the same: the old one is told first, the person
    then."""
    try:
        open_master(view, End.TARGET)
    except ZrepError as error:
        host = view.executor.target.name
        lost = isinstance(error, UnreachableError)
        return (UnreachableError if lost else FailedError)(
            f"{view.pair.target.name} on {host} is master now, but could not be made available",
            filesystem=view.name,
            evidence=error.line(),
            advice="run this again, or let cron's sync do it"
            if lost
            else f"mend that, then on {host}: zrep sync '{view.pair.target.name}'",
        )
    return None


def _where(view: View) -> str:
    role = view.mine.role
    return f"master is {role.src_host}:{role.src_fs}, epoch {role.epoch}"


def _presync(session: Session, view: View) -> View:
    """Send while the master still takes writes, until what is left is small. What is new in a tree, or was renamed, has
    its place on the replica before: then what stands in its way there is looked at once more."""
    if view.link.role.recursive:
        view = _advanced(session, view)
        for blocker in blockers(view):
            raise blocker.about(view.name)
    for _ in range(_PRESYNC_ROUNDS):
        advances = [plan_advance(lane.lane, lane.here) for lane in view.lanes]
        if all(x.pending is None for x in advances) and sum(x.written for x in advances) <= _SMALL_DELTA:
            break
        if view.link.role.recursive:
            view = _advanced(session, view)
        else:
            view, _ = sync_view(session, view)
            view = read_again(session, view, sync_txg=True)
    return view


def _advanced(session: Session, view: View) -> View:
    """A tree brought up to date, and every lane of it locked under the name that it has now."""
    from zrep.ops.sync_tree import advance_tree  # a pair that is no tree never needs it

    view = advance_tree(session, view)
    if taken := lock_lanes(session, view.lanes):
        raise busy(taken[0])
    return view


def _quiesced(session: Session, view: View, change: RoleChange, generation: str) -> View:
    """Master read-only, its final snapshot on the replica, nothing written after it. Any failure undoes all of it."""
    old = view.pair.source.name
    session.leaves = f"{old} on {view.executor.source.name} is read-only until the role change is finished or undone"
    try:
        for step in plan_quiesce(view.pair, generation):
            _quiesce_step(session, view, step, change)
        # Nobody can open a volume to write to it any more: who did since the first look is found now.
        for open_volume in open_volumes(view, insist=change.insist):
            raise open_volume.about(view.name)
        view.do(plan_final_snapshot(view.pair))
        view = after_snapshots(session, [view], held=False).get(view.name, view)
        view, finals = send_final(session, view)
        for lane, final in zip(view.lanes, finals, strict=True):
            _check_final(lane, final)
        # The final streams may have brought other keys: found now, it can all be undone.
        keys = unusable_keys(view.executor.target, [lane.lane.target for lane in view.lanes])
        for lane in view.lanes:
            if error := keys.get(lane.lane.target.name):
                raise error.about(lane.name)
        for blocker in cannot_insist(view) if change.insist else ():
            raise blocker.about(view.name)  # who had a file open has mapped it since
    except (ZrepError, KeyboardInterrupt) as error:
        _undo(session, view, error)
        raise
    return view


def _undo(session: Session, view: View, error: BaseException) -> None:
    """Before the commit: back to how it was. With the peer lost, this host's half alone: as long as the commit is
    not written down, no promotion was ever asked for, so there is none to cancel."""
    try:
        view = read_again(session, view)
        begun = view.pair.source.role.intent
        if begun is not None:
            view.do(plan_abort(view.pair, begun))
        session.leaves = ""
        hooks.take_back(session, view)
    except UnreachableError as lost:
        if view.link.is_master:
            view = read_again(session, view, End.SOURCE)
            begun = view.pair.source.role.intent
            if begun is not None:
                view.do(plan_undo(End.SOURCE, view.pair.source, view.tag, begun))
            session.leaves = ""
            hooks.take_back(session, view)
        elif isinstance(error, ZrepError):
            start, own = ("", view.name) if view.link.drives else (f"on {view.link.peer_host}: ", view.theirs.name)
            error.advice = f"{start}zrep sync '{own}' makes it writable again"
        if isinstance(error, ZrepError) and not isinstance(error, UnreachableError):
            raise lost.about(view.name) from error


def _quiesce_step(session: Session, view: View, step: Step, change: RoleChange) -> None:
    error = view.executor.try_do(step)
    for _ in range(_BUSY_TRIES if isinstance(step, RemountReadOnly) else 0):
        if not isinstance(error, zfs_errors.OccupiedError):
            break
        session.sleep(_BUSY_PAUSE)
        error = view.executor.try_do(step)
    if error is None:
        return
    if isinstance(step, ReplayLog) and not isinstance(error, UnreachableError):
        raise _not_replayed(view.executor.source, step.dataset, error).about(view.name)
    if not isinstance(step, RemountReadOnly) or isinstance(error, UnreachableError | RefusedError):
        raise error
    if not change.insist:
        users = view.executor.source.ask(ReadUsers(step.dataset))
        refusal = being_written(view.executor.source, step.dataset, users).about(view.name)
        refusal.what += "; nothing was changed"
        refusal.evidence = refusal.evidence or error.evidence
        refusal.advice = refusal.advice.replace("writer", "writer and run this again", 1)
        raise refusal
    for blocker in cannot_insist(view):
        raise blocker.about(view.name)
    # The readonly=on that comes next stops every write through the files that are open. An unmount, which would take
    # children along, would fail while they are: Linux unmounts nothing with open files, by force or not.
    session.say(f"{view.name}: it becomes read-only under those that have files open to write")


def _not_replayed(host: Host, dataset: str, error: ZrepError) -> RefusedError:
    """The refusal of a role change whose final snapshot might lack what was acknowledged before a crash, or whose
    master somebody writes to in a mount namespace of his own."""
    elsewhere = host.ask(ReadUsers(dataset)).elsewhere
    return RefusedError(
        f"{dataset} is not mounted on {host.name}, nor can it be for a moment, and what a crash left in its intent log "
        "would be lost; nothing was changed",
        evidence=", ".join(elsewhere) or error.evidence or error.what,
        advice="stop what has it mounted elsewhere, and run this again"
        if elsewhere
        else f"on {host.name}: zfs mount {quote(dataset)} says why",
    )


def _check_final(view: View, final: Snapshot) -> None:
    """The whole promise of a planned role change: the target has the final snapshot, nothing came after it."""
    here = view.lane.source.by_guid(final.guid)
    there = view.lane.target.by_guid(final.guid)
    if here is None or there is None:
        raise FailedError("the final snapshot is not on both sides", filesystem=view.name)
    written = view.lane.source.written_since(here)
    if written:
        raise FailedError(
            "the master was written to after the final snapshot",
            filesystem=view.name,
            evidence=f"{size(written)} although read-only; a mapped file, or someone set readonly off",
            advice="stop the writer and run this again",
        )


def _commit(session: Session, view: View, generation: str) -> View:
    """From the commit mark on only the peer's word ends it: done, or surely not done."""
    intent = view.pair.source.role.intent
    if intent is None or intent.identity != generation:
        raise FailedError("the record of this role change is gone", filesystem=view.name)
    mark, take = plan_commit(view.pair, intent)
    assert isinstance(take, TakeRole)
    try:
        view.do([mark])
    except ZrepError as error:
        _undo(session, view, error)  # whether it landed or not: nobody was asked to take the role
        raise
    said = ""
    try:
        said = view.executor.take_role(take)
        if not said:
            return view.after(take)
        view = read_again(session, view)
    except RefusedError:
        # The guard on the other side said no before it changed anything.
        view.do(plan_abort(view.pair, intent))
        hooks.take_back(session, view)
        raise
    except UnreachableError as error:
        error.about(view.name).advice = (
            f"run this again, or let cron's sync do it: {view.pair.source.name} stays read-only until "
            f"{view.executor.target.name} says whether it took the role"
        )
        raise
    if view.pair.target.role.gen == generation and view.pair.target.role.master:
        return view
    # A set that failed can have landed in part: what was read back decides, not its exit status.
    view.do(plan_abort(view.pair, intent))
    hooks.take_back(session, view)
    raise FailedError("the replica could not take the role", filesystem=view.name, evidence=said)
