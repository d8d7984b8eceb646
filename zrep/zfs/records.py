"""The records of a stream, as far as they tell what was changed: struct dmu_replay_record in OpenZFS's zfs_ioctl.h.

Seen on 2.3.2: a stream without any change is its first record and its last, with the wrapped key of what is encrypted
between them; a record of an object says its type, whatever of it is encrypted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from enum import Enum

# struct dmu_replay_record: its type, then 304 bytes by type; what follows it has a length of its own place for each.
RECORD_BYTES = 312
BEGIN, OBJECT, WRITE, END, SPILL, WRITE_EMBEDDED = 0, 1, 3, 5, 7, 8
_LAST = 10
# dmu_object_type_t: what lists the objects that a filesystem has besides its files, and where its quotas are.
MASTER_NODE, QUOTAS = 21, 40


class Change(Enum):
    """What was changed since the base of a stream."""

    NONE = "nothing"
    QUOTAS = "user, group or project quotas, and no more"
    ANY = "anything, or it cannot be told"


def read_change(stream: bytes) -> Change:
    """What the beginning of a stream says of all that it has. The file whose block has changed is written."""
    types: dict[int, int] = {}
    written: set[int] = set()
    last = BEGIN
    for kind, number, word in _records(stream):
        last = kind
        if kind == OBJECT:
            types[number] = word
        elif kind in (WRITE, SPILL, WRITE_EMBEDDED):
            written.add(number)
        if kind not in (BEGIN, END):
            types.setdefault(number, -1)
    if last != END:
        return Change.ANY
    if not types:
        return Change.NONE
    kinds = {types[number] for number in written}
    return Change.QUOTAS if QUOTAS in kinds and kinds <= {MASTER_NODE, QUOTAS} else Change.ANY


def _records(stream: bytes) -> Iterator[tuple[int, int, int]]:
    """Type, and the first two words of what it says: of an object its number and its type. None after one that is cut,
    or that is not of this byte order."""
    at = 0
    while at + RECORD_BYTES <= len(stream):
        kind, _, number, word = struct.unpack_from("<IIQI", stream, at)
        if kind > _LAST:
            return
        yield kind, number, word
        at += RECORD_BYTES + _following(kind, stream, at)


def _following(kind: int, stream: bytes, at: int) -> int:
    """Bytes between a record and the next one."""

    def word(offset: int) -> int:
        return int.from_bytes(stream[at + offset : at + offset + 4], "little")

    lengths: dict[int, Callable[[], int]] = {
        BEGIN: lambda: word(4),
        OBJECT: lambda: word(36) or _whole(word(28)),  # attributes; as they are on disk where that is encrypted
        WRITE: lambda: word(96) if stream[at + 50] else word(32),  # compressed or not
        SPILL: lambda: word(40) if stream[at + 33] else word(16),
        WRITE_EMBEDDED: lambda: _whole(word(52)),
    }
    return lengths[kind]() if kind in lengths else 0


def _whole(length: int) -> int:
    """A length in whole words of 64 bits."""
    return -(-length // 8) * 8
