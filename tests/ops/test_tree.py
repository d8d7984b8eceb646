"""Everything below a filesystem as one: on the model, each member with its own stream."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Hosts, Mode, Work
from tests.ops.pairs import SYNC_ALL, A, B, good
from tests.ops.trees import contents, destroy, lines, snapshots
from zrep.ops import advance_all
from zrep.ops.changeconfig import Config
from zrep.ops.init_check import Request
from zrep.ops.list import Row
from zrep.ops.pairs import Session
from zrep.ops.status import status
from zrep.ops.takeover_alone import forced_takeover
from zrep.ops.tree import lock_lanes
from zrep.ops.view import View


def asking(session: Session) -> list[Row]:
    return status(session, [])


@pytest.fixture
def tree(hosts: Hosts) -> Hosts:
    """tank/a with x, x/deep and a volume on alpha, replicated as tank/b on beta."""
    trees.grown(hosts)
    return hosts


def there(hosts: Hosts) -> list[str]:
    return trees.members(hosts, "beta")


def values(hosts: Hosts, host: str, name: str, types: str = "filesystem,volume") -> list[str]:
    """A property of every member, in the order of their names."""
    return lines(hosts, host, f"zfs get -H -r -o value -t {types} {name} {B if host == 'beta' else A}")


def streams(hosts: Hosts) -> list[str]:
    """What was sent since the log was cleared: full names of snapshots."""
    return [command.argv[-1] for command in hosts.wire.log if command.stream]


def sent_whole(hosts: Hosts) -> list[str]:
    return [command.argv[-1] for command in hosts.wire.log if command.stream and "-i" not in command.argv]


def test_init_brings_all_members_read_only_and_unmounted(tree: Hosts) -> None:
    assert there(tree) == [B, f"{B}/vol", f"{B}/x", f"{B}/x/deep"]
    assert values(tree, "beta", "readonly") == ["on"] * 4
    assert values(tree, "beta", "canmount", "filesystem") == ["noauto"] * 3
    assert values(tree, "beta", "mounted", "filesystem") == ["no"] * 3
    assert contents(tree, "beta", f"{B}/x/deep") == {"file": b"tank/a/x/deep"}


def test_only_what_was_written_to_gets_a_snapshot_and_a_stream_all_at_one_moment(tree: Hosts) -> None:
    before = {name: snapshots(tree, "alpha", name) for name in (A, f"{A}/x", f"{A}/x/deep", f"{A}/vol")}
    tree["alpha"].write(f"{A}/x", "more", b"1")
    tree["alpha"].write(f"{A}/x/deep", "more", b"2")
    tree.wire.log.clear()
    good(tree.run("alpha", SYNC_ALL))
    after = {name: snapshots(tree, "alpha", name) for name in before}
    assert after[A] == before[A]
    assert after[f"{A}/vol"] == before[f"{A}/vol"]
    assert after[f"{A}/x"][-1] == after[f"{A}/x/deep"][-1] != before[f"{A}/x"][-1]
    assert len(streams(tree)) == 2
    assert len([c for c in tree.wire.log if c.argv[:2] == ("zfs", "snapshot")]) == 1
    tree.wire.log.clear()
    good(tree.run("alpha", SYNC_ALL))
    assert [command for command in tree.wire.log if command.stream or command.argv[1] in ("snapshot", "set")] == []


def test_a_new_child_comes_with_the_next_sync_parents_first(tree: Hosts) -> None:
    alpha = tree["alpha"]
    for name in (f"{A}/new", f"{A}/new/below", f"{A}/new/below/it"):
        alpha.sh(f"zfs create {name}")
    alpha.write(f"{A}/new/below/it", "file", b"1")
    good(tree.run("alpha", SYNC_ALL))
    assert there(tree) == [B, f"{B}/new", f"{B}/new/below", f"{B}/new/below/it", f"{B}/vol", f"{B}/x", f"{B}/x/deep"]
    assert contents(tree, "beta", f"{B}/new/below/it") == {"file": b"1"}


@pytest.mark.parametrize(
    ("moves", "replica"),
    [
        ([(f"{A}/x", f"{A}/y")], [f"{B}/vol", f"{B}/y", f"{B}/y/deep"]),
        ([(f"{A}/x/deep", f"{A}/deep")], [f"{B}/deep", f"{B}/vol", f"{B}/x"]),
        ([(f"{A}/x", f"{A}/vol2"), (f"{A}/vol", f"{A}/x")], [f"{B}/vol2", f"{B}/vol2/deep", f"{B}/x"]),
        (
            [(f"{A}/x", f"{A}/t"), (f"{A}/vol", f"{A}/x"), (f"{A}/t", f"{A}/vol")],
            [f"{B}/vol", f"{B}/vol/deep", f"{B}/x"],
        ),
    ],
    ids=["renamed", "moved", "one after the other", "swapped"],
)
def test_a_rename_is_repeated_and_nothing_is_sent_again(
    tree: Hosts, moves: list[tuple[str, str]], replica: list[str]
) -> None:
    for old, new in moves:
        tree["alpha"].sh(f"zfs rename {old} {new}")
    tree.wire.log.clear()
    good(tree.run("alpha", SYNC_ALL))
    assert there(tree) == [B, *replica]
    assert sent_whole(tree) == []  # directories that mounts need are written to parents
    assert good(tree.run("alpha", SYNC_ALL)).code == 0


def test_what_was_destroyed_is_set_aside_with_all_it_had(tree: Hosts) -> None:
    destroy(tree, f"{A}/x")
    good(tree.run("alpha", SYNC_ALL))
    assert there(tree) == [B, f"{B}/vol", f"{B}/x", f"{B}/x/deep"]
    assert contents(tree, "beta", f"{B}/x") == {"file": b"tank/a/x"}
    assert values(tree, "beta", "zrep:gone") != ["-"] * 4
    tree.wire.log.clear()
    good(tree.run("alpha", SYNC_ALL))
    assert [c for c in tree.wire.log if c.argv[1] in ("set", "rename")] == []


def test_one_made_again_under_the_old_name_is_sent_and_the_old_one_stays_beside_it(tree: Hosts) -> None:
    alpha = tree["alpha"]
    destroy(tree, f"{A}/x")
    alpha.sh(f"zfs create {A}/x")
    alpha.write(f"{A}/x", "file", b"another")
    good(tree.run("alpha", SYNC_ALL))
    assert contents(tree, "beta", f"{B}/x") == {"file": b"another"}
    [old] = [name for name in there(tree) if "_gone_" in name and name.count("/") == 2]
    assert contents(tree, "beta", old) == {"file": b"tank/a/x"}


def test_a_child_that_was_moved_out_of_a_parent_that_goes_is_not_set_aside_with_it(tree: Hosts) -> None:
    alpha = tree["alpha"]
    alpha.sh(f"zfs rename {A}/x/deep {A}/deep")
    destroy(tree, f"{A}/x")
    tree.wire.log.clear()
    good(tree.run("alpha", SYNC_ALL))
    assert there(tree) == [B, f"{B}/deep", f"{B}/vol", f"{B}/x"]
    assert sent_whole(tree) == []


def test_what_is_left_out_does_not_travel_nor_what_is_below_it(tree: Hosts) -> None:
    alpha = tree["alpha"]
    alpha.sh(f"zfs create {A}/tmp")
    alpha.sh(f"zfs create {A}/tmp/below")
    alpha.sh(f"zfs set zrep:exclude=on {A}/tmp")
    good(tree.run("alpha", SYNC_ALL))
    assert f"{B}/tmp" not in there(tree)


def test_a_child_that_cannot_be_sent_stops_only_itself(tree: Hosts) -> None:
    tree["beta"].sh(f"zfs set readonly=off {B}/x")
    tree["beta"].sh(f"zfs mount {B}/x")
    tree["beta"].write(f"{B}/x", "by hand", b"1")
    for name in (A, f"{A}/x", f"{A}/x/deep"):
        tree["alpha"].write(name, "more", b"2")
    ended = tree.run("alpha", SYNC_ALL)
    assert ended.code == 3
    assert f"{A}/x: the replica {B}/x was changed by hand" in ended.text
    assert contents(tree, "beta", f"{B}/x/deep") == {"file": b"tank/a/x/deep", "more": b"2"}
    assert contents(tree, "beta", B) == {"file": b"tank/a", "more": b"2"}


# --- role changes ---


@pytest.mark.parametrize("command", ["failover", "takeover"])
def test_the_role_moves_for_every_member_and_back(tree: Hosts, command: str) -> None:
    alpha, beta = tree["alpha"], tree["beta"]
    alpha.sh(f"zfs set readonly=on {A}/x/deep")
    for name in (A, f"{A}/x"):
        alpha.write(name, "last", b"word")
    there_and_back = {
        "failover": (("alpha", pairs.failing_over(A)), ("beta", pairs.failing_over(B))),
        "takeover": (("beta", pairs.taking_over(B)), ("alpha", pairs.taking_over(A))),
    }[command]
    good(tree.run(*there_and_back[0]))
    assert values(tree, "alpha", "readonly") == ["on"] * 4
    assert values(tree, "beta", "readonly")[0] == "off"
    assert values(tree, "beta", "mounted", "filesystem") == ["yes"] * 3
    assert contents(tree, "beta", f"{B}/x") == {"file": b"tank/a/x", "last": b"word"}
    assert [snapshots(tree, "beta", name)[-1] for name in there(tree)] == [snapshots(tree, "beta", B)[-1]] * 4
    beta.write(f"{B}/x", "on beta", b"1")
    good(tree.run("beta", SYNC_ALL))
    assert contents(tree, "alpha", f"{A}/x")["on beta"] == b"1"
    good(tree.run(*there_and_back[1]))
    assert values(tree, "alpha", "mounted", "filesystem") == ["yes"] * 3
    alpha.write(f"{A}/x", "again", b"2")
    good(tree.run("alpha", SYNC_ALL))
    assert contents(tree, "beta", f"{B}/x")["again"] == b"2"


def test_a_writer_in_any_member_refuses_the_whole_before_anything_changes(tree: Hosts) -> None:
    tree["alpha"].map_file(f"{A}/x/deep")
    ended = tree.run("alpha", pairs.failing_over(A))
    assert ended.code == 3
    assert f"{A}/x/deep is being written on alpha" in ended.text
    assert values(tree, "alpha", "readonly") == ["off"] * 4
    good(tree.run("alpha", SYNC_ALL))


def test_what_is_new_or_renamed_goes_along_with_a_role_change(tree: Hosts) -> None:
    alpha = tree["alpha"]
    alpha.sh(f"zfs create {A}/new")
    alpha.write(f"{A}/new", "file", b"new")
    alpha.sh(f"zfs rename {A}/x {A}/y")
    good(tree.run("alpha", pairs.failing_over(A)))
    assert there(tree) == [B, f"{B}/new", f"{B}/vol", f"{B}/y", f"{B}/y/deep"]
    assert values(tree, "beta", "mounted", "filesystem") == ["yes"] * 4
    assert contents(tree, "beta", f"{B}/new") == {"file": b"new"}


def test_what_was_set_aside_stays_closed_when_its_root_is_promoted(tree: Hosts) -> None:
    destroy(tree, f"{A}/x")
    good(tree.run("alpha", SYNC_ALL))
    good(tree.run("alpha", pairs.failing_over(A)))
    assert values(tree, "beta", "readonly") == ["off", "off", "on", "on"]
    assert values(tree, "beta", "mounted", "filesystem") == ["yes", "no", "no"]
    good(tree.run("beta", SYNC_ALL))
    assert lines(tree, "alpha", f"zfs list -H -r -t filesystem,volume -o name {A}") == [A, f"{A}/vol"]


def test_status_names_the_worst_member(tree: Hosts) -> None:
    assert [row.state for row in tree.run("beta", asking).rows] == ["ok"]
    tree["beta"].sh(f"zfs set readonly=off {B}/x")
    tree["beta"].sh(f"zfs mount {B}/x")
    tree["beta"].write(f"{B}/x", "by hand", b"1")
    [row] = tree.run("alpha", asking).rows
    assert (row.name, row.state, row.code) == (A, "replica modified", 3)
    assert row.detail.startswith(f"{A}/x: ")


# --- sets ---


def half_a_set(hosts: Hosts) -> None:
    """Everything is written to, and the master is lost for good at the second stream."""
    for name in (A, f"{A}/x", f"{A}/x/deep"):
        hosts["alpha"].write(name, "newer", b"1")
    hosts.wire.reset()
    dumped = hosts.world.dump()
    good(hosts.run("alpha", SYNC_ALL))
    _, second, *_ = (number for number, command in enumerate(hosts.wire.log) if command.stream)
    hosts.load(dumped)
    hosts.wire.reset(Mode.POWER_HERE, second - 1)
    hosts.run("alpha", SYNC_ALL)
    hosts.wire.reset()


def test_what_arrives_after_the_tree_was_read_and_before_its_lane_is_locked_is_seen(
    tree: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receive of a run that was cut goes on until it is ended, or has all of its stream."""
    deep = f"{A}/x/deep"
    tree["alpha"].write(deep, "newer", b"1")
    dumped = tree.world.dump()
    tree.wire.reset()
    good(tree.run("alpha", SYNC_ALL))
    [stream] = (number for number, command in enumerate(tree.wire.log) if command.stream)
    tree.load(dumped)
    tree.wire.reset(Mode.KILL_BEFORE, stream)
    tree.run("alpha", SYNC_ALL)
    tree.wire.reset()
    base, sent = snapshots(tree, "alpha", deep)[-2:]

    def late(session: Session, views: Sequence[View]) -> list[str]:
        if "newer" not in contents(tree, "beta", f"{B}/x/deep"):
            tree["beta"].sh(f"zfs receive {B}/x/deep", tree["alpha"].sh(f"zfs send -i @{base} {deep}@{sent}"))
        return lock_lanes(session, views)

    monkeypatch.setattr(advance_all, "lock_lanes", late)
    good(tree.run("alpha", SYNC_ALL))
    assert snapshots(tree, "beta", f"{B}/x/deep")[-1] == sent
    assert streams(tree) == []


def promoting(asked: list[str], *, newest: bool = False) -> Work:
    def agree(loss: str) -> bool:
        asked.append(loss)
        return True

    return lambda session: forced_takeover(session, B, agree, insist=True, newest=newest)


@pytest.mark.parametrize("newest", [False, True])
def test_a_promotion_alone_goes_to_the_newest_complete_set_unless_told_otherwise(tree: Hosts, newest: bool) -> None:
    complete = values(tree, "beta", "zrep:set")[0]
    before = snapshots(tree, "beta", B)[-1]
    half_a_set(tree)
    assert "newer" in contents(tree, "beta", B)
    assert values(tree, "beta", "zrep:set")[0] == complete
    asked: list[str] = []
    good(tree.run("beta", promoting(asked, newest=newest)))
    assert (f"{B} goes back to @{before} and loses @" in asked[0]) is not newest
    assert ("newer" in contents(tree, "beta", B)) is newest
    assert "newer" not in contents(tree, "beta", f"{B}/x/deep")
    assert values(tree, "beta", "mounted", "filesystem") == ["yes"] * 3
    assert values(tree, "beta", "readonly") == ["off"] * 4


# --- the end of a pair, and what expires ---


def test_expire_counts_each_member_for_itself(tree: Hosts) -> None:
    for number in range(8):
        tree["alpha"].write(f"{A}/x", "file", str(number).encode())
        good(tree.run("alpha", SYNC_ALL))
    assert [len(snapshots(tree, host, f"{fs}/x")) for host, fs in (("alpha", A), ("beta", B))] == [5, 5]
    assert good(tree.run("alpha", pairs.expiring(A))).code == 0


def test_clear_takes_all_that_is_zreps_from_every_member(tree: Hosts) -> None:
    destroy(tree, f"{A}/x/deep")
    good(tree.run("alpha", SYNC_ALL))
    good(tree.run("alpha", pairs.clearing(A)))
    for host, root in (("alpha", A), ("beta", B)):
        assert lines(tree, host, f"zfs list -H -r -t snapshot -o name {root}") == []
        assert lines(tree, host, f"zfs get -H -r -s local -o property zrep:gone,zrep:canmount,zrep:gen {root}") == []


# --- the old master returns ---


def test_an_old_master_rejoins_whose_members_nobody_wrote_to(tree: Hosts) -> None:
    good(tree.run("beta", promoting([])))
    tree["beta"].write(f"{B}/x", "on beta", b"1")
    assert tree.run("alpha", SYNC_ALL).code == 3
    assert values(tree, "alpha", "readonly") == ["on"] * 4
    good(tree.run("alpha", pairs.rejoining(A)))
    good(tree.run("beta", SYNC_ALL))
    assert contents(tree, "alpha", f"{A}/x") == {"file": b"tank/a/x", "on beta": b"1"}
    good(tree.run("beta", pairs.failing_over(B)))
    assert values(tree, "alpha", "mounted", "filesystem") == ["yes"] * 3


# --- from one to many, and back ---


def test_a_pair_becomes_a_tree_without_sending_again_what_is_there(hosts: Hosts) -> None:
    trees.planted(hosts)
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B))))
    assert there(hosts) == [B]
    good(hosts.run("alpha", pairs.changing(A, Config(recursive=True))))
    hosts.wire.log.clear()
    good(hosts.run("alpha", SYNC_ALL))
    assert there(hosts) == [B, f"{B}/vol", f"{B}/x", f"{B}/x/deep"]
    assert sorted(name.partition("@")[0] for name in sent_whole(hosts)) == [f"{A}/vol", f"{A}/x", f"{A}/x/deep"]
    good(hosts.run("alpha", pairs.changing(A, Config(recursive=False))))
    hosts["alpha"].write(f"{A}/x", "later", b"1")
    good(hosts.run("alpha", SYNC_ALL))
    assert "later" not in contents(hosts, "beta", f"{B}/x")


def test_somebodys_dataset_in_the_place_of_a_new_member_is_left_alone_and_named(tree: Hosts) -> None:
    tree["alpha"].sh(f"zfs create {A}/new")
    tree["beta"].sh(f"zfs create {B}/new")
    tree["alpha"].write(f"{A}/x", "later", b"1")
    ended = tree.run("alpha", SYNC_ALL)
    assert ended.code == 3
    assert f"{A}/new: {B}/new is in its place on the replica, and zrep did not make it" in ended.text
    assert f"on beta: zfs rename {B}/new to another name" in ended.text
    assert "later" in contents(tree, "beta", f"{B}/x")
