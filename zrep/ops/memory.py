"""What is remembered on a host of the pairs it is in: volatile, so that any of it may be missing after a boot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from msgspec import Struct

from zrep.core.age import last_of
from zrep.core.busy import Holder, long_busy
from zrep.core.dataset import Snapshot
from zrep.core.errors import ZrepError
from zrep.core.moving import Moving, read_moving
from zrep.core.names import memory_key
from zrep.core.notes import Note
from zrep.core.pair import End, Tree
from zrep.core.pair_state import Diagnosis
from zrep.core.requests import ReadHolders, Recall, Remember
from zrep.host.local import Host
from zrep.ops.execute import Executor
from zrep.ops.read import observe_trees, survey
from zrep.ops.session import Session
from zrep.ops.view import Link, View

# So many names of what is not replicated below a master are remembered.
_LEFT = 100


class LastStream(Struct, frozen=True):
    """What a run has sent of a pair, of a tree all of it. at: when it knew that both sides are equal, seconds since
    1970; took: seconds from the beginning of the first stream to the end of the last; size: bytes, as estimated."""

    at: int
    took: float
    size: int


# What is remembered of one filesystem, by name.
Memory = Mapping[str, Note]


def recall(session: Session, *names: str, host: Host | None = None) -> dict[str, Memory]:
    """Read what is remembered on a host, this one unless another is given, of each filesystem, by its name there."""
    keys = {name: memory_key(session.tag, name) for name in names}
    found = (host or session.local).ask(Recall(tuple(keys.values())))
    return {name: found.get(key, {}) for name, key in keys.items()}


def under_way(host: Host, memories: Mapping[str, Memory]) -> dict[str, Moving]:
    """The streams that a host drives right now, of those of which it remembers this, by name."""
    streams = {name: found for name, memory in memories.items() if (found := read_moving(memory))}
    # A zrep that was killed has taken nothing back: its streams are those of whom nobody has the lock.
    held = host.ask(ReadHolders(tuple(streams))) if streams else {}
    return {name: found for name, found in streams.items() if name in held}


def remember_synced(session: Session, views: Sequence[View]) -> None:
    """Remember when both sides of pairs with one peer were last known equal; what was sent for that, and its pace
    where it took long enough to tell; and what nobody replicates below their masters: for list, status, and what
    takeover -L and dry runs say."""
    for end in End:
        records: dict[str, dict[str, Note]] = {}
        for view in views:
            record: dict[str, Note] = {"synced": session.now, "told": None, "unsent": None, "left": None}
            if left := session.left_out.get(view.name):
                record["left"] = list(left.names[:_LEFT])
            records[memory_key(session.tag, view.pair.at(end).name)] = record | _sent(session, view.executor)
        if records:
            views[0].executor.host(end).ask(Remember(records))


def remember_first(session: Session, executor: Executor, names: Mapping[End, str]) -> None:
    """Remember what was sent to make a pair with these names. It is made, whatever becomes of this."""
    if record := _sent(session, executor):
        for end, name in names.items():
            with suppress(ZrepError):
                executor.host(end).ask(Remember({memory_key(session.tag, name): record}))


def _sent(session: Session, executor: Executor) -> dict[str, Note]:
    sent = executor.sent
    if sent is None:
        return {}
    record: dict[str, Note] = {"stream_at": session.now, "stream_ms": sent.took, "stream_size": sent.size}
    return record | ({"pace": sent.pace} if sent.long else {})


def last_stream(remembered: Memory) -> LastStream | None:
    """What was last sent of a pair."""
    at, took, size = (remembered.get(f"stream_{name}") for name in ("at", "ms", "size"))
    if isinstance(at, int) and isinstance(took, int) and isinstance(size, int):
        return LastStream(at, took / 1000, size)
    return None


def left_behind(remembered: Memory) -> tuple[str, ...]:
    """What nobody replicates below the master of a pair, as it was when both sides were last equal."""
    names = remembered.get("left")
    return tuple(names) if isinstance(names, list) else ()


def moments(snapshots: Sequence[Snapshot], remembered: Memory, *names: str) -> list[int]:
    """When the peer was known to have what is here, seconds since 1970, in no order: what is remembered under these
    names, and the snapshots' marks, which outlive a boot and may be older, never newer."""
    known = [value for name in names if isinstance(value := remembered.get(name), int)]
    return known + [snapshot.sent for snapshot in snapshots if snapshot.sent]


def since_synced(session: Session, name: str) -> int | None:
    """How many seconds ago a filesystem that somebody else has locked was last synced; None: never. Its snapshots are
    read only where nothing is remembered."""
    synced = _last_synced(session, name)
    return None if synced is None else max(0, session.now - synced)


def busy_for_long(session: Session, link: Link, holder: Holder | None) -> Diagnosis | None:
    """The state of a pair that somebody has locked for so long that it is news; None: it is none, or a stream of this
    very pair moves: that is what the lock is for."""
    found = long_busy(since_synced(session, link.name), holder)
    return None if found and _stream_moves(session, link) else found


def _stream_moves(session: Session, link: Link) -> bool:
    names = [link.name]
    if link.role.recursive:
        tree = observe_trees(session.local, session.tag, {link.name: True}).get(link.name)
        names = [member.name for member in tree.members] if isinstance(tree, Tree) else names
    streams = under_way(session.local, recall(session, *names))
    return any(not stream.still(session.now) for stream in streams.values())


def _last_synced(session: Session, name: str) -> int | None:
    remembered = recall(session, name)[name]
    if "synced" not in remembered:
        members = survey(session.driver, session.tag, [name])
        return last_of([when for member in members for when in moments(member.snapshots, {})], session.now)
    return last_of(moments((), remembered, "synced"), session.now)
