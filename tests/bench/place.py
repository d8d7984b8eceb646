"""The two hosts as the benchmark uses them: commands timed inside a guest, counted commands, pairs in any number."""

from __future__ import annotations

import json
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Series
from tests.lab.hosts import CommandError, Host, Lab
from tests.lab.progress import say

GUEST = Path(__file__).with_name("guest")
HERE = "/opt/bench"
"""Where the benchmark's own files are in a guest: a place that a reset of the lab leaves alone."""
PYTHON = "/opt/zrep/bin/python3"
COUNTED = ("zfs", "zpool", "ssh")
QUICK = bool(os.environ.get("QUICK"))
"""A short run, to see whether the benchmark works: two rounds of everything, and a small stream for a large one."""


@dataclass(frozen=True)
class Job:
    """One command to time on a host. before, after: shell commands that are not timed and must succeed."""

    name: str
    argv: tuple[str, ...]
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Timed:
    """One run of a job. seconds: wall; own: seconds of processor time of the process itself, not of its children."""

    name: str
    seconds: float
    own: float


@dataclass(frozen=True)
class Cost:
    """What one command cost on the two hosts: commands by host and program, ssh connections, transaction groups."""

    commands: dict[str, Counter[str]]
    connections: int
    groups: dict[str, int]
    lines: dict[str, list[str]]
    """The commands themselves, by host."""

    def zfs(self, host: str) -> int:
        """Commands of zfs and zpool there."""
        return self.commands[host]["zfs"] + self.commands[host]["zpool"]


def prepare(lab: Lab) -> None:
    """Clean hosts with the benchmark's files on them."""
    lab.reset()
    for host in lab:
        for file in sorted(GUEST.iterdir()):
            if file.is_file():
                host.put(file, f"{HERE}/{file.name}", mode="755")


def job(name: str, command: str, *, before: str = "", after: str = "") -> Job:
    """A job from a command line without shell syntax."""
    return Job(name, tuple(shlex.split(command)), before, after)


def time_all(host: Host, jobs: Sequence[Job], *, quiet: bool = False) -> list[Timed]:
    """Run the jobs on a host, one after the other in this order; each must exit 0. One line of progress for each."""
    child = host.popen(f"python3 {HERE}/timer.py")
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    found: list[Timed] = []
    try:
        records = [{"name": j.name, "argv": j.argv, "before": j.before, "after": j.after} for j in jobs]
        child.stdin.write(json.dumps(records))
        child.stdin.close()
        for line in child.stdout:
            record = json.loads(line)
            if record["status"]:
                raise CommandError(f"{record['name']}: exit {record['status']}: {record['error']}")
            found.append(Timed(record["name"], record["seconds"], record["user"] + record["system"]))
            if not quiet:
                say(f"    {record['name']}: {record['seconds']:.3f} s")
        if child.wait(60) or len(found) != len(jobs):
            raise CommandError(f"timing on {host.name} ended early: {child.stderr.read()}")
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    return found


def series(timed: Iterable[Timed], name: str) -> Series:
    """The wall seconds of one job's runs, in order."""
    return Series(name, "s", tuple(t.seconds for t in timed if t.name == name))


def runs(count: int) -> int:
    """How often to run something that is usually run so often."""
    return min(count, 2) if QUICK else count


def rounds(jobs: Sequence[Job], count: int) -> list[Job]:
    """Interleaved: each round has every job once, beginning with another one each time."""
    return [each for number in range(count) for each in in_turn(jobs, number)]


def in_turn(jobs: Sequence[Job], number: int) -> list[Job]:
    """The jobs of the round of that number: each once, beginning with another one than the round before."""
    start = number % len(jobs)
    return [*jobs[start:], *jobs[:start]]


@contextmanager
def counting(lab: Lab) -> Iterator[None]:
    """Inside, zfs, zpool and ssh on both hosts say so when they run. Idle pools write no transaction groups."""
    for host in lab:
        links = " ".join(f"ln -sf {HERE}/count /usr/local/bin/{program};" for program in COUNTED)
        host.run(f"{links} echo 600 > /sys/module/zfs/parameters/zfs_txg_timeout")
    try:
        yield
    finally:
        for host in lab:
            links = " ".join(f"rm -f /usr/local/bin/{program};" for program in COUNTED)
            host.run(f"{links} echo 5 > /sys/module/zfs/parameters/zfs_txg_timeout")


def count(lab: Lab, host: Host, command: str, *, timeout: float = 600, pool: str = "tank") -> Cost:
    """What one command on a host costs, inside `counting`. A stream counts as one command on each side."""
    for each in lab:
        each.run("zpool sync; sleep 0.2; rm -f /run/bench-count")
    before = {each.name: _numbers(each, pool) for each in lab}
    host.run(command, timeout=timeout)
    after = {each.name: _numbers(each, pool) for each in lab}
    lines = {each.name: each.run("cat /run/bench-count 2> /dev/null; true").lines for each in lab}
    return Cost(
        {name: Counter(line.split()[0] for line in said) for name, said in lines.items()},
        sum(after[each.name][1] - before[each.name][1] for each in lab),
        {each.name: after[each.name][0] - before[each.name][0] for each in lab},
        lines,
    )


def _numbers(host: Host, pool: str) -> tuple[int, int]:
    """The newest transaction group of a pool, and the connections that this host ever accepted."""
    told = host.run(
        f"tail -n1 /proc/spl/kstat/zfs/{pool}/txgs | cut -d' ' -f1; awk '$1 == \"Tcp:\" {{ print $7 }}' /proc/net/snmp"
    ).lines
    return int(told[0]), int(told[2])


# --- pairs in any number ----------------------------------------------------------------------------------------------


def make_pairs(lab: Lab, group: str, count: int, snapshots: int) -> list[str]:
    """So many healthy pairs tank/GROUP/1… from alpha to beta, mounted there, each with so many of zrep's snapshots on
    both sides; the names. As `zrep init` and many syncs leave them, but made in seconds: beta's pool becomes a copy of
    alpha's, bit by bit. What beta's had before is gone."""
    alpha, beta = lab.alpha, lab.beta
    top = f"tank/{group}"
    names = [f"{top}/{number}" for number in range(1, count + 1)]
    alpha.run(f"zfs create {top}")
    for start in range(0, count, 100):
        alpha.run(
            f"for n in {{{start + 1}..{min(start + 100, count)}}}; do "
            f"zfs create {top}/$n && echo data > /{top}/$n/file || exit 1; done",
            timeout=300,
        )
        if count > 100:
            say(f"    {min(start + 100, count)} of {count} filesystems")
    for number in range(1, snapshots + 1):
        alpha.run(f"zfs snapshot -r {top}@zrep_{number:06x}", timeout=300)
    last = f"zrep_{snapshots:06x}"
    say("    properties, holds, and a copy of the pool")
    _mark(alpha, names, {**_ROLE, "sent": alpha.run("date +%s").out.strip()})
    # Recursive: one transaction group for all of them. The parent is in no pair.
    alpha.run(f"zfs hold -r zrep {top}@{last} && zfs release zrep {top}@{last}", timeout=300)
    alpha.run(f"zfs destroy {top}@zrep_{1:06x}%{last}", timeout=300)
    beta.run("zpool destroy -f tank && rm -f /pool/tank.img", timeout=300)
    alpha.run("zpool export tank", timeout=600)
    alpha.run("set -o pipefail; tar -cSf - -C /pool tank.img | ssh beta tar -xSf - -C /pool", timeout=1200)
    alpha.run("zpool import -d /pool tank", timeout=600)
    beta.run(f"zpool import -N -d /pool tank && zfs set readonly=on {top}", timeout=300)
    _mark(beta, _paired(beta), {"master": "no", "canmount": "on"})
    return names


_ROLE = {
    "epoch": "1", "gen": "00000000000000aa", "parent": "", "savecount": "20", "flags": "-p -L -e -c",
    "src-host": "alpha", "dest-host": "beta", "master": "yes",
}  # fmt: skip


def _paired(host: Host) -> list[str]:
    """The filesystems there that are in a pair."""
    return host.run("zfs get -H -s local -o name -t filesystem zrep:master").lines


def _mark(host: Host, names: Sequence[str], properties: dict[str, str]) -> None:
    """Set properties of zrep's on filesystems, and `sent` on all their snapshots, by a channel program: one transaction
    group for many."""
    sets = "".join(
        f'  zfs.sync.set_prop(fs, "zrep:{name}", "{value}")\n' for name, value in properties.items() if name != "sent"
    )
    if "sent" in properties:
        sets += '  zfs.sync.set_prop(fs, "zrep:src-fs", fs)\n  zfs.sync.set_prop(fs, "zrep:dest-fs", fs)\n'
        sent = f'zfs.sync.set_prop(s, "zrep:sent", "{properties["sent"]}")'
        sets += f"  for s in zfs.list.snapshots(fs) do {sent} end\n"
    program = f'args = ...\nlist = args["argv"]\nfor i = 1, #list do\n  fs = list[i]\n{sets}end\n'
    host.put(program.encode(), "/run/mark.lua")
    for start in range(0, len(names), 50):
        some = " ".join(names[start : start + 50])
        host.run(f"zfs program -t 100000000 -m 100000000 tank /run/mark.lua {some}", timeout=300)
