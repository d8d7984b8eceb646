"""A stream under way, as status sees it meanwhile on either side, and what is said where it is cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.ops import hosts as model
from tests.ops import pairs, trees
from tests.ops.hosts import Hosts, Killed, ModelRunner, Work
from tests.ops.pairs import SYNC_ALL, A, good
from tests.ops.test_counts import many
from zrep.cli import run as running
from zrep.cli.document import pair as as_json
from zrep.cli.monitors import Limits, nagios, prometheus
from zrep.core.errors import CutShortError
from zrep.core.moving import Moving, say, together
from zrep.core.requests import Lock
from zrep.host.process import Progress
from zrep.ops import sync
from zrep.ops.changeconfig import Config
from zrep.ops.doctor import doctor
from zrep.ops.list import listing
from zrep.ops.memory import recall
from zrep.ops.rows import Row
from zrep.ops.status import status
from zrep.zfs.commands import Completed

M = 1 << 20
Midway = Callable[[], None]


def seen(hosts: Hosts, host: str, *, members: bool = False) -> list[Row]:
    with hosts.session(host) as session:
        return status(session, [], members=members)


def at_each_stream(hosts: Hosts, patch: pytest.MonkeyPatch, midway: Midway) -> None:
    """After a minute 42 of 100 MiB are sent of a stream; then something happens, and it comes to its end."""
    pipe = ModelRunner.pipe

    def slow(
        self: ModelRunner,
        sender: Sequence[str],
        receiver: Sequence[str],
        *,
        keep: Sequence[int] = (),
        progress: Callable[[Progress], None] | None = None,
    ) -> tuple[Completed, Completed]:
        hosts.world.pass_time(60)
        assert progress is not None
        progress(Progress(42 * M, 100 * M))
        driver = hosts.wire.driver
        midway()
        hosts.wire.driver = driver
        return pipe(self, sender, receiver)

    patch.setattr(model.ModelRunner, "pipe", slow)


@pytest.mark.parametrize("host", ["alpha", "beta"])
def test_status_says_how_far_it_is_on_either_side(hosts: Hosts, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    found: list[Row] = []
    at_each_stream(hosts, monkeypatch, lambda: found.extend(seen(hosts, host)))
    good(hosts.run("alpha", SYNC_ALL))
    [row] = found
    assert (row.state, row.sending) == ("ok", "sending 42 %, 1m 22s left")
    assert row.detail.startswith("sending 42 %")
    told = as_json(row).moving
    assert told is not None
    assert (told.sent, told.size, told.left, told.at - told.since) == (42 * M, 100 * M, 82, 60)
    [after] = seen(hosts, host)
    assert (after.moving, after.detail) == (None, "")
    assert after.last_stream is not None
    assert (after.last_stream.at, after.last_stream.size) == (after.at, 100 * M)
    with hosts.session(host) as session:
        assert listing(session, False)[0].last_stream == after.last_stream


@pytest.mark.parametrize("limit", ["5m", "1h"])
def test_what_is_late_and_on_its_way_says_both_and_all_who_look_see_the_same(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """Whatever one looks with, and from either side; also that it is busy for ten minutes is no news then."""
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.changing(A, Config(max_lag=limit))))
    good(hosts.run("alpha", SYNC_ALL))
    hosts.world.pass_time(600)
    pairs.written(hosts)
    found: list[Row] = []

    def look() -> None:
        for host in ("alpha", "beta"):
            found.extend(seen(hosts, host))
        with hosts.session("alpha") as session:
            found.extend(listing(session, False))
            [cron] = sync.sync(session, [])
            assert (cron.skipped, cron.harmless) == (True, False)
            assert not [each for each in doctor(session, []) if each.error and "busy" in each.error.what]

    at_each_stream(hosts, monkeypatch, look)
    good(hosts.run("alpha", SYNC_ALL))
    assert len(found) == 3
    late = limit == "5m"
    for row in found:
        told = as_json(row)
        assert (row.state, row.code, row.advice) == (("late", 1, "") if late else ("ok", 0, ""))
        assert (told.state, told.code, told.cause) == (row.state, row.code, "sending" if late else "")
        assert row.detail.startswith("sending 42 %, 1m 22s left")
        assert row.detail.endswith("since; a stream is on its way" if late else "left")
        assert "cron" not in row.detail
        assert nagios([row], Limits())[1] == (2 if late else 0)
        assert f'state="{row.state}"}} 1\n' in prometheus([row], 0, 0)


def killed() -> None:
    raise Killed


def test_an_init_whose_stream_moves_needs_no_person(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs.source(hosts)
    found: list[Row] = []
    at_each_stream(hosts, monkeypatch, lambda: found.extend(seen(hosts, "alpha")))
    good(hosts.run("alpha", pairs.INIT))
    [row] = found
    assert (row.state, row.code, row.advice) == ("busy", 4, "")
    assert row.detail.startswith(
        "sending 42 %, 1m 22s left; its init is under way: a zrep of the tag zrep is working on it, process"
    )


@pytest.mark.parametrize("host", ["alpha", "beta"])
def test_a_role_change_that_sends_what_is_left_needs_no_person(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Whoever looks on while the master is read-only is not told that it is about to be undone."""
    pairs.linked(hosts)
    pairs.written(hosts)
    found: list[Row] = []
    at_each_stream(hosts, monkeypatch, lambda: found.extend(seen(hosts, host)))
    good(hosts.run("alpha", pairs.failing_over(A)))
    [row] = found
    assert (row.state, row.code, row.advice) == ("busy", 4, "")
    assert row.detail.startswith("sending 42 %, 1m 22s left; a role change of it is under way: a zrep of the tag zrep")
    assert "goes back" not in row.detail


def test_while_nothing_moves_somebody_may_be_at_it_who_only_looks(hosts: Hosts) -> None:
    """As a sync does every minute."""
    pairs.source(hosts)
    with pytest.MonkeyPatch.context() as patch:
        at_each_stream(hosts, patch, killed)
        assert hosts.run("alpha", pairs.INIT).code is None
    other = hosts.local("alpha")
    assert other.ask(Lock((A,), 0)) == []
    [row] = seen(hosts, "alpha")
    other.close()
    assert (row.state, row.code, row.advice) == ("init unfinished", 3, "")
    assert row.detail.startswith("another zrep or a stream of ours is working on it")


def test_what_a_zrep_that_was_killed_has_left_is_no_stream(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    with pytest.MonkeyPatch.context() as patch:
        at_each_stream(hosts, patch, killed)
        assert hosts.run("alpha", SYNC_ALL).code is None
    assert [row.moving for row in seen(hosts, "alpha")] == [None]


def test_a_replica_alone_says_what_is_coming(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    found: list[Row] = []

    def cut_off() -> None:
        hosts.wire.cut = True
        found.extend(seen(hosts, "beta"))
        hosts.wire.cut = False

    at_each_stream(hosts, monkeypatch, cut_off)
    good(hosts.run("alpha", SYNC_ALL))
    [row] = found
    assert row.state == "peer unknown"
    assert row.detail.startswith("receiving up to ")
    assert "announced 1m ago; " in row.detail


def test_who_interrupts_hears_how_far_it_had_come(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)

    def interrupt() -> None:
        raise KeyboardInterrupt

    at_each_stream(hosts, monkeypatch, interrupt)
    with pytest.raises(CutShortError) as caught, hosts.session("alpha") as session, running.closing(session):
        sync.sync(session, [A])
    assert caught.value.exit_code == 130
    assert caught.value.line() == (
        f"interrupted ({A}@zrep_000002: 42.0M of 100.0M sent); "
        "next: running the same command again: what has arrived is kept, and it goes on from there"
    )


def test_who_interrupts_before_a_stream_hears_that_nothing_is_lost(hosts: Hosts) -> None:
    pairs.linked(hosts)
    with hosts.session("alpha") as session:
        good(hosts.run("alpha", pairs.syncing(A)))
        assert session.interrupted().line() == (
            "interrupted; next: running the same command again finishes or undoes what was begun"
        )


@pytest.mark.parametrize(
    ("moving", "said"),
    [
        (Moving(100, 100, 5 * M, 0), "5.0M sent"),
        (Moving(100, 100, 5 * M, 10 * M), "sending 50 %"),
        (Moving(0, 100, 25 * M, 100 * M), "sending 25 %, 5m left"),
        (Moving(0, 100, 100 * M, 90 * M), "sending 99 %, 0s left"),
        (Moving(0, 30, 25 * M, 100 * M), "sending 25 %, not moving for 1m 10s"),
    ],
)
def test_it_is_said_as_far_as_it_is_known(moving: Moving, said: str) -> None:
    assert say(moving, 100) == said


def test_streams_of_a_tree_are_one() -> None:
    assert together([]) is None
    assert together([Moving(5, 9, 1, 10), Moving(3, 8, 2, 20)]) == Moving(3, 9, 3, 30)
    assert together([Moving(5, 9, 1, 10), Moving(3, 8, 2, 0)]) == Moving(3, 9, 3, 0)


# --- What was last sent ---


def estimates(hosts: Hosts) -> list[int]:
    """What zfs says of the streams since the log was cleared, by asking it again."""
    sends = [command.argv for command in hosts.wire.log if command.stream]
    again = [hosts["alpha"].run(["zfs", "send", "-nvP", *argv[3:]]).out.decode() for argv in sends]
    return [int(line.split()[1]) for out in again for line in out.splitlines() if line.startswith("size")]


def remembered(hosts: Hosts) -> dict[str, tuple[int, int]]:
    """When and how much, by filesystem; the same on both sides, and the time it took is a part of the run's."""
    found: list[dict[str, tuple[int, int]]] = []
    for host in ("alpha", "beta"):
        rows = {row.name: row.last_stream for row in seen(hosts, host)}
        assert all(0 < sent.took < 60 for sent in rows.values() if sent)
        found.append({name: (sent.at, sent.size) for name, sent in rows.items() if sent})
    assert sorted(found[0].values()) == sorted(found[1].values())
    return found[0]


def test_a_short_stream_is_remembered_and_a_run_without_one_changes_nothing(hosts: Hosts) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    hosts.wire.log.clear()
    good(hosts.run("alpha", SYNC_ALL))
    [size] = estimates(hosts)
    told = remembered(hosts)
    assert told[A][1] == size
    hosts.world.pass_time(60)
    good(hosts.run("alpha", SYNC_ALL))
    assert remembered(hosts) == told


@pytest.mark.parametrize("work", [pairs.INIT, pairs.PULL, trees.INIT])
def test_of_a_first_sync_it_is_all_that_made_the_replica(hosts: Hosts, work: Work) -> None:
    trees.planted(hosts)
    host = "beta" if work is pairs.PULL else "alpha"
    hosts.wire.log.clear()
    good(hosts.run(host, work))
    whole = sum(estimates(hosts))
    assert len(estimates(hosts)) == (4 if work is trees.INIT else 1)
    assert {row.last_stream.size for row in seen(hosts, host) if row.last_stream} == {whole}


def test_each_of_several_in_one_session_has_its_own(hosts: Hosts) -> None:
    names = many(hosts, 3)
    for number, name in enumerate(names):
        hosts["alpha"].write(name, "two", b"2" * 1000 * number)
    hosts.wire.log.clear()
    good(hosts.run("alpha", SYNC_ALL))
    assert [size for _, size in remembered(hosts).values()] == estimates(hosts)
    assert len(set(estimates(hosts))) == 3


def test_of_a_tree_it_is_the_sum(hosts: Hosts) -> None:
    trees.written(hosts)
    hosts.wire.log.clear()
    good(hosts.run("alpha", SYNC_ALL))
    assert len(estimates(hosts)) == 2
    assert [size for _, size in remembered(hosts).values()] == [sum(estimates(hosts))]


def test_of_a_role_change_it_is_all_that_it_sent(hosts: Hosts) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    hosts.wire.log.clear()
    good(hosts.run("alpha", pairs.failing_over(A)))
    assert [size for _, size in remembered(hosts).values()] == [sum(estimates(hosts))]


def test_only_a_stream_that_took_a_second_says_how_fast_it_is(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pace of a short one would be that of the round trips."""
    pairs.linked(hosts)

    def pace() -> object:
        with hosts.session("alpha") as session:
            return recall(session, A)[A].get("pace")

    pairs.written(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    assert pace() is None
    pairs.written(hosts, key="three")
    at_each_stream(hosts, monkeypatch, lambda: None)
    good(hosts.run("alpha", SYNC_ALL))
    assert isinstance(pace(), int)
