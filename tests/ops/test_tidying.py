"""Tidying is not the work: what cannot be expired is left and told of, and nothing is a failure for it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.ops import pairs
from tests.ops.hosts import Command, Ended, Hosts
from tests.ops.pairs import SYNC_ALL, A, B, good
from zrep.cli.run import run
from zrep.ops.changeconfig import Config
from zrep.ops.sync import sync
from zrep.zfs.commands import Completed

BUSY = "tank/b@zrep_000001"


@pytest.fixture
def used(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    """Three snapshots to expire on beta, and a program in .zfs/snapshot of the oldest: zfs destroys none of several
    when one of them is busy."""
    pairs.linked(hosts)
    for number in range(3):
        pairs.written(hosts, key=f"n{number}")
        good(hosts.run("alpha", SYNC_ALL))
    for host, name in (("alpha", A), ("beta", B)):
        good(hosts.run(host, pairs.changing(name, Config(savecount=1))))
    plain = hosts.wire._do

    def do(command: Command) -> Completed:
        if command.argv[:2] == ("zfs", "destroy") and BUSY in _full(command.argv[2]):
            return Completed(command.argv, 1, "", f"cannot destroy snapshot {BUSY}: dataset is busy\n")
        return plain(command)

    monkeypatch.setattr(hosts.wire, "_do", do)
    return hosts


def _full(names: str) -> list[str]:
    dataset, _, short = names.partition("@")
    return [f"{dataset}@{name}" for name in short.split(",")]


def snapshots(hosts: Hosts) -> list[str]:
    names = hosts["beta"].sh("zfs list -H -o name -t snapshot tank/b").decode().split()
    return [name.partition("@")[2] for name in names if "zrep" in name]


def told(ended: Ended) -> Sequence[str]:
    return [outcome.filesystem for outcome in ended.outcomes if outcome.harmless]


def test_sync_lets_the_others_go_and_succeeds(used: Hosts) -> None:
    pairs.written(used)
    ended = good(used.run("alpha", SYNC_ALL))
    assert told(ended) == [BUSY]
    assert "dataset is busy" in ended.text
    assert snapshots(used) == ["zrep_000001", "zrep_000005"]


def test_a_role_that_has_moved_is_no_failure(used: Hosts) -> None:
    good(used.run("alpha", pairs.failing_over(A)))
    assert pairs.value(used, "beta", B, "zrep:master") == "yes"
    assert "zrep_000001" in snapshots(used)


def test_cron_is_told_once(used: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    """As the command line puts it together, printed."""
    said = []
    for _ in range(3):
        pairs.written(used)
        with used.session("alpha") as session:
            assert run(session, lambda session=session: sync(session, []), only_changes=True) == 0  # type: ignore[misc]
        said.append(capsys.readouterr().err.count(BUSY))
    assert [count > 0 for count in said] == [True, False, False]


@pytest.mark.parametrize(("host", "here_only"), [("alpha", False), ("beta", True)])
def test_expire_counts_what_has_gone(used: Hosts, host: str, here_only: bool) -> None:
    name = {"alpha": A, "beta": B}[host]
    ended = good(used.run(host, pairs.expiring(name, here_only=here_only)))
    assert snapshots(used) == ["zrep_000001", "zrep_000004"]
    gone = 2 if here_only else 5
    assert f"expired {gone} snapshots" in ended.text
