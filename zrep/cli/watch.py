"""status --watch: the table, redrawn in place until somebody quits; for a screen left open during a role change."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from zrep.cli import output, rows
from zrep.cli.settings import number
from zrep.core.errors import UsageError, ZrepError
from zrep.host.parallel import start

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from zrep.ops.rows import Row

_MOST_SECONDS = 3600
# Seconds until what is being asked while somebody quits has ended.
_PATIENCE = 5.0
# q, Q, Escape, ^C, ^D.
_QUIT = frozenset(b"qQ\x1b\x03\x04")


class Look(Struct, frozen=True):
    """What was found. at: seconds since 1970; error: what kept it from being found."""

    rows: Sequence[Row] = ()
    at: int = 0
    error: ZrepError | None = None


def interval(text: str) -> int:
    """The seconds between two looks, as --watch was given them. UsageError for what makes no sense."""
    return number("--watch", text, 1, _MOST_SECONDS) or 0


def watch(look: Callable[[], Look], stop: Callable[[], None], style: rows.Style, seconds: int) -> None:
    """Look again and again, so many seconds after each, until a key quits. look may take long: keys are heard
    meanwhile, and stop ends it. UsageError where there is no terminal to draw on."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("--watch wants a terminal", advice="for a script: zrep status -H, or --json")
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False, no_color=True if style.colour == "never" else None)
    if console.is_dumb_terminal:  # where Rich would draw nothing, ever
        raise UsageError("--watch cannot draw on this terminal: TERM says 'dumb'", advice="zrep status")
    screen = _Screen(style, seconds)
    ended = threading.Event()

    failed: list[BaseException] = []

    def looking() -> None:
        try:
            while not ended.is_set():
                screen.show(look())
                ended.wait(seconds)
        except BaseException as error:  # raised where a person sees it
            failed.append(error)
            ended.set()

    with _keys() as pressed, Live(screen, console=console, screen=True, refresh_per_second=4):
        worker = start(looking)
        with suppress(KeyboardInterrupt):
            while not ended.is_set() and not pressed(0.25):
                pass
        quitted = not ended.is_set()
        ended.set()
        stop()
    worker.wait(_PATIENCE)
    if failed and not quitted:
        raise failed[0]


class _Screen:
    """What is on the terminal: what was found last, as wide as the terminal is now."""

    def __init__(self, style: rows.Style, seconds: int) -> None:
        self._style = style
        self._seconds = seconds
        self._look = Look()

    def show(self, look: Look) -> None:
        self._look = look

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        look = self._look
        when = time.strftime("%H:%M:%S", time.localtime(look.at)) if look.at else "asking"
        yield Text(f"zrep on {os.uname().nodename}, {when}, every {self._seconds} s; q quits", style="dim")
        if look.error is not None:
            yield Text(look.error.line(), style="red")
        elif look.at:
            yield from rows.on_terminal(look.rows, self._style, look.at, console)
            for _, line in rows.explained(look.rows):
                yield from map(Text, output.folded(line, console.width))


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """A function that waits so many seconds for a key that quits. The terminal is as it was afterwards."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pressed(seconds: float) -> bool:
        ready, _, _ = select.select([descriptor], [], [], seconds)
        return bool(ready) and not _QUIT.isdisjoint(os.read(descriptor, 100) or b"q")

    try:
        tty.setcbreak(descriptor)
        # ^C is a key like the others: as a signal it would reach every process that is asking something, too.
        now = termios.tcgetattr(descriptor)
        now[tty.LFLAG] &= ~termios.ISIG
        termios.tcsetattr(descriptor, termios.TCSADRAIN, now)
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
