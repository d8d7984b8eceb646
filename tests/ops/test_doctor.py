"""doctor: each thing that will hurt later is found, with what mends it, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ops import pairs
from tests.ops.hosts import Ended, Hosts
from tests.ops.pairs import A, B
from tests.ops.picture import look
from zrep.host import schedule
from zrep.ops.doctor import doctor


@pytest.fixture
def cron(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Both hosts of the model have the files of one."""
    file = tmp_path / "cron"
    file.write_text("* * * * * root zrep sync all\n")
    monkeypatch.setattr(schedule, "CRON", (str(file),))
    monkeypatch.setattr(schedule, "TIMERS", ())
    return file


@pytest.fixture
def linked(hosts: Hosts, cron: Path) -> Hosts:
    pairs.linked(hosts)
    return hosts


def found(hosts: Hosts, here: str = "alpha") -> Ended:
    before = {name: look(hosts.local(name), hosts[name]) for name in ("alpha", "beta")}
    ended = hosts.run(here, lambda session: doctor(session, []))
    assert {name: look(hosts.local(name), hosts[name]) for name in ("alpha", "beta")} == before
    return ended


@pytest.mark.parametrize(("here", "name"), [("alpha", A), ("beta", B)])
def test_nothing_is_found_where_all_is_well(linked: Hosts, here: str, name: str) -> None:
    ended = found(linked, here)
    assert (ended.code, [x.message for x in ended.outcomes]) == (0, ["nothing found"]), ended.text


@pytest.mark.parametrize("here", ["alpha", "beta"])
def test_what_will_hurt_is_found_from_either_host(linked: Hosts, here: str) -> None:
    linked["beta"].sh(f"zfs set quota=1M {B}")
    linked["alpha"].write(A, "big", b"x" * 2_000_000)
    linked["alpha"].sh(f"zfs create {A}/x")
    ended = found(linked, here)
    assert ended.code == 1
    assert "a role change would be refused" in ended.text
    assert "the replica's quota on beta is less than what the master uses" in ended.text
    assert f"next: on beta: zfs set quota=none {B}" in ended.text


def test_a_state_that_is_not_well_is_the_finding(hosts: Hosts, cron: Path) -> None:
    pairs.forced(hosts)
    ended = found(hosts)
    assert (ended.code, "next: zrep rejoin tank/a" in ended.text) == (3, True), ended.text


def test_nobody_runs_it(linked: Hosts, cron: Path) -> None:
    for text in ("", "# * * * * * root zrep sync all\n", "* * * * * root zrep status\n"):
        cron.write_text(text)
        ended = found(linked)
        assert ended.code == 1
        assert ended.text.count("runs zrep by itself") == 2
    cron.write_text("PATH=/usr/bin\n*/5 * * * * root /usr/local/bin/zrep -t x -S all\n")
    assert found(linked).code == 0


def test_a_peer_that_cannot_be_asked_is_the_finding(linked: Hosts) -> None:
    linked.wire.cut = True
    assert linked.run("alpha", lambda session: doctor(session, [])).code == 5
