"""zrep changeconfig: its signature and help."""

from __future__ import annotations

from typing import Annotated

import typer

from zrep.cli import run as running
from zrep.cli import words
from zrep.cli.options import BandwidthLimit, Compress, DryRun, Filesystem, Json, Verbose


def changeconfig(
    context: typer.Context,
    filesystem: Filesystem,
    host: Annotated[str, typer.Argument(metavar="[HOST]", help="The peer's new name for ssh.")] = "",
    target: Annotated[str, typer.Argument(metavar="[PEER_FS]", help="The other half's new name there.")] = "",
    of_shell: Annotated[bool, typer.Option("-d", "-f", hidden=True)] = False,
    own_host: Annotated[str, typer.Option(metavar="NAME", help="The name by which the peer reaches this host.")] = "",
    savecount: Annotated[int | None, typer.Option(metavar="N", min=1, help="Snapshots this side keeps.")] = None,
    lease: Annotated[
        int | None,
        typer.Option(metavar="SECONDS", min=0, help="As master: read-only after so long without the peer; 0: never."),
    ] = None,
    minfree: Annotated[str, typer.Option(metavar="SIZE", help="Of this side's pool, to keep free: 2% or 10G.")] = "",
    keep: Annotated[
        str, typer.Option(metavar="RULES", help="And by this schedule: '24h 14d 8w 12m 5y'; none ends it.")
    ] = "",
    keep_foreign: Annotated[
        str, typer.Option(metavar="PATTERN,...", help="Snapshots of others that the rules are for too; none ends it.")
    ] = "",
    bwlimit: BandwidthLimit = "",
    compress: Compress = "",
    unsent: Annotated[
        str, typer.Option(metavar="WHAT", help="Not replicated yet: keep, or drop where the rules do not keep it.")
    ] = "",
    max_lag: Annotated[
        str, typer.Option(metavar="TIME", help="The replica is late when behind for longer: 15m, 2h; none: never.")
    ] = "",
    after: Annotated[
        str, typer.Option(metavar="TIME", help="A trouble is told when it lasts for longer: 10m; none: at once.")
    ] = "",
    recursive: Annotated[
        bool | None, typer.Option("-r/--no-recursive", help="Everything below FS with it, as one tree; or no more.")
    ] = None,
    moved: Annotated[
        bool, typer.Option("--moved", help="FS's pool was moved to this host for good; the peer is told too.")
    ] = False,
    exclude: Annotated[
        bool | None,
        typer.Option("--exclude/--include", help="FS and all below it out of the tree that it is in; or in it again."),
    ] = None,
    all_snapshots: Annotated[
        bool | None,
        typer.Option("--all-snapshots/--no-all-snapshots", help="As master: those of others travel too; or no more."),
    ] = None,
    give: Annotated[
        list[str] | None,
        typer.Option("-o", metavar="NAME=VALUE", help="The replica's own value of a property."),
    ] = None,
    leave: Annotated[
        list[str] | None,
        typer.Option("-x", metavar="NAME", help="A property that does not follow; none ends it."),
    ] = None,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """Change what this side knows of the pair. Run it on each side that is to know."""
    del of_shell  # which side it is on is found out
    from zrep.ops.changeconfig import Config, changeconfig

    host, target = words.new_peer(host, target)
    session = running.begin(context.obj, dry_run=dry_run, verbose=verbose, json=json)
    props = "none" if leave == ["none"] and not give else words.properties(give or (), leave or ())
    config = Config(
        peer_host=host,
        peer_fs=target,
        own_host=own_host,
        savecount=savecount or 0,
        keep=keep,
        keep_foreign=keep_foreign,
        unsent=unsent,
        compress=compress,
        bwlimit=bwlimit,
        lease=lease,
        minfree=minfree,
        max_lag=max_lag,
        after=after,
        recursive=recursive,
        moved=moved,
        props=props,
        exclude=exclude,
        all_snapshots=all_snapshots,
    )
    return running.run(session, lambda: changeconfig(session, filesystem, config), filesystem)
