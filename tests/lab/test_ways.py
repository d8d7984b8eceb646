"""Twenty-four ways to stop, mislead or read what is not one's own: those of any local user, and those of one to whom
a filesystem was delegated. None works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import BUSY, OK, REFUSED, alone, in_step, made, silent, snapshots, unchanged

Hosts = tuple[Host, Host]
A, C = "tank/a", "tank/c"
FORGED = rf"x\tlocal\n{C}\tzrep:master\tno\tlocal\n{C}\tzrep:paused\tx"
RECORD = '{"op":"rejoin","id":"0123456789abcdef","phase":"split","epoch":1,"detail":{"fs":"tank/c","copy":"tank/a"}}'
STOPPED = '{"op":"stopped","id":"0123456789abcdef","phase":"","epoch":0,"detail":{"tank/c":"off local"}}'


@dataclass(frozen=True)
class Way:
    """What a user tries. works: what it prints if it has worked."""

    name: str
    command: str
    works: str = "WORKED"


# As nobody, while a zrep is at work on tank/c.
ANYBODY = [
    Way("lock its lock", "exec 3< '/run/zrep/tank%c.lock' && flock -n 3 && echo WORKED"),
    Way("make its lock first", "touch '/run/zrep/tank%d.lock' && echo WORKED"),
    Way("put other locks in their place", "mv /run/zrep /run/zrep2 || ln -s /tmp /run/zrep-0 && echo WORKED"),
    Way("see whom it works with", "cat /run/zrep/*.lock /run/zrep/state/* && echo WORKED"),
    Way("use its connection", "for s in /tmp/zrep-*/*; do ssh -S $s beta true && echo WORKED; done"),
    Way("look into its private directories", "ls /tmp/zrep-*/ && echo WORKED"),
    Way("end it", "pkill -f 'zrep sync'; pgrep -f 'zrep sync' > /dev/null || echo WORKED"),
    Way("change its settings", "echo SSH=/tmp/x >> /etc/default/zrep && echo WORKED"),
    Way("bring a hook or a filter", "mkdir -p /etc/zrep/hooks.d && echo id > /etc/zrep/filters && echo WORKED"),
    Way("run it", f"zrep sync {C} && echo WORKED"),
    Way("give the role away", f"zrep failover {C} && echo WORKED"),
    Way("end the pair", f"zrep clear -L {C} && echo WORKED"),
    Way("ask the helper", "/opt/zrep/bin/python /lab/ask.py", "ADMITTED"),
    Way("read the stream", f"zfs send {C}@zrep_000001 | head -c 1 | grep -c . && echo WORKED"),
    Way("read its memory", "cat /proc/$(pgrep -o -f 'zrep sync')/environ && echo WORKED"),
    Way("be root through its programs", "zrep rehearse tank/c -- sh -c 'id -u' | grep -x 0 && echo WORKED"),
]
ASK = """
from zrep.core import requests as r, steps as s
from zrep.core.errors import ZrepError
from zrep.core.pair import End
from zrep.core.settings import Settings
from zrep.host.local import LocalHost
host = LocalHost(Settings(library=False))
for request in (
    r.Lock(("tank/c",), 0.0), r.Grant("zrep", {"tank/c": r.NO_GENERATION}, {}), r.EndReceive("tank/c"),
    *(r.CarryOut((step,)) for step in (
        s.SetProperties(End.SOURCE, ("tank/c",), (("zrep:master", "no"),)),
        s.Release(End.SOURCE, "zrep", ("tank/c@zrep_000001",)),
        s.DestroySnapshots(End.SOURCE, "tank/c", ("zrep_000001",)), s.Unmount(End.SOURCE, "tank/c", True))),
):
    try:
        answer = host.ask(request)
        assert answer == 0 or answer.failure is not None, request
        print("refused")
    except AssertionError:
        print("ADMITTED", request)
    except ZrepError as error:
        print("refused", error.line())
"""

# As operator, to whom userprop, hold, snapshot, send, create and mount of tank/a were delegated on both hosts.
DELEGATED = [
    Way("a command as a filter", f"zfs set 'zrep:outfilter=tee /root/loot' 'zrep:infilter=tee /root/loot' {A}"),
    Way("another peer", f"zfs set zrep:dest-host=localhost zrep:dest-fs={C} {A}"),
    Way("rows of another in a property", f'zfs set zrep:paused="$(printf "{FORGED}")" {A}'),
    Way("another's hold in a tag", f'zfs hold "$(printf "x\\tSat\\n{C}@zrep_000001\\tzrep")" {A}@zrep_000001'),
    Way("the record of another's rejoin", f"zfs set zrep:inprogress={shlex.quote(RECORD)} {A}"),
    Way("a record that makes another writable", f"zfs set zrep:inprogress={shlex.quote(STOPPED)} {A}"),
    Way("a lock of the shell zrep that never ends", f"zfs set zrep:lock-pid=1 zrep:lock-time=1 {A}"),
    Way("a snapshot with the last number", f"zfs snapshot {A}@zrep_ffffffffffff"),
    Way("codes for root's terminal", f'zfs set zrep:paused="$(printf "\\033[2J\\033]0;x\\007")" {A}'),
    Way("a mark of what rehearse may destroy", f"zfs set zrep:rehearse=999999 {A}"),
]
UNDO = f"""
for p in outfilter infilter paused inprogress lock-pid lock-time rehearse; do zfs inherit zrep:$p {A}; done
zfs set zrep:dest-host=beta zrep:dest-fs={A} {A}; zfs destroy {A}@zrep_ffffffffffff
zfs holds -H {A}@zrep_000001 > /dev/null; true
"""


# What takes a mount: refused as operator before anything is changed.
ROLE_CHANGES = [
    ("alpha", f"failover {A}"),
    ("beta", "takeover tank/backup/a"),
    ("beta", "takeover -L tank/backup/a"),
    ("beta", "rehearse tank/backup/a"),
    ("alpha", f"rejoin {A}"),
]


@pytest.fixture(scope="class")
def pairs(lab: Lab) -> Lab:
    """Two pairs of the same names on both hosts."""
    lab.reset()
    for name in (A, C):
        made(lab.alpha, name)
        silent(lab.alpha, f"zrep init {name} beta {name}")
    for host in lab:
        host.run(f"zfs allow -u operator userprop,hold,snapshot,send,create,mount {A}")
        host.run(f"chmod 700 /{C}", check=False)
    lab.alpha.put(ASK.encode(), "/lab/ask.py", mode="644")
    return lab


def tries(host: Host, user: str, way: Way) -> str:
    done = host.run(f"su {user} -s /bin/sh -c {shlex.quote(way.command)}", check=False, timeout=60)
    return f"{done.out}{done.err}"


WITH_PATH = "PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin"


def as_operator(host: Host, words: str) -> str:
    """What zrep says with these words, as that user's own login runs it; nothing on stderr."""
    done = host.run(f"su - operator -c '{WITH_PATH} zrep {words}'", timeout=120)
    assert done.err == "", done
    return done.out


class TestDelegated:
    def test_what_allow_sets_is_enough_to_replicate(self, lab: Lab, hosts: tuple[Host, Host]) -> None:
        """operator on either host, and nobody is root."""
        alpha, beta = hosts
        made(alpha, A)
        beta.run("zfs create tank/backup")
        printed = alpha.run(f"zrep allow operator {A} --send").out
        assert printed.startswith(
            f"zfs allow -u operator bookmark,destroy,hold,mount,readonly,release,rename,send,snapshot,userprop {A}\n"
        )
        alpha.run(f"zrep allow operator {A} --send --apply")
        beta.run("zrep allow operator tank/backup --receive --apply")

        zrep = partial(as_operator, alpha)
        zrep(f"init {A} operator@beta tank/backup/a --src-host operator@alpha --savecount 2")
        for number in range(3):
            alpha.run(f"echo {number} > /{A}/file")
            zrep("sync all")
        assert in_step(alpha, A, beta, "tank/backup/a")
        assert len(snapshots(beta, "tank/backup/a")) == 2
        assert zrep("status -H -o state") == "ok\n"
        zrep(f"expire {A}")
        # Beside that of root, which sees to another one meanwhile.
        made(alpha, C)
        silent(alpha, f"zrep init {C} beta {C}")
        silent(alpha, f"zrep sync {C}")
        zrep("sync all")
        for host, command in ROLE_CHANGES:
            if "rejoin" in command:
                alone(beta, "tank/backup/a")
            words = f"PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin USER=root zrep {command}"
            with unchanged(lab):
                done = lab[host].run(f"su operator -c {shlex.quote(words)}", check=False, timeout=60)
            assert done.rc == REFUSED, done
            assert f"(zrep runs as operator there, and only root may); next: sudo zrep {command}\n" in done.err, done

    @pytest.mark.thorough
    def test_what_allow_sets_is_enough_to_pull(self, hosts: Hosts) -> None:
        """The same where the host of the replica drives, and alone dials."""
        alpha, beta = hosts
        made(alpha, A)
        beta.run("zfs create tank/backup")
        alpha.run(f"zrep allow operator {A} --send --apply; mv ~operator/.ssh/id_* /root")
        beta.run("zrep allow operator tank/backup --receive --apply")

        zrep = partial(as_operator, beta)
        zrep(f"init --pull operator@alpha {A} tank/backup/a --savecount 2")
        for number in range(3):
            alpha.run(f"echo {number} > /{A}/file")
            zrep("sync all")
        assert in_step(alpha, A, beta, "tank/backup/a")
        assert len(snapshots(alpha, A)) == 2
        assert [as_operator(host, "status -H -o state") for host in hosts] == ["ok\n", "ok\n"]
        assert beta.run("su - operator -c 'ssh -o BatchMode=yes alpha true'", check=False).rc == 0
        assert alpha.run("su - operator -c 'ssh -o BatchMode=yes beta true'", check=False).rc != 0
        # Somebody has taken a permission away: what is missing is named, with the line that gives it again.
        beta.run("zfs unallow -u operator release tank/backup")
        doctor = f"su - operator -c '{WITH_PATH} zrep doctor'"
        found = beta.run(doctor, check=False).err
        gives = "zrep allow operator tank/backup/a --receive --apply"
        assert "operator lacks permissions on tank/backup/a on beta (release); next: as root on beta: " in found
        assert f"as root on beta: {gives}\n" in found
        beta.run(gives)
        # So is the line for his own crontab, which he alone may read beside root.
        runs = re.search(r"nothing on beta runs zrep sync .*; next: on beta, as operator: (.*)", found)
        assert runs, found
        beta.run(f"su - operator -c {shlex.quote(f'PATH=$PATH:/usr/local/bin; {runs.group(1)}')}")
        assert beta.run("crontab -l -u operator").out == "* * * * * /usr/local/bin/zrep sync all\n"
        found = beta.run(doctor, check=False).err
        assert ("lacks" in found, "by itself" in found) == (False, False), found
        beta.run("crontab -r -u operator")

    @pytest.mark.thorough
    def test_what_allow_sets_is_enough_for_all_of_a_tree(self, hosts: Hosts) -> None:
        """Filesystems, a volume, an encrypted one, a clone: made, renamed, promoted and gone; and every other command
        that mounts nothing. Of what follows, each property is for root to allow, and it is said how."""
        alpha, beta = hosts
        made(alpha, "tank/t")
        alpha.run("zfs create tank/t/x; echo 1 > /tank/t/x/f; zfs create -s -V 8M tank/t/v")
        alpha.run("echo 12345678 | zfs create -o encryption=on -o keyformat=passphrase tank/t/e; echo 1 > /tank/t/e/f")
        beta.run("zfs create tank/backup")
        alpha.run("zrep allow operator tank/t --send --apply")
        beta.run("zrep allow operator tank/backup --receive --apply")
        zrep = partial(as_operator, alpha)
        zrep("init -r tank/t operator@beta tank/backup/t --src-host operator@alpha")
        for change in (
            "echo 2 > /tank/t/x/f; echo 2 > /tank/t/e/f; dd if=/dev/urandom of=/dev/zd0 bs=64k count=4 2> /dev/null",
            "zfs create tank/t/new; echo 1 > /tank/t/new/f; zfs rename tank/t/x tank/t/y",
            "zfs snapshot tank/t/y@s; zfs clone tank/t/y@s tank/t/c; echo 1 > /tank/t/c/f; echo 3 > /tank/t/y/f",
            "zfs promote tank/t/c; echo 4 > /tank/t/y/f",
            "zfs list -H -o name -t snapshot tank/t/new | xargs -n 1 zfs release zrep; zfs destroy -r tank/t/new",
            "echo 87654321 | zfs change-key -o keyformat=passphrase tank/t/e; echo 4 > /tank/t/e/f",
        ):
            alpha.run(change)
            zrep("sync all")
            for name in alpha.run("zfs list -H -o name -r -t filesystem tank/t").lines:
                assert in_step(alpha, name, beta, name.replace("tank", "tank/backup", 1)), (change, name)
        as_operator(beta, "expire --gone 0s tank/backup/t")
        told = alpha.run(f"zfs set quota=1G tank/t/y; su - operator -c '{WITH_PATH} zrep sync all'").err
        lets = re.search("next: as root on beta: (zfs allow -u operator quota tank/backup/t/y)\n", told)
        assert lets, told
        beta.run(lets.group(1))
        zrep("sync tank/t")
        assert beta.run("zfs get -Hp -o value quota tank/backup/t/y").out == f"{1 << 30}\n"
        for words in (
            "changeconfig --savecount 3 tank/t",
            "changeconfig --all-snapshots tank/t",
            "changeconfig --exclude tank/t/v",
            "pause tank/t",
            "unpause tank/t",
            "sync all",
            "expire tank/t",
            "list",
            "status -v",
        ):
            zrep(words)
        zrep("clear tank/t")
        assert (
            beta.run("su - operator -c 'zfs get -H -o name -s local zrep:master -r tank/backup'", check=False).out == ""
        )


class TestWays:
    def test_of_any_local_user(self, pairs: Lab) -> None:
        """While it is at work: slowly, so that all of them come into the middle of it."""
        alpha = pairs.alpha
        alpha.run(f"head -c 3000000 /dev/urandom > /{C}/more")
        pairs.slow(pairs.beta, rate="800kbit")
        working = alpha.popen("zrep sync all")
        alpha.run("for i in $(seq 100); do [ -e '/run/zrep/tank%c.lock' ] && break; sleep 0.1; done")
        with unchanged(pairs, "cat /etc/default/zrep /etc/zrep/* 2> /dev/null; stat -c '%n %A %U' /run/zrep*"):
            worked = [way.name for way in ANYBODY if way.works in tries(alpha, "nobody", way)]
        pairs.heal()
        assert worked == []
        assert working.wait(timeout=120) == OK, working.communicate()
        assert in_step(alpha, C, pairs.beta, C)

    def test_a_process_that_is_called_like_a_receive_keeps_nobody_alive(self, pairs: Lab) -> None:
        beta = pairs.beta
        fake = "exec -a zfs python3 -c 'import time\nwhile True: time.sleep(0.01)' receive tank/c"
        beta.put(f"#!/bin/bash\n{fake}\n".encode(), "/lab/fake", mode="755")
        running = beta.popen("su nobody -s /bin/bash -c /lab/fake")
        counted = "from zrep.host.procfs import runs_of_receives; print(runs_of_receives({'tank/c'}))"
        assert beta.run(f'/opt/zrep/bin/python -c "{counted}"').out == "0\n"
        beta.run("pkill -u nobody; true")
        running.wait(timeout=20)

    @pytest.fixture
    def _undone(self, pairs: Lab) -> Iterator[None]:
        yield
        pairs.alpha.run(UNDO, check=False)

    @pytest.mark.usefixtures("_undone")
    @pytest.mark.parametrize("way", DELEGATED, ids=lambda way: way.name)
    def test_of_one_to_whom_a_filesystem_was_delegated(self, pairs: Lab, way: Way) -> None:
        alpha, beta = pairs.alpha, pairs.beta
        alpha.run(f"echo {shlex.quote(way.name)} > /{C}/file")
        before = alpha.run(f"zfs get -H -o property,value,source all {C} | grep -e zrep: -e readonly").out
        tries(alpha, "operator", way)
        done = alpha.run("zrep sync all", check=False, timeout=120)
        assert done.rc in (OK, REFUSED, BUSY), done
        assert in_step(alpha, C, beta, C)
        assert "\033" not in done.out + done.err
        status = alpha.run(f"zrep status -H -o state {C}", check=False)
        assert (status.rc, status.out) == (OK, "ok\n"), status
        if "rejoin" in way.name or "rehearse" in way.name:
            assert alpha.run(f"zrep rejoin {C}", check=False, timeout=120).rc == OK
            alpha.run(f"zrep rehearse {C}", check=False, timeout=120)
        assert alpha.run(f"zfs get -H -o property,value,source all {C} | grep -e zrep: -e readonly").out == before
        for host in pairs:
            assert host.run("ls /root/loot", check=False).out == ""
            assert host.run(f"zfs list -H -o name -t filesystem {A} {C}").lines == [A, C]
