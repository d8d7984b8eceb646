"""init: make a new pair. Checks everything on both sides before it changes either; resumable at any point.

It runs on the master, or with --pull on the host of the replica, which alone dials the other from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from msgspec.structs import replace

from zrep.core.dataset import NO_TOKEN, Member, Snapshot
from zrep.core.errors import FailedError, UsageError
from zrep.core.incoming import wanted
from zrep.core.names import EXCLUDE, ancestors, check_dataset, check_host
from zrep.core.pair import End, Lane, next_snapshots, received_whole
from zrep.core.plan_data import plan_stream
from zrep.core.plan_first_stream import data_alone, first_stream
from zrep.core.plan_hop import next_hop
from zrep.core.plan_init import (
    is_announced,
    plan_announce,
    plan_parents,
)
from zrep.core.requests import NO_GENERATION
from zrep.core.role import Role
from zrep.core.steps import DiscardPartial, Hold, SendStream, SetProperties, TakeSnapshot
from zrep.core.tags import Roles, kept_read_only, replica_under
from zrep.core.tree import matching
from zrep.ops.adopt import adopt, check_adopted, linked, refreshed
from zrep.ops.children import find_left_out
from zrep.ops.doctor_checks import few_sessions, not_replicated
from zrep.ops.failures import attempt
from zrep.ops.init_check import Ground, check
from zrep.ops.init_way import Request, Way, check_hosts, find_way, same_pair
from zrep.ops.locking import busy, lock
from zrep.ops.memory import remember_first
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import read_view
from zrep.ops.preflight import gaps_between, meet
from zrep.ops.read import find_role, observe, observe_children, read_property_names, read_token
from zrep.ops.repair import prepare
from zrep.ops.session import Session
from zrep.ops.sync_tree import sync_tree
from zrep.ops.tags import other_roles, relaying


def init(session: Session, request: Request) -> Sequence[Outcome]:
    """Create the replica, send everything, and link the two. Running it again after a cut goes on where it was. Of a
    tree the root is linked first: its members are those of a sync then, each with its own stream."""
    check_dataset(request.filesystem)
    check_dataset(request.target)
    check_host(request.host)
    return attempt(session, "init", request.name, lambda: _init(session, request))


def _init(session: Session, request: Request) -> Sequence[Outcome]:
    way = find_way(session, request)
    met = meet(session.local, session.host(request.host))
    check_hosts(session, way, met.here, met.there)
    if lock(session, [way.link]):
        raise busy(request.name)
    if _goes_on(session, way):
        _leave_out(session, way)
    else:
        ground = check_adopted(session, way) if request.adopt else check(session, way)
        _warn(session, way, ground, gaps_between(met, request.host))
        _leave_out(session, way)
        done = adopt(session, way, ground) if request.adopt else _make(session, way, ground)
        if not request.recursive:
            return [done]
        if request.adopt:
            return _send_members(session, way, f"{done.message}; ")
    return _send_members(session, way)


def _warn(session: Session, way: Way, ground: Ground, gaps: Sequence[FailedError]) -> None:
    """What zrep doctor would find of a pair that is still to be made: no reason not to make it."""
    found = (*not_replicated(way.source, [ground.source]), *few_sessions(session.host(way.request.host)))
    for error in (*gaps, *(finding.error for finding in found)):
        session.warn(error.about(way.request.name).line())


def _goes_on(session: Session, way: Way) -> bool:
    """Whether it is the pair of a tree already, some of whose members have still to arrive."""
    role = find_role(way.source, session.tag, way.request.filesystem) if way.request.recursive else None
    if role is None or not role.recursive:
        return False
    if not role.master or role.intent is not None or not same_pair(role, way.role):
        return False
    # One that has lost its properties is taken up again.
    other = find_role(way.target, session.tag, way.request.target) if way.request.adopt else role
    return other is None or other.paired


def _leave_out(session: Session, way: Way) -> None:
    """Mark what is to be left out of the tree: once that is there, an init that is cut and goes on knows of it."""
    request, root = way.request, way.request.filesystem
    if not request.exclude:
        return
    if not request.recursive:
        raise UsageError("--exclude leaves something out of a tree", filesystem=request.name, evidence="no -r")
    below = observe_children(way.source, root)
    for pattern in request.exclude:
        names = matching(root, below, pattern)
        if not names:
            raise UsageError(f"--exclude {pattern!r} matches nothing below it", filesystem=root)
        mark = (f"{session.tag}:{EXCLUDE}", "on")
        way.executor.do(SetProperties(End.SOURCE, tuple(names), (mark,)))
        session.say(f"{request.name}: left out: {', '.join(names)}")


def _send_members(session: Session, way: Way, found: str = "") -> list[Outcome]:
    """All below the root, as every later sync does it: what has arrived stays, whatever becomes of the others. found:
    what was there already, as the beginning of what is said."""
    view = read_view(session, replace(way.link, role=replace(way.link.role, recursive=True)))
    view.executor.include(way.executor)  # the root is one of them
    outcomes = sync_tree(session, relaying(prepare(session, view)))
    members = len(view.pair.source.members)
    whole = f"{found}replicated with its {members} members {view.way}; next, from cron: zrep sync all"
    return outcomes if any(x.error for x in outcomes) else [Outcome(way.request.name, message=whole)]


# --- doing ---


def _make(session: Session, way: Way, ground: Ground) -> Outcome:
    request, executor, source = way.request, way.executor, ground.source
    others = other_roles(way.source, session.tag, source.name)
    relayed = replica_under(others)
    _tell_read_only(session, way, source, others)
    if not ancestors(source.name):
        session.warn(
            f"{source.name}: it is the root of a pool, which cannot be renamed: what is written to an old master alone "
            "cannot stay in a split copy, and rejoin asks for a rollback first"
        )
    masters = [_as_master(ground)]
    for name, left in find_left_out(way.source, session.tag, masters, here=not request.pull, certain=True).items():
        session.warn(left.line(name))
    for step in plan_parents(ground.parents):
        session.say(f"{request.name}: creating the parent {step.dataset} on {way.there}, unmounted")
        executor.do(step)
    if not is_announced(ground.source):
        executor.do(plan_announce(session.tag, ground.source.name, ground.role))
    ground = refreshed(session, way, ground)
    snapshot = _held_snapshot(session, way, ground, relayed)
    if ground.target is None or ground.target.by_guid(snapshot.guid) is None:
        _send(session, way, ground, snapshot, relayed)
        ground = refreshed(session, way, ground)
    if ground.target is None or ground.target.by_guid(snapshot.guid) is None:
        raise FailedError(
            "the replica does not have the snapshot although its receive succeeded", filesystem=request.name
        )
    linked(session, way, ground)
    remember_first(session, executor, {End.SOURCE: request.filesystem, End.TARGET: request.target})
    return Outcome(request.name, message=f"replicated {way.where}; next, from cron: zrep sync all")


def _tell_read_only(session: Session, way: Way, source: Member, others: Roles) -> None:
    """A source that takes no writes, and why: to make it writable is right only where nothing keeps it read-only.
    others: its roles under its other tags."""
    where = f"on {way.request.host}" if way.request.pull else "here"
    if relayed := replica_under(others):
        session.say(f"{source.name}: what it receives under the tag {relayed} is passed on; it stays a replica")
    elif source.readonly and (why := kept_read_only(others)):
        session.warn(f"{source.name}: it stays read-only {where}, {why}")
    elif source.readonly and not source.volume:
        mine = f"{way.start}zfs set readonly=off {quote(source.name)}"
        session.warn(f"{source.name}: it is read-only {where}; next: where it is to take writes: {mine}")


def _as_master(ground: Ground) -> Member:
    """The source with the role it will have."""
    return replace(ground.source, role=replace(ground.role, master=True))


def _held_snapshot(session: Session, way: Way, ground: Ground, upstream: str) -> Snapshot:
    """The snapshot this init sends: the one an earlier run held, else a new one, of a relay the newest that it has
    received whole under the tag upstream."""
    known = ground.source.snapshots if upstream else ground.source.ours(session.tag)
    earlier = [snapshot for snapshot in known if session.tag in snapshot.holds]
    if earlier:
        return earlier[-1]
    if upstream and (whole := received_whole(ground.source, upstream)):
        way.executor.do(Hold(End.SOURCE, session.tag, (f"{ground.source.name}@{whole[-1].name}",)))
        return whole[-1]
    [name] = next_snapshots(session.tag, ground.source)
    # An earlier run may have been cut between snapshot and hold: that one is ours, unsent, and superseded; expire
    # will let it go once it is older than the base.
    way.executor.do(TakeSnapshot(End.SOURCE, session.tag, (name,)))
    way.executor.do(Hold(End.SOURCE, session.tag, (name,)))
    source = observe(way.source, session.tag, [ground.source.name])[ground.source.name]
    snapshot = source.by_name(name.partition("@")[2])
    assert snapshot is not None
    return snapshot


def _send(session: Session, way: Way, ground: Ground, snapshot: Snapshot, upstream: str) -> None:
    """The full stream, from the resume token where there is one for exactly this snapshot; where those of others travel
    too, of the oldest, and then the rest."""
    if not ground.role.all_snapshots:
        _send_first(session, way, ground, snapshot)
        return
    ground = refreshed(session, way, ground)  # with the snapshot that was just made
    oldest = next_hop(_lane(session, ground, upstream))
    first = oldest.snapshot if oldest else snapshot
    if ground.target is None or not ground.target.snapshots:
        _send_first(session, way, ground, first)
    for _ in ground.source.snapshots:
        ground = refreshed(session, way, ground)
        if ground.target is None or ground.target.by_guid(snapshot.guid) is not None:
            return
        _send_next(session, way, _lane(session, ground, upstream))


def _lane(session: Session, ground: Ground, upstream: str) -> Lane:
    """The lane of a pair that is not linked yet."""
    source = replace(ground.source, role=replace(ground.role, master=True))
    return Lane(session.tag, source, ground.target or Member(ground.role.dest_fs, {}, Role()), upstream=upstream)


def _send_next(session: Session, way: Way, lane: Lane) -> None:
    """The next snapshots on the way to the one that is held."""
    half = read_token(way.source, lane.target.token) if lane.target.token else NO_TOKEN
    hop = next_hop(lane, half)
    if hop is None:
        return
    *before, stream = plan_stream(lane, lane.base, hop.snapshot, half, between=hop.between)
    way.executor.do_all(before)
    assert isinstance(stream, SendStream)
    asked = wanted(stream, lane.source, hop.snapshot, lane.base.guid if lane.base else "")
    way.executor.send(stream, asked, NO_GENERATION)


def _send_first(session: Session, way: Way, ground: Ground, snapshot: Snapshot) -> None:
    token = ground.target.token if ground.target else ""
    if token:
        contents = read_token(way.source, token)
        if not contents.goes_on(replace(ground.source, role=ground.role), contents.from_guid, snapshot.guid):
            # It is the half of a stream of ours (see _check_target) that nothing can complete.
            way.executor.do(DiscardPartial(End.TARGET, way.request.target))
            token = ""
        else:
            session.say(f"{way.request.name}: continuing the interrupted transfer")
    own = read_property_names(way.source, ground.source.name)
    stream = first_stream(session.tag, ground.source, ground.role, snapshot, token, own, encrypted=ground.inherits)
    if way.executor.pulls:
        stream = data_alone(stream, ground.source, None)
    way.executor.send(stream, wanted(stream, ground.source, snapshot, ""), NO_GENERATION)
