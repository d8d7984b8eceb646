"""Volatile bookkeeping: a small file for each key, in the directory of the locks. Losing it changes nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from msgspec import MsgspecError, json

from zrep.core.errors import RefusedError
from zrep.core.names import file_name
from zrep.core.requests import Note, Recall, Remember
from zrep.host.machine import Machine, carry_out

_Record = dict[str, Note]
# A few numbers and names; whoever adds to them for ever is no zrep.
_MOST_BYTES = 128 << 10


@carry_out.register(Remember)
def remember(request: Remember, machine: Machine) -> None:
    folder = ""
    with suppress(OSError, RefusedError):
        folder = _folder(machine)
        os.makedirs(folder, exist_ok=True)
    for key, news in request.records.items() if folder else ():
        text = _text({**_read(folder, key), **news})
        if len(text) > _MOST_BYTES:
            text = _text(news)
        path = _path(folder, key)
        temporary = f"{path}.{os.getpid()}"
        with suppress(OSError):
            with open(temporary, "wb") as file:
                file.write(text)
            os.replace(temporary, path)


def _text(record: Mapping[str, Note]) -> bytes:
    return json.encode({name: note for name, note in record.items() if note is not None})


@carry_out.register(Recall)
def recall(request: Recall, machine: Machine) -> dict[str, _Record]:
    folder = ""
    with suppress(RefusedError):
        folder = _folder(machine)
    found = {key: _read(folder, key) for key in request.keys} if folder else {}
    return {key: record for key, record in found.items() if record}


def path_of(machine: Machine, key: str) -> str:
    """The file of a key."""
    return _path(_folder(machine), key)


def _folder(machine: Machine) -> str:
    return f"{machine.directory}/state"


def _path(folder: str, key: str) -> str:
    return f"{folder}/{file_name(key)}"


def _read(folder: str, key: str) -> _Record:
    """What is kept under a key; nothing where that is not what zrep writes."""
    with suppress(OSError, MsgspecError, UnicodeError, RecursionError), open(_path(folder, key), "rb") as file:
        record = json.decode(file.read(), type=_Record)
        return {name: note for name, note in record.items() if _sane(note)}
    return {}


def _sane(note: Note) -> bool:
    """Not a number that no clock and no disk could give: whoever wrote that was not zrep."""
    return not isinstance(note, int) or abs(note) < 2**63
