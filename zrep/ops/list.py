"""list: what is known here without asking any peer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.age import judge_age
from zrep.core.dataset import Member, Snapshot
from zrep.core.diagnosis import diagnose_alone, unread
from zrep.core.errors import ZrepError
from zrep.core.moving import Moving, say, together
from zrep.core.names import ancestors
from zrep.core.neighbours import LeftOut, left_out
from zrep.core.pair import lane_members
from zrep.core.pair_state import Diagnosis, State
from zrep.core.quantities import duration, size
from zrep.core.role import Role
from zrep.core.tags import replica_under
from zrep.ops.children import find_left_out
from zrep.ops.memory import Memory, left_behind, moments, recall
from zrep.ops.pairs import Session
from zrep.ops.read import find_roles, observe_trees, read_other_roles, read_own_properties, survey


class Row(Struct, frozen=True):
    """One filesystem for list and status. sent: unix seconds of the newest snapshot known to be on both sides, lag:
    seconds since the replica was last known to be up to date (0: nothing is missing there),
    behind: bytes written since; unsent: snapshots waiting; epoch: how many times the role has moved; left_out: what
    nobody replicates below the master; synced: when both sides were last known to be equal; moving: the stream that is
    under way, and at: when that was asked; arrivals: of each snapshot that both sides have, when it was made and when
    it was known to be there; kept: what the replica has set otherwise than its master, as text. None: not known."""

    name: str
    role: str
    peer: str
    diagnosis: Diagnosis
    sent: int | None
    lag: int | None
    behind: int | None
    unsent: int | None
    tag: str = ""
    epoch: int | None = None
    left_out: LeftOut | None = None
    synced: int | None = None
    moving: Moving | None = None
    at: int = 0
    arrivals: tuple[tuple[int, int], ...] = ()
    kept: str = ""

    @property
    def state(self) -> str:
        return self.diagnosis.state.word

    @property
    def detail(self) -> str:
        """How far a stream under way is, why the state is what it is, and what is set on the replica alone."""
        return "; ".join(filter(None, [self.sending, self.diagnosis.evidence, self.kept]))

    @property
    def sending(self) -> str:
        """How far a stream under way is, "" where none is."""
        return say(self.moving, self.at) if self.moving else ""

    @property
    def advice(self) -> str:
        """What to do about it."""
        return self.diagnosis.advice

    @property
    def code(self) -> int:
        return self.diagnosis.code


def listing(session: Session, masters_only: bool, *, members: bool = False) -> list[Row]:
    """A row for each filesystem here that is part of a pair, or a split copy; of a tree one for all of it, with members
    each of theirs after that."""
    roles = find_roles(session.local, session.tag)
    names = [name for name, role in roles.items() if of_zrep(role) and (role.master or not masters_only)]
    recalled = recall(session, *names)
    rows: list[Row] = []
    parents: list[Member] = []
    for member in survey(session.driver, session.tag, [name for name in names if not roles[name].recursive]):
        rows.append(known_here(session, member, recalled[member.name]))
        if member.role.master and member.has_children:
            parents.append(replace(member, snapshots=()))
    rows += _tree_rows(session, [name for name in names if roles[name].recursive], recalled, members=members)
    found = find_left_out(session.local, session.tag, parents)
    rows = [replace(row, left_out=found.get(row.name, row.left_out)) for row in rows]
    return relays_named(session, sorted([*rows, *lost_rows(session)], key=lambda row: row.name))


def chosen(session: Session, masters_only: bool, names: Sequence[str], *, members: bool = False) -> list[Row]:
    """The same of those that are named; no names: of all."""
    rows = listing(session, masters_only, members=members)
    return [row for row in rows if not names or row.name in names or set(ancestors(row.name)) & set(names)]


def _tree_rows(session: Session, names: Sequence[str], recalled: Mapping[str, Memory], *, members: bool) -> list[Row]:
    """The rows of trees here, as far as they can be read."""
    rows: list[Row] = []
    for name, tree in observe_trees(session.local, session.tag, dict.fromkeys(names, True)).items():
        if isinstance(tree, ZrepError):
            raise tree.about(name)
        own = [known_here(session, member, recalled[name]) for member in lane_members(tree)]
        rows += [fold(own, tree.aside, session.now), *(own if members else ())]
    return rows


def lost_rows(session: Session) -> list[Row]:
    """A row for each pool here that answers nothing: what is in it has none."""
    return [
        Row(pool, "none", "-", unread(error), None, None, None, None, session.tag)
        for pool, error in session.lost_here().items()
    ]


def known_here(session: Session, member: Member, recalled: Memory) -> Row:
    """What is known of one filesystem without asking its peer."""
    synced = max(moments(member.snapshots, recalled, "synced"), default=None)
    found = row(session, member, diagnose_alone(member.name, member.role), synced)
    role = member.role
    if role.master is False:  # what its master last said
        master, names = replace(role, master=True), left_behind(recalled)
        found = replace(found, left_out=left_out(session.tag, role.src_fs, master, names, role.src_host))
    return aged(session, found, member, None, synced)


def aged(session: Session, found: Row, mine: Member, theirs: Member | None, synced: int | None) -> Row:
    """The same row, late where its replica is older than it may be."""
    paused = None
    if found.diagnosis.state is State.PAUSED:
        from zrep.ops.pause import paused_since  # seldom needed

        paused = paused_since(found.detail)
    judged = judge_age(
        found.diagnosis, mine, theirs, synced=synced, paused=paused, behind=found.behind, now=session.now
    )
    return replace(found, diagnosis=judged)


def relays_named(session: Session, rows: Sequence[Row]) -> list[Row]:
    """The same rows, with those masters here called relays that only pass on what they receive under another tag."""
    others = read_other_roles(session.local, session.tag, [row.name for row in rows if row.role == "master"])
    return [replace(row, role="relay") if replica_under(others.get(row.name, {})) else row for row in rows]


def of_zrep(role: Role) -> bool:
    """Whether a role is worth a row: that of a pair, of a split copy, or what a cut rejoin left."""
    return bool(role.paired or role.split or role.rejoining)


def row(session: Session, member: Member, diagnosis: Diagnosis, synced: int | None) -> Row:
    """What is known here of one filesystem. synced: when both sides were last known to be equal."""
    role = member.role
    if role.split or not role.paired:
        used = member.number("used")
        return Row(member.name, "split", "-", diagnosis, None, None, used, None, session.tag, role.epoch)
    sent = max((snapshot.sent for snapshot in member.snapshots if snapshot.sent), default=None)
    marked = [snapshot for snapshot in member.ours(session.tag) if snapshot.sent]
    behind: int | None = None
    unsent: int | None = None
    if role.master and marked:
        behind = member.written_since(marked[-1])
        unsent = unsent_since(session.tag, member, marked[-1])
    lag = None if synced is None else 0 if behind == 0 else max(0, session.now - synced)
    kind = {True: "master", False: "replica", None: "none"}[role.master]
    peer = f"{role.peer_host}:{role.peer_fs}"
    arrivals = tuple((each.creation, each.sent) for each in marked if each.sent and each.sent >= each.creation)
    return Row(
        member.name,
        kind,
        peer,
        diagnosis,
        sent,
        lag,
        behind,
        unsent,
        session.tag,
        role.epoch,
        synced=synced,
        arrivals=arrivals,
    )


def check(session: Session, names: Sequence[str]) -> None:
    """Refuse a name that has no row here, and say why."""
    known = {row.name for row in listing(session, False)} if names else set()
    for name in names:
        if name not in known:
            session.link(name, strict=False)


def properties(session: Session, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """list -v: every local property of ours, by filesystem."""
    found = read_own_properties(session.local, session.tag)
    return {name: values for name, values in found.items() if not names or name in names}


def snapshots(session: Session, names: Sequence[str]) -> dict[str, list[tuple[str, int | None, int]]]:
    """list -s: our snapshots by filesystem: name, when it was known sent (None: not), bytes used."""
    roles = find_roles(session.local, session.tag)
    chosen = [name for name, role in roles.items() if role.paired and (not names or name in names)]
    return {
        member.name: [(s.name, s.sent, s.used) for s in member.ours(session.tag)]
        for member in survey(session.driver, session.tag, chosen)
    }


def fold(rows: Sequence[Row], aside: Sequence[Member], now: int) -> Row:
    """The row of a tree, whose root's comes first: the state of the worst member, which it names, the oldest age, and
    what all of them miss together. aside: what was set aside of it, which it names with size and age; now: seconds
    since 1970."""
    root = rows[0]
    bad = [row for row in rows if row.code] or [row for row in rows if row.state != "ok"]
    found = bad[0] if bad else root
    evidence = found.diagnosis.evidence
    if found is not root:
        evidence = f"{found.name}: {evidence}"
    if aside:
        kept = ((x.name, size(x.number("used")), duration(max(0, now - (x.role.gone or 0)))) for x in aside)
        names = ", ".join(f"{name} ({used}, {age} ago)" for name, used, age in kept)
        evidence = "; ".join(filter(None, [evidence, f"set aside: {names}"]))
    return replace(
        root,
        diagnosis=replace(found.diagnosis, evidence=evidence),
        sent=max((row.sent for row in rows if row.sent is not None), default=None),
        lag=max((row.lag for row in rows if row.lag is not None), default=None),
        behind=_sum(row.behind for row in rows),
        unsent=_sum(row.unsent for row in rows),
        moving=together([row.moving for row in rows if row.moving]),
        kept="; ".join(row.kept if row is root else f"{row.name}: {row.kept}" for row in rows if row.kept),
    )


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def unsent_since(tag: str, master: Member, base: Snapshot) -> int:
    """How many of zrep's own snapshots wait to be sent; somebody else's are not sent for their own sake."""
    return sum(snapshot.createtxg > base.createtxg for snapshot in master.ours(tag))
