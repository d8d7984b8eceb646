"""Roles that never rest: planned changes one after the other while cron of both hosts syncs every few seconds and
applications on both write wherever they may. What fsync acknowledged is there at the end."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.progress import say
from tests.lab.zrep_on import BUSY, OK, in_step, local, made, silent
from tests.waiting import wait_for

FILESYSTEM = "tank/a"
# So many of them; more by hand: each waits for the runs of cron on both hosts.
CHANGES = int(os.environ.get("ZREP_LAB_CHANGES", "4"))
# Whoever writes asks for no role: it tries, on either host. The file is there on the filesystem alone, and is never
# made, so that nothing is written to an empty mountpoint; each line that was acknowledged is noted elsewhere.
WRITER = r"""
import os, socket, time
acknowledged, number = open("/root/acknowledged", "a", buffering=1), 0
while not os.path.exists("/root/enough"):
    line = f"{socket.gethostname()} {number}\n"
    try:
        file = os.open("/tank/a/log", os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, line.encode())
            os.fsync(file)
        finally:
            os.close(file)
        acknowledged.write(line)
        number += 1
    except OSError:
        pass
    time.sleep(0.02)
"""
# These files are on the hosts of the lab, whose /root is as on the first day after each reset.
CRON = "until [ -e /root/enough ]; do zrep sync all >> /root/said 2>&1; echo $? >> /root/ended; sleep 20; done"


@pytest.fixture
def storm(lab: Lab) -> Iterator[tuple[Host, Host]]:
    lab.reset()
    alpha, beta = lab
    made(alpha, FILESYSTEM)
    alpha.run("touch /tank/a/log")
    silent(alpha, f"zrep init {FILESYSTEM} beta {FILESYSTEM}")
    running = []
    for host in lab:
        running += [host.popen(f"exec python3 -c {shlex.quote(WRITER)}"), host.popen(CRON)]
    yield alpha, beta
    for host in lab:
        host.run("touch /root/enough")
    for each in running:
        each.communicate(timeout=120)


def masters(hosts: tuple[Host, Host]) -> list[str]:
    return [host.name for host in hosts if local(host, FILESYSTEM, "zrep:master") == "yes"]


class TestStorm:
    def test_what_was_acknowledged_is_on_the_last_master(self, storm: tuple[Host, Host]) -> None:
        random, ended, changes = Random(20), Counter[int](), 0
        while changes < CHANGES:
            assert sum(ended.values()) < 10 * CHANGES, ended
            [master] = masters(storm)
            at_master = random.random() < 0.5
            host = next(each for each in storm if (each.name == master) is at_master)
            command = "failover" if at_master else "takeover"
            done = host.run(f"zrep {command} {FILESYSTEM}", check=False, timeout=300)
            ended[done.rc] += 1
            assert done.rc == OK or re.fullmatch(r"zrep: [^\n]+\n", done.err), done
            assert masters(storm) == ([master] if done.rc else [each.name for each in storm if each.name != master])
            changes += done.rc == OK
        for host in storm:
            host.run("touch /root/enough")
        [master] = masters(storm)
        source, target = sorted(storm, key=lambda host: host.name != master)
        wait_for(lambda: source.run(f"zrep sync {FILESYSTEM}", check=False).rc != BUSY)
        acknowledged = [line for host in storm for line in host.run("cat /root/acknowledged").lines]
        written = Counter(source.run("cat /tank/a/log").lines)
        runs = Counter(line for host in storm for line in host.run("cat /root/ended").lines)
        said = Counter(line for host in storm for line in host.run("cat /root/said").lines)
        say(f"  {CHANGES} changes, ended {dict(ended)}; runs of cron {dict(runs)}; {len(acknowledged)} writes")
        for line, count in said.items():
            say(f"    {count} times: {line}")
        assert [line for line in acknowledged if written[line] != 1] == []
        assert len({line.split()[0] for line in acknowledged}) == 2
        assert in_step(source, FILESYSTEM, target, FILESYSTEM)
        assert set(runs) <= {"0", "4"}, said
        assert not any("Traceback" in line for line in said)
