"""Volatile bookkeeping, as requests ask for it: see notes."""

from __future__ import annotations

from contextlib import suppress

from zrep.core.errors import RefusedError
from zrep.core.notes import Record
from zrep.core.requests import Recall, Remember
from zrep.host import notes
from zrep.host.machine import Machine, carry_out


@carry_out.register(Remember)
def remember(request: Remember, machine: Machine) -> None:
    with suppress(RefusedError):
        for key, news in request.records.items():
            notes.write(machine.directory, key, news)


@carry_out.register(Recall)
def recall(request: Recall, machine: Machine) -> dict[str, Record]:
    folder = ""
    with suppress(RefusedError):
        folder = machine.directory
    found = {key: notes.read(folder, key) for key in request.keys} if folder else {}
    return {key: record for key, record in found.items() if record}
