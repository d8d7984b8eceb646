"""A wire that streams fill: status says so instead of waiting for their end."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.ops import hosts as model
from tests.ops import pairs, trees
from tests.ops.hosts import Hosts
from tests.ops.pairs import SYNC_ALL, A, B, good
from tests.ops.test_counts import many
from tests.ops.test_moving import at_each_stream
from zrep.core import requests
from zrep.core.dataset import TokenContents
from zrep.core.moving import Moving
from zrep.core.names import memory_key
from zrep.core.requests import Answer, IsArriving, Lock, ReadMembers, Remember
from zrep.host.local import LocalHost
from zrep.ops import other_halves, status, status_rows
from zrep.ops.changeconfig import Config
from zrep.ops.every_tag import each_tag
from zrep.ops.init_way import Request
from zrep.ops.list import listing
from zrep.ops.rows import Row

FULL = "the wire to beta is full"


@pytest.fixture
def half_received(hosts: Hosts) -> Hosts:
    """A pair whose last stream has come half way."""
    pairs.linked(hosts)
    pairs.written(hosts)
    hosts.wire.reset()
    good(hosts.run("alpha", SYNC_ALL))
    stream = next(number for number, command in enumerate(hosts.wire.log) if command.stream)
    pairs.written(hosts, key="more")
    hosts.wire.reset(model.Mode.TORN, stream)
    hosts.run("alpha", SYNC_ALL)
    hosts.wire.reset()
    return hosts


@contextmanager
def silence() -> Iterator[None]:
    """No peer answers meanwhile, or for half a second."""
    ended = threading.Event()
    asked = model.Peer.ask

    def ask(self: model.Peer, request: requests.Request[Answer]) -> Answer:
        if isinstance(request, ReadMembers):
            ended.wait(0.5)
        return asked(self, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.Peer, "answered", False)
        patch.setattr(model.Peer, "ask", ask)
        patch.setattr(status, "PATIENCE", 0.1)
        patch.setattr(other_halves, "_GREETING", 0.1)
        yield
        ended.set()


@pytest.fixture
def silent(hosts: Hosts, request: pytest.FixtureRequest) -> Iterator[Hosts]:
    """A pair whose peer does not answer while the test runs, or for half a second."""
    if "half_received" not in request.fixturenames:
        pairs.linked(hosts)
    with silence():
        yield hosts


def seen(hosts: Hosts) -> tuple[str, int, str]:
    [row] = hosts.run("alpha", lambda session: status.status(session, [])).rows
    return row.state, row.code, row.detail


def clock(hosts: Hosts) -> int:
    """The time at which the next run begins: each is a minute after the one before."""
    with hosts.session("alpha") as session:
        return session.now + 60


def stalled(hosts: Hosts) -> LocalHost:
    """A zrep on alpha that is at work on the pair, and whose stream does not move any more; close it."""
    other = hosts.local("alpha")
    assert other.ask(Lock((A,), 0)) == []
    now = clock(hosts)
    other.ask(Remember({memory_key("zrep", A): {**Moving(now - 99, now - 30, 42 << 20, 100 << 20).notes()}}))
    return other


def test_it_is_said_while_a_stream_goes_to_that_peer(silent: Hosts) -> None:
    other = stalled(silent)
    state, code, detail = seen(silent)
    other.close()
    assert (state, code) == ("peer unknown", 4)
    assert f"the wire to beta is full (no answer in 0 s, while zrep is at work on {A})" in detail


def test_a_lock_alone_fills_no_wire(silent: Hosts) -> None:
    """Cron's sync begins in the same second, and waits for a peer that is down, or slow, as well."""
    other = silent.local("alpha")
    assert other.ask(Lock((A,), 0)) == []
    assert seen(silent) == ("ok", 0, "")
    other.close()


def test_a_stream_that_zfs_send_has_said_all_of_is_under_way_until_it_has_arrived(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a small one on a slow wire: of it nothing is told each second."""
    pairs.linked(hosts)
    pairs.written(hosts)
    pipe = model.ModelRunner.pipe
    found: list[Row] = []

    def untold(self: model.ModelRunner, sender: Sequence[str], receiver: Sequence[str], **_: object) -> object:
        driver = hosts.wire.driver
        with silence(), hosts.session("alpha") as session:
            found.extend(status.status(session, []))
        hosts.wire.driver = driver
        return pipe(self, sender, receiver)

    monkeypatch.setattr(model.ModelRunner, "pipe", untold)
    good(hosts.run("alpha", SYNC_ALL))
    [row] = found
    assert row.detail.startswith(f"{FULL} (no answer in 0 s, while zrep is at work on {A})")


@pytest.mark.parametrize(("took", "ago", "state"), [(60_000, 5, "peer unknown"), (60_000, 11, "ok"), (500, 5, "ok")])
def test_a_long_stream_leaves_a_queue_for_seconds(silent: Hosts, took: int, ago: int, state: str) -> None:
    other = silent.local("alpha")
    assert other.ask(Lock((A,), 0)) == []
    ended = clock(silent) - ago
    other.ask(Remember({memory_key("zrep", A): {"stream_at": ended, "stream_ms": took, "stream_size": 1 << 20}}))
    assert seen(silent)[0] == state
    other.close()


def test_the_replica_says_how_far_a_stream_has_come_all_the_same(
    half_received: Hosts, silent: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is half received stands for so many bytes, which the model does not count."""
    monkeypatch.setattr(status_rows, "read_token", lambda host, token: TokenContents(received=(42 << 20) * bool(token)))
    other = silent.local("beta")
    assert other.ask(Lock((B,), 0)) == []
    other.ask(Remember({memory_key("zrep", B): {"told": silent.world.state.now, "unsent": 100 << 20}}))
    [row] = silent.run("beta", lambda session: status.status(session, [])).rows
    other.close()
    assert row.state == "peer unknown"
    assert re.match(r"sending 42 %, \d+m \d+s left; the wire to alpha is full", row.detail), row.detail


def looked_on(hosts: Hosts, patch: pytest.MonkeyPatch, *, later: int = 0) -> list[Row]:
    """What alpha says of its pairs while a stream of the first has come to 42 %, so many seconds ago, and its peer does
    not answer."""
    found: list[Row] = []

    def look() -> None:
        hosts.world.pass_time(later)
        with silence(), hosts.session("alpha") as session:
            found.extend(status.status(session, []))

    at_each_stream(hosts, patch, look)
    good(hosts.run("alpha", SYNC_ALL))
    return found


def test_a_stream_that_moves_shows_that_the_peer_of_all_pairs_with_it_is_there(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is what this side knows of it: that another one is sent is no trouble."""
    one, other = many(hosts, 2)
    pairs.written(hosts, name=one)
    rows = {row.name: row for row in looked_on(hosts, monkeypatch)}
    assert (rows[one].state, rows[one].code, rows[one].sending) == ("ok", 0, "sending 42 %, 1m 22s left")
    assert rows[one].detail.startswith(f"sending 42 %, 1m 22s left; {FULL} (no answer in 0 s, while zrep is at work on")
    assert (rows[other].state, rows[other].code, rows[other].sending) == ("ok", 0, "")
    assert rows[other].detail.startswith(f"{FULL} (no answer in 0 s, while zrep is at work on")
    assert all(row.diagnosis.unasked for row in rows.values())  # whoever goes on looking has to dial again


def test_what_was_wrong_when_it_was_last_known_is_not_well_because_another_one_is_sent(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = many(hosts, 2)
    beta = hosts["beta"]
    for line in ("zfs set readonly=off", "zfs mount"):
        beta.sh(f"{line} {other}")
    beta.write(other, "by hand", b"1")
    for name in (one, other):
        pairs.written(hosts, name=name)
    assert hosts.run("alpha", SYNC_ALL).code == 3
    pairs.written(hosts, name=one, key="more")
    found: list[Row] = []

    def look() -> None:
        with silence(), hosts.session("alpha") as session:
            found.extend(status.status(session, []))

    at_each_stream(hosts, monkeypatch, look)
    hosts.run("alpha", SYNC_ALL)
    assert {row.name: (row.state, row.code) for row in found} == {one: ("ok", 0), other: ("peer unknown", 4)}


def test_one_that_waits_for_long_while_others_are_sent_is_busy(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the wire is wide: somebody has its lock, and no stream of it moves."""
    one, other = many(hosts, 2)
    for name in (one, other):
        pairs.written(hosts, name=name)
    hosts.world.pass_time(700)
    found: list[Row] = []

    def look() -> None:
        if not found:
            with silence(), hosts.session("alpha") as session:
                found.extend(status.status(session, []))

    at_each_stream(hosts, monkeypatch, look)
    good(hosts.run("alpha", SYNC_ALL))
    rows = {row.name: row for row in found}
    assert (rows[one].state, rows[other].state, rows[other].code) == ("ok", "busy", 4)
    assert rows[other].diagnosis.unasked


@pytest.mark.parametrize("full", [False, True])
def test_what_is_known_of_a_tree_without_its_peer_is_that_of_all_its_members(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """As list says it: what is to be sent of a member is not hidden by a root that has nothing."""
    trees.grown(hosts)
    hosts.world.pass_time(60)
    hosts["alpha"].write(f"{A}/x/deep", "later", b"2")

    def rows() -> list[Row]:
        with hosts.session("alpha") as session:
            return status.status(session, [], members=True)

    [known, *_] = hosts.run("alpha", lambda session: listing(session, False)).rows
    assert known.behind
    if full:
        found: list[Row] = []

        def look() -> None:
            with silence():
                found.extend(rows())

        at_each_stream(hosts, monkeypatch, look)
        good(hosts.run("alpha", SYNC_ALL))
    else:
        hosts.wire.cut = True
        found = rows()
    whole, *members = found
    assert whole.state == ("ok" if full else "peer unknown")
    assert whole.lag
    assert (whole.behind, whole.unsent) == (known.behind, int(full))
    assert [row.name for row in members if row.behind] == [f"{A}/x/deep"]
    assert {row.state for row in members} == {whole.state}


@pytest.mark.parametrize("tag", ["aside", "zz"])
def test_what_is_under_another_tag_shares_the_wire_and_is_told_the_same(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, tag: str
) -> None:
    """Whether its peer is asked first, or nobody dials any more."""
    pairs.linked(hosts)
    hosts["alpha"].sh("zfs create tank/idle")
    good(hosts.run("alpha", pairs.initialising(Request("tank/idle", "beta", "tank/idle")), tag=tag))
    pairs.written(hosts)
    found: list[Row] = []

    def look() -> None:
        with silence(), hosts.session("alpha") as session:
            parts = sorted(each_tag(session, []), key=lambda part: part[0].tag)
            found.extend(row for one, names in parts for row in status.status(one, names))

    at_each_stream(hosts, monkeypatch, look)
    good(hosts.run("alpha", SYNC_ALL))
    rows = {row.tag: row for row in found}
    assert (rows["zrep"].state, rows[tag].state, rows[tag].code) == ("ok", "ok", 0)
    assert rows[tag].detail.startswith(f"{FULL} (no answer in 0 s, while zrep is at work on {A})")


def test_one_that_stands_still_shows_nothing(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    [row] = looked_on(hosts, monkeypatch, later=11)
    assert (row.state, row.code) == ("peer unknown", 4)
    assert row.detail.startswith("sending 42 %, not moving for 11s; ")


def test_the_streams_of_a_tree_are_told_as_those_of_its_root(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    trees.written(hosts)
    row, *_ = looked_on(hosts, monkeypatch)
    assert (row.state, row.code, row.sending) == ("ok", 0, "sending 42 %, 1m 22s left")


def test_one_that_is_late_meanwhile_is_late_and_being_sent(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.changing(A, Config(max_lag="1m"))))
    good(hosts.run("alpha", SYNC_ALL))
    pairs.written(hosts)
    [row] = looked_on(hosts, monkeypatch)
    assert (row.state, row.code, row.cause) == ("late", 1, "sending")


def test_what_a_peer_that_does_not_answer_leaves_unknown_is_not_hidden_by_a_lock(silent: Hosts) -> None:
    """A zrep that is at work need not be one that gets anywhere."""
    good(silent.run("alpha", pairs.changing(A, Config(max_lag="1m"))))
    other = stalled(silent)
    state, code, detail = seen(silent)
    other.close()
    assert (state, code) == ("late", 1)
    assert f"peer unknown: {FULL}" in detail


def test_the_replica_knows_that_bytes_arrive(
    half_received: Hosts, silent: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    arriving = iter([True, False])

    def ask(self: model.ModelHost, request: requests.Request[Answer]) -> Answer:
        return next(arriving) if isinstance(request, IsArriving) else asked(self, request)  # type: ignore[return-value]  # that of the request

    asked = model.ModelHost.ask
    monkeypatch.setattr(model.ModelHost, "ask", ask)
    other = silent.local("beta")
    assert other.ask(Lock((B,), 0)) == []
    found = [silent.run("beta", lambda session: status.status(session, [])).rows[0] for _ in range(2)]
    other.close()
    assert [(row.state, row.code) for row in found] == [("ok", 0), ("peer unknown", 4)]


def test_a_peer_that_is_only_slow_is_waited_for(silent: Hosts) -> None:
    assert seen(silent)[0] == "ok"


def test_what_goes_wrong_meanwhile_is_no_answer(silent: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise AssertionError("wrong")

    monkeypatch.setattr(other_halves, "_answers", wrong)
    with pytest.raises(AssertionError, match="wrong"):
        seen(silent)
