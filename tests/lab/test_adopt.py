"""Replicas that other programs have made, and chains, on real OpenZFS: nothing is sent again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bench import others
from tests.lab.hosts import Host, Lab
from tests.lab.plugin import started
from tests.lab.zrep_on import REFUSED, Case, check, content, in_step, made, silent, snapshots, unchanged

ONWARD = "zrep -t onward"


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    yield from started(request.config, ("alpha", "beta", "gamma"))


def goes_on(lab: Lab, source: str, target: str) -> None:
    """Adopt a replica and send what is new: incrementally, and equal."""
    alpha, beta = lab.alpha, lab.beta
    born = beta.run(f"zfs get -Hp -o value guid,creation {target}").out
    silent(alpha, f"zrep init --adopt {source} beta {target}")
    alpha.run(f"echo later > /{source}/file")
    silent(alpha, f"zrep sync {source}")
    assert (content(beta, target), in_step(alpha, source, beta, target)) == ("later", True)
    assert beta.run(f"zfs get -Hp -o value guid,creation {target}").out == born


def chain(lab: Lab, options: str = "") -> tuple[Host, Host, Host]:
    """tank/a on the first host, replicated as tank/b on the second, which passes it on as tank/c to the third."""
    lab.reset()
    alpha, beta, gamma = lab.alpha, lab.beta, lab["gamma"]
    made(alpha, "tank/a")
    silent(alpha, f"zrep init tank/a beta tank/b {options}")
    silent(beta, f"{ONWARD} init tank/b gamma tank/c")
    return alpha, beta, gamma


class TestAdopt:
    def test_what_was_sent_by_hand(self, lab: Lab) -> None:
        lab.reset()
        alpha = lab.alpha
        made(alpha, "tank/a")
        alpha.run("zfs snapshot tank/a@one && zfs send tank/a@one | ssh beta zfs receive tank/b")
        lab.beta.run("echo mine > /tank/b/file")
        says = "was written to after the newest snapshot that both have.*zfs rollback -r tank/b@one"
        check(lab, Case("written to", "zrep init --adopt tank/a beta tank/b", REFUSED, says))
        lab.beta.run("zfs rollback tank/b@one")
        with unchanged(lab):
            shown = alpha.run("zrep init --adopt -n tank/a beta tank/b")
        assert "adopted: both sides have @one" in shown.out
        assert "zfs send" not in shown.out
        goes_on(lab, "tank/a", "tank/b")

    def test_a_pair_that_was_cleared_is_adopted_again(self, lab: Lab) -> None:
        silent(lab.alpha, "zrep clear --keep-base tank/a")
        goes_on(lab, "tank/a", "tank/b")
        # Of the last that both had, the master has a bookmark alone.
        silent(lab.alpha, "zrep clear --keep-base tank/a")
        last = f"tank/a@{snapshots(lab.alpha, 'tank/a')[-1]}"
        lab.alpha.run(
            f"zfs bookmark {last} tank/a#mine && zfs list -H -o name -t snapshot tank/a | xargs -n 1 zfs destroy"
        )
        goes_on(lab, "tank/a", "tank/b")

    def test_what_other_programs_have_made(self, lab: Lab) -> None:
        alpha = lab.alpha
        others.install(lab)
        for name in others.PROGRAMS:
            for each in "abcd":
                alpha.run(f"zfs create -p tank/{name}/{each} && echo first > /tank/{name}/{each}/file")
            for command in others.prepare(name):
                alpha.run(command, timeout=120)
            place = name if name == "syncoid" else f"backup/{name}"
            goes_on(lab, f"tank/{name}/a", f"tank/{place}/a")

    @pytest.mark.thorough
    def test_a_chain_and_the_loss_of_its_second(self, lab: Lab) -> None:
        alpha, beta, gamma = chain(lab, "--savecount 2")
        alpha.run("echo second > /tank/a/file")
        silent(alpha, "zrep sync all")
        silent(beta, f"{ONWARD} sync all")
        assert (content(gamma, "tank/c"), in_step(alpha, "tank/a", gamma, "tank/c")) == ("second", True)
        assert not [line for line in beta.run("zfs list -H -o name -t snapshot tank/b").lines if "@onward_" in line]
        # The first two change roles: the third goes on.
        silent(alpha, "zrep failover tank/a")
        beta.run("echo third > /tank/b/file")
        silent(beta, f"{ONWARD} sync all")
        assert content(gamma, "tank/c") == "third"
        silent(beta, "zrep failover tank/b")
        alpha.run("echo fourth > /tank/a/file")
        silent(alpha, "zrep sync all")
        silent(beta, f"{ONWARD} sync all")
        assert content(gamma, "tank/c") == "fourth"
        # The second is lost, when the first has let go of what the third has.
        for number in range(3):
            alpha.run(f"echo {number} > /tank/a/file")
            silent(alpha, "zrep sync all")
        assert set(snapshots(alpha, "tank/a")).isdisjoint(snapshots(gamma, "tank/c"))
        lab.cut(beta)
        born = gamma.run("zfs get -Hp -o value guid,creation tank/c").out
        alpha.run("echo fifth > /tank/a/file")
        silent(gamma, f"{ONWARD} changeconfig tank/c alpha tank/a")
        silent(alpha, f"{ONWARD} sync all")
        assert content(gamma, "tank/c") == "fifth"
        assert gamma.run("zfs get -Hp -o value guid,creation tank/c").out == born
        lab.heal()

    @pytest.mark.thorough
    def test_the_second_keeps_the_base_of_the_third_however_often_it_expires(self, lab: Lab) -> None:
        alpha, beta, gamma = chain(lab, "--savecount 2")
        [base] = snapshots(gamma, "tank/c")
        for number in range(5):
            alpha.run(f"echo {number} > /tank/a/file")
            silent(alpha, "zrep sync all")
        for command in ("zrep expire all", f"{ONWARD} expire all", f"{ONWARD} expire tank/b"):
            silent(beta, command)
        kept = snapshots(beta, "tank/b")
        assert (kept[0], len(kept)) == (base, 3)
        silent(beta, f"{ONWARD} sync all")
        assert (content(gamma, "tank/c"), in_step(alpha, "tank/a", gamma, "tank/c")) == ("4", True)
        # Let go of, the old base is one more than savecount.
        alpha.run("echo last > /tank/a/file")
        silent(alpha, "zrep sync all")
        assert base not in snapshots(beta, "tank/b")
