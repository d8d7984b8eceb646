"""Which of zrep's snapshots one side may let go of."""

from __future__ import annotations

from zrep.core.dataset import Member, Snapshot

DEFAULT_SAVECOUNT = 5


def expirable(member: Member, tag: str, base: Snapshot | None, savecount: int) -> tuple[Snapshot, ...]:
    """Snapshots to destroy, oldest first, so that savecount of ours remain.

    Never the base or anything newer (it may not be on the other side), never a held one, one with clones,
    or one that zrep did not make. Without a base nothing is known to be on both sides: nothing goes.
    """
    if base is None:
        return ()
    ours = member.ours(tag)
    surplus = ours[: max(0, len(ours) - max(1, savecount))]
    return tuple(
        snapshot
        for snapshot in surplus
        if snapshot.createtxg < base.createtxg and not snapshot.holds and not snapshot.clones
    )
