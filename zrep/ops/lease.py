"""The lease: a master that could not reach its peer for longer than zrep:lease seconds stops taking writes.

Best effort, and off unless set: it takes a run of sync to notice, and the clock to be right. What it buys: once the
lease is over, a peer that took the role alone is the only side that is written.
"""

from __future__ import annotations

from collections.abc import Sequence

from zrep.core.dataset import Member
from zrep.core.errors import ZrepError
from zrep.core.names import memory_key
from zrep.core.notes import Note
from zrep.core.quantities import duration
from zrep.core.requests import Lock, Remember
from zrep.ops.memory import moments, recall
from zrep.ops.read import observe_tree
from zrep.ops.repair import stop
from zrep.ops.session import Session
from zrep.ops.tags import other_roles
from zrep.ops.view import Link


def reached(session: Session, links: Sequence[Link]) -> None:
    """Their peer has answered as the zrep it is."""
    leased: dict[str, dict[str, Note]] = {
        memory_key(session.tag, link.name): {"reached": session.now} for link in links if link.role.lease
    }
    if leased:
        session.local.ask(Remember(leased))


def not_reached(session: Session, links: Sequence[Link]) -> None:
    """Their peer has not answered: those whose lease is over become read-only, and say so. What they were is recorded,
    as for every master that cannot be shown to be the right one: the run that reaches the peer undoes it.

    Not a side that was promoted alone and has not met its peer since: that it goes on without it was the decision.
    """
    for link in links:
        if link.role.lease and link.is_master and not link.role.alone:
            try:
                _enforce(session, link)
            except ZrepError as error:
                session.warn(error.about(link.name).line())


def _enforce(session: Session, link: Link) -> None:
    name = link.name
    if not session.local.locks.has(name) and session.local.ask(Lock((name,), 0, session.tag)):
        return
    tree = observe_tree(session.local, session.tag, name, recursive=link.role.recursive)
    member = tree.members[0]
    silent = session.now - _last_contact(session, member)
    # One whose init is unfinished has no replica that could take over; and its record is another one.
    beginning = member.role.intent is not None and member.role.intent.operation == "init"
    if not member.role.master or beginning or silent <= member.role.lease:
        return
    if stop(session, session.alone(), tree, other_roles(session.local, session.tag, name)):
        session.warn(
            f"{name}: read-only from now on: {member.role.dest_host} was not reached for {duration(silent)}, "
            f"longer than its lease of {duration(member.role.lease)}"
        )


def _last_contact(session: Session, member: Member) -> int:
    """When the peer was last known to answer, seconds since 1970. The record of it is lost at a reboot: then it is the
    newest snapshot's mark, which may be older, never newer. A time to come is that of a clock that was wrong."""
    remembered = recall(session, member.name)[member.name]
    known = moments(member.snapshots, remembered, "reached", "synced")
    return max((when for when in known if when <= session.now), default=0)
