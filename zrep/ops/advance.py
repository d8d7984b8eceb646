"""Moving a pair forward: a snapshot of the master, its stream, and what both sides hold and remember after it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain

from zrep.core.dataset import Member, PoolSpace, Snapshot
from zrep.core.errors import FailedError, UnreachableError, ZrepError
from zrep.core.names import pool_of
from zrep.core.pair import End
from zrep.core.plan_data import (
    merged,
    plan_advance,
    plan_converge,
)
from zrep.core.plan_expire import expire_converged
from zrep.core.quantities import floor_bytes, size
from zrep.core.requests import TakeSnapshots
from zrep.core.steps import Hold, Step
from zrep.ops import hooks
from zrep.ops.kept_back import note_kept_back
from zrep.ops.pairs import after_snapshots, after_streams, read_again
from zrep.ops.read import observe, read_pool_space
from zrep.ops.session import Session
from zrep.ops.streams import bring, in_sessions, pools, ready, stream_pending
from zrep.ops.view import View
from zrep.zfs.errors import AbsentError, as_error, gone_meanwhile

# What must stay free in the master's pool unless zrep:minfree says otherwise: a snapshot pins space that the master's
# writers would need more.
_MINFREE = "1%"
# The last streams of a tree at the same time: nothing can be written meanwhile.
_FINAL_STREAMS = 4


def note_pool_space(session: Session, pool_space: dict[str, PoolSpace], members: Mapping[str, Member]) -> None:
    """How full the pools are that are about to get a snapshot: asked for while the peer has still to answer."""
    with suppress(ZrepError):  # then it is asked for again
        for pool in {pool_of(member.name) for member in members.values() if member.number("written")}:
            pool_space[pool] = read_pool_space(session.local, pool)


def take_snapshots(session: Session, views: list[View], pool_space: Mapping[str, PoolSpace]) -> dict[str, ZrepError]:
    """Snapshot and hold what was written to; atomic within a pool, so one that fails is retried one by one.
    pool_space: how full pools are, as far as it was asked for already."""
    failed: dict[str, ZrepError] = {}
    by_pool: dict[str, list[View]] = {}
    for view in views:
        by_pool.setdefault(pool_of(view.pair.source.name), []).append(view)
    for pool, group in by_pool.items():
        short = _below_floor(session, pool, group, pool_space.get(pool))
        failed.update(short)
        group = [view for view in group if view.name not in short]
        if not group:
            continue
        failed.update(_taken_at_rest(session, group))
    return failed


def _taken_at_rest(session: Session, views: list[View]) -> dict[str, ZrepError]:
    """The snapshots of all, while the administrator's programs keep at rest what writes to them; then the holds. The
    error of those that have none; where a program said no there is none."""
    errors = _without_gone(views, partial(_take, session))
    held = [view for view in views if view.name not in errors]
    return errors | _without_gone(held, partial(_hold, session))


def _without_gone(
    views: Sequence[View], work: Callable[[Sequence[View]], dict[str, ZrepError]]
) -> dict[str, ZrepError]:
    """Do it for all; of a tree once more without what was renamed or destroyed since it was read, which keeps ZFS from
    doing it for any: that stops only itself, and the next run knows what was renamed by its snapshots. The errors, by
    filesystem here."""
    errors = work(views) if views else {}
    for lanes in _moments(views):
        if len(lanes) == 1 or not isinstance(errors.get(lanes[0].name), AbsentError):
            continue
        now = observe(lanes[0].executor.source, lanes[0].tag, [lane.pair.source.name for lane in lanes])
        there = {lane.name for lane in lanes if _is_still(lane.lane.source, now.get(lane.pair.source.name))}
        if 0 < len(there) < len(lanes):
            errors = {name: error for name, error in errors.items() if name not in there}
            errors |= {lane.name: _gone(lane) for lane in lanes if lane.name not in there}
            errors |= work([lane for lane in lanes if lane.name in there])
    return errors


def _is_still(before: Member, now: Member | None) -> bool:
    """Whether what has a name now is what had it."""
    return now is not None and now.get("guid") == before.get("guid")


def _gone(view: View) -> FailedError:
    name = view.pair.source.name
    gone = gone_meanwhile(f"{name} on {view.executor.source.name} is no more what it was when it was read")
    gone.filesystem = view.name
    return gone


def _take(session: Session, views: Sequence[View]) -> dict[str, ZrepError]:
    """One snapshot command for all, or where that fails one for each moment. The errors, by filesystem here."""
    lanes = {made.dataset: (made, group) for group in _moments(views) for made in [hooks.moment(session, group)]}
    executor = views[0].executor
    moments = tuple(made for made, _ in lanes.values())
    request = TakeSnapshots(session.tag, moments, session.options.crash_consistent, session.quiesces)
    try:
        taken = executor.take_snapshots(request)
    except ZrepError as error:
        return {view.name: copy.copy(error) for view in views}
    errors: dict[str, ZrepError] = {name: as_error(failure) for name, failure in taken.failed.items()}
    host = executor.source.name
    for name, said in taken.refused.items():
        if session.options.crash_consistent:
            session.warn(f"{name}: a before-snapshot hook on {host} failed ({said}); the snapshot is crash-consistent")
        else:
            errors[name] = hooks.refused_snapshot(host, lanes[name][1][0], name, said)
    for name, lines in taken.after.items():
        for line in lines:
            session.warn(f"{name}: an after-snapshot hook on {host} failed ({line})")
    return {view.name: copy.copy(error) for name, error in errors.items() for view in lanes[name][1]}


def _hold(session: Session, views: Sequence[View]) -> dict[str, ZrepError]:
    """One command for all, or where that fails one for each moment. The errors, by filesystem here."""
    names = tuple(view.lane.next_snapshot for view in views)
    error = views[0].executor.try_do(Hold(End.SOURCE, session.tag, names))
    groups = _moments(views)
    if error is None:
        return {}
    if len(groups) == 1:
        return {view.name: copy.copy(error) for view in views}
    return dict(chain.from_iterable(_hold(session, group).items() for group in groups))


def _moments(views: Sequence[View]) -> list[list[View]]:
    """Those that get their snapshots at one moment whatever becomes of the others: the lanes of a tree."""
    found: dict[str, list[View]] = {}
    for view in views:
        found.setdefault(view.link.within or view.name, []).append(view)
    return list(found.values())


def _below_floor(session: Session, pool: str, views: list[View], space: PoolSpace | None) -> dict[str, ZrepError]:
    """Find the views whose master's pool is below its floor (minfree, else 1%): the error of each, by name."""
    try:
        space = space or read_pool_space(views[0].executor.source, pool)
    except ZrepError as error:
        return {view.name: copy.copy(error) for view in views}
    return {
        view.name: FailedError(
            f"pool {pool} is too full for a new snapshot",
            evidence=f"{size(space.free)} of {size(space.size)} free, the floor is {floor}",
            advice="free some space",
        )
        for view in views
        if space.free < (floor_bytes(floor := view.pair.source.role.minfree or _MINFREE, space.size) or 0)
    }


def sync_view(session: Session, view: View) -> tuple[View, Snapshot | None]:
    """One round for one freshly read pair: snapshot if written, send, converge. The view after the stream, and
    what was sent (None: there was nothing)."""
    advance = plan_advance(view.lane, view.here)
    if advance.idle or not (session.options.take or advance.pending):
        return view, None
    if advance.pending is None:
        failed = take_snapshots(session, [view], {})
        if failed:
            raise failed[view.name]
        view = after_snapshots(session, [view]).get(view.name, view)
    view, sent = send_pending(session, view)
    view.converge(converging(session, view))
    return view, sent


def converge(session: Session, views: Sequence[View]) -> dict[str, ZrepError]:
    """Pairs with one peer to where plan_converge wants them, those between the same pools in as many commands as one;
    what went wrong, by filesystem here."""
    failed: dict[str, ZrepError] = {}
    by_pools: dict[tuple[str, str], list[tuple[View, tuple[Step, ...]]]] = {}
    for view in views:
        if plan := converging(session, view):
            by_pools.setdefault(pools(view), []).append((view, plan))
    for group in by_pools.values():
        try:
            group[0][0].converge(merged(plan for _, plan in group))
        except ZrepError as error:
            for view, _ in group:
                alone = len(group) == 1 or isinstance(error, UnreachableError)
                own = copy.copy(error) if alone else _converge_again(session, view, error)
                if own is not None:
                    failed[view.name] = own
    return failed


def converging(session: Session, view: View) -> tuple[Step, ...]:
    """What takes both sides of a pair to its base, as this run expires. What is kept back then is told."""
    if session.options.expire:
        note_kept_back(session, view, expire_converged(view.lane, session.now))
    return plan_converge(view.lane, session.now, expire=session.options.expire)


def _converge_again(session: Session, view: View, error: ZrepError) -> ZrepError | None:
    """One of several that failed together: any part of its plan may be done, so it is planned again from what is
    there, as long as that is what has arrived."""
    try:
        found = read_again(session, view)
        if _base(found) != _base(view):
            return copy.copy(error)
        found.converge(converging(session, found))
    except ZrepError as own:
        return own
    return None


def _base(view: View) -> str:
    """The guid of the newest snapshot that both sides have."""
    base = view.lane.base
    return base.guid if base else ""


def send_pending(session: Session, view: View) -> tuple[View, Snapshot]:
    """Send the master's newest unsent snapshot on top of the base and see it arrive, by guid."""
    view, sent = stream_pending(session, view)
    views, failed = see_arrivals(session, [(view, sent)])
    if failed:
        raise failed[view.name]
    return views[0], sent


def send_final(session: Session, view: View) -> tuple[View, list[Snapshot]]:
    """The same for the last snapshot of a master to which nothing is written any more, of a tree that of every member,
    side by side: they are held after the streams, and both sides are read anew."""
    lanes = view.lanes
    most = 1 if view.pair.source.role.bwlimit else _FINAL_STREAMS
    sessions = in_sessions(lanes, most, {})
    works = [partial(_bring_final, session, [lanes[number] for number in numbers]) for numbers in sessions]
    brought = dict(chain.from_iterable(session.side_by_side(works, most)))
    sent = [brought[lane.name] for lane in lanes]
    names = (f"{lane.lane.source.name}@{x.name}" for lane, x in zip(view.lanes, sent, strict=True))
    # Waits for a transaction group: what was written is told truly after it.
    view.do([Hold(End.SOURCE, view.tag, tuple(names))])
    view = read_again(session, view)
    for lane, snapshot in zip(view.lanes, sent, strict=True):
        if lane.lane.target.by_guid(snapshot.guid) is None:
            raise _not_arrived(lane, snapshot)
    return view, sent


def _bring_final(session: Session, lanes: Sequence[View]) -> list[tuple[str, Snapshot]]:
    """The last streams of some lanes, in one session: the snapshot of each, by name here. The error of the first that
    failed is raised."""
    prepared = [ready(session, lane, final=True) for lane in lanes]
    for error in filter(None, bring(session, prepared)):
        raise error
    return [(each.view.name, each.sent) for each in prepared]


def converge_all(session: Session, view: View) -> None:
    """Every lane of a pair to where plan_converge wants it; the error of the first that does not come there."""
    for error in converge(session, view.lanes).values():
        raise error


def see_arrivals(session: Session, streams: Sequence[tuple[View, Snapshot]]) -> tuple[list[View], dict[str, ZrepError]]:
    """Pairs with one peer after the streams that bring these snapshots have ended, as they are now; what went wrong, by
    filesystem here."""
    seen: list[View] = []
    failed: dict[str, ZrepError] = {}
    try:
        found = after_streams(session, streams)
    except ZrepError as error:
        if len(streams) == 1 or isinstance(error, UnreachableError):
            return [], {view.name: copy.copy(error) for view, _ in streams}
        for stream in streams:  # to know which one it is about
            views, own = see_arrivals(session, [stream])
            seen += views
            failed.update(own)
        return seen, failed
    for view, sent in streams:
        if view.name in found:
            seen.append(found[view.name])
        else:
            failed[view.name] = _not_arrived(view, sent)
    return seen, failed


def _not_arrived(view: View, sent: Snapshot) -> FailedError:
    return FailedError(
        "the replica does not have the snapshot although its receive succeeded",
        filesystem=view.name,
        evidence=f"no guid {sent.guid} on {view.pair.target.name}",
    )
