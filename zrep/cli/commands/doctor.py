"""zrep doctor: its signature and help."""

from __future__ import annotations

from typing import Annotated

import typer

from zrep.cli import run as running
from zrep.cli.options import Json, MayBeEmpty, OnlyThese, Verbose


def doctor(
    context: typer.Context,
    filesystems: OnlyThese = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what is safe to mend.")] = False,
    may_be_empty: MayBeEmpty = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """Look at both hosts for what will hurt later."""
    from zrep.ops.doctor import doctor

    names = running.filesystems(filesystems or ["all"])
    session = running.begin(context.obj, may_be_empty=may_be_empty, verbose=verbose, json=json)
    return running.run(session, lambda: doctor(session, names, fix=fix))
