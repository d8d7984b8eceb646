"""Dialling ahead: a run of cron's calls those hosts that its last one has reached before it has loaded what it works
with and read which pairs there are, which takes as long as ssh does. Only time depends on it: who is called in vain is
not called by the next one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

from zrep.core.errors import ZrepError
from zrep.core.names import is_host, memory_key
from zrep.core.notes import Record
from zrep.core.settings import Settings
from zrep.host import notes
from zrep.host.locks import Locks
from zrep.wire import dial
from zrep.wire.dial import Dialled

# No dataset's name begins so.
_KEY = ":dialled by "
_HOSTS = "hosts"


class Ahead:
    """The connections that have been begun, by host. reached: those hosts that this run has had an answer of."""

    def __init__(self) -> None:
        self._dialled: dict[str, Dialled] = {}
        self.reached: frozenset[str] = frozenset()

    @property
    def hosts(self) -> list[str]:
        """Those whose connection nobody has taken yet."""
        return list(self._dialled)

    def dial(self, hosts: Collection[str], settings: Settings) -> None:
        """Begin a connection to each of them; what is wrong with one is said when it is needed."""
        for host in hosts:
            with suppress(ZrepError):
                self._dialled[host] = dial.start(host, settings)

    def take(self, host: str) -> Dialled | None:
        """The connection to a host, for whoever asks it something, once; None where there is none."""
        return self._dialled.pop(host, None)

    def end(self) -> None:
        """Give those up that nobody has taken."""
        for dialled in self._dialled.values():
            dialled.end()
        self._dialled = {}


@contextmanager
def last_reached(command: str, settings: Settings) -> Iterator[Ahead]:
    """Dial those hosts that the last run of a command over all pairs of a tag has reached, and remember those that this
    one has."""
    ahead = Ahead()
    key = memory_key(settings.tag, f"{_KEY}{command}")
    folder, known = "", frozenset[str]()
    with suppress(ZrepError):
        folder = Locks(settings=settings).directory
        known = _hosts(notes.read(folder, key))
    try:
        ahead.dial(sorted(known), settings)
        yield ahead
    finally:
        ahead.end()
        if folder and ahead.reached != known:
            notes.write(folder, key, {_HOSTS: sorted(ahead.reached)})


def _hosts(record: Record) -> frozenset[str]:
    hosts = record.get(_HOSTS)
    return frozenset(filter(is_host, hosts)) if isinstance(hosts, list) else frozenset()
