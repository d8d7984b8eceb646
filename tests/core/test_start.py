"""What a command loads before its first external command: cron starts zrep every minute, on small machines too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zrep.core.names import DEFAULT_TAG, memory_key
from zrep.core.settings import Settings
from zrep.host import notes
from zrep.host.locks import Locks

# No zfs is found, so that a run ends where it would start its first command.
PROGRAM = """
import atexit, sys
atexit.register(lambda: print("\\n".join(sys.modules), file=open(sys.argv[1], "w")))
from zrep.cli.main import run
sys.exit(run(sys.argv[2:]))
"""
HEAVY = {"typer", "rich", "ctypes", "hypothesis", "pydantic", "asyncio", "unittest", "email", "http"}
# Of the standard library: what would add most to what cron's command and the helper load. msgspec loads inspect.
SLOW = {"dataclasses", "logging", "concurrent.futures", "socket", "secrets"}
OPS = {
    "init",
    "sync",
    "advance",
    "role_change",
    "failover",
    "takeover",
    "takeover_alone",
    "rejoin",
    "expire",
    "pause",
    "changeconfig",
    "clear",
    "list",
    "status",
    "rehearse",
    "preflight",
    "hooks",
}


def loaded(tmp_path: Path, *arguments: str, **environment: str) -> set[str]:
    found = tmp_path / "modules"
    env = {**os.environ, "PATH": str(tmp_path), "ZREP_RUNDIR": str(tmp_path), "ZREP_LIBRARY": "", **environment}
    env.pop("ZREPTAG", None)
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(found), *arguments],
        env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    return set(found.read_text().split("\n"))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "heavy", "operations"),
    [
        (("version",), set(), set()),
        (("peer",), set(), set()),
        (("sync", "all"), set(), {"sync", "advance", "hooks"}),
        (("-S", "all"), set(), {"sync", "advance", "hooks"}),
        (("sync", "tank/a"), set(), {"sync", "advance", "hooks"}),
        (("sync", "tank/a", "tank/b"), set(), {"sync", "advance", "hooks"}),
        (("refresh", "all"), set(), {"sync", "advance", "hooks"}),
        (("-t", "offsite", "sync", "all"), set(), {"sync", "advance", "hooks"}),
        (("-t", "offsite", "-S", "all"), set(), {"sync", "advance", "hooks"}),
        (("-t", "offsite", "refresh", "tank/a"), set(), {"sync", "advance", "hooks"}),
        (("sync", "-v", "tank/a"), {"typer"}, {"sync", "advance", "hooks"}),
        (("list", "-H"), {"typer"}, set()),
        (("status",), {"typer"}, {"status"}),
        (("expire", "all"), {"typer"}, {"expire"}),
        (("failover", "tank/a"), {"typer"}, {"failover", "role_change", "advance", "preflight", "hooks"}),
    ],
    ids=lambda value: " ".join(sorted(value) if isinstance(value, set) else value),
)
def test_nothing_is_loaded_that_is_not_used(
    tmp_path: Path, arguments: tuple[str, ...], heavy: set[str], operations: set[str]
) -> None:
    modules = loaded(tmp_path, *arguments)
    assert {name for name in HEAVY if name in modules} == heavy
    assert {name for name in OPS if f"zrep.ops.{name}" in modules} == operations


@pytest.mark.parametrize("arguments", [("peer",), ("sync", "all")], ids=" ".join)
def test_what_starts_every_minute_loads_nothing_slow(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert not SLOW & loaded(tmp_path, *arguments)


def test_settings_of_sync_need_no_parser(tmp_path: Path) -> None:
    assert "typer" not in loaded(tmp_path, "sync", "all", ZREP_JOBS="2", ZREPTAG="other")


@pytest.mark.parametrize(
    ("arguments", "dials"),
    [
        (("sync", "all"), ["beta"]),
        (("-S", "all"), ["beta"]),
        (("sync", "-q", "60", "all"), ["beta"]),
        (("refresh", "all"), ["gamma"]),
        (("-t", "other", "sync", "all"), []),
        (("sync", "-n", "all"), []),
        (("sync", "tank/a"), []),
        (("status",), []),
        (("list", "-H"), []),
    ],
    ids=str,
)
def test_only_what_asks_all_peers_dials_before_its_first_command(
    tmp_path: Path, arguments: tuple[str, ...], dials: list[str]
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; echo "$2" >> {tmp_path}/dialled\n')
    ssh.chmod(0o755)
    zfs = tmp_path / "zfs"
    until = f"[ -e {tmp_path}/dialled ]" if dials else "true"
    zfs.write_text(f"#!/bin/sh\nn=0; until {until} || [ $n = 300 ]; do /bin/sleep 0.1; n=$((n + 1)); done; exit 1\n")
    zfs.chmod(0o755)
    directory = Locks(settings=Settings(run_directory=str(tmp_path))).directory
    for command, host in (("sync", "beta"), ("refresh", "gamma")):
        notes.write(directory, memory_key(DEFAULT_TAG, f":dialled by {command}"), {"hosts": [host]})
    loaded(tmp_path, *arguments)
    found = tmp_path / "dialled"
    assert (found.read_text().split() if found.exists() else []) == dials


def test_a_version_is_printed_without_any_library(tmp_path: Path) -> None:
    assert not {"msgspec", "typer", "rich"} & loaded(tmp_path, "version")
