"""A relay passes on what it receives, and makes no snapshots: alpha to beta under zrep, beta to gamma under onward."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.model import World
from tests.ops import pairs
from tests.ops.hosts import Hosts, Mode, name_of
from tests.ops.judge import Sides, base, find, held
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from tests.ops.plugin import thorough
from zrep.ops.changeconfig import Config
from zrep.ops.init_way import Request

C = "tank/c"
ONWARD = "onward"
ALPHA_BETA: Sides = (("alpha", A), ("beta", B))
BETA_GAMMA: Sides = (("beta", B), ("gamma", C))
INIT_C = pairs.initialising(Request(B, "gamma", C))


@pytest.fixture
def chain(tmp_path: Path) -> Hosts:
    hosts = Hosts(tmp_path, World(hosts=("alpha", "beta", "gamma")))
    pairs.source(hosts)
    good(hosts.run("alpha", pairs.INIT))
    good(hosts.run("beta", INIT_C, tag=ONWARD))
    return hosts


def passed_on(hosts: Hosts, key: str) -> None:
    pairs.written(hosts, key=key)
    good(hosts.run("alpha", SYNC_ALL))
    good(hosts.run("beta", SYNC_ALL, tag=ONWARD))


def data(hosts: Hosts, host: str, name: str) -> dict[str, bytes]:
    found = find(hosts, host, name)
    assert found is not None
    return dict(found.data)


def names(hosts: Hosts, host: str, name: str) -> list[str]:
    found = find(hosts, host, name)
    assert found is not None
    return [snapshot.name for snapshot in found.snapshots]


def full_streams(hosts: Hosts) -> list[str]:
    return [str(command) for command in hosts.wire.log if command.stream and "-i" not in command.argv]


def test_it_makes_no_snapshot_of_its_own(chain: Hosts) -> None:
    for number in range(3):
        passed_on(chain, f"n{number}")
    assert not [name for name in names(chain, "beta", B) if name.startswith("onward_")]
    assert names(chain, "gamma", C)[-1] == names(chain, "alpha", A)[-1]
    assert data(chain, "gamma", C) == data(chain, "alpha", A)


def test_the_end_of_its_own_pair_leaves_it_what_it_has_passed_on(chain: Hosts) -> None:
    """The base of the pair that goes on is a snapshot that the other one has made, and is held for that."""
    passed_on(chain, "last")
    last = names(chain, "beta", B)[-1]
    good(chain.run("beta", pairs.clearing(B)))
    assert last in names(chain, "beta", B)
    assert last not in names(chain, "alpha", A)
    chain["beta"].sh(f"zfs inherit readonly {B}")
    chain["beta"].sh(f"zfs mount {B}")
    chain["beta"].write(B, "own", b"1")
    chain.wire.reset()
    good(chain.run("beta", SYNC_ALL, tag=ONWARD))
    assert full_streams(chain) == []
    assert data(chain, "gamma", C)["own"] == b"1"


def test_it_is_no_dearer_than_a_push(chain: Hosts) -> None:
    """What costs a transaction group: changes, and reading what was written."""

    def costs(host: str, tag: str) -> dict[str, int]:
        chain.wire.reset()
        good(chain.run(host, SYNC_ALL, tag=tag))
        return Counter(
            f"{words[1]} {'here' if each.host == host else 'there'}"
            for each in chain.wire.log
            for words in [each.argv]
            if not each.stream and words[0] == "zfs" and words[1] in ("hold", "release", "set", "list", "bookmark")
        )

    pairs.written(chain)
    pushed = costs("alpha", "zrep")
    assert costs("beta", ONWARD) == pushed
    assert (pushed["hold here"], pushed["set there"], pushed["list here"]) == (1, 1, 1)


def test_with_nothing_received_there_is_nothing_to_pass_on(chain: Hosts) -> None:
    pairs.written(chain)
    before = chain.world.view()
    good(chain.run("beta", SYNC_ALL, tag=ONWARD))
    assert chain.world.view() == before


def test_what_it_has_passed_on_is_held_on_both_sides_and_expires_there(chain: Hosts) -> None:
    good(chain.run("gamma", pairs.changing(C, Config(savecount=2)), tag=ONWARD))
    for number in range(5):
        passed_on(chain, f"n{number}")
    assert held(chain, "beta", B, ONWARD) == held(chain, "gamma", C, ONWARD) == {base(chain, BETA_GAMMA)}
    assert len(names(chain, "gamma", C)) <= 3  # with the administrator's, which the first stream brought


@pytest.mark.parametrize("new", ["kept-by-hand", "onward_0000001", "daily_20261127"])
def test_what_somebody_has_renamed_is_his_although_a_relay_brought_it(chain: Hosts, new: str) -> None:
    """Simulation, seed 103422295: the mark of a relay stays with a snapshot whatever it is called."""
    good(chain.run("gamma", pairs.changing(C, Config(savecount=2)), tag=ONWARD))
    passed_on(chain, "n0")
    oldest = names(chain, "gamma", C)[0]
    passed_on(chain, "n1")
    chain["gamma"].sh(f"zfs rename {C}@{oldest} {C}@{new}")
    for number in range(2, 6):
        passed_on(chain, f"n{number}")
    assert new in names(chain, "gamma", C)


def test_expire_on_it_never_takes_the_base_of_the_next(chain: Hosts) -> None:
    for host, name in ALPHA_BETA:
        good(chain.run(host, pairs.changing(name, Config(savecount=1))))
    kept = base(chain, BETA_GAMMA)
    for number in range(4):
        pairs.written(chain, key=f"n{number}")
        good(chain.run("alpha", SYNC_ALL))
    good(chain.run("beta", pairs.expiring(B)))
    assert base(chain, BETA_GAMMA) == kept
    chain.wire.reset()
    good(chain.run("beta", SYNC_ALL, tag=ONWARD))
    assert full_streams(chain) == []
    assert data(chain, "gamma", C) == data(chain, "alpha", A)


def test_a_role_change_of_the_first_two_costs_the_third_no_resend(chain: Hosts) -> None:
    passed_on(chain, "before")
    chain.wire.reset()
    good(chain.run("alpha", pairs.failing_over(A)))
    pairs.written(chain, "beta", B, "there")
    good(chain.run("beta", SYNC_ALL))
    good(chain.run("beta", SYNC_ALL, tag=ONWARD))
    assert data(chain, "gamma", C) == data(chain, "beta", B)
    good(chain.run("beta", pairs.failing_over(B)))
    passed_on(chain, "back")
    assert data(chain, "gamma", C) == data(chain, "alpha", A)
    assert full_streams(chain) == []


@pytest.mark.parametrize("mode", [Mode.KILL_AFTER, *thorough(Mode.KILL_BEFORE, Mode.FAIL, Mode.LOST)], ids=name_of)
def test_cut_anywhere_it_goes_on(chain: Hosts, mode: Mode) -> None:
    pairs.written(chain)
    good(chain.run("alpha", SYNC_ALL))
    dumped = chain.world.dump()
    chain.wire.reset()
    good(chain.run("beta", SYNC_ALL, tag=ONWARD))
    for at in range(len(chain.wire.log)):
        chain.load(dumped)
        chain.wire.reset(mode, at)
        chain.run("beta", SYNC_ALL, tag=ONWARD)
        chain.wire.heal()
        good(chain.run("beta", SYNC_ALL, tag=ONWARD))
        assert data(chain, "gamma", C) == data(chain, "alpha", A)
        assert held(chain, "beta", B, ONWARD) == held(chain, "gamma", C, ONWARD) == {base(chain, BETA_GAMMA)}
        assert value(chain, "gamma", f"{C}@{names(chain, 'gamma', C)[-1]}", "onward:made") == "relayed"


def test_an_init_from_a_relay_goes_on_where_it_was(tmp_path: Path) -> None:
    hosts = Hosts(tmp_path, World(hosts=("alpha", "beta", "gamma")))
    pairs.source(hosts)
    good(hosts.run("alpha", pairs.INIT))
    pairs.hit(hosts, "beta", INIT_C, Mode.TORN_CUT, "zfs", "send", tag=ONWARD)
    hosts.wire.heal()
    pairs.written(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    good(hosts.run("beta", INIT_C, tag=ONWARD))
    good(hosts.run("beta", SYNC_ALL, tag=ONWARD))
    assert data(hosts, "gamma", C) == data(hosts, "alpha", A)


def test_what_somebody_made_on_it_is_not_passed_on(chain: Hosts) -> None:
    passed_on(chain, "one")
    chain["beta"].sh(f"zfs snapshot {B}@by-hand")
    good(chain.run("beta", SYNC_ALL, tag=ONWARD))
    assert "by-hand" not in names(chain, "gamma", C)


def test_of_a_tree_every_member_is_passed_on(tmp_path: Path) -> None:
    hosts = Hosts(tmp_path, World(hosts=("alpha", "beta", "gamma")))
    pairs.source(hosts)
    hosts["alpha"].sh(f"zfs create {A}/x")
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B, recursive=True))))
    good(hosts.run("beta", pairs.initialising(Request(B, "gamma", C, recursive=True)), tag=ONWARD))
    for number in range(2):
        pairs.written(hosts, name=f"{A}/x", key=f"n{number}")
        good(hosts.run("alpha", SYNC_ALL))
        good(hosts.run("beta", SYNC_ALL, tag=ONWARD))
    for name in ("", "/x"):
        assert not [each for each in names(hosts, "beta", B + name) if each.startswith("onward_")]
        assert data(hosts, "gamma", C + name) == data(hosts, "alpha", A + name)
    before = hosts.world.view()
    good(hosts.run("beta", SYNC_ALL, tag=ONWARD))
    assert hosts.world.view() == before


def test_it_is_pulled_from_too(chain: Hosts) -> None:
    good(chain.run("beta", pairs.clearing(B), tag=ONWARD))
    good(chain.run("gamma", pairs.initialising(Request(B, "beta", "tank/p", pull=True)), tag=ONWARD))
    pairs.written(chain)
    good(chain.run("alpha", SYNC_ALL))
    good(chain.run("gamma", SYNC_ALL, tag=ONWARD))
    assert data(chain, "gamma", "tank/p") == data(chain, "alpha", A)
    assert not [name for name in names(chain, "beta", B) if name.startswith("onward_")]
