"""takeover: on the replica, become the master, losing nothing."""

from __future__ import annotations

from zrep.core.errors import UnreachableError
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import Session
from zrep.ops.role_change import RoleChange, move_role


def takeover(session: Session, name: str, change: RoleChange) -> Outcome:
    """Planned, run on the replica: this side becomes master. On the master, what is left of an earlier role change
    is finished, if the peer can be asked."""
    link = session.link(name, there="failover")
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
