"""history: what was done to pairs, as the pools of both sides remember it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from zrep.core.errors import ZrepError
from zrep.core.history import Event, events
from zrep.core.requests import ReadHistory
from zrep.host.local import Host
from zrep.ops.finding import find_link, nothing_here, roles_here
from zrep.ops.session import Session
from zrep.ops.view import Link


def history(session: Session, names: Sequence[str]) -> list[Event]:
    """What happened to pairs here, or those named, on both sides, in the order of time. A peer that cannot be asked is
    said, and left out. RefusedError where there is no pair, or a name is in none."""
    chosen = [find_link(session, name, strict=False) for name in names or roles_here(session)]
    if not chosen and not session.options.may_be_empty:
        raise nothing_here(session, may_be=False)
    found = list(_of(session, session.local, [link.name for link in chosen]))
    for links in _by_peer([link for link in chosen if link.role.askable]).values():
        try:
            peer = session.peer(links[0].role)
            found += _of(session, peer, [link.peer_name for link in links])
        except ZrepError as error:
            session.warn(f"only this side's history: {error.line()}")
    return in_order([found])


def in_order(parts: Iterable[Sequence[Event]]) -> list[Event]:
    """What happened under several tags, in the order of time. What a pool remembers of a filesystem that is in several
    pairs is told once, as what it was under the tag that it names."""
    found: dict[tuple[int, str, str, str], Event] = {}
    for each in (each for part in parts for each in part):
        key = (each.at, each.host, each.filesystem, each.command)
        if key not in found or each.tag:
            found[key] = each
    return sorted(found.values(), key=lambda each: each.at)


def _by_peer(links: Sequence[Link]) -> Mapping[tuple[str, bool], list[Link]]:
    """Pairs by their peer, those apart whose peer is never dialled from here."""
    found: dict[tuple[str, bool], list[Link]] = {}
    for link in links:
        found.setdefault((link.peer_host, link.role.only_dialled), []).append(link)
    return found


def _of(session: Session, host: Host, names: Sequence[str]) -> Iterator[Event]:
    told = host.ask(ReadHistory(tuple(names)))
    for name in names:
        yield from events(session.tag, host.name, name, told.get(name, []))
