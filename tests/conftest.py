"""Fixtures that every folder of tests may ask for."""

import os

pytest_plugins = ["tests.lab.plugin", "tests.ops.plugin"]

_MEMORY = "/dev/shm"
_ROOM = 1 << 30


def _write_to_memory() -> None:
    """Have pytest make the folders of tests in memory, where that has room and programs in it may run: a lock file that
    is truncated on a disk, again and again, is a tenth of what a test on the model takes."""
    if os.path.isdir(_MEMORY):
        found = os.statvfs(_MEMORY)
        if found.f_bavail * found.f_frsize > _ROOM and not found.f_flag & os.ST_NOEXEC:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _MEMORY)


_write_to_memory()
