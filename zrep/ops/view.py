"""list and status: what there is, without changing anything."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.dataset import Member
from zrep.core.errors import UnreachableError, ZrepError
from zrep.core.names import memory_key
from zrep.core.pair import newest_common
from zrep.core.quantities import size
from zrep.core.relation import Linked, relate
from zrep.core.requests import Note, Recall
from zrep.core.role import Role
from zrep.ops.pairs import Link, Session
from zrep.ops.read import find_roles, observe, read_own_properties, survey


class Row(Struct, frozen=True):
    """One filesystem for list and status. sent: unix seconds of the newest snapshot known to be on both sides,
    lag: seconds since the replica was last known to be up to date (0: nothing is missing there),
    behind: bytes written since; unsent: snapshots waiting. None: not known. detail: why the state is what it is;
    advice: what to do about it."""

    name: str
    role: str
    peer: str
    state: str
    sent: int | None
    lag: int | None
    behind: int | None
    unsent: int | None
    detail: str = ""
    advice: str = ""
    code: int = 0


def listing(session: Session, masters_only: bool) -> list[Row]:
    """What is known here without asking any peer."""
    roles = find_roles(session.local, session.tag)
    names = [name for name, role in roles.items() if (role.paired or role.split) and (role.master or not masters_only)]
    recalled = _recall(session, names)
    rows = (
        _row(session, member, recalled.get(member.name, {})) for member in survey(session.driver, session.tag, names)
    )
    return sorted(rows, key=lambda row: row.name)


def status(session: Session, names: Sequence[str]) -> list[Row]:
    """The same, after asking each peer; an unreachable one makes the state "peer unknown", not an error."""
    roles = find_roles(session.local, session.tag)
    for name in names:
        session.link(name, strict=False)
    chosen = [name for name, role in roles.items() if (role.paired or role.split) and (not names or name in names)]
    # status is read by monitoring: what it says of bytes behind should not lag a transaction group.
    members = observe(session.local, session.tag, chosen)
    recalled = _recall(session, chosen)
    by_peer: dict[str, list[Link]] = {}
    for name, member in members.items():
        if member.role.paired:
            by_peer.setdefault(Link(session.tag, name, member.role).peer_host, []).append(
                Link(session.tag, name, member.role)
            )
    peers: dict[str, Member | ZrepError | None] = {}
    for host, links in by_peer.items():
        peers.update(_ask(session, host, links))
    return [
        _compare(session, _row(session, member, recalled.get(name, {})), member, peers.get(name))
        for name, member in members.items()
    ]


def _recall(session: Session, names: Sequence[str]) -> dict[str, dict[str, Note]]:
    keys = {name: memory_key(session.tag, name) for name in names}
    found = session.local.ask(Recall(tuple(keys.values())))
    return {name: found.get(key, {}) for name, key in keys.items()}


def _ask(session: Session, host: str, links: list[Link]) -> dict[str, Member | ZrepError | None]:
    try:
        found = observe(session.host(host), session.tag, [link.peer_name for link in links])
    except ZrepError as error:
        return {link.name: error for link in links}
    return {link.name: found.get(link.peer_name) for link in links}


def _row(session: Session, member: Member, recalled: dict[str, Note]) -> Row:
    role = member.role
    if role.split:
        return Row(member.name, "split", "-", "split copy", None, None, member.number("used"), None, role.split)
    link = Link(session.tag, member.name, role)
    sent = max((snapshot.sent for snapshot in member.snapshots if snapshot.sent), default=None)
    marked = [snapshot for snapshot in member.ours(session.tag) if snapshot.sent]
    behind: int | None = None
    unsent: int | None = None
    if role.master and marked:
        behind = member.written_since(marked[-1])
        unsent = sum(snapshot.createtxg > marked[-1].createtxg for snapshot in member.ours(session.tag))
    synced = recalled.get("synced")
    known = max(filter(None, (sent, synced if isinstance(synced, int) else None)), default=None)
    lag = None if known is None else 0 if behind == 0 else max(0, session.now - known)
    return Row(
        member.name,
        {True: "master", False: "replica", None: "none"}[role.master],
        f"{link.peer_host}:{link.peer_name}",
        _own_state(role, member.name),
        sent,
        lag,
        behind,
        unsent,
        role.unreadable or _renamed(role, member.name) or role.paused,
        _own_advice(link),
        code=3 if role.unreadable or _renamed(role, member.name) else 0,
    )


def _renamed(role: Role, name: str) -> str:
    """What its pair knows a renamed dataset as; "" for one that was not."""
    return f"its pair knows it as {role.own_fs}" if role.own_fs != name else ""


def _own_state(role: Role, name: str) -> str:
    if role.unreadable:
        return "unreadable"
    if _renamed(role, name):
        return "renamed"
    if role.intent is not None and role.intent.operation == "init":
        return "init unfinished"
    if role.intent is not None and role.intent.operation == "rejoin":
        return "rejoin unfinished"
    if role.intent is not None and role.intent.operation == "stopped":
        return "stopped"
    if role.intent is not None and not role.intent.completed:
        return "role change unfinished"
    return "paused" if role.paused else "ok"


def _own_advice(link: Link) -> str:
    """What to do about the state a side is in by itself."""
    match _own_state(link.role, link.name):
        case "unreadable":
            return "update zrep on both hosts, or set right what was changed by hand: zrep list -v"
        case "renamed":
            return f"zrep changeconfig {quote(link.name)}"
        case "init unfinished":
            return f"zrep init {quote(link.name)} {link.peer_host} {quote(link.peer_name)}"
        case "rejoin unfinished":
            return f"zrep rejoin {quote(link.role.rejoining)}"
        case "stopped" | "role change unfinished":
            return _on_master(link, "sync")
    return ""


def _on_master(link: Link, command: str) -> str:
    """A command of zrep for the master of a pair."""
    if link.is_master:
        return f"zrep {command} {quote(link.name)}"
    return f"on {link.peer_host}: zrep {command} {quote(link.peer_name)}"


def _compare(session: Session, row: Row, mine: Member, theirs: Member | ZrepError | None) -> Row:
    if row.role == "split" or row.state in ("unreadable", "renamed"):
        return row
    if isinstance(theirs, ZrepError):
        word = "peer unknown" if row.state in ("ok", "paused") else row.state
        return replace(
            row, state=word, detail=theirs.line(), advice="", code=5 if isinstance(theirs, UnreachableError) else 3
        )
    if row.state == "init unfinished":
        return replace(row, code=3)
    if theirs is None:
        advice = f"if it is lost for good: zrep clear {quote(row.name)}, then zrep init again"
        return replace(row, state="peer missing", detail=f"{row.peer} does not exist", advice=advice, code=3)
    link = Link(session.tag, row.name, mine.role)
    relation = relate(mine.role, theirs.role)
    if not isinstance(relation, Linked):
        words = {"stale": "stale master" if mine.role.master else "stale"}
        state = row.state if relation.word == "ok" else words.get(relation.word, relation.word)
        advice = relation.advice(row.name, link.peer_host, link.peer_name) or row.advice
        code = 0 if state in ("ok", "paused") else 3
        return replace(row, state=state, detail=relation.evidence(), advice=advice, code=code)
    if row.state == "ok":
        row = _judge_data(row, link, mine, theirs)
    return replace(row, code=row.code or (3 if row.state.endswith("unfinished") else 0))


def _judge_data(row: Row, link: Link, mine: Member, theirs: Member) -> Row:
    master, replica = (mine, theirs) if mine.role.master else (theirs, mine)
    base = newest_common(master, replica)
    if base is None:
        advice = f"{_on_master(link, 'clear')}, then zrep init to a new target"
        return replace(row, state="no common snapshot", advice=advice, code=3)
    on_replica = replica.by_guid(base.guid)
    if on_replica is not None and replica.written_since(on_replica):
        detail = f"{size(replica.written_since(on_replica))} written to it since @{base.name}"
        advice = f"to throw that away: {_on_master(link, 'sync -f')}"
        return replace(row, state="replica modified", detail=detail, advice=advice, code=3)
    behind = master.written_since(base)
    unsent = len(master.after(base))
    return replace(row, behind=behind, unsent=unsent, lag=0 if behind == 0 and unsent == 0 else row.lag)


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
