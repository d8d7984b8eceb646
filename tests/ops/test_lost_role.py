"""A side from which zrep's properties were taken by hand, as by a zfs inherit -r too many."""

from __future__ import annotations

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Hosts
from tests.ops.judge import files
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from zrep.core.names import ROLE_PROPERTIES
from zrep.ops.changeconfig import Config
from zrep.ops.init_way import Request
from zrep.ops.rows import Row
from zrep.ops.status import status

NAMES = {"alpha": A, "beta": B}
SIDES = pytest.mark.parametrize("side", NAMES)


def lose(hosts: Hosts, side: str, *names: str) -> None:
    for name in names:
        hosts[side].sh(f"zfs inherit zrep:{name} {NAMES[side]}")


def rows(hosts: Hosts, host: str) -> list[Row]:
    return list(hosts.run(host, lambda session: status(session, []), may_be_empty=True).rows)


@pytest.fixture
def wiped(hosts: Hosts, side: str) -> Hosts:
    """All of them, after the role has moved twice."""
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.failing_over(A)))
    good(hosts.run("beta", pairs.failing_over(B)))
    good(hosts.run("alpha", pairs.changing(A, Config(savecount=9))))
    good(hosts.run("beta", pairs.changing(B, Config(savecount=9))))
    pairs.written(hosts)
    lose(hosts, side, *ROLE_PROPERTIES)
    return hosts


@SIDES
def test_it_is_adopted_again_and_nothing_is_sent_twice(wiped: Hosts, side: str) -> None:
    other = {"alpha": "beta", "beta": "alpha"}[side]
    [row] = rows(wiped, other)
    start = "on alpha: " if side == "alpha" else ""
    assert row.state == "unrelated"
    assert f"if it is, and has lost its properties: {start}zrep init --adopt {A} beta {B}; to start over" in row.advice
    epoch = value(wiped, other, NAMES[other], "zrep:epoch")
    wiped.wire.reset()
    good(wiped.run("alpha", pairs.initialising(Request(A, "beta", B, adopt=True))))
    good(wiped.run("alpha", SYNC_ALL))
    assert [row.state for host in NAMES for row in rows(wiped, host)] == ["ok", "ok"]
    assert not [command for command in wiped.wire.log if command.stream and "-i" not in command.argv]
    assert value(wiped, other, NAMES[other], "zrep:epoch") >= epoch
    assert [value(wiped, host, name, "zrep:savecount") for host, name in NAMES.items()] == ["9", "9"]
    good(wiped.run("alpha", pairs.failing_over(A)))


@pytest.mark.parametrize("side", ["alpha"])
def test_a_master_that_has_its_data_and_no_role_is_not_replaced_unasked(wiped: Hosts, side: str) -> None:
    ended = wiped.run("beta", pairs.forcing(B, insist=False))
    assert (ended.code, "alpha answers: tank/a on alpha is not the other half" in ended.text) == (3, True), ended.text
    assert f"on alpha: zrep init --adopt {A} beta {B}" in ended.text
    assert value(wiped, "beta", B, "readonly") == "on"


@SIDES
def test_which_of_both_it_is_has_to_be_said(hosts: Hosts, side: str) -> None:
    """Not known is neither: status called it well, and no stream was let in."""
    pairs.linked(hosts)
    pairs.written(hosts)
    lose(hosts, side, "master")
    assert [(row.state, row.code) for host in NAMES for row in rows(hosts, host)] == [("unreadable", 3)] * 2
    ended = hosts.run("alpha", SYNC_ALL)
    assert (ended.code, "zrep:master is ''" in ended.text) == (3, True), ended.text


# --- one side has lost its generation ---


@SIDES
def test_a_generation_that_is_lost_is_named_and_no_split_brain(hosts: Hosts, side: str) -> None:
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.failing_over(A)))
    good(hosts.run("beta", pairs.failing_over(B)))
    gen = value(hosts, "alpha", A, "zrep:gen")
    hosts[side].sh(f"zfs inherit zrep:gen {NAMES[side]}")
    for host in NAMES:
        [row] = rows(hosts, host)
        command = f"{'' if host == side else f'on {side}: '}zfs set zrep:gen={gen} {NAMES[side]}"
        assert (row.state, row.code, row.advice) == ("unreadable", 3, command)
        assert "has lost its zrep:gen" in row.diagnosis.what
    ended = hosts.run("alpha", SYNC_ALL)
    assert (ended.code, "has lost its zrep:gen" in ended.text) == (3, True), ended.text
    assert value(hosts, "alpha", A, "readonly") == "off"
    hosts[side].sh(f"zfs set zrep:gen={gen} {NAMES[side]}")
    good(hosts.run("alpha", SYNC_ALL))
    good(hosts.run("alpha", pairs.failing_over(A)))


def test_an_old_master_that_has_lost_its_own_is_still_the_old_master(hosts: Hosts) -> None:
    """It had the one before, as its epoch and its ancestors say."""
    pairs.diverged(hosts)
    gen = value(hosts, "alpha", A, "zrep:gen")
    hosts["alpha"].sh(f"zfs inherit zrep:gen {A}")
    [row] = rows(hosts, "beta")
    assert (row.state, row.advice) == ("unreadable", f"on alpha: zfs set zrep:gen={gen} {A}")
    hosts["alpha"].sh(f"zfs set zrep:gen={gen} {A}")
    good(hosts.run("alpha", pairs.rejoining(A)))


def test_of_two_masters_none_is_said_to_have_lost_anything(hosts: Hosts) -> None:
    """Both were promoted from one generation, so both have the same ancestors and the same epoch."""
    pairs.linked(hosts)
    hosts["beta"].sh(f"zfs set zrep:master=yes {B}")
    hosts["alpha"].sh(f"zfs inherit zrep:gen {A}")
    [row] = rows(hosts, "beta")
    assert row.state != "ok"
    assert "has lost" not in row.diagnosis.what
    assert "zrep:gen=" not in row.advice


# --- of a tree, with all that its members had ---


@pytest.fixture
def wiped_tree(hosts: Hosts, side: str) -> Hosts:
    """One in which a member was set aside, and of which everybody's snapshots travel."""
    trees.grown(hosts)
    for host, name in NAMES.items():
        good(hosts.run(host, pairs.changing(name, Config(all_snapshots=True))))
    trees.destroy(hosts, f"{A}/vol")
    pairs.written(hosts, name=f"{A}/x")
    good(hosts.run("alpha", SYNC_ALL))
    pairs.written(hosts, name=f"{A}/x/deep")
    for name in ROLE_PROPERTIES:
        hosts[side].sh(f"zfs inherit -r zrep:{name} {NAMES[side]}")
    return hosts


@SIDES
def test_a_tree_too_is_adopted_again_and_nothing_is_sent_twice(wiped_tree: Hosts, side: str) -> None:
    [row] = rows(wiped_tree, {"alpha": "beta", "beta": "alpha"}[side])
    start = "on alpha: " if side == "alpha" else ""
    assert f"if it is, and has lost its properties: {start}zrep init -r --adopt {A} beta {B}; to start" in row.advice
    wiped_tree.wire.reset()
    good(wiped_tree.run("alpha", pairs.initialising(Request(A, "beta", B, recursive=True, adopt=True))))
    good(wiped_tree.run("alpha", SYNC_ALL))
    assert [row.state for host in NAMES for row in rows(wiped_tree, host) if row.role != "gone"] == ["ok", "ok"]
    assert not [command for command in wiped_tree.wire.log if command.stream and "-i" not in str(command)]
    for part in ("", "/x", "/x/deep"):
        assert files(wiped_tree, "beta", f"{B}{part}") == files(wiped_tree, "alpha", f"{A}{part}")
        assert value(wiped_tree, "beta", f"{B}{part}", "canmount") == "noauto"
    assert [value(wiped_tree, host, name, "zrep:allsnaps") for host, name in NAMES.items()] == ["on", "on"]
    good(wiped_tree.run("alpha", pairs.failing_over(A)))
    assert value(wiped_tree, "beta", f"{B}/x", "canmount") == "on"


@SIDES
def test_the_root_alone_is_not_taken_up_of_what_was_a_tree(wiped_tree: Hosts, side: str) -> None:
    ended = wiped_tree.run("alpha", pairs.initialising(Request(A, "beta", B, adopt=True)))
    assert (ended.code, f"zrep init -r --adopt {A} beta {B}" in ended.text) == (3, True), ended.text
