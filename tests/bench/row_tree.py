"""A tree of a hundred, of which none, four and all changed: zrep against a bare package and other programs."""

from __future__ import annotations

from tests.bench import others
from tests.bench.figures import Line, Row, Series
from tests.bench.place import HERE, QUICK, Job, count, counting, in_turn, job, runs, series, time_all
from tests.lab.hosts import CommandError, Host, Lab
from tests.lab.progress import say

MEMBERS = 20 if QUICK else 100
CHANGED = (0, 4, MEMBERS)
ROUNDS = runs(3)
# They take minutes for each run, and are so far behind that one of each is enough.
ONCE = ("syncoid", "zfs-autobackup")
ZREP, BARE = "zrep sync all", "zfs send -R -i"
TOPS = {ZREP: "zrep", BARE: "bare", **{program: program for program in others.PROGRAMS}}
BARS: dict[int, dict[str, float]] = {
    0: {},
    4: {"bzfs": 0.4, "syncoid": 0.2},
    MEMBERS: {BARE: 1.5, "bzfs": 1.0, "syncoid": 1.0},
}


def run(lab: Lab) -> list[Row]:
    """Times on alpha; what zrep costs with nothing changed is counted in a run that is not timed."""
    alpha = lab.alpha
    versions = others.install(lab)
    say(f"  a tree of {MEMBERS} for each program, and the first full streams")
    for top in TOPS.values():
        make(alpha, top)
    alpha.run("zrep init -r tank/zrep beta tank/zrep", timeout=900)
    send_first(alpha, TOPS[BARE])
    alpha.run("zfs set autobackup:bench=true tank/zfs-autobackup")
    alpha.run("ssh beta zfs create -o canmount=off tank/backup")  # what is below it zfs-autobackup makes itself
    alpha.run("ssh beta 'zfs create -p -o canmount=off tank/backup/bzfs; zfs create tank/syncoid'")
    for program in others.PROGRAMS:
        alpha.run(others.command(program), timeout=1800)
    with counting(lab):
        idle = count(lab, alpha, "zrep sync all")
    lines: list[Line] = []
    taken = 0
    for changed in CHANGED:
        rounds, taken = _jobs(changed, taken)
        timed = time_all(alpha, rounds)
        zrep = series(timed, ZREP)
        for name in TOPS:
            if name != ZREP:
                against = f"{name} {versions[name]}" if name in versions else name
                bar = BARS[changed].get(name)
                lines.append(Line(f"{changed} changed: against {against}", zrep, series(timed, name), bar))
    lines += [
        Line(f"nothing changed: commands {where}", _one(idle.zfs(host)), None, bar)
        for where, host, bar in (("here", "alpha", 4), ("there", "beta", 3))
    ]
    lines.append(Line("nothing changed: connections", _one(idle.connections), None, 1))
    _same(lab)
    how = (
        f"A filesystem with {MEMBERS} below it, 100 kB of random data changed in some; {ROUNDS} interleaved rounds, "
        f"{' and '.join(ONCE)} in the first. "
        "Bare: `zfs snapshot -r`, then one `zfs send -R -i | ssh zfs receive` for all, which can not be resumed nor "
        "heal one by one. Each other program makes its own snapshots, recursively; no compression, no speed limit."
    )
    return [Row("tree", f"A tree of {MEMBERS}", how, tuple(lines))]


def _jobs(changed: int, taken: int) -> tuple[list[Job], int]:
    """Rounds of every program, each beginning with another one; how many snapshots of the bare commands there are."""
    found: list[Job] = []
    for number in range(ROUNDS):
        words = {
            ZREP: ZREP,
            BARE: f"{HERE}/bare_tree s{taken} s{taken + 1}",
            **{name: others.command(name) for name in others.PROGRAMS},
        }
        names = [name for name in TOPS if not number or name not in ONCE]
        turn = [job(name, words[name], before=change(TOPS[name], changed)) for name in names]
        found += in_turn(turn, number)
        taken += 1
    return found, taken


def make(alpha: Host, top: str) -> None:
    """Make a tree in which all has been written to."""
    script = f"zfs create tank/{top} && for n in $(seq {MEMBERS}); do zfs create tank/{top}/$n || exit 1; done"
    alpha.run(f"{script}; {change(top, MEMBERS)}", timeout=300)


def send_first(alpha: Host, top: str) -> None:
    """Send a whole tree by hand, at its snapshot s0."""
    script = f"zfs snapshot -r tank/{top}@s0 && zfs send -R tank/{top}@s0 | ssh beta zfs receive -u tank/{top}"
    alpha.run(script, timeout=300)


def change(top: str, changed: int) -> str:
    """Write 100 kB to so many members, and wait until they are on the disk."""
    return (
        f"for n in $(seq {changed}); do head -c 100000 /dev/urandom > /tank/{top}/$n/data || exit 1; done; "
        "zpool sync tank"
    )


def _one(value: int) -> Series:
    return Series("", "", (float(value),))


def _same(lab: Lab) -> None:
    """What zrep brought over is what is on alpha: a program that moved nothing was fast for nothing."""
    sums = [
        host.run(
            "mkdir -p /run/look; for n in $(seq 3); do "
            "s=$(zfs list -H -o name -t snapshot -d 1 -s createtxg tank/zrep/$n | tail -n 1); "
            "mount -t zfs -o ro $s /run/look && sha256sum < /run/look/data; umount /run/look; done"
        ).lines
        for host in lab
    ]
    if sums[0] != sums[1] or len(sums[0]) != 3:
        raise CommandError(f"zrep did not bring everything over: {sums}")
