"""Other replication programs on the lab's hosts, to measure them on the same work.

They come from Debian and PyPI through the machine's own apt and pip, are kept in the lab's cache, and are installed
in the guests, which have no network: the Debian package with what it needs, and a venv for each Python program.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import tempfile
from pathlib import Path

from tests.lab.build import Apt, cache_dir, fresh_dir, one_at_a_time
from tests.lab.hosts import Lab
from tests.lab.install import GUEST_PYTHON, pip
from tests.lab.progress import LabError, say, step

WHEELS = {"bzfs": "bzfs==1.25.*", "zfs-autobackup": "zfs-autobackup==3.3.*"}
DEBIAN = {"syncoid": "sanoid"}
PROGRAMS = ("bzfs", "syncoid", "zfs-autobackup")
BARS = {"bzfs": 0.4, "syncoid": 0.2, "zfs-autobackup": 0.15}
"""What zrep may take at most, as a share of each one's time."""
_PLACE = "/opt/bench/programs"

_INSTALL = rf"""
set -e
mkdir -p {_PLACE}
tar -x -C {_PLACE}
cd {_PLACE}
dpkg -i debs/*.deb > /dev/null
for program in {" ".join(WHEELS)}; do
    python3 -m venv --without-pip $program
    /opt/zrep/bin/pip --python $program/bin/python install -q --disable-pip-version-check --no-index -f wheels $program
done
"""


def install(lab: Lab) -> dict[str, str]:
    """All of them on alpha, downloaded first if the cache has none; the version of each.

    None of them needs itself on the other host.
    """
    alpha = lab.alpha
    folder = _cached(alpha.run("cat /var/lib/dpkg/status").out)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in ("debs", "wheels"):
            tar.add(folder / name, name)
    say(f"  installing {', '.join(PROGRAMS)} on alpha")
    alpha.run(f"[ -e {_PLACE}/done ] || {{ {_INSTALL}\n touch {_PLACE}/done; }}", input=archive.getvalue(), timeout=300)
    found = {
        name: alpha.run(
            f"{_PLACE}/{name}/bin/python3 -c 'import importlib.metadata as m; print(m.version(\"{name}\"))'"
        ).out.strip()
        for name in WHEELS
    }
    return found | {
        name: alpha.run(f"dpkg-query -W -f '${{Version}}' {deb}").out.strip() for name, deb in DEBIAN.items()
    }


def prepare(name: str) -> list[str]:
    """What is to be done on alpha before the first measured run: a first full replication of tank/NAME."""
    if name == "bzfs":
        return ["ssh beta zfs create -p -o canmount=off tank/backup/bzfs", command(name)]
    if name == "syncoid":
        return ["ssh beta zfs create tank/syncoid", command(name)]
    return [
        "for f in a b c d; do zfs set autobackup:bench=true tank/zfs-autobackup/$f || exit 1; done",
        "ssh beta zfs create -p -o canmount=off tank/backup/zfs-autobackup",
        command(name),
    ]


def command(name: str) -> str:
    """One run: a snapshot of four filesystems and their increments to beta, with nothing switched on that costs."""
    if name == "bzfs":
        plan = "{'bench':{'onsite':{'secondly':1}}}"
        return (
            f"{_PLACE}/bzfs/bin/bzfs tank/bzfs beta:tank/backup/bzfs --recursive --skip-parent "
            f'--create-src-snapshots --create-src-snapshots-plan "{plan}" --create-src-snapshots-even-if-not-due '
            "--compression-program=- --mbuffer-program=- --pv-program=- --quiet"
        )
    if name == "syncoid":
        options = "--recursive --skip-parent --compress=none --quiet --no-privilege-elevation"
        return f"syncoid {options} tank/syncoid root@beta:tank/syncoid"
    return f"{_PLACE}/zfs-autobackup/bin/zfs-autobackup --ssh-target beta --strip-path 1 bench tank/backup"


def _cached(status: str) -> Path:
    """A folder with `debs` (sanoid and what the guest lacks for it) and `wheels`. status: the guest's dpkg/status."""
    key = hashlib.sha256(repr((sorted(WHEELS.items()), sorted(DEBIAN.items()), status)).encode()).hexdigest()[:12]
    cache = cache_dir()
    target = cache / f"bench-{key}"
    log = cache / "bench.log"
    with one_at_a_time(cache / "bench.lock", "another download of other programs"):
        if target.exists():
            return target
        say("  downloading other programs to compare with")
        with fresh_dir(target) as out, tempfile.TemporaryDirectory(prefix="tmp-bench-", dir=cache) as scratch:
            wheels = ["download", "--only-binary=:all:", f"--python-version={GUEST_PYTHON}", "-d", str(out / "wheels")]
            step("download wheels", [*pip(), *wheels, *WHEELS.values()], log)
            _debs(Path(scratch), status, out / "debs", log)
    return target


def _debs(scratch: Path, status: str, into: Path, log: Path) -> None:
    """Debian packages for a guest whose dpkg says `status`."""
    state = scratch / "status"
    state.write_text(status)
    (into / "partial").mkdir(parents=True)
    apt = Apt(cache_dir() / "apt")
    options = [*apt.options, f"-oDir::State::status={state}", f"-oDir::Cache::archives={into}"]
    apt.update(log)
    install = ["apt-get", *options, "-q", "-y", "--download-only", "--no-install-recommends", "install"]
    step("download Debian packages", [*install, *DEBIAN.values()], log)
    (into / "partial").rmdir()
    (into / "lock").unlink(missing_ok=True)
    if not list(into.glob("*.deb")):
        raise LabError(f"apt downloaded nothing for {', '.join(DEBIAN.values())}; see {log}")
