"""init --adopt: a replica that another program has made is gone on with, without sending it again."""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote

from msgspec.structs import replace

from zrep.core.advice import aside, rolling_back
from zrep.core.dataset import Member, Snapshot
from zrep.core.errors import RefusedError
from zrep.core.names import ancestors
from zrep.core.neighbours import some_names
from zrep.core.pair import Lane, Pair, Tree
from zrep.core.plan_data import plan_converge
from zrep.core.plan_init import is_announced, plan_announce, plan_link, plan_take_up
from zrep.core.quantities import size
from zrep.core.requests import IsUnmodified, ReadUsers
from zrep.core.tags import replica_under
from zrep.core.tree import matching
from zrep.ops.children import refused_change
from zrep.ops.init_check import Ground, adopting, check, nothing_in_common, refuse_half
from zrep.ops.init_way import Way
from zrep.ops.outcome import Outcome
from zrep.ops.read import observe, observe_children, observe_tree
from zrep.ops.session import Session
from zrep.ops.tags import check_all_below, forget_received, other_roles

# A dataset that is taken up, and the snapshot that it goes on from, as its source knows it.
_Taken = tuple[Member, Snapshot]


def check_adopted(session: Session, way: Way) -> Ground:
    """As check() has it, with what is there already of a tree; RefusedError, with what was found, for what was written
    to, is in use, or would become read-only and is not to."""
    ground = check(session, way)
    assert ground.target is not None
    if way.request.recursive:
        check_all_below(way.target, session.tag, way.request.target)
        ground = replace(ground, lanes=_below(session, way, ground))
    for lane in ground.lanes:
        refuse_half(way, lane.target)
        if lane.base is None:
            below = quote(lane.source.name.removeprefix(f"{ground.source.name}/"))
            renamed = aside(lane.target.name)
            advice = f"to send it whole, on {way.there}: {renamed}; to leave it out: --exclude {below}"
            raise nothing_in_common(way, lane.source, lane.target, advice)
    taken = _taken(ground)
    _refuse_written(way, taken)
    for target, _ in taken:
        users = way.target.ask(ReadUsers(target.name)) if target.mounted else None
        if users and users.writing:
            raise RefusedError(
                f"{target.name} on {way.there} is being written, and would become read-only",
                filesystem=way.request.filesystem,
                evidence=", ".join(users.writing),
                advice="stop that and run this again",
            )
    for refusal in refused_change(way.target, session.tag, Tree(tuple(target for target, _ in taken)), "on"):
        refusal.advice = f"{_with_all_below(way)}{refusal.advice}"
        raise refusal.about(way.request.filesystem)
    return ground


def _with_all_below(way: Way) -> str:
    """The command that takes up what is below both as well, where nobody has asked for that, as words before another
    one."""
    request = way.request
    if request.recursive or request.instead or not observe_children(way.source, request.filesystem):
        return ""
    return f"with all that is below it: {adopting(request, recursive=True)}; or "


def _below(session: Session, way: Way, ground: Ground) -> tuple[Lane, ...]:
    """The members of both trees below their roots that belong together, as a sync finds them; what the target lacks is
    sent by that."""
    request, tag = way.request, session.tag
    source = observe_tree(way.source, tag, request.filesystem, recursive=True)
    target = observe_tree(way.target, tag, request.target, recursive=True)
    names = [member.name for member in source.members[1:]]
    out = {name for pattern in request.exclude for name in matching(source.name, names, pattern)}
    kept = tuple(x for x in source.members[1:] if not out & {x.name, *ancestors(x.name)})
    root = replace(ground.source, role=replace(ground.role, master=True))
    pair = Pair(tag, Tree((root, *kept)), target)
    return tuple(lane for lane in pair.lanes[1:] if lane.target.properties)


def _taken(ground: Ground) -> list[_Taken]:
    """What becomes the replica, the root first."""
    assert ground.target is not None
    assert ground.base is not None
    return [(ground.target, ground.base), *((lane.target, lane.base) for lane in ground.lanes if lane.base)]


def _refuse_written(way: Way, taken: Iterable[_Taken]) -> None:
    """RefusedError where targets were written to after their bases, with the commands that drop that. What only the
    header of an intent log makes look so is nothing."""
    found: dict[str, tuple[str, str]] = {}
    for target, base in taken:
        own = target.by_guid(base.guid)
        assert own is not None
        name, written, later = f"{target.name}@{own.name}", target.written_since(own), target.after(own)
        if not written or (not later and way.target.ask(IsUnmodified(name, target.name))):
            continue
        newer = f", with {', '.join(f'@{snapshot.name}' for snapshot in later)}" if later else ""
        found[target.name] = f"{size(written)} since @{own.name}{newer}", rolling_back(target, own)
    if not found:
        return
    evidence = [text if len(found) == 1 else f"{name}: {text}" for name, (text, _) in found.items()]
    raise RefusedError(
        f"{some_names(list(found))} on {way.there} {'was' if len(found) == 1 else 'were'} written to after the newest "
        "snapshot that both have",
        filesystem=way.request.filesystem,
        evidence="; ".join(evidence),
        advice=f"if nobody needs that, on {way.there}: {'; '.join(line for _, line in found.values())}; then "
        "this again",
    )


def adopt(session: Session, way: Way, ground: Ground) -> Outcome:
    """Link the two halves at their base, of a tree with the members that are there. What was written to a target
    between the check and its readonly is looked for once more; then this can be run again, or ended by clear."""
    request, executor, base, target = way.request, way.executor, ground.base, ground.target
    assert base is not None
    assert target is not None
    forget_received(executor, session.tag, target.name)
    left = size(ground.source.written_since(base))
    both = f"of #{base.name} the other side has the snapshot" if base.bookmark else f"both sides have @{base.name}"
    if not is_announced(ground.source):
        executor.do(plan_announce(session.tag, ground.source.name, ground.role))
    executor.do_all(plan_take_up(session.tag, [Lane(session.tag, ground.source, target), *ground.lanes]))
    now = observe(way.target, session.tag, [member.name for member, _ in _taken(ground)], sync_txg=True)
    if not session.options.dry_run:
        _refuse_written(way, [(now[member.name], found) for member, found in _taken(ground)])
    linked(session, way, ground)
    if request.recursive:
        return Outcome(request.name, message=f"adopted: {both}, with {len(ground.lanes)} of what is below it")
    found = f"{both}, and only what was written since has to be sent {way.where} ({left})"
    return Outcome(request.name, message=f"adopted: {found}; next, from cron: zrep sync all")


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
