"""Build what the hosts boot: a User-Mode Linux kernel, OpenZFS for it, a root file system; all from Debian packages.

Everything lands in a cache, each part under a name made of what went into it, and appears there complete or not at all.
The machine's own apt sources are read (for its mirror) and never changed.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.progress import LabError, end_steps, output, say, step

HERE = Path(__file__).resolve().parent
GUEST_FILES = HERE / "guest"

RECIPE_FILE = HERE / "recipe.toml"
RECIPE: dict[str, Any] = tomllib.loads(RECIPE_FILE.read_text())
SUITE: str = RECIPE["suite"]
BACKPORTS = f"{SUITE}-backports"
KEYRING = Path(RECIPE["keyring"])
KERNEL: dict[str, Any] = RECIPE["kernel"]
STABLE: dict[str, Any] = RECIPE["stable"]
FROM_BACKPORTS: list[str] = [KERNEL["package"], "zfs-dkms", "zfsutils-linux"]
GUEST_PACKAGES: list[str] = RECIPE["guest"]["packages"]
TAP_DEVICE = Path("/dev/net/tun")


@dataclass(frozen=True)
class Image:
    """What a guest boots."""

    kernel: Path
    root: Path
    """The root file system; beside it `pool.img`, the empty second disk, and `id_ed25519`, the key to every guest."""
    kernel_release: str
    zfs_version: str
    over: Path | None = None
    """What is laid over the root file system for this kernel: `modules/`, and Debian's packages in `debs/`."""

    @property
    def words(self) -> str:
        return f"OpenZFS {self.zfs_version} (kernel {self.kernel_release}-um)"


def cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zrep-lab"


def image() -> Image:
    """The image of this recipe, built first if the cache has none."""
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    pointer = cache / f"current-{_recipe_hash()}.json"
    if (found := _read(pointer)) is not None:
        return found
    _preflight(cache)
    with one_at_a_time(cache / "build.lock", "another build of the lab"):
        if (found := _read(pointer)) is not None:
            return found
        started = time.monotonic()
        say(f"building the lab in {cache}: about 8 minutes on two cores the first time")
        remove_stale(cache, "kernel", "base", "root", "scratch")
        built = _Build(cache).run()
        _publish_text(pointer, json.dumps({"kernel": built.kernel.parent.name, "root": built.root.parent.name}))
        say(f"the lab is built: {time.monotonic() - started:.0f} s")
        return built


def stable_image() -> Image:
    """The same root file system for Debian's stable kernel and OpenZFS, built first if the cache has none."""
    newest = image()
    cache = cache_dir()
    pointer = cache / f"stable-{_recipe_hash()}.json"
    with one_at_a_time(cache / "build.lock", "another build of the lab"):
        try:
            kernel = cache / json.loads(pointer.read_text())["kernel"]
            (kernel / "versions.json").stat()
        except (OSError, ValueError, KeyError):
            started = time.monotonic()
            say(f"building Debian's stable OpenZFS in {cache}: about {STABLE['minutes']} minutes on two cores, once")
            kernel = _Build(cache, "build-stable.log").stable()
            _publish_text(pointer, json.dumps({"kernel": kernel.name}))
            say(f"it is built: {time.monotonic() - started:.0f} s")
    versions = json.loads((kernel / "versions.json").read_text())
    return Image(kernel / "linux", newest.root, versions["kernel"], versions["zfs"], over=kernel)


@contextmanager
def one_at_a_time(lock: Path, what: str) -> Iterator[None]:
    """Hold `lock`; say so while somebody else does."""
    with lock.open("w") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for {what} to finish ({lock})")
            fcntl.flock(f, fcntl.LOCK_EX)
        yield


@contextmanager
def fresh_dir(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes `target` when the block ends well, and nothing at all when it does not."""
    tmp = Path(tempfile.mkdtemp(prefix=f"tmp-{target.name.partition('-')[0]}-", dir=target.parent))
    try:
        yield tmp
        tmp.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        tmp.rename(target)
    except OSError as e:
        raise LabError(f"building {target.name}: {e.filename or target.parent}: {e.strerror}") from e
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


def remove_stale(cache: Path, *kinds: str) -> None:
    """Remove what a killed process left half built; the caller holds the lock under which such things are built."""
    for kind in kinds:
        for stale in cache.glob(f"tmp-{kind}-*"):
            shutil.rmtree(stale, ignore_errors=True)


def install_tools(packages: Sequence[str]) -> None:
    """Install the Debian packages that this machine lacks."""
    missing = [p for p in packages if not _installed(p)]
    if not missing:
        return
    _need_debian()
    say(f"installing on this machine: {' '.join(missing)}")
    log = cache_dir() / "tools.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "-q", "-y", "-oDPkg::Lock::Timeout=300", "install", "--no-install-recommends", *missing]
    try:
        step("apt-get install", install, log, env=quiet)
    except LabError:
        step("apt-get update", ["apt-get", "-q", "update"], log, env=quiet)
        step("apt-get install", install, log, env=quiet)


def _installed(package: str) -> bool:
    if shutil.which("dpkg-query") is None:
        return False
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout == "installed"


def _need_debian() -> None:
    facts = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    ours = facts.get("ID", "").strip('"') == "debian" and shutil.which("apt-get")
    if not ours:
        name = facts.get("PRETTY_NAME", "unknown").strip('"')
        raise LabError(f"the lab builds itself from Debian packages; this machine runs {name}")


def _preflight(cache: Path) -> None:
    _need_debian()
    if os.uname().machine != "x86_64":
        raise LabError(f"the lab's kernel runs on x86_64 only; this machine is {os.uname().machine}")
    if not TAP_DEVICE.exists():
        raise LabError(f"{TAP_DEVICE} is missing: the hosts need tap devices for their network")
    free = shutil.disk_usage(cache).free / (1 << 30)
    if free < RECIPE["space"]:
        raise LabError(f"building the lab needs {RECIPE['space']} GiB in {cache}; {free:.1f} GiB are free")


def _recipe_hash() -> str:
    h = hashlib.sha256(Path(__file__).read_bytes() + RECIPE_FILE.read_bytes())
    for f in sorted(GUEST_FILES.iterdir()):
        h.update(f.name.encode() + b"\0" + f.read_bytes())
    return h.hexdigest()[:12]


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:10]


def _read(pointer: Path) -> Image | None:
    try:
        names = json.loads(pointer.read_text())
        kernel, root = pointer.parent / names["kernel"], pointer.parent / names["root"]
        versions = json.loads((kernel / "versions.json").read_text())
    except (OSError, ValueError, KeyError):
        return None
    if not (root / "root.img").exists():
        return None
    return Image(kernel / "linux", root / "root.img", versions["kernel"], versions["zfs"])


def _publish_text(path: Path, text: str) -> None:
    tmp = path.with_suffix(f".{os.getpid()}")
    tmp.write_text(text)
    tmp.replace(path)


class Apt:
    """apt with its own sources and lists, taken from the mirror this machine already uses."""

    def __init__(self, folder: Path) -> None:
        self.lines = self._lines()
        (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (folder / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        sources = folder / "sources.list"
        sources.write_text("".join(f"{line}\n" for line in self.lines))
        self.options = [
            f"-oDir::Etc::SourceList={sources}",
            "-oDir::Etc::SourceParts=-",
            "-oDir::Etc::PreferencesParts=-",
            f"-oDir::State::Lists={folder / 'lists'}",
            f"-oDir::Cache={folder / 'cache'}",
            "-oAPT::Sandbox::User=root",
            "-oAcquire::Retries=3",
            "-oAcquire::Languages=none",
        ]

    @staticmethod
    def _lines() -> list[str]:
        targets = output(["apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)"]).splitlines()
        mirrors = [uri for release, component, uri in (t.split(" ", 2) for t in targets)
                   if component == "main" and "-" not in release and "debian" in uri]  # fmt: skip
        if not mirrors:
            raise LabError("apt knows no Debian mirror on this machine (apt-get indextargets names none with `main`)")
        if not KEYRING.exists():
            raise LabError(f"{KEYRING} is missing: install debian-archive-keyring")
        return [f"deb [signed-by={KEYRING}] {mirrors[0].rstrip('/')} {s} main contrib" for s in (SUITE, BACKPORTS)]

    def update(self, log: Path) -> None:
        step("package lists", ["apt-get", *self.options, "-q", "update"], log)

    def versions(self, packages: Sequence[str], backports: Sequence[str] = FROM_BACKPORTS) -> dict[str, str]:
        """The version of each package that would be installed; those named second are taken from backports."""
        table = output(["apt-cache", *self.options, "madison", *packages])
        rows = [[column.strip() for column in line.split("|")] for line in table.splitlines()]
        newest_last = {(name, origin.split()[1].split("/")[0]): version for name, version, origin in reversed(rows)}
        found = {}
        for package in packages:
            suite = BACKPORTS if package in backports else SUITE
            if (package, suite) not in newest_last:
                raise LabError(f"the Debian mirror of this machine has no {package} for {suite}")
            found[package] = newest_last[package, suite]
        return found

    def download(self, packages: dict[str, str], into: Path, log: Path) -> None:
        into.mkdir(parents=True)
        wanted = [f"{package}={version}" for package, version in packages.items()]
        step(f"download {' '.join(packages)}", ["apt-get", *self.options, "-q", "download", *wanted], log, cwd=into)

    def unpack(self, package: str, version: str, into: Path, log: Path) -> None:
        self.download({package: version}, into, log)
        (deb,) = into.glob("*.deb")
        step(f"unpack {package}", ["dpkg-deb", "-x", str(deb), str(into)], log)
        deb.unlink()


class _Build:
    def __init__(self, cache: Path, log: str = "build.log") -> None:
        self.cache = cache
        self.log = cache / log
        self.log.write_text("")
        self.jobs = f"-j{len(os.sched_getaffinity(0))}"

    def run(self) -> Image:
        install_tools(RECIPE["tools"]["build"])
        apt = Apt(self.cache / "apt")
        apt.update(self.log)
        versions = apt.versions([*FROM_BACKPORTS, *GUEST_PACKAGES])
        # Debian's packages are unpacked while the compiler works.
        with ThreadPoolExecutor(1) as beside:
            base = beside.submit(self.base, apt, versions)
            try:
                kernel = self.kernel(apt, versions)
                return self.root(kernel, base.result())
            except BaseException:
                end_steps()
                raise

    def stable(self) -> Path:
        """A folder as `kernel` makes it, and `debs/`: the programs of that OpenZFS."""
        install_tools(RECIPE["tools"]["build"])
        remove_stale(self.cache, "kernel", "scratch")
        apt = Apt(self.cache / "apt")
        apt.update(self.log)
        versions = apt.versions([STABLE["package"], "zfs-dkms", *STABLE["programs"]], backports=())
        return self._made(apt, versions, STABLE, {p: versions[p] for p in STABLE["programs"]})

    def kernel(self, apt: Apt, versions: dict[str, str]) -> Path:
        """A folder with `linux`, `modules/` and versions.json."""
        return self._made(apt, versions, KERNEL, {})

    def _made(self, apt: Apt, versions: dict[str, str], recipe: dict[str, Any], programs: dict[str, str]) -> Path:
        source, zfs = versions[recipe["package"]], versions["zfs-dkms"]
        compiler = output(["gcc", "-dumpfullversion"]).strip()
        options = [recipe[name] for name in ("on", "off", "only", "values", "undefine") if name in recipe]
        patch = tuple(KERNEL["patch"].values())
        patches = [tuple(each.values()) for each in recipe.get("patches", ())]
        key = _digest(source, zfs, compiler, patch, *options, *patches, *sorted(programs.items()))
        target = self.cache / f"kernel-{_safe(source)}-zfs-{_safe(zfs)}-{key}"
        if target.exists():
            return target
        with fresh_dir(target) as out, tempfile.TemporaryDirectory(prefix="tmp-scratch-", dir=self.cache) as scratch:
            work = Path(scratch)
            tree = self._linux(apt, source, work, recipe)
            release = output(["make", "-s", "-C", str(tree), "ARCH=um", "kernelrelease"]).strip()
            modules = self._zfs(apt, zfs, work, tree, recipe)
            extra = out / "modules" / release / "extra"
            extra.mkdir(parents=True)
            for f in modules:
                shutil.copy(f, extra)
            for name in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
                if (tree / name).exists():
                    shutil.copy(tree / name, extra.parent)
            shutil.copy(tree / "linux", out / "linux")
            if programs:
                apt.download(programs, out / "debs", self.log)
            upstream = re.sub(r"-[^-]*$", "", zfs)
            (out / "versions.json").write_text(json.dumps({"kernel": release, "zfs": upstream}))
        return target

    def _linux(self, apt: Apt, version: str, work: Path, recipe: dict[str, Any]) -> Path:
        say(f"kernel: Linux {version} as a user-mode kernel")
        package = recipe["package"]
        apt.unpack(package, version, work / "linux-deb", self.log)
        (archive,) = (work / "linux-deb/usr/src").glob("*.tar.xz")
        unused = [f"--exclude=*/{folder}/*.[chS]" for folder in KERNEL["unused"]]
        step("unpack the kernel's source", ["tar", "-xf", str(archive), "-C", str(work), *unused], self.log)
        shutil.rmtree(work / "linux-deb")
        tree: Path = work / package
        _patch(tree, KERNEL["patch"], f"Linux {version}")
        make = ["make", "ARCH=um", self.jobs]
        self._configure(tree, make, recipe)
        step("compile the kernel", [*make, "linux", "modules"], self.log, cwd=tree)
        return tree

    def _configure(self, tree: Path, make: list[str], recipe: dict[str, Any]) -> None:
        if recipe.get("only"):
            wanted = [f"CONFIG_{option}=y" for option in recipe["only"]]
            wanted += [f"CONFIG_{option}={value}" for option, value in recipe["values"].items()]
            (tree / "only.config").write_text("".join(f"{line}\n" for line in wanted))
            step("kernel options", [*make, "KCONFIG_ALLCONFIG=only.config", "allnoconfig"], self.log, cwd=tree)
            return
        config = [str(tree / "scripts/config"), "--file", str(tree / ".config")]
        for option in recipe["on"]:
            config += ["-e", option]
        for option in recipe["off"]:
            config += ["-d", option]
        for option, value in recipe["values"].items():
            config += ["--set-val", option, value]
        step("kernel defconfig", [*make, "x86_64_defconfig"], self.log, cwd=tree)
        step("kernel options", config, self.log, cwd=tree)
        step("kernel olddefconfig", [*make, "olddefconfig"], self.log, cwd=tree)

    def _zfs(self, apt: Apt, version: str, work: Path, tree: Path, recipe: dict[str, Any]) -> list[Path]:
        say(f"OpenZFS {version} for that kernel")
        apt.unpack("zfs-dkms", version, work / "zfs-deb", self.log)
        (source,) = (work / "zfs-deb/usr/src").glob("zfs-*")
        for patch in recipe.get("patches", ()):
            _patch(source, patch, f"OpenZFS {version}")
        configure = ["./configure", "--disable-dependency-tracking", "--prefix=/usr", "--with-config=kernel"]
        configure += [f"--with-linux={tree}", f"--with-linux-obj={tree}", "KERNEL_ARCH=um"]
        # 2.1 does not pass the first on to the kernel's make, which takes this for it.
        step("configure OpenZFS", configure, self.log, cwd=source, env={"ARCH": "um"})
        if "undefine" in recipe:
            found = source / "zfs_config.h"
            found.write_text(re.sub(rf"(?m)^#define {recipe['undefine']} 1$", "", found.read_text()))
        step("compile OpenZFS", ["make", "ARCH=um", self.jobs], self.log, cwd=source)
        modules = sorted((source / "module").rglob("*.ko"))
        if {m.name for m in modules} < {"spl.ko", "zfs.ko"}:
            raise LabError(f"OpenZFS built no module; see {self.log}")
        return modules

    def base(self, apt: Apt, versions: dict[str, str]) -> Path:
        """A folder with `root/`: Debian as the mirror has it, nothing of ours."""
        wanted = {p: versions[p] for p in (*GUEST_PACKAGES, "zfsutils-linux")}
        target = self.cache / f"base-{SUITE}-{_digest(wanted)}"
        if target.exists():
            return target
        say("root file system: Debian with OpenZFS's tools, about half a minute")
        later = (
            'chroot "$1" apt-get install -y -q --no-install-recommends'
            f' -t {BACKPORTS} zfsutils-linux={versions["zfsutils-linux"]} && chroot "$1" apt-get clean'
        )
        with fresh_dir(target) as out:
            argv = ["mmdebstrap", "--mode=root", "--variant=minbase", '--aptopt=APT::Install-Recommends "false"']
            argv += [f"--dpkgopt=path-exclude=/usr/share/{d}/*" for d in ("doc", "locale")]
            argv += [f"--include={','.join(GUEST_PACKAGES)}", f"--customize-hook={later}", SUITE, str(out / "root")]
            log = self.log.with_name("base.log")
            log.write_text("")
            step("Debian root file system", [*argv, *apt.lines], log, env={"DEBIAN_FRONTEND": "noninteractive"})
        return target

    def root(self, kernel: Path, base: Path) -> Image:
        """The disk image that every guest starts from: Debian, the ZFS modules, and the files in guest/."""
        release: str = json.loads((kernel / "versions.json").read_text())["kernel"]
        files = [(f.name, f.read_text(), f.stat().st_mode & 0o111) for f in sorted(GUEST_FILES.iterdir())]
        target = self.cache / f"root-{_digest(kernel.name, base.name, files, ROOT_FORMAT)}"
        if not target.exists():
            say("disk image")
            with (
                fresh_dir(target) as out,
                tempfile.TemporaryDirectory(prefix="tmp-scratch-", dir=self.cache) as scratch,
            ):
                root = Path(scratch) / "root"
                step("copy the root file system", ["cp", "-a", str(base / "root"), str(root)], self.log)
                shutil.copytree(kernel / "modules", root / "usr/lib/modules", dirs_exist_ok=True)
                step("depmod", ["depmod", "-b", str(root), release], self.log)
                shutil.copytree(GUEST_FILES, root / "lab")
                step("prepare the guest", ["chroot", str(root), "/lab/prepare"], self.log)
                shutil.copy(root / "lab/keys/control/id_ed25519", out / "id_ed25519")
                disk = out / "root.img"
                step("empty disk", ["truncate", "-s", "3G", str(disk)], self.log)
                step("file system", ["mkfs.ext4", "-q", "-d", str(root), str(disk)], self.log)
                second = out / "pool.img"
                step("empty disk for pools", ["truncate", "-s", "5G", str(second)], self.log)
                small = ["-N", "1024", "-m", "0", "-J", "size=16", "-E", "lazy_itable_init=0,lazy_journal_init=0"]
                step("its file system", ["mkfs.ext4", "-q", *small, str(second)], self.log)
        found = _read_parts(kernel, target)
        if found is None:
            raise LabError(f"{target} is not complete: remove it and try again")
        return found


ROOT_FORMAT = 1


def _read_parts(kernel: Path, root: Path) -> Image | None:
    versions = json.loads((kernel / "versions.json").read_text())
    disk = root / "root.img"
    return Image(kernel / "linux", disk, versions["kernel"], versions["zfs"]) if disk.exists() else None


def _patch(tree: Path, patch: dict[str, str], what: str) -> None:
    path, old, new = patch["file"], patch["old"], patch["new"]
    text = (tree / path).read_text()
    if old not in text:
        raise LabError(f"{path} of {what} does not have the line that the lab patches ({old})")
    (tree / path).write_text(text.replace(old, new))


def _safe(version: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", version)
