"""What every operation does first: is this pair healthy, and can what a crashed run left be finished?"""

from __future__ import annotations

from shlex import quote

from zrep.core.dataset import Value
from zrep.core.errors import RefusedError, ZrepError
from zrep.core.pair import End
from zrep.core.plan_data import plan_adopt
from zrep.core.plan_record import clear_intent, plan_whole
from zrep.core.plan_role import plan_abort, plan_demote, plan_open, plan_restore, plan_stop
from zrep.core.relation import Adoptable, Interrupted, Linked, PeerStale, SplitBrain, Stale
from zrep.core.steps import InheritProperty
from zrep.ops import hooks
from zrep.ops.pairs import Session, View
from zrep.ops.read import read_all_properties

_REPLICA = Value("no", "local")


def prepare(session: Session, view: View) -> View:
    """The view of a healthy pair, after finishing or undoing what an earlier run left. RefusedError with the
    verdict when the two sides do not belong together."""
    view = finish(session, view)
    advice = _advice(view)
    match view.relation:
        case Linked():
            return adopt(session, view)
        case Adoptable():
            return adopt(session, view)
        case Stale():
            raise stale_master(session, view)
        case PeerStale():
            raise RefusedError(
                f"the old master {view.theirs.name} on {view.link.peer_host} has not rejoined",
                filesystem=view.name,
                evidence=view.relation.evidence(),
                advice=advice,
            )
        case SplitBrain():
            raise RefusedError(
                "split brain: both sides were made master",
                filesystem=view.name,
                evidence=view.relation.evidence() + _stop(session, view),
                advice=advice,
            )
        case Interrupted():
            raise RefusedError(
                "neither side is master",
                filesystem=view.name,
                evidence=view.relation.evidence(),
                advice=advice,
            )
    session.check_rejoining(view.link)
    raise RefusedError(
        f"{view.theirs.name} on {view.link.peer_host} is not the other half of this pair",
        filesystem=view.name,
        evidence=view.relation.evidence(),
        advice=f"zrep status {quote(view.name)}; {advice}",
    )


def _advice(view: View) -> str:
    return view.relation.advice(view.name, view.link.peer_host, view.theirs.name)


def finish(session: Session, view: View) -> View:
    """Finish or undo a role change that was cut short, from whichever side this runs on.

    Both locks are held, so no late request of the earlier run is still alive: what the peer says now is final.
    """
    intent = view.pair.source.role.intent
    if intent is not None and intent.operation == "failover":
        if view.pair.target.role.gen == intent.identity:
            promoted = view.pair.target.role
            view.do(plan_demote(view.pair))
            view = session.turned(session.again(view))
            session.say(f"{view.name}: finished the role change to epoch {promoted.epoch}")
            old = view.pair.target
            hooks.tell(session, view.executor.target, "after-demote", old.name, old.role)
        elif isinstance(view.relation, Linked):
            view.do(plan_abort(view.pair, intent))
            view = session.again(view)
            session.say(f"{view.name}: undid an unfinished role change")
            hooks.take_back(session, view)
    told = view.pair.target.role
    record = told.intent
    moved = record is not None and (record.operation, record.identity) == ("failover", view.mine.role.gen)
    if view.mine.role.master and told.master and moved:
        # The old master is the other side: this one took the role and was cut before it could tell.
        view = _demote_old_master(session, view)
    intent = view.pair.source.role.intent
    if intent is not None and intent.operation == "stopped" and isinstance(view.relation, Linked):
        if other := _replica_of(view):
            view.do([clear_intent(End.SOURCE, view.pair.source.name, session.tag)])
            session.say(f"{view.name}: it stays read-only, as the replica it is under the tag {other}")
        else:
            view.do(plan_restore(End.SOURCE, view.pair.source, view.tag, intent))
            session.say(f"{view.name}: it is the master after all, and writable again")
        view = session.again(view, End.SOURCE)
    for unit, side in ((view.pair.source, End.SOURCE), (view.pair.target, End.TARGET)):
        if unit.role.partially_applied:
            view.do(plan_whole(side, unit, session.tag))
            view = session.again(view)
        if unit.role.intent and unit.role.intent.operation == "promote" and unit.role.master:
            open_master(session, view, side)
            view = session.again(view)
            opened = view.pair.at(side)
            hooks.tell(session, view.executor.host(side), "after-promote", opened.name, opened.role)
    left = view.pair.target.role.intent
    if left is not None and left.operation == "follow" and isinstance(view.relation, Linked):
        # Demoted and cut before anybody was told.
        old = view.pair.target
        hooks.tell(session, view.executor.target, "after-demote", old.name, old.role)
        view.do([clear_intent(End.TARGET, old.name, session.tag)])
        view = session.again(view, End.TARGET)
    if view.pair.source.role.alone and isinstance(view.relation, Linked):
        view.do([InheritProperty(End.SOURCE, (view.pair.source.name,), f"{session.tag}:alone")])
        view = session.again(view, End.SOURCE)
    return view


def _replica_of(view: View) -> str:
    """Another tag under which the master is a replica: its role may have moved while this pair was stopped."""
    name = view.pair.source.name
    roles = read_all_properties(view.executor.source, name).items()
    others = [key.removesuffix(":master") for key, value in roles if key.endswith(":master") and value == _REPLICA]
    return next((tag for tag in others if tag != view.tag), "")


def _demote_old_master(session: Session, view: View) -> View:
    """Demote the old master from the new one's side: the steps are those of the role change, whose source it was."""
    old = view.turned
    old.do(plan_demote(old.pair))
    session.say(f"{view.name}: finished the role change to epoch {view.mine.role.epoch}")
    view = session.again(view)
    hooks.tell(session, view.executor.target, "after-demote", view.theirs.name, view.theirs.role)
    return view


def open_master(session: Session, view: View, side: End) -> None:
    """A side that has the role: writable, mounted, shared, and its intent ended."""
    view.do(plan_open(side, view.pair.at(side), session.tag))


def adopt(session: Session, view: View) -> View:
    """A pair of the shell zrep gets its first generation."""
    if view.pair.source.role.gen and view.pair.target.role.gen:
        return view
    view.do(plan_adopt(view.pair, session.new_identity()))
    return session.again(view)


def stale_master(session: Session, view: View) -> ZrepError:
    """I am an old master: create nothing, stop writes, and say what to do."""
    return RefusedError(
        f"the master role has moved to {view.theirs.name} on {view.link.peer_host}",
        filesystem=view.name,
        evidence=view.relation.evidence() + _stop(session, view),
        advice=_advice(view),
    )


def _stop(session: Session, view: View) -> str:
    """Make my side read-only if it claims to be master; what to add to the evidence."""
    plan = plan_stop(End.SOURCE, view.mine, session.tag) if view.mine.role.master else ()
    if not plan:
        return ""
    session.alone().do_all(plan)
    return "; it would become read-only here" if session.options.dry_run else "; it is read-only here now"
