"""Rows of list and status as text: a table that fits a terminal, a whole one for a pipe, tabs for a script."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from zrep.cli.fields import USUAL, Field, chosen, field, ordered
from zrep.cli.output import tell
from zrep.core.errors import UsageError, printable, tagged
from zrep.core.names import spoken
from zrep.core.neighbours import some_names

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from zrep.ops.rows import Row

COLOURS = ("auto", "always", "never")
_GAP = "  "
# No name gets shorter than that, however narrow the terminal is.
_SHORTEST = 12


# What a table can do without where it is too wide else: LAG says what counts.
_LEFT_OUT = ("UNSENT", "BEHIND")
_USUAL = chosen(",".join(USUAL))


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
        raise UsageError("-s and -S do not go together")
    if colour not in COLOURS:
        raise UsageError(f"--color is {colour!r}", evidence=f"expected {', '.join(COLOURS)}")
    by = field(ascending or descending) if ascending or descending else None
    names = chosen(columns) if columns else _USUAL
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
        return
    for line in aligned([_headings(style), *whole(rows, style, now)]):
        print(line)
    for _, line in explained(rows):
        print(line)


def explained(rows: Sequence[Row]) -> Iterator[tuple[Row, str]]:
    """Below a table: why a state is what it is, and what to do, each with the first of its rows: all that wait for one
    peer have one trouble."""
    reasons = [_reason(row) for row in rows]
    alike: dict[str, list[str]] = {}
    for row, reason in zip(rows, reasons, strict=True):
        alike.setdefault(reason, []).append(row.name)
    for row, reason in zip(rows, reasons, strict=True):
        if reason and (names := alike.pop(reason, None)):
            yield row, printable(f"{some_names(names)}: {reason}")
        if row.left_out:
            yield row, printable(tagged(row.left_out.line(row.name), spoken(row.tag)))


def _reason(row: Row) -> str:
    advice = f"next: {tagged(row.advice, spoken(row.tag))}" if row.advice else ""
    said = "; ".join(filter(None, [row.detail, advice]))
    return f"{row.state}: {said}" if said else ""


def with_tags(rows: Sequence[Row], style: Style) -> Style:
    """The same style with a column for the tag, where nobody has chosen columns and more than one tag has rows."""
    if style.columns != _USUAL or len({row.tag for row in rows}) < 2:
        return style
    return replace(style, columns=(style.columns[0], field("tag"), *style.columns[1:]))


def _is_usual(style: Style) -> bool:
    """Whether its columns are those that nobody has chosen, with the tag or without."""
    return tuple(column for column in style.columns if column.name != "tag") == _USUAL


def whole(rows: Sequence[Row], style: Style, now: int) -> list[list[str]]:
    """The cells of a table with nothing left out. The members of a tree stand below it, indented."""

    def cell(row: Row, column: Field) -> str:
        indent = _GAP if row.member and column.name == "name" else ""
        return indent + column.text(row, now, exact=style.exact)

    return [[cell(row, column) for column in style.columns] for row in rows]


def fitting(rows: Sequence[Row], style: Style, now: int, width: int, dots: str) -> tuple[list[str], list[list[str]]]:
    """The headings and cells of a table at most width columns wide, as far as that can be. The peer's name is left
    out where it equals the name here, SENT where LAG says nearly the same; names lose their middle, dots in its
    place; where they cannot lose more, what waits to be sent is left out. Who has chosen columns sees them all."""
    columns = style.columns
    cells = [
        [
            "-" if not text else _without_name(row, text) if column.name == "peer" else text
            for column, text in zip(columns, line, strict=True)
        ]
        for row, line in zip(rows, whole(rows, style, now), strict=True)
    ]
    table = [_headings(style), *cells]
    for name in ("SENT", *_LEFT_OUT) if _is_usual(style) else ():
        if _excess(_shortest(table, dots) if name in _LEFT_OUT else table, width) > 0:
            index = table[0].index(name)
            for line in table:
                del line[index]
    headings, cells = table[0], table[1:]
    names = _names(headings)
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


def _names(headings: Sequence[str]) -> list[int]:
    """Where the columns are that may be shortened."""
    return [headings.index(name) for name in ("NAME", "PEER") if name in headings]


def _shortest(table: Sequence[Sequence[str]], dots: str) -> list[list[str]]:
    """A table, its headings first, with names as short as they may be."""
    names = _names(table[0])
    return [
        [shortened(cell, _SHORTEST, dots) if index in names else cell for index, cell in enumerate(line)]
        for line in table
    ]


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
    for _, reason in explained(rows):
        tell(reason)


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
