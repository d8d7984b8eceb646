"""One dataset, one role, whatever the tag: what its other tags forbid, and which of its properties are any tag's.

A dataset is the replica of at most one pair. Under every other tag it can only be a *relay*: a source that passes on
what it receives. A relay takes no writes, so it has no master role to give away, and is no second pair's replica.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from shlex import quote
from types import MappingProxyType

from zrep.core.dataset import Value, only_received, role_of
from zrep.core.errors import RefusedError
from zrep.core.pair import End
from zrep.core.role import Intent, Role
from zrep.core.steps import InheritProperty

Roles = Mapping[str, Role]
NO_ROLES: Roles = MappingProxyType({})

# What only a pair has; other programs have properties of other names, as mysql:master.
LINKS = frozenset({"src-host", "src-fs", "dest-host", "dest-fs"})
# What keeps a master read-only until it is known to be the right one.
_UNDECIDED = frozenset({"failover", "promote", "stopped"})


def tags_of(names: Iterable[str]) -> tuple[str, ...]:
    """The tags that have links among properties of these names, in order."""
    split = (name.rpartition(":") for name in names)
    return tuple(sorted({tag for tag, _, name in split if tag and name in LINKS}))


def properties_of_tags(names: Iterable[str]) -> tuple[str, ...]:
    """Those of these properties that are any tag's, in order."""
    known = sorted(set(names))
    tags = set(tags_of(known))
    return tuple(name for name in known if name.rpartition(":")[0] in tags)


def command(tag: str, *words: str) -> str:
    """A command line of zrep for pairs of a tag, named whichever it is: an advice without is for the tag of the run."""
    return " ".join(("zrep", "-t", tag, *map(quote, words)))


def replica_under(others: Roles) -> str:
    """The tag under which it is a replica, "" for none."""
    return next((tag for tag, role in others.items() if role.paired and role.master is False), "")


def kept_read_only(others: Roles) -> str:
    """Why its other tags keep it read-only whatever becomes of it under this one, "" for no reason."""
    if tag := replica_under(others):
        return f"as the replica it is under the tag {tag}"
    stopped = _undecided(others)
    return f"as long as it is not known to be the master under the tag {stopped}" if stopped else ""


def stopped_by(others: Roles) -> Intent | None:
    """The record under another tag of what it was before that stopped it."""
    intent = others[other].intent if (other := _undecided(others)) else None
    return intent if intent is not None and intent.detail else None


def _holder(name: str, role: Role) -> str:
    """The dataset that commands about a role name: the root of the tree where it is that of a member."""
    return role.own_fs if role.within else name


def _followed(role: Role) -> str:
    """The master of a replica; of a member of a tree, that of the tree."""
    return f"{role.peer_host}:{role.peer_fs}{f', with all of {role.own_fs}' if role.within else ''}"


def _undecided(others: Roles) -> str:
    found = (
        tag
        for tag, role in others.items()
        if role.paired and role.master and role.intent is not None and role.intent.operation in _UNDECIDED
    )
    return next(found, "")


def refuse_giving(name: str, host: str, tag: str, others: Roles) -> RefusedError | None:
    """Why a master cannot give its role to the other side of its pair. others: its roles under its other tags."""
    if other := replica_under(others):
        role = others[other]
        return RefusedError(
            f"{name} on {host} only passes on what it receives under the tag {other}: it has no master role to give",
            evidence=f"it is the replica of {_followed(role)}; two sides would take writes",
            advice=f"make it the master first, on {host}: {command(other, 'takeover', _holder(name, role))}",
        )
    return refuse_undecided(name, host, others)


def refuse_taking(name: str, host: str, tag: str, others: Roles) -> RefusedError | None:
    """Why a replica cannot become the master of its pair: it would be written to, and overwritten."""
    if other := replica_under(others):
        role = others[other]
        return RefusedError(
            f"{name} on {host} is a replica under the tag {other} too: it would become writable",
            evidence=f"there it follows {_followed(role)}",
            advice=_end_one(name, host, tag, other, role),
        )
    return refuse_undecided(name, host, others)


def refuse_following(name: str, host: str, tag: str, own: Role, others: Roles) -> RefusedError | None:
    """Why an old master cannot become the replica of its pair. own: its role under this tag, which refuses a role
    change under another one once it is not known to be the master (refuse_undecided)."""
    if other := replica_under(others):
        role = others[other]
        master = command(other, "takeover", _holder(name, role))
        first = f"make it the master there first, {master}, and run this again"
        return RefusedError(
            f"{name} on {host} is a replica under the tag {other} already, and can follow only one master",
            evidence=f"there it follows {_followed(role)}",
            advice=_end_one(name, host, tag, other, role) if _undecided({tag: own}) else first,
        )
    return None


def _end_one(name: str, host: str, tag: str, other: str, role: Role) -> str:
    """Of two pairs that cannot both go on, a person decides. role: that under the other tag."""
    return (
        f"decide which pair is right, and end the other one's half here, on {host}: "
        f"{command(other, 'clear', '-L', _holder(name, role))}, or {command(tag, 'clear', '-L', name)}"
    )


def refuse_undecided(name: str, host: str, others: Roles) -> RefusedError | None:
    """Why nothing is to be decided about a dataset's role: under another tag it is not decided who is master."""
    if not (other := _undecided(others)):
        return None
    role = others[other]
    stopped = role.intent is not None and role.intent.operation == "stopped"
    what = "it was made read-only" if stopped else "a role change is unfinished"
    return RefusedError(
        f"under the tag {other} {name} on {host} may not be the master any more",
        evidence=f"{what} there; {role.peer_host} is the one to ask",
        advice=f"on {host}: {command(other, 'sync', _holder(name, role))}",
    )


def plan_forget_received(end: End, tag: str, name: str, properties: Mapping[str, Value]) -> tuple[InheritProperty, ...]:
    """Take from what becomes a replica the roles that a stream has brought along, under other tags than its own. The
    shell zrep sends a master's properties of all tags with a first stream, and snapshots of all of them with those of
    its usual one. They would say, where both replicas have one name, that it follows a second master. properties: all
    that it has."""
    steps: list[InheritProperty] = []
    for other in tags_of(properties):
        role = role_of(other, name, properties)
        if other != tag and only_received(other, role, properties):
            links = (f"{other}:{link}" for link in sorted(LINKS))
            steps += (InheritProperty(end, (name,), link) for link in links if link in properties)
    return tuple(steps)
