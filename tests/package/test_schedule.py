"""Who begins the run of a minute: cron or systemd's timer, never both, and no run waits for a long one."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
CONTRIB = ROOT / "contrib"
COMMAND = (CONTRIB / "cron/zrep").read_text().splitlines()[-1].split(" root ", 1)[1]


def ran(folder: Path, command: str, **programs: str) -> str:
    """What programs of these names, each a shell script, noted in the file `ran` when a command was run."""
    for name, text in programs.items():
        program = folder / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    subprocess.run(
        ["/bin/sh", "-c", command], env={"PATH": str(folder), "RAN": str(folder / "ran")}, timeout=30, check=False
    )
    note = folder / "ran"
    return note.read_text() if note.exists() else ""


ZREP = 'echo "zrep $*" >> "$RAN"'


@pytest.mark.parametrize(
    ("programs", "expected"),
    [
        ({"systemctl": "exit 0"}, ""),
        ({"systemctl": "exit 3"}, "zrep sync all\n"),
        ({}, "zrep sync all\n"),
    ],
    ids=["timer at work", "timer not enabled", "no systemd"],
)
def test_the_cron_line_leaves_the_run_to_a_timer_that_is_at_work(
    tmp_path: Path, programs: dict[str, str], expected: str
) -> None:
    assert ran(tmp_path, COMMAND, zrep=ZREP, **programs) == expected


@pytest.mark.parametrize(
    ("at_work", "failed", "expected"),
    [
        ((), (), "zrep-sync@1.service"),
        ((1,), (), "zrep-sync@2.service"),
        ((1, 2, 4), (), "zrep-sync@3.service"),
        (tuple(range(1, 9)), (), ""),
        ((), (1,), "zrep-sync@1.service"),
        ((), (2, 3), "zrep-sync@2.service"),
        ((1, 2), (5,), "zrep-sync@5.service"),
    ],
    ids=str,
)
def test_a_run_is_begun_beside_those_at_work(
    tmp_path: Path, at_work: tuple[int, ...], failed: tuple[int, ...], expected: str
) -> None:
    """One whose last run failed before others: it would be shown as failed until as many are at work again."""
    begun = dict.fromkeys(at_work, "active") | dict.fromkeys(at_work[:1], "activating")
    state = {n: begun.get(n, "failed" if n in failed else "inactive") for n in range(1, 9)}
    shown = "".join(f'case "$word" in *@{n}.service) echo {state[n]}; echo ;; esac; ' for n in state)
    systemctl = f'case "$*" in *start*) echo "$*" >> "$RAN" ;; *) for word; do {shown} done ;; esac'
    began = ran(tmp_path, str(CONTRIB / "systemd/begin-run"), systemctl=systemctl)
    assert began == (f"--no-block start {expected}\n" if expected else "")


def test_a_long_stream_is_no_start_that_goes_on() -> None:
    """The start of a oneshot unit lasts as long as its program: the machine would be called starting all that time."""
    assert "\nType=exec\n" in (CONTRIB / "systemd/zrep-sync@.service").read_text()


@pytest.mark.parametrize("name", ["zrep-sync@", "zrep-status", "zrep-boot", "zrep-boot-ask"])
def test_the_run_has_no_mounts_of_its_own(name: str) -> None:
    """What gives a unit a mount namespace would hide a new master's mount from everybody else, and show others' as
    read-only."""
    unit = (CONTRIB / f"systemd/{name}.service").read_text()
    names = {line.partition("=")[0] for line in unit.splitlines() if "=" in line and not line.startswith("#")}
    assert not [name for name in names if name.startswith(("Private", "Protect", "ReadOnly", "Bind", "Inaccessible"))]
    assert not names & {"MountFlags", "PrivateMounts", "TemporaryFileSystem", "RootDirectory", "DynamicUser"}


def test_systemd_knows_every_word_of_the_units(tmp_path: Path) -> None:
    """Where systemd is; the package's own test looks at the units as they are installed."""
    analyze = shutil.which("systemd-analyze")
    for path in (CONTRIB / "systemd").glob("zrep-*"):
        text = re.sub(r"^(ExecStart=)\S+", r"\1/bin/true", path.read_text(), flags=re.MULTILINE)
        (tmp_path / path.name.replace("@.", "@1.")).write_text(text)
        assert text.startswith("# ")
    units = sorted(str(path) for path in tmp_path.glob("zrep-*"))
    assert len(units) == 7
    if analyze:
        words = [analyze, "verify", "--man=no", *units]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert [line for line in done.stderr.splitlines() if "zrep" in line] == []


def test_what_packages_carry_is_what_pip_would_take() -> None:
    lines = (CONTRIB / "vendor.txt").read_text().splitlines()
    carried = dict(line.split()[0].split("==") for line in lines if not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(line) for line in project["dependencies"] if not line.startswith("rich")]
    assert {need.name: need.specifier.contains(carried[need.name]) for need in wanted} == dict.fromkeys(
        (need.name for need in wanted), True
    )


def test_packages_are_made_without_what_tests_need(tmp_path: Path) -> None:
    told = subprocess.run(
        ["make", "-n", "deb", "rpm", "zipapp", "PYTHON=python3", f"PACKING={tmp_path}", f"VENV={tmp_path}"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    assert "tests/lab/tools python3\n" in told
    assert "[dev]" not in told
