"""Notes on disk: a small file for each key, in the directory of the locks. Losing one changes nothing, and so they are
lost where they could be from others: whom the next run dials is among them."""

from __future__ import annotations

import os
import stat
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
    temporary, folder = f"{path}.{os.getpid()}", os.path.dirname(path)
    with suppress(OSError):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if not _own(folder):
            return
        with suppress(FileNotFoundError):  # of a run that was killed
            os.unlink(temporary)
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(text)
        os.replace(temporary, path)


def path_of(directory: str, key: str) -> str:
    """The file of a key."""
    return f"{directory}/state/{file_name(key)}"


def read(directory: str, key: str) -> Record:
    """What is kept under a key in the directory of the locks; nothing where that is not what zrep writes."""
    path = path_of(directory, key)
    with suppress(OSError, MsgspecError, UnicodeError, RecursionError):
        if not _own(os.path.dirname(path)):
            return {}
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
            record = json.decode(file.read(), type=Record)
        return {name: note for name, note in record.items() if _sane(note)}
    return {}


def _own(folder: str) -> bool:
    """Whether nobody else can have put anything into a directory. OSError where there is none."""
    found = os.lstat(folder)
    others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not others


def _text(record: Mapping[str, Note]) -> bytes:
    return json.encode({name: note for name, note in record.items() if note is not None})


def _sane(note: Note) -> bool:
    """Not a number that no clock and no disk could give: whoever wrote that was not zrep."""
    return not isinstance(note, int) or abs(note) < 2**63
