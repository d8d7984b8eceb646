"""The sync of a tree: its shape, one moment, its lanes side by side, and that the set is complete."""

from __future__ import annotations

import os
import threading

from zrep.core.errors import FailedError, ZrepError
from zrep.core.tree import next_wave
from zrep.ops.advance_all import Limits, advance_all, each_failed, rounds, share
from zrep.ops.locking import unlock_tree
from zrep.ops.memory import remember_synced
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import read_again
from zrep.ops.session import Session
from zrep.ops.tree import announce_set, folded, place_keys, read_moved, record_set, shaped
from zrep.ops.view import View


def _alone(session: Session) -> Limits:
    """The limits of a run over one tree."""
    jobs = session.options.jobs or share(len(os.sched_getaffinity(0)), 1)
    return Limits(jobs, threading.Semaphore(jobs), {})


def sync_tree(session: Session, view: View) -> list[Outcome]:
    """A tree alone, under locks that it gives back."""
    return sync_within(session, view, _alone(session))


def advance_tree(session: Session, view: View) -> View:
    """The same under locks that are kept, as both sides are then; the error of the first member that has one."""
    view, outcomes = _advance_tree(session, view, _alone(session))
    for outcome in outcomes:
        if outcome.error:
            raise outcome.error
    return read_again(session, view, sync_txg=True)


def sync_within(session: Session, view: View, limits: Limits) -> list[Outcome]:
    """One tree, and its locks given back."""
    try:
        view, outcomes = _advance_tree(session, view, limits)
        if not any(outcome.error for outcome in outcomes):
            remember_synced(session, [view])
        return folded(view, outcomes)
    except ZrepError as error:
        return each_failed([view.link], error)
    finally:
        unlock_tree(session, view)


def _not_there(lane: View) -> Outcome:
    """A clone whose origin is still to come, or that was promoted over its tree's root: sent in full it would be a copy
    for ever."""
    origin = lane.lane.source.get("origin")
    if origin == "-":
        what, evidence = "it was promoted over the root of its tree, whose base it has now", "the replica has that once"
        return Outcome(lane.name, error=FailedError(what, filesystem=lane.name, evidence=evidence))
    error = FailedError("what it is a clone of has not arrived", filesystem=lane.name, evidence=origin)
    return Outcome(lane.name, error=error)


def _advance_tree(session: Session, view: View, limits: Limits) -> tuple[View, list[Outcome]]:
    """A tree brought into shape, one moment, its lanes side by side, before it what an earlier run had left of one.
    When every lane has arrived, that is recorded on the replica: the set is complete. The pair as it is then, and what
    became of each lane."""
    if view.pair.source.role.bwlimit:  # the rate is that of the pair
        limits = Limits(1, threading.Semaphore(1), limits.pool_space)
    failed: dict[str, Outcome] = {}
    done: dict[str, Outcome] = {}
    for _ in range(rounds(view) + len(view.pair.source.members)):
        view = shaped(session, view)
        wave = next_wave(view.pair, {lane.lane.source.name for lane in view.lanes if lane.name in failed})
        waiting = [lane for lane in view.lanes if lane.lane.source.name in wave.waiting]
        lanes = [lane for lane in view.lanes if not (lane.name in failed or lane.lane.source.name in wave.waiting)]
        # Clones go first, then what an earlier moment has left, and alone: the next moment is one for all.
        left = [lane for lane in lanes if lane.lane.source.name in wave.members]
        left = left or [lane for lane in lanes if lane.lane.pending]
        announce_set(view, left or lanes)
        outcomes = advance_all(session, left or lanes, limits)
        failed |= {outcome.filesystem: outcome for outcome in outcomes if outcome.error}
        # What a round has brought stays said when the next one finds nothing more to send.
        done |= {each.filesystem: each for each in outcomes if each.moved or each.filesystem not in done}
        if any(outcome.error for outcome in outcomes):
            view = read_again(session, view, sync_txg=bool(left))
        elif moved := {outcome.filesystem for outcome in outcomes if outcome.moved}:
            view = read_moved(session, view, moved, sync_txg=bool(left))
        # Where all snapshots travel, what was sent may have been one on the way.
        stay = {*failed, *(lane.name for lane in waiting)}
        if not left and not any(lane.lane.pending for lane in view.lanes if lane.name not in stay):
            failed |= {lane.name: _not_there(lane) for lane in waiting}
            break
    # What waited beside its place for what it lies below goes back into that.
    view = place_keys(session, shaped(session, view))
    if not failed:
        record_set(session, view)
    return view, [*failed.values(), *(outcome for outcome in done.values() if outcome.filesystem not in failed)]
