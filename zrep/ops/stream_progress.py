"""Following streams: shown to whoever looks on, and remembered on this host for a status asked elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from zrep.core.moving import ENDED, Moving
from zrep.core.names import memory_key
from zrep.core.requests import Remember
from zrep.host.local import LocalHost
from zrep.host.process import Progress


class Follower:
    """Told by an executor how far its streams are. show: whoever looks on here, if anybody. What is remembered of a
    stream whose zrep was killed stays: it counts only while somebody has the dataset locked."""

    def __init__(
        self,
        driver: LocalHost,
        tag: str,
        clock: Callable[[], float],
        show: Callable[[str, Progress | None], None] | None,
    ) -> None:
        self._driver = driver
        self._tag = tag
        self._clock = clock
        self._show = show
        self._since: dict[str, int] = {}
        # How far each stream is that has not come to a good end, by its name.
        self.unfinished: dict[str, Progress] = {}

    def begin(self, dataset: str) -> None:
        """A stream of a dataset here, or into one, begins."""
        self._since[dataset] = int(self._clock())

    def note(self, dataset: str, stream: str, progress: Progress) -> None:
        """How far it is. stream: what it is called."""
        self.unfinished[stream] = progress
        if self._show:
            self._show(stream, progress)
        now = int(self._clock())
        since = self._since.setdefault(dataset, now)
        self._remember(dataset, Moving(since, now, progress.sent, progress.total).notes())

    def end(self, dataset: str, stream: str) -> None:
        """It has ended, well or not; that it may be told of more than once is no harm."""
        if self._show:
            self._show(stream, None)
        if self._since.pop(dataset, None) is not None and stream in self.unfinished:
            self._remember(dataset, dict(ENDED))

    def arrived(self, stream: str) -> None:
        """All of it has been received."""
        self.unfinished.pop(stream, None)

    def _remember(self, dataset: str, notes: dict[str, int | None]) -> None:
        self._driver.ask(Remember({memory_key(self._tag, dataset): dict(notes)}))
