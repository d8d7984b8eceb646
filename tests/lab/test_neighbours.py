"""What is around a pair on its host, on real OpenZFS: an intent log that nobody replayed, other mounts."""

from __future__ import annotations

import re

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import BUSY, FAILED, REFUSED, UNREACHABLE, Case, alone, check, in_step, local, made, silent, well

Hosts = tuple[Host, Host]

A = "tank/a"
INIT = f"zrep init {A} beta {A}"
FAILOVER = f"zrep failover {A}"
TAKEOVER = f"zrep takeover {A}"
LATER = "echo 600 > /sys/module/zfs/parameters/zfs_txg_timeout; zpool sync"
KEY = "-o encryption=on -o keyformat=passphrase -o keylocation=file:///root/key"
DEVICE = "timeout 60 sh -c 'until ls /dev/zd* > /dev/null 2>&1; do sleep 0.1; done'"


# In place of mount(8): before a remount something is mounted over the same path.
COVERING = b"""#!/bin/sh
case "$*" in *remount,ro*) /usr/bin/mount -t tmpfs cover /tank/r;; esac
exec /usr/bin/mount "$@"
"""


def power_lost(host: Host, *commands: str) -> None:
    """A host whose transaction groups do not close by themselves loses its power after these commands, and boots."""
    host.run(LATER)
    for command in commands:
        host.run(command)
    host.power_off()
    host.boot()


class TestIntentLog:
    """Acknowledged, and in the intent log alone."""

    def test_it_is_replayed_of_what_is_not_mounted_for_whatever_reason(self, lab: Lab, hosts: Hosts) -> None:
        """A tree of which ZFS mounts no member; one is mounted elsewhere, writable, where nobody here sees it."""
        alpha, beta = hosts
        members = (A, f"{A}/off", f"{A}/none", f"{A}/by-hand")
        for name in members:
            made(alpha, name)
        alpha.run("zrep init -r tank/a beta tank/a")
        alpha.run("for name in $(zfs list -H -r -o name tank/a); do zfs set canmount=noauto $name; done")
        power_lost(alpha, *(f"echo acknowledged > /{name}/file && sync /{name}/file" for name in members))
        alpha.run(f"zfs set canmount=off {A}/off; zfs set mountpoint=none {A}/none")
        alpha.run(f"zfs set mountpoint=legacy {A}/by-hand")
        assert set(alpha.run(f"zfs get -H -r -t filesystem -o value mounted {A}").lines) == {"no"}
        elsewhere = alpha.popen(
            f"unshare -m sh -c 'mount -t zfs -o zfsutil {A}/none /mnt && echo on && exec sleep 1000'"
        )
        assert elsewhere.stdout is not None
        assert elsewhere.stdout.readline() == "on\n"
        refused = alpha.run(FAILOVER, check=False)
        says = f"{A}/none is not mounted on alpha.*intent log.*would be lost; nothing was changed .*sleep"
        assert (refused.rc, bool(re.search(says, refused.err))) == (REFUSED, True), refused
        assert local(alpha, A, "readonly") == ""
        alpha.run("pkill -x sleep")
        elsewhere.wait(30)
        silent(alpha, FAILOVER)
        for name in members:
            assert beta.run(f"cat /{name}/file").out == "acknowledged\n"

    @pytest.fixture
    def volume(self, hosts: Hosts) -> Hosts:
        """An encrypted volume on alpha, replicated to beta; alpha has lost power and has not got its key again."""
        alpha, beta = hosts
        for host in hosts:
            host.run("echo 12345678 > /root/key; sync")
        alpha.run(f"zfs create -V 64M {KEY} {A}; {DEVICE}; echo first | dd of=/dev/zd0 conv=fsync")
        alpha.run(INIT)
        beta.run(f"zfs load-key -L file:///root/key {A}")
        power_lost(alpha, "echo acknowledged | dd of=/dev/zd0 conv=fsync")
        return hosts

    def test_a_volume_without_its_key_is_not_given_up(self, lab: Lab, volume: Hosts) -> None:
        alpha, beta = volume
        says = "tank/a is not open on alpha.*would be lost.*on alpha: zfs load-key 'tank/a'"
        check(lab, Case("failover", FAILOVER, REFUSED, says))
        alpha.run(f"zfs load-key {A}")
        silent(alpha, FAILOVER)  # at once: loading the key makes the device, which replays
        assert self.first_lines(beta) == ["acknowledged"]

    def test_a_volume_that_rejoins_without_its_key_keeps_it_in_its_split_copy(self, volume: Hosts) -> None:
        alpha, beta = volume
        alone(beta, A)
        silent(alpha, f"zrep rejoin {A}")
        [copy] = [name for name in alpha.run("zfs list -H -o name").lines if "_split_" in name]
        alpha.run(f"zfs load-key $(zfs get -H -o value encryptionroot {copy})")
        assert "acknowledged" in self.first_lines(alpha)

    def first_lines(self, host: Host) -> list[str]:
        """Of every volume there is a device of; for want of udev it has no better name."""
        return host.run(DEVICE + "; for zd in /dev/zd*; do head -n 1 $zd; done").lines


class TestMounts:
    """Other mounts where a master is, or where one is to be. One pair: each test leaves it whole."""

    def test_what_a_new_master_would_hide_or_a_remount_would_hit_is_named_before_anything_changes(
        self, lab: Lab, hosts: Hosts
    ) -> None:
        alpha, beta = hosts
        made(alpha, A)
        made(alpha, f"{A}/c")
        alpha.run(INIT)  # it names the child
        silent(alpha, f"zrep init {A}/c beta {A}/c")
        silent(alpha, f"zrep failover {A}/c")
        hides = "tank/a/c is mounted on /tank/a/c, which tank/a on /tank/a would hide.*on beta: zfs unmount 'tank/a/c'"
        check(lab, Case("a filesystem below", FAILOVER, REFUSED, hides))
        silent(beta, f"zrep failover {A}/c")
        beta.run(f"zfs unmount {A}/c && mkdir -p /{A} && mount -t tmpfs tmpfs /{A}")
        taken = r"tmpfs \(tmpfs\) is mounted on /tank/a, where tank/a belongs.*on beta: umount '/tank/a'"
        check(lab, Case("a tmpfs where it belongs", FAILOVER, REFUSED, taken))
        beta.run(f"umount /{A}")
        alpha.run(f"umount /{A}/c && mount -t tmpfs tmpfs /{A}")
        over = r"tmpfs \(tmpfs\) is mounted on /tank/a, over tank/a.*on alpha: umount '/tank/a'"
        check(lab, Case("a tmpfs over the master", FAILOVER, REFUSED, over))
        check(lab, Case("the same from the replica", TAKEOVER, REFUSED, over, on="beta"))
        alpha.run(f"touch /{A}/writable && umount /{A} && touch /{A}/writable && zfs mount {A}/c")
        silent(alpha, FAILOVER)
        assert beta.run(f"ls /{A}/writable").out
        # Alpha's half of the parent is a replica now, mounted and read-only: no directory can be made in it.
        silent(beta, f"zrep takeover {A}/c")
        alpha.run(f"zfs unmount {A}/c && zfs set mountpoint=/{A}/other {A}/c")
        lacks = (
            "the directory /tank/a/other for tank/a/c is not there and cannot be made.*tank/a on /tank/a is read-only "
            "on alpha.*on alpha: zfs set mountpoint='/mnt/tank/a/c' 'tank/a/c'"
        )
        check(lab, Case("a directory that cannot be made", f"zrep failover {A}/c", REFUSED, lacks, on="beta"))
        alpha.run(f"zfs set mountpoint=/mnt/{A}/c {A}/c")
        silent(beta, f"zrep failover {A}/c")
        # A role that has moved does not wait for a mount.
        silent(beta, f"zrep failover {A}")
        beta.run(f"zfs unmount {A}; mkdir -p /{A} && mount -t tmpfs tmpfs /{A}")
        done = beta.run(f"zrep takeover -L --yes -f {A}", check=False)
        assert (done.rc, f"umount '/{A}'" in done.err) == (REFUSED, True), done
        done = beta.run(f"zrep takeover -L --yes -f {A}", check=False)
        assert (done.rc, f"then on beta: zfs mount {A}" in done.err) == (0, True), done

    def test_a_remount_goes_by_the_mount_and_not_by_the_path(self, hosts: Hosts) -> None:
        """Something comes over the master when zrep has looked for the last time, and mount(8) has begun."""
        alpha, beta = hosts
        alpha.run("zfs create -o setuid=off -o atime=off tank/r && zrep init tank/r beta tank/r")
        mounts = "grep ' /tank/r ' /proc/self/mountinfo"
        before = alpha.run(mounts).out
        alpha.put(COVERING, "/usr/local/bin/mount", mode="755")
        silent(alpha, "zrep failover tank/r")
        alpha.run("rm /usr/local/bin/mount")
        master, cover = alpha.run(mounts).lines
        assert (" ro,nosuid,noatime " in master, " - zfs tank/r ro," in master, " rw," in cover) == (True, True, True)
        beta.run("echo on > /tank/r/beta")
        alpha.run("umount /tank/r")
        silent(beta, "zrep failover tank/r")
        assert alpha.run(mounts).out == before
        assert alpha.run("cat /tank/r/beta").out == "on\n"


class TestPoolRoot:
    """The root of a pool: it cannot be renamed, so that it has no split copy."""

    def test_an_old_master_that_is_paused_stops_and_is_not_given_up_half_way(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        done = alpha.run("zrep init small beta tank/s")
        assert "small: it is the root of a pool, which cannot be renamed" in done.err
        alpha.run("zrep pause small")
        alone(beta, "tank/s")
        alpha.run("echo tail > /small/file")
        done = alpha.run("zrep sync all", check=False)
        assert (done.rc, "the master role has moved to tank/s on beta" in done.err) == (REFUSED, True), done
        assert alpha.run("touch /small/file", check=False).rc == 1
        hook = b'#!/bin/sh\necho "$1" >> /run/told\n[ $1 != before-demote ] || [ -e /run/agrees ]\n'
        alpha.put(hook, "/etc/zrep/hooks.d/50-log", mode="755")
        rollback = "zfs rollback -r small@zrep_000001, then zrep rejoin small"
        for code, says in ((FAILED, "a before-demote hook on alpha failed; nothing was changed"), (REFUSED, rollback)):
            done = alpha.run("zrep rejoin small", check=False)
            assert (done.rc, says in done.err) == (code, True), done
            assert alpha.run("cat /run/told; rm /run/told").lines == ["before-demote", "not-demoted"]
            alpha.run("touch /run/agrees")
        alpha.run("zfs rollback -r small@zrep_000001 && zrep rejoin small")
        assert alpha.run("tail -n 1 /run/told").out == "after-demote\n"


class TestChildren:
    """What is below a pair and not in it keeps mount, readonly and writers."""

    def test_a_child_in_use_stops_a_role_change_until_it_has_a_readonly_of_its_own(
        self, lab: Lab, hosts: Hosts
    ) -> None:
        alpha, beta = hosts
        made(alpha, A)
        silent(alpha, INIT)
        alpha.run(f"zfs create {A}/c")
        writer = alpha.popen(f"exec 9>> /{A}/c/log; echo open; read x; echo more >&9; echo rc $?")
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        reached = r"tank/a/c would become read-only with tank/a .*zfs set readonly=off 'tank/a/c'"
        check(lab, Case("failover", FAILOVER, REFUSED, reached))
        check(lab, Case("from the other end", TAKEOVER, REFUSED, reached, on="beta"))
        alpha.run(f"zfs set readonly=off {A}/c")
        beta.run(f"zfs create -u {A}/d")
        reached = r"tank/a/d would become writable with tank/a \(on beta.*on beta: zfs set readonly=on 'tank/a/d'"
        check(lab, Case("below the replica", FAILOVER, REFUSED, reached))
        beta.run(f"zfs set readonly=on {A}/d")
        silent(alpha, FAILOVER)
        out, _ = writer.communicate("\n")
        assert out == "rc 0\n"
        assert beta.run(f"zfs get -H -o value readonly {A}/d").out == "on\n"

    def test_a_child_that_nobody_replicates_is_named_before_and_after_the_disaster(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, A)
        silent(alpha, INIT)
        alpha.run(f"zfs create {A}/new && zfs create -V 8M {A}/new/volume")
        says = "tank/a: not replicated with it: tank/a/new, tank/a/new/volume; next: "
        advises = (
            "zrep init tank/a/new beta tank/a/new; or, all of it as one tree: zrep changeconfig -r tank/a; "
            "or, if that is how it should be: zfs set zrep:exclude=on tank/a/new"
        )
        told = alpha.run("zrep sync all")
        assert (told.out, told.err) == ("", f"zrep: {says}{advises}\n")
        silent(alpha, "zrep sync all")
        assert f"{says}{advises}" in alpha.run("zrep status").lines
        assert f"{says}{advises}" in alpha.run("zrep list").lines
        assert f"{says}on alpha: {advises}" in beta.run("zrep status").lines
        alpha.run(f"zfs set zrep:exclude=on {A}/new/volume")
        silent(alpha, f"zrep init {A}/new beta {A}/new")
        alpha.run(f"zfs create {A}/newer")
        assert "tank/a: not replicated with it: tank/a/newer" in alpha.run("zrep sync all").err
        alpha.power_off()
        forced = beta.run(f"zrep takeover -L --yes -v {A}")
        assert "not replicated with its master, so not here: tank/a/newer" in forced.out

    def test_a_master_that_stops_writes_leaves_them_alone_and_a_rejoin_names_them(self, lab: Lab, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, A)
        alpha.run(f"zfs create {A}/c && zfs create -o mountpoint=/srv/other {A}/other && zfs create -V 8M {A}/v")
        alpha.run(INIT)
        alone(beta, A)
        writer = alpha.popen(f"exec 9>> /{A}/c/log; echo open; read x; echo more >&9; echo rc $?")
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        reached = "tank/a/c, tank/a/other, tank/a/v would become read-only with tank/a"
        check(lab, Case("rejoin before cron", f"zrep rejoin {A}", REFUSED, reached))
        stopped = alpha.run("zrep sync all", check=False)
        kept = "keeps readonly=off, as a value of its own from now on: tank/a/c, tank/a/other, tank/a/v\n"
        assert (stopped.rc, stopped.err.count(kept)) == (REFUSED, 1), stopped
        assert alpha.run(f"touch /{A}/file", check=False).rc != 0
        out, _ = writer.communicate("\n")
        assert out == "rc 0\n"
        check(lab, Case("rejoin", f"zrep rejoin {A}", REFUSED, "tank/a/c is mounted, and tank/a has to be unmounted"))
        alpha.run(f"zfs unmount {A}/c")
        check(lab, Case("elsewhere", f"zrep rejoin {A}", REFUSED, "tank/a/other is mounted, and tank/a has to be"))
        alpha.run(f"zfs unmount {A}/other")
        silent(alpha, f"zrep rejoin {A}")
        assert alpha.run(f"zfs get -H -r -t filesystem,volume -o value readonly {A}").lines == [
            "on",
            "off",
            "off",
            "off",
        ]


class TestCron:
    """What cron does to one pair, or cannot do, beside others."""

    @pytest.mark.thorough
    def test_a_lease_that_is_over_stops_its_own_pair_and_none_below_it(self, lab: Lab, hosts: Hosts) -> None:
        alpha, beta = hosts
        for name in (A, f"{A}/c", f"{A}/nobody"):
            made(alpha, name)
        alpha.run(f"zfs set zrep:exclude=on {A}/nobody; {INIT}")
        silent(alpha, f"zrep init {A}/c beta {A}/c")
        silent(alpha, f"zrep changeconfig --lease 5 {A}")
        silent(alpha, "zrep sync all")
        writer = alpha.popen(f"exec 9>> /{A}/c/log; echo open; read x; echo more >&9; echo rc $?")
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        lab.cut(beta)
        alpha.run("sleep 6")
        done = alpha.run("zrep sync all", check=False, timeout=90)
        keeps = f"keeps readonly=off, as a value of its own from now on: {A}/c, {A}/nobody\n"
        over = f"{A}: read-only from now on: beta was not reached for"
        assert (done.rc, done.err.count(keeps), done.err.count(over)) == (UNREACHABLE, 1, 1), done
        readonly = f"zfs get -H -r -t filesystem -o value readonly {A}"
        assert alpha.run(readonly).lines == ["on", "off", "off"]
        assert alpha.run(f"touch /{A}/file", check=False).rc != 0
        assert writer.communicate("\n")[0] == "rc 0\n"
        alpha.run(f"touch /{A}/nobody/file")
        lab.heal()
        well(alpha, "zrep sync all")
        assert alpha.run(readonly).lines == ["off", "off", "off"]
        alpha.run(f"touch /{A}/file")
        silent(alpha, f"zrep failover {A}/c")
        assert beta.run(f"cat /{A}/c/log").out == "more\n"

    @pytest.mark.thorough
    def test_a_pair_that_somebody_has_for_minutes_is_told_of_once_and_the_others_go_on(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        for name in (A, "tank/b"):
            silent(alpha, f"zrep init {made(alpha, name)} beta {name}")
        alpha.run("zrep sync all; echo later > /tank/b/file; echo later > /tank/a/file; zpool sync")
        holder = alpha.popen("exec flock /var/run/zrep/tank%a.lock sh -c 'echo locked; exec sleep 1000'")
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        silent(alpha, "zrep sync all")
        assert in_step(alpha, "tank/b", beta, "tank/b")
        alpha.run("date -s '+11 minutes'")
        told = alpha.run("zrep sync all", timeout=90)
        assert (told.out, len(told.err.splitlines())) == ("", 1), told
        assert f"{A}: busy, and not synced for more than 10m" in told.err
        silent(alpha, "zrep sync all")
        looked = alpha.run(f"zrep status {A}", check=False)
        assert (looked.rc, "busy" in looked.out) == (BUSY, True), looked
        alpha.run("pkill -x sleep")
        holder.communicate(timeout=60)
        well(alpha, "zrep sync all")
        assert in_step(alpha, A, beta, A)


# Stores a number that grows into a file, once a second, and says each that is on disk.
WRITER = """
import mmap, sys, time
with open(sys.argv[1], "r+b") as file:
    mapped = mmap.mmap(file.fileno(), 0)
for number in range(1, 1000):
    mapped[0:8] = b"%08d" % number
    mapped.flush()
    print(number, flush=True)
    time.sleep(1)
"""
# A mount namespace of its own, where the dataset is mounted in another place, and only there.
CONTAINER = """
mount --bind /tank/a /ct && umount /tank/a && echo $$ > /tmp/container && exec "$@"
"""
ENTER = "unshare -m --propagation private sh -c '. /root/container'"


class TestContainers:
    """Whoever uses a master in another mount namespace."""

    @pytest.fixture
    def container(self, hosts: Hosts) -> Hosts:
        """A pair, and on alpha what a container needs."""
        alpha, _ = hosts
        made(alpha, A)
        alpha.run("head -c 4096 /dev/zero > /tank/a/mapped; mkdir -p /ct")
        silent(alpha, INIT)
        alpha.put(WRITER.encode(), "/root/writer.py")
        alpha.put(CONTAINER.encode(), "/root/container")
        return hosts

    def test_a_mapped_writer_is_named_and_no_force_moves_the_role_past_it(self, container: Hosts) -> None:
        alpha, beta = container
        writer = alpha.popen(f"exec {ENTER} sh python3 /root/writer.py /ct/mapped")
        assert writer.stdout is not None
        assert writer.stdout.readline() == "1\n"
        named = r"tank/a is being written on alpha.*\(python3 \(\d+\)\)"
        foreseen = alpha.run(f"{FAILOVER} -n", check=False)
        assert (foreseen.rc, bool(re.search(named, foreseen.err))) == (REFUSED, True), foreseen
        for host, command in ((alpha, FAILOVER), (beta, TAKEOVER)):
            for insist, says in (("", named), (" --force-unmount", r"has a file mapped for writing.*python3 \(\d+\)")):
                done = host.run(command + insist, check=False, timeout=120)
                assert (done.rc, bool(re.search(says, done.err))) == (REFUSED, True), done
        alpha.run("kill $(cat /tmp/container)")
        acknowledged = int(writer.communicate(timeout=60)[0].split()[-1])
        silent(alpha, FAILOVER)
        assert int(beta.run("head -c 8 /tank/a/mapped").out) >= acknowledged

    def test_an_old_master_that_a_container_has_does_not_rejoin(self, lab: Lab, container: Hosts) -> None:
        alpha, beta = container
        alone(beta, A)
        held = alpha.popen(f"exec {ENTER} sh sleep 1000")
        alpha.run("timeout 60 sh -c 'until [ -s /tmp/container ]; do sleep 0.1; done'")
        says = (
            r"in use, where an unmount here does not reach \(mounted in another mount namespace: /ct for sleep \(\d+\)"
        )
        check(lab, Case("rejoin", f"zrep rejoin {A}", REFUSED, says))
        alpha.run("kill $(cat /tmp/container)")
        held.communicate(timeout=60)
        # A service whose namespace repeats what is done here is no container.
        alpha.run("mount --make-rshared /")
        service = alpha.popen("exec unshare -m --propagation slave sh -c 'echo ready; exec sleep 1000'")
        assert service.stdout is not None
        assert service.stdout.readline() == "ready\n"
        silent(alpha, f"zrep rejoin {A}")
        service.kill()


class TestVolume:
    """What is written to one that is open may be in the cache of its device alone."""

    # What has it open, what is said of that, what ends it.
    USES = (
        ("mount /dev/zd0 /vol && echo acknowledged > /vol/file", "mounted on /vol", "umount /vol"),
        ("losetup /dev/loop0 /dev/zd0", "behind /dev/loop0", "losetup -d /dev/loop0"),
        (
            "unshare -m sh -c 'mount /dev/zd0 /vol; touch /tmp/ready; exec sleep 1000' > /dev/null 2>&1 < /dev/null & "
            "echo $! > /tmp/user; until [ -e /tmp/ready ]; do sleep 0.1; done",
            "the kernel has it for itself",
            "kill $(cat /tmp/user); rm /tmp/ready; while kill -0 $(cat /tmp/user) 2> /dev/null; do sleep 0.1; done",
        ),
        (
            "sh -c 'exec 9<> /dev/zd0; touch /tmp/ready; exec sleep 1000' > /dev/null 2>&1 < /dev/null & "
            "echo $! > /tmp/user; until [ -e /tmp/ready ]; do sleep 0.1; done",
            r"sleep \(\d+\)",
            "kill $(cat /tmp/user); rm /tmp/ready",
        ),
    )

    def test_one_that_is_in_use_is_not_given_up_by_force_or_not(self, lab: Lab, hosts: Hosts) -> None:
        alpha, beta = hosts
        for host in hosts:
            host.run("mkdir -p /vol")
        alpha.run(f"zfs create -V 64M {A}; {DEVICE}; mkfs.ext4 -q /dev/zd0")
        silent(alpha, INIT)
        for begin, who, end in self.USES:
            alpha.run(begin, timeout=60)
            says = rf"the volume {A} is open to write on alpha.*{who}"
            foreseen = alpha.run(f"{FAILOVER} -n", check=False)
            assert (foreseen.rc, bool(re.search(says, foreseen.err))) == (REFUSED, True), foreseen
            for command, on in ((FAILOVER, "alpha"), (f"{TAKEOVER} --force-unmount", "beta")):
                check(lab, Case(who, command, REFUSED, says, on=on))
            alpha.run(end, timeout=60)
        silent(alpha, FAILOVER)
        beta.run(f"{DEVICE}; mount /dev/zd0 /vol")
        assert beta.run("cat /vol/file").out == "acknowledged\n"
        # Nor does a side that was master rejoin under those who still write to it.
        alone(alpha, A)
        check(lab, Case("rejoin", f"zrep rejoin {A}", REFUSED, rf"the volume {A} is open.*mounted on /vol", on="beta"))
        beta.run("umount /vol")
        silent(beta, f"zrep rejoin {A}")
