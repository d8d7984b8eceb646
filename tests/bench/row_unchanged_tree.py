"""Nothing changed in a tree of a thousand: what the run costs that cron starts every minute."""

from __future__ import annotations

from tests.bench import row_unchanged
from tests.bench.figures import Row
from tests.bench.place import QUICK
from tests.lab.hosts import Lab
from tests.lab.progress import say

MEMBERS = 20 if QUICK else row_unchanged.SIZES[-1]
TOP = "tank/tree"


def run(lab: Lab) -> list[Row]:
    """Counts and times on alpha, after one init of the whole tree."""
    alpha = lab.alpha
    say(f"  a tree of {MEMBERS}, and its first streams")
    for start in range(1, MEMBERS, 100):
        below = f"{{{start}..{min(start + 99, MEMBERS - 1)}}}"
        alpha.run(f"zfs create -p {TOP}; for n in {below}; do zfs create {TOP}/$n || exit 1; done", timeout=600)
    alpha.run(f"zrep init -r {TOP} beta {TOP}", timeout=3600)
    alpha.run("zrep sync all", timeout=900)
    members = alpha.run(f"zfs list -H -o name -r {TOP}").lines
    how = (
        "`zrep sync all` with nothing written since the last run to a tree of one root and all others right below it, "
        "made by one `zrep init -r`. The floor is that of as many pairs: `zfs get` of the same properties and "
        "`zfs list` of the snapshots of every member, on both sides at the same time."
    )
    return [Row("unchanged_tree", "Nothing changed in a tree", how, tuple(row_unchanged.measure(lab, members)))]
