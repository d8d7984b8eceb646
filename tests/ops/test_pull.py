"""A pulled pair: beta dials alpha, and alpha never dials anybody, whichever of them is master."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Ended, Hosts, Mode, ModelHost, Work
from tests.ops.judge import SIDES, base, files, find, held
from tests.ops.pairs import MINUTE, SYNC_ALL, A, B, good, value
from zrep.core import requests
from zrep.core.errors import UnreachableError
from zrep.host.local import Host
from zrep.ops import sync
from zrep.ops.across import rejoin_here, rejoin_there
from zrep.ops.changeconfig import Config
from zrep.ops.finding import find_link
from zrep.ops.init_way import Request
from zrep.ops.list import listing
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import read_view
from zrep.ops.session import Session
from zrep.ops.status import status


@pytest.fixture(autouse=True)
def one_way(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """ssh goes from beta to alpha, and nowhere else."""
    dial: Callable[[str], Host] = hosts.peer

    def only_from_beta(name: str) -> Host:
        if hosts.wire.driver != "beta":
            raise UnreachableError(f"cannot reach {name}")
        return dial(name)

    monkeypatch.setattr(hosts, "peer", only_from_beta)


@pytest.fixture
def pulled(hosts: Hosts) -> Hosts:
    pairs.source(hosts)
    good(hosts.run("beta", pairs.PULL))
    return hosts


REJOIN: Work = lambda session: rejoin_there(session, B)  # noqa: E731


def refreshing(*names: str) -> Work:
    return lambda session: sync.sync(session, names, pull=True)


def turned(pulled: Hosts) -> None:
    good(pulled.run("beta", pairs.taking_over(B)))


def refused(ended: Ended, *says: str) -> None:
    assert ended.code == 3, ended.text
    for words in says:
        assert words in ended.text


class TestInit:
    def test_what_it_is_is_on_both_ends(self, pulled: Hosts) -> None:
        assert value(pulled, "alpha", A, "zrep:driver") == "peer"
        assert value(pulled, "beta", B, "zrep:driver") == "here"
        assert (value(pulled, "alpha", A, "zrep:master"), value(pulled, "beta", B, "zrep:master")) == ("yes", "no")
        assert value(pulled, "beta", B, "readonly") == "on"
        assert held(pulled, "alpha", A) == held(pulled, "beta", B) == {base(pulled)}

    def test_a_pair_that_is_pushed_has_no_such_property(self, hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        pairs.linked(hosts)
        assert {value(hosts, *side, "zrep:driver") for side in SIDES} == {"-"}

    def test_it_goes_on_where_it_was_cut(self, hosts: Hosts) -> None:
        pairs.source(hosts)
        pairs.hit(hosts, "beta", pairs.PULL, Mode.TORN_CUT, "zfs", "send")
        hosts.wire.heal()
        [row] = hosts.run("alpha", lambda session: listing(session, False)).rows
        assert (row.state, row.advice) == ("init unfinished", "on beta: zrep init --pull alpha tank/a tank/b")
        refused(hosts.run("alpha", pairs.clearing(A)), "zrep clear -L tank/a")
        good(hosts.run("beta", pairs.PULL))
        assert files(hosts, "beta", B) == files(hosts, "alpha", A)

    def test_a_tree_arrives_under_other_names(self, hosts: Hosts) -> None:
        """What lies below another member waits for that, under the name that it is to have here."""
        trees.planted(hosts)
        good(hosts.run("beta", pairs.initialising(Request(A, "alpha", "tank/of/a", pull=True, recursive=True))))
        hosts["alpha"].sh(f"zfs create -p {A}/new/below")
        hosts["alpha"].write(f"{A}/new/below", "file", b"new")
        good(hosts.run("beta", SYNC_ALL))
        for name in ("", "/x", "/x/deep", "/new/below"):
            assert trees.contents(hosts, "beta", f"tank/of/a{name}") == trees.contents(hosts, "alpha", f"{A}{name}")

    def test_one_that_was_begun_the_other_way_round_is_another(self, pulled: Hosts) -> None:
        refused(pulled.run("beta", pairs.PULL), "it is already master in a pair", "on alpha: zrep clear tank/a")

    def test_from_this_host_there_is_nothing_to_pull(self, hosts: Hosts) -> None:
        pairs.source(hosts)
        ended = hosts.run("alpha", pairs.initialising(Request(A, "localhost", "tank/c", pull=True)))
        assert ended.code == 2
        assert "zrep init tank/a localhost tank/c" in ended.text

    def test_a_dry_run_changes_nothing(self, hosts: Hosts) -> None:
        pairs.source(hosts)
        before = hosts.world.view()
        ended = hosts.run("beta", pairs.PULL, dry_run=True)
        assert ended.code == 0
        assert any(line.startswith("alpha: zfs send") for line in ended.lines)
        assert any(line.startswith("beta: zfs receive") for line in ended.lines)
        assert hosts.world.view() == before


class TestSync:
    def test_all_on_the_replica_brings_it_up_to_date(self, pulled: Hosts) -> None:
        pairs.written(pulled)
        assert "received @zrep_000002 from alpha:tank/a" in good(pulled.run("beta", SYNC_ALL)).text
        assert files(pulled, "beta", B) == files(pulled, "alpha", A)
        assert held(pulled, "alpha", A) == held(pulled, "beta", B) == {base(pulled)}

    def test_refresh_does_it_of_one_and_of_all(self, pulled: Hosts) -> None:
        for names in ([B], []):
            pairs.written(pulled, key=f"x{names}")
            good(pulled.run("beta", refreshing(*names)))
            assert files(pulled, "beta", B) == files(pulled, "alpha", A)

    def test_all_on_the_master_does_nothing_and_is_silent(self, pulled: Hosts) -> None:
        pairs.written(pulled)
        before = pulled.world.view()
        ended = good(pulled.run("alpha", SYNC_ALL))
        assert ended.outcomes == ()
        assert pulled.world.view() == before

    def test_refresh_is_for_a_pushed_pair_too(self, hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        pairs.linked(hosts)
        pairs.written(hosts)
        good(hosts.run("beta", refreshing(B)))
        assert files(hosts, "beta", B) == files(hosts, "alpha", A)
        refused(hosts.run("alpha", refreshing(A)), "it is the master here", "zrep sync")

    def test_a_replica_that_was_changed_is_rolled_back_from_its_own_end(self, pulled: Hosts) -> None:
        pulled["beta"].sh(f"zfs set readonly=off {B}")
        pulled["beta"].sh(f"zfs mount {B}")
        pulled["beta"].write(B, "by hand", b"x")
        refused(pulled.run("beta", SYNC_ALL), "was changed by hand", "to throw that away: zrep sync -f tank/b")
        good(pulled.run("beta", pairs.syncing(B), force=True))
        assert "by hand" not in files(pulled, "beta", B)

    def test_a_pause_on_either_side_is_kept(self, pulled: Hosts) -> None:
        for host, name in SIDES:
            good(pulled.run(host, pairs.pausing(name, "moving")))
            pairs.written(pulled, key=host)
            [outcome] = good(pulled.run("beta", SYNC_ALL)).outcomes
            assert outcome.skipped
            good(pulled.run(host, pairs.unpausing(name)))
        good(pulled.run("beta", SYNC_ALL))
        assert files(pulled, "beta", B) == files(pulled, "alpha", A)

    def test_the_lease_of_a_master_that_dials_nobody(self, pulled: Hosts) -> None:
        good(pulled.run("alpha", pairs.changing(A, Config(lease=3 * MINUTE))))
        good(pulled.run("beta", SYNC_ALL))
        good(pulled.run("alpha", SYNC_ALL))
        assert value(pulled, "alpha", A, "readonly") == "off"
        for _ in range(5):
            pulled.run("alpha", SYNC_ALL)
        assert value(pulled, "alpha", A, "readonly") == "on"
        good(pulled.run("beta", SYNC_ALL))
        assert value(pulled, "alpha", A, "readonly") == "off"


class TestRoles:
    def test_takeover_and_failover_from_the_end_that_dials(self, pulled: Hosts) -> None:
        pairs.written(pulled)
        turned(pulled)
        assert (value(pulled, "alpha", A, "zrep:master"), value(pulled, "beta", B, "zrep:master")) == ("no", "yes")
        assert value(pulled, "alpha", A, "zrep:driver") == "peer"
        pairs.written(pulled, "beta", B, "there")
        assert "sent @" in good(pulled.run("beta", SYNC_ALL)).text
        assert files(pulled, "beta", B) == files(pulled, "alpha", A)
        good(pulled.run("beta", pairs.failing_over(B)))
        assert value(pulled, "alpha", A, "readonly") == "off"

    def test_the_other_end_is_told_what_to_run_where(self, pulled: Hosts) -> None:
        for work, there in (
            (pairs.failing_over(A), "on beta: zrep takeover tank/b"),
            (pairs.syncing(A), "on beta: zrep sync tank/b"),
            (pairs.expiring(A), "on beta: zrep expire tank/b"),
            (
                pairs.clearing(A),
                "on beta: zrep clear tank/b; or, if that follows another by now, only here: zrep clear -L tank/a",
            ),
        ):
            refused(pulled.run("alpha", work), there)
        turned(pulled)
        refused(pulled.run("alpha", pairs.taking_over(A)), "on beta: zrep failover tank/b")

    def test_what_was_cut_is_finished_by_the_one_that_dials(self, pulled: Hosts) -> None:
        pairs.hit(pulled, "beta", pairs.taking_over(B), Mode.KILL_AFTER, "mount")
        pulled.wire.heal()
        [row] = pulled.run("alpha", lambda session: status(session, [])).rows
        assert (row.state, row.advice) == ("role change unfinished", "on beta: zrep sync tank/b")
        good(pulled.run("beta", SYNC_ALL))
        assert value(pulled, "alpha", A, "readonly") == "off"

    def test_expire_and_clear(self, pulled: Hosts) -> None:
        good(pulled.run("beta", pairs.expiring()))
        good(pulled.run("beta", pairs.expiring(B)))
        good(pulled.run("beta", pairs.clearing(B)))
        assert value(pulled, "alpha", A, "zrep:src-fs") == "-"
        assert value(pulled, "alpha", A, "zrep:driver") == "-"


class TestDisaster:
    @pytest.fixture
    def forced(self, pulled: Hosts) -> Hosts:
        pulled.wire.cut = True
        good(pulled.run("beta", pairs.forcing(B)))
        pulled.wire.cut = False
        return pulled

    def test_the_old_master_is_stopped_by_the_one_that_dials(self, forced: Hosts) -> None:
        assert value(forced, "alpha", A, "readonly") == "off"
        refused(forced.run("beta", SYNC_ALL), "has not rejoined", "it is read-only on alpha now")
        assert value(forced, "alpha", A, "readonly") == "on"

    def test_it_rejoins_from_there_too(self, forced: Hosts) -> None:
        refused(forced.run("beta", SYNC_ALL), "next: zrep rejoin --peer tank/b")
        refused(forced.run("alpha", lambda session: rejoin_here(session, A)), "on beta: zrep rejoin --peer tank/b")
        good(forced.run("beta", REJOIN))
        pairs.written(forced, "beta", B, "there")
        good(forced.run("beta", SYNC_ALL))
        assert files(forced, "beta", B) == files(forced, "alpha", A)
        assert value(forced, "alpha", A, "zrep:driver") == "peer"

    @pytest.mark.parametrize("words", [("zfs", "rename"), ("zfs", "promote"), ("zfs", "clone")])
    def test_with_a_tail_wherever_it_was_cut(self, pulled: Hosts, words: tuple[str, ...]) -> None:
        pairs.written(pulled, key="tail")
        pulled.wire.cut = True
        good(pulled.run("beta", pairs.forcing(B)))
        pulled.wire.cut = False
        pairs.hit(pulled, "beta", REJOIN, Mode.KILL_AFTER, *words)
        pulled.wire.heal()
        assert pulled.run("beta", SYNC_ALL).code == 3
        good(pulled.run("beta", REJOIN))
        good(pulled.run("beta", SYNC_ALL))
        assert "tail0" in files(pulled, "alpha", A)
        now = find(pulled, "alpha", A)
        assert now is not None
        assert "tail0" not in now.data
        assert value(pulled, "alpha", A, "zrep:driver") == "peer"

    def test_a_clone_in_its_place_is_finished_from_there(self, pulled: Hosts) -> None:
        """The clone has no links yet: whoever asks from the other side knows what it is called there."""
        pairs.written(pulled, key="tail")
        pulled.wire.cut = True
        good(pulled.run("beta", pairs.forcing(B)))
        pulled.wire.cut = False
        clone = "tank/a_rejoin_1_00000001"
        pairs.hit(pulled, "beta", REJOIN, Mode.KILL_AFTER, "zfs", "rename", "-u", clone)
        pulled.wire.heal()
        [row] = pulled.run("beta", lambda session: status(session, [])).rows
        assert (row.state, row.advice) == ("rejoin unfinished", "zrep rejoin --peer tank/b")
        for row in pulled.run("alpha", lambda session: status(session, [])).rows:
            assert row.advice == ("" if row.name == A else "on beta: zrep rejoin --peer tank/b")
        good(pulled.run("beta", REJOIN))
        good(pulled.run("beta", SYNC_ALL))

    def test_a_dry_run_of_it_changes_nothing(self, pulled: Hosts) -> None:
        pairs.written(pulled, key="tail")
        pulled.wire.cut = True
        good(pulled.run("beta", pairs.forcing(B)))
        pulled.wire.cut = False
        before = pulled.world.view()
        ended = good(pulled.run("beta", REJOIN, dry_run=True))
        assert any(line.startswith("alpha: zfs promote") for line in ended.lines)
        assert pulled.world.view() == before

    def test_a_cut_one_says_how_it_goes_on(self, pulled: Hosts) -> None:
        pairs.written(pulled, key="tail")
        pulled.wire.cut = True
        good(pulled.run("beta", pairs.forcing(B)))
        pulled.wire.cut = False
        pairs.hit(pulled, "beta", REJOIN, Mode.KILL_AFTER, "zfs", "rename")
        pulled.wire.heal()
        refused(
            pulled.run("beta", SYNC_ALL), "the rejoin of tank/a on alpha is unfinished", "zrep rejoin --peer tank/b"
        )
        rows = pulled.run("alpha", lambda session: listing(session, False)).rows
        assert {row.advice for row in rows if row.state == "rejoin unfinished"} == {
            "on beta: zrep rejoin --peer tank/b"
        }


class TestLooking:
    def test_status_on_the_master_says_what_it_can_know(self, pulled: Hosts) -> None:
        good(pulled.run("beta", SYNC_ALL))
        pairs.written(pulled)
        [row] = pulled.run("alpha", lambda session: status(session, [])).rows
        assert (row.state, row.code, row.peer) == ("ok", 0, "beta:tank/b")
        assert row.detail == "as known here: beta pulls it, and is never dialled"
        assert row.behind
        assert row.lag

    def test_status_on_the_replica_asks(self, pulled: Hosts) -> None:
        pairs.written(pulled)
        [row] = pulled.run("beta", lambda session: status(session, [])).rows
        assert (row.state, row.role) == ("ok", "replica")
        assert row.behind

    def test_the_master_says_that_it_was_not_fetched_from_for_long(self, pulled: Hosts) -> None:
        good(pulled.run("alpha", pairs.changing(A, Config(max_lag="3m"))))
        good(pulled.run("beta", SYNC_ALL))
        for _ in range(5):
            [row] = pulled.run("alpha", lambda session: status(session, [])).rows
        assert (row.state, row.code) == ("late", 1)
        assert row.advice == "on beta: zrep sync tank/b"
        assert "does cron on beta run" in row.detail


def test_dialling_from_the_wrong_end_is_refused_whatever_asks_for_it(pulled: Hosts) -> None:
    def views(session: Session) -> list[Outcome]:
        read_view(session, find_link(session, A))
        return []

    refused(pulled.run("alpha", views), "is never dialled from here")


def test_small_streams_from_one_master_share_a_session(pulled: Hosts) -> None:
    for name in ("x", "y", "z"):
        pulled["alpha"].sh(f"zfs create tank/{name}")
        good(pulled.run("beta", pairs.initialising(Request(f"tank/{name}", "alpha", f"tank/{name}", pull=True))))
        pairs.written(pulled, name=f"tank/{name}")
    good(pulled.run("beta", SYNC_ALL))
    for name in ("x", "y", "z"):
        assert files(pulled, "beta", f"tank/{name}") == files(pulled, "alpha", f"tank/{name}")


def test_a_new_name_of_the_peer_is_not_tried_where_it_is_never_dialled(pulled: Hosts) -> None:
    pulled.said.clear()
    good(pulled.run("alpha", pairs.changing(A, Config("beta.example", B))))
    assert pulled.said == []


def test_its_stream_is_let_in_and_announced_under_its_name_here(pulled: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[requests.Request[Any]] = []
    ask = ModelHost.ask

    def noting(self: ModelHost, request: requests.Request[Any]) -> object:
        asked.append(request)
        return ask(self, request)

    monkeypatch.setattr(ModelHost, "ask", noting)
    pairs.written(pulled)
    good(pulled.run("beta", SYNC_ALL))
    assert [list(request.generations) for request in asked if isinstance(request, requests.Grant)] == [[B]]
    records = [request.records for request in asked if isinstance(request, requests.Remember)]
    assert [key for each in records for key, record in each.items() if record.get("unsent")] == [f"zrep {B}"]
