"""Find what is in pairs on this host: by name, or all of them."""

from __future__ import annotations

from shlex import quote

from zrep.core.diagnosis import begun_by_the_shell, diagnose_alone
from zrep.core.errors import RefusedError, ZrepError, tagged
from zrep.core.names import spoken
from zrep.core.pair_state import State
from zrep.core.requests import ReadTags
from zrep.core.role import Role
from zrep.ops.outcome import Outcome
from zrep.ops.read import find_role, find_roles, lost_pools, observe
from zrep.ops.session import Session
from zrep.ops.view import Link

# What no operation but the one that is advised works on, whatever the other half is.
NO_LINK = frozenset({State.REJOIN_UNFINISHED, State.UNREADABLE, State.RENAMED})


def roles_here(session: Session) -> dict[str, Role]:
    """Find every dataset here with a role of this tag, or the record of an unfinished rejoin; other leftovers without a
    complete pair are not among them."""
    found = find_roles(session.local, session.tag).items()
    return {name: role for name, role in found if role.paired or role.rejoining}


def lost_here(session: Session) -> dict[str, ZrepError]:
    """Find the pools here that answer nothing, with the reason: a list of what is here leaves out what is in them, and
    a filesystem that is not in it is not one that is well."""
    return lost_pools(session.local)


def all_here(session: Session) -> tuple[dict[str, Role], list[Outcome]]:
    """Find what a command over all pairs is about: the roles here, and what becomes of each pool that answers nothing.
    RefusedError where there is neither, and no run may be empty."""
    roles = roles_here(session)
    lost = [Outcome(pool, error=error) for pool, error in lost_here(session).items()]
    if not roles and not lost and not session.options.may_be_empty:
        raise nothing_here(session)
    return roles, lost


def nothing_here(session: Session, *, may_be: bool = True) -> RefusedError:
    """Make the refusal of a command for all pairs where there is none: silence is only for success. A tag may be a
    typing mistake. may_be: whether the command can be told that it is none."""
    tags = session.local.ask(ReadTags())
    others = ", ".join(tag for tag in tags if tag != session.tag)
    return RefusedError(
        f"no filesystem on {session.local.name} is replicated under the tag {session.tag}",
        evidence=f"tags with pairs here: {others}" if others else "nor under any other tag",
        advice=tagged("zrep init FS HOST DEST_FS", spoken(session.tag))
        + ("; or, if that is how it should be, --may-be-empty" if may_be else ""),
    )


def find_link(session: Session, name: str, *, strict: bool = True, there: str = "") -> Link:
    """Find the link of one dataset here. RefusedError when it is not there, in no pair, or (if strict) when it was
    renamed, its rejoin was cut or its properties hold what zrep never writes. there: the command that does the same
    on the other host, for where only that one dials."""
    role = find_role(session.local, session.tag, name)
    if role is None:
        raise RefusedError("no such filesystem here", filesystem=name, advice="see: zrep list")
    link = link_of(session, name, role, strict=strict)
    check_driving(session, name, role, there)
    return link


def check_driving(session: Session, name: str, role: Role, there: str) -> None:
    """Raise RefusedError for a command that asks the other half of a pair, where only that one's host dials this one.
    there: the command that does it there, "" for one that asks nobody."""
    if there and role.only_dialled:
        raise RefusedError(
            f"this pair is pulled by {role.peer_host}, which is never dialled from here",
            filesystem=name,
            evidence=f"{session.tag}:driver is {role.driver}",
            advice=f"on {role.peer_host}: zrep {there} {quote(role.peer_fs)}",
        )


def link_of(session: Session, name: str, role: Role, *, strict: bool = True) -> Link:
    """Make the link of a dataset here that has this role. RefusedError as find_link."""
    if strict and role.src_fs == name and role.master is False and not role.gen:  # seldom, and never of a pair of ours
        _refuse_begun_by_the_shell(session, name)
    found = diagnose_alone(name, role)
    if found.state is State.SPLIT_COPY or (strict and found.state in NO_LINK):
        raise found.error(name)
    if not role.paired and not role.rejoining:
        raise RefusedError(
            "it is not replicated by zrep here",
            filesystem=name,
            evidence=f"no local {session.tag}: properties",
            advice=f"zrep init {quote(name)} HOST DEST_FS",
        )
    return Link(session.tag, name, role)


def _refuse_begun_by_the_shell(session: Session, name: str) -> None:
    member = observe(session.local, session.tag, [name]).get(name)
    if member is not None and (found := begun_by_the_shell(session.tag, member)):
        raise found.error(name)
