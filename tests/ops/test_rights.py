"""Who may not mount is refused what would need it, before anything is changed, on whichever host it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, Work
from tests.ops.pairs import SYNC_ALL, A, B, good
from zrep.core import delegation
from zrep.core.errors import RefusedError
from zrep.host.machine import Machine
from zrep.ops.doctor import doctor
from zrep.ops.rehearse import rehearse

REHEARSE: Work = lambda session: rehearse(session, B, ())  # noqa: E731

# Where it runs, as whom on alpha and beta, and what is said.
THERE = (
    "let it be root there: this key in /root/.ssh/authorized_keys on {} after "
    'restrict,command="zrep gate --tree {} --send --receive", then: zrep changeconfig {} root@{} {}'
)
REFUSED: list[tuple[Callable[[Hosts], None], str, Work, str, str, str]] = [
    (pairs.linked, "alpha", pairs.failing_over(A), "alpha", A, f"sudo zrep failover {A}"),
    (pairs.linked, "alpha", pairs.failing_over(A), "beta", B, THERE.format("beta", B, A, "beta", B)),
    (pairs.linked, "beta", pairs.taking_over(B), "beta", B, f"sudo zrep takeover {B}"),
    (pairs.linked, "beta", pairs.taking_over(B), "alpha", A, THERE.format("alpha", A, B, "alpha", A)),
    (pairs.linked, "beta", pairs.forcing(B), "beta", B, f"sudo zrep takeover -L {B}"),
    (pairs.forced, "alpha", pairs.rejoining(A), "alpha", A, f"sudo zrep rejoin {A}"),
    (pairs.linked, "beta", REHEARSE, "beta", B, f"sudo zrep rehearse {B}"),
]


@pytest.mark.parametrize(("prepare", "here", "work", "whose", "name", "advice"), REFUSED)
def test_it_is_refused_before_any_change(
    hosts: Hosts, prepare: Callable[[Hosts], None], here: str, work: Work, whose: str, name: str, advice: str
) -> None:
    prepare(hosts)
    hosts.wire.users[whose] = "operator"
    before = hosts.world.view()
    ended = hosts.run(here, work)
    assert ended.code == RefusedError.exit_code, ended.text
    shown = name if here == "beta" or "rehearse" not in advice else B
    if "rehearse" not in advice:
        assert f"operator may not mount or unmount {shown} on {whose} (zrep runs as operator there" in ended.text
    assert f"next: {advice}" in ended.text
    assert hosts.world.view() == before


@pytest.mark.parametrize(
    "unmounted",
    [
        ("beta", f"zfs set canmount=off {B}; zfs set zrep:canmount=off {B}"),
        ("beta", f"zfs set mountpoint=none {B}"),
    ],
)
def test_nobody_needs_it_where_nothing_is_mounted(hosts: Hosts, unmounted: tuple[str, str]) -> None:
    pairs.linked(hosts)
    host, commands = unmounted
    for command in commands.split("; "):
        hosts[host].sh(command)
    pairs.run_as_operator(hosts, host)
    good(hosts.run("alpha", pairs.failing_over(A)))


def test_nobody_needs_it_for_volumes(hosts: Hosts) -> None:
    pairs.linked(hosts, volume=True)
    pairs.run_as_operator(hosts)
    good(hosts.run("alpha", pairs.failing_over(A)))
    hosts["alpha"].sh(f"zfs allow -u operator {','.join(delegation.RECEIVE)} tank")
    hosts["beta"].sh(f"zfs allow -u operator {','.join(delegation.SEND)} tank")
    good(hosts.run("alpha", pairs.taking_over(A)))


def test_data_moves_all_the_same(hosts: Hosts) -> None:
    pairs.linked(hosts)
    pairs.run_as_operator(hosts)
    hosts["alpha"].write(A, "more", b"x")
    good(hosts.run("alpha", SYNC_ALL))


def test_a_dry_run_and_doctor_say_it_of_both_hosts(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts.wire.users |= {"alpha": "operator", "beta": "backup"}
    for work in (pairs.failing_over(A), lambda session: doctor(session, [])):
        ended = hosts.run("alpha", work, dry_run=True)
        said = ended.text + "".join(error.line() for outcome in ended.outcomes for error in outcome.blockers)
        assert f"operator may not mount or unmount {A} on alpha" in said
        assert f"backup may not mount or unmount {B} on beta" in said


@pytest.mark.parametrize(
    ("user", "status", "may"),
    [
        (0, "CapEff:\t000001ffffffffff\n", True),
        (0, "CapEff:\t00000000a80425fb\n", False),  # as in a container
        (0, "", True),
        (1000, "CapEff:\t000001ffffffffff\n", False),  # mount(8) asks for the user
    ],
)
def test_who_may_is_told_by_the_process_itself(
    monkeypatch: pytest.MonkeyPatch, user: int, status: str, may: bool
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    monkeypatch.setattr("zrep.host.machine._read", lambda path: status)
    assert Machine(name="alpha").may_mount() is may
