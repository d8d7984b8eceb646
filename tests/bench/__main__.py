"""`python -m tests.bench [ROW…]`: run rows in the lab, print each, keep record, table and plot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.bench import report
from tests.bench.figures import Row, row_from
from tests.bench.place import QUICK, prepare
from tests.lab.hosts import CommandError, Lab
from tests.lab.progress import LabError, say

ROWS = (
    "start",
    "small",
    "unchanged",
    "unchanged_tree",
    "changed",
    "tree",
    "tree_all",
    "pull",
    "relay",
    "mbuffer",
    "large",
    "failover",
    "failover_tree",
    "many",
    "generated",
)
MEMORY = "3072M"
"""Of each host: 1,000 mounted filesystems take most of a gigabyte of their kernel."""
RESULTS = Path(__file__).with_name("results")


def main(argv: Sequence[str]) -> int:
    """Run the rows named, all when none is; the exit status. A row that breaks does not end the others."""
    names = list(argv) or list(ROWS)
    if unknown := [name for name in names if name not in ROWS]:
        print(f"bench: {unknown[0]}: no such row; there are {' '.join(ROWS)}", file=sys.stderr)
        return 2
    failed: list[str] = []
    started = time.monotonic()
    try:
        lab = Lab.start(memory=MEMORY)
        try:
            about = _about(lab)
            for name in names:
                failed += _run(lab, name, about)
        finally:
            lab.down()
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbench: interrupted; the hosts are gone, what was finished is kept", file=sys.stderr)
        return 130
    print(f"\n{time.monotonic() - started:.0f} s in all; table, record and plot are in {os.path.relpath(RESULTS)}")
    for line in failed:
        print(f"bench: {line}", file=sys.stderr)
    return 1 if failed else 0


def _run(lab: Lab, name: str, about: dict[str, str]) -> list[str]:
    """One row, printed and kept; what went wrong."""
    say(f"row {name}")
    begun = time.monotonic()
    try:
        prepare(lab)
        run: Callable[[Lab], list[Row]] = import_module(f"tests.bench.row_{name}").run
        found = run(lab)
    except (CommandError, LabError, ValueError) as error:
        say(f"row {name} broke: {error}")
        return [f"row {name} broke: {error}"]
    for row in found:
        print(f"\n{row.title}", flush=True)
        for line in row.lines:
            print(f"  {report.told(line)}", flush=True)
    say(f"row {name}: {time.monotonic() - begun:.0f} s")
    keep(name, found, about)
    return []


def keep(name: str, rows: Sequence[Row], about: dict[str, str], results: Path = RESULTS) -> None:
    """Put one row's figures in the place of its last ones, and write table and plot anew from all that are kept."""
    results.mkdir(parents=True, exist_ok=True)
    file = results / "record.json"
    record: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    record[name] = {"about": about, "rows": [row.as_record() for row in rows]}
    record = {name: record[name] for name in ROWS if name in record}
    file.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    kept = [row_from(each) for part in record.values() for each in part["rows"]]
    (results / "table.md").write_text(report.table(kept, report.about([part["about"] for part in record.values()])))
    (results / "plot.svg").write_text(report.plot(kept))


def _about(lab: Lab) -> dict[str, str]:
    """What the figures were measured on."""
    commit = subprocess.run(
        ["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "zrep": commit.stdout.strip() or "unknown",
        "OpenZFS": lab.image.zfs_version,
        "kernel": f"{lab.image.kernel_release}, User-Mode Linux, one CPU and {MEMORY} for each host",
        "machine": f"{len(os.sched_getaffinity(0))} CPUs,{model.partition(':')[2]}",
        "load": f"{os.getloadavg()[0]:.1f} processes wanted to run when it began",
        **({"quick": "two rounds only, small streams: not to be quoted"} if QUICK else {}),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
