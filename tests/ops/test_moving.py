"""A stream under way, as status sees it meanwhile on either side, and what is said where it is cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.ops import hosts as model
from tests.ops import pairs
from tests.ops.hosts import Hosts, Killed, ModelRunner
from tests.ops.pairs import SYNC_ALL, A, good
from zrep.cli import run as running
from zrep.cli.document import pair as as_json
from zrep.core.errors import CutShortError
from zrep.core.moving import Moving, say, together
from zrep.host.process import Progress
from zrep.ops import sync
from zrep.ops.list import Row
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
    assert [(row.moving, row.detail) for row in seen(hosts, host)] == [(None, "")]


def test_a_change_under_way_has_no_advice_while_somebody_is_at_it(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs.source(hosts)
    found: list[Row] = []
    at_each_stream(hosts, monkeypatch, lambda: found.extend(seen(hosts, "alpha")))
    good(hosts.run("alpha", pairs.INIT))
    [row] = found
    assert (row.state, row.advice) == ("init unfinished", "")
    assert row.detail.startswith("sending 42 %, 1m 22s left; a zrep of the tag zrep is working on it")


def test_what_a_zrep_that_was_killed_has_left_is_no_stream(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)

    def killed() -> None:
        raise Killed

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
