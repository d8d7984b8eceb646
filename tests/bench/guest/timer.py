"""Runs in a guest, with whatever Python is there: times commands one after the other, without any network in between.

stdin: a JSON list of jobs {"name", "argv", "before", "after"}: `before` and `after` are shell commands that are not
timed and must succeed. stdout: one line of JSON for each job, as soon as it has ended: {"name", "seconds", "status",
"user", "system", "error"}; user and system are seconds of processor time of the process itself, without its children.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")


def shell(command: "str | None") -> None:
    if command:
        done = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{command}: exit {done.returncode}: {done.stderr[-400:]}")


def own_time(pid: int) -> "tuple[float, float]":
    """Of a process that has ended and was not waited for yet."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


def timed(job: "dict[str, Any]") -> "dict[str, Any]":
    with tempfile.TemporaryFile() as said:
        begin = time.monotonic()
        child = subprocess.Popen(job["argv"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        seconds = time.monotonic() - begin
        user, system = own_time(child.pid)
        status = child.wait()
        said.seek(0)
        error = said.read()[-2000:].decode(errors="replace")
    return {"name": job["name"], "seconds": seconds, "status": status, "user": user, "system": system, "error": error}


for job in json.load(sys.stdin):
    shell(job.get("before"))
    record = timed(job)
    print(json.dumps(record), flush=True)
    shell(job.get("after"))
