"""Who is who: an image of a pool that is imported on another host, a host that has the other one's name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.model import World
from tests.ops import pairs
from tests.ops.hosts import Ended, Hosts
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from zrep.ops.changeconfig import Config
from zrep.ops.pairs import open_pair
from zrep.ops.status import status

MOVED = pairs.changing(A, Config(moved=True))


@pytest.fixture
def three(tmp_path: Path) -> Hosts:
    hosts = Hosts(tmp_path, World(hosts=("alpha", "beta", "gamma")))
    pairs.linked(hosts)
    return hosts


@pytest.fixture
def restored(three: Hosts) -> Hosts:
    """Gamma has imported an image of alpha's pool; alpha lives."""
    known = three.world.state.hosts
    image = copy.deepcopy(known["alpha"])
    image.name = "gamma"
    known["gamma"] = image
    return three


def refused(ended: Ended, *says: str) -> None:
    assert ended.code == 3, ended.text
    for words in says:
        assert words in ended.text


def test_either_half_remembers_its_own_place_and_the_others(three: Hosts) -> None:
    own, peer = value(three, "alpha", A, "zrep:places").split()
    assert value(three, "beta", B, "zrep:places") == f"{peer} {own}"
    assert own != peer


@pytest.mark.parametrize(
    "work",
    [SYNC_ALL, pairs.syncing(A), pairs.failing_over(A), pairs.rejoining(A), pairs.clearing(A), pairs.expiring(A)],
    ids=["sync all", "sync", "failover", "rejoin", "clear", "expire"],
)
def test_a_copy_changes_nothing(restored: Hosts, work: Callable[..., object]) -> None:
    pairs.written(restored, "gamma")
    before = restored.world.dump()
    ended = restored.run("gamma", work)  # type: ignore[arg-type]  # each of them is a Work
    refused(ended, "its pool was moved, or this is a copy", "zrep changeconfig --moved tank/a", "zrep clear -L tank/a")
    assert restored["beta"].sh(f"zfs list -H -t snapshot -o name {B}").count(b"zrep_") == 1
    assert value(restored, "gamma", A, "readonly") == "off"
    restored.world.load(before)
    good(restored.run("alpha", SYNC_ALL))


def test_a_copy_of_the_replica_is_not_promoted(three: Hosts) -> None:
    known = three.world.state.hosts
    known["gamma"] = copy.deepcopy(known["beta"])
    known["gamma"].name = "gamma"
    three.wire.cut = True
    refused(three.run("gamma", pairs.forcing(B)), "its pool was moved, or this is a copy")
    good(three.run("gamma", pairs.clearing(B, here_only=True)))


def test_status_says_so(restored: Hosts) -> None:
    [row] = restored.run("gamma", lambda session: status(session, [])).rows
    assert (row.state, row.code) == ("wrong place", 3)


def test_a_pool_that_was_moved_for_good_goes_on_and_the_old_host_is_refused(restored: Hosts) -> None:
    good(restored.run("gamma", pairs.changing(A, Config(moved=True, own_host="gamma"))))
    pairs.written(restored, "gamma")
    good(restored.run("gamma", SYNC_ALL))
    assert value(restored, "beta", B, "zrep:src-host") == "gamma"
    good(restored.run("beta", pairs.taking_over(B)))
    refused(restored.run("alpha", SYNC_ALL), "tank/b on beta knows tank/a in another place than this one")
    good(restored.run("beta", pairs.failing_over(B)))


def test_the_move_is_told_once_the_peer_answers(restored: Hosts) -> None:
    restored.wire.cut = True
    ended = restored.run("gamma", MOVED)
    assert (ended.code, "beta was not told that tank/a was moved" in ended.text) == (5, True)
    restored.wire.cut = False
    refused(restored.run("gamma", SYNC_ALL), "zrep changeconfig --moved tank/a")
    good(restored.run("gamma", MOVED))
    good(restored.run("gamma", SYNC_ALL))


def test_a_host_that_is_called_like_its_peer_does_not_talk_to_itself(three: Hosts) -> None:
    """ZREP_HOST=beta on alpha: a filesystem of the peer's name is here too."""
    three["alpha"].sh(f"zfs create {B}")
    with three.session("alpha") as session:
        session.local.name = "beta"
        with pytest.raises(Exception, match="another host or pool") as raised:
            open_pair(session, A)
    assert "ZREP_HOST" in str(getattr(raised.value, "advice", ""))
    assert value(three, "alpha", A, "readonly") == "off"


def test_a_pair_that_was_made_before_remembers_from_its_first_run_on(three: Hosts) -> None:
    for host, name in (("alpha", A), ("beta", B)):
        three[host].sh(f"zfs inherit zrep:places {name}")
    good(three.run("alpha", SYNC_ALL))
    test_either_half_remembers_its_own_place_and_the_others(three)


def test_what_a_kernel_does_not_tell_is_no_difference(three: Hosts) -> None:
    """And is remembered once it does."""
    own, peer = value(three, "alpha", A, "zrep:places").split()
    three["alpha"].run(["zfs", "set", f"zrep:places=-/{own.partition('/')[2]} -/-", A])
    good(three.run("alpha", SYNC_ALL))
    assert value(three, "alpha", A, "zrep:places").split() == [own, peer]


def test_a_pool_with_another_guid_is_another_pool(three: Hosts) -> None:
    three.world.state.hosts["beta"].pools["tank"].guid += 1
    refused(three.run("alpha", SYNC_ALL), "the pool was", "on beta: if it was moved for good")
    good(three.run("beta", pairs.changing(B, Config(moved=True))))
    good(three.run("alpha", SYNC_ALL))
