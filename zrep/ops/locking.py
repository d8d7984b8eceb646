"""Lock pairs on both hosts, and give them back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from zrep.core.errors import BusyError, MovedError, ZrepError
from zrep.core.requests import EndReceive, Lock, Unlock
from zrep.host.local import Host
from zrep.host.parallel import together
from zrep.ops.session import Session
from zrep.ops.view import Link, View

LOCK_SECONDS = 5.0
# The same for a person who moves a role: what has the lock is nearly always the run of cron's minute.
ROLE_SECONDS = 30.0
# A receive that nobody is left for, and into which nothing has come for so long, is ended.
_QUIET_SECONDS = 10.0


def lock(session: Session, links: Sequence[Link], wait: float = LOCK_SECONDS) -> list[str]:
    """Lock both halves of links with one peer and one direction, master's side first (the order is fixed, so
    two runs from both ends cannot hold half each for ever). Returns the names here that are busy."""
    if not links:
        return []
    peer = session.peer(links[0].role)
    mine = {link.name: link for link in links}
    theirs = {link.peer_name: link for link in links}
    sides: list[tuple[Host, dict[str, Link]]] = [(session.local, mine), (peer, theirs)]
    if not links[0].is_master:
        sides.reverse()
    if peer is session.local:
        both = sorted({*mine, *theirs})
        taken = session.local.ask(Lock(tuple(both), wait, session.tag))
        return [link.name for link in links if {link.name, link.peer_name} & set(taken)]
    (first, sources), (second, targets) = sides
    taken_links = [sources[name].name for name in first.ask(Lock(tuple(sources), wait, session.tag))]
    wanted = [name for name, link in targets.items() if link.name not in taken_links]
    return taken_links + [targets[name].name for name in lock_targets(session, second, wanted, wait)]


def lock_targets(session: Session, host: Host, names: Sequence[str], wait: float) -> list[str]:
    """Lock the targets of pairs whose sources are locked, so that no stream of theirs is sent any more: the busy
    ones. Where the link was cut in silence, or the source lost its power, a receive waits for the rest of its
    stream until the kernel finds out, for minutes: it is ended first. What has arrived stays, and is gone on with.
    """
    taken = host.ask(Lock(tuple(names), wait, session.tag)) if names else []
    if not taken:
        return []
    ended = together(*(partial(host.ask, EndReceive(name, _QUIET_SECONDS)) for name in taken))
    # It may also have ended by itself meanwhile.
    return host.ask(Lock(tuple(taken), wait if any(ended) else 0.0, session.tag))


def unlock(session: Session, *links: Link) -> None:
    """Give filesystems with one peer back, on both hosts, before the run ends; a lane of a tree goes with the tree.
    A peer that is lost has done so itself."""
    whole = tuple(link for link in links if not link.within)
    if whole:
        _unlock(session, whole)


def unlock_tree(session: Session, view: View) -> None:
    """Give a tree back, with those of its lanes that were locked."""
    _unlock(session, (view.link, *(lane.link for lane in view.lanes)))


def _unlock(session: Session, links: Sequence[Link]) -> None:
    session.local.ask(Unlock(tuple(link.name for link in links)))
    with suppress(ZrepError):
        session.peer(links[0].role).ask(Unlock(tuple(link.peer_name for link in links)))


def busy(name: str) -> BusyError:
    """Say that somebody has the lock of a filesystem, on this side or the other."""
    return BusyError(
        "busy",
        filesystem=name,
        evidence="another zrep or a stream of ours is working on it",
        advice="this again when that has ended: zrep status --watch shows it",
    )


def role_changed(name: str) -> MovedError:
    """Say that somebody has moved the role of a filesystem."""
    return MovedError("its role changed meanwhile", filesystem=name, advice="this again")
