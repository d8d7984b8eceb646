"""Results as text: for a person at a terminal, for a pipe, for cron (nothing)."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from zrep.core.errors import ZrepError, printable, worst
from zrep.core.quantities import duration, size

if TYPE_CHECKING:  # ops brings in everything that starts a process: not for printing a version
    from zrep.core.history import Event
    from zrep.ops.execute import Line
    from zrep.ops.outcome import Outcome

# Before what a run would say at its end.
_WOULD = "nothing was changed; a run would end so: "


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
        elif outcome.message and (verbose or terminal or dry_run or outcome.important):
            would = _WOULD if dry_run and not outcome.blockers else ""
            print(printable(f"{outcome.filesystem}: {would}{outcome.message}"))
        if verbose or dry_run:
            for note in outcome.notes:
                print(printable(note))
    return worst(codes)


def complain(error: ZrepError) -> None:
    """One line on stderr."""
    print(f"zrep: {error.line()}", file=sys.stderr)


def events(found: Sequence[Event], *, verbose: bool) -> None:
    """What moved roles; with verbose, all the rest after it."""
    rest = [each for each in found if not each.role]
    for each in [*(each for each in found if each.role), *(rest if verbose else ())]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.at))
        print(printable(f"{when}  {each.host}:{each.filesystem}  {each.what}{f'  ({each.who})' if each.who else ''}"))
    if rest and not verbose:
        print(f"and {len(rest)} commands that moved no role: -v shows them")


def properties(values: Mapping[str, Mapping[str, str]], *, tabs: bool) -> None:
    for name, entries in values.items():
        for key, value in entries.items():
            shown = printable(value)
            print(f"{name}\t{key}\t{shown}" if tabs else f"{name}  {key}={shown}")


def snapshots(values: Mapping[str, Sequence[tuple[str, int | None, int]]], *, tabs: bool, now: int) -> None:
    for name, entries in values.items():
        for snapshot, sent, used in entries:
            if tabs:
                print(f"{name}@{snapshot}\t{'-' if sent is None else sent}\t{used}")
            else:
                when = "not sent" if sent is None else f"sent {duration(max(0, now - sent))} ago"
                print(f"{name}@{snapshot}  {when}  {size(used)}")
