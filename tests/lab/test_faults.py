"""Other faults on two real hosts: full pools, clocks, mapped files, missing keys, a peer that is down or fenced off.

Each test shows the exit code and the one line that a person sees, what is kept (data, the master role, the replica),
and that running again, or the next cron, makes it whole.
"""

from __future__ import annotations

import time

import pytest

from tests.lab.faults import (
    ALONE,
    CRON,
    FAILOVER,
    INIT,
    NOTHING,
    SYNC,
    Hosts,
    Process,
    big,
    ended,
    may_write,
    replicated,
    role,
    tells,
    text,
    told,
    whole,
)
from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import (
    FAILED,
    REFUSED,
    UNREACHABLE,
    Case,
    check,
    content,
    in_step,
    local,
    made,
    newest_guid,
    recovers,
    silent,
    snapshots,
    still,
    until,
)


def no_lock_left(host: Host) -> None:
    host.run(
        "for lock in /run/zrep/*.lock /run/zrep/*.receive; do [ ! -e $lock ] || flock -n $lock true || exit 1; done"
    )


@pytest.fixture
def pair(hosts: Hosts) -> Hosts:
    """tank/a on alpha, replicated to beta."""
    return replicated(hosts)


class TestFullPool:
    def test_the_target_fills_up_in_the_middle_of_a_stream(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, "tank/a")
        alpha.run("zrep init tank/a beta small/a")
        arrived = newest_guid(beta, "small/a")
        beta.run("head -c 30M /dev/urandom > /small/filler; zpool sync")
        big(alpha, 40)
        tells(alpha, CRON, FAILED, "tank/a: .*out of space")
        still(alpha, CRON, FAILED)
        assert snapshots(alpha, "tank/a") == ["zrep_000001", "zrep_000002"]
        assert newest_guid(beta, "small/a") == arrived
        assert local(beta, "small/a", "readonly") == "on"
        text(alpha, "written meanwhile")
        beta.run("rm /small/filler; zpool sync")
        recovers(alpha, CRON)
        assert in_step(alpha, "tank/a", beta, "small/a")
        assert content(beta, "small/a") == "written meanwhile"

    def test_the_source_has_no_room_for_a_snapshot(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, "small/a")
        alpha.run("zrep init small/a beta tank/a")
        alpha.run("head -c 100M /dev/urandom > /small/a/big", check=False)
        alpha.run("zpool sync")
        tells(alpha, CRON, FAILED, "small/a: .*(too full|out of space)")
        assert snapshots(alpha, "small/a") == ["zrep_000001"]
        alpha.run("rm /small/a/big; zpool sync")
        text(alpha, "written after that", "/small/a/file")
        recovers(alpha, CRON)
        assert in_step(alpha, "small/a", beta, "tank/a")
        assert content(beta, "tank/a") == "written after that"


class TestTime:
    def test_lock_files_left_by_a_power_loss_are_no_locks(self, pair: Hosts) -> None:
        alpha, beta = pair
        for host in pair:  # on the disk, where they survive
            host.run("echo ZREP_RUNDIR=/root/run > /etc/default/zrep; sync")
        text(alpha, "with other locks")
        silent(alpha, SYNC)
        for host in pair:
            host.run("zfs set zrep:lock-pid=4000000 zrep:lock-time=1 tank/a; sync; ls /root/run/zrep/*.lock")
            host.popen("flock /root/run/zrep/tank%a.lock sleep 600")
            # Once somebody else cannot have it, it is held; power that goes before leaves nothing to be tested.
            until(host, "flock -n /root/run/zrep/tank%a.lock true || echo held", "^held$")
            host.power_off()
        for host in pair:
            host.power_on()
        for host in pair:
            host.wait()
            host.run("ls /root/run/zrep/*.lock")
        text(alpha, "after the power loss")
        silent(alpha, SYNC)
        whole(alpha, beta)

    def test_a_clock_set_back_changes_nothing(self, pair: Hosts) -> None:
        alpha, beta = pair
        text(alpha, "an hour later")
        silent(alpha, SYNC)
        alpha.run("date -s '1 hour ago' > /dev/null")
        for words in ("an hour earlier", "and a moment after"):
            text(alpha, words)
            silent(alpha, CRON)
            assert content(beta, "tank/a") == words
        whole(alpha, beta)
        fields = alpha.run("zrep status -H tank/a").out.rstrip("\n").split("\t")
        assert (fields[3], fields[5], fields[6]) == ("ok", "0", "0")
        text(alpha, "the last word")
        silent(alpha, FAILOVER)
        assert beta.run("cat /tank/a/file").out == "the last word\n"


MAPPED = """
import mmap, os, time
with open("/tank/a/mapped", "r+b") as file:
    map = mmap.mmap(file.fileno(), 4096)
os.closerange(3, 100)  # the mapping has a descriptor of its own
n = 0
while True:
    n += 1
    map[:8] = b"%08d" % n
    map.flush()
    print(n, flush=True)
    time.sleep(0.02)
"""


class TestMapped:
    """A writer whose file is closed: only the mapping is left, which readonly=on does not stop."""

    @pytest.fixture
    def writer(self, pair: Hosts) -> Process:
        alpha, _ = pair
        alpha.run("head -c 4096 /dev/zero > /tank/a/mapped")
        alpha.put(MAPPED.encode(), "/root/mapped.py")
        writer = alpha.popen("echo $$ > /tmp/writer; exec python3 /root/mapped.py")
        assert writer.stdout is not None
        assert writer.stdout.readline() == "1\n"
        return writer

    @pytest.mark.parametrize(
        ("insist", "code", "says"),
        [
            ("", REFUSED, r"tank/a is being written on alpha.*python3 \(\d+\)"),
            (" --force-unmount", REFUSED, r"has a file mapped for writing in tank/a.*python3 \(\d+\)"),
        ],
        ids=["politely", "insisting"],
    )
    def test_a_failover_is_refused_and_loses_nothing_it_wrote(
        self, pair: Hosts, writer: Process, insist: str, code: int, says: str
    ) -> None:
        alpha, beta = pair
        done = alpha.run(FAILOVER + insist, check=False, timeout=120)
        assert may_write(alpha)
        assert role(alpha, "tank/a")["zrep:inprogress"] in NOTHING
        alpha.run("kill $(cat /tmp/writer)")
        acknowledged = int(ended(writer).out.split()[-1])
        silent(alpha, FAILOVER)
        assert int(beta.run("head -c 8 /tank/a/mapped").out) >= acknowledged
        silent(beta, CRON)
        whole(beta, alpha)
        told(done, code, says)


class TestEncrypted:
    def test_a_replica_without_its_key_is_not_promoted(self, lab: Lab, hosts: Hosts) -> None:
        alpha, beta = hosts
        for host in hosts:
            host.run("echo 12345678 > /root/key")
        made(alpha, "tank/a", encryption="on", keyformat="passphrase", keylocation="file:///root/key")
        alpha.run(INIT)
        text(alpha, "a secret")
        alpha.run("zpool sync")
        says = "tank/a: the key of tank/a is not loaded on beta.*on beta: zfs load-key"
        check(lab, Case("failover", FAILOVER, REFUSED, says))
        check(lab, Case("takeover", "zrep takeover tank/a", REFUSED, says, on="beta"))
        check(lab, Case("takeover -L", ALONE, REFUSED, says, on="beta"))
        assert may_write(alpha)
        beta.run("zfs load-key -L file:///root/key tank/a")
        silent(alpha, FAILOVER)
        assert beta.run("cat /tank/a/file").out == "a secret\n"


class TestPeerDown:
    @pytest.mark.thorough
    def test_cron_leaves_nothing_behind_and_recovers_by_itself(self, pair: Hosts) -> None:
        alpha, beta = pair
        beta.power_off()
        before = snapshots(alpha, "tank/a")
        for n in range(3):
            text(alpha, f"while it is down {n}")
            if n == 0:
                tells(alpha, CRON, UNREACHABLE, "tank/a: cannot reach beta")
            else:
                still(alpha, CRON, UNREACHABLE)
            no_lock_left(alpha)
        assert snapshots(alpha, "tank/a") == before
        assert alpha.run("ls -d /tmp/zrep*", check=False).rc != 0
        beta.boot()
        recovers(alpha, CRON)
        silent(alpha, CRON)
        whole(alpha, beta)
        assert content(beta, "tank/a") == "while it is down 2"

    def test_a_master_with_a_lease_stops_and_goes_on_by_itself(self, lab: Lab, pair: Hosts) -> None:
        alpha, beta = pair
        silent(alpha, "zrep changeconfig --lease 5 tank/a")
        silent(alpha, CRON)
        lab.cut(beta)
        time.sleep(6)
        done = alpha.run(CRON, check=False, timeout=60)
        first, second = done.err.splitlines()
        assert done.rc == UNREACHABLE
        assert "tank/a: read-only from now on: beta was not reached for" in first
        assert "longer than its lease of 5s" in first
        assert "cannot reach beta" in second
        assert not may_write(alpha)
        still(alpha, CRON, UNREACHABLE)
        lab.heal()
        recovers(alpha, CRON)
        assert may_write(alpha)
        text(alpha, "it goes on")
        silent(alpha, FAILOVER)
        whole(beta, alpha)
        assert beta.run("cat /tank/a/file").out == "it goes on\n"


class TestFenceCommand:
    """The exit status of the administrator's own program decides: here one that looks whether alpha answers."""

    CHECK = "/root/fence"
    PROGRAM = """#!/bin/sh
echo "$ZREP_FS $ZREP_PEER $ZREP_PEER_FS $ZREP_EPOCH" > /tmp/told
ssh -o BatchMode=yes -o ConnectTimeout=3 "$ZREP_PEER" true || exit 0
echo "$ZREP_PEER answers"
exit 1
"""

    def test_a_peer_that_is_alive_is_not_replaced_and_one_that_is_off_is(self, lab: Lab, pair: Hosts) -> None:
        alpha, beta = pair
        beta.put(self.PROGRAM.encode(), self.CHECK, mode="755")
        fenced = f"ZREP_FENCE_CMD={self.CHECK} {ALONE}"
        check(lab, Case("alive", fenced, REFUSED, r"alpha is alive and was not fenced.*alpha answers", on="beta"))
        assert beta.run("cat /tmp/told").out == "tank/a alpha tank/a 2\n"
        unsure = "zrep takeover -L -f --yes --fence-cmd 'exit 2' tank/a"
        check(lab, Case("unsure", unsure, REFUSED, "could not tell whether alpha is down", on="beta"))
        broken = "zrep takeover -L -f --yes --fence-cmd /root/none tank/a"
        check(lab, Case("broken", broken, FAILED, "alpha counts as not fenced", on="beta"))
        alpha.power_off()
        beta.run(fenced)
        assert may_write(beta)
