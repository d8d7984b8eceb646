"""takeover: on the replica, become the master, losing nothing."""

from __future__ import annotations

from zrep.core.errors import UnreachableError
from zrep.ops.failures import attempt
from zrep.ops.finding import find_link
from zrep.ops.outcome import Outcome
from zrep.ops.role_change import RoleChange, move_role
from zrep.ops.session import Session
from zrep.ops.view import Link


def takeover(session: Session, name: str, change: RoleChange) -> Outcome:
    """Planned, run on the replica: this side becomes master. On the master, what is left of an earlier role change
    is finished, if the peer can be asked."""
    link = find_link(session, name, there="failover")
    return attempt(session, "takeover", name, lambda: _take(session, link, change))


def _take(session: Session, link: Link, change: RoleChange) -> Outcome:
    name = link.name
    already = Outcome(name, message="it is the master here already")
    if not link.is_master:
        return move_role(session, name, change, become_master=True)
    try:
        done = move_role(session, name, change, become_master=True)
    except UnreachableError:
        if link.role.intent:
            raise
        return Outcome(name, message=f"it is the master here; {link.peer_host} could not be asked")
    return done if link.role.intent else already
