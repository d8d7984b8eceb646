"""Results as text: for a person at a terminal, for a pipe, for cron (nothing)."""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from zrep.core.errors import ZrepError, printable, worst
from zrep.core.quantities import duration, size

if TYPE_CHECKING:  # ops brings in everything that starts a process: not for printing a version
    from zrep.core.history import Event
    from zrep.ops.execute import Line
    from zrep.ops.outcome import Outcome

# Columns of a terminal that does not say how many it has.
_USUAL_WIDTH = 80
_INDENT = "  "
# Between two commands of which one is to be chosen.
_OR = "; or, "
# What a command that is advised begins with, and what ends it: a person copies that in one piece. So is what is quoted.
_PROGRAMS = "zrep|zfs|zpool|ssh|systemctl|mkdir|printf|umount|chown|chmod|useradd|install(?= -)"
_PIECES = re.compile(rf"'[^']*'\S*|(?:{_PROGRAMS})\b.*?(?:[;,:](?= )|(?= \()|$)|\S+")
# Before what a run would say at its end.
_WOULD = "nothing was changed; a run would end so: "


def plan(lines: Iterable[Line]) -> None:
    """Print the commands that -n has found, each with its host."""
    for line in lines:
        print(printable(f"{line.host}: {shlex.join(line.argv)}"))  # a value may be of the peer


def tell(text: str, *, error: bool = False) -> None:
    """Print what a person reads, a line: broken between words where a terminal is too narrow for it. error: on standard
    error."""
    stream = sys.stderr if error else sys.stdout
    lines = folded(text, _width(stream)) if stream.isatty() else [text]
    print("\n".join(lines), file=stream, flush=True)


def give(text: str) -> None:
    """Print what a program reads: in UTF-8, as JSON, HTML and metrics are, whatever the locale."""
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(encoding="utf-8", errors="backslashreplace")
    print(text, end="")


def _width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_WIDTH
    except (OSError, ValueError):
        return _USUAL_WIDTH


def folded(line: str, width: int) -> list[str]:
    """A line as a terminal shows it. Where that is too narrow: broken between words, what is advised on lines of its
    own, and each command in one piece, which the terminal breaks if need be, so that it is copied whole."""
    if len(line) <= width:
        return [line]
    said, *advice = line.split("; next: ")
    lines = _wrapped(said.split(), width, "", _INDENT)
    if advice:
        first, *others = "; next: ".join(advice).split(_OR)
        for label, text in [("next: ", first), *(("or, ", other) for other in others)]:
            lines += _wrapped(_PIECES.findall(text), width, _INDENT + label, _INDENT * 2)
    return lines


def _wrapped(pieces: Iterable[str], width: int, first: str, indent: str) -> list[str]:
    """Lines of whole pieces: the first begins with what is given for it, the others with an indent."""
    lines = [first]
    empty = True
    for piece in pieces:
        gap = "" if empty else " "
        if not empty and len(lines[-1]) + len(gap) + len(piece) > width:
            lines.append(indent)
            gap = ""
        lines[-1] += gap + piece
        empty = False
    return lines


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
            tell(f"{outcome.error.line()}: skipped")
        elif outcome.message and (verbose or terminal or dry_run or outcome.important):
            would = _WOULD if dry_run and not outcome.blockers else ""
            tell(printable(f"{outcome.filesystem}: {would}{outcome.message}"))
        if verbose or dry_run:
            for note in outcome.notes:
                tell(printable(note))
    return worst(codes)


def complain(error: ZrepError) -> None:
    """One line on stderr."""
    tell(f"zrep: {error.line()}", error=True)


def events(found: Sequence[Event], *, verbose: bool) -> None:
    """What moved roles; with verbose, all the rest after it."""
    several = len({each.tag for each in found if each.tag}) > 1
    rest = [each for each in found if not each.role]
    for each in [*(each for each in found if each.role), *(rest if verbose else ())]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.at))
        who = f"  ({each.who})" if each.who else ""
        tag = f", tag {each.tag}" if several and each.tag else ""
        tell(printable(f"{when}  {each.host}:{each.filesystem}  {each.what}{tag}{who}"))
    if rest and not verbose:
        commands, them = ("command", "it") if len(rest) == 1 else ("commands", "them")
        tell(f"and {len(rest)} {commands} that moved no role: -v shows {them}")


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
