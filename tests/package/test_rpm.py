"""The package for Fedora and its like: built by Debian's rpmbuild, and what is in it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.build import install_tools
from zrep import __version__

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.package

FILES = {
    "/etc/default/zrep",
    "/etc/zrep/hooks.d",
    "/usr/bin/zrep",
    "/usr/lib/systemd/system/zrep-boot.service",
    "/usr/lib/systemd/system/zrep-status.service",
    "/usr/lib/systemd/system/zrep-status.timer",
    "/usr/lib/systemd/system/zrep-sync.timer",
    "/usr/lib/zrep-zfs/begin-run",
    "/usr/share/bash-completion/completions/zrep",
    "/usr/share/fish/vendor_completions.d/zrep.fish",
    "/usr/share/zsh/site-functions/_zrep",
}
START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from zrep.cli.main import main; main()"


def ran(*argv: object) -> str:
    done = subprocess.run([*map(str, argv)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    install_tools(["rpm", "cpio", "gcc", "python3-dev"])
    folder = tmp_path_factory.mktemp("rpm")
    ran(ROOT / "contrib/source", sys.executable, folder / "tree")
    ran(ROOT / "contrib/rpm", folder / "tree", folder)
    [found] = folder.glob("*.rpm")
    return found


def test_everything_is_in_it(package: Path) -> None:
    names = set(ran("rpm", "-qlp", package).splitlines())
    assert names >= FILES
    manual = {name.removesuffix(".gz").rpartition("/")[2] for name in names if "/man/" in name}
    assert manual == {path.name for path in (ROOT / "man").iterdir()}
    assert "/etc/default/zrep\n" in ran("rpm", "-qcp", package)  # which an upgrade does not replace
    assert {"openssh-clients", "python3-rich >= 13.3"} <= set(ran("rpm", "-qp", "--requires", package).splitlines())


def test_it_is_installed_upgraded_and_erased(package: Path, tmp_path: Path) -> None:
    """In an empty root: no release of Fedora or RHEL is to be had here, so nothing that it depends on is in there."""
    root = tmp_path / "root"
    root.mkdir()
    rpm = ["rpm", *(["--force-debian"] if Path("/etc/debian_version").exists() else []), "--root", root, "--nodeps"]
    ran(*rpm, "-i", package)
    assert ran("rpm", "--root", root, "--nodeps", "-V", "zrep-zfs") == ""
    said = ran("/usr/bin/python3", "-I", "-c", START, root / "usr/lib/zrep-zfs", "version")
    assert said == f"zrep {__version__}\n"

    settings = root / "etc/default/zrep"
    settings.write_text("ZREP_JOBS=2\n")
    ran(*rpm, "-U", "--replacepkgs", package)
    assert settings.read_text() == "ZREP_JOBS=2\n"

    ran(*rpm, "-e", "zrep-zfs")
    left = {str(path.relative_to(root)) for path in root.rglob("*zrep*")}
    assert left == {"etc/default/zrep.rpmsave"}


def test_it_runs_with_what_it_carries(package: Path, tmp_path: Path) -> None:
    subprocess.run(f"rpm2cpio '{package}' | cpio -idm --quiet", shell=True, cwd=tmp_path, check=True, timeout=60)
    private = tmp_path / "usr/lib/zrep-zfs"
    assert '"/usr/lib/zrep-zfs"' in (tmp_path / "usr/bin/zrep").read_text()
    said = ran("/usr/bin/python3", "-I", "-c", START, private, "version")
    assert said == f"zrep {__version__}\n"
    assert "failover" in ran("/usr/bin/python3", "-I", "-c", START, private, "--help")
