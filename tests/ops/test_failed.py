"""When a run over a pair last failed, as status, list and metrics tell it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Hosts, Mode, Work
from tests.ops.pairs import SYNC_ALL, A, B, good
from tests.ops.test_counts import many
from zrep.core.names import memory_key
from zrep.core.notes import Note
from zrep.core.requests import Remember
from zrep.ops.across import rejoin_here, rejoin_there
from zrep.ops.list import listing
from zrep.ops.pairs import open_pair
from zrep.ops.rehearse import rehearse
from zrep.ops.status import status


def failed(hosts: Hosts, host: str = "alpha") -> dict[str, int | None]:
    """What both status and list say: when, by filesystem."""
    with hosts.session(host) as session:
        rows = status(session, [])
    return {row.name: row.failed for row in rows}


def last(hosts: Hosts, host: str = "alpha") -> list[tuple[int | None, str]]:
    """When a run over each pair last failed, and which it was, as status says it there."""
    with hosts.session(host) as session:
        return [(row.failed, row.failed_command) for row in status(session, [])]


def now(hosts: Hosts) -> int:
    with hosts.session("alpha") as session:
        return session.now


def cut(hosts: Hosts, work: Callable[[Hosts], object]) -> int:
    """Something while the peer is not reached; when that was."""
    hosts.world.pass_time(60)
    hosts.wire.cut = True
    work(hosts)
    hosts.wire.cut = False
    return now(hosts)


def test_it_stays_and_a_run_that_goes_well_is_known_by_being_later(hosts: Hosts) -> None:
    pairs.linked(hosts)
    assert failed(hosts) == {A: None}
    then = cut(hosts, lambda hosts: hosts.run("alpha", SYNC_ALL))
    assert failed(hosts) == {A: then}
    assert failed(hosts, "beta") == {B: then}  # asked of the host that knows
    with hosts.session("alpha") as session:
        assert [row.failed for row in listing(session, False)] == [then]
    hosts.world.pass_time(60)
    good(hosts.run("alpha", SYNC_ALL))
    with hosts.session("alpha") as session:
        [row] = status(session, [])
    assert row.failed == then
    assert row.synced is not None
    assert row.synced > then


def test_it_is_told_of_each_that_waits_for_a_peer_although_that_is_one_line(hosts: Hosts) -> None:
    names = many(hosts, 3)
    then = cut(hosts, lambda hosts: hosts.run("alpha", SYNC_ALL))
    assert failed(hosts) == dict.fromkeys(names, then)


def test_one_of_several_fails_alone(hosts: Hosts) -> None:
    names = many(hosts, 2)
    for name in names:
        pairs.written(hosts, name=name)
    hosts["alpha"].sh(f"zfs set zrep:minfree=100% {names[0]}")
    assert hosts.run("alpha", SYNC_ALL).code
    assert failed(hosts) == {names[0]: now(hosts), names[1]: None}


def test_a_member_that_fails_is_a_failure_of_its_tree(hosts: Hosts) -> None:
    trees.written(hosts)
    pairs.hit(hosts, "alpha", SYNC_ALL, Mode.FAIL, "zfs", "send")
    assert failed(hosts) == {A: now(hosts)}


@pytest.mark.parametrize(
    ("host", "command", "work"),
    [
        ("alpha", "sync", pairs.syncing(A)),
        ("alpha", "failover", pairs.failing_over(A)),
        ("beta", "takeover", pairs.taking_over(B)),
        ("alpha", "init", pairs.INIT),
        ("alpha", "rejoin", lambda session: rejoin_here(session, A)),
        ("beta", "rejoin", lambda session: rejoin_there(session, B)),
        ("alpha", "expire", pairs.expiring(A)),
        ("alpha", "expire", pairs.expiring()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_whichever_run_it_was_is_told_with_its_name_on_either_side(
    hosts: Hosts, host: str, command: str, work: Work
) -> None:
    pairs.linked(hosts)
    then = cut(hosts, lambda hosts: hosts.run(host, work))
    assert last(hosts, "alpha") == last(hosts, "beta") == [(then, command)]


@pytest.mark.parametrize(
    ("command", "work"),
    [
        ("takeover", pairs.forcing(B, insist=False)),
        ("takeover", pairs.forcing(B, agreed=False)),
        ("rehearse", lambda session: rehearse(session, B, ("false",))),
    ],
)
def test_what_one_side_alone_refuses_or_fails_at_is_told(
    hosts: Hosts, command: str, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zrep.host.programs.attended", lambda *_: 1)
    pairs.linked(hosts)
    assert hosts.run("beta", work).code
    assert last(hosts, "beta") == [(now(hosts), command)]


def test_a_role_change_that_was_undone_is_told_and_the_sync_after_it_is_later(hosts: Hosts) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    pairs.hit(hosts, "alpha", pairs.failing_over(A), Mode.FAIL, "zfs", "send")
    then = now(hosts)
    assert last(hosts) == [(then, "failover")]
    good(hosts.run("alpha", SYNC_ALL))
    with hosts.session("alpha") as session:
        [row] = status(session, [])
    assert (row.state, row.failed, row.failed_command) == ("ok", then, "failover")
    assert row.synced is not None
    assert row.synced > then


def test_the_later_of_two_is_told_wherever_it_ran(hosts: Hosts) -> None:
    pairs.linked(hosts)
    cut(hosts, lambda hosts: hosts.run("alpha", SYNC_ALL))
    then = cut(hosts, lambda hosts: hosts.run("beta", pairs.taking_over(B)))
    assert last(hosts, "alpha") == last(hosts, "beta") == [(then, "takeover")]


def test_one_dated_in_the_future_hides_no_other(hosts: Hosts) -> None:
    """As by a clock that was ahead once."""
    pairs.linked(hosts)
    then = cut(hosts, lambda hosts: hosts.run("alpha", SYNC_ALL))
    ahead: dict[str, Note] = {"failed": then + 86400, "failed_command": ["takeover"]}
    hosts.local("beta").ask(Remember({memory_key("zrep", B): ahead}))
    assert last(hosts, "alpha") == last(hosts, "beta") == [(then, "sync")]


@pytest.mark.parametrize(
    ("host", "work"),
    [
        ("alpha", pairs.taking_over(A)),  # it is the master already
        ("alpha", pairs.failing_over("tank/nothing")),
        ("beta", pairs.failing_over(B)),  # meant for the other side
        ("beta", pairs.syncing(B)),
    ],
)
def test_what_was_typed_where_it_has_no_meaning_is_no_run_over_the_pair(hosts: Hosts, host: str, work: Work) -> None:
    pairs.linked(hosts)
    hosts.run(host, work)
    assert last(hosts, "alpha") == last(hosts, "beta") == [(None, "")]


@pytest.mark.parametrize("what", ["a dry run", "one that is paused", "one that is worked on"])
def test_a_run_that_had_nothing_to_do_is_no_failure(hosts: Hosts, what: str) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    if what == "a dry run":
        cut(hosts, lambda hosts: hosts.run("alpha", SYNC_ALL, dry_run=True))
    elif what == "one that is paused":
        good(hosts.run("alpha", pairs.pausing(A)))
        good(hosts.run("alpha", SYNC_ALL))
    else:
        with hosts.session("alpha") as session:
            open_pair(session, A)
            for work in (SYNC_ALL, pairs.syncing(A), pairs.failing_over(A), pairs.expiring(A)):
                assert hosts.run("alpha", work).code in (0, 4)
    assert failed(hosts) == {A: None}


def test_where_nothing_can_be_remembered_the_run_ends_as_it_would(hosts: Hosts) -> None:
    pairs.linked(hosts)
    state = Path(hosts.local("alpha").locks.directory) / "state"
    for file in state.iterdir() if state.is_dir() else ():
        file.unlink()
    if state.is_dir():
        state.rmdir()
    state.write_text("")  # no directory can be made there, as on a disk that is full
    found: list[int | None] = []
    cut(hosts, lambda hosts: found.append(hosts.run("alpha", SYNC_ALL).code))
    assert found == [5]
    assert failed(hosts) == {A: None}
    assert os.path.isfile(state)
