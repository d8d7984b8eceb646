"""What is around a pair on its host, on real OpenZFS: an intent log that nobody replayed, other mounts."""

from __future__ import annotations

import re

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import REFUSED, Case, check, made, silent

Hosts = tuple[Host, Host]

CRON = "zrep sync all"
A = "tank/a"
INIT = f"zrep init {A} beta {A}"
FAILOVER = f"zrep failover {A}"
TAKEOVER = f"zrep takeover {A}"
LATER = "echo 600 > /sys/module/zfs/parameters/zfs_txg_timeout; zpool sync"
KEY = "-o encryption=on -o keyformat=passphrase -o keylocation=file:///root/key"


def power_lost(host: Host, *commands: str) -> None:
    """A host whose transaction groups do not close by themselves loses its power after these commands, and boots."""
    host.run(LATER)
    for command in commands:
        host.run(command)
    host.power_off()
    host.boot()


class TestIntentLog:
    """Acknowledged, and in the intent log alone."""

    def test_a_master_that_is_not_mounted_is_not_given_up(self, lab: Lab, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, A)
        alpha.run(INIT)
        alpha.run(f"zfs set canmount=noauto {A}")
        power_lost(alpha, "echo acknowledged > /tank/a/file && sync /tank/a/file")
        says = "tank/a is not mounted on alpha.*would be lost.*on alpha: zfs mount 'tank/a'"
        check(lab, Case("failover", FAILOVER, REFUSED, says))
        check(lab, Case("takeover", TAKEOVER, REFUSED, says, on="beta"))
        alpha.run(f"zfs mount {A}")
        silent(beta, TAKEOVER)
        assert beta.run("cat /tank/a/file").out == "acknowledged\n"

    @pytest.fixture
    def volume(self, hosts: Hosts) -> Hosts:
        """An encrypted volume on alpha, replicated to beta; alpha has lost power and has not got its key again."""
        alpha, beta = hosts
        for host in hosts:
            host.run("echo 12345678 > /root/key; sync")
        alpha.run(f"zfs create -V 64M {KEY} {A} && zvol_wait && echo first | dd of=/dev/zvol/{A} conv=fsync")
        alpha.run(INIT)
        beta.run(f"zfs load-key -L file:///root/key {A}")
        power_lost(alpha, f"echo acknowledged | dd of=/dev/zvol/{A} conv=fsync")
        return hosts

    def test_a_volume_without_its_key_is_not_given_up(self, lab: Lab, volume: Hosts) -> None:
        alpha, beta = volume
        says = "tank/a is not open on alpha.*would be lost.*on alpha: zfs load-key 'tank/a'"
        check(lab, Case("failover", FAILOVER, REFUSED, says))
        alpha.run(f"zfs load-key {A}")
        silent(alpha, FAILOVER)  # at once: loading the key makes the device, which replays
        assert self.first_line(beta, A) == "acknowledged"

    def test_a_volume_that_rejoins_without_its_key_keeps_it_in_its_split_copy(self, volume: Hosts) -> None:
        alpha, beta = volume
        silent(beta, f"zrep takeover -L --yes {A}")
        silent(alpha, f"zrep rejoin {A}")
        recovers_or_well(beta)
        [copy] = [name for name in alpha.run("zfs list -H -o name").lines if "_split_" in name]
        alpha.run(f"zfs load-key {copy} && zvol_wait")
        assert self.first_line(alpha, copy) == "acknowledged"

    def first_line(self, host: Host, volume: str) -> str:
        out = host.run(f"zvol_wait > /dev/null; head -c 512 /dev/zvol/{volume} | tr -d '\\0'").out
        return out.splitlines()[0]


def recovers_or_well(host: Host) -> None:
    done = host.run(CRON, timeout=120)
    assert not done.err or re.search("over after", done.err), done
