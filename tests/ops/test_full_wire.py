"""A wire that streams fill: status says so instead of waiting for their end."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest

from tests.ops import hosts as model
from tests.ops import pairs
from tests.ops.hosts import Hosts
from tests.ops.pairs import SYNC_ALL, A, B, good
from zrep.core.dataset import TokenContents
from zrep.core.names import memory_key
from zrep.core.requests import Answer, Lock, ReadMembers, Remember, Request
from zrep.ops import status


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


@pytest.fixture
def silent(hosts: Hosts, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    """A pair whose peer does not answer while the test runs, or for half a second."""
    if "half_received" not in request.fixturenames:
        pairs.linked(hosts)
    ended = threading.Event()
    asked = model.Peer.ask

    def ask(self: model.Peer, request: Request[Answer]) -> Answer:
        if isinstance(request, ReadMembers):
            ended.wait(0.5)
        return asked(self, request)

    monkeypatch.setattr(model.Peer, "answered", False)
    monkeypatch.setattr(model.Peer, "ask", ask)
    monkeypatch.setattr(status, "_PATIENCE", 0.1)
    monkeypatch.setattr(status, "_GREETING", 0.1)
    yield hosts
    ended.set()


def seen(hosts: Hosts) -> tuple[str, int, str]:
    [row] = hosts.run("alpha", lambda session: status.status(session, [])).rows
    return row.state, row.code, row.detail


def test_it_is_said_while_zrep_is_at_work_on_a_pair_with_that_peer(silent: Hosts) -> None:
    other = silent.local("alpha")
    assert other.ask(Lock((A,), 0)) == []
    state, code, detail = seen(silent)
    other.close()
    assert (state, code) == ("peer unknown", 4)
    assert f"the wire to beta is full (no answer in 0 s, while zrep is at work on {A})" in detail


def test_the_replica_says_how_far_a_stream_has_come_all_the_same(
    half_received: Hosts, silent: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is half received stands for so many bytes, which the model does not count."""
    monkeypatch.setattr(status, "read_token", lambda host, token: TokenContents(received=(42 << 20) * bool(token)))
    other = silent.local("beta")
    assert other.ask(Lock((B,), 0)) == []
    other.ask(Remember({memory_key("zrep", B): {"told": silent.world.state.now, "unsent": 100 << 20}}))
    [row] = silent.run("beta", lambda session: status.status(session, [])).rows
    other.close()
    assert row.state == "peer unknown"
    assert re.match(r"sending 42 %, \d+m \d+s left; the wire to alpha is full", row.detail), row.detail


def test_a_peer_that_is_only_slow_is_waited_for(silent: Hosts) -> None:
    assert seen(silent)[0] == "ok"


def test_what_goes_wrong_meanwhile_is_no_answer(silent: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise AssertionError("wrong")

    monkeypatch.setattr(status, "_answers", wrong)
    with pytest.raises(AssertionError, match="wrong"):
        seen(silent)
