"""Debian's own Prometheus: unpacked, not installed, so that no service starts on this machine."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.lab import build
from tests.lab.slot import Slot

PACKAGES = ("prometheus", "prometheus-node-exporter")
SERVER = "127.0.0.1:9090"


def programs() -> Path:
    """The folder with promtool, prometheus and prometheus-node-exporter, fetched the first time."""
    cache = build.cache_dir()
    target = cache / "prometheus"
    cache.mkdir(parents=True, exist_ok=True)
    with build.one_at_a_time(cache / "prometheus.lock", "the fetching of Prometheus"):
        if not (target / "ready").exists():
            log = cache / "prometheus.log"
            apt = build.Apt(cache / "apt-prometheus")
            apt.update(log)
            for package, version in apt.versions(PACKAGES).items():
                into = target / package
                if not into.exists():
                    apt.unpack(package, version, into, log)
            (target / "bin").mkdir(exist_ok=True)
            for program in target.glob("*/usr/bin/*"):
                program.replace(target / "bin" / program.name)
            (target / "ready").touch()
    return target / "bin"


def promtool(*words: str, text: str | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool; text: its standard input."""
    argv = [str(programs() / "promtool"), *words]
    return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, cwd=cwd, check=False)


class Server:
    """A Prometheus in a lab's network."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def query(self, expression: str) -> list[dict[str, str]]:
        """The labels of each series that an expression has now, with its value under ``value``."""
        argv = [str(programs() / "promtool"), "query", "instant", "-o", "json", f"http://{SERVER}", expression]
        done = subprocess.run(self._slot.inside(*argv), capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, f"{expression}: {done.stderr}"
        return [{**each["metric"], "value": each["value"][1]} for each in json.loads(done.stdout)]

    def until(self, expression: str, seconds: float = 60) -> list[dict[str, str]]:
        """The same, as soon as there is one."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = self.query(expression)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                found = []
            if found or time.monotonic() > deadline:
                return found
            time.sleep(0.5)


@contextmanager
def serving(slot: Slot, folder: Path, targets: Sequence[str], rules: Path) -> Iterator[Server]:
    """A Prometheus in a lab's network that asks these targets each second, its data in a folder."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "zrep", "static_configs": [{"targets": list(targets)}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    argv = [
        str(programs() / "prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={SERVER}",
        "--log.level=warn",
    ]
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(slot.inside(*argv), stdout=log, stderr=log)
        try:
            yield Server(slot)
        finally:
            running.terminate()
            running.wait(30)
