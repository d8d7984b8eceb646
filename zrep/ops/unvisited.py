"""Replicas to which no sync has come for a while: whether there is a master at all that would send to them.

A pair is driven from one host, which tells what goes wrong with it. Where both sides are replicas, or the other half is
gone or is another dataset by now, nobody drives it: so the replica's own runs look, and say what only they can see.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from zrep.core.errors import ZrepError
from zrep.core.names import memory_key
from zrep.core.notes import Note
from zrep.core.pair_state import UNDRIVEN, Diagnosis
from zrep.core.requests import Remember
from zrep.ops.locking import lock, unlock
from zrep.ops.memory import Memory, recall
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import diagnose_pair
from zrep.ops.read import observe, observe_each
from zrep.ops.session import Session
from zrep.ops.view import Link

# Seconds without a sync after which a replica is looked after: longer than from one of cron's runs to the next.
_UNVISITED = 150
# Seconds after which that is done again where it was well: one that is synced every day is not asked about each minute.
_AGAIN = 600


def find_undriven(session: Session, links: Sequence[Link]) -> list[Outcome]:
    """What keeps every run on either host from syncing these replicas, those that are driven from elsewhere. One whose
    peer cannot be asked, or that somebody is at work on, is passed over: that is no answer."""
    known = recall(session, *(link.name for link in links))
    silent = [link for link in links if _is_silent(session, link, known[link.name])]
    due = [link for link in silent if _passed(session, known[link.name], "looked") > _AGAIN]
    by_peer: dict[str, list[Link]] = {}
    for link in due:
        by_peer.setdefault(link.peer_host, []).append(link)
    looks = [partial(_look, session, group) for group in by_peer.values()]
    found = [outcome for group in session.side_by_side(looks, len(looks)) for outcome in group]
    # What was said of them stays said until they have been looked after again.
    waiting = [link for link in silent if link not in due and "undriven" in known[link.name]]
    return [*found, *(Outcome(link.name, skipped=True) for link in waiting)]


def _is_silent(session: Session, link: Link, known: Memory) -> bool:
    return not (link.role.only_dialled or link.role.paused) and _passed(session, known, "synced") > _UNVISITED


def _passed(session: Session, known: Memory, what: str) -> float:
    """How many seconds ago something was, as remembered; for ever where it was not, or by a clock that was ahead."""
    when = known.get(what)
    return session.now - when if isinstance(when, int) and when <= session.now else float("inf")


def _look(session: Session, links: Sequence[Link]) -> list[Outcome]:
    """The outcomes of those with one peer that are not well, or of which nothing is known."""
    try:
        found = _undriven(session, links)
        # It may have been in the middle of a role change: nobody moves a role under a lock.
        held = [link for link in links if link.name in found]
        busy = lock(session, held, 0.0)
        try:
            found = _undriven(session, [link for link in held if link.name not in busy])
        finally:
            unlock(session, *held)
    except ZrepError:
        _note(session, links, {"looked": session.now})
        return [Outcome(link.name, skipped=True) for link in links]
    _note(session, [link for link in links if link.name in found], {"looked": None, "undriven": session.now})
    well = [link for link in links if link.name not in (*found, *busy)]
    _note(session, well, {"looked": session.now, "undriven": None})
    return [
        *(Outcome(name, error=diagnosis.error(name)) for name, diagnosis in found.items()),
        *(Outcome(name, skipped=True) for name in busy),
    ]


def _note(session: Session, links: Sequence[Link], news: dict[str, Note]) -> None:
    if links:
        session.local.ask(Remember({memory_key(session.tag, link.name): news for link in links}))


def _undriven(session: Session, links: Sequence[Link]) -> dict[str, Diagnosis]:
    """The replicas, of links with one peer, that no host drives, by name, with what is the matter."""
    if not links:
        return {}
    mine = observe(session.local, session.tag, [link.name for link in links])
    theirs = observe_each(session.peer(links[0].role), session.tag, [link.peer_name for link in links])
    seen = {
        link.name: diagnose_pair(session, mine[link.name], theirs.get(link.peer_name))
        for link in links
        if link.name in mine
    }
    return {name: found for name, found in seen.items() if found.state in UNDRIVEN}
