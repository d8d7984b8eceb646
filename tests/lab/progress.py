"""Say what is being done and for how long; run the commands that do it."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

HEARTBEAT = 15.0
_started = time.monotonic()
_running: set[subprocess.Popen[bytes]] = set()


class LabError(Exception):
    """The lab cannot be built or used here: one line that a person can act on."""


def say(text: str) -> None:
    """One progress line, with the seconds since this program started."""
    print(f"lab [{time.monotonic() - _started:4.0f}s] {text}", file=sys.stderr, flush=True)


def output(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> str:
    """The stdout of a command that is quick and must work."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=_env(env), check=False
        )
    except OSError as e:
        raise LabError(f"{argv[0]}: {e.strerror}") from e
    if done.returncode:
        raise LabError(f"{shlex.join(argv)}: exit {done.returncode}: {_last_line(done.stderr or done.stdout)}")
    return done.stdout


def step(
    name: str, argv: Sequence[str], log: Path, *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Run one long command, output to `log`, with a sign of life every few seconds; its process group ends with us."""
    start = time.monotonic()
    with log.open("ab") as out:
        out.write(f"\n== {name}: {shlex.join(argv)}\n".encode())
        out.flush()
        proc = subprocess.Popen(
            argv, cwd=cwd, env=_env(env), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
        _running.add(proc)
        try:
            while True:
                try:
                    rc = proc.wait(HEARTBEAT)
                    break
                except subprocess.TimeoutExpired:
                    say(f"  {name}: {time.monotonic() - start:.0f} s, {_tail(log)}")
        except BaseException:
            say(f"  {name}: interrupted, removing what is half done")
            _end_group(proc)
            raise
        finally:
            _running.discard(proc)
    if rc:
        raise LabError(f"{name} failed (exit {rc}): {_reason(log)}; the whole output is in {log}")
    say(f"  {name}: done in {time.monotonic() - start:.0f} s")


def end_steps() -> None:
    """End the steps that other threads are in the middle of."""
    for proc in list(_running):
        _end_group(proc)


def _env(extra: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C", **(extra or {})}


def _end_group(proc: subprocess.Popen[bytes]) -> None:
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(proc.pid, sig)
            proc.wait(10)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "(no output)"


def _tail(log: Path) -> str:
    with log.open("rb") as f:
        f.seek(max(0, log.stat().st_size - 2000))
        return _last_line(f.read().decode(errors="replace"))[:90]


def _reason(log: Path) -> str:
    """The line of a failed command's output that most likely says why."""
    lines = log.read_text(errors="replace").splitlines()[-200:]
    for line in reversed(lines):
        if "No space left" in line:
            return "the disk is full"
        if line.startswith(("E:", "configure: error")) or " error: " in line:
            return line.strip()[:300]
    return _last_line("\n".join(lines))
