"""The lease: who stops taking writes, when, and how it ends."""

from __future__ import annotations

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts
from tests.ops.pairs import MINUTE, SYNC_ALL, A, good, leased, value
from zrep.ops.changeconfig import Config


@pytest.mark.parametrize(("lease", "runs", "readonly"), [(0, 9, "off"), (5, 4, "off"), (5, 6, "on"), (60, 9, "off")])
def test_a_master_without_its_peer_is_read_only_after_its_lease(
    hosts: Hosts, lease: int, runs: int, readonly: str
) -> None:
    leased(hosts, lease * MINUTE)
    hosts.wire.cut = True
    for _ in range(runs):
        assert hosts.run("alpha", SYNC_ALL).code == 5
    assert value(hosts, "alpha", A, "readonly") == readonly
    assert sum("read-only from now on" in line for line in hosts.said) == (readonly == "on")


def test_the_run_that_reaches_the_peer_makes_it_writable_as_it_was(hosts: Hosts) -> None:
    leased(hosts, MINUTE)
    source = value(hosts, "alpha", A, "readonly -o source")
    hosts.wire.cut = True
    for _ in range(3):
        hosts.run("alpha", SYNC_ALL)
    assert value(hosts, "alpha", A, "readonly") == "on"
    hosts.wire.cut = False
    good(hosts.run("alpha", SYNC_ALL))
    assert value(hosts, "alpha", A, "readonly") == "off"
    assert value(hosts, "alpha", A, "readonly -o source") == source
    assert value(hosts, "alpha", A, "zrep:inprogress") in ("-", "")


def test_a_peer_that_answers_renews_it_although_nothing_is_written(hosts: Hosts) -> None:
    leased(hosts, 2 * MINUTE)
    for _ in range(5):
        good(hosts.run("alpha", SYNC_ALL))
    hosts.wire.cut = True
    hosts.run("alpha", SYNC_ALL)
    assert value(hosts, "alpha", A, "readonly") == "off"


def test_after_a_reboot_the_marks_of_snapshots_count(hosts: Hosts) -> None:
    leased(hosts, 3 * MINUTE)
    for path in (hosts.directory / "alpha" / "state").iterdir():
        path.unlink()
    hosts.wire.cut = True
    hosts.run("alpha", SYNC_ALL)
    assert value(hosts, "alpha", A, "readonly") == "off"
    for _ in range(3):
        hosts.run("alpha", SYNC_ALL)
    assert value(hosts, "alpha", A, "readonly") == "on"


def test_a_dry_run_takes_no_writes_away(hosts: Hosts) -> None:
    leased(hosts, MINUTE)
    hosts.wire.cut = True
    for _ in range(4):
        assert hosts.run("alpha", SYNC_ALL, dry_run=True).code == 5
    assert value(hosts, "alpha", A, "readonly") == "off"


def test_a_rejoin_with_a_split_copy_keeps_it(hosts: Hosts) -> None:
    pairs.diverged(hosts)
    good(hosts.run("alpha", pairs.changing(A, Config(lease=MINUTE, minfree="2%"))))
    good(hosts.run("alpha", pairs.rejoining(A)))
    assert value(hosts, "alpha", A, "zrep:lease") == str(MINUTE)
    assert value(hosts, "alpha", A, "zrep:minfree") == "2%"
