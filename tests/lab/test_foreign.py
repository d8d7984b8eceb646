"""What zrep did not make, on real OpenZFS: snapshots called like its own, streams of others."""

from __future__ import annotations

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import FAILED, REFUSED, Case, check, in_step, local, made, one_line, silent, snapshots, well

Hosts = tuple[Host, Host]

KEY = "-o encryption=on -o keyformat=passphrase -o keylocation=file:///root/key"
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
        # Nor does the name of the replica, once another has it that is in no pair.
        alpha.run(f"zrep init {A} beta tank/c")
        beta.run("zfs rename tank/c tank/old && zfs create tank/c && zfs snapshot -o zrep:made=yes tank/c@zrep_000001")
        assert f"{A}: tank/c on beta is in no pair; left alone" in alpha.run(f"zrep clear -v {A}").out
        assert snapshots(beta, "tank/c") == ["zrep_000001"]

    @pytest.mark.thorough
    def test_an_init_leaves_what_somebody_else_is_receiving(self, lab: Lab, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, A)
        alpha.run("zfs create tank/c && dd if=/dev/urandom of=/tank/c/f bs=1M count=8 && zfs snapshot tank/c@1")
        half = f"zfs send tank/c@1 | head -c 4000000 | ssh beta zfs receive -s -u {B}"
        alpha.run(half, check=False)
        says = f"something else is half received into {B} on beta.*on beta: zfs receive -A {B}"
        check(lab, Case("init", f"zrep init {A} beta {B}", REFUSED, says))
        beta.run(f"zfs receive -A {B}")
        for host in hosts:
            host.run("mkdir -p /etc/zrep; echo false > /etc/zrep/filters")
        assert alpha.run(f"ZREP_OUTFILTER=false zrep init {A} beta {B}", check=False).rc == FAILED
        beta.run(f"zfs receive -A {B}", check=False)
        alpha.run(half, check=False)
        check(lab, Case("init again", f"zrep init {A} beta {B}", REFUSED, says))
        token = beta.run(f"zfs get -H -o value receive_resume_token {B}").out
        assert token.startswith("1-")
        silent(alpha, f"zrep clear {A}")
        assert beta.run(f"zfs get -H -o value receive_resume_token {B}").out == token


class TestEncryptedReplica:
    """What ZFS refuses raw streams for, and what only looks like a reason to."""

    def test_a_foreign_snapshot_on_it_is_named_and_removed(self, lab: Lab, hosts: Hosts) -> None:
        alpha, beta = encrypted_pair(hosts)
        beta.run(f"zfs snapshot {A}@auto-1 && zfs hold backup {A}@auto-1")
        alpha.run("echo second > /tank/a/file")
        remove = f"zfs release backup {A}@auto-1; zfs destroy {A}@auto-1"
        what = f"the encrypted replica {A} has snapshots newer than the base that are not on the master"
        says = f"{what}.*@auto-1.*next: on beta: {remove}"
        for command in ("sync all", f"sync -f {A}", f"failover {A}", f"failover -n {A}"):
            check(lab, Case(command, f"zrep {command}", REFUSED, says))
        for host in hosts:
            row, told = host.run("zrep status", check=False).lines[1:]
            assert "foreign snapshot" in row
            assert remove in told
        beta.run(remove)
        silent(alpha, "zrep sync all")
        assert in_step(alpha, A, beta, A)

    @pytest.mark.thorough
    def test_a_power_loss_is_no_change_and_a_quota_is_told_from_one(self, lab: Lab, hosts: Hosts) -> None:
        alpha, beta = encrypted_pair(hosts)
        alpha.run("zfs create tank/p && zrep init tank/p beta tank/p")
        alpha.run("for name in a p; do dd if=/dev/zero of=/tank/$name/log bs=4k count=2 conv=fsync; done")
        for name in ("a", "p"):
            silent(alpha, f"zrep failover tank/{name}")
        alpha.power_off()  # their intent logs are not empty
        alpha.boot()
        alpha.run(
            "zpool sync; for name in a p; do test $(zfs get -Hp -o value written tank/$name) -gt 0 || exit 1; done"
        )
        beta.run("for name in a p; do echo second > /tank/$name/file; done")
        silent(beta, "zrep sync all")
        assert all(in_step(alpha, name, beta, name) for name in ("tank/a", "tank/p"))
        alpha.run("zfs load-key -L file:///root/key tank/a")
        for name in ("tank/a", "tank/p"):
            alpha.run(f"zfs set userquota@1000=1G groupquota@1000=1G {name}; zfs set projectquota@7=1G {name}")
            says = (
                f"quotas were set or cleared on the replica {name}.*zfs userspace {name} on alpha.*zrep sync -f {name}"
            )
            check(lab, Case(name, f"zrep sync {name}", REFUSED, says, on="beta"))
            silent(beta, f"zrep sync -f {name}")
            alpha.run(
                f"zfs set userquota@1000=1G {name}; zfs mount -o rw {name}; echo stray > /{name}/file; umount /{name}"
            )
            says = f"the replica {name} was changed by hand"
            check(lab, Case(name, f"zrep sync {name}", REFUSED, says, on="beta"))
            silent(beta, f"zrep sync -f {name}")

    def test_a_plain_source_is_encrypted_below_an_encrypted_parent(self, lab: Lab, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, A)
        beta.run("echo passphrase > /root/key; sync")
        beta.run(f"zfs create -o canmount=off {KEY} tank/vault && zfs unload-key tank/vault")
        inside = f"zrep init {A} beta tank/vault/a"
        load = "on beta: zfs load-key 'tank/vault'"
        check(lab, Case("init", inside, REFUSED, f"the key of tank/vault on beta is not loaded.*{load}"))
        beta.run("zfs load-key tank/vault")
        alpha.run(inside)
        assert beta.run("zfs get -H -o value encryptionroot tank/vault/a").out == "tank/vault\n"
        alpha.run("echo second > /tank/a/file")
        beta.run("zfs unload-key tank/vault")
        check(lab, Case("sync", "zrep sync all", REFUSED, f"the key of the replica tank/vault/a on beta.*{load}"))
        beta.run("zfs load-key tank/vault")
        well(alpha, "zrep sync all")
        silent(alpha, f"zrep failover {A}")
        silent(alpha, f"zrep takeover {A}")
        assert alpha.run("cat /tank/a/file").out == "second\n"
        # The same as a tree: with its members, those of a key of their own, and the way back of what is made there.
        alpha.run(f"echo passphrase > /root/key; zfs create {A}/x && zfs create {KEY} {A}/secret")
        silent(alpha, f"zrep changeconfig -r {A}")
        well(alpha, "zrep sync all")
        roots = beta.run("zfs get -H -o value encryptionroot tank/vault/a/secret tank/vault/a/x").out
        assert roots == "tank/vault/a/secret\ntank/vault\n"
        beta.run("zfs load-key -L file:///root/key tank/vault/a/secret")
        silent(alpha, f"zrep failover {A}")
        beta.run("zfs create tank/vault/a/x/new && echo third > /tank/vault/a/x/file")
        well(beta, "zrep sync all")
        silent(alpha, f"zrep takeover {A}")
        assert alpha.run("cat /tank/a/x/file; zfs get -H -o value encryption tank/a/x/new").out == "third\noff\n"

    def test_a_loaded_key_that_opens_it_no_more_is_found_before_the_commit(self, lab: Lab, hosts: Hosts) -> None:
        alpha, beta = encrypted_pair(hosts)
        for host in hosts:
            host.run("echo another passphrase > /root/new; sync")
        alpha.run(f"zfs change-key -o keylocation=file:///root/new {A}")
        says = f"the key of {A} that is loaded on beta does not open it.*zfs unload-key '{A}'; zfs load-key '{A}'"
        done = alpha.run(f"zrep failover {A}", check=False)  # the final stream brings the change
        one_line(done, Case("failover", "", REFUSED, says))
        alpha.run("echo still writable > /tank/a/file")
        for command, on in ((f"failover {A}", "alpha"), (f"takeover -L --yes {A}", "beta")):
            check(lab, Case(command, f"zrep {command}", REFUSED, says, on=on))
        rehearsed = alpha.run(f"zrep failover -n {A}", check=False)
        assert (rehearsed.rc, "does not open it" in rehearsed.err) == (REFUSED, True)
        beta.run(f"zfs unload-key {A}; zfs load-key -L file:///root/new {A}")
        silent(alpha, f"zrep failover {A}")
        assert beta.run("cat /tank/a/file").out == "still writable\n"


class TestAllSnapshots:
    def test_what_others_made_travels_and_stays(self, hosts: Hosts) -> None:
        alpha, beta = hosts

        def others(host: Host, name: str) -> list[str]:
            rows = host.run(f"zfs list -Hpd1 -t snapshot -o name,guid -s createtxg {name}").lines
            found = (row.rpartition("@")[2] for row in rows)
            return [row for row in found if not row.startswith("zrep_")]

        made(alpha, A)
        for number in range(3):
            alpha.run(f"echo {number} > /tank/a/file; head -c 3M /dev/urandom > /tank/a/{number}")
            alpha.run(f"zfs snapshot {A}@autosnap_2026-11-2{number}_hourly")
        alpha.run(f"zrep init --all-snapshots --savecount 1 {A} beta {B}")
        assert len(others(beta, B)) == 3
        for number in range(3, 6):
            alpha.run(f"echo {number} > /tank/a/file; rm /tank/a/{number - 3}")
            alpha.run(f"zfs snapshot {A}@autosnap_2026-11-2{number}_hourly; zfs snapshot {A}@by-hand-{number}")
        silent(alpha, "zrep sync all")
        assert others(beta, B) == others(alpha, A)
        assert len(others(beta, B)) == 9
        # A link that breaks in the middle of several: what has come stays, and is gone on from.
        alpha.run("head -c 3M /dev/urandom > /tank/a/x; zfs snapshot tank/a@x; head -c 30M /dev/urandom > /tank/a/y")
        alpha.run("zfs snapshot tank/a@y")
        alpha.run("timeout -s KILL 2 zrep sync all", check=False)
        alpha.run("sleep 3")
        well(alpha, "zrep sync all")
        assert others(beta, B) == others(alpha, A)
        silent(alpha, f"zrep failover {A}")
        beta.run(f"echo last > /tank/b/file; zfs snapshot {B}@on-beta")
        silent(beta, "zrep sync all")
        assert others(beta, B) == others(alpha, A)
        for name in others(alpha, A):
            short = name.partition("\t")[0]
            look = "mkdir -p /run/see; mount -t zfs -o ro {}@{} /run/see && cat /run/see/* | sha256sum; umount /run/see"
            assert alpha.run(look.format(A, short)).out == beta.run(look.format(B, short)).out


class TestOldPool:
    def test_flags_are_what_a_parent_in_it_can_receive(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, "tank/z", compression="zstd", recordsize="1M")
        alpha.run("head -c 3M /dev/urandom > /tank/z/large; head -c 40 /dev/urandom > /tank/z/small")
        beta.run("truncate -s 100M /var/tmp/old.img")
        beta.run("zpool create -d -o feature@extensible_dataset=enabled old /var/tmp/old.img")
        alpha.run("zrep init tank/z beta old/z")
        assert local(alpha, "tank/z", "zrep:flags") == "-p"
        alpha.run("echo second > /tank/z/file && zrep sync all")  # it says which properties could not follow
        beta.run("zpool destroy old; rm /var/tmp/old.img")


def encrypted_pair(hosts: Hosts) -> Hosts:
    """An encrypted tank/a on alpha, replicated to beta, where its key is loaded."""
    for host in hosts:
        host.run("echo passphrase > /root/key; sync")
    made(hosts[0], A, encryption="on", keyformat="passphrase", keylocation="file:///root/key")
    hosts[0].run(f"zrep init {A} beta {A}")
    hosts[1].run(f"zfs load-key -L file:///root/key {A}")
    return hosts
