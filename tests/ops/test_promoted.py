"""A clone that was promoted over the master of another pair has that one's snapshots, its base among them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Hosts
from tests.ops.pairs import SYNC_ALL, A, good
from tests.ops.trees import lines, snapshots
from zrep.ops.changeconfig import Config
from zrep.ops.init_way import Request

ORIGIN, CLONE = "tank/o", "tank/c"  # what was cloned, and the clone
TO_O, TO_C = (pairs.initialising(Request(name, "beta", f"{name}b")) for name in (ORIGIN, CLONE))


def history(hosts: Hosts, name: str, count: int = 3) -> None:
    for number in range(count):
        hosts["alpha"].write(name, f"{name[-1]}{number}", b"1")
        hosts.run("alpha", SYNC_ALL)


def cloned(hosts: Hosts, clone: str) -> None:
    """A pair of which few snapshots are kept, and a clone of its master."""
    hosts["alpha"].sh(f"zfs create {ORIGIN}")
    good(hosts.run("alpha", TO_O))
    good(hosts.run("alpha", pairs.changing(ORIGIN, Config(savecount=2))))
    history(hosts, ORIGIN)
    hosts["alpha"].sh(f"zfs snapshot {ORIGIN}@mine")
    hosts["alpha"].sh(f"zfs clone {ORIGIN}@mine {clone}")


def its_own(hosts: Hosts) -> str:
    """The clone is in a pair of its own, made before."""
    cloned(hosts, CLONE)
    good(hosts.run("alpha", TO_C))
    hosts["alpha"].sh(f"zfs promote {CLONE}")
    return CLONE


def later(hosts: Hosts) -> str:
    """The same, made after: what its init finds held may be taken for its own."""
    cloned(hosts, CLONE)
    hosts["alpha"].sh(f"zfs promote {CLONE}")
    good(hosts.run("alpha", TO_C))
    return CLONE


def with_all(hosts: Hosts) -> str:
    """The same, and the snapshots of all go with it: the other side has those too."""
    cloned(hosts, CLONE)
    hosts["alpha"].sh(f"zfs promote {CLONE}")
    good(hosts.run("alpha", pairs.initialising(Request(CLONE, "beta", f"{CLONE}b", all_snapshots=True))))
    return CLONE


def of_a_tree(hosts: Hosts) -> str:
    """The clone is a member of a tree."""
    trees.grown(hosts)
    cloned(hosts, f"{A}/c")
    hosts["alpha"].sh(f"zfs promote {A}/c")
    return f"{A}/c"


CLONES = {
    "in a pair since before": its_own,
    "in a pair since then": later,
    "with all snapshots": with_all,
    "a member of a tree": of_a_tree,
}
EACH = pytest.mark.parametrize("made", CLONES.values(), ids=CLONES.keys())


def kept(hosts: Hosts, name: str, of_other: list[str]) -> list[tuple[str, list[str]]]:
    """What is there of the other pair's: snapshots, their holds, and the bookmark of its base."""
    marks = [line.partition("#")[2] for line in lines(hosts, "alpha", f"zfs list -H -t bookmark -o name {name}")]
    found = [(s, lines(hosts, "alpha", f"zfs holds -H {name}@{s}")) for s in snapshots(hosts, "alpha", name)]
    return [
        *((s, [hold.split("\t")[1] for hold in holds]) for s, holds in found if s in of_other),
        *((mark, []) for mark in marks if mark.removeprefix("zrep:") in of_other),
    ]


@EACH
@pytest.mark.parametrize("how", ["sync", "expire", "expire -L", "clear"])
def test_what_it_has_of_another_pair_it_keeps_until_that_takes_it_back(
    hosts: Hosts, how: str, made: Callable[[Hosts], str]
) -> None:
    """The base of the other one went with the next sync, and what the advice names came too late."""
    name = made(hosts)
    base = snapshots(hosts, "beta", f"{ORIGIN}b")[-1]
    of_other = snapshots(hosts, "beta", f"{ORIGIN}b")[-2:]
    assert base in snapshots(hosts, "alpha", name)
    before = kept(hosts, name, of_other)
    assert (base, ["zrep"]) in before
    root = A if name.startswith(f"{A}/") else name
    good(hosts.run("alpha", pairs.changing(root, Config(savecount=1))))
    for number in range(3):
        hosts["alpha"].write(name, f"more{number}", b"1")
        assert hosts.run("alpha", pairs.syncing(root)).code == 0
    if how == "clear":
        good(hosts.run("alpha", pairs.clearing(root)))
    elif how != "sync":
        good(hosts.run("alpha", pairs.expiring(root, here_only=how == "expire -L", agreed=True)))
    assert kept(hosts, name, of_other) == before
    hosts["alpha"].sh(f"zfs promote {ORIGIN}")
    hosts["alpha"].write(ORIGIN, "again", b"1")
    hosts.wire.log.clear()
    good(hosts.run("alpha", pairs.syncing(ORIGIN)))
    assert all("-i" in command.argv for command in hosts.wire.log if command.stream)


def test_why_it_stays_is_shown(hosts: Hosts) -> None:
    name = its_own(hosts)
    [outcome] = good(hosts.run("alpha", pairs.expiring(name), dry_run=True)).outcomes
    assert (
        f"alpha: {name}@{snapshots(hosts, 'beta', f'{ORIGIN}b')[-1]} stays: it may be that of {ORIGIN}" in outcome.notes
    )


def expired(hosts: Hosts, name: str) -> list[str]:
    """What is left after some more syncs of a pair that keeps one."""
    good(hosts.run("alpha", pairs.changing(name, Config(savecount=1))))
    for number in range(3):
        hosts["alpha"].write(name, f"more{number}", b"1")
        good(hosts.run("alpha", pairs.syncing(name)))
    return [snapshot for snapshot in snapshots(hosts, "alpha", name) if snapshot.startswith("zrep_")]


def test_once_the_other_pair_has_ended_they_are_its_own(hosts: Hosts) -> None:
    """Nobody else would ever let go of them."""
    name = its_own(hosts)
    good(hosts.run("alpha", pairs.clearing(ORIGIN)))
    assert len(expired(hosts, name)) == 1


def test_a_clone_in_a_pair_of_its_own_that_was_not_promoted_keeps_nothing(hosts: Hosts) -> None:
    cloned(hosts, CLONE)
    good(hosts.run("alpha", TO_C))
    assert len(expired(hosts, ORIGIN)) == 1


def test_nor_does_one_that_was_there_before_a_rejoin(hosts: Hosts) -> None:
    """The dataset is younger than all its snapshots then, and they are its own."""
    cloned(hosts, CLONE)
    good(hosts.run("alpha", TO_C))
    history(hosts, ORIGIN)
    hosts["alpha"].write(ORIGIN, "tail", b"1")
    good(hosts.run("beta", pairs.forcing(f"{ORIGIN}b")))
    good(hosts.run("alpha", pairs.rejoining(ORIGIN)))
    good(hosts.run("beta", pairs.failing_over(f"{ORIGIN}b")))
    assert lines(hosts, "alpha", f"zfs get -H -o value origin {CLONE}")[0].startswith(f"{ORIGIN}@")
    [copy] = [name for name in hosts["alpha"].names() if "_split_" in name]
    origin = lines(hosts, "alpha", f"zfs get -H -o value origin {copy}")[0]
    assert [left for left in expired(hosts, ORIGIN) if not origin.endswith(left)] == snapshots(hosts, "alpha", ORIGIN)[
        -1:
    ]


def test_the_replica_of_one_that_was_adopted_with_the_others_base_keeps_that_too(hosts: Hosts) -> None:
    """Both sides were cloned and promoted by hand."""
    hosts["alpha"].sh(f"zfs create {ORIGIN}")
    good(hosts.run("alpha", TO_O))
    history(hosts, ORIGIN)
    base = snapshots(hosts, "alpha", ORIGIN)[-1]
    for host, end in (("alpha", ""), ("beta", "b")):
        hosts[host].sh(f"zfs clone {ORIGIN}{end}@{base} {CLONE}{end}")
        hosts[host].sh(f"zfs promote {CLONE}{end}")
    good(hosts.run("alpha", pairs.initialising(Request(CLONE, "beta", f"{CLONE}b", adopt=True))))
    good(hosts.run("beta", pairs.changing(f"{CLONE}b", Config(savecount=1))))
    assert expired(hosts, CLONE)[-2] == base
    for host, end in (("alpha", ""), ("beta", "b")):
        hosts[host].sh(f"zfs promote {ORIGIN}{end}")
    hosts["alpha"].write(ORIGIN, "again", b"1")
    hosts.wire.log.clear()
    good(hosts.run("alpha", SYNC_ALL))
    assert [command.argv[-2] for command in hosts.wire.log if command.stream] == [f"{ORIGIN}@{base}"]
