"""A stream is taken out of what is around it, and nothing of it is read on the way."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable

import pytest

from zrep.core.errors import RefusedError
from zrep.host.wrapping import MAGIC, RECORD_BYTES, end_wrapping, unwrap

SUBSTREAM, COMPOUND = 1, 2
BEGIN, OBJECT, END = 0, 1, 5


def record(kind: int, version: int = SUBSTREAM, length: int = 0, order: str = "<", magic: int = MAGIC) -> bytes:
    return struct.pack(f"{order}IIQQ", kind, length, magic, version).ljust(RECORD_BYTES, b"x")


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
def test_after_it_comes_its_end_and_then_the_next(ends: Callable[[], tuple[int, int]]) -> None:
    source = Source(ends, record(END) + b"next")
    end_wrapping(source.reader)
    assert source.rest() == b"next"
    source.close()


@both
def test_or_that_of_another_dataset_which_is_refused(ends: Callable[[], tuple[int, int]]) -> None:
    source = Source(ends, record(BEGIN) + b"next")
    with pytest.raises(RefusedError, match="no stream of one dataset"):
        end_wrapping(source.reader)
    source.close()


@both
@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"x" * RECORD_BYTES,
        record(BEGIN)[:-1],
        record(OBJECT),
        record(BEGIN, magic=7),
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
