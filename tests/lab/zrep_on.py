"""For tests of zrep on the hosts: tables of commands, how each must end, and proof that it changed nothing."""

import re
import shlex
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.lab.hosts import Host, Lab, Result
from tests.waiting import wait_for

OK, FAILED, USAGE, REFUSED, BUSY, UNREACHABLE = 0, 1, 2, 3, 4, 5

# ZFS's own record of every change, which shows even what was undone again; and what is no change of a pool: mounts,
# and what zrep should have cleared away behind it. One program, the rest by the shell itself: it is asked four times
# for each of hundreds of refusals, on hosts that are slow to start a program.
TRACES = r"""
zpool history -i
while read -r mount; do [[ $mount != *' zfs '* ]] || echo "$mount"; done < /proc/mounts
compgen -G '/tmp/zrep*'
"""
PICTURE = r"""
zfs list -H -p -t all -o name,guid,createtxg,userrefs
zfs get -H -p -o name,property,value,source all |
    grep -vP '\t(used|available|referenced|logical\w+|usedby\w+|written|\w*compressratio|snapshots_changed)\t'
zfs list -H -o name -t snapshot | xargs -r -d '\n' zfs holds -H
"""


@dataclass(frozen=True)
class Obstacle:
    """Something in the way on one host, and how it is taken away again."""

    host: str
    put: str
    remove: str


@dataclass(frozen=True)
class Case:
    """One row of a table of refusals: how a command ends that must not change anything.

    says: what its line on stderr matches; it also says what to do next, unless `code` is that of wrong usage or
    `advises` is off.
    """

    name: str
    command: str
    code: int
    says: str
    on: str = "alpha"
    obstacle: Obstacle | None = None
    advises: bool = True


def unreachable(host: str) -> Obstacle:
    """New connections are refused, and what there is of them is reset."""
    rules = "add table inet x; add chain inet x in { type filter hook input priority 0; }"
    deaf = f"nft '{rules}; add rule inet x in tcp dport 22 reject with tcp reset'"
    return Obstacle(host, deaf, "nft flush ruleset")


def rarely(*values: object) -> list[object]:
    """Parameters of what another test shows as well, or the model does: make test-lab passes them over."""
    return [pytest.param(value, marks=pytest.mark.thorough) for value in values]


def rows(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """A test for each case."""
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases])


def check(lab: Lab, case: Case) -> None:
    """Run a case: one line on stderr, nothing on stdout, its exit code, nothing changed on either host."""
    lab[case.on].run("rm -f /run/zrep/state/*@news")  # or sync all would say nothing the second time
    with put(lab, case.obstacle), unchanged(lab):
        one_line(lab[case.on].run(case.command, check=False, timeout=90), case)


def one_line(done: Result, case: Case) -> None:
    """The command of a case ended as it must."""
    assert re.fullmatch(r"zrep: [^\n]+\n", done.err), done
    assert (done.rc, done.out) == (case.code, ""), done
    assert re.search(case.says, done.err), done.err
    assert case.code == USAGE or not case.advises or "; next: " in done.err, done.err
    assert not re.search(r"Traceback|\w(Error|Exception)\b", done.err), done.err


@contextmanager
def put(lab: Lab, obstacle: Obstacle | None) -> Iterator[None]:
    """Inside, something is in the way."""
    if obstacle is None:
        yield
        return
    lab[obstacle.host].run(obstacle.put)
    try:
        yield
    finally:
        lab[obstacle.host].run(obstacle.remove)


@contextmanager
def unchanged(lab: Lab, look: str = TRACES) -> Iterator[None]:
    """What is done inside leaves no trace on any host."""
    before = on_all(lab, look)
    yield
    for host, old, new in zip(lab, before, on_all(lab, look), strict=True):
        assert new == old, f"on {host.name}: {sorted(set(new) ^ set(old))}"


def on_all(lab: Lab, command: str) -> list[list[str]]:
    """The lines a command prints on each host; the hosts work at the same time."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda host: host.run(command, check=False).lines, lab))


def silent(host: Host, command: str) -> None:
    """A command that succeeds and, as cron wants it, says nothing."""
    done = host.run(command, timeout=120)
    assert (done.out, done.err) == ("", ""), done


HEARD = "/var/log/heard"


def hear_syslog(host: Host) -> None:
    """From now on, until its reset, what a host's syslog is told stands in the file HEARD, a line each."""
    listener = (
        "import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind('/dev/log')\n"
        "while True: print(s.recv(2000).decode(), flush=True)"
    )
    host.run(f"rm -f /dev/log; setsid python3 -c {shlex.quote(listener)} </dev/null >{HEARD} 2>&1 &")
    host.run("until [ -S /dev/log ]; do sleep 0.1; done", timeout=60)


def until(host: Host, command: str, wanted: str) -> str:
    """What a command prints once it is wanted."""
    found = ""

    def reached() -> bool:
        nonlocal found
        found = host.run(command, check=False).out
        return bool(re.search(wanted, found))

    wait_for(reached, lambda: found)
    return found


def alone(host: Host, filesystem: str, options: str = "--yes -f") -> None:
    """takeover -L, whether the other side answers or not: it says what it costs, to whomever."""
    done = host.run(f"zrep takeover -L {options} {filesystem}", timeout=120)
    assert re.fullmatch(r"[^\n]*(is lost to this side|goes on as master)[^\n]*\n", done.out), done
    assert done.err == "", done


def well(host: Host, command: str) -> None:
    """A run of cron that succeeds: silent, or with the line of recovers."""
    done = host.run(command, timeout=120)
    assert done.out == "", done
    assert not done.err or "over after" in done.err, done


def recovers(host: Host, command: str) -> None:
    """A run of cron that succeeds after some that did not: one line says so."""
    done = host.run(command, timeout=120)
    assert done.out == "", done
    assert re.fullmatch(r"zrep: [^\n]*: over after [^\n]+\n", done.err), done


def still(host: Host, command: str, code: int) -> None:
    """A run of cron that ends like the one before it: that has been said."""
    done = host.run(command, check=False, timeout=120)
    assert (done.rc, done.out, done.err) == (code, "", ""), done


def made(host: Host, filesystem: str, **properties: str) -> str:
    """A new filesystem with a file in it; its name."""
    options = " ".join(shlex.quote(f"-o{name}={value}") for name, value in properties.items())
    name, path = shlex.quote(filesystem), shlex.quote(f"/{filesystem}/file")
    host.run(f"zfs create -p {options} {name} && echo first > {path}")
    return filesystem


def local(host: Host, filesystem: str, name: str) -> str:
    """The local value of a property; empty when it has none."""
    return host.run(f"zfs get -H -p -s local -o value {name} {shlex.quote(filesystem)}").out.strip()


def snapshots(host: Host, filesystem: str) -> list[str]:
    """The short names of its snapshots, oldest first."""
    command = f"zfs list -H -o name -t snapshot -d 1 -s createtxg {shlex.quote(filesystem)}"
    return [line.partition("@")[2] for line in host.run(command).lines]


def newest_guid(host: Host, filesystem: str) -> str:
    """The guid of its newest snapshot."""
    command = f"zfs list -H -p -o guid -t snapshot -d 1 -s createtxg {shlex.quote(filesystem)} | tail -n 1"
    return host.run(command).out.strip()


def in_step(one: Host, its: str, other: Host, others: str) -> bool:
    """Both sides have the same newest snapshot."""
    guid = newest_guid(one, its)
    return bool(guid) and guid == newest_guid(other, others)


def content(host: Host, filesystem: str) -> str:
    """What the file of `made` holds in the newest snapshot, mounted or not."""
    return host.run(
        f"snap=$(zfs list -H -o name -t snapshot -d 1 -s createtxg {shlex.quote(filesystem)} | tail -n 1) && "
        'mkdir -p /mnt/look && mount -t zfs "$snap" /mnt/look && cat /mnt/look/file; umount /mnt/look'
    ).out.strip()
