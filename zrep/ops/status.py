"""status: how each pair is, after asking the peers, without changing anything."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.busy import BUSY_IS_NEWS, long_busy
from zrep.core.dataset import Member
from zrep.core.diagnosis import Diagnosis, State, diagnose, diagnose_alone, unread
from zrep.core.errors import ZrepError
from zrep.core.neighbours import LeftOut
from zrep.core.pair import newest_common
from zrep.core.requests import ReadHolders
from zrep.core.role import Role
from zrep.host.local import Host
from zrep.ops.children import find_left_out
from zrep.ops.list import Row, aged, lost_rows, of_zrep, relays_named, row, unsent_since
from zrep.ops.memory import Memory, moments, recall
from zrep.ops.pairs import Session
from zrep.ops.read import find_roles, observe_each

# Longer than a transaction group takes on disks that are busy.
_SECONDS = 15.0


def status(session: Session, names: Sequence[str]) -> list[Row]:
    """A row for each filesystem here, or those named; a peer that does not answer makes its state "peer unknown", and
    is no error."""
    roles = find_roles(session.local, session.tag)
    for name in names:
        session.link(name, strict=False)
    chosen = [name for name, role in roles.items() if of_zrep(role) and (not names or name in names)]
    lost = [] if names else lost_rows(session)
    if not chosen and not lost and not session.options.may_be_empty:
        raise session.nothing_here()
    found = _observe(session, session.local, chosen)
    members = {name: member for name, member in found.items() if isinstance(member, Member)}
    recalled = recall(session, *chosen)
    peers = _ask(session, [member for member in members.values() if member.role.paired])
    left = find_left_out(session.local, session.tag, [member for member in members.values() if member.role.master])
    rows = [_row(session, member, peers.get(name), recalled[name]) for name, member in members.items()]
    rows = [replace(row, left_out=left.get(row.name, row.left_out)) for row in rows]
    unread_ones = ((name, error) for name, error in found.items() if isinstance(error, ZrepError))
    rows = relays_named(session, [_with_holder(session, row) for row in rows])
    return [*rows, *(_unread(session, name, roles[name], error) for name, error in unread_ones), *lost]


def _with_holder(session: Session, found: Row) -> Row:
    """The same row, busy where nothing was synced for long because somebody has the lock here."""
    well = found.diagnosis.state in (State.OK, State.NOT_MOUNTED, State.LATE)
    if found.role != "master" or not well or (found.lag is not None and found.lag <= BUSY_IS_NEWS):
        return found
    holder = session.local.ask(ReadHolders((found.name,))).get(found.name)
    judged = long_busy(found.lag, holder) if holder else None
    if judged and found.diagnosis.state is State.LATE:  # which is worse; who has the lock may be why
        evidence = f"{found.detail}; {judged.what} ({judged.evidence})"
        return replace(found, diagnosis=replace(found.diagnosis, evidence=evidence, advice=judged.advice))
    return replace(found, diagnosis=judged) if judged else found


def _observe(session: Session, host: Host, names: Sequence[str]) -> dict[str, Member | ZrepError]:
    """Monitoring reads it: what it says of bytes behind, or written to a replica, must not lag a transaction group; and
    it has its answer in seconds, whatever hangs."""
    return observe_each(host, session.tag, names, sync_txg=True, seconds=_SECONDS)


def _unread(session: Session, name: str, role: Role, error: ZrepError) -> Row:
    """One that is here and cannot be read."""
    kind = {True: "master", False: "replica", None: "none"}[role.master]
    peer = f"{role.peer_host}:{role.peer_fs}" if role.paired else "-"
    return Row(name, kind, peer, unread(error), None, None, None, None, session.tag, role.epoch)


class _Other(Struct, frozen=True):
    """The other half of a pair, what is remembered of it on its host, and what nobody replicates below it."""

    member: Member
    recalled: Memory
    left_out: LeftOut | None


def _ask(session: Session, members: Sequence[Member]) -> dict[str, _Other | ZrepError]:
    """The other halves by their names here, those that are there; instead of each of a peer's, what kept it from being
    asked."""
    by_peer: dict[str, list[Member]] = {}
    for member in members:
        by_peer.setdefault(member.role.peer_host, []).append(member)
    found: dict[str, _Other | ZrepError] = {}
    for host, mine in by_peer.items():
        try:
            peer = session.host(host)
            theirs = _observe(session, peer, [x.role.peer_fs for x in mine])
            known = recall(session, *theirs, host=peer)
            masters = [other for other in theirs.values() if isinstance(other, Member) and other.role.master]
            left = find_left_out(peer, session.tag, masters, here=False)
            for each in (each for each in mine if each.role.peer_fs in theirs):
                other = theirs[each.role.peer_fs]
                found[each.name] = (
                    _Other(other, known[other.name], left.get(other.name)) if isinstance(other, Member) else other
                )
        except ZrepError as error:
            found |= {x.name: error for x in mine}
    return found


def _row(session: Session, mine: Member, other: _Other | ZrepError | None, recalled: Memory) -> Row:
    theirs = other.member if isinstance(other, _Other) else other
    known = moments(mine.snapshots, recalled, "synced")
    if isinstance(other, _Other):
        known += moments(other.member.snapshots, other.recalled, "synced")
    synced = max(known, default=None)
    found = row(session, mine, _diagnose(session, mine, theirs), synced)
    if not isinstance(theirs, Member):
        return aged(session, found, mine, None, synced)
    if isinstance(other, _Other) and not mine.role.master:
        found = replace(found, left_out=other.left_out)
    return aged(session, _compared(session, found, mine, theirs), mine, theirs, synced)


def _compared(session: Session, found: Row, mine: Member, theirs: Member) -> Row:
    """The same row with what only both sides together know."""
    if found.diagnosis.state not in (State.OK, State.NOT_MOUNTED):
        return found
    master, replica = (mine, theirs) if mine.role.master else (theirs, mine)
    base = newest_common(master, replica)
    assert base is not None
    behind, unsent = master.written_since(base), unsent_since(session.tag, master, base)
    return replace(found, behind=behind, unsent=unsent, lag=0 if behind == 0 and unsent == 0 else found.lag)


def _diagnose(session: Session, mine: Member, theirs: Member | ZrepError | None) -> Diagnosis:
    if not mine.role.paired:
        return diagnose_alone(mine.name, mine.role)
    try:
        return session.diagnose(mine, theirs)
    except ZrepError as error:
        return diagnose(mine, error)
