"""A command for the other half of a pair, carried out from here: for a host that never dials, and for whoever prefers
to stay where he is."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from zrep.core.errors import BugError, ZrepError
from zrep.core.requests import Answer, Request
from zrep.core.role import Role
from zrep.core.steps import SendStream
from zrep.host.local import Host
from zrep.host.locks import Locks
from zrep.ops.failures import attempt
from zrep.ops.finding import check_driving, find_link
from zrep.ops.outcome import Outcome
from zrep.ops.read import find_role
from zrep.ops.rejoin import rejoin
from zrep.ops.session import Session
from zrep.ops.view import Link
from zrep.zfs.commands import Argv


class _There:
    """Another host in the place of the own one."""

    def __init__(self, host: Host) -> None:
        self.name, self.local = host.name, host.local
        self._host = host

    @property
    def answered(self) -> bool:
        return self._host.answered

    @property
    def noise(self) -> str:
        return self._host.noise

    def ask(self, request: Request[Answer]) -> Answer:
        return self._host.ask(request)

    def sender(self, steps: Sequence[SendStream]) -> Argv:
        return self._host.sender(steps)

    def receiver(self, steps: Sequence[tuple[SendStream, tuple[str, str]]], *, marked: bool) -> Argv:
        return self._host.receiver(steps, marked=marked)

    def close(self) -> None:
        self._host.close()

    def hang_up(self, reason: ZrepError) -> None:
        self._host.hang_up(reason)

    # What only the host that zrep runs on is asked.

    @property
    def locks(self) -> Locks:
        raise BugError(f"the locks of {self.name} are its own")

    @property
    def directory(self) -> str:
        raise BugError(f"the directory of {self.name} is its own")

    def fence(self, command: str, about: dict[str, str]) -> tuple[int | None, str]:
        raise BugError(f"{self.name} fences by itself")

    def attend(self, argv: object, extra: object, folder: str) -> int:
        raise BugError(f"{self.name} runs its own commands")


class _Across(Session):
    """A run as it would be on the peer of a pair. What it says of itself is said of that host; whoever it asks is
    here."""

    def __init__(self, session: Session, host: Host) -> None:
        self.__dict__.update(session.__dict__)
        self._behind = session
        self.local = _There(host)
        self.say = lambda text: session.say(f"on {host.name}: {text}")
        self.warn = lambda text: session.warn(f"on {host.name}: {text}")

    def peer(self, role: Role) -> Host:
        return self._behind.local

    def host(self, name: str) -> Host:
        return self._behind.local


def rejoin_here(session: Session, name: str) -> Outcome:
    """Become the replica of the side that is master now, where this host can ask it."""
    role = find_role(session.local, session.tag, name)
    if role is None:
        return rejoin(session, name)
    check_driving(session, name, role, "rejoin --peer")
    return attempt(session, "rejoin", name, lambda: rejoin(session, name))


def rejoin_there(session: Session, name: str) -> Outcome:
    """Make the other half of a pair the replica of the one here, which is master now."""
    link = find_link(session, name, there="rejoin")
    return attempt(session, "rejoin", name, lambda: _rejoin_peer(session, link))


def _rejoin_peer(session: Session, link: Link) -> Outcome:
    host = session.peer(link.role)
    if host is session.local:
        return rejoin(session, link.peer_name)
    try:
        done = rejoin(_Across(session, host), link.peer_name)
    except ZrepError as error:
        found = copy.copy(error)
        if found.advice and not found.advice.startswith("on "):
            found.advice = f"on {host.name}: {found.advice}"
        raise found from None
    return Outcome(link.name, message=f"{host.name}:{link.peer_name} {done.message}", notes=done.notes)
