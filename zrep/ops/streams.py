"""Bringing a master's newest unsent snapshot to its replica: one stream, or several that share a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from shlex import quote

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.dataset import NO_TOKEN, Snapshot, TokenContents
from zrep.core.diagnosis_data import diagnose_data, modified
from zrep.core.errors import FailedError, RefusedError, ZrepError
from zrep.core.incoming import wanted
from zrep.core.names import ancestors, pool_of
from zrep.core.pair import End
from zrep.core.plan_data import plan_advance, plan_another_name, plan_left_over, plan_stream
from zrep.core.plan_first_stream import data_alone
from zrep.core.plan_hop import Hop, name_taken, next_hop
from zrep.core.plan_sessions import parcel, plan_sessions
from zrep.core.quantities import size, whole_number
from zrep.core.steps import Hold, SendStream
from zrep.ops.execute import Stream
from zrep.ops.pairs import read_again
from zrep.ops.read import read_all_properties, read_property_names, read_token
from zrep.ops.session import Session
from zrep.ops.view import View
from zrep.zfs import errors as zfs_errors

# What may keep a stream out of a pool that has room.
_QUOTAS = ("quota", "refquota")


class Ready(Struct, frozen=True):
    """A pair whose stream is next. sent: the snapshot that it brings."""

    view: View
    sent: Snapshot
    stream: Stream


def pools(view: View) -> tuple[str, str]:
    """The pools of a pair, the one here first."""
    return pool_of(view.mine.name), pool_of(view.theirs.name)


def in_sessions(views: Sequence[View], most: int, coming: Mapping[str, object]) -> tuple[tuple[int, ...], ...]:
    """Divide the streams of pairs with one peer among sessions, of which so many are open at the same time: the numbers
    of the pairs. coming: the datasets that first streams are to make. On one host there is nothing to share."""
    if not views or views[0].executor.source.local == views[0].executor.target.local:
        return tuple((number,) for number in range(len(views)))
    return plan_sessions([parcel(view.lane, pools(view), coming) for view in views], most)


def ready(session: Session, view: View, *, final: bool = False) -> Ready:
    """Prepare for the stream of the master's newest unsent snapshot on top of the base: it has a name that is free
    there, it is held, and what is half received of anything else is gone. final: it is the last one of a master, which
    is not held yet, and goes at once: by what others have made between it passes where it must."""
    advance = plan_advance(view.lane, view.here)
    if advance.pending is None:
        raise FailedError("the snapshot that was just made is gone", filesystem=view.name)
    half = half_received(view)
    hop = next_hop(view.lane, half)
    assert hop is not None
    if final and hop.snapshot != advance.pending:
        hop = Hop(advance.pending)
    if taken := name_taken(view.lane, hop):
        raise _name_taken(view, taken)
    rename = plan_another_name(view.lane, hop.snapshot)
    if rename:
        view.do(rename)
        return ready(session, read_again(session, view, End.SOURCE), final=final)
    if left := plan_left_over(view.lane):
        view.do(left)
        view = view.after(*left)
    if not final and view.tag not in hop.snapshot.holds:
        hold = Hold(End.SOURCE, view.tag, (f"{view.pair.source.name}@{hop.snapshot.name}",))
        view.do([hold])
        view = view.after(hold)
    return Ready(view, hop.snapshot, _stream(view, advance.base, hop, half))


def _name_taken(view: View, there: Snapshot) -> RefusedError:
    """All snapshots of the master travel, and one on the replica that is another is called alike."""
    full, where = f"{view.pair.target.name}@{there.name}", view.executor.target.name
    return RefusedError(
        f"the replica has another snapshot called @{there.name}",
        filesystem=view.name,
        evidence="all snapshots of the master travel, and zrep destroys and renames none of others",
        advice=f"on {where}: zfs rename {quote(full)} {quote(f'{full}_{where}')}",
    )


def bring(session: Session, group: Sequence[Ready]) -> list[ZrepError | None]:
    """Bring streams over through one session; what went wrong with each. That one has arrived is still to be seen."""
    if not group:
        return []
    errors = group[0].view.executor.stream([each.stream for each in group])
    return [error and _explained(session, each, error) for each, error in zip(group, errors, strict=True)]


def stream_pending(session: Session, view: View) -> tuple[View, Snapshot]:
    """Send the master's newest unsent snapshot on top of the base; that it has arrived is still to be seen."""
    prepared = ready(session, view)
    for error in filter(None, bring(session, [prepared])):
        raise error
    return prepared.view, prepared.sent


def half_received(view: View) -> TokenContents:
    """What the replica's resume token stands for, as the master reads it."""
    token = view.lane.target.token
    return read_token(view.executor.source, token) if token else NO_TOKEN


def _stream(view: View, base: Snapshot | None, hop: Hop, token: TokenContents) -> Stream:
    """The stream of a snapshot, in full or on top of a base; of what is half received the rest where that can be
    completed, else it is discarded now."""
    own = () if base else read_property_names(view.executor.source, view.lane.source.name)
    *before, stream = plan_stream(view.lane, base, hop.snapshot, token, own, between=hop.between)
    view.do(before)
    assert isinstance(stream, SendStream)
    if view.executor.pulls:
        stream = data_alone(stream, view.lane.source, view.lane.origin)
    since = base.guid if base else view.lane.origin.guid if view.lane.origin else ""
    asked = wanted(stream, view.lane.source, hop.snapshot, since)
    return Stream(view.executor, stream, asked, view.pair.target.role.gen)


def _explained(session: Session, due: Ready, error: ZrepError) -> ZrepError | None:
    """Why a stream went wrong. One that was to go on with what can never be completed is sent anew."""
    view = due.view
    try:
        match error:
            case zfs_errors.StaleTokenError() if due.stream.step.token:
                anew = _stream(view, plan_advance(view.lane, view.here).base, Hop(due.sent), NO_TOKEN)
                [other] = view.executor.stream([anew])
                return other and _explained(session, replace(due, stream=anew), other)
            case zfs_errors.ModifiedError():
                # Not as it was read: since then, or in a way that ZFS does not count as written.
                now = read_again(session, view, End.TARGET, sync_txg=True).lane
                mine, theirs = now.at(view.here), now.at(view.here.other)
                found = diagnose_data(view.tag, mine, theirs) or modified(mine, theirs, error.evidence)
                return found.error(view.name)
            case zfs_errors.NoSpaceError():
                return _limited(view, error)
    except ZrepError as raised:
        return raised
    return error


def _limited(view: View, error: ZrepError) -> ZrepError:
    """The same, with the quotas that may be why: those of the replica, and of what it lies below."""
    host, replica = view.executor.target, view.pair.target.name
    found: list[tuple[str, str, int]] = []
    for name in (replica, *reversed(ancestors(replica))):
        with suppress(zfs_errors.AbsentError):  # a first stream: it has nothing of its own yet
            properties = read_all_properties(host, name)
            limits = ((limit, whole_number(properties[limit].value, 20)) for limit in _QUOTAS if limit in properties)
            found += [(name, limit, value) for limit, value in limits if value]
    if found:
        name, limit, _ = found[0]
        said = ", ".join(f"{limit}={size(value)} on {name}" for name, limit, value in found)
        error.evidence = f"{error.evidence}; on {host.name}: {said}"
        error.advice = f"on {host.name}: zfs set {limit}=SIZE {quote(name)}, a larger one, or destroy snapshots there"
    return error
