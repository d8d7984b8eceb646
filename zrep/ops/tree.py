"""A tree in a run: brought into shape, its lanes locked, told of as one."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence

from zrep.core.errors import FailedError, ZrepError
from zrep.core.mounts import within
from zrep.core.names import ancestors, sequence_of
from zrep.core.pair import End
from zrep.core.plan_data import plan_advance, release_others
from zrep.core.plan_keys import plan_kept_keys, plan_keys
from zrep.core.steps import Rename, SetProperties, Step, Unmount
from zrep.core.tree import next_change
from zrep.ops.locking import lock
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import read_again, read_members
from zrep.ops.read import read_below
from zrep.ops.session import Session
from zrep.ops.view import View
from zrep.zfs.errors import AbsentError


class Arrival:
    """The first stream of a new member: over when it has ended, arrived if it went well."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.arrived = False


def wait_for_parent(view: View, coming: Mapping[str, Arrival]) -> None:
    """Wait until what a new member lies below is there. FailedError when it has not arrived."""
    for parent in reversed(ancestors(view.pair.target.name)):
        if parent in coming:
            coming[parent].over.wait()
            if not coming[parent].arrived:
                raise FailedError(
                    "what it lies below has not arrived", evidence=f"{parent} on {view.executor.target.name}"
                )
            return


def shaped(session: Session, view: View) -> View:
    """Bring the replica's tree into the shape of the master's: renamed with it, and what lost its source set aside.
    Each step is planned over what is there after the one before."""
    for _ in range(3 * len(view.pair.target.members) + 3):
        change = next_change(view.pair, session.now)
        if change is None:
            return _with_kept_keys(session, view)
        _unmount_moved(view, change.step)
        view.do([change.step])
        session.say(f"{view.name}: on {view.executor.target.name}: {change.text}")
        view = read_again(session, view)
    raise FailedError("the replica's tree does not come into the shape of the master's", filesystem=view.name)


def _with_kept_keys(session: Session, view: View) -> View:
    """What was set aside keeps the key that it has, before a stream brings another one to what it has that from. Where
    that cannot be done, the next run tries again."""
    steps = plan_kept_keys(End.TARGET, view.pair.target.aside)
    placed = [step.dataset for step in steps if view.executor.try_do(step) is None]
    for name in placed:
        session.say(f"{view.name}: on {view.executor.target.name}: {name} was set aside, and keeps the key that it has")
    return read_again(session, view) if placed else view


def _unmount_moved(view: View, step: Step) -> None:
    """What is about to be set aside, or to get another name, may be mounted since it was the master's. Its place is
    gone, or is another one, and a mount that stays where it was would keep the role from coming back. Unmounted before,
    so that a run that was cut does it again. What is in use stays mounted, as does what something else is mounted
    below: zfs would take that along."""
    members = view.pair.target.members
    match step:
        case SetProperties():
            moved = [m for m in members if m.name in step.targets and m.mounted]
        case Rename(dataset=name):
            moved = [m for m in members if within(m.name, name) and m.mounted]
        case _:
            return
    host = view.executor.target
    mounted = (
        {child.name for child in read_below(host, view.tag, [view.pair.target.name]) if child.mounted}
        if moved
        else set()
    )
    for member in reversed(moved):
        if not any(name.startswith(f"{member.name}/") for name in mounted):
            point = member.get("mountpoint") if member.placed else None
            if view.executor.try_do(Unmount(End.TARGET, member.name, mountpoint=point)) is None:
                mounted.discard(member.name)


def lock_lanes(session: Session, views: Sequence[View]) -> list[str]:
    """Lock lanes of trees about to move, on both sides; a stream that a killed run left may still have one. The names
    here of those that are busy. Pairs are locked already."""
    lanes = [view.link for view in views if view.link.borrowed]
    return lock(session, lanes, 2.0) if lanes else []


def announce_set(view: View, lanes: Sequence[View]) -> None:
    """Record on the replica which snapshots are about to come, before the first of them does: should the master be lost
    on the way, they are known for zrep's own there, and what has none of them for what it is."""
    names = sorted({name for lane in lanes if (name := _next(lane))})
    if names and tuple(names) != view.pair.target.role.coming:
        mark = (f"{view.tag}:coming", ",".join(names))
        view.do([SetProperties(End.TARGET, (view.pair.target.name,), (mark,))])


def _next(view: View) -> str:
    """The snapshot that this run is to send in a lane; "" for none, as where it cannot be sent."""
    try:
        advance = plan_advance(view.lane)
    except ZrepError:
        return ""
    if advance.pending is not None:
        return advance.pending.name
    return "" if advance.idle else view.lane.next_snapshot.partition("@")[2]


def read_moved(session: Session, view: View, moved: Collection[str], *, sync_txg: bool = False) -> View:
    """A tree after streams of some of its lanes, which are named as they are here: only these are read again, unless
    one has arrived for the first time."""
    lanes = [lane for lane in view.lanes if lane.name in moved]
    if len(lanes) < len(moved) or any(lane.lane.target.arriving for lane in lanes):
        return read_again(session, view, sync_txg=sync_txg)
    # The root has the role by which what only looks written to is known.
    names = {
        end: list(dict.fromkeys([view.pair.at(end).name, *(lane.pair.at(end).name for lane in lanes)])) for end in End
    }
    for end, found in read_members(view, names, sync_txg=sync_txg).items():
        if len(found) < len(names[end]):
            return read_again(session, view, sync_txg=sync_txg)
        for member in found.values():
            view = view.with_tree(end, view.pair.at(end).with_member(member))
    return view


def place_keys(session: Session, view: View) -> View:
    """Let members of the replica inherit the keys that they inherit on the master. What cannot be is told by status,
    and each key loaded by itself does as well."""
    for step in plan_keys(view.pair):
        if view.executor.try_do(step) is None:
            where = "a key of its own" if step.own else "the key of what it lies below"
            session.say(f"{view.name}: on {view.executor.target.name}: {step.dataset} has {where}")
            view = view.after(step)
    return view


def record_set(session: Session, view: View) -> None:
    """Record on the replica of which moment it has every member: that of the newest snapshot that any has. What was
    held of the set before is let go of then; should that not come about, the next run does: as of a member that was
    renamed or destroyed since it was read, with which nothing else is wrong."""
    bases = [(lane, base) for lane in view.pair.lanes if (base := lane.base) is not None]
    numbered = [(sequence_of(view.tag, base.name) or 0, base.name) for _, base in bases]
    newest = max(numbered, default=(0, ""))[1]
    if not newest or newest == view.pair.target.role.complete:
        return
    view.do([SetProperties(End.TARGET, (view.pair.target.name,), ((f"{view.tag}:set", newest),))])
    for end in End:
        known = [(lane.at(end), lane.at(end).by_guid(base.guid)) for lane, base in bases]
        for step in release_others(end, [(member, base) for member, base in known if base], view.tag):
            error = view.executor.try_do(step)
            if error is not None and not isinstance(error, AbsentError):
                raise error


def folded(view: View, outcomes: Iterable[Outcome]) -> list[Outcome]:
    """What became of a tree: everything that went wrong, each about its member; one line where nothing did."""
    outcomes = list(outcomes)
    wrong = [outcome for outcome in outcomes if outcome.error]
    notes = tuple(dict.fromkeys(note for outcome in outcomes for note in outcome.notes))
    if wrong:
        return wrong
    moved = [outcome for outcome in outcomes if outcome.moved]
    whole = f"{len(view.pair.source.members)} members"
    if not moved:
        message = f"nothing written to its {whole} since the last sync {view.way}"
    else:
        message = f"{'sent' if view.sending else 'received'} {len(moved)} of its {whole} {view.way}"
    return [Outcome(view.name, message=message, notes=notes)]
