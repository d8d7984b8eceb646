"""list and status under every tag of this host: nobody who names no tag is to miss a pair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from zrep.core.requests import ReadTags
from zrep.ops.read import find_roles
from zrep.ops.rows import Row
from zrep.ops.session import Session


def each_tag(session: Session, names: Sequence[str]) -> list[tuple[Session, list[str]]]:
    """A session for each tag to look under, with those of the names that are in a pair under it (none: all that is
    there): those alone that somebody has named. A name that no tag knows is left to the session's
    own, which says why. Closing the first session closes them all."""
    settings = session.settings
    others = [tag for tag in session.local.ask(ReadTags()) if tag != session.tag] if settings.every_tag else []
    # That there is nothing under one that is there is no mistake; under one that was named it is.
    further = [*(_under(session, tag, may_be_empty=True) for tag in others)]
    further += [_under(session, tag, may_be_empty=session.options.may_be_empty) for tag in settings.more_tags]
    if not further:
        return [(session, list(names))]
    first = _under(session, session.tag, may_be_empty=bool(others) or session.options.may_be_empty)
    parts = [(one, list(names)) for one in (first, *further)]
    if not names:
        return parts
    known = [find_roles(session.local, one.tag) for one, _ in parts]
    strange = [name for name in names if not any(name in roles for roles in known)]
    own = [[name for name in names if name in roles] for roles in known]
    own[0] += strange
    return [(one, given) for (one, _), given in zip(parts, own, strict=True) if given]


def in_order(parts: Iterable[Sequence[Row]]) -> list[Row]:
    """The rows of all tags in the order of their names. A pool that answers nothing is in no pair: it has one row."""
    pools: dict[str, Row] = {}
    found: list[Row] = []
    for row in (row for rows in parts for row in rows):
        if row.peer == "-" and row.role == "none":
            pools.setdefault(row.name, row)
        else:
            found.append(row)
    return sorted([*found, *pools.values()], key=lambda row: (row.name, row.tag))


def _under(session: Session, tag: str, *, may_be_empty: bool) -> Session:
    """A session for another tag over the same hosts, clock and voice. may_be_empty: that nothing is under it is no
    mistake."""
    return Session(
        replace(session.options, tag=tag, may_be_empty=may_be_empty),
        session.settings,
        local=session.driver,
        connect=session.host,
        clock=session.clock,
        sleep=session.sleep,
        say=session.say,
        warn=session.warn,
    )
