"""How old a replica may be, as ``zrep:maxlag`` says on either side, and whether one is older: a state of its own.
Where it is not set the limit is two days, so that a pair which is synced daily is never late."""

from __future__ import annotations

from shlex import quote

from msgspec.structs import replace

from zrep.core.dataset import Member
from zrep.core.errors import FailedError, worst
from zrep.core.pair_state import Diagnosis, State
from zrep.core.quantities import duration, size
from zrep.core.role import Role

UNLESS_SET = 2 * 86400


def longest_lag(*roles: Role) -> int:
    """How many seconds a replica may be behind, by what is set on the sides that are known: the shorter time, so that
    both sides say the same. 0: for ever."""
    said = [role.max_lag for role in roles if role.max_lag is not None]
    return min(filter(None, said), default=0 if said else UNLESS_SET)


def judge_age(
    found: Diagnosis,
    mine: Member,
    theirs: Member | None,
    *,
    synced: int | None,
    paused: int | None,
    behind: int | None,
    now: int,
) -> Diagnosis:
    """A pair whose replica is older than it may be is late, whatever else it is that a person need not decide; any
    other is what was found. theirs: None where it is not known. synced: when both sides were last known to be equal,
    paused: when a pause began, both in seconds since 1970; behind: bytes written since; None: not known."""
    roles = [mine.role, *([theirs.role] if theirs else [])]
    limit, said = longest_lag(*roles), any(role.max_lag for role in roles)
    if not limit or found.state is State.SPLIT_COPY or worst((found.code, FailedError.exit_code)) == found.code:
        return found
    if found.state is State.PAUSED:
        if now - paused <= limit if paused is not None else not said:
            return found
        age = "for a time that is not known" if paused is None else f"for {duration(now - paused)}"
        what, why, advice = f"it is paused {age}", found.evidence, _on(mine, "unpause", here=bool(mine.role.paused))
    elif now - synced <= limit if synced is not None else not said:
        return found
    else:
        age = "is not known to have been synced" if synced is None else f"was not synced for {duration(now - synced)}"
        what, why = f"it {age}", _reason(found, behind, mine.role)
        advice = found.advice or _on(mine, "sync", here=mine.role.drives)
    longer = (
        f"its --max-lag of {duration(limit)}" if said else f"{duration(limit)} (changeconfig --max-lag: another time)"
    )
    evidence = f"{what}, longer than {longer}{f': {why}' if why else ''}"
    return replace(found, state=State.LATE, what="the replica is too old", evidence=evidence, advice=advice, unasked=0)


def _on(mine: Member, command: str, *, here: bool) -> str:
    """A command for the host of this half, or for that of the other."""
    there = f"on {mine.role.peer_host}: zrep {command} {quote(mine.role.peer_fs)}"
    return f"zrep {command} {quote(mine.name)}" if here else there


def _reason(found: Diagnosis, behind: int | None, role: Role) -> str:
    """What is known of why it was not synced. role: of the half here."""
    if found.state is not State.OK:
        return f"{found.state.word}: {found.evidence or found.what}"
    written = "" if behind is None else f"{size(behind)} written since; " if behind else "nothing was written since; "
    return f"{written}does cron on {role.own_host if role.drives else role.peer_host} run zrep sync all?"
