"""The states that a pair can be in, and what a verdict on one consists of."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from zrep.core.errors import BusyError, RefusedError, ZrepError


class Action(Enum):
    """What zrep may do with a pair by itself."""

    PROCEED = "go on"
    REPAIR = "finish or undo what was cut, then go on"
    WAIT = "leave it alone for now"
    STOP_WRITES = "refuse, and make a side that says it is master read-only"
    REFUSE = "refuse"


class State(Enum):
    """A state of a pair, as one side sees it. word: what list and status call it (docs/monitoring.md); code: the exit
    status of status; action: what may be done."""

    OK = ("ok", 0, Action.PROCEED)
    PAUSED = ("paused", 0, Action.PROCEED)
    SPLIT_COPY = ("split copy", 0, Action.REFUSE)
    NOT_MOUNTED = ("not mounted", 0, Action.PROCEED)
    WRITABLE = ("replica writable", 0, Action.PROCEED)
    STOPPED = ("stopped", 0, Action.REPAIR)
    # Only of what has been judged otherwise: see zrep.core.age.
    LATE = ("late", 1, Action.PROCEED)
    ROLE_CHANGE_UNFINISHED = ("role change unfinished", 3, Action.REPAIR)
    INIT_UNFINISHED = ("init unfinished", 3, Action.REFUSE)
    REJOIN_UNFINISHED = ("rejoin unfinished", 3, Action.REFUSE)
    BUSY = ("busy", 4, Action.WAIT)
    PEER_UNKNOWN = ("peer unknown", 5, Action.WAIT)
    POOL_LOST = ("pool lost", 1, Action.WAIT)
    PEER_MISSING = ("peer missing", 3, Action.REFUSE)
    STALE_MASTER = ("stale master", 3, Action.STOP_WRITES)
    STALE = ("stale", 3, Action.REFUSE)
    PEER_STALE = ("peer stale", 3, Action.REFUSE)
    SPLIT_BRAIN = ("split brain", 3, Action.STOP_WRITES)
    NO_MASTER = ("no master", 3, Action.REFUSE)
    UNRELATED = ("unrelated", 3, Action.REFUSE)
    RENAMED = ("renamed", 3, Action.REFUSE)
    WRONG_PLACE = ("wrong place", 3, Action.REFUSE)
    UNREADABLE = ("unreadable", 3, Action.REFUSE)
    NO_COMMON_SNAPSHOT = ("no common snapshot", 3, Action.REFUSE)
    KEY_NOT_LOADED = ("key not loaded", 3, Action.REFUSE)
    FOREIGN_SNAPSHOT = ("foreign snapshot", 3, Action.REFUSE)
    REPLICA_MODIFIED = ("replica modified", 3, Action.REFUSE)
    FILTER_NOT_ALLOWED = ("filter not allowed", 3, Action.REFUSE)
    NAME_TOO_LONG = ("name too long", 3, Action.REFUSE)
    PROGRAM_MISSING = ("program missing", 3, Action.REFUSE)

    @property
    def word(self) -> str:
        return self.value[0]

    @property
    def code(self) -> int:
        return self.value[1]

    @property
    def action(self) -> Action:
        return self.value[2]


# Linked, and what is not as it should be keeps nothing from being sent.
LINKED = frozenset({State.OK, State.NOT_MOUNTED, State.WRITABLE})
# Where the other half may be under another name, or its rejoin may be recorded on another dataset of its host.
ELSEWHERE = frozenset({State.PEER_MISSING, State.UNRELATED, State.WRONG_PLACE})
# Of a replica: neither host finds the pair among those that it syncs, so it is nobody's failure there.
UNDRIVEN = frozenset({State.NO_MASTER, State.PEER_MISSING, State.UNRELATED, State.WRONG_PLACE})
# The roles are well and only the data is not: whatever moves data refuses by itself.
DATA = frozenset(
    {
        State.NO_COMMON_SNAPSHOT,
        State.KEY_NOT_LOADED,
        State.FOREIGN_SNAPSHOT,
        State.REPLICA_MODIFIED,
        State.NAME_TOO_LONG,
    }
)


# Said of a pair whose peer was not asked, these are known all the same: by a stream that moves (core.diagnosis), or by
# the clock (core.age).
_KNOWN = frozenset({State.OK, State.PAUSED, State.LATE})


class Diagnosis(Struct, frozen=True):
    """A state with what it rests on. what: the statement that an error makes; evidence: why zrep says so; advice: the
    next command, with real names, or what to do; unasked: the exit status of what kept the peer from being asked, 0
    where nothing did; cause: of what is late, one word for programs, see zrep.core.age."""

    state: State
    what: str = ""
    evidence: str = ""
    advice: str = ""
    unasked: int = 0
    cause: str = ""

    @property
    def code(self) -> int:
        return self.state.code if self.state in _KNOWN else self.unasked or self.state.code

    def error(self, filesystem: str, more: str = "") -> ZrepError:
        """The refusal that this state is. more: what to add to the evidence."""
        kind = BusyError if self.state.action is Action.WAIT else RefusedError
        return kind(self.what, filesystem=filesystem, evidence=self.evidence + more, advice=self.advice)
