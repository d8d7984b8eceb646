"""status: how each pair is, after asking the peers, without changing anything."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from shlex import quote

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.age import last_of
from zrep.core.busy import BUSY_IS_NEWS, UNFINISHED, Holder, at_it, long_busy
from zrep.core.dataset import Member
from zrep.core.diagnosis import diagnose, diagnose_alone, unread
from zrep.core.errors import BusyError, RefusedError, ZrepError
from zrep.core.moving import Moving, together
from zrep.core.neighbours import LeftOut
from zrep.core.pair import End, Lane, Pair, Tree, lane_members, newest_base, plain_tree
from zrep.core.pair_state import LINKED, Diagnosis, State
from zrep.core.plan_copied_properties import kept
from zrep.core.plan_keys import plan_keys
from zrep.core.quantities import duration, size
from zrep.core.requests import ReadHolders
from zrep.core.role import Role
from zrep.core.sets import beyond_set, whole_at
from zrep.host.local import Host
from zrep.host.parallel import start
from zrep.ops.children import find_left_out
from zrep.ops.failures import last_failure
from zrep.ops.finding import find_link, nothing_here
from zrep.ops.full_wire import Patience, any_moves, begin
from zrep.ops.list import (
    Row,
    aged,
    as_members,
    fold,
    known_here,
    lost_rows,
    of_zrep,
    relays_named,
    row,
    unsent_since,
    with_remembered,
)
from zrep.ops.memory import Memory, moments, recall, under_way
from zrep.ops.pairs import diagnose_pair, look_while_changing
from zrep.ops.read import find_roles, observe_trees, read_token
from zrep.ops.session import Session

# Longer than a transaction group takes on disks that are busy.
_SECONDS = 15.0
# Whoever monitors waits seconds. A peer that has not said a word so many seconds after it was dialled, and not all that
# it is asked so many after the beginning, has a full wire, where streams of zrep's fill it.
_GREETING = 2.0
_PATIENCE = 3.0
# So many names at most, of those about which the same is said.
_NAMED = 5


def status(session: Session, names: Sequence[str], *, members: bool = False) -> list[Row]:
    """A row for each filesystem here, or those named; a peer that does not answer makes its state "peer unknown", and
    is no error. members: and one for each member of a tree."""
    roles = find_roles(session.local, session.tag)
    for name in names:
        find_link(session, name, strict=False)
    chosen = [name for name, role in roles.items() if of_zrep(role) and (not names or name in names)]
    lost = [] if names else lost_rows(session)
    if not chosen and not lost and not session.options.may_be_empty:
        raise nothing_here(session)
    patience = begin(session, roles, _PATIENCE)
    seen = look_while_changing(
        {name: roles[name].recursive for name in chosen},
        partial(_look, session, patience, members),
        partial(_observe, session, session.local),
    )
    masters = [each.here.members[0] for each in seen.values() if isinstance(each.here, Tree) and each.here.role.master]
    left = find_left_out(session.local, session.tag, masters)
    rows = [replace(row, left_out=left.get(row.name, row.left_out)) for each in seen.values() for row in each.rows]
    rows = relays_named(session, [_with_holder(session, row) for row in rows])
    unread = {name: each.here for name, each in seen.items() if isinstance(each.here, ZrepError)}
    return [*rows, *(_unread(session, name, roles[name], error) for name, error in unread.items()), *lost]


class _Look(Struct, frozen=True):
    """What was seen of a pair: the half here, and the rows of both, none where that one cannot be read."""

    here: Tree | ZrepError
    rows: Sequence[Row] = ()

    @property
    def alarming(self) -> bool:
        return any(row.code == RefusedError.exit_code for row in self.rows)


def _look(session: Session, patience: Patience, members: bool, names: Mapping[str, bool]) -> dict[str, _Look]:
    """Look at both halves of pairs: first the one here, then the other. members: with a row for each of a tree's;
    names: whether each is a tree."""
    found = _observe(session, session.local, names)
    trees = {name: tree for name, tree in found.items() if isinstance(tree, Tree)}
    recalled = _recall(session, trees.values(), *names)
    asked = [tree for tree in trees.values() if tree.role.askable and not tree.role.only_dialled]
    peers = _ask(session, asked, patience)
    full = {tree.role.peer_host for tree in asked if isinstance(peers.get(tree.name), BusyError)}
    there = frozenset(host for host in full if any_moves(session, host))
    rows = {
        name: _rows(session, tree, peers.get(name), recalled, there, members=members) for name, tree in trees.items()
    }
    return {name: _Look(here, rows.get(name, ())) for name, here in found.items()}


def _with_holder(session: Session, found: Row) -> Row:
    """The same row, busy where somebody who has the lock here is at what is unfinished; or where nothing was synced for
    long because somebody has it, and no stream of it moves."""
    if found.diagnosis.state in UNFINISHED:
        holder = _holder(session, found)
        if holder is None:
            return found
        return replace(found, diagnosis=at_it(found.diagnosis, holder, moves=_moves(session, found.moving)))
    well = found.diagnosis.state in LINKED
    if found.role != "master" or not well or (found.lag is not None and found.lag <= BUSY_IS_NEWS):
        return found
    if _moves(session, found.moving):  # that is what the lock is for
        return found
    holder = _holder(session, found)
    judged = long_busy(found.lag, holder) if holder else None
    return replace(found, diagnosis=replace(judged, unasked=found.diagnosis.unasked)) if judged else found


def _holder(session: Session, found: Row) -> Holder | None:
    return session.local.ask(ReadHolders((found.name,))).get(found.name)


def _observe(session: Session, host: Host, names: Mapping[str, bool]) -> dict[str, Tree | ZrepError]:
    """Monitoring reads it: what it says of bytes behind, or written to a replica, must not lag a transaction group; and
    it has its answer in seconds, whatever hangs."""
    return observe_trees(host, session.tag, names, sync_txg=True, seconds=_SECONDS)


def _unread(session: Session, name: str, role: Role, error: ZrepError) -> Row:
    """One that is here and cannot be read."""
    kind = {True: "master", False: "replica", None: "none"}[role.master]
    peer = f"{role.peer_host}:{role.peer_fs}" if role.paired else "-"
    return Row(name, kind, peer, unread(error), None, None, None, None, session.tag, role.epoch)


class _Recalled(Struct, frozen=True):
    """What one host remembers of datasets in its pairs. memories: by name; moving: the streams of those that are being
    worked on there, by name."""

    memories: Mapping[str, Memory]
    moving: Mapping[str, Moving]


def _recall(session: Session, trees: Iterable[Tree | ZrepError], *names: str, host: Host | None = None) -> _Recalled:
    """Recall what a host, this one unless another is given, remembers of trees, of each member, and of other names."""
    members = [member.name for tree in trees if isinstance(tree, Tree) for member in tree.members]
    memories = recall(session, *dict.fromkeys([*names, *members]), host=host)
    return _Recalled(memories, under_way(host or session.local, memories))


class _Other(Struct, frozen=True):
    """The other half of a pair, or of a lane of one, what is remembered of the pair on its host, and what nobody
    replicates below it."""

    half: Tree
    recalled: Memory
    moving: Mapping[str, Moving]
    left_out: LeftOut | None

    @property
    def member(self) -> Member:
        return self.half.members[0]


def _ask(session: Session, trees: Sequence[Tree], patience: Patience) -> dict[str, _Other | ZrepError]:
    """The other halves by their names here, those that are there; instead of each of a peer's, what kept it from being
    asked."""
    by_peer: dict[str, list[Tree]] = {}
    for tree in trees:
        by_peer.setdefault(tree.role.peer_host, []).append(tree)
    peers = [partial(_ask_peer, session, host, mine, patience) for host, mine in by_peer.items()]
    found: dict[str, _Other | ZrepError] = {}
    for answers in session.side_by_side(peers, len(peers)):
        found |= answers
    return found


def _ask_peer(session: Session, name: str, mine: Sequence[Tree], patience: Patience) -> dict[str, _Other | ZrepError]:
    """The same of one peer. Where streams fill the wire to it, that is the answer: monitoring does not wait for their
    end. A peer that greets soon has a wire, and is waited for."""
    try:
        peer = session.host(name)
    except ZrepError as error:
        return {each.name: error for each in mine}
    if peer.answered:
        return _answers(session, peer, mine)
    said: list[dict[str, _Other | ZrepError] | BaseException] = []

    def ask() -> None:
        try:
            said.append(_answers(session, peer, mine))
        except BaseException as error:  # raised where it is waited for
            said.append(error)

    began = time.monotonic()
    ended = start(ask)
    if not ended.wait(_GREETING) and not peer.answered:
        ended.wait(max(_GREETING / 4, patience.until - time.monotonic()))
        if not said and (working := patience.at_work(session, name)):
            evidence = f"no answer in {time.monotonic() - began:.0f} s, while zrep is at work on {', '.join(working)}"
            full = BusyError(f"the wire to {name} is full", evidence=evidence)
            peer.hang_up(full)  # what is under way changes nothing, and its end would take as long as an answer
            return {each.name: full for each in mine}
    ended.wait()
    [answers] = said
    if isinstance(answers, BaseException):
        raise answers
    return answers


def _answers(session: Session, peer: Host, mine: Sequence[Tree]) -> dict[str, _Other | ZrepError]:
    found: dict[str, _Other | ZrepError] = {}
    try:
        theirs = _observe(session, peer, {x.role.peer_fs: x.role.recursive for x in mine})
        known = _recall(session, theirs.values(), *theirs, host=peer)
        masters = [other.members[0] for other in theirs.values() if isinstance(other, Tree) and other.role.master]
        left = find_left_out(peer, session.tag, masters, here=False)
    except ZrepError as error:
        if isinstance(error, RefusedError) and len(mine) > 1 and peer.answered:  # by a gate, for one of them
            middle = len(mine) // 2
            return _answers(session, peer, mine[:middle]) | _answers(session, peer, mine[middle:])
        return {x.name: error for x in mine}
    for each in (each for each in mine if each.role.peer_fs in theirs):
        other = theirs[each.role.peer_fs]
        if isinstance(other, Tree):
            found[each.name] = _Other(other, known.memories[other.name], known.moving, left.get(other.name))
        else:
            found[each.name] = other
    return found


def _rows(
    session: Session,
    mine: Tree,
    theirs: _Other | ZrepError | None,
    recalled: _Recalled,
    there: Collection[str],
    *,
    members: bool,
) -> list[Row]:
    """The row of a pair; of a tree that of its worst member, with members each of theirs after it. there: hosts that
    have not answered, and that streams show to be there."""
    if mine.role.only_dialled:
        moving = recalled.moving.get(mine.name)
        return [_pulled(known_here(session, mine.members[0], recalled.memories[mine.name], moving), mine.role)]
    if not isinstance(theirs, _Other):
        return _unasked(session, mine, theirs, recalled, alive=mine.role.peer_host in there, members=members)
    if not mine.role.recursive:
        moving = together(_streams(recalled, theirs, [(mine.name, theirs.member.name)]))
        judged = _diagnose(session, mine.members[0], theirs.member)
        return [_row(session, mine.members[0], theirs, recalled, _Around(mine.name, moving), judged)]
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
    session: Session, mine: Tree, error: ZrepError | None, recalled: _Recalled, *, alive: bool, members: bool
) -> list[Row]:
    """The same of one whose other half is not known: what kept its host from being asked, or None where it is not
    there. What is known here of a tree is that of all its members. alive: a stream shows that the host is there."""
    known = lane_members(mine) if mine.role.recursive else mine.members
    moving = together(_streams(recalled, error, [(member.name, "") for member in known]))
    memory = recalled.memories[mine.name]
    around = _Around(mine.name, moving, whole_at(mine, session.tag) if mine.role.recursive else ())
    synced = [*around.known, *moments(mine.members[0].snapshots, memory, "synced")]
    well = alive and (_moves(session, moving) or not _failed_since(session, memory, synced))
    judged = _diagnose(session, mine.members[0], error, moving=well)
    rows = [_row(session, member, error, recalled, around, judged) for member in known]
    if not mine.role.recursive:
        return rows
    return [fold(rows, mine.aside, session.now), *(as_members(rows) if members else ())]


def _moves(session: Session, moving: Moving | None) -> bool:
    return moving is not None and not moving.still(session.now)


def _failed_since(session: Session, memory: Memory, synced: Sequence[int]) -> bool:
    """Whether the last that was known of a pair is that a run over it failed: only its peer can say that it is well."""
    failure = last_failure(session.now, memory)
    return failure is not None and failure.at > (last_of(synced, session.now) or 0)


def _streams(recalled: _Recalled, other: _Other | ZrepError | None, names: Iterable[tuple[str, str]]) -> list[Moving]:
    """The streams under way of what has these names here and there: the host that drives it knows."""
    there = other.moving if isinstance(other, _Other) else {}
    found = (recalled.moving.get(own) or there.get(others) for own, others in names)
    return [stream for stream in found if stream]


def _pulled(found: Row, role: Role) -> Row:
    """The row of a pair whose other half this host never dials: it is from there that both sides are seen."""
    if found.diagnosis.state is not State.OK:
        return found
    evidence = f"as known here: {role.peer_host} pulls it, and is never dialled"
    return replace(found, diagnosis=replace(found.diagnosis, evidence=evidence))


class _Around(Struct, frozen=True):
    """The tree of a dataset. root: its root here; moving: its streams under way, as one: where one moves, the others
    wait for their turn; known: when all of it was on both sides, as its snapshots say."""

    root: str
    moving: Moving | None
    known: Sequence[int] = ()


def _row(
    session: Session,
    mine: Member,
    other: _Other | ZrepError | None,
    recalled: _Recalled,
    around: _Around,
    judged: Diagnosis,
) -> Row:
    """The row of one dataset here. judged: the state that it is in."""
    root = around.root
    theirs = other.member if isinstance(other, _Other) else other
    known = [*around.known, *moments(mine.snapshots, recalled.memories[root], "synced")]
    if isinstance(other, _Other):
        known += moments(other.member.snapshots, other.recalled, "synced")
    synced = last_of(known, session.now)
    moving = together(_streams(recalled, other, [(mine.name, other.member.name if isinstance(other, _Other) else "")]))
    found = row(session, mine, judged, synced)
    others = [other.recalled] if isinstance(other, _Other) else []
    found = with_remembered(session, found, moving, recalled.memories[root], *others)
    if isinstance(theirs, ZrepError) and mine.name == root:
        found = _with_announced(session, found, mine, theirs, recalled.memories[root], synced)
    if not isinstance(theirs, Member):
        return aged(session, found, mine, None, known, root=root, moving=around.moving)
    if isinstance(other, _Other) and not mine.role.master:
        found = replace(found, left_out=other.left_out)
    found = _compared(session, found, mine, theirs)
    return aged(session, found, mine, theirs, known, root=root, moving=around.moving)


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


def _diagnose(session: Session, mine: Member, theirs: Member | ZrepError | None, *, moving: bool = False) -> Diagnosis:
    if not mine.role.paired:
        return diagnose_alone(mine.name, mine.role)
    try:
        return diagnose_pair(session, mine, theirs, moving=moving)
    except ZrepError as error:
        return diagnose(session.tag, mine, error)
