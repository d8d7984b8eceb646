"""Several filesystems converged together, in threads as in a real run: what is whose, and what a failure costs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.model import World
from tests.model.state import Snapshot
from tests.ops import pairs
from tests.ops.hosts import Ended, Hosts, Mode, name_of
from tests.ops.pairs import SYNC_ALL, B, good
from tests.ops.test_counts import many
from zrep.core import plan_sessions, steps
from zrep.core.errors import UnreachableError, ZrepError
from zrep.host import parallel as threads
from zrep.host.local import Host
from zrep.ops import advance_all, execute, locking
from zrep.ops import pairs as reading
from zrep.ops import session as running
from zrep.ops.changeconfig import Config
from zrep.ops.execute import Executor
from zrep.ops.init_way import Request
from zrep.ops.memory import recall
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import open_pair
from zrep.ops.streams import in_sessions
from zrep.zfs.commands import Completed

Instead = Callable[[str, Sequence[str]], "Completed | None"]


class Batch:
    """So many pairs that were written to, and runs in which their streams arrive together."""

    def __init__(self, hosts: Hosts, monkeypatch: pytest.MonkeyPatch, count: int, *, shared: bool) -> None:
        """shared: whether the streams share a session, or each has its own."""
        self.hosts, self.names = hosts, many(hosts, count)
        self._shared = shared
        monkeypatch.setattr(plan_sessions, "STREAMS_WORTH_A_SESSION", count if shared else 1)
        self.instead: Instead = lambda host, argv: None
        self._arrivals: threading.Barrier | None = None
        kind, lock = type(hosts.wire), threading.RLock()
        run, pipe = kind.run, kind.pipe

        def run_one(wire: Any, host: str, argv: Sequence[str]) -> Completed:
            with lock:
                return self.instead(host, argv) or run(wire, host, argv)

        def pipe_together(wire: Any, *ends: Any) -> tuple[Completed, Completed]:
            if self._arrivals:
                with suppress(threading.BrokenBarrierError):  # one was refused before its stream
                    self._arrivals.wait(1)
            with lock:
                return pipe(wire, *ends)

        monkeypatch.setattr(kind, "run", run_one)
        monkeypatch.setattr(kind, "pipe", pipe_together)
        monkeypatch.setattr(locking, "together", threads.together)
        monkeypatch.setattr(reading, "together", threads.together)
        monkeypatch.setattr(running, "at_once", threads.at_once)
        monkeypatch.setattr(advance_all, "_LINGER", 5.0)
        for name in self.names:
            for host in ("alpha", "beta"):
                good(hosts.run(host, pairs.changing(name, Config(savecount=1))))
            hosts["alpha"].write(name, "two", b"2")
        self.start = hosts.world.dump()

    def run(self, mode: Mode | None = None, at: int = -1) -> Ended:
        """One run from the start, with a fault at its command of that number."""
        self.hosts.load(self.start)
        self.hosts.wire.reset(mode, at)
        self._arrivals = None if self._shared else threading.Barrier(len(self.names))
        ended = self.hosts.run("alpha", SYNC_ALL, jobs=len(self.names))
        self._arrivals = None
        return ended

    def run_failing(self, hit: Callable[[Sequence[str]], bool], says: str) -> dict[str, bool]:
        """One run in which such commands fail on beta, and say this: whether each filesystem failed."""
        self.instead = lambda host, argv: Completed(tuple(argv), 1, "", says) if host == "beta" and hit(argv) else None
        return {outcome.filesystem: bool(outcome.error) for outcome in counting(self.run())}

    def snapshots(self, host: str, name: str) -> list[Snapshot]:
        return list(self.hosts.world.state.hosts[host].datasets[name].snapshots)

    def held(self, host: str, name: str) -> set[int]:
        return {snapshot.guid for snapshot in self.snapshots(host, name) if "zrep" in snapshot.holds}

    def commands(self, *words: str) -> list[tuple[str, ...]]:
        return [tuple(command.argv) for command in self.hosts.wire.log if tuple(command.argv[: len(words)]) == words]


def counting(ended: Ended) -> list[Outcome]:
    """What became of filesystems, without what is only told."""
    return [outcome for outcome in ended.outcomes if not outcome.harmless]


@pytest.fixture(params=[True, False], ids=["one session", "three sessions"])
def three(hosts: Hosts, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Batch:
    return Batch(hosts, monkeypatch, 3, shared=request.param)


def test_what_arrives_together_is_held_and_marked_in_one_command_each(three: Batch) -> None:
    good(three.run())
    targets = [f"{name}@zrep_000002" for name in three.names]
    assert [sorted(words[3:]) for words in three.commands("zfs", "hold")] == [targets, targets]
    assert [sorted(words[3:]) for words in three.commands("zfs", "set")] == [targets, targets]
    assert len(three.commands("zfs", "release")) == 2
    with three.hosts.session("alpha") as run:
        assert all(isinstance(recall(run, name)[name].get("synced"), int) for name in three.names)


def test_what_expires_of_all_goes_in_one_request_a_side(three: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """In portions, so that none keeps others waiting long for its transaction group."""
    asked: list[list[str]] = []
    carried = Executor._carried

    def noted(own: Executor, batch: Sequence[steps.Change]) -> tuple[int, ZrepError | None]:
        asked.append([name for step in batch if isinstance(step, steps.DestroySnapshots) for name in step.full])
        return carried(own, batch)

    monkeypatch.setattr(Executor, "_carried", noted)
    good(three.run())
    gone = [f"{name}@zrep_000001" for name in three.names]
    assert [sorted(names) for names in asked if names] == [gone, gone]
    asked.clear()
    monkeypatch.setattr(execute, "_MOST_DESTROYED", 2)
    good(three.run())
    assert [len(names) for names in asked if names] == [2, 1, 2, 1]


@pytest.mark.thorough
@pytest.mark.parametrize("mode", [Mode.LOST, Mode.FAIL, Mode.HANG, Mode.CUT, Mode.FAIL_ON], ids=name_of)
def test_whatever_fails_each_outcome_is_true_and_its_own(three: Batch, mode: Mode) -> None:
    """Exit 0 only for what is held by both sides; a common snapshot is held at every moment; the next runs mend it."""
    good(three.run())
    unheld: list[str] = []
    three.hosts.wire.after = lambda: unheld.extend(
        name for name in three.names if not three.held("alpha", name) & three.held("beta", name)
    )
    failed = 0
    for at in range(len(three.hosts.wire.log)):
        ended = three.run(mode, at)
        assert not unheld, at
        if ended.error is None:
            assert sorted(outcome.filesystem for outcome in counting(ended)) == sorted(three.names), at
        for outcome in counting(ended):
            name = outcome.filesystem
            if outcome.error:
                failed += 1
                assert outcome.error.filesystem in (name, ""), at
            elif not outcome.skipped:
                newest = three.snapshots("alpha", name)[-1].guid
                assert {newest} == three.held("alpha", name) == three.held("beta", name), at
        three.hosts.wire.heal()
        three.hosts.run("alpha", SYNC_ALL)
        good(three.hosts.run("alpha", SYNC_ALL))
        for name in three.names:
            newest = three.snapshots("alpha", name)[-1].guid
            assert {newest} == three.held("alpha", name) == three.held("beta", name), at
    assert failed


@pytest.mark.parametrize("number", range(3))
def test_a_stream_that_fails_ends_its_session_and_the_others_are_sent_all_the_same(three: Batch, number: int) -> None:
    """In the same run: else one that always fails would keep those after it waiting for ever."""
    good(three.run())
    at = [place for place, command in enumerate(three.hosts.wire.log) if command.stream][number]
    ended = three.run(Mode.FAIL, at)
    failed = [outcome.filesystem for outcome in ended.outcomes if outcome.error]
    assert len(failed) == 1
    for name in set(three.names) - set(failed):
        assert three.held("beta", name) == three.held("alpha", name) == {three.snapshots("alpha", name)[-1].guid}


def test_small_streams_to_one_peer_share_a_session_and_a_large_one_has_its_own(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = many(hosts, 5)
    good(hosts.run("alpha", SYNC_ALL))
    for name in names:
        hosts["alpha"].write(name, "two", b"2" * (100_000 if name == names[2] else 10))
    monkeypatch.setattr(plan_sessions, "OWN_SESSION_BYTES", 50_000)
    sessions: list[int] = []
    pipe = type(hosts.wire).pipe

    def counted(wire: Any, *ends: Any) -> tuple[Completed, Completed]:
        before = len(wire.log)
        done = pipe(wire, *ends)
        sessions.append(sum(command.stream for command in wire.log[before:]))
        return done

    monkeypatch.setattr(type(hosts.wire), "pipe", counted)
    good(hosts.run("alpha", SYNC_ALL))
    assert sorted(sessions) == [1, 4]


@pytest.mark.parametrize("filtered", ["outfilter", "infilter"])
def test_what_goes_through_filters_shares_no_session(hosts: Hosts, filtered: str) -> None:
    names = many(hosts, 2)
    hosts["alpha"].sh(f"zfs set zrep:{filtered}=cat {' '.join(names)}")
    with hosts.session("alpha") as run:
        views = [open_pair(run, name) for name in names]
        assert in_sessions(views, 4, {}) == ((0,), (1,))


@pytest.mark.parametrize(
    "what", [("zfs", "hold"), ("zfs", "set"), ("zfs", "release"), ("zfs", "destroy")], ids=" ".join
)
def test_one_that_always_fails_is_named_and_the_others_are_done(three: Batch, what: tuple[str, str]) -> None:
    bad = three.names[1]

    def hit(argv: Sequence[str]) -> bool:
        return tuple(argv[:2]) == what and any(word.startswith(f"{bad}@") for word in argv)

    failed = three.run_failing(hit, f"cannot do that: {bad} is busy\n")
    tidying = what == ("zfs", "destroy")  # which is not the work
    assert failed == {name: name == bad and not tidying for name in three.names}
    for name in set(three.names) - {bad}:
        assert [snapshot.name for snapshot in three.snapshots("beta", name)] == ["zrep_000002"]
        assert three.held("beta", name) == three.held("alpha", name)


def test_replicas_that_cannot_be_read_together_are_read_one_by_one(three: Batch) -> None:
    bad = three.names[1]
    failed = three.run_failing(
        lambda argv: "zrep:gen,zrep:master" in argv and bad in argv,
        "cannot do that: pool I/O is currently suspended\n",
    )
    assert failed == {name: name == bad for name in three.names}


def test_an_arrival_that_cannot_be_read_is_of_one(three: Batch) -> None:
    bad = three.names[1]
    failed = three.run_failing(
        lambda argv: "guid,createtxg,creation" in argv and f"{bad}@zrep_000002" in argv,
        f"cannot open '{bad}@zrep_000002': I/O error\n",
    )
    assert failed == {name: name == bad for name in three.names}
    for name in set(three.names) - {bad}:
        assert three.held("beta", name) == three.held("alpha", name) == {three.snapshots("alpha", name)[-1].guid}


def test_what_is_lost_before_the_snapshots_is_what_was_about_to_move(three: Batch) -> None:
    """One was idle, one was changed by hand: what is known of them stays known."""
    idle, changed, moving = three.names
    good(three.run())
    three.hosts["beta"].sh(f"zfs set readonly=off {changed}")
    three.hosts["beta"].sh(f"zfs mount {changed}")
    three.hosts["beta"].write(changed, "by hand", b"x")
    three.hosts["alpha"].write(moving, "three", b"3")
    three.start = three.hosts.world.dump()
    three.hosts.wire.reset()
    three.hosts.run("alpha", SYNC_ALL)
    at = next(n for n, command in enumerate(three.hosts.wire.log) if "zrep:gen,zrep:master" in command.argv)
    three.hosts.load(three.start)
    three.hosts.wire.reset(Mode.CUT, at)
    ended = three.hosts.run("alpha", SYNC_ALL)
    found = {outcome.filesystem: outcome.error and outcome.error.exit_code for outcome in ended.outcomes}
    assert found == {idle: None, changed: 3, moving: 5}


@pytest.mark.parametrize("idle", [False, True])
def test_a_peer_lost_in_the_middle_is_one_line(three: Batch, idle: bool) -> None:
    good(three.run())
    if idle:
        for name in three.names:
            three.hosts["beta"].sh(f"zfs release zrep {name}@zrep_000002")
        three.start = three.hosts.world.dump()
    three.hosts.load(three.start)
    three.hosts.wire.reset()
    good(three.hosts.run("alpha", SYNC_ALL, jobs=1))
    there = [command.argv[:2] if command.host == "beta" else () for command in three.hosts.wire.log]
    three.hosts.load(three.start)
    three.hosts.wire.reset(Mode.CUT, there.index(("zfs", "hold")))
    ended = three.hosts.run("alpha", SYNC_ALL, jobs=1)
    [told] = [outcome.error for outcome in ended.outcomes if outcome.error]
    assert (told.exit_code, "3 filesystems wait" in told.line()) == (5, True)
    assert len(ended.outcomes) == 3


def test_a_peer_lost_while_role_changes_are_finished_is_one_line(hosts: Hosts) -> None:
    for name in many(hosts, 3):
        hosts.wire.reset()
        start = hosts.world.dump()
        good(hosts.run("alpha", pairs.failing_over(name)))
        took = next(at for at, command in enumerate(hosts.wire.log) if '"promote"' in " ".join(command.argv))
        hosts.load(start)
        hosts.wire.reset(Mode.KILL_AFTER, took)
        hosts.run("alpha", pairs.failing_over(name))
    start = hosts.world.dump()
    hosts.wire.reset()
    good(hosts.run("alpha", SYNC_ALL))
    opened = next(at for at, command in enumerate(hosts.wire.log) if command.argv[:2] == ("zfs", "mount"))
    hosts.load(start)
    hosts.wire.reset(Mode.CUT, opened)
    ended = hosts.run("alpha", SYNC_ALL)
    [told] = [outcome.error for outcome in ended.outcomes if outcome.error]
    assert (told.exit_code, "3 filesystems wait" in told.line()) == (5, True)


@pytest.mark.parametrize("jobs", [0, 1, 4])
def test_no_peer_waits_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    hosts = Hosts(tmp_path, World(hosts=("alpha", "beta", "gamma")))
    for name, peer in (("tank/a", "gamma"), ("tank/b", "beta")):
        hosts["alpha"].sh(f"zfs create {name}")
        good(hosts.run("alpha", pairs.initialising(Request(name, peer, name))))
        hosts["alpha"].write(name, "two", b"2")
    monkeypatch.setattr(running, "at_once", threads.at_once)
    finished, dial, run = threading.Event(), hosts.peer, hosts.wire.run

    def run_one(host: str, argv: Sequence[str]) -> Completed:
        done = run(host, argv)
        if (host, *argv[:2]) == ("beta", "zfs", "release"):
            finished.set()
        return done

    def dial_slowly(name: str) -> Host:
        if name == "gamma" and not finished.wait(5):
            raise UnreachableError("cannot reach gamma")
        return dial(name)

    monkeypatch.setattr(hosts.wire, "run", run_one)
    monkeypatch.setattr(hosts, "peer", dial_slowly)
    good(hosts.run("alpha", SYNC_ALL, jobs=jobs))


@pytest.mark.parametrize(
    ("processors", "peers", "streams"),
    [(1, 1, 4), (2, 1, 4), (64, 1, 4), (1, 2, 2), (2, 2, 4), (2, 3, 2), (1, 3, 2), (1, 50, 2), (4, 0, 4)],
)
def test_streams_at_once_to_each_peer_where_nobody_has_said(processors: int, peers: int, streams: int) -> None:
    assert advance_all.share(processors, peers) == streams


def test_a_peer_lost_before_the_snapshots_costs_one_line_and_no_snapshot(three: Batch) -> None:
    good(three.run())
    at = next(n for n, command in enumerate(three.hosts.wire.log) if "zrep:gen,zrep:master" in command.argv)
    ended = three.run(Mode.CUT, at)
    assert sorted(bool(outcome.error) for outcome in ended.outcomes) == [False, False, True]
    assert all(outcome.error or outcome.skipped for outcome in ended.outcomes)
    assert [three.snapshots("alpha", name)[-1].name for name in three.names] == ["zrep_000001"] * 3


def test_what_is_gone_again_before_it_is_held_was_not_sent(three: Batch) -> None:
    """Somebody rolls the replica back between the stream and the hold: the older base is no success."""
    undone: list[str] = []

    def roll_back(host: str, argv: Sequence[str]) -> Completed | None:
        if host == "beta" and tuple(argv[:2]) == ("zfs", "hold") and not undone:
            undone.append(three.names[0])
            three.hosts["beta"].sh(f"zfs rollback -r {three.names[0]}@zrep_000001")
        return None

    three.instead = roll_back
    ended = three.run()
    assert {o.filesystem: bool(o.error) for o in ended.outcomes} == {n: n == undone[0] for n in three.names}


def test_an_idle_one_that_fails_costs_the_others_nothing(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    several = Batch(hosts, monkeypatch, 8, shared=True)
    good(hosts.run("alpha", SYNC_ALL))
    bad = several.names[0]

    def cost() -> tuple[Ended, int]:
        hosts["alpha"].sh(f"zfs inherit zrep:sent {bad}@zrep_000002")
        hosts.wire.reset()
        return hosts.run("alpha", SYNC_ALL), len(hosts.wire.log)

    ended, usual = cost()
    good(ended)
    several.instead = lambda host, argv: (
        Completed(tuple(argv), 1, "", "cannot set property: busy\n") if tuple(argv[:2]) == ("zfs", "set") else None
    )
    ended, commands = cost()
    assert [outcome.filesystem for outcome in ended.outcomes if outcome.error] == [bad]
    assert commands <= usual


def test_what_is_left_to_send_is_known_until_it_is_sent(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut run left a snapshot, more was written, and only the first of both arrives: takeover -L says so."""
    pairs.linked(hosts)
    pairs.written(hosts, key="first")
    pairs.hit(hosts, "alpha", SYNC_ALL, Mode.TORN_CUT, "zfs", "send")
    hosts.wire.heal()
    pairs.written(hosts, key="second")
    run = type(hosts.wire).run

    def no_room(wire: Any, host: str, argv: Sequence[str]) -> Completed:
        if tuple(argv[:2]) == ("zfs", "snapshot"):
            return Completed(tuple(argv), 1, "", "cannot create snapshots : out of space\n")
        return run(wire, host, argv)

    with monkeypatch.context() as patch:
        patch.setattr(type(hosts.wire), "run", no_room)
        assert "out of space" in hosts.run("alpha", SYNC_ALL).text
    hosts.wire.cut = True
    said = hosts.run("beta", pairs.forcing(B), dry_run=True).text
    assert "its master had" in said
    assert "nothing more" not in said
