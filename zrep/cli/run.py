"""One run: a session for it, what became of each filesystem, the exit code. Without the command line, which cron's
own command does not need.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from zrep.cli.progress import StreamLines
from zrep.cli.settings import number
from zrep.cli.words import dataset
from zrep.core.errors import UsageError, ZrepError, printable
from zrep.core.names import spoken
from zrep.core.quantities import seconds
from zrep.wire.ahead import last_reached

# sshd allows 10 sessions of a connection.
MOST_JOBS = 8

if TYPE_CHECKING:
    from zrep.core.settings import Settings
    from zrep.ops.outcome import Outcome
    from zrep.ops.session import Session
    from zrep.wire.ahead import Ahead


def filesystems(words: Sequence[str]) -> list[str]:
    """The filesystems that a command line names; none for ``all``. UsageError for what can be no name."""
    if [word.rstrip("/") for word in words] == ["all"]:
        return []
    if "all" in words:
        raise UsageError("'all' stands alone")
    return [dataset(word) for word in words]


def sync(
    settings: Settings,
    names: Sequence[str],
    *,
    pull: bool = False,
    quiet: int = 0,
    force: bool = False,
    jobs: int = 0,
    crash_consistent: bool = False,
    take: bool = True,
    after: str = "",
    may_be_empty: bool = False,
    dry_run: bool = False,
    verbose: bool = False,
    json: bool = False,
) -> int:
    """zrep sync, of all pairs driven from here when no names are given, with pull zrep refresh; the exit code. after:
    in place of ZREP_AFTER, as written."""
    if after:
        settings = _patient(settings, after, names)

    jobs = jobs or number("ZREP_JOBS", settings.jobs, 1, MOST_JOBS) or 0
    options = {"quiet": quiet, "force": force, "may_be_empty": may_be_empty, "json": json}
    options |= {"crash_consistent": crash_consistent, "take": take}
    options |= {"jobs": jobs, "dry_run": dry_run, "verbose": verbose}
    # A person wants to hear it again, cron does not.
    cron = not (names or verbose or dry_run or json or sys.stderr.isatty())
    everything = not names and not dry_run
    with last_reached("refresh" if pull else "sync", settings) if everything else nullcontext() as ahead:
        from zrep.ops.sync import sync

        session = begin(settings, ahead, **options)
        return run(session, lambda: sync(session, names, pull=pull), only_changes=cron)


def _patient(settings: Settings, after: str, names: Sequence[str]) -> Settings:
    """The settings of a run with --after. UsageError for what is no time, and where nothing is kept back anyway."""
    from msgspec.structs import replace

    if names:
        raise UsageError("--after goes with all", evidence="a run over filesystems that are named tells everything")
    found = 0 if after == "none" else seconds(after)
    if found is None:
        raise UsageError(f"--after {after!r} is no time", evidence="expected 90s, 15m, 2h, or none")
    return replace(settings, after=found)


def begin(settings: Settings, ahead: Ahead | None = None, **options: Any) -> Session:
    """A session for the pairs of a tag, that talks as its terminal lets it; ahead: see Session, options: see
    session.Options."""
    from zrep.ops.session import Options, Session

    lines = StreamLines() if sys.stderr.isatty() and not options.get("json") else None
    chosen = Options(tag=settings.tag, expire=settings.expire, **options)
    session = Session(chosen, settings, progress=lines, watch=lines.asking if lines else None, ahead=ahead)
    # What is said on the way by a run that changes nothing is what a real one would say.
    would = "-n: " if session.options.dry_run else ""
    if session.options.json:
        session.warn = session.warnings.append
        return session
    from zrep.cli.output import tell

    if sys.stdout.isatty() or options.get("verbose"):
        session.say = lambda text: tell(printable(f"{would}{text}"))
    session.warn = lambda text: tell(printable(f"zrep: {would}{text}"), error=True)
    return session


def silent(settings: Settings, may_be_empty: bool) -> Session:
    """A session that only looks, and says nothing by itself."""
    from zrep.ops.session import Options, Session

    return Session(Options(tag=settings.tag, may_be_empty=may_be_empty), settings)


def run(
    session: Session, work: Callable[[], Iterable[Outcome] | Outcome], name: str = "", *, only_changes: bool = False
) -> int:
    """Carry one operation out, print what became of it, and give everything back. name: what errors are about.
    only_changes: say nothing that an earlier run of cron has said."""
    if session.options.json:
        return _run_for_document(session, work, name)
    from zrep.cli.output import plan, report

    with closing(session):
        try:
            outcomes = _news(session, work) if only_changes else _outcomes(session, work, name)
        finally:
            plan(session.lines)
    return report(
        outcomes, verbose=session.options.verbose, terminal=sys.stdout.isatty(), dry_run=session.options.dry_run
    )


def _news(session: Session, work: Callable[[], Iterable[Outcome] | Outcome]) -> list[Outcome]:
    """What became of each filesystem, or of a run that could not begin, without what an earlier one has said."""
    from zrep.cli.news import suppress_repeats
    from zrep.ops.outcome import Outcome

    try:
        found = _outcomes(session, work, "")
    except ZrepError as error:
        found = [Outcome("", error=error.tagged(spoken(session.tag)))]
    return suppress_repeats(session, found)


def _run_for_document(session: Session, work: Callable[[], Iterable[Outcome] | Outcome], name: str) -> int:
    """The same for --json: everything is told in the end, in one document."""
    from zrep.cli import document

    outcomes: list[Outcome] = []
    ended: ZrepError | None = None
    try:
        with closing(session):
            outcomes = _outcomes(session, work, name)
    except ZrepError as error:
        ended = error
    told = document.done(session, outcomes, ended)
    document.show(told)
    return told.exit_code


def _outcomes(session: Session, work: Callable[[], Iterable[Outcome] | Outcome], name: str) -> list[Outcome]:
    """What became of each filesystem, every advice for the tag of the session; an error that ends the run is about
    name."""
    from zrep.ops.outcome import Outcome

    try:
        done = work()
    except ZrepError as error:
        raise error.about(name) from None
    outcomes = [*([done] if isinstance(done, Outcome) else done), *session.untidied]
    for outcome in outcomes:
        for trouble in (*outcome.blockers, *([outcome.error] if outcome.error else [])):
            trouble.tagged(spoken(session.tag))
    return outcomes


@contextmanager
def closing(session: Session) -> Iterator[None]:
    """Give everything back in the end; an error leaves with advice for the tag of the session, and so does the end from
    outside, with how far it had come."""
    try:
        try:
            yield
        finally:
            try:
                session.close()
            finally:
                silence(session)
    except KeyboardInterrupt:  # also once more, while everything is given back
        raise session.interrupted() from None
    except ZrepError as error:
        raise error.tagged(spoken(session.tag)) from None


def silence(session: Session) -> None:
    """Take away the lines that redraw themselves: what is printed from now on is the answer."""
    if isinstance(session.progress, StreamLines):
        session.progress.close()
