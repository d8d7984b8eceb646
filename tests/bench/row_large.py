"""One large stream, to the same host and over ssh: zrep against two commands by hand, and its own processor time."""

from __future__ import annotations

from tests.bench.figures import Line, Row, Series
from tests.bench.place import QUICK, Job, Timed, job, rounds, runs, series, time_all
from tests.lab.hosts import Lab
from tests.lab.progress import say

PIECE = 16 if QUICK else 256
"""MiB of random data; a stream has several of them."""
PIECES = {"ssh": 4, "local": 8}
PEERS = {"ssh": "beta", "local": "localhost"}
ROUNDS = {"ssh": runs(5), "local": runs(7)}
RANDOM = "/pool/random"
IMAGE = "/pool/tank.img"
IMAGE_MIB = 4600
"""Of alpha's pool: room for the local stream twice."""
BAR = 1.1
"""Within noise, see the line for the commands by hand against themselves."""


def run(lab: Lab) -> list[Row]:
    """Times on alpha: one increment of so many MiB of random data."""
    say("  pools that were written to before: the first writes to a sparse image cost the machine extra")
    lab.alpha.run(f"truncate -s {IMAGE_MIB}M {IMAGE} && zpool online -e tank {IMAGE}")
    for host in lab:
        host.run(f"head -c {PIECE}M /dev/urandom > {RANDOM} && sync", timeout=300)
        pieces = max(PIECES.values()) * (2 if host is lab.alpha else 1)
        host.run(f"{_write('/tank', pieces)} && zpool sync && rm /tank/* && zpool sync", timeout=600)
    timed = {place: time_all(lab.alpha, _jobs(lab, place)) for place in PEERS}
    lines = [line for place in PEERS for line in (*_wall(place, timed[place]), *_own(place, timed[place]))]
    how = (
        f"One increment of {_mib('ssh')} MiB over ssh, of {_mib('local')} MiB to the same host, that do not compress: "
        "`zrep sync` of the pair against a shell script with `zfs snapshot` and `zfs send -L -e -c -i | [ssh] zfs "
        f"receive -s -u`; {ROUNDS['ssh']} and {ROUNDS['local']} interleaved runs. The noise is what the script "
        "differs by from itself in the same rounds. zrep's own processor time is that of its process without its "
        "children, as a share of the wall time; what is beyond a small increment (of 100 kB, to the same place) is "
        "what the size of a stream adds."
    )
    return [Row("large", "One large stream", how, tuple(lines))]


def _jobs(lab: Lab, place: str) -> list[Job]:
    script = f"/run/hand-{place}"
    lab.alpha.put(_by_hand("ssh beta" if place == "ssh" else "").encode(), script, mode="755")
    jobs = [
        job("by hand", script, before=_hand_again(place)),
        job("by hand again", script, before=_hand_again(place)),
        job("zrep", "zrep sync tank/zrep", before=_zrep_again(place, _write("/tank/zrep", PIECES[place]))),
    ]
    little = "head -c 100000 /dev/urandom > /tank/zrep/data"
    small = job("zrep, small", "zrep sync tank/zrep", before=_zrep_again(place, little))
    say(f"    {place}")
    return [*rounds(jobs, ROUNDS[place]), *[small] * ROUNDS[place]]


def _wall(place: str, timed: list[Timed]) -> list[Line]:
    zrep, hand, small = (series(timed, name) for name in ("zrep", "by hand", "zrep, small"))
    return [
        Line(f"{place}: seconds against by hand", zrep, hand, BAR),
        Line(f"{place}: the noise: by hand against by hand", series(timed, "by hand again"), hand),
        Line(f"{place}: seconds beyond those of a small increment, against by hand", zrep.beyond(small), hand),
        Line(
            f"{place}: zrep's rate, all of its run",
            Series("rate", "MiB/s", tuple(_mib(place) / s for s in zrep.values)),
        ),
    ]


def _own(place: str, timed: list[Timed]) -> list[Line]:
    big, small = ([each for each in timed if each.name == name] for name in ("zrep", "zrep, small"))
    share = _share(big, [each.own for each in small])
    return [
        Line(f"{place}: zrep's own processor time, beyond that of a small increment", share, None, 1.0),
        Line(f"{place}: zrep's own processor time, all of it", _share(big, [0.0] * len(big))),
    ]


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
    done = "zpool wait -t free tank"
    return f"[ ! -e /tank/zrep ] || zrep clear tank/zrep > /dev/null 2>&1; {gone}; {done}; ssh beta '{gone}; {done}'"


def _hand_again(place: str) -> str:
    target = "tank/hand" if place == "ssh" else "tank/hand-copy"
    return (
        f"{_clean()}; zfs create tank/hand && zfs snapshot tank/hand@s0 && "
        f"zfs send tank/hand@s0 | {'ssh beta' if place == 'ssh' else ''} zfs receive -u {target} && "
        f"{_write('/tank/hand', PIECES[place])} && zpool sync && ssh beta zpool sync"
    )


def _zrep_again(place: str, write: str) -> str:
    target = "tank/zrep" if place == "ssh" else "tank/zrep-copy"
    return (
        f"{_clean()}; zfs create tank/zrep && zrep init tank/zrep {PEERS[place]} {target} && "
        f"{write} && zpool sync && ssh beta zpool sync"
    )


def _write(folder: str, pieces: int) -> str:
    return f"for n in {{1..{pieces}}}; do cp {RANDOM} {folder}/$n || exit 1; done"


def _mib(place: str) -> int:
    return PIECE * PIECES[place]
