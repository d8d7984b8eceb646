"""init --adopt: a replica that some other program has made is gone on with, without a full stream."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.model import World
from tests.ops import pairs, trees
from tests.ops.hosts import Ended, Hosts, Mode, Work, name_of
from tests.ops.judge import base, files, find, held
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from tests.ops.plugin import thorough
from tests.ops.test_crash import applies
from zrep.ops.changeconfig import Config
from zrep.ops.clear import clear
from zrep.ops.doctor import doctor
from zrep.ops.init_way import Request
from zrep.ops.list import listing

ADOPT = pairs.initialising(Request(A, "beta", B, adopt=True))


def copied(hosts: Hosts, snapshot: str, source: str = "") -> None:
    """A stream by hand, as other programs send it."""
    base = ["-i", f"{A}@{source}"] if source else []
    sent = hosts["alpha"].run(["zfs", "send", *base, f"{A}@{snapshot}"]).out
    done = hosts["beta"].run(["zfs", "receive", "-u", B], sent)
    assert done.rc == 0, done.err


def sent_by_hand(hosts: Hosts) -> None:
    """A replica that another program has made and kept up to date."""
    pairs.source(hosts)
    copied(hosts, "daily")
    pairs.written(hosts, key="second")
    hosts["alpha"].sh(f"zfs snapshot {A}@autosnap_1")
    copied(hosts, "autosnap_1", "daily")


def adopted(hosts: Hosts) -> None:
    """The same, taken over, and nothing written since."""
    sent_by_hand(hosts)
    good(hosts.run("alpha", ADOPT))


@pytest.fixture
def by_hand(hosts: Hosts) -> Hosts:
    sent_by_hand(hosts)
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
    assert "adopted: both sides have @autosnap_1" in good(by_hand.run("alpha", ADOPT)).text
    assert [command for command in by_hand.wire.log if command.stream] == []
    assert value(by_hand, "beta", B, "readonly") == "on"
    assert value(by_hand, "beta", B, "canmount") == "noauto"
    assert held(by_hand, "alpha", A) == held(by_hand, "beta", B) == {base(by_hand)}
    good(by_hand.run("alpha", SYNC_ALL))
    assert full_streams(by_hand) == []
    assert files(by_hand, "beta", B) == files(by_hand, "alpha", A)


@pytest.mark.parametrize(
    ("host", "request_", "named"),
    [
        ("alpha", Request(A, "beta", B), "zrep init --adopt tank/a beta tank/b"),
        ("alpha", Request(A, "beta", B, recursive=True), "zrep init -r --adopt tank/a beta tank/b"),
        ("beta", Request(A, "alpha", B, pull=True), "zrep init --pull --adopt alpha tank/a tank/b"),
    ],
)
def test_an_init_of_what_is_there_names_the_one_that_sends_nothing_again(
    by_hand: Hosts, host: str, request_: Request, named: str
) -> None:
    refused(
        by_hand.run(host, pairs.initialising(request_)),
        "@autosnap_1 in common",
        f"without sending that again: {named};",
    )
    by_hand["alpha"].sh("zfs create tank/other")
    told = by_hand.run("alpha", pairs.initialising(Request("tank/other", "beta", B)))
    assert (told.code, "--adopt" in told.text) == (3, False), told.text


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
    assert "both sides have @autosnap_1" in ended.text
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


class TestTheBaseIsKnownWhoeverMadeIt:
    """Before the first sync after it, and where somebody has made a snapshot on the replica since."""

    @pytest.fixture
    def adopted(self, hosts: Hosts) -> Hosts:
        adopted(hosts)
        hosts["beta"].sh(f"zfs snapshot {B}@weekly")
        return hosts

    def test_list_says_how_much_was_written_since(self, adopted: Hosts) -> None:
        [row] = good(adopted.run("alpha", lambda session: listing(session, False))).rows
        assert (row.behind, row.unsent, row.lag) == (0, 0, 0)
        pairs.written(adopted, key="later")
        [row] = good(adopted.run("alpha", lambda session: listing(session, False))).rows
        assert ((row.behind or 0) > 0, row.unsent) == (True, 0)

    def test_the_web_page_takes_its_age_for_no_journey(self, adopted: Hosts) -> None:
        [row] = good(adopted.run("beta", lambda session: listing(session, False))).rows
        assert row.arrivals == ()

    def test_a_forced_takeover_says_what_is_lost(self, adopted: Hosts) -> None:
        adopted.wire.cut = True
        assert "what was written after @autosnap_1, received" in good(adopted.run("beta", pairs.forcing(B))).text

    def test_doctor_names_the_tool_that_makes_snapshots_of_the_replica(self, adopted: Hosts) -> None:
        adopted["beta"].sh(f"zfs snapshot {B}@autosnap_2026_hourly")
        assert "sanoid makes snapshots of the replica" in adopted.run("alpha", lambda session: doctor(session, [])).text

    def test_a_base_that_was_destroyed_is_none_that_somebody_wrote(self, adopted: Hosts) -> None:
        for kind in ("snapshot", "bookmark"):
            for name in adopted["alpha"].sh(f"zfs list -H -o name -t {kind} {A}").decode().split():
                if "autosnap_1" in name:
                    adopted["alpha"].run(["zfs", "release", "zrep", name])
                    adopted["alpha"].sh(f"zfs destroy {name}")
        ended = adopted.run("alpha", SYNC_ALL)
        assert "the base @autosnap_1 was destroyed on the master" in ended.text


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


TREE = pairs.initialising(Request(A, "beta", B, recursive=True, adopt=True))
BELOW = ("", "/x", "/x/deep", "/vol")


def received(hosts: Hosts, part: str, snapshot: str = "one") -> None:
    """One member, as zfs send -R and syncoid -r send it: mounted and writable when it has arrived."""
    sent = hosts["alpha"].run(["zfs", "send", f"{A}{part}@{snapshot}"]).out
    done = hosts["beta"].run(["zfs", "receive", f"{B}{part}"], sent)
    assert done.rc == 0, done.err


def written_below(hosts: Hosts, *parts: str) -> None:
    """Somebody writes to members of the replica."""
    for part in parts:
        hosts["beta"].write(f"{B}{part}", "by hand", b"x")


def cuts(hosts: Hosts, mode: Mode, work: Work) -> list[int]:
    """Run it to its end: the numbers of its commands that can be cut so, of those that it is killed after each
    third."""
    hosts.wire.reset()
    good(hosts.run("alpha", work))
    found = [at for at, command in enumerate(hosts.wire.log) if applies(mode, command)]
    return found[:: 3 if mode is Mode.KILL_AFTER else 1]


def cut(hosts: Hosts, mode: Mode, at: int, work: Work) -> None:
    """Run it with its command of that number cut; then all is well again."""
    hosts.wire.reset(mode, at)
    hosts.run("alpha", work)
    hosts.wire.heal()


class TestATree:
    """A replica with all below it, that another program has made."""

    @pytest.fixture
    def tree(self, hosts: Hosts) -> Hosts:
        trees.planted(hosts)
        hosts["alpha"].sh(f"zfs snapshot -r {A}@one")
        for part in BELOW:
            received(hosts, part)
        pairs.written(hosts, name=f"{A}/x")
        return hosts

    def test_one_command_takes_it_up_with_all_below_it(self, tree: Hosts) -> None:
        tree.wire.reset()
        ended = good(tree.run("alpha", TREE))
        assert "adopted: both sides have @one, with 3 of what is below it; replicated with its 4 members" in ended.text
        assert full_streams(tree) == []
        for part in BELOW:
            assert value(tree, "beta", f"{B}{part}", "readonly") == "on"
            assert held(tree, "alpha", f"{A}{part}") == held(tree, "beta", f"{B}{part}")
        for part in BELOW[:3]:
            assert value(tree, "beta", f"{B}{part}", "canmount") == "noauto"
            assert value(tree, "beta", f"{B}{part}", "zrep:canmount") == "on"
            assert files(tree, "beta", f"{B}{part}") == files(tree, "alpha", f"{A}{part}")
        assert "nothing written to its 4 members" in good(tree.run("alpha", SYNC_ALL)).text
        good(tree.run("alpha", pairs.failing_over(A)))
        assert {value(tree, "beta", f"{B}{part}", "canmount") for part in BELOW[:3]} == {"on"}

    def test_it_pulls_too(self, tree: Hosts) -> None:
        request = Request(A, "alpha", B, recursive=True, pull=True, adopt=True)
        tree.wire.reset()
        good(tree.run("beta", pairs.initialising(request)))
        assert full_streams(tree) == []
        assert files(tree, "beta", f"{B}/x") == files(tree, "alpha", f"{A}/x")

    def test_what_is_new_or_was_renamed_since_comes_with_it(self, tree: Hosts) -> None:
        tree["alpha"].sh(f"zfs create {A}/new")
        tree["alpha"].sh(f"zfs rename {A}/x {A}/y")
        tree.wire.reset()
        good(tree.run("alpha", TREE))
        assert [words.rpartition(A)[2][:4] for words in full_streams(tree)] == ["/new"]
        assert trees.members(tree, "beta") == [B, f"{B}/new", f"{B}/vol", f"{B}/y", f"{B}/y/deep"]

    def test_a_dry_run_says_what_was_found_and_changes_nothing(self, tree: Hosts) -> None:
        before = tree.world.view()
        ended = good(tree.run("alpha", TREE, dry_run=True))
        assert "both sides have @one, with 3 of what is below it" in ended.text
        assert not [line for line in ended.lines if "zfs send" in line and "-i" not in line]
        assert tree.world.view() == before

    def test_the_root_alone_names_the_command_for_all(self, tree: Hosts) -> None:
        before = tree.world.view()
        says = "with all that is below it: zrep init -r --adopt tank/a beta tank/b; or to let it keep what it is, on"
        refused(tree.run("alpha", ADOPT), "tank/b/vol, tank/b/x would become read-only", says)
        assert tree.world.view() == before

    def test_what_was_written_to_is_named_all_of_it_with_what_drops_it(self, tree: Hosts) -> None:
        written_below(tree, "/x", "/x/deep")
        before = tree.world.view()
        dropped = "zfs rollback -r tank/b/x@one; zfs rollback -r tank/b/x/deep@one"
        refused(tree.run("alpha", TREE), "tank/b/x, tank/b/x/deep on beta were written to after", f"on beta: {dropped}")
        assert tree.world.view() == before
        for command in dropped.split("; "):
            tree["beta"].sh(command)
        good(tree.run("alpha", TREE))

    def test_what_has_nothing_in_common_is_refused_or_left_out(self, tree: Hosts) -> None:
        tree["beta"].sh(f"zfs destroy -r {B}/vol")
        tree["beta"].sh(f"zfs create -V 1G {B}/vol")
        tree["beta"].sh(f"zfs snapshot {B}/vol@one")
        before = tree.world.view()
        renamed = "to send it whole, on beta: zfs rename tank/b/vol tank/b/vol_aside; to leave it out: --exclude vol"
        refused(tree.run("alpha", TREE), "tank/b/vol on beta has no snapshot in common with tank/a/vol", renamed)
        assert tree.world.view() == before
        without = Request(A, "beta", B, recursive=True, adopt=True, exclude=("vol",))
        refused(tree.run("alpha", pairs.initialising(without)), "on beta: zfs set readonly=off 'tank/b/vol'")
        tree["beta"].sh(f"zfs set readonly=off {B}/vol")
        good(tree.run("alpha", pairs.initialising(without)))
        assert value(tree, "beta", f"{B}/vol", "readonly") == "off"

    def test_what_is_there_alone_is_asked_about_and_stays(self, tree: Hosts) -> None:
        tree["beta"].sh(f"zfs create -o canmount=noauto {B}/theirs")
        refused(tree.run("alpha", TREE), "tank/b/theirs would become read-only", "zfs set readonly=off 'tank/b/theirs'")
        tree["beta"].sh(f"zfs set readonly=off {B}/theirs")
        good(tree.run("alpha", TREE))
        good(tree.run("alpha", SYNC_ALL))
        assert value(tree, "beta", f"{B}/theirs", "readonly") == "off"

    def test_half_received_or_in_use_below_it(self, tree: Hosts) -> None:
        tree["beta"].open_file(f"{B}/x")
        refused(tree.run("alpha", TREE), "tank/b/x on beta is being written", "postgres (7)")

    @pytest.mark.parametrize("mode", [Mode.KILL_AFTER, *thorough(Mode.KILL_BEFORE, Mode.FAIL, Mode.PART)], ids=name_of)
    def test_cut_anywhere_it_goes_on(self, tree: Hosts, mode: Mode) -> None:
        dumped = tree.world.dump()
        found = cuts(tree, mode, TREE)
        whole = trees.picture(tree)
        for at in found:
            tree.load(dumped)
            cut(tree, mode, at, TREE)
            good(tree.run("alpha", TREE))
            good(tree.run("alpha", SYNC_ALL))
            assert full_streams(tree) == []
            assert trees.picture(tree) == whole


@pytest.mark.parametrize(
    "mode", [Mode.KILL_AFTER, *thorough(Mode.KILL_BEFORE, Mode.FAIL, Mode.PART, Mode.CUT)], ids=name_of
)
def test_cut_anywhere_it_goes_on(by_hand: Hosts, mode: Mode) -> None:
    dumped = by_hand.world.dump()
    for at in cuts(by_hand, mode, ADOPT):
        by_hand.load(dumped)
        cut(by_hand, mode, at, ADOPT)
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


def test_what_the_second_sent_as_a_master_is_given_up_by_the_command_that_is_named(tmp_path: Path) -> None:
    """The third has a snapshot that the first never had, and zrep's own hold on it."""
    hosts = Hosts(tmp_path, World(hosts=("alpha", "beta", "gamma")))
    pairs.source(hosts)
    good(hosts.run("alpha", pairs.INIT))
    good(hosts.run("beta", pairs.initialising(Request(B, "gamma", "tank/c")), tag="onward"))
    good(hosts.run("alpha", pairs.failing_over(A)))
    pairs.written(hosts, "beta", B)
    good(hosts.run("beta", SYNC_ALL, tag="onward"))
    good(hosts.run("alpha", pairs.forcing(A)))
    follow = pairs.changing("tank/c", Config("alpha", A))
    told = hosts.run("gamma", follow, tag="onward")
    assert (told.code, "with @onward_000001" in told.text) == (3, True), told.text
    [lines] = re.findall(r"on gamma: (.*); then this again", told.text)
    for line in lines.split("; "):
        hosts["gamma"].sh(line)
    hosts.wire.reset()
    good(hosts.run("gamma", follow, tag="onward"))
    good(hosts.run("alpha", SYNC_ALL, tag="onward"))
    assert full_streams(hosts) == []
    assert files(hosts, "gamma", "tank/c") == files(hosts, "alpha", A)


@pytest.mark.parametrize("pull", [False, True])
@pytest.mark.parametrize("known", [True, False])
def test_a_third_that_comes_by_rarely_follows_the_first_too(tmp_path: Path, pull: bool, known: bool) -> None:
    """The first keeps fewer than it makes between two visits of the third: of what the second holds for that it has a
    bookmark. known: nobody has destroyed it."""
    hosts = Hosts(tmp_path, World(hosts=("alpha", "beta", "gamma")))
    pairs.source(hosts)
    good(hosts.run("alpha", pairs.INIT))
    if pull:
        good(hosts.run("gamma", pairs.initialising(Request(B, "beta", "tank/c", pull=True)), tag="onward"))
    else:
        good(hosts.run("beta", pairs.initialising(Request(B, "gamma", "tank/c")), tag="onward"))
    for number in range(7):
        pairs.written(hosts, key=f"n{number}")
        good(hosts.run("alpha", SYNC_ALL))
    follow = pairs.changing("tank/c", Config("alpha", A))
    if known:
        hosts.wire.reset()
        good(hosts.run("gamma", follow, tag="onward"))
        good(hosts.run("gamma" if pull else "alpha", SYNC_ALL, tag="onward"))
        assert full_streams(hosts) == []
        assert files(hosts, "gamma", "tank/c") == files(hosts, "alpha", A)
        return
    hosts["alpha"].sh(f"zfs destroy {A}#zrep:zrep_000001")
    anew = "zrep init --pull alpha tank/a tank/c" if pull else "on alpha: zrep init tank/a gamma tank/c"
    refused(
        hosts.run("gamma", follow, tag="onward"),
        "of 6 on alpha, the newest @zrep_000008; 1 on gamma, the newest @zrep_000001",
        f"to send everything: zrep clear -L tank/c; zfs rename tank/c tank/c_aside; {anew}",
    )
