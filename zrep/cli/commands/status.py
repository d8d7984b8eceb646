"""zrep status: its signature and help."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from zrep.cli import run as running
from zrep.cli.options import (
    Ascending,
    Colour,
    Columns,
    Descending,
    Exact,
    MayBeEmpty,
    Members,
    OnlyThese,
    RowsJson,
    Tabs,
)


def status(
    context: typer.Context,
    filesystems: OnlyThese = None,
    all_: Annotated[bool, typer.Option("-a", hidden=True)] = False,
    up_to_date: Annotated[bool, typer.Option("--up-to-date", hidden=True)] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", hidden=True)] = False,  # changes nothing
    members: Members = False,
    may_be_empty: MayBeEmpty = False,
    tabs: Tabs = False,
    exact: Exact = False,
    columns: Columns = "",
    ascending: Ascending = "",
    descending: Descending = "",
    json: RowsJson = False,
    colour: Colour = "auto",
    nagios: Annotated[bool, typer.Option("--nagios", help="As a plugin of Nagios: its output and exit codes.")] = False,
    warning: Annotated[str, typer.Option("-w", metavar="TIME", help="With --nagios: lag for a warning, as 5m.")] = "",
    critical: Annotated[str, typer.Option("-c", metavar="TIME", help="With --nagios: lag that is critical.")] = "",
    prometheus: Annotated[bool, typer.Option("--prometheus", help="As metrics in Prometheus's text format.")] = False,
    output: Annotated[
        str, typer.Option(metavar="FILE", help="With --prometheus or --html: a file, whole or not at all.")
    ] = "",
    html: Annotated[bool, typer.Option("--html", help="As a page for a browser or a mail.")] = False,
    watch: Annotated[
        str, typer.Option(metavar="[SECONDS]", help="Again and again, after 2 seconds or so many; q quits.")
    ] = "",
) -> int:
    """How each pair is, after asking the peers. For monitoring: -H, and the exit code (0 all well, 1, 3, 5)."""
    from zrep.cli import rows, status_forms

    names = [] if all_ else running.filesystems(filesystems or ["all"])
    if up_to_date:
        from zrep.ops import shell_words

        session = running.begin(context.obj, verbose=verbose)
        return running.run(session, lambda: shell_words.up_to_date(session, names))
    style = rows.style(columns, tabs, exact, ascending, descending, colour)
    form = status_forms.form(json, nagios, warning, critical, prometheus, output, watch, html)
    if form.watch:
        begin = partial(running.silent, context.obj, may_be_empty)
        return status_forms.watch(begin, names, style, form, members=members)
    session = running.begin(context.obj, may_be_empty=may_be_empty)
    return status_forms.show(session, names, style, form, members=members)
