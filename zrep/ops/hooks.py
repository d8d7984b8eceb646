"""Telling an administrator's own programs of role changes, on the host where each side lives.

before-demote and before-promote run before anything has changed: one that fails ends the operation. after-promote and
after-demote run when the role has moved and both sides know: one that fails is reported, and undoes nothing.
not-demoted and not-promoted take the before-hooks back: the role change was refused or undone.

before-snapshot and after-snapshot are told to programs of a directory of their own, snapshot.d in that of the hooks: a
program that is told of role changes does not hear of something every minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from shlex import quote

from zrep.core.errors import FailedError, ZrepError
from zrep.core.pair import End
from zrep.core.requests import Moment, RunHooks
from zrep.core.role import Role, next_epoch
from zrep.host.local import Host
from zrep.ops.session import Session
from zrep.ops.view import View


def ask(session: Session, host: Host, event: str, name: str, peer: tuple[str, str], epoch: int) -> None:
    """A before-hook. FailedError when one fails: nothing has been changed yet. peer: its host and dataset."""
    failed = host.ask(RunHooks(event, about(session, name, peer, epoch)))
    if failed:
        raise FailedError(
            f"a {event} hook on {host.name} failed; nothing was changed",
            filesystem=name,
            evidence="; ".join(failed),
            advice="mend what it complains about and run this again",
        )


def tell(session: Session, host: Host, event: str, name: str, role: Role) -> None:
    """An after-hook, for a side with the role it has now."""
    here_master = bool(role.master)
    peer = (role.dest_host, role.dest_fs) if here_master else (role.src_host, role.src_fs)
    try:
        failed = host.ask(RunHooks(event, about(session, name, peer, role.epoch or 0)))
    except ZrepError as error:
        failed = [error.line()]
    for line in failed:
        session.warn(f"{name}: a {event} hook on {host.name} failed ({line}); the role change stands")


def moment(session: Session, lanes: Sequence[View]) -> Moment:
    """The snapshots of a pair that are next, of a tree those of all its members, and what the programs around them are
    told."""
    view = lanes[0]
    source, role = view.pair.source, view.pair.source.role
    name = source.name
    if view.link.within:
        below = view.mine.name.removeprefix(view.link.within)
        name = source.name.removesuffix(below) if below else source.name
    facts = about(session, name, (role.dest_host, role.dest_fs), role.epoch or 0)
    return Moment(name, tuple(lane.lane.next_snapshot for lane in lanes), facts)


def refused_snapshot(host: str, view: View, name: str, said: str) -> FailedError:
    """Why there is no snapshot where a program could not bring to rest what writes to a master."""
    return FailedError(
        f"a before-snapshot hook on {host} failed; no snapshot was made",
        filesystem=name,
        evidence=said,
        advice=f"mend what it complains about; or, for one as after a power loss: zrep sync "
        f"--crash-consistent {quote(view.link.within or view.name)}",
    )


def take_back(session: Session, view: View) -> None:
    """Both sides hear that they stay what they are, with the epoch that does not come about. A peer that is lost
    cannot be told, and what failed is failing already."""
    role = view.pair.source.role
    epoch = next_epoch(role, view.pair.target.role)
    for end, event, peer in (
        (End.SOURCE, "not-demoted", (role.dest_host, role.dest_fs)),
        (End.TARGET, "not-promoted", (role.src_host, role.src_fs)),
    ):
        take_one_back(session, view.executor.host(end), event, view.pair.at(end).name, peer, epoch)


def take_one_back(session: Session, host: Host, event: str, name: str, peer: tuple[str, str], epoch: int) -> None:
    """One side hears that what ask announced does not come about."""
    with suppress(ZrepError):
        for line in host.ask(RunHooks(event, about(session, name, peer, epoch))):
            session.warn(f"{name}: a {event} hook on {host.name} failed ({line})")


def about(session: Session, name: str, peer: tuple[str, str], epoch: int) -> dict[str, str]:
    """What an administrator's program finds in its environment. peer: its host and dataset."""
    return {
        "ZREP_FS": name,
        "ZREP_TAG": session.tag,
        "ZREP_EPOCH": str(epoch),
        "ZREP_PEER": peer[0],
        "ZREP_PEER_FS": peer[1],
    }
