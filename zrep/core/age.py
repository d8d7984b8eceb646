"""How old a replica may be, as ``zrep:maxlag`` says on either side, and whether one is older: a state of its own.
Where it is not set the limit is two days, so that a pair which is synced daily is never late."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from msgspec.structs import replace

from zrep.core.busy import BUSY_IS_NEWS, WHO_HAS_IT, Holder, whose
from zrep.core.dataset import Member
from zrep.core.errors import FailedError, worst
from zrep.core.moving import Moving
from zrep.core.pair_state import Diagnosis, State
from zrep.core.quantities import duration, size
from zrep.core.role import Role

UNLESS_SET = 2 * 86400
# So far two hosts' clocks may be apart before a moment that is still to come is taken for one of a clock that is wrong,
# or was: by its word nothing would be late until then.
AHEAD_SECONDS = 3600
NOT_SYNCED = "not synced"
"""The cause where nothing else is known of a late pair than that nobody syncs it; else it is the word of its state."""
SENDING = "sending"
"""The cause where a stream of it is under way, and moves: there is nothing to do but to wait."""
# What nobody need look for while a stream moves: a peer that does not answer then has a full wire.
_WAITS_FOR_IT = frozenset({State.OK, State.PEER_UNKNOWN})


def longest_lag(*roles: Role) -> int:
    """How many seconds a replica may be behind, by what is set on the sides that are known: the shorter time, so that
    both sides say the same. 0: for ever."""
    said = [role.max_lag for role in roles if role.max_lag is not None]
    return min(filter(None, said), default=0 if said else UNLESS_SET)


def last_of(known: Sequence[int], now: int) -> int | None:
    """The newest of some moments, seconds since 1970, that can be; None where there is none."""
    return max((when for when in known if when <= now + AHEAD_SECONDS), default=None)


def judge_age(
    found: Diagnosis,
    mine: Member,
    theirs: Member | None,
    *,
    known: Sequence[int],
    paused: int | None,
    behind: int | None,
    now: int,
    moving: Moving | None = None,
    holder: Holder | None = None,
    failed: str = "",
) -> Diagnosis:
    """A pair whose replica is older than it may be is late, whatever else it is that a person need not decide; any
    other is what was found. theirs: None where it is not known. known: moments at which both sides are said to have
    been equal, paused: when a pause began, all in seconds since 1970; behind: bytes written since; None: not known.
    moving: the stream of it that is under way, holder: who has its lock here; None: none, nobody as far as is known.
    failed: that a sync has failed since, in words."""
    roles = [mine.role, *([theirs.role] if theirs else [])]
    limit, said = longest_lag(*roles), any(role.max_lag for role in roles)
    if not limit or found.state is State.SPLIT_COPY or worst((found.code, FailedError.exit_code)) == found.code:
        return found
    synced = last_of(known, now)
    if found.state is State.PAUSED:
        if _is_young(paused, now, limit) if paused is not None else not said:
            return found
        dated = paused is not None and last_of([paused], now) is not None
        age = f"for {duration(now - paused)}" if paused is not None and dated else "for a time that is not known"
        what, why, advice = f"it is paused {age}", found.evidence, _on(mine, "unpause", here=bool(mine.role.paused))
    elif _is_young(synced, now, limit) if synced is not None else not (said or known):
        return found
    else:
        ahead = f": what says so is dated {duration(min(known) - now)} in the future" if known else ""
        never = f"is not known to have been synced{ahead}"
        age = never if synced is None else f"was not synced for {duration(now - synced)}"
        why = _reason(found, behind, moving, failed or (whose(holder) if holder else _is_it_run(mine.role)))
        what = f"it {age}"
        waits = moving or _waits_for_others(found)
        advice = found.advice or ("" if waits else _next(mine, now - (synced or 0), holder))
    longer = (
        f"its --max-lag of {duration(limit)}" if said else f"{duration(limit)} (changeconfig --max-lag: another time)"
    )
    evidence = f"{what}, longer than {longer}{f': {why}' if why else ''}"
    return replace(
        found,
        state=State.LATE,
        what="the replica is too old",
        evidence=evidence,
        advice=advice,
        cause=_cause(found, moving, holder, now),
    )


def _is_young(when: int, now: int, limit: int) -> bool:
    """Whether what began then may still last; of what is dated far ahead nobody knows when it began."""
    return when <= now + AHEAD_SECONDS and now - when <= limit


def _cause(found: Diagnosis, moving: Moving | None, holder: Holder | None, now: int) -> str:
    if moving and found.state in _WAITS_FOR_IT and not moving.still(now):
        return SENDING
    if found.state is State.OK:
        return State.BUSY.word if moving or holder or _waits_for_others(found) else NOT_SYNCED
    return found.state.word


def _waits_for_others(found: Diagnosis) -> bool:
    """Whether the peer is known to be there, and the streams of other pairs keep it from answering."""
    return found.state is State.OK and bool(found.unasked)


def _next(mine: Member, age: int, holder: Holder | None) -> str:
    """What to do about one that was not synced for so many seconds: nothing, where somebody is at it."""
    if holder:
        return WHO_HAS_IT if age > BUSY_IS_NEWS else ""
    return _on(mine, "sync", here=mine.role.drives)


def _on(mine: Member, command: str, *, here: bool) -> str:
    """A command for the host of this half, or for that of the other."""
    there = f"on {mine.role.peer_host}: zrep {command} {quote(mine.role.peer_fs)}"
    return f"zrep {command} {quote(mine.name)}" if here else there


def _reason(found: Diagnosis, behind: int | None, moving: Moving | None, else_known: str) -> str:
    """What is known of why it was not synced. moving: as of judge_age; else_known: where no stream is."""
    if found.state is not State.OK:
        return f"{found.state.word}: {found.evidence or found.what}"
    written = "" if behind is None else f"{size(behind)} written since; " if behind else "nothing was written since; "
    if moving:
        return f"{written}a stream is on its way"
    return f"{written}{found.evidence if _waits_for_others(found) else else_known}"


def _is_it_run(role: Role) -> str:
    return f"does cron on {role.own_host if role.drives else role.peer_host} run zrep sync all?"
