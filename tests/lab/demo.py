"""The first five minutes: two real hosts replicate, move the master role, lose a master and take it back.

Every step prints the command as an administrator types it, its real output, and what was checked afterwards: each file
by its sha256, against a list that this program keeps for itself. The first difference ends it with exit status 1.
"""

import hashlib
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from tests.lab.hosts import CommandError, Host, Lab
from tests.lab.progress import LabError

FS = "tank/data"
TOP = "/tank/data"
LOG = "writes.log"
FILES = "/usr/sbin /usr/share/common-licenses"
COLUMNS = 118

# Runs on both hosts at once and never stops trying: a line counts as acknowledged when fsync has returned. The file is
# never created here, so that an empty mountpoint cannot be taken for the filesystem.
WRITER = f"""
import os, select, sys, time
n, host = 0, sys.argv[1]
while not select.select([sys.stdin], [], [], 0.02)[0]:
    n += 1
    line = f"{{sys.argv[2]}} {{host}} {{n}} {{time.time():.3f}}"
    try:
        file = os.open(f"{{sys.argv[3]}}/{LOG}", os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, line.encode() + b"\\n")
            os.fsync(file)
        finally:
            os.close(file)
    except OSError:
        continue
    print(line, flush=True)
"""

Manifest = dict[str, str]


class MismatchError(Exception):
    """What the demo found is not what it must be: one line."""


@dataclass(frozen=True)
class Ack:
    """One line that a host acknowledged, and when this program heard of it (one clock for both hosts)."""

    line: str
    at: float


class Writer:
    """The program above, running on one host, on the log in the folder `top`."""

    def __init__(self, host: Host, name: str, top: str = TOP) -> None:
        self.host = host
        self.acks: list[Ack] = []
        self._process = host.popen(shlex.join(["python3", "-c", WRITER, host.name, name, top]))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.acks.append(Ack(line.rstrip("\n"), time.monotonic()))

    def wait_for(self, count: int) -> None:
        """Until so many more lines are acknowledged."""
        goal, deadline = len(self.acks) + count, time.monotonic() + 20
        while len(self.acks) < goal:
            if time.monotonic() > deadline:
                raise MismatchError(f"no write succeeds on {self.host.name}, which must be writable now")
            time.sleep(0.005)

    def stop(self) -> list[Ack]:
        """End it (or see that it died with its host); all that was acknowledged."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(10)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._reader.join(10)
        return self.acks


class Demo:
    """The story, step by step. `files` is what the master must hold: path below the mountpoint → sha256."""

    def __init__(self, lab: Lab) -> None:
        self.alpha, self.beta = lab.alpha, lab.beta
        self.files: Manifest = {}
        self.started = time.monotonic()
        self.step_started = self.started
        self.steps = 0
        self.checked = 0
        self.gaps: list[int] = []
        self.acknowledged = 0

    # -- telling -------------------------------------------------------------------------------------------------------

    def step(self, text: str) -> None:
        self.steps += 1
        self.step_started = time.monotonic()
        print(f"\n{bold(f'{self.steps}. {text}')}", flush=True)

    def typed(self, host: Host, command: str, *, rc: int = 0, cron: bool = False) -> str:
        """Run a command as an administrator does, at a terminal, or as cron does, without one; show all of it."""
        print(f"   {green(host.name + '#')} {command}", flush=True)
        # The terminal is of script(1), not of ssh, which loses the exit status of a short command now and then.
        terminal = f"COLUMNS={COLUMNS} TERM=xterm script -q -e -c {shlex.quote(command)} /dev/null"
        try:
            done = subprocess.run(
                host.ssh(command if cron else terminal),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=120,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MismatchError(f"on {host.name}: {command}: no end after 120 s") from None
        said = plain(done.stdout.decode(errors="replace"))
        for line in said.splitlines():
            print(f"     {line}")
        if done.returncode or (cron and not said):
            print(dim(f"     (exit {done.returncode}{'' if said else ', no output'})"))
        if done.returncode != rc:
            raise MismatchError(f"on {host.name}: {command}: exit {done.returncode}, expected {rc}")
        return said

    def good(self, text: str) -> None:
        print(f"   {green('ok')} {text} {dim(f'[{time.monotonic() - self.step_started:.1f} s]')}", flush=True)

    # -- checking ------------------------------------------------------------------------------------------------------

    def write(self, host: Host, path: str, text: str) -> None:
        self.typed(host, f"echo {shlex.quote(text)} > {TOP}/{path}")
        self.files[path] = hashlib.sha256(f"{text}\n".encode()).hexdigest()

    def on_master(self, host: Host) -> None:
        """The files of the mounted filesystem are exactly those of the list, and it can be written."""
        source = host.run(f"findmnt -n -o SOURCE --mountpoint {TOP}", check=False).out.strip()
        if source != FS:
            self.fail(host, f"{TOP} is not {FS} but {source or 'not mounted'}")
        if not self.writable(host):
            self.fail(host, f"{TOP} cannot be written, though {host.name} is the master")
        self.compare(host, TOP, self.files)

    def on_replica(self, host: Host) -> str:
        """The newest snapshot there holds exactly the files of the list, and it cannot be written."""
        newest = host.run(f"zfs list -H -o name -t snapshot -s createtxg {FS} | tail -n1").out.strip()
        host.run(f"mkdir -p /run/look && mount -t zfs -o ro {newest} /run/look")
        try:
            self.compare(host, "/run/look", self.files)
        finally:
            host.run("umount /run/look")
        self.read_only(host)
        return newest.partition("@")[2]

    def read_only(self, host: Host) -> None:
        if host.run(f"zfs get -H -o value readonly {FS}").out != "on\n" or self.writable(host):
            self.fail(host, f"{FS} can be written, though {host.name} is not the master")

    def writable(self, host: Host) -> bool:
        """Asks the kernel without writing: a replica may be unmounted, or mounted read-only."""
        return host.run(f"test -w {TOP}/{LOG}", check=False).rc == 0

    def both(self, master: Host, replica: Host) -> None:
        self.on_master(master)
        newest = self.on_replica(replica)
        self.good(
            f"{len(self.files)} files have the right sha256 on {master.name} (master, writable) and on "
            f"{replica.name} (replica, read-only, @{newest})"
        )

    def compare(self, host: Host, top: str, wanted: Manifest) -> None:
        found = manifest(host, top)
        self.checked += len(found)
        for path in sorted(wanted.keys() | found.keys()):
            if found.get(path) != wanted.get(path):
                state = "missing" if path not in found else "not expected" if path not in wanted else "different"
                self.fail(host, f"{top}/{path} is {state}")

    def fail(self, host: Host, text: str) -> NoReturn:
        raise MismatchError(f"on {host.name}: {text}")

    # -- role changes under load ---------------------------------------------------------------------------------------

    def failover_under_load(self, old: Host, new: Host, name: str) -> None:
        """The planned role change, with a writer on each host; the gap, and that no acknowledged line is missing."""
        print(dim(f"   (a writer on each host tries every 20 ms to append a line to {TOP}/{LOG} and fsync it)"))
        here, there = Writer(old, name), Writer(new, name)
        try:
            here.wait_for(20)
            self.typed(old, f"zrep failover {FS}")
            there.wait_for(20)
        finally:
            before, after = here.stop(), there.stop()
        if after[0].at < before[-1].at:
            self.fail(old, "a write was acknowledged there after the new master had taken one")
        gap = round(1000 * (after[0].at - before[-1].at))
        self.gaps.append(gap)
        lines = self.log_lines(new, TOP)
        lost = [ack.line for ack in (*before, *after) if ack.line not in lines]
        if lost:
            self.fail(new, f"{len(lost)} acknowledged writes are missing, the first is: {lost[0]}")
        self.acknowledged += len(before) + len(after)
        self.take_log(new)
        self.good(
            f"neither side could be written for {gap} ms; all {len(before)} writes that {old.name} acknowledged and "
            f"all {len(after)} of {new.name} are on {new.name}"
        )

    def log_lines(self, host: Host, top: str) -> set[str]:
        return set(host.run(f"cat {top}/{LOG}").lines)

    def take_log(self, host: Host) -> None:
        """The writers have ended and their lines were checked: the log belongs to the list as it is."""
        self.files[LOG] = host.run(f"sha256sum < {TOP}/{LOG}").out.split()[0]

    # -- the story -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        self.replicate()
        self.maintenance()
        lost = self.disaster()
        self.return_of_alpha(lost)
        self.summary()

    def replicate(self) -> None:
        alpha, beta = self.alpha, self.beta
        self.step("alpha has a filesystem with real files.")
        wanted = {path: digest for top in FILES.split() for path, digest in under(top, manifest(alpha, top)).items()}
        self.typed(alpha, f"zfs create -o atime=off {FS}")
        self.typed(alpha, f"cp -a {FILES} {TOP}/ && touch {TOP}/{LOG}")
        self.files = {**wanted, LOG: hashlib.sha256(b"").hexdigest()}
        self.on_master(alpha)
        size = alpha.run(f"du -sh --apparent-size {TOP}").out.split()[0]
        self.good(f"{len(self.files)} files, {size}, as they are in {' and '.join(FILES.split())}")

        self.step("From now on beta has a replica of it. This one command is all the setting up there is.")
        self.typed(alpha, f"zrep init {FS} beta {FS}")
        self.both(alpha, beta)

        self.step("Somebody works on alpha. cron runs `zrep sync all` every minute; it says nothing when all is well.")
        self.write(alpha, "report", "first version")
        self.write(alpha, "notes", "written on alpha")
        self.typed(alpha, "zrep sync all", cron=True)
        self.both(alpha, beta)

        self.step("How is it? Asked on either host; nothing is behind.")
        self.typed(alpha, "zrep status")
        self.typed(beta, "zrep status")
        for host in (alpha, beta):
            fields = host.run(f"zrep status -H {FS}").out.rstrip("\n").split("\t")
            if fields[3] != "ok" or fields[6] != "0":
                self.fail(host, f"status is {fields[3]}, {fields[6]} bytes behind")
        self.good("both say ok, nothing is behind")

    def maintenance(self) -> None:
        alpha, beta = self.alpha, self.beta
        self.step("alpha needs maintenance: the master role moves to beta. A planned move loses nothing.")
        self.failover_under_load(alpha, beta, "failover")
        self.on_master(beta)
        self.read_only(alpha)
        self.good(f"{len(self.files)} files have the right sha256 on beta; alpha is read-only")

        self.step("Work goes on, on beta now; beta's cron replicates to alpha.")
        self.write(beta, "report", "second version, on beta")
        self.typed(beta, f"rm {TOP}/notes")
        del self.files["notes"]
        self.typed(beta, "zrep sync all", cron=True)
        self.both(beta, alpha)

        self.step("Maintenance is over: back to alpha.")
        self.failover_under_load(beta, alpha, "failback")
        self.typed(alpha, "zrep sync all", cron=True)
        self.both(alpha, beta)

    def disaster(self) -> set[str]:
        """The master dies under load; the acknowledged lines that beta cannot have."""
        alpha, beta = self.alpha, self.beta
        self.step("alpha dies: its power goes while it takes writes, some of them after its last sync.")
        writer = Writer(alpha, "disaster")
        writer.wait_for(20)
        safe = {ack.line for ack in writer.acks}
        self.typed(alpha, "zrep sync all", cron=True)
        writer.wait_for(20)
        alpha.power_off()
        acknowledged = {ack.line for ack in writer.stop()}
        self.acknowledged += len(acknowledged)
        self.typed(beta, "zrep status", rc=5)
        self.good(
            f"alpha is off; it had acknowledged {len(acknowledged)} more writes, {len(safe)} before that sync began"
        )

        self.step("A person decides that alpha will not be back soon, and makes beta the master without it.")
        self.typed(beta, f"zrep takeover -L --yes {FS}")
        there = self.log_lines(beta, TOP)
        lost = acknowledged - there
        if safe & lost:
            self.fail(beta, f"{len(safe & lost)} writes from before the last successful sync are missing")
        if not lost:
            self.fail(beta, "it holds writes that were made after the last sync: this demo shows nothing")
        if any(number(line) < max(map(number, acknowledged & there)) for line in lost):
            self.fail(beta, "the missing writes are not the last ones")
        self.take_log(beta)
        self.on_master(beta)
        self.good(f"beta takes writes; missing are exactly the last {len(lost)} writes, made after the last sync")

        self.step("Work goes on, on beta.")
        self.write(beta, "report", "third version, after the disaster")
        self.on_master(beta)
        self.good(f"{len(self.files)} files have the right sha256 on beta")
        return lost

    def return_of_alpha(self, lost: set[str]) -> None:
        alpha, beta = self.alpha, self.beta
        self.step("alpha is repaired and still thinks that it is the master. Its first sync, by cron, finds out.")
        alpha.boot()
        self.typed(alpha, "zrep sync all", rc=3, cron=True)
        self.read_only(alpha)
        self.on_master(beta)
        self.good("alpha is read-only and sent nothing; beta's files are untouched")

        self.step("alpha becomes the replica. What it alone had written is kept beside it, in a split copy.")
        self.typed(alpha, f"zrep rejoin {FS}")
        split = alpha.run(f"zfs list -H -r -o name tank | grep {FS}_split_").out.strip()
        self.typed(beta, "zrep sync all", cron=True)
        self.both(beta, alpha)

        self.step("The lost writes are not lost: they are in the split copy.")
        self.typed(alpha, f"zfs set mountpoint=/mnt {split}")
        self.typed(alpha, f"zfs mount {split}")
        kept = self.log_lines(alpha, "/mnt")
        self.typed(alpha, f"tail -n2 /mnt/{LOG}")
        alpha.run(f"zfs unmount {split}")
        if lost - kept:
            self.fail(alpha, f"{len(lost - kept)} of the {len(lost)} lost writes are not in {split}")
        self.good(f"all {len(lost)} writes that beta never got are in {split}")

        self.step("And back to alpha, where it all began.")
        self.failover_under_load(beta, alpha, "home")
        self.typed(alpha, "zrep sync all", cron=True)
        self.typed(alpha, "zrep status")
        self.both(alpha, beta)

    def summary(self) -> None:
        gaps = ", ".join(f"{gap} ms" for gap in self.gaps)
        print(
            f"\n{bold('All good.')} {self.steps} steps; {self.checked} files checked by sha256; {self.acknowledged} "
            f"acknowledged writes,\nnone missing. No side could be written for {gaps} in the {len(self.gaps)} planned "
            f"role changes.\n{time.monotonic() - self.started:.0f} s in all. To play with the hosts yourself: make lab"
        )


def manifest(host: Host, top: str) -> Manifest:
    """sha256 of every file below a folder, by relative path."""
    out = host.run(f"cd {top} && find . -type f -exec sha256sum {{}} +").out
    return {path.removeprefix("./"): digest for digest, _, path in (line.partition("  ") for line in out.splitlines())}


def under(top: str, files: Manifest) -> Manifest:
    return {f"{os.path.basename(top)}/{path}": digest for path, digest in files.items()}


def number(line: str) -> int:
    """The counter in a writer's line."""
    return int(line.split()[2])


def plain(text: str) -> str:
    """A terminal's output as text: without colours, each line as it was in the end."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.replace("\r\n", "\n"))
    lines = (line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def _style(code: int, text: str) -> str:
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text


def bold(text: str) -> str:
    return _style(1, text)


def dim(text: str) -> str:
    return _style(2, text)


def green(text: str) -> str:
    return _style(32, text)


def main(argv: Sequence[str] = ()) -> int:
    """Start the hosts, tell the story, end the hosts; the exit status."""
    try:
        lab = Lab.start()
        try:
            Demo(lab).run()
        finally:
            lab.down()
    except (MismatchError, CommandError, LabError) as e:
        print(f"\ndemo failed: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo interrupted; the hosts are gone", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
