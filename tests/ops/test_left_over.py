"""What a role change that was cut has left on an old master: snapshots of zrep's own that were never sent, and that
nothing is in. Onto an encrypted replica no raw stream goes on top of them.

Found by the simulation (seed 262603942): nobody but a person let go of them.
"""

from __future__ import annotations

import pytest

from tests.ops import pairs
from tests.ops.hosts import Ended, Hosts, Mode, Work, name_of
from tests.ops.judge import SIDES, base, held
from tests.ops.pairs import SYNC_ALL, A, B, good, hit
from tests.ops.plugin import thorough
from zrep.ops.init_way import Request
from zrep.ops.status import status

ENCRYPTED = "-o encryption=on -o keyformat=raw -o keylocation=file:///key"
MEMBER = {"alpha": f"{A}/x", "beta": f"{B}/x"}


def linked(hosts: Hosts, *words: str, tree: bool = False) -> None:
    hosts["alpha"].sh(f"zfs create {' '.join(words)} {A}")
    hosts["alpha"].write(A, "one", b"1")
    if tree:
        hosts["alpha"].sh(f"zfs create {MEMBER['alpha']}")
        hosts["alpha"].write(MEMBER["alpha"], "one", b"1")
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B, recursive=tree))))
    for name in (B, *([MEMBER["beta"]] if tree and words else [])):
        hosts["beta"].load_key(name)


def lost_after_its_final_snapshot(hosts: Hosts, mode: Mode = Mode.POWER_HERE) -> None:
    """A failover ends after its final snapshot, and the other side is promoted alone and written to."""
    hit(hosts, "alpha", pairs.failing_over(A), mode, "zfs", "snapshot")
    lost = hosts.wire.power_lost
    hosts.wire.reset()
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing(B)))
    hosts["beta"].write(B, "later", b"2")
    hosts.wire.power_lost = lost
    hosts.wire.heal()
    hosts["alpha"].load_key(A)
    hosts["alpha"].mount_all()


def snapshots(hosts: Hosts, name: str = A) -> list[str]:
    return hosts["alpha"].sh(f"zfs list -H -d 1 -t snapshot -o name {name}").decode().split()


def state(hosts: Hosts, host: str) -> str:
    [row] = hosts.run(host, lambda session: status(session, [])).rows
    return row.state


@pytest.mark.parametrize("create", [(), (ENCRYPTED,), ("-V 1G", ENCRYPTED)], ids=["plain", "encrypted", "volume"])
def test_rejoin_lets_go_of_what_a_cut_failover_has_left(hosts: Hosts, create: tuple[str, ...]) -> None:
    linked(hosts, *create)
    lost_after_its_final_snapshot(hosts)
    assert snapshots(hosts)[-1] == f"{A}@zrep_000002"
    good(hosts.run("alpha", pairs.rejoining(A)))
    assert snapshots(hosts) == [f"{A}@zrep_000001"]
    good(hosts.run("beta", SYNC_ALL))
    assert [held(hosts, *side) for side in SIDES] == [{base(hosts)}] * 2


def test_each_member_of_a_tree_does(hosts: Hosts) -> None:
    linked(hosts, ENCRYPTED, tree=True)
    lost_after_its_final_snapshot(hosts)
    hosts["beta"].write(MEMBER["beta"], "later", b"2")
    before = {name: snapshots(hosts, name) for name in (A, MEMBER["alpha"])}
    good(hosts.run("alpha", pairs.rejoining(A)))
    for name, names in before.items():
        assert snapshots(hosts, name) == names[:-1]
    good(hosts.run("beta", SYNC_ALL))
    assert hosts["alpha"].read(snapshots(hosts, MEMBER["alpha"])[-1])["later"]


def test_one_that_is_held_is_let_go_of_too(hosts: Hosts) -> None:
    linked(hosts, ENCRYPTED)
    lost_after_its_final_snapshot(hosts)
    hosts["alpha"].sh(f"zfs hold zrep {A}@zrep_000002")
    good(hosts.run("alpha", pairs.rejoining(A)))
    assert snapshots(hosts) == [f"{A}@zrep_000001"]


@pytest.mark.parametrize(
    "mode", thorough(Mode.FAIL, Mode.KILL_AFTER, Mode.KILL_BEFORE, Mode.LOST, Mode.POWER_HERE), ids=name_of
)
def test_wherever_that_is_cut_the_next_sync_sends(hosts: Hosts, mode: Mode) -> None:
    """The old master is a replica by then, and says of itself that nothing is to be done."""
    linked(hosts, ENCRYPTED)
    lost_after_its_final_snapshot(hosts)
    hosts["alpha"].sh(f"zfs hold zrep {A}@zrep_000002")
    before = hosts.world.dump()
    hosts.wire.reset()
    good(hosts.run("alpha", pairs.rejoining(A)))
    for at in range(len(hosts.wire.log)):
        hosts.load(before)
        hosts.wire.reset(mode, at)
        hosts.run("alpha", pairs.rejoining(A))
        hosts.wire.heal()
        hosts["alpha"].load_key(A)
        hosts["alpha"].mount_all()
        if state(hosts, "alpha") != "ok":
            hosts.run("alpha", pairs.rejoining(A))
        assert (state(hosts, "alpha"), state(hosts, "beta")) == ("ok", "ok"), at
        good(hosts.run("beta", SYNC_ALL))
        assert [held(hosts, *side) for side in SIDES] == [{base(hosts)}] * 2, at
        assert hosts["alpha"].read(snapshots(hosts)[-1])["later"] == b"2"


def left_by_an_earlier_version(hosts: Hosts) -> None:
    """A replica with one of zrep's own that was never sent, held as it is before a stream, and something to send."""
    linked(hosts, ENCRYPTED)
    hosts["beta"].sh(f"zfs snapshot -o zrep:made=yes {B}@zrep_00000a")
    hosts["beta"].sh(f"zfs hold zrep {B}@zrep_00000a")
    hosts["alpha"].write(A, "later", b"2")


@pytest.mark.parametrize(
    "work", [SYNC_ALL, pairs.syncing(A), pairs.failing_over(A)], ids=["sync all", "sync", "failover"]
)
def test_whatever_sends_lets_go_of_it_first(hosts: Hosts, work: Work) -> None:
    left_by_an_earlier_version(hosts)
    assert (state(hosts, "alpha"), state(hosts, "beta")) == ("ok", "ok")
    good(hosts.run("alpha", work))
    names = hosts["beta"].sh(f"zfs list -H -t snapshot -o name {B}").decode().split()
    assert f"{B}@zrep_00000a" not in names


def test_a_dry_run_shows_it(hosts: Hosts) -> None:
    left_by_an_earlier_version(hosts)
    shown = good(hosts.run("alpha", SYNC_ALL, dry_run=True)).lines
    release = f"beta: zfs release zrep {B}@zrep_00000a"
    destroy = f"beta: zfs destroy {B}@zrep_00000a"
    assert shown.index(release) < shown.index(destroy)
    assert destroy in shown[: next(at for at, line in enumerate(shown) if "zfs send" in line)]


NOT_ITS_OWN = {
    "foreign": "zfs snapshot {b}@auto-1",
    "called alike": "zfs snapshot {b}@zrep_00000a",
    "renamed to be kept": "zfs snapshot -o zrep:made=yes {b}@kept",
    "another tag's": "zfs snapshot -o offsite:made=yes {b}@offsite_00000a",
    "known to have been on the other side": "zfs snapshot -o zrep:made=yes -o zrep:sent=1700000000 {b}@zrep_00000a",
    "held by somebody": "zfs snapshot -o zrep:made=yes {b}@zrep_00000a; zfs hold backup {b}@zrep_00000a",
    "cloned": "zfs snapshot -o zrep:made=yes {b}@zrep_00000a; zfs clone {b}@zrep_00000a tank/clone",
}


@pytest.mark.parametrize("how", list(NOT_ITS_OWN))
def test_what_is_not_left_over_is_not_touched(hosts: Hosts, how: str) -> None:
    linked(hosts, ENCRYPTED)
    for command in NOT_ITS_OWN[how].format(b=B).split("; "):
        hosts["beta"].sh(command)
    hosts["alpha"].write(A, "later", b"2")
    before = hosts["beta"].sh(f"zfs list -H -t snapshot -o name {B}")
    for _ in range(2):
        ended = hosts.run("alpha", SYNC_ALL)
        assert ended.code == 3
        assert state(hosts, "beta") == "foreign snapshot"
    assert hosts["beta"].sh(f"zfs list -H -t snapshot -o name {B}") == before
    typed_as_told(hosts, ended)
    good(hosts.run("alpha", SYNC_ALL))


def typed_as_told(hosts: Hosts, ended: Ended) -> None:
    typed = ended.text.partition("next: on beta: ")[2].strip()
    for command in typed.removeprefix("copy what is wanted of tank/clone, then: ").split("; "):
        hosts["beta"].sh(command)


def test_one_that_something_was_written_before_is_no_such(hosts: Hosts) -> None:
    linked(hosts, ENCRYPTED)
    hosts["beta"].sh(f"zfs set readonly=off {B}")
    hosts["beta"].sh(f"zfs mount {B}")
    hosts["beta"].write(B, "stray", b"x" * 50)
    hosts["beta"].sh(f"zfs snapshot -o zrep:made=yes {B}@zrep_00000a")
    hosts["beta"].sh(f"zfs snapshot -o zrep:made=yes {B}@zrep_00000b")
    hosts["alpha"].write(A, "later", b"2")
    assert "changed by hand" in hosts.run("alpha", SYNC_ALL).text
    assert "zrep_00000b" in hosts["beta"].sh(f"zfs list -H -t snapshot -o name {B}").decode()
