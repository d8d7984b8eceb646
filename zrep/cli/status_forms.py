"""status in the form that was asked for: a table, one document, a plugin's line, metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from zrep.cli import rows
from zrep.cli.output import give
from zrep.cli.run import closing, silence
from zrep.core.errors import UsageError, ZrepError, worst
from zrep.core.names import spoken

if TYPE_CHECKING:
    from zrep.cli.monitors import Limits
    from zrep.ops.session import Session


class Form(Struct, frozen=True):
    """How status is wanted, a table if nothing else. limits: of lag, for Nagios; output: the file for metrics or page,
    "" for standard output; watch: seconds after which it is looked for again, 0: once."""

    json: bool = False
    nagios: bool = False
    limits: Limits | None = None
    prometheus: bool = False
    output: str = ""
    watch: int = 0
    html: bool = False


def form(
    json: bool, nagios: bool, warning: str, critical: str, prometheus: bool, output: str, watch: str, html: bool
) -> Form:
    """What the options of status ask for, "" for those not given. UsageError for what does not go together."""
    if json + nagios + prometheus + bool(watch) + html > 1:
        raise UsageError("of --json, --nagios, --prometheus, --html and --watch one at a time")
    if (warning or critical) and not nagios:
        raise UsageError("-w and -c go with --nagios", advice="how old a replica may be: zrep changeconfig --max-lag")
    if output and not (prometheus or html):
        raise UsageError("--output goes with --prometheus and --html")
    if watch:
        from zrep.cli.watch import interval

        return Form(watch=interval(watch))
    if not nagios:
        return Form(json, prometheus=prometheus, output=output, html=html)
    from zrep.cli.monitors import limits

    return Form(nagios=True, limits=limits(warning, critical))


def show(session: Session, names: Sequence[str], style: rows.Style, form: Form, *, members: bool = False) -> int:
    """Ask, and print what was found; the exit code. Metrics tell of a run that failed too: what collects them sees
    nothing else of it."""
    from zrep.ops.every_tag import each_tag, in_order
    from zrep.ops.status import status

    with closing(session):
        try:
            parts = [status(one, given, members=members) for one, given in each_tag(session, names)]
            found = rows.arranged(in_order(parts), style)
        except ZrepError as error:
            if form.prometheus:
                from zrep.cli import monitors

                _give(monitors.prometheus([], session.now, error.exit_code, looked=False), form.output)
            raise
        code = worst(row.code for row in found)
        silence(session)
        if form.json:
            from zrep.cli import document

            document.show(document.listed(session, code, pairs=found))
        elif form.limits is not None:
            from zrep.cli import monitors

            text, code = monitors.nagios(found, form.limits)
            print(text)
        elif form.prometheus:
            from zrep.cli import monitors

            _give(monitors.prometheus(found, session.now, code), form.output)
            code = 0  # that they are there is what was asked for: they say themselves how the pairs are
        elif form.html:
            from zrep.cli.page import page

            _give(page(found, style, session.local.name, session.now), form.output)
            code = 0  # as with metrics
        else:
            rows.show(found, style, session.now)
    return code


def watch(begin: Callable[[], Session], names: Sequence[str], style: rows.Style, form: Form, *, members: bool) -> int:
    """Show it again and again, until a key quits; the exit code of what was seen last. begin: a session; it is kept for
    as long as all peers answer."""
    from zrep.cli import watch as watching
    from zrep.ops.every_tag import each_tag, in_order
    from zrep.ops.status import status

    sessions: list[Session] = []
    last = watching.Look()

    def look() -> watching.Look:
        nonlocal last
        if not sessions:
            sessions.append(begin())
        session = sessions[0]
        try:
            parts = [status(one, given, members=members) for one, given in each_tag(session, names)]
            last = watching.Look(rows.arranged(in_order(parts), style), session.now)
        except ZrepError as error:
            last = watching.Look((), session.now, error.tagged(spoken(session.tag)))
        if last.error or any(row.diagnosis.unasked for row in last.rows):
            sessions.pop().close()
        return last

    seen: list[watching.Look] = []

    def stop() -> None:
        seen.append(last)  # what is being asked now fails by being stopped
        for session in sessions:
            session.cancel()

    try:
        watching.watch(look, stop, style, form.watch)
    finally:
        for session in sessions:
            session.close()
    [found] = seen
    return found.error.exit_code if found.error else worst(row.code for row in found.rows)


def _give(text: str, path: str) -> None:
    from zrep.cli.monitors import write

    if path:
        write(text, path)
    else:
        give(text)
