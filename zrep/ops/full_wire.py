"""A wire that streams of zrep's fill, so that no answer comes through: for how long one is waited for, and what shows
meanwhile that the peer is there."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence

from msgspec import Struct

from zrep.core.moving import read_moving
from zrep.core.names import memory_key
from zrep.core.pair import Tree
from zrep.core.requests import IsArriving, ReadHolders, ReadTags, Recall
from zrep.core.role import Role
from zrep.ops.memory import Memory, last_stream, under_way
from zrep.ops.read import find_roles, observe_trees
from zrep.ops.session import Session

# Seconds in which more of a stream that moves arrives, on any wire.
_ARRIVING = 1.0
# A stream that took so many seconds has left a queue, which is gone so many after its end.
_LONG, _QUEUE = 2, 10


class Patience(Struct, frozen=True):
    """Until when (monotonic) a peer is waited for while streams go over the wire to it. paired: the host of the other
    half of each filesystem here; busy: those that somebody had locked at the beginning: the queue of a wire is full for
    seconds after the last stream."""

    until: float
    paired: Mapping[str, str]
    busy: Sequence[str]

    def at_work(self, session: Session, host: str) -> list[str]:
        """The filesystems with their other half on a host of which streams are under way, or were; under any tag, they
        share the wire. A lock alone fills none: whoever has it may be dialling in vain, too."""
        was = [name for name in self.busy if self.paired[name] == host]
        found = (tree.name for tag, tree in _locked(session, host, was) if _has_stream(session, tag, tree))
        return list(dict.fromkeys(found))


def begin(session: Session, roles: Mapping[str, Role], seconds: float) -> Patience:
    """Wait so many seconds from now. roles: of the filesystems here."""
    paired = {name: role.peer_host for name, role in roles.items() if role.paired}
    busy = session.local.ask(ReadHolders(tuple(paired))) if paired else {}
    return Patience(time.monotonic() + seconds, paired, tuple(busy))


def any_moves(session: Session, host: str) -> bool:
    """Whether bytes of a stream between this host and another are seen to move, sent from here or arriving: only while
    there is such a host. Of whatever pair, under any tag."""
    arriving: list[str] = []
    for tag, tree in _locked(session, host):
        streams = under_way(session.local, _memories(session, tag, tree)).values()
        if any(not stream.still(session.now) for stream in streams):
            return True
        arriving += [] if tree.role.master else [member.name for member in tree.members]
    return bool(arriving) and session.local.ask(IsArriving(tuple(arriving), _ARRIVING))


def _has_stream(session: Session, tag: str, tree: Tree) -> bool:
    """Whether a stream of what is locked is known: one that was announced, that this host drives, that is half
    received, or that has just ended."""
    memories = _memories(session, tag, tree)
    told, synced = (memories[tree.name].get(name) for name in ("told", "synced"))
    if isinstance(told, int) and told >= (synced if isinstance(synced, int) else 0):
        return True
    if any(read_moving(memory) for memory in memories.values()):
        return True
    last = last_stream(memories[tree.name])
    if last is not None and last.took >= _LONG and session.now - last.at <= _QUEUE:
        return True
    return not tree.role.drives and any(member.token for member in tree.members)


def _memories(session: Session, tag: str, tree: Tree) -> dict[str, Memory]:
    """What is remembered here of each member, by name."""
    keys = {member.name: memory_key(tag, member.name) for member in tree.members}
    known = session.local.ask(Recall(tuple(keys.values())))
    return {name: known.get(key, {}) for name, key in keys.items()}


def _locked(session: Session, host: str, was: Collection[str] = ()) -> Iterator[tuple[str, Tree]]:
    """What is here, has its other half on a host, and is locked, or was, with the tag of each pair."""
    for tag in session.local.ask(ReadTags()):
        roles = find_roles(session.local, tag).items()
        paired = {name: role.recursive for name, role in roles if role.paired and role.peer_host == host}
        locked = session.local.ask(ReadHolders(tuple(paired))) if paired else {}
        chosen = {name: paired[name] for name in paired if name in locked or name in was}
        for tree in observe_trees(session.local, tag, chosen).values() if chosen else ():
            if isinstance(tree, Tree):
                yield tag, tree
