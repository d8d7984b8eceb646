"""The helper as a process: what is no request is answered with one error, is not carried out, and ends it cleanly."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from zrep.core.requests import Identify, Lock, ReadChildren, Request
from zrep.wire.messages import PROTOCOL, REQUEST_BYTES, Ask, Beat, encode

PROGRAM = [sys.executable, "-c", "from zrep.cli.main import main; main()", "peer"]
ZFS = """#!/bin/sh
echo "$@" >> {ran}
echo zfs-2.3.2
"""
SETTINGS = {"ZREP_HOST": "beta", "ZREP_LIBRARY": "no"}
MIB = 1 << 20
# Run a program, write its peak memory in KiB into a file, and end as it does.
STARTER = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(child.pid, 0)
open(sys.argv[1], "w").write(str(usage.ru_maxrss))
os._exit(os.waitstatus_to_exitcode(status))
"""


class Helper:
    """zrep peer, with a zfs that notes what it is started for."""

    def __init__(self, folder: Path) -> None:
        self.ran = folder / "ran"
        program = folder / "zfs"
        program.write_text(ZFS.format(ran=self.ran))
        program.chmod(0o755)
        self._peak = folder / "peak"
        # Started by a small process: one that the tests' own forks begins its peak with theirs.
        self.child = subprocess.Popen(
            (sys.executable, "-c", STARTER, str(self._peak), *PROGRAM),
            env={
                "PATH": f"{folder}:/usr/bin:/bin",
                "ZREP_RUNDIR": str(folder),
                "ZREP_HOST": "beta",
                "ZREP_LIBRARY": "no",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def send(self, data: bytes) -> None:
        assert self.child.stdin
        self.child.stdin.write(data)
        self.child.stdin.flush()

    def say(self) -> dict[str, Any]:
        """The next thing it says, but for its beats."""
        assert self.child.stdout
        while line := self.child.stdout.readline():
            said: dict[str, Any] = json.loads(line)
            if said.get("type") != "Beat":
                return said
        return {}

    def ask(self, number: int, request: Request[Any]) -> None:
        self.send(encode(Ask(number, request)))

    def end(self) -> tuple[int, bytes, int]:
        """Its exit status, what it wrote to stderr, and its peak memory in bytes."""
        assert self.child.stderr
        said = self.child.stderr.read()
        return self.child.wait(), said, int(self._peak.read_text()) * 1024


@pytest.fixture
def helper(tmp_path: Path) -> Iterator[Helper]:
    started = Helper(tmp_path)
    assert started.say() == {"greeting": "zrep-peer", "protocol": PROTOCOL}
    yield started
    with started.child as child, suppress(OSError):
        child.kill()


def test_it_answers_and_ends_when_nobody_is_left_who_asks(helper: Helper) -> None:
    helper.ask(5, Identify())
    said = helper.say()
    assert (said["type"], said["number"], said["answer"]["host"]) == ("Answered", 5, "beta")
    helper.send(encode(Beat()))
    assert helper.child.stdin
    helper.child.stdin.close()
    assert helper.end()[:2] == (0, b"")


def test_an_error_is_an_answer(helper: Helper) -> None:
    helper.ask(1, Lock(("tank/a",), 0))
    assert helper.say()["answer"] == []
    helper.ask(2, ReadChildren("tank/a"))
    assert helper.say()["answer"] == ["zfs-2.3.2"]
    helper.send(b'{"type":"Ask","number":3,"request":{"type":"TakeRole","tag":"zrep","step":{"type":"TakeRole",'
                b'"end":"source","dataset":"tank/a","expected":"x","identity":"","properties":[]}}}\n')  # fmt: skip
    said = helper.say()
    assert (said["type"], said["number"], said["failure"]["kind"]) == ("Failed", 3, "FailedError")


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\n",
        b"\x00\xff\n",
        b"\n",
        b"{}\n",
        b'{"type":"Ask","number":1,"request":{"type":"Run","argv":["zfs","destroy"]}}\n',
        b'{"type":"Ask","number":1,"request":{"type":"CarryOut","steps":'
        b'[{"type":"Mount","end":"source","dataset":"tank/a"},{"type":"Mount","end":"source","dataset":"-a"}]}}\n',
        b'{"id": 1, "call": "run", "args": [["zfs", "list"]]}\n',
        b"[" * 100_000 + b"\n",
        b'{"type":"Beat"}\nx\n{"type":"Ask","number":1,"request":{"type":"Identify"}}\n',
    ],
    ids=lambda garbage: garbage[:50].decode(errors="replace"),
)
def test_what_is_no_request_is_one_error_and_the_end(helper: Helper, garbage: bytes) -> None:
    helper.send(garbage)
    said = helper.say()
    assert (said["type"], said["number"], said["failure"]["kind"]) == ("Failed", 0, "RefusedError")
    assert said["failure"]["what"].startswith("beta was sent what is no request")
    assert helper.say() == {}
    assert helper.end()[:2] == (1, b"")
    assert not helper.ran.exists()


def test_a_line_that_is_cut_is_not_carried_out(helper: Helper) -> None:
    helper.send(encode(Ask(1, Identify())).removesuffix(b"}\n"))
    assert helper.child.stdin
    helper.child.stdin.close()
    assert helper.say()["number"] == 0
    assert helper.end()[:2] == (1, b"")
    assert not helper.ran.exists()


@pytest.mark.parametrize("piece", [b"x" * 65536, b'["tank/a",' * 6553, b'"' * 65536], ids=["x", "list", "quotes"])
def test_a_line_without_end_takes_no_memory_without_end(helper: Helper, piece: bytes) -> None:
    def flood() -> None:
        try:
            for _ in range(4096):  # 256 MiB
                helper.send(piece)
        except OSError:
            pass  # it has ended

    flooding = threading.Thread(target=flood)
    flooding.start()
    said = helper.say()
    flooding.join()
    assert (said["number"], "too long" in said["failure"]["what"]) == (0, True)
    status, wrote, peak = helper.end()
    assert (status, wrote) == (1, b"")
    assert peak < 4 * REQUEST_BYTES + 40 * MIB


RECALL = b'{"type":"Recall","keys":[%b]}'
REMEMBER = b'{"type":"Remember","records":{%b}}'


@pytest.mark.parametrize(
    ("request_", "lines"),
    [
        (RECALL % b",".join([b'"a"'] * (REQUEST_BYTES // 4 - 100)), 1),
        (RECALL % b",".join([b'"a"'] * 200_000), 6),
        (REMEMBER % b",".join(b'"%x":{}' % number for number in range(800_000)), 1),
    ],
    ids=["one", "several", "records"],
)
def test_what_is_made_of_requests_takes_no_more_memory_than_they_may(
    helper: Helper, request_: bytes, lines: int
) -> None:
    """A letter between quotes takes twenty times as much once it is read; of several that are under way all count."""
    for number in range(1, lines + 1):
        with suppress(OSError):
            helper.send(b'{"type":"Ask","number":%d,"request":%b}\n' % (number, request_))
    said = helper.say()
    while said and said["number"]:
        said = helper.say()
    assert "too much was asked at once" in said["failure"]["what"]
    assert helper.end()[2] < 4 * REQUEST_BYTES + 40 * MIB


def test_too_many_requests_at_once_are_no_more_carried_out(helper: Helper) -> None:
    helper.ran.with_name("zfs").write_text("#!/bin/sh\nexec sleep 1\n")
    helper.send(encode(Ask(1, ReadChildren("tank/a"))) * 400)
    said = helper.say()
    while said and said["number"]:
        said = helper.say()
    assert "too much" in said["failure"]["what"]
