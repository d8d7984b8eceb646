"""What status says of a pair, on either side, and what it tells a person to do about it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, Mode, Work
from tests.ops.pairs import SYNC_ALL, A, B, good, hit, value
from tests.ops.test_cut_sweep import advised
from zrep.core.pair_state import State
from zrep.ops.changeconfig import Config
from zrep.ops.init_way import Request
from zrep.ops.list import listing
from zrep.ops.rows import Row
from zrep.ops.status import status as asking

MOVED = "tank/elsewhere"
LEARN = f"zrep changeconfig {A} beta {MOVED}"
GIVE_UP = (
    "decide which side to give up (its data stays in a split copy): "
    "zrep rejoin -f {0} here, or on {1}: zrep rejoin -f {2}"
)


def status(hosts: Hosts, host: str) -> Row:
    """The first; of a cut rejoin that of the copy, after the clone that has still to take the name."""
    rows = hosts.run(host, lambda session: asking(session, [])).rows
    return next(row for row in rows if "_rejoin_" not in row.name)


def split_brain(hosts: Hosts) -> None:
    """Both were forced while they could not see each other."""
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.failing_over(A)))
    hosts.wire.cut = True
    good(hosts.run("alpha", pairs.forcing(A)))
    hosts["beta"].sh(f"zfs set zrep:gen=feedfeedfeedfeed zrep:parent={_generation(hosts)} {B}")
    hosts.wire.cut = False


def _generation(hosts: Hosts) -> str:
    return pairs.value(hosts, "beta", B, "zrep:gen")


def modified(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["beta"].sh(f"zfs set readonly=off {B}")
    hosts["beta"].sh(f"zfs mount {B}")
    hosts["beta"].write(B, "by-hand", b"x" * 5000)


def unrelated_snapshots(hosts: Hosts) -> None:
    pairs.linked(hosts)
    for host, name in (("alpha", A), ("beta", B)):
        hosts[host].sh(f"zfs release zrep {name}@zrep_000001")
    hosts["alpha"].sh(f"zfs destroy {A}@zrep_000001,daily")
    hosts["alpha"].sh(f"zfs destroy {A}#zrep:zrep_000001")


def missing(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["beta"].sh(f"zfs release zrep {B}@zrep_000001")
    hosts["beta"].sh(f"zfs destroy -r {B}")


def renamed(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["beta"].sh(f"zfs rename {B} {MOVED}")


def renamed_and_told(hosts: Hosts) -> None:
    """Half of what a rename needs: the other host knows the old name."""
    renamed(hosts)
    good(hosts.run("beta", pairs.changing(MOVED, Config())))


def rejoin_cut(hosts: Hosts) -> None:
    """The role is given up, and the dataset has the copy's name."""
    pairs.diverged(hosts)
    hit(hosts, "alpha", pairs.rejoining(A), Mode.KILL_AFTER, "zfs", "rename")
    hosts.wire.heal()


def committed(hosts: Hosts) -> None:
    """beta has the role, alpha has not been told."""
    pairs.linked(hosts)
    hit(hosts, "alpha", pairs.failing_over(A), Mode.KILL_AFTER, "zfs", "mount")
    hosts.wire.heal()


def unfinished(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hit(hosts, "alpha", pairs.failing_over(A), Mode.KILL_AFTER, "zfs", "snapshot")
    hosts.wire.heal()


def unfinished_init(hosts: Hosts) -> None:
    pairs.source(hosts)
    hit(hosts, "alpha", pairs.INIT, Mode.TORN, "zfs", "send")
    hosts.wire.heal()


@pytest.mark.parametrize(
    ("make", "host", "state", "advice"),
    [
        (pairs.linked, "alpha", "ok", ""),
        (pairs.linked, "beta", "ok", ""),
        (pairs.forced, "alpha", "stale master", f"zrep rejoin {A}"),
        (pairs.forced, "beta", "peer stale", f"on alpha: zrep rejoin {A}"),
        (split_brain, "alpha", "split brain", GIVE_UP.format(A, "beta", B)),
        (split_brain, "beta", "split brain", GIVE_UP.format(B, "alpha", A)),
        (modified, "alpha", "replica modified", f"to throw that away: zrep sync -f {A}"),
        (modified, "beta", "replica modified", f"to throw that away: on alpha: zrep sync -f {A}"),
        (unrelated_snapshots, "alpha", "no common snapshot", f"zrep clear {A}, then zrep init to a new target"),
        (missing, "alpha", "peer missing", f"if it is lost for good: zrep clear {A}, then zrep init again"),
        (renamed, "alpha", "renamed", f"on beta: zrep changeconfig {MOVED}, then here: {LEARN}"),
        (renamed, "beta", "renamed", f"zrep changeconfig {MOVED}, then on alpha: {LEARN}"),
        (renamed_and_told, "alpha", "renamed", LEARN),
        (renamed_and_told, "beta", "renamed", f"on alpha: {LEARN}"),
        (rejoin_cut, "alpha", "rejoin unfinished", f"zrep rejoin {A}"),
        (rejoin_cut, "beta", "rejoin unfinished", f"on alpha: zrep rejoin {A}"),
        (committed, "alpha", "role change unfinished", f"zrep sync {A}"),
        (committed, "beta", "role change unfinished", f"zrep sync {B}"),
        (unfinished, "alpha", "role change unfinished", f"zrep sync {A}"),
        (unfinished_init, "alpha", "init unfinished", f"zrep init {A} beta {B}"),
    ],
)
def test_it_names_what_resolves_it(
    hosts: Hosts, make: Callable[[Hosts], None], host: str, state: str, advice: str
) -> None:
    make(hosts)
    row = status(hosts, host)
    assert (row.state, row.advice) == (state, advice)
    assert bool(row.code) == bool(advice)


def test_the_listing_of_many_is_in_order_and_knows_those_without_snapshots(hosts: Hosts) -> None:
    for name in ("tank/b", "tank/a", "tank/a/x"):
        hosts["alpha"].sh(f"zfs create {name}")
        good(hosts.run("alpha", pairs.initialising(Request(name, "beta", name.replace("tank", "tank/c")))))
    good(hosts.run("alpha", SYNC_ALL))
    hosts["alpha"].sh("zfs release zrep tank/b@zrep_000001")
    hosts["alpha"].sh("zfs destroy tank/b@zrep_000001")
    rows = hosts.run("alpha", lambda session: listing(session, False)).rows
    assert [row.name for row in rows] == ["tank/a", "tank/a/x", "tank/b"]
    assert [row.sent is None for row in rows] == [False, False, True]


@pytest.mark.parametrize("told", ["nobody", "alpha", "beta"])
@pytest.mark.parametrize("asked", ["alpha", "beta"])
@pytest.mark.parametrize("side", ["alpha", "beta"])
def test_who_follows_the_advice_about_a_rename_has_a_linked_pair(
    hosts: Hosts, side: str, asked: str, told: str
) -> None:
    """Wherever it was renamed, whichever host has been told of it, and wherever status is asked."""
    pairs.linked(hosts)
    names = {"alpha": A, "beta": B, side: MOVED}
    hosts[side].sh(f"zfs rename {A if side == 'alpha' else B} {MOVED}")
    if told != "nobody":
        good(hosts.run(told, pairs.changing(names[told], Config() if told == side else Config(side, MOVED))))
    for _ in range(2):
        for advice in advised(status(hosts, asked).advice, asked):
            good(hosts.run(advice.host, advice.work))
    assert [status(hosts, each).state for each in ("alpha", "beta")] == ["ok", "ok"]
    pairs.written(hosts, name=names["alpha"])
    good(hosts.run("alpha", SYNC_ALL))


def test_what_was_written_in_an_open_transaction_group_is_behind(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].write(A, "just", b"now" * 1000, flushed=False)
    row = status(hosts, "alpha")
    assert row.behind
    assert row.lag != 0


def test_a_replica_that_was_just_written_to_is_modified(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["beta"].sh(f"zfs set readonly=off {B}")
    hosts["beta"].sh(f"zfs mount {B}")
    hosts["beta"].write(B, "by-hand", b"x" * 5000, flushed=False)
    assert status(hosts, "alpha").state == "replica modified"


@pytest.mark.parametrize(("host", "name"), [("alpha", A), ("beta", B)])
@pytest.mark.parametrize(
    "works",
    [[SYNC_ALL], [pairs.failing_over(A)], [SYNC_ALL, pairs.failing_over(A)]],
    ids=["sync", "failover", "both in turn"],
)
def test_what_changes_between_its_looks_at_the_two_halves_is_looked_at_anew(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, host: str, name: str, works: list[Work]
) -> None:
    """A whole sync, or role change, fits into the time that dialling takes."""
    pairs.linked(hosts)
    pairs.written(hosts)
    pairs.in_between(hosts, monkeypatch, host, *works)
    with hosts.session(host) as session:
        [row] = asking(session, [])
    role = {"yes": "master", "no": "replica"}[value(hosts, host, name, "zrep:master")]
    assert (row.state, row.code, row.role) == ("ok", 0, role), row.diagnosis


def test_changeconfig_leaves_the_copy_of_a_cut_rejoin_alone(hosts: Hosts) -> None:
    """It is no renamed half of a pair: with other links nothing could finish the rejoin."""
    rejoin_cut(hosts)
    copy = status(hosts, "alpha").name
    ended = hosts.run("alpha", pairs.changing(copy, Config()))
    assert ended.code == 3
    assert f"zrep rejoin {A}" in ended.text


def test_list_says_what_one_side_knows(hosts: Hosts) -> None:
    rejoin_cut(hosts)
    clone, copy = hosts.run("alpha", lambda session: listing(session, False)).rows
    assert (clone.role, clone.state) == ("split", "split copy")
    assert (copy.state, copy.advice) == ("rejoin unfinished", f"zrep rejoin {A}")


def test_rejoin_of_an_old_master_that_was_not_told_finishes_the_role_change(hosts: Hosts) -> None:
    committed(hosts)
    good(hosts.run("alpha", pairs.rejoining(A)))
    assert [status(hosts, each).state for each in ("alpha", "beta")] == ["ok", "ok"]


def test_a_rollback_leaves_somebodys_snapshot_of_what_was_received(hosts: Hosts) -> None:
    """It is newer than the base, and the same: only what was written after it goes."""
    modified(hosts)
    good(hosts.run("alpha", pairs.syncing(A), force=True))
    assert b"@weekly" in hosts["beta"].sh(f"zfs list -H -o name -t snapshot {B}")
    assert status(hosts, "alpha").state == "ok"


def test_a_foreign_snapshot_of_the_master_waits_for_nothing(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].sh("zfs snapshot tank/a@daily-2")
    [row] = good(hosts.run("alpha", lambda session: asking(session, []))).rows
    assert (row.diagnosis.state, row.unsent) == (State.OK, 0)


@pytest.mark.parametrize("by_hand", ["zfs set readonly=off", "zfs inherit readonly"])
def test_a_replica_that_can_be_written_to_is_told_until_a_sync_has_closed_it(hosts: Hosts, by_hand: str) -> None:
    pairs.linked(hosts)
    hosts["beta"].sh(f"{by_hand} {B}")
    where = {"alpha": "on beta", "beta": "here"}
    why = "is not on: what is written to it keeps the next stream out"
    advice = {"alpha": f"zrep sync {A}", "beta": f"on alpha: zrep sync {A}"}
    for host, command in advice.items():
        [row] = good(hosts.run(host, lambda session: asking(session, []))).rows
        assert (row.state, row.detail, row.advice) == (
            "replica writable",
            f"readonly of {B} {where[host]} {why}",
            command,
        )
    good(hosts.run("alpha", pairs.SYNC_ALL))
    assert value(hosts, "beta", B, "readonly") == "on"
    for host in advice:
        [row] = good(hosts.run(host, lambda session: asking(session, []))).rows
        assert (row.state, row.detail) == ("ok", "")
