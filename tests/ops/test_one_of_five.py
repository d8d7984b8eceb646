"""One of five pairs is broken, in whatever way: under every command the other four are as if it were not there."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.model import World
from tests.ops import pairs
from tests.ops.hosts import Ended, Hosts, Mode, Work
from tests.ops.pairs import good, hit
from zrep.core.errors import worst
from zrep.core.requests import Lock
from zrep.host.local import LocalHost
from zrep.ops import sync
from zrep.ops.changeconfig import Config
from zrep.ops.doctor import doctor
from zrep.ops.init_way import Request
from zrep.ops.list import listing
from zrep.ops.rehearse import rehearse
from zrep.ops.status import status

WELL = tuple(f"tank/p{number}" for number in range(4))
ODD = "odd/x"
States = tuple[Hosts, bytes, bytes]
SOME = re.compile(r"[0-9a-f]{16}|\b\d{10}\b")


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> States:
    """Hosts, and two states of them: with four pairs, and with a fifth in a pool of its own. All are written to."""
    hosts = Hosts(tmp_path_factory.mktemp("hosts"), World(hosts=("alpha", "beta", "gamma")))
    for name in ("alpha", "beta"):
        hosts[name].add_pool("odd")
        hosts[name].sh("zfs create tank/new")
    for name in WELL:
        paired(hosts, name)
    four = hosts.world.dump()
    paired(hosts, ODD)
    return hosts, four, hosts.world.dump()


def paired(hosts: Hosts, name: str) -> None:
    hosts["alpha"].sh(f"zfs create {name}")
    good(hosts.run("alpha", pairs.initialising(Request(name, "beta", name))))
    pairs.written(hosts, name=name)


# --- ways to be broken ---


def shell(host: str, *commands: str) -> Callable[[Hosts], None]:
    def do(hosts: Hosts) -> None:
        for command in commands:
            hosts[host].run(command.split(" "))

    return do


def suspended(host: str) -> Callable[[Hosts], None]:
    return lambda hosts: hosts[host].set_pool("odd", health="SUSPENDED")


def exported(host: str) -> Callable[[Hosts], None]:
    return lambda hosts: hosts[host].export_pool("odd")


def full(host: str) -> Callable[[Hosts], None]:
    return lambda hosts: hosts[host].set_pool("odd", full=True)


def locked(host: str) -> Callable[[Hosts], None]:
    def do(hosts: Hosts) -> None:
        other = hosts.local(host)
        assert other.ask(Lock((ODD,), 0)) == []
        HELD.append(other)

    return do


LATER = 1_800_000_000
HELD: list[LocalHost] = []


def changed(hosts: Hosts) -> None:
    shell("beta", f"zfs set readonly=off {ODD}", f"zfs mount {ODD}")(hosts)
    hosts["beta"].write(ODD, "by hand", b"x")


def no_base(hosts: Hosts) -> None:
    hosts["alpha"].sh(f"zfs release zrep {ODD}@zrep_000001")
    hosts["alpha"].sh(f"zfs destroy {ODD}@zrep_000001")


def no_replica(hosts: Hosts) -> None:
    hosts["beta"].sh(f"zfs release zrep {ODD}@zrep_000001")
    hosts["beta"].sh(f"zfs destroy -r {ODD}")


def forced(hosts: Hosts) -> None:
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing(ODD)))
    hosts.wire.cut = False


def failed_over_by_half(hosts: Hosts) -> None:
    hit(hosts, "alpha", pairs.failing_over(ODD), Mode.KILL_BEFORE, "zfs", "snapshot")
    hosts.wire.heal()


WAYS: dict[str, Callable[[Hosts], None]] = {
    "its replica's pool is suspended": suspended("beta"),
    "its master's pool is suspended": suspended("alpha"),
    "its replica's pool is not imported": exported("beta"),
    "its master's pool is not imported": exported("alpha"),
    "its replica's pool is full": full("beta"),
    "its master's pool is full": full("alpha"),
    "somebody works on it here": locked("alpha"),
    "somebody works on it there": locked("beta"),
    "its replica was changed by hand": changed,
    "its base is gone": no_base,
    "its replica is gone": no_replica,
    "its master was renamed": shell("alpha", f"zfs rename {ODD} odd/y"),
    "its replica was renamed": shell("beta", f"zfs rename {ODD} odd/y"),
    "its role has moved without it": forced,
    "its failover was cut": failed_over_by_half,
    "its peer is another one that nobody knows": shell("alpha", f"zfs set zrep:dest-host=nowhere {ODD}"),
    "it is paused": shell("alpha", f"zfs set zrep:paused=why {ODD}"),
    "its epoch is no number": shell("alpha", f"zfs set zrep:epoch=x {ODD}"),
    "its replica's epoch is no number": shell("beta", f"zfs set zrep:epoch=x {ODD}"),
    "its intent is nonsense": shell("alpha", f"zfs set zrep:inprogress=[1] {ODD}"),
    "its replica's intent is nonsense": shell("beta", f"zfs set zrep:inprogress={{}} {ODD}"),
    "its flags have a tab": shell("alpha", f"zfs set zrep:flags=-p\t-w {ODD}"),
    "its replica has two masters": shell("beta", f"zfs set zrep:master=yes {ODD}"),
    "nobody is its master": shell("alpha", f"zfs set zrep:master=no {ODD}"),
    "a snapshot of somebody's is on top of its replica": shell("beta", f"zfs snapshot {ODD}@other"),
}

# --- commands ---


OF_MANY: dict[str, tuple[str, Work]] = {
    "sync all": ("alpha", pairs.SYNC_ALL),
    "sync of each": ("alpha", lambda session: sync.sync(session, [*WELL, ODD])),
    "status": ("alpha", lambda session: status(session, [])),
    "status there": ("beta", lambda session: status(session, [])),
    "list": ("alpha", lambda session: listing(session, masters_only=False)),
    "expire all": ("alpha", pairs.expiring()),
    "expire all there": ("beta", pairs.expiring()),
    "doctor": ("alpha", lambda session: doctor(session, [])),
    "doctor there": ("beta", lambda session: doctor(session, [])),
}
OF_ONE: dict[str, tuple[str, Work]] = {
    "sync": ("alpha", pairs.syncing(WELL[0])),
    "status": ("alpha", lambda session: status(session, [WELL[0]])),
    "failover": ("alpha", pairs.failing_over(WELL[0])),
    "takeover": ("beta", pairs.taking_over(WELL[0])),
    "takeover -L": ("beta", pairs.forcing(WELL[0])),
    "rejoin": ("alpha", pairs.rejoining(WELL[0])),
    "refresh": ("beta", lambda session: sync.sync(session, [WELL[0]], pull=True)),
    "expire": ("alpha", pairs.expiring(WELL[0])),
    "rehearse": ("beta", lambda session: rehearse(session, WELL[0], ())),
    "doctor": ("alpha", lambda session: doctor(session, [WELL[0]])),
    "pause": ("alpha", pairs.pausing(WELL[0], "why")),
    "unpause": ("alpha", pairs.unpausing(WELL[0])),
    "changeconfig": ("alpha", pairs.changing(WELL[0], Config(lease=600))),
    "clear": ("alpha", pairs.clearing(WELL[0])),
    "init": ("alpha", pairs.initialising(Request("tank/new", "beta", "tank/new2"))),
}


def seen(hosts: Hosts, ended: Ended) -> tuple[object, ...]:
    """What a run said of the good ones, and what they are after it on both hosts."""
    said = sorted(
        (outcome.filesystem, outcome.message, outcome.error.line() if outcome.error else "", outcome.notes)
        for outcome in ended.outcomes
        if outcome.filesystem.startswith("tank/")
    )
    rows = sorted((row.name, row.state, row.peer, row.behind, row.unsent) for row in ended.rows if row.name in WELL)
    listed = "zfs list -H -o name,userrefs,mounted -t all -r tank"
    got = "zfs get -H -r -s local -o name,property,value all tank"
    state = [SOME.sub("", hosts[name].sh(command).decode()) for name in ("alpha", "beta") for command in (listed, got)]
    return said, rows, state


@pytest.mark.thorough
@pytest.mark.parametrize("way", WAYS)
def test_a_command_for_all_does_with_the_other_four_what_it_does_without_it(way: str, states: States) -> None:
    for command, (host, work) in OF_MANY.items():
        only = (lambda session: sync.sync(session, WELL)) if command == "sync of each" else work
        like_without_it(states, way, host, work, only)


@pytest.mark.thorough
@pytest.mark.parametrize("way", WAYS)
def test_a_command_for_another_one_does_what_it_does_without_it(way: str, states: States) -> None:
    for host, work in OF_ONE.values():
        like_without_it(states, way, host, work, work)


def like_without_it(states: States, way: str, host: str, work: Work, only: Work) -> None:
    """A run says of the other four, and does with them, what it does where there is no fifth, and ends with the same
    code but for the broken one's. only: the same run there."""
    hosts, four, five = states
    hosts.load(four)
    hosts.world.set_time(LATER)
    alone = hosts.run(host, only)
    expected = seen(hosts, alone)
    hosts.load(five)
    try:
        WAYS[way](hosts)
        hosts.world.set_time(LATER)
        ended = hosts.run(host, work)
    finally:
        while HELD:
            HELD.pop().close()
    assert seen(hosts, ended) == expected
    assert ended.code == worst([alone.code or 0, *codes_of_the_odd_one(ended)])


def codes_of_the_odd_one(ended: Ended) -> list[int]:
    outcomes = [each.code for each in ended.outcomes if not each.filesystem.startswith("tank/")]
    return outcomes + [row.code for row in ended.rows if not row.name.startswith("tank/")]
