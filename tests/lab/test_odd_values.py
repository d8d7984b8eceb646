"""Values that only OpenZFS takes for ordinary, on real OpenZFS."""

from __future__ import annotations

import shlex

import pytest

from tests.lab.hosts import Host
from tests.lab.zrep_on import REFUSED, alone, in_step, rarely, silent

Hosts = tuple[Host, Host]

A, C = "tank/a", "tank/c"
FORGED = {
    "another's role": rf"x\tlocal\n{C}\tzrep:master\tno\tlocal\n{C}\tzrep:paused\tx",
    "another's first row": rf"x\tlocal\n{C}\treservation\t0\tdefault\n{C}\tzrep:src-fs\tx",
    "another's snapshot": rf"1\n{C}\t7\t1\t1\t-\t0\t0\t-\t-\t-\n{C}@zrep_000009\t7\t1\t1\t0\t0\t0\t-\t1\tyes",
}
# Bytes that are no UTF-8, tabs and line ends; and more than one set of properties can hold.
SETTINGS = r"""
zfs set org.freenas:description="$(printf 'a\tb\nc')" org:bytes="$(printf '\377\303x')" org:empty= tank/a
for n in 1 2 3; do zfs set org:long$n="$(head -c 8000 /dev/zero | tr '\0' $n)" tank/a; done
zfs set quota=10M refquota=10M reservation=1M tank/a
zfs set quota=none refquota=none atime=off 'mountpoint=/srv/a	b' tank/a
"""
# Uses up the numbers of processes until one is passed: with threads, which have such numbers too and are there at once.
PASSED = """
import sys, threading
while int(open("/proc/loadavg").read().split()[4]) <= int(sys.argv[1]):
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
"""
SET = "zfs get -Hp -s local,received -o property,value all tank/a | grep -v -e ^zrep: -e ^readonly -e ^canmount | sort"


def value(host: Host, name: str, prop: str) -> str:
    return host.run(f"zfs get -Hp -o value {prop} {name}").out.removesuffix("\n")


def state(host: Host, name: str) -> str:
    return host.run(f"zrep status -H -o state {name}", check=False).out.removesuffix("\n")


def both(hosts: Hosts) -> Hosts:
    """Two pairs of the same names on both sides, with something to send in each."""
    alpha, _ = hosts
    for name in (A, C):
        alpha.run(f"zfs create {name}; zrep init {name} beta {name}; echo new > /{name}/file")
    return hosts


class TestOneOddValue:
    @pytest.mark.parametrize("kind", [*rarely("another's role", "another's snapshot"), "another's first row"])
    def test_of_a_delegated_user_costs_nothing_else(self, hosts: Hosts, kind: str) -> None:
        """He may set properties of one filesystem, and hold its snapshots."""
        odd = FORGED[kind]
        alpha, beta = both(hosts)
        for host in hosts:
            host.run(f"zfs allow -u operator userprop,hold {A}")
            for name in ("zrep:paused", "zrep:lock-time", "zrep:sent"):
                host.run(f'su operator -c \'zfs set {name}="$(printf "{odd}")" {A}\'')
            host.run(f'su operator -c \'zfs hold "$(printf "{odd}")" {A}@zrep_000001\'', check=False)
        assert (state(alpha, C), state(beta, C)) == ("ok", "ok")
        assert alpha.run("zrep sync all", check=False).rc in (0, REFUSED)
        assert in_step(alpha, C, beta, C)
        silent(alpha, f"zrep failover {C}")

    def test_what_is_only_odd_costs_nothing_else(self, hosts: Hosts) -> None:
        """A number that the peer's shell zrep had, and a process here has; a tag of a hold that is no text; a snapshot
        with the last number there is."""
        alpha, beta = both(hosts)
        while True:  # until it has a number that no process of the peer has, nor will have
            working = alpha.popen("echo $$; exec sleep 600")
            assert working.stdout is not None
            pid = working.stdout.readline().strip()
            beta.run(f"python3 -c {shlex.quote(PASSED)} {pid}")
            if beta.run(f"test -e /proc/{pid}", check=False).rc != 0:
                break
        beta.run(f"zfs set zrep:lock-pid={pid} zrep:lock-time=20260101000000 {A}")
        alpha.run(f"zfs hold \"$(printf 'a\\377b')\" {A}@zrep_000001; zfs snapshot {A}@zrep_fffffffffffffff")
        beta.run(f"zfs hold \"$(printf 'a\\377b')\" {C}@zrep_000001; zfs snapshot {C}@zrep_fffffffffffffff")
        silent(alpha, "zrep sync all")
        beta.run(f"zfs inherit zrep:lock-pid {A}; zfs inherit zrep:lock-time {A}")
        for name in (A, C):
            silent(alpha, f"zrep sync {name}; zrep failover {name}")
            silent(alpha, f"zrep takeover {name}")
            assert in_step(alpha, name, beta, name)
        alpha.run("pkill -x sleep")
        working.wait(timeout=60)


class TestRejoin:
    def test_whatever_is_set_is_set_again(self, hosts: Hosts) -> None:
        """With what was received, which has become its own: zfs has no command that sets a received value."""
        alpha, beta = hosts
        alpha.run("zfs create -o setuid=off -o acltype=posix -o recordsize=16K -o org:r='x y' tank/x")
        alpha.run(f"zfs snapshot tank/x@1; zfs send -p tank/x@1 | zfs receive {A}; zfs destroy -r tank/x")
        alpha.run(f"zrep init {A} beta {A}")
        alpha.run(SETTINGS)
        before = alpha.run(SET).out
        assert len(before) > 24000
        alpha.run("echo lost > '/srv/a\tb/file'; zpool sync")
        alone(beta, A)
        told = alpha.run(f"zrep rejoin -v {A}").out
        assert "these properties were received, and will be its own, as if set by hand: " in told
        assert alpha.run(SET).out == before
        assert not alpha.run(f"zfs get -H -s received -o property all {A} | grep -v ^zrep:", check=False).out
        silent(beta, "zrep sync all")
        assert in_step(beta, A, alpha, A)

    def test_what_cannot_be_set_again_is_known_before_the_role_is_given_up(self, hosts: Hosts) -> None:
        """A record size that the module does not take any more."""
        alpha, beta = hosts
        alpha.run(f"zfs create -o recordsize=2M {A}; zrep init {A} beta {A}; echo lost > /{A}/file; zpool sync")
        alone(beta, A)
        alpha.run("echo 1048576 > /sys/module/zfs/parameters/zfs_max_recordsize")
        try:
            refused = alpha.run(f"zrep rejoin {A}", check=False)
        finally:
            alpha.run("echo 16777216 > /sys/module/zfs/parameters/zfs_max_recordsize")
        assert (refused.rc, f"zfs inherit recordsize {A}" in refused.err) == (REFUSED, True), refused.err
        assert (value(alpha, A, "zrep:master"), value(alpha, A, "mounted")) == ("yes", "yes")
        assert "_rejoin_" not in alpha.run("zfs list -H -o name").out
        silent(alpha, f"zrep rejoin {A}")
