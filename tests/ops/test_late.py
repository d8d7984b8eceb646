"""A replica that is older than --max-lag: what status and list say on either side, whatever is remembered where."""

from __future__ import annotations

import shutil

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Hosts
from tests.ops.pairs import MINUTE, SYNC_ALL, A, B, good, value
from zrep.core.requests import Lock, Unlock
from zrep.ops.changeconfig import Config
from zrep.ops.list import listing
from zrep.ops.rows import Row
from zrep.ops.status import status

BOTH = ("alpha", "beta")
NAMES = {"alpha": A, "beta": B}


def rows(hosts: Hosts) -> list[Row]:
    """What status says of the pair, on alpha and on beta, at the same time."""
    found = []
    for host in BOTH:
        with hosts.session(host) as session:
            found += status(session, [])
    return found


def states(hosts: Hosts) -> list[str]:
    return [row.state for row in rows(hosts)]


def in_list(hosts: Hosts, host: str) -> list[Row]:
    with hosts.session(host) as session:
        return listing(session, False)


def listed(hosts: Hosts, host: str) -> str:
    return in_list(hosts, host)[0].state


@pytest.fixture(params=BOTH)
def side(request: pytest.FixtureRequest, hosts: Hosts) -> str:
    """The side on which it was said that the replica may be five minutes old."""
    where: str = request.param
    pairs.linked(hosts)
    good(hosts.run(where, pairs.changing(NAMES[where], Config(max_lag="5m"))))
    good(hosts.run("alpha", SYNC_ALL))
    return where


def test_it_is_late_when_nobody_syncs_and_ok_after_a_sync(hosts: Hosts, side: str) -> None:
    assert states(hosts) == ["ok", "ok"]
    hosts.world.pass_time(5 * MINUTE)
    assert states(hosts) == ["ok", "ok"]
    hosts.world.pass_time(1)
    assert states(hosts) == ["late", "late"]
    assert [row.cause for row in rows(hosts)] == ["not synced", "not synced"]
    assert listed(hosts, side) == "late"
    good(hosts.run("alpha", SYNC_ALL))
    assert states(hosts) == ["ok", "ok"]


def test_both_sides_say_the_same_of_what_was_written(hosts: Hosts, side: str) -> None:
    hosts.world.pass_time(10 * MINUTE)
    pairs.written(hosts)
    here, there = rows(hosts)
    assert here.behind
    assert (here.detail, here.lag, here.behind) == (there.detail, there.lag, there.behind)
    assert (here.code, here.advice, there.advice) == (1, f"zrep sync {A}", f"on alpha: zrep sync {A}")


@pytest.mark.parametrize("rebooted", BOTH)
def test_a_boot_of_one_host_makes_nothing_late_that_the_other_remembers(hosts: Hosts, side: str, rebooted: str) -> None:
    """Nothing was written for long: the marks on the snapshots are old, and the sync a minute ago is remembered in
    memory alone."""
    hosts.world.pass_time(10 * MINUTE)
    good(hosts.run("alpha", SYNC_ALL))
    shutil.rmtree(hosts.directory / rebooted / "state")
    assert states(hosts) == ["ok", "ok"]


def test_a_pause_is_late_after_the_same_time_and_its_end_ends_it(hosts: Hosts, side: str) -> None:
    good(hosts.run("alpha", pairs.pausing(A, "upgrade")))
    hosts.world.pass_time(5 * MINUTE)
    assert states(hosts) == ["paused", "paused"]
    hosts.world.pass_time(1)
    here, there = rows(hosts)
    assert (here.state, here.advice, there.advice) == ("late", f"zrep unpause {A}", f"on alpha: zrep unpause {A}")
    good(hosts.run("alpha", pairs.unpausing(A)))
    good(hosts.run("alpha", SYNC_ALL))
    assert states(hosts) == ["ok", "ok"]


def test_a_peer_that_cannot_be_reached_is_late_in_time_where_the_limit_is_known(hosts: Hosts, side: str) -> None:
    hosts.wire.cut = True
    assert states(hosts) == ["peer unknown", "peer unknown"]
    hosts.world.pass_time(6 * MINUTE)
    found = dict(zip(BOTH, rows(hosts), strict=True))
    assert (found[side].state, found[side].code) == ("late", 1)
    assert "peer unknown: lost" in found[side].detail
    assert found[side].diagnosis.unasked  # whoever goes on looking has to dial again


@pytest.mark.parametrize("end", ["0", "none"])
def test_it_ends_where_it_was_said(hosts: Hosts, side: str, end: str) -> None:
    good(hosts.run(side, pairs.changing(NAMES[side], Config(max_lag=end))))
    hosts.world.pass_time(100 * MINUTE)
    assert states(hosts) == ["ok", "ok"]


def test_it_outlives_a_role_change_and_a_rejoin_with_a_split_copy(hosts: Hosts) -> None:
    pairs.diverged(hosts)
    good(hosts.run("alpha", pairs.changing(A, Config(max_lag="5m"))))
    good(hosts.run("alpha", pairs.rejoining(A)))
    assert value(hosts, "alpha", A, "zrep:maxlag") == "300"
    good(hosts.run("beta", SYNC_ALL))
    good(hosts.run("beta", pairs.failing_over(B)))
    hosts.world.pass_time(10 * MINUTE)
    with hosts.session("beta") as session:
        assert [row.state for row in status(session, [B])] == ["late"]


@pytest.mark.parametrize("text", ["soon", "5 m", "-1"])
def test_what_is_no_time_is_refused(hosts: Hosts, text: str) -> None:
    pairs.linked(hosts)
    assert hosts.run("alpha", pairs.changing(A, Config(max_lag=text))).code == 2
    assert value(hosts, "alpha", A, "zrep:maxlag") == "-"


def test_a_lock_that_somebody_keeps_is_why_it_is_late_and_does_not_hide_it(hosts: Hosts) -> None:
    """Busy is the lesser state: whoever is told of late must not hear less because a stream hangs."""
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.changing(A, Config(max_lag="15m"))))
    pairs.written(hosts)
    holder = hosts.local("alpha")
    assert holder.ask(Lock((A,), 0.0, "offsite")) == []
    hosts.world.pass_time(12 * MINUTE)
    assert states(hosts) == ["busy", "ok"]
    hosts.world.pass_time(10 * MINUTE)
    here, there = rows(hosts)
    assert (here.state, here.code, there.state) == ("late", 1, "late")
    assert "a zrep of the tag offsite is working on it" in here.detail
    assert "cron" not in here.detail
    assert here.advice.startswith("nothing, if a long stream is under way; who has the lock: ")
    [known] = in_list(hosts, "alpha")
    assert (known.state, known.cause, known.advice) == (here.state, here.cause, here.advice)
    assert (here.cause, there.cause) == ("busy", "not synced")  # only the host that has the lock can see it
    holder.ask(Unlock((A,)))


YEAR = 365 * 86400


class TestAClockThatWasAhead:
    """Once, as one that a host begins with until it has asked for the time: what was noted then says nothing."""

    @pytest.fixture(autouse=True)
    def synced_by_it(self, hosts: Hosts) -> None:
        hosts.world.pass_time(YEAR)
        pairs.linked(hosts)

    def test_keeps_nothing_from_being_late(self, hosts: Hosts) -> None:
        hosts.world.pass_time(-YEAR)
        pairs.written(hosts, key="again")
        good(hosts.run("alpha", SYNC_ALL))
        assert states(hosts) == ["ok", "ok"]
        assert all(row.synced and row.synced <= row.at for row in rows(hosts))
        hosts.world.pass_time(3 * 86400)
        assert states(hosts) == ["late", "late"]
        assert [listed(hosts, host) for host in BOTH] == ["late", "late"]

    def test_is_said_where_it_is_all_that_is_known_and_a_sync_mends_that(self, hosts: Hosts) -> None:
        hosts.world.pass_time(-YEAR)
        here, there = rows(hosts)
        assert (here.state, there.state, here.advice) == ("late", "late", f"zrep sync {A}")
        assert "is not known to have been synced: what says so is dated " in here.detail
        good(hosts.run("alpha", SYNC_ALL))
        for host in BOTH:
            shutil.rmtree(hosts.directory / host / "state")
        assert states(hosts) == ["ok", "ok"]

    def test_makes_no_pause_younger(self, hosts: Hosts) -> None:
        good(hosts.run("alpha", pairs.pausing(A, "upgrade")))
        hosts.world.pass_time(-YEAR)
        here, there = rows(hosts)
        assert (here.state, there.state) == ("late", "late")
        assert "it is paused for a time that is not known" in here.detail


@pytest.mark.parametrize("at_it", [False, True])
def test_what_every_sync_fails_for_is_not_laid_on_cron(hosts: Hosts, at_it: bool) -> None:
    """Also while the next one is at it; and by list, which asks nobody. That a role change failed is no sync."""
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.changing(A, Config(max_lag="5m"))))
    good(hosts.run("alpha", SYNC_ALL))
    hosts["alpha"].sh(f"zfs set zrep:minfree=900T {A}")
    pairs.written(hosts)
    hosts.world.pass_time(10 * MINUTE)
    assert "does cron on alpha run" in rows(hosts)[0].detail
    assert hosts.run("alpha", SYNC_ALL).code == 1
    other = hosts.local("alpha")
    if at_it:
        assert other.ask(Lock((A,), 0)) == []
    here, there = rows(hosts)
    [known] = in_list(hosts, "alpha")
    other.close()
    assert all(row.detail.endswith("written since; its last sync failed 0s ago") for row in (here, there, known))
    assert (here.advice, there.advice, known.advice) == (f"zrep sync {A}", f"on alpha: zrep sync {A}", f"zrep sync {A}")


@pytest.mark.parametrize("alone", [False, True])
def test_a_boot_of_both_makes_no_tree_late_whose_members_are_seldom_written_to(hosts: Hosts, alone: bool) -> None:
    """The marks on the snapshots of those are old: that nothing of the last moment is missing says that of the others.
    Nor where the other host does not come back."""
    trees.grown(hosts)
    for day in range(3):
        hosts.world.pass_time(24 * 60 * MINUTE)
        hosts["alpha"].write(f"{A}/x", f"day {day}", b"1")
        good(hosts.run("alpha", SYNC_ALL))
    for host in BOTH:
        shutil.rmtree(hosts.directory / host / "state")
    hosts.wire.cut = alone
    assert states(hosts) == (["peer unknown"] * 2 if alone else ["ok"] * 2)
    assert [listed(hosts, host) for host in BOTH] == ["ok", "ok"]


def test_a_tree_of_which_one_member_is_never_sent_is_late_all_the_same(hosts: Hosts) -> None:
    trees.grown(hosts)
    hosts["alpha"].sh(f"zfs create {A}/new")
    hosts["beta"].sh(f"zfs create {B}/new")  # in the way of its stream
    for day in range(3):
        hosts.world.pass_time(24 * 60 * MINUTE)
        hosts["alpha"].write(f"{A}/x", f"day {day}", b"1")
        assert hosts.run("alpha", SYNC_ALL).code
    shutil.rmtree(hosts.directory / "alpha" / "state")
    assert listed(hosts, "alpha") == "late"
