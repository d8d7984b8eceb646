"""The hooks of contrib/hooks, run as zrep runs them: the web's by a real curl to a server here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.web import Server, listening
from zrep.host import process

HOOKS = Path(__file__).parents[2] / "contrib/hooks"
LINE = "tank/a: lost beta (the link is \"cut\" & 'gone'); next: try: ssh beta true"
ABOUT = {"ZREP_FS": "tank/a", "ZREP_WHAT": "lost beta", "ZREP_LINE": LINE}
HOST = os.uname().nodename


@pytest.fixture
def server() -> Iterator[Server]:
    with listening() as made:
        yield made


def told(name: str, event: str, about: dict[str, str]) -> None:
    assert process.bounded((str(HOOKS / name), event), about, 20.0) == (0, "")


def url(server: Server) -> dict[str, str]:
    return {"URL": f"http://127.0.0.1:{server.server_port}/zrep"}


def test_a_webhook_gets_the_facts_as_a_form(server: Server) -> None:
    told("webhook", "trouble", ABOUT | url(server))
    [(path, body)] = server.heard
    assert path == "/zrep"
    assert parse_qs(body) == {"host": [HOST], "event": ["trouble"], "fs": ["tank/a"], "text": [LINE]}
    told("webhook", "before-promote", ABOUT | url(server))
    assert len(server.heard) == 1


def test_a_ping_fails_and_comes_back(server: Server) -> None:
    for event in ("trouble", "over", "after-promote"):
        told("ping", event, ABOUT | url(server))
    assert server.heard == [("/zrep/fail", LINE), ("/zrep", LINE)]


@pytest.mark.parametrize(
    ("name", "program", "words", "said"),
    [
        ("mail", "mail", ["-s", f"zrep on {HOST}: trouble: lost beta", "root"], f"{LINE}\n"),
        ("mqtt", "mosquitto_pub", ["-h", "localhost", "-t", f"zrep/{HOST}/trouble", "-m", LINE], ""),
    ],
)
def test_a_program_gets_the_facts(tmp_path: Path, name: str, program: str, words: list[str], said: str) -> None:
    (tmp_path / program).write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words\ncat > {tmp_path}/said\n')
    (tmp_path / program).chmod(0o755)
    told(name, "trouble", ABOUT | {"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert (tmp_path / "words").read_text().splitlines() == words
    assert (tmp_path / "said").read_text() == said
