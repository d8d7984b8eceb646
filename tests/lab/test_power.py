"""Hosts that lose power, and an old master that comes back: what was acknowledged is kept, and running again, or the
next cron, makes the pair whole."""

from __future__ import annotations

import pytest

from tests.lab.faults import (
    CRON,
    FAILOVER,
    INIT,
    SYNC,
    TRAP_FILE,
    Hosts,
    again,
    big,
    ended,
    in_stream,
    let_go,
    may_write,
    replicated,
    set_trap,
    started,
    tells,
    text,
    told,
    wait_held,
    whole,
)
from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import (
    REFUSED,
    UNREACHABLE,
    alone,
    content,
    made,
    rarely,
    recovers,
    silent,
    snapshots,
    still,
)


def received_bytes(host: Host) -> int:
    return int(host.run("cat /sys/class/net/vec0/statistics/rx_bytes").out)


@pytest.fixture
def pair(hosts: Hosts) -> Hosts:
    """tank/a on alpha, replicated to beta."""
    return replicated(hosts)


class TestPowerLoss:
    """A host loses power while a stream is half way."""

    @pytest.mark.parametrize(
        ("command", "lost"), [(INIT, "beta"), (SYNC, "alpha")], ids=["full, the replica's host", "next, the master's"]
    )
    def test_the_same_command_resumes_the_stream(self, lab: Lab, hosts: Hosts, command: str, lost: str) -> None:
        alpha, beta = hosts
        made(alpha, "tank/a")
        if command == SYNC:
            alpha.run(INIT)
        big(alpha, 12)
        run = in_stream(alpha, beta, command)
        lab[lost].power_off()
        if lost == "alpha":
            let_go(beta)
        lab[lost].boot()
        done = ended(run)
        if lost == "beta":
            told(done, UNREACHABLE, "tank/a: .*beta")
        beta.run(f"rm -f {TRAP_FILE}")
        before = received_bytes(beta)
        again(alpha, command)
        assert received_bytes(beta) - before < 9 << 20, "all of it was sent again"
        whole(alpha, beta)
        silent(alpha, CRON)


class TestRejoinCut:
    """The old master or the new one loses power while the old one moves what it wrote alone aside."""

    @pytest.mark.parametrize("lost", ["old", *rarely("new")])
    def test_the_same_command_finishes_it(self, pair: Hosts, lost: str) -> None:
        alpha, beta = pair
        text(alpha, "of the old master alone")
        alpha.run("zpool sync")
        alone(beta, "tank/a")
        text(beta, "of the new master")
        set_trap(alpha)
        run = started(alpha, "zrep rejoin tank/a")
        wait_held(alpha, "promote")
        host = alpha if lost == "old" else beta
        host.power_off()
        if lost == "new":
            let_go(alpha)
        assert ended(run).rc not in (0, 70)
        host.boot()
        alpha.run(f"rm -f {TRAP_FILE}")
        done = beta.run(CRON, check=False, timeout=60)
        assert done.rc in (0, REFUSED), done
        again(alpha, "zrep rejoin tank/a")
        assert beta.run(CRON, timeout=60).out == ""
        whole(beta, alpha)
        assert content(alpha, "tank/a") == "of the new master"
        [split] = [line for line in alpha.run("zfs list -H -o name").lines if "_split_" in line]
        assert content(alpha, split) == "of the old master alone"


class TestReturn:
    """The master loses power, the replica takes over alone, the old master comes back."""

    def test_cron_comes_first_and_sends_nothing(self, pair: Hosts) -> None:
        alpha, beta = pair
        text(alpha, "never sent")
        alpha.run("zpool sync")
        alpha.power_off()
        alone(beta, "tank/a")
        text(beta, "of the new master")
        alpha.boot()
        before = [snapshots(host, "tank/a") for host in pair]
        tells(alpha, CRON, REFUSED, "tank/a: the master role has moved to tank/a on beta.*zrep rejoin tank/a")
        assert not may_write(alpha)
        still(alpha, CRON, REFUSED)
        tells(alpha, SYNC, REFUSED, "tank/a: the master role has moved to tank/a on beta.*zrep rejoin tank/a")
        assert not may_write(alpha)
        tells(beta, CRON, REFUSED, "old master tank/a on alpha has not rejoined.*on alpha: zrep rejoin tank/a")
        assert [snapshots(host, "tank/a") for host in pair] == before
        assert beta.run("cat /tank/a/file").out == "of the new master\n"
        silent(alpha, "zrep rejoin tank/a")
        recovers(beta, CRON)
        whole(beta, alpha)
        assert self.split(alpha) == "never sent"

    def test_what_fsync_acknowledged_before_the_power_loss_is_in_the_split_copy(self, pair: Hosts) -> None:
        """It is only in the intent log then; and nobody has mounted the filesystem, which would replay it."""
        alpha, beta = pair
        alpha.run("zfs set canmount=noauto tank/a; echo 600 > /sys/module/zfs/parameters/zfs_txg_timeout; zpool sync")
        alpha.run("echo acknowledged > /tank/a/file && sync /tank/a/file")
        alpha.power_off()
        alone(beta, "tank/a")
        alpha.boot()
        assert alpha.run("zfs get -H -o value mounted tank/a").out == "no\n"
        silent(alpha, "zrep rejoin tank/a")
        assert self.split(alpha) == "acknowledged"
        text(beta, "of the new master")
        silent(beta, CRON)
        whole(beta, alpha)

    @pytest.mark.parametrize("mounted", [*rarely(False), True])
    def test_a_replica_that_lost_power_as_a_master_is_brought_up_to_date(self, pair: Hosts, mounted: bool) -> None:
        """Opening the pool claims its intent log, which counts as written for ever, after a rollback too. Unmounted,
        ZFS can tell that nothing was; mounted, what zrep advises mends it."""
        alpha, beta = pair
        alpha.run("echo more > /tank/a/file && sync /tank/a/file")
        alpha.run(FAILOVER)
        alpha.power_off()
        alpha.boot()
        if mounted:
            alpha.run("zfs mount tank/a")
        assert int(alpha.run("zfs get -Hp -o value written tank/a").out)
        if mounted:
            tells(beta, SYNC, REFUSED, "by hand.*sync -f tank/a")
            silent(beta, f"{SYNC} -f")
        text(beta, "of the new master")
        silent(beta, SYNC)
        whole(beta, alpha)

    def split(self, host: Host) -> str:
        """What the file is in the split copy."""
        [name] = [line for line in host.run("zfs list -H -o name").lines if "_split_" in line]
        assert host.run(f"zfs get -H -o value readonly,mounted {name}").lines == ["on", "no"]
        return content(host, name)
