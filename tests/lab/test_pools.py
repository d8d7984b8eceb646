"""Pools that stop, one of two on each host: what else there is goes on."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from tests.lab.hosts import Host
from tests.lab.zrep_on import FAILED, made, recovers

Hosts = tuple[Host, Host]
WELL, LOST = "tank/a", "lost/a"
# A pool in a file on a file system of its own: without room there its writes fail, and frozen they hang.
POOL = """
mkdir -p /ram /frozen && mount -t tmpfs tmpfs /ram && truncate -s 200M /ram/disk && mkfs.ext4 -q -m 0 /ram/disk
mount -o loop /ram/disk /frozen && truncate -s 1G /frozen/img && zpool create -o ashift=12 lost /frozen/img
"""
SUSPEND = """
dd if=/dev/zero of=/frozen/filler bs=1M 2> /dev/null
(head -c 4000000 /dev/urandom > /lost/hog; sync /lost/hog) > /dev/null 2>&1 < /dev/null &
timeout 60 sh -c 'until [ $(cat /proc/spl/kstat/zfs/lost/state) = SUSPENDED ]; do sleep 0.1; done'
"""
RESUME = "fsfreeze -u /frozen 2> /dev/null; rm -f /frozen/filler; zpool clear lost; zpool sync lost"


class TestPools:
    @pytest.fixture
    def two(self, hosts: Hosts) -> Iterator[Hosts]:
        """A pair in each of two pools, both written to since; afterwards no process hangs any more."""
        alpha = hosts[0]
        for host in hosts:
            host.run(POOL)
        for name in (WELL, LOST):
            made(alpha, name)
            alpha.run(f"zrep init {name} beta {name}")
            alpha.run(f"echo second > /{name}/file; zpool sync")
        yield hosts
        for host in hosts:
            host.run(f"[ -d /proc/spl/kstat/zfs/lost ] || zpool import -d /frozen lost; {RESUME}")
            host.run("zpool destroy -f lost; umount /frozen /ram; rmdir /frozen /ram", check=False)

    def sent(self, beta: Host, name: str) -> bool:
        return "@zrep_000002" in beta.run(f"zfs list -H -o name -t snapshot -d 1 {name}").out

    def states(self, host: Host) -> dict[str, str]:
        rows = [line.split("\t") for line in host.run("zrep status -H", check=False, timeout=90).lines]
        return {row[0]: row[3] for row in rows}

    def test_one_that_is_suspended_costs_its_own_pairs_alone(self, two: Hosts) -> None:
        alpha, beta = two
        beta.run(SUSPEND)
        done = alpha.run("zrep sync all", check=False)
        assert re.fullmatch(
            r"zrep: lost/a: pool lost on beta is suspended .*on beta: zpool status lost.*zpool clear lost\n", done.err
        )
        assert (done.rc, self.sent(beta, WELL)) == (FAILED, True)
        assert self.states(alpha) == {WELL: "ok", LOST: "peer unknown"}
        assert self.states(beta) == {WELL: "ok", "lost": "pool lost"}
        assert alpha.run(f"zrep failover {WELL}").rc == 0
        assert beta.run(f"zrep failover {WELL}").rc == 0
        beta.run(RESUME)
        recovers(alpha, "zrep sync all")
        assert self.sent(beta, LOST)

    def test_its_own_that_is_suspended_is_said_and_the_others_go_on(self, two: Hosts) -> None:
        alpha, beta = two
        alpha.run(SUSPEND)
        done = alpha.run("zrep sync all", check=False)
        assert re.fullmatch(r"zrep: .*pool lost.* is suspended .*zpool status lost.*zpool clear lost\n", done.err), done
        assert (done.rc, self.sent(beta, WELL)) == (FAILED, True)
        assert self.states(alpha) == {WELL: "ok", "lost": "pool lost"}
        assert self.states(beta) == {WELL: "ok", LOST: "peer unknown"}
        alpha.run(RESUME)
        recovers(alpha, "zrep sync all")
        assert self.sent(beta, LOST)

    def test_one_that_is_not_imported_is_not_missing(self, two: Hosts) -> None:
        alpha, beta = two
        beta.run("zpool export lost")
        done = alpha.run("zrep sync all", check=False)
        assert re.fullmatch(r"zrep: lost/a: pool lost on beta is not imported .*: zpool import lost\n", done.err)
        assert (done.rc, self.sent(beta, WELL)) == (FAILED, True)
        assert self.states(alpha) == {WELL: "ok", LOST: "peer unknown"}
        beta.run("zpool import -d /frozen lost")
        recovers(alpha, "zrep sync all")

    @pytest.mark.thorough
    def test_disks_that_hang_are_waited_for_no_longer_than_seconds(self, two: Hosts) -> None:
        alpha, beta = two
        beta.run("fsfreeze -f /frozen; echo more > /lost/more; (zpool sync lost > /dev/null 2>&1 < /dev/null &)")
        started = time.monotonic()
        assert self.states(alpha) == {WELL: "ok", LOST: "peer unknown"}
        assert time.monotonic() - started < 60
        assert alpha.run(f"zrep sync {WELL}").rc == 0
        assert self.sent(beta, WELL)
