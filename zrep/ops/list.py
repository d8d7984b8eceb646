"""list: what is known here without asking any peer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from zrep.core.dataset import Member
from zrep.core.errors import ZrepError
from zrep.core.moving import together
from zrep.core.names import ancestors
from zrep.core.pair import lane_members
from zrep.core.role import Role
from zrep.core.sets import whole_at
from zrep.ops.children import find_left_out
from zrep.ops.finding import find_link, lost_here
from zrep.ops.memory import Memory, recall, under_way
from zrep.ops.read import find_roles, observe_trees, read_own_properties, survey
from zrep.ops.rows import Row, as_members, fold, known_here, lost_rows, of_zrep, relays_named
from zrep.ops.session import Session


def listing(session: Session, masters_only: bool, chosen: Sequence[str] = (), *, members: bool = False) -> list[Row]:
    """A row for each filesystem here that is part of a pair, or a split copy, or of those that are chosen and what is
    below them; of a tree one for all of it, with members each of theirs after that. A name that has no row here is
    refused, with the reason. Of what is not shown no snapshot is read."""

    def is_chosen(name: str) -> bool:
        return not chosen or not {name, *ancestors(name)}.isdisjoint(chosen)

    roles = _roles(session, chosen)
    names = [name for name, role in roles.items() if is_chosen(name) and (role.master or not masters_only)]
    recalled = recall(session, *names)
    moving = under_way(session.local, recalled)
    rows: list[Row] = []
    parents: list[Member] = []
    for member in survey(session.driver, session.tag, [name for name in names if not roles[name].recursive]):
        rows.append(known_here(session, member, recalled[member.name], moving.get(member.name)))
        if member.role.master and member.has_children:
            parents.append(replace(member, snapshots=()))
    rows += _tree_rows(session, [name for name in names if roles[name].recursive], recalled, members=members)
    found = find_left_out(session.local, session.tag, parents)
    rows = [replace(row, left_out=found.get(row.name, row.left_out)) for row in rows]
    lost = [row for row in lost_rows(session) if is_chosen(row.name)]
    return relays_named(session, sorted([*rows, *lost], key=lambda row: row.name))


def _roles(session: Session, chosen: Sequence[str]) -> dict[str, Role]:
    """The roles here that are worth a row, in one command; a name chosen that has no row is refused, with the
    reason."""
    roles = {name: role for name, role in find_roles(session.local, session.tag).items() if of_zrep(role)}
    unknown = [name for name in chosen if name not in roles]
    lost = lost_here(session) if unknown else {}
    for name in unknown:
        if name not in lost:
            find_link(session, name, strict=False)
    return roles


def _tree_rows(session: Session, names: Sequence[str], recalled: Mapping[str, Memory], *, members: bool) -> list[Row]:
    """The rows of trees here, as far as they can be read."""
    rows: list[Row] = []
    for name, tree in observe_trees(session.local, session.tag, dict.fromkeys(names, True)).items():
        if isinstance(tree, ZrepError):
            raise tree.about(name)
        members_here = lane_members(tree)
        known = whole_at(tree, session.tag)
        moving = under_way(session.local, recall(session, *(member.name for member in members_here)))
        whole = together(list(moving.values()))
        own = [
            known_here(
                session, member, recalled[name], moving.get(member.name), root=name, tree_moving=whole, known=known
            )
            for member in members_here
        ]
        rows += [fold(own, tree.aside, session.now), *(as_members(own) if members else ())]
    return rows


def properties(session: Session, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """list -v: every local property of ours, by filesystem. A name that has no row here is refused."""
    if names:
        _roles(session, names)
    found = read_own_properties(session.local, session.tag)
    return {name: values for name, values in found.items() if not names or name in names}


def snapshots(session: Session, names: Sequence[str]) -> dict[str, list[tuple[str, int | None, int]]]:
    """list --snapshots: our snapshots by filesystem: name, when it was known sent (None: not), bytes used. A name
    that has no row here is refused."""
    roles = _roles(session, names)
    chosen = [name for name, role in roles.items() if role.paired and (not names or name in names)]
    return {
        member.name: [(s.name, s.sent, s.used) for s in member.ours(session.tag)]
        for member in survey(session.driver, session.tag, chosen)
    }
