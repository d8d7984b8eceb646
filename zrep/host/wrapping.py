"""Streams with properties are those without in a wrapping: a beginning with all properties and names, its end, the
stream itself, and another end (send_prelim_records() of OpenZFS's libzfs_sendrecv.c). Taken out of it, a stream brings
its data and nothing else.

Nothing of the stream itself is read here: ``zfs receive`` is to have it from its first record on, and reads it to its
last and not a byte more.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import socket
import stat
import struct
import termios
import time

from zrep.core.errors import RefusedError

# dmu_replay_record of zfs_ioctl.h: 312 bytes each; a DRR_BEGIN has the magic number, and in the lowest two bits of its
# version what kind of stream it begins.
RECORD_BYTES = 312
MAGIC = 0x2F5BACBAC
_BEGIN, _END = 0, 5
_COMPOUND = 2
# What a dataset has in properties and snapshots.
_PAYLOAD_BYTES = 64 << 20
_CHUNK = 1 << 20
_SECONDS = 600.0
_SPLICE_F_NONBLOCK = 2


def unwrap(source: int) -> bool:
    """Leave a pipe or socket at the beginning of the stream of one dataset; whether there was a wrapping around it,
    whose end is to be read after it. RefusedError where no such stream begins."""
    length = _wrapping(_peeked(source))
    if length is None:
        return False
    left = RECORD_BYTES + length + RECORD_BYTES  # with its end
    while left:
        left -= len(_exactly(source, min(left, _CHUNK)))
    if _wrapping(_peeked(source)) is not None:
        raise RefusedError("what was sent is no stream of one dataset", evidence="a wrapping in a wrapping")
    return True


def end_wrapping(source: int) -> None:
    """Read the end after a stream that was in a wrapping. RefusedError for anything else: the stream of another
    dataset."""
    record = _exactly(source, RECORD_BYTES)
    if not {struct.unpack_from(f"{order}I", record)[0] for order in "<>"} & {_END}:
        raise RefusedError("what was sent is no stream of one dataset", evidence="more than one in a wrapping")


def _wrapping(record: bytes) -> int | None:
    """How many bytes follow the record that begins a wrapping; None for one that begins a stream itself."""
    order = "<" if struct.unpack_from("<Q", record, 8)[0] == MAGIC else ">"
    kind, length = struct.unpack_from(f"{order}II", record)
    magic, version = struct.unpack_from(f"{order}QQ", record, 8)
    if kind != _BEGIN or magic != MAGIC:
        raise RefusedError("what was sent is no stream")
    if version & 3 != _COMPOUND:
        return None
    if length > _PAYLOAD_BYTES:
        raise RefusedError("the beginning of the stream is too long", evidence=f"{length} bytes")
    return int(length)


def _exactly(source: int, length: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        chunk = os.read(source, length - len(found))
        if not chunk:
            raise RefusedError("the stream ended before it began")
        found += chunk
    return bytes(found)


def _peeked(source: int) -> bytes:
    """The next record, which stays where it is."""
    _wait(source)
    found = _peek(source) if stat.S_ISSOCK(os.fstat(source).st_mode) else _tee(source)
    if len(found) < RECORD_BYTES:
        raise RefusedError("the stream ended before it began")
    return found


def _wait(source: int) -> None:
    """Until a record has arrived, or no more comes."""
    give_up = time.monotonic() + _SECONDS
    while time.monotonic() < give_up:
        ended = _ended(source)
        if ended or _waiting(source) >= RECORD_BYTES:
            return
        time.sleep(0.005)


def _peek(source: int) -> bytes:
    with socket.socket(fileno=os.dup(source)) as wire:
        return wire.recv(RECORD_BYTES, socket.MSG_PEEK)


def _tee(source: int) -> bytes:
    """The same of a pipe (tee(2))."""
    reader, writer = os.pipe()
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        count = libc.tee(source, writer, ctypes.c_size_t(RECORD_BYTES), _SPLICE_F_NONBLOCK)
        return os.read(reader, count) if count > 0 else b""
    finally:
        os.close(reader)
        os.close(writer)


def _waiting(source: int) -> int:
    """How many bytes have arrived."""
    return int(struct.unpack("i", fcntl.ioctl(source, termios.FIONREAD, struct.pack("i", 0)))[0])


def _ended(source: int) -> bool:
    """Whether nobody writes any more."""
    poll = select.poll()
    poll.register(source, select.POLLIN | select.POLLRDHUP)
    return any(event & (select.POLLHUP | select.POLLRDHUP) for _, event in poll.poll(0))
