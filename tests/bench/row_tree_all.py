"""A tree of a hundred of which all changed: what of zrep's time is that each member has a receive of its own."""

from __future__ import annotations

from tests.bench.figures import Line, Row
from tests.bench.place import HERE, Job, in_turn, job, runs, series, time_all
from tests.bench.row_tree import MEMBERS, change, make, send_first
from tests.lab.hosts import Lab
from tests.lab.progress import say

ROUNDS = runs(5)
ZREP, EACH, PACKAGE = "zrep sync all", "a receive for each, in one session", "zfs send -R -i"
TOPS = {ZREP: "zrep", EACH: "session", PACKAGE: "bare"}


def run(lab: Lab) -> list[Row]:
    """Times on alpha of zrep and of what is cheapest by hand, with and without a receive for each member."""
    alpha = lab.alpha
    say(f"  a tree of {MEMBERS} for each, and the first full streams")
    for top in TOPS.values():
        make(alpha, top)
    alpha.run("zrep init -r tank/zrep beta tank/zrep", timeout=900)
    for top in (TOPS[EACH], TOPS[PACKAGE]):
        send_first(alpha, top)
    timed = time_all(alpha, _jobs())
    zrep, each, package = (series(timed, name) for name in TOPS)
    lines = (
        Line(f"{ZREP} against {EACH}", zrep, each),
        Line(f"{EACH} against {PACKAGE}", each, package),
        Line(f"{ZREP} against {PACKAGE}", zrep, package, 1.5),
    )
    how = (
        f"A filesystem with {MEMBERS} below it, 100 kB of random data changed in each of these; {ROUNDS} interleaved "
        f"rounds. {PACKAGE}: `zfs snapshot -r`, then one stream and one `zfs receive` for all, which can not be "
        f"resumed nor heal one by one. {EACH.capitalize()}: what is cheapest by hand if they shall, with no lock, hold "
        "or mark, and no look at what arrived."
    )
    return [Row("tree_all", f"All of a tree of {MEMBERS}", how, lines)]


def _jobs() -> list[Job]:
    """Rounds of each, every one beginning with another."""
    found: list[Job] = []
    for number in range(ROUNDS):
        words = {
            ZREP: ZREP,
            EACH: f"{HERE}/bare_session s{number} s{number + 1} {MEMBERS}",
            PACKAGE: f"{HERE}/bare_tree s{number} s{number + 1}",
        }
        turn = [job(name, words[name], before=change(top, MEMBERS)) for name, top in TOPS.items()]
        found += in_turn(turn, number)
    return found
