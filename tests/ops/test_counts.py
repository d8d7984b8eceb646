"""What each operation costs: commands by kind and host, and transaction groups waited for. Exact: creeping cost shows.

A stream counts as one command on the side that drives it. Reading is of the same cost for any number of filesystems.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sized

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, Work
from tests.ops.pairs import SYNC_ALL, A, B, good
from zrep.core.errors import RefusedError
from zrep.ops.init_way import Request
from zrep.ops.list import listing, properties, snapshots

READS = ("get", "list", "holds", "sync")


def many(hosts: Hosts, count: int) -> list[str]:
    """So many pairs between alpha and beta."""
    names = [f"tank/{number}" for number in range(count)]
    for name in names:
        hosts["alpha"].sh(f"zfs create {name}")
        hosts["alpha"].write(name, "one", b"1")
        good(hosts.run("alpha", pairs.initialising(Request(name, "beta", name))))
    return names


def cost(hosts: Hosts, work: Work, host: str = "alpha") -> dict[str, tuple[int, int, int]]:
    """By host: commands that read, commands that change something, transaction groups waited for."""
    for name in ("alpha", "beta"):
        hosts[name].reset_counters()
    hosts.wire.reset()
    good(hosts.run(host, work))
    found: Counter[tuple[str, bool]] = Counter()
    for command in hosts.wire.log:
        found[command.host, not command.stream and command.argv[1] in READS] += 1
    return {name: (found[name, True], found[name, False], hosts[name].txg_waits()) for name in ("alpha", "beta")}


@pytest.mark.parametrize("count", [1, 10, pytest.param(100, marks=pytest.mark.thorough)])
def test_sync_all_with_nothing_written_costs_the_same_for_any_number(hosts: Hosts, count: int) -> None:
    many(hosts, count)
    assert cost(hosts, SYNC_ALL) == {"alpha": (5, 0, 1), "beta": (4, 0, 1)}


@pytest.mark.thorough
@pytest.mark.parametrize(("below", "more"), [((), 1), (("new",), 2)], ids=["each in a pair", "one in none"])
def test_children_cost_one_command_or_two_for_all_of_them(hosts: Hosts, below: tuple[str, ...], more: int) -> None:
    names = many(hosts, 10)
    for name in names:
        hosts["alpha"].sh(f"zfs create {name}/child")
        good(hosts.run("alpha", pairs.initialising(Request(f"{name}/child", "beta", f"{name}/child"))))
        for child in below:
            hosts["alpha"].sh(f"zfs create {name}/{child}")
    good(hosts.run("alpha", SYNC_ALL))
    assert cost(hosts, SYNC_ALL) == {"alpha": (5 + more, 0, 1), "beta": (4, 0, 1)}


@pytest.mark.parametrize(
    ("count", "changed"), [(1, 1), (10, 1), (10, 4), pytest.param(100, 4, marks=pytest.mark.thorough)]
)
def test_sync_all_costs_what_was_written_to(hosts: Hosts, count: int, changed: int) -> None:
    names = many(hosts, count)
    for name in names[:changed]:
        hosts["alpha"].write(name, "two", b"2")
    # Read once, and the masters' new snapshots, and once more what the replicas are; one snapshot, one hold, sent and
    # release for all, and there their arrival is read, hold, sent, release. For each: its stream.
    assert cost(hosts, SYNC_ALL) == {
        # Each name of a hold, set or release waits by itself, and the base's bookmark comes and the last one's goes: by
        # libzfs_core each kind is one for all, and they are at the same time.
        "alpha": (7, 4 + 3 * changed, 2 + 5 * changed),
        "beta": (6, 3, 1 + 6 * changed),  # three of them are those of zfs receive
    }


@pytest.mark.parametrize(
    ("work", "host", "expected"),
    [
        (pairs.failing_over(A), "alpha", {"alpha": (16, 14, 14), "beta": (14, 9, 12)}),
        (pairs.taking_over(B), "beta", {"alpha": (14, 14, 14), "beta": (16, 9, 12)}),
        (pairs.forcing(B), "beta", {"alpha": (0, 0, 0), "beta": (19, 8, 8)}),
        (pairs.expiring(A), "alpha", {"alpha": (6, 0, 1), "beta": (4, 0, 1)}),
        (pairs.clearing(A), "alpha", {"alpha": (6, 15, 15), "beta": (3, 14, 14)}),
        (pairs.pausing(A, "x"), "alpha", {"alpha": (4, 1, 1), "beta": (0, 0, 0)}),
    ],
    ids=["failover", "takeover", "takeover -L", "expire", "clear", "pause"],
)
def test_one_pair(hosts: Hosts, work: Work, host: str, expected: dict[str, tuple[int, int, int]]) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    assert cost(hosts, work, host) == expected


def test_both_halves_of_a_pair_on_one_host_are_read_as_one(hosts: Hosts) -> None:
    hosts["alpha"].sh(f"zfs create {A}")
    good(hosts.run("alpha", pairs.initialising(Request(A, "localhost", B))))
    # Which pairs there are, the pool's group closed, properties, snapshots, holds.
    assert cost(hosts, SYNC_ALL) == {"alpha": (5, 0, 1), "beta": (0, 0, 0)}


@pytest.mark.parametrize("count", [2, 12])
@pytest.mark.parametrize("changed", [0, 2])
def test_a_tree_is_read_alike_whatever_its_size(hosts: Hosts, count: int, changed: int) -> None:
    hosts["alpha"].sh(f"zfs create {A}")
    for number in range(count):
        hosts["alpha"].sh(f"zfs create {A}/{number}")
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B, recursive=True))))
    for number in range(changed):
        hosts["alpha"].write(f"{A}/{number}", "two", b"2")
    found = cost(hosts, SYNC_ALL)
    assert sum(command.stream for command in hosts.wire.log) == changed
    if changed:
        # A snapshot, a hold, sent and release for all; what is coming, what has come and the rest there.
        assert found == {"alpha": (11, 4 + 3 * changed, 2 + 5 * changed), "beta": (10, 5, 3 + 6 * changed)}
    else:
        assert found == {"alpha": (6, 0, 1), "beta": (5, 0, 1)}


@pytest.mark.parametrize("chosen", [[], ["tank/3"]], ids=["all", "one by name"])
@pytest.mark.parametrize("look", [snapshots, listing, properties])
def test_list_reads_the_snapshots_of_what_it_shows_once(
    hosts: Hosts, look: Callable[..., Sized], chosen: list[str]
) -> None:
    names = many(hosts, 4)
    hosts.wire.reset()
    with hosts.session("alpha") as session:
        shown = look(session, False, chosen) if look is listing else look(session, chosen)
    assert len(shown) == len(chosen or names)
    read = [command.argv[command.argv.index("-o") + 2 :] for command in hosts.wire.log if command.argv[1] == "list"]
    assert read == ([] if look is properties else [tuple(chosen or names)])
    assert {command.host for command in hosts.wire.log} == {"alpha"}


def test_list_refuses_a_name_that_has_no_row_and_reads_no_snapshot_before(hosts: Hosts) -> None:
    many(hosts, 2)
    hosts["alpha"].sh("zfs create tank/alone")
    for name, why in (("tank/alone", "it is not replicated by zrep here"), ("tank/none", "no such filesystem here")):
        hosts.wire.reset()
        with hosts.session("alpha") as session, pytest.raises(RefusedError, match=why):
            listing(session, False, ["tank/0", name])
        assert not [command for command in hosts.wire.log if command.argv[1] == "list"]
