"""What is seen of real hosts: what their pools remember of role changes, and what syslog is told."""

from __future__ import annotations

import json
import re
import time

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import made, silent

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def pair(lab: Lab) -> tuple[Host, Host]:
    lab.reset()
    alpha, beta = lab
    made(alpha, "tank/a")
    silent(alpha, "zrep init tank/a beta tank/b")
    return alpha, beta


def until(host: Host, command: str, wanted: str) -> str:
    """What a command prints once it is wanted."""
    give_up = time.monotonic() + 30
    while not re.search(wanted, found := host.run(command, check=False).out):
        assert time.monotonic() < give_up, found
    return found


class TestSeeing:
    def test_the_pools_remember_who_moved_a_role(self, pair: tuple[Host, Host]) -> None:
        alpha, beta = pair
        alpha.run("zrep failover tank/a")
        beta.run("zrep pause --reason 'moving house' tank/b && zrep unpause tank/b")
        events = json.loads(beta.run("zrep history --json").out)["events"]
        moved = [(each["host"], each["filesystem"], each["what"]) for each in events if each["role"]]
        assert ("alpha", "tank/a", "master, epoch 1") in moved
        assert ("beta", "tank/b", "master, epoch 2") in moved
        assert ("alpha", "tank/a", "replica, epoch 2") in moved
        assert [what.partition(" since ")[0] for _, _, what in moved[-2:]] == ["paused: moving house", "pause ended"]
        assert {each["who"] for each in events if each["role"]} <= {"alpha", "beta", "root@alpha", "root@beta"}
        assert abs(events[-1]["at"] - int(beta.run("date +%s").out)) < 60
        shown = alpha.run("zrep history tank/a").out
        assert re.search(
            r"^\d{4}-\d\d-\d\d [\d:]{8}  beta:tank/b  master, epoch 2  \((root@)?beta\)$", shown, re.MULTILINE
        )
        assert "-v shows them" in shown
        assert "received" in alpha.run("zrep history -v tank/a").out

    def test_syslog_is_told(self, pair: tuple[Host, Host]) -> None:
        """Whatever listens on /dev/log gets a line for a role change, and for a trouble of cron's."""
        _, beta = pair
        listener = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind('/dev/log'); "
            "s.settimeout(60); print(s.recv(2000).decode(), flush=True)"
        )
        beta.run(f'rm -f /dev/log; setsid python3 -c "{listener}" </dev/null >/var/log/heard 2>&1 &')
        beta.run("until [ -S /dev/log ]; do sleep 0.1; done", timeout=20)
        beta.run("zrep failover tank/b")
        heard = until(beta, "cat /var/log/heard", "demote")
        assert re.search(
            r"<29>.* zrep\[\d+\]: after-demote: fs=tank/b tag=zrep epoch=3 peer=alpha peer_fs=tank/a", heard
        )
        beta.run("rm -f /dev/log")

    def test_a_stream_under_way_is_told_on_either_side_and_its_end(self, pair: tuple[Host, Host], lab: Lab) -> None:
        """Where the wire has room, and where streams fill it, so that the other side cannot be asked."""
        alpha, _ = pair
        alpha.run("zrep changeconfig --bwlimit 1M tank/a")
        for mode, rate in (("room", "100mbit"), ("full", "8mbit")):
            alpha.run(f"head -c 24M /dev/urandom > /tank/a/{mode}; zpool sync")
            lab.slow(alpha, rate=rate)
            sync = alpha.popen("zrep sync tank/a")
            far = {host.name: until(host, "zrep status -H -o state,moving", r"sending [1-9]\d? %") for host in pair}
            lab.heal()
            assert sync.wait(120) == 0
            for host in pair:
                assert re.search(r"(ok|peer unknown)\tsending \d+ %(, \d+s left)?\n", far[host.name]), (mode, far)
                assert host.run("zrep status -H -o state,moving").out == "ok\t-\n"
