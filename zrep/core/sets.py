"""Sets: the snapshots of one moment over a tree. One is complete on the replica when every member that was written to
has arrived; its name is recorded there. A member that was not written to has its content of that moment in an older
one.
"""

from __future__ import annotations

from msgspec import Struct

from zrep.core.dataset import Member, Snapshot
from zrep.core.names import sequence_of
from zrep.core.pair import End, Tree
from zrep.core.plan_data import back_to
from zrep.core.steps import Step
from zrep.core.tree import newest_upto, set_aside


class Behind(Struct, frozen=True):
    """A member that has more than its set has: it goes back to this snapshot of its own (None: it came only after the
    set), and loses zrep's own later ones. foreign: those of others that stand in the way."""

    member: Member
    snapshot: Snapshot | None
    later: tuple[Snapshot, ...]
    foreign: tuple[str, ...]

    @property
    def text(self) -> str:
        """What becomes of it, for a person."""
        if self.snapshot is None:
            return f"{self.member.name} came after it and is set aside"
        gone = ", ".join(f"@{snapshot.name}" for snapshot in self.later)
        return f"{self.member.name} goes back to @{self.snapshot.name} and loses {gone}"


def beyond_set(tree: Tree, tag: str) -> tuple[Behind, ...]:
    """The members of a replica's tree that have newer data alone than its newest complete set. None where no set is
    recorded: then nothing is known to be missing of what is there."""
    last = sequence_of(tag, tree.role.complete)
    if last is None:
        return ()
    found = []
    for member in tree.members:
        # What has just arrived has no mark of zrep's yet: that it was about to come is known.
        arrived = {snapshot.guid for snapshot in member.snapshots if snapshot.name in tree.role.coming}
        ours = member.ours(tag, arrived)
        later = tuple(snapshot for snapshot in ours if (sequence_of(tag, snapshot.name) or 0) > last)
        if later:
            base = newest_upto(tag, ours, tree.role.complete)
            after = member.after(base) if base else ()
            foreign = tuple(snapshot.name for snapshot in after if snapshot not in later)
            found.append(Behind(member, base, later, foreign))
    return tuple(found)


def whole_at(tree: Tree, tag: str) -> list[int]:
    """When all of a tree was known to be on both sides, seconds since 1970, by the marks of its snapshots: of a replica
    those of its newest complete set, of a master all, where none of any member waits to be sent. The marks of a member
    that is seldom written to are old, and say nothing of the last moment."""
    marks = {member.name: {each.name: each.sent for each in member.ours(tag)} for member in tree.members}
    if tree.role.master:
        whole = all(own and all(own.values()) for own in marks.values())
        return [sent for own in marks.values() for sent in own.values() if sent] if whole else []
    return [sent for own in marks.values() if (sent := own.get(tree.role.complete))]


def plan_back_to_set(end: End, tag: str, behind: Behind, now: int) -> tuple[Step, ...]:
    """Take a member back to its set: zrep's own later snapshots go, and with them what they brought; one that came only
    after the set is set aside, with all it has."""
    member = behind.member
    if behind.snapshot is None:
        return (set_aside(end, tag, [member.name], now),)
    return back_to(end, tag, member, behind.snapshot, behind.later)
