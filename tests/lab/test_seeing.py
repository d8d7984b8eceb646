"""What is seen of real hosts: what their pools remember of role changes, and what syslog is told."""

from __future__ import annotations

import json
import re

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import HEARD, hear_syslog, made, silent, until

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def pair(lab: Lab) -> tuple[Host, Host]:
    lab.reset()
    alpha, beta = lab
    made(alpha, "tank/a")
    silent(alpha, "zrep init tank/a beta tank/b")
    return alpha, beta


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
        assert [what.partition(" since ")[0] for host, _, what in moved if host == "beta"][-2:] == [
            "paused: moving house",
            "pause ended",
        ]
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
        hear_syslog(beta)
        beta.run("zrep failover tank/b")
        heard = until(beta, f"cat {HEARD}", "demote")
        assert re.search(
            r"<29>.* zrep\[\d+\]: after-demote: fs=tank/b tag=zrep epoch=3 peer=alpha peer_fs=tank/a", heard
        )
        beta.run("rm -f /dev/log")

    @pytest.mark.thorough
    def test_a_stream_under_way_is_told_on_either_side_and_its_end(self, pair: tuple[Host, Host], lab: Lab) -> None:
        """Where the wire has room, and where streams fill it, so that the other side cannot be asked."""
        alpha, _ = pair
        alpha.run("zrep changeconfig --bwlimit 1M tank/a")
        for mode, rate in (("room", "100mbit"), ("full", "8mbit")):
            alpha.run(f"head -c 24M /dev/urandom > /tank/a/{mode}; zpool sync")
            lab.slow(alpha, rate=rate)
            sync = alpha.popen("zrep sync tank/a")
            far = {host.name: until(host, "zrep status -H -o state,moving", r"ok\tsending [1-9]\d? %") for host in pair}
            lab.heal()
            assert sync.wait(120) == 0
            for host in pair:
                assert re.search(r"ok\tsending \d+ %(, (\d+[smhd] )+left)?\n", far[host.name]), (mode, far)
                assert host.run("zrep status -H -o state,moving").out == "ok\t-\n"
