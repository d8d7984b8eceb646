"""The role that init gives the master: what shapes its streams is settled once, and kept in properties."""

from __future__ import annotations

from shlex import quote

from msgspec.structs import replace

from zrep.core.dataset import Member
from zrep.core.errors import RefusedError, UsageError
from zrep.core.plan_init import is_announced
from zrep.core.role import Role
from zrep.core.rules import DEFAULT_SAVECOUNT
from zrep.ops.init_way import Request, Way, same_pair
from zrep.ops.session import Session


def settled_role(session: Session, way: Way, source: Member, adopted: Member | None) -> Role:
    """The role the master will have: what shapes the stream is settled now and kept in properties. adopted: the replica
    that is there already."""
    request = way.request
    if same_pair(source.role, way.role) and (is_announced(source) or lost_its_role(request, source, adopted)):
        _refuse_other_wishes(session, way, source)
        return source.role
    flags = request.flags if request.flags is not None else session.settings.send_flags
    before = adopted.role if adopted and adopted.role.paired else Role()
    if flags is None:
        flags = before.flags
    if flags is None:
        # Properties travel (-p). An encrypted source goes raw: its key never leaves this host. Anything else keeps
        # large blocks, embedded data and compression as they are on disk.
        raw = source.encrypted and (adopted is None or adopted.encrypted)
        flags = "-p -w" if raw else "-p -L -e -c"
    for word in flags.split():
        if word not in ("-p", "-w", "-L", "-e", "-c", "--props", "--raw", "--large-block", "--embed", "--compressed"):
            raise UsageError(f"send flag {word!r} is not one zrep can keep a pair with", evidence="-p -w -L -e -c are")
    savecount = request.savecount or before.savecount or DEFAULT_SAVECOUNT
    return replace(
        way.role,
        flags=flags,
        props=request.props or before.props,
        outfilter=_filter("ZREP_OUTFILTER", session.settings.outfilter),
        infilter=_filter("ZREP_INFILTER", session.settings.infilter),
        savecount=savecount,
        recursive=request.recursive,
        compress=request.compress or before.compress,
        bwlimit=request.bwlimit or before.bwlimit,
        all_snapshots=request.all_snapshots or before.all_snapshots,
        gen=session.new_identity(),
        epoch=1,
    )


def _refuse_other_wishes(session: Session, way: Way, source: Member) -> None:
    """An init goes on as it was begun: what is half received cannot be changed, and what is asked for is not to be
    ignored."""
    request, role = way.request, source.role
    flags = request.flags if request.flags is not None else session.settings.send_flags
    settings = session.settings
    asked = (
        ("--send-flags", flags if flags is not None else role.flags or "", role.flags or ""),
        ("--savecount", str(request.savecount or role.savecount), str(role.savecount)),
        ("-o and -x", request.props or role.props, role.props),
        ("--compress", request.compress or role.compress, role.compress),
        ("--bwlimit", str(request.bwlimit or role.bwlimit), str(role.bwlimit)),
        ("ZREP_OUTFILTER", settings.outfilter or role.outfilter, role.outfilter),
        ("ZREP_INFILTER", settings.infilter or role.infilter, role.infilter),
    )
    other = [f"{name} {now!r} now, {begun!r} then" for name, now, begun in asked if now.split() != begun.split()]
    if not other:
        return
    name, target = quote(source.name), quote(role.dest_fs)
    src_host = "" if role.own_host == session.local.name else f" --src-host {role.src_host}"
    clear = f"{way.start}zrep clear{' -L' if request.pull else ''} {name}"
    again = f"--pull {role.src_host} {name} {target}" if request.pull else f"{name} {role.dest_host} {target}{src_host}"
    raise RefusedError(
        "its init was begun in another way, and goes on as it was begun",
        filesystem=source.name,
        evidence="; ".join(other),
        advice=f"zrep init {again} --savecount {role.savecount} "
        f"--send-flags {quote(role.flags or '')}; zrep changeconfig changes how many are kept. To begin anew: "
        f"{clear}, and on {role.dest_host} remove what is received of {target}",
    )


def _filter(name: str, text: str) -> str:
    if set(text) & set("'!\\\n"):
        raise UsageError(
            f"{name} cannot hold single quotes, ! or \\", evidence="it passes through the peer's login shell"
        )
    return text


def lost_its_role(request: Request, source: Member, target: Member | None) -> bool:
    """Whether a target that is to be adopted may be the other half of the very pair, which has nothing of its role any
    more: somebody took its properties away, or made it anew of a copy."""
    alike = source.role.recursive == request.recursive
    return bool(request.adopt and source.role.master and alike and target and not target.role.paired)
