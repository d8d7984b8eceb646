"""Processes: what either end of a stream may say, whoever it is."""

from __future__ import annotations

import resource
import sys

import pytest

from zrep.host.process import Processes, Progress

ENDLESS = "while len(said) < 40: sys.stderr.write({!r} * 100_000); said += [0]"


def say(script: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import sys; said = []\n{script}")


@pytest.mark.parametrize(
    "line",
    ["size\t\u00b2", "size\t" + "9" * 5000, "12:00:00\t" + "9" * 5000 + "\tx", "12:00:00\t\u00b2\tx", "size\t-1"],
)
def test_a_number_that_is_none_is_no_progress(line: str) -> None:
    told: list[Progress] = []
    sent, _ = Processes().pipe(
        say(f"sys.stderr.buffer.write({line.encode()!r} + b'\\n')"), ("cat",), progress=told.append
    )
    assert (sent.status, told) == (0, [])


@pytest.mark.parametrize("piece", ["x", "x\n", "\rsummary: 1 MiB"])
@pytest.mark.parametrize("end", [0, 1])
def test_of_what_is_said_without_end_the_beginning_and_the_end_are_kept(piece: str, end: int) -> None:
    chatty = say(f"sys.stderr.write('first\\n')\n{ENDLESS.format(piece)}\nsys.stderr.write('\\nlast\\n')")
    quiet = ("cat",) if end else ("true",)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ended = Processes().pipe(*((quiet, chatty) if end else (chatty, quiet)))
    said = ended[end].err
    assert (said.startswith("first\n"), said.rstrip().endswith("last"), len(said) < 200_000) == (True, True, True)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 3 << 10
