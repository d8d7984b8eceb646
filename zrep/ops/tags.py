"""What the other tags of a dataset are asked before its role changes (core/tags.py decides)."""

from __future__ import annotations

from msgspec.structs import replace

from zrep.core.errors import RefusedError
from zrep.core.pair import End
from zrep.core.tags import Roles, refuse_following, refuse_giving, refuse_taking, replica_under
from zrep.host.local import Host
from zrep.ops.pairs import Session, View
from zrep.ops.read import read_other_roles


def other_roles(host: Host, tag: str, name: str) -> Roles:
    """The roles of one dataset under its other tags, by tag."""
    return read_other_roles(host, tag, [name]).get(name, {})


def refuse_exchange(view: View) -> tuple[RefusedError, ...]:
    """What the other tags of either end have against the source giving its role to the target."""
    giver, taker = view.executor.source, view.executor.target
    source, target = view.pair.source.name, view.pair.target.name
    found = (
        refuse_giving(source, giver.name, view.tag, other_roles(giver, view.tag, source)),
        refuse_taking(target, taker.name, view.tag, other_roles(taker, view.tag, target)),
    )
    return tuple(error for error in found if error)


def check_taking(session: Session, name: str) -> None:
    """The refusal of a promotion alone that would make what another tag's master sends to writable."""
    if error := refuse_taking(name, session.local.name, session.tag, other_roles(session.local, session.tag, name)):
        raise error


def check_following(session: Session, name: str) -> None:
    """The refusal of a second master to follow."""
    if error := refuse_following(name, session.local.name, session.tag, other_roles(session.local, session.tag, name)):
        raise error


def relaying(view: View) -> View:
    """The same, known to pass on what it receives where its source is a replica under another tag. Only what is
    read-only can be: of any other nothing is asked."""
    source = view.pair.source.members[0]
    if not (source.readonly and source.role.master):
        return view
    upstream = replica_under(roles_at(view, End.SOURCE))
    return replace(view, pair=replace(view.pair, upstream=upstream)) if upstream else view


def roles_at(view: View, end: End) -> Roles:
    """The roles of the dataset at one end under its other tags."""
    return other_roles(view.executor.host(end), view.tag, view.pair.at(end).name)
