"""A stream that moves is seen by the process that reads it, without a byte of it passing through zrep."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from zrep.host.procfs import read, runs_of_receives


def runs_once_it_waits(pid: int, deadline: float) -> int:
    """How often the receives into tank/b have gone on, read while it is asleep (state S of proc_pid_stat(5)) and
    again a moment later: the kernel shows it asleep before it counts the sleep."""
    while True:
        assert time.monotonic() < deadline
        before = runs_of_receives({"tank/b"})
        time.sleep(0.05)
        asleep = read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] == "S"
        if asleep and 0 < before == runs_of_receives({"tank/b"}):
            return before


def test_a_receive_whose_bytes_arrive_has_gone_on(tmp_path: Path) -> None:
    (tmp_path / "receive").write_text("import os\nwhile os.read(0, 65536): os.write(1, b'.')\n")
    words = ["zfs", "receive", "-s", "-u", "tank/b"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, executable=sys.executable, cwd=tmp_path, stdin=pipe, stdout=pipe, bufsize=0) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(b"first")
        child.stdout.read(1)
        deadline = time.monotonic() + 60
        while runs_of_receives({"tank/b"}) != (before := runs_of_receives({"tank/b"})) or not before:
            assert time.monotonic() < deadline  # until it waits for more
        assert runs_of_receives({"tank/b", "tank/c"}) == before
        child.stdin.write(b"more")
        child.stdout.read(1)
        while runs_of_receives({"tank/b"}) == before:
            assert time.monotonic() < deadline
        assert runs_of_receives({"tank/c"}) == runs_of_receives(set()) == 0
        child.stdin.close()
