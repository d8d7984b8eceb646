"""Planning: what is there → the steps to the next safe state. Nothing here acts.

A crashed run is repaired by planning again from what is there, so every plan is safe to stop after any step; the
order of steps is chosen for that and the reason stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from shlex import quote

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.dataset import Member, Snapshot, TokenContents
from zrep.core.errors import RefusedError
from zrep.core.names import sequence_of, snapshot_name
from zrep.core.pair import Pair, Side, newest_common
from zrep.core.plan_record import clear_intent, plan_whole
from zrep.core.quantities import size
from zrep.core.retention import DEFAULT_SAVECOUNT, expirable
from zrep.core.role import LEGACY, named, role_values
from zrep.core.steps import (
    DestroySnapshots,
    DiscardPartial,
    Hold,
    Release,
    RenameSnapshot,
    SendStream,
    SetProperties,
    Step,
)

# Properties travel with the first full stream only. The first property-carrying receive into a dataset that was
# never received with properties drops every local property it has, -x or not (seen on OpenZFS 2.3.2): an old
# master that becomes the replica would lose its role, its readonly and its quota.
_CARRIES_PROPERTIES = frozenset({"-p", "--props"})


class Advance(Struct, frozen=True):
    """What a sync has to move: nothing, a new snapshot, or one that an earlier run left unsent.

    base: the newest common snapshot; pending: the unsent snapshot to send (None: take a new one if written);
    written: bytes since the newest of those; prepare: steps before the stream.
    """

    base: Snapshot
    pending: Snapshot | None
    written: int
    prepare: tuple[Step, ...]
    foreign: tuple[str, ...] = ()

    @property
    def idle(self) -> bool:
        return self.pending is None and self.written == 0


def plan_advance(pair: Pair) -> Advance:
    """What sync has to do for a linked pair. RefusedError when there is no base or the replica was changed."""
    master, replica = pair.master.root, pair.replica.root
    base = newest_common(master, replica)
    if base is None:
        raise RefusedError(
            "the two sides have no common snapshot",
            filesystem=master.name,
            evidence=f"{len(master.snapshots)} snapshots here, {len(replica.snapshots)} there",
            advice=f"zrep clear {quote(master.name)}, then zrep init to a new target",
        )
    refuse_modified(pair, base)
    later = [snapshot for snapshot in master.ours(pair.tag) if snapshot.createtxg > base.createtxg]
    pending = later[-1] if later else None
    since = pending or base
    there = {snapshot.guid for snapshot in master.snapshots}
    unknown = (snapshot.name for snapshot in replica.snapshots if snapshot.guid not in there)
    foreign = tuple(name for name in unknown if sequence_of(pair.tag, name) is None)
    return Advance(base, pending, master.written_since(since), (), foreign)


def refuse_modified(pair: Pair, base: Snapshot) -> None:
    """RefusedError when the replica was written to since the base: its next receive would fail, and what was
    written there is not ours to drop."""
    on_replica = pair.replica.root.by_guid(base.guid)
    written = pair.replica.root.written_since(on_replica) if on_replica else 0
    if written:
        raise changed_by_hand(pair, f"{size(written)} written there since @{base.name}")


def changed_by_hand(pair: Pair, evidence: str) -> RefusedError:
    return RefusedError(
        f"the replica {pair.replica.name} was changed by hand",
        filesystem=pair.master.name,
        evidence=evidence,
        advice=f"to throw that away: zrep sync -f {quote(pair.master.name)}",
    )


def new_snapshot(pair: Pair) -> str:
    """Full name of the next snapshot on the master."""
    return f"{pair.master.name}@{snapshot_name(pair.tag, pair.next_sequence())}"


def plan_stream(pair: Pair, base: Snapshot, target: Snapshot, token: TokenContents, resume: str) -> tuple[Step, ...]:
    """Send target on top of base, resuming a broken receive when its token is exactly that stream.

    token: what the replica's token stands for, as the master reads it; resume: that token, "" for none.
    A token that stands for anything else can never complete, so it is discarded.
    """
    steps: list[Step] = []
    master = pair.master.name
    if resume and not (token.sendable and (token.from_guid, token.to_guid) == (base.guid, target.guid)):
        steps.append(DiscardPartial(Side.REPLICA, pair.replica.name))
        resume = ""
    steps.append(
        SendStream(
            Side.MASTER,
            snapshot=f"{master}@{target.name}",
            target=pair.replica.name,
            base=f"{master}@{base.name}",
            token=resume,
            options=stream_options(pair.master.root),
            outfilter=pair.master.role.outfilter,
            infilter=pair.master.role.infilter,
        )
    )
    return tuple(steps)


def plan_another_name(pair: Pair, pending: Snapshot) -> tuple[Step, ...]:
    """A snapshot still to be sent whose name another one has on the replica gets the next number: two sides that each
    went on alone number alike."""
    namesake = pair.replica.root.by_name(pending.name)
    if namesake is None or namesake.guid == pending.guid:
        return ()
    return (RenameSnapshot(Side.MASTER, f"{pair.master.name}@{pending.name}", new_snapshot(pair)),)


def stream_options(member: Member) -> tuple[str, ...]:
    """The flags of an increment: those settled at init but for the ones that carry properties. A pair of the
    shell zrep has none recorded: it sent without any, an encrypted filesystem raw."""
    if member.role.flags is None:
        return ("-w",) if member.encrypted else ()
    return tuple(flag for flag in member.role.flags.split() if flag not in _CARRIES_PROPERTIES)


def plan_converge(pair: Pair, now: int, *, expire: bool = True) -> tuple[Step, ...]:
    """After a stream, or with nothing to send: hold exactly the base on both sides, mark it sent, expire.

    The new base is held on both sides before the old one is let go of, there first and then here: at every
    moment one common snapshot is held on both. Marked sent only now that it is known to be on both.
    """
    master, replica = pair.master.root, pair.replica.root
    base = newest_common(master, replica)
    if base is None:
        return ()
    on_replica = replica.by_guid(base.guid)
    assert on_replica is not None
    here, there = f"{master.name}@{base.name}", f"{replica.name}@{on_replica.name}"
    steps: list[Step] = []
    if pair.tag not in base.holds:
        steps.append(Hold(Side.MASTER, pair.tag, (here,)))
    if pair.tag not in on_replica.holds:
        steps.append(Hold(Side.REPLICA, pair.tag, (there,)))
    if on_replica.sent is None:
        steps.append(SetProperties(Side.REPLICA, (there,), ((f"{pair.tag}:sent", str(now)),)))
    if base.sent is None:
        steps.append(SetProperties(Side.MASTER, (here,), ((f"{pair.tag}:sent", str(now)),)))
    if not replica.readonly:
        # Somebody, or a forced takeover that was cut, left it writable: a replica is read-only until promoted.
        steps.append(SetProperties(Side.REPLICA, (replica.name,), (("readonly", "on"),)))
    steps += _release_others(Side.REPLICA, replica, pair.tag, on_replica)
    steps += _release_others(Side.MASTER, master, pair.tag, base)
    if expire:
        steps += plan_expire(pair)
    # A cancel mark has done its work once both locks are held by a new run: no late request is left alive.
    if replica.role.intent and replica.role.intent.completed:
        steps += plan_whole(Side.REPLICA, pair.replica, pair.tag)
        steps.append(clear_intent(Side.REPLICA, replica.name, pair.tag))
    return tuple(steps)


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
            return type(step), step.side, what
        case SetProperties(targets=targets, properties=marks) if all("@" in target for target in targets):
            return type(step), step.side, marks
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
    released = {(step.side, name) for step in releases for name in step.snapshots}
    marks: dict[Side, list[Step]] = {side: [] for side in Side}
    expired: list[Step] = []
    freed: list[Step] = []
    for step in steps:
        if isinstance(step, DestroySnapshots):
            waits = any((step.side, name) in released for name in step.full)
            (freed if waits else expired).append(step)
        elif not isinstance(step, Hold | Release):
            marks[step.side].append(step)
    alone: list[list[Step]] = [[step] for step in (*releases, *expired)]
    found = [[holds], [*marks.values(), *alone], [[step] for step in freed]]
    return tuple(parts for stage in found if (parts := tuple(tuple(part) for part in stage if part)))


def _release_others(side: Side, member: Member, tag: str, base: Snapshot) -> list[Step]:
    """Let go of what is older than the base; a newer one of ours is a stream that has still to arrive."""
    old = tuple(
        f"{member.name}@{snapshot.name}"
        for snapshot in member.snapshots
        if tag in snapshot.holds and snapshot.createtxg < base.createtxg
    )
    return [Release(side, tag, old)] if old else []


def plan_expire(pair: Pair) -> tuple[Step, ...]:
    """Each side's own savecount, judged as if the holds on what is older than the base were gone already."""
    master, replica = pair.master.root, pair.replica.root
    base = newest_common(master, replica)
    if base is None:
        return ()
    return (
        *expire_side(Side.MASTER, _without_hold(master, pair.tag, base), pair.tag, base),
        *expire_side(Side.REPLICA, _without_hold(replica, pair.tag, base), pair.tag, replica.by_guid(base.guid)),
    )


def expire_side(side: Side, member: Member, tag: str, base: Snapshot | None) -> tuple[Step, ...]:
    names = tuple(s.name for s in expirable(member, tag, base, member.role.savecount or DEFAULT_SAVECOUNT))
    return (DestroySnapshots(side, member.name, names),) if names else ()


def _without_hold(member: Member, tag: str, base: Snapshot) -> Member:
    own = member.by_guid(base.guid)
    if own is None:
        return member
    snapshots = tuple(
        replace(s, holds=s.holds - {tag}) if tag in s.holds and s.createtxg < own.createtxg else s
        for s in member.snapshots
    )
    return replace(member, snapshots=snapshots)


def plan_adopt(pair: Pair, generation: str) -> tuple[Step, ...]:
    """Give a pair of the shell zrep its first generation: master first, so that a cut between the two shows as
    Adoptable and never as a role that moved. generation: the new id, or the one the master already has."""
    role = pair.master.role
    gen, epoch = role.gen or generation, role.epoch or 0
    steps: list[Step] = []
    for side, unit in ((Side.MASTER, pair.master), (Side.REPLICA, pair.replica)):
        if not unit.role.gen:
            # On the replica the whole role: the shell zrep left it the master's properties, received and not its own.
            own = role_values(role, master=side is Side.MASTER, swap=False, epoch=epoch, gen=gen, parents=(LEGACY,))
            steps.append(SetProperties(side, (unit.name,), named(pair.tag, own)))
    return tuple(steps)
