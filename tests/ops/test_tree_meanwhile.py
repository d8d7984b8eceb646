"""Administrators who rename, swap or destroy members of a tree while a sync of it is at work: what they take from it
stops only itself, and the next run goes on with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.ops import trees
from tests.ops.hosts import Hosts
from tests.ops.pairs import SYNC_ALL, A, B, good
from tests.ops.trees import contents

NAMES = (A, f"{A}/vol", f"{A}/x", f"{A}/x/deep")


def renamed(hosts: Hosts) -> None:
    hosts["alpha"].sh(f"zfs rename {A}/x {A}/z")


def swapped(hosts: Hosts) -> None:
    for old, new in ((f"{A}/x", f"{A}/t"), (f"{A}/vol", f"{A}/x"), (f"{A}/t", f"{A}/vol")):
        hosts["alpha"].sh(f"zfs rename {old} {new}")


def destroyed(hosts: Hosts) -> None:
    trees.destroy(hosts, f"{A}/x")


def made_again(hosts: Hosts) -> None:
    destroyed(hosts)
    hosts["alpha"].sh(f"zfs create {A}/x")
    hosts["alpha"].write(f"{A}/x", "file", b"another")


# What is done, and the members that it does not touch.
MEANWHILE: dict[str, tuple[Callable[[Hosts], None], tuple[str, ...]]] = {
    "renamed": (renamed, (A, f"{A}/vol")),
    "swapped": (swapped, (A,)),
    "destroyed": (destroyed, (A, f"{A}/vol")),
    "made again": (made_again, (A, f"{A}/vol")),
}


def at(hosts: Hosts, number: int, do: Callable[[Hosts], None]) -> None:
    """Do it before a command of the next run, by its number."""

    def before() -> None:
        if len(hosts.wire.log) == number:
            hosts.wire.before = lambda: None
            do(hosts)

    hosts.wire.before = before


def test_what_is_renamed_while_its_tree_is_read_is_not_taken_for_one_that_is_gone(hosts: Hosts) -> None:
    """It has neither name in all that is read: it is read anew, some times."""
    trees.grown(hosts)
    dumped = hosts.world.dump()
    hosts.wire.reset()
    good(hosts.run("alpha", SYNC_ALL))
    for number in range(len(hosts.wire.log)):
        hosts.load(dumped)
        hosts.said.clear()
        at(hosts, number, renamed)
        good(hosts.run("alpha", SYNC_ALL))
        assert "set aside" not in " ".join(hosts.said), number


def test_a_tree_that_never_stands_still_fails_that_run_and_says_so(hosts: Hosts) -> None:
    trees.grown(hosts)
    names = [f"{A}/x", f"{A}/z"]

    def back_and_forth() -> None:
        before, hosts.wire.before = hosts.wire.before, lambda: None
        if hosts.wire.log and hosts.wire.log[-1].argv[:4] == ("zfs", "list", "-H", "-r"):
            hosts["alpha"].sh(f"zfs rename {names[0]} {names[1]}")
            names.reverse()
        hosts.wire.before = before

    hosts.wire.reset()
    hosts.wire.before = back_and_forth
    ended = hosts.run("alpha", SYNC_ALL)
    assert (ended.code, "what is below it is renamed or destroyed as often as it is read" in ended.text) == (1, True), (
        ended.text
    )
    assert "run this again" in ended.text
    hosts.wire.before = lambda: None
    good(hosts.run("alpha", SYNC_ALL))


@pytest.mark.parametrize("what", ["renamed", "destroyed"])
def test_what_goes_when_its_set_is_recorded_is_no_failure_of_the_run(hosts: Hosts, what: str) -> None:
    """All has arrived by then: what was held of the set before is let go of by the next run."""
    do, _ = MEANWHILE[what]
    trees.grown(hosts)
    for name in NAMES:
        hosts["alpha"].write(name, "later", name.encode())
    dumped = hosts.world.dump()
    hosts.wire.reset()
    good(hosts.run("alpha", SYNC_ALL))
    recorded = [n for n, command in enumerate(hosts.wire.log) if any("zrep:set=" in word for word in command.argv)]
    commands = len(hosts.wire.log)
    for number in range(recorded[-1], commands):
        hosts.load(dumped)
        at(hosts, number, do)
        ended = good(hosts.run("alpha", SYNC_ALL))
        assert [outcome.message for outcome in ended.outcomes] == ["sent 4 of its 4 members to beta:tank/b"]
        hosts.wire.reset()
        good(hosts.run("alpha", SYNC_ALL))
        before = hosts.world.view()
        good(hosts.run("alpha", SYNC_ALL))
        assert hosts.world.view() == before


@pytest.mark.parametrize(
    "what", ["renamed", "destroyed", *(pytest.param(x, marks=pytest.mark.thorough) for x in ("swapped", "made again"))]
)
def test_what_is_taken_from_a_sync_stops_only_itself_and_the_next_one_goes_on(hosts: Hosts, what: str) -> None:
    do, others = MEANWHILE[what]
    trees.grown(hosts)
    for name in NAMES:
        hosts["alpha"].write(name, "later", name.encode())
    dumped = hosts.world.dump()
    good(hosts.run("alpha", SYNC_ALL))
    commands = len(hosts.wire.log)
    for number in range(commands):
        hosts.load(dumped)
        at(hosts, number, do)
        ended = hosts.run("alpha", SYNC_ALL)
        assert ended.code in (0, 1, 3), (number, ended.text)
        for name in others:
            there = contents(hosts, "beta", B + name.removeprefix(A))
            assert there.get("later") == name.encode(), (number, name, ended.text)
        hosts.wire.reset()
        good(hosts.run("alpha", SYNC_ALL))
        for name in trees.members(hosts, "alpha"):
            there = contents(hosts, "beta", B + name.removeprefix(A))
            assert there == hosts["alpha"].read(name), (number, name)


@pytest.mark.parametrize("what", ["renamed", "destroyed"])
def test_what_goes_before_its_stream_is_told_as_that(hosts: Hosts, what: str) -> None:
    """By what the sender says, not by its echo at the receiver."""
    do, _ = MEANWHILE[what]
    trees.grown(hosts)
    for name in NAMES:
        hosts["alpha"].write(name, "later", name.encode())

    def before() -> None:
        if any(command.stream for command in hosts.wire.log):
            hosts.wire.before = lambda: None
            do(hosts)

    hosts.wire.reset()
    hosts.wire.before = before
    ended = hosts.run("alpha", SYNC_ALL)
    assert ended.code == 1
    assert f"{A}/x: it was renamed or destroyed meanwhile (cannot open '{A}/x" in ended.text
    assert "failed to read from stream" not in ended.text
    assert "run this again" in ended.text
