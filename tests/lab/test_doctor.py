"""zrep doctor on real hosts: silent where all is well, and once each thing that it finds was mended as it says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import OK, REFUSED, UNREACHABLE, alone, in_step, made, put, silent, unreachable

A, HERE = "tank/a", "/srv/a"
CRON = "/etc/cron.d/zrep"


@dataclass(frozen=True)
class Trouble:
    """What is done on a host; what doctor says of it, and of what is to be done; what somebody does then, on which
    host, where that is not the very command that is named."""

    host: str
    put: str
    says: str
    next: str
    done: str = ""
    on: str = ""


NOISE = "[ -t 1 ] || return"
TROUBLES = [
    Trouble("beta", f"rm {CRON}", "nothing on beta runs zrep sync by itself", "or a line of cron: echo"),
    Trouble(
        "alpha",
        f"sed -i s,/usr/local/bin/,, {CRON}",
        "cron on alpha does not find zrep",
        f"in {CRON}, before that line: PATH=/usr/local/sbin:",
        f"sed -i 1iPATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin {CRON}",
    ),
    Trouble("beta", f"zfs set canmount=on {A}", "mounts by itself", f"zfs set zrep:canmount=on canmount=noauto {A}"),
    Trouble("alpha", f"zfs set zrep:lock-pid=4711 {A}", f"its lock on {A} on alpha", f"zfs inherit zrep:lock-pid {A}"),
    Trouble("beta", f"zfs hold zrep {A}@zrep_000001", f"1 snapshots of {A} on beta are held", "zfs release zrep"),
    Trouble(
        "beta",
        f"zfs snapshot {A}@zfs-auto-snap_hourly-2026",
        f"zfs-auto-snapshot makes snapshots of the replica {A} on beta",
        f"zfs set com.sun:auto-snapshot=false {A}",
    ),
    Trouble("beta", f"zfs set quota=4M {A}", "the replica's quota on beta is less than", f"zfs set quota=none {A}"),
    Trouble(
        "beta",
        "echo MaxSessions 2 >> /etc/ssh/sshd_config",
        "sshd on beta lets a connection have 2 sessions",
        "MaxSessions 10 in sshd_config",
        "sed -i 's/^MaxSessions 2/MaxSessions 10/' /etc/ssh/sshd_config",
    ),
    Trouble(
        "beta",
        r"sed -i '1i echo Welcome' /root/.bashrc",
        "login files on beta print something",
        NOISE,
        f"sed -i '1i {NOISE}' /root/.bashrc",
    ),
    Trouble(
        "beta",
        "mv /root/.ssh/known_hosts /root/.ssh/away",
        "beta cannot dial back to this host as alpha",
        "make 'ssh alpha zrep version' work on beta",
        "mv /root/.ssh/away /root/.ssh/known_hosts",
    ),
    Trouble(
        "alpha",
        f"mkdir {HERE}/cache; mount -t tmpfs none {HERE}/cache",
        f"what is written to {HERE}/cache on alpha is not replicated",
        f"mount it outside of {HERE}",
        f"umount {HERE}/cache",
    ),
    Trouble("alpha", f"zfs create {A}/new", f"not replicated with it: {A}/new", f"zfs set zrep:exclude=on {A}/new"),
    Trouble("alpha", "true", f"refused .{A}/new would become read-only", f"zfs set readonly=off '{A}/new'"),
    Trouble(
        "beta",
        f"mkdir -p {HERE}; zfs create -o mountpoint={HERE} tank/other",
        "a role change would be refused .tank/other is mounted",
        "zfs unmount 'tank/other'",
    ),
]
SAFE = [trouble for trouble in TROUBLES if re.match("zfs (set canmount|set zrep|hold|snapshot)", trouble.put)]


def found(host: Host, options: str = "") -> list[str]:
    """Its lines; exit 0 is said by none on stderr."""
    done = host.run(f"zrep doctor {options}", check=False)
    assert (done.rc == OK) is (done.err == ""), done
    assert done.rc in (0, 1), done
    return (done.err or done.out).splitlines()


def command(line: str, trouble: Trouble) -> tuple[str, str]:
    """On which host somebody does what a line says is next."""
    if trouble.done:
        return trouble.on or trouble.host, trouble.done
    advice = line.partition("; next: ")[2].partition("; or: zrep doctor")[0]
    there = re.match("on (alpha|beta): ", advice)
    named = advice[advice.index(trouble.next) :].removeprefix("or a line of cron: ")
    return there.group(1) if there else trouble.host, named


def found_and_ended(lab: Lab, troubles: Sequence[Trouble], file: str) -> None:
    """All at once, and more than a quota takes in a file of the master: each is one finding, and what that says ends
    it."""
    for trouble in troubles:
        lab[trouble.host].run(trouble.put)
    lab.alpha.run(f"head -c 6M /dev/urandom > {file}; zpool sync")
    lines = found(lab.alpha)
    told = {trouble.says: [line for line in lines if re.search(trouble.says, line)] for trouble in troubles}
    assert {says for says, of in told.items() if len(of) != 1} == set(), lines
    assert len(lines) == len(troubles), lines
    for trouble in troubles:
        [line] = told[trouble.says]
        assert trouble.next in line
        name, mends = command(line, trouble)
        lab[name].run(mends)
    assert found(lab.alpha) == []


@pytest.fixture(scope="class")
def well(lab: Lab) -> Lab:
    """One pair, well before and after each of the tests."""
    lab.reset()
    alpha, beta = lab.alpha, lab.beta
    made(alpha, A)
    alpha.run(f"zfs set mountpoint={HERE} {A}")
    silent(alpha, f"zrep init {A} beta {A}")
    beta.run(f"zfs set mountpoint={HERE} {A}")
    alpha.run(f"echo second > {HERE}/file; zrep sync all")
    for host in lab:
        host.run(f"echo '* * * * * root /usr/local/bin/zrep sync all' > {CRON}")
    return lab


class TestDoctor:
    def test_nothing_is_said_where_all_is_well(self, well: Lab) -> None:
        assert [found(host) for host in well] == [[], []]
        assert found(well.alpha, "-v") == [f"{A}: nothing found"]

    def test_each_trouble_is_found_and_ends_with_what_is_said(self, well: Lab) -> None:
        alpha = well.alpha
        found_and_ended(well, TROUBLES, f"{HERE}/big")
        silent(alpha, "zrep sync all")
        assert in_step(alpha, A, well.beta, A)
        silent(alpha, f"zrep failover {A}")
        silent(alpha, f"zrep takeover {A}")

    def test_what_is_safe_is_mended_where_that_is_wanted(self, well: Lab) -> None:
        assert len(SAFE) == 4
        well.beta.run(f"zfs inherit com.sun:auto-snapshot {A}")
        base = well.beta.run(f"zfs list -H -o name -t snapshot -s createtxg {A} | grep @zrep_ | head -n 1").out.strip()
        for trouble in SAFE:
            well[trouble.host].run(trouble.put.replace(f"{A}@zrep_000001", base), check=False)
        assert len(found(well.alpha)) == 4
        mended = found(well.alpha, "-v --fix")
        assert len([line for line in mended if f"{A}: mended: " in line]) == 4, mended
        assert found(well.alpha) == []
        silent(well.alpha, "zrep sync all")


S = "small/a"
# As much as ZFS takes: half of so small a pool it keeps for itself.
FILLED = "head -c 100M /dev/urandom > /small/filler 2> /dev/null; zpool sync"
EMPTIED = "rm /small/filler; zpool sync"
VERSION = "$(echo /opt/zrep/lib/python3*/site-packages/zrep/__init__.py)"
OTHER_ZFS = r"""printf '#!/bin/sh\n[ "$1" != version ] || { echo zfs-2.1.11-1; exit; }\nexec /usr/sbin/zfs "$@"\n' \
    > /usr/local/bin/zfs; chmod 755 /usr/local/bin/zfs"""
LOCK = "/run/zrep/small%a.lock"
# What the replica's own pool, its programs and its host are like.
OTHERS = [
    Trouble(
        "alpha",
        f'zfs set "zrep:flags=$(zfs get -H -o value zrep:flags {A}) -L" {A}',
        f"what zfs send -L sends cannot be received in {S} on beta .feature@large_blocks of the pool small is not",
        "zpool set feature@large_blocks=enabled small",
    ),
    Trouble(
        "beta",
        f"zfs snapshot {S}@autosnap_2026-01-01_00:00:00_hourly",
        f"sanoid makes snapshots of the replica {S} on beta",
        f"leave {S} out of the configuration of sanoid on beta",
        f"zfs destroy {S}@autosnap_2026-01-01_00:00:00_hourly",
    ),
    Trouble("beta", f"zfs set refquota=6M {S}", "the replica's refquota on beta is less", f"zfs set refquota=none {S}"),
    Trouble("beta", FILLED, "the pool small on beta is nearly full", f"on beta: zfs list -o space -r {S}", EMPTIED),
    Trouble(
        "beta",
        f"sed -i 's/^\\(__version__ = .*\\)\"/\\1.9\"/' {VERSION}",
        r"zrep is (\S+) here and \1\.9 on beta",
        "on alpha: install the newer one",
        f"sed -i '/^__version__/s/\\.9\"/\"/' {VERSION}",
    ),
    Trouble(
        "beta", OTHER_ZFS, r"OpenZFS is \S+ here and 2\.1\.11 on beta", "on beta: apt update", "rm /usr/local/bin/zfs"
    ),
    Trouble(
        "beta",
        "date -s '+40 min' > /dev/null",
        "the clock of beta is (20|19)m.* ahead of this one",
        "on alpha and on beta: timedatectl set-ntp true",
        "date -s '-20 min' > /dev/null",
    ),
    Trouble(
        "beta",
        f"flock {LOCK} sleep 601 > /dev/null 2>&1 & sleep 1",
        f"{S} on beta is busy, and not synced for more than 10m",
        "on beta: ",
        "pkill -f 'sleep 601'",
    ),
]


class TestOtherPools:
    """A replica in a pool of its own, on a host that is another in all that may differ."""

    @pytest.fixture(scope="class")
    @classmethod
    def odd(cls, lab: Lab) -> Lab:
        lab.reset()
        alpha, beta = lab.alpha, lab.beta
        without = "-o feature@large_microzap=disabled -o feature@large_blocks=disabled"
        beta.run(f"zpool destroy small; zpool create {without} small /pool/small.img")
        made(alpha, A)
        alpha.run(f"head -c 4M /dev/urandom > /{A}/big")
        silent(alpha, f"zrep init {A} beta {S}")
        for host in lab:
            host.run(f"echo '* * * * * root /usr/local/bin/zrep sync all' > {CRON}")
        return lab

    def test_each_trouble_is_found_and_ends_with_what_is_said(self, odd: Lab) -> None:
        alpha = odd.alpha
        assert "-L" not in alpha.run(f"zfs get -H -o value zrep:flags {A}").out.split()
        assert found(alpha) == []
        alpha.run("date -s '+20 min' > /dev/null")
        found_and_ended(odd, OTHERS, f"/{A}/more")
        silent(alpha, f"zrep sync {A}")

    @pytest.mark.thorough
    def test_its_masters_pool_is_nearly_full(self, odd: Lab) -> None:
        alpha = odd.alpha
        made(alpha, "small/c")
        silent(alpha, "zrep init small/c beta tank/c")
        alpha.run(FILLED)
        [line] = found(alpha)
        assert "small/c: the pool small on alpha is nearly full" in line
        assert "or set a floor: zrep changeconfig --minfree 2% small/c" in line
        alpha.run(EMPTIED)
        assert found(alpha) == []

    def test_what_keeps_it_from_looking_is_a_finding_too(self, odd: Lab) -> None:
        alpha, beta = odd.alpha, odd.beta
        with put(odd, unreachable("beta")):
            done = alpha.run(f"zrep doctor {A}", check=False)
        assert (done.rc, "cannot reach beta" in done.err, "; next: " in done.err) == (UNREACHABLE, True, True), done
        alone(beta, S, "--yes -f")
        done = alpha.run(f"zrep doctor {A}", check=False)
        assert (done.rc, f"; next: zrep rejoin {A}" in done.err) == (REFUSED, True), done

    def test_the_one_that_never_dials_says_who_can(self, odd: Lab) -> None:
        alpha, beta = odd.alpha, odd.beta
        made(alpha, "tank/p")
        silent(beta, "zrep init --pull alpha tank/p tank/p")
        done = alpha.run("zrep doctor tank/p", check=False)
        assert (done.rc, "; next: on beta: zrep doctor tank/p\n" in done.err) == (REFUSED, True), done
        assert found(beta, "tank/p") == []
