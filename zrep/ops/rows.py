"""Rows of list and status: what is told of one filesystem, and of a tree what all of it comes to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.age import NOT_SYNCED, judge_age, last_of
from zrep.core.dataset import Member, Snapshot
from zrep.core.diagnosis import begun_by_the_shell, diagnose_alone, unread
from zrep.core.moving import Moving, say, together
from zrep.core.neighbours import LeftOut, left_out
from zrep.core.pair_state import Diagnosis, State
from zrep.core.quantities import duration, size
from zrep.core.requests import ReadHolders
from zrep.core.role import Role
from zrep.core.tags import replica_under
from zrep.ops.failures import Failure, last_failure
from zrep.ops.finding import lost_here
from zrep.ops.memory import LastStream, Memory, last_stream, left_behind, moments
from zrep.ops.read import read_other_roles
from zrep.ops.session import Session

# What cron runs.
_SYNCS = ("sync", "refresh")


class Row(Struct, frozen=True):
    """One filesystem for list and status. sent: unix seconds of the newest snapshot known to be on both sides, lag:
    seconds since the replica was last known to be up to date (0: nothing is missing there),
    behind: bytes written since; unsent: snapshots waiting; epoch: how many times the role has moved; left_out: what
    nobody replicates below the master; synced: when both sides were last known to be equal; moving: the stream that is
    under way, and at: when that was asked; arrivals: of each snapshot that both sides have, when it was made and when
    it was known to be there; kept: what the replica has set otherwise than its master, as text; member: it
    is one of a tree, whose row stands before; set_complete: of a tree, whether all members have what was sent last;
    last_stream: what was last sent of it; last_failure: the last run over it that failed. None: not known."""

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
    member: bool = False
    set_complete: bool | None = None
    last_stream: LastStream | None = None
    last_failure: Failure | None = None

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
    def cause(self) -> str:
        """Of what is late, why: one word for programs."""
        return self.diagnosis.cause

    @property
    def code(self) -> int:
        return self.diagnosis.code

    @property
    def stream_at(self) -> int | None:
        """When what was last sent had arrived, seconds since 1970."""
        return self.last_stream.at if self.last_stream else None

    @property
    def stream_took(self) -> float | None:
        """Seconds."""
        return self.last_stream.took if self.last_stream else None

    @property
    def stream_size(self) -> int | None:
        """Bytes."""
        return self.last_stream.size if self.last_stream else None

    @property
    def failed(self) -> int | None:
        """When a run over it last failed, seconds since 1970."""
        return self.last_failure.at if self.last_failure else None

    @property
    def failed_command(self) -> str:
        """Which run that was."""
        return self.last_failure.command if self.last_failure else ""


def of_zrep(role: Role) -> bool:
    """Whether a role is worth a row: that of a pair, of a split copy, or what a cut rejoin left."""
    return bool(role.paired or role.split or role.rejoining)


def row(session: Session, member: Member, diagnosis: Diagnosis, synced: int | None) -> Row:
    """What is known here of one filesystem. synced: when both sides were last known to be equal."""
    role = member.role
    if role.split or not role.paired:
        used = member.number("used")
        return Row(member.name, "split", "-", diagnosis, None, None, used, None, session.tag, role.epoch)
    marked = member.marked
    sent = max((snapshot.sent for snapshot in marked if snapshot.sent), default=None)
    behind: int | None = None
    unsent: int | None = None
    if role.master and marked:
        behind = member.written_since(marked[-1])
        unsent = unsent_since(session.tag, member, marked[-1])
    lag = None if synced is None else 0 if behind == 0 else max(0, session.now - synced)
    kind = {True: "master", False: "replica", None: "none"}[role.master]
    peer = f"{role.peer_host}:{role.peer_fs}"
    ours = member.ours(session.tag)  # of another program's nobody knows when they came
    arrivals = tuple((each.creation, each.sent) for each in ours if each.sent and each.sent >= each.creation)
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


def known_here(
    session: Session,
    member: Member,
    recalled: Memory,
    moving: Moving | None,
    *,
    root: str = "",
    tree_moving: Moving | None = None,
    known: Sequence[int] = (),
) -> Row:
    """What is known of one filesystem without asking its peer. moving: the stream of it that is under way; root,
    tree_moving: of a member of a tree, as of aged; known: when all of its tree was on both sides."""
    known = [*known, *moments(member.snapshots, recalled, "synced")]
    diagnosis = begun_by_the_shell(session.tag, member) or diagnose_alone(member.name, member.role)
    found = row(session, member, diagnosis, last_of(known, session.now))
    found = with_remembered(session, found, moving, recalled)
    role = member.role
    if role.master is False:  # what its master last said
        master, names = replace(role, master=True), left_behind(recalled)
        found = replace(found, left_out=left_out(session.tag, role.src_fs, master, names, role.src_host))
    return aged(session, found, member, None, known, root=root or member.name, moving=tree_moving)


def with_remembered(session: Session, found: Row, moving: Moving | None, own: Memory, *others: Memory) -> Row:
    """A row with its stream under way, and what is remembered of its pair on this host (own) and on others."""
    failure = last_failure(session.now, own, *others)
    return replace(found, moving=moving, at=session.now, last_stream=last_stream(own), last_failure=failure)


def aged(
    session: Session,
    found: Row,
    mine: Member,
    theirs: Member | None,
    known: Sequence[int],
    *,
    root: str,
    moving: Moving | None,
) -> Row:
    """The same row, late where its replica is older than it may be. known: as of judge_age; root: that of its tree;
    moving: the streams of that under way, as one."""
    paused = None
    if found.diagnosis.state is State.PAUSED:
        from zrep.ops.pause import paused_since  # seldom needed

        paused = paused_since(found.detail)
    judge = partial(
        judge_age,
        found.diagnosis,
        mine,
        theirs,
        known=known,
        paused=paused,
        behind=found.behind,
        now=session.now,
        moving=found.moving or moving,
        failed=_failed_since(found, last_of(known, session.now)),
    )
    judged = judge()
    if judged.cause == NOT_SYNCED and not judge.keywords["failed"]:
        judged = judge(holder=session.local.ask(ReadHolders((root,))).get(root))
    return replace(found, diagnosis=judged)


def _failed_since(found: Row, synced: int | None) -> str:
    """That a sync of it has failed since it was synced, in words; "" where none has."""
    failure = found.last_failure
    if failure is None or failure.command not in _SYNCS or failure.at <= (synced or 0):
        return ""
    return f"its last {failure.command} failed {duration(max(0, found.at - failure.at))} ago"


def lost_rows(session: Session) -> list[Row]:
    """A row for each pool here that answers nothing: what is in it has none."""
    return [
        Row(pool, "none", "-", unread(error), None, None, None, None, session.tag)
        for pool, error in lost_here(session).items()
    ]


def relays_named(session: Session, rows: Sequence[Row]) -> list[Row]:
    """The same rows, with those masters here called relays that only pass on what they receive under another tag."""
    others = read_other_roles(session.local, session.tag, [row.name for row in rows if row.role == "master"])
    return [replace(row, role="relay") if replica_under(others.get(row.name, {})) else row for row in rows]


def unsent_since(tag: str, master: Member, base: Snapshot) -> int:
    """How many of zrep's own snapshots wait to be sent; somebody else's are not sent for their own sake."""
    return sum(snapshot.createtxg > base.createtxg for snapshot in master.ours(tag))


def as_members(rows: Sequence[Row]) -> list[Row]:
    """The same rows, after that of their tree."""
    return [replace(row, member=True) for row in rows]


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
