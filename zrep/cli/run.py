"""One run: a session for it, what became of each filesystem, the exit code. Without the command line, which cron's
own command does not need.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zrep.cli.progress import StreamLines
from zrep.cli.settings import number
from zrep.core.errors import UsageError, ZrepError, printable
from zrep.core.names import DEFAULT_TAG, check_dataset

# sshd allows 10 sessions of a connection.
MOST_JOBS = 8

if TYPE_CHECKING:
    from zrep.core.settings import Settings
    from zrep.ops.outcome import Outcome
    from zrep.ops.pairs import Session


def filesystems(words: Sequence[str]) -> list[str]:
    """The filesystems that a command line names; none for ``all``. UsageError for what can be no name."""
    if words == ["all"]:
        return []
    if "all" in words:
        raise UsageError("'all' stands alone")
    return [check_dataset(word) for word in words]


def sync(
    settings: Settings,
    names: Sequence[str],
    *,
    quiet: int = 0,
    force: bool = False,
    jobs: int = 0,
    may_be_empty: bool = False,
    dry_run: bool = False,
    verbose: bool = False,
) -> int:
    """zrep sync, of all masters here when no names are given; the exit code."""
    from zrep.ops.sync import sync

    jobs = jobs or number("ZREP_JOBS", settings.jobs, 1, MOST_JOBS) or 0
    options = {"quiet": quiet, "force": force, "may_be_empty": may_be_empty}
    session = begin(settings, jobs=jobs, dry_run=dry_run, verbose=verbose, **options)
    # A person wants to hear it again, cron does not.
    cron = not (names or verbose or dry_run or sys.stderr.isatty())
    return run(session, lambda: sync(session, names), only_changes=cron)


def begin(settings: Settings, **options: Any) -> Session:
    """A session for the pairs of a tag, that talks as its terminal lets it; options: see pairs.Options."""
    from zrep.ops.pairs import Options, Session

    session = Session(Options(tag=settings.tag, expire=settings.expire, **options), settings)
    # What is said on the way by a run that changes nothing is what a real one would say.
    would = "-n: " if session.options.dry_run else ""
    if sys.stdout.isatty() or options.get("verbose"):
        session.say = lambda text: print(printable(f"{would}{text}"), flush=True)
    if sys.stderr.isatty():
        session.progress = StreamLines()
    session.warn = lambda text: print(printable(f"zrep: {would}{text}"), file=sys.stderr, flush=True)
    return session


def run(
    session: Session, work: Callable[[], Iterable[Outcome] | Outcome], name: str = "", *, only_changes: bool = False
) -> int:
    """Carry one operation out, print what became of it, and give everything back. name: what errors are about.
    only_changes: say nothing that an earlier run of cron has said."""
    from zrep.cli.news import suppress_repeats
    from zrep.cli.output import plan, report
    from zrep.ops.outcome import Outcome

    with closing(session):
        try:
            done = work()
            outcomes = [*([done] if isinstance(done, Outcome) else done), *session.untidied]
            if only_changes:
                outcomes = suppress_repeats(session, outcomes)
        except ZrepError as error:
            raise error.about(name) from None
        finally:
            plan(session.lines)
    tag = spoken(session)
    for outcome in outcomes:
        for trouble in (*outcome.blockers, *([outcome.error] if outcome.error else [])):
            trouble.tagged(tag)
    return report(
        outcomes, verbose=session.options.verbose, terminal=sys.stdout.isatty(), dry_run=session.options.dry_run
    )


@contextmanager
def closing(session: Session) -> Iterator[None]:
    """Give everything back in the end; an error leaves with advice for the tag of the session."""
    try:
        yield
    except ZrepError as error:
        raise error.tagged(spoken(session)) from None
    finally:
        session.close()
        if isinstance(session.progress, StreamLines):
            session.progress.close()


def spoken(session: Session) -> str:
    """The tag, as far as a command line has to name it."""
    return "" if session.tag == DEFAULT_TAG else session.tag
