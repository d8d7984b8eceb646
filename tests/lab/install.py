"""zrep on the hosts, installed as a user installs it: a wheel and its dependencies, by pip, into a venv of its own.

It is done once per content of the working tree: what one host's root disk then has on top of the image is kept in the
cache, and every host starts from a copy of it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path

from tests.lab.build import cache_dir, fresh_dir, one_at_a_time
from tests.lab.progress import LabError, say, step

REPO = Path(__file__).resolve().parents[2]
GUEST_PYTHON = "3.11"
KEPT = 4
"""Prepared root disks that stay in the cache, the latest used."""

SOURCES = ("zrep", "man", "completions")
FILES = ("pyproject.toml", "README.md", "LICENSE")

IN_GUEST = """
set -e
tar -x -C /tmp
python3 -m venv /opt/zrep
/opt/zrep/bin/pip install --quiet --disable-pip-version-check --no-index --find-links /tmp/wheels /tmp/wheels/zrep-*.whl
ln -s /opt/zrep/bin/zrep /usr/local/bin/zrep
rm -rf /tmp/wheels
/lab/pristine keep
sync
"""

Prepare = Callable[[str, bytes, Path], None]
"""Boot a host with an empty root disk, run a command with this input, power off, leave its root disk at this path."""


def root_disk(image_key: str, prepare: Prepare) -> Path:
    """The root disk (on top of the image `image_key`) with the working tree's zrep on it."""
    cache = cache_dir()
    target = cache / f"zrep-{_digest(image_key.encode(), IN_GUEST.encode(), *_sources())}"
    disk = target / "root.cow"
    with one_at_a_time(cache / "install.lock", "another installation of zrep"):
        if not disk.exists():
            say("installing zrep of this working tree")
            with fresh_dir(target) as out:
                archive = out / "wheels.tar"
                _pack(archive)
                prepare(IN_GUEST, archive.read_bytes(), out / disk.name)
                archive.unlink()
        os.utime(target)
        for old in sorted(cache.glob("zrep-*"), key=lambda p: p.stat().st_mtime, reverse=True)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
    return disk


def _sources() -> list[bytes]:
    paths = [REPO / f for f in FILES]
    paths += [p for d in SOURCES for p in sorted((REPO / d).rglob("*")) if "__pycache__" not in p.parts]
    return [p.relative_to(REPO).as_posix().encode() + b"\0" + p.read_bytes() for p in paths if p.is_file()]


def _digest(*parts: bytes) -> str:
    h = hashlib.sha256()
    for part in parts:
        h.update(hashlib.sha256(part).digest())
    return h.hexdigest()[:12]


def _pack(archive: Path) -> None:
    """A tar with wheels/: zrep's and those of what it depends on."""
    python, log = _python(), cache_dir() / "install.log"
    log.write_text("")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    with tempfile.TemporaryDirectory(prefix="zrep-wheel-") as scratch:
        work = Path(scratch)
        tree = work / "source"  # a copy: building leaves folders behind
        tree.mkdir()
        for name in (*SOURCES, *FILES):
            if (REPO / name).is_dir():
                shutil.copytree(REPO / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif (REPO / name).exists():
                shutil.copy(REPO / name, tree / name)
        wheels = work / "wheels"
        shutil.copytree(_dependencies(pip, log), wheels)
        step("build zrep's wheel", [*pip, "wheel", "--no-deps", "-w", str(wheels), str(tree)], log)
        step("pack the wheels", ["tar", "-C", str(work), "-cf", str(archive), "wheels"], log)


def _dependencies(pip: list[str], log: Path) -> Path:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    wanted: list[str] = project["dependencies"]
    target = cache_dir() / f"wheels-{_digest(*(w.encode() for w in wanted))}"
    if not target.exists():
        with fresh_dir(target) as out:
            argv = [
                *pip,
                "download",
                "--only-binary=:all:",
                f"--python-version={GUEST_PYTHON}",
                "-d",
                str(out),
                *wanted,
            ]
            step("download what zrep depends on", argv, log)
    return target


def _python() -> str:
    """A Python with pip: the one running, or that of the working tree's venv."""
    for python in (sys.executable, str(REPO / ".venv/bin/python")):
        if (
            Path(python).exists()
            and not subprocess.run([python, "-c", "import pip"], stderr=subprocess.DEVNULL).returncode
        ):
            return python
    raise LabError("no pip to build zrep with: `make .venv` first")
