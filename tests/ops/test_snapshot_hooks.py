"""Programs of the administrator's around a snapshot: what they are told, and what one that fails stops."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.ops import pairs
from tests.ops.hosts import Command, Hosts, Mode, Work
from tests.ops.judge import files, find
from tests.ops.pairs import SYNC_ALL, A, B, good
from tests.ops.test_hooks import SCRIPT
from zrep.core.settings import Settings
from zrep.host import hooks as hook_programs
from zrep.host import quiesce
from zrep.ops import role_change
from zrep.ops.init_way import Request
from zrep.zfs.commands import Completed


@pytest.fixture
def log(hosts: Hosts, tmp_path: Path) -> Path:
    pairs.linked(hosts)
    (tmp_path / "hooks.d/snapshot.d").mkdir(parents=True)
    hosts.settings = Settings(hooks=str(tmp_path / "hooks.d"))
    return tmp_path / "log"


def install(log: Path, more: str = "", folder: str = "hooks.d/snapshot.d") -> None:
    program = log.parent / folder / "50-database"
    program.write_text(SCRIPT.format(log=log, more=more))
    program.chmod(0o755)


def told(log: Path) -> list[str]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [" ".join(line.split()[0:3:2]) for line in lines]


def newest(hosts: Hosts) -> str:
    found = find(hosts, "alpha", A)
    assert found is not None
    return found.snapshots[-1].name


def test_they_are_told_before_and_after_and_only_where_a_snapshot_is_made(hosts: Hosts, log: Path) -> None:
    install(log)
    good(hosts.run("alpha", SYNC_ALL))
    assert told(log) == []
    pairs.written(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    assert told(log) == [f"before-snapshot {A}", f"after-snapshot {A}"]


def test_one_that_says_no_means_no_snapshot_of_that_one(hosts: Hosts, log: Path) -> None:
    hosts["alpha"].sh("zfs create tank/x")
    good(hosts.run("alpha", pairs.initialising(Request("tank/x", "beta", "tank/x"))))
    install(log, f'[ "$1 $ZREP_FS" != "before-snapshot {A}" ]')
    before = newest(hosts)
    for name in (A, "tank/x"):
        pairs.written(hosts, name=name)
    ended = hosts.run("alpha", SYNC_ALL)
    assert ended.code == 1
    assert "a before-snapshot hook on alpha failed; no snapshot was made" in ended.text
    assert "zrep sync --crash-consistent tank/a" in ended.text
    assert newest(hosts) == before
    assert files(hosts, "beta", "tank/x") == files(hosts, "alpha", "tank/x")
    assert told(log).count(f"after-snapshot {A}") == 1


def test_unless_a_person_wants_one_all_the_same(hosts: Hosts, log: Path) -> None:
    install(log, "exit 1")
    pairs.written(hosts)
    good(hosts.run("alpha", SYNC_ALL, crash_consistent=True))
    assert files(hosts, "beta", B) == files(hosts, "alpha", A)


def test_what_makes_the_snapshot_fail_leaves_nobody_at_rest(hosts: Hosts, log: Path) -> None:
    install(log)
    pairs.written(hosts)
    hosts["alpha"].fail("zfs snapshot", times=9)
    assert hosts.run("alpha", SYNC_ALL).code == 1
    assert told(log) == [f"before-snapshot {A}", f"after-snapshot {A}"]


def test_programs_that_are_told_of_role_changes_hear_nothing_of_it(hosts: Hosts, log: Path) -> None:
    install(log, folder="hooks.d")
    pairs.written(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    assert told(log) == []


def test_of_a_pulled_pair_those_of_the_master_are_told(hosts: Hosts, log: Path) -> None:
    good(hosts.run("alpha", pairs.clearing(A)))
    hosts["beta"].sh(f"zfs destroy -r {B}")
    good(hosts.run("beta", pairs.PULL))
    install(log)
    pairs.written(hosts)
    good(hosts.run("beta", SYNC_ALL))
    assert told(log) == [f"before-snapshot {A}", f"after-snapshot {A}"]


# --- what is at rest always goes on ---


@pytest.mark.parametrize("mode", [Mode.FAIL, Mode.HANG, Mode.KILL_BEFORE, Mode.KILL_AFTER, Mode.POWER_HERE])
def test_whatever_becomes_of_the_snapshot_they_hear_of_its_end(hosts: Hosts, log: Path, mode: Mode) -> None:
    install(log)
    pairs.written(hosts)
    pairs.hit(hosts, "alpha", SYNC_ALL, mode, "zfs", "snapshot")  # the second of two runs
    assert told(log) == [f"before-snapshot {A}", f"after-snapshot {A}"] * 2


PROGRAM = """
import sys, time
from zrep.host.programs import Afterwards, bounded
waiting = Afterwards((sys.argv[1], "after-snapshot"), {"ZREP_FS": "x"}, 60)
bounded((sys.argv[1], "before-snapshot"), {"ZREP_FS": "x"}, 60)
print("at rest", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("signal", [9, 15])
def test_they_hear_of_its_end_even_when_zrep_itself_is_killed(hosts: Hosts, log: Path, signal: int) -> None:
    install(log)
    path = str(log.parent / "hooks.d/snapshot.d/50-database")
    with subprocess.Popen([sys.executable, "-c", PROGRAM, path], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"at rest\n"
        assert len(log.read_text().splitlines()) == 1
        os.kill(child.pid, signal)
        child.wait(10)
    for _ in range(600):
        if len(log.read_text().splitlines()) == 2:
            break
        time.sleep(0.05)
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["before-snapshot", "after-snapshot"]


def test_without_a_way_to_go_on_nothing_is_brought_to_rest(
    hosts: Hosts, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(log)
    pairs.written(hosts)

    def fail(*words: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(quiesce, "Afterwards", fail)
    ended = hosts.run("alpha", SYNC_ALL)
    assert (ended.code, "Resource temporarily unavailable" in ended.text, told(log)) == (1, True, [])


def test_two_runs_take_turns(hosts: Hosts, log: Path) -> None:
    """What one lets go on, the other may just have brought to rest."""
    local = hosts.local("alpha")
    script = f"import fcntl; fcntl.flock(open({local.directory!r} + '/snapshots'), 6)"
    words = [sys.executable, "-c", script]
    with quiesce.turn(local):
        assert subprocess.run(words, capture_output=True, check=False).returncode == 1
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_each_has_a_time_limit(hosts: Hosts, log: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    monkeypatch.setattr(hook_programs, "HOOK_SECONDS", 0.3)
    install(log, f"[ $1 != {when}-snapshot ] || sleep 60")
    pairs.written(hosts)
    ended = hosts.run("alpha", SYNC_ALL)
    assert ended.code == (1 if when == "before" else 0)
    assert "not done after 0 s, ended" in ended.text + "".join(hosts.said)
    assert told(log) == [f"before-snapshot {A}", f"after-snapshot {A}"]


def test_nothing_but_the_snapshot_is_between(hosts: Hosts, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts["alpha"].sh("zfs create tank/x")
    good(hosts.run("alpha", pairs.initialising(Request("tank/x", "beta", "tank/x"))))
    install(log)
    for name in (A, "tank/x"):
        pairs.written(hosts, name=name)
    plain = hosts.wire._do
    between: list[tuple[str, ...]] = []

    def do(command: Command) -> Completed:
        if len(told(log)) == 2:
            between.append(command.argv[:2])
        return plain(command)

    monkeypatch.setattr(hosts.wire, "_do", do)
    good(hosts.run("alpha", SYNC_ALL))
    assert between == [("zfs", "snapshot")]
    assert len(told(log)) == 4


@pytest.mark.parametrize(("host", "work"), [("alpha", pairs.failing_over(A)), ("beta", pairs.taking_over(B))])
def test_a_role_change_tells_none(
    hosts: Hosts, log: Path, host: str, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """before-demote has stopped what they bring to rest: one that finds it gone must not keep the role where it is."""
    install(log, "exit 1")
    monkeypatch.setattr(role_change, "_SMALL_DELTA", 0)  # it sends while the master still takes writes, first
    pairs.written(hosts)
    good(hosts.run(host, work))
    assert told(log) == []
