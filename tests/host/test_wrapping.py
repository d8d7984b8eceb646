"""A stream is taken out of what is around it, and nothing of it is read on the way."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable

import pytest

from zrep.core.errors import RefusedError
from zrep.core.incoming import Beginning
from zrep.host.wrapping import MAGIC, RECORD_BYTES, EndedError, UnwantedError, beginning, streams, unwrap

SUBSTREAM, COMPOUND = 1, 2
BEGIN, OBJECT, END = 0, 1, 5


def record(kind: int, version: int = SUBSTREAM, length: int = 0, order: str = "<", magic: int = MAGIC) -> bytes:
    return struct.pack(f"{order}IIQQ", kind, length, magic, version).ljust(RECORD_BYTES, b"x")


FILESYSTEM, VOLUME = 2, 3


def increment(
    since: int, guid: int = 5, *, name: str = "", clone: bool = False, order: str = "<", kind: int = FILESYSTEM
) -> bytes:
    """The beginning of a stream that is from the snapshot with that guid; 0: from none."""
    fields = (BEGIN, 0, MAGIC, SUBSTREAM, 0, kind, int(clone), guid, since)
    return (struct.pack(f"{order}IIQQQIIQQ", *fields) + name.encode()).ljust(RECORD_BYTES, b"\0")


def wrapping(order: str = "<", length: int = 1000) -> bytes:
    return record(BEGIN, COMPOUND | 4, length, order) + b"p" * length + record(END, order=order)


def pipe() -> tuple[int, int]:
    return os.pipe()


def wire() -> tuple[int, int]:
    one, other = socket.socketpair()
    return one.detach(), other.detach()


class Source:
    """A stream that arrives a few bytes at a time."""

    def __init__(self, ends: Callable[[], tuple[int, int]], stream: bytes) -> None:
        self.reader, self._writer = ends()
        self._thread = threading.Thread(target=self._write, args=(stream,))
        self._thread.start()

    def _write(self, stream: bytes) -> None:
        for start in range(0, len(stream), 200):
            os.write(self._writer, stream[start : start + 200])
        os.close(self._writer)

    def rest(self) -> bytes:
        found = b""
        while chunk := os.read(self.reader, 1000):
            found += chunk
        return found

    def close(self) -> None:
        self.rest()
        os.close(self.reader)
        self._thread.join()


both = pytest.mark.parametrize("ends", [pipe, wire])


@both
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_stream_without_properties_is_left_alone(ends: Callable[[], tuple[int, int]], order: str) -> None:
    stream = record(BEGIN, order=order) + b"data"
    source = Source(ends, stream)
    assert not unwrap(source.reader)
    assert source.rest() == stream
    source.close()


@both
@pytest.mark.parametrize("order", ["<", ">"])
def test_properties_are_left_out(ends: Callable[[], tuple[int, int]], order: str) -> None:
    stream = record(BEGIN, order=order) + b"data"
    source = Source(ends, wrapping(order) + stream)
    assert unwrap(source.reader)
    assert source.rest() == stream
    source.close()


@both
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("since", "clone", "kind", "origin", "makes_filesystem"),
    [
        (1 << 63, True, FILESYSTEM, 1 << 63, True),
        (1 << 63, True, VOLUME, 1 << 63, False),
        (1 << 63, False, FILESYSTEM, 0, False),
        (0, False, FILESYSTEM, 0, True),
        (0, False, VOLUME, 0, False),
        (0, False, 7, 0, True),
    ],
)
def test_what_it_begins_is_told(
    ends: Callable[[], tuple[int, int]],
    order: str,
    since: int,
    clone: bool,
    kind: int,
    origin: int,
    makes_filesystem: bool,
) -> None:
    stream = increment(since, 1 << 62, name="tank/a@x", clone=clone, order=order, kind=kind) + b"data"
    source = Source(ends, wrapping(order) + stream)
    assert unwrap(source.reader)
    found = beginning(source.reader)
    assert found == Beginning("tank/a@x", 1 << 62, since, clone, kind == VOLUME)
    assert (found.origin, found.makes_filesystem) == (origin, makes_filesystem)
    assert source.rest() == stream
    source.close()


@both
def test_those_of_one_wrapping_come_one_after_the_other_and_then_the_next(ends: Callable[[], tuple[int, int]]) -> None:
    source = Source(ends, wrapping() + increment(1, 2) + increment(2, 3) + record(END) + b"next")
    found = []
    for each in streams(source.reader):
        found.append((each.since, each.guid))
        assert len(os.read(source.reader, RECORD_BYTES)) == RECORD_BYTES  # as zfs receive would
    assert found == [(1, 2), (2, 3)]
    assert source.rest() == b"next"
    source.close()


@both
@pytest.mark.parametrize(
    ("more", "error"), [(b"", EndedError), (wrapping(), UnwantedError), (record(OBJECT), UnwantedError)]
)
def test_in_a_wrapping_is_nothing_but_streams(
    ends: Callable[[], tuple[int, int]], more: bytes, error: type[RefusedError]
) -> None:
    source = Source(ends, wrapping() + increment(1) + more)
    found = streams(source.reader)
    next(found)
    os.read(source.reader, RECORD_BYTES)  # as zfs receive would
    with pytest.raises(error):
        next(found)
    source.close()


@both
def test_nobody_waits_any_more_once_it_was_stopped(ends: Callable[[], tuple[int, int]]) -> None:
    reader, writer = ends()
    stopped = threading.Event()
    threading.Timer(0.05, stopped.set).start()
    with pytest.raises(EndedError):
        list(streams(reader, stopped.is_set))
    os.close(reader)
    os.close(writer)


@both
@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"x" * RECORD_BYTES,
        record(BEGIN)[:-1],
        record(OBJECT),
        record(BEGIN, magic=7),
        record(BEGIN, version=0),  # some zfs take for a package what is no single stream
        record(BEGIN, version=3),
        record(BEGIN, COMPOUND, 10),
        record(BEGIN, COMPOUND, 1 << 31),
        wrapping() + wrapping(),
        wrapping() + record(OBJECT),
        wrapping(),
    ],
)
def test_what_is_no_stream_of_one_dataset_is_refused(ends: Callable[[], tuple[int, int]], stream: bytes) -> None:
    source = Source(ends, stream)
    with pytest.raises(RefusedError):
        unwrap(source.reader)
    source.close()
