"""Keys of an encrypted tree: on the replica one opens all that it opens on the master."""

from __future__ import annotations

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Hosts
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from tests.ops.test_tree import asking, sent_whole, streams, values

NAMES = ("", "/own", "/own/in", "/x", "/x/deep")


@pytest.fixture
def tree(hosts: Hosts) -> Hosts:
    """An encrypted tree, one of whose members has a key of its own that another one inherits."""
    alpha = hosts["alpha"]
    for name in NAMES:
        alpha.sh(f"zfs create {trees.KEY if name in ('', '/own') else ''} {A}{name}")
        alpha.write(f"{A}{name}", "file", name.encode())
    good(hosts.run("alpha", trees.INIT))
    return hosts


def roots(hosts: Hosts) -> dict[str, str]:
    names = trees.members(hosts, "beta")
    return {name.removeprefix(B): value(hosts, "beta", name, "encryptionroot").removeprefix(B) for name in names}


def opened(hosts: Hosts) -> None:
    """The keys of the roots are loaded, and a failover mounts all."""
    for root in (B, f"{B}/own"):
        hosts["beta"].load_key(root)
    good(hosts.run("alpha", pairs.failing_over(A)))
    assert set(values(hosts, "beta", "mounted", "filesystem")) == {"yes"}


def unchanged(hosts: Hosts) -> None:
    before = hosts.world.view()
    good(hosts.run("alpha", SYNC_ALL))
    assert hosts.world.view() == before


def test_what_inherits_its_key_on_the_master_does_on_the_replica(tree: Hosts) -> None:
    assert roots(tree) == {"": "", "/own": "/own", "/own/in": "/own", "/x": "", "/x/deep": ""}
    unchanged(tree)
    opened(tree)


def test_what_came_later_and_a_clone_inherit_their_key_on_the_replica(tree: Hosts) -> None:
    tree["alpha"].sh(f"zfs create {A}/x/new")
    tree["alpha"].sh(f"zfs snapshot {A}/x@mine")
    tree["alpha"].sh(f"zfs clone {A}/x@mine {A}/own/clone")
    good(tree.run("alpha", SYNC_ALL))
    assert (roots(tree)["/x/new"], roots(tree)["/own/clone"]) == ("", "")
    unchanged(tree)
    opened(tree)


def test_a_key_that_was_changed_comes_with_every_member_that_it_opens(tree: Hosts) -> None:
    tree["alpha"].sh(f"zfs change-key -o keylocation=file:///other {A}")
    tree.wire.log.clear()
    good(tree.run("alpha", SYNC_ALL))
    assert sorted(name.partition("@")[0] for name in streams(tree)) == [A, f"{A}/x", f"{A}/x/deep"]
    assert sent_whole(tree) == []
    unchanged(tree)
    opened(tree)


def test_one_gets_a_key_of_its_own_and_gives_it_up(tree: Hosts) -> None:
    tree["alpha"].sh(f"zfs change-key -o keyformat=passphrase -o keylocation=file:///other {A}/x")
    good(tree.run("alpha", SYNC_ALL))
    assert roots(tree) == {"": "", "/own": "/own", "/own/in": "/own", "/x": "/x", "/x/deep": "/x"}
    unchanged(tree)
    tree["alpha"].sh(f"zfs change-key -i {A}/x")
    good(tree.run("alpha", SYNC_ALL))
    assert roots(tree) == {"": "", "/own": "/own", "/own/in": "/own", "/x": "", "/x/deep": ""}
    unchanged(tree)
    opened(tree)


def test_one_that_got_a_key_of_its_own_is_moved_out_of_what_it_had_it_from(tree: Hosts) -> None:
    """In one minute; ZFS moves nothing out of its encryption root, and no member of the tree was synced any more."""
    tree["alpha"].sh(f"zfs change-key -o keyformat=passphrase -o keylocation=file:///other {A}/own/in")
    tree["alpha"].sh(f"zfs rename {A}/own/in {A}/x/in")
    tree["alpha"].write(f"{A}/x", "later", b"1")
    tree.wire.log.clear()
    good(tree.run("alpha", SYNC_ALL))
    assert roots(tree) == {"": "", "/own": "/own", "/x": "", "/x/deep": "", "/x/in": "/x/in"}
    assert sent_whole(tree) == []
    unchanged(tree)
    tree["alpha"].sh(f"zfs change-key -i {A}/x/in")
    tree["alpha"].sh(f"zfs rename {A}/x/in {A}/in")
    good(tree.run("alpha", SYNC_ALL))
    assert roots(tree) == {"": "", "/in": "", "/own": "/own", "/x": "", "/x/deep": ""}
    unchanged(tree)
    opened(tree)


def test_a_clone_of_what_has_its_own_key_is_renamed_where_it_is(tree: Hosts) -> None:
    tree["alpha"].sh(f"zfs snapshot {A}/own@mine")
    tree["alpha"].sh(f"zfs clone {A}/own@mine {A}/clone")
    good(tree.run("alpha", SYNC_ALL))
    assert roots(tree)["/clone"] == "/own"
    tree["alpha"].sh(f"zfs rename {A}/clone {A}/other")
    good(tree.run("alpha", SYNC_ALL))
    assert roots(tree)["/other"] == "/own"
    unchanged(tree)


def test_n_shows_it_and_changes_nothing(tree: Hosts) -> None:
    tree["alpha"].sh(f"zfs create {A}/x/new")
    before = tree.world.view()
    shown = good(tree.run("alpha", SYNC_ALL, dry_run=True))
    assert f"beta: zfs change-key -i {B}/x/new" in shown.lines
    assert tree.world.view() == before


def test_where_it_cannot_be_done_status_says_what_to_load(tree: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.model.library.ModelLibrary.carry_out", lambda *_: False)
    tree["alpha"].sh(f"zfs create {A}/x/new")
    good(tree.run("alpha", SYNC_ALL))
    [row] = tree.run("alpha", asking).rows
    assert (row.state, row.code) == ("ok", 0)
    said = f"libzfs_core has not placed the keys on beta of {B}/x/new; when promoted: zfs load-key -r {B}"
    assert said in row.detail
    good(tree.run("alpha", SYNC_ALL))


@pytest.mark.parametrize("how", ["destroyed", "left out"])
def test_what_is_set_aside_keeps_the_key_that_it_has(tree: Hosts, how: str) -> None:
    """It had that of the tree's root, and no key opened it any more once that was changed on the master."""
    if how == "destroyed":
        trees.destroy(tree, f"{A}/x")
    else:
        tree["alpha"].sh(f"zfs set zrep:exclude=on {A}/x")
    tree["alpha"].sh(f"zfs change-key -o keylocation=file:///other {A}")
    good(tree.run("alpha", SYNC_ALL))
    assert roots(tree) == {"": "", "/own": "/own", "/own/in": "/own", "/x": "/x", "/x/deep": "/x"}
    unchanged(tree)


def test_what_is_in_a_split_copy_alone_keeps_the_key_that_it_has(tree: Hosts) -> None:
    alpha = tree["alpha"]
    alpha.sh(f"zfs create {A}/x/new")
    alpha.sh(f"zfs create {A}/x/new/in")
    alpha.write(f"{A}/x/new/in", "alone", b"1")
    tree.wire.cut = True
    for root in (B, f"{B}/own"):
        tree["beta"].load_key(root)
    good(tree.run("beta", pairs.forcing(B)))
    tree.wire.cut = False
    good(tree.run("alpha", pairs.rejoining(A)))
    [copy] = trees.lines(tree, "alpha", "zfs get -H -r -s local -t filesystem -o name zrep:split tank")
    new = f"{copy}/x/new"
    assert [value(tree, "alpha", name, "encryptionroot") for name in (new, f"{new}/in")] == [new, new]
