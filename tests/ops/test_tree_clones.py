"""Clones in a tree: they arrive as clones, and what is promoted on the master is promoted on the replica."""

from __future__ import annotations

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Hosts
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from tests.ops.test_tree import sent_whole, streams
from tests.ops.trees import contents, members, snapshots
from zrep.ops.changeconfig import Config
from zrep.ops.status import status

X, K, DEEP = f"{A}/x", f"{A}/k", f"{A}/x/deep"


@pytest.fixture
def tree(hosts: Hosts) -> Hosts:
    trees.grown(hosts)
    return hosts


def cloned(hosts: Hosts, origin: str = X, clone: str = K) -> None:
    """A clone of a snapshot that zrep did not make, written to."""
    hosts["alpha"].sh(f"zfs snapshot {origin}@mine")
    hosts["alpha"].sh(f"zfs clone {origin}@mine {clone}")
    hosts["alpha"].write(clone, "own", b"1")


def origin(hosts: Hosts, name: str) -> str:
    """What it is a clone of on the replica, without the snapshot."""
    return value(hosts, "beta", name, "origin").partition("@")[0]


def alike(hosts: Hosts) -> None:
    """The replica has what the master has, and another sync changes nothing."""
    names = members(hosts, "alpha")
    assert members(hosts, "beta") == [B + name.removeprefix(A) for name in names]
    for name in names:
        if value(hosts, "alpha", name, "type") == "filesystem":
            assert contents(hosts, "beta", B + name.removeprefix(A)) == hosts["alpha"].read(name), name
    before = hosts.world.view()
    good(hosts.run("alpha", SYNC_ALL))
    assert hosts.world.view() == before


def notes(hosts: Hosts) -> tuple[str, ...]:
    return tuple(note for outcome in good(hosts.run("alpha", SYNC_ALL)).outcomes for note in outcome.notes)


def test_a_clone_arrives_as_one_though_its_own_origin_never_travelled(tree: Hosts) -> None:
    cloned(tree)
    tree.wire.log.clear()
    assert notes(tree) == ()
    assert sent_whole(tree) == []
    assert origin(tree, f"{B}/k") == f"{B}/x"
    assert value(tree, "beta", f"{B}/k", "readonly") == "on"
    assert value(tree, "beta", f"{B}/k", "canmount") == "noauto"
    alike(tree)


def test_clones_come_in_the_order_of_what_they_are_clones_of(hosts: Hosts) -> None:
    """In the first sync of all, too; each is of the moment of all the others."""
    trees.planted(hosts)
    cloned(hosts, DEEP, f"{A}/b")
    cloned(hosts, f"{A}/b", f"{A}/a")
    cloned(hosts, f"{A}/a", f"{A}/a/c")
    hosts["alpha"].sh(f"zfs snapshot {A}/vol@mine")
    hosts["alpha"].sh(f"zfs clone {A}/vol@mine {A}/a/disk")
    good(hosts.run("alpha", trees.INIT))
    found = {name: origin(hosts, f"{B}/{name}") for name in ("a", "b", "a/c", "a/disk")}
    assert found == {"a": f"{B}/b", "b": f"{B}/x/deep", "a/c": f"{B}/a", "a/disk": f"{B}/vol"}
    alike(hosts)


def test_one_of_what_is_not_in_the_tree_is_sent_in_full_and_that_is_said(tree: Hosts) -> None:
    tree["alpha"].sh("zfs create tank/other")
    cloned(tree, "tank/other")
    [said] = notes(tree)
    assert f"{K}: it is a clone of tank/other@mine, which is outside the tree, and was sent in full" in said
    assert origin(tree, f"{B}/k") == "-"
    alike(tree)
    assert notes(tree) == ()


def test_a_clone_is_not_sent_in_full_because_its_origin_could_not_be_sent(tree: Hosts) -> None:
    tree["alpha"].sh(f"zfs create {A}/new")
    cloned(tree, f"{A}/new")
    tree["beta"].sh(f"zfs create {B}/new")
    ended = tree.run("alpha", SYNC_ALL)
    assert (ended.code, f"{K}: what it is a clone of has not arrived ({A}/new@mine)" in ended.text) == (3, True), (
        ended.text
    )
    tree["beta"].sh(f"zfs destroy {B}/new")
    good(tree.run("alpha", SYNC_ALL))
    assert origin(tree, f"{B}/k") == f"{B}/new"
    alike(tree)


# --- promoted ---


@pytest.mark.parametrize("later", [True, False], ids=["its origin written to since", "its origin left with nothing"])
def test_what_is_promoted_on_the_master_is_promoted_there_and_nothing_is_sent_again(tree: Hosts, later: bool) -> None:
    cloned(tree)
    good(tree.run("alpha", SYNC_ALL))
    if later:
        tree["alpha"].write(X, "later", b"2")
        good(tree.run("alpha", SYNC_ALL))
    tree["alpha"].sh(f"zfs promote {K}")
    tree["alpha"].write(K, "own", b"3")
    tree.wire.log.clear()
    good(tree.run("alpha", SYNC_ALL))
    assert [c.argv for c in tree.wire.log if "promote" in c.argv] == [("zfs", "promote", f"{B}/k")]
    assert sent_whole(tree) == []
    assert (origin(tree, f"{B}/k"), origin(tree, f"{B}/x")) == ("-", f"{B}/k")
    assert contents(tree, "beta", f"{B}/k")["own"] == b"3"
    assert contents(tree, "beta", f"{B}/x") == tree["alpha"].read(X)
    before = tree.world.view()
    good(tree.run("alpha", SYNC_ALL))
    assert tree.world.view() == before
    good(tree.run("alpha", pairs.failing_over(A)))
    assert value(tree, "beta", f"{B}/x", "mounted") == "yes"


def test_by_a_user_to_whom_allow_gave_what_he_needs_it_is_promoted_too(tree: Hosts) -> None:
    pairs.run_as_operator(tree)
    cloned(tree)
    good(tree.run("alpha", SYNC_ALL))
    tree["alpha"].sh(f"zfs promote {K}")
    tree["alpha"].write(K, "own", b"3")
    good(tree.run("alpha", SYNC_ALL))
    assert (origin(tree, f"{B}/k"), origin(tree, f"{B}/x")) == ("-", f"{B}/k")


def test_promoted_and_back(tree: Hosts) -> None:
    cloned(tree)
    for name in (K, X):
        tree["alpha"].write(X, "later", name.encode())
        good(tree.run("alpha", SYNC_ALL))
        tree["alpha"].sh(f"zfs promote {name}")
    good(tree.run("alpha", SYNC_ALL))
    assert (origin(tree, f"{B}/k"), origin(tree, f"{B}/x")) == (f"{B}/x", "-")
    alike(tree)


def test_promoted_before_it_was_ever_sent_it_has_what_its_origin_had(tree: Hosts) -> None:
    cloned(tree)
    tree["alpha"].sh(f"zfs promote {K}")
    tree.wire.log.clear()
    good(tree.run("alpha", SYNC_ALL))
    assert sent_whole(tree) == []
    assert snapshots(tree, "beta", f"{B}/k")
    alike(tree)


def test_n_shows_the_promotion(tree: Hosts) -> None:
    cloned(tree)
    good(tree.run("alpha", SYNC_ALL))
    tree["alpha"].write(X, "later", b"2")
    tree["alpha"].sh(f"zfs promote {K}")
    before = tree.world.view()
    shown = good(tree.run("alpha", SYNC_ALL, dry_run=True))
    assert f"beta: zfs promote {B}/k" in shown.lines
    assert tree.world.view() == before
    tree.wire.log.clear()
    good(tree.run("alpha", SYNC_ALL))
    assert all("-i" in command.argv for command in tree.wire.log if command.stream)
    assert streams(tree)


# --- promoted over the root, which keeps its place and its role ---


@pytest.mark.parametrize("synced", [True, False], ids=["the clone was sent", "the clone is new"])
def test_what_is_promoted_over_the_root_costs_nothing_to_send_again(tree: Hosts, synced: bool) -> None:
    cloned(tree, A)
    if synced:
        good(tree.run("alpha", SYNC_ALL))
    tree["alpha"].sh(f"zfs promote {K}")
    for name in (A, K):
        tree["alpha"].write(name, "later", name.encode())
    tree.wire.log.clear()
    ended = tree.run("alpha", SYNC_ALL)
    assert sent_whole(tree) == []
    if not synced:
        assert (ended.code, f"to take its snapshots back: zfs promote {A}; else" in ended.text) == (3, True), ended.text
        assert f"{K}: it was promoted over the root of its tree" in ended.text
        assert tree.run("alpha", pairs.failing_over(A)).code == 3
        assert value(tree, "alpha", A, "readonly") == "off"
        tree["alpha"].sh(f"zfs promote {A}")
        tree.wire.log.clear()
        good(tree.run("alpha", SYNC_ALL))
        assert sent_whole(tree) == []
    assert origin(tree, f"{B}/k" if not synced else B) == (B if not synced else f"{B}/k")
    alike(tree)
    good(tree.run("alpha", pairs.failing_over(A)))


def test_a_clone_of_a_pair_that_is_no_tree_is_named_where_it_has_the_base(hosts: Hosts) -> None:
    pairs.linked(hosts)
    cloned(hosts, A, "tank/k")
    hosts["alpha"].sh("zfs promote tank/k")
    ended = hosts.run("alpha", SYNC_ALL)
    assert (ended.code, f"if tank/k was promoted, to take its snapshots back: zfs promote {A}" in ended.text) == (
        3,
        True,
    )
    hosts["alpha"].sh(f"zfs promote {A}")
    good(hosts.run("alpha", SYNC_ALL))


# --- a clone that is outside of the tree, promoted over a member, which keeps its place and has no base any more ---


def chained(hosts: Hosts, outside: str) -> None:
    """And a clone of that which was promoted over it in its turn."""
    hosts["alpha"].sh(f"zfs snapshot {outside}@again")
    hosts["alpha"].sh(f"zfs clone {outside}@again tank/k2")
    hosts["alpha"].sh("zfs promote tank/k2")


@pytest.mark.parametrize(("outside", "twice"), [("tank/k", False), ("tank/k", True), (f"{A}/tmp", False)])
def test_a_member_whose_base_a_clone_outside_has_taken_is_not_sent_again(
    tree: Hosts, outside: str, twice: bool
) -> None:
    guid = value(tree, "beta", f"{B}/x", "guid")
    cloned(tree, X, outside)
    tree["alpha"].sh(f"zfs set zrep:exclude=on {outside}")
    tree["alpha"].sh(f"zfs promote {outside}")
    if twice:
        chained(tree, outside)
    for name in (A, X, DEEP):
        tree["alpha"].write(name, "later", name.encode())
    tree.wire.log.clear()
    ended = tree.run("alpha", SYNC_ALL)
    has = "tank/k2" if twice else outside
    assert (ended.code, f"{X}: its base belongs to {has} now" in ended.text) == (3, True), ended.text
    assert f"zfs promote {X}; or leave it out, zrep changeconfig --exclude {X}" in ended.text
    assert sent_whole(tree) == []
    assert "later" in contents(tree, "beta", B)
    assert "later" in contents(tree, "beta", f"{B}/x/deep")
    assert value(tree, "beta", f"{B}/x", "zrep:gone") == "-"
    with tree.session("alpha") as session:
        [row] = status(session, [])
    assert (row.code, row.detail) == (3, f"{X}: a clone was promoted over it: it is one of {has}@mine since")
    refused = tree.run("alpha", pairs.failing_over(A))
    assert (refused.code, value(tree, "alpha", A, "readonly")) == (3, "off"), refused.text
    tree["alpha"].sh(f"zfs promote {X}")
    good(tree.run("alpha", SYNC_ALL))
    assert sent_whole(tree) == []
    assert (value(tree, "beta", f"{B}/x", "guid"), "later" in contents(tree, "beta", f"{B}/x")) == (guid, True)


def test_left_out_and_taken_in_again_it_is_sent_in_full_beside_what_it_was(tree: Hosts) -> None:
    cloned(tree, X, "tank/k")
    tree["alpha"].sh("zfs promote tank/k")
    for exclude in (True, False):
        good(tree.run("alpha", pairs.changing(X, Config(exclude=exclude))))
        said = notes(tree)
    assert f"{X}: it is a clone of tank/k@mine, which is outside the tree, and was sent in full" in said[0]
    aside = [name for name in members(tree, "beta") if "_gone_" in name]
    assert len(aside) == 1
    assert contents(tree, "beta", f"{B}/x") == tree["alpha"].read(X)
