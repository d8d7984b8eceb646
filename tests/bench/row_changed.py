"""M of N filesystems changed: commands and transaction groups for each of them, against what its stream alone costs."""

from __future__ import annotations

from tests.bench.figures import Line, Row, Series
from tests.bench.place import Cost, count, counting, make_pairs
from tests.lab.hosts import Lab
from tests.lab.progress import say

SIZE, CHANGED, SNAPSHOTS = 100, (4, 20), 5
WAIT_BAR = 2
"""Transaction groups that zrep may wait for on each side for a filesystem, beyond those of its stream."""


def run(lab: Lab) -> list[Row]:
    """Counts on alpha and beta."""
    alpha = lab.alpha
    say(f"  {SIZE} filesystems")
    names = make_pairs(lab, "changed", SIZE, SNAPSHOTS)
    alpha.run("zrep sync all", timeout=600)
    alpha.run("zfs create tank/bare && for n in {1..4}; do zfs create tank/bare/$n || exit 1; done")
    alpha.run("zfs snapshot -r tank/bare@s0 && zfs send -R tank/bare@s0 | ssh beta zfs receive -u tank/bare")
    lines: list[Line] = []
    with counting(lab):
        alpha.run("for n in {1..4}; do head -c 100000 /dev/urandom > /tank/bare/$n/data; done")
        alpha.run("zfs snapshot tank/bare/{1..4}@s1")
        bare = count(
            lab,
            alpha,
            'for n in 1 2 3 4; do zfs send -i @s0 tank/bare/$n@s1 | ssh beta zfs receive -u "tank/bare/$n"; done',
        )
        own = {host.name: bare.groups[host.name] / 4 for host in lab}
        say(f"    a stream by itself: {own}")
        idle = count(lab, alpha, "zrep sync all")
        for changed in CHANGED:
            say(f"  {changed} of {SIZE} changed")
            files = " ".join(f"/{name}/data" for name in names[:changed])
            alpha.run(f"for f in {files}; do head -c 100000 /dev/urandom > $f || exit 1; done")
            lines += _lines(changed, count(lab, alpha, "zrep sync all"), idle, own)
    how = (
        f"`zrep sync all` with {SIZE} filesystems of which some had 100 kB written to. Transaction groups: those of "
        "the run without those of a run with nothing changed, for each changed filesystem; the bar is what its stream "
        f"costs by itself (one `zfs send -i | ssh zfs receive`), and {WAIT_BAR}."
    )
    return [Row("changed", "Some changed", how, tuple(lines))]


def _lines(changed: int, cost: Cost, idle: Cost, own: dict[str, float]) -> list[Line]:
    found = []
    for host, where in (("alpha", "here"), ("beta", "there")):
        groups = (cost.groups[host] - idle.groups[host]) / changed
        found.append(
            Line(
                f"{changed} of {SIZE}: transaction groups {where} for each",
                Series(where, "", (groups,)),
                None,
                own[host] + WAIT_BAR,
            )
        )
    for host, where in (("alpha", "here"), ("beta", "there")):
        extra = (cost.zfs(host) - idle.zfs(host)) / changed
        found.append(Line(f"{changed} of {SIZE}: zfs and zpool commands {where} for each", Series(where, "", (extra,))))
    found.append(Line(f"{changed} of {SIZE}: connections", Series("ssh", "", (float(cost.connections),)), None, 1))
    return found
