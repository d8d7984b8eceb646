"""How cost grows, to 10,000 filesystems: zrep on this machine, where stand-ins for zfs and ssh print canned output."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Line, Row, Series
from tests.bench.place import GUEST
from tests.lab.hosts import CommandError, Lab
from tests.lab.progress import LabError, say
from zrep.core.names import FOLLOWED
from zrep.zfs import commands

SIZES = (1, 10, 100, 1000, 10000)
SNAPSHOTS = 100
RUNS = {10000: 1}
MEMORY_AT, MEMORY_BAR = 1000, 60.0
LIMIT = 900

# Both sides of a pair look alike but for the role; holds are answered for what is asked.
ZFS = r"""#!/bin/sh
echo "${0##*/} $*" >> "$BENCH/$BENCH_SIDE.count"
case "$1 $2 $3" in
    "get -Hp -s") exec cat "$BENCH/$BENCH_SIDE.roles" ;;
    "get -H -s") echo zrep:src-fs ;;
    "get -Hp -o")
        case "$*" in
            *,aclinherit,*) exec cat "$BENCH/$BENCH_SIDE.members" ;;
            *) exec cat "$BENCH/$BENCH_SIDE.properties" ;;
        esac ;;
    "list -Hp -d") exec cat "$BENCH/snapshots" ;;
    "holds -H "*) shift 2; printf '%s\tzrep\tSat Nov 21 18:10 2026\n' "$@" ;;
    "sync tank "*) ;;
    *) echo "stand-in: $*" >&2; exit 1 ;;
esac
"""
SSH = r"""#!/bin/sh
echo ssh >> "$BENCH/ssh.count"
while [ "$1" != -- ]; do shift; done
shift 2
BENCH_SIDE=beta; export BENCH_SIDE
ZREP_RUNDIR=$BENCH/beta; export ZREP_RUNDIR
exec sh -c "$*"
"""


@dataclass(frozen=True)
class Ran:
    """One run of zrep: seconds of wall time, its own peak memory in MB, commands started here."""

    seconds: float
    megabytes: float
    commands: int


def run(lab: Lab) -> list[Row]:
    """Times and memory on this machine; the lab is not used."""
    lines: list[Line] = []
    notes: list[str] = []
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="zrep-bench-") as folder:
            place = Path(folder)
            say(f"  {size} filesystems of {SNAPSHOTS} snapshots, generated")
            generate(place, size)
            found, missing = _measure(place, size)
            lines += found
            notes += missing
    how = (
        f"On this machine, with stand-ins for zfs and ssh that print what OpenZFS would for N filesystems with "
        f"{SNAPSHOTS} snapshots each: zrep's own time and memory, without ZFS's. The floor is the stand-ins' "
        "output by itself. Nothing had changed. A list streams; a sync holds both sides, two records a snapshot."
    )
    how += "".join(f" Not measured: {note}." for note in notes)
    return [Row("generated", "How cost grows", how, tuple(lines))]


def generate(place: Path, size: int) -> None:
    """Stand-ins, and the output of so many healthy pairs, in a folder."""
    names = [f"tank/data/customer{number:05}" for number in range(size)]
    for side, master in (("alpha", "yes"), ("beta", "no")):
        role = {
            "src-host": "alpha", "dest-host": "beta", "epoch": "1", "gen": "00000000000000aa", "parent": "",
            "savecount": str(SNAPSHOTS), "flags": "-p -L -e -c", "master": master,
        }  # fmt: skip
        native = dict.fromkeys(commands.NATIVE_PROPERTIES, "-") | {
            "type": "filesystem", "guid": "1", "readonly": "off" if master == "yes" else "on", "mounted": "yes",
            "canmount": "on" if master == "yes" else "noauto", "written": "0", "used": "1000000",
            "referenced": "1000000", "available": "100000000000", "encryption": "off", "sharenfs": "off",
            "sharesmb": "off",
        }  # fmt: skip
        with (
            (place / f"{side}.roles").open("w") as roles,
            (place / f"{side}.properties").open("w") as properties,
            (place / f"{side}.members").open("w") as members,
        ):
            for name in names:
                own = role | {"src-fs": name, "dest-fs": name}
                asked = commands.role_properties("zrep")
                local = {p: own[short] for p in asked if (short := p.removeprefix("zrep:")) in own}
                roles.write(f"{name}\t{commands.FOUND_BY}\t0\tdefault\n")
                roles.writelines(f"{name}\t{p}\t{v}\tlocal\n" for p, v in local.items())
                mine = {**native, "mountpoint": f"/{name}"}
                told = [f"{name}\t{p}\t{v}\t-\n" for p, v in mine.items()]
                for p in (*asked, *commands.snapshot_marks("zrep")):
                    told.append(f"{name}\t{p}\t{local.get(p, '-')}\t{'local' if p in local else '-'}\n")
                properties.writelines(told)
                members.writelines((*told, *(f"{name}\t{p}\ton\tdefault\n" for p in FOLLOWED)))
    with (place / "snapshots").open("w") as snapshots:
        for place_, name in enumerate(names):
            snapshots.write(f"{name}\t1\t1\t1795000000\t-\t0\t1000000\t-\t-\t-\n")
            snapshots.writelines(
                f"{name}@zrep_{n:06x}\t{10**18 + place_ * 1000 + n}\t{1000 + n}\t{1795000000 + 60 * n}\t"
                f"{int(n == SNAPSHOTS)}\t4096\t0\t-\t{1795000001 + 60 * n}\tyes\n"
                for n in range(1, SNAPSHOTS + 1)
            )
    programs = place / "bin"
    programs.mkdir()
    for name, text in (("zfs", ZFS), ("zpool", ZFS), ("ssh", SSH)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    zrep = Path(sys.executable).with_name("zrep")
    if not zrep.exists():
        raise LabError("no zrep beside this Python: `make .venv/.ready` first")
    (programs / "zrep").symlink_to(zrep)


def _measure(place: Path, size: int) -> tuple[list[Line], list[str]]:
    """The lines for so many filesystems, and what could not be measured."""
    environment = {
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "HOME": str(place),
        "BENCH": str(place),
        "BENCH_SIDE": "alpha",
        "ZREP_RUNDIR": str(place / "alpha"),
        "ZREP_PATH": str(place / "bin/zrep"),
        "PEAK": str(place / "peak"),
    }
    for side in ("alpha", "beta"):
        (place / side).mkdir()
    commands = {"list": ("list",), "sync all": ("sync", "all")}
    ran: dict[str, list[Ran]] = {name: [] for name in commands}
    floor: list[float] = []
    missing: list[str] = []
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors < 2 * size + 100:  # two locks each
        missing.append(f"sync all of {size} needs more than the {descriptors} open files allowed here")
        say(f"    not measured: {missing[-1]}")
        del commands["sync all"], ran["sync all"]
    for _ in range(RUNS.get(size, 3)):
        floor.append(_floor(place))
        for name, words in commands.items():
            ran[name].append(_zrep(place, words, environment))
            say(f"    zrep {name}: {ran[name][-1].seconds:.2f} s, {ran[name][-1].megabytes:.0f} MB")
    bare = Series("the stand-ins", "s", tuple(floor))
    lines: list[Line] = []
    bar = MEMORY_BAR if size == MEMORY_AT else None
    for name, runs in ran.items():
        seconds = Series(f"zrep {name}", "s", tuple(one.seconds for one in runs))
        memory = Series(f"zrep {name}", "MB", tuple(one.megabytes for one in runs))
        number = Series(f"zrep {name}", "", tuple(float(one.commands) for one in runs))
        lines += [
            Line(f"N={size}: zrep {name}, seconds", seconds, bare),
            Line(f"N={size}: zrep {name}, peak memory", memory, None, bar if name == "list" else None),
            Line(f"N={size}: zrep {name}, commands here", number),
        ]
    return lines, missing


def _floor(place: Path) -> float:
    begin = time.monotonic()
    for name in ("alpha.roles", "alpha.members", "snapshots"):
        with (place / name).open() as file:
            subprocess.run(["sh", "-c", "cat"], stdin=file, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - begin


def _zrep(place: Path, words: Sequence[str], environment: dict[str, str]) -> Ran:
    counts = place / "alpha.count"
    counts.unlink(missing_ok=True)
    argv = [sys.executable, str(GUEST / "peak.py"), *words]
    begin = time.monotonic()
    try:
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False, cwd=place
        )
    except subprocess.TimeoutExpired:
        raise CommandError(f"zrep {' '.join(words)}: no end after {LIMIT} s") from None
    seconds = time.monotonic() - begin
    if done.returncode or "Traceback" in done.stderr:
        raise CommandError(f"zrep {' '.join(words)}: exit {done.returncode}: {done.stderr[-400:]}")
    peak = int((place / "peak").read_text()) / 1000
    return Ran(seconds, peak, len(counts.read_text().splitlines()))
