"""Waiting for what comes by itself, in tests of any kind."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 60.0
"""Seconds for which a test waits: a busy machine takes ten times as long as a quiet one."""


def wait_for(
    holds: Callable[[], bool], about: Callable[[], object] = str, seconds: float = PATIENCE, every: float = 0.1
) -> None:
    """Look every so many seconds until something holds.

    about: what is shown where it never does. Raises: AssertionError where it does not within so many seconds."""
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, about()
        time.sleep(every)
