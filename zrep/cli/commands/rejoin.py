"""zrep rejoin: its signature and help."""

from __future__ import annotations

from typing import Annotated

import typer

from zrep.cli import run as running
from zrep.cli.options import DryRun, Filesystem, Json, Verbose


def rejoin(
    context: typer.Context,
    filesystem: Filesystem,
    force: Annotated[
        bool, typer.Option("-f", help="In a split brain: give this side's role up; its data stays in a split copy.")
    ] = False,
    peer: Annotated[
        bool, typer.Option("--peer", help="Run on the new master: the other half of FS becomes the replica.")
    ] = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """On an old master that returned: become the replica. What it wrote alone stays readable in a split copy."""
    from zrep.ops.across import rejoin_here, rejoin_there

    session = running.begin(context.obj, force=force, dry_run=dry_run, verbose=verbose, json=json)
    rejoin = rejoin_there if peer else rejoin_here
    return running.run(session, lambda: rejoin(session, filesystem), filesystem)
