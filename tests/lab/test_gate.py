"""zrep gate behind a real sshd: each operation passes through the gate meant for it, and an attacker through none."""

from __future__ import annotations

import re

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import BUSY, PICTURE, REFUSED, TRACES, alone, in_step, made, silent, snapshots, unchanged

A, B = "tank/a", "tank/data/a"


def gate(host: Host, words: str) -> None:
    """Everybody's key for root on a host is worth this much from now on."""
    limit = f'restrict,command="zrep gate {words}" '
    host.run(f"sed 's|^|{limit}|' /lab/authorized_keys > /root/.ssh/authorized_keys")


def linked(lab: Lab, words: str = "--tree tank/data --receive") -> tuple[Host, Host]:
    """A pair that was made through a gate of beta, with something to send."""
    lab.reset()
    alpha, beta = lab.alpha, lab.beta
    beta.run("zfs create tank/data; zfs create tank/other; zfs snapshot tank/other@1; zfs create tank/data2")
    gate(beta, words)
    made(alpha, A, compression="lz4")
    silent(alpha, f"ZREP_SAVE_COUNT=2 zrep init {A} beta {B}")
    alpha.run(f"echo more > /{A}/file")
    return alpha, beta


# Where somebody would leave something behind.
FILES = r"""
ls -la /root /etc /tmp /run/zrep | grep -v -e ' \.\.\?$' -e total -e evil
cat /etc/passwd /root/.ssh/authorized_keys
"""


class TestOperations:
    def test_a_peer_that_may_only_receive(self, lab: Lab) -> None:
        alpha, beta = linked(lab)
        for number in range(4):
            alpha.run(f"echo {number} > /{A}/file")
            silent(alpha, "zrep sync all")
        assert in_step(alpha, A, beta, B)
        assert len(snapshots(beta, B)) == 2
        assert alpha.run("zrep status -H -o state").out == "ok\n"
        silent(alpha, f"zrep expire {A}")
        alpha.run("dd if=/dev/urandom of=/tank/a/big bs=1M count=8")
        silent(alpha, "zrep sync all")
        refused = {
            f"zrep failover {A}": "--send",
            f"zrep clear {A}": "to end what is in zrep:",
        }
        for command, why in refused.items():
            with unchanged(lab):
                done = alpha.run(command, check=False)
            assert (done.rc, "the gate of beta does not admit" in done.err, why in done.err) == (REFUSED, True, True)
        gate(beta, "--tree tank/data --send")
        alpha.run(f"echo new > /{A}/file")
        with unchanged(lab):
            done = alpha.run(f"zrep sync {A}", check=False)
        assert (done.rc, "without --receive" in done.err) == (REFUSED, True), done
        gate(beta, "--tree tank/data2 --receive --send")
        with unchanged(lab, TRACES):
            done = alpha.run(f"zrep sync {A}", check=False)
        assert (done.rc, f"anything of '{B}'" in done.err) == (REFUSED, True), done
        log = beta.run("journalctl -t zrep-gate -o cat 2> /dev/null || grep -h zrep-gate /var/log/*", check=False).out
        assert not log or "refused 10.79.0.1" in log

    def test_one_whose_streams_are_kept(self, lab: Lab) -> None:
        alpha, beta = linked(lab, "--tree tank/data --receive --keep")
        done = [alpha.run(f"echo {number} > /{A}/file; zrep sync all") for number in range(4)]
        assert all("this side keeps it" in each.err or not each.err for each in done)
        assert in_step(alpha, A, beta, B)
        assert len(snapshots(beta, B)) == 5
        assert len(snapshots(alpha, A)) == 2
        silent(beta, f"zrep expire -L {B}")
        assert len(snapshots(beta, B)) == 2

    def test_a_peer_that_takes_streams(self, lab: Lab) -> None:
        """beta pulls through a gate of alpha, which has no key to beta."""
        lab.reset()
        alpha, beta = lab.alpha, lab.beta
        made(alpha, A)
        alpha.run("zfs create tank/other; zfs snapshot tank/other@1")
        gate(alpha, f"--tree {A} --send")
        beta.run("rm /root/.ssh/authorized_keys")
        silent(beta, "zfs create tank/data")
        silent(beta, f"ZREP_SAVE_COUNT=2 zrep init --pull alpha {A} {B}")
        for number in range(4):
            alpha.run(f"echo {number} > /{A}/file")
            silent(beta, "zrep sync all")
        assert in_step(alpha, A, beta, B)
        assert (len(snapshots(alpha, A)), len(snapshots(beta, B))) == (2, 2)
        with unchanged(lab, PICTURE):
            done = beta.run(f"zrep takeover {B}", check=False)
        assert (done.rc, "the gate of alpha does not admit" in done.err) == (REFUSED, True), done

    def test_a_pair_whose_role_moves(self, lab: Lab) -> None:
        alpha, beta = linked(lab, "--tree tank/data --send --receive")
        gate(alpha, "--tree tank/a --send --receive")
        silent(alpha, f"zrep failover {A}")
        beta.run(f"echo there > /{B}/file")
        silent(beta, "zrep sync all")
        silent(alpha, f"zrep takeover {A}")
        lab.cut(beta)
        alone(beta, B)
        lab.heal()
        assert alpha.run(f"zrep sync {A}", check=False).rc == REFUSED
        assert alpha.run(f"zrep rejoin {A}", timeout=120).rc == 0
        silent(beta, "zrep sync all")
        assert in_step(beta, B, alpha, A)

    def test_an_encrypted_one_comes_raw(self, lab: Lab) -> None:
        lab.reset()
        alpha, beta = lab.alpha, lab.beta
        beta.run("zfs create tank/data")
        gate(beta, "--tree tank/data --receive")
        alpha.run(f"echo 12345678 | zfs create -o encryption=on -o keyformat=passphrase {A}; echo x > /{A}/file")
        silent(alpha, f"zrep init {A} beta {B}")
        alpha.run(f"echo more > /{A}/file")
        silent(alpha, "zrep sync all")
        assert in_step(alpha, A, beta, B)
        beta.run(f"echo 12345678 | zfs load-key {B} && zfs mount {B}")
        assert beta.run(f"cat /{B}/file").out == "more\n"


# Asked of the helper through the gate; each must be refused.
REQUESTS = r"""
from zrep.core import requests as r, steps as s
from zrep.core.errors import ZrepError
from zrep.core.pair import End
from zrep.wire.client import RemoteHost

A, OUT, T = "tank/data/a", "tank/other", End.TARGET
many = [
    *(s.SetProperties(T, (A,), (pair,)) for pair in (
        ("mountpoint", "/etc"), ("setuid", "on"), ("sharenfs", "rw"), ("readonly", "off"), ("zrep:master", "yes"),
        ("canmount", "on"), ("com.sun:auto-snapshot", "true"), ("exec", "on"), ("devices", "on"))),
    *(s.SetProperties(T, (name,), (("zrep:sent", "1"),)) for name in (OUT, "tank", "tank/data2", "tank/data/../other")),
    s.DestroySnapshots(T, OUT, ("1",)), s.DestroySnapshots(T, A, ("daily",)),
    s.DestroySnapshots(T, A, ("zrep_000001", "x")), s.Rollback(T, A + "@zrep_000001"),
    s.DestroyClone(T, A), s.PromoteClone(T, A), s.Clone(T, OUT + "@1", A + "/loot", ()), s.Rename(T, A, "tank/away"),
    s.Rename(T, OUT, "tank/data/loot"), s.Mount(T, A, "/etc"), s.Unmount(T, A, True, "/"), s.Share(T, A),
    s.RemountWritable(T, A, "/"), s.RemountReadOnly(T, A, "/"), s.Allow(T, A, ("everyone", "destroy")),
    s.CreateParent(T, "tank/x"), s.Dirty(T, A), s.InheritProperty(T, (A,), "zrep:src-fs"),
    s.TakeSnapshot(T, "zrep", (A + "@zrep_000099",)), s.CloseTransactionGroup(T, "rpool"),
]
asked = [r.CarryOut((step,)) for step in many] + [
    r.TakeRole("zrep", s.TakeRole(T, A, "", "1" * 16, (("zrep:master", "yes"),))),
    r.RunHooks("before-promote", {"LD_PRELOAD": "/tmp/x", "ZREP_FS": A}),
    r.Grant("x", {A: r.NO_GENERATION}, {}), r.Grant("zrep", {OUT: r.NO_GENERATION}, {}),
    r.ReadAllProperties(OUT), r.ReadChildren("tank"), r.ReadSnapshots((OUT + "@1",)), r.ReadMounts(),
    r.ReadRole("zrep", OUT), r.ReadUsers(OUT), r.EndReceive(OUT), r.Lock((OUT,), 1.0), r.Lock((A,), 1e9),
    r.Remember({"../../root/x": {"a": 1}}), r.ReadDifferences(A + "@zrep_000001", A), r.ReadToken("1-ab"),
]
host = RemoteHost("root@beta")
for request in asked:
    try:
        print("ADMITTED", request, host.ask(request))
    except ZrepError as error:
        assert "the gate of beta does not admit" in error.what, error.line()
print(len(asked), "refused;", *host.ask(r.FindRoles("zrep")), *host.ask(r.ReadTags()))
found = host.ask(r.ReadMembers("zrep", ("tank", A)))
print(found.members["tank"].snapshots, sorted(found.members["tank"].properties))
host.close()
"""


# Command lines given to the gate as they are; each must be refused.
LINES = r"""
import subprocess
from zrep.wire import ssh
from zrep.wire.ssh import Admitted, Receiver, Sender
from zrep.zfs.stream_words import Receiving, Sending

A, LOCK, TOKEN = "tank/data/a", "/var/run/zrep/tank%data%a.receive", "1.0123456789abcdef"
helper, loot = ssh.helper("zrep"), "touch /root/loot"

def receive(target, lock=LOCK, **more):
    return ssh.build(Receiver(False, (Admitted(lock, TOKEN, Receiving(target, **more)),)))

lines = [
    loot, f"sh -c '{loot}'", "zrep peer", "zrep failover tank/data/a", "zfs destroy -r tank",
    "../zrep", "internal-sftp", "x" * 100000, "",
    f"{helper}; {loot}", f"{helper} && {loot}", f"{helper}\n{loot}", f"{helper} $({loot})", f"{helper} `{loot}`",
    helper.replace("'peer'", f"'peer' '{loot}'"), helper.replace("'peer'", "'sync'"),
    helper.replace("exec", loot + "; exec"),
    ssh.build(Sender((Sending("tank/other@1"),))), ssh.build(Sender((Sending("tank/data/a@daily"),))),
    receive("tank/other"), receive("tank/data/../other"), receive("tank"), receive("tank/data2"),
    receive(A, override=(("mountpoint", "/etc"),)), receive(A, override=(("zrep:outfilter", loot),)),
    receive(A, infilter=loot), receive(A, exclude=("readonly",), override=(("readonly", "off"),)),
    receive(A, lock="/tank/data/a/link"), receive(A, lock="/etc/passwd"), receive(A, lock="/var/run/zrep/../../root/x"),
    receive(A), receive(A).replace("zfs' 'receive'", "zfs' 'receive' '-F'"),
]
way = ["ssh", "-o", "ControlMaster=auto", "-o", "ControlPath=/tmp/lines", "-o", "ControlPersist=20", "root@beta"]
for line in lines:
    done = subprocess.run([*way, line or " "], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode not in (0, 255) and "Traceback" not in done.stderr, (line[:300], done)
print(len(lines), "refused")
"""

# A stream that is let in, from a dataset with all that could hurt.
EVIL = r"""
import subprocess, sys
from zrep.core import requests as r, steps as s
from zrep.core.pair import End
from zrep.wire.client import RemoteHost

T = "tank/data/evil"
host = RemoteHost("root@beta")
assert host.ask(r.Lock((T,), 5.0, "zrep")) == []
granted = host.ask(r.Grant("zrep", {T: r.NO_GENERATION}, {T: T}))
into = host.receiver([(s.SendStream(End.SOURCE, "tank/evil@1", T), granted[T])], marked=False)
sender = subprocess.Popen(["zfs", "send", "-p", "tank/evil@1"], stdout=subprocess.PIPE)
done = subprocess.run(into, stdin=sender.stdout, timeout=60)
host.close()
sys.exit(done.returncode)
"""
MAKE_EVIL = """
zfs create -o mountpoint=/srv/evil -o setuid=on -o devices=on -o sharenfs=rw tank/evil
zfs set com.sun:auto-snapshot=true 'zrep:outfilter=touch /root/loot' zrep:dest-host=localhost tank/evil
ln -s /etc/passwd /srv/evil/link; cp /bin/sh /srv/evil/root; chmod 4755 /srv/evil/root
zfs unmount tank/evil; zfs set -u mountpoint=/etc tank/evil
zfs snapshot tank/evil@1
"""

# So many connections, ten sessions over each as sshd has it, each for a stream that never begins.
MANY = r"""
import subprocess, sys, time
from zrep.wire import ssh
from zrep.wire.ssh import Admitted, Receiver
from zrep.zfs.stream_words import Receiving

A, LOCK, TOKEN = "tank/data/a", "/var/run/zrep/tank%data%a.receive", "1.0123456789abcdef"
line = ssh.build(Receiver(True, (Admitted(LOCK, TOKEN, Receiving(A)),)))
connections = int(sys.argv[1])
for number in range(connections):
    way = ["-o", "ControlMaster=yes", "-o", f"ControlPath=/tmp/many.{number}", "root@beta"]
    subprocess.run(["ssh", "-f", "-N", *way], check=True)
sessions = [
    subprocess.Popen(
        ["ssh", "-S", f"/tmp/many.{number % connections}", "root@beta", line],
        stdin=subprocess.PIPE, stderr=open(f"/tmp/many.err.{number}", "wb"),
    )
    for number in range(10 * connections)
]
turned_away = []
while len(turned_away) < 10 * connections - 32:
    time.sleep(1)
    turned_away = [session.returncode for session in sessions if session.poll() is not None]
time.sleep(10)
ended = [session.returncode for session in sessions if session.poll() is not None]
said = [open(f"/tmp/many.err.{number}").read() for number in range(10 * connections)]
print(len(ended), set(ended), sum("32 sessions of this gate already" in each for each in said), flush=True)
time.sleep(600)
"""


class TestAttacks:
    """With the key, and nothing else; beta lets in what --receive does."""

    @pytest.fixture(scope="class")
    def attacked(self, lab: Lab) -> Lab:
        alpha, beta = linked(lab)
        silent(alpha, "zrep sync all")
        beta.run(f"zfs snapshot {B}@daily")
        alpha.put(REQUESTS.encode(), "/lab/requests.py", mode="644")
        return lab

    def test_no_other_way_of_ssh_is_open(self, attacked: Lab) -> None:
        tries = (
            "ssh root@beta",
            "ssh -tt root@beta",
            "sftp -b /dev/null root@beta",
            "scp /etc/hosts root@beta:/root/loot",
            "ssh -N -o ExitOnForwardFailure=yes -R 9999:localhost:22 root@beta",
            "ssh -W localhost:22 root@beta",
            "ssh -o SetEnv=ZREP_RUNDIR=/tmp -o SendEnv=ZREP_RUNDIR root@beta zrep peer",
        )
        with unchanged(attacked), unchanged(attacked, "ls /root /etc /tmp"):
            for command in tries:
                done = attacked.alpha.run(f"su operator -c 'timeout 20 {command} < /dev/null'", check=False, timeout=60)
                assert done.rc not in (0, 124), command

    def test_no_request_of_his_is_carried_out(self, attacked: Lab) -> None:
        with unchanged(attacked), unchanged(attacked, PICTURE):
            done = attacked.alpha.run("su operator -c '/opt/zrep/bin/python /lab/requests.py'", timeout=120)
        assert "ADMITTED" not in done.out
        assert re.match(rf"\d+ refused; {B}\n\(\) \['available', 'encryption'", done.out), done

    def test_no_command_line_of_his_is_run(self, attacked: Lab) -> None:
        attacked.alpha.put(LINES.encode(), "/lab/lines.py", mode="644")
        before = attacked.beta.run(FILES).lines
        with unchanged(attacked), unchanged(attacked, PICTURE):
            done = attacked.alpha.run("su operator -c '/opt/zrep/bin/python /lab/lines.py'", timeout=300)
        assert attacked.beta.run(FILES).lines == before
        assert re.fullmatch(r"\d\d refused\n", done.out), done

    def test_a_stream_brings_data_and_nothing_that_acts(self, attacked: Lab) -> None:
        alpha, beta = attacked.alpha, attacked.beta
        alpha.run(MAKE_EVIL, check=False)
        alpha.put(EVIL.encode(), "/lab/evil.py", mode="644")
        outside = "{ " + PICTURE + "} | grep -v '^tank/data/evil'"
        before = [beta.run(look, check=False).lines for look in (outside, FILES, "cat /proc/mounts")]
        alpha.run("/opt/zrep/bin/python /lab/evil.py", timeout=120)
        assert [beta.run(look, check=False).lines for look in (outside, FILES, "cat /proc/mounts")] == before
        assert beta.run("zfs get -H -o property -s local,received all tank/data/evil").out == ""
        for host in (alpha, beta):
            host.run("zfs destroy -r $(zfs list -H -o name | grep evil)")

    def test_a_long_line_costs_him_his_connection(self, attacked: Lab) -> None:
        alpha = attacked.alpha
        alpha.run(
            '/opt/zrep/bin/python -c \'from zrep.wire import ssh; print(ssh.helper("zrep"), end="")\' > /lab/helper'
        )
        done = alpha.run(
            "tr '\\0' x < /dev/zero | head -c 10G | timeout 100 ssh root@beta \"$(cat /lab/helper)\"",
            check=False,
            timeout=120,
        )
        assert done.rc == 1, done
        assert "a line that is too long" in done.out
        silent(alpha, "zrep sync all")

    def test_sessions_without_end_are_bounded(self, attacked: Lab) -> None:
        """What is one more than a gate's is turned away before it costs much, and there is room again once they end."""
        alpha, beta = attacked.alpha, attacked.beta
        alpha.put(MANY.encode(), "/lab/many.py", mode="644")
        free = "awk '/MemAvailable/ {print $2}' /proc/meminfo"
        before = int(beta.run(free).out)
        many = alpha.popen("su operator -c 'exec /opt/zrep/bin/python /lab/many.py 5'")
        assert many.stdout
        assert many.stdout.readline() == "18 {4} 18\n"
        assert int(beta.run("pgrep -c -f '[z]rep gate --tree'").out) == 32
        assert before - int(beta.run(free).out) < 600 << 10
        with unchanged(attacked):
            done = alpha.run(f"zrep sync {A}", check=False)
        assert (done.rc, "beta is busy (zrep: " in done.err) == (BUSY, True), done
        alpha.run("pkill -u operator; true")
        many.wait(timeout=60)
        beta.run("for i in $(seq 60); do pgrep -f '[z]rep gate --tree' > /dev/null || exit 0; sleep 1; done; exit 1")
        silent(alpha, f"zrep sync {A}")
