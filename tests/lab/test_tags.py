"""Three hosts and two tags, on real OpenZFS: alpha's tank/a goes to beta under zrep, and to gamma under offsite."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.plugin import started
from tests.lab.zrep_on import REFUSED, Case, alone, check, content, in_step, local, made, silent

Three = tuple[Host, Host, Host]

A = "tank/a"
OFFSITE = "zrep -t offsite"
YES = "takeover -L --yes"


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    yield from started(request.config, ("alpha", "beta", "gamma"))


@pytest.fixture
def three(lab: Lab) -> Three:
    lab.reset()
    return lab.alpha, lab.beta, lab["gamma"]


@pytest.fixture
def both(three: Three) -> Three:
    alpha, _, _ = three
    made(alpha, A)
    silent(alpha, f"zrep init {A} beta {A}")
    silent(alpha, f"{OFFSITE} init {A} gamma {A}")
    return three


def test_no_property_of_any_tag_travels_and_a_takeover_without_the_tag_finds_no_pair(lab: Lab, both: Three) -> None:
    alpha, _, gamma = both
    carried = gamma.run(f"zfs get -H -s local,received -o property all {A}").lines
    assert [name for name in carried if ":" in name and not name.startswith("offsite:")] == []
    check(lab, Case("the tag forgotten", f"zrep {YES} {A}", REFUSED, "not replicated by zrep here", on="gamma"))
    # As an earlier version sent it: the links name this very dataset.
    made(alpha, "tank/b")
    silent(alpha, "zrep init tank/b beta tank/b")
    alpha.run("zfs snapshot tank/b@by-hand && zfs send -p tank/b@by-hand | ssh gamma zfs receive -u tank/b")
    assert gamma.run("zfs get -H -o value zrep:dest-fs tank/b").out == "tank/b\n"
    check(lab, Case("links received", f"zrep {YES} tank/b", REFUSED, "not replicated by zrep here", on="gamma"))


def test_a_replica_gives_no_role_away_under_another_tag(lab: Lab, both: Three) -> None:
    alpha, beta, gamma = both
    silent(alpha, f"zrep failover {A}")
    says = "only passes on what it receives under the tag zrep.*on alpha: zrep -t zrep takeover tank/a"
    check(lab, Case("failover", f"{OFFSITE} failover {A}", REFUSED, says))
    check(lab, Case("takeover", f"{OFFSITE} takeover {A}", REFUSED, says, on="gamma"))
    assert "relay" in alpha.run(f"{OFFSITE} list -H").out.split()
    beta.run(f"echo more > /{A}/more")
    silent(beta, "zrep sync all")
    silent(alpha, f"{OFFSITE} sync all")
    assert in_step(alpha, A, gamma, A)
    assert alpha.run(f"touch /{A}/x", check=False).rc != 0
    # What it advises.
    silent(alpha, f"zrep takeover {A}")
    silent(alpha, f"{OFFSITE} failover {A}")
    assert [local(host, A, "readonly") for host in both] == ["on", "on", "off"]


def test_what_one_tag_doubts_no_other_gives_away_or_makes_writable(lab: Lab, both: Three) -> None:
    alpha, beta, _ = both
    lab.cut(alpha)
    alone(beta, A)
    lab.heal()
    assert alpha.run("zrep sync all", check=False).rc == REFUSED
    says = "under the tag zrep tank/a on alpha may not be the master any more.*zrep -t zrep sync tank/a"
    check(lab, Case("failover", f"{OFFSITE} failover {A}", REFUSED, says))
    check(lab, Case("takeover", f"{OFFSITE} takeover {A}", REFUSED, says, on="gamma"))
    silent(alpha, f"{OFFSITE} sync all")
    assert [local(host, A, "readonly") for host in both] == ["on", "off", "on"]


def test_an_old_master_that_wrote_alone_rejoins_and_its_other_replica_goes_on(lab: Lab, both: Three) -> None:
    alpha, beta, gamma = both
    alpha.run(f"echo shared > /{A}/file")
    silent(alpha, "zrep sync all")
    lab.cut(alpha)
    alpha.run(f"echo tail > /{A}/tail")
    alone(beta, A)
    lab.heal()
    alpha.run(f"zrep rejoin {A}")
    [copy] = alpha.run("zfs list -H -o name -r tank | grep _split_").lines
    assert alpha.run(f"zfs get -H -s local -o property all {copy} | grep offsite:", check=False).out == ""
    beta.run(f"echo new > /{A}/file")
    silent(beta, "zrep sync all")
    silent(alpha, f"{OFFSITE} sync all")
    assert (content(gamma, A), in_step(alpha, A, gamma, A), in_step(beta, A, gamma, A)) == ("new", True, True)
    alpha.run(f"mkdir /run/copy && mount -t zfs -o ro {copy}@zrep_split_1 /run/copy")
    assert alpha.run("cat /run/copy/tail; umount /run/copy").out == "tail\n"


@pytest.mark.thorough
def test_a_master_that_answers_is_not_replaced_alone(lab: Lab, both: Three) -> None:
    alpha, beta, gamma = both
    says = "alpha answers and is master: without -L nothing is lost.*is lost to this side.*zrep takeover tank/a"
    check(lab, Case("zrep", f"zrep {YES} {A}", REFUSED, says, on="beta"))
    says = "without -L nothing is lost.*zrep -t offsite takeover tank/a"
    check(lab, Case("offsite", f"{OFFSITE} {YES} {A}", REFUSED, says, on="gamma"))
    check(lab, Case("-n", f"zrep takeover -L -n {A}", REFUSED, says.replace(" -t offsite", ""), on="beta"))
    # It answers, but never to an end: a command that hangs there is waited for for 20 s.
    zfs = alpha.run("command -v zfs").out.strip()
    alpha.run(f"mv {zfs} /root/zfs && printf '#!/bin/sh\nsleep 300\n' > {zfs} && chmod +x {zfs}")
    started_at = time.monotonic()
    alone(beta, A, "--yes")
    assert time.monotonic() - started_at < 60
    alpha.run(f"mv /root/zfs {zfs}")
    assert gamma.run(f"zfs get -H -o value readonly {A}").out == "on\n"


def test_tags_that_begin_together_take_turns(both: Three) -> None:
    """As cron starts them: the same minute, the same order."""
    alpha, beta, gamma = both
    for number in range(3):
        alpha.run(f"echo {number} > /{A}/file")
        done = alpha.run(f"zrep sync all & {OFFSITE} sync all; first=$?; wait $!; echo $first $?", timeout=180)
        assert done.out == "0 0\n", done
        assert [content(beta, A), content(gamma, A)] == [str(number)] * 2


@pytest.mark.thorough
def test_an_image_of_the_masters_pool_is_not_the_master(lab: Lab, three: Three) -> None:
    alpha, beta, gamma = three
    for host in three:
        host.run("tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id")
    made(alpha, "small/a")
    silent(alpha, "zrep init small/a beta small/a")
    own, peer = local(alpha, "small/a", "zrep:places").split()
    assert local(beta, "small/a", "zrep:places") == f"{peer} {own}"
    assert own.startswith(alpha.run("zpool get -Hp -o value guid small").out.strip() + "/")
    alpha.run("zpool sync && zpool export small && scp -q /pool/small.img gamma:/root/ && zpool import -d /pool small")
    gamma.run("zpool destroy small; rm -rf /image; mkdir /image && mv /root/small.img /image")
    gamma.run("zpool import -f -d /image small")
    gamma.run("echo copy > /small/a/file")
    says = "small/a was in another place.*the host was.*zrep changeconfig --moved small/a.*zrep clear -L small/a"
    for command in ("sync all", "failover small/a", "clear small/a"):
        check(lab, Case(command, f"zrep {command}", REFUSED, says, on="gamma"))
    alpha.run("echo master > /small/a/file")
    silent(alpha, "zrep sync all")
    assert content(beta, "small/a") == "master"
    # A host with its peer's name does not take itself for it.
    assert alpha.run("ZREP_HOST=beta zrep sync small/a", check=False).rc == REFUSED
    assert alpha.run("touch /small/a/writable", check=False).rc == 0
    # Moved for good: the machine was installed anew.
    alpha.run("tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id")
    assert alpha.run("zrep sync small/a", check=False).rc == REFUSED
    silent(alpha, "zrep changeconfig --moved small/a")
    silent(alpha, "zrep sync small/a")
    silent(alpha, "zrep failover small/a")
