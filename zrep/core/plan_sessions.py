"""Planning how streams to one peer share sessions: its session and its processes are what a small one costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from msgspec import Struct

from zrep.core.names import ancestors
from zrep.core.pair import Lane
from zrep.core.role import Role

# Bytes: a larger stream has a session of its own, so that nothing waits behind it, or is sent again because of it.
OWN_SESSION_BYTES = 4 << 20
# What a session carries at most: one that breaks is planned again from where it broke, and its locks are given back
# when it has ended.
SESSION_BYTES = 32 << 20
SESSION_STREAMS = 32
# Streams for which another session at the same time is worth its start.
STREAMS_WORTH_A_SESSION = 8
# Bytes that a stream costs beside its own: its processes and its transaction groups.
_STREAM_COST = 1 << 20


class Parcel(Struct, frozen=True):
    """A stream as sessions are planned. size: bytes, as estimated; alone: whether it shares no session; kind: only
    those of one kind share; level: how many first streams it has to wait for."""

    size: int
    alone: bool = False
    kind: object = None
    level: int = 0


def parcel(lane: Lane, kind: object, coming: Mapping[str, object]) -> Parcel:
    """The stream that a lane is to get. coming: the datasets that a first stream is to make, by name there. What goes
    through filters is theirs to divide; what is half received is of a size that nobody has told."""
    source, base = lane.source, lane.base
    size = source.written_since(base) if base else source.number("referenced")
    alone = size > OWN_SESSION_BYTES or bool(lane.target.token or passes_through(source.role))
    return Parcel(size, alone, kind, sum(parent in coming for parent in ancestors(lane.target.name)))


def passes_through(role: Role) -> bool:
    """Whether the streams of a master pass through other programs."""
    return bool(role.outfilter or role.infilter or role.compress or role.bwlimit)


def plan_sessions(parcels: Sequence[Parcel], most: int) -> tuple[tuple[int, ...], ...]:
    """Divide streams among sessions, of which so many are open at the same time: their numbers, each session's in their
    order. What others wait for comes in a session before theirs."""
    shared: dict[tuple[int, str], list[int]] = {}
    for number, each in enumerate(parcels):
        key = "alone", number if each.alone else each.kind
        shared.setdefault((each.level, repr(key)), []).append(number)
    found: list[tuple[int, ...]] = []
    for _, numbers in sorted(shared.items(), key=lambda item: item[0][0]):
        found += _divided(numbers, parcels, most)
    return tuple(found)


def _divided(numbers: Sequence[int], parcels: Sequence[Parcel], most: int) -> list[tuple[int, ...]]:
    """The same of those that may share: the largest first, each to the session that has least."""
    total = sum(parcels[number].size for number in numbers)
    least = max(ceil(total / SESSION_BYTES), ceil(len(numbers) / SESSION_STREAMS))
    sessions: list[list[int]] = [[] for _ in range(max(least, min(most, ceil(len(numbers) / STREAMS_WORTH_A_SESSION))))]
    costs = [0] * len(sessions)
    for number in sorted(numbers, key=lambda number: -parcels[number].size):
        lightest = costs.index(min(costs))
        sessions[lightest].append(number)
        costs[lightest] += parcels[number].size + _STREAM_COST
    return sorted(tuple(sorted(session)) for session in sessions if session)
