"""An increment with mbuffer at both ends and without, on a fast wire and on a slow one."""

from __future__ import annotations

from tests.bench.figures import Line, Row
from tests.bench.place import QUICK, job, rounds, runs, series, time_all
from tests.lab.hosts import CommandError, Lab
from tests.lab.progress import say

ROUNDS = runs(5)
FILTER = "mbuffer -q -m 64M"
DELAY, RATE = "50ms", "20mbit"
FAST, SLOW = (16, 2) if QUICK else (64, 6)  # MiB
WITH = f"ZREP_OUTFILTER='{FILTER}' ZREP_INFILTER='{FILTER}' "
PAIRS = {"with": WITH, "without": "", "without again": ""}


def run(lab: Lab) -> list[Row]:
    """Times on alpha, of filesystems that differ in their filters alone."""
    for host in lab:
        host.run(f"mkdir -p /etc/zrep && echo '{FILTER}' > /etc/zrep/filters")
    for name, filters in PAIRS.items():
        lab.alpha.run(f"zfs create {_of(name)} && head -c 100000 /dev/urandom > /{_of(name)}/data")
        lab.alpha.run(f"{filters}zrep init {_of(name)} beta {_of(name)} --savecount 2", timeout=120)
    try:
        lines = _lines(lab, "fast wire", FAST)
        lab.slow(lab.alpha, delay=DELAY, rate=RATE)
        lines += _lines(lab, f"{RATE}, {DELAY}", SLOW)
    finally:
        lab.heal()
        for host in lab:
            host.run("rm -f /etc/zrep/filters")
    how = (
        f"`zrep sync` of one increment of random data, of {FAST} MiB on the lab's own wire and of {SLOW} MiB at {RATE} "
        f"with {DELAY} to and fro: of a pair with `{FILTER}` as its filter at both ends, and of one without; {ROUNDS} "
        "interleaved rounds. The noise is what a second pair without differs by from the first in the same rounds."
    )
    return [Row("mbuffer", "mbuffer at both ends", how, tuple(lines))]


def _lines(lab: Lab, wire: str, size: int) -> list[Line]:
    """The ratios over one wire, of increments of so many MiB; what was sent has arrived."""
    say(f"  {wire}")
    jobs = [
        job(
            name,
            f"zrep sync {_of(name)}",
            before=f"head -c {size}M /dev/urandom > /{_of(name)}/data && zpool sync && ssh beta zpool sync",
        )
        for name in PAIRS
    ]
    time_all(lab.alpha, jobs, quiet=True)  # the first round is not counted
    timed = time_all(lab.alpha, rounds(jobs, ROUNDS))
    for name in PAIRS:
        newest = f"zfs list -H -o name,guid -t snapshot -d 1 -s createtxg {_of(name)} | tail -n 1"
        if lab.alpha.run(newest).out != lab.beta.run(newest).out:
            raise CommandError(f"what was sent of {_of(name)} has not arrived")
    used, plain, again = (series(timed, name) for name in PAIRS)
    return [
        Line(f"{wire}, {size} MiB: with mbuffer against without", used, plain),
        Line(f"{wire}, {size} MiB: the noise: without against without", again, plain),
    ]


def _of(name: str) -> str:
    return f"tank/{name.replace(' ', '-')}"
