"""Many at once: eight changed filesystems over a slow link, one stream after the other and four at a time."""

from __future__ import annotations

from tests.bench.figures import Line, Row
from tests.bench.place import job, make_pairs, rounds, runs, series, time_all
from tests.lab.hosts import Lab

COUNT, DELAY, RUNS = 8, "20ms", runs(5)


def run(lab: Lab) -> list[Row]:
    """Times on alpha."""
    names = make_pairs(lab, "many", COUNT, 3)
    lab.alpha.run("zrep sync all", timeout=300)
    for host in lab:
        lab.slow(host, delay=DELAY)
    change = " && ".join(f"head -c 100000 /dev/urandom > /{name}/data" for name in names) + " && zpool sync"
    jobs = [job(f"-j {j}", f"zrep sync all -j {j}", before=change) for j in (1, 4)]
    jobs.append(job("nothing changed", "zrep sync all", before="zrep sync all"))
    try:
        timed = time_all(lab.alpha, rounds(jobs, RUNS))
    finally:
        lab.heal()
    one, four, idle = (series(timed, name) for name in ("-j 1", "-j 4", "nothing changed"))
    how = (
        f"`zrep sync all` with {COUNT} changed filesystems (100 kB each) and {DELAY} of delay on the wire each way; "
        f"{RUNS} interleaved runs. What a run costs in which nothing changed (dialling, reading) no number of streams "
        "makes shorter; the second line is without it. What is left of four at once is the one processor of each host."
    )
    lines = (
        Line("-j 4 against -j 1", four, one, 0.6),
        Line("the same beyond a run in which nothing changed", four.beyond(idle), one.beyond(idle)),
    )
    return [Row("many", "Many at once", how, lines)]
