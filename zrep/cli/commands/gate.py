"""zrep gate: its signature and help."""

from __future__ import annotations

from typing import Annotated

import typer

from zrep.core.errors import UsageError


def gate(
    tree: Annotated[
        list[str] | None, typer.Option("--tree", metavar="FS", help="What the peer may work in; several.")
    ] = None,
    send: Annotated[bool, typer.Option("--send", help="The peer may take streams from here.")] = False,
    receive: Annotated[bool, typer.Option("--receive", help="The peer may bring streams here.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="What has arrived stays, whatever the peer asks.")] = False,
) -> int:
    """For authorized_keys: all that a peer may do, and with what."""
    del tree, send, receive, keep  # with a --tree and a direction it is answered before any is parsed: see cli/main
    raise UsageError("a gate needs a --tree, and --send, --receive or both", advice="see FORCED COMMAND in zrep(8)")
