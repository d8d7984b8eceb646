"""The Debian package: built and judged by lintian in a clean root, installed, upgraded and purged in another."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.build import KEYRING, RECIPE, Apt, install_tools
from tests.lab.progress import say, step
from zrep import __version__

ROOT = Path(__file__).parents[2]
# For root on Debian, and slow: make test-package runs them.
pytestmark = pytest.mark.package

BUILD = "build-essential,debhelper,dh-python,python3-dev,lintian"
INSTALL = "apt-get -q -y -oAPT::Sandbox::User=root install --no-install-recommends"
UNITS = (
    "zrep-sync.timer zrep-sync.service zrep-sync@1.service zrep-status.timer zrep-status.service zrep-boot.service "
    "zrep-boot-ask.service"
)
FILES = (
    "etc/default/zrep",
    "etc/zrep/hooks.d",
    "usr/bin/zrep",
    "usr/share/bash-completion/completions/zrep",
    "usr/share/doc/zrep-zfs/copyright",
    "usr/share/doc/zrep-zfs/examples/cron",
    "usr/share/fish/vendor_completions.d/zrep.fish",
    "usr/share/zsh/vendor-completions/_zrep",
)
# Newer by its number alone: what matters is what an upgrade does to what is there.
UPGRADE = r"""
set -e
dpkg-deb -R /zrep-zfs.deb /newer
sed -i 's/^Version: .*/&+1/' /newer/DEBIAN/control
dpkg-deb -b /newer /newer.deb
rm -r /newer
"""
LEFT = "find / -xdev -iname '*zrep*' -not -path '/proc/*' -not -path '/var/*' -not -name '*.deb'"


class Chroot:
    """A root file system made of nothing but a Debian release's own packages."""

    def __init__(self, folder: Path, suite: str, include: str, log: Path) -> None:
        self.folder = folder
        mirror = Apt(log.parent / "apt").lines[0].split()[2]
        what = ["mmdebstrap", "--mode=root", "--variant=minbase", '--aptopt=APT::Install-Recommends "false"']
        what += ["--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude=/usr/share/{d}/*" for d in ("locale", "man"))]
        what += ["--skip=cleanup/apt/lists", *([f"--include={include}"] if include else []), suite, str(folder)]
        step(f"Debian {suite}, {folder.name}", [*what, f"deb [signed-by={KEYRING}] {mirror} {suite} main"], log)
        shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")

    def run(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["chroot", str(self.folder), "/bin/sh", "-c", command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done


@pytest.fixture(scope="class")
def place(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder for whole root file systems; what is made in it is said as it goes, and removed."""
    install_tools([*RECIPE["tools"]["build"], "debian-archive-keyring"])
    capture = request.config.pluginmanager.getplugin("capturemanager")
    folder = Path(tempfile.mkdtemp(prefix="zrep-package-", dir="/var/tmp"))
    try:
        with capture.global_and_fixture_disabled():
            yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="class")
def builder(request: pytest.FixtureRequest, place: Path) -> Chroot:
    """Where the package was built: /zrep-zfs.deb."""
    say(f"the package of Debian {request.cls.suite}: two clean roots, two minutes")
    include = BUILD + (",python3-msgspec" if request.cls.own_msgspec else "")
    builder = Chroot(place / "builder", request.cls.suite, include, place / "log")
    tree = builder.folder / "work/tree"
    tree.parent.mkdir()
    step("the tree to build from", [str(ROOT / "contrib/source"), sys.executable, str(tree)], place / "log")
    step("build", ["chroot", str(builder.folder), "/work/tree/contrib/deb", "/work/tree", "/"], place / "log")
    builder.run("mv /zrep-zfs_*.deb /zrep-zfs.deb")
    return builder


@pytest.fixture(scope="class")
def clean(request: pytest.FixtureRequest, place: Path, builder: Chroot) -> Chroot:
    """A root without anything of what building needs, and the package in it as a file."""
    clean = Chroot(place / "clean", request.cls.suite, "", place / "log")
    shutil.copy(builder.folder / "zrep-zfs.deb", clean.folder)
    return clean


class Package:
    suite: str
    own_msgspec: bool
    """Whether Debian's own is used, not a copy."""

    def test_lintian_has_nothing_to_say(self, builder: Chroot) -> None:
        assert builder.run("lintian --allow-root --fail-on error,warning /work/*.changes").stdout == ""

    def test_one_file_runs_where_nothing_but_python_is(self, clean: Chroot, place: Path) -> None:
        step("zipapp", [str(ROOT / "contrib/zipapp"), sys.executable, str(clean.folder / "zrep.pyz")], place / "log")
        clean.run(f"{INSTALL} python3")
        assert clean.run("/zrep.pyz version").stdout == f"zrep {__version__}\n"
        assert "failover" in clean.run("/zrep.pyz --help").stdout
        assert "program zfs is not installed" in clean.run("/zrep.pyz list", check=False).stderr
        clean.run("rm -r /zrep.pyz /root/.shiv")

    def test_it_is_installed_upgraded_and_purged(self, clean: Chroot) -> None:
        clean.run(f"{INSTALL} /zrep-zfs.deb systemd")
        assert clean.run("zrep version").stdout == f"zrep {__version__}\n"
        assert "failover" in clean.run("zrep --help").stdout
        assert "program zfs is not installed" in clean.run("zrep list", check=False).stderr
        for name in FILES:
            assert (clean.folder / name).exists(), name
        # The manual is left out by roots that are made small, so that it is looked for in the package.
        content = clean.run("dpkg-deb -c /zrep-zfs.deb").stdout
        assert "./usr/share/man/man8/zrep.8.gz" in content
        assert "./usr/share/man/man7/zrep-properties.7.gz" in content
        assert "./usr/share/man/man7/zrep-recovery.7.gz" in content
        assert (clean.folder / "usr/lib/zrep-zfs/msgspec").exists() != self.own_msgspec

        # Nothing is begun by itself, and the units are as systemd wants them.
        assert clean.run("find /etc/systemd -name '*zrep*'").stdout == ""
        assert clean.run(f"systemd-analyze verify --man=no {UNITS} 2>&1").stdout == ""
        exposed = {
            "zrep-sync.service": 20,
            "zrep-sync@1.service": 70,
            "zrep-status.service": 70,
            "zrep-boot.service": 45,
            "zrep-boot-ask.service": 70,
        }
        for unit, most in exposed.items():
            clean.run(f"systemd-analyze security --offline=yes --threshold={most} {unit}")

        clean.run("echo ZREP_JOBS=2 >> /etc/default/zrep; touch /etc/zrep/hooks.d/own; sed -n '$p' /etc/default/zrep")
        clean.run(UPGRADE)
        clean.run(f"{INSTALL} /newer.deb")
        assert clean.run("dpkg-query -W -f '${Version}' zrep-zfs").stdout.endswith("+1")
        assert clean.run("tail -n 1 /etc/default/zrep; ls /etc/zrep/hooks.d").stdout == "ZREP_JOBS=2\nown\n"
        assert clean.run("zrep version").stdout == f"zrep {__version__}\n"

        clean.run("rm /etc/zrep/hooks.d/own; apt-get -q -y purge zrep-zfs")
        assert clean.run(LEFT).stdout == ""


class TestBookworm(Package):
    suite = "bookworm"
    own_msgspec = False


class TestTrixie(Package):
    suite = "trixie"
    own_msgspec = True
