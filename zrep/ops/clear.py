"""clear: end a pair."""

from __future__ import annotations

from zrep.core.dataset import Member
from zrep.core.errors import RefusedError, UnreachableError
from zrep.core.plan_clear import plan_clear
from zrep.core.relation import Unrelated, relate
from zrep.core.role import Role
from zrep.ops.one_side import lock_here
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import Link, Session, busy
from zrep.ops.read import observe


def clear(session: Session, name: str, here_only: bool) -> Outcome:
    """Undo the link: properties, holds and snapshots of ours go; the data stays, on both sides.

    The peer's half goes too, if it is this pair's; here_only (-L) leaves it. UnreachableError, and nothing
    changed, when the peer does not answer.
    """
    member = observe(session.local, session.tag, [name]).get(name)
    if member is None:
        raise RefusedError("no such filesystem here", filesystem=name, advice="see: zfs list")
    if not member.role.paired and not _traces(session, member):
        return Outcome(name, message="nothing of zrep is on it")
    if member.role.paired and not here_only:
        # Both before anything is changed: what is seen of the roles now may be over when the locks are free.
        _lock_both(session, Link(session.tag, name, member.role))
        member = lock_here(session, name, member.role)
        _clear_peer(session, Link(session.tag, name, member.role))
    else:
        member = lock_here(session, name)
    session.alone().do_all(plan_clear(member, session.tag))
    for snapshot in member.ours(session.tag):
        if snapshot.clones:
            session.say(f"{name}: @{snapshot.name} stays, {', '.join(snapshot.clones)} is its clone")
    return Outcome(name, message="cleared; the data is untouched")


def _traces(session: Session, member: Member) -> bool:
    has_properties = any(value.local for key, value in member.properties.items() if key.startswith(f"{session.tag}:"))
    return has_properties or bool(member.ours(session.tag))


def _lock_both(session: Session, link: Link) -> None:
    try:
        taken = session.lock([link], 2.0)
    except UnreachableError as error:
        raise _uncleared(link, error) from None
    if taken:
        raise busy(link.name)


def _uncleared(link: Link, error: UnreachableError) -> UnreachableError:
    return UnreachableError(
        f"cannot reach {link.peer_host} to clear its half; nothing was changed",
        filesystem=link.name,
        evidence=error.evidence or error.what,
        advice=f"to clear only this side: zrep clear -L '{link.name}'",
    )


def _clear_peer(session: Session, link: Link) -> None:
    peer = session.host(link.peer_host)
    try:
        found = observe(peer, link.tag, [link.peer_name])
    except UnreachableError as error:
        raise _uncleared(link, error) from None
    member = found.get(link.peer_name)
    if member is None:
        return
    if member.role.paired and not _other_half(link.role, member.role):
        # Everything is called tank/data everywhere: equal names are no proof.
        session.say(f"{link.name}: {link.peer_name} on {link.peer_host} belongs to another pair; left alone")
        return
    session.alone(peer).do_all(plan_clear(member, link.tag))


def _other_half(mine: Role, theirs: Role) -> bool:
    """Whether two roles are, or were, of one pair: by descent; without any, as the shell zrep left it, by names."""
    if not mine.gen and not theirs.gen:
        return mine.links == theirs.links or mine.links == theirs.links[2:] + theirs.links[:2]
    return not isinstance(relate(mine, theirs), Unrelated)
