"""Replicas to which nobody's sync comes any more: where no host drives the pair, cron of the replica says so."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from tests.ops import pairs
from tests.ops.hosts import Ended, Hosts
from tests.ops.pairs import SYNC_ALL, A, B, good
from zrep.cli.news import suppress_repeats
from zrep.core.requests import Lock, Unlock
from zrep.ops.init_way import Request
from zrep.ops.sync import sync

C = "tank/c"


def set_back(hosts: Hosts) -> None:
    """The role has moved to beta, whose pool was rewound to before that: both are replicas."""
    pairs.linked(hosts)
    before = copy.deepcopy(hosts.world.state.hosts["beta"])
    good(hosts.run("alpha", pairs.failing_over(A)))
    with hosts.world.transaction() as state:
        state.hosts["beta"] = before


def demoted(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs set zrep:master=no {A}")


def demoted_under_its_own_name(hosts: Hosts) -> None:
    pairs.source(hosts)
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", A))))
    hosts["alpha"].sh(f"zfs set zrep:master=no {A}")


def with_another(hosts: Hosts) -> None:
    """Another pair on alpha, which is well, and nothing is left of the first one's master."""
    hosts["alpha"].sh(f"zfs create {C}")
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.initialising(Request(C, "beta", C))))
    for full in hosts["alpha"].sh(f"zfs list -H -d 1 -t snapshot -o name {A}").decode().split():
        hosts["alpha"].run(["zfs", "release", "zrep", full])
    hosts["alpha"].sh(f"zfs destroy -r {A}")


def destroyed(hosts: Hosts) -> None:
    with_another(hosts)


def made_anew(hosts: Hosts) -> None:
    with_another(hosts)
    hosts["alpha"].sh(f"zfs create {A}")


# what became of a pair; what cron of beta says, and the command that mends it; what cron of alpha says
NOBODY: list[tuple[Callable[[Hosts], None], str, str, str]] = [
    (set_back, f"{A} on alpha has the newer role", f"on alpha: zrep takeover -L {A}, then here: zrep rejoin {B}",
     f"zrep takeover -L {A}, then on beta: zrep rejoin {B}"),
    (demoted, "neither side is master", f"on alpha: zfs set zrep:master=yes {A}",
     f"if its master property was changed by hand, on beta: zrep status {B} says so"),
    (demoted_under_its_own_name, "neither side is master", f"on alpha: zfs set zrep:master=yes {A}",
     f"zrep:master was changed by hand: zfs set zrep:master=yes {A}"),
    (destroyed, f"{A} does not exist on alpha", f"to go on with what is here: zrep takeover -L {B}", ""),
    (made_anew, f"{A} on alpha is not the other half", f"to go on with what is here: zrep takeover -L {B}", ""),
]  # fmt: skip


def cron(hosts: Hosts, host: str = "beta") -> Ended:
    return hosts.run(host, lambda session: suppress_repeats(session, sync(session, [])))


def mailed(ended: Ended) -> list[str]:
    return [outcome.error.line() for outcome in ended.outcomes if outcome.error and not outcome.told]


@pytest.mark.parametrize("row", NOBODY, ids=[row[0].__name__ for row in NOBODY])
def test_cron_says_it_once_with_what_mends_it(hosts: Hosts, row: tuple[Callable[[Hosts], None], str, str, str]) -> None:
    made, what, advice, on_alpha = row
    made(hosts)
    hosts.world.pass_time(3 * pairs.MINUTE)
    ended = cron(hosts)
    [line] = mailed(ended)
    assert (ended.code, what in line, advice in line) == (3, True, True), line
    assert [(cron(hosts).code, mailed(cron(hosts))) for _ in range(3)] == [(3, [])] * 3
    ended = hosts.run("alpha", SYNC_ALL)
    assert (ended.code, on_alpha in ended.text) == (3 if on_alpha else 0, True), ended.text


def test_it_is_over_once_somebody_syncs_again(hosts: Hosts) -> None:
    demoted(hosts)
    hosts.world.pass_time(3 * pairs.MINUTE)
    assert len(mailed(cron(hosts))) == 1
    hosts.wire.cut = True
    assert (cron(hosts).code, mailed(cron(hosts)), hosts.said) == (0, [], [])
    hosts.wire.cut = False
    hosts["alpha"].sh(f"zfs set zrep:master=yes {A}")
    good(hosts.run("alpha", SYNC_ALL))
    hosts.said.clear()
    good(cron(hosts))
    assert [said.partition(" over")[0] for said in hosts.said] == [f"{B}:"]
    hosts.said.clear()
    assert (good(cron(hosts)).outcomes, hosts.said) == ((), [])


def test_a_replica_that_is_synced_asks_nobody_and_one_that_is_not_rarely(hosts: Hosts) -> None:
    pairs.linked(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    hosts.wire.log.clear()
    good(hosts.run("beta", SYNC_ALL))
    assert {command.host for command in hosts.wire.log} == {"beta"}
    asked = []
    for _ in range(20):
        hosts.wire.log.clear()
        good(cron(hosts))
        asked.append("alpha" in {command.host for command in hosts.wire.log})
    assert asked.count(True) == 2


def quiet(hosts: Hosts) -> None:
    """Nothing is said, with exit status 0."""
    hosts.world.pass_time(11 * pairs.MINUTE)
    ended = cron(hosts)
    assert (ended.code, ended.text.strip(), hosts.said) == (0, "", [])


def test_nothing_is_said_of_what_is_not_known(hosts: Hosts) -> None:
    """The peer does not answer, somebody is at work on it, it is paused, or the peer pulls it."""
    set_back(hosts)
    hosts.said.clear()
    hosts.wire.cut = True
    quiet(hosts)
    hosts.wire.cut = False
    holder = hosts.local("alpha")
    assert holder.ask(Lock((A,), 0.0, "zrep")) == []
    quiet(hosts)
    holder.ask(Unlock((A,)))
    hosts["beta"].sh(f"zfs set zrep:paused=upgrade {B}")
    quiet(hosts)


def test_refresh_of_all_says_it_too(hosts: Hosts) -> None:
    set_back(hosts)
    ended = hosts.run("beta", lambda session: sync(session, [], pull=True))
    assert (ended.code, "has the newer role" in ended.text) == (3, True), ended.text
