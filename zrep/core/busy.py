"""Somebody has the lock of a filesystem: when that is news, and how it is said, for sync and status alike."""

from __future__ import annotations

from msgspec.structs import replace

from zrep.core.pair_state import Diagnosis, State
from zrep.core.quantities import duration

# Seconds without a sync after which a filesystem that is busy is told of, whoever has the lock.
BUSY_IS_NEWS = 600

# What is recorded of a change before it begins: it is under way where a stream of it moves, else it was cut.
UNFINISHED = {
    State.INIT_UNFINISHED: "its init",
    State.REJOIN_UNFINISHED: "a rejoin of it",
    State.ROLE_CHANGE_UNFINISHED: "a role change of it",
}
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


def at_it(found: Diagnosis, holder: Holder, *, moves: bool) -> Diagnosis:
    """The state of what is unfinished while somebody has its lock: nothing is advised, nor foretold. Where a stream of
    it moves, it is known to be under way, and no person need decide. moves: whether one does."""
    if not moves:  # it may be a sync that only looks
        return replace(found, evidence=whose(holder), advice="")
    what = f"{UNFINISHED[found.state]} is under way"
    return Diagnosis(State.BUSY, what, f"{what}: {whose(holder)}", unasked=found.unasked)
