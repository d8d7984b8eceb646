"""Runs of zrep at the same time, command by command.

Each run has a thread of its own, of which exactly one goes on: at each of its commands, and where it takes locks, the
schedule says whether the other one comes first. A run that waits for a lock lets the other one go on, on a clock that
only commands and waits move: the same schedule is the same run, and no wait costs any time.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence

from tests.ops.hosts import CLOCK, Ended, Hosts

POLL_SECONDS = 0.1

# Whether the other run comes first, at each command.
Schedule = Iterator[bool]


def schedule(turns: Sequence[bool], then: bool) -> Schedule:
    """As they come; then always the same."""
    return itertools.chain(turns, itertools.repeat(then))


class Run:
    """One of the runs: its thread, and what is its own on the wire that all share. turns: the moments at which
    another run could have come first."""

    def __init__(self, host: str, work: Callable[[], Ended]) -> None:
        self.host, self._work = host, work
        self.go = threading.Semaphore(0)
        self.turns = 0
        self.wakes = 0.0
        self.dead = False
        self.ended: Ended | None = None
        self.bug: BaseException | None = None

    @property
    def over(self) -> bool:
        return self.ended is not None or self.bug is not None

    def carry_out(self, then: Callable[[], None]) -> None:
        self.go.acquire()
        try:
            self.ended = self._work()
        except BaseException as error:  # told where the test sees it
            self.bug = error
        then()


class Turns:
    """Who is next. pace: seconds that a command takes, beside POLL_SECONDS between two looks at a lock."""

    def __init__(self, hosts: Hosts, runs: Sequence[Run], turns: Schedule, pace: float) -> None:
        self._hosts, self._runs, self._schedule, self._pace = hosts, runs, turns, pace
        self._now = runs[0]
        self._finished = threading.Semaphore(0)

    def until_all_have_ended(self) -> None:
        wire = self._hosts.wire
        wire.before, CLOCK.meanwhile = self._command, self._sleep
        CLOCK.now = 0.0  # sums of fractions come out the same only from the same beginning
        threads = [threading.Thread(target=run.carry_out, args=(self._end,), daemon=True) for run in self._runs]
        try:
            for thread in threads:
                thread.start()
            self._runs[0].go.release()
            self._finished.acquire()
        finally:
            wire.before, CLOCK.meanwhile = lambda: None, None
        for run in self._runs:
            if run.bug is not None:
                raise run.bug

    def _command(self) -> None:
        CLOCK.now += self._pace
        self._now.turns += 1
        self._hand_over(other_first=next(self._schedule))

    def _sleep(self) -> None:
        self._now.wakes = CLOCK.now + POLL_SECONDS
        self._hand_over(other_first=True)

    def _end(self) -> None:
        if all(run.over for run in self._runs):
            self._finished.release()
        else:
            self._choose(other_first=True).go.release()

    def _hand_over(self, other_first: bool) -> None:
        """The run that goes on may be the one that asks; it comes back here when it is its turn again."""
        me = self._now
        me.dead = self._hosts.wire.dead
        chosen = self._choose(other_first)
        if chosen is not me:
            chosen.go.release()
            me.go.acquire()

    def _choose(self, other_first: bool) -> Run:
        """Who need not wait; with all of them waiting, who waits the shortest. The wire is its own from here on."""
        left = [run for run in self._runs if not run.over]
        chosen = min(left, key=lambda run: (max(run.wakes, CLOCK.now), (run is self._now) is other_first))
        CLOCK.now = max(CLOCK.now, chosen.wakes)
        wire = self._hosts.wire
        wire.driver, wire.dead = chosen.host, chosen.dead or chosen.host in wire.power_lost
        self._now = chosen
        return chosen


def in_turns(hosts: Hosts, works: Sequence[tuple[str, Callable[[], Ended]]], turns: Schedule, pace: float) -> list[Run]:
    """Runs that begin at the same time, each on a host; they have all ended."""
    runs = [Run(*work) for work in works]
    if runs:
        Turns(hosts, runs, turns, pace).until_all_have_ended()
    return runs
