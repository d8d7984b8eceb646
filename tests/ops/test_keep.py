"""How long snapshots live: each side by its own rules, through every command that lets go of some."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Hosts
from tests.ops.pairs import MINUTE, SYNC_ALL, A, B, good
from zrep.cli.run import run
from zrep.ops.changeconfig import Config
from zrep.ops.sync import sync

HOUR, DAY = 3600, 86400


def synced(hosts: Hosts, times: int, seconds: int, name: str = A) -> None:
    """So many writes, each of them replicated, so far apart."""
    for number in range(times):
        hosts.world.pass_time(seconds - MINUTE)
        hosts["alpha"].write(name, f"s{number}", b"x")
        good(hosts.run("alpha", SYNC_ALL))


def kept(hosts: Hosts, host: str, name: str, *config: Config) -> None:
    for each in config:
        good(hosts.run(host, pairs.changing(name, each)))


def snapshots(hosts: Hosts, host: str, name: str) -> list[str]:
    return [full.partition("@")[2] for full in trees.lines(hosts, host, f"zfs list -H -o name -t snapshot {name}")]


def own(hosts: Hosts, host: str, name: str) -> list[int]:
    return [int(short[5:], 16) for short in snapshots(hosts, host, name) if short.startswith("zrep_")]


@pytest.mark.thorough
def test_each_side_keeps_by_rules_of_its_own(hosts: Hosts) -> None:
    """Four a day for a week: the master keeps the newest two, the replica the first of each day too."""
    pairs.linked(hosts)
    kept(hosts, "alpha", A, Config(savecount=2))
    kept(hosts, "beta", B, Config(savecount=1, keep="d"))
    synced(hosts, 28, DAY // 4)
    assert own(hosts, "alpha", A) == [28, 29]
    days = own(hosts, "beta", B)
    assert (len(days), days[-1]) == (9, 29)
    assert {later - earlier for earlier, later in itertools.pairwise(days[1:-1])} == {4}
    assert {"weekly"} <= set(snapshots(hosts, "beta", B))


def test_the_rules_stay_with_the_side_when_the_role_moves(hosts: Hosts) -> None:
    pairs.linked(hosts)
    kept(hosts, "beta", B, Config(savecount=1, keep="48h"))
    synced(hosts, 12, HOUR)
    good(hosts.run("alpha", pairs.failing_over(A)))
    for number in range(3):
        hosts["beta"].write(B, f"n{number}", b"y")
        good(hosts.run("beta", SYNC_ALL))
    assert len(own(hosts, "beta", B)) > 12
    assert len(own(hosts, "alpha", A)) == 5


@pytest.mark.parametrize("config", [Config(keep="2d 7y"), Config(keep_foreign="auto_*"), Config(unsent="drop")])
def test_the_rules_survive_a_rejoin(hosts: Hosts, config: Config) -> None:
    pairs.linked(hosts)
    kept(hosts, "alpha", A, config)
    pairs.written(hosts, key="tail")
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing(B)))
    hosts.wire.cut = False
    hosts.run("alpha", SYNC_ALL)
    good(hosts.run("alpha", pairs.rejoining(A)))
    values = [pairs.value(hosts, "alpha", A, f"zrep:{key}") for key in ("keep", "foreign", "unsent")]
    assert [config.keep, config.keep_foreign, config.unsent] == [v.replace("-", "", v == "-") for v in values]


def test_what_ends_a_rule(hosts: Hosts) -> None:
    pairs.linked(hosts)
    kept(hosts, "alpha", A, Config(keep="48h", keep_foreign="a*"), Config(keep="none", keep_foreign="none"))
    synced(hosts, 8, HOUR)
    assert len(own(hosts, "alpha", A)) == 5


@pytest.mark.parametrize(
    "config", [Config(keep="5"), Config(keep="5h 6h"), Config(keep_foreign="a/b"), Config(unsent="none")]
)
def test_what_makes_no_sense_is_a_usage_error(hosts: Hosts, config: Config) -> None:
    pairs.linked(hosts)
    before = hosts.world.view()
    assert hosts.run("alpha", pairs.changing(A, config)).code == 2
    assert hosts.world.view() == before


@pytest.mark.parametrize("prop", ["keep=5x", "foreign=a/b", "unsent=perhaps"])
def test_a_rule_that_zrep_never_wrote_is_refused(hosts: Hosts, prop: str) -> None:
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs set zrep:{prop} {A}")
    ended = hosts.run("alpha", SYNC_ALL)
    assert (ended.code, prop.partition("=")[2] in ended.text) == (3, True)


# --- what goes, shown first ---


def test_a_dry_run_says_of_each_by_what_it_stays(hosts: Hosts) -> None:
    pairs.linked(hosts)
    kept(hosts, "beta", B, Config(savecount=20))
    synced(hosts, 4, DAY)
    kept(hosts, "beta", B, Config(savecount=1, keep="2d"))
    hosts["beta"].sh(f"zfs hold mine {B}@zrep_000002")
    ended = hosts.run("alpha", pairs.expiring(A), dry_run=True)
    [outcome] = ended.outcomes
    assert [line.partition(": ")[2] for line in outcome.notes if line.startswith("beta")] == [
        f"{B}@zrep_000001 goes",
        f"{B}@zrep_000002 stays: held by mine",
        f"{B}@zrep_000003 goes",
        f"{B}@zrep_000004 stays: the first of its day (2d)",
        f"{B}@zrep_000005 stays: the base",
    ]
    good(hosts.run("alpha", pairs.expiring(A)))
    assert own(hosts, "beta", B) == [2, 4, 5]
    assert len(own(hosts, "alpha", A)) == 5


# --- too many at once ---


def many(hosts: Hosts) -> None:
    """Fifteen snapshots a side, and rules that have become narrow."""
    pairs.linked(hosts)
    for host, name in (("alpha", A), ("beta", B)):
        kept(hosts, host, name, Config(savecount=100))
    synced(hosts, 14, HOUR)
    kept(hosts, "beta", B, Config(savecount=2))
    synced(hosts, 1, HOUR)


def test_sync_destroys_none_of_too_many_and_says_so_once(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    many(hosts)
    assert len(own(hosts, "beta", B)) == 16
    said = []
    for number in range(3):
        hosts["alpha"].write(A, f"m{number}", b"m")
        with hosts.session("alpha") as session:
            assert run(session, lambda session=session: sync(session, []), only_changes=True) == 0  # type: ignore[misc]
        said.append(capsys.readouterr().err)
    assert [len(text.splitlines()) for text in said] == [1, 0, 0]
    assert f"zrep: {A}: more than a quarter of its snapshots on beta would be destroyed at once: none is (" in said[0]
    assert f"next: see which, and why: zrep expire -n {A}; if that is right: zrep expire --yes {A}" in said[0]
    assert len(own(hosts, "beta", B)) == 19


def test_expire_refuses_too_many_until_somebody_agrees(hosts: Hosts) -> None:
    many(hosts)
    refused = hosts.run("alpha", pairs.expiring(A))
    assert (refused.code, "14 of the 17 snapshots of tank/b" in refused.text) == (3, True)
    assert len(own(hosts, "beta", B)) == 16
    good(hosts.run("alpha", pairs.expiring(A, agreed=True)))
    assert own(hosts, "beta", B) == [15, 16]
    good(hosts.run("alpha", pairs.expiring(A)))


def test_on_its_own_side_the_command_is_another(hosts: Hosts) -> None:
    many(hosts)
    refused = hosts.run("beta", pairs.expiring(B, here_only=True))
    assert (refused.code, f"zrep expire -L --yes {B}" in refused.text) == (3, True)
    good(hosts.run("beta", pairs.expiring(B, here_only=True, agreed=True)))
    assert own(hosts, "beta", B) == [15, 16]


@pytest.mark.thorough
def test_a_tree_says_it_once(hosts: Hosts) -> None:
    trees.grown(hosts)
    kept(hosts, "beta", B, Config(savecount=100))
    for number in range(13):
        for name in (A, f"{A}/x"):
            hosts["alpha"].write(name, f"n{number}", b"n")
        good(hosts.run("alpha", SYNC_ALL))
    kept(hosts, "beta", B, Config(savecount=1))
    hosts["alpha"].write(A, "last", b"n")
    ended = good(hosts.run("alpha", SYNC_ALL))
    assert [(outcome.filesystem, outcome.harmless) for outcome in ended.outcomes if outcome.error] == [(A, True)]
    assert hosts.run("alpha", pairs.expiring(A)).code == 3
    good(hosts.run("alpha", pairs.expiring(A, agreed=True)))
    assert len(own(hosts, "beta", f"{B}/x")) == 1


# --- clocks ---


def test_a_clock_that_was_ahead_is_told_of(hosts: Hosts) -> None:
    """Two runs of a year to come: what they dated stays, and is named; the others go by their dates as ever."""
    pairs.linked(hosts)
    kept(hosts, "alpha", A, Config(savecount=1, keep="2d"))
    synced(hosts, 3, DAY)
    now = hosts.world.state.now
    assert now is not None
    synced(hosts, 2, 400 * DAY)
    hosts.world.set_time(now)
    synced(hosts, 4, DAY)
    ended = good(hosts.run("alpha", SYNC_ALL))
    assert "snapshots on alpha are dated in the future, and stay: a clock is wrong, or was" in ended.text
    assert own(hosts, "alpha", A)[-4:] == [5, 6, 9, 10]
    refused = hosts.run("alpha", pairs.expiring(A))
    assert (refused.code, "@zrep_000006 and 1 more, by 79" in refused.text) == (3, True)


# --- those of others ---


def test_snapshots_of_others_go_only_when_asked(hosts: Hosts) -> None:
    pairs.linked(hosts)
    for number in range(4):
        hosts.world.pass_time(DAY)
        hosts["alpha"].sh(f"zfs snapshot {A}@auto_{number}")
    kept(hosts, "alpha", A, Config(savecount=1, keep="2d"))
    synced(hosts, 1, DAY)
    assert "auto_0" in snapshots(hosts, "alpha", A)
    kept(hosts, "alpha", A, Config(keep_foreign="auto_*"))
    synced(hosts, 1, DAY)
    assert [name for name in snapshots(hosts, "alpha", A) if "zrep" not in name] == ["daily", "auto_2", "auto_3"]


@pytest.mark.parametrize(("unsent", "left"), [("keep", 6), ("drop", 1)])
def test_what_is_not_replicated_stays_unless_space_must_win(hosts: Hosts, unsent: str, left: int) -> None:
    """Snapshots of others since the last sync; the peer is down, so that expire works alone."""
    pairs.linked(hosts)
    kept(hosts, "alpha", A, Config(savecount=1, keep="1d", keep_foreign="auto_*", unsent=unsent))
    for number in range(6):
        hosts.world.pass_time(DAY)
        hosts["alpha"].sh(f"zfs snapshot {A}@auto_{number}")
    hosts.wire.cut = True
    good(hosts.run("alpha", pairs.expiring(A, here_only=True)))
    assert sum(name.startswith("auto") for name in snapshots(hosts, "alpha", A)) == left


# --- what it costs ---


def _commands(hosts: Hosts) -> list[Sequence[str]]:
    return [command.argv[:2] for command in hosts.wire.log]


def test_a_schedule_adds_no_command(hosts: Hosts) -> None:
    """Of a run that lets go of one snapshot by number, and of one that does by a schedule."""
    pairs.linked(hosts)
    kept(hosts, "alpha", A, Config(savecount=1))
    synced(hosts, 2, DAY)
    hosts.wire.reset()
    synced(hosts, 1, DAY)
    plain = _commands(hosts)
    kept(hosts, "alpha", A, Config(keep="1d", keep_foreign="auto_*"))
    hosts.wire.reset()
    synced(hosts, 1, DAY)
    assert _commands(hosts) == plain
    assert ("zfs", "destroy") in plain
