"""The lease: who stops taking writes, when, and how it ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts
from tests.ops.pairs import MINUTE, SYNC_ALL, A, B, good, leased, value
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


def another_pool(hosts: Hosts, more: int) -> None:
    hosts.world.state.hosts["beta"].pools["tank"].guid += more


NOT_THE_PEER: dict[str, tuple[Callable[[Hosts], object], Callable[[Hosts], object]]] = {
    "a copy of the peer's pool on another host": (
        lambda hosts: another_pool(hosts, 1),
        lambda hosts: another_pool(hosts, -1),
    ),
    "a host without the replica": (
        lambda hosts: hosts["beta"].sh(f"zfs rename {B} tank/elsewhere"),
        lambda hosts: hosts["beta"].sh(f"zfs rename tank/elsewhere {B}"),
    ),
    "a replica that cannot be read": (
        lambda hosts: hosts["beta"].sh(f"zfs set zrep:epoch=none {B}"),
        lambda hosts: hosts["beta"].sh(f"zfs set zrep:epoch=1 {B}"),
    ),
    "a replica of another pair": (
        lambda hosts: hosts["beta"].sh(f"zfs set zrep:gen={'a' * 16} {B}"),
        lambda hosts: hosts["beta"].sh(f"zfs set zrep:gen={value(hosts, 'alpha', A, 'zrep:gen')} {B}"),
    ),
}


@pytest.mark.parametrize("what", NOT_THE_PEER)
def test_an_answer_of_what_is_not_the_other_half_does_not_renew_it(hosts: Hosts, what: str) -> None:
    """Simulation, seed 808367548: a copy of the peer's pool answered in its name, for ever, while the peer had been
    promoted alone."""
    leased(hosts, 3 * MINUTE)
    takes_its_place, goes = NOT_THE_PEER[what]
    takes_its_place(hosts)
    assert [(hosts.run("alpha", SYNC_ALL).code, value(hosts, "alpha", A, "readonly")) for _ in range(5)] == [
        *[(3, "off")] * 3,
        *[(3, "on")] * 2,
    ]
    goes(hosts)
    good(hosts.run("alpha", SYNC_ALL))
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
