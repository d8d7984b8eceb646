"""Valid text, broken as a faulty or hostile other end might break it."""

from __future__ import annotations

from random import Random

# What means something to JSON, to a shell, to zfs, or to a terminal.
_PIECES = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\u0000", b"\\ud800", b"null", b"true", b"-1", b"1e999"),
    *(b"9" * 400, b"\x00", b"\x1b[2J", b"\xff", b"\xc3\x28", b"\n", b"'", b"!", b"$(", b"`", b";", b"|", b" -r "),
    *(b"-", b"@", b"/", b"%", b"..", b"=", b'"type":"Ask"', b'"number":0', b'"steps":[]', b"[" * 200, b'{"a":' * 200),
    *(b"zfs", b"receive", b"-F", b"sh", b"-c", b"peer", b"tank/a@x", "é".encode(), "\u202e".encode()),
)


def mutated(line: bytes, random: Random) -> bytes:
    """One to four changes: something put in, taken out, doubled, cut off, or another byte in its place."""
    data = bytearray(line)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at = random.randrange(len(data) + 1)
        end = min(len(data), at + random.randint(0, 12))
        match random.randrange(12):
            case 0 | 1:
                data[at:at] = random.choice(_PIECES)
            case 2 | 3:
                del data[at:end]
            case 4:
                data[at:at] = data[at:end]
            case 5 | 6:
                data[at:end] = random.choice(_PIECES)
            case 7:
                del data[at:]
            case _ if at < len(data):
                data[at] = random.randrange(32, 127) if random.random() < 0.7 else random.randrange(256)
    return bytes(data)
