"""expire --gone: what was set aside goes when a person says how old it may be, and only what zrep made."""

from __future__ import annotations

import pytest

from tests.ops import trees
from tests.ops.hosts import Hosts, Mode, Work
from tests.ops.pairs import SYNC_ALL, A, B, good
from tests.ops.test_tree import asking
from tests.ops.trees import destroy, members, snapshots
from zrep.ops.expire import expire
from zrep.ops.list import listing

X = f"{B}/x"
SET_ASIDE = [B, f"{B}/vol", X, f"{X}/deep"]


def removing(gone: int | None, *names: str, here_only: bool = False) -> Work:
    return lambda session: expire(session, list(names), here_only, gone)


@pytest.fixture
def aside(hosts: Hosts) -> Hosts:
    """A tree of which x and what is below it were destroyed on the master, and set aside on the replica."""
    trees.grown(hosts)
    destroy(hosts, f"{A}/x")
    good(hosts.run("alpha", SYNC_ALL))
    assert members(hosts, "beta") == SET_ASIDE
    return hosts


@pytest.mark.parametrize(("host", "here_only"), [("alpha", False), ("beta", True), ("beta", False)])
def test_what_was_set_aside_for_longer_goes_and_nothing_by_itself(aside: Hosts, host: str, here_only: bool) -> None:
    for work in (removing(None, here_only=here_only), removing(86400, here_only=here_only)):
        good(aside.run(host, work))
        assert members(aside, "beta") == SET_ASIDE
    before = aside.world.view()
    shown = good(aside.run(host, removing(0, here_only=here_only), dry_run=True))
    assert f"beta: zfs destroy {X}" in shown.lines
    assert aside.world.view() == before
    good(aside.run(host, removing(0, here_only=here_only)))
    assert members(aside, "beta") == [B, f"{B}/vol"]
    good(aside.run("alpha", SYNC_ALL))


SOMEBODYS = {
    "a snapshot": (f"zfs snapshot {X}/deep@mine", "it has snapshots that zrep did not make (mine)"),
    "something below it": (f"zfs create -u {X}/deep/mine", f"something is below it ({X}/deep/mine)"),
    "a hold": (f"zfs hold mine {X}/deep@SNAPSHOT", "somebody holds its snapshots"),
    "a clone": (f"zfs clone -o canmount=noauto {X}/deep@SNAPSHOT tank/mine", "its snapshots have clones"),
    "a mount": (f"zfs mount {X}/deep", "it is mounted"),
    "no mark": (f"zfs inherit zrep:gone {X}/deep", f"something is below it ({X}/deep)"),
}


@pytest.mark.parametrize(("command", "why"), SOMEBODYS.values(), ids=SOMEBODYS)
def test_what_somebody_uses_stays_and_is_named(aside: Hosts, command: str, why: str) -> None:
    """And what it lies below stays with it."""
    aside["beta"].sh(command.replace("SNAPSHOT", snapshots(aside, "beta", f"{X}/deep")[-1]))
    ended = aside.run("beta", removing(0, here_only=True))
    assert (ended.code, why in ended.text) == (3, True), ended.text
    assert set(SET_ASIDE) <= set(members(aside, "beta"))


def test_one_that_was_written_to_stays(aside: Hosts) -> None:
    aside["beta"].sh(f"zfs set readonly=off {X}")
    aside["beta"].sh(f"zfs mount {X}")
    aside["beta"].write(X, "mine", b"1")
    aside["beta"].sh(f"zfs unmount {X}")
    ended = aside.run("beta", removing(0, here_only=True))
    assert (ended.code, "it was changed by hand" in ended.text) == (3, True), ended.text
    assert members(aside, "beta") == [B, f"{B}/vol", X]


@pytest.mark.thorough
@pytest.mark.parametrize("mode", [Mode.FAIL, Mode.KILL_AFTER, Mode.POWER_HERE], ids=lambda mode: mode.name.lower())
def test_cut_anywhere_the_next_run_removes_the_rest(aside: Hosts, mode: Mode) -> None:
    before = aside.world.dump()
    aside.wire.reset()
    good(aside.run("alpha", removing(0)))
    last = len(aside.wire.log)
    for at in range(last):
        aside.load(before)
        aside.wire.reset(mode, at)
        aside.run("alpha", removing(0))
        aside.wire.heal()
        good(aside.run("alpha", removing(0)))
        assert members(aside, "beta") == [B, f"{B}/vol"], at


def test_status_and_list_show_what_is_set_aside_with_size_and_age(aside: Hosts) -> None:
    for host in ("alpha", "beta"):
        [row] = aside.run(host, asking).rows
        assert f"set aside: {X} (" in row.detail
        assert " ago)" in row.detail
    [row] = aside.run("beta", lambda session: listing(session, False)).rows
    assert f"set aside: {X} (" in row.detail
    rows = aside.run("beta", lambda session: listing(session, False, members=True)).rows
    assert [row.name for row in rows] == [B, B, f"{B}/vol"]
