"""What zrep is for, on real OpenZFS: every command at work, from init to clear, with real files on both sides."""

import re
import time

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import (
    OK,
    REFUSED,
    TRACES,
    UNREACHABLE,
    alone,
    content,
    in_step,
    local,
    made,
    newest_guid,
    recovers,
    silent,
    snapshots,
    unchanged,
)
from tests.waiting import wait_for

Hosts = tuple[Host, Host]

HOOK = "/etc/zrep/hooks.d/50-log"
KEY = "echo 12345678 > /root/key"


def rows(host: Host, command: str = "zrep status -H") -> list[list[str]]:
    """What list or status prints for a program: fields of each line."""
    return [line.split("\t") for line in host.run(command, check=False).lines]


def state(host: Host) -> str:
    """How status calls the only pair of a host."""
    [row] = rows(host)
    return row[3]


def value(host: Host, dataset: str, name: str) -> str:
    return host.run(f"zfs get -H -p -o value {name} '{dataset}'").out.strip()


def pair(hosts: Hosts) -> Hosts:
    """tank/a on alpha, replicated to tank/b on beta."""
    made(hosts[0], "tank/a")
    hosts[0].run("zrep init tank/a beta tank/b")
    return hosts


def volume(hosts: Hosts) -> Hosts:
    """The same for a volume; its content is one line at the beginning of its device."""
    alpha, _ = hosts
    alpha.run("zfs create -s -V 16M tank/a")
    put_line(alpha, "tank/a", "first")
    alpha.run("zrep init tank/a beta tank/b")
    return hosts


# There is no udev on the hosts: a volume's device is found by its size in sectors, the only one there is.
DEVICE = "sleep 0.2; device=/dev/$(ls /sys/block | grep '^zd' | tail -n 1)"


def put_line(host: Host, dataset: str, line: str) -> None:
    host.run(f"{DEVICE}; echo {line} | dd of=$device bs=4096 conv=sync,fsync status=none")


def get_line(host: Host) -> str:
    return host.run(f"{DEVICE}; blockdev --flushbufs $device; head -n 1 $device | tr -d '\\0'").out.strip()


@pytest.fixture(scope="class")
def dry(lab: Lab) -> Lab:
    """A pair with something to send, for rows that change nothing."""
    lab.reset()
    alpha, beta = lab
    pair((alpha, beta))
    alpha.run("echo second > /tank/a/file; zpool sync")
    return lab


class TestInit:
    def test_the_replica_is_as_the_source_but_quiet(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        settings = {"compression": "gzip", "recordsize": "16384", "org.example:note": "kept as it is", "atime": "off"}
        made(alpha, "tank/a", **settings, quota="1073741824")
        alpha.run("zfs set mountpoint=/data tank/a")
        before = alpha.run("zfs get -H -s local,received all tank/a").out
        done = alpha.run("zrep init -v tank/a beta tank/deep/er/b")
        assert "creating the parent tank/deep on beta, unmounted" in done.out
        after = alpha.run("zfs get -H -s local,received all tank/a | grep -v '\tzrep:'").out
        assert after == before
        for name, text in settings.items():
            assert value(beta, "tank/deep/er/b", name) == text
        # The mountpoint is that of where it lives: it never travels.
        own = {"readonly": "on", "mounted": "no", "canmount": "noauto", "mountpoint": "/tank/deep/er/b"}
        for name, text in own.items():
            assert value(beta, "tank/deep/er/b", name) == text
        assert beta.run("ls /tank/deep", check=False).rc != 0
        assert content(beta, "tank/deep/er/b") == "first"
        assert in_step(alpha, "tank/a", beta, "tank/deep/er/b")

    def test_cut_in_the_middle_it_goes_on_where_it_was(self, lab: Lab, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, "tank/a")
        alpha.run("head -c 24M /dev/urandom > /tank/a/big; zpool sync")
        lab.slow(beta, rate="20mbit")
        running = alpha.popen("exec zrep init tank/a beta tank/b")
        wait_for(lambda: beta.run("zfs list -H -p -o used tank/b/%recv tank/b", check=False).out > "1")
        time.sleep(3)
        alpha.run("pkill -9 -x zrep; pkill -9 -x zfs; pkill -9 -f '^ssh '", check=False)
        running.wait(20)
        lab.heal()
        wait_for(lambda: len(value(beta, "tank/b", "receive_resume_token")) > 40)
        assert rows(alpha)[0][3] == "init unfinished"
        for other, says in (
            ("--send-flags -p", "--send-flags '-p' now, '-p -L -e -c' then"),
            ("--savecount 9", "--savecount '9' now, '5' then"),
        ):
            done = alpha.run(f"zrep init {other} tank/a beta tank/b", check=False)
            goes_on = "next: zrep init tank/a beta tank/b --savecount 5 --send-flags '-p -L -e -c'; "
            assert (done.rc, says in done.err, goes_on in done.err) == (REFUSED, True, True), done
        done = alpha.run("zrep init -v tank/a beta tank/b")
        assert "continuing the interrupted transfer" in done.out
        assert in_step(alpha, "tank/a", beta, "tank/b")
        silent(alpha, "zrep sync all")
        assert rows(alpha)[0][3] == "ok"

    @pytest.mark.parametrize("command", ["init tank/a beta tank/b", "-i tank/a beta tank/deep/b"])
    def test_a_dry_run_prints_the_plan_and_changes_nothing(self, lab: Lab, hosts: Hosts, command: str) -> None:
        made(hosts[0], "tank/a")
        with unchanged(lab):
            done = hosts[0].run(f"zrep {command} -n")
        assert re.search(r"^alpha: zfs snapshot -o zrep:made=yes tank/a@zrep_\d+$", done.out, re.M)
        assert re.search(r"^beta: zfs receive .*tank/.*b$", done.out, re.M)


class TestSync:
    def test_what_is_written_arrives_and_nothing_is_made_when_nothing_is(self, hosts: Hosts) -> None:
        alpha, beta = pair(hosts)
        alpha.run("echo second > /tank/a/file; zfs snapshot tank/a@daily")
        silent(alpha, "zrep sync all")
        assert content(beta, "tank/b") == "second"
        taken = snapshots(alpha, "tank/a")
        silent(alpha, "zrep sync all")
        assert snapshots(alpha, "tank/a") == taken
        for number in range(8):
            alpha.run(f"echo {number} > /tank/a/file")
            silent(alpha, "zrep sync tank/a")
        # five of each side's own, and the administrator's
        assert snapshots(alpha, "tank/a") == ["daily", *(f"zrep_{number:06x}" for number in range(6, 11))]
        assert snapshots(beta, "tank/b") == [f"zrep_{number:06x}" for number in range(6, 11)]
        assert content(beta, "tank/b") == "7"

    def test_a_connection_that_is_kept_open_is_used_again(self, hosts: Hosts) -> None:
        alpha, beta = pair(hosts)
        kept = "-o ControlPath=/run/kept-%C"
        accepted = "awk '$1 == \"Tcp:\" { print $7 }' /proc/net/snmp"
        sync = f"SSH='ssh {kept} -o ControlPersist=60' zrep sync all"
        silent(alpha, sync)
        before = beta.run(accepted).out
        silent(alpha, f"echo second > /tank/a/file; {sync}")
        silent(alpha, sync)
        assert content(beta, "tank/b") == "second"
        assert beta.run(accepted).out == before
        alpha.run(f"ssh -O exit {kept} beta")
        silent(alpha, sync)

    def test_one_bad_filesystem_never_stops_the_others(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        for name in ("tank/a", "tank/m", "tank/z"):
            made(alpha, name)
            alpha.run(f"zrep init {name} beta {name}; echo second > /{name}/file")
        beta.run("zfs release zrep tank/m@zrep_000001 && zfs destroy -r tank/m")
        done = alpha.run("zrep sync all", check=False)
        assert (done.rc, len(done.err.splitlines())) == (REFUSED, 1)
        assert done.err.startswith("zrep: tank/m: ")
        assert content(beta, "tank/a") == content(beta, "tank/z") == "second"

    def test_a_pause_is_kept_until_unpause(self, hosts: Hosts) -> None:
        alpha, beta = pair(hosts)
        silent(alpha, "zrep pause --reason upgrade tank/a; echo second > /tank/a/file; zrep sync all")
        assert content(beta, "tank/b") == "first"
        assert state(alpha) == "paused"
        assert "tank/a: paused: upgrade since " in alpha.run("zrep status").out
        assert alpha.run("zrep sync tank/a", check=False).rc == REFUSED
        silent(alpha, "zrep unpause tank/a && zrep sync all")
        assert content(beta, "tank/b") == "second"


class TestFailover:
    def test_a_filesystem_there_and_back(self, hosts: Hosts) -> None:
        alpha, beta = pair(hosts)
        alpha.run("echo second > /tank/a/file")
        silent(alpha, "zrep failover tank/a")
        assert beta.run("cat /tank/b/file && echo third > /tank/b/file").out == "second\n"
        assert alpha.run("echo no > /tank/a/file", check=False).rc != 0
        assert (value(alpha, "tank/a", "readonly"), value(alpha, "tank/a", "canmount")) == ("on", "noauto")
        silent(alpha, "zrep sync all")  # cron there has nothing to do now
        silent(beta, "zrep sync all && zrep failover tank/b")
        assert alpha.run("cat /tank/a/file && echo fourth > /tank/a/file").out == "third\n"
        silent(alpha, "zrep sync all")
        assert content(beta, "tank/b") == "fourth"
        assert (value(alpha, "tank/a", "readonly"), value(alpha, "tank/a", "canmount")) == ("off", "on")
        assert [row[1] for row in (*rows(alpha), *rows(beta))] == ["master", "replica"]
        assert local(alpha, "tank/a", "zrep:epoch") == local(beta, "tank/b", "zrep:epoch") == "3"
        assert local(alpha, "tank/a", "zrep:gen") == local(beta, "tank/b", "zrep:gen")
        assert local(alpha, "tank/a", "zrep:inprogress") == local(beta, "tank/b", "zrep:inprogress") == ""

    def test_a_volume_there_and_back(self, hosts: Hosts) -> None:
        alpha, beta = volume(hosts)
        put_line(alpha, "tank/a", "second")
        silent(alpha, "zrep failover tank/a")
        assert get_line(beta) == "second"
        put_line(beta, "tank/b", "third")
        silent(alpha, "zrep takeover tank/a")
        assert get_line(alpha) == "third"
        put_line(alpha, "tank/a", "fourth")
        silent(alpha, "zrep sync all")
        assert in_step(alpha, "tank/a", beta, "tank/b")

    def test_an_encrypted_filesystem_whose_key_the_peer_gets_from_a_person(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        alpha.run(KEY)
        made(alpha, "tank/a", encryption="on", keyformat="passphrase", keylocation="file:///root/key")
        silent(alpha, "zrep init tank/a beta tank/b")
        assert value(beta, "tank/b", "keystatus") == "unavailable"
        alpha.run("echo second > /tank/a/file")
        silent(alpha, "zrep sync all")
        done = alpha.run("zrep failover tank/a", check=False)
        assert (done.rc, "on beta: zfs load-key 'tank/b'" in done.err) == (REFUSED, True)
        beta.run(f"{KEY}; zfs load-key tank/b")
        silent(alpha, "zrep failover tank/a")
        assert beta.run("cat /tank/b/file; echo third > /tank/b/file").out == "second\n"
        silent(beta, "zrep sync all && zrep failover tank/b")
        assert alpha.run("cat /tank/a/file").out == "third\n"

    def test_a_writer_is_named_and_forced_out_only_on_demand(self, hosts: Hosts) -> None:
        alpha, beta = pair(hosts)
        writer = alpha.popen("exec 9>> /tank/a/log; echo open; read x; echo more >&9")
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        done = alpha.run("zrep failover tank/a", check=False)
        assert done.rc == REFUSED
        assert re.search(r"tank/a is being written on alpha; nothing was changed \(.*bash \(\d+\).*\)", done.err)
        alpha.run("echo still writable > /tank/a/file")
        assert state(alpha) == "ok"
        foreseen = alpha.run("zrep failover -n tank/a", check=False)
        assert foreseen.rc == REFUSED
        assert re.search(r"^zrep: tank/a: tank/a is being written on alpha \(bash \(\d+\)\); next: ", foreseen.err)
        assert "to send" in foreseen.out
        silent(alpha, "zrep failover --force-unmount tank/a")
        assert beta.run("cat /tank/b/file").out == "still writable\n"
        _, said = writer.communicate("\n")
        assert "Read-only file system" in said

    def test_hooks_of_both_hosts_are_told_and_one_that_refuses_ends_it(self, hosts: Hosts) -> None:
        alpha, beta = pair(hosts)
        for host in hosts:
            host.put(b'#!/bin/sh\necho "$1 $ZREP_FS $ZREP_EPOCH $ZREP_PEER" >> /run/told\n', HOOK, mode="755")
        silent(alpha, "zrep failover tank/a")
        assert alpha.run("cat /run/told").lines == ["before-demote tank/a 2 beta", "after-demote tank/a 2 beta"]
        assert beta.run("cat /run/told").lines == ["before-promote tank/b 2 alpha", "after-promote tank/b 2 alpha"]
        alpha.put(
            b"#!/bin/sh\n[ $1 != before-promote ] || { echo not today; exit 3; }\n", f"{HOOK}-refusal", mode="755"
        )
        done = beta.run("zrep failover tank/b", check=False)
        assert (done.rc, "50-log-refusal: exit status 3: not today" in done.err) == (1, True)
        assert alpha.run("tail -n 2 /run/told").lines == ["before-promote tank/a 3 beta", "not-promoted tank/a 3 beta"]
        assert beta.run("tail -n 2 /run/told").lines == ["before-demote tank/b 3 alpha", "not-demoted tank/b 3 alpha"]
        beta.run("echo still writable > /tank/b/file")

    @pytest.mark.parametrize(
        ("host", "command"),
        [
            ("alpha", "failover -n tank/a"),
            ("beta", "takeover -n tank/b"),
            ("beta", "takeover -L -f -n tank/b"),
            ("alpha", "sync -n all"),
            ("alpha", "clear -n tank/a"),
            ("alpha", "pause -n tank/a"),
            ("alpha", "changeconfig -n --savecount 3 tank/a"),
        ],
    )
    def test_a_dry_run_prints_commands_with_their_hosts_and_changes_nothing(
        self, dry: Lab, host: str, command: str
    ) -> None:
        with unchanged(dry, TRACES.replace("zpool history -i", "zpool history -i | grep -v txg_sync")):
            done = dry[host].run(f"zrep {command}")
        assert re.search(r"^(alpha|beta): zfs ", done.out, re.M), done


class TestDisaster:
    def test_takeover_and_rejoin_with_a_tail(self, hosts: Hosts) -> None:
        alpha, beta = pair(hosts)
        alpha.run("echo lost > /tank/a/file; sync")
        alpha.power_off()
        assert state(beta) == "peer unknown"
        done = beta.run("zrep takeover tank/b", check=False)
        assert (done.rc, "next: if it is gone for good: zrep takeover -L tank/b" in done.err) == (UNREACHABLE, True)
        done = beta.run("zrep takeover -L tank/b", check=False)
        assert (done.rc, "--yes" in done.err, "is lost to this side" in done.err) == (REFUSED, True, True)
        alone(beta, "tank/b", "--yes")
        assert beta.run("cat /tank/b/file; echo new > /tank/b/file").out == "first\n"
        alpha.boot()
        done = alpha.run("zrep sync all", check=False)
        assert (done.rc, "zrep rejoin tank/a" in done.err) == (REFUSED, True)
        assert (value(alpha, "tank/a", "readonly"), state(alpha), state(beta)) == ("on", "stale master", "peer stale")
        done = alpha.run("zrep rejoin -v tank/a")
        assert re.search(
            r"^tank/a: \S+ were written here after @zrep_000001 and stay in tank/a_split_1_", done.out, re.M
        )
        assert "tank/a: 1 modified, among them:\ntank/a:   M /tank/a/file\n" in done.out
        silent(beta, "zrep sync all")
        assert in_step(beta, "tank/b", alpha, "tank/a")
        [split] = [row[0] for row in rows(alpha) if row[1] == "split"]
        assert content(alpha, split) == "lost"
        silent(beta, "zrep failover tank/b")
        assert alpha.run("cat /tank/a/file").out == "new\n"

    def test_rejoin_without_a_tail_keeps_no_copy(self, hosts: Hosts) -> None:
        alpha, beta = pair(hosts)
        alpha.run("zpool sync")
        alpha.power_off()
        alone(beta, "tank/b")
        beta.run("echo new > /tank/b/file")
        alpha.boot()
        silent(alpha, "zrep rejoin tank/a")
        silent(beta, "zrep sync all")
        assert content(alpha, "tank/a") == "new"
        assert [row[1] for row in rows(alpha)] == ["replica"]

    def test_a_volume(self, hosts: Hosts) -> None:
        alpha, beta = volume(hosts)
        put_line(alpha, "tank/a", "lost")
        alone(beta, "tank/b")
        assert get_line(beta) == "first"
        put_line(beta, "tank/b", "new")
        done = alpha.run("zrep sync all", check=False)
        assert (done.rc, value(alpha, "tank/a", "readonly")) == (REFUSED, "on")
        silent(alpha, "zrep rejoin tank/a")
        silent(beta, "zrep sync all")
        assert in_step(beta, "tank/b", alpha, "tank/a")
        assert len([row for row in rows(alpha) if row[1] == "split"]) == 1

    def test_an_encrypted_filesystem(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        for host in hosts:
            host.run(KEY)
        made(alpha, "tank/a", encryption="on", keyformat="passphrase", keylocation="file:///root/key")
        silent(alpha, "zrep init tank/a beta tank/b")
        alpha.run("echo lost > /tank/a/file; zpool sync")
        beta.run("zfs load-key tank/b")
        alone(beta, "tank/b")
        beta.run("echo new > /tank/b/file")
        silent(alpha, "zrep rejoin tank/a")
        silent(beta, "zrep sync all")
        alpha.run("zfs load-key tank/a")
        silent(beta, "zrep failover tank/b")
        assert alpha.run("cat /tank/a/file").out == "new\n"


class TestSmallerCommands:
    def test_rehearse_checks_a_clone_and_leaves_no_trace(self, hosts: Hosts) -> None:
        alpha, beta = pair(hosts)
        beta.run("zpool sync")
        before = beta.run("zfs list -H -t all -o name,guid; grep ' zfs ' /proc/mounts").out
        check = 'grep -q first file && echo changed > file && test -s "$ZREP_DIR/file"'
        silent(beta, f"zrep rehearse tank/b -- sh -c '{check}'")
        done = beta.run("zrep rehearse tank/b -- grep second file", check=False)
        assert (done.rc, "grep: exit status 1" in done.err) == (1, True)
        silent(beta, "zrep rehearse tank/b")
        assert beta.run("zfs list -H -t all -o name,guid; grep ' zfs ' /proc/mounts").out == before
        alpha.run("echo second > /tank/a/file")
        silent(alpha, "zrep sync all")
        assert content(beta, "tank/b") == "second"

    def test_expire_keeps_the_base_the_held_the_unsent_and_the_foreign(self, hosts: Hosts) -> None:
        alpha, beta = pair(hosts)
        for number in range(4):
            alpha.run(f"echo {number} > /tank/a/file; zfs snapshot tank/a@hourly-{number}")
            silent(alpha, "zrep sync all")
        alpha.run("zfs hold mine tank/a@zrep_000002")
        beta.run("zfs snapshot tank/b@ours; zrep changeconfig --savecount 1 tank/b")
        silent(alpha, "zrep changeconfig --savecount 2 tank/a && zrep expire all")
        assert [name for name in snapshots(alpha, "tank/a") if name.startswith("zrep")] == [
            "zrep_000002",
            "zrep_000004",
            "zrep_000005",
        ]
        assert len([name for name in snapshots(alpha, "tank/a") if name.startswith("hourly")]) == 4
        assert snapshots(beta, "tank/b") == ["zrep_000005", "ours"]

    def test_list_and_status_for_people_and_programs(self, hosts: Hosts) -> None:
        alpha, beta = pair(hosts)
        alpha.run("echo second > /tank/a/file; zpool sync")
        [row] = rows(alpha, "zrep list -H")
        assert row[:4] == ["tank/a", "master", "beta:tank/b", "ok"]
        assert int(row[6]) > 0, "bytes written since"
        assert rows(beta, "zrep list -H")[0][:4] == ["tank/b", "replica", "alpha:tank/a", "ok"]
        assert rows(beta, "zrep list -H -L") == []
        table = alpha.run("zrep status").out
        assert re.search(r"tank/a\s+master\s+beta:tank/b\s+ok", table)
        assert "zrep_000001" in alpha.run("zrep list --snapshots").out
        assert re.search(r"zrep:dest-fs=tank/b", alpha.run("zrep list -v tank/a").out)
        assert alpha.run("zrep status", check=False).rc == OK

    def test_clear_leaves_nothing_and_init_makes_it_anew(self, hosts: Hosts) -> None:
        alpha, beta = pair(hosts)
        alpha.run("zfs snapshot tank/a@mine")
        silent(alpha, "zrep clear tank/a")
        for host in hosts:
            left = host.run("zfs get -H -o name,property,value all; zfs list -H -t snapshot -o name,userrefs").out
            assert "zrep" not in left
        assert snapshots(alpha, "tank/a") == ["mine"]
        assert value(beta, "tank/b", "readonly") == "on"
        beta.run("zfs destroy -r tank/b")
        silent(alpha, "zrep init tank/a beta tank/b && zrep sync all")
        assert state(alpha) == "ok"

    def test_clear_of_each_side_alone(self, hosts: Hosts) -> None:
        for host, name in zip(pair(hosts), ("tank/a", "tank/b"), strict=True):
            silent(host, f"zrep clear -L {name}")
            assert "zrep" not in host.run("zfs get -H all; zfs list -H -t snapshot -o name,userrefs").out

    def test_changeconfig_follows_a_renamed_replica(self, hosts: Hosts) -> None:
        alpha, beta = pair(hosts)
        beta.run("zfs rename tank/b tank/moved")
        assert alpha.run("zrep sync all", check=False).rc == REFUSED
        silent(alpha, "zrep changeconfig tank/a beta tank/moved")
        done = alpha.run("zrep sync all", check=False)
        assert (done.rc, "was renamed" in done.err) == (REFUSED, True)
        silent(beta, "zrep changeconfig tank/moved")
        alpha.run("echo second > /tank/a/file")
        recovers(alpha, "zrep sync all")
        silent(alpha, "zrep failover tank/a")
        assert beta.run("cat /tank/moved/file").out == "second\n"

    def test_half_a_rename_ends_with_the_command_that_is_named(self, hosts: Hosts) -> None:
        """The master has a new name and knows it; its replica looks for the old one."""
        alpha, beta = pair(hosts)
        alpha.run("zfs rename tank/a tank/n2; zrep changeconfig tank/n2; echo second > /tank/n2/file")
        named = "zrep changeconfig tank/b alpha tank/n2"
        for command in ("sync all", "status", "failover tank/n2"):
            done = alpha.run(f"zrep {command}", check=False)
            told = done.out + done.err
            assert (done.rc, named in told) == (REFUSED, True), (command, done)
            assert not re.search(r"unrelated|zrep clear|sync -f|\bFS\b", told), (command, done)
        silent(beta, named)
        recovers(alpha, "zrep sync all")
        silent(beta, "zrep takeover tank/b")
        assert beta.run("cat /tank/b/file").out == "second\n"


SHELL_ROLE = "zrep:src-host=alpha zrep:src-fs=tank/a zrep:dest-host=beta zrep:dest-fs=tank/b zrep:savecount=5"


class TestShellPair:
    """A pair as the shell zrep leaves it (seen of 1.8.0), made here without this program: its replica has what it was
    sent with the first stream, received, and nothing of its own."""

    @pytest.fixture
    def shell(self, hosts: Hosts) -> Hosts:
        alpha, beta = hosts
        made(alpha, "tank/a")
        alpha.run(
            f"zfs set {SHELL_ROLE} tank/a && zfs snapshot tank/a@zrep_000000 && "
            "zfs send -p tank/a@zrep_000000 | ssh beta zfs receive -u -o readonly=on -F tank/b && "
            "zfs set zrep:sent=$(date +%s) tank/a@zrep_000000 && zfs set zrep:master=yes tank/a"
        )
        return alpha, beta

    def test_sync_then_every_command(self, shell: Hosts) -> None:
        alpha, beta = shell
        assert [row[:4] for row in rows(alpha, "zrep list -H")] == [["tank/a", "master", "beta:tank/b", "ok"]]
        assert state(alpha) == "ok"
        alpha.run("echo second > /tank/a/file")
        silent(alpha, "zrep sync all")
        assert [row[:4] for row in rows(beta, "zrep list -H")] == [["tank/b", "replica", "alpha:tank/a", "ok"]]
        assert content(beta, "tank/b") == "second"
        silent(
            alpha,
            "zrep expire all && zrep pause tank/a && zrep unpause tank/a && zrep changeconfig --savecount 4 tank/a",
        )
        silent(alpha, "zrep failover tank/a")
        assert beta.run("cat /tank/b/file; echo third > /tank/b/file").out == "second\n"
        silent(alpha, "zrep takeover tank/a")
        assert alpha.run("cat /tank/a/file").out == "third\n"
        silent(alpha, "zrep clear tank/a")
        assert "zrep" not in alpha.run("zfs get -H all; zfs list -H -t snapshot -o name,userrefs").out

    def test_its_own_test_script(self, hosts: Hosts) -> None:
        """init to localhost and the name of the host set by hand, -S, a changed -S, refresh from the other end."""
        alpha, _ = hosts
        same = "zfs mount tank/b && cmp /tank/a/file /tank/b/file; zfs unmount tank/b"
        alpha.run("zfs create tank/a && zrep init tank/a localhost tank/b && zfs set zrep:src-host=localhost tank/b")
        silent(alpha, "zrep -S tank/a")
        for words, command in (("a test", "zrep -S tank/a"), ("the second test", "zrep refresh tank/b")):
            alpha.run(f"echo this is {words} > /tank/a/file; {command}")
            silent(alpha, same)

    def test_failover_first(self, shell: Hosts) -> None:
        alpha, beta = shell
        alpha.run("echo second > /tank/a/file")
        silent(alpha, "zrep failover tank/a")
        assert beta.run("cat /tank/b/file").out == "second\n"

    def test_a_replica_with_more_than_one_snapshot_takes_the_role_first(self, shell: Hosts) -> None:
        alpha, beta = shell
        alpha.run(
            "echo second > /tank/a/file; zfs snapshot tank/a@zrep_000001 && zfs send -i @zrep_000000 "
            "tank/a@zrep_000001 | ssh beta zfs receive tank/b && sent=zrep:sent=$(date +%s) && "
            "ssh beta zfs set $sent tank/b@zrep_000001 && zfs set $sent tank/a@zrep_000001"
        )
        alpha.run("echo third > /tank/a/file")
        silent(beta, "zrep takeover tank/b")
        assert beta.run("cat /tank/b/file; echo fourth > /tank/b/file").out == "third\n"
        silent(beta, "zrep sync all")
        assert content(alpha, "tank/a") == "fourth"

    def test_after_a_failover_of_its_own(self, shell: Hosts) -> None:
        """Both halves have all of it themselves then, but for savecount; nothing is sent again."""
        alpha, beta = shell
        links = "zrep:src-host=beta zrep:src-fs=tank/b zrep:dest-host=alpha zrep:dest-fs=tank/a"
        alpha.run(
            "zfs set readonly=on tank/a && zfs snapshot tank/a@zrep_000001 && zfs send -I @zrep_000000 "
            "tank/a@zrep_000001 | ssh beta zfs receive tank/b && sent=zrep:sent=$(date +%s) && ssh beta zfs set $sent "
            f"tank/b@zrep_000001 && zfs set $sent tank/a@zrep_000001 && zfs set {links} tank/a && "
            "zfs inherit zrep:master tank/a"
        )
        beta.run(f"zfs inherit readonly tank/b && zfs set {links} zrep:master=yes tank/b && zfs mount tank/b")
        born = alpha.run("zfs get -Hp -o value guid,createtxg tank/a").out
        beta.run("echo second > /tank/b/file")
        assert [state(host) for host in shell] == ["ok", "ok"]
        silent(beta, "zrep sync all")
        assert content(alpha, "tank/a") == "second"
        silent(alpha, "zrep takeover tank/a")
        assert alpha.run("cat /tank/a/file; echo third > /tank/a/file").out == "second\n"
        silent(alpha, "zrep sync all")
        assert content(beta, "tank/b") == "third"
        assert alpha.run("zfs get -Hp -o value guid,createtxg tank/a").out == born

    def test_what_it_sent_with_all_that_is_below_it_becomes_a_tree(self, hosts: Hosts) -> None:
        """Its -R brings the role of the master along with each increment, received."""
        alpha, beta = hosts
        for name in ("tank/a", "tank/a/x"):
            made(alpha, name)
        alpha.run(
            f"zfs set {SHELL_ROLE} tank/a && zfs snapshot -r tank/a@zrep_000000 && "
            "zfs send -R -p tank/a@zrep_000000 | ssh beta zfs receive -u -o readonly=on -F tank/b && "
            "zfs set zrep:sent=$(date +%s) tank/a@zrep_000000 && zfs set zrep:master=yes tank/a && "
            "echo second > /tank/a/x/file && zfs snapshot -r tank/a@zrep_000001 && "
            "zfs send -R -I @zrep_000000 tank/a@zrep_000001 | ssh beta zfs receive tank/b && "
            "sent=zrep:sent=$(date +%s) && ssh beta zfs set $sent tank/b@zrep_000001 && "
            "zfs set $sent tank/a@zrep_000001"
        )
        assert beta.run("zfs get -H -o value,source zrep:master tank/b").out == "yes\treceived\n"
        born = beta.run("zfs get -Hp -o value guid,createtxg tank/b tank/b/x").out
        alpha.run("echo third > /tank/a/x/file")
        silent(alpha, "zrep changeconfig -r tank/a && zrep sync all")
        assert content(beta, "tank/b/x") == "third"
        assert beta.run("zfs get -Hp -o value guid,createtxg tank/b tank/b/x").out == born
        assert state(alpha) == "ok"

    def test_takeover_after_a_disaster_first(self, shell: Hosts) -> None:
        alpha, beta = shell
        alpha.run("zpool sync")
        alpha.power_off()
        alone(beta, "tank/b")
        beta.run("echo new > /tank/b/file")
        alpha.boot()
        assert alpha.run("zrep sync all", check=False).rc == REFUSED
        silent(alpha, "zrep rejoin tank/a")
        silent(beta, "zrep sync all")
        assert newest_guid(alpha, "tank/a") == newest_guid(beta, "tank/b")

    def test_a_live_lock_of_the_shell_zrep_is_respected_and_a_dead_one_is_not(self, shell: Hosts) -> None:
        alpha, beta = shell
        sleeper = alpha.popen("echo $$; exec sleep 60")
        assert sleeper.stdout is not None
        pid = sleeper.stdout.readline().strip()
        alpha.run(f"zfs set zrep:lock-pid={pid} zrep:lock-time=20260101000000 tank/a; echo second > /tank/a/file")
        assert "the shell zrep is working on it" in alpha.run("zrep sync tank/a", check=False).err
        alpha.run(f"kill {pid}")
        silent(alpha, "zrep sync tank/a")
        assert content(beta, "tank/b") == "second"
