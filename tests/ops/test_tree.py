"""Everything below a filesystem as one: on the model, each member with its own stream."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Hosts, Mode, Work
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from tests.ops.trees import contents, destroy, lines, snapshots
from zrep.ops import advance_all
from zrep.ops.changeconfig import Config
from zrep.ops.init_way import Request
from zrep.ops.rows import Row
from zrep.ops.session import Session
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


@pytest.mark.parametrize(
    ("size", "exclude", "says"),
    [
        (2_500_000, (), "not enough room on beta"),
        (2_500_000, ("big*",), ""),
        (900_000, ("big*",), "not enough room on beta"),
        # What a clone shares is sent once.
        (5_000_000, (), ""),
    ],
)
def test_all_that_is_to_be_sent_has_to_find_room(hosts: Hosts, size: int, exclude: tuple[str, ...], says: str) -> None:
    alpha = hosts["alpha"]
    for name in (A, f"{A}/small", f"{A}/big"):
        alpha.sh(f"zfs create {name}")
    alpha.write(f"{A}/small", "file", bytes(1_000_000))
    alpha.write(f"{A}/big", "file", bytes(3_000_000))
    alpha.sh(f"zfs snapshot {A}/big@made")
    alpha.sh(f"zfs clone {A}/big@made {A}/big-clone")
    alpha.write(f"{A}/big-clone", "more", bytes(100_000))
    hosts["beta"].set_pool("tank", size=size)
    ended = hosts.run("alpha", pairs.initialising(Request(A, "beta", B, recursive=True, exclude=exclude)))
    assert (ended.code, says in ended.text) == (1 if says else 0, True), ended.text
    assert not says or lines(hosts, "beta", "zfs list -H -o name") == ["tank"]


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
    assert ended.text.rstrip().endswith(f"to throw that away: zrep sync -f {A}")
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


@pytest.mark.parametrize("alone", [False, True], ids=["failover", "takeover -L"])
def test_what_its_master_keeps_read_only_stays_so_wherever_the_role_goes(tree: Hosts, alone: bool) -> None:
    def own(host: str, root: str) -> tuple[list[str], str]:
        return values(tree, host, "readonly"), pairs.value(tree, host, f"{root}/x", "readonly")

    tree["alpha"].sh(f"zfs set readonly=on {A}/x")
    good(tree.run("alpha", SYNC_ALL))
    before = tree.world.view()
    good(tree.run("alpha", SYNC_ALL))
    assert tree.world.view() == before
    if alone:
        good(tree.run("beta", promoting([])))
        assert tree.run("alpha", SYNC_ALL).code == 3
        good(tree.run("alpha", pairs.rejoining(A)))
    else:
        good(tree.run("alpha", pairs.failing_over(A)))
    # x/deep inherits it on the master.
    assert own("beta", B) == (["off", "off", "on", "on"], "on")
    good(tree.run("beta", SYNC_ALL))
    good(tree.run("beta", pairs.failing_over(B)))
    assert own("alpha", A) == (["off", "off", "on", "on"], "on")
    # Somebody lets it be written to again.
    tree["alpha"].sh(f"zfs inherit readonly {A}/x")
    good(tree.run("alpha", pairs.failing_over(A)))
    assert values(tree, "beta", "readonly") == ["off"] * 4
    good(tree.run("beta", pairs.failing_over(B)))
    assert values(tree, "alpha", "readonly") == ["off"] * 4


@pytest.mark.parametrize("work", ["failover", "stale"])
def test_many_members_with_a_readonly_of_their_own_are_recorded_and_restored(hosts: Hosts, work: str) -> None:
    """What is to be restored of them was longer than a property may be: no role change began, and a stale master went
    on taking writes."""
    alpha, names = hosts["alpha"], [f"{A}/{'a' * 60}{number}" for number in range(150)]
    alpha.sh(f"zfs create {A}")
    for name in names:
        alpha.sh(f"zfs create -o readonly=off {name}")
    good(hosts.run("alpha", trees.INIT))
    if work == "failover":
        alpha.map_file(names[7])
        refused = hosts.run("alpha", pairs.failing_over(A))
        assert (refused.code, "is being written on alpha" in refused.text) == (3, True), refused.text
        assert set(values(hosts, "alpha", "readonly")) == {"off"}
        alpha.map_file(names[7], -1)
        good(hosts.run("alpha", pairs.failing_over(A)))
    else:
        hosts.wire.cut = True
        good(hosts.run("beta", promoting([])))
        hosts.wire.cut = False
        assert hosts.run("alpha", SYNC_ALL).code == 3
    assert set(values(hosts, "alpha", "readonly")) == {"on"}


def test_what_is_new_or_renamed_goes_along_with_a_role_change(tree: Hosts) -> None:
    alpha = tree["alpha"]
    alpha.sh(f"zfs create {A}/new")
    alpha.write(f"{A}/new", "file", b"new")
    alpha.sh(f"zfs rename {A}/x {A}/y")
    good(tree.run("alpha", pairs.failing_over(A)))
    assert there(tree) == [B, f"{B}/new", f"{B}/vol", f"{B}/y", f"{B}/y/deep"]
    assert values(tree, "beta", "mounted", "filesystem") == ["yes"] * 4
    assert contents(tree, "beta", f"{B}/new") == {"file": b"new"}


@pytest.mark.parametrize("during", [False, True], ids=["before", "during"])
def test_what_the_old_master_has_mounted_still_is_renamed_and_stands_in_no_role_change_s_way(
    tree: Hosts, during: bool
) -> None:
    alpha, beta = tree["alpha"], tree["beta"]
    good(tree.run("alpha", pairs.failing_over(A)))
    beta.sh(f"zfs create {B}/z")
    good(tree.run("beta", SYNC_ALL))
    beta.sh(f"zfs rename {B}/x {B}/z/y")
    if not during:
        good(tree.run("beta", SYNC_ALL))
    good(tree.run("alpha", pairs.taking_over(A)))
    assert trees.members(tree, "alpha") == [A, f"{A}/vol", f"{A}/z", f"{A}/z/y", f"{A}/z/y/deep"]
    assert values(tree, "alpha", "mounted", "filesystem") == ["yes"] * 4
    alpha.write(f"{A}/z/y/deep", "back", b"1")
    good(tree.run("alpha", pairs.failing_over(A)))


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
    assert row.diagnosis.advice == f"to throw that away: zrep sync -f {A}"
    [row] = tree.run("beta", asking).rows
    assert row.diagnosis.advice == f"to throw that away: on alpha: zrep sync -f {A}"


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


def test_what_a_sync_has_left_of_a_tree_expire_removes_of_each_member(tree: Hosts) -> None:
    def counted() -> list[int]:
        names = ("", "/x", "/x/deep")
        return [len(snapshots(tree, host, root + name)) for host, root in trees.ROOT.items() for name in names]

    for number in range(8):
        tree["alpha"].write(f"{A}/x", "file", str(number).encode())
        good(tree.run("alpha", SYNC_ALL, expire=False))
    left = counted()
    assert left[1] == left[4] >= 8
    good(tree.run("alpha", pairs.expiring(A)))
    assert counted() == [left[0], 5, left[2], left[3], 5, left[5]]
    good(tree.run("alpha", SYNC_ALL))


def test_the_stream_of_one_member_that_was_torn_goes_on_and_no_other_is_sent_again(tree: Hosts) -> None:
    for name in (A, f"{A}/x", f"{A}/x/deep"):
        tree["alpha"].write(name, "later", name.encode() * 50)
    before = tree.world.dump()
    tree.wire.reset()
    good(tree.run("alpha", SYNC_ALL))
    torn = max(at for at, command in enumerate(tree.wire.log) if command.stream)
    tree.load(before)
    tree.wire.reset(Mode.TORN, torn)
    assert tree.run("alpha", SYNC_ALL).code == 1
    tree.wire.reset()
    good(tree.run("alpha", SYNC_ALL))
    [sent] = [command.argv for command in tree.wire.log if command.stream]
    assert "-t" in sent
    for name in (A, f"{A}/x", f"{A}/x/deep"):
        assert "later" in contents(tree, "beta", B + name.removeprefix(A))


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


def test_the_intent_logs_of_an_old_master_that_lost_its_power_are_nothing_that_was_written(tree: Hosts) -> None:
    """The header of one that was replayed counts as 8 KiB written; databases make one in every member."""
    for name in (A, f"{A}/x", f"{A}/x/deep"):
        tree["alpha"].write(name, "synced", b"1", flushed=False, fsync=True)
    good(tree.run("alpha", SYNC_ALL))
    tree["alpha"].power_off()
    good(tree.run("beta", promoting([])))
    tree["beta"].write(f"{B}/x", "on beta", b"1")
    tree["alpha"].power_on()
    good(tree.run("alpha", pairs.rejoining(A)))
    assert any(int(size) for size in lines(tree, "alpha", f"zfs get -Hp -o value written {A}/x"))
    good(tree.run("beta", SYNC_ALL))
    assert contents(tree, "alpha", f"{A}/x") == contents(tree, "beta", f"{B}/x")


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
    assert f"{A}/new: {B}/new is in its place on the replica, and is no copy of it" in ended.text
    assert f"on beta: zfs rename {B}/new {B}/new_aside" in ended.text
    assert "later" in contents(tree, "beta", f"{B}/x")


def test_a_pair_below_that_came_first_makes_room_by_the_commands_that_are_named(hosts: Hosts) -> None:
    """Its init has made the parents of its replica, in the places of members: they are none, and were said to be
    somebody's, to be moved to "another name"."""
    deep = f"{A}/x/deep"
    for name in (A, f"{A}/x", deep):
        hosts["alpha"].sh(f"zfs create {name}")
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B))))
    good(hosts.run("alpha", pairs.initialising(Request(deep, "beta", f"{B}/x/deep"))))
    good(hosts.run("alpha", pairs.changing(A, Config(recursive=True))))
    ended = hosts.run("alpha", SYNC_ALL)
    move = f"zfs rename {B}/x {B}/x_aside"
    assert (ended.code, f"on beta: {move}; or leave it out" in ended.text) == (3, True), ended.text
    assert "a pair there says then how it is tied again" in ended.text
    hosts["beta"].sh(move)
    ended = hosts.run("alpha", SYNC_ALL)
    new = f"{B}/x_aside/deep"
    tie = f"on beta: zrep changeconfig {new}, then here: zrep changeconfig {deep} beta {new}"
    assert (ended.code, tie in ended.text) == (3, True), ended.text
    good(hosts.run("beta", pairs.changing(new, Config())))
    good(hosts.run("alpha", pairs.changing(deep, Config("beta", new))))
    good(hosts.run("alpha", SYNC_ALL))
    assert [row.state for host in ("alpha", "beta") for row in hosts.run(host, asking).rows] == ["ok"] * 4


def test_an_init_onto_what_lies_above_a_replica_names_the_rename(hosts: Hosts) -> None:
    deep = f"{A}/deep"
    for name in (A, deep):
        hosts["alpha"].sh(f"zfs create {name}")
    good(hosts.run("alpha", pairs.initialising(Request(deep, "beta", f"{B}/deep"))))
    ended = hosts.run("alpha", trees.INIT)
    assert (ended.code, f"to keep what it is, on beta: zfs rename {B} {B}_aside" in ended.text) == (3, True)
    hosts["beta"].sh(f"zfs rename {B} {B}_aside")
    good(hosts.run("alpha", trees.INIT))


def test_one_made_again_around_a_child_that_stays_is_sent_and_the_child_goes_on(tree: Hosts) -> None:
    """On the master the child was moved out of its way, and back."""
    alpha, beta = tree["alpha"], tree["beta"]
    alpha.sh(f"zfs rename {A}/x/deep {A}/away")
    trees.destroy(tree, f"{A}/x")
    alpha.sh(f"zfs create {A}/x")
    alpha.write(f"{A}/x", "new", b"new")
    alpha.sh(f"zfs rename {A}/away {A}/x/deep")
    guid = value(tree, "beta", f"{B}/x/deep", "guid")
    good(tree.run("alpha", SYNC_ALL))
    assert beta.read(f"{B}/x").keys() == {"new"}
    assert value(tree, "beta", f"{B}/x/deep", "guid") == guid
    [kept] = [name for name in beta.sh("zfs list -H -o name").decode().split() if "_moving_" in name]
    assert beta.read(kept)["file"] == f"{A}/x".encode()
    good(tree.run("alpha", pairs.failing_over(A)))


@pytest.mark.parametrize("host", ["alpha", "beta"])
def test_a_member_is_not_cleared_by_itself(tree: Hosts, host: str) -> None:
    """Its snapshots are the base of the tree."""
    name = f"{trees.ROOT[host]}/x"
    ended = tree.run(host, pairs.clearing(name))
    start = "" if host == "alpha" else "on alpha: "
    assert (ended.code, f"{start}zrep changeconfig --exclude {A}/x; to end" in ended.text) == (3, True), ended.text
    good(tree.run("alpha", SYNC_ALL))


def test_what_is_left_out_stays_so_when_it_is_cleared(tree: Hosts) -> None:
    good(tree.run("alpha", pairs.changing(f"{A}/x", Config(exclude=True))))
    good(tree.run("alpha", SYNC_ALL))
    good(tree.run("alpha", pairs.clearing(f"{A}/x")))
    assert value(tree, "alpha", f"{A}/x", "zrep:exclude") == "on"
    good(tree.run("alpha", SYNC_ALL))


OTHERS = {
    "somebody's": "zfs create tank/b/mine",
    "somebody's, with a snapshot": "zfs snapshot tank/b/mine@s",
    "left out there": "zfs set zrep:exclude=on tank/b/mine",
    "a split copy": "zfs set zrep:split=kept tank/b/mine",
}


@pytest.mark.parametrize("new", [True, False], ids=["new", "renamed"])
@pytest.mark.parametrize("whose", OTHERS)
def test_what_is_none_of_the_trees_keeps_its_name_and_is_named(tree: Hosts, whose: str, new: bool) -> None:
    alpha, beta = tree["alpha"], tree["beta"]
    beta.sh(f"zfs create {B}/mine")
    if whose != "somebody's":
        beta.sh(OTHERS[whose])
    guid = value(tree, "beta", f"{B}/mine", "guid")
    alpha.sh(f"zfs create {A}/mine" if new else f"zfs rename {A}/x {A}/mine")
    for name in (A, f"{A}/mine"):
        alpha.write(name, "more", b"1")
    says = f"on beta: zfs rename {B}/mine {B}/mine_aside; or leave it out, zrep changeconfig --exclude {A}/mine"
    for _ in range(2):
        ended = tree.run("alpha", SYNC_ALL)
        assert (ended.code, says in ended.text, len(ended.text.strip().splitlines())) == (3, True, 1), ended.text
    assert value(tree, "beta", f"{B}/mine", "guid") == guid
    assert "more" in beta.read(B)
    assert [row.advice for row in tree.run("alpha", asking).rows if row.state == "no common snapshot"] == [says]
    beta.sh(f"zfs rename {B}/mine tank/mine")
    good(tree.run("alpha", SYNC_ALL))
    assert "more" in beta.read(f"{B}/mine")
    good(tree.run("alpha", pairs.failing_over(A)))


def test_what_an_earlier_run_had_left_counts_as_sent(tree: Hosts) -> None:
    """It goes before the next moment, for which nothing is left: "nothing written" was said of it."""
    for name in (A, f"{A}/x/deep"):
        tree["alpha"].write(name, "later", b"2")
    tree["beta"].set_pool("tank", full=True)
    ended = tree.run("alpha", SYNC_ALL)
    assert (ended.code, "next: on beta: make room" in ended.text) == (1, True), ended.text
    tree["beta"].set_pool("tank", full=False)
    assert "sent 2 of its 4 members" in good(tree.run("alpha", SYNC_ALL)).text
    assert "nothing written to its 4 members" in good(tree.run("alpha", SYNC_ALL)).text


@pytest.mark.parametrize(
    ("old", "moves", "made"),
    [
        (f"{A}/vol", [(f"{A}/vol", f"{A}/t"), (f"{A}/t", f"{A}/vol/below")], [f"{A}/vol"]),
        (f"{A}/x", [(f"{A}/x", f"{A}/t"), (f"{A}/t", f"{A}/x/below")], [f"{A}/x"]),
        (f"{A}/x", [(f"{A}/x", f"{A}/t"), (f"{A}/t", f"{A}/new/below")], [f"{A}/new", f"{A}/x"]),
        (
            f"{A}/vol",
            [(f"{A}/vol", f"{A}/t"), (f"{A}/x/deep", f"{A}/vol/deep"), (f"{A}/t", f"{A}/x/vol")],
            [f"{A}/vol"],
        ),
    ],
    ids=["a volume, below it", "below it", "below another new one", "a volume, and another goes below it"],
)
def test_a_new_member_has_the_name_of_one_that_goes_elsewhere(
    tree: Hosts, old: str, moves: list[tuple[str, str]], made: list[str]
) -> None:
    alpha, guids = tree["alpha"], values(tree, "beta", "guid")
    (first, last) = moves[0], moves[1:]
    alpha.sh(f"zfs rename {first[0]} {first[1]}")
    for name in made:
        alpha.sh(f"zfs create {name}")
    for before, after in last:
        alpha.sh(f"zfs rename {before} {after}")
    tree.wire.log.clear()
    good(tree.run("alpha", SYNC_ALL))
    assert there(tree) == [B + name.removeprefix(A) for name in trees.members(tree, "alpha")]
    assert {name.partition("@")[0] for name in sent_whole(tree)} == set(made)
    assert set(guids) < set(values(tree, "beta", "guid"))
    view = tree.world.view()
    good(tree.run("alpha", SYNC_ALL))
    assert tree.world.view() == view
