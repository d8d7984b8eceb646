"""pause and unpause: let sync leave filesystems alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from shlex import quote

from zrep.core.errors import RefusedError, UsageError
from zrep.core.pair import End
from zrep.core.steps import InheritProperty, SetProperties, Step
from zrep.ops.finding import find_link
from zrep.ops.one_side import apply_here, lock_here
from zrep.ops.outcome import Outcome, each
from zrep.ops.session import Session

_SINCE = re.compile(r"since (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\Z", re.ASCII)


def pause(session: Session, names: Sequence[str], reason: str) -> list[Outcome]:
    """sync leaves the filesystems alone until unpause; who asked and when is kept with it."""
    if not reason.isprintable():
        raise UsageError("a reason is one line of printable text", evidence=f"{reason!r}")
    return each(names, lambda name: _set_paused(session, name, reason, pause_text(reason, session.now)))


def unpause(session: Session, names: Sequence[str]) -> list[Outcome]:
    return each(names, lambda name: _set_paused(session, name, "", ""))


def _set_paused(session: Session, name: str, reason: str, text: str) -> Outcome:
    """text: what zrep:paused is to hold, "" for nothing. Where it is paused already, another reason takes the place of
    the one that it had, and the pause is as old as it was."""
    role = find_link(session, name).role
    since = paused_since(role.paused)
    again = pause_text(reason, since) if reason and since is not None else text if reason else ""
    if bool(role.paused) == bool(text) and again in ("", role.paused):
        return Outcome(name, message=f"paused already: {role.paused}" if text else "not paused")
    text = again if role.paused and text else text
    if text and not (role.master or role.drives):
        raise RefusedError(
            "it is the replica here, and only the master's sync can be paused",
            filesystem=name,
            advice=f"on {role.src_host}: zrep pause {quote(role.src_fs)}",
        )
    lock_here(session, name, role)
    step: Step = (
        SetProperties(End.SOURCE, (name,), ((f"{session.tag}:paused", text),))
        if text
        else InheritProperty(End.SOURCE, (name,), f"{session.tag}:paused")
    )
    return apply_here(session, name, [step], "paused" if text else "sync goes on")


def pause_text(reason: str, now: int) -> str:
    """What ``zrep:paused`` holds: why, and since when."""
    return f"{reason} since {datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}".lstrip()


def paused_since(text: str) -> int | None:
    """When a pause began, seconds since 1970; None for a text that pause_text has not made."""
    found = _SINCE.search(text)
    try:
        return int(datetime.fromisoformat(found[1]).timestamp()) if found else None
    except ValueError:
        return None
