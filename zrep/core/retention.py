"""Which of zrep's snapshots one side may let go of."""

from __future__ import annotations

from collections.abc import Sequence

from zrep.core.dataset import Snapshot

DEFAULT_SAVECOUNT = 5


def expirable(ours: Sequence[Snapshot], base: Snapshot | None, savecount: int) -> tuple[Snapshot, ...]:
    """Of zrep's own snapshots of a dataset, oldest first: those to destroy, so that savecount remain.

    Never the base or anything newer (it may not be on the other side), never a held one or one with clones. Without a
    base nothing is known to be on both sides: nothing goes.
    """
    if base is None:
        return ()
    surplus = ours[: max(0, len(ours) - max(1, savecount))]
    return tuple(
        snapshot
        for snapshot in surplus
        if snapshot.createtxg < base.createtxg and not snapshot.holds and not snapshot.clones
    )
