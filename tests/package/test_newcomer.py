"""A newcomer's way, by the README alone: its lines are read from there and typed in fresh roots of Debian 12 and 13,
which then are the hosts of a pair on real OpenZFS. Installing is done on this machine, for the hosts of the lab have no
way out; the rest on those, in the root that came of it: its systemd, its programs, its sshd and cron, the kernel of the
lab. Where that root has the package, its units are seen at work too."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.progress import say, step
from tests.package.test_debian import Chroot, place  # noqa: F401  # a fixture
from tests.waiting import wait_for
from zrep import __version__

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
pytestmark = pytest.mark.package

MOST_COMMANDS, MOST_SECONDS = 10, 300
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
AGENT = "/run/agent"
CERTIFICATES = "/person/certificates"
# What README takes as given: a Debian with systemd and cron, OpenZFS, ssh, a user who may use sudo, and a person who
# has a key for that one. It is the person too who answers yes to a new host's key, and to apt.
GIVEN = """set -e
cp /etc/apt/sources.list /root/sources
sed 's/ main$/ main contrib/' /root/sources > /etc/apt/sources.list
suite=$(sed -n 's/.* \\([a-z]*\\) main$/\\1/p' /root/sources)
[ $suite != bookworm ] ||
    sed 's/ bookworm main$/ bookworm-backports main contrib/' /root/sources >> /etc/apt/sources.list
apt-get -q update
apt-get -q -y install -t "$suite$([ $suite != bookworm ] || echo -backports)" zfsutils-linux
apt-get -q -y install systemd-sysv dbus cron openssh-server openssh-client sudo
mv /root/sources /etc/apt/sources.list
apt-get -q update
echo 'APT::Get::Assume-Yes "true";' > /etc/apt/apt.conf.d/yes
echo 'StrictHostKeyChecking accept-new' > /etc/ssh/ssh_config.d/yes.conf
useradd -m -s /bin/bash admin
echo 'admin ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/admin
mkdir -p /person /home/admin/.ssh
ssh-keygen -q -t ed25519 -N '' -f /person/key
cp /person/key.pub /home/admin/.ssh/authorized_keys
chown -R admin: /home/admin/.ssh
"""
# The root as a host: begun by its own systemd, which sees nothing of the lab's host but its kernel, pools and network.
# The lab's sshd makes way, and nothing is mounted before the root's own units mount it. Its mounts are shared, as every
# systemd makes them that is not in a container.
BOOT = """#!/bin/sh
kill $(cat /run/sshd.pid)
zfs list -H -o name | grep / | grep -vx tank/debian | xargs -r -n 1 zfs unmount 2> /dev/null
cp /etc/hosts /etc/hostname /debian/etc
exec unshare --mount --pid --ipc --cgroup --fork sh -c '
mount --make-rprivate /
cd /debian
mount -t proc proc proc
mount -t sysfs sys sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 run run
mount --rbind /dev dev
mkdir -p old
pivot_root . old
umount -l old
mount --make-rshared /
exec env -i container=lab PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --system'
"""
INSIDE = """#!/bin/sh
exec nsenter -t "$(pgrep -o -x systemd)" -m -p -i -C -r -w "$@"
"""
TIMER = "systemctl enable --now zrep-sync.timer"
EXAMPLE = "/usr/share/doc/zrep-zfs/examples/cron"
METRICS = "/var/lib/prometheus/node-exporter"
# cron finds this one first, and so does who types, or asks from the peer; the units name theirs.
BY_CRON = """#!/bin/sh
[ "$*" != "sync all" ] || echo "$*" >> /root/by-cron
exec /usr/bin/zrep "$@"
"""


def block(words: str) -> list[str]:
    """The lines to type of the first block below a line that ends in these words."""
    found = re.search(rf"^[^\n]*\b{re.escape(words)}$.*?^```\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found, words
    return found[1].splitlines()


WAYS = {"deb": "As a Debian package", "file": "As one file", "pipx": "With pipx"}
KEYS = block("Keys for ssh")


def on_hosts(words: str) -> list[tuple[str, str]]:
    """The same, of a block that says before each line on which host to type it."""
    return [(host, line.strip()) for host, line in (line.split("# ", 1) for line in block(words))]


FIVE = on_hosts("From nothing to a working cron line in five commands")
LOOK = on_hosts("To look at it:")


def typed(root: Path, line: str) -> None:
    """Type a line in a root on this machine, in the copy of the repository where there is one."""
    say(f"  $ {line}")
    script = root / "root/line"
    script.write_text(f"cd /root/zrep 2> /dev/null || cd /root\n{line}\n")
    mounts = f"mount -t proc proc {root}/proc; mount --rbind /dev {root}/dev; exec chroot {root} bash /root/line"
    given = {"PATH": PATH, "HOME": "/root", "TERM": "dumb", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    given |= {name: os.environ[name] for name in ("PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT") if name in os.environ}
    given |= {"PIP_CERT": CERTIFICATES} if (root / CERTIFICATES[1:]).exists() else {}
    done = subprocess.run(
        ["unshare", "-mpf", "sh", "-c", mounts],
        env=given, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}: exit {done.returncode}\n{done.stdout}{done.stderr}"


def on(host: Host, line: str) -> str:
    """Type a line as root of a host that has become one of the root's."""
    env = f"env -i HOME=/root PATH={PATH} SSH_AUTH_SOCK={AGENT} LC_ALL=C.UTF-8"
    return host.run(f"inside {env} bash -c {shlex.quote(f'cd; {line}')}", timeout=600).out


def seen(host: Host, line: str, wanted: str) -> None:
    """Wait for what comes by itself, at the next minute perhaps."""
    shown = ""

    def is_there() -> bool:
        nonlocal shown
        shown = on(host, f"{line} 2>&1 || true")
        return bool(re.search(wanted, shown, re.MULTILINE))

    wait_for(is_there, lambda: shown, seconds=240)


def begun(host: Host) -> None:
    """The root is started, as far as its systemd goes by itself."""
    host.run("(setsid /root/boot < /dev/null > /root/boot.log 2>&1 &); until pgrep -x systemd; do sleep 0.1; done")
    host.run("until inside systemctl is-system-running | grep -E 'running|degraded'; do sleep 0.2; done", timeout=600)
    on(host, f"ssh-agent -a {AGENT} > /dev/null; ssh-add -q /person/key")


def newest(host: Host) -> str:
    return on(host, "zfs list -H -o name -t snapshot -d 1 -s createtxg tank/data | tail -n 1").strip()


@pytest.fixture(scope="class")
def base(request: pytest.FixtureRequest, place: Path) -> Chroot:  # noqa: F811
    """A host before zrep: a fresh root, and what README takes as given."""
    base = Chroot(place / "base", request.cls.suite, "", place / "log")
    typed(base.folder, GIVEN)
    if bundle := os.environ.get("PIP_CERT"):  # by which this machine knows its registry
        shutil.copy(bundle, base.folder / CERTIFICATES[1:])
    return base


def copied(base: Chroot, name: str, place: Path, *, tree: bool) -> Path:  # noqa: F811
    """A root like the base; with tree, with a copy of the repository."""
    root = place / name
    subprocess.run(["cp", "-a", "--reflink=auto", str(base.folder), str(root)], check=True)
    if tree:
        (root / "root/zrep").mkdir()
        pack = f"git ls-files -z | tar --null -T - -c | tar -x -C {shlex.quote(str(root / 'root/zrep'))}"
        subprocess.run(["sh", "-c", pack], cwd=ROOT, check=True)
    return root


@pytest.fixture
def pair(lab: Lab) -> Iterator[Lab]:
    lab.reset()
    yield lab
    lab.renew()


class Newcomer:
    suite: str

    @pytest.mark.parametrize("way", WAYS)
    def test_from_nothing_to_a_working_pair(self, base: Chroot, place: Path, pair: Lab, way: str) -> None:  # noqa: F811
        say(f"a newcomer to Debian {self.suite}, {way}:")
        lines = block(WAYS[way])
        root = self.installed(base, place, way, lines)
        began = time.monotonic()
        self.become(pair, root)
        took = time.monotonic() - began
        alpha, beta = pair
        on(alpha, "zfs create tank/data; echo first > /tank/data/file")

        began = time.monotonic()
        for host, peer in ((alpha, beta), (beta, alpha)):
            for line in KEYS:
                on(host, line.replace("admin@beta", f"admin@{peer.name}"))
        said = {line: [on(host, line) for host in self.named(pair, where)] for where, line in FIVE}
        seconds = time.monotonic() - began
        assert [out for line, out in said.items() if line.endswith("zrep version")] == [[f"zrep {__version__}\n"]] * 2
        assert " ok " in said["zrep status"][0]
        count = len(lines) + len(KEYS) + len(FIVE)
        say(f"  {count} commands of the README; first key to cron line: {seconds:.0f} s (the root there: {took:.0f} s)")
        assert count <= MOST_COMMANDS
        assert seconds < MOST_SECONDS
        shown = [on(host, line) for where, line in LOOK for host in self.named(pair, where)]
        assert "file" in shown[-1]
        assert on(beta, "cat /tank/data/file") == "first\n"

        # cron does the rest, on both hosts, and has nothing to mail; and the next block of the README.
        self.arrives(pair, "second")
        on(alpha, "zrep failover tank/data")
        assert on(beta, "cat /tank/data/file") == "second\n"
        for host in pair:
            seen(host, "journalctl -b --no-pager -t CRON", r"CMD .*zrep sync all")
            assert "discarding output" not in on(host, "journalctl -b --no-pager -u cron -t CRON")
        on(alpha, "zrep takeover tank/data")
        assert on(beta, "zrep status -H -o role,state") == "replica\tok\n"
        if way == "deb":
            self.units(pair)

    def arrives(self, pair: Lab, text: str) -> None:
        """What is written on alpha is on beta by itself."""
        alpha, beta = pair
        before = newest(beta)
        on(alpha, f"echo {text} > /tank/data/file")
        seen(alpha, "zrep status -H -o unsent,behind", r"^0\t0$")
        assert newest(beta) == newest(alpha) != before

    def units(self, pair: Lab) -> None:
        """The package's units do their work under a real systemd, hardened as they are."""
        say("  the units")
        for host in pair:
            on(host, f"rm /etc/cron.d/zrep; {TIMER}")
        assert TIMER in README
        self.only_one_of_cron_and_the_timer(pair)
        self.metrics(pair.alpha)
        for host in pair:
            on(host, "systemctl enable zrep-boot.service zrep-boot-ask.service")
        self.a_master_waits_for_its_peer(pair)
        self.an_old_master_is_not_written_to(pair)

    def only_one_of_cron_and_the_timer(self, pair: Lab) -> None:
        alpha = pair.alpha
        alpha.put(BY_CRON.encode(), "/debian/usr/local/sbin/zrep", mode="755")
        on(alpha, f"cp {EXAMPLE} /etc/cron.d/zrep")
        assert EXAMPLE in README
        self.arrives(pair, "third")
        seen(alpha, "journalctl -b --no-pager -t CRON", r"CMD .*is-active zrep-sync\.timer")
        on(alpha, "test ! -e /root/by-cron")
        on(alpha, "systemctl stop zrep-sync.timer")
        seen(alpha, "cat /root/by-cron", "^sync all$")
        on(alpha, "rm /etc/cron.d/zrep; systemctl start zrep-sync.timer")

    def metrics(self, host: Host) -> None:
        on(host, f"mkdir -p {METRICS}; systemctl enable --now zrep-status.timer")
        seen(host, f"cat {METRICS}/zrep.prom", r'^zrep_pair_master\{filesystem="tank/data",tag="zrep"\} 1$')

    def a_master_waits_for_its_peer(self, pair: Lab) -> None:
        alpha, beta = pair
        self.power_cycled(pair, alpha)
        pair.cut(beta)
        begun(alpha)
        order = on(alpha, "journalctl -b --no-pager -u zrep-boot.service -u zfs-mount.service")
        assert order.index("Finished zrep-boot") < order.index("Starting zfs-mount"), order
        assert " zfs ro," in on(alpha, "grep ' /tank/data ' /proc/mounts")
        pair.heal()
        seen(alpha, "grep ' /tank/data ' /proc/mounts", " zfs rw,")
        self.arrives(pair, "fourth")

    def an_old_master_is_not_written_to(self, pair: Lab) -> None:
        alpha, beta = pair
        self.power_cycled(pair, alpha, lambda: on(beta, "zrep takeover -L --yes tank/data"))
        begun(alpha)
        seen(alpha, "systemctl show -p Result,ExecMainStatus zrep-boot-ask.service", "^ExecMainStatus=3$")
        assert " zfs ro," in on(alpha, "grep ' /tank/data ' /proc/mounts")
        assert "zrep rejoin tank/data" in on(alpha, "journalctl -b --no-pager -u zrep-boot-ask.service")
        on(alpha, "zrep rejoin tank/data")
        seen(beta, "zrep status -H -o role,state", "^master\tok$")
        # What has failed meanwhile is begun again, and nothing of it stays.
        seen(beta, "systemctl list-units --failed --no-legend 'zrep*' | wc -l", "^0$")

    def power_cycled(self, pair: Lab, host: Host, meanwhile: Callable[[], object] = lambda: None) -> None:
        host.run("sync; zpool sync")
        host.power_off()
        meanwhile()
        host.boot()

    def installed(self, base: Chroot, place: Path, way: str, lines: list[str]) -> Path:  # noqa: F811
        """A host's root with zrep, by these lines: what makes it is made in a root of its own."""
        began = time.monotonic()
        if way == "pipx":
            root = copied(base, way, place, tree=True)
            for line in lines:
                typed(root, line)
        else:
            maker = copied(base, f"{way}-maker", place, tree=True)
            for line in lines[:-1]:
                typed(maker, line)
            root = copied(base, way, place, tree=False)
            shutil.copytree(maker / "root/zrep/dist", root / "root/dist")
            shutil.rmtree(maker)
            # The peer of scp is this same root; what README says that such a host needs is there.
            copy = lines[-1].replace("scp", "apt install python3; cp").replace("alpha:", "")
            typed(root, copy if way == "file" else lines[-1])
        say(f"  installed in {time.monotonic() - began:.0f} s, downloads and all")
        return root

    def become(self, pair: Lab, root: Path) -> None:
        """Both hosts have this root, and run what is in it."""
        leave = (
            "usr/share/doc/[!z]*",
            "usr/share/locale",
            "var/lib/apt/lists",
            "var/cache",
            "root/zrep",
            "root/.cache",
            "dev",
            "proc",
        )
        packed = root.with_suffix(".tar")
        words = ["tar", "-C", str(root), *(f"--exclude=./{name}/*" for name in leave), "-cf", str(packed), "."]
        step(f"the root of a host, {root.name}", words, root.parent / "log")
        shutil.rmtree(root)
        for host in pair:
            host.run("zfs create -o compression=lz4 -o mountpoint=/debian tank/debian")
            with packed.open("rb") as archive:
                subprocess.run(host.ssh("tar -x -C /debian"), stdin=archive, check=True, timeout=1200)
            host.put(INSIDE.encode(), "/usr/local/bin/inside", mode="755")
            host.put(BOOT.encode(), "/root/boot", mode="755")
            begun(host)
        packed.unlink()

    def named(self, pair: Lab, where: str) -> list[Host]:
        return list(pair) if where == "both" else [pair[where]]


class TestBookworm(Newcomer):
    suite = "bookworm"


class TestTrixie(Newcomer):
    suite = "trixie"
