"""Snapshots that their rules would let go of, and that stay all the same until a person has looked."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from zrep.core.errors import RefusedError
from zrep.core.plan_expire import Expiry
from zrep.ops.outcome import Outcome
from zrep.ops.session import Session
from zrep.ops.view import View


def too_many(name: str, host: str, expiry: Expiry, option: str = "") -> RefusedError:
    """The refusal to destroy a large part of a dataset's snapshots at once. name: of the pair here; option: of expire,
    as it has to be run. What is counted is evidence, so that it is no other news each time."""
    command = f"zrep expire {option}"
    return RefusedError(
        f"more than a quarter of its snapshots on {host} would be destroyed at once: none is",
        filesystem=name,
        evidence=expiry.too_many,
        advice=f"see which, and why: {command}-n {quote(name)}; if that is right: {command}--yes {quote(name)}",
    )


def dated_ahead(name: str, host: str, expiry: Expiry, now: int) -> RefusedError:
    """What a wrong clock has dated, or is about to let go of, stays."""
    return RefusedError(
        f"snapshots on {host} are dated in the future, and stay: a clock is wrong, or was",
        filesystem=name,
        evidence=expiry.dated_ahead(now),
        advice=f"compare the clocks of both hosts: date -u; what stays, and why: zrep expire -n {quote(name)}",
    )


def note_kept_back(session: Session, view: View, expiries: Sequence[Expiry]) -> None:
    """Say once for a pair what sync does not let go of. It has done its work: that is no failure."""
    root = view.link.within or view.name
    for expiry in expiries:
        host = view.executor.host(expiry.end).name
        if expiry.too_many:
            _note(session, f"expire on {host} of {root}", too_many(root, host, expiry))
        if expiry.ahead:
            _note(session, f"dates on {host} of {root}", dated_ahead(root, host, expiry, session.now))


def _note(session: Session, about: str, error: RefusedError) -> None:
    if all(outcome.about != about for outcome in session.untidied):
        session.untidied.append(Outcome(error.filesystem, error=error, harmless=True, about=about))
