"""What a stream says has changed. The shapes are those that OpenZFS 2.3.2 sent (see tests/lab/test_foreign.py)."""

from __future__ import annotations

import pytest

from tests.ops.hosts import record
from zrep.zfs.records import BEGIN, END, OBJECT, QUOTAS, SPILL, WRITE, WRITE_EMBEDDED, Change, read_change

KEY = record(BEGIN, more=b"k" * 1028)  # the wrapped key of an encrypted dataset
RANGE, FREE, FREE_OBJECTS = record(9), record(4, 3), record(2, 5)
# A change of one object sends those beside it too, without their blocks.
MASTER_NODE = record(OBJECT, 1, 21) + record(WRITE, 1, 21, b"m" * 1024)
FILE, DIRECTORY = record(OBJECT, 2, 19, b"attr" * 44), record(OBJECT, 3, 20)
QUOTA = record(OBJECT, 4, QUOTAS) + record(WRITE_EMBEDDED, 4, more=b"q" * 48)

CASES = {
    "nothing": ([record(BEGIN), record(END)], Change.NONE),
    "nothing, encrypted": ([KEY, record(END)], Change.NONE),
    "a quota": ([record(BEGIN), MASTER_NODE, FILE, FREE, QUOTA, FREE_OBJECTS, record(END)], Change.QUOTAS),
    "a quota, encrypted": ([KEY, RANGE, MASTER_NODE, FILE, QUOTA, record(END)], Change.QUOTAS),
    "a file": ([record(BEGIN), FILE, record(WRITE, 2, 19, b"w" * 512), record(END)], Change.ANY),
    "a quota and a file": ([record(BEGIN), FILE, record(WRITE_EMBEDDED, 2), QUOTA, record(END)], Change.ANY),
    "a quota and attributes": ([record(BEGIN), FILE, record(SPILL, 2), QUOTA, record(END)], Change.ANY),
    "a quota and a directory": ([record(BEGIN), DIRECTORY, record(WRITE, 3, 20), QUOTA, record(END)], Change.ANY),
    "a file cut short": ([record(BEGIN), FILE, FREE, record(END)], Change.ANY),
    "an object nothing is known of": ([record(BEGIN), QUOTA, record(WRITE, 9), record(END)], Change.ANY),
    "more than was read": ([record(BEGIN), QUOTA], Change.ANY),
    "nothing at all": ([], Change.ANY),
    "another byte order": ([b"\0\0\0\1" + bytes(308), record(END)], Change.ANY),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_stream_says_has_changed(case: str) -> None:
    stream, change = CASES[case]
    assert read_change(b"".join(stream)) is change


@pytest.mark.parametrize("cut", [1, 311, 312, 400, 623])
def test_a_stream_that_is_cut_says_nothing(cut: int) -> None:
    assert read_change((record(BEGIN) + record(END))[:cut]) is Change.ANY
