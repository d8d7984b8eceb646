"""A side that is set back to before its role moved: its pool was rewound to a checkpoint, or its disks restored."""

from __future__ import annotations

import copy

import pytest

from tests.model.state import HostState
from tests.ops import pairs
from tests.ops.hosts import Hosts
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from zrep.ops.init_way import Request
from zrep.ops.rows import Row
from zrep.ops.status import status


def now(hosts: Hosts, host: str) -> HostState:
    return copy.deepcopy(hosts.world.state.hosts[host])


def set_back(hosts: Hosts, host: str, then: HostState) -> None:
    with hosts.world.transaction() as state:
        state.hosts[host] = then


def rows(hosts: Hosts) -> list[Row]:
    found = []
    for host, name in (("alpha", A), ("beta", B)):
        looked = {row.name: row for row in hosts.run(host, lambda session: status(session, [])).rows}
        found.append(looked[name])
    return found


@pytest.fixture
def replica_set_back(hosts: Hosts) -> Hosts:
    """beta took the role and was written to, alpha has that, and beta is what it was before."""
    pairs.linked(hosts)
    before = now(hosts, "beta")
    good(hosts.run("alpha", pairs.failing_over(A)))
    pairs.written(hosts, "beta", B, "later")
    good(hosts.run("beta", SYNC_ALL))
    set_back(hosts, "beta", before)
    return hosts


@pytest.fixture
def master_set_back(hosts: Hosts) -> Hosts:
    """The role went to beta and came back; alpha was written to, beta has that, and alpha is what it was before."""
    pairs.linked(hosts)
    before = now(hosts, "alpha")
    good(hosts.run("alpha", pairs.failing_over(A)))
    good(hosts.run("beta", pairs.failing_over(B)))
    pairs.written(hosts, key="later")
    good(hosts.run("alpha", SYNC_ALL))
    set_back(hosts, "alpha", before)
    pairs.written(hosts, key="alone")
    return hosts


def test_two_replicas_of_two_generations_have_no_master_yet(replica_set_back: Hosts) -> None:
    hosts = replica_set_back
    here, there = rows(hosts)
    assert (here.state, there.state) == ("no master", "no master")
    assert here.advice == f"zrep takeover -L {A}, then on beta: zrep rejoin {B}"
    assert there.advice == f"on alpha: zrep takeover -L {A}, then here: zrep rejoin {B}"


def test_to_follow_one_that_is_no_master_is_refused(replica_set_back: Hosts) -> None:
    """It made a replica of itself, whose data was in a split copy alone."""
    hosts = replica_set_back
    ended = hosts.run("beta", pairs.rejoining(B))
    assert (ended.code, f"next: on alpha: zrep takeover -L {A}" in ended.text) == (3, True), ended.text
    good(hosts.run("alpha", pairs.forcing(A, insist=False)))
    good(hosts.run("beta", pairs.rejoining(B)))
    good(hosts.run("alpha", SYNC_ALL))
    assert [row.state for row in rows(hosts)] == ["ok", "ok"]
    assert {f"later{part}" for part in range(4)} <= hosts["alpha"].read(A).keys()


def test_a_master_that_is_set_back_stops_and_its_replica_takes_the_role(master_set_back: Hosts) -> None:
    hosts = master_set_back
    advice = f"on beta: zrep takeover -L -f {B}, then here: zrep rejoin {A}"
    here, there = rows(hosts)
    assert (here.state, here.advice) == ("stale master", advice)
    assert (there.state, there.advice) == ("peer stale", f"zrep takeover -L -f {B}, then on alpha: zrep rejoin {A}")
    assert hosts.run("alpha", pairs.rejoining(A)).code == 3
    ended = hosts.run("alpha", SYNC_ALL)
    assert (ended.code, f"next: {advice}" in ended.text) == (3, True), ended.text
    assert value(hosts, "alpha", A, "readonly") == "on"
    good(hosts.run("beta", pairs.forcing(B)))
    good(hosts.run("alpha", pairs.rejoining(A)))
    good(hosts.run("beta", SYNC_ALL))
    assert [row.state for row in rows(hosts)] == ["ok", "ok"]
    assert {f"later{part}" for part in range(4)} <= hosts["beta"].read(B).keys()
    assert [name for name in hosts["alpha"].sh("zfs list -H -o name").decode().split() if "_split_" in name]


def test_without_a_master_the_one_that_has_more_is_to_be_it(hosts: Hosts) -> None:
    pairs.source(hosts)
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", A))))
    pairs.written(hosts)
    hosts["alpha"].sh(f"zfs snapshot {A}@mine")
    links = f"zrep:src-host=beta zrep:src-fs={A} zrep:dest-host=alpha zrep:dest-fs={A}"
    hosts["alpha"].sh(f"zfs set zrep:master=no {links} {A}")
    looked = [hosts.run(host, lambda session: status(session, [])).rows[0] for host in ("alpha", "beta")]
    assert [(row.state, row.advice) for row in looked] == [
        ("no master", f"zrep takeover -L {A}"),
        ("no master", f"on alpha: zrep takeover -L {A}"),
    ]


@pytest.fixture
def master_rolled_back(hosts: Hosts) -> Hosts:
    """The same generation: alpha's pool is what it was before it sent what beta has."""
    pairs.linked(hosts)
    before = now(hosts, "alpha")
    pairs.written(hosts, key="later")
    good(hosts.run("alpha", SYNC_ALL))
    set_back(hosts, "alpha", before)
    return hosts


def test_what_a_master_that_was_rolled_back_has_lost_can_be_kept(master_rolled_back: Hosts) -> None:
    """It is on the replica alone: sync -f, which drops it, is one of two ways."""
    hosts = master_rolled_back
    here, there = rows(hosts)
    drop = "to go on from @zrep_000001, without that: {}zrep sync -f tank/a"
    keep = "or where the master was set back, to keep that: {}zrep takeover -L -f tank/b, then {}zrep rejoin tank/a"
    assert here.advice == f"{drop.format('')}, {keep.format('on beta: ', 'here: ')}"
    assert there.advice == f"{drop.format('on alpha: ')}, {keep.format('', 'on alpha: ')}"
    ended = hosts.run("beta", pairs.forcing(B, insist=False))
    assert (ended.code, "alpha answers and is master: the base @zrep_000002" in ended.text) == (3, True), ended.text
    assert "without -L nothing is lost" not in ended.text
    good(hosts.run("beta", pairs.forcing(B)))
    good(hosts.run("alpha", pairs.rejoining(A)))
    good(hosts.run("beta", SYNC_ALL))
    assert [row.state for row in rows(hosts)] == ["ok", "ok"]
    assert {f"later{part}" for part in range(4)} <= hosts["alpha"].read(A).keys()
