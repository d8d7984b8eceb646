"""A place for one running lab: its lock, its folder, its network namespace, and the keeper that clears it all away.

Everything of a lab is inside one network namespace and one folder, so up to `SLOTS` labs run side by side with the same
addresses. A slot is taken while its lock is held; the lock is held by the *keeper*, a small process that
outlives its owner just long enough to end the guests and remove every trace.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab.progress import LabError, output

SLOTS = 8
REPO = Path(__file__).resolve().parents[2]
RUN = Path("/run/zrep-lab")
ROOM = 6 << 30
"""Guest memory and disks are sparse files: this much free space in /dev/shm lets them live there."""


@dataclass(frozen=True)
class Slot:
    """One numbered place."""

    number: int

    @property
    def netns(self) -> str:
        return f"zrep-lab-{self.number}"

    @property
    def lock(self) -> Path:
        return RUN / f"{self.number}.lock"

    @property
    def state(self) -> Path:
        return RUN / f"{self.number}.json"

    @property
    def sockets(self) -> Path:
        """Short, private: holds unix sockets, whose path may have 107 characters."""
        return RUN / str(self.number)

    def inside(self, *argv: str) -> list[str]:
        """The command, in this lab's network."""
        return ["nsenter", f"--net=/run/netns/{self.netns}", *argv]

    def read(self) -> dict[str, str]:
        try:
            facts: dict[str, str] = json.loads(self.state.read_text())
        except (OSError, ValueError):
            return {}
        return facts

    def folder(self) -> Path:
        return Path(self.read()["folder"])


def take(*, stay: bool) -> tuple[Slot, "subprocess.Popen[bytes] | None"]:
    """Take a free slot and start its keeper. Unless `stay`, the lab ends with this process (its pipe closes)."""
    need_root()
    RUN.mkdir(mode=0o700, exist_ok=True)
    for number in range(SLOTS):
        slot = Slot(number)
        fd = os.open(slot.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sweep(slot)
            slot.sockets.mkdir(mode=0o700)
            return slot, _start_keeper(slot, fd, stay)
        except BlockingIOError:
            continue
        finally:
            os.close(fd)
    raise LabError(f"all {SLOTS} places for a lab are taken: see `tests/lab/lab status`, then `tests/lab/lab down`")


def staying() -> list[Slot]:
    """The slots that `lab up` of this checkout took and that still run."""
    ours = {"checkout": str(REPO), "stay": "yes"}
    return [slot for slot in map(Slot, range(SLOTS)) if ours.items() <= slot.read().items() and kept(slot)]


def kept(slot: Slot) -> bool:
    """Is this slot taken?"""
    try:
        fd = os.open(slot.lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def release(slot: Slot) -> None:
    """End the keeper (which clears the slot) and wait for it."""
    if pid := slot.read().get("keeper"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGTERM)
    deadline = time.monotonic() + 15
    while kept(slot):
        if time.monotonic() > deadline:
            raise LabError(f"the keeper of lab {slot.number} (process {pid}) does not end")
        time.sleep(0.02)


def need_root() -> None:
    if os.geteuid() != 0:
        raise LabError("the lab needs root (network namespaces and tap devices): run it as root or through sudo -E")


def _start_keeper(slot: Slot, lock_fd: int, stay: bool) -> "subprocess.Popen[bytes] | None":
    shm = Path("/dev/shm")
    place = shm if shm.is_dir() and shutil.disk_usage(shm).free > ROOM else Path(tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix=f"zrep-lab-{slot.number}-", dir=place))
    keeper = subprocess.Popen(
        [sys.executable, "-m", "tests.lab.slot", str(slot.number), "stay" if stay else "follow"],
        stdin=subprocess.DEVNULL if stay else subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if stay else None,
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1"},
        pass_fds=[lock_fd],
        start_new_session=True,
    )
    facts = {"folder": str(folder), "checkout": str(REPO), "keeper": str(keeper.pid), "stay": "yes" if stay else "no"}
    slot.state.write_text(json.dumps(facts))
    output(["ip", "netns", "add", slot.netns])
    for line in ("lo up", "-", "wire up", "control up"):
        if line == "-":
            output(slot.inside("ip", "link", "add", "name", "wire", "type", "bridge", "mcast_snooping", "0"))
            output(slot.inside("ip", "link", "add", "name", "control", "type", "bridge", "mcast_snooping", "0"))
            output(slot.inside("ip", "addr", "add", "10.79.1.254/24", "dev", "control"))
        else:
            output(slot.inside("ip", "link", "set", *line.split()))
    return keeper


def sweep(slot: Slot) -> None:
    """Remove every trace of a lab: guests, ssh masters, network, files."""
    facts = slot.read()
    if facts:
        folder = Path(facts["folder"])
        for record in [*slot.sockets.glob("*.pid"), *folder.glob("*.pid")]:
            end_session(record)
        shutil.rmtree(folder, ignore_errors=True)
    if Path("/run/netns", slot.netns).exists():
        output(["ip", "netns", "del", slot.netns])
    shutil.rmtree(slot.sockets, ignore_errors=True)
    slot.state.unlink(missing_ok=True)


def record_session(record: Path, pid: int) -> None:
    """Remember a process that leads a session of its own, so that exactly it can be ended later."""
    record.write_text(f"{pid} {_start_time(pid)}")


def session_lives(record: Path) -> bool:
    try:
        pid, started = record.read_text().split()
    except (OSError, ValueError):
        return False
    return _start_time(int(pid)) == started


def end_session(record: Path) -> None:
    """Kill a recorded process and whatever else is left of its session; return when all of it is gone."""
    try:
        pid, started = record.read_text().split()
    except (OSError, ValueError):
        return
    leader = int(pid)
    if _start_time(leader) not in (started, None):
        record.unlink(missing_ok=True)
        return  # the number belongs to somebody else by now
    deadline = time.monotonic() + 10
    while members := _session(leader):
        for member in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise LabError(f"processes {members} do not end")
        time.sleep(0.01)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(leader, os.WNOHANG)  # ours, if this process booted it
    record.unlink(missing_ok=True)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state is [0], session [3], start time [19]."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _start_time(pid: int) -> str | None:
    fields = _stat(pid)
    return fields[19] if fields and fields[0] not in "ZX" else None


def _session(leader: int) -> list[int]:
    pids = [int(p) for p in os.listdir("/proc") if p.isdigit()]
    return [p for p in pids if (f := _stat(p)) and f[3] == str(leader) and f[0] not in "ZX"]


def _keep(slot: Slot, stay: bool) -> None:
    """Hold the inherited lock until told to end or, unless `stay`, until the owner's end of the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        if stay:
            while True:
                signal.pause()
        else:
            sys.stdin.buffer.read()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sweep(slot)


if __name__ == "__main__":
    _keep(Slot(int(sys.argv[1])), sys.argv[2] == "stay")
