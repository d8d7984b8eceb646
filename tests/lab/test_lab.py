"""The lab itself: what the other tests take for granted about the hosts."""

import time

import pytest

from tests.lab.hosts import CommandError, Host, Lab

Hosts = tuple[Host, Host]
NEAR = "ssh -o BatchMode=yes"


def reaches(host: Host, peer: str) -> bool:
    return host.run(f"ping -c1 -W1 -q {peer}", check=False).rc == 0


@pytest.mark.parametrize("user", ["root", "operator"])
@pytest.mark.parametrize(("here", "there"), [("alpha", "beta"), ("beta", "alpha")])
def test_the_hosts_log_in_to_each_other(lab: Lab, user: str, here: str, there: str) -> None:
    for name in (there, f"{there}-alias", f"{there}-2222", f"{there}6"):
        assert lab[here].run(f"su {user} -c '{NEAR} {name} hostname'").out == f"{there}\n"


def test_a_missing_host_key_is_noticed(hosts: Hosts) -> None:
    alpha, _ = hosts
    alpha.run("rm ~/.ssh/known_hosts")
    assert "Host key verification failed" in alpha.run(f"{NEAR} beta true", check=False).err


def test_zfs_is_real_and_the_pools_are_there(hosts: Hosts) -> None:
    for host in hosts:
        assert host.run("zfs list -H -o name").lines == ["small", "tank"]
        host.run("zfs create tank/a && zfs snapshot tank/a@1 && zfs send tank/a@1 | zfs receive tank/b")


def test_zrep_is_installed(lab: Lab) -> None:
    for host in lab:
        assert host.run("zrep version").out.strip()


def test_a_cut_wire_stalls_without_a_reset(lab: Lab, hosts: Hosts) -> None:
    alpha, beta = hosts
    stream = alpha.popen(f"{NEAR} beta 'cat >/dev/null; echo got it'")
    assert stream.stdin is not None
    time.sleep(1)
    lab.cut(beta)
    assert not reaches(alpha, "beta")
    assert stream.poll() is None
    lab.heal()
    assert stream.communicate("data", timeout=20)[0] == "got it\n"


@pytest.mark.parametrize(("direction", "arrives"), [("in", "beta"), ("out", "alpha")])
def test_a_one_way_cut_lets_the_other_way_through(lab: Lab, hosts: Hosts, direction: str, arrives: str) -> None:
    alpha, beta = hosts
    for host, peer in ((alpha, "beta"), (beta, "alpha")):
        assert reaches(host, peer)
    lab.cut(beta, "in" if direction == "in" else "out")
    sender, receiver = (beta, alpha) if direction == "in" else (alpha, beta)
    counter = "cat /sys/class/net/vec0/statistics/tx_packets"
    before = int(sender.run(counter).out)
    assert not reaches(sender, receiver.name)
    assert int(sender.run(counter).out) > before
    lab.heal()
    assert reaches(sender, receiver.name)


def fastest_ping(host: Host, peer: str) -> float:
    """Milliseconds: the least of a few, so that a busy machine does not count."""
    return float(host.run(f"ping -c8 -i0.2 -q {peer} | grep rtt").out.split()[3].split("/")[0])


def test_a_slow_wire_is_slow_both_ways(lab: Lab, hosts: Hosts) -> None:
    alpha, beta = hosts
    lab.slow(beta, delay="300ms", rate="4mbit")
    for here, there in ((alpha, "beta"), (beta, "alpha")):
        assert fastest_ping(here, there) >= 300
        start = time.monotonic()
        here.run(f"head -c 1000000 /dev/zero | {NEAR} {there} 'cat >/dev/null'")
        assert time.monotonic() - start > 2
    lab.heal()
    assert fastest_ping(alpha, "beta") < 300


def test_power_loss_keeps_what_was_synced(hosts: Hosts) -> None:
    alpha, beta = hosts
    alpha.run("zfs create tank/a && echo kept > /tank/a/file && zpool sync tank && touch /run/volatile")
    alpha.power_off()
    assert not alpha.is_on
    assert not reaches(beta, "alpha")
    alpha.boot()
    assert alpha.run("cat /tank/a/file; ls /run/volatile", check=False).out == "kept\n"
    assert beta.run(f"{NEAR} alpha zpool status -x").out == "all pools are healthy\n"


def test_a_cut_survives_a_reboot(lab: Lab, hosts: Hosts) -> None:
    alpha, beta = hosts
    lab.cut(beta, "in")
    beta.power_off()
    beta.boot()
    assert not reaches(alpha, "beta")
    lab.heal()
    assert reaches(alpha, "beta")


def test_a_command_that_fails_or_hangs_says_which(hosts: Hosts) -> None:
    alpha, _ = hosts
    with pytest.raises(CommandError, match=r"\[alpha\] echo why >&2; exit 3: exit 3\nwhy"):
        alpha.run("echo why >&2; exit 3")
    with pytest.raises(CommandError, match=r"no end after 0.3 s"):
        alpha.run("sleep 60", timeout=0.3)
    assert alpha.run("exit 3", check=False).rc == 3
    assert alpha.run("cat", input="text").out == "text"


BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
MESS = """
zfs create tank/a; zfs snapshot tank/a@1; zfs hold kept tank/a@1; zfs set zrep:master=yes tank
truncate -s 100M /var/tmp/more.img; zpool create more /var/tmp/more.img
mkdir -p /etc/zrep /run/zrep; echo A=b > /etc/default/zrep; echo x > /run/zrep/x; echo x > /tmp/x; rm -rf /root/.ssh
printf '#!/bin/sh\\nexit 1\\n' > /usr/local/bin/zfs; chmod +x /usr/local/bin/zfs
chsh -s /bin/tcsh root; chsh -s /usr/bin/fish operator
mount -t tmpfs tmpfs /mnt; (cd /tank/a; sleep 1000 & setsid sleep 1001 &) > /dev/null 2>&1
echo 60 > /sys/module/zfs/parameters/zfs_txg_timeout; iptables -A INPUT -p tcp --dport 22 -j DROP
cron; pkill -f 'sshd$'; ip link set vec0 down; hostname elsewhere; date -s '1 day ago' > /dev/null
"""


def test_reset_leaves_nothing(lab: Lab, hosts: Hosts) -> None:
    clean = _picture(lab.alpha)
    lab.alpha.run(MESS, check=False)
    assert _picture(lab.alpha) != clean
    lab.cut(lab.beta)
    lab.slow(lab.beta, delay="50ms")
    boots = [host.run(BOOT_ID).out for host in lab]
    lab.reset()
    assert [host.run(BOOT_ID).out for host in lab] == boots  # it took no new disks to get there
    assert _picture(lab.alpha) == clean
    assert reaches(lab.alpha, "beta")
    assert lab.alpha.run(f"{NEAR} beta hostname").out == "beta\n"


def test_reset_revives_dead_hosts(lab: Lab, hosts: Hosts) -> None:
    lab.alpha.run("zfs create tank/a")
    lab.alpha.power_off()
    lab.beta.run("touch /tmp/x; kill -9 $(cat /run/sshd-control.pid)", check=False, timeout=3)
    lab.reset()
    for host in lab:
        assert host.run("zfs list -H -o name; ls /tmp").lines == ["small", "tank"]


def test_reset_sees_what_was_changed_before_a_power_loss(lab: Lab, hosts: Hosts) -> None:
    alpha, _ = hosts
    alpha.run("echo x > /etc/default/zrep; sync")
    alpha.power_off()
    alpha.boot()
    lab.reset()
    assert alpha.run("ls /etc/default/zrep", check=False).rc != 0


def _picture(host: Host) -> str:
    """All that a test could stumble over."""
    return host.run(
        r"""
        exec 2>&1; PATH=/usr/sbin:/usr/bin
        zpool list -H -o name; zfs get -H -s local,received all; zfs list -H -t all -o name; zfs holds tank/a@1
        cut -d' ' -f1-3 /proc/mounts | grep -v ' zfs$'; ip -o addr show vec0 | sed 's/valid_lft.*//'
        ip -o link show vec0; iptables -S
        ps -eo ppid,args | grep -vE '^ *2 |ps -eo|grep|bash|sleep inf|sort|notty' | sort
        ls -A /run /tmp /root /root/.ssh /etc /etc/default /etc/zrep /usr/local/bin /var/tmp
        getent passwd root operator
        cat /sys/module/zfs/parameters/zfs_txg_timeout; hostname; echo $(( EPOCHSECONDS / 10000 ))
        """,
        check=False,
    ).out
