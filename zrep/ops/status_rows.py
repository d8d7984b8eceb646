"""Rows of status: what both sides of a pair say together, or what is known here where the other one cannot be asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from shlex import quote

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.age import last_of
from zrep.core.dataset import Member
from zrep.core.diagnosis import diagnose, diagnose_alone
from zrep.core.errors import BusyError, ZrepError
from zrep.core.moving import Moving, together
from zrep.core.pair import End, Lane, Pair, Tree, lane_members, newest_base, plain_tree
from zrep.core.pair_state import LINKED, Diagnosis, State
from zrep.core.plan_copied_properties import kept
from zrep.core.plan_keys import plan_keys
from zrep.core.quantities import duration, size
from zrep.core.requests import ReadHolders
from zrep.core.role import Role
from zrep.core.sets import beyond_set, whole_at
from zrep.ops.failures import last_failure
from zrep.ops.memory import Memory, moments
from zrep.ops.other_halves import OtherHalf, Recalled
from zrep.ops.pairs import diagnose_pair
from zrep.ops.read import read_token
from zrep.ops.rows import Row, aged, as_members, fold, known_here, row, unsent_since, with_remembered
from zrep.ops.session import Session

# So many names at most, of those about which the same is said.
_NAMED = 5


def rows_of(
    session: Session,
    mine: Tree,
    theirs: OtherHalf | ZrepError | None,
    recalled: Recalled,
    there: Collection[str],
    *,
    members: bool,
) -> list[Row]:
    """The row of a pair; of a tree that of its worst member, with members each of theirs after it. there: hosts that
    have not answered, and that streams show to be there."""
    if mine.role.only_dialled:
        moving = recalled.moving.get(mine.name)
        return [_pulled(known_here(session, mine.members[0], recalled.memories[mine.name], moving), mine.role)]
    if not isinstance(theirs, OtherHalf):
        return _unasked(session, mine, theirs, recalled, alive=mine.role.peer_host in there, members=members)
    if not mine.role.recursive:
        moving = together(_streams(recalled, theirs, [(mine.name, theirs.member.name)]))
        judged = _diagnose(session, mine.members[0], theirs.member)
        return [_row(session, mine.members[0], theirs, recalled, _Around(mine.name, moving), judged)]
    return _tree_rows(session, mine, theirs, recalled, members=members)


def _tree_rows(session: Session, mine: Tree, theirs: OtherHalf, recalled: Recalled, *, members: bool) -> list[Row]:
    """The same of a tree of which both halves were read."""
    ends = (mine, theirs.half) if mine.role.master else (theirs.half, mine)
    here = End.SOURCE if mine.role.master else End.TARGET
    lanes = Pair(session.tag, *ends).lanes
    moving = together(_streams(recalled, theirs, [(lane.at(here).name, lane.at(here.other).name) for lane in lanes]))
    around = _Around(mine.name, moving, [when for tree in ends for when in whole_at(tree, session.tag)])
    rows = [
        _row(
            session,
            lane.at(here),
            replace(theirs, half=plain_tree(lane.at(here.other)), left_out=None),
            recalled,
            around,
            _diagnose(session, lane.at(here), lane.at(here.other)),
        )
        for lane in lanes
    ]
    whole = fold(rows, (*mine.aside, *theirs.half.aside), session.now)
    whole = replace(whole, set_complete=not beyond_set(ends[1], session.tag))
    if own := plan_keys(Pair(session.tag, *ends)):
        where = f"on {mine.role.peer_host}" if mine.role.master else "here"
        names = ", ".join(step.dataset for step in own[:_NAMED])
        load = f"when promoted: zfs load-key -r {quote(ends[1].name)}"
        said = f"libzfs_core has not placed the keys {where} of {names}; {load}"
        whole = replace(whole, kept="; ".join(filter(None, (whole.kept, said))))
    return [whole, *(as_members(rows) if members else ())]


def _unasked(
    session: Session, mine: Tree, error: ZrepError | None, recalled: Recalled, *, alive: bool, members: bool
) -> list[Row]:
    """The same of one whose other half is not known: what kept its host from being asked, or None where it is not
    there. What is known here of a tree is that of all its members. alive: a stream shows that the host is there."""
    known = lane_members(mine) if mine.role.recursive else mine.members
    moving = together(_streams(recalled, error, [(member.name, "") for member in known]))
    memory = recalled.memories[mine.name]
    around = _Around(mine.name, moving, whole_at(mine, session.tag) if mine.role.recursive else ())
    synced = [*around.known, *moments(mine.members[0].snapshots, memory, "synced")]
    well = alive and (moves(session, moving) or not _failed_since(session, memory, synced))
    judged = _diagnose(session, mine.members[0], error, moving=well)
    rows = [_row(session, member, error, recalled, around, judged) for member in known]
    if not mine.role.recursive:
        return rows
    return [fold(rows, mine.aside, session.now), *(as_members(rows) if members else ())]


def _streams(recalled: Recalled, other: OtherHalf | ZrepError | None, names: Iterable[tuple[str, str]]) -> list[Moving]:
    """The streams under way of what has these names here and there: the host that drives it knows."""
    there = other.moving if isinstance(other, OtherHalf) else {}
    found = (recalled.moving.get(own) or there.get(others) for own, others in names)
    return [stream for stream in found if stream]


class _Around(Struct, frozen=True):
    """The tree of a dataset. root: its root here; moving: its streams under way, as one: where one moves, the others
    wait for their turn; known: when all of it was on both sides, as its snapshots say."""

    root: str
    moving: Moving | None
    known: Sequence[int] = ()


def _row(
    session: Session,
    mine: Member,
    other: OtherHalf | ZrepError | None,
    recalled: Recalled,
    around: _Around,
    judged: Diagnosis,
) -> Row:
    """The row of one dataset here. judged: the state that it is in."""
    root = around.root
    theirs = other.member if isinstance(other, OtherHalf) else other
    known = [*around.known, *moments(mine.snapshots, recalled.memories[root], "synced")]
    if isinstance(other, OtherHalf):
        known += moments(other.member.snapshots, other.recalled, "synced")
    synced = last_of(known, session.now)
    name_there = other.member.name if isinstance(other, OtherHalf) else ""
    moving = together(_streams(recalled, other, [(mine.name, name_there)]))
    found = row(session, mine, judged, synced)
    others = [other.recalled] if isinstance(other, OtherHalf) else []
    found = with_remembered(session, found, moving, recalled.memories[root], *others)
    if isinstance(theirs, ZrepError) and mine.name == root:
        found = _with_announced(session, found, mine, theirs, recalled.memories[root], synced)
    if not isinstance(theirs, Member):
        return aged(session, found, mine, None, known, root=root, moving=around.moving)
    if isinstance(other, OtherHalf) and not mine.role.master:
        found = replace(found, left_out=other.left_out)
    found = _compared(session, found, mine, theirs)
    return aged(session, found, mine, theirs, known, root=root, moving=around.moving)


def _compared(session: Session, found: Row, mine: Member, theirs: Member) -> Row:
    """The same row with what only both sides together know."""
    if found.diagnosis.state not in LINKED:
        return found
    master, replica = (mine, theirs) if mine.role.master else (theirs, mine)
    if own := kept(Lane(session.tag, master, replica)):
        where = "here" if replica is mine else f"on {found.peer}"
        found = replace(found, kept=f"set {where} by hand and kept: {', '.join(each.text for each in own)}")
    base = newest_base(master, replica)
    if base is None:  # it has still to arrive
        return replace(found, behind=master.number("referenced"), unsent=len(master.ours(session.tag)))
    behind, unsent = master.written_since(base), unsent_since(session.tag, master, base)
    return replace(found, behind=behind, unsent=unsent, lag=0 if behind == 0 and unsent == 0 else found.lag)


def _with_announced(
    session: Session, found: Row, mine: Member, error: ZrepError, memory: Memory, synced: int | None
) -> Row:
    """The row of a replica whose master cannot be asked, with what that has said it would send, where it is coming: how
    far that is, where only the wire is full."""
    told, unsent = memory.get("told"), memory.get("unsent")
    if found.role != "replica" or not isinstance(told, int) or not isinstance(unsent, int) or told < (synced or 0):
        return found
    if not session.local.ask(ReadHolders((found.name,))):
        return found
    if isinstance(error, BusyError) and mine.token and not mine.role.recursive:
        return replace(found, moving=Moving(told, session.now, read_token(session.local, mine.token).received, unsent))
    coming = f"receiving up to {size(unsent)}, announced {duration(max(0, session.now - told))} ago"
    evidence = f"{coming}; {found.diagnosis.evidence}"
    return replace(found, diagnosis=replace(found.diagnosis, evidence=evidence))


def _pulled(found: Row, role: Role) -> Row:
    """The row of a pair whose other half this host never dials: it is from there that both sides are seen."""
    if found.diagnosis.state is not State.OK:
        return found
    evidence = f"as known here: {role.peer_host} pulls it, and is never dialled"
    return replace(found, diagnosis=replace(found.diagnosis, evidence=evidence))


def moves(session: Session, moving: Moving | None) -> bool:
    """Tell whether there is a stream, and it has not come to a standstill."""
    return moving is not None and not moving.still(session.now)


def _failed_since(session: Session, memory: Memory, synced: Sequence[int]) -> bool:
    """Whether the last that was known of a pair is that a run over it failed: only its peer can say that it is well."""
    failure = last_failure(session.now, memory)
    return failure is not None and failure.at > (last_of(synced, session.now) or 0)


def _diagnose(session: Session, mine: Member, theirs: Member | ZrepError | None, *, moving: bool = False) -> Diagnosis:
    if not mine.role.paired:
        return diagnose_alone(mine.name, mine.role)
    try:
        return diagnose_pair(session, mine, theirs, moving=moving)
    except ZrepError as error:
        return diagnose(session.tag, mine, error)
