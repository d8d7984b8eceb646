"""status: how each pair is, after asking the peers, without changing anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.busy import BUSY_IS_NEWS, UNFINISHED, Holder, at_it, long_busy
from zrep.core.diagnosis import unread
from zrep.core.errors import BusyError, RefusedError, ZrepError
from zrep.core.pair import Tree
from zrep.core.pair_state import LINKED
from zrep.core.requests import ReadHolders
from zrep.core.role import Role
from zrep.ops.children import find_left_out
from zrep.ops.finding import find_link, nothing_here
from zrep.ops.full_wire import Patience, any_moves, begin
from zrep.ops.other_halves import PATIENCE, ask_peers, observe_soon, recall_trees
from zrep.ops.pairs import look_while_changing
from zrep.ops.read import find_roles
from zrep.ops.rows import Row, lost_rows, of_zrep, relays_named
from zrep.ops.session import Session
from zrep.ops.status_rows import moves, rows_of


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
    patience = begin(session, roles, PATIENCE)
    seen = look_while_changing(
        {name: roles[name].recursive for name in chosen},
        partial(_look, session, patience, members),
        partial(observe_soon, session, session.local),
    )
    masters = [each.here.members[0] for each in seen.values() if isinstance(each.here, Tree) and each.here.role.master]
    left = find_left_out(session.local, session.tag, masters)
    rows = [replace(row, left_out=left.get(row.name, row.left_out)) for each in seen.values() for row in each.rows]
    rows = relays_named(session, [_with_holder(session, row) for row in rows])
    failed = {name: each.here for name, each in seen.items() if isinstance(each.here, ZrepError)}
    return [*rows, *(_unread(session, name, roles[name], error) for name, error in failed.items()), *lost]


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
    found = observe_soon(session, session.local, names)
    trees = {name: tree for name, tree in found.items() if isinstance(tree, Tree)}
    recalled = recall_trees(session, trees.values(), *names)
    asked = [tree for tree in trees.values() if tree.role.askable and not tree.role.only_dialled]
    peers = ask_peers(session, asked, patience)
    full = {tree.role.peer_host for tree in asked if isinstance(peers.get(tree.name), BusyError)}
    there = frozenset(host for host in full if any_moves(session, host))
    rows = {
        name: rows_of(session, tree, peers.get(name), recalled, there, members=members) for name, tree in trees.items()
    }
    return {name: _Look(here, rows.get(name, ())) for name, here in found.items()}


def _with_holder(session: Session, found: Row) -> Row:
    """The same row, busy where somebody who has the lock here is at what is unfinished; or where nothing was synced for
    long because somebody has it, and no stream of it moves."""
    if found.diagnosis.state in UNFINISHED:
        holder = _holder(session, found)
        if holder is None:
            return found
        return replace(found, diagnosis=at_it(found.diagnosis, holder, moves=moves(session, found.moving)))
    well = found.diagnosis.state in LINKED
    if found.role != "master" or not well or (found.lag is not None and found.lag <= BUSY_IS_NEWS):
        return found
    if moves(session, found.moving):  # that is what the lock is for
        return found
    holder = _holder(session, found)
    judged = long_busy(found.lag, holder) if holder else None
    return replace(found, diagnosis=replace(judged, unasked=found.diagnosis.unasked)) if judged else found


def _holder(session: Session, found: Row) -> Holder | None:
    return session.local.ask(ReadHolders((found.name,))).get(found.name)


def _unread(session: Session, name: str, role: Role, error: ZrepError) -> Row:
    """The row of one that is here and cannot be read."""
    kind = {True: "master", False: "replica", None: "none"}[role.master]
    peer = f"{role.peer_host}:{role.peer_fs}" if role.paired else "-"
    return Row(name, kind, peer, unread(error), None, None, None, None, session.tag, role.epoch)
