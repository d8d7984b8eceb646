"""A wire that is cut, and programs that are killed, in the middle of a stream or of a role change: never two masters
that take writes, and running again, or the next cron, makes the pair whole."""

from __future__ import annotations

import shlex
import threading
import time
from itertools import pairwise

import pytest

from tests.lab.faults import (
    CRON,
    FAILOVER,
    NOTHING,
    SYNC,
    Hosts,
    Process,
    again,
    base,
    big,
    ended,
    in_stream,
    let_go,
    may_write,
    replicated,
    role,
    set_trap,
    started,
    tells,
    text,
    told,
    wait_held,
    whole,
)
from tests.lab.hosts import Direction, Host, Lab
from tests.lab.zrep_on import (
    BUSY,
    REFUSED,
    UNREACHABLE,
    alone,
    content,
    in_step,
    local,
    made,
    newest_guid,
    rarely,
    recovers,
    silent,
)


@pytest.fixture
def pair(hosts: Hosts) -> Hosts:
    """tank/a on alpha, replicated to beta."""
    return replicated(hosts)


class Writer:
    """On one host: appends a line to the log of every filesystem again and again, and remembers each one that fsync
    has acknowledged. It never creates a log, so that a bare mountpoint is not taken for the filesystem."""

    PROGRAM = """
import os, select, sys
n = 0
while not select.select([sys.stdin], [], [], 0.2)[0]:
    n += 1
    for fs in sys.argv[2:]:
        try:
            file = os.open(f"/{fs}/log", os.O_WRONLY | os.O_APPEND)
            try:
                os.write(file, f"{sys.argv[1]} {n}\\n".encode())
                os.fsync(file)
            finally:
                os.close(file)
        except OSError:
            continue
        print(fs, sys.argv[1], n, flush=True)
"""

    def __init__(self, host: Host, run: str, filesystems: list[str], acknowledged: list[tuple[str, str]]) -> None:
        self._process = host.popen(shlex.join(["python3", "-c", self.PROGRAM, f"{host.name}-{run}", *filesystems]))
        self._reader = threading.Thread(target=self._read, args=(acknowledged,), daemon=True)
        self._reader.start()

    def _read(self, acknowledged: list[tuple[str, str]]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            filesystem, _, words = line.rstrip("\n").partition(" ")
            acknowledged.append((filesystem, words))

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._reader.join(20)


PHASES = ("tank/prepare", "tank/stream", "tank/mark", "tank/take")


@pytest.fixture(scope="class")
def pairs(lab: Lab) -> Lab:
    """A pair for each phase, from alpha to beta."""
    lab.reset()
    for filesystem in PHASES:
        made(lab.alpha, filesystem)
        lab.alpha.run(f"touch /{filesystem}/log; zrep init {filesystem} beta {filesystem}")
    return lab


class TestCut:
    """The wire is cut, without a word to either end, while four failovers are under way: one before it stops writes,
    one in its last stream, one about to write the commit down, one while the peer takes the role."""

    @pytest.mark.parametrize("direction", ["in", *rarely("both", "out")])
    def test_failover(self, pairs: Lab, direction: Direction) -> None:
        acknowledged: list[tuple[str, str]] = []
        writers = [Writer(host, direction, list(PHASES), acknowledged) for host in pairs]
        set_trap(*pairs)
        try:
            masters = {filesystem: self.master(pairs, filesystem) for filesystem in PHASES}
            runs = [self.held(pairs, filesystem, master) for filesystem, master in masters.items()]
            pairs.cut(pairs.beta, direction)
            let_go(*pairs)
            for filesystem, run in zip(PHASES, runs, strict=True):
                told(ended(run), UNREACHABLE, f"{filesystem}: ")
                self.at_most_one_writable(pairs, filesystem)
            pairs.heal()
            for filesystem in ("tank/mark", "tank/take"):
                again(masters[filesystem], f"zrep failover {filesystem}")
        finally:
            pairs.heal()
            let_go(*pairs)
            for writer in writers:
                writer.stop()
        self.settle(pairs)
        for filesystem in PHASES:
            self.nothing_is_missing(pairs, filesystem, [words for name, words in acknowledged if name == filesystem])
        # Before the commit it was undone at once; after it, the same command again finished it.
        moved = {filesystem for filesystem in PHASES if self.master(pairs, filesystem) is not masters[filesystem]}
        assert moved == {"tank/mark", "tank/take"}

    def held(self, lab: Lab, filesystem: str, master: Host) -> Process:
        """A failover that has come to its phase."""
        point = filesystem.removeprefix("tank/")
        [replica] = [host for host in lab if host is not master]
        if point == "stream":
            big(master, 10, "/tank/stream/big")
        run = master.popen(f"zrep failover {filesystem}")
        wait_held(master if point in ("prepare", "mark") else replica, point)
        return run

    def master(self, lab: Lab, filesystem: str) -> Host:
        [master] = [host for host in lab if local(host, filesystem, "zrep:master") == "yes"]
        return master

    def at_most_one_writable(self, lab: Lab, filesystem: str) -> None:
        assert [role(host, filesystem)["readonly"] for host in lab].count("off") <= 1

    def settle(self, lab: Lab) -> None:
        """cron on both hosts: silent while a stream is still being given up, at last whole."""
        give_up = time.monotonic() + 60
        while True:
            for host in lab:
                silent(host, CRON)
            if self.settled(lab):
                return
            assert time.monotonic() < give_up, "it does not become whole"

    def settled(self, lab: Lab) -> bool:
        roles = [[role(host, filesystem) for host in lab] for filesystem in PHASES]
        return all(
            {one["zrep:master"], two["zrep:master"]} == {"yes", "no"}
            and one["zrep:gen"] == two["zrep:gen"]
            and {one["readonly"], two["readonly"]} == {"on", "off"}
            and {one["zrep:inprogress"], two["zrep:inprogress"]} <= NOTHING
            for one, two in roles
        ) and all(in_step(lab.alpha, filesystem, lab.beta, filesystem) for filesystem in PHASES)

    def nothing_is_missing(self, lab: Lab, filesystem: str, acknowledged: list[str]) -> None:
        master = self.master(lab, filesystem)
        [replica] = [host for host in lab if host is not master]
        whole(master, replica, filesystem)
        log = set(master.run(f"cat /{filesystem}/log").lines)
        assert acknowledged
        assert set(acknowledged) <= log, set(acknowledged) - log
        places = [words.partition("-")[0] for words in acknowledged]
        moves = sum(one != two for one, two in pairwise(places))
        assert moves <= 1, f"written on both sides by turns: {places}"


class TestKilledWhileThePeerTakesTheRole:
    """kill -9 of the failover; the peer is master, and the old one does not know it."""

    @pytest.fixture
    def stalled(self, hosts: Hosts) -> Hosts:
        alpha, beta = hosts
        made(alpha, "tank/take")
        alpha.run("zrep init tank/take beta tank/take")
        text(alpha, "the last word", "/tank/take/file")
        set_trap(beta)
        run = started(alpha, "zrep failover tank/take")
        wait_held(beta, "take")
        alpha.run("kill -9 $(cat /tmp/pid)")
        ended(run)
        return hosts

    @pytest.fixture
    def pair(self, stalled: Hosts) -> Hosts:
        self.arrives(stalled[1])
        return stalled

    def arrives(self, beta: Host) -> None:
        let_go(beta)
        beta.run("until zfs get -H -o value zrep:master tank/take | grep -q yes; do sleep 0.1; done")

    def stays_as_it_is(self, alpha: Host) -> None:
        tells(alpha, "zrep sync tank/take", BUSY, "tank/take: busy")
        silent(alpha, CRON)
        assert not may_write(alpha, "tank/take")

    def test_as_long_as_it_stalls_nobody_undoes_it(self, stalled: Hosts) -> None:
        """Were the old master made writable now, there would be two when the new one's role arrives after all."""
        alpha, beta = stalled
        self.stays_as_it_is(alpha)
        # It waits for half a minute; zrep's half there gives up after 12 seconds of silence.
        tells(beta, "zrep takeover tank/take", BUSY, "tank/take: busy")
        self.stays_as_it_is(alpha)
        self.arrives(beta)
        silent(alpha, CRON)
        silent(beta, CRON)
        whole(beta, alpha, "tank/take")
        assert beta.run("cat /tank/take/file").out == "the last word\n"

    @pytest.mark.parametrize("first", ["old", *rarely("new")])
    def test_cron_of_either_side_finishes_it(self, pair: Hosts, first: str) -> None:
        alpha, beta = pair
        silent(alpha if first == "old" else beta, CRON)
        silent(beta, CRON)
        whole(beta, alpha, "tank/take")
        assert beta.run("cat /tank/take/file").out == "the last word\n"

    @pytest.mark.parametrize("other", [*rarely(False), True], ids=["alone", "beside another one that is due"])
    def test_cron_of_the_old_master_takes_no_snapshot_of_what_is_a_replica_now(self, pair: Hosts, other: bool) -> None:
        alpha, beta = pair
        if other:
            made(alpha, "tank/other")
            alpha.run("zrep init tank/other beta tank/other")
            text(alpha, "due", "/tank/other/file")
        silent(beta, "zrep takeover -L --yes tank/take")
        text(beta, "of the new master", "/tank/take/file")
        beta.run("zpool sync")
        silent(alpha, CRON)
        silent(beta, CRON)
        whole(beta, alpha, "tank/take")
        assert content(alpha, "tank/take") == "of the new master"
        if other:
            whole(alpha, beta, "tank/other")
            assert content(beta, "tank/other") == "due"


class TestKilled:
    """kill -9 of zrep; its stream goes on without it."""

    def test_a_sync_is_busy_until_the_stream_ends_then_goes_on(self, pair: Hosts) -> None:
        alpha, beta = pair
        big(alpha, 12)
        run = in_stream(alpha, beta, SYNC)
        alpha.run("kill -9 $(cat /tmp/pid)")
        ended(run)
        tells(alpha, SYNC, BUSY, "tank/a: busy")
        silent(alpha, CRON)
        text(alpha, "written meanwhile")
        let_go(beta)
        again(alpha, SYNC)
        whole(alpha, beta)
        assert content(beta, "tank/a") == "written meanwhile"

    @pytest.mark.thorough
    def test_a_failover_is_busy_until_the_stream_ends_then_is_undone(self, pair: Hosts) -> None:
        alpha, beta = pair
        big(alpha, 12)
        run = in_stream(alpha, beta, FAILOVER)
        alpha.run("kill -9 $(cat /tmp/pid)")
        ended(run)
        tells(alpha, FAILOVER, BUSY, "tank/a: busy")
        assert not may_write(alpha)
        let_go(beta)
        again(alpha, SYNC)
        assert may_write(alpha)
        silent(alpha, CRON)
        whole(alpha, beta)
        assert role(alpha, "tank/a")["zrep:epoch"] == "1"


class TestPartition:
    def test_takeover_ends_the_receive_that_a_dead_sender_left(self, lab: Lab, pair: Hosts) -> None:
        alpha, beta = pair
        big(alpha, 30)
        lab.slow(beta, rate="20mbit")
        run = started(alpha, SYNC)
        beta.run("timeout 60 sh -c 'until pgrep -x zfs > /dev/null; do sleep 0.1; done; sleep 2'", timeout=90)
        alpha.power_off()
        ended(run)
        lab.heal()
        beta.run("pgrep -x zfs")
        start = time.monotonic()
        alone(beta, "tank/a")
        assert time.monotonic() - start < 60
        assert beta.run("pgrep -x zfs", check=False).rc == 1
        now = role(beta, "tank/a")
        assert (now["zrep:master"], now["readonly"], now["receive_resume_token"]) == ("yes", "off", "-")
        assert beta.run("ls /tank/a; cat /tank/a/file").lines == ["file", "first"]
        text(beta, "of the new master")
        alpha.boot()
        silent(alpha, "zrep rejoin tank/a")
        silent(beta, CRON)
        whole(beta, alpha)

    def test_both_sides_forced_is_a_split_brain_until_one_rejoins(self, lab: Lab, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, "tank/mark")
        alpha.run("zrep init tank/mark beta tank/mark")
        self.stop_at_the_commit(alpha)
        lab.cut(beta)
        for host in hosts:
            alone(host, "tank/mark")
            text(host, f"written on {host.name}", "/tank/mark/file")
        lab.heal()
        for host, other in ((alpha, beta), (beta, alpha)):
            done = host.run("zrep status -H tank/mark", check=False)
            assert (done.rc, done.out.split("\t")[3]) == (REFUSED, "split brain")
            self.by_hand_is_refused(host, other)
        for host in hosts:
            tells(host, CRON, REFUSED, "tank/mark: split brain.*zrep rejoin -f")
            assert host.run("cat /tank/mark/file").out == f"written on {host.name}\n"
            assert not may_write(host, "tank/mark")
        tells(alpha, "zrep rejoin tank/mark", REFUSED, "split brain.*zrep rejoin -f tank/mark")
        alpha.run("zfs destroy tank/mark@hand")
        beta.run("zfs destroy tank/mark@hand")
        silent(alpha, "zrep rejoin -f tank/mark")
        recovers(beta, CRON)
        assert may_write(beta, "tank/mark")
        whole(beta, alpha, "tank/mark")
        assert content(beta, "tank/mark") == "written on beta"
        [split] = [line for line in alpha.run("zfs list -H -o name").lines if "_split_" in line]
        assert content(alpha, split) == "written on alpha"

    def stop_at_the_commit(self, alpha: Host) -> None:
        """A failover that died after it had written down that it commits: alpha needs a word of beta to go on."""
        set_trap(alpha)
        run = started(alpha, "zrep failover tank/mark")
        wait_held(alpha, "mark")
        alpha.run("kill -9 $(cat /tmp/pid)")
        let_go(alpha)
        ended(run)
        alpha.run("until zfs get -H -o value zrep:inprogress tank/mark | grep -q commit; do sleep 0.1; done")

    def by_hand_is_refused(self, host: Host, other: Host) -> None:
        host.run("zfs snapshot tank/mark@hand")
        stream = f"zfs send -i @{base(host, other, 'tank/mark')} tank/mark@hand"
        arrived = newest_guid(other, "tank/mark")
        assert host.run(f"{stream} | ssh {other.name} zfs receive -u tank/mark", check=False).rc != 0
        assert newest_guid(other, "tank/mark") == arrived

    def test_failover_and_takeover_at_once_make_one_master(self, pair: Hosts) -> None:
        alpha, beta = pair
        text(alpha, "the last word")
        runs = [alpha.popen(FAILOVER), beta.popen("zrep takeover tank/a")]
        codes = [ended(run).rc for run in runs]
        assert 0 in codes
        assert set(codes) <= {0, REFUSED, BUSY}
        silent(beta, CRON)
        whole(beta, alpha)
        assert role(beta, "tank/a")["zrep:epoch"] == "2"
        assert beta.run("cat /tank/a/file").out == "the last word\n"
