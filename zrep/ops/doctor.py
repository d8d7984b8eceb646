"""doctor: what will hurt later, on both hosts, each with the command that mends it. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from shlex import quote

from zrep.core.dataset import Member
from zrep.core.errors import FailedError, RefusedError, ZrepError
from zrep.core.names import pool_of
from zrep.core.quantities import size, whole_number
from zrep.core.requests import Dial, ReadSchedule
from zrep.core.state import State
from zrep.host.local import Host
from zrep.ops.children import find_left_out
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import Session
from zrep.ops.preflight import blockers, gaps
from zrep.ops.read import read_all_properties, read_pool_space
from zrep.ops.view import Link, View

# Of a pool, below which it is nearly full: ZFS itself becomes slow there.
_LEAST_FREE = 10
_WELL = frozenset({State.OK, State.PAUSED, State.LATE, State.NOT_MOUNTED})


def doctor(session: Session, names: Sequence[str]) -> list[Outcome]:
    """Look at pairs, all of this host when no names are given; one outcome for each finding."""
    links = [session.link(name, strict=False) for name in names]
    links = links or [Link(session.tag, name, role) for name, role in session.roles().items() if role.paired]
    if not links and not session.options.may_be_empty:
        raise session.nothing_here()
    return [outcome for link in links for outcome in _pair(session, link)]


def _pair(session: Session, link: Link) -> list[Outcome]:
    """What is found of one pair; what keeps it from being looked at is a finding too."""
    found: list[ZrepError] = []
    try:
        if link.role.only_dialled:
            raise RefusedError(
                "only the other host can look at both sides of this pair",
                advice=f"on {link.peer_host}: zrep doctor {quote(link.peer_name)}",
            )
        for error in _findings(session, link):
            found.append(error)
    except ZrepError as error:
        found.append(error)
    if not found:
        return [Outcome(link.name, message="nothing found")]
    return [Outcome(link.name, error=error.about(link.name)) for error in found]


def _findings(session: Session, link: Link) -> Iterator[ZrepError]:
    [view] = session.views([link], sync_txg=False)
    if isinstance(view, Outcome):
        assert view.error is not None
        raise view.error
    diagnosis = view.diagnosis
    if diagnosis.state not in _WELL:
        yield diagnosis.error(link.name)
        return
    yield from _role_change(view)
    for note in gaps(session, view):
        yield FailedError(note, advice="bring both hosts to the same")
    yield from _back(session, link)
    yield from _left_out(session, view)
    yield from _quotas(view)
    for host, name in ((view.executor.source, view.pair.source.name), (view.executor.target, view.pair.target.name)):
        yield from _room(host, pool_of(name))
    yield from _schedule(session, link)


def _role_change(view: View) -> Iterator[ZrepError]:
    for error in blockers(view):
        evidence = "; ".join(filter(None, (error.line().partition("; next: ")[0],)))
        yield FailedError("a role change would be refused", evidence=evidence, advice=error.advice)


def _back(session: Session, link: Link) -> Iterator[ZrepError]:
    """Whether the peer reaches this host, as it must to take over; a pulled pair has no way back."""
    peer = session.host(link.peer_host)
    if peer is session.local or link.role.driver:
        return
    try:
        peer.ask(Dial(link.role.own_host))
    except ZrepError as error:
        yield FailedError(
            f"{link.peer_host} cannot dial back to this host as {link.role.own_host}",
            evidence=error.line(),
            advice=f"make 'ssh {link.role.own_host} zrep version' work on {link.peer_host}",
        )


def _left_out(session: Session, view: View) -> Iterator[ZrepError]:
    host = view.executor.source
    found = find_left_out(host, view.tag, [view.pair.source.members[0]], here=host is session.local, certain=True)
    for name, what in found.items():
        yield FailedError(what.line(name).removeprefix(f"{name}: "))


def _quotas(view: View) -> Iterator[ZrepError]:
    """A quota of the replica's own that the master's data will not fit into."""
    host, master, replica = view.executor.target, view.pair.source.members[0], view.pair.target.members[0]
    with suppress(ZrepError):  # what cannot be read is no finding
        own = read_all_properties(host, replica.name)
        for name, needed in (("quota", _used(master)), ("refquota", master.number("referenced"))):
            limit = whole_number(own[name].value, 20) if name in own else None
            if limit and limit < needed:
                yield FailedError(
                    f"the replica's {name} on {host.name} is less than what the master uses",
                    evidence=f"{size(limit)}, and {size(needed)} are used",
                    advice=f"on {host.name}: zfs set {name}=none {quote(replica.name)}",
                )


def _used(member: Member) -> int:
    return max(0, member.number("used") - member.number("usedbychildren"))


def _room(host: Host, pool: str) -> Iterator[ZrepError]:
    space = read_pool_space(host, pool)
    if space.free * 100 < space.size * _LEAST_FREE:
        yield FailedError(
            f"the pool {pool} on {host.name} is nearly full",
            evidence=f"{size(space.free)} of {size(space.size)} are free",
            advice="make room, or set a floor: zrep changeconfig --minfree 2% FS",
        )


def _schedule(session: Session, link: Link) -> Iterator[ZrepError]:
    """Either side becomes the master some day; a pulled pair has one host that syncs."""
    peer = session.host(link.peer_host)
    for host in dict.fromkeys((session.local, *(() if link.role.driver else (peer,)))):
        try:
            scheduled = host.ask(ReadSchedule())
        except RefusedError:  # by its gate
            continue
        if not scheduled:
            yield FailedError(
                f"nothing on {host.name} runs zrep by itself",
                evidence="no line of cron with zrep sync, and no timer of zrep's is enabled",
                advice=f"on {host.name}: systemctl enable --now zrep-sync.timer, or a line of cron: "
                "* * * * * root zrep sync all",
            )
