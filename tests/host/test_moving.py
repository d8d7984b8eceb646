"""A stream that moves is seen by the process that reads it, without a byte of it passing through zrep."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zrep.core.requests import EndReceive, IsArriving
from zrep.host.local import LocalHost
from zrep.host.locks import Locks
from zrep.host.procfs import read, runs_of_receives
from zrep.host.streams import Admission, under_locks

# In the place of zfs receive: it says each time that something has come.
RECEIVE = "import os\nwhile os.read(0, 65536): os.write(1, b'.')\n"


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
    (tmp_path / "receive").write_text(RECEIVE)
    words = ["zfs", "receive", "-s", "-u", "tank/b"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, executable=sys.executable, cwd=tmp_path, stdin=pipe, stdout=pipe, bufsize=0) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(b"first")
        child.stdout.read(1)
        deadline = time.monotonic() + 60
        before = runs_once_it_waits(child.pid, deadline)
        assert runs_of_receives({"tank/b", "tank/c"}) == before
        child.stdin.write(b"more")
        child.stdout.read(1)
        while runs_of_receives({"tank/b"}) == before:
            assert time.monotonic() < deadline
        assert runs_of_receives({"tank/c"}) == runs_of_receives(set()) == 0
        child.stdin.close()


class TestLeft:
    """A receive that was let in, and waits for the rest of its stream."""

    @pytest.fixture
    def granting(self, tmp_path: Path) -> Locks:
        return Locks(str(tmp_path))

    @pytest.fixture
    def receive(self, tmp_path: Path, granting: Locks) -> Iterator[subprocess.Popen[bytes]]:
        (tmp_path / "zfs").symlink_to(sys.executable)
        (tmp_path / "receive").write_text(RECEIVE)
        granting.take("tank/b")
        command = (str(tmp_path / "zfs"), "receive", "-s", "-u", "tank/b")
        argv = under_locks([Admission(command, *granting.grant("tank/b"))], marked=False)
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, cwd=tmp_path, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0) as child:
            assert child.stdin
            assert child.stdout
            child.stdin.write(b"first")
            child.stdout.read(1)
            yield child
            child.stdin.close()

    def ended(self, tmp_path: Path, quiet: float) -> int:
        return LocalHost(directory=str(tmp_path)).ask(EndReceive("tank/b", quiet))

    def test_it_is_seen_to_move_only_while_something_comes(
        self, tmp_path: Path, receive: subprocess.Popen[bytes]
    ) -> None:
        host = LocalHost(directory=str(tmp_path))
        runs_once_it_waits(receive.pid, time.monotonic() + 60)
        assert not host.ask(IsArriving(("tank/b",), 0.2))
        assert not host.ask(IsArriving(("tank/c",), 60.0))  # nobody receives into it: nothing to wait for
        assert receive.stdin
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(host.ask, IsArriving(("tank/b",), 60.0))
            while not asked.done():
                receive.stdin.write(b"more")
                time.sleep(0.01)
        assert asked.result()

    def test_it_is_ended_once_nothing_comes_and_the_zrep_that_let_it_in_is_gone(
        self, tmp_path: Path, granting: Locks, receive: subprocess.Popen[bytes]
    ) -> None:
        assert self.ended(tmp_path, 0.1) == 0
        assert receive.poll() is None
        granting.drop("tank/b")
        deadline = time.monotonic() + 60
        while self.ended(tmp_path, 0.1) != 1:
            assert time.monotonic() < deadline  # until it waits for more
        assert receive.wait(60) != 0
        assert self.ended(tmp_path, 0.1) == 0

    def test_one_into_which_something_comes_is_let_be(
        self, tmp_path: Path, granting: Locks, receive: subprocess.Popen[bytes]
    ) -> None:
        granting.drop("tank/b")
        assert receive.stdin
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(self.ended, tmp_path, 60.0)
            while not asked.done():
                receive.stdin.write(b"more")
                time.sleep(0.01)
        assert asked.result() == 0
        assert receive.poll() is None

    @pytest.mark.parametrize(("closed", "ended"), [(True, 0), (False, 1)], ids=["its end comes", "silent again"])
    def test_the_rest_that_comes_after_a_pause_is_waited_for(
        self, tmp_path: Path, granting: Locks, receive: subprocess.Popen[bytes], closed: bool, ended: int
    ) -> None:
        """What a connection that was cut in silence still had, once the way is free: nobody sends to it any more."""
        granting.drop("tank/b")
        assert receive.stdin
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(self.ended, tmp_path, 4.0)
            time.sleep(2.5)
            receive.stdin.write(b"more")
            time.sleep(0.5)
            assert not asked.done()
            if closed:
                receive.stdin.close()
            assert asked.result() == ended
        assert (receive.wait(60) == 0) == closed
