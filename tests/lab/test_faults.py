"""Faults on two real hosts: power, the wire, killed programs, full pools, hands on the replica, clocks, partitions.

Each test shows the exit code and the one line that a person sees, what is kept (data, the master role, the replica),
and that running again, or the next cron, makes it whole.
"""

import shlex
import subprocess
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.lab.hosts import Direction, Host, Lab, Result
from tests.lab.zrep_on import (
    BUSY,
    FAILED,
    REFUSED,
    UNREACHABLE,
    Case,
    alone,
    check,
    content,
    in_step,
    local,
    made,
    newest_guid,
    one_line,
    rarely,
    recovers,
    silent,
    snapshots,
    still,
    unchanged,
    until,
    well,
)

Hosts = tuple[Host, Host]
Process = subprocess.Popen[str]

CRON = "zrep sync all"
INIT = "zrep init tank/a beta tank/a"
SYNC = "zrep sync tank/a"
FAILOVER = "zrep failover tank/a"
ALONE = "zrep takeover -L -f --yes tank/a"

# -- stopping zrep at a certain point ----------------------------------------------------------------------------------

# Found before the real one, by zrep and by its half on the peer, which then do everything by commands: it stops at the
# points below until /tmp/go is there, at each once. A stream is stopped after 6 MiB have arrived.
TRAP = r"""#!/bin/sh
held() { mkdir "/tmp/held.$1" 2> /dev/null && until [ -e /tmp/go ]; do sleep 0.1; done; }
case "$*" in
    'receive -s '*/a | 'receive -s '*/stream) { head -c 6M; held stream; cat; } | /usr/sbin/zfs "$@"; exit ;;
    *'"phase":"prepare"'*/prepare) held prepare ;;
    *'"phase":"commit"'*/mark) held mark ;;
    *zrep:master=yes*/take) held take ;;
    'promote '*) held promote ;;
esac
exec /usr/sbin/zfs "$@"
"""
TRAP_FILE = "/usr/local/bin/zfs"


def set_trap(*hosts: Host) -> None:
    for host in hosts:
        host.run(f"rm -rf /tmp/held.* /tmp/go {TRAP_FILE}; echo ZREP_LIBRARY=no > /etc/default/zrep; sync")
        host.put(TRAP.encode(), TRAP_FILE, mode="755")


def wait_held(host: Host, point: str) -> None:
    """Until a command on that host is stopped at a point."""
    host.run(f"timeout 60 sh -c 'until [ -d /tmp/held.{point} ]; do sleep 0.1; done'", timeout=70)


def let_go(*hosts: Host) -> None:
    """What is stopped goes on, and nothing is stopped again; zfs is there at every moment."""
    for host in hosts:
        host.run(f"touch /tmp/go; ln -sf /usr/sbin/zfs {TRAP_FILE}.real && mv -T {TRAP_FILE}.real {TRAP_FILE}")


def started(host: Host, command: str) -> Process:
    """A zrep that runs; its process id is in /tmp/pid."""
    return host.popen(f"echo $$ > /tmp/pid; exec {command}")


def in_stream(sender: Host, receiver: Host, command: str) -> Process:
    """A zrep that runs and whose stream is half received, with that half on the receiver's disk."""
    set_trap(receiver)
    run = started(sender, command)
    wait_held(receiver, "stream")
    receiver.run("sleep 0.5; zpool sync")
    return run


def ended(run: Process) -> Result:
    out, err = run.communicate(timeout=120)
    return Result(run.returncode, out, err)


# -- what must be seen -------------------------------------------------------------------------------------------------


def told(done: Result, code: int, says: str) -> None:
    """It ended with this exit code and one line; only of busy that says nothing of what to do."""
    one_line(done, Case("", "", code, says, advises=code != BUSY))


def tells(host: Host, command: str, code: int, says: str) -> None:
    told(host.run(command, check=False, timeout=120), code, says)


def again(host: Host, command: str, seconds: float = 180) -> None:
    """Run once more: it may be busy for a while (exit 4), and then succeeds silently."""
    give_up = time.monotonic() + seconds
    done = host.run(command, check=False, timeout=120)
    while done.rc == BUSY and time.monotonic() < give_up:
        time.sleep(1)
        done = host.run(command, check=False, timeout=120)
    assert (done.rc, done.out, done.err) == (0, "", ""), done


ROLE = "zrep:master", "readonly", "zrep:gen", "zrep:epoch", "zrep:inprogress", "receive_resume_token"


NOTHING = {"", "-"}


def role(host: Host, filesystem: str) -> dict[str, str]:
    values = host.run(f"zfs get -H -o property,value {','.join(ROLE)} {filesystem}").lines
    return dict(line.split("\t") for line in values)


def digest(host: Host, filesystem: str) -> list[str]:
    """The sha256 of each file in the newest snapshot, mounted or not."""
    return host.run(
        f"snap=$(zfs list -H -o name -t snapshot -d 1 -s createtxg {filesystem} | tail -n 1) && mkdir -p /mnt/look && "
        'mount -t zfs "$snap" /mnt/look && (cd /mnt/look && find . -type f | sort | xargs sha256sum); umount /mnt/look'
    ).lines


def whole(master: Host, replica: Host, filesystem: str = "tank/a") -> None:
    """A healthy pair in step: one master, the same data on both sides, nothing unfinished."""
    ours, theirs = role(master, filesystem), role(replica, filesystem)
    assert (ours["zrep:master"], ours["readonly"]) == ("yes", "off"), ours
    assert (theirs["zrep:master"], theirs["readonly"], theirs["receive_resume_token"]) == ("no", "on", "-"), theirs
    assert (ours["zrep:gen"], ours["zrep:epoch"]) == (theirs["zrep:gen"], theirs["zrep:epoch"])
    assert {ours["zrep:inprogress"], theirs["zrep:inprogress"]} <= NOTHING, (ours, theirs)
    assert in_step(master, filesystem, replica, filesystem)
    found = digest(master, filesystem)
    assert found
    assert found == digest(replica, filesystem)


def may_write(host: Host, filesystem: str = "tank/a") -> bool:
    return host.run(f"touch /{filesystem}/probe", check=False).rc == 0


def base(host: Host, other: Host, filesystem: str = "tank/a") -> str:
    """The short name, on `host`, of the newest snapshot that both have."""
    command = f"zfs list -H -o guid,name -t snapshot -d 1 -s createtxg {filesystem}"
    there = {line.split("\t")[0] for line in other.run(command).lines}
    return [line.partition("@")[2] for line in host.run(command).lines if line.split("\t")[0] in there][-1]


def big(host: Host, mebibytes: int, path: str = "/tank/a/big") -> None:
    host.run(f"head -c {mebibytes}M /dev/urandom > {path}; zpool sync")


def text(host: Host, words: str, path: str = "/tank/a/file") -> None:
    host.run(f"echo {shlex.quote(words)} > {path}")


def received_bytes(host: Host) -> int:
    return int(host.run("cat /sys/class/net/vec0/statistics/rx_bytes").out)


def no_lock_left(host: Host) -> None:
    host.run(
        "for lock in /run/zrep/*.lock /run/zrep/*.receive; do [ ! -e $lock ] || flock -n $lock true || exit 1; done"
    )


@pytest.fixture
def pair(hosts: Hosts) -> Hosts:
    """tank/a on alpha, replicated to beta."""
    alpha, _ = hosts
    made(alpha, "tank/a")
    alpha.run(INIT)
    return hosts


# -- the tests ---------------------------------------------------------------------------------------------------------


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


BY_HAND = "zfs set readonly=off tank/a && zfs mount tank/a && echo by hand > /tank/a/file && zpool sync"


@pytest.fixture(scope="class")
def kept(lab: Lab) -> Lab:
    """One pair for all tests of a class."""
    lab.reset()
    made(lab.alpha, "tank/a")
    lab.alpha.run(INIT)
    return lab


class TestHands:
    """Somebody works on the snapshots or on the replica. One pair: each test leaves it whole."""

    @pytest.fixture
    def pair(self, kept: Lab, request: pytest.FixtureRequest) -> Iterator[Hosts]:
        """Two snapshots at least that both sides have, differing."""
        alpha, beta = kept
        text(alpha, request.node.name)
        silent(alpha, SYNC)
        yield alpha, beta
        text(alpha, "after all that")
        well(alpha, CRON)
        whole(alpha, beta)
        assert content(beta, "tank/a") == "after all that"

    def test_a_changed_replica_is_refused_and_rolled_back_on_demand(self, kept: Lab, pair: Hosts) -> None:
        alpha, beta = pair
        beta.run(BY_HAND)
        text(alpha, "on the master")
        with unchanged(kept):
            tells(alpha, SYNC, REFUSED, "by hand.*written there.*zrep sync -f tank/a")
        beta.run("zfs unmount tank/a")
        silent(alpha, f"{SYNC} -f")
        assert content(beta, "tank/a") == "on the master"

    def test_the_base_is_gone_from_the_replica(self, kept: Lab, pair: Hosts) -> None:
        alpha, beta = pair
        name = base(beta, alpha)
        beta.run(f"zfs release zrep tank/a@{name} && zfs destroy tank/a@{name}")
        with unchanged(kept):
            tells(alpha, CRON, REFUSED, "tank/a: .*by hand.*sync -f")
        silent(alpha, f"{SYNC} -f")

    def test_the_base_is_gone_from_the_master(self, kept: Lab, pair: Hosts) -> None:
        alpha, beta = pair
        name = base(alpha, beta)
        gone = "zfs release zrep tank/a@{0} && zfs destroy tank/a@{0}"
        alpha.run(gone.format(name))
        assert f"-i 'tank/a#zrep:{name}' " in alpha.run(f"{SYNC} -n", check=False).out
        text(alpha, "after the base was destroyed")
        silent(alpha, CRON)
        assert content(beta, "tank/a") == "after the base was destroyed"
        # Without its bookmark too, what is newer on the replica is zrep's own: a demand takes it away.
        name = base(alpha, beta)
        assert alpha.run("zfs list -H -d 1 -o name -t bookmark tank/a").lines == [f"tank/a#zrep:{name}"]
        alpha.run(f"zfs destroy tank/a#zrep:{name}; {gone.format(name)}")
        with unchanged(kept):
            tells(alpha, CRON, REFUSED, f"tank/a: the base @{name} was destroyed on the master.*sync -f tank/a")
        silent(alpha, f"{SYNC} -f")
        assert name not in snapshots(beta, "tank/a") or in_step(alpha, "tank/a", beta, "tank/a")

    @pytest.mark.parametrize("host", ["alpha", "beta"])
    def test_a_renamed_base_is_still_the_base(self, kept: Lab, pair: Hosts, host: str) -> None:
        alpha, beta = pair
        kept[host].run(f"zfs rename tank/a@{snapshots(kept[host], 'tank/a')[-1]} tank/a@renamed-{host}")
        text(alpha, "after the rename")
        silent(alpha, SYNC)
        assert content(beta, "tank/a") == "after the rename"

    @pytest.mark.parametrize("host", ["alpha", "beta"])
    def test_a_new_snapshot_with_the_name_of_the_base_is_not_the_base(self, kept: Lab, pair: Hosts, host: str) -> None:
        alpha, beta = pair
        name = base(alpha, beta)
        full = f"tank/a@{name}"
        text(alpha, "before the trick")
        kept[host].run(f"zpool sync; zfs release zrep {full} && zfs destroy {full} && zfs snapshot {full}")
        if host == "alpha":  # of the real one there is a bookmark
            silent(alpha, CRON)
            assert content(beta, "tank/a") == "before the trick"
            alpha.run(f"zfs destroy {full}")
            return
        with unchanged(kept):
            tells(alpha, CRON, REFUSED, "tank/a: ")
        for each in kept:
            each.run(f"zfs release zrep {full}; zfs destroy {full}", check=False)
        silent(alpha, f"{SYNC} -f")
        assert content(beta, "tank/a") == "before the trick"

    def test_a_snapshot_of_the_administrator_on_the_replica_is_kept(self, pair: Hosts) -> None:
        alpha, beta = pair
        beta.run("zfs snapshot tank/a@admin")
        text(alpha, "after it")
        silent(alpha, SYNC)
        assert "admin" in snapshots(beta, "tank/a")
        assert content(beta, "tank/a") == "after it"
        beta.run("zfs destroy tank/a@admin")

    def test_expire_leaves_what_somebody_else_holds(self, pair: Hosts) -> None:
        alpha, beta = pair
        old = base(alpha, beta)
        for host in pair:
            host.run(f"zfs hold backup tank/a@{old} && zfs set zrep:savecount=1 tank/a")
        for n in range(2):
            text(alpha, str(n))
            silent(alpha, SYNC)
        for host in pair:
            found = snapshots(host, "tank/a")
            assert old in found
            assert len([name for name in found if name.startswith("zrep_")]) <= 2
            host.run(f"zfs release backup tank/a@{old} && zfs set zrep:savecount=5 tank/a")


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


class TestFence:
    """takeover -L of a replica that nobody touches afterwards: the old master's next stream is not accepted."""

    @pytest.mark.parametrize("kind", ["", "-V 8M -s"], ids=["filesystem", "volume"])
    def test_a_stream_sent_by_hand_is_refused(self, hosts: Hosts, kind: str) -> None:
        alpha, beta = hosts
        mountpoint = "" if kind else "-o mountpoint=none"
        alpha.run(f"zfs create {kind} {mountpoint} tank/a")
        alpha.run(INIT)
        if not kind:
            beta.run("zfs set mountpoint=none tank/a")
        alone(beta, "tank/a")
        alpha.run("zfs snapshot tank/a@hand")
        arrived = newest_guid(beta, "tank/a")
        for receive in ("zfs receive -u tank/a", "zfs receive -u -F tank/a"):
            stream = f"zfs send -i @{base(alpha, beta)} tank/a@hand"
            done = alpha.run(f"{stream} | ssh beta {receive}", check=False)
            assert done.rc != 0, receive
            assert newest_guid(beta, "tank/a") == arrived
        assert role(beta, "tank/a")["zrep:master"] == "yes"
        tells(alpha, SYNC, REFUSED, "the master role has moved")
        assert newest_guid(beta, "tank/a") == arrived


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
