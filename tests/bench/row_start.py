"""Start: how long before zrep does anything, as a multiple of the same Python doing nothing."""

from __future__ import annotations

from tests.bench.figures import Line, Row
from tests.bench.place import HERE, PYTHON, job, rounds, runs, series, time_all
from tests.lab.hosts import Lab

RUNS = runs(12)
BARS = {
    "zrep --version": 6.0,
    "zrep sync all, until its first command": 9.0,
    "zrep sync FS, until its first command": 9.0,
    "zrep list": 13.0,
}


def run(lab: Lab) -> list[Row]:
    """Times on alpha, with one pair."""
    alpha = lab.alpha
    alpha.run("zfs create tank/a && zrep init tank/a beta tank/a", timeout=120)
    jobs = [
        job("python3 -c pass", f"{PYTHON} -c pass"),
        job("zrep --version", "zrep --version"),
        job("zrep sync all, until its first command", f"{PYTHON} {HERE}/until_first.py sync all"),
        job("zrep sync FS, until its first command", f"{PYTHON} {HERE}/until_first.py sync tank/a"),
        job("zrep list", "zrep list"),
    ]
    time_all(alpha, jobs, quiet=True)  # what is read from disk for the first time is not what cron sees each minute
    timed = time_all(alpha, rounds(jobs, RUNS), quiet=True)
    bare = series(timed, "python3 -c pass")
    lines = tuple(Line(what, series(timed, what), bare, bar) for what, bar in BARS.items())
    how = f"One pair; wall time in a guest, against `python3 -c pass` of the same venv; {RUNS} interleaved runs, warm."
    return [Row("start", "Start", how, lines)]
