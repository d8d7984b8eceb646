"""init: make a new pair. Checks everything on both sides before it changes either; resumable at any point."""

from __future__ import annotations

from shlex import quote

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.dataset import NO_TOKEN, Member, Snapshot
from zrep.core.errors import BusyError, FailedError, RefusedError, UsageError, ZrepError
from zrep.core.names import ancestors, check_dataset, check_host, pool_of
from zrep.core.pair import End, Lane, next_snapshot
from zrep.core.plan_data import plan_converge
from zrep.core.plan_init import (
    first_stream,
    is_announced,
    is_begun,
    of_init,
    plan_announce,
    plan_link,
    plan_parents,
)
from zrep.core.quantities import size
from zrep.core.requests import NO_GENERATION, Dial, Identify, Identity
from zrep.core.retention import DEFAULT_SAVECOUNT
from zrep.core.role import Role
from zrep.core.steps import DiscardPartial, Hold, TakeSnapshot
from zrep.core.tags import replica_under
from zrep.host.local import Host
from zrep.ops.children import find_left_out
from zrep.ops.execute import Executor
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import Link, Session
from zrep.ops.read import observe, read_other_roles, read_property_names, read_token


class Request(Struct, frozen=True):
    """What init was asked for. src_host: the name the peer dials back; flags: for every ``zfs send`` of this pair,
    None for the default; savecount: snapshots each side keeps, 0 for the default."""

    filesystem: str
    host: str
    target: str
    src_host: str = ""
    savecount: int = 0
    flags: str | None = None


class _Ground(Struct, frozen=True):
    """Both sides as the checks found them: the target (None: not there yet), the parents it lacks, and the
    places of both."""

    source: Member
    target: Member | None
    parents: tuple[str, ...]
    executor: Executor
    role: Role
    places: tuple[str, str]


def init(session: Session, request: Request) -> Outcome:
    """Create the replica, send everything, and link the two. Running it again after a cut goes on where it was."""
    check_dataset(request.filesystem)
    check_dataset(request.target)
    check_host(request.host)
    link = _link(session, request)
    peer = session.host(request.host)
    here, there = session.local.ask(Identify()), peer.ask(Identify())
    _check_hosts(session, request, here, there)
    if session.lock([link]):
        raise BusyError("busy", filesystem=request.filesystem, evidence="another zrep is working on it")
    ground = _check(session, request, link, peer, here)
    return _make(session, request, ground)


def _link(session: Session, request: Request) -> Link:
    src_host = request.src_host or session.settings.src_host or session.local.name
    check_host(src_host)
    role = Role(src_host, request.filesystem, request.host, request.target, master=True)
    return Link(session.tag, request.filesystem, role)


# --- checks ---


def _check_hosts(session: Session, request: Request, here: Identity, there: Identity) -> None:
    """Versions, one host or two, and the way back."""
    if here.zrep != there.zrep:
        raise RefusedError(
            f"zrep on {request.host} is another version",
            evidence=f"{there.zrep} there, {here.zrep} here",
            advice="install the same zrep on both hosts",
        )
    same = here.boot == there.boot and here.host == there.host
    if same and _overlap(request.filesystem, request.target):
        raise UsageError(
            "source and target cannot be the same filesystem or lie within each other",
            filesystem=request.filesystem,
            evidence=f"{request.host} is this host",
        )
    if session.host(request.host) is session.local:
        return
    back = _link(session, request).role.src_host
    try:
        answered = session.host(request.host).ask(Dial(back))
    except ZrepError as error:
        raise RefusedError(
            f"{request.host} cannot dial back to this host as {back}, so it could never take over properly",
            filesystem=request.filesystem,
            evidence=error.line(),
            advice=f"make 'ssh {back} zrep version' work on {request.host}, or give --src-host NAME",
        ) from None
    if answered.boot != here.boot:
        raise RefusedError(
            f"{back}, as {request.host} dials it, is another machine ({answered.host})",
            filesystem=request.filesystem,
            advice=f"give --src-host NAME: the name by which {request.host} reaches this host",
        )


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")


def _check(session: Session, request: Request, link: Link, peer: Host, here: Identity) -> _Ground:
    name, target_name = request.filesystem, request.target
    source = observe(session.local, link.tag, [name], sync_txg=True).get(name)
    if source is None:
        raise RefusedError("no such filesystem here", filesystem=name, advice="see: zfs list")
    parents = ancestors(target_name)
    found = observe(peer, link.tag, [target_name, *parents])
    role = _settled_role(session, request, link, source)
    if source.role.paired and not (source.role.links == role.links and is_begun(source)):
        kind = "master" if source.role.master else "replica"
        raise RefusedError(
            f"it is already {kind} in a pair under the tag {link.tag!r}",
            filesystem=name,
            evidence=f"{source.role.src_host}:{source.role.src_fs} to {source.role.dest_host}:{source.role.dest_fs}",
            advice=f"another destination: zrep -t OTHERTAG init …; to start over: zrep clear {quote(name)}",
        )
    if source.key_missing and not role.raw:
        raise RefusedError("its key is not loaded", filesystem=name, advice=source.load_key)
    target = found.get(target_name)
    if target is not None:
        _check_target(session, request, source, target)
    if not parents or parents[0] not in found:
        raise RefusedError(
            f"there is no pool {pool_of(target_name)} on {request.host}",
            filesystem=name,
            advice="a target is POOL/NAME: a whole pool cannot be a replica"
            if not parents
            else "see: zpool list there",
        )
    nearest = found[next(parent for parent in reversed(parents) if parent in found)]
    if nearest.volume:
        raise RefusedError(
            f"{nearest.name} on {request.host} is a volume: nothing can be below it",
            filesystem=name,
            advice="choose another target",
        )
    _check_space(request, source, nearest, target)
    missing = tuple(parent for parent in parents if parent not in found)
    executor = session.executor(link)
    return _Ground(source, target, missing, executor, role, (source.place, nearest.place))


def _check_target(session: Session, request: Request, source: Member, target: Member) -> None:
    """An existing target is taken up only when it is provably what an interrupted init of this pair left."""
    ours = {snapshot.guid for snapshot in source.ours(session.tag)}
    half = read_token(session.local, target.token) if target.token else NO_TOKEN
    if target.token and not of_init(source, session.tag, half):
        raise RefusedError(
            f"something else is half received into {request.target} on {request.host}",
            filesystem=request.filesystem,
            evidence=f"{size(half.received)}, of no snapshot that zrep made of {source.name}",
            advice=f"choose another target; or, if nobody needs it, on {request.host}: "
            f"zfs receive -A {quote(request.target)}",
        )
    if is_begun(source) and (target.token or any(snapshot.guid in ours for snapshot in target.snapshots)):
        return
    raise RefusedError(
        f"{request.target} already exists on {request.host}",
        filesystem=request.filesystem,
        evidence=f"{len(target.snapshots)} snapshots, {size(target.number('used'))}; zrep destroys only what it made",
        advice="choose another target, or remove it yourself",
    )


def _check_space(request: Request, source: Member, parent: Member, target: Member | None) -> None:
    needed = source.number("referenced") - (target.number("used") if target else 0)
    if needed > parent.number("available"):
        raise FailedError(
            f"not enough room on {request.host}",
            filesystem=request.filesystem,
            evidence=f"{size(needed)} needed, {size(parent.number('available'))} available in {parent.name}",
            advice="make room there, or choose another target",
        )


def _settled_role(session: Session, request: Request, link: Link, source: Member) -> Role:
    """The role the master will have: what shapes the stream is settled now and kept in properties."""
    if is_announced(source) and source.role.links == link.role.links:
        return source.role
    flags = request.flags if request.flags is not None else session.settings.send_flags
    if flags is None:
        # Properties travel (-p). An encrypted source goes raw: its key never leaves this host. Anything else keeps
        # large blocks, embedded data and compression as they are on disk.
        flags = "-p -w" if source.encrypted else "-p -L -e -c"
    for word in flags.split():
        if word not in ("-p", "-w", "-L", "-e", "-c", "--props", "--raw", "--large-block", "--embed", "--compressed"):
            raise UsageError(f"send flag {word!r} is not one zrep can keep a pair with", evidence="-p -w -L -e -c are")
    savecount = request.savecount or DEFAULT_SAVECOUNT
    return replace(
        link.role,
        flags=flags,
        outfilter=_filter("ZREP_OUTFILTER", session.settings.outfilter),
        infilter=_filter("ZREP_INFILTER", session.settings.infilter),
        savecount=savecount,
        gen=session.new_identity(),
        epoch=1,
    )


def _filter(name: str, text: str) -> str:
    if set(text) & set("'!\\\n"):
        raise UsageError(
            f"{name} cannot hold single quotes, ! or \\", evidence="it passes through the peer's login shell"
        )
    return text


# --- doing ---


def _make(session: Session, request: Request, ground: _Ground) -> Outcome:
    executor = ground.executor
    relayed = replica_under(
        read_other_roles(session.local, session.tag, [request.filesystem]).get(request.filesystem, {})
    )
    if relayed:
        session.say(f"{request.filesystem}: what it receives under the tag {relayed} is passed on; it stays a replica")
    elif ground.source.readonly and not ground.source.volume:
        advice = f"zfs set readonly=off {quote(request.filesystem)}"
        session.warn(f"{request.filesystem}: it is read-only here, as a master should not be; next: {advice}")
    for name, left in find_left_out(session.local, session.tag, [_as_master(ground)], certain=True).items():
        session.warn(left.line(name))
    for step in plan_parents(ground.parents):
        session.say(f"{request.filesystem}: creating the parent {step.dataset} on {request.host}, unmounted")
        executor.do(step)
    if not is_announced(ground.source):
        executor.do(plan_announce(session.tag, ground.source.name, ground.role))
    ground = _refresh(session, request, ground)
    snapshot = _held_snapshot(session, ground)
    if ground.target is None or ground.target.by_guid(snapshot.guid) is None:
        _send(session, request, ground, snapshot)
        ground = _refresh(session, request, ground)
    if ground.target is None or ground.target.by_guid(snapshot.guid) is None:
        raise FailedError(
            "the replica does not have the snapshot although its receive succeeded", filesystem=request.filesystem
        )
    executor.do_all(plan_link(session.tag, ground.source, ground.role, ground.places))
    ground = _refresh(session, request, ground)
    assert ground.target is not None
    executor.do_all(plan_converge(Lane(session.tag, ground.source, ground.target), session.now))
    return Outcome(
        request.filesystem,
        message=f"replicated to {request.host}:{request.target}; next, from cron: zrep sync all",
    )


def _as_master(ground: _Ground) -> Member:
    """The source with the role it will have."""
    return replace(ground.source, role=replace(ground.role, master=True))


def _refresh(session: Session, request: Request, ground: _Ground) -> _Ground:
    peer = ground.executor.target
    source = observe(session.local, session.tag, [request.filesystem])[request.filesystem]
    target = observe(peer, session.tag, [request.target]).get(request.target)
    return replace(ground, source=source, target=target, parents=())


def _held_snapshot(session: Session, ground: _Ground) -> Snapshot:
    """The snapshot this init sends: the one an earlier run held, else a new one."""
    earlier = [s for s in ground.source.ours(session.tag) if session.tag in s.holds]
    if earlier:
        return earlier[-1]
    name = next_snapshot(session.tag, ground.source)
    # An earlier run may have been cut between snapshot and hold: that one is ours, unsent, and superseded; expire
    # will let it go once it is older than the base.
    ground.executor.do(TakeSnapshot(End.SOURCE, session.tag, (name,)))
    ground.executor.do(Hold(End.SOURCE, session.tag, (name,)))
    source = observe(session.local, session.tag, [ground.source.name])[ground.source.name]
    snapshot = source.by_name(name.partition("@")[2])
    assert snapshot is not None
    return snapshot


def _send(session: Session, request: Request, ground: _Ground, snapshot: Snapshot) -> None:
    """The full stream, from the resume token where there is one for exactly this snapshot."""
    token = ground.target.token if ground.target else ""
    if token:
        contents = read_token(session.local, token)
        if not contents.sendable or contents.to_guid != snapshot.guid:
            # It is the half of a stream of ours (see _check_target) that nothing can complete.
            ground.executor.do(DiscardPartial(End.TARGET, request.target))
            token = ""
        else:
            session.say(f"{request.filesystem}: continuing the interrupted transfer")
    own = read_property_names(session.local, ground.source.name)
    ground.executor.do(first_stream(session.tag, ground.source, ground.role, snapshot, token, own), NO_GENERATION)
