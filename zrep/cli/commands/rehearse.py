"""zrep rehearse: its signature and help."""

from __future__ import annotations

from typing import Annotated

import typer

from zrep.cli import run as running
from zrep.cli.options import DryRun, Filesystem, Json, Verbose


def rehearse(
    context: typer.Context,
    filesystem: Filesystem,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- CMD...]", help="Run in the clone; its failure is reported.")
    ] = None,
    suid_dev: Annotated[
        bool, typer.Option("--suid-dev", help="Let setuid programs and devices in the clone work.")
    ] = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """Prove that the replica can be used. What was received last is cloned, mounted aside, checked and removed."""
    from zrep.ops.rehearse import rehearse

    session = running.begin(context.obj, dry_run=dry_run, verbose=verbose, json=json)
    name = filesystem
    return running.run(session, lambda: rehearse(session, name, command or [], suid_dev=suid_dev), name)
