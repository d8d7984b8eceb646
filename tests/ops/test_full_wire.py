"""A wire that streams fill: status says so instead of waiting for their end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.ops import hosts as model
from tests.ops import pairs
from tests.ops.hosts import Hosts
from tests.ops.pairs import A
from zrep.core.requests import Answer, Lock, ReadMembers, Request
from zrep.ops import status


@pytest.fixture
def silent(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    """A pair whose peer does not answer while the test runs, or for half a second."""
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


def test_a_peer_that_is_only_slow_is_waited_for(silent: Hosts) -> None:
    assert seen(silent)[0] == "ok"


def test_what_goes_wrong_meanwhile_is_no_answer(silent: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise AssertionError("wrong")

    monkeypatch.setattr(status, "_answers", wrong)
    with pytest.raises(AssertionError, match="wrong"):
        seen(silent)
