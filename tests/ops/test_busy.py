"""Somebody has a lock: a stream of the minute before is no news, a filesystem that is never synced is."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import cast

import pytest

from tests.model import World
from tests.ops import pairs
from tests.ops.hosts import CLOCK, Ended, Hosts, ModelHost, Work
from tests.ops.pairs import SYNC_ALL, A, good
from zrep.core.busy import Holder
from zrep.core.errors import RefusedError
from zrep.core.requests import Answer, EndReceive, Lock, ReadHolders, Unlock
from zrep.core.requests import Request as Asked
from zrep.core.settings import Settings
from zrep.host.locks import Locks
from zrep.ops import sync, takeover_alone
from zrep.ops.init_way import Request
from zrep.ops.session import Session
from zrep.ops.status import status
from zrep.ops.view import Link


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


def test_a_role_change_meanwhile_says_what_to_do_next(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts.local("alpha").ask(Lock((A,), 0.0, "zrep"))
    ended = hosts.run("alpha", pairs.failing_over(A))
    assert (ended.code, "next: this again when that has ended" in ended.text) == (4, True), ended.text


class TestTurns:
    """Two tags share alpha's tank/a: a run of the one waits for a run of the other, and not for an earlier one of its
    own."""

    @pytest.fixture
    def shared(self, tmp_path: Path) -> Hosts:
        hosts = Hosts(tmp_path, World(hosts=("alpha", "beta", "gamma")))
        pairs.linked(hosts)
        good(hosts.run("alpha", pairs.initialising(Request(A, "gamma", "tank/g")), tag="offsite"))
        good(hosts.run("alpha", SYNC_ALL))
        pairs.written(hosts)
        return hosts

    def arrived(self, hosts: Hosts) -> bool:
        return b"offsite_000002" in hosts["gamma"].sh("zfs list -H -t snapshot -o name tank/g")

    @pytest.mark.parametrize(("tag", "sent"), [("zrep", True), ("offsite", False)])
    def test_what_ends_meanwhile_is_waited_for_under_another_tag_only(
        self, shared: Hosts, monkeypatch: pytest.MonkeyPatch, tag: str, sent: bool
    ) -> None:
        holder = shared.local("alpha")
        assert holder.ask(Lock((A,), 0.0, tag)) == []
        waits: list[float] = []

        def meanwhile() -> None:
            """The first try gives up; in the second the other run comes to its end."""
            waits.append(1.0)
            CLOCK.now += 1.0
            if len(waits) > 1:
                holder.ask(Unlock((A,)))

        monkeypatch.setattr(CLOCK, "meanwhile", meanwhile)
        ended = good(shared.run("alpha", SYNC_ALL, tag="offsite"))
        assert self.arrived(shared) is sent, ended.text

    def test_what_is_free_by_the_time_it_is_asked_about_is_synced(
        self, shared: Hosts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The other run ends between the last try and the question who it is."""
        holder = shared.local("alpha")
        assert holder.ask(Lock((A,), 0.0, "zrep")) == []
        asked = sync._holder

        def late(session: Session, link: Link) -> Holder | None:
            holder.ask(Unlock((A,)))
            return asked(session, link)

        monkeypatch.setattr(sync, "_holder", late)
        ended = good(shared.run("alpha", SYNC_ALL, tag="offsite"))
        assert self.arrived(shared), ended.text

    def test_the_wait_has_an_end(self, shared: Hosts) -> None:
        holder = shared.local("alpha")
        assert holder.ask(Lock((A,), 0.0, "zrep")) == []
        ended = shared.run("alpha", pairs.syncing(A), tag="offsite")
        assert (ended.code, "a zrep of the tag zrep is working on it, process" in ended.text) == (4, True)

    def test_status_says_who_has_what_was_not_synced_for_long(self, shared: Hosts) -> None:
        holder = shared.local("alpha")
        assert holder.ask(Lock((A,), 0.0, "zrep")) == []
        [row] = shared.run("alpha", lambda session: status(session, []), tag="offsite").rows
        assert row.state == "ok"
        shared.world.pass_time(900)
        [row] = shared.run("alpha", lambda session: status(session, []), tag="offsite").rows
        assert (row.state, row.code) == ("busy", 4)
        assert "a zrep of the tag zrep is working on it" in row.detail
        holder.ask(Unlock((A,)))
        [row] = shared.run("alpha", lambda session: status(session, []), tag="offsite").rows
        assert row.state == "ok"


@pytest.mark.parametrize(("ends", "code"), [(True, 0), (False, 4)])
def test_a_receive_that_nobody_is_left_for_is_ended_and_the_run_goes_on(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, ends: bool, code: int
) -> None:
    """After a cut in silence the receiving process has its lock, and waits for the rest of its stream."""
    pairs.linked(hosts)
    pairs.written(hosts)
    left = hosts.local("beta").locks
    left.take(pairs.B)
    left.drop(pairs.B)
    asked: list[EndReceive] = []
    answered = ModelHost.ask

    def ask(host: ModelHost, request: Asked[Answer]) -> Answer:
        if not isinstance(request, EndReceive):
            return answered(host, request)
        asked.append(request)
        if ends:
            fcntl.flock(receiving, fcntl.LOCK_UN)
        return cast(Answer, int(ends))

    monkeypatch.setattr(ModelHost, "ask", ask)
    with Path(left.receive_path(pairs.B)).open("r+") as receiving:
        fcntl.flock(receiving, fcntl.LOCK_EX)
        ended = hosts.run("alpha", pairs.syncing(A))
    assert (ended.code, [(one.dataset, one.quiet > 0) for one in asked]) == (code, [(pairs.B, True)]), ended.text


@pytest.mark.parametrize(("dry_run", "code"), [(True, 0), (False, 4)])
def test_a_forced_takeover_shows_what_it_would_do_although_a_receive_that_it_would_end_is_there(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, dry_run: bool, code: int
) -> None:
    pairs.linked(hosts)
    left = hosts.local("beta").locks
    left.take(pairs.B)
    left.drop(pairs.B)
    monkeypatch.setattr(takeover_alone, "_LOCK_SECONDS", 0.1)
    with Path(left.receive_path(pairs.B)).open("r+") as receiving:
        fcntl.flock(receiving, fcntl.LOCK_EX)
        ended = hosts.run("beta", pairs.forcing(pairs.B), dry_run=dry_run)
    noted = [note for outcome in ended.outcomes for note in outcome.notes if note.startswith("somebody is at work on")]
    assert (ended.code, len(noted)) == (code, int(dry_run)), ended.text


@pytest.mark.parametrize(
    ("work", "said"), [(pairs.SYNC_ALL, ""), (pairs.syncing(A), "its role changed meanwhile")], ids=["all", "named"]
)
def test_a_role_that_is_moved_while_a_run_waits_for_its_lock_is_no_news_under_all(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, work: Work, said: str
) -> None:
    pairs.linked(hosts)
    answered = ModelHost.ask

    def ask(asked: ModelHost, request: Asked[Answer]) -> Answer:
        if isinstance(request, Lock):
            monkeypatch.setattr(ModelHost, "ask", answered)
            assert hosts.run("alpha", pairs.failing_over(A)).code == 0
        return answered(asked, request)

    monkeypatch.setattr(ModelHost, "ask", ask)
    ended = hosts.run("alpha", work)
    assert (ended.code, said in ended.text) == (4 if said else 0, True)


@pytest.mark.parametrize(
    ("host", "work"),
    [("alpha", pairs.failing_over(A)), ("beta", pairs.taking_over(pairs.B)), ("alpha", pairs.rejoining(A))],
)
def test_a_role_change_waits_half_a_minute_for_the_run_of_cron(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, host: str, work: Work
) -> None:
    pairs.linked(hosts)
    waits: list[float] = []
    answered = ModelHost.ask

    def ask(asked: ModelHost, request: Asked[Answer]) -> Answer:
        if isinstance(request, Lock):
            waits.append(request.wait)
        return answered(asked, request)

    monkeypatch.setattr(ModelHost, "ask", ask)
    assert hosts.run(host, work).code == 0
    assert set(waits) == {30.0}


def test_a_lock_tells_who_has_it_and_nothing_once_it_is_free(hosts: Hosts) -> None:
    one, other = hosts.local("alpha"), hosts.local("alpha")
    assert other.ask(ReadHolders((A,))) == {}
    one.ask(Lock((A,), 0.0, "offsite"))
    assert one.ask(ReadHolders((A,))) == {}
    [(tag, pid)] = other.ask(ReadHolders((A,))).values()
    assert (tag, pid > 0) == ("offsite", True)
    Path(one.locks.path(A)).write_bytes(b"\xff\x1b[31m 7 8\n")
    assert other.ask(ReadHolders((A,))) == {A: ("", 0)}
    one.ask(Unlock((A,)))
    assert other.ask(ReadHolders((A,))) == {}


def test_who_may_make_no_directory_for_locks_sees_nobody_at_work(hosts: Hosts, tmp_path: Path) -> None:
    """As a user who only looks: root's locks are out of his sight."""
    looks = hosts.local("alpha")
    (tmp_path / "file").write_text("")
    looks.locks = Locks(settings=Settings(run_directory=str(tmp_path / "file")))
    assert looks.ask(ReadHolders((A,))) == {}
    with pytest.raises(RefusedError, match="for the locks on"):
        looks.ask(Lock((A,), 0.0, "zrep"))
