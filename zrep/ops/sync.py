"""sync: bring replicas up to date."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from shlex import quote

from msgspec.structs import replace

from zrep.core.busy import Holder, whose
from zrep.core.dataset import PoolSpace
from zrep.core.errors import BusyError, MovedError, RefusedError, UnreachableError, ZrepError
from zrep.core.names import ancestors
from zrep.core.pair_state import State
from zrep.core.requests import ReadHolders
from zrep.ops.advance import (
    converge_all,
    note_pool_space,
)
from zrep.ops.advance_all import Limits, advance_all, each_failed, share
from zrep.ops.children import find_left_out
from zrep.ops.failures import failed_among, remember_failed
from zrep.ops.finding import all_here, find_link, link_of
from zrep.ops.lease import not_reached, reached
from zrep.ops.locking import busy, unlock
from zrep.ops.memory import busy_for_long, since_synced
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import lock_and_read
from zrep.ops.repair import prepare
from zrep.ops.session import Session
from zrep.ops.sync_tree import sync_within
from zrep.ops.tags import relaying
from zrep.ops.unvisited import find_undriven
from zrep.ops.view import Link, View
from zrep.zfs.errors import PoolError

# Seconds that one tag waits for what another one works on: cron's next run of either begins after a minute.
_TURN_SECONDS = 40.0
# What is one trouble of many filesystems.
_OF_MANY = (UnreachableError, PoolError)


def sync(session: Session, names: Sequence[str], *, pull: bool = False) -> list[Outcome]:
    """Sync the named filesystems, or when names is empty (``all``) every pair that is driven from here. pull: those
    that are replicas here, and no others, whoever drives them otherwise (refresh)."""
    everything = not names
    outcomes: list[Outcome] = []
    links: list[Link] = []
    driven_elsewhere: list[Link] = []
    unusable: list[str] = []
    if everything:
        roles, outcomes = all_here(session)
        for name, role in roles.items():
            try:
                link = link_of(session, name, role)
            except ZrepError as error:
                not_reached(session, [Link(session.tag, name, role)])
                outcomes.append(Outcome(name, error=error.about(name)))
                unusable.append(name)
            else:
                (links if _is_due(link, pull=pull) else driven_elsewhere).append(link)
                if link.is_master and not pull and not link.drives:  # whoever drives it has to have come by
                    not_reached(session, [link])
    for name in dict.fromkeys(names):
        try:
            links.append(_named_link(session, name, pull=pull))
        except ZrepError as error:
            outcomes.append(Outcome(name, error=error.about(name)))
    for apart in _apart(session, links):
        outcomes += _sync_peers(session, apart, everything)
    outcomes += [] if pull else find_undriven(session, [link for link in driven_elsewhere if not link.is_master])
    failed = failed_among(outcomes, {*unusable, *(link.name for link in links)})
    remember_failed(session, "refresh" if pull else "sync", failed)
    return outcomes


def _sync_peers(session: Session, links: Sequence[Link], everything: bool) -> list[Outcome]:
    """Pairs of which no two have a dataset in common."""
    # Locks are taken in an order that the direction says: what comes from a peer is another group than what goes there.
    by_peer: dict[tuple[str, bool], list[Link]] = {}
    for link in links:
        by_peer.setdefault((link.peer_host, link.is_master), []).append(link)
    jobs = session.options.jobs or share(len(os.sched_getaffinity(0)), len(by_peer))
    # No peer waits for another: one that is down or slow delays only its own.
    peers = [partial(_sync_peer, session, group, everything, jobs) for group in by_peer.values()]
    return [outcome for found in session.side_by_side(peers, len(peers)) for outcome in found]


def _apart(session: Session, links: Sequence[Link]) -> list[list[Link]]:
    """Pairs in parts, one after the other, in each of which no two have a dataset in common: whoever may set the links
    of one may write another's other half there, and the lock that one gives up is the lock of both. Mostly one part."""
    parts: list[list[Link]] = []
    taken: list[dict[tuple[str, str], bool]] = []
    for link in links:
        there = "" if session.is_here(link.peer_host) else link.peer_host
        halves = {("", link.name), (there, link.peer_name)}
        at = next((at for at, known in enumerate(taken) if not any(_meets(half, known) for half in halves)), len(parts))
        if at == len(parts):
            parts.append([])
            taken.append({})
        parts[at].append(link)
        taken[at] |= dict.fromkeys(halves, link.role.recursive)
    return parts


def _meets(half: tuple[str, str], known: Mapping[tuple[str, str], bool]) -> bool:
    """Whether a dataset is one of those that are known, by host and name, or in the tree that one is the root of."""
    host, name = half
    return half in known or any(known.get((host, above)) for above in ancestors(name))


def _is_due(link: Link, *, pull: bool) -> bool:
    """Whether it is one of all: with pull the replicas whose master can be dialled."""
    return not (link.is_master or link.role.only_dialled) if pull else link.drives


def _named_link(session: Session, name: str, *, pull: bool) -> Link:
    link = find_link(session, name, there="sync")
    if pull and link.is_master:
        raise RefusedError(
            "it is the master here, and there is nothing to fetch",
            filesystem=name,
            advice=f"to send what is new: zrep sync {quote(name)}",
        )
    if not (pull or link.drives):
        raise RefusedError(
            "it is a replica here",
            filesystem=name,
            evidence=f"{session.tag}:master is not yes",
            advice=f"on {link.peer_host}: zrep sync {quote(link.peer_name)}, or here: zrep refresh {quote(name)}; to "
            "make this side the master: "
            f"zrep takeover {quote(name)}",
        )
    return link


def _paused(link: Link, everything: bool, reason: str) -> Outcome:
    """A pause stops streams, never the check of who is master: that is made before this is said."""
    start, name = ("", link.name) if link.role.paused else (f"on {link.peer_host}: ", link.peer_name)
    refusal = RefusedError(
        "it is paused", filesystem=link.name, evidence=reason, advice=f"{start}zrep unpause {quote(name)}"
    )
    return Outcome(link.name, message=f"paused: {reason}", error=None if everything else refusal, skipped=everything)


def _sync_peer(session: Session, links: list[Link], everything: bool, jobs: int) -> list[Outcome]:
    """All pairs with one peer over one connection. What a run of another tag has is waited for, after all else: of two
    that begin in the same minute one would find the other's datasets busy, and always the same one."""
    taken, outcomes = _round(session, links, everything, jobs, 0.5 if everything else 2.0)
    if turn := _in_turn(session, taken):
        if tags := ", ".join(sorted(filter(None, set(turn.values())))):
            session.say(f"{len(turn)} busy under the tag {tags}: waiting up to {_TURN_SECONDS:.0f} s")
        again, more = _round(session, [link for link in taken if link.name in turn], everything, jobs, _TURN_SECONDS)
        taken = [*(link for link in taken if link.name not in turn), *again]
        outcomes += more
    return _once([*outcomes, *(_busy(session, link, everything) for link in taken)])


def _in_turn(session: Session, links: Sequence[Link]) -> dict[str, str]:
    """Those of busy filesystems here whose turn comes in this run, each with the tag under which a run works on it, on
    either side; "": it is free by now."""
    found: dict[str, str] = {}
    for link in links:
        holder = _holder(session, link)
        if holder is None:
            found[link.name] = ""
        elif holder[0] not in ("", session.tag):
            found[link.name] = holder[0]
    return found


def _holder(session: Session, link: Link) -> Holder | None:
    """Who has a filesystem locked, here or on its peer; None: nobody any more, or it is not known."""
    with suppress(ZrepError):
        for host, name in ((session.local, link.name), (session.peer(link.role), link.peer_name)):
            if holder := host.ask(ReadHolders((name,))).get(name):
                return holder
    return None


def _halves(
    session: Session, links: list[Link], everything: bool, jobs: int, wait: float
) -> tuple[list[Link], list[Outcome]]:
    """The same where a gate refuses what one of them is: the others are none of that."""
    unlock(session, *links)
    middle = len(links) // 2
    taken, outcomes = _round(session, links[:middle], everything, jobs, wait)
    more_taken, more = _round(session, links[middle:], everything, jobs, wait)
    return [*taken, *more_taken], [*outcomes, *more]


def _round(
    session: Session, links: list[Link], everything: bool, jobs: int, wait: float
) -> tuple[list[Link], list[Outcome]]:
    """Those that are busy, and what became of the others. With the peer down: one attempt, one line, no snapshot. What
    goes wrong here ends nothing of the other peers."""
    pool_space: dict[str, PoolSpace] = {}
    try:
        taken, found = lock_and_read(session, links, wait, partial(note_pool_space, session, pool_space))
        # What answered may be no half of a pair: it could not be read, it is a copy, another's, or not there. The half
        # that is may have become anything meanwhile.
        met = {each.name for each in found if isinstance(each, View) and _met(each)}
        occupied = {
            each.filesystem for each in found if isinstance(each, Outcome) and isinstance(each.error, BusyError)
        }
        reached(session, [link for link in links if link.name in met])
        not_reached(session, [link for link in links if link.name not in {*met, *taken, *occupied}])
    except ZrepError as error:
        if isinstance(error, RefusedError) and len(links) > 1 and session.peer(links[0].role).answered:
            return _halves(session, links, everything, jobs, wait)
        not_reached(session, links)
        waiting = [link for link in links if not link.role.paused]
        resting = [_paused(link, everything, link.role.paused) for link in links if link.role.paused]
        return [], [*_once(each_failed(waiting, error), ", no snapshot was made"), *resting]
    # Of a role that somebody has just moved the next run of all knows: that is no news.
    outcomes = [
        replace(item, skipped=item.skipped or (everything and isinstance(item.error, MovedError)))
        for item in found
        if isinstance(item, Outcome)
    ]
    ready: list[View] = []
    for view in (item for item in found if isinstance(item, View)):
        try:
            was_master = view.link.is_master
            view = prepare(session, view)
            if view.link.is_master is not was_master:
                outcomes.append(_role_moved(session, view))
            elif paused := view.pair.source.role.paused or view.link.role.paused:
                outcomes.append(_paused(view.link, everything, paused))
            else:
                ready.append(relaying(view))
        except ZrepError as error:
            outcomes.append(Outcome(view.name, error=error.about(view.name)))
    outcomes += _left_out(session, ready)
    done = {view.name for view in ready}
    # Nobody has to wait for the streams of others to do what was advised.
    unlock(session, *(link for link in links if link.name not in done))
    plain = [view for view in ready if not view.link.role.recursive]
    trees = [view for view in ready if view.link.role.recursive]
    limits = Limits(jobs, threading.Semaphore(jobs), pool_space)
    works = [partial(_sync_plain, session, plain, limits)] if plain else []
    works += [partial(sync_within, session, view, limits) for view in trees]
    for found_of_one in session.side_by_side(works, len(works)):
        outcomes += found_of_one
    return [link for link in links if link.name in taken], outcomes


def _met(view: View) -> bool:
    """Whether what answered is the other half of a pair, for one that has a lease."""
    return not view.link.role.lease or view.diagnosis.state is not State.UNRELATED


def _left_out(session: Session, views: Sequence[View]) -> list[Outcome]:
    """What nobody replicates below the masters: worth a line, and no failure of theirs."""
    if not views:
        return []
    master, names = views[0].executor.source, {view.pair.source.name: view.name for view in views}
    masters = [view.pair.source.members[0] for view in views]
    found = find_left_out(master, session.tag, masters, here=views[0].sending)
    session.left_out.update({names[name]: what for name, what in found.items()})
    return [Outcome(name, error=what.error(name), harmless=True, about=f"below {name}") for name, what in found.items()]


def _sync_plain(session: Session, views: list[View], limits: Limits) -> list[Outcome]:
    """The pairs with one peer that are no trees."""
    try:
        return advance_all(session, views, limits)
    except ZrepError as error:
        unlock(session, *(view.link for view in views))
        return each_failed([view.link for view in views], error)


def _once(outcomes: list[Outcome], also: str = "") -> list[Outcome]:
    """A peer that is lost is one line, and a pool is, whatever the number of filesystems that wait for it. also: what
    else is to be said of them."""
    told: list[Outcome] = []
    for what in {outcome.error.what: None for outcome in outcomes if isinstance(outcome.error, _OF_MANY)}:
        waiting = [each for each in outcomes if isinstance(each.error, _OF_MANY) and each.error.what == what]
        outcomes = [each for each in outcomes if each not in waiting]
        first, *others = waiting
        error = copy.copy(first.error)
        if error is not None and others:
            well = sum(each.error is None and not each.skipped for each in outcomes)
            arrived = f", {well} up to date" if well else ""
            error.filesystem, error.evidence = "", f"{error.evidence}; {len(waiting)} filesystems wait{also}{arrived}"
        told += [
            Outcome(first.filesystem, error=error),
            *(Outcome(other.filesystem, skipped=True, failed=True) for other in others),
        ]
    return outcomes + told


def _role_moved(session: Session, view: View) -> Outcome:
    """Finishing what was cut has turned the streams round: the next sync of whoever drives sends the other way."""
    converge_all(session, view)
    where = view.name if view.link.is_master else f"{view.link.peer_host}:{view.theirs.name}"
    return Outcome(view.name, message=f"finished the role change: {where} is master")


def _busy(session: Session, link: Link, everything: bool) -> Outcome:
    """Under ``all`` a stream of the minute before is no news; that nothing was synced for long because somebody has the
    lock is, whoever that may be."""
    age = since_synced(session, link.name)
    holder = _holder(session, link)
    error = busy(link.name)
    error.evidence = whose(holder)
    if not everything:
        return Outcome(link.name, error=error, skipped=age is not None and age <= session.options.quiet)
    found = busy_for_long(session, link, holder)
    if found is None:
        return Outcome(link.name, error=error, skipped=True)
    return Outcome(link.name, error=found.error(link.name), harmless=True)
