"""Programs of the administrator's around a snapshot: what they are told, and what one that fails stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts
from tests.ops.judge import files, find
from tests.ops.pairs import SYNC_ALL, A, B, good
from tests.ops.test_hooks import SCRIPT
from zrep.core.settings import Settings
from zrep.ops.init_check import Request


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
