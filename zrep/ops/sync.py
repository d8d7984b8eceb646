"""sync: bring replicas up to date. And what every operation does first: finish what a crashed run left."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from zrep.core.errors import BusyError, FailedError, RefusedError, UnreachableError, ZrepError
from zrep.core.names import memory_key, pool_of
from zrep.core.plan import (
    Advance,
    new_snapshot,
    plan_abort,
    plan_adopt,
    plan_advance,
    plan_another_name,
    plan_converge,
    plan_demote,
    plan_open,
    plan_restore,
    plan_stop,
    plan_stream,
    plan_whole,
)
from zrep.core.relation import Adoptable, Interrupted, Linked, PeerStale, SplitBrain, Stale
from zrep.core.state import Role, Side, Snapshot, newest_common
from zrep.core.steps import DestroySnapshots, Hold, Release, Rollback, Step, TakeSnapshot
from zrep.ops import hooks
from zrep.ops.session import Link, Outcome, Session, View, misfit
from zrep.system import zfs
from zrep.system.execute import Line

# Below this share of the pool free, a new snapshot would pin space that the master's writers need more.
_FLOOR_PERCENT = 1
# A run sends what an earlier one left, then what was written since: two rounds reach the end.
_ROUNDS = 3


def sync(session: Session, names: Sequence[str]) -> list[Outcome]:
    """Sync the named filesystems, or every master here when names is empty (``all``)."""
    everything = not names
    outcomes: list[Outcome] = []
    links: list[Link] = []
    if everything:
        for name, role in session.roles().items():
            if unusable := misfit(name, role):
                outcomes.append(Outcome(name, error=unusable.about(name)))
            elif role.master:
                links.append(Link(name, role))
    for name in names:
        try:
            links.append(_master_link(session, name))
        except ZrepError as error:
            outcomes.append(Outcome(name, error=error.about(name)))
    by_peer: dict[str, list[Link]] = {}
    for link in links:
        if link.role.paused:
            outcomes.append(_paused(link, everything))
        else:
            by_peer.setdefault(link.peer_host, []).append(link)
    # No peer waits for another: one that is down or slow delays only its own.
    peers = [partial(_sync_peer, session, host, group, everything) for host, group in by_peer.items()]
    for found in session.side_by_side(peers, max(1, len(peers)) if session.options.jobs > 1 else 1):
        outcomes += found
    return outcomes


def _master_link(session: Session, name: str) -> Link:
    link = session.link(name)
    if not link.is_master:
        raise RefusedError(
            "it is a replica here",
            filesystem=name,
            evidence=f"{session.tag}:master is not yes",
            advice=f"run it on {link.peer_host}, or make this side the master: zrep takeover {name}",
        )
    return link


def _paused(link: Link, everything: bool) -> Outcome:
    return Outcome(
        link.name,
        message=f"paused: {link.role.paused}",
        error=None
        if everything
        else RefusedError(
            "it is paused", filesystem=link.name, evidence=link.role.paused, advice=f"zrep unpause {link.name}"
        ),
        skipped=everything,
    )


def _sync_peer(session: Session, host: str, links: list[Link], everything: bool) -> list[Outcome]:
    """All pairs with one peer over one connection; with the peer down: one attempt, one line, no snapshot."""
    try:
        busy = set(session.lock(links, 0.5 if everything else 2.0))
        found = session.views([link for link in links if link.name not in busy]) if len(busy) < len(links) else []
    except UnreachableError as error:
        return _unreachable(links, error)
    except ZrepError as error:
        return [Outcome(link.name, error=error.about(link.name)) for link in links]
    outcomes = [_busy(session, link, everything) for link in links if link.name in busy]
    outcomes += [item for item in found if isinstance(item, Outcome)]
    ready: list[View] = []
    for view in (item for item in found if isinstance(item, View)):
        try:
            view = prepare(session, view)
            if view.link.is_master:
                ready.append(view)
            else:
                outcomes.append(_now_replica(session, view))
        except ZrepError as error:
            outcomes.append(Outcome(view.name, error=error.about(view.name)))
    return outcomes + _advance_all(session, ready)


def _now_replica(session: Session, view: View) -> Outcome:
    """Finishing what was cut has made this side the replica: the other one's sync sends from now on."""
    view.converge(plan_converge(view.pair, session.now, expire=session.options.expire))
    session.unlock([view.link])
    return Outcome(view.name, message=f"finished the role change: {view.link.peer_host}:{view.theirs.name} is master")


def _unreachable(links: list[Link], error: UnreachableError) -> list[Outcome]:
    """One line for the peer, whatever the number of filesystems."""
    if len(links) > 1:
        error.evidence += f"; {len(links)} filesystems wait, no snapshot was made"
    else:
        error.about(links[0].name)
    return [Outcome(links[0].name, error=error)] + [Outcome(link.name, skipped=True) for link in links[1:]]


def _busy(session: Session, link: Link, everything: bool) -> Outcome:
    error = BusyError("busy", filesystem=link.name, evidence="another zrep or a stream of ours is working on it")
    key = memory_key(session.tag, link.name)
    recent = session.local.recall([key]).get(key, {}).get("synced", 0)
    fresh = isinstance(recent, int) and session.now - recent <= session.options.quiet
    return Outcome(link.name, error=error, skipped=everything or fresh)


# --- before anything else: is this pair healthy, and can what is unfinished be finished? ---


def prepare(session: Session, view: View) -> View:
    """The view of a healthy pair, after finishing or undoing what an earlier run left. RefusedError with the
    verdict when the two sides do not belong together."""
    if session.options.dry_run and any(_unfinished(unit.role) for unit in (view.mine, view.theirs)):
        raise RefusedError(
            "a role change is unfinished", filesystem=view.name, advice="run this without -n to finish or undo it"
        )
    if not session.options.dry_run:
        view = finish(session, view)
    match view.relation:
        case Linked():
            return adopt(session, view)
        case Adoptable():
            return adopt(session, view)
        case Stale():
            raise step_back(session, view)
        case PeerStale():
            raise RefusedError(
                f"the old master {view.theirs.name} on {view.link.peer_host} has not rejoined",
                filesystem=view.name,
                evidence=view.relation.evidence(),
                advice=f"on {view.link.peer_host}: zrep rejoin {view.theirs.name}",
            )
        case SplitBrain():
            raise RefusedError(
                "split brain: both sides were made master",
                filesystem=view.name,
                evidence=view.relation.evidence() + _stop(session, view),
                advice="decide which side to keep; on the other one: zrep rejoin -f FS",
            )
        case Interrupted():
            raise RefusedError(
                "neither side is master",
                filesystem=view.name,
                evidence=view.relation.evidence(),
                advice="on the side that has the newest data: zrep takeover -L FS",
            )
    session.check_rejoining(view.link)
    raise RefusedError(
        f"{view.theirs.name} on {view.link.peer_host} is not the other half of this pair",
        filesystem=view.name,
        evidence=view.relation.evidence(),
        advice=f"zrep status {view.name}; to start over: zrep clear, then zrep init",
    )


def _unfinished(role: Role) -> bool:
    return role.intent is not None and not role.intent.settled and role.intent.operation != "stopped"


def finish(session: Session, view: View) -> View:
    """Finish or undo a role change that was cut short, from whichever side this runs on.

    Both locks are held, so no late request of the earlier run is still alive: what the peer says now is final.
    """
    intent = view.pair.master.role.intent
    if intent is not None and intent.operation == "failover":
        if view.pair.replica.role.gen == intent.identity:
            promoted = view.pair.replica.role
            view.do(plan_demote(view.pair, promoted))
            view = session.turned(session.again(view))
            session.say(f"{view.name}: finished the role change to epoch {promoted.epoch}")
            old = view.pair.replica
            hooks.tell(session, view.executor.replica, "after-demote", old.name, old.role)
        elif isinstance(view.relation, Linked):
            view.do(plan_abort(view.pair, intent))
            view = session.again(view)
            session.say(f"{view.name}: undid an unfinished role change")
    told = view.pair.replica.role
    if view.mine.role.master and told.master and told.intent and told.intent.identity == view.mine.role.gen:
        # The old master is the other side: this one took the role and was cut before it could tell.
        view = _tell(session, view)
    intent = view.pair.master.role.intent
    if intent is not None and intent.operation == "stopped" and isinstance(view.relation, Linked):
        view.do(plan_restore(view.pair, intent))
        view = session.again(view, Side.MASTER)
        session.say(f"{view.name}: it is the master after all, and writable again")
    for unit, side in ((view.pair.master, Side.MASTER), (view.pair.replica, Side.REPLICA)):
        if unit.role.torn:
            view.do(plan_whole(side, unit, session.tag))
            view = session.again(view)
        if unit.role.intent and unit.role.intent.operation == "promote" and unit.role.master:
            open_master(session, view, side)
            view = session.again(view)
            opened = view.pair.side(side)
            hooks.tell(session, view.executor.agent(side), "after-promote", opened.name, opened.role)
    return view


def _tell(session: Session, view: View) -> View:
    """Demote the old master from the new one's side: the same steps, with the sides seen as they were before."""
    role = view.mine.role
    before = replace(
        role,
        src_host=role.dest_host,
        src_fs=role.dest_fs,
        dest_host=role.src_host,
        dest_fs=role.src_fs,
        master=False,
    )
    link = Link(view.name, before)
    old = replace(view, link=link, executor=session.executor(link))
    old.do(plan_demote(old.pair, role))
    session.say(f"{view.name}: finished the role change to epoch {role.epoch}")
    view = session.again(view)
    hooks.tell(session, view.executor.replica, "after-demote", view.theirs.name, view.theirs.role)
    return view


def open_master(session: Session, view: View, side: Side) -> None:
    """A side that has the role: writable, mounted, shared, and its intent ended."""
    view.do(plan_open(side, view.pair.side(side), session.tag))


def adopt(session: Session, view: View) -> View:
    """A pair of the shell zrep gets its first generation."""
    if view.pair.master.role.gen and view.pair.replica.role.gen:
        return view
    if session.options.dry_run:
        return view
    view.do(plan_adopt(view.pair, session.new_identity()))
    return session.again(view)


def step_back(session: Session, view: View) -> ZrepError:
    """I am an old master: create nothing, stop writes, and say what to do."""
    return RefusedError(
        f"the master role has moved to {view.theirs.name} on {view.link.peer_host}",
        filesystem=view.name,
        evidence=view.relation.evidence() + _stop(session, view),
        advice=f"zrep rejoin {view.name}",
    )


def _stop(session: Session, view: View) -> str:
    """Make my side read-only if it claims to be master; what to add to the evidence."""
    plan = plan_stop(Side.MASTER, view.mine, session.tag) if view.mine.role.master else ()
    if not plan or session.options.dry_run:
        return ""
    session.alone().do_all(plan)
    return "; it is read-only here now"


# --- moving data ---


def _advance_all(session: Session, views: list[View]) -> list[Outcome]:
    """One snapshot command for all changed filesystems of a pool, then each stream; who is finished is finished."""
    outcomes: list[Outcome] = []
    plans: list[tuple[View, Advance]] = []
    for view in views:
        try:
            back = roll_back(session, view) if session.options.force else ()
            if back and session.options.dry_run:
                outcomes.append(Outcome(view.name, lines=tuple(view.executor.lines(back))))
                continue
            if back:
                view.do(back)
                view = session.again(view, Side.REPLICA)
            plans.append((view, plan_advance(view.pair)))
        except ZrepError as error:
            outcomes.append(Outcome(view.name, error=error.about(view.name)))
    if session.options.dry_run:
        return outcomes + [_dry(session, view, advance) for view, advance in plans]
    settled = [
        (view, advance)
        for view, advance in plans
        if advance.idle and not plan_converge(view.pair, session.now, expire=session.options.expire)
    ]
    if settled:
        outcomes += _finish_settled(session, settled)
        names = {view.name for view, _ in settled}
        plans = [(view, advance) for view, advance in plans if view.name not in names]
    due = [view for view, advance in plans if not advance.pending and advance.written]
    failed = _take_snapshots(session, due)
    taken = session.again_all(due)  # with the snapshots just made, and their guids
    works = [
        partial(_finish_one, session, taken.get(view.name, view), advance, failed.get(view.name))
        for view, advance in plans
    ]
    if len(works) > 1:
        for view, _ in plans:
            view.executor.progress = None  # one line on a terminal cannot show several streams
    return outcomes + session.side_by_side(works, session.options.jobs)


def _finish_settled(session: Session, plans: Sequence[tuple[View, Advance]]) -> list[Outcome]:
    """Filesystems with nothing to do at all: for any number of them as many requests as for one."""
    views = [view for view, _ in plans]
    try:
        remember_synced(session, views)
        return [_synced(view, advance, None) for view, advance in plans]
    except UnreachableError as error:
        return _unreachable([view.link for view in views], error)
    except ZrepError as error:
        return [Outcome(view.name, error=copy.copy(error).about(view.name)) for view in views]
    finally:
        session.unlock([view.link for view in views])


def _finish_one(session: Session, view: View, advance: Advance, failed: ZrepError | None) -> Outcome:
    """One filesystem to its end; then its locks go, so that it waits for no other one's end before its next run."""
    try:
        if failed is not None:
            raise failed
        return _complete(session, view, advance)
    except ZrepError as error:
        return Outcome(view.name, error=error.about(view.name))
    finally:
        session.unlock([view.link])


def roll_back(session: Session, view: View) -> tuple[Step, ...]:
    """``sync -f``: what takes a replica that was changed by hand back to the base; what that drops is said first."""
    replica = view.pair.replica.root
    base = newest_common(replica, view.pair.master.root)
    lost = replica.written_since(base) if base else 0
    if base is None or not lost:
        return ()
    known = {snapshot.guid for snapshot in view.pair.master.root.snapshots}
    later = replica.after(base)
    # The promotion snapshot of a takeover -L that was cut is zrep's own.
    own = [s for s in later if s in replica.ours(session.tag) and s.guid not in known and s.holds <= {session.tag}]
    foreign = [snapshot for snapshot in later if snapshot not in own]
    if foreign:
        raise RefusedError(
            f"the replica has snapshots newer than the base @{base.name}",
            filesystem=view.name,
            evidence=", ".join(snapshot.name for snapshot in foreign),
            advice=f"zrep destroys nothing it did not make: remove them on {view.link.peer_host} yourself",
        )
    gone = f", and with them zrep's own {', '.join(s.name for s in own)}" if own else ""
    session.say(f"{view.name}: dropping {lost} bytes written on {replica.name} since @{base.name}{gone}")
    held = tuple(f"{replica.name}@{snapshot.name}" for snapshot in own if session.tag in snapshot.holds)
    return (
        *((Release(Side.REPLICA, session.tag, held),) if held else ()),
        *((DestroySnapshots(Side.REPLICA, replica.name, tuple(s.name for s in own)),) if own else ()),
        Rollback(Side.REPLICA, f"{replica.name}@{base.name}"),
    )


def _take_snapshots(session: Session, views: list[View]) -> dict[str, ZrepError]:
    """Snapshot and hold what was written to; atomic within a pool, so one that fails is retried one by one."""
    failed: dict[str, ZrepError] = {}
    by_pool: dict[str, list[View]] = {}
    for view in views:
        by_pool.setdefault(pool_of(view.name), []).append(view)
    for pool, group in by_pool.items():
        try:
            _check_floor(session, pool)
        except ZrepError as error:
            failed.update({view.name: error for view in group})
            continue
        for batch in [group] if _snapshot(session, group) is None else [[view] for view in group]:
            error_or_none = None if batch is group else _snapshot(session, batch)
            if error_or_none is not None:
                failed[batch[0].name] = error_or_none
    return failed


def _snapshot(session: Session, views: list[View]) -> ZrepError | None:
    names = tuple(new_snapshot(view.pair) for view in views)
    executor = views[0].executor
    taken = executor.try_do(TakeSnapshot(Side.MASTER, names))
    return taken or executor.try_do(Hold(Side.MASTER, session.tag, names))


def _check_floor(session: Session, pool: str) -> None:
    """FailedError when the master's pool is too full for a snapshot to be a kindness."""
    [done] = session.local.run([zfs.pool_free(pool)])
    if done.status != 0:
        raise zfs.error(done)
    fields = done.out.strip().split("\t")
    size, free = int(fields[1]), int(fields[2])
    if free * 100 < size * _FLOOR_PERCENT:
        raise FailedError(
            f"pool {pool} is too full for a new snapshot",
            evidence=f"{free} of {size} bytes free, the floor is {_FLOOR_PERCENT} %",
            advice="free some space",
        )


def _complete(session: Session, view: View, advance: Advance) -> Outcome:
    """Send what is due and converge; and once more for what was written after a snapshot an earlier run left."""
    sent: Snapshot | None = None
    if not advance.idle:
        view, sent = send_pending(session, view)
    view.converge(plan_converge(view.pair, session.now, expire=session.options.expire))
    if advance.pending is not None:
        for _ in range(_ROUNDS):
            view, more = sync_view(session, session.again(view, settle=True))
            if more is None:
                break
            sent = more
    remember_synced(session, [view])
    return _synced(view, advance, sent)


def _synced(view: View, advance: Advance, sent: Snapshot | None) -> Outcome:
    notes = tuple(f"{view.name}: foreign snapshot on the replica: {name}" for name in advance.foreign)
    message = f"sent @{sent.name}" if sent else "nothing written since the last sync"
    return Outcome(view.name, message=f"{message} to {view.link.peer_host}:{view.theirs.name}", notes=notes)


def remember_synced(session: Session, views: Sequence[View]) -> None:
    """When both sides of views with one peer and one direction were last known equal, for list and status; volatile."""
    record: dict[str, object] = {"synced": session.now}
    for side in Side:
        keys = [memory_key(session.tag, view.pair.side(side).name) for view in views]
        views[0].executor.agent(side).remember(keys, record)


def sync_view(session: Session, view: View) -> tuple[View, Snapshot | None]:
    """One round for one freshly read pair: snapshot if written, send, converge. The view after the stream, and
    what was sent (None: there was nothing)."""
    advance = plan_advance(view.pair)
    if advance.idle:
        return view, None
    if advance.pending is None:
        failed = _take_snapshots(session, [view])
        if failed:
            raise failed[view.name]
        view = session.again(view, Side.MASTER)
    view, sent = send_pending(session, view)
    view.converge(plan_converge(view.pair, session.now, expire=session.options.expire))
    return view, sent


def send_pending(session: Session, view: View, *, final: bool = False) -> tuple[View, Snapshot]:
    """Send the master's newest unsent snapshot on top of the base and see it arrive, by guid. Held before, or with
    final after the stream: then nothing is written any more, and both sides are read anew."""
    advance = plan_advance(view.pair)
    if advance.pending is None:
        raise FailedError("the snapshot that was just made is gone", filesystem=view.name)
    rename = plan_another_name(view.pair, advance.pending)
    if rename:
        view.do(rename)
        return send_pending(session, session.again(view, Side.MASTER), final=final)
    hold = Hold(Side.MASTER, session.tag, (f"{view.pair.master.name}@{advance.pending.name}",))
    if session.tag not in advance.pending.holds and not final:
        view.do([hold])
    for step in plan_stream(view.pair, advance.base, advance.pending, read_token(view), view.pair.replica.root.token):
        view.executor.do(step, view.pair.replica.role.gen)
    if final:
        view.do([hold])  # waits for a transaction group: what was written is told truly after it
    view = session.again(view) if final else session.arrived(view)
    if view.pair.replica.root.by_guid(advance.pending.guid) is None:
        raise FailedError(
            "the replica does not have the snapshot although its receive succeeded",
            filesystem=view.name,
            evidence=f"no guid {advance.pending.guid} on {view.pair.replica.name}",
        )
    return view, advance.pending


def read_token(view: View) -> dict[str, str]:
    """What the replica's resume token stands for, as the master reads it; empty when it cannot."""
    token = view.pair.replica.root.token
    if not token:
        return {}
    [done] = view.executor.master.run([zfs.token_contents(token)])
    return dict(zfs.parse_token(done.out + done.err)) if done.status == 0 else {}


def _dry(session: Session, view: View, advance: Advance) -> Outcome:
    plan: list[Step] = []
    if advance.pending is None and advance.written:
        name = new_snapshot(view.pair)
        plan += [TakeSnapshot(Side.MASTER, (name,)), Hold(Side.MASTER, session.tag, (name,))]
        target = Snapshot(name.partition("@")[2], "", 0)
    else:
        target = advance.pending or advance.base
    if not advance.idle:
        plan += plan_stream(view.pair, advance.base, target, read_token(view), view.pair.replica.root.token)
    else:
        plan += plan_converge(view.pair, session.now, expire=session.options.expire)
    lines: tuple[Line, ...] = tuple(view.executor.lines(plan))
    return Outcome(view.name, message="" if plan else "nothing to do", lines=lines)
