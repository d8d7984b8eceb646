"""history: what was done to pairs, as the pools of both sides remember it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from zrep.core.errors import ZrepError
from zrep.core.history import Event, event
from zrep.core.requests import ReadHistory
from zrep.host.local import Host
from zrep.ops.pairs import Session
from zrep.ops.view import Link


def history(session: Session, names: Sequence[str]) -> list[Event]:
    """What happened to pairs here, or those named, on both sides, in the order of time. A peer that cannot be asked is
    said, and left out. RefusedError where there is no pair, or a name is in none."""
    chosen = [session.link(name, strict=False) for name in names or session.roles()]
    if not chosen:
        raise session.nothing_here()
    found = list(_of(session, session.local, [link.name for link in chosen]))
    for links in _by_peer([link for link in chosen if link.role.paired]).values():
        try:
            peer = session.peer(links[0].role)
            found += _of(session, peer, [link.peer_name for link in links])
        except ZrepError as error:
            session.warn(f"only this side's history: {error.line()}")
    return sorted(dict.fromkeys(found), key=lambda each: each.at)


def _by_peer(links: Sequence[Link]) -> Mapping[tuple[str, bool], list[Link]]:
    """Pairs by their peer, those apart whose peer is never dialled from here."""
    found: dict[tuple[str, bool], list[Link]] = {}
    for link in links:
        found.setdefault((link.peer_host, link.role.only_dialled), []).append(link)
    return found


def _of(session: Session, host: Host, names: Sequence[str]) -> Iterator[Event]:
    told = host.ask(ReadHistory(tuple(names)))
    for name in names:
        yield from (event(session.tag, host.name, name, each) for each in told.get(name, []))
