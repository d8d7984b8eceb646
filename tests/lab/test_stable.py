"""Debian's stable OpenZFS (2.1) on one host, that of its backports (2.3) on the other: each sends to the other."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.lab.faults import CRON, again, big, digest, ended, in_stream, may_write, tells, text, whole
from tests.lab.hosts import Host, Lab
from tests.lab.plugin import started
from tests.lab.zrep_on import REFUSED, UNREACHABLE, alone, content, local, made, silent, still

A = "tank/a"
KEY = "echo 12345678 > /root/key; sync"
Hosts = tuple[Host, Host]


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    yield from started(request.config, ("alpha", "beta"), stable=("beta",))


@pytest.fixture
def hosts(lab: Lab, request: pytest.FixtureRequest) -> Hosts:
    """The master to be, and its replica: alpha and beta, unless a test says otherwise."""
    lab.reset()
    one, other = getattr(request, "param", ("alpha", "beta"))
    return lab[one], lab[other]


both_ways = pytest.mark.parametrize(
    "hosts", [("alpha", "beta"), ("beta", "alpha")], ids=["2.3-to-2.1", "2.1-to-2.3"], indirect=True
)
from_the_old = pytest.mark.parametrize("hosts", [("beta", "alpha")], ids=["2.1-to-2.3"], indirect=True)


def mixed(host: Host, number: int) -> None:
    """What every flag of a stream is for: blocks of 1 MiB, some that compress well, one small enough to be embedded."""
    host.run(
        f"cd /{A} && head -c 2M /dev/urandom > large{number} && yes {number} | head -c 2M > pressed{number} && "
        f"echo {number} > small{number} && ln -s small{number} link{number} && rm -f large{number - 2}"
    )


def linked(hosts: Hosts, options: str = "") -> None:
    """init, which says that the two are not alike, and nothing else."""
    one, other = hosts
    done = one.run(f"zrep init {options} {A} {other.name} {A}", timeout=120)
    alike = (
        rf"zrep: {A}: OpenZFS is 2\.[13]\.\d+ here and 2\.[13]\.\d+ on {other.name}; "
        r"next: on \w+: apt [^\n]*; nothing is wrong until then\n"
    )
    assert (done.out, bool(re.fullmatch(alike, done.err))) == ("", True), done


class TestStable:
    """One class, so that its hosts are started once."""

    def test_each_host_has_its_own(self, lab: Lab) -> None:
        for host, version in ((lab.alpha, "2.3"), (lab.beta, "2.1")):
            programs, module = host.run("zfs version").lines
            assert (programs.startswith(f"zfs-{version}"), module.startswith(f"zfs-kmod-{version}")) == (True, True)

    @both_ways
    def test_the_role_goes_there_and_back_and_a_tail_is_kept(self, lab: Lab, hosts: Hosts) -> None:
        one, other = hosts
        made(one, A, recordsize="1M", compression="zstd", xattr="sa", dnodesize="auto")
        mixed(one, 1)
        linked(hosts)
        assert local(one, A, "zrep:flags") == "-p -L -e -c"
        mixed(one, 2)
        silent(one, CRON)
        mixed(one, 3)
        silent(one, f"zrep failover {A}")
        mixed(other, 4)
        silent(other, CRON)
        whole(other, one)
        mixed(other, 5)
        silent(one, f"zrep takeover {A}")
        text(one, "never sent")
        lab.cut(other)
        alone(other, A)
        mixed(other, 6)
        lab.heal()
        tells(one, CRON, REFUSED, f"the master role has moved to {A} on {other.name}.*zrep rejoin {A}")
        silent(one, f"zrep rejoin {A}")
        silent(other, CRON)
        whole(other, one)
        [split] = [name for name in one.run("zfs list -H -o name").lines if "_split_" in name]
        one.run(f"mkdir -p /mnt/split; mount -t zfs -o zfsutil {split} /mnt/split")
        assert one.run("cat /mnt/split/file; umount /mnt/split").out == "never sent\n"

    @pytest.mark.thorough
    @both_ways
    def test_a_stream_that_a_power_loss_cut_goes_on(self, hosts: Hosts) -> None:
        one, other = hosts
        made(one, A, recordsize="1M")
        big(one, 12)
        init = f"zrep init {A} {other.name} {A}"
        run = in_stream(one, other, init)
        other.power_off()
        other.boot()
        done = ended(run)
        assert (done.rc, f"{A}: cannot reach {other.name}" in done.err) == (UNREACHABLE, True), done
        other.run("rm -f /usr/local/bin/zfs")
        assert "continuing the interrupted transfer" in one.run(f"{init} -v").out
        whole(one, other)
        again(one, CRON)

    def test_what_is_encrypted_goes_raw(self, hosts: Hosts) -> None:
        one, other = hosts
        for host in hosts:
            host.run(KEY)
        made(one, A, encryption="on", keyformat="passphrase", keylocation="file:///root/key", recordsize="1M")
        mixed(one, 1)
        linked(hosts)
        assert local(one, A, "zrep:flags") == "-p -w"
        mixed(one, 2)
        other.run(f"zfs load-key -L file:///root/key {A}")
        silent(one, f"zrep failover {A}")
        mixed(other, 3)
        silent(other, CRON)
        whole(other, one)
        mixed(other, 4)
        silent(one, f"zrep takeover {A}")
        whole(one, other)

    @from_the_old
    def test_a_tree_with_a_volume_and_a_clone(self, hosts: Hosts) -> None:
        one, other = hosts
        made(one, A)
        one.run(f"zfs create {A}/x && echo x > /{A}/x/file && zfs create -s -V 8M {A}/v")
        linked(hosts, "-r")
        one.run(f"zfs snapshot {A}/x@then; zfs clone {A}/x@then {A}/clone && echo clone > /{A}/clone/file")
        one.run(f"zfs create {A}/new && zfs rename {A}/new {A}/newer && echo newer > /{A}/newer/file")
        silent(one, CRON)
        for member in ("x", "clone", "newer"):
            assert digest(one, f"{A}/{member}") == digest(other, f"{A}/{member}")
        silent(one, f"zrep failover {A}")
        assert other.run(f"cat /{A}/x/file /{A}/clone/file /{A}/newer/file").out == "x\nclone\nnewer\n"
        other.run(f"echo back > /{A}/x/file")
        silent(other, CRON)
        silent(one, f"zrep takeover {A}")
        assert one.run(f"cat /{A}/x/file").out == "back\n"

    def test_values_it_does_not_know_are_said_once_and_stay_where_they_are(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, A, checksum="blake3", recordsize="4M", prefetch="metadata")
        big(alpha, 9)
        said = alpha.run(f"zrep init {A} beta {A}").err
        for name in ("checksum", "recordsize", "prefetch"):
            kept = rf"beta:{A}: it was received, but not all of it could be kept \(cannot receive {name} property"
            assert len(re.findall(kept, said)) == 1, said
        text(alpha, "second")
        said = alpha.run(CRON).err
        for value in ("checksum=blake3", "recordsize=4194304"):
            assert said.count(f"{A}: {value} could not follow to beta:{A} (") == 1, said
        text(alpha, "third")
        silent(alpha, CRON)
        whole(alpha, beta)
        silent(alpha, f"zrep failover {A}")
        text(beta, "fourth")
        silent(alpha, f"zrep takeover {A}")
        whole(alpha, beta)
        values = alpha.run(f"zfs get -H -s local -o property,value checksum,recordsize,prefetch {A}").lines
        assert values == ["checksum\tblake3", "recordsize\t4M", "prefetch\tmetadata"]

    def test_a_stream_it_does_not_know_is_refused_and_nothing_is_lost(self, hosts: Hosts) -> None:
        alpha, beta = hosts
        made(alpha, A, longname="on")
        alpha.run(f"zrep init {A} beta {A}")
        alpha.run(f'touch "/{A}/$(printf %0300d 1)"; zpool sync')
        says = r"stream has unsupported feature, feature flags = \w+: longname\); next: bring OpenZFS there up to"
        tells(alpha, CRON, REFUSED, f"{A}: .*{says}")
        still(alpha, CRON, REFUSED)
        tells(alpha, f"zrep failover {A}", REFUSED, says)
        assert may_write(alpha)
        assert content(beta, A) == "first"
        # One that has it from the beginning: no part of it is sent, and nothing is left there.
        alpha.run(f"zfs snapshot {A}@1 && zfs send {A}@1 | zfs receive tank/b")
        done = alpha.run("zrep init tank/b beta tank/b", check=False)
        assert (done.rc, bool(re.search(says, done.err))) == (REFUSED, True), done
        assert beta.run("zfs list -H -o name").lines == ["small", "tank", A]
