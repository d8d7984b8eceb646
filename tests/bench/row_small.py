"""Four small increments over ssh: zrep, the bare commands, and other programs on the same work."""

from __future__ import annotations

from tests.bench import others
from tests.bench.figures import Line, Row
from tests.bench.place import HERE, Job, job, runs, series, time_all
from tests.lab.hosts import CommandError, Lab
from tests.lab.progress import say

ROUNDS = runs(7)
FILESYSTEMS = "abcd"
COLD, WARM = "bare, cold connection", "bare, warm connection"
EACH = "bare, a connection for each stream"
ZREP = "zrep sync all"
WARM_SOCKET = "/run/bench-warm"


def run(lab: Lab) -> list[Row]:
    """Times on alpha: 100 kB of random data changed in each of four filesystems, then one run that brings them over."""
    alpha, beta = lab.alpha, lab.beta
    versions = others.install(lab)
    say("  four filesystems for each program, and their first full streams")
    programs = {
        COLD: "cold",
        WARM: "warm",
        EACH: "each",
        ZREP: "zrep",
        **{program: program for program in others.PROGRAMS},
    }
    for top in programs.values():
        alpha.run(f"zfs create tank/{top} && for f in a b c d; do zfs create tank/{top}/$f || exit 1; done", timeout=60)
        alpha.run(_change(top, size=1000))
    for f in FILESYSTEMS:
        alpha.run(f"zrep init tank/zrep/{f} beta tank/zrep/{f}", timeout=120)
    for top in ("cold", "warm", "each"):
        alpha.run(f"zfs snapshot -r tank/{top}@s0 && zfs send -R tank/{top}@s0 | ssh beta zfs receive -u tank/{top}")
    alpha.run(f"ssh -fNM -S {WARM_SOCKET} beta < /dev/null > /dev/null 2>&1")
    for program in others.PROGRAMS:
        for command in others.prepare(program):
            alpha.run(command, timeout=300)
    jobs: list[Job] = []
    for number in range(ROUNDS + 1):  # the first round is not counted
        bare = f"{HERE}/bare_sync s{number} s{number + 1}"
        round_ = [
            job(COLD, f"{bare} '' tank/cold", before=_change("cold")),
            job(WARM, f"{bare} {WARM_SOCKET} tank/warm", before=_change("warm")),
            job(EACH, f"{bare} none tank/each", before=_change("each")),
            job(ZREP, "zrep sync all", before=_change("zrep")),
            *(job(name, others.command(name), before=_change(name)) for name in others.PROGRAMS),
        ]
        start = number % len(round_)
        jobs += round_[start:] + round_[:start]
    timed = time_all(alpha, jobs)[len(programs) :]
    for name, top in programs.items():
        _same(lab, name, top)
    alpha.run(f"ssh -q -S {WARM_SOCKET} -O exit beta")
    beta.run("true")
    zrep = series(timed, ZREP)
    lines = [
        Line(f"{ZREP} against {COLD}", zrep, series(timed, COLD), 1.5),
        Line(f"{ZREP} against {WARM}", zrep, series(timed, WARM)),
        Line(f"{ZREP} against {EACH}", zrep, series(timed, EACH), 1.0),
    ]
    lines += [
        Line(f"{ZREP} against {name} {versions[name]}", zrep, series(timed, name), others.BARS[name])
        for name in others.PROGRAMS
    ]
    how = (
        f"100 kB of random data changed in each of {len(FILESYSTEMS)} filesystems, one run brings them over; "
        f"{ROUNDS} interleaved rounds. Bare: a shell script with one ssh connection, or one for each stream, one "
        "`zfs snapshot`, four times `zfs send -i | ssh zfs receive`. Each program makes its own snapshots; no "
        "compression, no speed limit, and a file of each filesystem was compared on both sides in the end."
    )
    return [Row("small", "Four small increments over ssh", how, tuple(lines))]


def _change(top: str, size: int = 100) -> str:
    """Write so many kB to each filesystem, and wait until they are on the disk of both pools."""
    return (
        f"for f in {' '.join(FILESYSTEMS)}; do "
        f"dd if=/dev/urandom of=/tank/{top}/$f/data bs=1000 count={size} conv=notrunc status=none || exit 1; done; "
        "zpool sync tank"
    )


def _same(lab: Lab, name: str, top: str) -> None:
    """The newest snapshot on beta holds what alpha's does: a program that moved nothing was fast for nothing."""
    sums = []
    there = {"bzfs": f"backup/{top}", "zfs-autobackup": f"backup/{top}"}.get(top, top)
    for host, place in ((lab.alpha, top), (lab.beta, there)):
        sums.append(
            host.run(
                "mkdir -p /run/look; for f in a b c d; do "
                f"s=$(zfs list -H -o name -t snapshot -d 1 -s createtxg tank/{place}/$f | tail -n 1); "
                "mount -t zfs -o ro $s /run/look && sha256sum < /run/look/data; umount /run/look; done"
            ).lines
        )
    here = lab.alpha.run(f"cat /tank/{top}/[a-d]/data | sha256sum; cat /tank/{top}/d/data | sha256sum").lines
    if sums[0] != sums[1] or len(sums[0]) != len(FILESYSTEMS) or sums[0][-1] != here[1]:
        raise CommandError(f"{name} did not bring everything over: {sums}")
