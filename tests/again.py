"""Run pytest with the words given; a few that fail are run once more, each alone on the machine.

Tests of real processes and real hosts share two processors with one another and with whatever else the machine does.
One that fails among others and passes alone is named at the end and does not fail the run: it is a fault to look for,
of the test or of zrep. One that fails alone too fails the run, and so do more than a few at once.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

FEW = 3
"""So many failures are run again; more have a common cause."""

_TESTS_FAILED = 1  # pytest.ExitCode.TESTS_FAILED


def failed(cache: Path) -> list[str]:
    """The tests, by their node ids, that pytest's last run with this cache directory says have failed."""
    record = cache / "v" / "cache" / "lastfailed"
    return sorted(json.loads(record.read_text())) if record.exists() else []


def run(words: list[str]) -> int:
    """Run pytest, and again what few tests of it have failed. Returns its exit code, 0 where these passed alone."""
    with tempfile.TemporaryDirectory() as folder:
        pytest = [sys.executable, "-m", "pytest", *words, "-o", f"cache_dir={folder}"]
        code = subprocess.run(pytest, check=False).returncode
        first = failed(Path(folder))
        if code != _TESTS_FAILED or not 0 < len(first) <= FEW:
            return code
        print(f"\n{len(first)} failed. Once more, alone:", *first, sep="\n    ", flush=True)
        code = subprocess.run([*pytest, "--last-failed", "-n", "0"], check=False).returncode
        if code == 0:
            print("\nFailed among others, passed alone (a fault to look for):", *first, sep="\n    ", flush=True)
        return code


if __name__ == "__main__":
    # Ctrl-C is for pytest, which has hosts to end; subprocess.run would kill it after a quarter of a second.
    signal.signal(signal.SIGINT, lambda *_: None)
    sys.exit(run(sys.argv[1:]))
