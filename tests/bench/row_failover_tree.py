"""Failover of a tree of 1, 10 and 100: how long the application can write nowhere, zrep against the bare commands."""

from __future__ import annotations

from tests.bench.figures import Line, Row, Series
from tests.bench.place import HERE, QUICK, runs
from tests.bench.row_failover import SOCKET, gap
from tests.lab.hosts import Lab
from tests.lab.progress import say

MEMBERS = (1, 10) if QUICK else (1, 10, 100)
ROUNDS = runs(4)


def run(lab: Lab) -> list[Row]:
    """Each tree back and forth, in turn with one that the bare commands move, under writers on both hosts."""
    for host, other in ((lab.alpha, "beta"), (lab.beta, "alpha")):
        host.run(f"ssh -fNM -S {SOCKET} {other} < /dev/null > /dev/null 2>&1")
    lines = tuple(_line(lab, members) for members in MEMBERS)
    how = (
        "As for one filesystem, the writer in the root of a tree of so many members. The bare commands send one "
        f"package for all, which can not be resumed nor heal one by one. {ROUNDS} moves of each, back and forth, in "
        "turn; no acknowledged write was lost."
    )
    return [Row("failover_tree", "Planned failover of a tree", how, lines)]


def _line(lab: Lab, members: int) -> Line:
    alpha, beta = lab.alpha, lab.beta
    zrep, bare = f"zrep{members}", f"bare{members}"
    say(f"  trees of {members}, and their first streams")
    for top in (zrep, bare):
        below = f"for n in $(seq {members - 1}); do zfs create tank/{top}/$n || exit 1; done"
        alpha.run(f"zfs create -o atime=off tank/{top} && touch /tank/{top}/writes.log && {below}", timeout=300)
    alpha.run(f"zrep init -r tank/{zrep} beta tank/{zrep}", timeout=900)
    first = f"zfs snapshot -r tank/{bare}@f0 && zfs send -R tank/{bare}@f0"
    alpha.run(f"{first} | ssh beta zfs receive -u -o readonly=on tank/{bare}", timeout=300)
    gaps: dict[str, list[float]] = {zrep: [], bare: []}
    for number in range(ROUNDS):
        old, new = (alpha, beta) if number % 2 == 0 else (beta, alpha)
        works = {
            zrep: f"zrep failover tank/{zrep}",
            bare: f"{HERE}/bare_failover_tree {bare} {number} {new.name} {SOCKET}",
        }
        for top in sorted(works, reverse=number % 2 == 0):
            gaps[top].append(gap(old, new, top, works[top]))
            say(f"    {top}, {old.name} to {new.name}: {gaps[top][-1]:.3f} s")
    found = [Series(top, "s", tuple(values)) for top, values in gaps.items()]
    return Line(f"{members}: seconds without a writable side", found[0], found[1], 1.5)
