"""A backup host that nobody can log in to, on real OpenZFS: beta pulls, and alpha has no key to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.hosts import Lab
from tests.lab.zrep_on import REFUSED, Case, alone, check, content, in_step, local, made, silent

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


class TestPull:
    def test_cron_of_the_replica_brings_it_up_to_date(self, pulled: Lab) -> None:
        alpha, beta = pulled.alpha, pulled.beta
        written(pulled, "second")
        silent(alpha, "zrep sync all")
        assert not in_step(alpha, A, beta, B) or content(beta, B) == "first"
        silent(beta, "zrep sync all")
        assert (content(beta, B), in_step(alpha, A, beta, B)) == ("second", True)
        written(pulled, "third")
        silent(beta, f"zrep refresh {B}")
        assert content(beta, B) == "third"
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
