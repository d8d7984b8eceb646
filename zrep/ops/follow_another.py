"""changeconfig on a replica: to follow another dataset than its master until now, as where that is lost and what it was
itself a replica of is not. What both have in common is gone on from; nothing is sent again."""

from __future__ import annotations

from shlex import quote

from msgspec.structs import replace

from zrep.core.errors import RefusedError, ZrepError
from zrep.core.requests import Identify
from zrep.core.role import HERE, Role
from zrep.ops.adopt import adopt, check_adopted
from zrep.ops.init_way import Request, Way, check_hosts, check_way_back, find_way
from zrep.ops.locking import busy, lock
from zrep.ops.outcome import Outcome
from zrep.ops.read import find_role
from zrep.ops.session import Session


def is_another(session: Session, host: str, filesystem: str) -> bool:
    """Whether a dataset on another host is there, and in no pair of this tag. A host that does not answer is taken for
    the peer under a new name."""
    try:
        role = find_role(session.host(host), session.tag, filesystem)
    except ZrepError:
        return False
    return role is not None and not role.paired


def follow_another(session: Session, name: str, role: Role, host: str, filesystem: str) -> Outcome:
    """Make the replica of a role that of another dataset, with all that its pair was told to do. All that could refuse
    it is asked before anything is changed."""
    request = Request(
        filesystem,
        host,
        name,
        role.own_host,
        role.savecount or 0,
        role.flags,
        pull=True,
        adopt=True,
        props=role.props,
        compress=role.compress,
        bwlimit=role.bwlimit,
        all_snapshots=role.all_snapshots,
        instead=True,
    )
    way = _way(session, request, role)
    here, there = session.local.ask(Identify()), session.host(host).ask(Identify())
    check_hosts(session, way, here, there)
    if not role.driver:
        _check_back(session, way, here.boot)
    if lock(session, [way.link]):
        raise busy(name)
    ground = check_adopted(session, way)
    filters = {"outfilter": role.outfilter, "infilter": role.infilter}
    adopted = adopt(session, way, replace(ground, role=replace(ground.role, **filters)))
    return replace(adopted, message=f"{adopted.message}, {'here' if role.driver == HERE else f'on {host}'}")


def _way(session: Session, request: Request, role: Role) -> Way:
    """As init --pull has it; where this host does not drive its pair, the master's host does."""
    way = find_way(session, request)
    if role.driver == HERE:
        return way
    link = replace(way.link, role=replace(way.link.role, driver=""))
    return replace(way, link=link, executor=session.executor(link), role=replace(way.role, driver=""))


def _check_back(session: Session, way: Way, boot: str) -> None:
    """RefusedError where the host that is to send from now on does not reach this one."""
    request, own = way.request, way.role.dest_host
    pulled = (
        f"zrep -t {session.tag} init --pull --adopt {request.host} {quote(request.filesystem)} {quote(request.name)}"
    )
    check_way_back(
        session,
        request.host,
        own,
        boot,
        RefusedError(
            f"{request.host} cannot dial this host as {own}, and would have to send to it",
            filesystem=request.name,
            advice=f"make 'ssh {own} zrep version' work there, or --own-host NAME; or fetch it from here: {pulled}",
        ),
        "give --own-host NAME: the name by which it reaches this host",
    )
