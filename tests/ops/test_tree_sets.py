"""What a replica's newest complete set rests on stays on both sides until a newer one is complete."""

from __future__ import annotations

from tests.ops import pairs, trees
from tests.ops.hosts import Hosts, Mode
from tests.ops.judge import find, held
from tests.ops.pairs import SYNC_ALL, A, B, good
from zrep.ops.changeconfig import Config
from zrep.ops.doctor import doctor
from zrep.ops.status import status


def _part_of_a_set(hosts: Hosts) -> None:
    """Root and member are written to, and only the member arrives."""
    for name in (A, f"{A}/x"):
        hosts["alpha"].write(name, "later", b"2")
    before = hosts.world.dump()
    hosts.wire.reset()
    hosts.run("alpha", SYNC_ALL)
    root = next(at for at, command in enumerate(hosts.wire.log) if command.stream and f"{A}@" in str(command))
    hosts.load(before)
    hosts.wire.reset(Mode.FAIL, root)
    assert hosts.run("alpha", SYNC_ALL).code == 1
    hosts.wire.reset()


def complete(hosts: Hosts) -> list[bool | None]:
    """What status says of the newest set, on each host."""
    found = []
    for host in trees.ROOT:
        with hosts.session(host) as session:
            found += [row.set_complete for row in status(session, [])]
    return found


def test_a_member_that_goes_back_to_its_set_is_not_sent_anew(hosts: Hosts) -> None:
    """Simulation, layout tree, seed 7: the master has let go of the snapshot that the member goes back to."""
    trees.grown(hosts)
    for host, name in trees.ROOT.items():
        good(hosts.run(host, pairs.changing(name, Config(savecount=1))))
    good(hosts.run("alpha", SYNC_ALL))
    _part_of_a_set(hosts)
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing(B)))
    hosts.wire.cut = False
    here, there = (find(hosts, host, f"{root}/x") for host, root in trees.ROOT.items())
    assert here is not None
    assert there is not None
    common = {snapshot.guid for snapshot in here.snapshots} & {snapshot.guid for snapshot in there.snapshots}
    assert common


def test_what_the_set_rests_on_is_held_on_both_sides_until_a_later_one_is_complete(hosts: Hosts) -> None:
    """Simulation, seed 358496805: kept by zrep, and yet any other program could take it away."""
    trees.grown(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    set_of_x = held(hosts, "beta", f"{B}/x")
    assert complete(hosts) == [True, True]
    _part_of_a_set(hosts)
    assert complete(hosts) == [False, False]
    assert set_of_x < held(hosts, "alpha", f"{A}/x") == held(hosts, "beta", f"{B}/x")
    assert "are held that no stream begins at" not in hosts.run("alpha", lambda session: doctor(session, [])).text
    good(hosts.run("alpha", SYNC_ALL))
    assert complete(hosts) == [True, True]
    for member in ("", "/x"):
        assert held(hosts, "alpha", A + member) == held(hosts, "beta", B + member)
        assert len(held(hosts, "beta", B + member)) == 1
    assert not set_of_x & held(hosts, "beta", f"{B}/x")
    again = hosts.world.view()
    good(hosts.run("alpha", SYNC_ALL))
    assert hosts.world.view() == again
