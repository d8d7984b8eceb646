"""What cron's mails say: a line when something changes, not one a minute; and again after a day."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from zrep.core.errors import UnreachableError
from zrep.core.quantities import duration
from zrep.core.requests import Recall, Remember, Told
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import Session
from zrep.zfs.errors import PoolError

_DAY = 86400
_PEER = "peer: "


def suppress_repeats(session: Session, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes of a run over all filesystems, those told that an earlier run has said; what ended is said too.

    Errors are compared by what they state and advise: their evidence may count bytes or minutes. The record is
    volatile: without it everything is said once more.
    """
    key = f"{session.tag}@news"
    record = session.local.ask(Recall((key,))).get(key, {}).get("said")
    before = record if isinstance(record, dict) else {}
    subjects = {_subject(outcome) for outcome in outcomes} | {subject for subject in before if _is_peer(subject)}
    said = {subject: entry for subject, entry in before.items() if subject in subjects}
    found = [_judge(session, outcome, said) for outcome in outcomes]
    if any(outcome.error is None and not outcome.skipped for outcome in outcomes):
        for subject in [subject for subject in said if _is_peer(subject) and subject not in map(_subject, outcomes)]:
            _is_over(session, subject.removeprefix(_PEER), said.pop(subject))
    if said != before:
        session.local.ask(Remember({key: {"said": said}}))
    return found


def _subject(outcome: Outcome) -> str:
    """What an outcome is news of: its filesystem, or for all of a peer that is down at once, that peer."""
    if isinstance(outcome.error, (UnreachableError, PoolError)) and not outcome.skipped:
        return _PEER + outcome.error.what
    return outcome.about or outcome.filesystem


def _is_peer(subject: str) -> bool:
    return subject.startswith(_PEER)


def _judge(session: Session, outcome: Outcome, said: dict[str, Told]) -> Outcome:
    """One outcome; said (subject → what, advice, when it began, when it was said last) is brought up to date."""
    if outcome.skipped:
        return outcome
    subject = _subject(outcome)
    if outcome.error is None:
        if entry := said.pop(subject, None):
            _is_over(session, subject, entry)
        return outcome
    what, advice, since, last = said.get(subject, ("", "", session.now, session.now))
    known = (what, advice) == (outcome.error.what, outcome.error.advice)
    if known and 0 <= session.now - last < _DAY:
        return replace(outcome, told=True)
    said[subject] = (outcome.error.what, outcome.error.advice, since if known else session.now, session.now)
    return outcome


def _is_over(session: Session, subject: str, entry: Told) -> None:
    what, _, since, _ = entry
    was = "" if subject == what else f" (it was: {what})"
    session.warn(f"{subject}: over after {duration(max(0, session.now - since))}{was}")
