"""zrep list: its signature and help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from zrep.cli import run as running
from zrep.cli.options import Ascending, Colour, Columns, Descending, Exact, Members, OnlyThese, RowsJson, Tabs

if TYPE_CHECKING:
    from zrep.cli.rows import Style
    from zrep.ops.session import Session

    # A session for each tag, and the filesystems to look for under it (none: all).
    _Parts = Sequence[tuple[Session, Sequence[str]]]


def list_(
    context: typer.Context,
    filesystems: OnlyThese = None,
    masters: Annotated[bool, typer.Option("-L", help="Masters only.")] = False,
    members: Members = False,
    snapshots: Annotated[bool, typer.Option("--snapshots", help="zrep's snapshots of each.")] = False,
    last_sent: Annotated[bool, typer.Option("--last-sent", hidden=True)] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Every property zrep keeps.")] = False,
    tabs: Tabs = False,
    exact: Exact = False,
    columns: Columns = "",
    ascending: Ascending = "",
    descending: Descending = "",
    json: RowsJson = False,
    colour: Colour = "auto",
) -> int:
    """What is replicated from and to this host. No peer is asked."""
    from zrep.cli import rows
    from zrep.ops.every_tag import each_tag

    names = running.filesystems(filesystems or ["all"])
    style = rows.style(columns, tabs, exact, ascending, descending, colour)
    session = running.begin(context.obj)
    with running.closing(session):
        if last_sent:
            from zrep.ops import shell_words

            print("\n".join(shell_words.last_sent(session, names)))
            return 0
        parts = each_tag(session, names)
        if snapshots:
            _show_snapshots(session, parts, json=json, tabs=tabs)
        elif verbose:
            _show_properties(session, parts, json=json, tabs=tabs)
        else:
            _show_pairs(session, parts, style, masters=masters, members=members, json=json)
    return 0


def _show_snapshots(session: Session, parts: _Parts, *, json: bool, tabs: bool) -> None:
    """Print zrep's snapshots of each filesystem, of all tags together."""
    from zrep.cli import document, output
    from zrep.ops.list import snapshots

    found: dict[str, list[tuple[str, int | None, int]]] = {}
    for one, names in parts:
        for name, own in snapshots(one, names).items():
            found.setdefault(name, []).extend(own)
    if json:
        document.show(document.listed(session, snapshots=found))
    else:
        output.snapshots(found, tabs=tabs, now=session.now)


def _show_properties(session: Session, parts: _Parts, *, json: bool, tabs: bool) -> None:
    """Print the properties that zrep keeps of each filesystem, of all tags together."""
    from zrep.cli import document, output
    from zrep.ops.list import properties

    found: dict[str, dict[str, str]] = {}
    for one, names in parts:
        for name, values in properties(one, names).items():
            found.setdefault(name, {}).update(values)
    if json:
        document.show(document.listed(session, properties=found))
    else:
        output.properties(found, tabs=tabs)


def _show_pairs(session: Session, parts: _Parts, style: Style, *, masters: bool, members: bool, json: bool) -> None:
    """Print a row for each filesystem, of all tags together."""
    from zrep.cli import document, rows
    from zrep.ops.every_tag import in_order
    from zrep.ops.list import listing

    found = in_order(listing(one, masters, names, members=members) for one, names in parts)
    found = rows.arranged(found, style)
    if json:
        document.show(document.listed(session, pairs=found))
    else:
        rows.show(found, style, session.now)
