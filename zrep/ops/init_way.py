"""What init is asked for, between which hosts, and whether these two can have a pair at all."""

from __future__ import annotations

from shlex import quote

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.errors import RefusedError, UsageError, ZrepError
from zrep.core.names import check_host
from zrep.core.requests import Dial, Identity
from zrep.core.role import HERE, PEER, Role
from zrep.host.local import Host
from zrep.ops.execute import Executor
from zrep.ops.session import Session
from zrep.ops.view import Link


class Request(Struct, frozen=True):
    """What init was asked for: filesystem, the master, and target, the replica; one of them is on this host and the
    other one on host: the target, with pull the filesystem. src_host: the name the peer dials back; flags: for every
    ``zfs send`` of this pair, None for the default; savecount: snapshots each side keeps, 0 for the default; recursive:
    everything below the filesystem with it, but for what these patterns (exclude) match; adopt: the target is there
    already, made by whatever program; props: what is not to follow, see Role.chosen; compress, bwlimit: what its
    streams pass through, see shape.py; all_snapshots: those of others travel too; instead:
    a target that is adopted may be the replica of another pair of the tag, and will be of this one."""

    filesystem: str
    host: str
    target: str
    src_host: str = ""
    savecount: int = 0
    flags: str | None = None
    recursive: bool = False
    pull: bool = False
    adopt: bool = False
    exclude: tuple[str, ...] = ()
    props: str = ""
    compress: str = ""
    bwlimit: int = 0
    all_snapshots: bool = False
    instead: bool = False

    @property
    def name(self) -> str:
        """What of the two is here."""
        return self.target if self.pull else self.filesystem


class Way(Struct, frozen=True):
    """From where to where. role: the master's; there: the replica's host, for a person; start: what a command for the
    master's host begins with."""

    request: Request
    link: Link
    executor: Executor
    role: Role
    there: str
    start: str

    @property
    def where(self) -> str:
        """Where the streams go to or come from, for a person here."""
        request = self.request
        return f"from {request.host}:{request.filesystem}" if request.pull else f"to {request.host}:{request.target}"

    @property
    def source(self) -> Host:
        return self.executor.source

    @property
    def target(self) -> Host:
        return self.executor.target


def find_way(session: Session, request: Request) -> Way:
    own = check_host(request.src_host or session.settings.src_host or session.local.name)
    if not request.pull:
        role = Role(own, request.filesystem, request.host, request.target, master=True)
        link = Link(session.tag, request.filesystem, role)
        return Way(request, link, session.executor(link), role, request.host, "")
    role = Role(request.host, request.filesystem, own, request.target, master=True, driver=PEER)
    link = Link(session.tag, request.target, replace(role, master=False, driver=HERE))
    there, start = session.local.name, f"on {request.host}: "
    return Way(request, link, session.executor(link), role, there, start)


def same_pair(role: Role, wanted: Role) -> bool:
    """Whether a role is that of the pair that is asked for, as far as init decides it."""
    return role.links == wanted.links and role.driver == wanted.driver


def check_hosts(session: Session, way: Way, here: Identity, there: Identity) -> None:
    """Versions, one host or two, and the way back."""
    request = way.request
    if here.zrep != there.zrep:
        raise RefusedError(
            f"zrep on {request.host} is another version",
            evidence=f"{there.zrep} there, {here.zrep} here",
            advice="install the same zrep on both hosts",
        )
    same = here.boot == there.boot and here.host == there.host
    if same and request.pull:
        raise UsageError(
            f"{request.host} is this host: there is nobody to pull from",
            filesystem=request.name,
            advice=f"zrep init {quote(request.filesystem)} localhost {quote(request.target)}",
        )
    if same and _overlap(request.filesystem, request.target):
        raise UsageError(
            "source and target cannot be the same filesystem or lie within each other",
            filesystem=request.filesystem,
            evidence=f"{request.host} is this host",
        )
    if session.host(request.host) is session.local or request.pull:
        return
    back = way.role.src_host
    pulled = f"{back} {quote(request.filesystem)} {quote(request.target)}"
    check_way_back(
        session,
        request.host,
        back,
        here.boot,
        RefusedError(
            f"{request.host} cannot dial back to this host as {back}, so it could never take over properly",
            filesystem=request.filesystem,
            advice=f"make 'ssh {back} zrep version' work on {request.host}, or give --src-host NAME; or let "
            f"{request.host} do it all, there: zrep init --pull {pulled}",
        ),
        f"give --src-host NAME: the name by which {request.host} reaches this host",
    )


def check_way_back(session: Session, host: str, own: str, boot: str, unreached: RefusedError, other_name: str) -> None:
    """RefusedError where a host, dialling this one by its name (own), does not reach what has this boot: the one given,
    with what kept that host from it as its evidence; where it is another machine, one with the advice other_name."""
    try:
        answered = session.host(host).ask(Dial(own))
    except ZrepError as error:
        unreached.evidence = error.line()
        raise unreached from None
    if answered.boot != boot:
        raise RefusedError(
            f"{own}, as {host} dials it, is another machine ({answered.host})",
            filesystem=unreached.filesystem,
            advice=other_name,
        )


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")
