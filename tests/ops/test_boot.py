"""What a host that was master does at boot: nothing is written before its peer has said who is master."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Ended, Hosts
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from zrep.ops import boot
from zrep.ops.outcome import Outcome


def held(hosts: Hosts) -> Ended:
    return hosts.run("alpha", boot.hold)


def asked(hosts: Hosts, wait: float = 0, *, open_then: bool = False) -> list[Outcome]:
    """What alpha is told, with a session for each try."""
    with ExitStack() as tries:
        return boot.ask(lambda: tries.enter_context(hosts.session("alpha")), wait, open_then=open_then)[1]


def readonly(hosts: Hosts) -> tuple[str, str]:
    return value(hosts, "alpha", A, "readonly"), value(hosts, "alpha", A, "readonly -o source")


def test_a_master_is_writable_again_as_it_was_once_its_peer_has_answered(hosts: Hosts) -> None:
    pairs.linked(hosts)
    was = readonly(hosts)
    good(held(hosts))
    assert readonly(hosts)[0] == "on"
    [outcome] = asked(hosts)
    assert (outcome.code, outcome.message) == (0, "it is master")
    assert readonly(hosts) == was
    assert value(hosts, "alpha", A, "zrep:inprogress") in ("-", "")


def test_one_whose_role_has_moved_meanwhile_stays_read_only_with_the_reason(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing(B)))
    hosts.wire.cut = False
    good(held(hosts))
    [outcome] = asked(hosts, 60, open_then=True)
    assert outcome.error is not None
    assert (outcome.code, outcome.error.what) == (3, "the master role has moved to tank/b on beta")
    assert readonly(hosts)[0] == "on"
    good(hosts.run("alpha", pairs.rejoining(A)))


def test_a_peer_that_does_not_answer_is_waited_for_and_then_it_stays_read_only(hosts: Hosts) -> None:
    pairs.linked(hosts)
    good(held(hosts))
    hosts.wire.cut = True
    [outcome] = asked(hosts, 60)
    assert outcome.error is not None
    assert (outcome.code, outcome.error.advice) == (
        5, f"it stays read-only until it answers; to go on without it: zrep takeover -L {A}",
    )  # fmt: skip
    assert readonly(hosts)[0] == "on"
    hosts.wire.cut = False
    good(hosts.run("alpha", SYNC_ALL))
    assert readonly(hosts)[0] == "off"


def test_without_an_answer_it_is_opened_where_that_was_asked_for(hosts: Hosts) -> None:
    pairs.linked(hosts)
    was = readonly(hosts)
    good(held(hosts))
    hosts.wire.cut = True
    [outcome] = asked(hosts, 60, open_then=True)
    assert (outcome.code, outcome.message) == (0, "writable, although beta did not answer")
    assert readonly(hosts) == was


def test_what_was_stopped_before_the_boot_is_not_opened(hosts: Hosts) -> None:
    """A stale master that has learned of it stays what it is, whatever was asked for."""
    pairs.linked(hosts)
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing(B)))
    hosts.wire.cut = False
    assert hosts.run("alpha", SYNC_ALL).code == 3
    assert readonly(hosts)[0] == "on"
    good(held(hosts))
    hosts.wire.cut = True
    [outcome] = asked(hosts, open_then=True)
    assert outcome.code == 3
    assert readonly(hosts)[0] == "on"


def test_one_that_was_promoted_alone_is_not_held(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing(B)))
    good(hosts.run("beta", boot.hold))
    assert value(hosts, "beta", B, "readonly") == "off"


def test_a_tree_is_held_whole(hosts: Hosts) -> None:
    trees.grown(hosts)
    good(held(hosts))
    names = (A, f"{A}/x", f"{A}/x/deep", f"{A}/vol")
    assert {value(hosts, "alpha", name, "readonly") for name in names} == {"on"}
    assert [outcome.code for outcome in asked(hosts)] == [0]
    assert {value(hosts, "alpha", name, "readonly") for name in names} == {"off"}


@pytest.mark.parametrize("times", [1, 2])
def test_again_it_changes_nothing(hosts: Hosts, times: int) -> None:
    pairs.linked(hosts)
    for _ in range(times):
        good(held(hosts))
    assert [outcome.code for outcome in asked(hosts)] == [0]
    assert asked(hosts) == []
    assert readonly(hosts)[0] == "off"
