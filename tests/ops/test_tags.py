"""One dataset, one role, whatever the tag: alpha's tank/a goes to beta under zrep and to gamma under offsite."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model import World
from tests.ops import pairs, trees
from tests.ops.hosts import Ended, Hosts, Mode, name_of
from tests.ops.judge import find
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from tests.ops.plugin import thorough
from tests.ops.test_crash import applies
from zrep.ops.changeconfig import Config
from zrep.ops.clear import clear
from zrep.ops.init_way import Request
from zrep.ops.list import listing
from zrep.ops.status import status

G = "tank/g"
SIDES = (("alpha", A), ("beta", B), ("gamma", G))
OFFSITE = "offsite"
TO_GAMMA = pairs.initialising(Request(A, "gamma", G))


@pytest.fixture
def three(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path, World(hosts=("alpha", "beta", "gamma")))


@pytest.fixture
def both(three: Hosts) -> Hosts:
    pairs.linked(three)
    good(three.run("alpha", TO_GAMMA, tag=OFFSITE))
    return three


@pytest.fixture
def relayed(both: Hosts) -> Hosts:
    """The role has moved to beta under zrep: alpha passes on to gamma."""
    good(both.run("alpha", pairs.failing_over(A)))
    return both


def writable(hosts: Hosts) -> list[str]:
    sides = (("alpha", A), ("beta", B), ("gamma", G))
    return [host for host, name in sides if value(hosts, host, name, "readonly") == "off"]


def data(hosts: Hosts, host: str, name: str) -> dict[str, bytes]:
    found = find(hosts, host, name)
    assert found is not None
    return found.data


def refused(ended: Ended, *says: str) -> None:
    assert ended.code == 3, ended.text
    for words in says:
        assert words in ended.text


def properties(hosts: Hosts, host: str, name: str) -> set[str]:
    """The user properties a dataset has itself, set there or received."""
    words = f"zfs get -H -s local,received -o property all {name}"
    return {line for line in hosts[host].sh(words).decode().split() if ":" in line}


class TestNothingTravels:
    def test_no_property_of_any_tag(self, both: Hosts) -> None:
        assert {name for name in properties(both, "gamma", G) if not name.startswith("offsite:")} == set()

    def test_no_received_property_of_any_tag(self, relayed: Hosts) -> None:
        """A copy of a copy: beta's half under zrep, sent on under a third tag."""
        good(relayed.run("beta", pairs.initialising(Request(B, "gamma", "tank/h")), tag="third"))
        assert {name for name in properties(relayed, "gamma", "tank/h") if not name.startswith("third:")} == set()

    def test_properties_of_others_do(self, three: Hosts) -> None:
        pairs.linked(three)
        three["alpha"].sh(f"zfs set mysql:master=no com.example:note=mine {A}")
        good(three.run("alpha", TO_GAMMA, tag=OFFSITE))
        assert {"mysql:master", "com.example:note"} <= properties(three, "gamma", G)

    def test_a_takeover_without_the_tag_finds_no_pair(self, three: Hosts) -> None:
        """As an earlier version sent it: the links name this very dataset."""
        three["alpha"].sh(f"zfs create {A}")
        good(three.run("alpha", pairs.initialising(Request(A, "beta", G))))
        three["alpha"].sh(f"zfs snapshot {A}@by-hand")
        sent = three["alpha"].run(["zfs", "send", "-p", f"{A}@by-hand"]).out
        three["gamma"].run(["zfs", "receive", "-u", G], sent)
        assert value(three, "gamma", G, "zrep:dest-fs") == G
        refused(three.run("gamma", pairs.forcing(G)), "it is not replicated by zrep here")

    def test_a_takeover_without_the_tag_finds_no_pair_that_the_shell_zrep_made(self, three: Hosts) -> None:
        three["alpha"].sh(f"zfs create {A}")
        links = f"zrep:src-host=alpha zrep:src-fs={A} zrep:dest-host=beta zrep:dest-fs={G} zrep:savecount=5"
        three["alpha"].sh(f"zfs set {links} {A}")
        three["alpha"].sh(f"zfs snapshot {A}@offsite_000001")
        sent = three["alpha"].run(["zfs", "send", "-p", f"{A}@offsite_000001"]).out
        three["gamma"].run(["zfs", "receive", "-u", G], sent)
        refused(three.run("gamma", pairs.forcing(G)), "it is not replicated by zrep here")

    def test_a_replica_of_the_shell_zrep_is_one(self, three: Hosts) -> None:
        """Its properties are received; it has snapshots of the tag."""
        three["alpha"].sh(f"zfs create {A}")
        links = f"zrep:src-host=alpha zrep:src-fs={A} zrep:dest-host=beta zrep:dest-fs={B} zrep:savecount=5"
        three["alpha"].sh(f"zfs set {links} {A}")
        three["alpha"].sh(f"zfs snapshot {A}@zrep_000001")
        sent = three["alpha"].run(["zfs", "send", "-p", f"{A}@zrep_000001"]).out
        three["beta"].run(["zfs", "receive", "-u", "-o", "readonly=on", B], sent)
        three["alpha"].sh(f"zfs set zrep:master=yes {A}")
        good(three.run("alpha", SYNC_ALL))
        assert value(three, "beta", B, "zrep:master") == "no"


class TestBroughtAlong:
    """The shell zrep sends a master's properties of all tags with a first stream, and with -I the snapshots of all."""

    @pytest.fixture
    def brought(self, three: Hosts) -> Hosts:
        """Two pairs of its, all three halves of one name: beta's looks as if it were gamma's, too."""
        alpha = three["alpha"]
        alpha.sh(f"zfs create {A}")
        for tag, host in ((OFFSITE, "gamma"), ("zrep", "beta")):
            links = (("src-host", "alpha"), ("src-fs", A), ("dest-host", host), ("dest-fs", A), ("savecount", "5"))
            alpha.sh(f"zfs set {' '.join(f'{tag}:{name}={is_}' for name, is_ in links)} {A}")
            alpha.sh(f"zfs snapshot {A}@{tag}_000000")
            self.send(three, host, "-p", f"{A}@{tag}_000000")
            alpha.sh(f"zfs set {tag}:sent=1700000000 {A}@{tag}_000000")
            alpha.sh(f"zfs set {tag}:master=yes {A}")
        alpha.sh(f"zfs snapshot {A}@offsite_000001")
        alpha.sh(f"zfs snapshot {A}@zrep_000001")
        self.send(three, "beta", "-I", f"{A}@zrep_000000", f"{A}@zrep_000001")
        alpha.sh(f"zfs set zrep:sent=1700000000 {A}@zrep_000001")
        pairs.written(three)
        return three

    def send(self, three: Hosts, host: str, *words: str) -> None:
        sent = three["alpha"].run(["zfs", "send", *words]).out
        done = three[host].run(["zfs", "receive", "-u", "-o", "readonly=on", A], sent)
        assert done.rc == 0, done.err

    @pytest.mark.parametrize("first", ["sync", "failover", "adopt"])
    def test_a_replica_follows_the_master_of_its_own_pair_alone(self, brought: Hosts, first: str) -> None:
        if first == "sync":
            good(brought.run("alpha", SYNC_ALL))
        elif first == "adopt":
            for host in ("alpha", "beta"):
                for name in ("src-host", "src-fs", "dest-host", "dest-fs", "master"):
                    brought[host].sh(f"zfs inherit zrep:{name} {A}")
            good(brought.run("alpha", pairs.initialising(Request(A, "beta", A, adopt=True))))
        good(brought.run("alpha", pairs.failing_over(A)))
        refused(brought.run("beta", pairs.forcing(A), tag=OFFSITE), "it is not replicated by zrep here")
        good(brought.run("beta", pairs.failing_over(A)))
        pairs.written(brought, key="after")
        for tag, host in (("zrep", "beta"), (OFFSITE, "gamma")):
            good(brought.run("alpha", SYNC_ALL, tag=tag))
            assert data(brought, host, A) == data(brought, "alpha", A)


class TestRelay:
    def test_it_gives_no_role_away(self, relayed: Hosts) -> None:
        says = ("only passes on what it receives under the tag zrep", "on alpha: zrep -t zrep takeover tank/a")
        refused(relayed.run("alpha", pairs.failing_over(A), tag=OFFSITE), *says)
        refused(relayed.run("gamma", pairs.taking_over(G), tag=OFFSITE), *says)
        assert writable(relayed) == ["beta"]

    def test_a_dry_run_says_so_too(self, relayed: Hosts) -> None:
        for host, work in (("alpha", pairs.failing_over(A)), ("gamma", pairs.taking_over(G))):
            ended = relayed.run(host, work, tag=OFFSITE, dry_run=True)
            blockers = [error.line() for outcome in ended.outcomes for error in outcome.blockers]
            assert any("only passes on" in line for line in blockers), ended

    def test_what_it_is_told_to_do_works(self, relayed: Hosts) -> None:
        good(relayed.run("alpha", pairs.taking_over(A)))
        good(relayed.run("alpha", pairs.failing_over(A), tag=OFFSITE))
        assert writable(relayed) == ["gamma"]

    def test_it_passes_on_and_stays_read_only(self, relayed: Hosts) -> None:
        pairs.written(relayed, "beta", B)
        good(relayed.run("beta", SYNC_ALL))
        for _ in range(2):
            good(relayed.run("alpha", SYNC_ALL, tag=OFFSITE))
        assert writable(relayed) == ["beta"]

    def test_list_and_status_call_it_so(self, relayed: Hosts) -> None:
        for look in (lambda session: listing(session, False), lambda session: status(session, [])):
            [row] = relayed.run("alpha", look, tag=OFFSITE).rows
            assert (row.role, row.state) == ("relay", "ok")
            [row] = relayed.run("alpha", look).rows
            assert row.role == "replica"

    def test_it_follows_no_second_master(self, relayed: Hosts) -> None:
        relayed.wire.cut = True
        good(relayed.run("gamma", pairs.forcing(G), tag=OFFSITE))
        relayed.wire.cut = False
        ended = relayed.run("alpha", pairs.rejoining(A), tag=OFFSITE)
        refused(ended, "can follow only one master", "zrep -t zrep takeover tank/a")

    def test_one_whose_role_change_under_another_tag_was_cut_is_told_what_leads_on(self, both: Hosts) -> None:
        """Simulation, seed 361679143: what rejoin and takeover advised led to each other."""
        pairs.hit(both, "alpha", pairs.failing_over(A), Mode.KILL_AFTER, "zfs", "set", tag=OFFSITE)
        both.wire.heal()
        both.wire.cut = True
        good(both.run("gamma", pairs.forcing(G), tag=OFFSITE))
        good(both.run("beta", pairs.forcing(B)))
        both.wire.cut = False
        good(both.run("alpha", pairs.rejoining(A)))
        ended = both.run("alpha", pairs.rejoining(A), tag=OFFSITE)
        refused(ended, "can follow only one master", "zrep -t zrep clear -L tank/a, or zrep -t offsite clear -L tank/a")
        good(both.run("alpha", lambda session: clear(session, A, True), tag=OFFSITE))
        good(both.run("beta", SYNC_ALL))
        good(both.run("alpha", pairs.taking_over(A)))

    def test_one_that_is_made_from_a_replica_is_not_told_to_be_made_writable(self, three: Hosts) -> None:
        pairs.linked(three)
        good(three.run("beta", pairs.initialising(Request(B, "gamma", G)), tag=OFFSITE))
        assert not any("readonly=off" in line for line in three.said)
        refused(three.run("beta", pairs.failing_over(B), tag=OFFSITE), "on beta: zrep -t zrep takeover tank/b")

    def test_what_was_made_from_a_replica_is_mounted_once_it_is_master(self, three: Hosts) -> None:
        """The replica's own canmount is noauto: what it is while it is master is what counts."""
        pairs.linked(three)
        good(three.run("beta", pairs.initialising(Request(B, "gamma", G)), tag=OFFSITE))
        good(three.run("beta", pairs.taking_over(B)))
        good(three.run("beta", pairs.failing_over(B), tag=OFFSITE))
        assert value(three, "gamma", G, "canmount") == "on"
        assert value(three, "gamma", G, "mounted") == "yes"


class TestReplicaUnderTwoTags:
    """As an earlier version left it: alpha follows beta under zrep and gamma under offsite, and both take writes."""

    @pytest.fixture
    def torn(self, both: Hosts) -> Hosts:
        good(both.run("alpha", pairs.failing_over(A)))
        alpha, gamma = both["alpha"], both["gamma"]
        for host, name, master in ((alpha, A, "no"), (gamma, G, "yes")):
            links = f"offsite:src-host=gamma offsite:src-fs={G} offsite:dest-host=alpha offsite:dest-fs={A}"
            host.sh(f"zfs set {links} offsite:master={master} {name}")
        gamma.sh(f"zfs set readonly=off {G}")
        return both

    def test_a_takeover_under_either_tag_is_refused(self, torn: Hosts) -> None:
        for tag, other in (("zrep", OFFSITE), (OFFSITE, "zrep")):
            says = f"is a replica under the tag {other} too: it would become writable"
            refused(torn.run("alpha", pairs.taking_over(A), tag=tag), says)
            refused(torn.run("alpha", pairs.forcing(A), tag=tag), says)
        assert "alpha" not in writable(torn)

    def test_ending_one_pair_here_is_enough(self, torn: Hosts) -> None:
        good(torn.run("alpha", lambda session: clear(session, A, True), tag=OFFSITE))
        good(torn.run("alpha", pairs.taking_over(A)))
        assert "alpha" in writable(torn)


class TestUndecided:
    """What one tag has made read-only, no other makes writable or gives away."""

    def stopped(self, hosts: Hosts) -> None:
        """Beta was promoted alone; alpha has found out under zrep."""
        hosts.wire.cut = True
        good(hosts.run("beta", pairs.forcing(B)))
        hosts.wire.cut = False
        assert hosts.run("alpha", SYNC_ALL).code == 3
        assert "alpha" not in writable(hosts)

    def test_no_role_change_under_another_tag(self, both: Hosts) -> None:
        self.stopped(both)
        says = (
            "under the tag zrep tank/a on alpha may not be the master any more",
            "on alpha: zrep -t zrep sync tank/a",
        )
        refused(both.run("alpha", pairs.failing_over(A), tag=OFFSITE), *says)
        refused(both.run("gamma", pairs.taking_over(G), tag=OFFSITE), *says)
        assert writable(both) == ["beta"]

    def test_an_unfinished_role_change_under_another_tag_is_finished_first(self, both: Hosts) -> None:
        pairs.hit(both, "alpha", pairs.failing_over(A), Mode.KILL_AFTER, "mount")
        both.wire.reset()
        refused(both.run("alpha", pairs.failing_over(A), tag=OFFSITE), "a role change is unfinished")
        good(both.run("alpha", SYNC_ALL))
        good(both.run("alpha", pairs.failing_over(A), tag=OFFSITE))
        assert writable(both) == ["gamma"]

    def test_what_one_tag_doubts_the_other_does_not_make_writable(self, both: Hosts) -> None:
        """Killed in a failover to gamma, and beta was promoted alone: undoing the one is no reason to write."""
        pairs.hit(both, "alpha", pairs.failing_over(A), Mode.KILL_AFTER, "zfs", "set", "readonly=on", tag=OFFSITE)
        both.wire.reset()
        assert value(both, "alpha", A, "offsite:inprogress") != "-"
        both.wire.cut = True
        good(both.run("beta", pairs.forcing(B)))
        both.wire.cut = False
        assert both.run("alpha", SYNC_ALL).code == 3
        good(both.run("alpha", SYNC_ALL, tag=OFFSITE))
        assert value(both, "alpha", A, "offsite:inprogress") == ""
        assert writable(both) == ["beta"]

    def test_what_both_doubted_is_writable_again_when_both_have_met_their_peer(self, both: Hosts) -> None:
        for tag in ("zrep", OFFSITE):
            good(both.run("alpha", pairs.changing(A, Config(lease=pairs.MINUTE)), tag=tag))
            good(both.run("alpha", SYNC_ALL, tag=tag))
        both.wire.cut = True
        for _ in range(5):
            for tag in ("zrep", OFFSITE):
                both.run("alpha", SYNC_ALL, tag=tag)
        both.wire.cut = False
        assert writable(both) == []
        good(both.run("alpha", SYNC_ALL))
        assert writable(both) == []
        good(both.run("alpha", SYNC_ALL, tag=OFFSITE))
        assert writable(both) == ["alpha"]


class TestTree:
    """alpha's tank/a goes to beta as a tree under zrep."""

    @pytest.fixture
    def tree(self, three: Hosts) -> Hosts:
        trees.grown(three)
        return three

    @pytest.fixture
    def passed_on(self, tree: Hosts) -> Hosts:
        """A member of the tree on beta goes to gamma under offsite."""
        good(tree.run("beta", pairs.initialising(Request(f"{B}/x", "gamma", G)), tag=OFFSITE))
        return tree

    def test_what_arrives_with_it_is_no_pair_of_its_own_under_its_tag(self, tree: Hosts) -> None:
        ended = tree.run("beta", pairs.initialising(Request(f"{B}/x", "gamma", G)))
        refused(ended, "tank/b/x: it is received here with the tree tank/b", "replica of alpha:tank/a")
        assert f"{B}/x" not in tree["beta"].sh("zfs get -H -s local -o name zrep:src-fs").decode()

    def test_a_member_that_is_passed_on_has_no_role_to_give(self, passed_on: Hosts) -> None:
        says = (
            "tank/b/x on beta only passes on what it receives under the tag zrep",
            "it is the replica of alpha:tank/a, with all of tank/b",
            "on beta: zrep -t zrep takeover tank/b",
        )
        refused(passed_on.run("beta", pairs.failing_over(f"{B}/x"), tag=OFFSITE), *says)
        refused(passed_on.run("gamma", pairs.taking_over(G), tag=OFFSITE), *says)
        good(passed_on.run("beta", pairs.taking_over(B)))
        good(passed_on.run("beta", pairs.failing_over(f"{B}/x"), tag=OFFSITE))

    def test_a_tree_with_a_member_that_follows_another_master_is_not_promoted(self, passed_on: Hosts) -> None:
        good(passed_on.run("beta", pairs.taking_over(B)))
        good(passed_on.run("beta", pairs.failing_over(f"{B}/x"), tag=OFFSITE))
        refused(passed_on.run("beta", pairs.failing_over(B)), "tank/b/x on beta only passes on what it receives")

    def test_it_is_passed_on_read_only_and_nobody_advises_otherwise(self, passed_on: Hosts) -> None:
        [row] = passed_on.run("beta", lambda session: listing(session, False), tag=OFFSITE).rows
        assert row.role == "relay"
        assert not any("readonly=off" in line for line in passed_on.said)
        assert "what it receives under the tag zrep is passed on" in " ".join(passed_on.said)

    def test_what_is_left_out_of_the_tree_is_none_of_it(self, tree: Hosts) -> None:
        tree["beta"].sh(f"zfs create -o readonly=off {B}/own")
        tree["beta"].sh(f"zfs set zrep:exclude=on {B}/own")
        good(tree.run("beta", pairs.initialising(Request(f"{B}/own", "gamma", G)), tag=OFFSITE))
        good(tree.run("beta", pairs.failing_over(f"{B}/own"), tag=OFFSITE))


class TestReadOnlySource:
    def test_one_that_is_stopped_under_another_tag_stays_so(self, both: Hosts) -> None:
        good(both.run("beta", pairs.forcing(B)))
        both.run("alpha", SYNC_ALL)
        both.said.clear()
        good(both.run("alpha", pairs.initialising(Request(A, "gamma", "tank/h")), tag="third"))
        [said] = [line for line in both.said if "read-only" in line]
        assert "it stays read-only here, as long as it is not known to be the master under the tag zrep" in said
        assert "readonly=off" not in said

    def test_any_other_may_be_made_writable(self, three: Hosts) -> None:
        three["alpha"].sh(f"zfs create -o readonly=on {A}")
        good(three.run("alpha", pairs.INIT))
        assert f"{A}: it is read-only here; next: where it is to take writes: zfs set readonly=off {A}" in three.said


class TestRejoin:
    """An old master that wrote alone, and is the source of gamma's replica too."""

    @pytest.fixture
    def tail(self, both: Hosts) -> Hosts:
        pairs.written(both)
        good(both.run("alpha", SYNC_ALL))
        pairs.written(both, key="tail")
        both.wire.cut = True
        good(both.run("beta", pairs.forcing(B)))
        both.wire.cut = False
        return both

    def goes_on(self, hosts: Hosts) -> None:
        """alpha passes on what beta writes."""
        hosts["beta"].write(B, "new", b"n")
        good(hosts.run("beta", SYNC_ALL))
        hosts.wire.reset()
        good(hosts.run("alpha", SYNC_ALL, tag=OFFSITE))
        assert [str(command) for command in hosts.wire.log if command.stream and "-i" not in command.argv] == []
        found = [data(hosts, host, name) for host, name in SIDES]
        assert found[0] == found[1] == found[2]

    def test_gamma_goes_on_without_a_resend(self, tail: Hosts) -> None:
        before = {key for key in properties(tail, "alpha", A) if key.startswith(f"{OFFSITE}:")}
        good(tail.run("alpha", pairs.rejoining(A)))
        assert {key for key in properties(tail, "alpha", A) if key.startswith(f"{OFFSITE}:")} == before
        [copy] = [name for name in tail["alpha"].names() if "_split_" in name]
        assert [key for key in properties(tail, "alpha", copy) if key.startswith(f"{OFFSITE}:")] == []
        assert "tail1" in data(tail, "alpha", copy)
        self.goes_on(tail)

    def test_what_gamma_has_of_it_is_refused(self, tail: Hosts) -> None:
        good(tail.run("alpha", SYNC_ALL, tag=OFFSITE))
        assert "tail1" in data(tail, "gamma", G)
        before = tail.world.view()
        for force in (False, True):
            ended = tail.run("alpha", pairs.rejoining(A), force=force)
            refused(ended, "has been sent on under the tag offsite", f"zrep -t offsite clear {A}")
        assert tail.world.view() == before

    @pytest.mark.parametrize("mode", [Mode.KILL_AFTER, *thorough(Mode.KILL_BEFORE, Mode.FAIL, Mode.PART)], ids=name_of)
    def test_cut_anywhere_it_is_finished(self, tail: Hosts, mode: Mode) -> None:
        dumped = tail.world.dump()
        tail.wire.reset()
        good(tail.run("alpha", pairs.rejoining(A)))
        found = [at for at, command in enumerate(tail.wire.log) if applies(mode, command)]
        for at in found:
            tail.load(dumped)
            tail.wire.reset(mode, at)
            tail.run("alpha", pairs.rejoining(A))
            tail.wire.heal()
            if find(tail, "alpha", A) is None or value(tail, "alpha", A, "zrep:master") == "no":
                tail.run("alpha", SYNC_ALL, tag=OFFSITE)
            good(tail.run("alpha", pairs.rejoining(A)))
            self.goes_on(tail)
