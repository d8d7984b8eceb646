"""What every operation does first: is this pair healthy, and can what a crashed run left be finished?"""

from __future__ import annotations

from shlex import quote

from zrep.core.errors import FailedError, UnreachableError
from zrep.core.pair import End, Tree
from zrep.core.pair_state import DATA, Action, Diagnosis, State
from zrep.core.plan_data import plan_adopt
from zrep.core.plan_record import clear_intent, plan_complete_role, plan_places
from zrep.core.plan_role import (
    plan_abort,
    plan_cancel,
    plan_demote,
    plan_hold_unsent,
    plan_mount_excluded,
    plan_open,
    plan_restore,
    plan_stop,
)
from zrep.core.repair import Repair, next_repair
from zrep.core.steps import InheritProperty, Mount, RemountWritable, Share, Unmount
from zrep.core.tags import Roles, kept_read_only
from zrep.ops import hooks
from zrep.ops.children import keep
from zrep.ops.execute import Executor
from zrep.ops.pairs import read_again, read_turned
from zrep.ops.session import Session
from zrep.ops.tags import forget_received, roles_at
from zrep.ops.view import View
from zrep.zfs import commands

# Each is needed at most once on either side; more of them means that what is set does not stay.
_REPAIRS = 2 * len(Repair)


def prepare(session: Session, view: View) -> View:
    """The view of a healthy pair, after finishing or undoing what an earlier run left. The refusal that the state of
    the two sides is, where they do not belong together. What is wrong with the data alone is left to what moves it."""
    view = finish(session, view)
    found = view.diagnosis
    if found.state.action is Action.PROCEED or found.state in DATA:
        return adopt(session, view)
    raise found.error(view.name, _stop(session, view, found))


def finish(session: Session, view: View) -> View:
    """Finish or undo a role change that was cut short, from whichever side this runs on.

    Both locks are held, so no late request of the earlier run is still alive: what the peer says now is final.
    """
    for _ in range(_REPAIRS):
        found = _next(view)
        if found is None:
            return view
        view = _mend(session, view, *found)
    raise FailedError("what an earlier run left cannot be finished", filesystem=view.name, evidence=str(_next(view)))


def _next(view: View) -> tuple[Repair, End] | None:
    return next_repair(view.pair.source.role, view.pair.target.role)


def _mend(session: Session, view: View, repair: Repair, end: End) -> View:
    """Do one of what is left to do, about one end; the pair as it is then."""
    match repair:
        case Repair.DEMOTE:
            return _demote(session, view if end is End.SOURCE else view.turned)
        case Repair.UNDO:
            return _undo(session, view if end is End.SOURCE else view.turned)
        case Repair.RESTORE:
            return _restore(session, view, end)
        case Repair.COMPLETE:
            view.do(plan_complete_role(end, view.pair.at(end), view.tag))
            return read_again(session, view)
        case Repair.OPEN:
            if why := kept_read_only(roles_at(view, end)):
                tree = view.pair.at(end)
                view.do((*plan_complete_role(end, tree, view.tag), clear_intent(end, tree.name, view.tag)))
                session.say(f"{view.name}: it stays read-only, {why}")
                return read_again(session, view)
            open_again(session, view.executor, end, view.pair.at(end))
            view = read_again(session, view)
            opened = view.pair.at(end)
            hooks.tell(session, view.executor.host(end), "after-promote", opened.name, opened.role)
            return view
        case Repair.TELL:
            # Demoted and cut before anybody was told.
            old = view.pair.at(end)
            hooks.tell(session, view.executor.host(end), "after-demote", old.name, old.role)
            view.do([clear_intent(end, old.name, view.tag)])
            return read_again(session, view, end)
        case Repair.MET:
            view.do([InheritProperty(end, (view.pair.at(end).name,), f"{view.tag}:alone")])
            return read_again(session, view, end)


def _demote(session: Session, view: View) -> View:
    """The old master, at the source, follows the target, which took the role: whichever of them this host is."""
    epoch = view.pair.target.role.epoch
    view.do(plan_demote(view.pair))
    view = read_turned(session, read_again(session, view))
    session.say(f"{view.name}: finished the role change to epoch {epoch}")
    old = view.pair.target
    hooks.tell(session, view.executor.target, "after-demote", old.name, old.role)
    return view


def _undo(session: Session, view: View) -> View:
    """The master, at the source, goes back to how it was."""
    intent = view.pair.source.role.intent
    assert intent is not None
    if why := kept_read_only(roles_at(view, End.SOURCE)):
        source = view.pair.source
        hold = plan_hold_unsent(End.SOURCE, source, view.tag)
        view.do([plan_cancel(view.pair, intent), *hold, clear_intent(End.SOURCE, source.name, view.tag)])
        session.say(f"{view.name}: it stays read-only, {why}")
    else:
        view.do(plan_abort(view.pair, intent))
    view = read_again(session, view)
    session.say(f"{view.name}: undid an unfinished role change")
    hooks.take_back(session, view)
    return view


def _restore(session: Session, view: View, end: End) -> View:
    tree = view.pair.at(end)
    assert tree.role.intent is not None
    if why := kept_read_only(roles_at(view, end)):
        view.do([clear_intent(end, tree.name, view.tag)])
        session.say(f"{view.name}: it stays read-only, {why}")
    else:
        view.do(plan_restore(end, tree, view.tag, tree.role.intent))
        session.say(f"{view.name}: it is the master after all, and writable again")
    return read_again(session, view, end)


def open_master(view: View, end: End) -> None:
    """Make the tree at an end, which has the role, writable, mount and share it, and clear its intent."""
    view.do(plan_open(end, view.pair.at(end), view.tag))


def open_again(session: Session, executor: Executor, end: End, tree: Tree) -> None:
    """The same once more, where it failed before. A role that has moved does not depend on a mount: what still cannot
    be mounted or shared is told with its command, and the intent ended all the same."""
    for step in (*plan_open(end, tree, session.tag), *plan_mount_excluded(end, tree)):
        if not isinstance(step, Mount | RemountWritable | Share | Unmount):
            executor.do(step)
        elif error := executor.try_do(step):
            if isinstance(error, UnreachableError):
                raise error
            command = " ".join(map(quote, commands.command(step)))
            session.warn(
                f"{tree.name} is master on {executor.host(end).name}, but not available: {error.line()}; "
                f"then on {executor.host(end).name}: {command}"
            )


def adopt(session: Session, view: View) -> View:
    """A pair of the shell zrep gets its first generation, one that was made before the places of its halves."""
    if places := plan_places(view.pair):
        view.do(places)
        view = read_again(session, view)
    if view.pair.source.role.gen and view.pair.target.role.gen:
        return view
    forget_received(view.executor, view.tag, view.pair.target.name)
    view.do(plan_adopt(view.pair, session.new_identity()))
    return read_again(session, view)


def _stop(session: Session, view: View, found: Diagnosis) -> str:
    """Make a side read-only that claims to be master and cannot be shown to be the right one; what to add to the
    evidence. Each host does so for its own; for one that never dials, the other one does."""
    ends = [view.here] if found.state.action is Action.STOP_WRITES and view.mine.role.master else []
    doubted = found.state is State.PEER_STALE or found.state is State.SPLIT_BRAIN
    if doubted and view.theirs.role.master and view.theirs.role.only_dialled:
        ends.append(view.here.other)
    return "".join(_stop_at(session, view, end) for end in ends)


def _stop_at(session: Session, view: View, end: End) -> str:
    host = view.executor.host(end)
    if not stop(session, session.alone(host), view.pair.at(end), roles_at(view, end)):
        return ""
    where = "here" if end is view.here else f"on {host.name}"
    return f"; it would become read-only {where}" if session.options.dry_run else f"; it is read-only {where} now"


def stop(session: Session, own: Executor, tree: Tree, others: Roles) -> bool:
    """Make a master read-only that cannot be shown to be the right one, what it was recorded; False where it was
    before. own: an executor for its host; others: its roles under other tags."""
    plan = plan_stop(End.SOURCE, tree, session.tag, others)
    by_another = tree.members[0].readonly
    if plan and not by_another:
        keep(session, own, End.SOURCE, tree, "on")
    own.do_all(plan)
    return bool(plan) and not by_another
