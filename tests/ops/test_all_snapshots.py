"""init --all-snapshots: what sanoid, zfs-auto-snapshot or people made travels too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model import World
from tests.ops import pairs
from tests.ops.hosts import Hosts, Mode, name_of
from tests.ops.judge import base, find, held
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from tests.ops.plugin import thorough
from tests.ops.test_crash import cut_at_each
from zrep.ops.changeconfig import Config
from zrep.ops.init_way import Request

ALL = pairs.initialising(Request(A, "beta", B, all_snapshots=True))


def taken(hosts: Hosts, *names: str, host: str = "alpha", name: str = A) -> None:
    """Others make snapshots, and somebody writes before each."""
    for each in names:
        hosts[host].write(name, each, each.encode())
        hosts[host].sh(f"zfs snapshot {name}@{each}")


def theirs(hosts: Hosts, host: str, name: str) -> dict[str, int]:
    """The snapshots of others."""
    found = find(hosts, host, name)
    assert found is not None
    return {snapshot.name: snapshot.guid for snapshot in found.snapshots if not snapshot.name.startswith("zrep_")}


def contents(hosts: Hosts, host: str, name: str) -> dict[str, dict[str, bytes]]:
    """What is in each snapshot of others, and in the dataset."""
    found = find(hosts, host, name)
    assert found is not None
    return {s.name: s.data for s in found.snapshots if not s.name.startswith("zrep_")} | {"": found.data}


def same(hosts: Hosts, *there: tuple[str, str]) -> None:
    for host, name in there or (("beta", B),):
        assert theirs(hosts, host, name) == theirs(hosts, "alpha", A)
        assert contents(hosts, host, name) == contents(hosts, "alpha", A)


@pytest.fixture
def all_of_them(hosts: Hosts) -> Hosts:
    hosts["alpha"].sh(f"zfs create {A}")
    taken(hosts, "daily", "weekly")
    hosts["alpha"].write(A, "newest", b"n")
    good(hosts.run("alpha", ALL))
    return hosts


def test_with_the_first_stream(all_of_them: Hosts) -> None:
    assert set(theirs(all_of_them, "beta", B)) == {"daily", "weekly"}
    same(all_of_them)
    assert value(all_of_them, "beta", B, "readonly") == "on"
    assert value(all_of_them, "beta", B, "zrep:allsnaps") == "on"
    assert held(all_of_them, "alpha", A) == held(all_of_them, "beta", B) == {base(all_of_them)}
    assert "nothing written" in good(all_of_them.run("alpha", SYNC_ALL)).text


def test_with_the_increments(all_of_them: Hosts) -> None:
    taken(all_of_them, "autosnap_1", "autosnap_2", "by-hand")
    all_of_them.wire.reset()
    good(all_of_them.run("alpha", SYNC_ALL))
    assert ["-I" in command.argv for command in all_of_them.wire.log if command.stream] == [True]
    same(all_of_them)
    all_of_them["alpha"].sh(f"zfs snapshot {A}@nothing-new")
    good(all_of_them.run("alpha", SYNC_ALL))
    same(all_of_them)


def test_expire_leaves_them_on_both_sides_unless_a_rule_says_so(all_of_them: Hosts) -> None:
    for host, name in (("alpha", A), ("beta", B)):
        good(all_of_them.run(host, pairs.changing(name, Config(savecount=1))))
    for number in range(4):
        taken(all_of_them, f"autosnap_{number}")
        good(all_of_them.run("alpha", SYNC_ALL))
    assert set(theirs(all_of_them, "beta", B)) == {"daily", "weekly", *(f"autosnap_{n}" for n in range(4))}
    same(all_of_them)
    good(all_of_them.run("beta", pairs.changing(B, Config(keep_foreign="autosnap_*"))))
    taken(all_of_them, "autosnap_4")
    good(all_of_them.run("alpha", SYNC_ALL))
    assert set(theirs(all_of_them, "beta", B)) == {"daily", "weekly", "autosnap_4"}
    assert "autosnap_0" in theirs(all_of_them, "alpha", A)


def test_what_is_destroyed_on_the_master_stays_on_the_replica(all_of_them: Hosts) -> None:
    all_of_them["alpha"].sh(f"zfs destroy {A}@daily")
    all_of_them["alpha"].write(A, "x", b"x")
    good(all_of_them.run("alpha", SYNC_ALL))
    assert set(theirs(all_of_them, "beta", B)) == {"daily", "weekly"}


def test_roles_move_and_it_goes_on(all_of_them: Hosts) -> None:
    taken(all_of_them, "before")
    good(all_of_them.run("alpha", pairs.failing_over(A)))
    same(all_of_them)
    taken(all_of_them, "after", host="beta", name=B)
    good(all_of_them.run("beta", SYNC_ALL))
    same(all_of_them)
    assert "after" in theirs(all_of_them, "alpha", A)


def test_an_old_master_rejoins(all_of_them: Hosts) -> None:
    good(all_of_them.run("beta", pairs.forcing(B)))
    taken(all_of_them, "alone", host="beta", name=B)
    good(all_of_them.run("alpha", pairs.rejoining(A)))
    good(all_of_them.run("beta", SYNC_ALL))
    same(all_of_them)
    assert value(all_of_them, "alpha", A, "zrep:allsnaps") == "on"


@pytest.mark.parametrize(
    "create", ["-V 1G", "-o encryption=on -o keyformat=raw -o keylocation=file:///key"], ids=["volume", "raw"]
)
def test_all_snapshots_of_volumes_and_raw_ones_travel(hosts: Hosts, create: str) -> None:
    hosts["alpha"].sh(f"zfs create {create} {A}")
    taken(hosts, "daily", "weekly")
    good(hosts.run("alpha", ALL))
    taken(hosts, "later", "last")
    good(hosts.run("alpha", SYNC_ALL))
    same(hosts)


def test_of_a_tree_and_a_member_that_comes_later(hosts: Hosts) -> None:
    hosts["alpha"].sh(f"zfs create {A}")
    hosts["alpha"].sh(f"zfs create {A}/x")
    taken(hosts, "daily", name=f"{A}/x")
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B, recursive=True, all_snapshots=True))))
    assert theirs(hosts, "beta", f"{B}/x") == theirs(hosts, "alpha", f"{A}/x")
    hosts["alpha"].sh(f"zfs create {A}/y")
    taken(hosts, "one", "two", name=f"{A}/y")
    taken(hosts, "three", name=f"{A}/x")
    good(hosts.run("alpha", SYNC_ALL))
    for member in ("x", "y"):
        assert theirs(hosts, "beta", f"{B}/{member}") == theirs(hosts, "alpha", f"{A}/{member}")
        assert contents(hosts, "beta", f"{B}/{member}") == contents(hosts, "alpha", f"{A}/{member}")


def test_a_relay_passes_them_on(tmp_path: Path) -> None:
    hosts = Hosts(tmp_path, World(hosts=("alpha", "beta", "gamma")))
    hosts["alpha"].sh(f"zfs create {A}")
    taken(hosts, "daily")
    good(hosts.run("alpha", ALL))
    onward = Request(B, "gamma", "tank/c", all_snapshots=True)
    good(hosts.run("beta", pairs.initialising(onward), tag="onward"))
    taken(hosts, "one", "two")
    good(hosts.run("alpha", SYNC_ALL))
    good(hosts.run("beta", SYNC_ALL, tag="onward"))
    same(hosts, ("beta", B), ("gamma", "tank/c"))


def test_what_another_tag_makes_does_not_travel(tmp_path: Path) -> None:
    hosts = Hosts(tmp_path, World(hosts=("alpha", "beta", "gamma")))
    hosts["alpha"].sh(f"zfs create {A}")
    good(hosts.run("alpha", ALL))
    good(hosts.run("alpha", pairs.initialising(Request(A, "gamma", "tank/g")), tag="offsite"))
    for name in ("one", "two"):
        taken(hosts, name)
        good(hosts.run("alpha", SYNC_ALL, tag="offsite"))
    good(hosts.run("alpha", SYNC_ALL))
    assert set(theirs(hosts, "beta", B)) == {"one", "two"}
    assert contents(hosts, "beta", B)[""] == contents(hosts, "alpha", A)[""]


def test_it_is_switched_on_and_off(hosts: Hosts) -> None:
    pairs.linked(hosts)
    taken(hosts, "not-yet")
    good(hosts.run("alpha", SYNC_ALL))
    assert "not-yet" not in theirs(hosts, "beta", B)
    good(hosts.run("alpha", pairs.changing(A, Config(all_snapshots=True))))
    taken(hosts, "now")
    good(hosts.run("alpha", SYNC_ALL))
    assert "now" in theirs(hosts, "beta", B)
    good(hosts.run("alpha", pairs.changing(A, Config(all_snapshots=False))))
    taken(hosts, "no-more")
    good(hosts.run("alpha", SYNC_ALL))
    assert "no-more" not in theirs(hosts, "beta", B)


def test_a_name_that_is_taken_there_is_refused_with_the_command(all_of_them: Hosts) -> None:
    all_of_them["beta"].sh(f"zfs snapshot {B}@mine")
    taken(all_of_them, "mine")
    refused = all_of_them.run("alpha", SYNC_ALL)
    assert (refused.code, f"on beta: zfs rename {B}@mine {B}@mine_beta" in refused.text) == (3, True)
    all_of_them["beta"].sh(f"zfs rename {B}@mine {B}@mine_beta")
    good(all_of_them.run("alpha", SYNC_ALL))
    assert {"mine", "mine_beta"} <= set(theirs(all_of_them, "beta", B))


@pytest.mark.parametrize(
    "mode", [Mode.KILL_AFTER, Mode.CUT, *thorough(Mode.KILL_BEFORE, Mode.FAIL, Mode.PART)], ids=name_of
)
@pytest.mark.parametrize("first", [True, False], ids=["init", "sync"])
def test_cut_anywhere_it_goes_on(hosts: Hosts, mode: Mode, first: bool) -> None:
    hosts["alpha"].sh(f"zfs create {A}")
    taken(hosts, "daily", "weekly")
    if not first:
        good(hosts.run("alpha", ALL))
        taken(hosts, "one", "two")
    work = ALL if first else SYNC_ALL
    for _ in cut_at_each(hosts, work, mode):
        linked = find(hosts, "beta", B)
        begun = value(hosts, "alpha", A, "zrep:inprogress") not in ("", "-")
        if first and (begun or linked is None or "zrep:gen" not in linked.props):
            good(hosts.run("alpha", ALL))
        good(hosts.run("alpha", SYNC_ALL))
        same(hosts)
        assert held(hosts, "alpha", A) == held(hosts, "beta", B) == {base(hosts)}
