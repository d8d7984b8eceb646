"""init --adopt: a replica that another program has made is gone on with, without sending it again."""

from __future__ import annotations

from msgspec.structs import replace

from zrep.core.pair import Lane
from zrep.core.plan_data import plan_converge
from zrep.core.plan_init import is_announced, plan_announce, plan_link, plan_take_up
from zrep.core.quantities import size
from zrep.core.tags import replica_under
from zrep.ops.init_check import Ground, Way, refuse_written
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import Session
from zrep.ops.read import observe
from zrep.ops.tags import other_roles


def adopt(session: Session, way: Way, ground: Ground) -> Outcome:
    """Link the two halves at their base. What was written to the target between the check and its readonly is looked
    for once more; then this can be run again, or ended by clear."""
    request, executor, base, target = way.request, way.executor, ground.base, ground.target
    assert base is not None
    assert target is not None
    left = size(ground.source.written_since(base))
    both = f"of #{base.name} the other side has the snapshot" if base.bookmark else f"both sides have @{base.name}"
    session.say(f"{request.name}: {both}; {left} were written since, and only these are sent")
    if not is_announced(ground.source):
        executor.do(plan_announce(session.tag, ground.source.name, ground.role))
    executor.do_all(plan_take_up(session.tag, ground.source, target, base))
    now = observe(way.target, session.tag, [target.name], sync_txg=True)[target.name]
    if not session.options.dry_run:
        refuse_written(way, now, base)
    linked(session, way, ground)
    return Outcome(
        request.name,
        message=f"adopted at {'#' if base.bookmark else '@'}{base.name}, {way.where}; next, from cron: zrep sync all",
    )


def linked(session: Session, way: Way, ground: Ground) -> None:
    """Make the two halves a pair, and hold and mark its base."""
    ground = refreshed(session, way, ground)
    others = other_roles(way.source, session.tag, ground.source.name)
    way.executor.do_all(plan_link(session.tag, ground.source, ground.role, ground.places, others))
    ground = refreshed(session, way, ground)
    assert ground.target is not None
    lane = Lane(session.tag, ground.source, ground.target, upstream=replica_under(others))
    way.executor.do_all(plan_converge(lane, session.now))


def refreshed(session: Session, way: Way, ground: Ground) -> Ground:
    """The same as both sides are now."""
    name, target_name = way.request.filesystem, way.request.target
    source = observe(way.source, session.tag, [name])[name]
    target = observe(way.target, session.tag, [target_name]).get(target_name)
    return replace(ground, source=source, target=target, parents=())
