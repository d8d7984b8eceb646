"""A resume token is read as ZFS reads it, and what is not quite one is refused."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from random import Random

import pytest

from tests.wire import fuzz
from tests.zfs.tokens import packed, printed, token
from zrep.core.errors import RefusedError
from zrep.zfs.resume_token import Resumed, read

GUID = 0x308DF55FA3ECF32F
# Of OpenZFS 2.3, of an increment.
REAL = (
    "1-cf97e2efc-e0-789c636064000310a501c49c50360710a715e5e7a69766a6304041e0f22da71556595d5700b2d991d4e52765a52697303030"
    "43d561c8a7a515a796806464e0f26c48f2499525a9c540da40460eabfe927c882bf43fbf591cffb5d74003499e132c9f97989b0aa413f3b2f5"
    "131d8c18900000a04c1d14"
)

# And of a raw one.
REAL_RAW = (
    "1-fbc239dd7-120-789c636064000310a501c49c50360710a715e5e7a69766a63040819e45e4ab47122af50a40363b92bafca4acd4e41208"
    "1f0430e4d3d28a534b18e00024cf86249f5459925acc802a8facbf241fe20a6957cb5507efafbc688024cf0996cf4bcc4d05d28979d9faa9"
    "0e5545a905f10620608c308f9b01e1cfe4fcdc82a2d4e2e2fc6c889804d43d30f9a2c47298140300155b24ed"
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (REAL, Resumed("tank/a@2", str(GUID), raw=False, since="15508895324637013841", received=1973296)),
        (REAL_RAW, Resumed("tank/e@zrep_000003", "15107852447868601627", True, "9161474904851822638", 0)),
        (token(toguid=GUID, fromguid=7, bytes=9, toname="t@1"), Resumed("t@1", str(GUID), False, "7", 9)),
        (token(toguid=GUID, toname="tank/a@2"), Resumed("tank/a@2", str(GUID), raw=False)),
        (token(rawok=True, embedok=True, toname="t@1", toguid=1), Resumed("t@1", "1", raw=True)),
    ],
)
def test_what_it_is_of(text: str, found: Resumed) -> None:
    assert read(text) == found


WELL = packed(("toguid", GUID), ("toname", "tank/a@2"))
ODD = {
    "nothing": "",
    "no token": "1-ab",
    "no hexadecimal": "1-ab-cd-xy",
    "not squeezed": "1-ab-cd-00",
    "another version": printed(WELL).replace("1-", "2-", 1),
    "of another kind of machine": printed(b"\1" + WELL[1:]),
    "cut off": printed(WELL[:-20]),
    "no name": token(toguid=GUID),
    "no guid": token(toname="tank/a@2"),
    "a line end, as what is printed of it has more lines then": token(toguid=GUID, toname="tank/a@2\n\trawok = 1"),
    "twice the same": printed(packed(("toguid", GUID), ("toguid", 1), ("toname", "tank/a@2"))),
    "a word that it has not": token(toguid=GUID, toname="tank/a@2", savedok=True),
    "a guid that is a text": token(toguid="1", toname="tank/a@2"),
    "a name that ends early": printed(WELL.replace(b"tank/a@2", b"tank\0a@2")),
    "a word that ends early": printed(WELL.replace(b"toname", b"tona\0e")),
    "a length that leads back": printed(WELL[:12] + struct.pack("=i", -40) + WELL[16:]),
    "far too long": f"1-1-1-{zlib.compress(bytes(1 << 20)).hex()}",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_what_is_not_quite_one_is_refused(text: str) -> None:
    with pytest.raises(RefusedError):
        read(text)


def test_whatever_comes_is_read_or_refused() -> None:
    random = Random(1)
    assert {fuzz.resume_token(random) for _ in range(2000)} == {True, False}


def test_what_is_squeezed_into_one_takes_no_memory() -> None:
    """As long as a command line may be: sixty megabytes of it are a thousandth of that in the token."""
    bomb = f"1-1-1-{zlib.compress(bytes(60 << 20)).hex()}"
    tracemalloc.start()
    with pytest.raises(RefusedError):
        read(bomb)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1 << 20
