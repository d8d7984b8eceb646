"""What is drawn: runs of zrep, alone, with a fault, two at the same time, or with somebody else at work meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.ops import pairs
from tests.ops.hosts import Mode, Work
from zrep.ops.across import rejoin_here, rejoin_there

COMMANDS: dict[str, Callable[[str], Work]] = {
    "sync": pairs.syncing,
    "sync all": lambda name: pairs.SYNC_ALL,
    "sync -f": pairs.syncing,
    "failover": pairs.failing_over,
    "failover --force-unmount": lambda name: pairs.failing_over(name, insist=True),
    "takeover": pairs.taking_over,
    "takeover -L": pairs.forcing,
    "takeover -L --fence-cmd": pairs.forcing,
    "rejoin": lambda name: lambda session: rejoin_here(session, name),
    "rejoin -f": lambda name: lambda session: rejoin_here(session, name),
    "rejoin --peer": lambda name: lambda session: rejoin_there(session, name),
    "rejoin --peer -f": lambda name: lambda session: rejoin_there(session, name),
    "expire": pairs.expiring,
    "expire -L": lambda name: pairs.expiring(name, here_only=True),
    "pause": pairs.pausing,
    "unpause": pairs.unpausing,
    "clear": pairs.clearing,
    "clear -L": lambda name: pairs.clearing(name, here_only=True),
}
# What moves the role most often; what only says yes to a loss, or is for the other side, is left to who is told to.
TOLD = ("sync -f", "takeover -L --fence-cmd", "clear", "clear -L", "rejoin --peer", "rejoin --peer -f")
DRAWN = [name for name in COMMANDS if name not in TOLD]
DRAWN += ["sync", "failover", "takeover", "takeover -L", "rejoin"] * 2
MOVES = {"failover", "failover --force-unmount", "takeover"}
ACTIONS = ("write", "fsync", "store", "snapshot", "destroy", "rename", "cut", "heal")
ADMINISTERED = ("snapshot", "destroy", "rename", "mount", "unmount", "hold", "release", "note")
PLACES = ("on", "below", "above")


@dataclass(frozen=True, slots=True)
class Fault:
    """At the first command from number `at` on at which it means anything."""

    mode: Mode
    at: int


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two runs at the same time, each a host and a command: whether the other one comes first, at each command (then:
    at all further ones), and how many seconds a command takes (who waits for a lock does so for a time). which: the
    pair of each."""

    runs: tuple[tuple[str, str], tuple[str, str]]
    turns: list[bool]
    pace: float
    then: bool = True
    which: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """What somebody else does, on which host, once a run has carried out its command number `at`: a command of
    zrep (a second run), or a word of ACTIONS."""

    at: int
    host: str
    what: str


# Which host of a pair: the one it was made on, or the other one.
HOST = st.sampled_from(["alpha", "beta"])
WHICH = st.integers(0, 3)
AT = st.integers(0, 60)
# Of a role change with little to send: from its final snapshot on.
LATE = st.integers(50, 90)
# What ends a run where it is.
DEADLY = (Mode.POWER_HERE, Mode.KILL_AFTER, Mode.CUT)
FAULT = st.builds(Fault, st.sampled_from(list(Mode)), AT)
MEANWHILE = st.builds(Meanwhile, AT, HOST, st.sampled_from([*ACTIONS, *DRAWN]))
PICK = st.integers(0, 9)
COMMAND = st.sampled_from(DRAWN)
MOVE = st.sampled_from(["failover", "takeover"])
RUN = st.tuples(HOST, COMMAND)
OVERLAP = st.builds(
    Overlap,
    runs=st.tuples(RUN, RUN),
    turns=st.lists(st.booleans(), max_size=80),
    pace=st.sampled_from([0.01, 0.05, 0.5]),
    which=st.tuples(WHICH, WHICH),
)
BOOT = st.sampled_from(["whole", "whole", "unmounted", "without keys"])
