"""zrep clear: its signature and help."""

from __future__ import annotations

from typing import Annotated

import typer

from zrep.cli import run as running
from zrep.cli.options import DryRun, Filesystem, Json, ThisSideOnly, Verbose
from zrep.core.errors import UsageError


def clear(
    context: typer.Context,
    filesystem: Filesystem,
    local: ThisSideOnly = False,
    keep_base: Annotated[
        bool, typer.Option("--keep-base", help="Leave the base on both sides, for a later init --adopt.")
    ] = False,
    of_shell: Annotated[bool, typer.Option("-f", hidden=True)] = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """End a pair on both sides. Properties, holds and snapshots of zrep's go, the data stays."""
    if keep_base and local:
        raise UsageError("--keep-base does not go with -L", evidence="what the base is, both sides say")
    del of_shell  # it asks nobody
    from zrep.ops.clear import clear

    session = running.begin(context.obj, dry_run=dry_run, verbose=verbose, json=json)
    return running.run(session, lambda: clear(session, filesystem, local, keep_base=keep_base), filesystem)
