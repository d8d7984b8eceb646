"""How many sessions a line of authorized_keys may have at the same time: a byte of a file for each, locked as long as
its process lives. It costs little, and comes before the rest of zrep is loaded."""

from __future__ import annotations

import fcntl
import os
from zlib import crc32

from zrep.core.errors import BusyError
from zrep.core.settings import Settings
from zrep.host.locks import Locks, cannot_lock, open_own

# A run has one session, and one for each stream that moves: sshd's MaxSessions lets it have ten.
SESSIONS = 32

# Open for as long as this process lives: a lock lapses with the first of its process's descriptors that is closed.
_taken: list[int] = []


def take_session(settings: Settings, words: list[str]) -> bool:
    """Take a session of the gate with these words for the rest of this process; whether it is the last one. BusyError
    when none is left, RefusedError when the file of them is not zrep's own."""
    path = f"{Locks('', settings).directory}/gate-{crc32(repr(words).encode()):08x}.slots"
    try:
        taken = take(path, SESSIONS)
    except OSError as error:
        raise cannot_lock(path, error) from None
    if not taken:
        raise BusyError(
            f"{os.uname().nodename} has {SESSIONS} sessions of this gate already",
            advice="run this again later",
        )
    return taken == SESSIONS


def take(path: str, most: int) -> int:
    """Take one of so many slots for the rest of this process: its number, from 1; 0 when none was free. Children have
    no part in it."""
    descriptor = open_own(path)
    for number in range(most):
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError:
            continue
        _taken.append(descriptor)
        return number + 1
    os.close(descriptor)
    return 0
