"""What each side lets go of: of zrep's own snapshots, and of those of others that it was told to, what no rule keeps
and nothing needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.dataset import Member, Snapshot
from zrep.core.keep_rules import AHEAD, kept
from zrep.core.names import is_of_a_tag
from zrep.core.pair import End, Lane
from zrep.core.quantities import duration
from zrep.core.rules import DEFAULT_SAVECOUNT, Rules, names_like, parse_schedule
from zrep.core.steps import DestroySnapshots
from zrep.core.tree import newest_upto

# So many go at once whatever their share is: a run lets go of as many as it makes, and of one more for each rule at the
# turn of a year; runs that were cut leave a few to the next one.
_FEW = 10
_SHARE = 4
# Names in one command: an argument has at most 128 KiB, and a name 255 bytes.
_MOST_NAMES = 400


class Verdict(Struct, frozen=True):
    """A snapshot, and why it stays; "": it goes."""

    snapshot: Snapshot
    reason: str


class Expiry(Struct, frozen=True):
    """What lets one dataset of one end go of what it need not keep. verdicts: of all that its rules are about, oldest
    first."""

    end: End
    member: Member
    verdicts: tuple[Verdict, ...]

    @property
    def going(self) -> tuple[Snapshot, ...]:
        return tuple(verdict.snapshot for verdict in self.verdicts if not verdict.reason)

    @property
    def ahead(self) -> tuple[Snapshot, ...]:
        """Those that stay only because they are dated in the future."""
        return tuple(verdict.snapshot for verdict in self.verdicts if verdict.reason == AHEAD)

    @property
    def too_many(self) -> str:
        """Why a person has to agree to it first, "" where nobody need: a rule or a clock may be wrong."""
        going, all_ = len(self.going), len(self.member.snapshots)
        if going <= _FEW or going * _SHARE <= all_:
            return ""
        return f"{going} of the {all_} snapshots of {self.member.name}"

    def dated_ahead(self, now: int) -> str:
        """What is dated in the future, as evidence that a clock is wrong; "" for nothing."""
        if not self.ahead:
            return ""
        last = max(self.ahead, key=lambda snapshot: snapshot.creation)
        more = f" and {len(self.ahead) - 1} more" if len(self.ahead) > 1 else ""
        return f"{self.member.name}@{last.name}{more}, by {duration(last.creation - now)}"

    def steps(self, *, agreed: bool = False) -> tuple[DestroySnapshots, ...]:
        """What is to be done: nothing where a person has to agree and has not."""
        if self.too_many and not agreed:
            return ()
        names = [snapshot.name for snapshot in self.going]
        parts = (tuple(names[at : at + _MOST_NAMES]) for at in range(0, len(names), _MOST_NAMES))
        return tuple(DestroySnapshots(self.end, self.member.name, part) for part in parts)


def expire_lane(lane: Lane, now: int) -> tuple[Expiry, ...]:
    """What each end of a lane lets go of, by its own rules; nothing where no snapshot is on both. now: seconds since
    1970."""
    base = lane.base
    if base is None:
        return ()
    there = lane.target.by_guid(base.guid)
    return (
        # Should the replica go back to its newest complete set, that is what both sides have in common.
        expire_end(
            End.SOURCE, lane.source, lane.tag, lane.ours(End.SOURCE), base, now, moment=lane.target.role.complete
        ),
        expire_end(End.TARGET, lane.target, lane.tag, lane.ours(End.TARGET), there, now),
    )


def expire_converged(lane: Lane, now: int) -> tuple[Expiry, ...]:
    """The same once only the base is held under the tag of the pair, as plan_converge leaves it."""
    if lane.base is None:
        return ()
    source, target = (_without_hold(member, lane.tag, lane.base) for member in (lane.source, lane.target))
    return expire_lane(replace(lane, source=source, target=target), now)


def expire_end(
    end: End,
    member: Member,
    tag: str,
    ours: Iterable[Snapshot],
    base: Snapshot | None,
    now: int,
    *,
    moment: str = "",
) -> Expiry:
    """What one end lets go of. ours: which of its snapshots are zrep's own; base: its newest that the other end has
    too, None: nothing is known to be on both, and all stays; moment: the newest of which the replica of its tree has
    every member, where this is the master."""
    own = {snapshot.guid for snapshot in ours}
    others = {snapshot.guid: f"it may be that of {snapshot.of}" for snapshot in member.snapshots if snapshot.of}
    role = member.role
    rules = Rules(role.savecount or DEFAULT_SAVECOUNT, parse_schedule(role.keep) or ())
    reasons: dict[str, str] = {}
    judged = {snapshot.guid for snapshot in member.snapshots if snapshot.of and is_of_a_tag(snapshot.name)}
    for series in _series(member, own):
        judged.update(snapshot.guid for snapshot in series)
        reasons.update(kept(series, rules, now))
    complete = role.complete if end is End.TARGET else moment
    needed = _needed(member, tag, base, own, complete)
    verdicts = tuple(
        Verdict(snapshot, others.get(snapshot.guid) or needed(snapshot) or reasons.get(snapshot.guid, ""))
        for snapshot in member.snapshots
        if snapshot.guid in judged
    )
    return Expiry(end, member, verdicts)


def _series(member: Member, own: set[str]) -> list[list[Snapshot]]:
    """The snapshots that the rules are about, oldest first: zrep's own are one series, those of others one for each
    pattern that asks for them."""
    found = [[snapshot for snapshot in member.snapshots if snapshot.guid in own]]
    # What is called as zrep's are may be those of another tag, or its own where it has marked none.
    others = [s for s in member.snapshots if s.guid not in own and not is_of_a_tag(s.name)]
    for pattern in member.role.foreign:
        found.append([snapshot for snapshot in others if names_like(pattern).fullmatch(snapshot.name)])
        others = [snapshot for snapshot in others if snapshot not in found[-1]]
    return found


def _needed(member: Member, tag: str, base: Snapshot | None, own: set[str], moment: str) -> Callable[[Snapshot], str]:
    """What tells why a snapshot has to stay whatever the rules say, "" where it has not."""
    role = member.role
    # A master may be told that space wins. What is on a replica alone is nobody's to let go of.
    drops = bool(role.master) and role.drop_unsent
    ours = [snapshot for snapshot in member.snapshots if snapshot.guid in own]
    complete = newest_upto(tag, ours, moment)

    def reason(snapshot: Snapshot) -> str:
        if base is None:
            return "nothing is known to be on both sides"
        if snapshot.guid == base.guid:
            return "the base"
        if snapshot.holds:
            return f"held by {', '.join(sorted(snapshot.holds))}"
        if snapshot.clones:
            return f"the origin of {', '.join(snapshot.clones)}"
        if snapshot.createtxg > base.createtxg and not drops:
            return "newer than the base: not known to be on the other side"
        return "of the newest complete set" if snapshot == complete else ""

    return reason


def _without_hold(member: Member, tag: str, base: Snapshot) -> Member:
    """A dataset of which nothing before the base is held under a tag any more."""
    own = member.by_guid(base.guid)
    if own is None:
        return member
    held = member.held(tag)
    snapshots = tuple(
        replace(s, holds=s.holds - {tag}) if s in held and s.createtxg < own.createtxg else s for s in member.snapshots
    )
    return replace(member, snapshots=snapshots)
