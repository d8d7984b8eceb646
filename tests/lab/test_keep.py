"""How long snapshots live, what runs around them, and how fast their streams go: on real OpenZFS, by the real clock and
programs. One pair for each class, which each test leaves whole."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import Case, in_step, made, one_line, silent, until

A = "tank/a"


HOOK = "/etc/zrep/hooks.d/snapshot.d/50-database"
# Two files that are alike whenever the program is quiet, and it is quiet when it was asked to be.
DATABASE = """#!/bin/sh
while :; do
    if [ -e /run/quiet ]; then touch /run/acked; sleep 0.02; continue; fi
    n=$((n + 1)); echo $n > /tank/a/one; sleep 0.15; echo $n > /tank/a/two
done
"""
QUIET = """#!/bin/sh
echo "$1 $ZREP_FS" >> /run/told
case $1 in
    before-snapshot) rm -f /run/acked; touch /run/quiet; until [ -e /run/acked ]; do sleep 0.02; done; MORE ;;
    after-snapshot) rm /run/quiet ;;
esac
"""


@pytest.fixture(scope="class")
def pair(lab: Lab) -> Lab:
    lab.reset()
    made(lab.alpha, A, compression="off")
    lab.alpha.run(f"zrep init {A} beta {A}")
    return lab


@pytest.fixture
def alpha(pair: Lab) -> Host:
    return pair.alpha


def hook(host: Host, more: str) -> None:
    """The program that makes the database quiet; more: what it does then, as it is asked to."""
    host.put(QUIET.replace("MORE", more or ":").encode(), HOOK, mode="755")


def own(host: Host) -> list[str]:
    names = host.run(f"zfs list -H -o name -s createtxg -t snapshot -d 1 {A}").out.split()
    return [name.partition("@")[2] for name in names if "@zrep_" in name]


def sums(host: Host) -> str:
    """The checksums of what is in the newest snapshot."""
    look = f"mount -t zfs {A}@{own(host)[-1]} /mnt/look && cd /mnt/look && sha256sum *; cd /; umount /mnt/look"
    return host.run(f"mkdir -p /mnt/look; {look}").out


def equal(pair: Lab) -> bool:
    return in_step(pair.alpha, A, pair.beta, A) and sums(pair.alpha) == sums(pair.beta) != ""


class TestKeep:
    def test_each_side_keeps_by_its_own_rules(self, pair: Lab, alpha: Host) -> None:
        """Eight days, two syncs each: the master keeps two, the replica the first of each of five days."""
        beta = pair.beta
        silent(alpha, f"zrep changeconfig --savecount 2 {A}")
        silent(beta, f"zrep changeconfig --savecount 1 --keep 5d {A}")
        alpha.run(f"zfs snapshot {A}@by-hand; date -s 'tomorrow 12:00' > /dev/null")
        for day in range(8):
            for turn in range(2):
                silent(alpha, f"echo {day} {turn} > /{A}/file; zrep sync all")
            alpha.run("date -s '1 day' > /dev/null")
        names = own(alpha)
        assert names == ["zrep_000010", "zrep_000011"]
        assert own(beta) == [f"zrep_0000{number}" for number in ("08", "0a", "0c", "0e", "10", "11")]
        assert "by-hand" in alpha.run(f"zfs list -H -o name -t snapshot {A}").out
        shown = alpha.run(f"zrep expire -n {A}").out
        assert f"beta: {A}@zrep_00000e stays: the first of its day (5d)\n" in shown
        assert f"beta: {A}@zrep_000011 stays: the base\n" in shown
        assert equal(pair)

    def test_what_a_wrong_clock_has_dated_stays_and_is_named_once(self, pair: Lab, alpha: Host) -> None:
        beta = pair.beta
        alpha.run(f"date -s @{beta.run('date +%s').out.strip()} > /dev/null")
        alpha.run(f"echo now > /{A}/file")
        said = alpha.run("zrep sync all")
        assert "snapshots on beta are dated in the future, and stay: a clock is wrong, or was" in said.err
        silent(alpha, f"echo again > /{A}/file; zrep sync all")
        assert own(beta)[:4] == [f"zrep_0000{number}" for number in ("08", "0a", "0c", "0e")]
        case = Case("", f"zrep expire {A}", 3, "dated in the future")
        one_line(alpha.run(case.command, check=False), case)
        assert equal(pair)

    def test_most_of_them_never_go_at_once_unless_somebody_agrees(self, pair: Lab, alpha: Host) -> None:
        beta = pair.beta
        silent(beta, f"zrep changeconfig --keep none --savecount 50 {A}")
        for number in range(9):
            silent(alpha, f"echo n{number} > /{A}/file; zrep sync all")
        silent(beta, f"zrep changeconfig --savecount 1 {A}")
        alpha.run(f"echo more > /{A}/file")
        said = alpha.run("zrep sync all").err
        assert (
            f"more than a quarter of its snapshots on beta would be destroyed at once: none is ({len(own(beta)) - 1}"
            in said
        )
        assert f"if that is right: zrep expire --yes {A}" in said
        silent(alpha, f"echo still > /{A}/file; zrep sync all")
        assert alpha.run(f"zrep expire {A}", check=False).rc == 3
        silent(alpha, f"zrep expire --yes {A}")
        assert len(own(beta)) == 1
        assert equal(pair)

    def test_those_of_others_go_by_a_rule_and_what_is_not_replicated_only_where_space_must_win(
        self, pair: Lab, alpha: Host
    ) -> None:
        def others() -> list[str]:
            names = alpha.run(f"zfs list -H -o name -s createtxg -t snapshot -d 1 {A}").out.split()
            return [name.partition("@")[2] for name in names if "@auto_" in name]

        silent(alpha, f"zrep changeconfig --savecount 1 --keep 2d {A}")
        for number in range(4):
            alpha.run(f"date -s '1 day' > /dev/null; zfs snapshot {A}@auto_{number}")
        silent(alpha, f"echo all > /{A}/file; zrep sync all")
        assert len(others()) == 4
        silent(alpha, f"zrep changeconfig --keep-foreign 'auto_*' {A}")
        silent(alpha, f"echo rule > /{A}/file; zrep sync all")
        assert others() == ["auto_2", "auto_3"]
        for number in range(4, 9):
            alpha.run(f"date -s '1 day' > /dev/null; zfs snapshot {A}@auto_{number}")
        silent(alpha, f"zrep expire -L {A}")
        assert others() == [f"auto_{number}" for number in range(4, 9)]
        silent(alpha, f"zrep changeconfig --unsent drop {A}")
        silent(alpha, f"zrep expire -L {A}")
        assert others() == ["auto_7", "auto_8"]
        alpha.run(f"date -s @{pair.beta.run('date +%s').out.strip()} > /dev/null")


class TestAround:
    @pytest.fixture
    def database(self, pair: Lab) -> Iterator[Host]:
        """A program that writes all the time, and one that makes it quiet and lets it go on."""
        alpha = pair.alpha
        alpha.run("mkdir -p /etc/zrep/hooks.d/snapshot.d")
        hook(alpha, "")
        alpha.put(DATABASE.encode(), "/root/database", mode="755")
        running = alpha.popen("exec /root/database")
        time.sleep(0.5)
        yield alpha
        alpha.run("pkill -f /root/database; rm -rf /etc/zrep/hooks.d /run/told /run/quiet /run/acked", check=False)
        running.wait(timeout=10)

    def test_what_must_be_alike_is_in_every_snapshot(self, pair: Lab, database: Host) -> None:
        for _ in range(4):
            silent(database, "zrep sync all")
            folder = f"/{A}/.zfs/snapshot/{own(database)[-1]}"
            database.run(f"cmp {folder}/one {folder}/two")
        assert database.run("cat /run/told").out == f"before-snapshot {A}\nafter-snapshot {A}\n" * 4
        assert sums(pair.alpha) == sums(pair.beta)

    def test_it_goes_on_when_zrep_is_killed(self, pair: Lab, database: Host) -> None:
        hook(database, "sleep 20")
        running = database.popen("zrep sync all")
        database.run("for n in $(seq 100); do [ -e /run/acked ] && exit 0; sleep 0.1; done; exit 1")
        database.run("pkill -9 -f '[z]rep sync all'")
        running.wait(timeout=20)
        database.run("for n in $(seq 50); do [ -e /run/quiet ] || exit 0; sleep 0.1; done; exit 1")
        database.run("pkill -f 50-database", check=False)
        hook(database, "")
        silent(database, "zrep sync all")
        assert sums(pair.alpha) == sums(pair.beta)

    def test_one_that_fails_means_no_snapshot(self, pair: Lab, database: Host) -> None:
        hook(database, "echo no; exit 9")
        before = own(database)
        said = r"a before-snapshot hook on alpha failed; no snapshot was made \(.*status 9: no\)"
        case = Case("", f"zrep sync {A}", 1, said)
        one_line(database.run(case.command, check=False), case)
        assert own(database) == before
        assert "crash-consistent" in database.run(f"zrep sync --crash-consistent {A}").err
        assert own(database) != before
        assert sums(pair.alpha) == sums(pair.beta)


class TestWire:
    @pytest.mark.parametrize("away", ["mbuffer", "pv"])
    def test_a_rate_is_kept(self, pair: Lab, alpha: Host, away: str) -> None:
        """4 MB at 512 kB a second, by either program."""
        path = alpha.run(f"command -v {away}").out.strip()
        alpha.run(f"mv {path} {path}.away")
        try:
            silent(alpha, f"zrep changeconfig --bwlimit 512K {A} && head -c 4000000 /dev/urandom > /{A}/file")
            started = time.monotonic()
            sync = alpha.popen("zrep sync all")
            # A busy machine is slow without it too.
            until(alpha, "ps -C pv,mbuffer -o args=", r"(pv -q -L|mbuffer .* -r) 524288")
            assert sync.wait(120) == 0
            limited = time.monotonic() - started
            assert limited > 6
        finally:
            alpha.run(f"mv {path}.away {path}")
        silent(alpha, f"zrep changeconfig --bwlimit none {A} && head -c 4000000 /dev/urandom > /{A}/file")
        started = time.monotonic()
        silent(alpha, "zrep sync all")
        assert time.monotonic() - started < limited
        assert equal(pair)

    def test_what_is_compressed_costs_the_wire_less(self, pair: Lab, alpha: Host) -> None:
        count = "cat /sys/class/net/vec0/statistics/tx_bytes"
        sent = {}
        for program in ("none", "zstd", "gzip"):
            silent(alpha, f"zrep changeconfig --compress {program} {A}; yes {program} | head -c 6000000 > /{A}/file")
            before = int(alpha.run(count).out)
            silent(alpha, "zrep sync all")
            sent[program] = int(alpha.run(count).out) - before
            assert equal(pair)
        assert sent["none"] > 6_000_000 > 2_000_000 > max(sent["zstd"], sent["gzip"]), sent

    def test_without_the_program_it_is_refused(self, pair: Lab, alpha: Host) -> None:
        beta = pair.beta
        silent(alpha, f"zrep changeconfig --compress zstd {A}; echo x > /{A}/file")
        path = beta.run("command -v zstd").out.strip()
        before = own(alpha)
        beta.run(f"mv {path} {path}.away")
        try:
            case = Case("", f"zrep sync {A}", 3, f"zstd is not installed on beta .*changeconfig --compress none {A}")
            one_line(alpha.run(case.command, check=False), case)
            assert own(alpha) == before
            case = Case("", f"zrep changeconfig --compress zstd {A}", 3, "zstd is not installed on beta")
            one_line(alpha.run(case.command, check=False), case)
        finally:
            beta.run(f"mv {path}.away {path}")
        silent(alpha, "zrep sync all")
        assert equal(pair)
