"""zrep on the hosts, installed as a user installs it: a wheel and its dependencies, by pip, into a venv of its own.

It is done once per content of the working tree: what one host's root disk then has on top of the image is kept in the
cache, and every host starts from a copy of it.
"""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

from tests.lab.build import Image, cache_dir, fresh_dir, one_at_a_time, remove_stale
from tests.lab.progress import LabError, say, step

REPO = Path(__file__).resolve().parents[2]
DISK = "root.cow"
GUEST_PYTHON = "3.11"
KEPT = 4
"""Prepared root disks that stay in the cache, the latest used."""

SOURCES = ("zrep", "man", "completions")
FILES = ("pyproject.toml", "README.md", "LICENSE")

DEPENDENCIES = """
set -e
tar -x -C /tmp
cd /tmp/wheels
/opt/zrep/bin/pip install --quiet --disable-pip-version-check --no-index --no-deps *.whl
rm -rf /tmp/wheels
"""
# Another OpenZFS in the place of the image's, with the kernel it is for.
STABLE = """
set -e
tar -x -C /tmp
cd /tmp/wheels
dpkg --purge --force-depends zfsutils-linux $(dpkg-query -W -f '${Package} ' 'libzfs*linux' 'libzpool*linux')
dpkg -i --force-downgrade debs/*.deb
rm -rf /usr/lib/modules/*
cp -a modules/* /usr/lib/modules
depmod $(ls modules)
rm -rf /tmp/wheels
"""
ZREP = """
set -e
tar -x -C /tmp
cd /tmp/wheels
/opt/zrep/bin/pip install --quiet --disable-pip-version-check --no-index *.whl
rm -rf /tmp/wheels
ln -s /opt/zrep/bin/zrep /usr/local/bin/zrep
/lab/pristine keep
"""

Prepare = Callable[[Path | None, str, bytes, Path], None]
"""Boot a host with this root disk, run a command with this input, power off, leave its root disk at this path."""


def root_disk(image: Image, prepare: Prepare) -> Path:
    """The root disk (on top of the image) with the working tree's zrep on it."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    needs: list[str] = project["dependencies"]
    below = f"needs-{_digest(image.root.parent.name, DEPENDENCIES, *needs)}"
    over = None if image.over is None else f"over-{_digest(below, STABLE, image.over.name)}"
    name = f"zrep-{_digest(over or below, ZREP, *_sources())}"
    with one_at_a_time(cache_dir() / "install.lock", "another installation of zrep"):
        disk = cache_dir() / name / DISK
        if not disk.exists():
            say("installing zrep of this working tree")
            remove_stale(cache_dir(), "needs", "over", "zrep")
            base = _layer(below, prepare, None, DEPENDENCIES, lambda wheels: _download(needs, wheels))
            if over is not None and image.over is not None:
                files = image.over
                base = _layer(over, prepare, base, STABLE, lambda folder: _copied(files, folder))
            _layer(name, prepare, base, ZREP, _build)
        os.utime(disk.parent)
        for old in sorted(cache_dir().glob("zrep-*"), key=lambda p: p.stat().st_mtime, reverse=True)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
    return disk


def _layer(name: str, prepare: Prepare, base: Path | None, command: str, fill: Callable[[Path], None]) -> Path:
    """A root disk in the cache: `base` and what `command` makes of the files that `fill` puts into a folder."""
    target = cache_dir() / name
    if not (target / DISK).exists():
        with fresh_dir(target) as out, tempfile.TemporaryDirectory(prefix="zrep-wheels-") as scratch:
            wheels = Path(scratch) / "wheels"
            wheels.mkdir()
            fill(wheels)
            archive = io.BytesIO()
            with tarfile.open(fileobj=archive, mode="w") as tar:
                tar.add(wheels, "wheels")
            start = time.monotonic()
            prepare(base, command, archive.getvalue(), out / DISK)
            say(f"  install on a host: done in {time.monotonic() - start:.0f} s")
    return target / DISK


def _copied(over: Path, folder: Path) -> None:
    for name in ("debs", "modules"):
        shutil.copytree(over / name, folder / name)


def _sources() -> list[str]:
    paths = [REPO / f for f in FILES]
    paths += [p for d in SOURCES for p in sorted((REPO / d).rglob("*")) if "__pycache__" not in p.parts]
    return [f"{p.relative_to(REPO)} {hashlib.sha256(p.read_bytes()).hexdigest()}" for p in paths if p.is_file()]


def _digest(*parts: str) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _download(needs: list[str], wheels: Path) -> None:
    what = ["--only-binary=:all:", f"--python-version={GUEST_PYTHON}", "-d", str(wheels), *needs]
    step("download what zrep depends on", [*pip(), "download", *what], cache_dir() / "install.log")


def _build(wheels: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="zrep-source-") as scratch:  # a copy: building leaves folders behind
        for name in (*SOURCES, *FILES):
            if (REPO / name).is_dir():
                shutil.copytree(REPO / name, Path(scratch) / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif (REPO / name).exists():
                shutil.copy(REPO / name, scratch)
        step(
            "build zrep's wheel",
            [*pip(), "wheel", "--no-deps", "-w", str(wheels), scratch],
            cache_dir() / "install.log",
        )


def pip() -> list[str]:
    """A Python with pip: the one running, or that of the working tree's venv."""
    for python in (sys.executable, str(REPO / ".venv/bin/python")):
        if (
            Path(python).exists()
            and not subprocess.run([python, "-c", "import pip"], stderr=subprocess.DEVNULL).returncode
        ):
            return [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    raise LabError("no pip to build zrep with: `make .venv/.ready` first")
