"""When a run over a pair last failed, and which it was: whoever monitors is not the one who ran it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from msgspec import Struct

from zrep.core.age import last_of
from zrep.core.errors import BusyError, ZrepError
from zrep.core.names import ancestors, memory_key
from zrep.core.notes import Note
from zrep.core.requests import Remember
from zrep.ops.memory import Memory
from zrep.ops.outcome import Outcome
from zrep.ops.session import Session

Done = TypeVar("Done", Outcome, Sequence[Outcome])


class Failure(Struct, frozen=True):
    """A run over a pair that failed. at: seconds since 1970; command: which it was, "" where that is not known."""

    at: int
    command: str


def attempt(session: Session, command: str, name: str, work: Callable[[], Done]) -> Done:
    """Do what a command does to a pair here, and remember it where it fails."""
    try:
        done = work()
    except ZrepError as error:
        if not isinstance(error, BusyError):
            remember_failed(session, command, [name])
        raise
    remember_failed(session, command, failed_among([done] if isinstance(done, Outcome) else done, {name}))
    return done


def failed_among(outcomes: Sequence[Outcome], names: Collection[str]) -> list[str]:
    """Those filesystems for which the run has failed, or for a member of their tree. That somebody else works on one is
    no failure of it."""
    wrong = [x.filesystem for x in outcomes if x.failed or (x.code and not isinstance(x.error, BusyError))]
    lines = ((name, *reversed(ancestors(name))) for name in wrong)
    return sorted({pair for line in lines for pair in [next((each for each in line if each in names), "")] if pair})


def remember_failed(session: Session, command: str, names: Sequence[str]) -> None:
    """Remember on this host that a run over pairs has just failed. Nobody else knows: the peer may be why."""
    if names:
        record: dict[str, Note] = {"failed": session.now, "failed_command": [command]}
        session.local.ask(Remember({memory_key(session.tag, name): record for name in names}))


def last_failure(now: int, *remembered: Memory) -> Failure | None:
    """The last run over a pair that failed, as far as these know."""
    known = {at: Failure(at, _command(memory)) for memory in remembered if isinstance(at := memory.get("failed"), int)}
    last = last_of(list(known), now)
    return None if last is None else known[last]


def _command(memory: Memory) -> str:
    names = memory.get("failed_command")
    return names[0] if isinstance(names, list) and names else ""
