"""One large stream, to the same host and over ssh: zrep against two commands by hand, and its own processor time."""

from __future__ import annotations

from tests.bench.figures import Line, Row, Series
from tests.bench.place import QUICK, Job, Timed, job, runs, series, time_all
from tests.lab.hosts import Lab
from tests.lab.progress import say

MIB = 64 if QUICK else 1024
ROUNDS = runs(3)
RANDOM = "/pool/random"
PLACES = {"ssh": "beta", "local": "localhost"}
BAR = 1.1
"""Within noise: what two equal commands differ by here from run to run."""


def run(lab: Lab) -> list[Row]:
    """Times on alpha: one increment of so many MiB of random data."""
    alpha = lab.alpha
    say(f"  {MIB} MiB of random data")
    alpha.run(f"head -c {MIB}M /dev/urandom > {RANDOM} && sync", timeout=300)
    alpha.put(_by_hand("ssh beta").encode(), "/run/hand-ssh", mode="755")
    alpha.put(_by_hand("").encode(), "/run/hand-local", mode="755")
    jobs: list[Job] = []
    for number in range(ROUNDS):
        for place, peer in PLACES.items():
            pair = [
                job(f"by hand, {place}", f"/run/hand-{place}", before=_hand_again(place)),
                job(f"zrep, {place}", "zrep sync tank/zrep", before=_zrep_again(peer, full=True)),
            ]
            jobs += pair if number % 2 else pair[::-1]
            jobs.append(job(f"zrep, small, {place}", "zrep sync tank/zrep", before=_zrep_again(peer, full=False)))
    timed = time_all(alpha, jobs)
    alpha.run(f"rm -f {RANDOM}")
    lines: list[Line] = []
    for place in PLACES:
        zrep, hand = series(timed, f"zrep, {place}"), series(timed, f"by hand, {place}")
        lines.append(Line(f"{place}: seconds against by hand", zrep, hand, BAR))
        small = series(timed, f"zrep, small, {place}").values
        beyond = Series("zrep", "s", tuple(one - other for one, other in zip(zrep.values, small, strict=True)))
        lines.append(Line(f"{place}: seconds beyond those of a small increment, against by hand", beyond, hand))
        rate = Series("rate", "MiB/s", tuple(MIB / value for value in zrep.values))
        lines.append(Line(f"{place}: zrep's rate, all of its run", rate))
    for place in PLACES:
        own = [each.own for each in timed if each.name == f"zrep, small, {place}"]
        big = [each for each in timed if each.name == f"zrep, {place}"]
        lines.append(
            Line(f"{place}: zrep's own processor time, beyond that of a small increment", _share(big, own), None, 1.0)
        )
        lines.append(Line(f"{place}: zrep's own processor time, all of it", _share(big, [0.0] * len(big))))
    how = (
        f"One increment of {MIB} MiB that do not compress: `zrep sync` of the pair against a shell script with "
        f"`zfs snapshot` and `zfs send -L -e -c -i | [ssh] zfs receive -s -u`; {ROUNDS} interleaved runs. zrep's own "
        "processor time is that of its process without its children, as a share of the wall time; what is beyond a "
        "small increment (of 100 kB, to the same place) is what the size of a stream adds."
    )
    return [Row("large", "One large stream", how, tuple(lines))]


def _share(big: list[Timed], small: list[float]) -> Series:
    values = tuple(100 * (one.own - other) / one.seconds for one, other in zip(big, small, strict=True))
    return Series("own processor time", "%", values)


def _by_hand(ssh: str) -> str:
    target = "tank/hand" if ssh else "tank/hand-copy"
    return (
        "#!/bin/bash\nset -e -o pipefail\nzfs snapshot tank/hand@s1\n"
        f"zfs send -L -e -c -i @s0 tank/hand@s1 | {ssh} zfs receive -s -u {target}\n"
    )


def _clean() -> str:
    gone = "for f in tank/hand tank/hand-copy tank/zrep tank/zrep-copy; do zfs destroy -r $f 2> /dev/null; done"
    return f"[ ! -e /tank/zrep ] || zrep clear tank/zrep > /dev/null 2>&1; {gone}; ssh beta '{gone}'; true"


def _hand_again(place: str) -> str:
    target = "tank/hand" if place == "ssh" else "tank/hand-copy"
    return (
        f"{_clean()}; zfs create tank/hand && zfs snapshot tank/hand@s0 && "
        f"zfs send tank/hand@s0 | {'ssh beta' if place == 'ssh' else ''} zfs receive -u {target} && "
        f"cp {RANDOM} /tank/hand/data && zpool sync && ssh beta zpool sync"
    )


def _zrep_again(peer: str, *, full: bool) -> str:
    target = "tank/zrep" if peer == "beta" else "tank/zrep-copy"
    data = f"cp {RANDOM} /tank/zrep/data" if full else "head -c 100000 /dev/urandom > /tank/zrep/data"
    return (
        f"{_clean()}; zfs create tank/zrep && zrep init tank/zrep {peer} {target} && "
        f"{data} && zpool sync && ssh beta zpool sync"
    )
