"""Names that would be longer on one side than ZFS takes: 255 bytes, the snapshot's included."""

from __future__ import annotations

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Hosts, Work
from tests.ops.pairs import SYNC_ALL, A, B, good
from tests.ops.trees import contents, destroy, lines
from zrep.core.names import LONGEST
from zrep.ops.changeconfig import Config
from zrep.ops.init_way import Request
from zrep.ops.rows import Row
from zrep.ops.session import Session
from zrep.ops.status import status

DEEP = "tank/deep/deeper/d"
SNAPSHOT = len("@zrep_000001")
INIT = pairs.initialising(Request(A, "beta", DEEP, recursive=True))


def asking(session: Session) -> list[Row]:
    return status(session, [])


def long(root: str, length: int, letter: str = "l") -> str:
    """A name of so many bytes below a root."""
    return f"{root}/" + letter * (length - len(root) - 1)


# Two bytes too long for a snapshot on beta, where the root has a longer name than on alpha.
LONG = long(A, LONGEST - SNAPSHOT - len(DEEP) + len(A) + 2)
THERE = DEEP + LONG.removeprefix(A)


@pytest.fixture
def tree(hosts: Hosts) -> Hosts:
    """tank/a with x, x/deep and a volume on alpha, replicated as tank/deep/deeper/d on beta."""
    trees.planted(hosts)
    good(hosts.run("alpha", INIT))
    return hosts


def replica(hosts: Hosts) -> list[str]:
    return lines(hosts, "beta", f"zfs list -H -r -t filesystem,volume -o name {DEEP}")


def everything(hosts: Hosts) -> list[str]:
    """Every name and every value that was set, on both hosts."""
    return [
        line
        for host in ("alpha", "beta")
        for command in ("zfs list -H -r -t all -o name tank", "zfs get -H -r -s local -o name,property,value all tank")
        for line in lines(hosts, host, command)
    ]


@pytest.fixture
def grown(tree: Hosts) -> Hosts:
    """The same with a new member that has too long a name there, and a write to another one."""
    tree["alpha"].sh(f"zfs create {LONG}")
    tree["alpha"].write(f"{A}/x", "later", b"1")
    return tree


LEAVE_OUT = f"leave it out, zrep changeconfig --exclude {LONG}; or zfs rename {LONG} to a name that is 2 bytes shorter"


def test_sync_and_status_say_it_of_the_member_and_the_others_are_sent(grown: Hosts) -> None:
    said = f"{THERE}@zrep_000001 has 257 bytes, ZFS allows 255"
    for _ in range(2):
        ended = grown.run("alpha", SYNC_ALL)
        assert ended.code == 3
        assert f"{LONG}: its name on beta would be too long ({said}); next: {LEAVE_OUT}" in ended.text
        [row] = grown.run("alpha", asking).rows
        assert (row.state, row.code, row.detail, row.advice) == ("name too long", 3, f"{LONG}: {said}", LEAVE_OUT)
    assert contents(grown, "beta", f"{DEEP}/x")["later"] == b"1"
    assert THERE not in replica(grown)
    [row] = grown.run("beta", asking).rows
    assert row.advice == LEAVE_OUT.replace("zrep changec", "on alpha: zrep changec").replace(
        "or zfs", "or on alpha: zfs"
    )


def test_a_dry_run_says_it_too(grown: Hosts) -> None:
    ended = grown.run("alpha", SYNC_ALL, dry_run=True)
    assert ended.code == 3
    assert LEAVE_OUT in ended.text
    assert THERE not in "\n".join(map(str, ended.lines))


@pytest.mark.parametrize(("host", "work"), [("alpha", pairs.failing_over(A)), ("beta", pairs.taking_over(DEEP))])
def test_a_role_change_is_refused_with_the_same_words(grown: Hosts, host: str, work: Work) -> None:
    """Its data would not be there."""
    before = everything(grown)
    ended = grown.run(host, work)
    assert ended.code == 3
    assert f"would be too long ({THERE}@zrep_000001 has 257 bytes, ZFS allows 255)" in ended.text
    assert everything(grown) == before


def test_after_a_disaster_it_stays_on_the_old_master_with_what_is_in_it(grown: Hosts) -> None:
    grown["alpha"].write(LONG, "mine", b"1")
    grown.wire.cut = True
    good(grown.run("beta", pairs.forcing(DEEP)))
    grown.wire.cut = False
    ended = grown.run("alpha", pairs.rejoining(A))
    assert ended.code == 3
    assert f"{LONG}: its name is so long that what was written here alone can be kept under no name beside {A}" in (
        ended.text
    )
    assert f"next: leave it where it is, as it is: zrep changeconfig --exclude {LONG}" in ended.text
    good(grown.run("alpha", pairs.changing(LONG, Config(exclude=True))))
    good(grown.run("alpha", pairs.rejoining(A)))
    assert grown["alpha"].read(LONG) == {"mine": b"1"}
    good(grown.run("beta", SYNC_ALL))


def test_one_byte_less_is_sent(tree: Hosts) -> None:
    tree["alpha"].sh(f"zfs create {LONG[:-2]}")
    good(tree.run("alpha", SYNC_ALL))
    assert THERE[:-2] in replica(tree)


@pytest.mark.parametrize("advice", ["left out", "renamed"])
def test_who_follows_the_advice_is_done(grown: Hosts, advice: str) -> None:
    assert grown.run("alpha", SYNC_ALL).code == 3
    if advice == "left out":
        good(grown.run("alpha", pairs.changing(LONG, Config(exclude=True))))
    else:
        grown["alpha"].sh(f"zfs rename {LONG} {LONG[:-2]}")
    good(grown.run("alpha", SYNC_ALL))
    assert [row.state for row in grown.run("alpha", asking).rows] == ["ok"]


def test_a_snapshot_that_the_master_has_no_name_for_stops_no_other_member(hosts: Hosts) -> None:
    """One command makes those of a whole tree."""
    hosts["alpha"].sh("zfs create tank/long-root")
    root, mine = "tank/long-root", long("tank/long-root", LONGEST - SNAPSHOT + 1)
    good(hosts.run("alpha", pairs.initialising(Request(root, "beta", B, recursive=True))))
    hosts["alpha"].sh(f"zfs create {mine}")
    hosts["alpha"].write(root, "later", b"1")
    ended = hosts.run("alpha", SYNC_ALL)
    assert ended.code == 3
    assert f"{mine}: its name is too long for another snapshot ({mine}@zrep_000001 has 256 bytes" in ended.text
    assert contents(hosts, "beta", B)["later"] == b"1"


# --- renamed on the master ---


def test_a_member_that_cannot_be_renamed_there_keeps_its_name_and_is_said(tree: Hosts) -> None:
    tree["alpha"].sh(f"zfs rename {A}/x {LONG}")
    tree["alpha"].write(A, "later", b"1")
    tree.wire.log.clear()
    ended = tree.run("alpha", SYNC_ALL)
    assert ended.code == 3
    assert f"{LONG}: its name on beta would be too long ({THERE}/deep@zrep_000002 has 262 bytes" in ended.text
    assert f"{LONG}/deep: its name on beta would be too long" in ended.text
    assert [c for c in tree.wire.log if c.argv[:2] == ("zfs", "rename")] == []
    assert contents(tree, "beta", DEEP)["later"] == b"1"
    assert contents(tree, "beta", f"{DEEP}/x/deep") == {"file": b"tank/a/x/deep"}
    tree["alpha"].sh(f"zfs rename {LONG} {A}/y")
    good(tree.run("alpha", SYNC_ALL))
    assert replica(tree) == [DEEP, f"{DEEP}/vol", f"{DEEP}/y", f"{DEEP}/y/deep"]


def test_what_is_below_it_alone_would_be_too_long(tree: Hosts) -> None:
    """zfs rename moves all of it, or nothing."""
    short = LONG[:-3]
    tree["alpha"].sh(f"zfs rename {A}/x {short}")
    ended = tree.run("alpha", SYNC_ALL)
    assert ended.code == 3
    assert f"{short}: its name on beta would be too long ({THERE[:-3]}/deep@zrep_000002 has 259 bytes" in ended.text
    assert f"{DEEP}/x/deep" in replica(tree)


def test_a_member_that_cannot_be_renamed_is_not_in_the_way_of_another(tree: Hosts) -> None:
    tree["alpha"].sh(f"zfs rename {A}/x {LONG}")
    tree["alpha"].sh(f"zfs create {A}/x")
    tree["alpha"].write(f"{A}/x", "file", b"another")
    assert tree.run("alpha", SYNC_ALL).code == 3
    assert contents(tree, "beta", f"{DEEP}/x") == {"file": b"another"}
    tree["alpha"].sh(f"zfs rename {LONG} {A}/y")
    good(tree.run("alpha", SYNC_ALL))
    assert replica(tree) == [DEEP, f"{DEEP}/vol", f"{DEEP}/x", f"{DEEP}/y", f"{DEEP}/y/deep"]


def test_what_makes_room_has_a_name_that_fits(tree: Hosts) -> None:
    full = LONG[:-2]
    tree["alpha"].sh(f"zfs create {full}")
    good(tree.run("alpha", SYNC_ALL))
    destroy(tree, full)
    tree["alpha"].sh(f"zfs create {full}")
    good(tree.run("alpha", SYNC_ALL))
    names = [name for name in replica(tree) if "lll" in name]
    assert THERE[:-2] in names
    assert [len(name) for name in names] == [LONGEST - SNAPSHOT] * 2


# --- init ---


def test_init_of_a_tree_says_it_before_anything_is_sent(hosts: Hosts) -> None:
    trees.planted(hosts)
    hosts["alpha"].sh(f"zfs create {LONG}")
    before = everything(hosts)
    ended = hosts.run("alpha", INIT)
    assert ended.code == 3
    said = f"{A}: {LONG} would have too long a name on beta ({THERE}@zrep_000001 has 257 bytes, ZFS allows 255); next: "
    rest = LONG.rpartition("/")[2]
    assert f"{said}choose names that are 2 bytes shorter, or leave it out: --exclude {rest}" in ended.text
    assert everything(hosts) == before
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", DEEP, recursive=True, exclude=(rest,)))))


@pytest.mark.parametrize("side", ["here", "there"])
def test_init_of_a_pair_says_it_before_anything_changes(hosts: Hosts, side: str) -> None:
    name = long("tank", LONGEST - SNAPSHOT + 1)
    source, target = (name, B) if side == "here" else (A, name)
    hosts["alpha"].sh(f"zfs create {source}")
    before = everything(hosts)
    ended = hosts.run("alpha", pairs.initialising(Request(source, "beta", target)))
    host = {"here": "alpha", "there": "beta"}[side]
    assert ended.code == 3
    assert f"{source}: too long a name on {host} ({name}@zrep_000001 has 256 bytes, ZFS allows 255)" in ended.text
    assert everything(hosts) == before


def test_a_snapshot_of_others_that_has_no_name_there_is_said(hosts: Hosts) -> None:
    hosts["alpha"].sh(f"zfs create {A}")
    name = "by-hand-" + "s" * (LONGEST - len(DEEP) - 8)
    init = pairs.initialising(Request(A, "beta", DEEP, all_snapshots=True))
    good(hosts.run("alpha", init))
    hosts["alpha"].sh(f"zfs snapshot {A}@{name}")
    ended = hosts.run("alpha", SYNC_ALL)
    assert ended.code == 3
    assert f"next: zfs rename {A}@{name} to a name that is 1 bytes shorter" in ended.text
    hosts["alpha"].sh(f"zfs rename {A}@{name} {A}@{name[:-1]}")
    good(hosts.run("alpha", SYNC_ALL))
    assert name[:-1] in trees.snapshots(hosts, "beta", DEEP)
