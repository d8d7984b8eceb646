"""A schedule beside savecount, for each side: changeconfig --keep."""

from __future__ import annotations

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts
from tests.ops.judge import base, find
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from zrep.ops.changeconfig import Config
from zrep.ops.expire import expire

HOUR = 3600


def numbers(hosts: Hosts, host: str, name: str) -> list[str]:
    found = find(hosts, host, name)
    assert found is not None
    return [snapshot.name for snapshot in found.snapshots if snapshot.name.startswith("zrep_")]


def synced(hosts: Hosts, times: int, apart: int) -> None:
    for number in range(times):
        hosts.world.pass_time(apart)
        pairs.written(hosts, key=f"k{number}")
        good(hosts.run("alpha", SYNC_ALL))


@pytest.fixture
def scheduled(hosts: Hosts) -> Hosts:
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.changing(A, Config(savecount=2))))
    good(hosts.run("beta", pairs.changing(B, Config(savecount=2, keep="6h  2d"))))
    return hosts


def test_each_side_keeps_by_its_own(scheduled: Hosts) -> None:
    assert value(scheduled, "beta", B, "zrep:keep") == "6h 2d"
    synced(scheduled, 20, HOUR // 2)
    assert len(numbers(scheduled, "alpha", A)) == 2
    assert 6 <= len(numbers(scheduled, "beta", B)) <= 10
    good(scheduled.run("beta", pairs.changing(B, Config(keep="none"))))
    good(scheduled.run("alpha", lambda session: expire(session, [A], False)))
    assert len(numbers(scheduled, "beta", B)) == 2


def test_a_dry_run_says_by_which_rule_each_stays(scheduled: Hosts) -> None:
    synced(scheduled, 6, HOUR // 2)
    [outcome] = good(scheduled.run("alpha", pairs.expiring(A), dry_run=True)).outcomes
    text = "\n".join(outcome.notes)
    assert f"beta: {B}@zrep_000001: the first of its hour (6h)" in text
    assert ": the base" in text
    assert "alpha: " in text


def test_a_schedule_that_takes_a_quarter_at_once_waits_for_a_person(hosts: Hosts) -> None:
    pairs.linked(hosts)
    for host, name in (("alpha", A), ("beta", B)):
        good(hosts.run(host, pairs.changing(name, Config(savecount=30))))
    synced(hosts, 20, 60)
    for host, name in (("alpha", A), ("beta", B)):
        good(hosts.run(host, pairs.changing(name, Config(savecount=1, keep="1h"))))
    before = numbers(hosts, "beta", B)
    ended = hosts.run("alpha", pairs.expiring(A))
    assert ended.code == 3
    assert "zrep expire --yes tank/a" in ended.text
    pairs.written(hosts)
    ended = good(hosts.run("alpha", SYNC_ALL))
    assert "its schedule would destroy" in ended.text
    assert set(before) <= set(numbers(hosts, "beta", B))
    good(hosts.run("alpha", lambda session: expire(session, [A], False, many=True)))
    assert len(numbers(hosts, "beta", B)) < len(before) // 2
    assert base(hosts) is not None


def test_what_is_no_schedule_is_usage(hosts: Hosts) -> None:
    pairs.linked(hosts)
    ended = hosts.run("alpha", pairs.changing(A, Config(keep="weekly")))
    assert ended.code == 2
    assert "24h 14d" in ended.text
