"""Moving what has changed of several pairs to one peer: a snapshot for all of a pool, a stream each, and what they
have brought is finished in batches."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from shlex import join, quote
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.dataset import PoolSpace, Snapshot
from zrep.core.errors import NotAdmittedError, RefusedError, UnreachableError, ZrepError
from zrep.core.names import memory_key
from zrep.core.notes import Note
from zrep.core.pair import End
from zrep.core.plan_data import Advance, plan_advance, plan_roll_back
from zrep.core.quantities import size
from zrep.core.requests import Grant, Remember
from zrep.core.steps import Step
from zrep.host.parallel import GroupCommit
from zrep.ops.advance import (
    converge,
    see_arrivals,
    sync_view,
    take_snapshots,
)
from zrep.ops.locking import busy, unlock
from zrep.ops.memory import remember_synced
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import after_snapshots, read_again
from zrep.ops.properties import followed
from zrep.ops.read import observe
from zrep.ops.session import Session
from zrep.ops.streams import Ready, bring, in_sessions, pools, ready
from zrep.ops.tree import Arrival, lock_lanes, wait_for_parent
from zrep.ops.view import Link, View
from zrep.zfs import commands

Answer = TypeVar("Answer")

# A run sends what an earlier one left, then what was written since: two rounds reach the end.
ROUNDS = 3
# At once, to one peer and for one processor.
_STREAMS = 4
# Seconds that what a stream has brought waits for the streams beside it: about what a transaction group takes, and
# each that comes along saves three.
_LINGER = 0.1


def share(processors: int, peers: int) -> int:
    """Streams at once to each of so many peers, where nobody has said: a stream mostly waits, for the wire and for
    transaction groups, so that a processor feeds several; sshd allows 10 sessions of a connection. At least two, so
    that one that is slow does not keep the others waiting."""
    return max(2, min(_STREAMS, _STREAMS * processors // max(1, peers)))


def rounds(view: View) -> int:
    """So many it takes at most: where all snapshots travel, one for each."""
    return ROUNDS + sum(len(s.snapshots) for s in view.pair.source.members if s.role.all_snapshots)


class Limits(Struct, frozen=True):
    """What bounds a run over one peer. jobs: so many streams are under way at a time, which streams counts for all its
    pairs and trees; pool_space: how full pools are, as far as it was asked for already."""

    jobs: int
    streams: threading.Semaphore
    pool_space: Mapping[str, PoolSpace]


class _Due(Struct, frozen=True):
    """A pair whose newest snapshot is to be sent, and what its sync has to move. failed: why there is no snapshot."""

    view: View
    advance: Advance
    failed: ZrepError | None

    @property
    def name(self) -> str:
        return self.view.name


class _Arrived(Struct, frozen=True):
    """A pair whose stream has ended. last: nothing is left to send that its snapshot does not have."""

    view: View
    sent: Snapshot
    last: bool


class _Shared(Struct, frozen=True):
    """What the filesystems of one peer share. streams: so many sessions are open at a time; batches: what streams have
    brought, by the pools they are between, so that one that is slow delays no other; coming: the datasets that a first
    stream is to make, by name there: what is below one waits for it."""

    streams: threading.Semaphore
    batches: Mapping[tuple[str, str], GroupCommit[_Arrived]]
    coming: Mapping[str, Arrival]


def advance_all(session: Session, views: list[View], limits: Limits) -> list[Outcome]:
    """One snapshot command for all changed filesystems of a pool, then each stream; who is finished is finished."""
    outcomes: list[Outcome] = []
    plans: list[tuple[View, Advance]] = []
    for view in views:
        try:
            back = roll_back(session, view) if session.options.force else ()
            if back:
                _go_back(view, back)
                # Nothing is written to it now. ZFS may count some all the same, 8192 bytes where an intent log was
                # claimed after a power loss (seen on OpenZFS 2.3.2).
                view = read_again(session, view, End.TARGET).after(back[-1])
            advance = plan_advance(view.lane, view.here)
            if not (session.options.take or advance.pending):
                advance = replace(advance, written=0)
            view = followed(session, view)
            # After a rollback something is sent even if nothing was written: only a stream makes ZFS count from 0.
            plans.append((view, replace(advance, written=max(1, advance.written)) if back else advance))
        except ZrepError as error:
            outcomes.append(Outcome(view.name, error=error.about(view.name)))
            unlock(session, view.link)
    moving = [(view, advance) for view, advance in plans if not advance.idle]
    taken_by_others = lock_lanes(session, [view for view, _ in moving])
    outcomes += [Outcome(view.name, error=busy(view.name)) for view, _ in moving if view.name in taken_by_others]
    plans = _under_locks(session, [(view, advance) for view, advance in plans if view.name not in taken_by_others])
    moving = [(view, advance) for view, advance in plans if not advance.idle]
    outcomes += _stand_still(session, [(view, advance) for view, advance in plans if advance.idle])
    try:
        refused = _grant(session, moving)
    except UnreachableError as error:
        unlock(session, *(view.link for view, _ in moving))
        return outcomes + each_failed([view.link for view, _ in moving], error)
    for view in [view for view, _ in moving if _root(view) in refused]:
        outcomes.append(Outcome(view.name, error=copy.copy(refused[_root(view)]).about(view.name)))
        unlock(session, view.link)
    moving = [(view, advance) for view, advance in moving if _root(view) not in refused]
    _announce(session, moving)
    due = [view for view, advance in moving if not advance.pending]
    failed = take_snapshots(session, due, limits.pool_space)
    # With the snapshots just made, and their guids.
    taken = after_snapshots(session, [view for view in due if view.name not in failed])
    shared = _Shared(
        limits.streams,
        {pools(view): GroupCommit(partial(_converge, session), _LINGER) for view, _ in moving},
        {view.pair.target.name: Arrival() for view, advance in moving if advance.base is None},
    )
    group = [_Due(taken.get(view.name, view), advance, failed.get(view.name)) for view, advance in moving]
    sessions = in_sessions([due.view for due in group], limits.jobs, shared.coming)
    works = [partial(_finish, session, [group[number] for number in numbers], shared) for numbers in sessions]
    # While some wait for their batch, others stream.
    found = session.side_by_side(works, 4 * limits.jobs if limits.jobs > 1 else 1)
    return [*outcomes, *chain.from_iterable(found)]


def _under_locks(session: Session, plans: list[tuple[View, Advance]]) -> list[tuple[View, Advance]]:
    """The same, of what an earlier run had begun to send as its target is under the lock of the lane: the receive of
    that run may have gone on, or come to its end, since its tree was read. With the roots: theirs is the role by which
    what only looks written to is known, as after a power loss."""
    lanes = [view for view, advance in plans if view.link.borrowed and advance.pending and not session.options.force]
    if not lanes:
        return plans
    names = [view.pair.target.name for view in lanes]
    roots = [_root_there(view) for view in lanes]
    found = observe(lanes[0].executor.target, session.tag, list(dict.fromkeys([*roots, *names])))
    now = {view.name: view.with_target(found[name]) for view, name in zip(lanes, names, strict=True) if name in found}
    return [
        (now[view.name], plan_advance(now[view.name].lane, view.here)) if view.name in now else (view, advance)
        for view, advance in plans
    ]


def _stand_still(session: Session, plans: list[tuple[View, Advance]]) -> list[Outcome]:
    """Those to which nothing was written: what is left to converge, then all of them are remembered and given back
    in as many requests as one."""
    failed = converge(session, [view for view, _ in plans])
    outcomes = [Outcome(name, error=error.about(name)) for name, error in failed.items()]
    well: list[View] = []
    for view, advance in plans:
        if view.name not in failed:
            well.append(view)
            message = f"nothing written since the last sync {view.way}"
            outcomes.append(Outcome(view.name, message=message, notes=_foreign(view, advance)))
    try:
        remember_synced(session, [view for view in well if not view.link.within])
    except UnreachableError as error:  # lost at the very end: nothing is missing there, but nobody can say so
        outcomes = [outcome for outcome in outcomes if outcome.error]
        outcomes += each_failed([view.link for view in well], error)
    finally:
        unlock(session, *(view.link for view, _ in plans))
    return outcomes


def _root(view: View) -> str:
    """What of this host gets its snapshots at one moment: the root of a tree, or a filesystem alone."""
    return view.link.within or view.name


def _root_there(view: View) -> str:
    """The same of what its streams go to."""
    return view.executor.root or view.pair.target.name


def _grant(session: Session, plans: Sequence[tuple[View, Advance]]) -> dict[str, ZrepError]:
    """Have the replicas' host look once more at what they are, and let their streams in: one request for all. A peer
    that is lost by now is noticed before there is a snapshot, and so is one whose gate lets no stream in: those, by
    their root here. One that is not let in for what it is, is asked for at its turn."""
    if not plans:
        return {}
    replicas = {view.pair.target.name: view.pair.target.role.gen for view, _ in plans}
    roots = {view.pair.target.name: _root_there(view) for view, _ in plans}
    try:
        granted = plans[0][0].executor.target.ask(Grant(session.tag, replicas, roots))
    except UnreachableError:
        raise
    except RefusedError as error:
        if len(plans) == 1:
            return {_root(plans[0][0]): error}
        return dict(chain.from_iterable(_grant(session, [plan]).items() for plan in plans))
    except ZrepError:  # of one of them
        return {}
    for view, _ in plans:
        view.executor.granted = granted.get(view.pair.target.name)
    return {}


def _announce(session: Session, plans: list[tuple[View, Advance]]) -> None:
    """Let the replica's host know what is about to come: should the master be lost now, takeover -L says how much. That
    it is under way is remembered here too: of small streams zfs send has said all before the first byte has arrived."""
    if not plans:
        return
    unsent: dict[str, int] = {}
    for view, advance in plans:
        root = _root_there(view)
        more = advance.written + (advance.pending.written if advance.pending else 0)
        unsent[root] = unsent.get(root, 0) + more
    told: dict[str, dict[str, Note]] = {
        memory_key(session.tag, name): {"told": session.now, "unsent": count} for name, count in unsent.items()
    }
    session.local.ask(Remember({memory_key(session.tag, _root(view)): {"told": session.now} for view, _ in plans}))
    with suppress(ZrepError):  # only a courtesy; a peer that is lost is noticed at once
        plans[0][0].executor.target.ask(Remember(told))


def _converge(session: Session, arrived: Sequence[_Arrived]) -> list[Exception | None]:
    """A batch of those whose streams have ended: seen to have arrived, converged, remembered."""
    views, failed = see_arrivals(session, [(each.view, each.sent) for each in arrived])
    failed.update(converge(session, views))
    equal = [x.view for x in arrived if x.last and not x.view.link.within and x.view.name not in failed]
    try:
        remember_synced(session, equal)
    except ZrepError as error:
        failed.update({view.name: copy.copy(error) for view in equal})
    return [failed.get(each.view.name) for each in arrived]


def _finish(session: Session, group: Sequence[_Due], shared: _Shared) -> list[Outcome]:
    """The filesystems whose streams share a session, to their end; then their locks go, so that they wait for no other
    one's end before their next run. What goes wrong with one is its own."""
    wrong: dict[str, ZrepError] = {}
    batch = shared.batches[pools(group[0].view)]
    try:
        _each(group, wrong, partial(_wait, shared))
        with shared.streams, batch.coming():
            streams = _each(group, wrong, lambda due: ready(session, due.view))
            wrong |= _errors(streams, bring(session, list(streams.values())))
        came = {due.name: _arrived(due, streams[due.name]) for due in group if due.name not in wrong}
        wrong |= _errors(came, batch.do(*came.values()))
        outcomes = _each(group, wrong, lambda due: _complete(session, due, came[due.name], shared))
    finally:
        for due in group:
            if arrival := shared.coming.get(due.view.pair.target.name):
                arrival.over.set()
        unlock(session, *(due.view.link for due in group))
    return [*outcomes.values(), *(Outcome(name, error=error.about(name)) for name, error in wrong.items())]


def _each(group: Sequence[_Due], wrong: dict[str, ZrepError], work: Callable[[_Due], Answer]) -> dict[str, Answer]:
    """Do it for each of those with which nothing went wrong yet: the answers, by filesystem here. wrong: gets the
    errors of the others."""
    found: dict[str, Answer] = {}
    for due in group:
        if due.name not in wrong:
            try:
                found[due.name] = work(due)
            except ZrepError as error:
                wrong[due.name] = error
    return found


def _errors(names: Iterable[str], errors: Sequence[Exception | None]) -> dict[str, ZrepError]:
    """The errors of those that have one; what is no error of zrep's is raised."""
    found: dict[str, ZrepError] = {}
    for name, error in zip(names, errors, strict=True):
        if isinstance(error, ZrepError):
            found[name] = error
        elif error is not None:
            raise error
    return found


def _wait(shared: _Shared, due: _Due) -> None:
    """Until it may be sent: it has its snapshot, and what it lies below has arrived there."""
    if due.failed is not None:
        raise due.failed
    wait_for_parent(due.view, shared.coming)


def _arrived(due: _Due, stream: Ready) -> _Arrived:
    newest = stream.view.lane.pending
    on_the_way = newest is not None and newest.guid != stream.sent.guid
    # What a relay has to send was made under another tag, and nothing is written to it.
    made = due.advance.pending is None or bool(stream.view.lane.upstream)
    return _Arrived(stream.view, stream.sent, last=made and not on_the_way)


def roll_back(session: Session, view: View) -> tuple[Step, ...]:
    """``sync -f``: what takes a replica that was changed by hand back to the base; what that drops is said first."""
    back = plan_roll_back(view.lane)
    if back is None:
        return ()
    if back.foreign:
        raise RefusedError(
            f"the replica has snapshots newer than the base @{back.base.name}",
            filesystem=view.name,
            evidence=", ".join(back.foreign),
            advice=f"zrep destroys nothing it did not make: remove them on {view.executor.target.name} yourself",
        )
    gone = f", and with them zrep's own {', '.join(back.own)}" if back.own else ""
    session.say(
        f"{view.name}: dropping {size(back.lost)} written on {view.pair.target.name} since @{back.base.name}{gone}"
    )
    return back.steps


def _go_back(view: View, back: tuple[Step, ...]) -> None:
    """Carry it out; through a gate, which admits it to nobody, whoever is on that host does."""
    try:
        view.do(back)
    except NotAdmittedError as refused:
        from zrep.ops.preflight import plain_host  # seldom needed

        words = "; ".join(join(commands.command(step)) for step in back)
        refused.advice = f"on {plain_host(view.executor.target.name)}: {words}; then: zrep sync {quote(_root(view))}"
        raise


def _complete(session: Session, due: _Due, arrived: _Arrived, shared: _Shared) -> Outcome:
    """Once more for what was written after a snapshot that an earlier run has left."""
    view, sent = arrived.view, arrived.sent
    if arrival := shared.coming.get(view.pair.target.name):
        arrival.arrived = True
    if not arrived.last and not view.link.within:
        for _ in range(rounds(view)):
            with shared.streams:
                view, more = sync_view(session, read_again(session, view, sync_txg=True))
            if more is None:
                break
            sent = more
        remember_synced(session, [view])
    message = f"{'sent' if view.sending else 'received'} @{sent.name} {view.way}"
    return Outcome(view.name, message=message, notes=(*_foreign(view, due.advance), *_copied(view, due)), moved=True)


def _copied(view: View, due: _Due) -> tuple[str, ...]:
    """What is to be said of a clone that was sent for the first time, and not as one."""
    origin = view.lane.source.get("origin")
    if due.advance.base is not None or origin == "-" or due.view.lane.origin:
        return ()
    inside = f"{origin.partition('@')[0]}/".startswith(f"{_root(view)}/")
    why = "of which the replica's tree has nothing" if inside else "which is outside the tree"
    return (f"{view.name}: it is a clone of {origin}, {why}, and was sent in full: it shares no space there",)


def _foreign(view: View, advance: Advance) -> tuple[str, ...]:
    return tuple(f"{view.name}: foreign snapshot on the replica: {name}" for name in advance.foreign)


def each_failed(links: Sequence[Link], error: ZrepError) -> list[Outcome]:
    return [Outcome(link.name, error=copy.copy(error).about(link.name)) for link in links]
