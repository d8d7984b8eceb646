"""What init checks of the filesystem and its target before it changes either: what stands in the way."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from shlex import quote

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.advice import aside, command
from zrep.core.dataset import NO_TOKEN, Member, Snapshot
from zrep.core.diagnosis import begun_by_the_shell
from zrep.core.diagnosis_data import diagnose_filters, diagnose_programs
from zrep.core.errors import FailedError, RefusedError
from zrep.core.long_names import said, too_long
from zrep.core.names import EXCLUDE, LONGEST, ancestors, excess, pool_of
from zrep.core.pair import Lane, newest_base
from zrep.core.plan_init import (
    begun_with,
    is_begun,
    of_init,
)
from zrep.core.quantities import size
from zrep.core.role import Role
from zrep.core.tree import matching
from zrep.ops.init_role import lost_its_role, settled_role
from zrep.ops.init_way import Request, Way, same_pair
from zrep.ops.read import observe, observe_children, observe_tree, read_token
from zrep.ops.send_flags import receivable
from zrep.ops.session import Session
from zrep.ops.tags import follows_by_itself, other_roles
from zrep.zfs.errors import PoolAbsentError

_SENDS_ALL = "without --adopt init sends everything, to a name that is free"


class Ground(Struct, frozen=True):
    """Both sides as the checks found them: the target (None: not there yet), the parents it lacks, the role that the
    master will have, and the places of both. inherits: what arrives is encrypted as its parent is; base: the newest
    snapshot of the source that a target which is adopted has too; lanes: where a tree is adopted, its members below the
    root that are there."""

    source: Member
    target: Member | None
    parents: tuple[str, ...]
    role: Role
    inherits: bool
    places: tuple[str, str]
    base: Snapshot | None = None
    lanes: tuple[Lane, ...] = ()


def check(session: Session, way: Way) -> Ground:
    request, tag = way.request, session.tag
    name, target_name = request.filesystem, request.target
    source = observe(way.source, tag, [name], sync_txg=True).get(name)
    if source is None:
        where = f"on {request.host}" if request.pull else "here"
        raise RefusedError(f"no such filesystem {where}", filesystem=name, advice=f"{way.start or 'see: '}zfs list")
    if begun := begun_by_the_shell(tag, source):
        raise begun.error(name)
    parents = ancestors(target_name)
    found = _observe_target(way, tag, [target_name, *parents])
    role = settled_role(session, way, source, found.get(target_name) if request.adopt else None)
    target = found.get(target_name)
    if request.adopt and target is not None:
        _refuse_root_alone(way, source, target)
    goes_on = is_begun(source) or lost_its_role(request, source, target)
    if source.role.paired and not (same_pair(source.role, role) and goes_on):
        kind = "master" if source.role.master else "replica"
        this = f"this very pair goes on by: zrep sync {quote(request.name)}; " if same_pair(source.role, role) else ""
        raise RefusedError(
            f"it is already {kind} in a pair under the tag {tag!r}",
            filesystem=name,
            evidence=f"{source.role.src_host}:{source.role.src_fs} to {source.role.dest_host}:{source.role.dest_fs}",
            advice=f"{this}another destination: zrep -t OTHERTAG init …; to start over: "
            f"{way.start}zrep clear {quote(name)}",
        )
    _refuse_split_copy(source, way.start)
    _refuse_inside(way, tag)
    _refuse_followed(way, tag, found)
    _refuse_long_names(way, tag, replace(source, role=role))
    if source.key_missing and not role.raw:
        raise RefusedError("its key is not loaded", filesystem=name, advice=f"{way.start}{source.load_key}")
    asked = request.flags is not None or session.settings.send_flags is not None
    if request.adopt:
        return _check_adopted(session, way, source, target, role, asked=asked)
    if target is not None:
        _check_target(session, way, source, target)
    if not parents or parents[0] not in found:
        raise RefusedError(
            f"there is no pool {pool_of(target_name)} on {way.there}",
            filesystem=name,
            advice="a target is POOL/NAME: a whole pool cannot be a replica"
            if not parents
            else "see: zpool list there",
        )
    nearest = found[next(parent for parent in reversed(parents) if parent in found)]
    if nearest.volume:
        raise RefusedError(
            f"{nearest.name} on {way.there} is a volume: nothing can be below it",
            filesystem=name,
            advice="choose another target",
        )
    if barred := diagnose_filters(role, source.filters, nearest.filters, way.there):
        raise barred.error(name)
    here, there = ("here", f"on {request.host}")[:: -1 if request.pull else 1]
    if lacking := diagnose_programs(replace(source, role=role), nearest, here, there):
        raise lacking.error(name)
    _check_space(way, tag, source, nearest, target)
    missing = tuple(parent for parent in parents if parent not in found)
    role = receivable(way.target, source, nearest, role, asked=asked)
    if nearest.key_missing and (missing or not role.raw):
        raise RefusedError(
            f"the key of {nearest.name} on {way.there} is not loaded, and nothing can be made below it",
            filesystem=name,
            advice=f"on {way.there}: {nearest.load_key}",
        )
    inherits = nearest.encrypted and not role.raw
    return Ground(source, target, missing, role, inherits, (source.place, nearest.place))


def _refuse_split_copy(member: Member, start: str) -> None:
    """What rejoin keeps, or is at work on, is in no pair; once it is given up as that it is a dataset as any other."""
    role = member.role
    if role.split or role.rejoining:
        raise RefusedError(
            f"{member.name} is a split copy kept by rejoin, or what a rejoin that was cut has left",
            filesystem=member.name,
            evidence=role.split or f"the rejoin of {role.rejoining} is unfinished",
            advice=f"{start}zrep rejoin {quote(role.rejoining)}"
            if role.rejoining
            else f"{start}zrep clear {quote(member.name)}, which leaves what is in it, and then this again",
        )


def _refuse_inside(way: Way, tag: str) -> None:
    """What a tree of this tag brings to a host is no pair of its own: its master's side would not know of that."""
    name = way.request.filesystem
    within = other_roles(way.source, "", name).get(tag)
    if within is not None and within.within and not within.master:
        raise RefusedError(
            f"it is received {f'on {way.request.host}' if way.request.pull else 'here'} with the tree {within.own_fs}",
            filesystem=name,
            evidence=f"that is the replica of {within.peer_host}:{within.peer_fs} under the tag {tag!r}",
            advice="to pass it on: zrep -t OTHERTAG init …",
        )


def _refuse_followed(way: Way, tag: str, found: Collection[str]) -> None:
    """RefusedError for a target that is, or would be, in what another pair receives: renamed and promoted with that
    tree, or in the way of it. found: what is there of the target and its parents, by name."""
    request = way.request
    name = request.target
    nearest = next((each for each in (name, *ancestors(name)[::-1]) if each in found), "")
    roles = other_roles(way.target, "", nearest) if nearest else {}
    if nearest == name and tag in roles and not roles[tag].within:
        return  # it is in a pair of this tag, which says more of it
    for other, role in roles.items():
        if not role.paired or role.master is not False:
            continue
        evidence = f"{role.own_fs} there is the replica of {role.peer_host}:{role.peer_fs} under the tag {other!r}"
        if role.within or (role.recursive and nearest != name):
            raise RefusedError(
                f"{name} on {way.there} would be renamed and promoted with the tree {role.own_fs}",
                filesystem=request.filesystem,
                evidence=evidence,
                advice=_beside_tree(way, other, role.own_fs, there=nearest == name),
            )
        if nearest == name and request.adopt and follows_by_itself(way.target, other, name, role):
            raise RefusedError(
                f"{name} on {way.there} is a replica already, and can follow only one master",
                filesystem=request.filesystem,
                evidence=evidence,
                advice=f"to end that pair there, on {way.there}: zrep -t {other} clear -L {quote(name)}, and then this "
                "again",
            )


def _beside_tree(way: Way, tag: str, root: str, *, there: bool) -> str:
    """What to do about a target in a tree that is received under a tag. there: whether it exists."""
    name = way.request.target
    if there:
        return f"to leave it out of that tree, on {way.there}: zfs set {tag}:{EXCLUDE}=on {quote(name)}, and then this"
    place = f"zfs create -u -o canmount=off -o {tag}:{EXCLUDE}=on {quote(f'{root}/others')}"
    inside = f"below what is left out of that tree, made so on {way.there}: {place}"
    if root == pool_of(root):
        return f"choose a target {inside}"
    beside = f"{root.rpartition('/')[0]}/{name.rpartition('/')[2]}"
    return f"choose a target that is not below it, as {quote(beside)}; or one {inside}"


def _refuse_long_names(way: Way, tag: str, source: Member) -> None:
    """RefusedError where a snapshot of what is to travel would have a name that ZFS does not take, on either side."""
    request, root = way.request, source.name
    below = observe_children(way.source, root) if request.recursive else []
    members: tuple[Member, ...] = (source,)
    # The snapshots of a whole tree are read only where names are long.
    if request.recursive and (
        request.all_snapshots or any(len(name) + len(request.target) > LONGEST // 2 for name in below)
    ):
        members = observe_tree(way.source, tag, root, recursive=True).members
    for member in _travelling(request, members):
        rest = member.name.removeprefix(root)
        for place, where in ((request.target + rest, way.there), (member.name, way.source.name)):
            if full := too_long(tag, replace(member, role=source.role), place):
                shorter = f"names that are {excess(full)} bytes shorter"
                raise RefusedError(
                    f"{member.name} would have too long a name on {where}" if rest else f"too long a name on {where}",
                    filesystem=root,
                    evidence=said(full),
                    advice=f"choose {shorter}" + (f", or leave it out: --exclude {quote(rest[1:])}" if rest else ""),
                )


def _observe_target(way: Way, tag: str, names: list[str]) -> dict[str, Member]:
    """What is there of a target and its parents; nothing where not even its pool is."""
    try:
        return observe(way.target, tag, names)
    except PoolAbsentError:
        return {}


def _check_target(session: Session, way: Way, source: Member, target: Member) -> None:
    """An existing target is taken up only when it is provably what an interrupted init of this pair left."""
    request = way.request
    ours = begun_with(source, session.tag)
    half = read_token(way.source, target.token) if target.token else NO_TOKEN
    if target.token and not of_init(source, session.tag, half):
        in_the_clear = source.sent_raw and not half.raw
        ending = source.by_guid(half.to_guid) if half.sendable and not in_the_clear else None
        of = f"@{ending.name}, which zrep did not make" if ending else f"no snapshot that zrep made of {source.name}"
        go_on = _sending_the_rest(request, target.token) if ending else ""
        raise RefusedError(
            f"something else is half received into {request.target} on {way.there}",
            filesystem=request.filesystem,
            evidence=f"{size(half.received)}, of {of}",
            advice=f"{go_on}choose another target; or, if nobody needs it, on {way.there}: "
            f"zfs receive -A {quote(request.target)}",
        )
    if is_begun(source) and (target.token or any(snapshot.guid in ours for snapshot in target.snapshots)):
        return
    role = target.role
    another = role.paired and (role.master or role.links != way.role.links)
    base = None if another or "/" not in target.name else newest_base(source, target)
    common = f", @{base.name} in common" if base else ""
    go_on = f"to go on with it, without sending that again: {adopting(request)}; or " if base else ""
    raise RefusedError(
        f"{request.target} already exists on {way.there}",
        filesystem=request.filesystem,
        evidence=f"{len(target.snapshots)} snapshots{common}, {size(target.number('used'))}; zrep destroys only what "
        "it made",
        advice=f"{go_on}choose another target; or, to keep what it is, on {way.there}: {aside(request.target)}",
    )


def _sending_the_rest(request: Request, token: str) -> str:
    """The commands that end what another program has begun to send, and take that up, as the beginning of an advice.
    token: as it was judged; asked for once more, the host that has the target could say another, for something else."""
    there = f"ssh {quote(request.host)} "
    source, receiver = (there, "") if request.pull else ("", there)
    rest = f"{source}zfs send -t {quote(token)} | {receiver}zfs receive -s -u {quote(request.target)}"
    return f"to send the rest of it: {rest}, then {adopting(request)}; or "


def _check_adopted(
    session: Session, way: Way, source: Member, target: Member | None, role: Role, *, asked: bool
) -> Ground:
    """A target that is there already can be gone on with from the newest snapshot that both have, by guid, if nothing
    was written to it since; RefusedError, with what was found, where it cannot."""
    request, tag = way.request, session.tag
    name, there = request.filesystem, f"{request.target} on {way.there}"
    if target is None or "/" not in target.name:
        why = "is a pool's root, which cannot be a replica" if target else "does not exist: there is nothing to adopt"
        raise RefusedError(f"{there} {why}", filesystem=name, advice="without --adopt init makes it")
    _refuse_split_copy(target, "" if request.pull else f"on {way.there}: ")
    known = (request.instead or target.role.links == role.links) and not target.role.master
    if target.role.paired and not known:
        raise RefusedError(
            f"{there} is in a pair already",
            filesystem=name,
            evidence=f"it follows {target.role.peer_host}:{target.role.peer_fs} under the tag {tag}",
            advice=f"to let it follow {role.src_host} instead, on {way.there}: "
            f"zrep -t {tag} changeconfig {quote(target.name)} {role.src_host} {quote(name)}",
        )
    refuse_half(way, target)
    base = newest_base(source, target)
    if base is None:
        anew = _sent_anew(way, role) if request.instead else _SENDS_ALL
        raise nothing_in_common(way, source, target, anew)
    role = receivable(way.target, source, target, role, asked=asked)
    role = replace(role, epoch=max(1, role.epoch or 0, target.role.epoch or 0))
    return Ground(source, target, (), role, False, (source.place, target.place), base)


def _refuse_root_alone(way: Way, source: Member, target: Member) -> None:
    """RefusedError where the root alone is to be taken up of what one side still knows to be a tree, and the other one
    has lost its role in: what is below it would be replicated no more."""
    request = way.request
    if request.recursive or request.instead or source.role.paired == target.role.paired:
        return
    known = (source.role.recursive, source.name, way.source.name), (target.role.recursive, target.name, way.there)
    for recursive, name, host in known:
        if not recursive:
            continue
        raise RefusedError(
            "it is the root of a tree",
            filesystem=request.name,
            evidence=f"{name} on {host} says so",
            advice=adopting(request, recursive=True),
        )


def adopting(request: Request, *, recursive: bool = False) -> str:
    """The command that takes up what is at a target; recursive: with all that is below it, also where nobody has asked
    for that."""
    names = (request.host, request.filesystem) if request.pull else (request.filesystem, request.host)
    pull = ("--pull",) if request.pull else ()
    below = ("-r",) if recursive or request.recursive else ()
    return command("", "init", *pull, *below, "--adopt", *names, request.target)


def refuse_half(way: Way, target: Member) -> None:
    """RefusedError where a stream of somebody's is half received into what is to be adopted."""
    if target.token:
        raise RefusedError(
            f"something is half received into {target.name} on {way.there}",
            filesystem=way.request.filesystem,
            advice=f"let it end, or discard it, on {way.there}: zfs receive -A {quote(target.name)}",
        )


def nothing_in_common(way: Way, source: Member, target: Member, advice: str) -> RefusedError:
    """The refusal of a target that is to be adopted, and of which no increment can begin."""
    name = way.request.filesystem
    return RefusedError(
        f"{target.name} on {way.there} has no snapshot in common with {'it' if source.name == name else source.name}",
        filesystem=name,
        evidence=f"by guid, of {_counted(source, way.source.name)}; {_counted(target, way.target.name)}",
        advice=advice,
    )


def _sent_anew(way: Way, role: Role) -> str:
    """What makes a replica that has nothing of its new master's one all the same, typed on its host."""
    name, target, host = way.request.filesystem, way.request.target, way.request.host
    init = (
        command("", "init", "--pull", host, name, target)
        if role.driver
        else command(host, "init", name, role.dest_host, target)
    )
    return f"to send everything: {command('', 'clear', '-L', target)}; {aside(target)}; {init}"


def _counted(member: Member, host: str) -> str:
    """How many snapshots it has on a host, and the newest of them."""
    newest = f", the newest @{member.snapshots[-1].name}" if member.snapshots else ""
    return f"{len(member.snapshots)} on {host}{newest}"


def _travelling(request: Request, members: Sequence[Member]) -> list[Member]:
    """Those of the members of a tree, the root first, that no pattern leaves out."""
    root, below = members[0].name, [member.name for member in members[1:]]
    out = {name for pattern in request.exclude for name in matching(root, below, pattern)}
    return [member for member in members if not out & {member.name, *ancestors(member.name)}]


def _check_space(way: Way, tag: str, source: Member, parent: Member, target: Member | None) -> None:
    """FailedError where what is to be sent, less what has arrived, cannot be in the room that there is. Of a clone in a
    tree only what it shares with nobody takes room, which nobody tells before: none is counted."""
    arrived, available = target.number("used") if target else 0, parent.number("available")
    needed = source.number("referenced") - arrived
    # The members are read only where all that is below might be too much, with snapshots and what is left out.
    if way.request.recursive and needed + source.number("usedbychildren") > available:
        members = _travelling(way.request, observe_tree(way.source, tag, source.name, recursive=True).members)
        needed = sum(m.number("referenced") for m in members if m is members[0] or m.get("origin") == "-") - arrived
    if needed > available:
        raise FailedError(
            f"not enough room on {way.there}",
            filesystem=way.request.filesystem,
            evidence=f"{size(needed)} needed, {size(parent.number('available'))} available in {parent.name}",
            advice="make room there, or choose another target",
        )
