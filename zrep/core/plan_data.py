"""Planning: what is there → the steps to the next safe state. Nothing here acts.

A crashed run is repaired by planning again from what is there, so every plan is safe to stop after any step; the
order of steps is chosen for that and the reason stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from shlex import quote

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.age import last_of
from zrep.core.dataset import Member, Snapshot, TokenContents
from zrep.core.diagnosis_data import diagnose_data
from zrep.core.errors import FailedError
from zrep.core.names import MADE, RELAYED, SENT, bookmark_name, fits, sequence_of
from zrep.core.pair import End, Lane, Pair
from zrep.core.plan_expire import expire_converged
from zrep.core.plan_first_stream import member_stream
from zrep.core.plan_hop import waiting
from zrep.core.plan_keys import key_changed
from zrep.core.plan_record import clear_intent, plan_complete_role
from zrep.core.role import LEGACY, named, role_values
from zrep.core.steps import (
    CARRY_PROPERTIES,
    Bookmark,
    DestroyBookmark,
    DestroySnapshots,
    DiscardPartial,
    Hold,
    Release,
    RenameSnapshot,
    Rollback,
    SendStream,
    SetProperties,
    Step,
    made,
)
from zrep.core.tree import newest_upto

# Whoever is root on the replica may hold every snapshot there.
_MOST_PASSED_ON = 32


class Advance(Struct, frozen=True):
    """What a sync has to move: nothing, a new snapshot, or one that an earlier run left unsent.

    base: the newest common snapshot, None where the target has still to be received for the first time; pending: the
    unsent snapshot to send (None: take a new one if written); written: bytes since the newest of those; foreign:
    snapshots of the target that the source has not, and that zrep did not make.
    """

    base: Snapshot | None
    pending: Snapshot | None
    written: int
    foreign: tuple[str, ...] = ()

    @property
    def idle(self) -> bool:
        return self.pending is None and self.written == 0


def plan_advance(lane: Lane, here: End = End.SOURCE) -> Advance:
    """Work out what sync has to do for one lane of a linked pair. RefusedError when there is no base, or when the
    replica was changed. here: the end at which a person reads of that."""
    source, target = lane.source, lane.target
    if source.arriving:
        which, host = ("it", "") if here is End.SOURCE else (source.name, f"on {target.role.peer_host}: ")
        raise FailedError(
            f"{which} is still being received itself: no snapshot can be made of it",
            filesystem=lane.at(here).name,
            advice=f"let that end; or leave it out, {host}zrep changeconfig --exclude {quote(source.name)}",
        )
    trouble = diagnose_data(lane.tag, lane.at(here), lane.at(here.other))
    if trouble is not None:
        raise trouble.error(lane.at(here).name)
    base = lane.base
    if base is None:
        return Advance(None, lane.pending, max(1, source.number("referenced")))
    pending = lane.pending
    since = pending or base
    sent = {snapshot.guid for snapshot in (*source.snapshots, *lane.ours(End.TARGET))}
    sent.add(base.guid)
    foreign = tuple(snapshot.name for snapshot in target.snapshots if snapshot.guid not in sent)
    # Where only a bookmark is left of the base, something is sent even if nothing was written: the next one is held.
    written = source.written_since(since) or int((base.bookmark and pending is None) or waiting(lane, since))
    if source.role.within and sequence_of(lane.tag, since.name) is None:
        # It began with somebody's snapshot, of which clones are: of no moment of the tree's.
        written = max(1, written)
    if key_changed(source, target):
        written = max(1, written)
    return Advance(base, pending, 0 if lane.upstream else written, foreign)


def plan_stream(
    lane: Lane,
    base: Snapshot | None,
    snapshot: Snapshot,
    token: TokenContents,
    own: Iterable[str] = (),
    *,
    between: bool = False,
) -> tuple[Step, ...]:
    """Send a snapshot on top of base, or in full, resuming a broken receive when the target's token is exactly that
    stream.

    token: what the target's token stands for, as the source reads it. A token that stands for anything else can never
    complete, so it is discarded. own: of a new member of a tree, the names of the properties that it has itself.
    between: with all snapshots between the two.
    """
    steps: list[Step] = []
    source, resume = lane.source.name, lane.target.token
    start = base.guid if base else lane.origin.guid if lane.origin else ""
    if resume and not token.goes_on(lane.source, start, snapshot.guid):
        steps.append(DiscardPartial(End.TARGET, lane.target.name))
        resume = ""
    if base is None:
        return (*steps, member_stream(lane, snapshot, resume, own))
    steps.append(
        SendStream(
            End.SOURCE,
            snapshot=f"{source}@{snapshot.name}",
            target=lane.target.name,
            base=f"{source}{'#' if base.bookmark else '@'}{base.name}",
            token=resume,
            options=stream_options(lane.source),
            outfilter=lane.source.role.outfilter,
            infilter=lane.source.role.infilter,
            compress=lane.source.role.compress,
            bwlimit=lane.source.role.bwlimit,
            between=between and not resume,
        )
    )
    return tuple(steps)


class RollBack(Struct, frozen=True):
    """What takes a replica that was changed by hand back to the base. lost: bytes written to it since; own: zrep's own
    snapshots that go with them, by name; foreign: those of others that stand in the way; steps: what to do without
    them."""

    base: Snapshot
    lost: int
    own: tuple[str, ...]
    foreign: tuple[str, ...]
    steps: tuple[Step, ...]


def plan_roll_back(lane: Lane) -> RollBack | None:
    """Drop what was written to the target since the base; None when nothing was. The promotion snapshot of a takeover
    -L that was cut is zrep's own."""
    target, base = lane.target, _base_there(lane)
    lost = target.written_since(base) if base else 0
    if base is None or not lost:
        return None
    known = {snapshot.guid for snapshot in lane.source.snapshots}
    start = _unwritten_up_to(target, base)
    later = target.after(start)
    own = [s for s in later if s in lane.ours(End.TARGET) and s.guid not in known and s.holds <= {lane.tag}]
    steps = back_to(End.TARGET, lane.tag, target, start, own)
    foreign = tuple(snapshot.name for snapshot in later if snapshot not in own)
    return RollBack(base, lost, tuple(snapshot.name for snapshot in own), foreign, steps)


def back_to(end: End, tag: str, member: Member, snapshot: Snapshot, later: Sequence[Snapshot]) -> tuple[Step, ...]:
    """Roll a dataset back to a snapshot, after zrep's own later ones are let go of and gone, and bookmarks of such."""
    marks = [x for x in member.kept_bookmarks(tag) if x.createtxg > snapshot.createtxg]
    gone = (DestroyBookmark(end, f"{member.name}#{mark.name}") for mark in marks)
    return (*_without(end, tag, member, later), *gone, Rollback(end, f"{member.name}@{snapshot.name}"))


def _without(end: End, tag: str, member: Member, snapshots: Sequence[Snapshot]) -> tuple[Step, ...]:
    """Let go of snapshots of zrep's own, and destroy them."""
    held = tuple(f"{member.name}@{each.name}" for each in snapshots if tag in each.holds)
    names = tuple(each.name for each in snapshots)
    return (
        *((Release(end, tag, held),) if held else ()),
        *((DestroySnapshots(end, member.name, names),) if names else ()),
    )


def plan_left_over(lane: Lane) -> tuple[Step, ...]:
    """Take from a replica what a role change that was cut has left of the master that it was (Member.left_over): no raw
    stream is received on top of it."""
    base = _base_there(lane)
    left = lane.target.left_over(lane.tag, base) if base else ()
    return _without(End.TARGET, lane.tag, lane.target, left)


def _base_there(lane: Lane) -> Snapshot | None:
    """The base, as the target knows it."""
    base = lane.base
    return lane.target.by_guid(base.guid) if base else None


def _unwritten_up_to(replica: Member, base: Snapshot) -> Snapshot:
    """The newest snapshot of a replica that is still what the base is: somebody's snapshots of it need not go."""
    last = base
    for snapshot in replica.after(base):
        if snapshot.written:
            break
        last = snapshot
    return last


def plan_another_name(lane: Lane, pending: Snapshot) -> tuple[Step, ...]:
    """A snapshot still to be sent whose name another one has on the replica gets the next number: two sides that each
    went on alone number alike."""
    namesake = lane.target.by_name(pending.name)
    if namesake is None or namesake.guid == pending.guid or lane.upstream or pending not in lane.ours(End.SOURCE):
        return ()
    return (RenameSnapshot(End.SOURCE, f"{lane.source.name}@{pending.name}", lane.next_snapshot),)


def stream_options(member: Member) -> tuple[str, ...]:
    """The flags of an increment: those settled at init but for the ones that carry properties. A pair of the
    shell zrep has none recorded: it sent without any, an encrypted filesystem raw."""
    # Properties travel with the first full stream only. The first property-carrying receive into a dataset that was
    # never received with properties drops every local property it has, -x or not (seen on OpenZFS 2.3.2): an old
    # master that becomes the replica would lose its role, its readonly and its quota.
    if member.role.flags is None:
        return ("-w",) if member.sent_raw else ()
    return tuple(flag for flag in member.role.flags.split() if flag not in CARRY_PROPERTIES)


def plan_converge(lane: Lane, now: int, *, expire: bool = True) -> tuple[Step, ...]:
    """After a stream, or with nothing to send: hold exactly the base on both sides, mark it sent, expire.

    The new base is held on both sides before the old one is let go of, at the target first: at every
    moment one common snapshot is held on both. Marked sent only now that it is known to be on both.
    """
    source, target = lane.source, lane.target
    base = lane.base
    if base is None or base.bookmark:
        return ()
    at_target = target.by_guid(base.guid)
    assert at_target is not None
    own, received = f"{source.name}@{base.name}", f"{target.name}@{at_target.name}"
    steps: list[Step] = []
    if lane.tag not in base.holds:
        steps.append(Hold(End.SOURCE, lane.tag, (own,)))
    if lane.tag not in at_target.holds:
        steps.append(Hold(End.TARGET, lane.tag, (received,)))
    steps += _marks(lane, base, at_target, now)
    if target.may_be_written:
        # Somebody, or a forced takeover that was cut, left it writable: a replica is read-only until promoted.
        steps.append(SetProperties(End.TARGET, (target.name,), (("readonly", "on"),)))
    steps += plan_release(lane, End.TARGET)
    steps += plan_release(lane, End.SOURCE)
    steps += plan_left_over(lane)
    steps += plan_bookmarks(lane, base)
    if expire:
        # What is let go of above is held no more by then.
        steps += (step for each in expire_converged(lane, now) for step in each.steps())
    # A cancel mark has done its work once both locks are held by a new run: no late request is left alive.
    if target.role.intent and target.role.intent.completed:
        steps += plan_complete_role(End.TARGET, target, lane.tag)
        steps.append(clear_intent(End.TARGET, target.name, lane.tag))
    return tuple(steps)


def _marks(lane: Lane, base: Snapshot, at_target: Snapshot, now: int) -> Iterator[Step]:
    """Mark what is on both sides as sent; and the base that a relay has passed on (at_target: as it is there) as such:
    by its name it would be nobody's, and stay for ever."""
    sent, relayed = ((f"{lane.tag}:{SENT}", str(now)),), ((f"{lane.tag}:{MADE}", RELAYED),)
    passed_on = lane.upstream and not at_target.relayed and sequence_of(lane.tag, base.name) is None
    received = f"{lane.target.name}@{at_target.name}"
    there, here = _unmarked(lane, End.TARGET, now), _unmarked(lane, End.SOURCE, now)
    if passed_on and there == (received,):
        # Both marks in one transaction group, so that a relay costs no more of them than a push.
        yield SetProperties(End.TARGET, there, sent + relayed)
    else:
        if there:
            yield SetProperties(End.TARGET, there, sent)
        if passed_on:
            yield SetProperties(End.TARGET, (received,), relayed)
    if here:
        yield SetProperties(End.SOURCE, here, sent)


def plan_bookmarks(lane: Lane, base: Snapshot) -> tuple[Step, ...]:
    """A bookmark of the base at the source: should a tool destroy the snapshot there, hold or no hold, an increment can
    begin at it all the same. Those of earlier bases go, and those that a target has from when it was the source; not
    those of what the target holds for others: what has that from it can follow the source once the target is lost."""
    source, name = lane.source, bookmark_name(lane.tag, base.name)
    full = f"{source.name}#{name}"
    own = source.kept_bookmarks(lane.tag)
    passed_on = {snapshot.guid for snapshot in lane.target.snapshots if snapshot.holds - {lane.tag}} - {base.guid}
    of_base = [mark for mark in own if mark.guid == base.guid]
    kept = [*[mark for mark in own if mark.guid in passed_on][-_MOST_PASSED_ON:], *of_base]
    new = not of_base and fits(full) and all(mark.name != name for mark in source.bookmarks)
    steps: list[Step] = [Bookmark(End.SOURCE, f"{source.name}@{base.name}", full)] if new else []
    for end in End:
        for mark in lane.at(end).kept_bookmarks(lane.tag):
            if mark not in kept:
                steps.append(DestroyBookmark(end, f"{lane.at(end).name}#{mark.name}"))
    return tuple(steps)


def _unmarked(lane: Lane, end: End, now: int) -> tuple[str, ...]:
    """The snapshots at one end, in full, that are to be marked as sent: the base, but for one that only looks as if it
    were zrep's own, or where its mark is of a clock that was ahead; and those of zrep's on both ends that have no mark
    at this one, because a run was cut."""
    base, own, member = lane.base, {snapshot.guid for snapshot in lane.ours(end)}, lane.at(end)
    common = {snapshot.guid for snapshot in lane.at(end.other).snapshots} & own
    bases = {base.guid} if base and (base.guid in own or sequence_of(lane.tag, base.name) is None) else set()
    return tuple(
        f"{member.name}@{snapshot.name}"
        for snapshot in member.snapshots
        if (snapshot.sent is None and (snapshot.guid in bases or (snapshot.guid in common and not snapshot.made)))
        or (snapshot.sent is not None and snapshot.guid in bases and last_of([snapshot.sent], now) is None)
    )


def merged(plans: Iterable[Sequence[Step]]) -> tuple[Step, ...]:
    """What plan_converge plans for several filesystems between the same pools, what is alike in one step: it waits for
    one transaction group, not for one each."""
    alike: dict[object, list[Step]] = {}
    for step in chain.from_iterable(plans):
        alike.setdefault(_kind(step), []).append(step)
    return tuple(_one(steps) for steps in alike.values())


def _kind(step: Step) -> object:
    """Steps of one kind may be one step: those that do the same to snapshots. Any other is a kind of its own."""
    match step:
        case Hold(tag=what) | Release(tag=what):
            return type(step), step.end, what
        case SetProperties(targets=targets, properties=marks) if all("@" in target for target in targets):
            return type(step), step.end, marks
    return step


def _one(steps: Sequence[Step]) -> Step:
    match steps[0]:
        case Hold() | Release() as first:
            held = (step.snapshots for step in steps if isinstance(step, Hold | Release))
            return replace(first, snapshots=tuple(chain.from_iterable(held)))
        case SetProperties() as first:
            marked = (step.targets for step in steps if isinstance(step, SetProperties))
            return replace(first, targets=tuple(chain.from_iterable(marked)))
        case other:
            return other


def stages(steps: Sequence[Step]) -> tuple[tuple[tuple[Step, ...], ...], ...]:
    """What plan_converge plans, as stages one after the other, each of parts that may be done at the same time: they
    wait for the same transaction group.

    What holds the new base comes first. Then marks, what is let go of, and what expires do not depend on each other,
    but for snapshots that are both let go of and expired: those go last.
    """
    holds: list[Step] = [step for step in steps if isinstance(step, Hold)]
    releases = [step for step in steps if isinstance(step, Release)]
    released = {(step.end, name) for step in releases for name in step.snapshots}
    marks: dict[End, list[Step]] = {end: [] for end in End}
    kept: dict[tuple[type[Step], End], list[Step]] = {(x, end): [] for x in (Bookmark, DestroyBookmark) for end in End}
    expired: dict[End, list[Step]] = {end: [] for end in End}
    freed: dict[End, list[Step]] = {end: [] for end in End}
    for step in steps:
        if isinstance(step, DestroySnapshots):
            waits = any((step.end, name) in released for name in step.full)
            (freed if waits else expired)[step.end].append(step)
        elif isinstance(step, Bookmark | DestroyBookmark):
            kept[type(step), step.end].append(step)
        elif not isinstance(step, Hold | Release):
            marks[step.end].append(step)
    alone: list[list[Step]] = [[step] for step in releases]
    alike = (kept[kind, end] for kind in (Bookmark, DestroyBookmark) for end in End)
    found = [[holds], [*marks.values(), *alone, *expired.values(), *alike], [*freed.values()]]
    return tuple(parts for stage in found if (parts := tuple(tuple(part) for part in stage if part)))


def plan_release(lane: Lane, end: End) -> list[Release]:
    """Let go, at one end of a lane, of what no stream begins at and no tree goes back to any more."""
    member, base = lane.at(end), lane.base
    own = member.by_guid(base.guid) if base else None
    return release_others(end, [(member, own)], lane.tag, _of_complete_set(lane)) if own else []


def _of_complete_set(lane: Lane) -> str:
    """The guid of what the target of a lane has of the newest complete set of its tree, "" where it is in none. It is
    held on both sides until a later set is complete: should the master be lost before, the tree goes back to it, and
    it is the base then."""
    role = lane.target.role
    in_tree = role.recursive or role.within
    found = newest_upto(lane.tag, lane.ours(End.TARGET), role.complete) if in_tree else None
    return found.guid if found else ""


def release_others(end: End, members: Iterable[tuple[Member, Snapshot]], tag: str, of_set: str = "") -> list[Release]:
    """Let go of what is older than the base of each member; a newer one of ours is a stream that has still to arrive.
    of_set: the guid of one that stays held."""
    old = tuple(
        f"{member.name}@{snapshot.name}"
        for member, base in members
        for snapshot in member.held(tag)
        if snapshot.createtxg < base.createtxg and snapshot.guid != of_set
    )
    return [Release(end, tag, old)] if old else []


def _unknown(lane: Lane, end: End) -> tuple[str, ...]:
    """zrep's own snapshots at one end, in full, that have nothing to show it."""
    return tuple(f"{lane.at(end).name}@{s.name}" for s in lane.ours(end) if not s.own(lane.tag))


def plan_adopt(pair: Pair, generation: str) -> tuple[Step, ...]:
    """Give a pair of the shell zrep its first generation: master first, so that a cut between the two shows as
    Adoptable and never as a role that moved. generation: the new id, or the one the master already has."""
    role = pair.source.role
    gen, epoch = role.gen or generation, role.epoch or 0
    # What it made is known by its sequence only as long as the pair is one of its own.
    steps: list[Step] = [
        SetProperties(end, names, (made(pair.tag),))
        for lane in pair.lanes
        for end in End
        if (names := _unknown(lane, end))
    ]
    for end, tree in ((End.SOURCE, pair.source), (End.TARGET, pair.target)):
        if not tree.role.gen:
            # On the replica the whole role: the shell zrep left it the master's properties, received and not its own.
            own = role_values(role, master=end is End.SOURCE, swap=False, epoch=epoch, gen=gen, parents=(LEGACY,))
            steps.append(SetProperties(end, (tree.name,), named(pair.tag, own)))
    return tuple(steps)
