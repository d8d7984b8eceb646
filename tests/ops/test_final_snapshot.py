"""The final snapshot of a role change that was undone: it may be on the replica already, where nothing shows yet that
zrep made it. It is held on the master before the record of the role change goes, as any other that waits to be sent.

Found by the simulation (seed 693564184): somebody destroyed it on the master, and an encrypted replica's was called
one that zrep did not make.
"""

from __future__ import annotations

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, Mode, Work, name_of
from tests.ops.judge import SIDES, base, held
from tests.ops.pairs import SYNC_ALL, A, B, good
from tests.ops.plugin import thorough
from tests.ops.test_crash import applies
from zrep.ops.init_way import Request

KEY = "-o encryption=on -o keyformat=raw -o keylocation=file:///key"
LAYOUTS = {
    "plain": ("", ()),
    "volume": ("-V 1G", ()),
    "tree": ("", ("x",)),
    "encrypted": (KEY, ()),
    "encrypted volume": (f"-V 1G {KEY}", ()),
    "encrypted tree": (KEY, ("x",)),
}


def linked(hosts: Hosts, layout: str) -> list[str]:
    """A pair with a write to each member; what there is on alpha."""
    options, below = LAYOUTS[layout]
    members = [A, *(f"{A}/{name}" for name in below)]
    for name in members:
        hosts["alpha"].sh(f"zfs create {options if name == A else ''} {name}")
        hosts["alpha"].write(name, "one", b"1")
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B, recursive=bool(below)))))
    if options.endswith(KEY):
        hosts["beta"].load_key(B)
    return members


def unsent(hosts: Hosts, members: list[str], *, held: bool) -> list[str]:
    """What zrep has made on the master and has still to send, and holds or not."""
    found = [(name, s) for name in members for s in hosts.world.state.hosts["alpha"].datasets[name].snapshots]
    return [f"{name}@{s.name}" for name, s in found if "zrep:sent" not in s.props and bool(s.holds) is held]


def recorded(hosts: Hosts) -> bool:
    return pairs.value(hosts, "alpha", A, "zrep:inprogress") not in ("-", "")


def at_each_command(hosts: Hosts, work: Work, host: str, mode: Mode) -> list[int]:
    """The numbers of those from the first snapshot on at which a fault means anything."""
    dumped = hosts.world.dump()
    hosts.wire.reset()
    good(hosts.run(host, work))
    log = list(hosts.wire.log)
    hosts.load(dumped)
    final = next(number for number, command in enumerate(log) if command.argv[:2] == ("zfs", "snapshot"))
    return [number for number, command in enumerate(log) if number >= final and applies(mode, command)]


def at_each(hosts: Hosts, layout: str, mode: Mode) -> None:
    members = linked(hosts, layout)
    numbers = at_each_command(hosts, pairs.failing_over(A), "alpha", mode)
    dumped = hosts.world.dump()
    for number in numbers:
        hosts.load(dumped)
        hosts.wire.reset(mode, number)
        hosts.run("alpha", pairs.failing_over(A))
        hosts.wire.heal()
        assert recorded(hosts) or not unsent(hosts, members, held=False), number


@pytest.mark.parametrize("mode", [Mode.TORN, Mode.TORN_CUT], ids=name_of)
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_once_nothing_is_recorded_the_final_snapshot_is_held(hosts: Hosts, layout: str, mode: Mode) -> None:
    at_each(hosts, layout, mode)


@pytest.mark.parametrize("mode", thorough(Mode.FAIL, Mode.KILL_AFTER, Mode.LOST), ids=name_of)
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_wherever_it_was_cut_the_final_snapshot_is_held_once_nothing_is_recorded(
    hosts: Hosts, layout: str, mode: Mode
) -> None:
    at_each(hosts, layout, mode)


def cut_after_its_streams(hosts: Hosts) -> None:
    """Every final snapshot has arrived, none is held yet, and the record of the role change stands."""
    dumped = hosts.world.dump()
    hosts.wire.reset()
    good(hosts.run("alpha", pairs.failing_over(A)))
    last = max(number for number, command in enumerate(hosts.wire.log) if command.stream)
    hosts.load(dumped)
    hosts.wire.reset(Mode.KILL_AFTER, last)
    hosts.run("alpha", pairs.failing_over(A))
    hosts.wire.heal()


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_a_master_that_goes_on_alone_holds_it(hosts: Hosts, layout: str) -> None:
    members = linked(hosts, layout)
    cut_after_its_streams(hosts)
    assert recorded(hosts)
    assert len(unsent(hosts, members, held=False)) == len(members)
    hosts.wire.cut = True
    good(hosts.run("alpha", pairs.forcing(A)))
    assert not unsent(hosts, members, held=False)


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_nobody_destroys_what_has_arrived_and_the_next_sync_goes_on(hosts: Hosts, layout: str) -> None:
    """The stream of one member arrives, that of the root is torn, as in the simulation."""
    members = linked(hosts, layout)
    first = at_each_command(hosts, pairs.failing_over(A), "alpha", Mode.TORN)
    hosts.wire.reset(Mode.TORN, first[-1])
    hosts.run("alpha", pairs.failing_over(A))
    hosts.wire.heal()
    finals = unsent(hosts, members, held=True)
    assert len(finals) == len(members)
    for final in finals:
        assert hosts["alpha"].run(["zfs", "destroy", final]).rc != 0
    good(hosts.run("alpha", SYNC_ALL))
    assert [held(hosts, *side) for side in SIDES] == [{base(hosts)}] * 2
    good(hosts.run("alpha", pairs.failing_over(A)))


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if "encrypted" in name])
def test_what_was_destroyed_before_any_run_came_back_is_left_to_a_person(hosts: Hosts, layout: str) -> None:
    """Nothing shows that zrep made what is on the replica, and it says no such thing; with what it says nothing is
    lost."""
    members = linked(hosts, layout)
    cut_after_its_streams(hosts)
    finals = unsent(hosts, members, held=False)
    for final in finals:
        hosts["alpha"].sh(f"zfs destroy {final}")
    ended = hosts.run("alpha", SYNC_ALL)
    assert ended.code == 3
    for final in finals:
        there, _, name = final.replace(A, B).partition("@")
        assert f"{there} has snapshots newer than the base that are not on the master" in ended.text
        assert f"next: on beta: zfs destroy {there}@{name}" in ended.text
        hosts["beta"].sh(f"zfs destroy {there}@{name}")
    for name in members:
        hosts["alpha"].write(name, "later", b"2")
    good(hosts.run("alpha", SYNC_ALL))
    assert [held(hosts, *side) for side in SIDES] == [{base(hosts)}] * 2
