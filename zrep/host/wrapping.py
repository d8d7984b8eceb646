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
from collections.abc import Callable, Iterator

from zrep.core.errors import RefusedError
from zrep.core.incoming import Beginning

# dmu_replay_record of zfs_ioctl.h: 312 bytes each; a DRR_BEGIN has the magic number, in the lowest two bits of its
# version what kind of stream it begins, and the guid of the snapshot that the stream is from.
RECORD_BYTES = 312
MAGIC = 0x2F5BACBAC
_BEGIN, _END = 0, 5
_SUBSTREAM, _COMPOUND = 1, 2
_CLONE = 1
_VOLUME = 3  # of dmu_objset_type_t, in its drr_type
_NAME_AT = 56  # its drr_toname
# What a dataset has in properties and snapshots.
_PAYLOAD_BYTES = 64 << 20
_CHUNK = 1 << 20
_SECONDS = 600.0
_LOOK_SECONDS = 1
_ENDED = "the stream ended before it began"
_SPLICE_F_NONBLOCK = 2


Stopped = Callable[[], bool]


class UnwantedError(RefusedError):
    """What came is not what was asked for."""


class EndedError(RefusedError):
    """What was to be a stream ended before it began: its cause is at the other end."""


def streams(source: int, stopped: Stopped = lambda: False) -> Iterator[Beginning]:
    """What begins at a pipe or socket, which is at the beginning of a stream: that alone, or those that are in one
    wrapping. Whoever is given a beginning has zfs receive the stream before he asks for the next. UnwantedError where
    no stream is; EndedError where nothing is. stopped: whether to wait no longer."""
    wrapped = unwrap(source, stopped)
    yield beginning(source, stopped)
    while wrapped and not _end_wrapping(source, stopped):
        yield beginning(source, stopped)


def unwrap(source: int, stopped: Stopped = lambda: False) -> bool:
    """Leave a pipe or socket at the beginning of the stream of one dataset; whether there was a wrapping around it,
    whose end is to be read after it. UnwantedError where no such stream begins."""
    length = _wrapping(_peeked(source, stopped))
    if length is None:
        return False
    left = RECORD_BYTES + length + RECORD_BYTES  # with its end
    while left:
        left -= len(_exactly(source, min(left, _CHUNK), stopped))
    if _wrapping(_peeked(source, stopped)) is not None:
        raise UnwantedError("what was sent is no stream of one dataset", evidence="a wrapping in a wrapping")
    return True


def _end_wrapping(source: int, stopped: Stopped) -> bool:
    """Read the end of a wrapping, if that is next; False: another stream is."""
    record = _peeked(source, stopped)
    if {struct.unpack_from(f"{order}I", record)[0] for order in "<>"} & {_END}:
        _exactly(source, RECORD_BYTES, stopped)
        return True
    if _wrapping(record) is not None:
        raise UnwantedError("what was sent is no stream of one dataset", evidence="a wrapping in a wrapping")
    return False


def beginning(source: int, stopped: Stopped = lambda: False) -> Beginning:
    """The beginning of the stream at which a pipe or socket is, and stays."""
    record = _peeked(source, stopped)
    kind, flags, guid, since = struct.unpack_from(f"{_order(record)}IIQQ", record, 32)
    name = record[_NAME_AT:].partition(b"\0")[0].decode("utf-8", "backslashreplace")
    return Beginning(name, guid, since, bool(flags & _CLONE), kind == _VOLUME)


def _order(record: bytes) -> str:
    """In which order the host that has made a record writes bytes."""
    return "<" if struct.unpack_from("<Q", record, 8)[0] == MAGIC else ">"


def _wrapping(record: bytes) -> int | None:
    """How many bytes follow the record that begins a wrapping; None for one that begins a stream itself."""
    order = _order(record)
    kind, length = struct.unpack_from(f"{order}II", record)
    magic, version = struct.unpack_from(f"{order}QQ", record, 8)
    if kind != _BEGIN or magic != MAGIC or version & 3 not in (_SUBSTREAM, _COMPOUND):
        raise UnwantedError("what was sent is no stream")
    if version & 3 == _SUBSTREAM:
        return None
    if length > _PAYLOAD_BYTES:
        raise UnwantedError("the beginning of the stream is too long", evidence=f"{length} bytes")
    return int(length)


def _exactly(source: int, length: int, stopped: Stopped) -> bytes:
    found = bytearray()
    while len(found) < length:
        _wait(source, 1, stopped)
        chunk = os.read(source, length - len(found))
        if not chunk:
            raise EndedError(_ENDED)
        found += chunk
    return bytes(found)


def _peeked(source: int, stopped: Stopped) -> bytes:
    """The next record, which stays where it is."""
    _wait(source, RECORD_BYTES, stopped)
    found = _peek(source) if stat.S_ISSOCK(os.fstat(source).st_mode) else _tee(source)
    if len(found) < RECORD_BYTES:
        raise EndedError(_ENDED)
    return found


def _wait(source: int, length: int, stopped: Stopped) -> None:
    """Until so many bytes have arrived, or no more come. EndedError when it was stopped, or its time is up."""
    give_up = time.monotonic() + _SECONDS
    poll = select.poll()
    poll.register(source, select.POLLIN | select.POLLRDHUP)
    while not stopped() and time.monotonic() < give_up:
        events = poll.poll(1000 * _LOOK_SECONDS)
        if _waiting(source) >= length or any(event & (select.POLLHUP | select.POLLRDHUP) for _, event in events):
            return
        if events:  # some of it
            time.sleep(0.005)
    raise EndedError(_ENDED)


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
