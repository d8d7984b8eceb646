"""Somebody has the lock of a filesystem: when that is news, and how it is said, for sync and status alike."""

from __future__ import annotations

from zrep.core.pair_state import Diagnosis, State
from zrep.core.quantities import duration

# Seconds without a sync after which a filesystem that is busy is told of, whoever has the lock.
BUSY_IS_NEWS = 600

# The tag somebody works under, and the number of his process; "" and 0 where that is not known.
Holder = tuple[str, int]


def whose(holder: Holder | None) -> str:
    """Who has a lock, as evidence."""
    if holder is None or not holder[0]:
        return "another zrep or a stream of ours is working on it"
    return f"a zrep of the tag {holder[0]} is working on it, process {holder[1]}"


# Where nothing was synced for that long.
WHO_HAS_IT = "nothing, if a long stream is under way; who has the lock: fuser -v /var/run/zrep/*.lock"


def long_busy(age: int | None, holder: Holder | None) -> Diagnosis | None:
    """The state of a filesystem that somebody has locked and that was last synced so many seconds ago (None: never, as
    far as is known); None: that is no news."""
    if age is not None and age <= BUSY_IS_NEWS:
        return None
    synced = "never synced yet" if age is None else f"last synced {duration(age)} ago"
    return Diagnosis(
        State.BUSY,
        f"busy, and not synced for more than {duration(BUSY_IS_NEWS)}",
        f"{whose(holder)}; {synced}",
        WHO_HAS_IT,
    )
