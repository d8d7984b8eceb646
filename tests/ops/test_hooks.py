"""Hooks: who is told of what, and what a failure stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, Mode, Work, name_of
from tests.ops.pairs import SYNC_ALL, A, B, good
from zrep.core.settings import Settings
from zrep.host import hooks

SCRIPT = """#!/bin/sh
echo "$1 $ZREP_EVENT $ZREP_FS $ZREP_TAG $ZREP_EPOCH $ZREP_PEER $ZREP_PEER_FS" >> {log}
{more}
"""


@pytest.fixture
def log(hosts: Hosts, tmp_path: Path) -> Path:
    (tmp_path / "hooks.d").mkdir()
    hosts.settings = Settings(hooks=str(tmp_path / "hooks.d"))
    return tmp_path / "log"


def install(log: Path, more: str = "", name: str = "50-service", mode: int = 0o755) -> None:
    program = log.parent / "hooks.d" / name
    program.write_text(SCRIPT.format(log=log, more=more))
    program.chmod(mode)


def told(log: Path) -> list[str]:
    """What the hooks were told: the event, then filesystem, epoch and peer."""
    words = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    assert all(line[0] == line[1] and line[3] == "zrep" for line in words)
    return [" ".join((line[0], line[2], *line[4:])) for line in words]


MOVED = [
    f"before-demote {A} 2 beta {B}",
    f"before-promote {B} 2 alpha {A}",
    f"after-demote {A} 2 beta {B}",
    f"after-promote {B} 2 alpha {A}",
]
NOT_MOVED = [f"not-demoted {A} 2 beta {B}", f"not-promoted {B} 2 alpha {A}"]


@pytest.mark.parametrize(
    ("work", "host", "events"),
    [
        (pairs.failing_over(A), "alpha", MOVED),
        (pairs.taking_over(B), "beta", MOVED),
        (pairs.forcing(B), "beta", [MOVED[1], MOVED[3]]),
        (SYNC_ALL, "alpha", []),
        (pairs.taking_over(A), "alpha", []),
        (pairs.rejoining(A), "alpha", []),
    ],
    ids=["failover", "takeover", "takeover -L", "sync", "already master", "nothing to rejoin"],
)
def test_each_side_is_told_what_becomes_of_it(
    hosts: Hosts, log: Path, work: Work, host: str, events: list[str]
) -> None:
    pairs.linked(hosts)
    install(log)
    good(hosts.run(host, work))
    assert told(log) == events


def test_an_old_master_that_rejoins_is_told(hosts: Hosts, log: Path) -> None:
    pairs.forced(hosts)
    install(log)
    good(hosts.run("alpha", pairs.rejoining(A)))
    assert told(log) == [MOVED[0], MOVED[2]]


def test_an_old_master_that_cannot_rejoin_is_told_that_it_was_not_demoted(hosts: Hosts, log: Path) -> None:
    pairs.diverged(hosts)
    install(log)
    hosts["alpha"].open_file(A)
    assert hosts.run("alpha", pairs.rejoining(A)).code == 3
    assert told(log) == [MOVED[0], NOT_MOVED[0]]


@pytest.mark.parametrize("event", ["before-demote", "before-promote"])
def test_a_before_hook_that_fails_stops_it_while_nothing_is_changed(hosts: Hosts, log: Path, event: str) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    install(log, f"test $1 != {event} || {{ echo not now; exit 7; }}")
    before = hosts.world.view()
    ended = hosts.run("alpha", pairs.failing_over(A))
    assert ended.code == 1
    assert told(log)[-2:] == NOT_MOVED
    assert f"a {event} hook on" in ended.text
    assert "50-service: exit status 7: not now" in ended.text
    assert hosts.world.view() == before


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("host", "work"), [("alpha", pairs.failing_over(A)), ("beta", pairs.taking_over(B))], ids=["failover", "takeover"]
)
@pytest.mark.parametrize("mode", [Mode.LOST, Mode.FAIL, Mode.CUT, Mode.KILL_AFTER], ids=name_of)
def test_what_was_announced_and_does_not_come_about_is_taken_back(
    hosts: Hosts, log: Path, mode: Mode, host: str, work: Work
) -> None:
    """Whatever fails on the way, and once cron has run on both sides."""
    pairs.linked(hosts)
    pairs.written(hosts)
    install(log)
    before = hosts.world.dump()
    hosts.wire.reset()
    good(hosts.run(host, work))
    for at in range(len(hosts.wire.log)):
        hosts.load(before)
        log.unlink(missing_ok=True)
        hosts.wire.reset(mode, at)
        hosts.run(host, work)
        hosts.wire.reset()
        for other in ("alpha", "beta"):
            hosts.run(other, SYNC_ALL)
        moved = pairs.value(hosts, "beta", B, "zrep:master") == "yes"
        for name, truth, untruth in (
            (A, "after-demote" if moved else "not-demoted", "before-demote"),
            (B, "after-promote" if moved else "not-promoted", "before-promote"),
        ):
            last = [event.split()[0] for event in told(log) if event.split()[1] == name][-1:]
            # One that was lost could not be told; a run that was killed before it wrote anything down is forgotten.
            assert last in ([], [truth], *([] if mode is Mode.FAIL else [[untruth]])), (at, told(log))


@pytest.mark.parametrize("mode", [Mode.FAIL, Mode.PART, Mode.HANG], ids=name_of)
def test_a_forced_promotion_that_fails_is_taken_back(hosts: Hosts, log: Path, mode: Mode) -> None:
    """Whatever fails on the way; where it took the role all the same, the next run says so."""
    pairs.linked(hosts)
    install(log)
    before = hosts.world.dump()
    hosts.wire.reset()
    good(hosts.run("beta", pairs.forcing(B)))
    failed = 0
    for at in range(len(hosts.wire.log)):
        hosts.load(before)
        log.unlink(missing_ok=True)
        hosts.wire.reset(mode, at)
        failed += hosts.run("beta", pairs.forcing(B)).code != 0
        hosts.wire.reset()
        hosts.run("beta", SYNC_ALL)
        moved = pairs.value(hosts, "beta", B, "zrep:master") == "yes"
        assert told(log)[-1:] in ([], [MOVED[3] if moved else NOT_MOVED[1]]), (at, told(log))
        assert told(log) or not moved
    assert failed


@pytest.mark.parametrize("event", ["after-demote", "after-promote"])
def test_an_after_hook_that_fails_is_reported_and_undoes_nothing(hosts: Hosts, log: Path, event: str) -> None:
    pairs.linked(hosts)
    install(log, f"test $1 != {event}")
    good(hosts.run("alpha", pairs.failing_over(A)))
    assert [line for line in hosts.said if f"a {event} hook on" in line and "the role change stands" in line]
    good(hosts.run("beta", SYNC_ALL))


def test_a_hook_has_a_time_limit(hosts: Hosts, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "HOOK_SECONDS", 0.3)
    pairs.linked(hosts)
    install(log, "sleep 60")
    ended = hosts.run("alpha", pairs.failing_over(A))
    assert ended.code == 1
    assert "not done after 0 s, ended" in ended.text


def test_all_executables_are_told_in_order_and_nothing_else(hosts: Hosts, log: Path) -> None:
    pairs.linked(hosts)
    install(log, name="90-last")
    install(log, name="10-first", more="exit 1")
    install(log, name="50-note", mode=0o644)
    ended = hosts.run("alpha", pairs.failing_over(A))
    assert told(log) == [event for event in (MOVED[0], *NOT_MOVED) for _ in range(2)]
    assert "10-first" in ended.text


def test_a_dry_run_tells_nobody(hosts: Hosts, log: Path) -> None:
    pairs.forced(hosts)
    install(log)
    hosts.run("alpha", pairs.rejoining(A), dry_run=True)
    hosts.run("beta", pairs.failing_over(B), dry_run=True)
    assert told(log) == []


def test_a_hook_needs_no_room_on_any_disk(hosts: Hosts, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A before-hook that refuses was passed over where there was no temporary space."""
    pairs.linked(hosts)
    install(log, "echo no; exit 1")
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    refused = hosts.run("alpha", pairs.failing_over(A))
    assert (refused.code, "a before-demote hook on alpha failed" in refused.text) == (1, True)
    assert pairs.value(hosts, "alpha", A, "zrep:master") == "yes"


def test_hooks_that_cannot_be_looked_for_refuse(hosts: Hosts, tmp_path: Path) -> None:
    pairs.linked(hosts)
    (tmp_path / "hooks.d").write_text("no directory")
    hosts.settings = Settings(hooks=str(tmp_path / "hooks.d"))
    refused = hosts.run("alpha", pairs.failing_over(A))
    assert (refused.code, "Not a directory" in refused.text) == (1, True)


@pytest.mark.parametrize(("name", "mode"), [("50-service", 0o775), ("50-service", 0o757), ("", 0o775), ("", 0o777)])
def test_a_hook_that_others_could_have_written_refuses_and_is_not_run(
    hosts: Hosts, log: Path, name: str, mode: int
) -> None:
    """It would run as root. None of them is, for whoever may write in the directory may bring others."""
    pairs.linked(hosts)
    install(log)
    install(log, name="10-other")
    (log.parent / "hooks.d" / name).chmod(mode)
    refused = hosts.run("alpha", pairs.failing_over(A))
    assert refused.code == 1
    assert f"hooks.d could be from others than root: {log.parent}/hooks.d" in refused.text
    assert f"has mode {mode:o}: others may write to it" in refused.text
    assert told(log) == []
    assert pairs.value(hosts, "alpha", A, "zrep:master") == "yes"
