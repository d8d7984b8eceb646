"""What status says of a pair, on either side, and what it tells a person to do about it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, Mode
from tests.ops.pairs import SYNC_ALL, A, B, good, hit
from zrep.ops import view
from zrep.ops.init import Request
from zrep.ops.view import Row


def status(hosts: Hosts, host: str) -> Row:
    [row] = hosts.run(host, lambda session: view.status(session, [])).rows
    return row


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


def missing(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["beta"].sh(f"zfs rename {B} tank/elsewhere")


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
        (split_brain, "alpha", "split brain", "decide which side to keep; on the other one: zrep rejoin -f FS"),
        (split_brain, "beta", "split brain", "decide which side to keep; on the other one: zrep rejoin -f FS"),
        (modified, "alpha", "replica modified", f"to throw that away: zrep sync -f {A}"),
        (modified, "beta", "replica modified", f"to throw that away: on alpha: zrep sync -f {A}"),
        (unrelated_snapshots, "alpha", "no common snapshot", f"zrep clear {A}, then zrep init to a new target"),
        (missing, "alpha", "peer missing", f"if it is lost for good: zrep clear {A}, then zrep init again"),
        (missing, "beta", "renamed", "zrep changeconfig tank/elsewhere"),
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
    rows = hosts.run("alpha", lambda session: view.listing(session, False)).rows
    assert [row.name for row in rows] == ["tank/a", "tank/a/x", "tank/b"]
    assert [row.sent is None for row in rows] == [False, False, True]
