"""zrep allow: its signature and help."""

from __future__ import annotations

from typing import Annotated

import typer

from zrep.cli import run as running
from zrep.cli.options import Filesystem, Json
from zrep.core.errors import UsageError


def allow(
    context: typer.Context,
    user: Annotated[str, typer.Argument(metavar="USER", help="Who is to replicate FS without being root.")],
    filesystem: Filesystem,
    send: Annotated[bool, typer.Option("--send", help="Streams go from here.")] = False,
    receive: Annotated[bool, typer.Option("--receive", help="Streams come here.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Set it, instead of only printing the commands.")] = False,
    json: Json = False,
) -> int:
    """Print what lets a user replicate a filesystem."""
    from zrep.ops.allow import allow

    if send and receive:
        raise UsageError("--send or --receive: run it once for each")
    session = running.begin(context.obj, json=json)
    with running.closing(session):
        found = allow(session, user, filesystem, receive=receive if send or receive else None, apply=apply)
    if json:
        from zrep.cli import document

        document.show(document.allowed(session, found))
        return 0
    for line in found:
        print(line)
    return 0
