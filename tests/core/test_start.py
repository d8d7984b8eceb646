"""What a command loads before its first external command: cron starts zrep every minute, on small machines too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# No zfs is found, so that a run ends where it would start its first command.
PROGRAM = """
import atexit, sys
atexit.register(lambda: print("\\n".join(sys.modules), file=open(sys.argv[1], "w")))
from zrep.cli.main import run
sys.exit(run(sys.argv[2:]))
"""
HEAVY = {"typer", "rich", "ctypes", "hypothesis", "pydantic", "asyncio", "unittest", "email", "http"}
# Of the standard library: what would add most to what cron's command and the helper load. (msgspec loads inspect.)
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
    "view",
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


@pytest.mark.parametrize(
    ("arguments", "heavy", "operations"),
    [
        (("version",), set(), set()),
        (("peer",), set(), set()),
        (("sync", "all"), set(), {"sync", "advance", "hooks"}),
        (("-S", "all"), set(), {"sync", "advance", "hooks"}),
        (("sync", "tank/a"), set(), {"sync", "advance", "hooks"}),
        (("sync", "tank/a", "tank/b"), set(), {"sync", "advance", "hooks"}),
        (("sync", "-v", "tank/a"), {"typer"}, {"sync", "advance", "hooks"}),
        (("list", "-H"), {"typer"}, {"view"}),
        (("status",), {"typer"}, {"view"}),
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


def test_what_the_parser_reads_from_the_environment_is_read_for_sync_all(tmp_path: Path) -> None:
    assert "typer" in loaded(tmp_path, "sync", "all", ZREP_JOBS="2")
