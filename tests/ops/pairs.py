"""Pairs to begin with, and the runs that tests ask for, in a word each."""

from __future__ import annotations

import pytest

from tests.ops.hosts import Ended, Hosts, Mode, ModelHost, Work
from zrep.core import delegation
from zrep.core.names import DEFAULT_TAG
from zrep.core.requests import Answer, ReadMembers
from zrep.core.requests import Request as Asked
from zrep.ops import clear, expire, pause, rejoin, sync
from zrep.ops import takeover_alone as disaster
from zrep.ops.changeconfig import Config, changeconfig
from zrep.ops.failover import failover
from zrep.ops.init import init
from zrep.ops.init_way import Request
from zrep.ops.role_change import RoleChange
from zrep.ops.takeover import takeover

A, B = "tank/a", "tank/b"
MINUTE = 60  # what passes between two runs of the model


def initialising(request: Request) -> Work:
    return lambda session: init(session, request)


INIT = initialising(Request(A, "beta", B))
# The same pair from beta, which alone dials then.
PULL = initialising(Request(A, "alpha", B, pull=True))


def syncing_all() -> Work:
    return lambda session: sync.sync(session, [])


SYNC_ALL = syncing_all()


def syncing(name: str) -> Work:
    return lambda session: sync.sync(session, [name])


def failing_over(name: str, insist: bool = False) -> Work:
    return lambda session: failover(session, name, RoleChange(insist))


def taking_over(name: str, insist: bool = False) -> Work:
    return lambda session: takeover(session, name, RoleChange(insist))


def forcing(name: str, agreed: bool = True, insist: bool = True) -> Work:
    """takeover -L; insist: although the other side answers."""
    return lambda session: disaster.forced_takeover(session, name, lambda loss: agreed, insist=insist)


def rejoining(name: str) -> Work:
    return lambda session: rejoin.rejoin(session, name)


def expiring(*names: str, here_only: bool = False, agreed: bool = False) -> Work:
    return lambda session: expire.expire(session, list(names), here_only, many=agreed)


def clearing(name: str, here_only: bool = False) -> Work:
    return lambda session: clear.clear(session, name, here_only)


def changing(name: str, config: Config) -> Work:
    return lambda session: changeconfig(session, name, config)


def pausing(name: str, reason: str = "") -> Work:
    return lambda session: pause.pause(session, [name], reason)


def unpausing(name: str) -> Work:
    return lambda session: pause.unpause(session, [name])


def run_as_operator(hosts: Hosts, *names: str) -> None:
    """zrep is operator on these hosts from now on, to whom zrep allow has given what the direction needs."""
    for name in names or ("alpha", "beta"):
        given = delegation.SEND if name == "alpha" else delegation.RECEIVE
        hosts[name].sh(f"zfs allow -u operator {','.join(given)} tank")
        hosts.wire.users[name] = "operator"


def good(ended: Ended) -> Ended:
    assert ended.code == 0, ended.text
    return ended


def source(hosts: Hosts, volume: bool = False) -> None:
    """A filesystem (or volume) on alpha with two files and a snapshot of the administrator's."""
    hosts["alpha"].sh(f"zfs create -V 1G {A}" if volume else f"zfs create {A}")
    hosts["alpha"].write(A, "one", b"1" * 50)
    hosts["alpha"].write(A, "older", b"0" * 50)
    hosts["alpha"].sh(f"zfs snapshot {A}@daily")


def linked(hosts: Hosts, volume: bool = False) -> None:
    """A pair, linked, alpha's tank/a to beta's tank/b, with a snapshot of somebody's on the replica too."""
    source(hosts, volume)
    good(hosts.run("alpha", INIT))
    hosts["beta"].sh(f"zfs snapshot {B}@weekly")


def written(hosts: Hosts, host: str = "alpha", name: str = A, key: str = "two") -> None:
    for part in range(4):
        hosts[host].write(name, f"{key}{part}", key.encode() * 20)


def shell_pair(hosts: Hosts) -> None:
    linked(hosts)
    by_the_shell(hosts)


def by_the_shell(hosts: Hosts) -> None:
    """A linked pair as the shell zrep 2.0 leaves one: no epoch, no generation, no holds, and of snapshots no mark but
    that of what was sent, on the master."""
    for host, name in (("alpha", A), ("beta", B)):
        for key in ("epoch", "gen", "parent", "inprogress", "flags", "canmount"):
            hosts[host].run(["zfs", "inherit", f"zrep:{key}", name])
        for snapshot in hosts[host].sh(f"zfs list -H -o name -t snapshot {name}").decode().split():
            hosts[host].run(["zfs", "release", "zrep", snapshot])
            for mark in ("made", *(("sent",) if host == "beta" else ())):
                hosts[host].run(["zfs", "inherit", f"zrep:{mark}", snapshot])
    hosts["beta"].run(["zfs", "inherit", "zrep:master", B])


def forced(hosts: Hosts, volume: bool = False) -> None:
    """A disaster: alpha was cut off, beta was promoted, alpha is back and believes itself master."""
    linked(hosts, volume)
    hosts.wire.cut = True
    good(hosts.run("beta", forcing(B)))
    hosts.wire.cut = False


def diverged(hosts: Hosts, volume: bool = False) -> None:
    """The same, and alpha has a tail of its own that beta never got."""
    linked(hosts, volume)
    written(hosts, key="tail")
    hosts.wire.cut = True
    good(hosts.run("beta", forcing(B)))
    hosts.wire.cut = False


def leased(hosts: Hosts, seconds: int) -> None:
    linked(hosts)
    good(hosts.run("alpha", changing(A, Config(lease=seconds))))
    good(hosts.run("alpha", SYNC_ALL))


def value(hosts: Hosts, host: str, name: str, prop: str) -> str:
    return hosts[host].sh(f"zfs get -Hp -o value {prop} {name}").decode().strip()


def hit(hosts: Hosts, host: str, work: Work, mode: Mode, *words: str, tag: str = DEFAULT_TAG) -> None:
    """A run with a fault at its first command that begins so."""
    dumped = hosts.world.dump()
    hosts.wire.reset()
    hosts.run(host, work, tag=tag)
    at = next(number for number, command in enumerate(hosts.wire.log) if command.argv[: len(words)] == words)
    hosts.load(dumped)
    hosts.wire.reset(mode, at)
    hosts.run(host, work, tag=tag)


def in_between(hosts: Hosts, patch: pytest.MonkeyPatch, here: str, *works: Work) -> None:
    """Have a run on alpha come after another one has read what is here, and before it has read what is on the other
    host, and the next when it does so again: dialling takes long enough for it."""
    answered, left = ModelHost.ask, list(works)

    def ask(asked: ModelHost, request: Asked[Answer]) -> Answer:
        if isinstance(request, ReadMembers) and asked.name != here and left:
            patch.setattr(ModelHost, "ask", answered)
            good(hosts.run("alpha", left.pop(0)))
            patch.setattr(ModelHost, "ask", ask)
        return answered(asked, request)

    patch.setattr(ModelHost, "ask", ask)
