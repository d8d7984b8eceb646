"""Children of a pair that are not in it: they keep mount, readonly and writers, or are named before any change."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts, Work
from tests.ops.pairs import A, B, good, value
from tests.ops.test_neighbours import FROM_EITHER_END, changes
from zrep.cli.news import suppress_repeats
from zrep.ops.init_way import Request
from zrep.ops.list import listing
from zrep.ops.outcome import Outcome
from zrep.ops.rows import Row
from zrep.ops.session import Session
from zrep.ops.status import status
from zrep.ops.sync import sync

CHILD = f"{A}/c"


def state(hosts: Hosts, host: str = "alpha", name: str = CHILD) -> tuple[str, str]:
    return value(hosts, host, name, "readonly"), value(hosts, host, name, "mounted")


class Kept(NamedTuple):
    """Something below a half of the pair that a role change would reach: where and how it is made, what is said of it,
    and the command that is advised."""

    host: str
    make: tuple[str, ...]
    says: str
    keep: str


KEPT = {
    "a child in use": Kept(
        "alpha",
        (f"zfs create {CHILD}",),
        "tank/a/c would become read-only with tank/a (on alpha, below it and not in its pair); next: to let it keep "
        "what it is, on alpha: zfs set readonly=off 'tank/a/c'",
        f"zfs set readonly=off {CHILD}",
    ),
    "with children of its own": Kept(
        "alpha",
        (f"zfs create {CHILD}", f"zfs create {CHILD}/d", f"zfs create -V 1G {A}/v"),
        "tank/a/c, tank/a/v would become read-only",
        f"zfs set readonly=off {CHILD} {A}/v",
    ),
    "excluded, which says nothing of its writers": Kept(
        "alpha", (f"zfs create {CHILD}", f"zfs set zrep:exclude=on {CHILD}"), "tank/a/c would become read-only",
        f"zfs set readonly=off {CHILD}",
    ),
    "below the replica": Kept(
        "beta",
        (f"zfs create -o canmount=noauto {B}/c",),
        "tank/b/c would become writable with tank/b (on beta, below it and not in its pair); next: to let it keep what "
        "it is, on beta: zfs set readonly=on 'tank/b/c'",
        f"zfs set readonly=on {B}/c",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT.keys())
@FROM_EITHER_END
def test_a_role_change_that_would_reach_a_child_is_refused_with_the_command_that_keeps_it(
    hosts: Hosts, host: str, work: Work, kept: Kept
) -> None:
    pairs.linked(hosts)
    for command in kept.make:
        hosts[kept.host].sh(command)
    child = kept.make[0].split()[-1]
    before = state(hosts, kept.host, child)
    hosts.wire.reset()
    shown, refused = hosts.run(host, work, dry_run=True), hosts.run(host, work)
    assert (shown.code, refused.code) == (3, 3)
    assert kept.says in refused.text
    assert [kept.says in blocker.line() for outcome in shown.outcomes for blocker in outcome.blockers] == [True]
    assert changes(hosts) == []
    hosts[kept.host].sh(kept.keep)
    good(hosts.run(host, work))
    assert state(hosts, kept.host, child) == before


def test_a_child_that_is_master_of_its_own_pair_is_told_so_and_goes_on_taking_writes(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs create {CHILD}")
    good(hosts.run("alpha", pairs.initialising(Request(CHILD, "beta", "tank/other"))))
    refused = hosts.run("alpha", pairs.failing_over(A))
    assert (refused.code, "tank/a/c: master in a pair of its own" in refused.text) == (3, True)
    hosts["alpha"].sh(f"zfs set readonly=off {CHILD}")
    good(hosts.run("alpha", pairs.failing_over(A)))
    hosts["alpha"].write(CHILD, "still", b"written")
    good(hosts.run("alpha", pairs.syncing(CHILD)))


def test_the_same_with_a_pair_under_another_tag(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs create {CHILD}")
    hosts["alpha"].sh(f"zfs set offsite:src-fs=x offsite:master=yes {CHILD}")
    refused = hosts.run("alpha", pairs.failing_over(A))
    assert (refused.code, "tank/a/c: master in a pair of its own" in refused.text) == (3, True)


# --- where nobody can be asked ---


def stale(hosts: Hosts) -> None:
    """alpha is an old master, with a child that somebody writes to. The directories that children are mounted on are
    replicated."""
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs create {CHILD}")
    hosts["alpha"].sh(f"zfs create {A}/not_mounted")
    hosts["alpha"].sh(f"zfs unmount {A}/not_mounted")
    good(hosts.run("alpha", pairs.SYNC_ALL))
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing(B)))
    hosts.wire.cut = False


def test_a_master_that_stops_writes_leaves_its_children_as_they_are(hosts: Hosts) -> None:
    stale(hosts)
    both = f"{CHILD}, {A}/not_mounted"
    shown = hosts.run("alpha", pairs.SYNC_ALL, dry_run=True)
    assert f"alpha: zfs set readonly=off {CHILD} {A}/not_mounted" in shown.lines
    assert value(hosts, "alpha", CHILD, "readonly") == "off"
    hosts.said.clear()
    assert hosts.run("alpha", pairs.SYNC_ALL).code == 3
    assert value(hosts, "alpha", A, "readonly") == "on"
    assert state(hosts) == ("off", "yes")
    hosts["alpha"].write(CHILD, "still", b"written")
    [said] = hosts.said
    assert said == f"{A}: what is below it on alpha keeps readonly=off, as a value of its own from now on: {both}"
    hosts.said.clear()
    assert hosts.run("alpha", pairs.SYNC_ALL).code == 3
    assert hosts.said == []


def test_a_lease_that_is_over_leaves_children_as_they_are(hosts: Hosts) -> None:
    pairs.leased(hosts, 60)
    hosts["alpha"].sh(f"zfs create {CHILD}")
    hosts.wire.cut = True
    hosts.world.pass_time(3600)
    hosts.run("alpha", pairs.SYNC_ALL)
    assert value(hosts, "alpha", A, "readonly") == "on"
    assert state(hosts) == ("off", "yes")
    hosts.wire.cut = False
    good(hosts.run("alpha", pairs.SYNC_ALL))
    assert (value(hosts, "alpha", A, "readonly"), *state(hosts)) == ("off", "off", "yes")


DENIED = "cannot set property for 'tank/a/c': permission denied\n"
UNREADABLE = "internal error: out of memory\n"


@pytest.mark.parametrize(("command", "said"), [("zfs set readonly=off", DENIED), ("zfs get -Hp -r", UNREADABLE)])
def test_children_are_kept_by_a_second_try(hosts: Hosts, command: str, said: str) -> None:
    stale(hosts)
    hosts["alpha"].fail(command, err=said)
    assert hosts.run("alpha", pairs.SYNC_ALL).code == 3
    assert (value(hosts, "alpha", A, "readonly"), *state(hosts)) == ("on", "off", "yes")
    assert [line.partition(" keeps ")[0] for line in hosts.said] == [f"{A}: what is below it on alpha"]


def test_one_that_cannot_be_kept_costs_no_other_and_is_no_reason_to_go_on_writing(hosts: Hosts) -> None:
    stale(hosts)
    hosts["alpha"].fail(f"zfs set readonly=off {CHILD}", err=DENIED, times=2)
    assert hosts.run("alpha", pairs.SYNC_ALL).code == 3
    assert value(hosts, "alpha", A, "readonly") == "on"
    assert value(hosts, "alpha", f"{A}/not_mounted", "readonly") == "off"
    assert "what is below it on alpha becomes what it is" in hosts.said[0]
    assert hosts.said[1].endswith(f"from now on: {A}/not_mounted")


def test_a_promotion_after_a_disaster_leaves_what_is_below_read_only(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["beta"].sh(f"zfs create -o canmount=noauto {B}/c")
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing(B)))
    assert (value(hosts, "beta", B, "readonly"), value(hosts, "beta", f"{B}/c", "readonly")) == ("off", "on")


# --- rejoin ---


def test_a_rejoin_that_would_unmount_children_is_refused_before_anything_changes(hosts: Hosts) -> None:
    stale(hosts)
    hosts.run("alpha", pairs.SYNC_ALL)
    hosts["alpha"].sh(f"zfs create -o readonly=off -o mountpoint=/srv {A}/elsewhere")
    hosts.wire.reset()
    shown, refused = hosts.run("alpha", pairs.rejoining(A), dry_run=True), hosts.run("alpha", pairs.rejoining(A))
    assert (shown.code, refused.code) == (3, 3)
    assert refused.error is not None
    assert refused.error.line() == (
        "tank/a: tank/a/c is mounted, and tank/a has to be unmounted (on alpha; it would be with it); "
        "next: stop what uses it, then on alpha: zfs unmount 'tank/a/c'"
    )
    assert changes(hosts) == []
    hosts["alpha"].sh(f"zfs unmount {CHILD}")
    assert f"{A}/elsewhere is mounted" in hosts.run("alpha", pairs.rejoining(A)).text
    hosts["alpha"].sh(f"zfs unmount {A}/elsewhere")
    good(hosts.run("alpha", pairs.rejoining(A)))
    assert state(hosts) == ("off", "no")


def test_a_rejoin_before_the_first_sync_would_make_children_read_only(hosts: Hosts) -> None:
    stale(hosts)
    hosts.wire.reset()
    refused = hosts.run("alpha", pairs.rejoining(A))
    assert (refused.code, "tank/a/c, tank/a/not_mounted would become read-only" in refused.text) == (3, True)
    assert changes(hosts) == []


def test_an_old_master_is_not_mounted_over_its_children_for_its_intent_log(hosts: Hosts) -> None:
    stale(hosts)
    hosts.run("alpha", pairs.SYNC_ALL)
    hosts["alpha"].sh(f"zfs unmount {A}")
    hosts["alpha"].sh(f"zfs mount {CHILD}")
    hosts.wire.reset()
    refused = hosts.run("alpha", pairs.rejoining(A))
    assert (refused.code, "tank/a/c is mounted on /tank/a/c, which tank/a on /tank/a would hide" in refused.text) == (
        3,
        True,
    )
    assert changes(hosts) == []


def test_a_tail_that_would_need_a_split_is_refused_with_its_children_before_anything_changes(hosts: Hosts) -> None:
    pairs.diverged(hosts)
    hosts.run("alpha", pairs.SYNC_ALL)
    hosts["alpha"].sh(f"zfs snapshot {A}@mine")
    hosts["alpha"].sh(f"zfs create -u -o readonly=off {CHILD}")
    hosts.wire.reset()
    refused = hosts.run("alpha", pairs.rejoining(A))
    assert (refused.code, "a split would move them along" in refused.text) == (3, True)
    assert changes(hosts) == []


def test_a_tail_that_is_seen_late_leaves_it_mounted(hosts: Hosts) -> None:
    pairs.diverged(hosts)
    hosts.run("alpha", pairs.SYNC_ALL)
    hosts["alpha"].sh(f"zfs create -u -o readonly=off {CHILD}")
    refused = hosts.run("alpha", pairs.rejoining(A))
    assert (refused.code, "a split would move them along" in refused.text) == (3, True)
    assert state(hosts, name=A) == ("on", "yes")


# --- children that nobody replicates ---

NEW = f"{A}/new"
SAYS = (
    "tank/a: not replicated with it: tank/a/new; next: zrep init tank/a/new beta tank/b/new; "
    "or, all of it as one tree: zrep changeconfig -r tank/a; "
    "or, if that is how it should be: zfs set zrep:exclude=on tank/a/new"
)


def told(hosts: Hosts, host: str, work: Work) -> list[str]:
    """What a run that succeeds tells of, as a person or cron reads it."""
    ended = good(hosts.run(host, work))
    return [outcome.error.line() for outcome in ended.outcomes if outcome.error and not outcome.skipped]


def known(hosts: Hosts, host: str, look: Callable[[Session], list[Row]]) -> list[str]:
    return [row.left_out.line(row.name) for row in hosts.run(host, look).rows if row.left_out]


def test_a_child_that_nobody_replicates_is_named_wherever_its_parent_is_shown(hosts: Hosts) -> None:
    pairs.linked(hosts)
    assert told(hosts, "alpha", pairs.SYNC_ALL) == []
    hosts["alpha"].sh(f"zfs create {NEW}")
    assert told(hosts, "alpha", pairs.SYNC_ALL) == [SAYS]
    assert told(hosts, "alpha", pairs.syncing(A)) == [SAYS]
    there = f"tank/b{SAYS.removeprefix('tank/a')}".replace("next: zrep", "next: on alpha: zrep")
    assert known(hosts, "alpha", lambda session: listing(session, masters_only=False)) == [SAYS]
    assert known(hosts, "beta", lambda session: listing(session, masters_only=False)) == [there]
    assert known(hosts, "alpha", lambda session: status(session, [])) == [SAYS]
    assert known(hosts, "beta", lambda session: status(session, [])) == [there]
    hosts.wire.cut = True
    refused = hosts.run("beta", pairs.forcing(B, agreed=False))
    assert "; not replicated with its master, so not here: tank/a/new" in refused.text


def test_init_names_what_is_below_and_stays_behind(hosts: Hosts) -> None:
    pairs.source(hosts)
    hosts["alpha"].sh(f"zfs create {NEW}")
    good(hosts.run("alpha", pairs.INIT))
    assert SAYS in hosts.said


SETTLED = {
    "it is in a pair": lambda hosts: good(hosts.run("alpha", pairs.initialising(Request(NEW, "beta", f"{B}/new")))),
    "it is in a pair of another tag": lambda hosts: hosts["alpha"].sh(f"zfs set offsite:src-fs={NEW} {NEW}"),
    "it is excluded": lambda hosts: hosts["alpha"].sh(f"zfs set zrep:exclude=on {NEW}"),
    "it is gone": lambda hosts: hosts["alpha"].sh(f"zfs destroy {NEW}"),
}


@pytest.mark.parametrize("settle", SETTLED.values(), ids=SETTLED.keys())
def test_it_is_named_no_more_once(hosts: Hosts, settle: Callable[[Hosts], object]) -> None:
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs create {NEW}")
    assert told(hosts, "alpha", pairs.SYNC_ALL) == [SAYS]
    settle(hosts)
    assert told(hosts, "alpha", pairs.SYNC_ALL) == []
    assert known(hosts, "beta", lambda session: listing(session, masters_only=False)) == []


def test_what_is_excluded_with_its_parent_is_named_no_more_but_what_all_inherit_says_nothing(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs create {NEW}")
    hosts["alpha"].sh(f"zfs create {NEW}/inside")
    hosts["alpha"].sh(f"zfs set zrep:exclude=on {A}")
    [said] = told(hosts, "alpha", pairs.SYNC_ALL)
    assert said.startswith("tank/a: not replicated with it: tank/a/new, tank/a/new/inside; next: ")
    hosts["alpha"].sh(f"zfs set zrep:exclude=on {NEW}")
    assert told(hosts, "alpha", pairs.SYNC_ALL) == []


def test_the_advice_is_for_the_tag_of_the_pair(hosts: Hosts) -> None:
    pairs.source(hosts)
    hosts["alpha"].sh(f"zfs create {NEW}")
    good(hosts.run("alpha", pairs.INIT, tag="offsite"))
    ended = hosts.run("alpha", pairs.SYNC_ALL, tag="offsite")
    [error] = [outcome.error for outcome in ended.outcomes if outcome.error]
    assert "zfs set offsite:exclude=on tank/a/new" in error.line()


def test_children_that_cannot_be_read_are_no_trouble_of_the_pair(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs create {NEW}")
    hosts["alpha"].fail("zfs get -Hp -r", err="internal error: out of memory\n")
    assert told(hosts, "alpha", pairs.SYNC_ALL) == []


def test_cron_says_it_once_and_again_when_there_are_others(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs create {NEW}")
    assert news(hosts) == [SAYS]
    assert news(hosts) == []
    hosts["alpha"].sh(f"zfs create {A}/newer")
    [said] = news(hosts)
    assert said.startswith("tank/a: not replicated with it: tank/a/new, tank/a/newer; next: ")
    hosts["alpha"].sh(f"zfs set zrep:exclude=on {NEW} {A}/newer")
    assert news(hosts) == []
    assert hosts.said == []


def news(hosts: Hosts) -> list[str]:
    """What cron mails of a run that succeeds."""

    def run(session: Session) -> list[Outcome]:
        return suppress_repeats(session, sync(session, []))

    ended = good(hosts.run("alpha", run))
    return [item.error.line() for item in ended.outcomes if item.error and not (item.skipped or item.told)]
