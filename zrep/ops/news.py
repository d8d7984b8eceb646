"""What cron's mails say: a line when something changes, not one a minute; and again after a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zrep.core.words import duration
from zrep.ops.session import Outcome, Session

_DAY = 86400


def only_news(session: Session, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes of a run over all filesystems, those told that an earlier run has said; what ended is said too.

    Errors are compared by what they state and advise: their evidence may count bytes or minutes. The record is
    volatile: without it everything is said once more.
    """
    key = f"{session.tag}@news"
    record = session.local.recall([key]).get(key, {}).get("said")
    before = record if isinstance(record, dict) else {}
    said = {outcome.filesystem: before[outcome.filesystem] for outcome in outcomes if outcome.filesystem in before}
    found = [_judge(session, outcome, said) for outcome in outcomes]
    if said != before:
        session.local.remember({key: {"said": said}})
    return found


def _judge(session: Session, outcome: Outcome, said: dict[str, object]) -> Outcome:
    """One outcome; said (filesystem → what, advice, when it began, when it was said last) is brought up to date."""
    *before, since, last = _entry(said.get(outcome.filesystem), session.now)
    if outcome.skipped:
        return outcome
    if outcome.error is None:
        if said.pop(outcome.filesystem, None):
            lasted = duration(max(0, session.now - since))
            session.warn(f"{outcome.filesystem}: in order again after {lasted} ({before[0]})")
        return outcome
    now = [outcome.error.what, outcome.error.advice]
    if now == before and 0 <= session.now - last < _DAY:
        return replace(outcome, told=True)
    said[outcome.filesystem] = [*now, since if now == before else session.now, session.now]
    return outcome


def _entry(entry: object, now: int) -> tuple[str, str, int, int]:
    match entry:
        case [str(what), str(advice), int(since), int(last)]:
            return what, advice, since, last
    return "", "", now, now
