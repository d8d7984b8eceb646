"""One pair in the tree of another: its replica in what that one receives, or in what that one sends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model import World
from tests.ops import pairs, trees
from tests.ops.hosts import Hosts, Mode, Work
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from tests.ops.test_tags import refused
from zrep.ops.changeconfig import Config
from zrep.ops.init_way import Request
from zrep.ops.status import status

G = "tank/g"  # gamma's, which goes to beta or alpha too
OTHER = "other"
TAGS = pytest.mark.parametrize("tag", ["zrep", OTHER])
EXCLUDING = "zfs create -u -o canmount=off -o zrep:exclude=on tank/b/others"


@pytest.fixture
def three(tmp_path: Path) -> Hosts:
    """alpha's tank/a goes to beta as a tree, and gamma has something too."""
    hosts = Hosts(tmp_path, World(hosts=("alpha", "beta", "gamma")))
    trees.grown(hosts)
    hosts["gamma"].sh(f"zfs create {G}")
    hosts["gamma"].write(G, "g", b"1")
    return hosts


def to(target: str, host: str = "beta", adopt: bool = False) -> Work:
    return pairs.initialising(Request(G, host, target, adopt=adopt))


def received_inside(hosts: Hosts, target: str, tag: str) -> None:
    """As init has made one before it refused to: now by another tool, and adopted while that was left out."""
    hosts["beta"].sh("zfs create -u -o canmount=off -o zrep:exclude=on tank/kept")
    good(hosts.run("gamma", to("tank/kept/g"), tag=tag))
    hosts["beta"].sh(f"zfs rename tank/kept/g {target}")
    good(hosts.run("beta", pairs.changing(target, Config()), tag=tag))
    good(hosts.run("gamma", pairs.changing(G, Config("beta", target)), tag=tag))


class TestInTheReplica:
    @TAGS
    @pytest.mark.parametrize("target", [f"{B}/g", f"{B}/x/g", f"{B}/new/g"])
    def test_no_target_is_in_what_another_pair_receives(self, three: Hosts, tag: str, target: str) -> None:
        """Until it was linked the tree took it for its own: half received it kept that from being mounted after a role
        change, whole it was set aside; renamed with what it lay in, and under another tag in the way of every
        promotion."""
        before = three.world.view()
        ended = three.run("gamma", to(target), tag=tag)
        says = (
            f"tank/g: {target} on beta would be renamed and promoted with the tree tank/b",
            "tank/b there is the replica of alpha:tank/a under the tag 'zrep'",
            f"choose a target that is not below it, as tank/g; or one below what is left out of that tree, made so "
            f"on beta: {EXCLUDING}",
        )
        refused(ended, *says)
        assert three.world.view() == before
        good(three.run("gamma", to("tank/g"), tag=tag))

    def test_there_is_nothing_beside_a_pools_root(self, three: Hosts) -> None:
        three["alpha"].add_pool("small")
        good(three.run("alpha", pairs.initialising(Request("small", "beta", "tank/s", recursive=True))))
        good(three.run("alpha", pairs.failing_over("small")))
        place = "zfs create -u -o canmount=off -o zrep:exclude=on small/others"
        says = f"choose a target below what is left out of that tree, made so on alpha: {place}"
        refused(three.run("gamma", to("small/g", "alpha")), says)

    @TAGS
    def test_what_is_left_out_there_is_a_place_for_one(self, three: Hosts, tag: str) -> None:
        three["beta"].sh(EXCLUDING)
        name = f"{B}/others/g"
        good(three.run("gamma", to(name), tag=tag))
        for host, work in (("alpha", pairs.failing_over(A)), ("alpha", pairs.taking_over(A))):
            good(three.run(host, work))
            three["gamma"].write(G, host, b"2")
            good(three.run("gamma", SYNC_ALL, tag=tag))
            assert value(three, "beta", name, "readonly") == "on"
        good(three.run("beta", pairs.forcing(B)))
        good(three.run("alpha", pairs.rejoining(A)))
        good(three.run("beta", SYNC_ALL))
        three["beta"].write(f"{B}/x", "tail", b"1")
        good(three.run("alpha", pairs.forcing(A)))
        good(three.run("beta", pairs.rejoining(B)))
        three["gamma"].write(G, "more", b"2")
        good(three.run("gamma", SYNC_ALL, tag=tag))
        good(three.run("alpha", SYNC_ALL))

    @TAGS
    def test_one_whose_init_was_cut_is_left_out_first(self, three: Hosts, tag: str) -> None:
        """Begun before the tree was there."""
        good(three.run("alpha", pairs.changing(A, Config(recursive=False))))
        pairs.hit(three, "gamma", to(f"{B}/g"), Mode.TORN, "zfs", "send", tag=tag)
        good(three.run("alpha", pairs.changing(A, Config(recursive=True))))
        refused(
            three.run("gamma", to(f"{B}/g"), tag=tag),
            "tank/b/g on beta would be renamed and promoted with the tree tank/b",
            "to leave it out of that tree, on beta: zfs set zrep:exclude=on tank/b/g, and then this",
        )
        three["beta"].sh("zfs set zrep:exclude=on tank/b/g")
        good(three.run("gamma", to(f"{B}/g"), tag=tag))

    @pytest.mark.parametrize("target", [f"{B}/g", f"{B}/x/g"])
    def test_one_of_the_same_tag_that_is_there_is_no_part_of_the_tree(self, three: Hosts, target: str) -> None:
        received_inside(three, target, "zrep")
        good(three.run("alpha", pairs.failing_over(A)))
        three["gamma"].write(G, "later", b"2")
        good(three.run("gamma", SYNC_ALL))
        assert value(three, "beta", target, "readonly") == "on"
        good(three.run("beta", SYNC_ALL))
        good(three.run("alpha", pairs.taking_over(A)))
        good(three.run("beta", pairs.forcing(B)))
        assert value(three, "beta", target, "readonly") == "on"
        good(three.run("gamma", SYNC_ALL))
        assert value(three, "beta", target, "zrep:gone") == "-"

    def test_one_of_another_tag_that_is_there_is_left_out_before_a_promotion(self, three: Hosts) -> None:
        """It was said to end one of the two pairs, by a command that named what is none."""
        name = f"{B}/g"
        received_inside(three, name, OTHER)
        leave = f"to leave it out of the tree, on beta: zfs set zrep:exclude=on {name}, and then this again"
        for host, work in (("alpha", pairs.failing_over(A)), ("beta", pairs.forcing(B))):
            refused(three.run(host, work), f"{name} on beta is a replica under the tag other too", leave)
        three["beta"].sh(f"zfs set zrep:exclude=on {name}")
        good(three.run("beta", pairs.forcing(B)))
        assert value(three, "beta", name, "readonly") == "on"
        three["gamma"].write(G, "later", b"2")
        good(three.run("gamma", SYNC_ALL, tag=OTHER))

    def test_no_pair_becomes_a_tree_around_one_of_another_tag(self, three: Hosts) -> None:
        name = f"{B}/g"
        good(three.run("alpha", pairs.changing(A, Config(recursive=False))))
        good(three.run("gamma", to(name), tag=OTHER))
        ended = three.run("alpha", pairs.changing(A, Config(recursive=True)))
        refused(
            ended,
            f"{name} on beta, below {B}, is a replica under the tag other",
            "there it follows gamma:tank/g",
            f"on beta: zfs set zrep:exclude=on {name}",
        )
        assert value(three, "alpha", A, "zrep:recursive") == "off"
        three["beta"].sh(f"zfs set zrep:exclude=on {name}")
        good(three.run("alpha", pairs.changing(A, Config(recursive=True))))

    def test_none_is_adopted_around_one_of_another_tag(self, three: Hosts) -> None:
        name = f"{B}/g"
        good(three.run("alpha", pairs.clearing(A)))
        three["alpha"].sh(f"zfs snapshot -r {A}@s")
        three["beta"].sh(f"zfs destroy -r {B}")
        good(three.run("alpha", trees.INIT))
        good(three.run("alpha", pairs.changing(A, Config(recursive=False))))
        good(three.run("gamma", to(name), tag=OTHER))
        for host, root in trees.ROOT.items():
            for prop in ("src-host", "src-fs", "dest-host", "dest-fs", "master", "gen"):
                three[host].sh(f"zfs inherit zrep:{prop} {root}")
        before = three.world.view()
        ended = three.run("alpha", pairs.initialising(Request(A, "beta", B, recursive=True, adopt=True)))
        refused(ended, f"{name} on beta, below {B}, is a replica under the tag other")
        assert three.world.view() == before

    @TAGS
    def test_no_member_is_adopted_as_the_replica_of_another_pair(self, three: Hosts, tag: str) -> None:
        before = three.world.view()
        ended = three.run("alpha", pairs.initialising(Request(f"{A}/x", "beta", f"{B}/x", adopt=True)), tag=tag)
        refused(ended, f"{B}/x on beta would be renamed and promoted with the tree {B}")
        assert three.world.view() == before

    def test_no_replica_is_adopted_under_another_tag(self, three: Hosts) -> None:
        """Neither pair could have been promoted."""
        before = three.world.view()
        ended = three.run("alpha", pairs.initialising(Request(A, "beta", B, adopt=True)), tag=OTHER)
        refused(ended, f"{B} on beta is a replica already, and can follow only one master", "under the tag 'zrep'")
        assert three.world.view() == before


class TestInTheMaster:
    """A backup host that sends all that it receives on."""

    def half(self, hosts: Hosts, tag: str) -> None:
        pairs.hit(hosts, "gamma", to(f"{A}/g", "alpha"), Mode.TORN, "zfs", "send", tag=tag)
        assert hosts["alpha"].dataset(f"{A}/g")

    @TAGS
    def test_what_is_still_arriving_stops_only_itself(self, three: Hosts, tag: str) -> None:
        """No snapshot is made of it, and one for all of the tree failed as long as it lasted."""
        self.half(three, tag)
        three["alpha"].write(A, "more", b"1")
        ended = three.run("alpha", SYNC_ALL)
        says = f"{A}/g: it is still being received itself"
        assert (ended.code, says in ended.text, "dataset is busy" in ended.text) == (1, True, False), ended.text
        assert "more" in three["beta"].read(B)
        assert three.run("alpha", pairs.failing_over(A)).code == 1
        assert value(three, "alpha", A, "readonly") == "off"
        good(three.run("gamma", to(f"{A}/g", "alpha"), tag=tag))
        good(three.run("alpha", SYNC_ALL))

    def test_what_arrives_under_another_tag_is_passed_on(self, three: Hosts) -> None:
        good(three.run("gamma", to(f"{A}/g", "alpha"), tag=OTHER))
        for number in range(2):
            three["gamma"].write(G, f"n{number}", b"2")
            good(three.run("gamma", SYNC_ALL, tag=OTHER))
            good(three.run("alpha", SYNC_ALL))
            assert f"n{number}" in three["beta"].read(f"{B}/g@{trees.snapshots(three, 'beta', f'{B}/g')[-1]}")

    def test_a_stream_of_somebodys_that_is_half_received_keeps_no_new_master_from_being_mounted(
        self, three: Hosts
    ) -> None:
        good(three.run("alpha", pairs.changing(A, Config(recursive=False))))
        pairs.hit(three, "gamma", to(f"{B}/g"), Mode.TORN, "zfs", "send")
        good(three.run("alpha", pairs.changing(A, Config(recursive=True))))
        good(three.run("alpha", pairs.failing_over(A)))
        rows = three.run("beta", lambda session: status(session, [B])).rows
        assert [row.state for row in rows] != ["not mounted"]
        assert value(three, "beta", B, "mounted") == "yes"
