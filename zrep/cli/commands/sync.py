"""zrep sync and refresh: their signatures and help."""

from __future__ import annotations

from typing import Annotated

import typer

from zrep.cli import run as running
from zrep.cli.options import After, DryRun, Filesystems, Json, MayBeEmpty, Quiet, Verbose
from zrep.core.errors import UsageError


def sync(
    context: typer.Context,
    filesystems: Filesystems,
    quiet: Quiet = 0,
    force: Annotated[
        bool, typer.Option("-f", help="Roll a replica that was changed by hand back to the base, losing the change.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option("-j", metavar="N", min=1, max=running.MOST_JOBS, help="Streams at once to a peer (ZREP_JOBS)."),
    ] = None,
    crash_consistent: Annotated[
        bool, typer.Option("--crash-consistent", help="A snapshot although a before-snapshot hook has failed.")
    ] = False,
    no_send: Annotated[bool, typer.Option("--no-send", hidden=True)] = False,
    no_snapshot: Annotated[bool, typer.Option("--no-snapshot", hidden=True)] = False,
    after: After = "",
    may_be_empty: MayBeEmpty = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """Bring replicas up to date. 'zrep sync all' belongs in cron, every minute; silent when all is well."""
    names = running.filesystems(filesystems)
    if force and not names:
        raise UsageError("-f wants its filesystems named", evidence="it throws data away")
    if no_send:
        from zrep.ops.shell_words import snap_only

        session = running.begin(context.obj, may_be_empty=may_be_empty, dry_run=dry_run, verbose=verbose, json=json)
        return running.run(session, lambda: snap_only(session, names))
    return running.sync(
        context.obj,
        names,
        quiet=quiet,
        take=not no_snapshot,
        force=force,
        jobs=jobs or 0,
        crash_consistent=crash_consistent,
        after=after,
        may_be_empty=may_be_empty,
        dry_run=dry_run,
        verbose=verbose,
        json=json,
    )


def refresh(
    context: typer.Context,
    filesystems: Filesystems,
    quiet: Quiet = 0,
    jobs: Annotated[
        int | None,
        typer.Option("-j", metavar="N", min=1, max=running.MOST_JOBS, help="Streams at once from a peer (ZREP_JOBS)."),
    ] = None,
    after: After = "",
    may_be_empty: MayBeEmpty = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """On the replica: fetch what is new from the master. Of a pair made with init --pull, sync all does so too."""
    return running.sync(
        context.obj,
        running.filesystems(filesystems),
        pull=True,
        quiet=quiet,
        jobs=jobs or 0,
        after=after,
        may_be_empty=may_be_empty,
        dry_run=dry_run,
        verbose=verbose,
        json=json,
    )
