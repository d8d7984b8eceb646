"""doctor: what will hurt later, on both hosts, each with the command that mends it. fix: what is safe is mended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from shlex import quote

from msgspec import Struct

from zrep.core.diagnosis import diagnose_alone
from zrep.core.errors import RefusedError, ZrepError
from zrep.core.pair import Tree
from zrep.core.pair_state import LINKED, State
from zrep.ops.doctor_checks import Finding, findings
from zrep.ops.finding import find_link, nothing_here, roles_here
from zrep.ops.locking import unlock
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import look_while_changing, open_pair, read_other_half, usable
from zrep.ops.read import observe_trees
from zrep.ops.session import Session
from zrep.ops.view import Link, View

_WELL = LINKED | {State.PAUSED, State.LATE}


def doctor(session: Session, names: Sequence[str], *, fix: bool = False) -> list[Outcome]:
    """Look at pairs, all of this host when no names are given; one outcome for each finding. fix: mend what is safe."""
    links = [find_link(session, name, strict=False) for name in names]
    links = links or [Link(session.tag, name, role) for name, role in roles_here(session).items() if role.paired]
    if not links and not session.options.may_be_empty:
        raise nothing_here(session)
    return [outcome for link in links for outcome in _pair(session, link, fix)]


def _pair(session: Session, link: Link, fix: bool) -> list[Outcome]:
    """What is found of one pair; what keeps it from being looked at is a finding too."""
    found: list[Outcome] = []
    try:
        if link.role.only_dialled:
            raise RefusedError(
                "only the other host can look at both sides of this pair",
                advice=f"on {link.peer_host}: zrep doctor {quote(link.peer_name)}",
            )
        if not link.role.askable:
            raise diagnose_alone(link.name, link.role).error(link.name)
        view = open_pair(session, link.name) if fix else _read(session, link)
        for finding in _findings(session, view):
            found.append(_outcome(view, finding, fix))
    except ZrepError as error:
        found.append(Outcome(link.name, error=error.about(link.name)))
    finally:
        if fix:
            unlock(session, link)
    return found or [Outcome(link.name, message="nothing found")]


class _Look(Struct, frozen=True):
    """What was seen of a pair: the half here, and both, or why they cannot be worked on."""

    here: Tree | ZrepError
    both: View | Outcome

    @property
    def alarming(self) -> bool:
        if isinstance(self.both, Outcome):
            return isinstance(self.both.error, RefusedError)
        return self.both.diagnosis.state not in _WELL


def _read(session: Session, link: Link) -> View:
    """Read both halves without a lock; the error of what cannot be worked on is raised."""
    read_here = partial(observe_trees, session.local, session.tag)

    def look(names: Mapping[str, bool]) -> dict[str, _Look]:
        return {name: _look(session, name, here) for name, here in read_here(names).items()}

    seen = look_while_changing({link.name: link.role.recursive}, look, read_here)
    if link.name not in seen:
        raise RefusedError("it is gone")
    return usable(seen[link.name].both)


def _look(session: Session, name: str, here: Tree | ZrepError) -> _Look:
    if isinstance(here, ZrepError):
        return _Look(here, Outcome(name, error=here))
    return _Look(here, read_other_half(session, here))


def _findings(session: Session, view: View) -> Iterator[Finding]:
    diagnosis = view.diagnosis
    if diagnosis.state in _WELL:
        yield from findings(session, view.link, view)
    else:
        yield Finding(diagnosis.error(view.name))


def _outcome(view: View, finding: Finding, fix: bool) -> Outcome:
    """What is to be said of a finding, once it is mended where it is to be."""
    error = finding.error.about(view.name)
    if not finding.fix:
        return Outcome(view.name, error=error)
    if not fix:
        error.advice += f"; or: zrep doctor --fix {quote(view.name)}"
        return Outcome(view.name, error=error)
    try:
        view.do(finding.fix)
    except ZrepError as failed:
        return Outcome(view.name, error=failed.about(view.name))
    return Outcome(view.name, message=f"mended: {error.what}")
