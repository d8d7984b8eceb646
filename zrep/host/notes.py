"""Notes on disk: a small file for each key, in the directory of the locks. Losing one changes nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from msgspec import MsgspecError, json

from zrep.core.names import file_name
from zrep.core.notes import Note, Record

# A few numbers and names; whoever adds to them for ever is no zrep.
_MOST_BYTES = 128 << 10


def write(directory: str, key: str, news: Mapping[str, Note]) -> None:
    """Keep what is new under a key beside what is there, in the directory of the locks; where that cannot be, nothing
    is said."""
    path = path_of(directory, key)
    text = _text({**read(directory, key), **news})
    if len(text) > _MOST_BYTES:
        text = _text(news)
    temporary = f"{path}.{os.getpid()}"
    with suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(text)
        os.replace(temporary, path)


def path_of(directory: str, key: str) -> str:
    """The file of a key."""
    return f"{directory}/state/{file_name(key)}"


def read(directory: str, key: str) -> Record:
    """What is kept under a key in the directory of the locks; nothing where that is not what zrep writes."""
    with suppress(OSError, MsgspecError, UnicodeError, RecursionError), open(path_of(directory, key), "rb") as file:
        record = json.decode(file.read(), type=Record)
        return {name: note for name, note in record.items() if _sane(note)}
    return {}


def _text(record: Mapping[str, Note]) -> bytes:
    return json.encode({name: note for name, note in record.items() if note is not None})


def _sane(note: Note) -> bool:
    """Not a number that no clock and no disk could give: whoever wrote that was not zrep."""
    return not isinstance(note, int) or abs(note) < 2**63
