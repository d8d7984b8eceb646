"""A script for the shell zrep runs: its words, and its own test, init to localhost, -S, a changed -S, refresh."""

from __future__ import annotations

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts
from tests.ops.judge import base, find, held
from tests.ops.pairs import SYNC_ALL, A, B, good
from zrep.ops.init_way import Request
from zrep.ops.list import listing
from zrep.ops.shell_words import last_sent, snap_only, up_to_date
from zrep.ops.status import status
from zrep.ops.sync import sync


def own(hosts: Hosts, host: str, name: str) -> list[str]:
    found = find(hosts, host, name)
    assert found is not None
    return [snapshot.name for snapshot in found.snapshots if snapshot.name.startswith("zrep_")]


def test_snaponly_then_synconly(hosts: Hosts) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    hosts.wire.cut = True  # the peer is not asked
    assert "zrep_000002" in good(hosts.run("alpha", lambda session: snap_only(session, [A]))).text
    hosts.wire.cut = False
    found = find(hosts, "alpha", A)
    assert found is not None
    assert found.snapshots[-1].guid in held(hosts, "alpha", A)  # until it is sent nobody takes it away
    assert (own(hosts, "alpha", A)[-1], own(hosts, "beta", B)[-1]) == ("zrep_000002", "zrep_000001")
    pairs.written(hosts, key="after")
    good(hosts.run("alpha", pairs.syncing(A), take=False))
    assert (own(hosts, "alpha", A)[-1], own(hosts, "beta", B)[-1]) == ("zrep_000002", "zrep_000002")
    found = find(hosts, "beta", B)
    assert found is not None
    assert not any(key.startswith("after") for key in found.data)
    good(hosts.run("alpha", pairs.syncing(A), take=False))
    assert own(hosts, "alpha", A)[-1] == "zrep_000002"
    assert held(hosts, "alpha", A) == held(hosts, "beta", B) == {base(hosts)}
    good(hosts.run("alpha", SYNC_ALL))
    assert own(hosts, "beta", B)[-1] == "zrep_000003"


def test_snaponly_all_is_of_every_master_here(hosts: Hosts) -> None:
    """Not of what is received, nor of what only passes that on; where nothing is, that is no success."""
    assert hosts.run("alpha", lambda session: snap_only(session, [])).code == 3
    pairs.linked(hosts)
    hosts["alpha"].sh("zfs create tank/other")
    good(hosts.run("alpha", pairs.initialising(Request("tank/other", "beta", "tank/other"))))
    good(hosts.run("beta", pairs.initialising(Request(B, "alpha", "tank/third")), tag="third"))
    good(hosts.run("alpha", lambda session: snap_only(session, [])))
    assert [own(hosts, "alpha", name)[-1] for name in (A, "tank/other")] == ["zrep_000002"] * 2
    before = own(hosts, "beta", B)
    for tag in ("zrep", "third"):
        good(hosts.run("beta", lambda session: snap_only(session, []), tag=tag))
    assert own(hosts, "beta", B) == before


def test_snaponly_of_a_tree_is_of_one_moment(hosts: Hosts) -> None:
    hosts["alpha"].sh(f"zfs create {A}")
    hosts["alpha"].sh(f"zfs create {A}/x")
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B, recursive=True))))
    good(hosts.run("alpha", lambda session: snap_only(session, [A])))
    assert own(hosts, "alpha", A)[-1] == own(hosts, "alpha", f"{A}/x")[-1]
    good(hosts.run("alpha", SYNC_ALL))
    assert own(hosts, "beta", f"{B}/x")[-1] == own(hosts, "alpha", f"{A}/x")[-1]


def test_a_replica_gets_none(hosts: Hosts) -> None:
    pairs.linked(hosts)
    assert hosts.run("beta", lambda session: snap_only(session, [B])).code == 3


def test_a_relay_gets_none(hosts: Hosts) -> None:
    pairs.linked(hosts)
    good(hosts.run("beta", pairs.initialising(Request(B, "alpha", "tank/third")), tag="third"))
    before = own(hosts, "beta", B)
    ended = hosts.run("beta", lambda session: snap_only(session, [B]), tag="third")
    assert (ended.code, "it is a replica here" in ended.text, own(hosts, "beta", B)) == (3, True, before), ended.text


def test_lastsent_and_uptodate(hosts: Hosts) -> None:
    pairs.linked(hosts)
    with hosts.session("alpha") as session:
        assert last_sent(session, [A]) == [f"{A}@zrep_000001"]
    good(hosts.run("alpha", lambda session: up_to_date(session, [A])))
    pairs.written(hosts)
    told = hosts.run("alpha", lambda session: up_to_date(session, [A]))
    assert (told.code, "it is not up to date" in told.text, "since @zrep_000001" in told.text) == (1, True, True)
    good(hosts.run("alpha", SYNC_ALL))
    with hosts.session("alpha") as session:
        assert last_sent(session, [A]) == [f"{A}@zrep_000002"]
    hosts["alpha"].sh(f"zfs create {A}2")
    assert hosts.run("alpha", lambda session: up_to_date(session, [f"{A}2"])).code == 3


def test_its_own_test_script(hosts: Hosts) -> None:
    """zrep init to localhost; -S with nothing changed, -S with a change; refresh from the other end."""
    hosts["alpha"].sh(f"zfs create {A}")
    good(hosts.run("alpha", pairs.initialising(Request(A, "localhost", B))))
    first = own(hosts, "alpha", B)
    good(hosts.run("alpha", pairs.syncing(A)))
    assert own(hosts, "alpha", B) == first
    hosts["alpha"].write(A, "changed", b"1")
    good(hosts.run("alpha", pairs.syncing(A)))
    assert len(own(hosts, "alpha", B)) == len(first) + 1
    hosts["alpha"].write(A, "again", b"2")
    good(hosts.run("alpha", lambda session: sync(session, [B], pull=True)))
    found = find(hosts, "alpha", B)
    assert found is not None
    assert {"changed", "again"} <= set(found.data)


@pytest.mark.parametrize("flag", [True, False])
def test_what_the_shell_zrep_replicated_goes_on(hosts: Hosts, flag: bool) -> None:
    """A pair of its is taken up by the first sync; or, cleared of its properties, by init --adopt."""
    pairs.shell_pair(hosts)
    if flag:
        for host, name in (("alpha", A), ("beta", B)):
            for prop in ("src-host", "src-fs", "dest-host", "dest-fs", "savecount", "master"):
                hosts[host].sh(f"zfs inherit zrep:{prop} {name}")
        good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B, adopt=True))))
    pairs.written(hosts, key="later")
    hosts.wire.reset()
    good(hosts.run("alpha", SYNC_ALL))
    assert [command for command in hosts.wire.log if command.stream and "-i" not in command.argv] == []
    here, there = find(hosts, "alpha", A), find(hosts, "beta", B)
    assert here is not None
    assert there is not None
    assert here.data == there.data


@pytest.mark.parametrize("arrived", [False, True])
@pytest.mark.parametrize("there", [A, B])
def test_an_init_of_the_shell_zrep_that_was_cut_is_told_as_that(hosts: Hosts, there: str, arrived: bool) -> None:
    """It writes the links first, and that it is the master last: of one whose replica has the same name it looks as if
    it were that. What has arrived is not sent again."""
    pairs.source(hosts)
    links = f"zrep:src-host=alpha zrep:src-fs={A} zrep:dest-host=beta zrep:dest-fs={there} zrep:savecount=5"
    hosts["alpha"].sh(f"zfs set {links} {A}")
    hosts["alpha"].sh(f"zfs snapshot {A}@zrep_000000")
    if arrived:
        sent = hosts["alpha"].run(["zfs", "send", "-p", f"{A}@zrep_000000"]).out
        hosts["beta"].run(["zfs", "receive", "-u", "-o", "readonly=on", there], sent)
    before = hosts.world.view()
    init = Request(A, "beta", there)
    works = (SYNC_ALL, pairs.syncing(A), pairs.failing_over(A), pairs.taking_over(A), pairs.forcing(A))
    for work in (*works, pairs.initialising(init)):
        told = hosts.run("alpha", work)
        assert (told.code, "its init by the shell zrep was interrupted" in told.text) == (3, True), told.text
        assert f"next: zrep clear -L {A}, then zrep init {A} beta {there}," in told.text
    shown = [
        *hosts.run("alpha", lambda session: status(session, [])).rows,
        *hosts.run("alpha", lambda session: listing(session, False)).rows,
    ]
    assert [row.state for row in shown] == ["init unfinished"] * 2
    assert hosts.world.view() == before
    good(hosts.run("alpha", pairs.clearing(A, here_only=True)))
    if arrived:
        told = hosts.run("alpha", pairs.initialising(init))
        assert (told.code, f"zrep init --adopt {A} beta {there}" in told.text) == (3, True), told.text
        init = Request(A, "beta", there, adopt=True)
        hosts.wire.reset()
    good(hosts.run("alpha", pairs.initialising(init)))
    pairs.written(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    assert not (arrived and [command for command in hosts.wire.log if command.stream and "-i" not in command.argv])
    here, other = find(hosts, "alpha", A), find(hosts, "beta", there)
    assert here is not None
    assert other is not None
    assert here.data == other.data
