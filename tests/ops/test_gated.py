"""A peer whose gate lets no stream in is asked before there is a snapshot; the other pairs with it go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from tests.core.knows import Knows
from tests.ops import pairs, trees
from tests.ops.hosts import Hosts, Mode, ModelHost, Wire
from tests.ops.pairs import SYNC_ALL, A, B, good
from zrep.core.errors import NotAdmittedError, RefusedError
from zrep.core.gate import Gate
from zrep.core.gate_rules import refusal
from zrep.core.requests import Answer, Carried, CarryOut, Grant, Request
from zrep.ops.doctor import doctor
from zrep.ops.init_way import Request as Init
from zrep.ops.status import status
from zrep.zfs.commands import Completed
from zrep.zfs.errors import as_failure


@pytest.fixture
def gated(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> list[Gate]:
    """Beta's gates: those put in here admit what they do of streams, none: all."""
    gates: list[Gate] = []
    asked = ModelHost.ask

    def ask(self: ModelHost, request: Request[Answer]) -> Answer:
        for gate in gates if self.name == "beta" and isinstance(request, Grant) else ():
            if reason := refusal(gate, request, Knows()):
                raise NotAdmittedError(f"the gate of beta does not admit {reason}")
        return asked(self, request)

    monkeypatch.setattr(ModelHost, "ask", ask)
    return gates


def snapshots(hosts: Hosts, *names: str) -> Sequence[list[str]]:
    return [trees.snapshots(hosts, "alpha", name) for name in names]


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        (Gate((B,), send=True), "does not admit it without --receive"),
        (Gate(("tank",), send=True), "does not admit it without --receive"),
    ],
)
def test_no_snapshot_is_made_for_a_stream_that_is_not_let_in(
    hosts: Hosts, gated: list[Gate], gate: Gate, says: str
) -> None:
    pairs.linked(hosts)
    hosts["alpha"].write(A, "more", b"x")
    gated.append(gate)
    before = hosts.world.view()
    ended = hosts.run("alpha", SYNC_ALL)
    assert (ended.code, says in ended.text) == (3, True), ended.text
    assert hosts.world.view() == before
    gated.clear()
    good(hosts.run("alpha", SYNC_ALL))


def test_no_snapshot_is_made_of_any_member_of_a_tree_whose_streams_are_not_let_in(
    hosts: Hosts, gated: list[Gate]
) -> None:
    hosts["alpha"].sh(f"zfs create {A}")
    hosts["alpha"].sh(f"zfs create {A}/x")
    good(hosts.run("alpha", trees.INIT))
    hosts["alpha"].write(f"{A}/x", "more", b"x")
    gated.append(Gate((B,), send=True))
    before = snapshots(hosts, A, f"{A}/x")
    assert hosts.run("alpha", SYNC_ALL).code == 3
    assert snapshots(hosts, A, f"{A}/x") == before


def test_the_others_go_on(hosts: Hosts, gated: list[Gate]) -> None:
    pairs.linked(hosts)
    hosts["alpha"].sh("zfs create tank/c")
    good(hosts.run("alpha", pairs.initialising(Init("tank/c", "beta", "tank/d"))))
    for name in (A, "tank/c"):
        hosts["alpha"].write(name, "more", b"x")
    gated.append(Gate(("tank/d",), receive=True))
    before = snapshots(hosts, A, "tank/c")
    ended = hosts.run("alpha", SYNC_ALL)
    assert (ended.code, f"does not admit anything of '{B}'" in ended.text) == (3, True)
    after = snapshots(hosts, A, "tank/c")
    assert (after[0], len(after[1])) == (before[0], len(before[1]) + 1)


@pytest.mark.parametrize("here", ["alpha", "beta"])
def test_what_is_outside_of_a_gate_costs_nothing_else(hosts: Hosts, monkeypatch: pytest.MonkeyPatch, here: str) -> None:
    """No question about one of three pairs is let in."""
    pairs.linked(hosts)
    others = {"tank/c": "tank/d", "tank/e": "tank/f"}
    for mine, theirs in others.items():
        hosts["alpha"].sh(f"zfs create {mine}")
        good(hosts.run("alpha", pairs.initialising(Init(mine, "beta", theirs))))
    asked = ModelHost.ask
    there, trees_there = ("beta", (*others.values(),)) if here == "alpha" else ("alpha", (*others,))
    gate = Gate(trees_there, send=True, receive=True)

    def ask(self: ModelHost, request: Request[Answer]) -> Answer:
        if self.name == there and (reason := refusal(gate, request, Knows())):
            raise NotAdmittedError(f"the gate of {there} does not admit {reason}")
        return asked(self, request)

    monkeypatch.setattr(ModelHost, "ask", ask)
    for name in (A, *others):
        hosts["alpha"].write(name, "more", b"x")
    shown = {row.name: row.state for row in hosts.run(here, lambda session: status(session, [])).rows}
    outside = A if here == "alpha" else B
    assert shown.pop(outside) != "ok"
    assert set(shown.values()) == {"ok"}
    if here == "alpha":
        ended = hosts.run(here, SYNC_ALL)
        assert (ended.code, [x.filesystem for x in ended.outcomes if x.error]) == (3, [A])
        assert [len(each) for each in snapshots(hosts, "tank/c", "tank/e")] == [2, 2]


@pytest.fixture
def received(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    """A pair whose peer lets streams in and nothing else."""
    pairs.linked(hosts)
    let_in(monkeypatch, Gate((B,), receive=True))
    return hosts


def let_in(monkeypatch: pytest.MonkeyPatch, gate: Gate) -> None:
    """Beta has this gate, and a pair of B."""
    asked = ModelHost.ask

    def ask(self: ModelHost, request: Request[Answer]) -> Answer:
        known = Knows({B: ("zrep",)}, linked={"src-host": ("alpha",), "master": ("no",)})
        if self.name == "beta" and (reason := refusal(gate, request, known)):
            raise NotAdmittedError(f"the gate of beta does not admit {reason}")
        return asked(self, request)

    monkeypatch.setattr(ModelHost, "ask", ask)


# What has been done to a replica; its words beside these.
CHANGED = {
    "written to": "",
    "left by a takeover -L that was cut": "zfs release zrep tank/b@zrep_000003; zfs destroy tank/b@zrep_000003; ",
}


@pytest.mark.parametrize("changed", CHANGED)
@pytest.mark.parametrize(
    "gate",
    [
        Gate((B,), receive=True),
        Gate((B,), receive=True, keep=True),
        Gate((B,), send=True, receive=True),
    ],
    ids=["receive", "keep", "both"],
)
def test_through_no_gate_is_a_replica_rolled_back(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, gate: Gate, changed: str
) -> None:
    """Nothing of it is done, and what is to be typed instead is for the host that has it."""
    pairs.linked(hosts)
    pairs.written(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    if CHANGED[changed]:
        pairs.hit(hosts, "beta", pairs.forcing(B), Mode.KILL_AFTER, "zfs", "hold")
        hosts.wire.reset()
        hosts.wire.heal()
    else:
        for command in (f"zfs set readonly=off {B}", f"zfs mount {B}"):
            hosts["beta"].sh(command)
        hosts["beta"].write(B, "theirs", b"x")
    with monkeypatch.context() as gated:
        let_in(gated, gate)
        before = hosts.world.view()
        ended = hosts.run("alpha", pairs.syncing(A), force=True)
    assert hosts.world.view() == before
    types = f"{CHANGED[changed]}zfs rollback tank/b@zrep_000002"
    why = "to destroy anything: this side keeps it" if gate.keep and CHANGED[changed] else f"that {B} is rolled back"
    told = [line for line in ended.text.splitlines() if "the gate" in line]
    assert (ended.code, told) == (
        3,
        [f"{A}: the gate of beta does not admit {why}; next: on beta: {types}; then: zrep sync {A}"],
    ), ended.text
    for command in types.split("; "):
        hosts["beta"].sh(command)
    good(hosts.run("alpha", pairs.syncing(A)))
    good(hosts.run("alpha", SYNC_ALL))


def test_doctor_finds_what_can_be_looked_at_through_it(received: Hosts) -> None:
    received["beta"].sh(f"zfs set canmount=on {B}")
    ended = received.run("alpha", lambda session: doctor(session, []))
    assert "mounts by itself at the next boot" in ended.text
    assert "gate" not in ended.text


def test_each_half_is_ended_where_it_is(received: Hosts) -> None:
    before = received.world.view()
    ended = received.run("alpha", pairs.clearing(A))
    assert ended.code == 3
    assert f"next: end each half where it is: zrep clear -L {A}; on beta: zrep clear -L {B}" in ended.text
    assert received.world.view() == before


def test_what_else_keeps_the_other_half_from_being_cleared_says_what_to_do_itself(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs.linked(hosts)
    asked = ModelHost.ask

    def ask(self: ModelHost, request: Request[Answer]) -> Answer:
        if self.name == "beta" and isinstance(request, CarryOut):
            covered = RefusedError(f"tank is mounted on /tank, over {B}", advice="on beta: zfs unmount tank")
            return cast(Answer, Carried(0, as_failure(covered)))
        return asked(self, request)

    monkeypatch.setattr(ModelHost, "ask", ask)
    ended = hosts.run("alpha", pairs.clearing(A))
    assert (ended.code, "next: on beta: zfs unmount tank" in ended.text) == (3, True), ended.text


SAID = {
    3: "zrep: the gate of it does not admit an encrypted dataset other than raw; next: see FORCED COMMAND in zrep(8)\n",
    4: "zrep: it has 32 sessions of this gate already; next: run this again later\n",
}
Side = tuple[str, tuple[str, ...]]
CASES = [(here, code) for here in ("alpha", "beta") for code in SAID]


@pytest.mark.parametrize(("here", "code"), CASES, ids=[f"{here}-{code}" for here, code in CASES])
@pytest.mark.parametrize("many", [False, True], ids=["one", "several"])
def test_a_stream_that_a_gate_refuses_ends_as_a_request_does(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, here: str, code: int, many: bool
) -> None:
    """Pushed into a gate of beta, pulled from one of alpha; alone, and where several share a session."""
    others = {"tank/c": "tank/d", "tank/e": "tank/f"} if many else {}
    pairs.source(hosts)
    good(hosts.run(here, pairs.INIT if here == "alpha" else pairs.PULL))
    for mine, theirs in others.items():
        hosts["alpha"].sh(f"zfs create {mine}")
        there = "beta" if here == "alpha" else "alpha"
        good(hosts.run(here, pairs.initialising(Init(mine, there, theirs, pull=here == "beta"))))
    for name in (A, *others):
        hosts["alpha"].write(name, "more", b"x")

    def ends(self: Wire, sends: Side, takes: Side) -> tuple[Completed, ...]:
        by_gate = "beta" if here == "alpha" else "alpha"
        others_end = "warning: cannot send: Broken pipe\n" if here == "alpha" else "cannot receive: invalid stream\n"
        return tuple(
            Completed(argv, code, "", f"Welcome\n{SAID[code]}")
            if host == by_gate
            else Completed(argv, 1, "", others_end)
            for host, argv in (sends, takes)
        )

    with monkeypatch.context() as barred:
        barred.setattr(Wire, "_pipe", ends)
        ended = hosts.run(here, SYNC_ALL)
    told = SAID[code].removeprefix("zrep: ").partition("; next: ")
    assert ended.code == code, ended.text
    assert len(ended.outcomes) == 1 + len(others)
    for outcome in ended.outcomes:
        assert outcome.error is not None
        assert outcome.error.filesystem in ((A, *others) if here == "alpha" else (B, *others.values()))
        assert f"({told[0]}); next: {told[2].strip()}" in outcome.error.line()
    good(hosts.run(here, SYNC_ALL))
