"""A clock that jumps by a year and back between two syncs."""

from __future__ import annotations

import pytest

from tests.lab.hosts import Host
from tests.lab.zrep_on import OK, content, in_step, made, silent, snapshots

A, B = "tank/a", "tank/b"


def in_the_future(host: Host, filesystem: str) -> set[str]:
    """The short names of its snapshots that are dated later than now, by its own clock."""
    command = f"zfs list -Hpo name,creation -t snapshot -d 1 {filesystem} | awk -v now=$(date +%s) '$2 > now + 60'"
    return {line.split()[0].partition("@")[2] for line in host.run(command).lines}


@pytest.mark.thorough
class TestClock:
    def test_it_jumps_by_a_year_and_back(self, hosts: tuple[Host, Host]) -> None:
        """Each sync goes on; nothing that is dated in the future is let go of by a schedule."""
        alpha, beta = hosts
        made(alpha, A)
        silent(alpha, f"zrep init {A} beta {B}")
        alpha.run(f"zrep changeconfig --keep '24h 14d' {A}")
        beta.run(f"zrep changeconfig --keep '24h 14d' {B}")
        seen: set[str] = set()
        for number, jump in enumerate(("+1 year", "-1 year", "+0 sec")):
            alpha.run(f"date -s '{jump}' > /dev/null")
            alpha.run(f"echo {number} > /{A}/file")
            done = alpha.run("zrep sync all", check=False, timeout=120)
            assert (done.rc, done.out) == (OK, ""), done
            assert in_step(alpha, A, beta, B)
            assert content(beta, B) == str(number)
            for host, fs in ((alpha, A), (beta, B)):
                future = in_the_future(host, fs)
                host.run(f"zrep expire {fs}", check=False)
                assert future <= set(snapshots(host, fs))
                seen |= {f"{host.name} {each}" for each in future}
            assert alpha.run("zrep status -H -o state").out == "ok\n"
        assert len({each.split()[0] for each in seen}) == 2  # what was made a year ahead
        silent(alpha, f"zrep failover {A}")
        assert beta.run(f"cat /{B}/file").out == "2\n"
