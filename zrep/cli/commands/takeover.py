"""zrep takeover: its signature and help."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from zrep.cli import run as running
from zrep.cli.options import DryRun, Filesystem, ForceUnmount, Json, Verbose
from zrep.core.errors import RefusedError, UsageError


def takeover(
    context: typer.Context,
    filesystem: Filesystem,
    local: Annotated[
        bool, typer.Option("-L", help="The master is gone: take over alone, losing what it had not sent.")
    ] = False,
    force: Annotated[bool, typer.Option("-f", "--force", help="With -L: although the master answers.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With -L: agree to the loss without being asked.")] = False,
    fence_cmd: Annotated[
        str | None,
        typer.Option(metavar="CMD", help="With -L: run first; only if it ends 0, take over (ZREP_FENCE_CMD)."),
    ] = None,
    newest: Annotated[
        bool, typer.Option("--newest", help="With -L: each member of a tree keeps its newest, of whatever moment.")
    ] = False,
    force_unmount: ForceUnmount = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """On the replica: become the master. Planned and without loss; with -L after a disaster."""
    name = filesystem
    for option, given in (("--yes", yes), ("--force", force), ("--fence-cmd", fence_cmd), ("--newest", newest)):
        if given and not local:
            raise UsageError(f"{option} goes with -L", evidence="without it the master is asked")
    fence = context.obj.fence if fence_cmd is None else fence_cmd
    session = running.begin(context.obj, fence=fence, dry_run=dry_run, verbose=verbose, json=json)
    if not local:
        from zrep.ops.role_change import RoleChange
        from zrep.ops.takeover import takeover

        return running.run(session, lambda: takeover(session, name, RoleChange(force_unmount)), name)
    from zrep.ops.takeover_alone import forced_takeover

    agree = _agreement(yes, sys.stdin.isatty() and not json)
    return running.run(session, lambda: forced_takeover(session, name, agree, insist=force, newest=newest), name)


def _agreement(yes: bool, ask: bool) -> Callable[[str], bool]:
    """Agree as the command line does; ask: there is a person who can be asked."""

    def agree(loss: str) -> bool:
        if yes:
            return True
        if not ask:
            return False
        if typer.confirm(f"{loss}. Take over?"):
            return True
        raise RefusedError("you said no: nothing was changed")

    return agree
