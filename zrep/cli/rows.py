"""Rows of list and status as text: a table that fits a terminal, a whole one for a pipe, tabs for a script."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from zrep.cli.fields import USUAL, Field, chosen, field, ordered
from zrep.core.errors import UsageError, printable, tagged
from zrep.core.names import spoken

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from zrep.ops.list import Row

COLOURS = ("auto", "always", "never")
_GAP = "  "
# No name gets shorter than that, however narrow the terminal is.
_SHORTEST = 12


class Style(Struct, frozen=True):
    """How rows are wanted. tabs: for a script; exact: numbers as they are; ascending, descending: the field by which
    they are sorted, if any; colour: auto is what the terminal and NO_COLOR say."""

    columns: tuple[Field, ...]
    tabs: bool = False
    exact: bool = False
    sort: Field | None = None
    descending: bool = False
    colour: str = "auto"


def style(columns: str, tabs: bool, exact: bool, ascending: str, descending: str, colour: str) -> Style:
    """What the options of list and status ask for, "" for those not given. UsageError for what does not exist."""
    if ascending and descending:
        raise UsageError("-s and -S go not together")
    if colour not in COLOURS:
        raise UsageError(f"--color {colour}", advice=f"one of {', '.join(COLOURS)}")
    by = field(ascending or descending) if ascending or descending else None
    names = chosen(columns) if columns else chosen(",".join(USUAL))
    return Style(names, tabs, exact or tabs, by, bool(descending), colour)


def arranged(rows: Sequence[Row], style: Style) -> list[Row]:
    """Rows in the order their style asks for: that of their names, where it asks for none."""
    return ordered(rows, style.sort, descending=style.descending) if style.sort else list(rows)


def show(rows: Sequence[Row], style: Style, now: int) -> None:
    """Print rows as their style says; below a table, why a state is what it is, and what to do."""
    if style.tabs:
        for row in rows:
            print("\t".join(column.text(row, now, exact=True) for column in style.columns))
        return
    if not rows:
        print("no filesystem here is replicated by zrep; start with: zrep init FS HOST DEST_FS")
        return
    style = with_tags(rows, style)
    if sys.stdout.isatty() or style.colour == "always":
        _show_on_terminal(rows, style, now)
    else:
        for line in aligned([_headings(style), *whole(rows, style, now)]):
            print(line)
    for line in explained(rows):
        print(line)


def explained(rows: Sequence[Row]) -> Iterator[str]:
    """Below a table: why a state is what it is, and what to do."""
    for row in rows:
        advice = [f"next: {tagged(row.advice, spoken(row.tag))}"] if row.advice else []
        if row.detail or advice:
            yield printable(f"{row.name}: {row.state}: {'; '.join(filter(None, [row.detail, *advice]))}")
        if row.left_out:
            yield printable(tagged(row.left_out.line(row.name), spoken(row.tag)))


def with_tags(rows: Sequence[Row], style: Style) -> Style:
    """The same style with a column for the tag, where nobody has chosen columns and more than one tag has rows."""
    if style.columns != chosen(",".join(USUAL)) or len({row.tag for row in rows}) < 2:
        return style
    return replace(style, columns=(style.columns[0], field("tag"), *style.columns[1:]))


def whole(rows: Sequence[Row], style: Style, now: int) -> list[list[str]]:
    """The cells of a table with nothing left out."""
    return [[column.text(row, now, exact=style.exact) for column in style.columns] for row in rows]


def fitting(rows: Sequence[Row], style: Style, now: int, width: int, dots: str) -> tuple[list[str], list[list[str]]]:
    """The headings and cells of a table at most width columns wide, as far as that can be. The peer's name is left
    out where it equals the name here, SENT where LAG says nearly the same; names lose their middle, dots in its
    place."""
    columns = style.columns
    cells = [
        [
            "-" if not text else _without_name(row, text) if column.name == "peer" else text
            for column, text in zip(columns, line, strict=True)
        ]
        for row, line in zip(rows, whole(rows, style, now), strict=True)
    ]
    headings = _headings(style)
    named = {column.name: index for index, column in enumerate(columns)}
    if _excess([headings, *cells], width) > 0 and {"sent", "lag"} <= set(named):
        for line in [headings, *cells]:
            del line[named["sent"]]
        named = {heading.lower(): index for index, heading in enumerate(headings)}
    names = [named[name] for name in ("name", "peer") if name in named]
    lengths = {index: max(len(line[index]) for line in cells) for index in names}
    # The widest column of names gives way, until the table fits or all names are as short as they may be.
    for _ in range(_excess([headings, *cells], width)):
        widest = max(lengths, key=lengths.__getitem__, default=None)
        if widest is not None and lengths[widest] > _SHORTEST:
            lengths[widest] -= 1
    for line in cells:
        for index, length in lengths.items():
            line[index] = shortened(line[index], length, dots)
    return headings, cells


def _without_name(row: Row, text: str) -> str:
    host, _, name = text.partition(":")
    return host if name == row.name else text


def shortened(name: str, length: int, dots: str) -> str:
    """A name of at most that length: its middle is left out, for its beginning and its end tell it from others."""
    if len(name) <= length:
        return name
    kept = length - len(dots)
    return name[: kept - kept // 2] + dots + name[len(name) - kept // 2 :]


def aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: each column as wide as its widest cell."""
    widths = _widths(cells)
    return [_GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _widths(cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]


def _excess(cells: Sequence[Sequence[str]], width: int) -> int:
    """How much wider than width a table is."""
    widths = _widths(cells)
    return sum(widths) + len(_GAP) * (len(widths) - 1) - width


def _headings(style: Style) -> list[str]:
    return [column.heading for column in style.columns]


def _show_on_terminal(rows: Sequence[Row], style: Style, now: int) -> None:
    from rich.console import Console

    console = Console(
        highlight=False,
        force_terminal=True if style.colour == "always" else None,
        no_color={"always": False, "never": True}.get(style.colour),
    )
    for line in on_terminal(rows, style, now, console):
        console.print(line, soft_wrap=True)


def on_terminal(rows: Sequence[Row], style: Style, now: int, console: Console) -> Iterator[Text]:
    """The lines of a table as a terminal shows it, which it fits."""
    from rich.text import Text

    style = with_tags(rows, style)
    if style.exact:
        headings, cells = _headings(style), whole(rows, style, now)
    else:
        dots = "…" if console.encoding.startswith("utf") else "..."
        headings, cells = fitting(rows, style, now, console.width, dots)
    lines = aligned([headings, *cells])
    yield Text(lines[0], style="bold")
    for row, line, cell in zip(rows, lines[1:], cells, strict=True):
        text = Text(line)
        if "STATE" in headings:
            begin = sum(width + len(_GAP) for width in _widths([headings, *cells])[: headings.index("STATE")])
            text.stylize(_colour(row), begin, begin + len(cell[headings.index("STATE")]))
        yield text


def _colour(row: Row) -> str:
    return "green" if row.state == "ok" else "yellow" if row.code == 0 else "red"
