"""What is left out of a tree: by a command, and back, and never in the way of what moves the tree."""

from __future__ import annotations

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Hosts
from tests.ops.pairs import SYNC_ALL, A, B, good
from tests.ops.trees import contents, lines, members
from zrep.core.errors import UsageError
from zrep.core.names import stripped
from zrep.core.tree import matching
from zrep.ops.changeconfig import Config
from zrep.ops.init_way import Request

X = f"{A}/x"
EXCLUDE, INCLUDE = (pairs.changing(X, Config(exclude=out)) for out in (True, False))


@pytest.fixture
def tree(hosts: Hosts) -> Hosts:
    trees.grown(hosts)
    return hosts


def test_left_out_its_copy_is_set_aside_and_taken_in_again_it_is_not_sent_again(tree: Hosts) -> None:
    good(tree.run("alpha", EXCLUDE))
    good(tree.run("alpha", SYNC_ALL))
    assert f"{A}: on beta: set aside, left out on the master: {B}/x, {B}/x/deep" in tree.said
    assert pairs.value(tree, "beta", f"{B}/x", "zrep:gone") != "-"
    tree["alpha"].write(X, "later", b"1")
    good(tree.run("alpha", SYNC_ALL))
    assert "later" not in contents(tree, "beta", f"{B}/x")
    good(tree.run("alpha", INCLUDE))
    tree.wire.log.clear()
    good(tree.run("alpha", SYNC_ALL))
    assert [c.argv for c in tree.wire.log if c.stream and "-i" not in c.argv] == []
    assert contents(tree, "beta", f"{B}/x")["later"] == b"1"
    assert lines(tree, "beta", f"zfs get -H -r -s local -o name zrep:gone {B}") == []
    assert members(tree, "beta") == [B, f"{B}/vol", f"{B}/x", f"{B}/x/deep"]


@pytest.mark.parametrize("with_its_parent", [False, True])
def test_what_leaves_what_was_set_aside_is_taken_back_and_not_sent_again(tree: Hosts, with_its_parent: bool) -> None:
    """It lies in the copy of what is still left out: that keeps all in it out of the tree, and it was sent in full."""
    alpha, deep, moved = tree["alpha"], f"{X}/deep", f"{A}/y"
    if with_its_parent:  # two levels, of which the upper one comes back
        alpha.sh(f"zfs create {deep}/low")
        good(tree.run("alpha", SYNC_ALL))
    guid = pairs.value(tree, "beta", f"{B}/x/deep", "guid")
    good(tree.run("alpha", EXCLUDE))
    good(tree.run("alpha", SYNC_ALL))
    alpha.sh(f"zfs rename {deep} {moved}")
    alpha.write(moved, "later", b"1")
    tree.wire.log.clear()
    good(tree.run("alpha", SYNC_ALL))
    assert [c.argv for c in tree.wire.log if c.stream and "-i" not in c.argv] == []
    assert pairs.value(tree, "beta", f"{B}/y", "guid") == guid
    low = [f"{B}/y/low"] if with_its_parent else []
    assert members(tree, "beta") == [B, f"{B}/vol", f"{B}/x", f"{B}/y", *low]
    assert lines(tree, "beta", f"zfs get -H -r -s local -o name zrep:gone {B}") == [f"{B}/x"]
    assert contents(tree, "beta", f"{B}/y")["later"] == b"1"


def test_only_what_is_in_a_tree_whose_master_is_here_is_left_out(tree: Hosts) -> None:
    refused = tree.run("beta", pairs.changing(f"{B}/x", Config(exclude=True)))
    assert (refused.code, f"on alpha: zrep changeconfig --exclude {X}" in refused.text) == (3, True), refused.text
    for name in (A, f"{A}/nothing", "tank"):
        assert tree.run("alpha", pairs.changing(name, Config(exclude=True))).code == 3


def test_init_leaves_out_what_a_pattern_matches(hosts: Hosts) -> None:
    trees.planted(hosts)
    request = Request(A, "beta", B, recursive=True, exclude=("deep", "v*"))
    shown = good(hosts.run("alpha", pairs.initialising(request), dry_run=True))
    assert f"alpha: zfs set zrep:exclude=on {A}/x/deep" in shown.lines
    good(hosts.run("alpha", pairs.initialising(request)))
    assert members(hosts, "beta") == [B, f"{B}/x"]
    nothing = Request(f"{A}/x", "beta", "tank/c", recursive=True, exclude=("dep",))
    assert hosts.run("alpha", pairs.initialising(nothing)).code == 2


@pytest.mark.parametrize(
    ("pattern", "found"),
    [("tmp", ["r/a/tmp", "r/tmp"]), ("a/*", ["r/a/b", "r/a/tmp"]), ("*", ["r/a", "r/tmp"]), ("a/t*", ["r/a/tmp"])],
)
def test_patterns(pattern: str, found: list[str]) -> None:
    assert matching("r", ["r/tmp", "r/a", "r/a/tmp", "r/a/tmp/tmp", "r/a/b"], pattern) == found


# --- never in the way ---


def mounts(hosts: Hosts, host: str, name: str) -> tuple[str, str]:
    return pairs.value(hosts, host, name, "readonly"), pairs.value(hosts, host, name, "mounted")


def boot(hosts: Hosts, host: str) -> None:
    """What is mounted after a boot: all that mounts itself."""
    for name in reversed(members(hosts, host)):
        if pairs.value(hosts, host, name, "type") == "filesystem":
            hosts[host].run(["zfs", "unmount", name])
    hosts[host].sh("zfs mount -a")


def test_it_keeps_its_readonly_through_role_changes_and_makes_room_for_mounts(tree: Hosts) -> None:
    good(tree.run("alpha", EXCLUDE))
    good(tree.run("alpha", SYNC_ALL))
    assert mounts(tree, "alpha", X) == ("off", "yes")
    good(tree.run("alpha", pairs.failing_over(A)))
    assert mounts(tree, "alpha", X) == ("off", "yes")
    boot(tree, "alpha")
    assert (mounts(tree, "alpha", A), mounts(tree, "alpha", X)) == (("on", "no"), ("off", "yes"))
    good(tree.run("beta", pairs.failing_over(B)))
    assert [mounts(tree, "alpha", name) for name in (A, X, f"{X}/deep")] == [("off", "yes")] * 3


def test_it_is_unmounted_and_mounted_again_where_its_tree_rejoins(tree: Hosts) -> None:
    good(tree.run("alpha", EXCLUDE))
    good(tree.run("alpha", SYNC_ALL))
    tree["alpha"].write(A, "alone", b"1")
    tree.wire.cut = True
    good(tree.run("beta", pairs.forcing(B)))
    tree.wire.cut = False
    assert tree.run("alpha", SYNC_ALL).code == 3
    assert mounts(tree, "alpha", X) == ("off", "yes")
    good(tree.run("alpha", pairs.rejoining(A)))
    assert [mounts(tree, "alpha", name) for name in (X, f"{X}/deep")] == [("off", "yes")] * 2
    good(tree.run("beta", SYNC_ALL))


def test_in_use_it_refuses_before_anything_changes(tree: Hosts) -> None:
    good(tree.run("alpha", EXCLUDE))
    good(tree.run("alpha", SYNC_ALL))
    good(tree.run("alpha", pairs.failing_over(A)))
    boot(tree, "alpha")
    tree["alpha"].open_file(X)
    refused = tree.run("beta", pairs.failing_over(B))
    assert (refused.code, f"{X} on alpha is in use" in refused.text) == (3, True), refused.text
    assert mounts(tree, "alpha", X) == ("off", "yes")


def test_a_replica_is_named_without_the_first_part_and_a_name_that_is_taken_refuses_before_anything_is_sent(
    hosts: Hosts,
) -> None:
    for name in ("tank/slow", "tank/slow/host1", "tank/slow/host1/data"):
        hosts["alpha"].sh(f"zfs create {name}")
    target = stripped("tank/slow/host1/data", "tank/slow/", "tank/all")
    request = Request("tank/slow/host1/data", "beta", target, recursive=True)
    good(hosts.run("alpha", pairs.initialising(request)))
    assert hosts["beta"].names() == ["tank", "tank/all", "tank/all/host1", "tank/all/host1/data"]
    assert pairs.value(hosts, "beta", "tank/all/host1", "mounted") == "no"
    hosts["alpha"].sh("zfs create tank/host1")
    hosts["alpha"].sh("zfs create tank/host1/data")
    hosts.wire.log.clear()
    taken = Request("tank/host1/data", "beta", stripped("tank/host1/data", "tank", "tank/all"), recursive=True)
    assert "tank/all/host1/data already exists on beta" in hosts.run("alpha", pairs.initialising(taken)).text
    assert not [command for command in hosts.wire.log if command.stream]
    with pytest.raises(UsageError):
        stripped("tank/slowly/data", "tank/slow", "tank/all")


def test_the_end_of_a_pair_lets_go_of_what_was_left_out_since_which_it_still_is(tree: Hosts) -> None:
    good(tree.run("alpha", EXCLUDE))
    good(tree.run("alpha", SYNC_ALL))
    good(tree.run("alpha", pairs.clearing(A)))
    assert lines(tree, "alpha", f"zfs list -H -r -t snapshot -o name {A}") == []
    assert lines(tree, "alpha", f"zfs get -H -r -s local -o name zrep:exclude {A}") == [X]


def test_in_use_where_nobody_can_be_asked_it_does_not_keep_a_role_change_unfinished(tree: Hosts) -> None:
    """The new master cannot be mounted around it: that is told, and ends."""
    good(tree.run("alpha", EXCLUDE))
    good(tree.run("alpha", SYNC_ALL))
    good(tree.run("alpha", pairs.failing_over(A)))
    boot(tree, "alpha")
    tree["alpha"].open_file(X)
    tree.wire.cut = True
    assert tree.run("alpha", pairs.forcing(A)).code != 0
    tree["alpha"].open_file(X, -1)
    tree.run("alpha", pairs.forcing(A))
    assert pairs.value(tree, "alpha", A, "zrep:master") == "yes"
    assert mounts(tree, "alpha", X) == ("off", "yes")
    assert pairs.value(tree, "alpha", A, "zrep:inprogress") in ("", "-")
