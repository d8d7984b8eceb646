"""takeover -L: what it says before, and what the fence command decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, Mode
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from zrep.core.errors import RefusedError
from zrep.host.local import LocalHost
from zrep.ops import ask_first
from zrep.ops.changeconfig import Config

ENVIRONMENT = "$ZREP_FS $ZREP_TAG $ZREP_EPOCH $ZREP_PEER $ZREP_PEER_FS"


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("exit 0", 0, "this side is master now"),
        ("echo powered off", 0, "this side is master now"),
        ("echo it answers; exit 1", 3, "is alive and was not fenced; nothing was changed (exit status 1: it answers)"),
        ("exit 2", 3, "could not tell whether alpha is down"),
        ("exit 3", 1, "counts as not fenced; nothing was changed (exit status 3)"),
        ("/no/such/program", 1, "counts as not fenced"),
        ("kill -9 $$", 1, "counts as not fenced; nothing was changed (ended by signal 9)"),
    ],
)  # fmt: skip
def test_only_a_fenced_peer_is_replaced(hosts: Hosts, command: str, code: int, says: str) -> None:
    pairs.linked(hosts)
    hosts.wire.cut = True
    before = hosts.world.dump()
    ended = hosts.run("beta", pairs.forcing(B), fence=command)
    assert (ended.code, says in ended.text) == (code, True), ended.text
    if code:
        hosts.world.load(before)
    assert value(hosts, "beta", B, "zrep:master") == ("no" if code else "yes")
    assert value(hosts, "beta", B, "readonly") == ("on" if code else "off")


def test_the_fence_command_is_told_whom_to_fence(hosts: Hosts, tmp_path: Path) -> None:
    pairs.linked(hosts)
    good(hosts.run("beta", pairs.forcing(B), fence=f'echo "{ENVIRONMENT}" > {tmp_path}/told'))
    assert (tmp_path / "told").read_text() == f"{B} zrep 2 alpha {A}\n"


def test_the_fence_command_waits_for_the_yes(hosts: Hosts, tmp_path: Path) -> None:
    pairs.linked(hosts)
    for options, agreed in (({}, False), ({"dry_run": True}, True)):
        hosts.run("beta", pairs.forcing(B, agreed), fence=f"touch {tmp_path}/ran", **options)
        assert not (tmp_path / "ran").exists()


def test_a_dry_run_shows_the_fence_command_first(hosts: Hosts) -> None:
    pairs.linked(hosts)
    ended = good(hosts.run("beta", pairs.forcing(B), fence="power off $ZREP_PEER", dry_run=True))
    assert ended.lines[0] == "beta: sh -c power off $ZREP_PEER"


def test_a_stuck_master_fences_before_it_goes_on(hosts: Hosts) -> None:
    pairs.forced(hosts)
    assert hosts.run("alpha", SYNC_ALL).code == 3
    hosts.wire.cut = True
    assert "was not fenced" in hosts.run("alpha", pairs.forcing(A), fence="exit 1").text
    assert value(hosts, "alpha", A, "readonly") == "on"
    good(hosts.run("alpha", pairs.forcing(A), fence="exit 0"))
    assert value(hosts, "alpha", A, "readonly") == "off"


class TestAskedFirst:
    """The other side is asked, if it answers."""

    def test_a_master_that_answers_is_not_replaced(self, hosts: Hosts) -> None:
        pairs.linked(hosts)
        before = hosts.world.dump()
        ended = hosts.run("beta", pairs.forcing(B, insist=False))
        assert ended.code == 3
        assert "alpha answers and is master: without -L nothing is lost" in ended.text
        assert "is lost to this side" in ended.text
        assert "next: zrep takeover tank/b" in ended.text
        hosts.world.load(before)
        good(hosts.run("beta", pairs.forcing(B)))

    def test_nobody_is_asked_to_agree_to_the_replacement_of_a_master_that_answers(self, hosts: Hosts) -> None:
        pairs.linked(hosts)
        assert "this needs a yes" not in hosts.run("beta", pairs.forcing(B, agreed=False, insist=False)).text

    def test_a_dry_run_says_that_the_master_answers(self, hosts: Hosts) -> None:
        pairs.linked(hosts)
        ended = hosts.run("beta", pairs.forcing(B, insist=False), dry_run=True)
        assert (ended.code, ended.lines) == (3, ())

    def test_a_master_that_does_not_answer_is_replaced(self, hosts: Hosts) -> None:
        pairs.linked(hosts)
        hosts.wire.cut = True
        ended = good(hosts.run("beta", pairs.forcing(B, insist=False)))
        [outcome] = ended.outcomes
        assert (outcome.important, "is lost to this side" in outcome.message) == (True, True)

    def test_a_master_that_has_lost_its_half_is_replaced(self, hosts: Hosts) -> None:
        pairs.linked(hosts)
        hosts["alpha"].sh(f"zfs release zrep {A}@zrep_000001")
        hosts["alpha"].sh(f"zfs destroy -r {A}")
        good(hosts.run("beta", pairs.forcing(B, insist=False)))

    def test_a_master_that_was_renamed_is_not_replaced(self, hosts: Hosts) -> None:
        pairs.linked(hosts)
        hosts["alpha"].sh("zfs rename tank/a tank/n")
        self.renamed(hosts, "tank/n")

    def test_a_master_whose_name_another_has_by_now_is_not_replaced(self, hosts: Hosts) -> None:
        pairs.linked(hosts)
        hosts["alpha"].sh("zfs rename tank/a tank/n")
        hosts["alpha"].sh("zfs create tank/a")
        self.renamed(hosts, "tank/n")

    def test_a_master_whose_pool_was_renamed_is_not_replaced(self, hosts: Hosts) -> None:
        pairs.linked(hosts)
        hosts["alpha"].export_pool("tank")
        hosts["alpha"].import_pool("tank", "pond")
        self.renamed(hosts, "pond/a")

    def renamed(self, hosts: Hosts, name: str) -> None:
        """What it says leads to a takeover that loses nothing."""
        pairs.written(hosts, name=name)
        ended = hosts.run("beta", pairs.forcing(B, insist=False))
        assert ended.code == 3
        assert f"alpha answers: {A} on alpha was renamed" in ended.text
        assert f"on alpha: zrep changeconfig {name}, then here: zrep changeconfig {B} alpha {name}" in ended.text
        good(hosts.run("alpha", pairs.changing(name, Config())))
        good(hosts.run("beta", pairs.changing(B, Config("alpha", name))))
        good(hosts.run("beta", pairs.taking_over(B)))

    def test_a_master_that_refuses_to_say_is_not_replaced(self, hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
        def another(name: str) -> LocalHost:
            raise RefusedError(f"zrep on {name} is another version", advice="install the same zrep on both hosts")

        pairs.linked(hosts)
        monkeypatch.setattr(hosts, "peer", another)
        ended = hosts.run("beta", pairs.forcing(B, insist=False))
        assert (ended.code, value(hosts, "beta", B, "readonly")) == (3, "on")
        assert "alpha may be there, and cannot be asked which side is master: zrep on alpha is another" in ended.text
        assert "next: install the same zrep on both hosts; or, to have two masters if it is one, -f" in ended.text
        good(hosts.run("beta", pairs.forcing(B)))

    def test_a_master_that_hangs_is_replaced(self, hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
        pairs.linked(hosts)
        monkeypatch.setattr(ask_first, "in_time", lambda work, seconds: [])
        good(hosts.run("beta", pairs.forcing(B, insist=False)))

    def test_a_stopped_master_whose_role_has_moved_is_told_to_rejoin(self, hosts: Hosts) -> None:
        pairs.forced(hosts)
        ended = hosts.run("alpha", pairs.forcing(A, insist=False))
        assert "it is the master here already" in ended.text
        assert hosts.run("alpha", SYNC_ALL).code == 3
        stuck = hosts.run("alpha", pairs.forcing(A, insist=False))
        assert (stuck.code, "beta answers, and says which side is master" in stuck.text) == (3, True)
        assert "zrep rejoin tank/a" in stuck.text
        assert value(hosts, "alpha", A, "readonly") == "on"

    def test_a_stuck_master_whose_peer_answers_is_to_ask_it(self, hosts: Hosts) -> None:
        pairs.linked(hosts)
        pairs.hit(hosts, "alpha", pairs.failing_over(A), Mode.KILL_AFTER, "mount")
        hosts.wire.reset()
        stuck = hosts.run("alpha", pairs.forcing(A, insist=False))
        assert (stuck.code, "next: zrep sync tank/a" in stuck.text) == (3, True)
        good(hosts.run("alpha", SYNC_ALL))
        assert value(hosts, "alpha", A, "readonly") == "off"


class TestLoss:
    def test_a_master_that_was_in_step(self, hosts: Hosts) -> None:
        pairs.linked(hosts)
        good(hosts.run("alpha", SYNC_ALL))
        ended = good(hosts.run("beta", pairs.forcing(B), dry_run=True))
        assert "what was written after @zrep_000001, received" in ended.text
        assert "its master had nothing more 1m ago" in ended.text

    def test_a_master_that_was_about_to_send(self, hosts: Hosts) -> None:
        pairs.linked(hosts)
        pairs.written(hosts)
        hosts.wire.reset()
        good(hosts.run("alpha", SYNC_ALL))
        sends = [n for n, command in enumerate(hosts.wire.log) if command.stream]
        hosts.wire.reset()
        pairs.written(hosts, key="more")
        hosts.wire.reset(Mode.TORN_CUT, sends[0])
        assert hosts.run("alpha", SYNC_ALL).code != 0
        hosts.wire.reset()
        ended = good(hosts.run("beta", pairs.forcing(B), dry_run=True))
        assert "K more 1m ago" in ended.text, ended.text
        assert "a half received stream (" in ended.text


def test_a_limit_that_is_used_up_is_named_with_what_lifts_it(hosts: Hosts) -> None:
    """No word can be written to such a replica, and without one a stream could still be let in."""
    pairs.linked(hosts)
    used = value(hosts, "beta", B, "used")
    hosts["beta"].sh(f"zfs set quota={used} {B}")
    hosts.wire.cut = True
    ended = hosts.run("beta", pairs.forcing(B))
    assert (ended.code, f"zfs set quota=none {B}; then this again" in ended.text) == (1, True), ended.text
    hosts["beta"].sh(f"zfs set quota=none {B}")
    good(hosts.run("beta", pairs.forcing(B)))
