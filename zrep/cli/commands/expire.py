"""zrep expire: its signature and help."""

from __future__ import annotations

from typing import Annotated

import typer

from zrep.cli import run as running
from zrep.cli.options import DryRun, Json, MayBeEmpty, ThisSideOnly, Verbose
from zrep.core.errors import UsageError
from zrep.core.quantities import seconds


def expire(
    context: typer.Context,
    filesystems: Annotated[list[str] | None, typer.Argument(metavar="[FS...|all]")] = None,
    local: ThisSideOnly = False,
    gone: Annotated[
        str, typer.Option(metavar="AGE", help="And what was set aside in trees longer ago: 12h, 30d.")
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Although it is more than a quarter of a filesystem's snapshots.")
    ] = False,
    may_be_empty: MayBeEmpty = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """Destroy surplus snapshots, each side by its own rules. -n says which, and why each other one stays."""
    from zrep.ops.expire import expire

    age = seconds(gone) if gone else None
    if gone and age is None:
        raise UsageError(f"{gone!r} is no age", evidence="expected 12h, 30d or the like")
    session = running.begin(context.obj, may_be_empty=may_be_empty, dry_run=dry_run, verbose=verbose, json=json)
    names = running.filesystems(filesystems or ["all"])
    return running.run(session, lambda: expire(session, names, local, age, many=yes))
