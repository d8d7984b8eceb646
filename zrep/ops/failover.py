"""failover: on the master, make the peer the master, losing nothing."""

from __future__ import annotations

from shlex import quote

from zrep.core.errors import RefusedError, ZrepError
from zrep.core.repair import next_repair
from zrep.ops.failures import attempt
from zrep.ops.finding import find_link
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import read_view
from zrep.ops.role_change import RoleChange, move_role
from zrep.ops.session import Session
from zrep.ops.view import Link


def failover(session: Session, name: str, change: RoleChange) -> Outcome:
    """Planned, run on the master: the peer becomes master. On an old master, what is left of the role change is
    finished, if the peer can be asked."""
    link = find_link(session, name, there="takeover")
    if not link.is_master and not _unfinished(session, link):
        raise RefusedError(
            "it is the replica here",
            filesystem=name,
            evidence=f"epoch {link.role.epoch or 0}, master is {link.peer_host}",
            advice=f"to make this side the master: zrep takeover {quote(name)}",
        )
    return attempt(session, "failover", name, lambda: move_role(session, name, change, become_master=False))


def _unfinished(session: Session, link: Link) -> bool:
    """Whether the two sides of a replica's pair say that its role change is to be finished."""
    try:
        pair = read_view(session, link, sync_txg=False).pair
    except ZrepError:
        return False
    return next_repair(pair.source.role, pair.target.role) is not None
