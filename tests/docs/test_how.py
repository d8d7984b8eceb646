"""A recipe of HOW DO I in zrep(8) that no other test types: read from the page, typed on two hosts of the model."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.model import World
from tests.process.program import Program

MAN = Path(__file__).parents[2] / "man/zrep.8"


def recipe(question: str) -> list[tuple[str, str]]:
    """The lines of an answer: each with its host."""
    found = re.search(
        rf"^\.It {re.escape(question)}$.*?^\.Bd -literal -compact\n(.*?)^\.Ed$", MAN.read_text(), re.M | re.S
    )
    assert found, question
    return [(host, line) for host, line in re.findall(r"^(\w+)# (.*)$", found[1], re.M)]


def test_a_disk_that_is_carried_over(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    program = Program(world, tmp_path)
    alpha, beta = world.host("alpha"), world.host("beta")
    alpha.sh("zfs create tank/data")
    alpha.write("tank/data", "file", b"much")
    steps = recipe("begin with a disk that is carried over?")
    assert len(steps) == 4
    for host, line in steps:
        _, env = program.command(host)
        env |= {"PATH": f"{tmp_path}:{env['PATH']}"}
        words = ["sh", "-c", line.replace("/mnt/usb", str(tmp_path))]
        done = subprocess.run(
            words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, (line, done.stderr)
    alpha.write("tank/data", "later", os.urandom(4))
    assert program.run("alpha", "sync", "all").returncode == 0
    assert beta.read("tank/data").keys() == {"file", "later"}
    assert program.run("beta", "status", "-H", "-o", "state").stdout == "ok\n"
