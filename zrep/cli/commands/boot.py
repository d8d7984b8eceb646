"""zrep boot: its signature and help."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from zrep.cli import run as running
from zrep.cli.options import Json, Verbose
from zrep.core.errors import UsageError
from zrep.core.quantities import seconds


def boot(
    context: typer.Context,
    asking: Annotated[
        bool, typer.Option("--ask", help="Ask their peers, and make the right masters writable.")
    ] = False,
    wait: Annotated[str, typer.Option(metavar="TIME", help="With --ask: for how long a peer is waited for.")] = "1m",
    open_then: Annotated[
        bool, typer.Option("--open", help="With --ask: those whose peer did not answer become writable too.")
    ] = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """At boot: masters are read-only until peers answer."""
    from zrep.ops import boot

    longest = seconds(wait)
    if longest is None:
        raise UsageError(f"--wait {wait!r} is no time", evidence="expected 90s, 2m, 1h")
    if open_then and not asking:
        raise UsageError("--open goes with --ask")
    begin = partial(running.begin, context.obj, may_be_empty=True, verbose=verbose, json=json)
    if not asking:
        session = begin()
        return running.run(session, lambda: boot.hold(session))
    session, outcomes = boot.ask(begin, longest, open_then=open_then)
    return running.run(session, lambda: outcomes)
