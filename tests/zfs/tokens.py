"""Resume tokens that nobody but their maker has seen: ZFS takes each of these."""

from __future__ import annotations

import struct
import zlib

BOOLEAN, UINT64, STRING = 1, 8, 9


def token(**pairs: int | str | bool) -> str:
    """As ``zfs get receive_resume_token`` prints it."""
    return printed(packed(*pairs.items()))


def packed(*pairs: tuple[str, int | str | bool]) -> bytes:
    """The list of names and values in it, as it is in memory."""
    return struct.pack("=BBxxiI", 0, 1, 0, 1) + b"".join(_pair(*each) for each in pairs) + bytes(4)


def printed(content: bytes) -> str:
    squeezed = zlib.compress(content)
    words = squeezed[: len(squeezed) // 4 * 4]
    total = sum(struct.unpack(f"<{len(words) // 4}I", words))
    return f"1-{total:x}-{len(content):x}-{squeezed.hex()}"


def contents(content: bytes) -> dict[str, int | str | bool]:
    """What packed has packed."""
    found: dict[str, int | str | bool] = {}
    at = 12
    while size := struct.unpack_from("=i", content, at)[0]:
        _, name_length, _, _, kind = struct.unpack_from("=ihhii", content, at)
        name = content[at + 16 : at + 15 + name_length].decode()
        raw = content[at + 16 + -(-name_length // 8) * 8 : at + size]
        text = raw.partition(b"\0")[0].decode() if kind == STRING else ""
        found[name] = text if kind == STRING else kind == BOOLEAN or int(struct.unpack("=Q", raw)[0])
        at += size
    return found


def _pair(name: str, value: int | str | bool) -> bytes:
    if isinstance(value, bool):
        kind, raw = BOOLEAN, b""
    elif isinstance(value, int):
        kind, raw = UINT64, struct.pack("=Q", value)
    else:
        kind, raw = STRING, _padded(value.encode() + b"\0")
    named = _padded(name.encode() + b"\0")
    size = 16 + len(named) + len(raw)
    return struct.pack("=ihhii", size, len(name) + 1, 0, 0 if kind == BOOLEAN else 1, kind) + named + raw


def _padded(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // 8) * 8, b"\0")
