"""The hosts: boot them, run commands on them, cut and slow the wire between them, take their power, make them new."""

import contextlib
import os
import shlex
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from tests.lab import build, install
from tests.lab.build import Image
from tests.lab.progress import LabError, output, say
from tests.lab.slot import Slot, end_session, record_session, release, session_lives, take

NAMES = ("alpha", "beta", "gamma")
MEMORY = "1024M"
BOOT_SECONDS = 180.0
RESET_SECONDS = 15.0
Direction = Literal["both", "in", "out"]


def first_root(host: "Host") -> str:
    """The file that all hosts of its kind begin with."""
    return f"first-root-{host.image.zfs_version}.cow"


@dataclass(frozen=True)
class Result:
    """How a command on a host ended."""

    rc: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class CommandError(AssertionError):
    """A command on a host ended otherwise than the test asked for."""


@dataclass
class Ran:
    """One line of a host's history."""

    command: str
    rc: int | None
    out: str = ""
    err: str = ""
    seconds: float = 0.0


@dataclass
class Host:
    """One guest. Commands reach it over a network of their own, whatever happens to the wire between the hosts."""

    name: str
    slot: Slot
    image: Image
    first_root: Path | None = None
    """What the root disk has on top of the image on the first day."""
    memory: str = MEMORY
    history: deque[Ran] = field(default_factory=lambda: deque(maxlen=40))

    @property
    def n(self) -> int:
        return NAMES.index(self.name) + 1

    @property
    def ip(self) -> str:
        return f"10.79.0.{self.n}"

    @property
    def tap(self) -> str:
        """The machine's end of this host's cable."""
        return f"wire-{self.name}"

    @property
    def is_on(self) -> bool:
        return session_lives(self._guest_pid)

    # -- commands ------------------------------------------------------------------------------------------------------

    def run(
        self,
        command: str,
        *,
        check: bool = True,
        timeout: float = 180,
        input: str | bytes | None = None,  # noqa: A002  (subprocess's own word for it)
    ) -> Result:
        """Run a shell command as root. `check` raises CommandError unless it exits 0."""
        start = time.monotonic()
        record = Ran(command, None)
        self.history.append(record)
        stdin = input.encode() if isinstance(input, str) else input
        try:
            done = subprocess.run(
                self.ssh(command),
                input=stdin if stdin is not None else b"",
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as e:
            record.out, record.err = _text(e.stdout), _text(e.stderr)
            raise CommandError(f"{self._what(record)}: no end after {timeout:g} s\n{record.out}{record.err}") from None
        finally:
            record.seconds = time.monotonic() - start
        record.rc, record.out, record.err = done.returncode, _text(done.stdout), _text(done.stderr)
        if check and record.rc != 0:
            raise CommandError(f"{self._what(record)}: exit {record.rc}\n{record.out}{record.err}")
        return Result(done.returncode, record.out, record.err)

    def popen(self, command: str) -> "subprocess.Popen[str]":
        """Start a command and leave it running; its stdin, stdout and stderr are pipes."""
        self.history.append(Ran(f"{command} &", None))
        pipe = subprocess.PIPE
        return subprocess.Popen(self.ssh(command), stdin=pipe, stdout=pipe, stderr=pipe, text=True, errors="replace")

    def put(self, source: Path | str | bytes, dest: str, *, mode: str = "644") -> None:
        """Write a file (a path of this machine, or the bytes themselves) to `dest` on the host."""
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        quoted = shlex.quote(dest)
        self.run(f'mkdir -p -- "$(dirname -- {quoted})" && cat > {quoted} && chmod {mode} {quoted}', input=data)

    def ssh(self, command: str | None = None, *, tty: bool = False) -> list[str]:
        """The argv that runs a command on this host, over one warm connection and no other: where that is gone, the
        command ends with 255. ssh would go on to connect by itself, and wait until a host that just lost its power is
        on again, to run there what its test had started before."""
        if not (self.is_on and self._is_connected()):
            self.wait()
        argv = ["ssh", "-q", *(["-tt"] if tty else []), "-S", str(self._socket), "-oProxyCommand=false"]
        argv += [*self._ssh_options(), self.control_ip]
        return self.slot.inside(*argv, *([command] if command is not None else []))

    # -- power ---------------------------------------------------------------------------------------------------------

    def power_off(self) -> None:
        """Power loss: what was not on the disk is gone."""
        end_session(self._master_pid)
        self._socket.unlink(missing_ok=True)
        end_session(self._guest_pid)
        shutil.rmtree(self._umid, ignore_errors=True)

    def boot(self) -> None:
        """Power on and wait until it takes commands (nothing, if it is on)."""
        self.power_on()
        self.wait()

    def power_on(self) -> None:
        """Start the guest without waiting for it."""
        if self.is_on:
            return
        self.power_off()
        folder = self._folder
        for disk, first in ((self._root, self.first_root), (self._disk, self.image.root.with_name("pool.img"))):
            if first is not None and not disk.exists():
                output(["cp", "--sparse=always", str(first), str(disk)])
        cpus = sorted(os.sched_getaffinity(0))
        # Where tests run in several labs side by side, the alphas, which do most of the work, are not all on one.
        cpu = cpus[(self.slot.number + self.n - 1) % len(cpus)]
        argv = self.slot.inside("taskset", "-c", str(cpu), str(self.image.kernel))
        argv += [f"umid={self.name}", f"uml_dir={self.slot.sockets}/", f"mem={self.memory}"]
        argv += [f"ubd0={self._root},{self.image.root}", f"ubd1={self._disk}"]
        argv += ["root=/dev/ubda", "rw", "init=/lab/init", "con=null", "con0=null,fd:1", "quiet"]
        for i, (tap, kind) in enumerate(((self.tap, 0), (f"control-{self.n}", 1))):
            argv.append(f"vec{i}:transport=tap,ifname={tap},depth=128,gro=1,mac=52:54:00:79:0{kind}:0{self.n}")
        argv += [f"lab.host={self.name}", f"lab.n={self.n}", f"lab.net={','.join(self.wire)}"]
        with self._log.open("wb") as log:
            guest = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={"TMPDIR": str(folder), "PATH": os.environ["PATH"]},
                start_new_session=True,
            )
        record_session(self._guest_pid, guest.pid)
        guest.returncode = 0  # ended and reaped by its recorded number, here or in another process

    def wait(self) -> None:
        """Wait until a guest that was powered on takes commands."""
        if not self.is_on:
            raise LabError(f"{self.name} is off: boot it first")
        deadline = time.monotonic() + BOOT_SECONDS
        while "READY after" not in (console := self._log.read_text(errors="replace")):
            if not self.is_on or time.monotonic() > deadline:
                tail = " | ".join(console.splitlines()[-5:])
                raise LabError(f"{self.name} did not start ({'too slow' if self.is_on else 'ended'}): {tail}")
            time.sleep(0.02)
        self._connect()

    # -- the wire ------------------------------------------------------------------------------------------------------

    @property
    def wire(self) -> list[str]:
        """What is wrong with this host's cable, as words for the guest's /lab/net (and `unplugged`)."""
        try:
            return self._wire_file.read_text().split()
        except FileNotFoundError:
            return []

    def set_wire(self, words: Iterable[str]) -> None:
        new, old = sorted(words), self.wire
        if new == old:
            return
        self._set_cable(new)
        inside = [w for w in new if w != "unplugged"]
        if self.is_on and inside != [w for w in old if w != "unplugged"]:
            self.run(shlex.join(["/lab/net", *inside]))

    def plug_back(self) -> None:
        """A good wire on the machine's side; the guest's side is put right by its reset."""
        self._set_cable([])

    def _set_cable(self, new: list[str]) -> None:
        was_unplugged = "unplugged" in self.wire
        self._wire_file.write_text(" ".join(new))
        if ("unplugged" in new) != was_unplugged:
            way = ["nomaster"] if "unplugged" in new else ["master", "wire"]
            output(self.slot.inside("ip", "link", "set", self.tap, *way))

    def plug_in(self) -> None:
        """Lay this host's two cables."""
        for tap, bridge in ((self.tap, "wire"), (f"control-{self.n}", "control")):
            output(self.slot.inside("ip", "tuntap", "add", "dev", tap, "mode", "tap"))
            output(self.slot.inside("ip", "link", "set", tap, "master", bridge, "up"))

    # -- files ---------------------------------------------------------------------------------------------------------

    def forget_disks(self) -> None:
        """Both disks as on the first day; the host must be off."""
        self._disk.unlink(missing_ok=True)
        self._root.unlink(missing_ok=True)

    @property
    def root_disk(self) -> Path:
        """What this host wrote on top of the image's root file system."""
        return self._root

    def _is_connected(self) -> bool:
        return session_lives(self._master_pid) and self._socket.exists()

    def _connect(self) -> None:
        if self._is_connected():
            return
        end_session(self._master_pid)
        self._socket.unlink(missing_ok=True)
        argv = ["ssh", "-q", "-M", "-N", "-S", str(self._socket), *self._ssh_options(), self.control_ip]
        master = subprocess.Popen(
            self.slot.inside(*argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        record_session(self._master_pid, master.pid)
        master.returncode = 0
        deadline = time.monotonic() + 60
        while not self._socket.exists():
            if not session_lives(self._master_pid) or time.monotonic() > deadline:
                raise LabError(f"{self.name} is up but takes no commands; its console is in {self._log}")
            time.sleep(0.01)

    def _ssh_options(self) -> list[str]:
        options = {
            "User": "lab",
            "Port": "22022",
            "IdentityFile": str(self.image.root.parent / "id_ed25519"),
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "ConnectTimeout": "30",
            "BatchMode": "yes",
        }
        return ["-F", "none", *(f"-o{name}={value}" for name, value in options.items())]

    def _what(self, record: Ran) -> str:
        return f"[{self.name}] {record.command}"

    @property
    def control_ip(self) -> str:
        return f"10.79.1.{self.n}"

    @property
    def _folder(self) -> Path:
        return self.slot.folder()

    @property
    def _root(self) -> Path:
        return self._folder / f"{self.name}.cow"

    @property
    def _disk(self) -> Path:
        return self._folder / f"{self.name}.disk"

    @property
    def _log(self) -> Path:
        return self._folder / f"{self.name}.console"

    @property
    def _guest_pid(self) -> Path:
        return self._folder / f"{self.name}.pid"

    @property
    def _wire_file(self) -> Path:
        return self._folder / f"{self.name}.wire"

    @property
    def _umid(self) -> Path:
        return self.slot.sockets / self.name

    @property
    def _socket(self) -> Path:
        return self.slot.sockets / f"{self.name}.ssh"

    @property
    def _master_pid(self) -> Path:
        return self.slot.sockets / f"{self.name}-ssh.pid"


class Lab:
    """The hosts of one slot and the wire between them."""

    def __init__(
        self,
        slot: Slot,
        image: Image,
        names: Iterable[str],
        memory: str = MEMORY,
        images: Mapping[str, Image] = MappingProxyType({}),
    ) -> None:
        self.slot = slot
        self.image = image
        self.hosts = {name: Host(name, slot, images.get(name, image), memory=memory) for name in names}
        self._keeper: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls,
        names: Iterable[str] = ("alpha", "beta"),
        *,
        stay: bool = False,
        memory: str = MEMORY,
        stable: Iterable[str] = (),
    ) -> "Lab":
        """Boot new hosts with the working tree's zrep. Unless `stay`, they end with this process, however it ends.

        stable: those that get Debian's stable OpenZFS.
        """
        build.install_tools(build.RECIPE["tools"]["run"])
        image = build.image()
        images = {name: build.stable_image() for name in stable}
        slot, keeper = take(stay=stay)
        lab = cls(slot, image, names, memory, images)
        lab._keeper = keeper
        try:
            for host in lab:
                host.plug_in()
            lab._install()
            start = time.monotonic()
            for host in lab:
                host.power_on()
            for host in lab:
                host.wait()
        except BaseException:
            lab.down()
            raise
        say(f"{' and '.join(lab.hosts)} are up (lab {slot.number}): {time.monotonic() - start:.1f} s")
        return lab

    def install(self) -> None:
        """Bring the working tree's zrep, as it is now, to the hosts; they start anew."""
        self._install()
        self.renew()

    def _install(self) -> None:
        for host in {host.image: host for host in self}.values():
            disk = install.root_disk(host.image, partial(self._prepare, host))
            # a copy of our own: the cache forgets old ones
            output(["cp", "--sparse=always", str(disk), str(self.slot.folder() / first_root(host))])
        for host in self:
            host.first_root = self.slot.folder() / first_root(host)

    def _prepare(self, host: Host, base: Path | None, command: str, data: bytes, disk: Path) -> None:
        host.power_off()
        host.forget_disks()
        host.first_root = base
        host.boot()
        host.run(command, input=data, timeout=300)
        host.run("sync; fsfreeze --freeze /", timeout=60)
        host.power_off()
        output(["cp", "--sparse=always", str(host.root_disk), str(disk)])
        host.forget_disks()

    @classmethod
    def attach(cls, slot: Slot) -> "Lab":
        """The lab that runs in a slot."""
        folder = slot.folder()
        lab = cls(slot, build.image(), [n for n in NAMES if (folder / f"{n}.console").exists()])
        for host in lab:
            host.first_root = folder / first_root(host)
        return lab

    def __iter__(self) -> Iterator[Host]:
        return iter(self.hosts.values())

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    @property
    def alpha(self) -> Host:
        return self.hosts["alpha"]

    @property
    def beta(self) -> Host:
        return self.hosts["beta"]

    def cut(self, host: Host, direction: Direction = "both") -> None:
        """Silently drop what passes the host's cable: nothing is reset, all stalls. `in`: what comes to the host."""
        host.set_wire({*host.wire, "unplugged" if direction == "both" else f"drop-{direction}"})

    def slow(self, host: Host, *, delay: str | None = None, rate: str | None = None) -> None:
        """Delay what the host sends, or limit what it sends and receives (`200ms`, `10mbit`)."""
        others = [w for w in host.wire if "=" not in w]
        host.set_wire(others + [f"{k}={v}" for k, v in (("delay", delay), ("rate", rate)) if v])

    def heal(self) -> None:
        """A good wire for everybody."""
        for host in self:
            host.set_wire([])

    def reset(self) -> None:
        """Hosts that a test can trust: no process, file, pool or broken wire of an earlier one. About a second."""
        running = []
        for host in self:
            host.history.clear()
            host.plug_back()
            with contextlib.suppress(LabError):  # off, or deaf: it gets new disks below
                running.append((host, host.popen(f"/lab/reset {int(time.time())}")))
        clean = {host.name for host, reset in running if _ended_well(host, reset)}
        self.renew(host for host in self if host.name not in clean)
        for host in self:
            host.history.clear()

    def renew(self, hosts: Iterable[Host] | None = None) -> None:
        """New disks and a new boot, whatever state the hosts are in."""
        chosen = list(self if hosts is None else hosts)
        for host in chosen:
            host.power_off()
            host.forget_disks()
            host.set_wire([])
        for host in chosen:
            host.power_on()
        for host in chosen:
            host.wait()

    def down(self) -> None:
        """End the hosts and remove every trace of them."""
        release(self.slot)
        if self._keeper is not None:
            if self._keeper.stdin is not None:
                self._keeper.stdin.close()
            self._keeper.wait()
            self._keeper = None


def _ended_well(host: Host, reset: "subprocess.Popen[str]") -> bool:
    try:
        out, err = reset.communicate(timeout=RESET_SECONDS)
    except subprocess.TimeoutExpired:
        reset.kill()
        reset.communicate()
        say(f"{host.name} does not reset in {RESET_SECONDS:g} s: it gets new disks")
        return False
    if reset.returncode:
        say(f"{host.name} does not reset ({(err or out).strip()[-200:]}): it gets new disks")
    return reset.returncode == 0


def _text(data: bytes | None) -> str:
    return (data or b"").decode(errors="replace")
