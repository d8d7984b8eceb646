"""zrep init: its signature and help."""

from __future__ import annotations

from typing import Annotated

import typer

from zrep.cli import run as running
from zrep.cli import words
from zrep.cli.options import BandwidthLimit, Compress, DryRun, Json, Verbose
from zrep.cli.settings import number
from zrep.core.errors import UsageError
from zrep.core.names import stripped


def init(
    context: typer.Context,
    filesystem: Annotated[str, typer.Argument(metavar="FS", help="Filesystem or volume on this host.")],
    host: Annotated[str, typer.Argument(metavar="HOST", help="The peer as ssh knows it, or localhost.")],
    target: Annotated[
        str,
        typer.Argument(metavar="DEST_FS", help="The replica to create there; it must not exist.", show_default=False),
    ] = "",
    pull: Annotated[
        bool, typer.Option("--pull", help="Run on the replica's host: HOST SRC_FS DEST_FS. Only it dials, ever.")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="DEST_FS is there, made by any program: go on from what both have.")
    ] = False,
    src_host: Annotated[str, typer.Option(metavar="NAME", help="The name by which HOST reaches this host.")] = "",
    savecount: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Snapshots each side keeps: 5, or what ZREP_SAVE_COUNT says."),
    ] = None,
    send_flags: Annotated[
        str | None, typer.Option(metavar="FLAGS", help="Flags of every zfs send of this pair, e.g. '-p -w'.")
    ] = None,
    bwlimit: BandwidthLimit = "",
    compress: Compress = "",
    all_snapshots: Annotated[
        bool, typer.Option("--all-snapshots", help="What others snapshot travels too, with the increments.")
    ] = False,
    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="And everything below FS, as one tree.")] = False,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="With -r: leave out what is below FS and so called.")
    ] = None,
    strip: Annotated[
        str, typer.Option(metavar="PREFIX", help="DEST_FS is a root, and the replica below it FS without PREFIX.")
    ] = "",
    give: Annotated[
        list[str] | None, typer.Option("-o", metavar="NAME=VALUE", help="The replica's own value of a property.")
    ] = None,
    leave: Annotated[
        list[str] | None, typer.Option("-x", metavar="NAME", help="A property that does not follow to the replica.")
    ] = None,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    json: Json = False,
) -> int:
    """Replicate FS to HOST as DEST_FS from now on. Interrupted, it goes on where it was when run again.

    On the host of the replica: zrep init --pull HOST SRC_FS DEST_FS."""
    from zrep.ops.init import init
    from zrep.ops.init_way import Request

    if pull:
        host, filesystem, target = words.pulled(filesystem, host, target)
    else:
        filesystem = words.one_dataset(filesystem)
        host, target = words.peer(host, target)
    target = stripped(filesystem, strip, target) if strip else target
    kept = savecount or number("ZREP_SAVE_COUNT", context.obj.savecount, 1) or 0
    props = words.properties(give or (), leave or ())
    if adopt and give:
        raise UsageError(
            "-o is for a replica that init makes", evidence="--adopt", advice="zfs set it there, and -x NAME"
        )
    request = Request(
        filesystem,
        host,
        target,
        src_host=src_host,
        savecount=kept,
        flags=send_flags,
        recursive=recursive or context.obj.recursive,
        pull=pull,
        adopt=adopt,
        exclude=tuple(exclude or ()),
        props=props,
        compress=_compressor(compress),
        bwlimit=_rate(bwlimit),
        all_snapshots=all_snapshots or context.obj.all_snapshots,
    )
    if (unread := context.obj.not_read) and not (adopt or props):
        raise UsageError(
            f"{unread} is not read any more", filesystem=request.name, advice="zrep init -o NAME=VALUE, or unset it"
        )
    session = running.begin(context.obj, dry_run=dry_run, verbose=verbose, json=json)
    return running.run(session, lambda: init(session, request), request.name)


def _rate(text: str) -> int:
    """Read a --bwlimit: bytes a second, 0 for none. UsageError for what is no rate."""
    from zrep.core.shape import rate

    found = 0 if text in ("", "none") else rate(text)
    if found is None:
        raise UsageError(f"--bwlimit is {text!r}", evidence="expected 500K, 10M or none")
    return found


def _compressor(text: str) -> str:
    """Read a --compress: the program and its level, "" for none. UsageError for what zrep does not know."""
    from zrep.core.shape import COMPRESSORS, compressor

    found = "" if text in ("", "none") else compressor(text)
    if found is None:
        raise UsageError(f"--compress is {text!r}", evidence=f"expected {', '.join(COMPRESSORS)} or none")
    return found
