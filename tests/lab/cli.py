"""The command for people: `tests/lab/lab`."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.lab import build
from tests.lab.hosts import NAMES, CommandError, Host, Lab
from tests.lab.progress import LabError, say
from tests.lab.slot import SLOTS, Slot, kept, release, staying

HELP = """\
Two hosts with real OpenZFS on this machine. The first `up` builds them: about 8 minutes.

  lab up [alpha beta gamma]     start the hosts (alpha and beta) with this tree's zrep installed; they stay until `down`
  lab build [--stable]          only make what they boot, and keep it; with Debian's stable OpenZFS for some tests, too
  lab install                   bring them zrep as it is in the tree now; disks and pools are new afterwards
  lab down                      end them and remove every trace
  lab status                    what runs, and what is wrong with the wire
  lab ssh HOST [COMMAND…]       a shell on a host, or one command
  lab put HOST FILE DEST        copy a file to a host
  lab cut HOST [--one-way in|out]   drop what passes its cable, silently: connections stall, nothing is reset
  lab slow HOST 200ms|10mbit …  delay what it sends, limit what it sends and receives
  lab heal                      a good wire again
  lab off HOST                  power loss
  lab boot HOST                 power on
  lab reset                     all hosts clean, pools `tank` and `small` new, in a second or two

On a host: root and `operator` log in to each other by key under the names alpha, beta, alpha-alias, alpha-2222 (sshd's
second port) and alpha6 (IPv6).
"""


def main(argv: Sequence[str]) -> int:
    """Run one command; its exit status."""
    command, *rest = argv or ["help"]
    try:
        if command in ("help", "-h", "--help"):
            print(HELP, end="")
            return 0
        if os.geteuid() != 0:
            return _as_root(argv)
        return _run(command, rest)
    except (LabError, CommandError, OSError) as e:
        print(f"lab: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130


def _as_root(argv: Sequence[str]) -> int:
    if shutil.which("sudo") is None:
        raise LabError("needs root, and there is no sudo here")
    program = str(Path(__file__).with_name("lab"))
    os.execvp("sudo", ["sudo", "-E", sys.executable, program, *argv])


def _run(command: str, rest: Sequence[str]) -> int:
    match command, *rest:
        case ("build",):
            build.install_tools(build.RECIPE["tools"]["run"])
            build.image()
        case ("build", "--stable"):
            build.install_tools(build.RECIPE["tools"]["run"])
            build.stable_image()
        case "up", *names:
            _up(names)
        case ("down",):
            for slot in staying():
                release(slot)
            say("no host of this checkout is left")
        case ("status",):
            _status()
        case ("install",):
            _lab().install()
        case "ssh", name, *words:
            host = _host(_lab(), name)
            tty = not words or (sys.stdin.isatty() and sys.stdout.isatty())
            os.execvp("nsenter", host.ssh(" ".join(words) or None, tty=tty))
        case "put", name, file, dest:
            source = Path(file)
            _host(_lab(), name).put(source, dest, mode=f"{source.stat().st_mode & 0o777:o}")
        case "cut", name:
            lab = _lab()
            lab.cut(_host(lab, name))
        case "cut", name, "--one-way", ("in" | "out") as direction:
            lab = _lab()
            lab.cut(_host(lab, name), direction)
        case "slow", name, first, *more:
            lab = _lab()
            words = [first, *more]
            rates = [w for w in words if w.endswith("bit")]
            delays = [w for w in words if w not in rates]
            lab.slow(_host(lab, name), delay=delays[0] if delays else None, rate=rates[0] if rates else None)
        case ("heal",):
            _lab().heal()
        case "off", name:
            _host(_lab(), name).power_off()
        case "boot", name:
            _host(_lab(), name).boot()
        case ("reset",):
            _lab().reset()
        case _:
            print(f"lab: {' '.join([command, *rest])}: no such command; `lab help` lists them", file=sys.stderr)
            return 2
    return 0


def _lab() -> Lab:
    slots = staying()
    if not slots:
        raise LabError("no host runs: `lab up` first")
    return Lab.attach(slots[0])


def _host(lab: Lab, name: str) -> Host:
    if name not in lab.hosts:
        raise LabError(f"{name}: no such host; there are {', '.join(lab.hosts)}")
    return lab[name]


def _up(names: Sequence[str]) -> None:
    if unknown := [n for n in names if n not in NAMES]:
        raise LabError(f"{unknown[0]}: no such host; there are {', '.join(NAMES)}")
    if staying():
        lab = _lab()
        for host in lab:
            host.boot()
        say(f"{' and '.join(lab.hosts)} are up already")
        return
    Lab.start(names or ("alpha", "beta"), stay=True)


def _status() -> None:
    mine = staying()
    for slot in mine:
        lab = Lab.attach(slot)
        for host in lab:
            wire = f", wire: {' '.join(host.wire)}" if host.wire else ""
            print(f"{host.name}: {'on' if host.is_on else 'off'}{wire}")
    if not mine:
        print("no host of this checkout runs; `lab up` starts them")
    for slot in (s for s in map(Slot, range(SLOTS)) if s not in mine and kept(s)):
        print(f"lab {slot.number} is in use by {slot.read().get('checkout', 'somebody')}")
