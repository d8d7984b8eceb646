"""What zrep did not make, on real OpenZFS: snapshots called like its own, streams of others."""

from __future__ import annotations

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import FAILED, REFUSED, Case, check, made, silent, snapshots

Hosts = tuple[Host, Host]

A, B = "tank/a", "tank/b"
ALIKE = "zrep_20261101"


class TestNames:
    """A name says nothing of who made it."""

    def test_a_snapshot_called_like_one_of_zreps_stays(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, A)
        alpha.run(f"ZREP_SAVE_COUNT=2 zrep init {A} beta {B}")
        for host, name in ((alpha, A), (beta, B)):
            host.run(f"zfs snapshot {name}@{ALIKE}")
        for number in range(4):
            alpha.run(f"echo {number} > /tank/a/file && zrep sync all")
        silent(alpha, f"zrep failover {A}")
        silent(alpha, f"zrep takeover {A}")
        for host, name in ((alpha, A), (beta, B)):
            own = [found for found in snapshots(host, name) if found.startswith("zrep_") and found != ALIKE]
            assert len(own) == 2
            assert max(own) < "zrep_000010"
        silent(alpha, f"zrep clear {A}")
        assert (snapshots(alpha, A), snapshots(beta, B)) == ([ALIKE], [ALIKE])

    def test_an_init_leaves_what_somebody_else_is_receiving(self, lab: Lab, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, A)
        alpha.run("zfs create tank/c && dd if=/dev/urandom of=/tank/c/f bs=1M count=8 && zfs snapshot tank/c@1")
        half = f"zfs send tank/c@1 | head -c 4000000 | ssh beta zfs receive -s -u {B}"
        alpha.run(half, check=False)
        says = f"something else is half received into {B} on beta.*on beta: zfs receive -A {B}"
        check(lab, Case("init", f"zrep init {A} beta {B}", REFUSED, says))
        beta.run(f"zfs receive -A {B}")
        assert alpha.run(f"ZREP_OUTFILTER=false zrep init {A} beta {B}", check=False).rc == FAILED
        beta.run(f"zfs receive -A {B}", check=False)
        alpha.run(half, check=False)
        check(lab, Case("init again", f"zrep init {A} beta {B}", REFUSED, says))
        token = beta.run(f"zfs get -H -o value receive_resume_token {B}").out
        assert token.startswith("1-")
        silent(alpha, f"zrep clear {A}")
        assert beta.run(f"zfs get -H -o value receive_resume_token {B}").out == token
