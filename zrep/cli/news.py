"""What cron's mails say: a line when something changes, not one a minute; and again after a day. The same changes are
told to the hooks of this host, as trouble and over, and by that to syslog.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from zrep.core.errors import RefusedError, UnreachableError, ZrepError, one_line
from zrep.core.notes import Told
from zrep.core.quantities import duration
from zrep.core.requests import Recall, Remember, RunHooks
from zrep.core.role import Role
from zrep.ops.finding import roles_here
from zrep.ops.outcome import Outcome
from zrep.ops.session import Session
from zrep.zfs.errors import PoolError

_DAY = 86400
_PEER = "peer: "
# In place of when it was told: it is known, and too young to be told.
_UNTOLD = 0


def suppress_repeats(session: Session, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes of a run over all filesystems, those told that an earlier run has said; what ended is said too.
    What may heal by itself is not told while it is younger than ``zrep:after`` of its filesystem says, or ZREP_AFTER.

    Errors are compared by what they state and advise: their evidence may count bytes or minutes. The record is
    volatile: without it everything is said once more.
    """
    key = f"{session.tag}@news"
    record = session.local.ask(Recall((key,))).get(key, {}).get("said")
    before = record if isinstance(record, dict) else {}
    subjects = {_subject(outcome) for outcome in outcomes} | {subject for subject in before if _is_peer(subject)}
    said = {subject: entry for subject, entry in before.items() if subject in subjects}
    troubled = any(outcome.error is not None and not outcome.skipped for outcome in outcomes)
    roles = roles_here(session) if troubled and any(outcome.filesystem for outcome in outcomes) else {}
    found = [_judge(session, outcome, said, _patience(session, outcome, roles)) for outcome in outcomes]
    if any(outcome.error is None and not outcome.skipped for outcome in outcomes):
        for subject in [subject for subject in said if _is_peer(subject) and subject not in map(_subject, outcomes)]:
            _is_over(session, subject.removeprefix(_PEER), said.pop(subject))
    # What was said of a replica here, and is not found any more: whoever drives it has come by.
    vanished = {subject: entry for subject, entry in before.items() if subject not in subjects}
    for name in roles_here(session).keys() & vanished.keys() if vanished else ():
        _is_over(session, name, vanished[name])
    if said != before:
        session.local.ask(Remember({key: {"said": said}}))
    return found


def _subject(outcome: Outcome) -> str:
    """What an outcome is news of: its filesystem, or for all of a peer that is down at once, that peer; so is what kept
    a whole run from beginning. What keeps nothing else from being done is news of its own: that all else went well does
    not end it."""
    if outcome.harmless and outcome.error is not None and not outcome.about:
        return one_line(f"{outcome.filesystem}: {outcome.error.what}")
    of_many = isinstance(outcome.error, (UnreachableError, PoolError)) or not outcome.filesystem
    if outcome.error is not None and of_many and not outcome.skipped:
        return one_line(_PEER + outcome.error.what)
    return outcome.about or outcome.filesystem


def _is_peer(subject: str) -> bool:
    return subject.startswith(_PEER)


def _patience(session: Session, outcome: Outcome, roles: Mapping[str, Role]) -> int:
    """For how many seconds a trouble may last before it is told: what was said for its filesystem, or for this host; of
    a peer that is down, the least of what was said for those that wait for it."""
    role = roles.get(outcome.filesystem)
    waiting = [role] if role else []
    if role and _is_peer(_subject(outcome)):
        waiting = [other for other in roles.values() if other.peer_host == role.peer_host]
    general = session.settings.after
    return min((general if each.after is None else each.after for each in waiting), default=general)


def _judge(session: Session, outcome: Outcome, said: dict[str, Told], after: int) -> Outcome:
    """One outcome; said (subject → what, advice, when it began, when it was said last) is brought up to date."""
    if outcome.skipped:
        return outcome
    subject = _subject(outcome)
    error = outcome.error
    if error is None:
        if entry := said.pop(subject, None):
            _is_over(session, subject, entry)
        return outcome
    what, advice, since, last = said.get(subject, ("", "", session.now, _UNTOLD))
    now = (one_line(error.what), one_line(error.advice))  # a record has no place for what is no text
    known = (what, advice) == now
    since = since if known else session.now
    young = 0 <= session.now - since < after and error.exit_code != RefusedError.exit_code
    told = known and last != _UNTOLD and 0 <= session.now - last < _DAY
    if young or told:
        said[subject] = (*now, since, last if known else _UNTOLD)
        return replace(outcome, told=True)
    said[subject] = (*now, since, session.now)
    if not known or last == _UNTOLD:
        _tell(session, "trouble", outcome.filesystem, error.what, since, _facts(error))
    return outcome


def _is_over(session: Session, subject: str, entry: Told) -> None:
    """Say that it has ended, if it was said that it began."""
    what, _, since, last = entry
    if last == _UNTOLD:
        return
    was = "" if subject == what else f" (it was: {what})"
    line = f"{subject}: over after {duration(max(0, session.now - since))}{was}"
    session.warn(line)
    _tell(session, "over", "" if subject == what else subject, what, since, {"ZREP_LINE": line})


def _facts(error: ZrepError) -> dict[str, str]:
    return {
        "ZREP_KIND": error.word,
        "ZREP_CODE": str(error.exit_code),
        "ZREP_EVIDENCE": one_line(error.evidence),
        "ZREP_ADVICE": one_line(error.advice),
        "ZREP_LINE": error.line(),
    }


def _tell(session: Session, event: str, filesystem: str, what: str, since: int, facts: dict[str, str]) -> None:
    """Run the hooks of this host for trouble or over. What fails of them is said, and changes nothing."""
    about = {
        "ZREP_FS": filesystem,
        "ZREP_TAG": session.tag,
        "ZREP_WHAT": one_line(what),
        "ZREP_SINCE": str(since),
        **facts,
    }
    try:
        failed = session.local.ask(RunHooks(event, about))
    except ZrepError as error:
        failed = [error.line()]
    for line in failed:
        session.warn(f"a {event} hook on {session.local.name} failed ({line})")
