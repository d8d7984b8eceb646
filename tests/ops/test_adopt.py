"""init --adopt: a replica that some other program has made is gone on with, without a full stream."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model import World
from tests.ops import pairs
from tests.ops.hosts import Ended, Hosts, Mode, name_of
from tests.ops.judge import base, files, find, held
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from tests.ops.plugin import thorough
from tests.ops.test_crash import applies
from zrep.ops.changeconfig import Config
from zrep.ops.clear import clear
from zrep.ops.init_check import Request

ADOPT = pairs.initialising(Request(A, "beta", B, adopt=True))


def copied(hosts: Hosts, snapshot: str, source: str = "") -> None:
    """A stream by hand, as other programs send it."""
    base = ["-i", f"{A}@{source}"] if source else []
    sent = hosts["alpha"].run(["zfs", "send", *base, f"{A}@{snapshot}"]).out
    done = hosts["beta"].run(["zfs", "receive", "-u", B], sent)
    assert done.rc == 0, done.err


@pytest.fixture
def by_hand(hosts: Hosts) -> Hosts:
    pairs.source(hosts)
    copied(hosts, "daily")
    hosts["alpha"].sh(f"zfs snapshot {A}@autosnap_1")
    copied(hosts, "autosnap_1", "daily")
    pairs.written(hosts)
    return hosts


def full_streams(hosts: Hosts) -> list[str]:
    return [str(command) for command in hosts.wire.log if command.stream and "-i" not in command.argv]


def refused(ended: Ended, *says: str) -> None:
    assert ended.code == 3, ended.text
    for words in says:
        assert words in ended.text


def test_it_goes_on_from_the_newest_common_snapshot(by_hand: Hosts) -> None:
    by_hand.wire.reset()
    assert "adopted at @autosnap_1" in good(by_hand.run("alpha", ADOPT)).text
    assert [command for command in by_hand.wire.log if command.stream] == []
    assert value(by_hand, "beta", B, "readonly") == "on"
    assert value(by_hand, "beta", B, "canmount") == "noauto"
    assert held(by_hand, "alpha", A) == held(by_hand, "beta", B) == {base(by_hand)}
    good(by_hand.run("alpha", SYNC_ALL))
    assert full_streams(by_hand) == []
    assert files(by_hand, "beta", B) == files(by_hand, "alpha", A)


def test_what_others_made_never_expires(by_hand: Hosts) -> None:
    good(by_hand.run("alpha", ADOPT))
    for host, name in (("alpha", A), ("beta", B)):
        good(by_hand.run(host, pairs.changing(name, Config(savecount=1))))
    for number in range(4):
        pairs.written(by_hand, key=f"n{number}")
        good(by_hand.run("alpha", SYNC_ALL))
    for host, name in (("alpha", A), ("beta", B)):
        found = find(by_hand, host, name)
        assert found is not None
        assert {"daily", "autosnap_1"} <= {snapshot.name for snapshot in found.snapshots}


def test_the_role_can_move_after_it(by_hand: Hosts) -> None:
    good(by_hand.run("alpha", ADOPT))
    good(by_hand.run("alpha", pairs.failing_over(A)))
    assert value(by_hand, "beta", B, "readonly") == "off"


def test_a_dry_run_shows_what_was_found_and_changes_nothing(by_hand: Hosts) -> None:
    before = by_hand.world.view()
    ended = good(by_hand.run("alpha", ADOPT, dry_run=True))
    assert "alpha: zfs hold zrep tank/a@autosnap_1" in ended.lines
    assert any("both sides have @autosnap_1" in line for line in by_hand.said)
    assert by_hand.world.view() == before


def test_it_pulls_too(by_hand: Hosts) -> None:
    good(by_hand.run("beta", pairs.initialising(Request(A, "alpha", B, pull=True, adopt=True))))
    good(by_hand.run("beta", SYNC_ALL))
    assert files(by_hand, "beta", B) == files(by_hand, "alpha", A)


def test_a_pair_that_was_cleared_is_made_again_without_a_full_stream(hosts: Hosts) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    good(hosts.run("alpha", lambda session: clear(session, A, False, keep_base=True)))
    for host, name in (("alpha", A), ("beta", B)):
        found = find(hosts, host, name)
        assert found is not None
        assert [snapshot.name for snapshot in found.snapshots if snapshot.name.startswith("zrep_")] == ["zrep_000002"]
        assert not held(hosts, host, name)
        assert [key for key in found.props if key.startswith("zrep:") and found.props[key].local] == []
    pairs.written(hosts, key="later")
    hosts.wire.reset()
    good(hosts.run("alpha", ADOPT))
    good(hosts.run("alpha", SYNC_ALL))
    assert full_streams(hosts) == []
    assert files(hosts, "beta", B) == files(hosts, "alpha", A)


class TestRefused:
    def test_nothing_in_common(self, hosts: Hosts) -> None:
        pairs.source(hosts)
        hosts["beta"].sh(f"zfs create {B}")
        hosts["beta"].sh(f"zfs snapshot {B}@daily")
        before = hosts.world.view()
        refused(hosts.run("alpha", ADOPT), "has no snapshot in common", "the newest @daily")
        assert hosts.world.view() == before

    def test_nothing_there(self, hosts: Hosts) -> None:
        pairs.source(hosts)
        refused(hosts.run("alpha", ADOPT), "does not exist: there is nothing to adopt")

    def test_written_to_since(self, by_hand: Hosts) -> None:
        by_hand["beta"].sh(f"zfs mount {B}")
        by_hand["beta"].write(B, "by hand", b"x")
        before = by_hand.world.view()
        refused(by_hand.run("alpha", ADOPT), "was written to after", "on beta: zfs rollback -r tank/b@autosnap_1")
        assert by_hand.world.view() == before

    def test_written_to_before_a_snapshot_of_its_own(self, by_hand: Hosts) -> None:
        by_hand["beta"].sh(f"zfs mount {B}")
        by_hand["beta"].write(B, "by hand", b"x")
        by_hand["beta"].sh(f"zfs snapshot {B}@mine")
        refused(by_hand.run("alpha", ADOPT), "with @mine")

    def test_being_written(self, by_hand: Hosts) -> None:
        by_hand["beta"].sh(f"zfs mount {B}")
        by_hand["beta"].open_file(B)
        refused(by_hand.run("alpha", ADOPT), "is being written", "postgres (7)")

    def test_a_replica_of_another_pair(self, hosts: Hosts) -> None:
        pairs.linked(hosts)
        hosts["alpha"].sh("zfs create tank/other")
        ended = hosts.run("alpha", pairs.initialising(Request("tank/other", "beta", B, adopt=True)))
        refused(ended, "is in a pair already", "it follows alpha:tank/a")


@pytest.mark.parametrize(
    "mode", [Mode.KILL_AFTER, *thorough(Mode.KILL_BEFORE, Mode.FAIL, Mode.PART, Mode.CUT)], ids=name_of
)
def test_cut_anywhere_it_goes_on(by_hand: Hosts, mode: Mode) -> None:
    dumped = by_hand.world.dump()
    by_hand.wire.reset()
    good(by_hand.run("alpha", ADOPT))
    found = [at for at, command in enumerate(by_hand.wire.log) if applies(mode, command)]
    for at in found[:: 3 if mode is Mode.KILL_AFTER else 1]:
        by_hand.load(dumped)
        by_hand.wire.reset(mode, at)
        by_hand.run("alpha", ADOPT)
        by_hand.wire.heal()
        if (
            value(by_hand, "alpha", A, "zrep:inprogress") not in ("", "-")
            or value(by_hand, "beta", B, "zrep:gen") == "-"
        ):
            good(by_hand.run("alpha", ADOPT))
        good(by_hand.run("alpha", SYNC_ALL))
        assert full_streams(by_hand) == []
        assert files(by_hand, "beta", B) == files(by_hand, "alpha", A)


def test_the_third_of_a_chain_goes_on_from_the_first_when_the_second_dies(tmp_path: Path) -> None:
    hosts = Hosts(tmp_path, World(hosts=("alpha", "beta", "gamma")))
    pairs.source(hosts)
    good(hosts.run("alpha", pairs.INIT))
    good(hosts.run("beta", pairs.initialising(Request(B, "gamma", "tank/c")), tag="onward"))
    pairs.written(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    good(hosts.run("beta", SYNC_ALL, tag="onward"))
    pairs.written(hosts, key="later")
    take = pairs.initialising(Request(A, "gamma", "tank/c", adopt=True))
    refused(hosts.run("alpha", take, tag="onward"), "on gamma: zrep -t onward changeconfig tank/c alpha tank/a")
    hosts.wire.reset()
    good(hosts.run("gamma", pairs.changing("tank/c", Config("alpha", A)), tag="onward"))
    good(hosts.run("alpha", SYNC_ALL, tag="onward"))
    assert full_streams(hosts) == []
    assert files(hosts, "gamma", "tank/c") == files(hosts, "alpha", A)
