"""A pause stops streams, never the check of who is master."""

from __future__ import annotations

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, Mode
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from zrep.ops.init_way import Request
from zrep.ops.pause import pause_text, paused_since

NOW = 1_800_000_000


@pytest.fixture
def paused(hosts: Hosts) -> Hosts:
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.pausing(A, "upgrade")))
    pairs.written(hosts)
    return hosts


def test_nothing_is_sent(paused: Hosts) -> None:
    before = paused["beta"].sh("zfs list -H -t snapshot -o name")
    [outcome] = good(paused.run("alpha", SYNC_ALL)).outcomes
    assert outcome.skipped
    assert outcome.message.startswith("paused: upgrade since ")
    refused = paused.run("alpha", pairs.syncing(A))
    assert (refused.code, "it is paused" in refused.text) == (3, True)
    assert paused["beta"].sh("zfs list -H -t snapshot -o name") == before


def test_another_reason_takes_the_place_of_the_first(paused: Hosts) -> None:
    first = value(paused, "alpha", A, "zrep:paused")
    for reason, kept in (("", "upgrade"), ("upgrade", "upgrade"), ("move", "move")):
        good(paused.run("alpha", pairs.pausing(A, reason)))
        assert value(paused, "alpha", A, "zrep:paused") == first.replace("upgrade", kept)


def test_an_old_master_that_returns_stops_writes_and_says_so(paused: Hosts) -> None:
    paused.wire.cut = True
    good(paused.run("beta", pairs.forcing(B)))
    paused.wire.cut = False
    ended = paused.run("alpha", SYNC_ALL)
    assert (ended.code, "zrep rejoin tank/a" in ended.text) == (3, True)
    assert value(paused, "alpha", A, "readonly") == "on"


def test_what_a_role_change_left_is_finished(paused: Hosts) -> None:
    pairs.hit(paused, "beta", pairs.taking_over(B), Mode.KILL_AFTER, "zfs", "set", "readonly=off")
    paused.wire.reset()
    paused.run("alpha", SYNC_ALL)
    assert value(paused, "alpha", A, "zrep:master") == "no"


def test_a_peer_that_is_down_is_no_news_of_a_paused_filesystem(paused: Hosts) -> None:
    paused.wire.cut = True
    [outcome] = good(paused.run("alpha", SYNC_ALL)).outcomes
    assert (outcome.skipped, outcome.error) == (True, None)


def test_one_that_is_paused_does_not_hold_up_the_others_of_its_peer(paused: Hosts) -> None:
    paused["alpha"].sh("zfs create tank/x")
    good(paused.run("alpha", pairs.initialising(Request("tank/x", "beta", "tank/x"))))
    pairs.written(paused, name="tank/x")
    good(paused.run("alpha", SYNC_ALL))
    assert b"zrep_000002" in paused["beta"].sh("zfs list -H -t snapshot -o name tank/x")
    paused.wire.cut = True
    assert paused.run("alpha", SYNC_ALL).code == 5


@pytest.mark.parametrize("reason", ["a\tb", "a\nb", "\x1b[31mred"])
def test_a_reason_that_could_be_misread_is_refused(hosts: Hosts, reason: str) -> None:
    pairs.linked(hosts)
    assert hosts.run("alpha", pairs.pausing(A, reason)).code == 2
    assert value(hosts, "alpha", A, "zrep:paused") == "-"


@pytest.mark.parametrize(
    ("text", "since"),
    [
        (pause_text("", NOW), NOW),
        (pause_text("since 2001-01-01T00:00:00Z", NOW), NOW),
        ("since 2026-13-01T00:00:00Z", None),
        ("since yesterday", None),
        ("", None),
    ],
)
def test_when_a_pause_began_is_read_from_its_text(text: str, since: int | None) -> None:
    assert paused_since(text) == since
