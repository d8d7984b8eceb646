"""A backup host that nobody can log in to, on real OpenZFS: beta pulls, and alpha has no key to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import OK, REFUSED, Case, alone, check, content, in_step, local, made, silent

A, B = "tank/a", "tank/b"


@pytest.fixture(scope="class")
def pulled(lab: Lab) -> Iterator[Lab]:
    """One pair for all of them, one after the other."""
    lab.reset()
    made(lab.alpha, A)
    lab.beta.run("mv /root/.ssh/authorized_keys /root/.ssh/away")
    assert lab.alpha.run("ssh -o BatchMode=yes beta true", check=False).rc != 0
    silent(lab.beta, f"zrep init --pull alpha {A} {B}")
    yield lab
    lab.beta.run("mv /root/.ssh/away /root/.ssh/authorized_keys")


def written(lab: Lab, text: str, on: str = "alpha", name: str = A) -> None:
    lab[on].run(f"echo {text} > /{name}/file")


def identified(host: Host, name: str, *snapshots: str) -> list[str]:
    """The guids of snapshots."""
    return host.run(f"zfs get -H -o value guid {' '.join(f'{name}@{each}' for each in snapshots)}").lines


class TestPull:
    def test_cron_of_the_replica_brings_it_up_to_date(self, pulled: Lab) -> None:
        alpha, beta = pulled.alpha, pulled.beta
        written(pulled, "second")
        silent(alpha, "zrep sync all")
        assert not in_step(alpha, A, beta, B) or content(beta, B) == "first"
        silent(beta, "zrep sync all")
        assert (content(beta, B), in_step(alpha, A, beta, B)) == ("second", True)
        # What others snapshot, each looked at by itself.
        silent(alpha, f"zrep changeconfig --all-snapshots {A} && zfs snapshot {A}@one")
        written(pulled, "third")
        alpha.run(f"zfs snapshot {A}@two")
        silent(beta, f"zrep refresh {B}")
        assert content(beta, B) == "third"
        assert identified(alpha, A, "one", "two") == identified(beta, B, "one", "two")
        written(pulled, "fourth")
        silent(beta, "zrep refresh all")
        assert content(beta, B) == "fourth"
        assert (local(alpha, A, "zrep:driver"), local(beta, B, "zrep:driver")) == ("peer", "here")

    def test_the_master_says_what_to_run_where(self, pulled: Lab) -> None:
        for command, there in (("sync", "sync"), ("failover", "takeover"), ("expire", "expire"), ("clear", "clear")):
            says = f"this pair is pulled by beta.*on beta: zrep {there} {B}"
            check(pulled, Case(command, f"zrep {command} {A}", REFUSED, says))
        row = pulled.alpha.run("zrep status -H").out.split("\t")
        assert row[:4] == [A, "master", f"beta:{B}", "ok"]

    def test_the_role_moves_there_and_back(self, pulled: Lab) -> None:
        alpha, beta = pulled.alpha, pulled.beta
        silent(beta, f"zrep takeover {B}")
        written(pulled, "there", "beta", B)
        silent(beta, "zrep sync all")
        assert content(alpha, A) == "there"
        assert alpha.run(f"touch /{A}/x", check=False).rc != 0
        silent(beta, f"zrep failover {B}")
        written(pulled, "back")
        silent(beta, "zrep sync all")
        assert content(beta, B) == "back"

    def test_a_disaster_and_the_way_back(self, pulled: Lab) -> None:
        """The last: the old master has a tail, and is brought back by the host that it cannot dial."""
        alpha, beta = pulled.alpha, pulled.beta
        written(pulled, "tail")
        alone(beta, B)
        done = beta.run("zrep sync all", check=False)
        assert done.rc == REFUSED
        assert "it is read-only on alpha now" in done.err
        assert f"zrep rejoin --peer {B}" in done.err
        silent(beta, f"zrep rejoin --peer {B}")
        written(pulled, "new", "beta", B)
        beta.run("zrep sync all")
        assert content(alpha, A) == "new"
        copies = [name for name in alpha.run("zfs list -H -o name").lines if name.startswith(f"{A}_split_")]
        assert [content(alpha, copy) for copy in copies] == ["tail"]


# What root of the master has put before zfs: it tells the truth but in what it sends, when somebody has written a lie.
ZFS = """#!/bin/sh
PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin
case "$1 $2" in "send -vP") [ ! -e /lab/lie ] || exec sh /lab/lie "$@" ;; esac
exec zfs "$@"
"""
# The last two words are what is asked for: an increment, of which $base and $snapshot are.
WORDS = "for word; do base=$snapshot; snapshot=$word; done; "
LIES = {
    "a tree in place of it": "exec zfs send -R tank/evil@1",
    "another filesystem, with its properties": "exec zfs send -p tank/evil@1",
    "another snapshot of it": "exec zfs send tank/a@another",
    "all of it, where an increment was asked for": WORDS + 'exec zfs send "$snapshot"',
    "a clone of what is outside": "exec zfs send -i tank/copy@secret tank/cloned@1",
    "a volume": "exec zfs send tank/volume@1",
    "no stream": "echo zfs; exec cat /etc/passwd",
}
BESIDE = WORDS + 'zfs snapshot "tank/a/etc@${snapshot#*@}"; exec zfs send -R -p -i "$base" "$snapshot"'
BARE = WORDS + 'exec zfs send -p -i "$base" "$snapshot"'
EVIL = """
zfs create -u -o mountpoint=/etc -o setuid=on tank/evil
zfs create -u tank/evil/below
zfs snapshot -r tank/evil@1
zfs create -u -o mountpoint=/etc -o zrep:exclude=on tank/a/etc
zfs create -V 1M -s tank/volume
zfs snapshot tank/volume@1
zfs snapshot tank/a@another
"""


class TestDishonestMaster:
    """Whoever is root on the master, and sends something else than what beta asked for."""

    @pytest.fixture
    def lying(self, lab: Lab) -> Iterator[Lab]:
        lab.reset()
        alpha, beta = lab.alpha, lab.beta
        made(alpha, A)
        silent(beta, f"zrep init --pull alpha {A} {B}")
        alpha.put(ZFS.encode(), "/usr/local/bin/zfs", mode="755")
        alpha.run(EVIL)
        beta.run("zfs create tank/secret; zfs snapshot tank/secret@secret")
        stream = beta.run("zfs send tank/secret@secret | base64").out
        alpha.put(stream.encode(), "/lab/secret")
        alpha.run("base64 -d /lab/secret | zfs receive -u tank/copy; zfs clone tank/copy@secret tank/cloned")
        alpha.run("zfs snapshot tank/cloned@1")
        yield lab
        alpha.run("rm -f /usr/local/bin/zfs /lab/lie")

    def test_what_was_not_asked_for_is_not_received(self, lying: Lab) -> None:
        alpha, beta = lying.alpha, lying.beta
        written(lying, "second")
        look = "zfs list -H -o name,guid -t all; zfs get -H -s local,received all tank/b; cat /proc/mounts"
        before = beta.run(look).lines
        for name, lie in LIES.items():
            alpha.put(lie.encode(), "/lab/lie", mode="644")
            done = beta.run(f"zrep refresh {B}", check=False, timeout=120)
            assert (done.rc, "what alpha sent is not what was asked for" in done.err) == (REFUSED, True), (name, done)
            beta.run("zfs mount -a")  # as at the next boot
            assert beta.run(look).lines == before, name
        alpha.run("rm /lab/lie")
        silent(beta, "zrep sync all")
        assert (content(beta, B), in_step(alpha, A, beta, B)) == ("second", True)

    def test_what_comes_beside_the_stream_is_not_received(self, lying: Lab) -> None:
        alpha, beta = lying.alpha, lying.beta
        for lie, code in ((BESIDE, REFUSED), (BARE, OK)):
            written(lying, "second")
            alpha.run(f"echo {code} > /{A}/code; zfs set com.sun:auto-snapshot=true compression=gzip {A}")
            alpha.put(lie.encode(), "/lab/lie", mode="644")
            before = beta.run("zfs list -H -o name; cat /proc/mounts").lines
            assert beta.run("zrep sync all", check=False, timeout=120).rc == code
            beta.run("zfs mount -a")
            assert beta.run("zfs list -H -o name; cat /proc/mounts").lines == before
            assert "received" not in beta.run(f"zfs get -H -o source all {B}").lines
        assert local(beta, B, "com.sun:auto-snapshot") == ""
        alpha.run("rm /lab/lie")
        silent(beta, "zrep sync all")
        assert (local(beta, B, "compression"), in_step(alpha, A, beta, B)) == ("gzip", True)

    def test_what_follows_a_first_stream_and_what_stays_plain(self, lab: Lab) -> None:
        """Properties do not come with it: those that follow do so with the next sync."""
        lab.reset()
        alpha, beta = lab.alpha, lab.beta
        made(alpha, A, compression="zstd", recordsize="16K")
        beta.run("echo 12345678 | zfs create -o encryption=on -o keyformat=passphrase tank/v")
        silent(beta, f"zrep init --pull --send-flags '-p -w' alpha {A} tank/v/plain")
        silent(beta, f"zrep -t other init --pull alpha {A} tank/v/secret")
        assert [beta.run(f"zfs get -H -o value encryption tank/v/{name}").out for name in ("plain", "secret")] == [
            "off\n",
            "aes-256-gcm\n",
        ]
        written(lab, "second")
        for tag, name in (("zrep", "plain"), ("other", "secret")):
            silent(beta, f"zrep -t {tag} sync all")
            assert [local(beta, f"tank/v/{name}", of) for of in ("compression", "recordsize")] == ["zstd", "16384"]
