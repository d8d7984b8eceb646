"""zrep pause and unpause: their signatures and help."""

from __future__ import annotations

from typing import Annotated

import typer

from zrep.cli import run as running
from zrep.cli import words
from zrep.cli.options import DryRun, Json, NamedFilesystems, Verbose


def pause(
    context: typer.Context,
    filesystems: NamedFilesystems,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Kept with it and shown by status.")] = "",
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """Let sync send nothing of filesystems until unpause."""
    from zrep.ops.pause import pause

    session = running.begin(context.obj, dry_run=dry_run, verbose=verbose, json=json)
    return running.run(session, lambda: pause(session, _named(filesystems), reason))


def unpause(
    context: typer.Context,
    filesystems: NamedFilesystems,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """End a pause."""
    from zrep.ops.pause import unpause

    session = running.begin(context.obj, dry_run=dry_run, verbose=verbose, json=json)
    return running.run(session, lambda: unpause(session, _named(filesystems)))


def _named(filesystems: list[str]) -> list[str]:
    """The filesystems of a command that wants each named."""
    return [words.one_dataset(name) for name in filesystems]
