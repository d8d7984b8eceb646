"""The hooks of contrib/hooks, run as zrep runs them: the web's by a real curl to a server here."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.web import Server, listening
from zrep.host import programs

HOOKS = Path(__file__).parents[2] / "contrib/hooks"
LINE = "tank/a: lost beta (the link is \"cut\" & 'gone'); next: try: ssh beta true"
ABOUT = {"ZREP_FS": "tank/a", "ZREP_WHAT": "lost beta", "ZREP_LINE": LINE}
HOST = os.uname().nodename


@pytest.fixture
def server() -> Iterator[Server]:
    with listening() as made:
        yield made


def told(name: str, event: str, about: dict[str, str]) -> None:
    assert programs.bounded((str(HOOKS / name), event), about, 20.0) == (0, "")


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


@pytest.mark.thorough
@pytest.mark.skipif(not all(map(shutil.which, ("mosquitto", "mosquitto_sub"))), reason="no MQTT broker is installed")
def test_a_real_broker_passes_it_on(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    hook = tmp_path / "mqtt"
    hook.write_text((HOOKS / "mqtt").read_text().replace("mosquitto_pub ", f"mosquitto_pub -p {port} -r "))
    hook.chmod(0o755)
    with subprocess.Popen(["mosquitto", "-c", str(config)], stderr=subprocess.DEVNULL) as broker:
        give_up = time.monotonic() + 60
        while programs.bounded((str(hook), "trouble"), ABOUT, 20.0)[0] != 0:
            assert time.monotonic() < give_up  # until it listens
            time.sleep(0.1)
        words = ["mosquitto_sub", "-p", str(port), "-t", "zrep/#", "-C", "1", "-W", "60", "-v"]
        heard = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        broker.terminate()
    assert heard == f"zrep/{HOST}/trouble {LINE}\n"
