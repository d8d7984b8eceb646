"""status: how each pair is, after asking the peers, without changing anything."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.dataset import Member
from zrep.core.diagnosis import Diagnosis, State, diagnose, diagnose_alone
from zrep.core.errors import ZrepError
from zrep.core.pair import newest_common
from zrep.ops.list import Row, aged, of_zrep, row, unsent_since
from zrep.ops.memory import Memory, moments, recall
from zrep.ops.pairs import Session
from zrep.ops.read import find_roles, observe


def status(session: Session, names: Sequence[str]) -> list[Row]:
    """A row for each filesystem here, or those named; a peer that does not answer makes its state "peer unknown", and
    is no error."""
    roles = find_roles(session.local, session.tag)
    for name in names:
        session.link(name, strict=False)
    chosen = [name for name, role in roles.items() if of_zrep(role) and (not names or name in names)]
    if not chosen and not session.options.may_be_empty:
        raise session.nothing_here()
    # Monitoring reads it: what it says of bytes behind, or written to a replica, must not lag a transaction group.
    members = observe(session.local, session.tag, chosen, sync_txg=True)
    recalled = recall(session, *chosen)
    peers = _ask(session, [member for member in members.values() if member.role.paired])
    return [_row(session, member, peers.get(name), recalled[name]) for name, member in members.items()]


class _Other(Struct, frozen=True):
    """The other half of a pair, and what is remembered of it on its host."""

    member: Member
    recalled: Memory


def _ask(session: Session, members: Sequence[Member]) -> dict[str, _Other | ZrepError]:
    """The other halves by their names here, those that are there; instead of each of a peer's, what kept it from being
    asked."""
    by_peer: dict[str, list[Member]] = {}
    for member in members:
        by_peer.setdefault(member.role.peer_host, []).append(member)
    found: dict[str, _Other | ZrepError] = {}
    for host, mine in by_peer.items():
        try:
            theirs = observe(session.host(host), session.tag, [x.role.peer_fs for x in mine], sync_txg=True)
            known = recall(session, *theirs, host=session.host(host))
            there = ((x.name, x.role.peer_fs) for x in mine if x.role.peer_fs in theirs)
            found |= {name: _Other(theirs[other], known[other]) for name, other in there}
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
