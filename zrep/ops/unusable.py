"""Why a filesystem with a role cannot be worked on: busy, renamed, unfinished, or not as zrep writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zrep.core.errors import BusyError, RefusedError
from zrep.core.role import Role

if TYPE_CHECKING:
    from zrep.ops.pairs import Link


def busy(name: str) -> BusyError:
    """Somebody has the lock of a filesystem, on this side or the other."""
    return BusyError("busy", filesystem=name, evidence="another zrep or a stream of ours is working on it")


def misfit(name: str, role: Role, where: str = "") -> RefusedError | None:
    """Why a role cannot be the one of the dataset that has it. where: " on HOST" for the peer's."""
    if role.rejoining:
        there = f"{where.strip()}: " if where else ""
        return RefusedError(
            f"the rejoin of {role.rejoining}{where} is unfinished", advice=f"{there}zrep rejoin '{role.rejoining}'"
        )
    return unreadable(name, role, where) or _renamed(name, role, where)


def unreadable(name: str, role: Role, where: str = "") -> RefusedError | None:
    if not role.unreadable:
        return None
    return RefusedError(
        f"{name}{where} has properties that this zrep did not write",
        evidence=role.unreadable,
        advice="update zrep on both hosts, or set right what was changed by hand: see zrep list -v",
    )


def _renamed(name: str, role: Role, where: str) -> RefusedError | None:
    if not role.paired or role.own_fs == name:
        return None
    return RefusedError(
        f"{name}{where} was renamed",
        evidence=f"its pair knows it as {role.own_fs}",
        advice=f"{where.strip() or 'here'}: zrep changeconfig '{name}'; on the other host: "
        f"zrep changeconfig FS HOST '{name}'",
    )


def unfinished_init(link: Link) -> RefusedError:
    return RefusedError(
        "its init was interrupted",
        filesystem=link.name,
        advice=f"to go on where it was: zrep init '{link.name}' {link.peer_host} '{link.peer_name}'",
    )
