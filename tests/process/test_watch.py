"""status --watch on a real terminal, over two hosts of the model."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from contextlib import suppress

import pytest

from tests.model import World
from tests.process.program import Program

pytestmark = pytest.mark.thorough


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, words: list[str], env: dict[str, str]) -> None:
        self._own, theirs = pty.openpty()
        # It has a terminal of its own, where ^C is a signal.
        self.child = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *words], env=env, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self.shown = ""

    def wait_for(self, text: str, seconds: float = 60.0) -> None:
        """Read until it has shown a text since the last one."""
        give_up = time.monotonic() + seconds
        while not re.search(text, self.shown):
            ready, _, _ = select.select([self._own], [], [], max(0.0, give_up - time.monotonic()))
            assert ready, self.shown
            try:
                self.shown += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(self._own, 65536).decode())
            except OSError as error:
                raise AssertionError(self.shown) from error
        self.shown = ""

    def press(self, key: bytes) -> None:
        os.write(self._own, key)

    def ended(self) -> int:
        """Its exit status, once what it still had to show is read."""
        give_up = time.monotonic() + 60
        with suppress(OSError):  # it has ended
            while select.select([self._own], [], [], max(0.0, give_up - time.monotonic()))[0]:
                os.read(self._own, 65536)
        return self.child.wait(60)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    folder = tmp_path_factory.mktemp("hosts")
    world = World(folder / "world")
    made = Program(world, folder)
    world.host("alpha").sh("zfs create tank/a")
    done = made.run("alpha", "init", "tank/a", "beta", "tank/b")
    assert done.returncode == 0, done.stderr
    return made


def test_it_is_redrawn_until_a_key_quits(program: Program) -> None:
    words, env = program.command("alpha", "status", "--watch", "1", "tank/a")
    terminal = Terminal(words, env)
    terminal.wait_for(r"tank/a +master +beta:tank/b +ok")
    assert program.run("alpha", "pause", "--reason", "moving house", "tank/a").returncode == 0
    terminal.wait_for(r"tank/a: paused: moving house")
    terminal.press(b"x")  # no key of it
    terminal.wait_for("every 1 s; q quits")
    terminal.press(b"q")
    assert terminal.ended() == 0


def test_ctrl_c_quits_like_a_key(program: Program) -> None:
    words, env = program.command("alpha", "status", "--watch", "tank/a")
    terminal = Terminal(words, env)
    terminal.wait_for(r"tank/a +master +beta:tank/b")
    terminal.press(b"\x03")
    assert terminal.ended() == 0
