"""failover -n and takeover -n: everything that would stop it, and how much there is to move."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from tests.ops import pairs
from tests.ops.hosts import Ended, Hosts, ModelHost, Work
from tests.ops.pairs import A, B, good
from zrep.core.names import memory_key
from zrep.core.requests import Identity, Remember, Users
from zrep.host.local import LocalHost
from zrep.ops.changeconfig import Config
from zrep.ops.doctor import doctor


def write_on_the_replica(hosts: Hosts) -> None:
    hosts["beta"].sh(f"zfs set readonly=off {B}")
    hosts["beta"].sh(f"zfs mount {B}")
    hosts["beta"].write(B, "by hand", b"x")
    hosts["beta"].sh(f"zfs set readonly=on {B}")


def mount_another(hosts: Hosts) -> None:
    where = hosts["beta"].sh(f"zfs get -Ho value mountpoint {B}").decode().strip()
    hosts["beta"].sh("zfs create tank/other")
    hosts["beta"].sh(f"zfs set mountpoint={where} tank/other")


BLOCKERS: list[tuple[Callable[[Hosts], None], str]] = [
    (write_on_the_replica, "the replica tank/b was changed by hand"),
    (mount_another, "tank/other is mounted on /tank/b, where tank/b belongs"),
]
RUNS = [("alpha", pairs.failing_over(A)), ("beta", pairs.taking_over(B))]


@pytest.mark.parametrize(("host", "work"), RUNS, ids=["failover", "takeover"])
@pytest.mark.parametrize(("prepare", "says"), BLOCKERS, ids=["replica modified", "mountpoint taken"])
def test_what_would_stop_it_is_said_and_nothing_would_run(
    hosts: Hosts, host: str, work: Work, prepare: Callable[[Hosts], None], says: str
) -> None:
    pairs.linked(hosts)
    prepare(hosts)
    foreseen, refused = hosts.run(host, work, dry_run=True), hosts.run(host, work)
    assert (foreseen.code, refused.code) == (3, 3)
    [said] = blocked(foreseen)
    assert says in said
    assert foreseen.lines == ()
    assert says in refused.text


def blocked(ended: Ended) -> list[str]:
    return [blocker.line() for outcome in ended.outcomes for blocker in outcome.blockers]


def test_all_of_them_are_said_at_once(hosts: Hosts) -> None:
    pairs.linked(hosts)
    for prepare, _ in BLOCKERS:
        prepare(hosts)
    assert len(blocked(hosts.run("alpha", pairs.failing_over(A), dry_run=True))) == len(BLOCKERS)


def test_a_writer_would_stop_it_unless_forced(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs.linked(hosts)

    monkeypatch.setattr(ModelHost, "users", lambda self, request: Users(writing=("postgres (7)",)))
    [said] = blocked(hosts.run("alpha", pairs.failing_over(A), dry_run=True))
    assert "tank/a is being written on alpha (postgres (7))" in said
    ended = good(hosts.run("alpha", pairs.failing_over(A, insist=True), dry_run=True))
    assert any("postgres" in note for outcome in ended.outcomes for note in outcome.notes)


def test_children_that_stay_behind_are_named(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs create -o readonly=off {A}/home")
    ended = good(hosts.run("alpha", pairs.failing_over(A), dry_run=True))
    [said] = notes(ended)
    assert said.startswith(f"{A}: not replicated with it: {A}/home; next: zrep init ")


def notes(ended: Ended) -> list[str]:
    return [note for outcome in ended.outcomes for note in outcome.notes]


@pytest.mark.parametrize(
    ("change", "says", "mends"),
    [
        (
            {"clock": 3690.5},
            "the clock of beta is 1h 1m ahead of this one",
            "on alpha and on beta: timedatectl",
        ),
        (
            {"clock": -90.5},
            r"the clock of beta is 1m \d+s behind this one",
            "on alpha and on beta: timedatectl",
        ),
        ({"zrep": "9.9"}, "and 9.9 on beta", r"on alpha: install the newer one .*: apt install ./zrep-zfs_"),
        ({"zrep": "2.9"}, "and 2.9 on beta", r"on beta: install the newer one .*: apt install ./zrep-zfs_"),
        ({"zfs": "2.1.5"}, "OpenZFS is 2.3.2 here and 2.1.5 on beta", "on beta: apt update && apt install zfs"),
        (
            {"zfs": "2.10.1"},
            "OpenZFS is 2.3.2 here and 2.10.1 on beta",
            "on alpha: apt update && apt install zfs",
        ),
    ],
)
def test_clocks_and_versions_that_differ_are_said(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], says: str, mends: str
) -> None:
    pairs.linked(hosts)
    real = LocalHost.ask

    def ask(self: LocalHost, request: Any) -> Any:
        found = real(self, request)
        if self.name != "beta" or not isinstance(found, Identity):
            return found
        return replace(found, **{**change, **({"clock": found.clock + change["clock"]} if "clock" in change else {})})

    monkeypatch.setattr(LocalHost, "ask", ask)
    [note] = notes(good(hosts.run("alpha", pairs.failing_over(A), dry_run=True)))
    assert re.search(says, note)
    told = hosts.run("alpha", lambda session: doctor(session, []))
    assert [re.search(f"{says}.*; next: {mends}", line) for line in told.text.splitlines() if re.search(says, line)]


def test_a_peer_that_takes_long_to_answer_is_not_ahead(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a slow sshd has to be dialled, or the machine is busy."""
    pairs.source(hosts)
    clock = itertools.count(0, 10)
    monkeypatch.setattr("zrep.host.local.time", SimpleNamespace(time=lambda: next(clock), monotonic=time.monotonic))
    good(hosts.run("alpha", pairs.INIT))
    assert not [line for line in hosts.said if "clock" in line]
    assert notes(good(hosts.run("alpha", pairs.failing_over(A), dry_run=True))) == []


def test_how_much_and_how_long(hosts: Hosts) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    ended = good(hosts.run("alpha", pairs.failing_over(A), dry_run=True))
    assert "K to send; how long that takes is not known" in ended.text
    hosts.local("alpha").ask(Remember({memory_key("zrep", A): {"pace": 1024}}))
    ended = good(hosts.run("alpha", pairs.failing_over(A), dry_run=True))
    assert "s at 1.0K a second" in ended.text


@pytest.mark.parametrize(
    ("floor", "code"), [("", 0), ("1%", 0), ("1K", 0), ("900T", 1), ("0", 0)], ids=lambda value: str(value)
)
def test_no_snapshot_below_the_floor_of_the_filesystem(hosts: Hosts, floor: str, code: int) -> None:
    pairs.linked(hosts)
    if floor:
        good(hosts.run("alpha", pairs.changing(A, Config(minfree=floor))))
    pairs.written(hosts)
    hosts.wire.reset()
    ended = hosts.run("alpha", pairs.SYNC_ALL)
    assert ended.code == code, ended.text
    if code:
        assert f"free, the floor is {floor}" in ended.text
        assert not any(command.argv[:2] == ("zfs", "snapshot") for command in hosts.wire.log)
