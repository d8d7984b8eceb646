"""How far the next stream of a lane goes: to the snapshot that is to be sent, or, where those of others travel too, to
one on the way there."""

from __future__ import annotations

from msgspec import Struct

from zrep.core.dataset import NO_TOKEN, Snapshot, TokenContents
from zrep.core.names import is_of_a_tag, sequence_of
from zrep.core.pair import Lane


class Hop(Struct, frozen=True):
    """One stream: to a snapshot, with all that are between the base and it (``send -I``), or without."""

    snapshot: Snapshot
    between: bool = False


def of_others(snapshot: Snapshot) -> bool:
    """Whether a snapshot is no zrep's, by its name: each pair moves its own."""
    return not is_of_a_tag(snapshot.name)


def waiting(lane: Lane, after: Snapshot) -> bool:
    """Whether snapshots of others, newer than this one, wait to travel with the next of zrep's own."""
    return lane.source.role.all_snapshots and any(of_others(snapshot) for snapshot in lane.source.after(after))


def next_hop(lane: Lane, token: TokenContents = NO_TOKEN) -> Hop | None:
    """The next stream of a lane; None where nothing is to be sent. token: what is half received at its target, as the
    source reads it: a stream to a snapshot on the way is gone on with.

    ``send -I`` takes all that is between, and begins at no bookmark: snapshots of zrep's that have no business there
    (of other tags, and its own that were never sent) are passed by with an increment of their own."""
    last, base = lane.pending, lane.base
    if last is None or not lane.source.role.all_snapshots:
        return Hop(last) if last else None
    ahead = [s for s in (lane.source.after(base) if base else lane.source.snapshots) if s.createtxg <= last.createtxg]
    travel = [snapshot for snapshot in ahead if of_others(snapshot) or snapshot.guid == last.guid]
    if token.sendable and token.from_guid == (base.guid if base else ""):
        for snapshot in travel:
            if snapshot.guid == token.to_guid:
                return Hop(snapshot)
    if base is None or base.bookmark or ahead[0] not in travel:
        return Hop(travel[0])
    run = next((number for number, snapshot in enumerate(ahead) if snapshot not in travel), len(ahead))
    return Hop(ahead[run - 1], between=run > 1)


def was_between(lane: Lane, arrived: Snapshot) -> bool:
    """Whether a stream that has brought a snapshot may have brought others on the way."""
    base = lane.base
    between = [s for s in lane.source.after(base) if s.createtxg < arrived.createtxg] if base else []
    return bool(between) and all(map(of_others, between))


def name_taken(lane: Lane, hop: Hop) -> Snapshot | None:
    """The snapshot of others on a lane's target that has the name of one which the stream would bring."""
    base = lane.base
    start = base.createtxg if base else 0
    for snapshot in lane.source.snapshots:
        brought = hop.between and start < snapshot.createtxg < hop.snapshot.createtxg
        there = lane.target.by_name(snapshot.name)
        named = brought or (snapshot.guid == hop.snapshot.guid and sequence_of(lane.tag, snapshot.name) is None)
        if named and there is not None and there.guid != snapshot.guid:
            return there
    return None
