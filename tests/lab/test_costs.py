"""One bad thing costs only itself: what is beside the work of a pair goes wrong on real hosts, one of them for all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import (
    FAILED,
    OK,
    REFUSED,
    UNREACHABLE,
    USAGE,
    Case,
    Obstacle,
    check,
    in_step,
    local,
    made,
    put,
    rarely,
    rows,
    silent,
    snapshots,
    unreachable,
)
from tests.waiting import wait_for

A, B = "tank/a", "tank/b"
HOOK = "/etc/zrep/hooks.d/60-refusal"
# What is to stay closed: behind a directory that is root's, and as a program that would be root's.
CLOSED = """
mkdir -m 700 /tank/a/private; echo secret > /tank/a/private/file
cp /bin/id /tank/a/id; chmod 4755 /tank/a/id; chmod 755 /tank/a
"""
OPENED = """
su nobody -s /bin/sh -c "cat $ZREP_DIR/private/file $ZREP_DIR/file; ls $ZREP_DIR; $ZREP_DIR/id -u" 2>&1 | tee /root/seen
grep rehearse_ /proc/mounts >> /root/seen
chmod 755 /var/run/zrep; su nobody -s /bin/sh -c "cat $ZREP_DIR/private/file; $ZREP_DIR/id -u" >> /root/seen 2>&1
chmod 700 /var/run/zrep
"""


@pytest.fixture(scope="class")
def pair(lab: Lab) -> Lab:
    lab.reset()
    made(lab.alpha, A)
    lab.alpha.run(CLOSED)
    silent(lab.alpha, f"ZREP_SAVE_COUNT=2 zrep init {A} beta {B}")
    return lab


@contextmanager
def full(host: Host) -> Iterator[None]:
    """No room for a temporary file anywhere."""
    places = "/tmp /var/tmp /dev/shm"
    host.run(f"for p in {places}; do mount -t tmpfs -o size=4k,nr_inodes=1 none $p; done")
    try:
        yield
    finally:
        host.run(f"for p in {places}; do umount $p; done")


# What is wrong with the first of five pairs: on which host it is done, and undone. 25 ways are on the model, in
# tests/ops/test_one_of_five.py.
N = [f"tank/n{number}" for number in range(1, 6)]
BROKEN = [
    Obstacle("beta", f"zfs set zrep:inprogress='{{}}' {N[0]}", f"zfs inherit zrep:inprogress {N[0]}"),
    Obstacle("alpha", f"zfs set zrep:gen=\"$(printf 'a\\tb')\" {N[0]}", f"zfs set zrep:gen=$(cat /root/gen) {N[0]}"),
    Obstacle("beta", f"zfs rename {N[0]} tank/moved", f"zfs rename tank/moved {N[0]}"),
]
WRONG = [
    Case("a host that is none", f"zrep changeconfig {A} -- -x {B}", USAGE, "-x"),
    Case("a floor that is none", f"zrep changeconfig --minfree 5 {A}", USAGE, "5"),
]


class TestCosts:
    @rows(WRONG)
    def test_what_a_person_gets_wrong_is_said(self, pair: Lab, case: Case) -> None:
        check(pair, case)

    def test_a_pause_twice_with_another_reason(self, pair: Lab) -> None:
        alpha = pair.alpha
        for reason in ("one", "two"):
            silent(alpha, f"zrep pause --reason {reason} {A}")
            assert alpha.run(f"zfs get -H -o value zrep:paused {A}").out.startswith(f"{reason} since ")
        silent(alpha, f"zrep unpause {A}")

    def test_a_peer_that_does_not_answer_is_said(self, pair: Lab) -> None:
        done = pair.alpha.run(f"zrep changeconfig {A} gamma {B}", check=False)
        back = f"zrep changeconfig {A} beta {B}"
        assert re.search(f"^[^\n]*gamma is its peer now, and does not answer.*if that is no host: {back}$", done.err), (
            done
        )
        pair.alpha.run(back)

    def test_a_snapshot_in_use_is_no_failure(self, pair: Lab) -> None:
        """The first one is somebody's working directory: the others go, once a word is said, the role moves."""
        alpha, beta = pair.alpha, pair.beta
        shell = alpha.popen(f"cd /{A}/.zfs/snapshot/zrep_000001 && ls && exec sleep 600")
        assert shell.stdout
        assert shell.stdout.readline() == "file\n"
        said = []
        for number in range(5):
            done = alpha.run(f"echo {number} > /{A}/file; zrep sync all")
            said.append("zrep_000001" in done.err)
        assert (sum(said), len(snapshots(alpha, A)), len(snapshots(beta, B))) == (1, 3, 2), said
        assert "zrep_000001" in snapshots(alpha, A)
        done = alpha.run(f"zrep failover {A}", check=False, timeout=120)
        assert done.rc == OK, done
        assert beta.run(f"zfs get -H -o value zrep:master {B}").out == "yes\n"
        alpha.run("pkill -x sleep; true")
        shell.wait(timeout=20)
        silent(beta, f"zrep failover {B}")
        silent(alpha, "zrep sync all")
        assert "zrep_000001" not in snapshots(alpha, A)

    def test_hooks_run_and_nothing_is_written_where_there_is_no_room(self, pair: Lab) -> None:
        alpha, beta = pair.alpha, pair.beta
        beta.put(b"#!/bin/sh\n[ $1 != before-promote ] || { echo not today; exit 3; }\n", HOOK, mode="755")
        with full(alpha), full(beta):
            alpha.run(f"echo more > /{A}/file")
            silent(alpha, "zrep sync all")
            for host, command in ((alpha, f"failover {A}"), (beta, f"takeover {B}")):
                done = host.run(f"zrep {command}", check=False)
                assert (done.rc, "exit status 3: not today" in done.err) == (FAILED, True), done
            fenced = "zrep takeover -L --yes --fence-cmd 'exit 1'"
            done = beta.run(f"{fenced} -f {B}", check=False)
            assert (done.rc, "Traceback" in done.err) in ((REFUSED, False), (FAILED, False)), done
        beta.run(f"rm {HOOK}")
        silent(alpha, "zrep sync all")
        assert in_step(alpha, A, beta, B)

    def test_a_rehearsal_opens_nothing(self, pair: Lab) -> None:
        beta = pair.beta
        beta.put(OPENED.encode(), "/lab/opened", mode="755")
        before = beta.run("zfs list -H -o name; grep ' zfs ' /proc/mounts").out
        done = beta.run(f"zrep rehearse {B} -- sh /lab/opened", check=False)
        assert done.rc == OK, done
        seen = beta.run("cat /root/seen").out
        assert "secret" not in seen
        assert not re.search("^0$", seen, re.MULTILINE), seen
        assert "nosuid" in seen, seen
        assert beta.run("zfs list -H -o name; grep ' zfs ' /proc/mounts").out == before
        # Killed, it is taken away by the next one; interrupted, at once.
        for signal in ("KILL", "TERM"):
            running = beta.popen(f"exec zrep rehearse {B} -- sleep 600")
            beta.run("until grep -q rehearse_ /proc/mounts; do sleep 0.1; done", timeout=60)
            beta.run(f"pkill -{signal} -o -f '[z]rep rehearse'; pkill -x sleep; true")
            running.wait(timeout=60)
            silent(beta, f"zrep rehearse {B}" if signal == "KILL" else "true")
            assert beta.run("zfs list -H -o name; grep ' zfs ' /proc/mounts").out == before

    @pytest.mark.parametrize(
        ("redirect", "code"),
        [
            ("| true", OK), ("> /dev/full", FAILED), (">&-", OK), ("2>&-", OK), (">&- 2>&-", OK),
            ("--json > /dev/full", FAILED), ("--json | true", OK),
        ],
    )  # fmt: skip
    def test_an_output_that_fails_ends_no_role_change_half_way(self, pair: Lab, redirect: str, code: int) -> None:
        """It goes on to its end, there and back from one host; only its exit status tells."""
        alpha, beta = pair.alpha, pair.beta
        for command, roles in (("failover", ("no", "yes")), ("takeover", ("yes", "no"))):
            alpha.run(f"date +%N > /{A}/file", check=False)
            done = alpha.run(f"zrep {command} -v --force-unmount {A} {redirect}; exit ${{PIPESTATUS[0]}}", check=False)
            assert done.rc == code, done
            assert "bug" not in done.err
            assert ("output could be written (No space left on device); what it was to do is done" in done.err) is (
                code == FAILED
            ), done
            assert tuple(local(*each, "zrep:master") for each in ((alpha, A), (beta, B))) == roles
            assert [local(*each, "zrep:inprogress") for each in ((alpha, A), (beta, B))] == ["", ""]
        silent(alpha, "zrep sync all")

    def test_what_could_not_be_kept_of_a_stream_that_arrived_is_said(self, pair: Lab) -> None:
        """A reservation for which the other pool has no room: once, and again when it is another."""
        alpha, beta = pair.alpha, pair.beta
        made(alpha, "tank/r", refreservation="100M")
        done = alpha.run("zrep init tank/r beta small/r")
        assert re.fullmatch(
            r"zrep: beta:small/r: it was received, but not all of it could be kept \(cannot receive refreservation "
            r"property on small/r: size is greater than available space\)\n",
            done.err,
        ), done
        assert in_step(alpha, "tank/r", beta, "small/r")
        alpha.run("zfs set refreservation=300M tank/r")
        told = alpha.run("zrep sync all")
        assert "refreservation=314572800 could not follow to beta:small/r" in told.err, told
        silent(alpha, "zrep sync all")
        alpha.run("zfs set refreservation=1M tank/r")
        alpha.run("zrep sync all")
        assert beta.run("zfs get -Hp -o value refreservation small/r").out == f"{1 << 20}\n"
        silent(alpha, "zrep clear tank/r")

    def test_what_others_call_master_is_no_tag(self, pair: Lab) -> None:
        alpha = pair.alpha
        made(alpha, "tank/m")
        alpha.run("zfs set mysql:master=no tank/m")
        for tag in ("offsiet", "mysql"):
            done = alpha.run(f"zrep -t {tag} sync all", check=False)
            assert (done.rc, "(tags with pairs here: zrep)" in done.err) == (REFUSED, True), done
        silent(alpha, "zrep init tank/m beta tank/m && zrep clear tank/m")

    def test_a_trouble_of_one_peer_is_one_line(self, pair: Lab) -> None:
        alpha = pair.alpha
        for name in ("tank/x", "tank/y"):
            silent(alpha, f"zrep init {made(alpha, name)} beta {name}")
        with put(
            pair, Obstacle("alpha", "mv /root/.ssh/known_hosts /root/away", "mv /root/away /root/.ssh/known_hosts")
        ):
            done = alpha.run("zrep status", check=False)
        said = [line for line in done.out.splitlines() if "verification failed" in line]
        assert len(said) == 1, done
        assert said[0].startswith(f"{A}, tank/x, tank/y: peer unknown: cannot reach beta (")
        assert (done.rc, len(done.out.splitlines())) == (UNREACHABLE, 5), done


def lock(name: str) -> str:
    return f"/run/zrep/{name.replace('/', '%')}.lock"


class TestOneOfFive:
    """One of five pairs is broken: the other four are as if it were not there, whatever is done."""

    @pytest.fixture(scope="class")
    @classmethod
    def five(cls, lab: Lab) -> Lab:
        lab.reset()
        for name in N:
            made(lab.alpha, name)
            silent(lab.alpha, f"zrep init {name} beta {name}")
        lab.alpha.run(f"zfs get -H -o value zrep:gen {N[0]} > /root/gen")
        return lab

    @pytest.mark.parametrize("way", [*rarely(*BROKEN[1:]), BROKEN[0]], ids=lambda way: way.put)
    def test_the_other_four_go_on(self, five: Lab, way: Obstacle) -> None:
        alpha, beta = five.alpha, five.beta
        alpha.run("rm -f /run/zrep/state/*@news")
        with put(five, way):
            alpha.run(f"for n in {' '.join(N)}; do date +%N > /$n/file; done")
            done = alpha.run("zrep sync all", check=False, timeout=120)
            assert done.rc != OK, done
            assert {name for name in N[1:] if f"{name}:" in done.err} == set(), done
            for name in N[1:]:
                assert in_step(alpha, name, beta, name), name
            for host in five:
                shown = host.run("zrep status -H -o name,state", check=False).lines
                assert [line for line in shown if line.split("\t")[0] in N[1:]] == [f"{name}\tok" for name in N[1:]]
                listed = host.run("zrep list -H -o name", check=False).lines
                assert set(N[1:]) <= set(listed)
            alpha.run(f"date +%N > /{N[1]}/file")
            silent(alpha, f"zrep sync {N[1]}")
            silent(alpha, f"zrep expire {N[1]}")
            silent(alpha, f"zrep failover {N[1]}")
            silent(alpha, f"zrep takeover {N[1]}")
            done = alpha.run("zrep expire all", check=False)
            assert {name for name in N[1:] if f"{name}:" in done.err} == set(), done
        alpha.run("zrep sync all")
        assert in_step(alpha, N[0], beta, N[0])

    def test_a_peer_that_is_lost_in_the_middle_is_one_line_that_counts_what_arrived(self, five: Lab) -> None:
        """Three of five have ended, their locks are free again; of two streams are under way."""
        alpha, beta = five.alpha, five.beta
        ended, under_way = N[:3], N[3:]
        before = {name: snapshots(beta, name)[-1] for name in N}
        for name in ended:
            alpha.run(f"date +%N > /{name}/file")
        for name in under_way:
            alpha.run(f"zrep changeconfig --bwlimit 500K {name}; head -c 40M /dev/urandom > /{name}/large")
        alpha.run("zpool sync; rm -f /run/zrep/state/*@news")
        running = alpha.popen("exec zrep sync all")
        wait_for(lambda: all(snapshots(beta, name)[-1] != before[name] for name in ended))
        wait_for(lambda: all(alpha.run(f"flock -n {lock(name)} true", check=False).rc == 0 for name in ended))
        wait_for(lambda: all("sending" in alpha.run(f"zrep list -H -o moving {name}").out for name in under_way))
        with put(five, unreachable("beta")):
            _, err = running.communicate(timeout=120)
        assert running.returncode == UNREACHABLE, err
        assert re.fullmatch(
            r"zrep: (?:lost|cannot reach) beta \([^\n]*; 2 filesystems wait, 3 up to date\)[^\n]*\n",
            err,
        ), err
        for name in under_way:
            alpha.run(f"zrep changeconfig --bwlimit none {name}")
        wait_for(lambda: alpha.run("zrep sync all", check=False).rc == OK)
        assert all(in_step(alpha, name, beta, name) for name in N)
