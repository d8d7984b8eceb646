"""What a relay costs: it passes on what it has received, against a push of the same data."""

from __future__ import annotations

from tests.bench.figures import Line, Row, Series
from tests.bench.place import Cost, count, counting, job, runs, series, time_all
from tests.lab.hosts import Lab
from tests.lab.progress import say

ROUNDS = runs(7)
PUSH, RELAY = "zrep sync tank/push", "zrep -t onward sync tank/relay"
BAR = 1.1


def run(lab: Lab) -> list[Row]:
    """Counts and times on beta: it pushes a filesystem of its own to alpha, and passes on to alpha what it has from
    there."""
    alpha, beta = lab.alpha, lab.beta
    alpha.run(
        "zfs create tank/first && echo one > /tank/first/data && zrep init tank/first beta tank/relay", timeout=120
    )
    beta.run("zrep -t onward init tank/relay alpha tank/third", timeout=120)
    beta.run("zfs create tank/push && echo one > /tank/push/data && zrep init tank/push alpha tank/push", timeout=120)
    with counting(lab):
        _write(lab)
        push = count(lab, beta, PUSH)
        relay = count(lab, beta, RELAY)
    timed = []
    for number in range(ROUNDS + 1):  # the first round is not counted
        _write(lab)
        turn = [job("push", PUSH), job("relay", RELAY)]
        found = time_all(beta, turn[:: 1 if number % 2 else -1])
        timed += found if number else []
    say(f"    a push {push.groups}, a relay {relay.groups}")
    lines = [
        *(_groups(where, host, relay, push) for where, host in (("here", "beta"), ("there", "alpha"))),
        Line("passed on against pushed", series(timed, "relay"), series(timed, "push"), BAR),
    ]
    how = (
        "100 kB of random data changed; a relay passes on what it has just received, and makes no snapshot; the push "
        f"is of a filesystem of its own between the same two hosts. Times of {ROUNDS} interleaved rounds."
    )
    return [Row("relay", "A relay against a push", how, tuple(lines))]


def _write(lab: Lab) -> None:
    """Change what is pushed, and bring to the relay what it is to pass on."""
    lab.beta.run("head -c 100000 /dev/urandom > /tank/push/data; zpool sync tank")
    lab.alpha.run("head -c 100000 /dev/urandom > /tank/first/data && zrep sync tank/first", timeout=120)


def _groups(where: str, host: str, relay: Cost, push: Cost) -> Line:
    own, other = (Series(name, "", (float(cost.groups[host]),)) for name, cost in (("relay", relay), ("push", push)))
    return Line(f"transaction groups {where}", own, other, 1.0)
