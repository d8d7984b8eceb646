"""zrep history: its signature and help."""

from __future__ import annotations

from functools import cache
from typing import Annotated

import typer

from zrep.cli import run as running
from zrep.cli.options import Json, OnlyThese


def history(
    context: typer.Context,
    filesystems: OnlyThese = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="And what moved no role.")] = False,
    json: Json = False,
) -> int:
    """What was done to pairs, role changes first. As the pools of both sides remember it."""
    from zrep.cli import document, output
    from zrep.ops.every_tag import each_tag
    from zrep.ops.history import history, in_order

    names = running.filesystems(filesystems or ["all"])
    session = running.begin(context.obj, json=json)
    session.warn = cache(session.warn)  # a peer that is lost is so under every tag
    with running.closing(session):
        found = in_order(history(one, given) for one, given in each_tag(session, names))
        if json:
            document.show(document.happened(session, found))
        else:
            output.events(found, verbose=verbose)
    return 0
