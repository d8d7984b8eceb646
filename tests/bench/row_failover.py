"""Failover: how long the application can write nowhere, zrep against the bare commands over a warm connection."""

from __future__ import annotations

import time

from tests.bench.figures import Line, Row, Series
from tests.bench.place import HERE, runs
from tests.lab.demo import Writer
from tests.lab.hosts import CommandError, Host, Lab
from tests.lab.progress import say

ROUNDS = runs(6)
SOCKET = "/run/bench-warm"


def run(lab: Lab) -> list[Row]:
    """Moves both filesystems back and forth, in turn, each under writers on both hosts that never stop trying."""
    alpha, beta = lab.alpha, lab.beta
    for top in ("zrep", "bare"):
        alpha.run(f"zfs create -o atime=off tank/{top} && touch /tank/{top}/writes.log")
    alpha.run("zrep init tank/zrep beta tank/zrep", timeout=120)
    alpha.run("zfs snapshot tank/bare@f0 && zfs send tank/bare@f0 | ssh beta zfs receive -u -o readonly=on tank/bare")
    for host, other in ((alpha, "beta"), (beta, "alpha")):
        host.run(f"ssh -fNM -S {SOCKET} {other} < /dev/null > /dev/null 2>&1")
    gaps: dict[str, list[float]] = {"zrep": [], "bare": []}
    for number in range(ROUNDS):
        old, new = (alpha, beta) if number % 2 == 0 else (beta, alpha)
        works = {
            "zrep": "zrep failover tank/zrep",
            "bare": f"{HERE}/bare_failover {number} {new.name} {SOCKET}",
        }
        for top in sorted(works, reverse=number % 2 == 0):
            gaps[top].append(gap(old, new, top, works[top]))
            say(f"    {top}, {old.name} to {new.name}: {gaps[top][-1]:.3f} s")
    measured = {top: Series(top, "s", tuple(values)) for top, values in gaps.items()}
    how = (
        "A writer on each host tries every 20 ms to append a line and fsync it; the gap is from the last write that "
        "the old master acknowledged to the first of the new one. Against a shell script over a connection that is up: "
        "remount read-only, readonly=on, snapshot, send | receive, the role's properties, readonly=off and mount "
        f"there. {ROUNDS} moves of each, back and forth, in turn; no acknowledged write was lost."
    )
    line = Line("seconds without a writable side", measured["zrep"], measured["bare"], 1.5)
    return [Row("failover", "Planned failover", how, (line,))]


def gap(old: Host, new: Host, top: str, command: str) -> float:
    """Seconds between the last write on the old master and the first on the new; nothing acknowledged is missing."""
    here, there = Writer(old, top, f"/tank/{top}"), Writer(new, top, f"/tank/{top}")
    try:
        here.wait_for(20)
        old.run(command, timeout=300)
        there.wait_for(20)
    finally:
        before, after = here.stop(), there.stop()
    time.sleep(0.2)
    lines = set(new.run(f"cat /tank/{top}/writes.log").lines)
    if lost := [ack.line for ack in (*before, *after) if ack.line not in lines]:
        raise CommandError(f"{command}: {len(lost)} acknowledged writes are missing")
    return after[0].at - before[-1].at
