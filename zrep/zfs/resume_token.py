"""What is in a resume token, as ZFS itself will take it: nothing that it prints of one, where a line end in a name is
another line (zfs_send_resume_token_to_nvlist() of OpenZFS's libzfs_sendrecv.c; nvs_native() of its nvpair.c)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from msgspec import Struct

from zrep.core.errors import RefusedError

_MOST_BYTES = 64 << 10
_BOOLEAN, _UINT64, _STRING = 1, 8, 9
# Those of ``zfs send`` that zrep starts; a redacted stream is none of them.
_KNOWN = {
    b"object": _UINT64, b"offset": _UINT64, b"bytes": _UINT64, b"toguid": _UINT64, b"fromguid": _UINT64,
    b"toname": _STRING, b"embedok": _BOOLEAN, b"largeblockok": _BOOLEAN, b"compressok": _BOOLEAN, b"rawok": _BOOLEAN,
}  # fmt: skip
# How the kernel packs them: as they are in memory, which another kind of machine does not read.
_NATIVE = 0
_BEGIN = 12
_PAIR = struct.Struct("=ihhii")


class Resumed(Struct, frozen=True):
    """The snapshot that a token goes on with: its guid counts, which ZFS looks for in the whole pool, beginning where
    the name says. raw: it goes as it is on disk; since: the guid of what it begins at, "" for none; received: so many
    bytes have arrived."""

    snapshot: str
    guid: str
    raw: bool
    since: str = ""
    received: int = 0


def read(token: str) -> Resumed:
    """RefusedError for what is no token of a stream of zrep's."""
    found = dict[bytes, bytes]()
    try:
        for name, value in _pairs(_unpacked(token)):
            if name in found:
                raise ValueError("twice the same")
            found[name] = value
        numbers = {name: int(struct.unpack("=Q", value)[0]) for name, value in found.items() if _KNOWN[name] == _UINT64}
        snapshot, guid = found[b"toname"].decode("ascii"), numbers[b"toguid"]
    except (ValueError, KeyError, IndexError, struct.error, zlib.error) as error:
        raise RefusedError("this is no resume token of a stream that zrep sends", evidence=repr(error)[:80]) from None
    since = str(numbers[b"fromguid"]) if b"fromguid" in numbers else ""
    return Resumed(snapshot, str(guid), b"rawok" in found, since, numbers.get(b"bytes", 0))


def _unpacked(token: str) -> bytes:
    version, _, _, squeezed = token.split("-")
    packed = zlib.decompressobj().decompress(bytes.fromhex(squeezed), _MOST_BYTES)
    if version != "1" or packed[0] != _NATIVE:
        raise ValueError("another version")
    return packed


def _pairs(packed: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each name with its value, up to a length of 0."""
    at = _BEGIN
    while (length := struct.unpack_from("=i", packed, at)[0]) != 0:
        _, name_length, _, count, kind = _PAIR.unpack_from(packed, at)
        value_at = _PAIR.size + _padded(name_length)
        if not value_at <= length <= len(packed) - at:
            raise ValueError("a length")
        name, end = packed[at + _PAIR.size : at + value_at].partition(b"\0")[::2]
        if name_length != len(name) + 1 or any(end) or _KNOWN.get(name) != kind or count != (kind != _BOOLEAN):
            raise ValueError("a name")
        yield name, _value(kind, packed[at + value_at : at + length])
        at += length


def _value(kind: int, raw: bytes) -> bytes:
    """A string without what fills it up; what is printed of it stays on its line."""
    if kind != _STRING:
        if len(raw) != (8 if kind == _UINT64 else 0):
            raise ValueError("a value")
        return raw
    text, end = raw.partition(b"\0")[::2]
    if len(raw) != _padded(len(text) + 1) or any(end) or not text.decode("ascii").isprintable():
        raise ValueError("a text")
    return text


def _padded(length: int) -> int:
    return -(-length // 8) * 8
