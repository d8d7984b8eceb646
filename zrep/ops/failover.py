"""failover: on the master, make the peer the master, losing nothing."""

from __future__ import annotations

from shlex import quote

from zrep.core.errors import RefusedError
from zrep.ops.failures import attempt
from zrep.ops.finding import find_link
from zrep.ops.outcome import Outcome
from zrep.ops.role_change import RoleChange, move_role
from zrep.ops.session import Session


def failover(session: Session, name: str, change: RoleChange) -> Outcome:
    """Planned, run on the master: the peer becomes master."""
    link = find_link(session, name, there="takeover")
    if not link.is_master:
        raise RefusedError(
            "it is the replica here",
            filesystem=name,
            evidence=f"epoch {link.role.epoch}, master is {link.peer_host}",
            advice=f"to make this side the master: zrep takeover {quote(name)}",
        )
    return attempt(session, "failover", name, lambda: move_role(session, name, change, become_master=False))
