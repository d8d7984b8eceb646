"""init: make a new pair. Checks everything on both sides before it changes either; resumable at any point."""

from __future__ import annotations

from shlex import quote

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.dataset import NO_TOKEN, Member, Snapshot
from zrep.core.diagnosis import diagnose_filters
from zrep.core.errors import BusyError, FailedError, RefusedError, UsageError, ZrepError
from zrep.core.names import ancestors, check_dataset, check_host, pool_of
from zrep.core.pair import End, Lane, next_snapshots
from zrep.core.plan_data import plan_converge
from zrep.core.plan_first import first_stream
from zrep.core.plan_init import (
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
from zrep.ops.read import find_role, observe, read_property_names, read_token
from zrep.ops.repair import prepare
from zrep.ops.sync import sync_tree
from zrep.ops.tags import other_roles
from zrep.zfs.errors import PoolAbsentError


class Request(Struct, frozen=True):
    """What init was asked for. src_host: the name the peer dials back; flags: for every ``zfs send`` of this pair,
    None for the default; savecount: snapshots each side keeps, 0 for the default; recursive: everything below the
    filesystem with it."""

    filesystem: str
    host: str
    target: str
    src_host: str = ""
    savecount: int = 0
    flags: str | None = None
    recursive: bool = False


class _Ground(Struct, frozen=True):
    """Both sides as the checks found them: the target (None: not there yet), the parents it lacks, and the places of
    both. inherits: what arrives is encrypted as its parent is."""

    source: Member
    target: Member | None
    parents: tuple[str, ...]
    executor: Executor
    role: Role
    inherits: bool
    places: tuple[str, str]


def init(session: Session, request: Request) -> list[Outcome]:
    """Create the replica, send everything, and link the two. Running it again after a cut goes on where it was. Of a
    tree the root is linked first: its members are those of a sync then, each with its own stream."""
    check_dataset(request.filesystem)
    check_dataset(request.target)
    check_host(request.host)
    link = _link(session, request)
    peer = session.host(request.host)
    here, there = session.local.ask(Identify()), peer.ask(Identify())
    _check_hosts(session, request, here, there)
    if session.lock([link]):
        raise BusyError("busy", filesystem=request.filesystem, evidence="another zrep is working on it")
    if not _goes_on(session, request, link):
        done = _make(session, request, _check(session, request, link, peer, here))
        if not request.recursive:
            return [done]
    return _send_members(session, request, link)


def _goes_on(session: Session, request: Request, link: Link) -> bool:
    """Whether it is the pair of a tree already, some of whose members have still to arrive."""
    role = find_role(session.local, session.tag, request.filesystem) if request.recursive else None
    if role is None or not role.recursive:
        return False
    return role.master is True and role.intent is None and role.links == link.role.links


def _send_members(session: Session, request: Request, link: Link) -> list[Outcome]:
    """All below the root, as every later sync does it: what has arrived stays, whatever becomes of the others."""
    view = session.view(Link(session.tag, request.filesystem, replace(link.role, recursive=True)))
    outcomes = sync_tree(session, prepare(session, view))
    where = f"{request.host}:{request.target}"
    whole = f"replicated with its {len(view.pair.source.members)} members to {where}; next, from cron: zrep sync all"
    return outcomes if any(x.error for x in outcomes) else [Outcome(request.filesystem, message=whole)]


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
    found = _observe_target(request, peer, link.tag, [target_name, *parents])
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
    if barred := diagnose_filters(role, source.filters, nearest.filters, request.host):
        raise barred.error(name)
    _check_space(request, source, nearest, target)
    missing = tuple(parent for parent in parents if parent not in found)
    role = _below_encrypted(session, request, source, nearest, role) if nearest.encrypted else role
    if nearest.key_missing and (missing or not role.raw):
        raise RefusedError(
            f"the key of {nearest.name} on {request.host} is not loaded, and nothing can be made below it",
            filesystem=name,
            advice=f"on {request.host}: {nearest.load_key}",
        )
    inherits = nearest.encrypted and not role.raw
    executor = session.executor(link)
    return _Ground(source, target, missing, executor, role, inherits, (source.place, nearest.place))


def _below_encrypted(session: Session, request: Request, source: Member, parent: Member, role: Role) -> Role:
    """The role where the target is below an encrypted dataset, which takes no embedded data but from raw streams."""
    embedded = {"-e", "--embed"} & set((role.flags or "").split())
    if role.raw or not embedded or is_announced(source):
        return role
    if request.flags is not None or session.settings.send_flags is not None:
        raise RefusedError(
            f"embedded data ({embedded.pop()}) cannot be received below {parent.name} on {request.host}",
            filesystem=request.filesystem,
            evidence="that is encrypted",
            advice="leave that flag out, or all of them",
        )
    return replace(role, flags=" ".join(word for word in (role.flags or "").split() if word not in embedded))


def _observe_target(request: Request, peer: Host, tag: str, names: list[str]) -> dict[str, Member]:
    """What is there of a target and its parents; nothing where not even its pool is."""
    try:
        return observe(peer, tag, names)
    except PoolAbsentError:
        return {}


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
        _refuse_other_wishes(session, request, source)
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
        recursive=request.recursive,
        gen=session.new_identity(),
        epoch=1,
    )


def _refuse_other_wishes(session: Session, request: Request, source: Member) -> None:
    """An init goes on as it was begun: what is half received cannot be changed, and what is asked for is not to be
    ignored."""
    role = source.role
    flags = request.flags if request.flags is not None else session.settings.send_flags
    settings = session.settings
    asked = (
        ("--send-flags", flags if flags is not None else role.flags or "", role.flags or ""),
        ("--savecount", str(request.savecount or role.savecount), str(role.savecount)),
        ("ZREP_OUTFILTER", settings.outfilter or role.outfilter, role.outfilter),
        ("ZREP_INFILTER", settings.infilter or role.infilter, role.infilter),
    )
    other = [f"{name} {now!r} now, {begun!r} then" for name, now, begun in asked if now.split() != begun.split()]
    if not other:
        return
    name = quote(source.name)
    src_host = "" if role.src_host == session.local.name else f" --src-host {role.src_host}"
    raise RefusedError(
        "its init was begun in another way, and goes on as it was begun",
        filesystem=source.name,
        evidence="; ".join(other),
        advice=f"zrep init {name} {role.dest_host} {quote(role.dest_fs)}{src_host} --savecount {role.savecount} "
        f"--send-flags {quote(role.flags or '')}; zrep changeconfig changes how many are kept. To begin anew: "
        f"zrep clear {name}, and on {role.dest_host} remove what is received of {quote(role.dest_fs)}",
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
    others = other_roles(session.local, session.tag, request.filesystem)
    if relayed := replica_under(others):
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
    executor.do_all(plan_link(session.tag, ground.source, ground.role, ground.places, others))
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
    [name] = next_snapshots(session.tag, ground.source)
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
    stream = first_stream(session.tag, ground.source, ground.role, snapshot, token, own, encrypted=ground.inherits)
    ground.executor.do(stream, NO_GENERATION)
