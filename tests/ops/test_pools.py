"""A pool that is suspended or not imported, on either host: it costs its own pairs, and says so."""

from __future__ import annotations

import pytest

from tests.ops import pairs
from tests.ops.hosts import Ended, Hosts
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from zrep.ops.changeconfig import Config
from zrep.ops.init_way import Request
from zrep.ops.status import status

X = "odd/x"
SUSPENDED = "pool odd on {} is suspended (nothing in it can be read or written); next: on {}: zpool status odd; once"
AWAY = "pool odd on {} is not imported (what is in it is not lost); next: on {}: zpool import odd"


@pytest.fixture
def two(hosts: Hosts) -> Hosts:
    """A pair in the pool tank and one in the pool odd, both written to since their last sync."""
    pairs.linked(hosts)
    for name in ("alpha", "beta"):
        hosts[name].add_pool("odd")
    hosts["alpha"].sh(f"zfs create {X}")
    good(hosts.run("alpha", pairs.initialising(Request(X, "beta", X))))
    pairs.written(hosts)
    pairs.written(hosts, name=X)
    return hosts


def suspend(hosts: Hosts, name: str) -> None:
    hosts[name].set_pool("odd", health="SUSPENDED")


def export(hosts: Hosts, name: str) -> None:
    hosts[name].export_pool("odd")


def sent(hosts: Hosts, name: str) -> int:
    return hosts["beta"].sh("zfs list -H -t snapshot -o name").decode().split().count(f"{name}@zrep_000002")


def looked(hosts: Hosts, host: str = "alpha") -> dict[str, tuple[str, int]]:
    return {row.name: (row.state, row.code) for row in hosts.run(host, lambda session: status(session, [])).rows}


def told(ended: Ended) -> list[str]:
    """What cron would print."""
    return [outcome.error.line() for outcome in ended.outcomes if outcome.error and not outcome.skipped]


def test_a_pool_of_the_peer_that_is_suspended_costs_its_own_pairs_alone(two: Hosts) -> None:
    suspend(two, "beta")
    ended = two.run("alpha", SYNC_ALL)
    assert (ended.code, sent(two, B)) == (1, 1)
    [line] = told(ended)
    assert line.startswith(f"{X}: {SUSPENDED.format('beta', 'beta')}")
    assert looked(two) == {A: ("ok", 0), X: ("peer unknown", 1)}
    two["beta"].set_pool("odd", health="ONLINE")
    good(two.run("alpha", SYNC_ALL))
    assert sent(two, X) == 1


def test_a_pool_of_the_peer_that_is_not_imported_is_no_peer_that_is_missing(two: Hosts) -> None:
    export(two, "beta")
    ended = two.run("alpha", SYNC_ALL)
    assert (ended.code, sent(two, B)) == (1, 1)
    assert told(ended) == [f"{X}: {AWAY.format('beta', 'beta')}"]
    assert looked(two) == {A: ("ok", 0), X: ("peer unknown", 1)}
    two["beta"].import_pool("odd")
    good(two.run("alpha", SYNC_ALL))


@pytest.mark.parametrize("renamed", ["alpha", "beta"])
def test_a_pool_with_another_name_by_now_is_told_by_that(two: Hosts, renamed: str) -> None:
    """On the other host too: no zpool import finds the old name."""
    other = {"alpha": "beta", "beta": "alpha"}[renamed]
    two[renamed].export_pool("odd")
    two[renamed].import_pool("odd", "even")
    found = {row.name: row for row in two.run(other, lambda session: status(session, [])).rows}[X]
    there = f"on {renamed}: zrep changeconfig even/x, then here: zrep changeconfig {X} {renamed} even/x"
    assert (found.state, found.advice) == ("renamed", there)
    if renamed == "beta":
        [line] = told(two.run("alpha", SYNC_ALL))
        assert line.endswith(there)
    good(two.run(renamed, pairs.changing("even/x", Config())))
    good(two.run(other, pairs.changing(X, Config(renamed, "even/x"))))
    good(two.run("alpha", SYNC_ALL))
    good(two.run(renamed, pairs.failing_over("even/x") if renamed == "alpha" else pairs.taking_over("even/x")))


def test_a_host_without_any_pool_has_lost_no_replica(two: Hosts) -> None:
    export(two, "beta")
    two["beta"].export_pool("tank")
    ended = two.run("alpha", SYNC_ALL)
    assert ended.code == 1
    assert "clear" not in ended.text


def test_a_pool_here_that_is_suspended_does_not_vanish_without_a_word(two: Hosts) -> None:
    suspend(two, "alpha")
    ended = two.run("alpha", SYNC_ALL)
    assert (ended.code, sent(two, B)) == (1, 1)
    [line] = told(ended)
    assert SUSPENDED.format("alpha", "alpha") in line
    assert looked(two) == {A: ("ok", 0), "odd": ("pool lost", 1)}
    assert two.run("alpha", pairs.expiring()).code == 1


def test_the_only_pool_here_does_not_vanish_without_a_word_when_it_is_suspended(two: Hosts) -> None:
    suspend(two, "alpha")
    two["alpha"].export_pool("tank")
    ended = two.run("alpha", SYNC_ALL)
    assert (ended.code, "is suspended" in ended.text) == (1, True)


@pytest.mark.parametrize("lost", [suspend, export])
@pytest.mark.parametrize("host", ["alpha", "beta"])
def test_who_names_it_hears_of_its_pool(two: Hosts, host: str, lost: object) -> None:
    lost(two, host)  # type: ignore[operator]  # one of the two above
    said = (SUSPENDED if lost is suspend else AWAY).format(host, host)
    for driver, work in (("alpha", pairs.syncing(X)), ("alpha", pairs.failing_over(X)), ("beta", pairs.taking_over(X))):
        ended = two.run(driver, work)
        assert (ended.code, said in ended.text) == (1, True), ended.text


def test_several_that_wait_for_one_pool_are_one_line(two: Hosts) -> None:
    two["alpha"].sh("zfs create odd/y")
    good(two.run("alpha", pairs.initialising(Request("odd/y", "beta", "odd/y"))))
    suspend(two, "beta")
    [line] = told(two.run("alpha", SYNC_ALL))
    assert line.startswith("pool odd on beta is suspended")
    assert "2 filesystems wait, 1 up to date" in line


def test_a_replica_that_nobody_can_read_renews_no_lease(two: Hosts) -> None:
    for name in (A, X):
        good(two.run("alpha", pairs.changing(name, Config(lease=5 * pairs.MINUTE))))
    good(two.run("alpha", SYNC_ALL))
    export(two, "beta")
    for _ in range(7):
        two.run("alpha", SYNC_ALL)
    assert [value(two, "alpha", name, "readonly") for name in (A, X)] == ["off", "on"]
