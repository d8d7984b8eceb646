"""How far streams are, on a terminal: a line for each that takes longer than a second, with bytes, rate and time left.

rich is loaded at the first such line: never by cron, never by a run that is over at once.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from zrep.host.process import Progress


class StreamLines:
    """Lines on stderr that redraw themselves; what is printed meanwhile goes above them."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._bars: Bars | None = None
        self._lines: dict[str, TaskID] = {}

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
                self._lines[stream] = bars.add_task(stream, total=None)
            # The size is an estimate: a stream may turn out larger.
            total = max(progress.total, progress.sent) or None
            bars.update(self._lines[stream], completed=progress.sent, total=total)

    def close(self) -> None:
        """Take all lines away: how far a stream got is of no interest any more."""
        with self._changing:
            if self._bars is not None:
                self._bars.stop()
                self._bars = None
            self._lines.clear()

    def _shown(self) -> Bars:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )

            self._bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                DownloadColumn(binary_units=True),
                TransferSpeedColumn(),
                TimeRemainingColumn(compact=True),
                console=Console(stderr=True),
                transient=True,
            )
            self._bars.start()
        return self._bars
