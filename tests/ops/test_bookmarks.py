"""A base that somebody destroys on the master costs nothing: an increment begins at its bookmark."""

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
from zrep.core import plan_data
from zrep.ops.clear import clear
from zrep.ops.init_way import Request

ENCRYPTED = "-o encryption=on -o keyformat=raw -o keylocation=file:///key"


def bookmarks(hosts: Hosts, host: str, name: str) -> list[str]:
    found = find(hosts, host, name)
    assert found is not None
    return sorted(found.bookmarks)


def newest(hosts: Hosts) -> str:
    """The base, by short name."""
    found = find(hosts, "alpha", A)
    assert found is not None
    return next(snapshot.name for snapshot in found.snapshots if snapshot.guid == base(hosts))


def data(hosts: Hosts, host: str, name: str) -> dict[str, bytes]:
    found = find(hosts, host, name)
    assert found is not None
    return found.data


def destroyed(hosts: Hosts, host: str = "alpha", name: str = A, tag: str = "zrep") -> str:
    """Somebody takes the hold away, and the base with it; its short name."""
    found = find(hosts, host, name)
    assert found is not None
    [gone] = [snapshot.name for snapshot in found.snapshots if tag in snapshot.holds]
    hosts[host].sh(f"zfs release {tag} {name}@{gone}")
    hosts[host].sh(f"zfs destroy {name}@{gone}")
    return gone


def streams(hosts: Hosts) -> list[str]:
    """What streams begin at: "" for a full one."""
    words = [list(command.argv) for command in hosts.wire.log if command.stream]
    return [argv[argv.index("-i") + 1] if "-i" in argv else "" for argv in words]


def test_it_keeps_one_of_what_the_replica_holds_for_another_pair_for_as_long(tmp_path: Path) -> None:
    hosts = Hosts(tmp_path, World(hosts=("alpha", "beta", "gamma")))
    pairs.linked(hosts)
    good(hosts.run("beta", pairs.initialising(Request(B, "gamma", "tank/c")), tag="onward"))
    passed_on = f"zrep:{newest(hosts)}"
    for number in range(3):
        pairs.written(hosts, key=f"n{number}")
        good(hosts.run("alpha", SYNC_ALL))
        assert bookmarks(hosts, "alpha", A) == [passed_on, f"zrep:{newest(hosts)}"]
    good(hosts.run("beta", SYNC_ALL, tag="onward"))
    good(hosts.run("alpha", SYNC_ALL))
    assert bookmarks(hosts, "alpha", A) == [f"zrep:{newest(hosts)}"]


def test_however_many_it_holds_there_are_not_many(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is root there may hold all of them."""
    monkeypatch.setattr(plan_data, "_MOST_PASSED_ON", 3)
    pairs.linked(hosts)
    for number in range(6):
        hosts["beta"].sh(f"zfs hold mine {B}@{newest(hosts)}")
        pairs.written(hosts, key=f"n{number}")
        good(hosts.run("alpha", SYNC_ALL))
    assert len(bookmarks(hosts, "alpha", A)) == 4


def test_the_master_keeps_one_of_the_base_and_no_other(hosts: Hosts) -> None:
    pairs.linked(hosts)
    assert bookmarks(hosts, "alpha", A) == [f"zrep:{newest(hosts)}"]
    pairs.written(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    assert bookmarks(hosts, "alpha", A) == [f"zrep:{newest(hosts)}"]
    assert bookmarks(hosts, "beta", B) == []
    good(hosts.run("alpha", pairs.failing_over(A)))
    hosts["beta"].write(B, "new", b"n")
    good(hosts.run("beta", SYNC_ALL))
    assert bookmarks(hosts, "alpha", A) == []
    assert bookmarks(hosts, "beta", B) == [f"zrep:{newest(hosts)}"]


@pytest.mark.parametrize("create", ["", "-V 1G", ENCRYPTED], ids=["filesystem", "volume", "raw"])
@pytest.mark.parametrize("written", [True, False], ids=["written", "idle"])
def test_a_base_that_is_destroyed_costs_nothing(hosts: Hosts, create: str, written: bool) -> None:
    hosts["alpha"].sh(f"zfs create {create} {A}")
    hosts["alpha"].write(A, "one", b"1")
    good(hosts.run("alpha", pairs.INIT))
    hosts["beta"].load_key(B)
    hosts["alpha"].write(A, "two", b"2")
    hosts["alpha"].write(A, "gone", b"2")
    good(hosts.run("alpha", SYNC_ALL))
    if written:
        hosts["alpha"].write(A, "three", b"3")
        if "-V" not in create:
            hosts["alpha"].unlink(A, "gone")
    gone = destroyed(hosts)
    hosts.wire.reset()
    good(hosts.run("alpha", SYNC_ALL))
    assert streams(hosts) == [f"{A}#zrep:{gone}"]
    assert held(hosts, "alpha", A) == held(hosts, "beta", B) == {base(hosts)}
    assert bookmarks(hosts, "alpha", A) == [f"zrep:{newest(hosts)}"]
    assert data(hosts, "beta", B) == data(hosts, "alpha", A)


def test_of_the_member_of_a_tree_too(hosts: Hosts) -> None:
    hosts["alpha"].sh(f"zfs create {A}")
    hosts["alpha"].sh(f"zfs create {A}/x")
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B, recursive=True))))
    hosts["alpha"].write(f"{A}/x", "two", b"2")
    gone = destroyed(hosts, name=f"{A}/x")
    hosts.wire.reset()
    good(hosts.run("alpha", SYNC_ALL))
    assert streams(hosts) == [f"{A}/x#zrep:{gone}"]
    assert data(hosts, "beta", f"{B}/x") == data(hosts, "alpha", f"{A}/x")


def test_a_relay_keeps_its_own(tmp_path: Path) -> None:
    hosts = Hosts(tmp_path, World(hosts=("alpha", "beta", "gamma")))
    pairs.linked(hosts)
    good(hosts.run("beta", pairs.initialising(Request(B, "gamma", "tank/c")), tag="onward"))
    kept = newest(hosts)
    assert bookmarks(hosts, "beta", B) == [f"onward:{kept}"]
    for tag in ("zrep", "onward"):
        hosts["beta"].sh(f"zfs release {tag} {B}@{kept}")
    pairs.written(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    hosts["beta"].sh(f"zfs destroy {B}@{kept}")
    hosts.wire.reset()
    good(hosts.run("beta", SYNC_ALL, tag="onward"))
    assert streams(hosts) == [f"{B}#onward:{kept}"]
    assert data(hosts, "gamma", "tank/c") == data(hosts, "alpha", A)
    assert bookmarks(hosts, "beta", B) == [f"onward:{newest(hosts)}"]


def test_a_pulled_pair_too(hosts: Hosts) -> None:
    pairs.source(hosts)
    good(hosts.run("beta", pairs.initialising(Request(A, "alpha", B, pull=True))))
    pairs.written(hosts)
    gone = destroyed(hosts)
    hosts.wire.reset()
    good(hosts.run("beta", SYNC_ALL))
    assert streams(hosts) == [f"{A}#zrep:{gone}"]
    assert data(hosts, "beta", B) == data(hosts, "alpha", A)


def test_a_role_change_goes_by_it(hosts: Hosts) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    destroyed(hosts)
    good(hosts.run("alpha", pairs.failing_over(A)))
    assert value(hosts, "beta", B, "readonly") == "off"
    hosts["beta"].write(B, "new", b"n")
    good(hosts.run("beta", SYNC_ALL))
    assert data(hosts, "alpha", A) == data(hosts, "beta", B)


def test_a_user_who_may_make_none_is_no_failure(hosts: Hosts) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    hosts["alpha"].fail("zfs bookmark", rc=1, err="cannot create bookmark 'tank/a#x': permission denied", times=9)
    good(hosts.run("alpha", SYNC_ALL))
    assert held(hosts, "alpha", A) == {base(hosts)}


class TestAdopt:
    def test_from_the_bookmark_of_a_pair_that_was_cleared(self, hosts: Hosts) -> None:
        pairs.linked(hosts)
        good(hosts.run("alpha", lambda session: clear(session, A, False, keep_base=True)))
        pairs.written(hosts)
        hosts["alpha"].sh(f"zfs destroy {A}@zrep_000001")
        hosts.wire.reset()
        ended = good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B, adopt=True))))
        assert "adopted: of #zrep:zrep_000001 the other side has the snapshot" in ended.text
        good(hosts.run("alpha", SYNC_ALL))
        assert streams(hosts) == [f"{A}#zrep:zrep_000001"]
        assert data(hosts, "beta", B) == data(hosts, "alpha", A)
        assert bookmarks(hosts, "alpha", A) == [f"zrep:{newest(hosts)}"]

    def test_from_the_bookmark_of_another_program_which_stays(self, hosts: Hosts) -> None:
        pairs.source(hosts)
        hosts["beta"].run(["zfs", "receive", "-u", B], hosts["alpha"].sh(f"zfs send {A}@daily"))
        hosts["alpha"].sh(f"zfs bookmark {A}@daily {A}#syncoid_1")
        hosts["alpha"].sh(f"zfs destroy {A}@daily")
        pairs.written(hosts)
        good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B, adopt=True))))
        hosts.wire.reset()
        good(hosts.run("alpha", SYNC_ALL))
        assert streams(hosts) == [f"{A}#syncoid_1"]
        assert data(hosts, "beta", B) == data(hosts, "alpha", A)
        assert bookmarks(hosts, "alpha", A) == ["syncoid_1", f"zrep:{newest(hosts)}"]


def test_clear_takes_it_along(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs bookmark {A}@zrep_000001 {A}#mine")
    good(hosts.run("alpha", pairs.clearing(A)))
    assert bookmarks(hosts, "alpha", A) == ["mine"]


def test_both_gone_is_said_plainly(hosts: Hosts) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    gone = destroyed(hosts)
    hosts["alpha"].sh(f"zfs destroy {A}#zrep:{gone}")
    ended = hosts.run("alpha", SYNC_ALL)
    assert ended.code == 3
    assert f"the base @{gone} was destroyed on the master, and its bookmark too" in ended.text
    good(hosts.run("alpha", pairs.syncing(A), force=True))
    assert data(hosts, "beta", B) == data(hosts, "alpha", A)


def test_nothing_common_at_all_says_that_the_bookmark_is_gone_too(hosts: Hosts) -> None:
    pairs.linked(hosts)
    gone = destroyed(hosts)
    hosts["alpha"].sh(f"zfs destroy {A}@daily")
    hosts["alpha"].sh(f"zfs destroy {A}#zrep:{gone}")
    ended = hosts.run("alpha", SYNC_ALL)
    assert (ended.code, "no bookmark of the master is of one of the replica" in ended.text) == (3, True)


@pytest.mark.parametrize(
    "mode", [Mode.KILL_AFTER, *thorough(Mode.KILL_BEFORE, Mode.FAIL, Mode.PART, Mode.CUT)], ids=name_of
)
def test_cut_anywhere_it_goes_on(hosts: Hosts, mode: Mode) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    destroyed(hosts)
    for _ in cut_at_each(hosts, SYNC_ALL, mode):
        good(hosts.run("alpha", SYNC_ALL))
        assert "" not in streams(hosts)
        assert data(hosts, "beta", B) == data(hosts, "alpha", A)
        assert held(hosts, "alpha", A) == held(hosts, "beta", B) == {base(hosts)}
