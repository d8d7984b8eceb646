"""Somebody has a lock: a stream of the minute before is no news, a filesystem that is never synced is."""

from __future__ import annotations

import pytest

from tests.ops import pairs
from tests.ops.hosts import Ended, Hosts
from tests.ops.pairs import SYNC_ALL, A, good
from zrep.core.requests import Lock, Unlock


def synced_while_busy(hosts: Hosts, minutes: int) -> list[Ended]:
    """What cron's runs say, one a minute, while somebody has the lock."""
    holder = hosts.local("alpha")
    assert holder.ask(Lock((A,), 0.0)) == []
    try:
        return [hosts.run("alpha", SYNC_ALL) for _ in range(minutes)]
    finally:
        holder.ask(Unlock((A,)))


def test_it_becomes_news_after_some_minutes_and_never_a_failure(hosts: Hosts) -> None:
    pairs.linked(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    ended = synced_while_busy(hosts, 14)
    assert {each.code for each in ended} == {0}
    told = [any(outcome.harmless for outcome in each.outcomes) for each in ended]
    assert told == [False] * 10 + [True] * 4
    assert "busy, and not synced for more than 10m" in ended[-1].text


def test_a_boot_forgets_when_it_was_synced_and_the_marks_tell_it(hosts: Hosts) -> None:
    """Volatile memory is empty, as after init too: nothing is claimed that is not known."""
    pairs.linked(hosts)
    ended = synced_while_busy(hosts, 14)
    assert [any(outcome.harmless for outcome in each.outcomes) for each in ended] == [False] * 10 + [True] * 4
    assert "last synced 11m" in ended[10].text


def test_what_was_never_synced_is_said_to_be_so(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].sh(f"zfs inherit zrep:sent {A}@zrep_000001")
    [ended] = synced_while_busy(hosts, 1)
    assert "never synced yet" in ended.text


@pytest.mark.parametrize(("where", "busy"), [("alpha", True), ("beta", False)])
def test_the_pid_of_a_shell_zrep_is_one_of_its_own_host(hosts: Hosts, where: str, busy: bool) -> None:
    """Process 7 is alive on alpha only; the properties of one side or the other name it."""
    pairs.linked(hosts)
    hosts.wire.running.add(("alpha", 7))
    name = {"alpha": A, "beta": pairs.B}[where]
    hosts[where].sh(f"zfs set zrep:lock-pid=7 {name}")
    ended = hosts.run("alpha", pairs.syncing(A))
    assert (ended.code == 4) is busy, ended.text
