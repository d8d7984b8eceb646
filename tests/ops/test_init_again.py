"""An init that was cut goes on as it was begun; who asks for something else hears that it is not done."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.ops import pairs
from tests.ops.hosts import Hosts, Mode
from tests.ops.pairs import A, B, good, hit
from zrep.ops.init_way import Request

BEGUN = Request(A, "beta", B, savecount=7, flags="-p -L")


@pytest.fixture
def cut(hosts: Hosts) -> Hosts:
    pairs.source(hosts)
    hit(hosts, "alpha", pairs.initialising(BEGUN), Mode.TORN, "zfs", "send")
    hosts.wire.heal()
    return hosts


@pytest.mark.parametrize(
    ("request_", "evidence"),
    [
        (replace(BEGUN, flags="-p"), "--send-flags '-p' now, '-p -L' then"),
        (replace(BEGUN, flags=""), "--send-flags '' now, '-p -L' then"),
        (replace(BEGUN, savecount=9), "--savecount '9' now, '7' then"),
    ],
)
def test_another_wish_is_refused_with_the_command_that_goes_on(cut: Hosts, request_: Request, evidence: str) -> None:
    ended = cut.run("alpha", pairs.initialising(request_))
    assert (ended.code, evidence in ended.text) == (3, True), ended.text
    assert f"next: zrep init {A} beta {B} --savecount 7 --send-flags '-p -L'; " in ended.text
    good(cut.run("alpha", pairs.initialising(BEGUN)))


@pytest.mark.parametrize("request_", [BEGUN, Request(A, "beta", B), replace(BEGUN, flags=" -p  -L ")])
def test_the_same_wish_or_none_goes_on(cut: Hosts, request_: Request) -> None:
    good(cut.run("alpha", pairs.initialising(request_)))


@pytest.mark.parametrize("adopt", [False, True])
@pytest.mark.parametrize("shell", [False, True])
def test_an_init_of_the_very_pair_names_the_sync_first(hosts: Hosts, shell: bool, adopt: bool) -> None:
    """One of the shell zrep, too: it is taken up as it stands, and a clear would cost a full stream."""
    (pairs.shell_pair if shell else pairs.linked)(hosts)
    told = hosts.run("alpha", pairs.initialising(Request(A, "beta", B, adopt=adopt)))
    assert (told.code, f"next: this very pair goes on by: zrep sync {A}; " in told.text) == (3, True), told.text
    other = hosts.run("alpha", pairs.initialising(Request(A, "beta", "tank/other")))
    assert (other.code, "goes on by" in other.text) == (3, False), other.text
