"""Results as text: for a person at a terminal, for a pipe, for cron (nothing)."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from zrep.core.errors import ZrepError, printable, tagged, worst
from zrep.core.quantities import duration, size

if TYPE_CHECKING:  # ops brings in everything that starts a process: not for printing a version
    from zrep.ops.execute import Line
    from zrep.ops.list import Row
    from zrep.ops.outcome import Outcome

# Before what a run would say at its end.
_WOULD = "nothing was changed; a run would end so: "
_COLUMNS = ("NAME", "ROLE", "PEER", "STATE", "SENT", "LAG", "BEHIND", "UNSENT")


def plan(lines: Iterable[Line]) -> None:
    """Print the commands that -n has found, each with its host."""
    for line in lines:
        print(f"{line.host}: {shlex.join(line.argv)}")


def report(outcomes: Iterable[Outcome], *, verbose: bool, terminal: bool, dry_run: bool = False) -> int:
    """Print what became of each filesystem, or with dry_run would, and return the exit code of the run, the worst
    one."""
    codes = [0]
    for outcome in outcomes:
        codes.append(outcome.code)
        for blocker in outcome.blockers:
            complain(blocker.about(outcome.filesystem))
        if outcome.error is not None and outcome.told:
            continue
        if outcome.error is not None and not outcome.skipped:
            complain(outcome.error)
        elif outcome.error is not None and (verbose or terminal):
            print(f"{outcome.error.line()}: skipped")
        elif outcome.message and (verbose or terminal or dry_run):
            would = _WOULD if dry_run and not outcome.blockers else ""
            print(printable(f"{outcome.filesystem}: {would}{outcome.message}"))
        if verbose or dry_run:
            for note in outcome.notes:
                print(printable(note))
    return worst(codes)


def complain(error: ZrepError) -> None:
    """One line on stderr."""
    print(f"zrep: {error.line()}", file=sys.stderr)


def table(rows: Sequence[Row], *, tabs: bool, now: int, tag: str = "") -> None:
    """list and status: a table at a terminal, tab-separated without a heading with -H (sizes in bytes, times in
    seconds since the epoch, - for not known). tag: what an advice has to name."""
    if tabs:
        for row in rows:
            fields = (row.sent, row.lag, row.behind, row.unsent)
            print("\t".join([row.name, row.role, row.peer, row.state, *("-" if f is None else str(f) for f in fields)]))
        return
    if not rows:
        print("no filesystem here is replicated by zrep; start with: zrep init FS HOST DEST_FS")
        return
    cells = [_COLUMNS, *(_cells(row, now) for row in rows)]
    if sys.stdout.isatty():
        _rich_table(cells, rows)
    else:
        widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
        for line in cells:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for row in rows:
        advice = [f"next: {tagged(row.advice, tag)}"] if row.advice else []
        if row.detail or advice:
            print(printable(f"{row.name}: {row.state}: {'; '.join(filter(None, [row.detail, *advice]))}"))


def _rich_table(cells: Sequence[Sequence[str]], rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name in cells[0]:
        grid.add_column(name, overflow="fold")
    for row, line in zip(rows, cells[1:], strict=True):
        colour = "green" if row.state == "ok" else "yellow" if row.code == 0 else "red"
        grid.add_row(*(f"[{colour}]{cell}[/]" if index == 3 else cell for index, cell in enumerate(line)))
    Console(highlight=False).print(grid)


def _cells(row: Row, now: int) -> tuple[str, ...]:
    return (
        row.name,
        row.role,
        row.peer or "-",
        row.state,
        "-" if row.sent is None else f"{duration(max(0, now - row.sent))} ago",
        "-" if row.lag is None else duration(row.lag),
        "-" if row.behind is None else size(row.behind),
        "-" if row.unsent is None else str(row.unsent),
    )


def properties(values: Mapping[str, Mapping[str, str]], *, tabs: bool) -> None:
    for name, entries in values.items():
        for key, value in entries.items():
            print(f"{name}\t{key}\t{value}" if tabs else f"{name}  {key}={value}")


def snapshots(values: Mapping[str, Sequence[tuple[str, int | None, int]]], *, tabs: bool, now: int) -> None:
    for name, entries in values.items():
        for snapshot, sent, used in entries:
            if tabs:
                print(f"{name}@{snapshot}\t{'-' if sent is None else sent}\t{used}")
            else:
                when = "not sent" if sent is None else f"sent {duration(max(0, now - sent))} ago"
                print(f"{name}@{snapshot}  {when}  {size(used)}")
