"""The same increment pushed and pulled: what it costs that the host of the replica drives."""

from __future__ import annotations

from tests.bench.figures import Line, Row
from tests.bench.place import QUICK, job, runs, series, time_all
from tests.lab.hosts import CommandError, Lab
from tests.lab.progress import say

ROUNDS = runs(7)
SIZES = {"100 kB": 100, "8 MB" if QUICK else "64 MB": 8_000 if QUICK else 64_000}
BAR = 1.1
PUSH, PULL = "zrep sync tank/push", "zrep refresh tank/pull"


def run(lab: Lab) -> list[Row]:
    """Times on alpha, which pushes, and on beta, which pulls, one after the other in turn."""
    alpha, beta = lab.alpha, lab.beta
    for name in ("push", "pull"):
        alpha.run(f"zfs create tank/{name} && head -c 100000 /dev/urandom > /tank/{name}/data")
    alpha.run("zrep init tank/push beta tank/push", timeout=120)
    beta.run("zrep init --pull alpha tank/pull tank/pull", timeout=120)
    lines = []
    for size, kilobytes in SIZES.items():
        say(f"  {size}")
        timed = []
        for number in range(ROUNDS + 1):  # the first round is not counted
            turn = [(alpha, "push", PUSH), (beta, "pull", PULL)]
            for host, name, command in turn[:: 1 if number % 2 else -1]:
                alpha.run(f"head -c {kilobytes}000 /dev/urandom > /tank/{name}/data && zpool sync tank", timeout=120)
                found = time_all(host, [job(name, command)])
                timed += found if number else []
        lines.append(Line(f"{size}: pulled against pushed", series(timed, "pull"), series(timed, "push"), BAR))
    _same(lab)
    how = (
        f"One filesystem each, random data; {ROUNDS} interleaved rounds of `{PUSH}` on the master's host and `{PULL}` "
        "on the replica's, each with an ssh connection of its own."
    )
    return [Row("pull", "Pulled against pushed", how, tuple(lines))]


def _same(lab: Lab) -> None:
    """What was timed has arrived."""
    sums = []
    for host in lab:
        look = "zfs list -H -o name -t snapshot -d 1 -s createtxg tank/{0} | tail -n 1"
        sums.append(
            host.run(
                "mkdir -p /run/look; for n in push pull; do "
                f"mount -t zfs -o ro $({look.format('$n')}) /run/look && sha256sum < /run/look/data; umount /run/look; "
                "done"
            ).lines
        )
    if sums[0] != sums[1] or len(sums[0]) != 2:
        raise CommandError(f"zrep did not bring everything over: {sums}")
