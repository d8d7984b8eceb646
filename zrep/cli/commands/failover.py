"""zrep failover: its signature and help."""

from __future__ import annotations

import typer

from zrep.cli import run as running
from zrep.cli.options import DryRun, Filesystem, ForceUnmount, Json, Verbose


def failover(
    context: typer.Context,
    filesystem: Filesystem,
    force_unmount: ForceUnmount = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """On the master: make the peer the master, losing nothing. FS is read-only here afterwards."""
    from zrep.ops.failover import failover
    from zrep.ops.role_change import RoleChange

    session = running.begin(context.obj, dry_run=dry_run, verbose=verbose, json=json)
    return running.run(session, lambda: failover(session, filesystem, RoleChange(force_unmount)), filesystem)
