"""Nothing changed on N filesystems: what the run costs that cron starts every minute."""

from __future__ import annotations

from tests.bench.figures import Line, Row, Series
from tests.bench.place import count, counting, job, make_pairs, rounds, runs, series, time_all
from tests.lab.hosts import Lab
from tests.lab.progress import say
from zrep.zfs import commands

SIZES = (1, 10, 100, 1000)
SNAPSHOTS = 20
KEPT = "SSH='ssh -o ControlPath=/run/kept-%C -o ControlPersist=60'"
RUNS = {1: 7, 10: 7, 100: 7, 1000: 5}


def run(lab: Lab) -> list[Row]:
    """Counts and times on alpha, with more and more pairs."""
    names: list[str] = []
    lines: list[Line] = []
    for size in SIZES:
        say(f"  {size} filesystems, {SNAPSHOTS} snapshots each on both sides")
        names += make_pairs(lab, f"to{size}", size - len(names), SNAPSHOTS)
        lab.alpha.run("zrep sync all", timeout=900)
        lines += measure(lab, names)
    how = (
        f"`zrep sync all` with nothing written since the last run, one peer, {SNAPSHOTS} snapshots of each filesystem "
        "on both sides. The floor is what cannot be done without: `zfs get` of the same properties and `zfs list` of "
        "the snapshots here, and the same there in one ssh call, at the same time. Commands were counted in a run that "
        "was not timed."
    )
    return [Row("unchanged", "Nothing changed", how, tuple(lines))]


def measure(lab: Lab, names: list[str]) -> list[Line]:
    """What one run costs when nothing changed in these filesystems, each in a pair or in a tree that is one."""
    size, alpha = len(names), lab.alpha
    with counting(lab):
        cost = count(lab, alpha, "zrep sync all")
        alpha.run(f"{KEPT} zrep sync all")
        warm = count(lab, alpha, f"{KEPT} zrep sync all")
        alpha.run("ssh -O exit -o ControlPath=/run/kept-%C beta")
    say(f"    here: {'; '.join(' '.join(line.split()[:3]) for line in cost.lines['alpha'])}")
    for host in lab:
        get = commands.get_properties(commands.member_properties("zrep"), names)
        snapshots = commands.list_snapshots(commands.snapshot_marks("zrep"), names)
        script = f"#!/bin/sh\n{' '.join(get)} > /dev/null && {' '.join(snapshots)} > /dev/null\n"
        host.put(script.encode(), "/run/floor", mode="755")
    alpha.put(b"#!/bin/sh\nssh beta /run/floor &\n/run/floor && wait $!\n", "/run/floor-both", mode="755")
    jobs = [job("floor", "/run/floor-both"), job("zrep sync all", "zrep sync all")]
    timed = time_all(alpha, rounds(jobs, runs(RUNS.get(size, 7))))
    zrep, floor = series(timed, "zrep sync all"), series(timed, "floor")

    def counted(what: str, value: int, bar: float | None = None) -> Line:
        return Line(f"N={size}: {what}", Series(what, "", (float(value),)), None, bar)

    return [
        Line(f"N={size}: seconds against the floor", zrep, floor, 2.0 if size == max(SIZES) else None),
        counted("zfs and zpool commands here", cost.zfs("alpha"), 4),
        counted("zfs and zpool commands there", cost.zfs("beta"), 3),
        counted("connections", cost.connections, 1),
        counted("new connections where one is kept", warm.connections, 0),
        counted("transaction groups here", cost.groups["alpha"], 1),
        counted("transaction groups there", cost.groups["beta"], 1),
    ]
