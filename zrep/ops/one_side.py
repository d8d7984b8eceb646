"""Working on one dataset of one host: locked, read, a plan carried out or shown."""

from __future__ import annotations

from collections.abc import Sequence

from zrep.core.dataset import Member
from zrep.core.errors import RefusedError
from zrep.core.requests import Lock
from zrep.core.role import Role
from zrep.core.steps import Step
from zrep.host.local import Host
from zrep.ops.locking import busy, role_changed
from zrep.ops.outcome import Outcome
from zrep.ops.read import observe
from zrep.ops.session import Session


def lock_here(session: Session, name: str, seen: Role | None = None) -> Member:
    """Lock and read one dataset of this host. BusyError when its role is not the one seen before any more."""
    if session.local.ask(Lock((name,), 2.0, session.tag)):
        raise busy(name)
    found = observe(session.local, session.tag, [name])
    if name not in found:
        raise RefusedError("no such filesystem here", filesystem=name)
    role = found[name].role
    if seen is not None and (role.links, role.master) != (seen.links, seen.master):
        raise role_changed(name)
    return found[name]


def apply_here(session: Session, name: str, plan: Sequence[Step], message: str, host: Host | None = None) -> Outcome:
    session.alone(host).do_all(plan)
    return Outcome(name, message=message)
