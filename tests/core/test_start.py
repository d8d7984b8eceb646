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
from zrep.cli import run
sys.exit(run(sys.argv[2:]))
"""
HEAVY = {"typer", "rich", "filelock", "ctypes", "hypothesis", "pydantic", "asyncio", "unittest", "email", "http"}
OPS = {"init", "sync", "role", "forced", "rejoin", "manage", "view", "rehearse", "foresee", "hooks"}


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
        (("peer",), {"filelock"}, set()),
        (("sync", "all"), {"filelock"}, {"sync", "hooks"}),
        (("-S", "all"), {"filelock"}, {"sync", "hooks"}),
        (("sync", "tank/a"), {"typer", "filelock"}, {"sync", "hooks"}),
        (("list", "-H"), {"typer", "filelock"}, {"view"}),
        (("status",), {"typer", "filelock"}, {"view"}),
        (("expire", "all"), {"typer", "filelock"}, {"manage"}),
        (("failover", "tank/a"), {"typer", "filelock"}, {"role", "sync", "foresee", "hooks"}),
    ],
    ids=lambda value: " ".join(sorted(value) if isinstance(value, set) else value),
)
def test_nothing_is_loaded_that_is_not_used(
    tmp_path: Path, arguments: tuple[str, ...], heavy: set[str], operations: set[str]
) -> None:
    modules = loaded(tmp_path, *arguments)
    assert {name for name in HEAVY if name in modules} == heavy
    assert {name for name in OPS if f"zrep.ops.{name}" in modules} == operations


def test_what_the_parser_reads_from_the_environment_is_read_for_sync_all(tmp_path: Path) -> None:
    assert "typer" in loaded(tmp_path, "sync", "all", ZREP_JOBS="2")
