"""How far a run is, on a terminal: a line for each stream that takes longer than a second, with bytes, rate and time
left; where nothing moves, what each host is being asked, and for how long.

rich is loaded at the first such line: never by cron, never by a run that is over at once.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zrep.core.quantities import size

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress as Bars
    from rich.progress import ProgressColumn, Task, TaskID

    from zrep.core.requests import Request
    from zrep.host.process import Progress

# Seconds after which a person wants to know what is being waited for.
_PATIENCE = 2.0
# How often in a second the lines are drawn: more of it is felt on a small machine that is busy with the streams.
_DRAWN = 4
# Columns that the bar, bytes, rate and time need beside a stream's name, which has at least so many of its own.
_BESIDE, _SHORTEST = 56, 16


def columns() -> list[ProgressColumn]:
    """What the line of a stream shows; bytes as zfs and status write them."""
    from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column
    from rich.text import Text

    class Amount(ProgressColumn):
        def render(self, task: Task) -> Text:
            of = f"/{size(int(task.total))}" if task.total else ""
            return Text(f"{size(int(task.completed))}{of}", style="progress.download")

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{size(int(task.speed))}/s" if task.speed else "", style="progress.data.speed")

    whole = Column(no_wrap=True)
    return [
        TextColumn("{task.description}", markup=False, table_column=whole),
        BarColumn(bar_width=20),
        Amount(table_column=whole),
        Rate(table_column=whole),
        TimeRemainingColumn(compact=True, table_column=whole),
    ]


def named(stream: str, console: Console) -> str:
    """A stream's name as it fits beside the rest of its line: one that is long loses its middle."""
    from zrep.cli.rows import shortened

    dots = "…" if console.encoding.startswith("utf") else "..."
    return shortened(stream, max(_SHORTEST, console.width - _BESIDE), dots)


class StreamLines:
    """Lines on stderr that redraw themselves; what is printed meanwhile goes above them."""

    def __init__(self) -> None:
        self._changing = threading.RLock()
        self._bars: Bars | None = None
        self._lines: dict[str, TaskID] = {}
        # What hosts are being asked: the host, the request, and since when.
        self._asked: dict[int, tuple[str, Request[Any], float]] = {}
        self._numbers = itertools.count()
        self._ended = threading.Event()
        self._watching = False

    def __call__(self, stream: str, progress: Progress | None) -> None:
        """Show how far a stream is; None: it has ended, and its line goes. stream: what is told apart by."""
        with self._changing:
            if progress is None:
                line = self._lines.pop(stream, None)
                if self._bars is not None and line is not None:
                    self._bars.remove_task(line)
                return
            bars = self._shown()
            if stream not in self._lines:
                self._lines[stream] = bars.add_task(named(stream, bars.console), total=None)
            # The size is an estimate: a stream may turn out larger. Of one whose size is not known nothing is left.
            total = max(progress.total, progress.sent) if progress.total else None
            bars.update(self._lines[stream], completed=progress.sent, total=total)

    @contextmanager
    def asking(self, host: str, request: Request[Any]) -> Iterator[None]:
        """A host is being asked something; it is shown when that takes long."""
        number = next(self._numbers)
        self._asked[number] = (host, request, time.monotonic())
        if not self._watching:
            self._watching = True
            threading.Thread(target=self._watch, daemon=True).start()
        try:
            yield
        finally:
            del self._asked[number]

    def close(self) -> None:
        """Take all lines away: how far a stream got is of no interest any more."""
        self._ended.set()
        with self._changing:
            if self._bars is not None:
                self._bars.stop()
                self._bars = None
            self._lines.clear()

    def waits(self) -> list[str]:
        """What has been waited for long: a line for each, one for what several wait for alike."""
        from zrep.cli.stages import stage

        now = time.monotonic()
        longest: dict[str, float] = {}
        for host, request, since in list(self._asked.values()):
            if now - since >= _PATIENCE:
                what = f"{host}: {stage(request)}"
                longest[what] = max(longest.get(what, 0), now - since)
        return [f"{what}, {seconds:.0f} s" for what, seconds in longest.items()]

    def _watch(self) -> None:
        """Until the end: begin to draw when something is waited for that long."""
        while not self._ended.wait(_PATIENCE / 4):
            with self._changing:
                if self._bars is None and not self._ended.is_set() and self.waits():
                    self._shown()
                    return

    def _shown(self) -> Bars:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import Progress
            from rich.text import Text

            waits = self.waits

            class Shown(Progress):
                def get_renderables(self) -> Iterable[RenderableType]:
                    # Where streams move, they say enough.
                    yield from super().get_renderables() if self.tasks else map(Text, waits())

            self._bars = Shown(
                *columns(),
                console=Console(stderr=True),
                transient=True,
                refresh_per_second=_DRAWN,
            )
            self._bars.start()
        return self._bars
