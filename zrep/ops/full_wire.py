"""A wire that streams of zrep's fill, so that no answer comes through: for how long one is waited for, and what shows
meanwhile that the peer is there."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from msgspec import Struct

from zrep.core.moving import Moving
from zrep.core.names import memory_key
from zrep.core.pair import Tree
from zrep.core.requests import IsArriving, ReadHolders, ReadTags, Recall
from zrep.core.role import Role
from zrep.ops.memory import under_way
from zrep.ops.read import find_roles, observe_trees
from zrep.ops.session import Session

# Seconds in which more of a stream that moves arrives, on any wire.
_ARRIVING = 1.0


class Patience(Struct, frozen=True):
    """Until when (monotonic) a peer is waited for while zrep is at work on pairs with it. paired: the host of the other
    half of each filesystem here; busy: those that somebody had locked at the beginning: the queue of a wire is full for
    seconds after the last stream."""

    until: float
    paired: Mapping[str, str]
    busy: Sequence[str]

    def at_work(self, session: Session, host: str) -> list[str]:
        """The filesystems with their other half on a host that zrep is at work on, or was; under any tag, they share
        the wire."""
        if was := [name for name in self.busy if self.paired[name] == host]:
            return was
        return list(dict.fromkeys(name for names in _at_work(session, host).values() for name in names))


def begin(session: Session, roles: Mapping[str, Role], seconds: float) -> Patience:
    """Wait so many seconds from now. roles: of the filesystems here."""
    paired = {name: role.peer_host for name, role in roles.items() if role.paired}
    busy = session.local.ask(ReadHolders(tuple(paired))) if paired else {}
    return Patience(time.monotonic() + seconds, paired, tuple(busy))


def any_moves(session: Session, host: str) -> bool:
    """Whether bytes of a stream between this host and another are seen to move, sent from here or arriving: only while
    there is such a host. Of whatever pair, under any tag."""
    arriving: list[str] = []
    for tag, roles in _at_work(session, host).items():
        trees = observe_trees(session.local, tag, {name: role.recursive for name, role in roles.items()})
        for tree in trees.values():
            members = [member.name for member in tree.members] if isinstance(tree, Tree) else []
            if any(not stream.still(session.now) for stream in _driven(session, tag, members)):
                return True
            arriving += members if isinstance(tree, Tree) and not tree.role.master else []
    return bool(arriving) and session.local.ask(IsArriving(tuple(arriving), _ARRIVING))


def _driven(session: Session, tag: str, names: Sequence[str]) -> list[Moving]:
    """The streams of these that this host drives right now."""
    keys = {name: memory_key(tag, name) for name in names}
    known = session.local.ask(Recall(tuple(keys.values())))
    return list(under_way(session.local, {name: known.get(key, {}) for name, key in keys.items()}).values())


def _at_work(session: Session, host: str) -> dict[str, dict[str, Role]]:
    """By tag, what is here, has its other half on a host, and is locked, with the role of each."""
    found: dict[str, dict[str, Role]] = {}
    for tag in session.local.ask(ReadTags()):
        roles = find_roles(session.local, tag).items()
        paired = {name: role for name, role in roles if role.paired and role.peer_host == host}
        if paired and (locked := session.local.ask(ReadHolders(tuple(paired)))):
            found[tag] = {name: paired[name] for name in locked}
    return found
