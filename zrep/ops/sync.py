"""sync: bring replicas up to date."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from shlex import quote
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.busy import Holder, long_busy, whose
from zrep.core.dataset import PoolSpace, Snapshot
from zrep.core.errors import FailedError, RefusedError, UnreachableError, ZrepError
from zrep.core.names import memory_key
from zrep.core.pair import End
from zrep.core.plan_data import Advance, plan_advance, plan_roll_back
from zrep.core.quantities import size
from zrep.core.requests import Grant, Note, ReadHolders, Remember
from zrep.core.steps import Step
from zrep.host.parallel import GroupCommit
from zrep.ops.advance import (
    converge,
    converge_all,
    note_pool_space,
    see_arrivals,
    sync_view,
    take_snapshots,
)
from zrep.ops.children import find_left_out
from zrep.ops.lease import not_reached, reached
from zrep.ops.memory import last_synced, remember_synced
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import Session, busy
from zrep.ops.properties import followed
from zrep.ops.repair import prepare
from zrep.ops.streams import Ready, bring, in_sessions, pools, ready
from zrep.ops.tags import relaying
from zrep.ops.tree import Arrival, announce_set, folded, lock_lanes, read_moved, record_set, shaped, wait_for_parent
from zrep.ops.view import Link, View
from zrep.zfs.errors import PoolError

Answer = TypeVar("Answer")

# A run sends what an earlier one left, then what was written since: two rounds reach the end.
_ROUNDS = 3
# Seconds that what a stream has brought waits for the streams beside it: about what a transaction group takes, and
# each that comes along saves three.
_LINGER = 0.1
# Seconds that one tag waits for what another one works on: cron's next run of either begins after a minute.
_TURN_SECONDS = 40.0
# What is one trouble of many filesystems.
_OF_MANY = (UnreachableError, PoolError)
# At once, to one peer and for one processor.
_STREAMS = 4


def sync(session: Session, names: Sequence[str], *, pull: bool = False) -> list[Outcome]:
    """Sync the named filesystems, or when names is empty (``all``) every pair that is driven from here. pull: those
    that are replicas here, and no others, whoever drives them otherwise (refresh)."""
    everything = not names
    outcomes: list[Outcome] = []
    links: list[Link] = []
    if everything:
        roles = session.roles()
        outcomes += [Outcome(pool, error=error) for pool, error in session.lost_here().items()]
        if not roles and not outcomes and not session.options.may_be_empty:
            raise session.nothing_here()
        for name, role in roles.items():
            try:
                link = session.accept(name, role)
            except ZrepError as error:
                not_reached(session, [Link(session.tag, name, role)])
                outcomes.append(Outcome(name, error=error.about(name)))
            else:
                links += [link] if _is_due(link, pull=pull) else []
                if link.is_master and not pull and not link.drives:  # whoever drives it has to have come by
                    not_reached(session, [link])
    for name in dict.fromkeys(names):
        try:
            links.append(_named_link(session, name, pull=pull))
        except ZrepError as error:
            outcomes.append(Outcome(name, error=error.about(name)))
    # Locks are taken in an order that the direction says: what comes from a peer is another group than what goes there.
    by_peer: dict[tuple[str, bool], list[Link]] = {}
    for link in links:
        by_peer.setdefault((link.peer_host, link.is_master), []).append(link)
    jobs = session.options.jobs or _share(len(os.sched_getaffinity(0)), len(by_peer))
    # No peer waits for another: one that is down or slow delays only its own.
    peers = [partial(_sync_peer, session, group, everything, jobs) for group in by_peer.values()]
    for found in session.side_by_side(peers, len(peers)):
        outcomes += found
    return outcomes


def _share(processors: int, peers: int) -> int:
    """Streams at once to each of so many peers, where nobody has said: a stream mostly waits, for the wire and for
    transaction groups, so that a processor feeds several; sshd allows 10 sessions of a connection. At least two, so
    that one that is slow does not keep the others waiting."""
    return max(2, min(_STREAMS, _STREAMS * processors // max(1, peers)))


def _is_due(link: Link, *, pull: bool) -> bool:
    """Whether it is one of all: with pull the replicas whose master can be dialled."""
    return not (link.is_master or link.role.only_dialled) if pull else link.drives


def _named_link(session: Session, name: str, *, pull: bool) -> Link:
    link = session.link(name, there="sync")
    if pull and link.is_master:
        raise RefusedError(
            "it is the master here, and there is nothing to fetch",
            filesystem=name,
            advice=f"to send what is new: zrep sync {quote(name)}",
        )
    if not (pull or link.drives):
        raise RefusedError(
            "it is a replica here",
            filesystem=name,
            evidence=f"{session.tag}:master is not yes",
            advice=f"on {link.peer_host}: zrep sync {quote(link.peer_name)}, or here: zrep refresh {quote(name)}; to "
            "make this side the master: "
            f"zrep takeover {quote(name)}",
        )
    return link


def _paused(link: Link, everything: bool, reason: str) -> Outcome:
    """A pause stops streams, never the check of who is master: that is made before this is said."""
    start, name = ("", link.name) if link.role.paused else (f"on {link.peer_host}: ", link.peer_name)
    refusal = RefusedError(
        "it is paused", filesystem=link.name, evidence=reason, advice=f"{start}zrep unpause {quote(name)}"
    )
    return Outcome(link.name, message=f"paused: {reason}", error=None if everything else refusal, skipped=everything)


def _sync_peer(session: Session, links: list[Link], everything: bool, jobs: int) -> list[Outcome]:
    """All pairs with one peer over one connection. What a run of another tag has is waited for, after all else: of two
    that begin in the same minute one would find the other's datasets busy, and always the same one."""
    taken, outcomes = _round(session, links, everything, jobs, 0.5 if everything else 2.0)
    if turn := _of_other_tags(session, taken):
        tags = ", ".join(sorted(set(turn.values())))
        session.say(f"{len(turn)} busy under the tag {tags}: waiting up to {_TURN_SECONDS:.0f} s")
        again, more = _round(session, [link for link in taken if link.name in turn], everything, jobs, _TURN_SECONDS)
        taken = [*(link for link in taken if link.name not in turn), *again]
        outcomes += more
    return _once([*outcomes, *(_busy(session, link, everything) for link in taken)])


def _of_other_tags(session: Session, links: Sequence[Link]) -> dict[str, str]:
    """Those of busy filesystems here that a run of another tag works on, on either side, each with that tag."""
    found: dict[str, str] = {}
    for link in links:
        holder = _holder(session, link)
        if holder and holder[0] not in ("", session.tag):
            found[link.name] = holder[0]
    return found


def _holder(session: Session, link: Link) -> Holder | None:
    """Who has a filesystem locked, here or on its peer; None: nobody any more, or it is not known."""
    with suppress(ZrepError):
        for host, name in ((session.local, link.name), (session.peer(link.role), link.peer_name)):
            if holder := host.ask(ReadHolders((name,))).get(name):
                return holder
    return None


def _round(
    session: Session, links: list[Link], everything: bool, jobs: int, wait: float
) -> tuple[list[Link], list[Outcome]]:
    """Those that are busy, and what became of the others. With the peer down: one attempt, one line, no snapshot. What
    goes wrong here ends nothing of the other peers."""
    pool_space: dict[str, PoolSpace] = {}
    try:
        taken, found = session.lock_and_read(links, wait, partial(note_pool_space, session, pool_space))
        # A half that could not be read may have become anything meanwhile.
        unseen = {
            each.filesystem for each in found if isinstance(each, Outcome) and isinstance(each.error, FailedError)
        }
        reached(session, [link for link in links if link.name not in {*taken, *unseen}])
        not_reached(session, [link for link in links if link.name in unseen])
    except ZrepError as error:
        not_reached(session, links)
        waiting = [link for link in links if not link.role.paused]
        resting = [_paused(link, everything, link.role.paused) for link in links if link.role.paused]
        return [], [*_once(_each_failed(waiting, error), ", no snapshot was made"), *resting]
    outcomes = [item for item in found if isinstance(item, Outcome)]
    ready: list[View] = []
    for view in (item for item in found if isinstance(item, View)):
        try:
            was_master = view.link.is_master
            view = prepare(session, view)
            if view.link.is_master is not was_master:
                outcomes.append(_role_moved(session, view))
            elif paused := view.pair.source.role.paused or view.link.role.paused:
                outcomes.append(_paused(view.link, everything, paused))
            else:
                ready.append(relaying(view))
        except ZrepError as error:
            outcomes.append(Outcome(view.name, error=error.about(view.name)))
    outcomes += _left_out(session, ready)
    done = {view.name for view in ready}
    # Nobody has to wait for the streams of others to do what was advised.
    session.unlock(*(link for link in links if link.name not in done))
    plain = [view for view in ready if not view.link.role.recursive]
    trees = [view for view in ready if view.link.role.recursive]
    limits = _Limits(jobs, threading.Semaphore(jobs), pool_space)
    works = [partial(_sync_plain, session, plain, limits)] if plain else []
    works += [partial(_sync_tree, session, view, limits) for view in trees]
    for found_of_one in session.side_by_side(works, len(works)):
        outcomes += found_of_one
    return [link for link in links if link.name in taken], outcomes


def _left_out(session: Session, views: Sequence[View]) -> list[Outcome]:
    """What nobody replicates below the masters: worth a line, and no failure of theirs."""
    if not views:
        return []
    master, names = views[0].executor.source, {view.pair.source.name: view.name for view in views}
    masters = [view.pair.source.members[0] for view in views]
    found = find_left_out(master, session.tag, masters, here=views[0].sending)
    session.left_out.update({names[name]: what for name, what in found.items()})
    return [Outcome(name, error=what.error(name), harmless=True, about=f"below {name}") for name, what in found.items()]


class _Limits(Struct, frozen=True):
    """What bounds a run over one peer. jobs: so many streams are under way at a time, which streams counts for all its
    pairs and trees; pool_space: how full pools are, as far as it was asked for already."""

    jobs: int
    streams: threading.Semaphore
    pool_space: Mapping[str, PoolSpace]


def _alone(session: Session) -> _Limits:
    """The limits of a run over one tree."""
    jobs = session.options.jobs or _share(len(os.sched_getaffinity(0)), 1)
    return _Limits(jobs, threading.Semaphore(jobs), {})


def _sync_plain(session: Session, views: list[View], limits: _Limits) -> list[Outcome]:
    """The pairs with one peer that are no trees."""
    try:
        return _advance_all(session, views, limits)
    except ZrepError as error:
        session.unlock(*(view.link for view in views))
        return _each_failed([view.link for view in views], error)


def sync_tree(session: Session, view: View) -> list[Outcome]:
    """A tree alone, under locks that it gives back."""
    return _sync_tree(session, view, _alone(session))


def advance_tree(session: Session, view: View) -> View:
    """The same under locks that are kept, as both sides are then; the error of the first member that has one."""
    view, outcomes = _advance_tree(session, view, _alone(session))
    for outcome in outcomes:
        if outcome.error:
            raise outcome.error
    return session.again(view, sync_txg=True)


def _sync_tree(session: Session, view: View, limits: _Limits) -> list[Outcome]:
    """One tree, and its locks given back."""
    try:
        view, outcomes = _advance_tree(session, view, limits)
        if not any(outcome.error for outcome in outcomes):
            remember_synced(session, [view])
        return folded(view, outcomes)
    except ZrepError as error:
        return _each_failed([view.link], error)
    finally:
        session.unlock_tree(view)


def _advance_tree(session: Session, view: View, limits: _Limits) -> tuple[View, list[Outcome]]:
    """A tree brought into shape, one moment, its lanes side by side, before it what an earlier run had left of one.
    When every lane has arrived, that is recorded on the replica: the set is complete. The pair as it is then, and what
    became of each lane."""
    if view.pair.source.role.bwlimit:  # the rate is that of the pair
        limits = _Limits(1, threading.Semaphore(1), limits.pool_space)
    failed: dict[str, Outcome] = {}
    outcomes: list[Outcome] = []
    for _ in range(_ROUNDS):
        view = shaped(session, view)
        lanes = [lane for lane in view.lanes if lane.name not in failed]
        # What an earlier moment has left goes first, and alone: the next moment is one for all.
        left = [lane for lane in lanes if lane.lane.pending]
        announce_set(view, left or lanes)
        outcomes = _advance_all(session, left or lanes, limits)
        failed |= {outcome.filesystem: outcome for outcome in outcomes if outcome.error}
        if any(outcome.error for outcome in outcomes):
            view = session.again(view, sync_txg=bool(left))
        elif moved := {outcome.filesystem for outcome in outcomes if outcome.moved}:
            view = read_moved(session, view, moved, sync_txg=bool(left))
        if not left:
            break
    if not failed:
        record_set(session, view)
    return view, [*failed.values(), *(outcome for outcome in outcomes if not outcome.error)]


def _each_failed(links: Sequence[Link], error: ZrepError) -> list[Outcome]:
    return [Outcome(link.name, error=copy.copy(error).about(link.name)) for link in links]


def _once(outcomes: list[Outcome], also: str = "") -> list[Outcome]:
    """A peer that is lost is one line, and a pool is, whatever the number of filesystems that wait for it. also: what
    else is to be said of them."""
    told: list[Outcome] = []
    for what in {outcome.error.what: None for outcome in outcomes if isinstance(outcome.error, _OF_MANY)}:
        waiting = [each for each in outcomes if isinstance(each.error, _OF_MANY) and each.error.what == what]
        outcomes = [each for each in outcomes if each not in waiting]
        first, *others = waiting
        error = copy.copy(first.error)
        if error is not None and others:
            well = sum(each.error is None and not each.skipped for each in outcomes)
            arrived = f", {well} up to date" if well else ""
            error.filesystem, error.evidence = "", f"{error.evidence}; {len(waiting)} filesystems wait{also}{arrived}"
        told += [Outcome(first.filesystem, error=error), *(Outcome(other.filesystem, skipped=True) for other in others)]
    return outcomes + told


def _role_moved(session: Session, view: View) -> Outcome:
    """Finishing what was cut has turned the streams round: the next sync of whoever drives sends the other way."""
    converge_all(session, view)
    where = view.name if view.link.is_master else f"{view.link.peer_host}:{view.theirs.name}"
    return Outcome(view.name, message=f"finished the role change: {where} is master")


def _busy(session: Session, link: Link, everything: bool) -> Outcome:
    """Under ``all`` a stream of the minute before is no news; that nothing was synced for long because somebody has the
    lock is, whoever that may be."""
    synced = last_synced(session, link.name)
    age = None if synced is None else max(0, session.now - synced)
    holder = _holder(session, link)
    error = busy(link.name)
    error.evidence = whose(holder)
    if not everything:
        return Outcome(link.name, error=error, skipped=age is not None and age <= session.options.quiet)
    found = long_busy(age, holder)
    if found is None:
        return Outcome(link.name, error=error, skipped=True)
    return Outcome(link.name, error=found.error(link.name), harmless=True)


# --- moving data ---


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


def _advance_all(session: Session, views: list[View], limits: _Limits) -> list[Outcome]:
    """One snapshot command for all changed filesystems of a pool, then each stream; who is finished is finished."""
    outcomes: list[Outcome] = []
    plans: list[tuple[View, Advance]] = []
    for view in views:
        try:
            back = roll_back(session, view) if session.options.force else ()
            if back:
                view.do(back)
                # Nothing is written to it now. ZFS may count some all the same, 8192 bytes where an intent log was
                # claimed after a power loss (seen on OpenZFS 2.3.2).
                view = session.again(view, End.TARGET).after(back[-1])
            advance = plan_advance(view.lane, view.here)
            view = followed(session, view)
            # After a rollback something is sent even if nothing was written: only a stream makes ZFS count from 0.
            plans.append((view, replace(advance, written=max(1, advance.written)) if back else advance))
        except ZrepError as error:
            outcomes.append(Outcome(view.name, error=error.about(view.name)))
            session.unlock(view.link)
    moving = [(view, advance) for view, advance in plans if not advance.idle]
    taken_by_others = lock_lanes(session, [view for view, _ in moving])
    outcomes += [Outcome(view.name, error=busy(view.name)) for view, _ in moving if view.name in taken_by_others]
    moving = [(view, advance) for view, advance in moving if view.name not in taken_by_others]
    outcomes += _stand_still(session, [(view, advance) for view, advance in plans if advance.idle])
    try:
        _grant(session, moving)
    except UnreachableError as error:
        session.unlock(*(view.link for view, _ in moving))
        return outcomes + _each_failed([view.link for view, _ in moving], error)
    _announce(session, moving)
    due = [view for view, advance in moving if not advance.pending]
    failed = take_snapshots(session, due, limits.pool_space)
    # With the snapshots just made, and their guids.
    taken = session.taken([view for view in due if view.name not in failed])
    shared = _Shared(
        limits.streams,
        {pools(view): GroupCommit(partial(_converge, session), _LINGER) for view, _ in moving},
        {view.theirs.name: Arrival() for view, advance in moving if advance.base is None},
    )
    group = [_Due(taken.get(view.name, view), advance, failed.get(view.name)) for view, advance in moving]
    sessions = in_sessions([due.view for due in group], limits.jobs, shared.coming)
    works = [partial(_finish, session, [group[number] for number in numbers], shared) for numbers in sessions]
    # While some wait for their batch, others stream.
    found = session.side_by_side(works, 4 * limits.jobs if limits.jobs > 1 else 1)
    return [*outcomes, *chain.from_iterable(found)]


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
        outcomes += _each_failed([view.link for view in well], error)
    finally:
        session.unlock(*(view.link for view, _ in plans))
    return outcomes


def _grant(session: Session, plans: list[tuple[View, Advance]]) -> None:
    """Have the replicas' host look once more at what they are, and let their streams in: one request for all. A peer
    that is lost by now is noticed before there is a snapshot; one that is not let in here is asked for at its turn."""
    if not plans:
        return
    replicas = {view.theirs.name: view.pair.target.role.gen for view, _ in plans}
    roots = {view.theirs.name: view.executor.root or view.theirs.name for view, _ in plans}
    try:
        granted = plans[0][0].executor.target.ask(Grant(session.tag, replicas, roots))
    except UnreachableError:
        raise
    except ZrepError:  # of one of them
        return
    for view, _ in plans:
        view.executor.granted = granted.get(view.theirs.name)


def _announce(session: Session, plans: list[tuple[View, Advance]]) -> None:
    """Let the replica's host know what is about to come: should the master be lost now, takeover -L says how much."""
    if not plans:
        return
    unsent: dict[str, int] = {}
    for view, advance in plans:
        root = view.executor.root or view.theirs.name
        more = advance.written + (advance.pending.written if advance.pending else 0)
        unsent[root] = unsent.get(root, 0) + more
    told: dict[str, dict[str, Note]] = {
        memory_key(session.tag, name): {"told": session.now, "unsent": count} for name, count in unsent.items()
    }
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
            if arrival := shared.coming.get(due.view.theirs.name):
                arrival.over.set()
        session.unlock(*(due.view.link for due in group))
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
    return _Arrived(stream.view, stream.sent, last=due.advance.pending is None)


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


def _complete(session: Session, due: _Due, arrived: _Arrived, shared: _Shared) -> Outcome:
    """Once more for what was written after a snapshot that an earlier run has left."""
    view, sent = arrived.view, arrived.sent
    if arrival := shared.coming.get(view.theirs.name):
        arrival.arrived = True
    if not arrived.last and not view.link.within:
        for _ in range(_ROUNDS):
            with shared.streams:
                view, more = sync_view(session, session.again(view, sync_txg=True))
            if more is None:
                break
            sent = more
        remember_synced(session, [view])
    message = f"{'sent' if view.sending else 'received'} @{sent.name} {view.way}"
    return Outcome(view.name, message=message, notes=(*_foreign(view, due.advance), *_copied(view, due)), moved=True)


def _copied(view: View, due: _Due) -> tuple[str, ...]:
    """What is to be said of a clone that was sent for the first time."""
    origin = view.lane.source.get("origin")
    if due.advance.base is not None or origin == "-":
        return ()
    return (f"{view.name}: it is a clone of {origin}, and was sent in full: on the replica it shares no space",)


def _foreign(view: View, advance: Advance) -> tuple[str, ...]:
    return tuple(f"{view.name}: foreign snapshot on the replica: {name}" for name in advance.foreign)
