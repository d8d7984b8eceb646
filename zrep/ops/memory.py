"""What is remembered on a host of the pairs it is in: volatile, so that any of it may be missing after a boot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zrep.core.dataset import Snapshot
from zrep.core.names import memory_key
from zrep.core.pair import End
from zrep.core.requests import Note, Recall, Remember
from zrep.host.local import Host
from zrep.ops.pairs import Session
from zrep.ops.read import survey
from zrep.ops.view import View

# So many names of what is not replicated below a master are remembered.
_LEFT = 100
# What is remembered of one filesystem, by name.
Memory = Mapping[str, Note]


def recall(session: Session, *names: str, host: Host | None = None) -> dict[str, Memory]:
    """Read what is remembered on a host, this one unless another is given, of each filesystem, by its name there."""
    keys = {name: memory_key(session.tag, name) for name in names}
    found = (host or session.local).ask(Recall(tuple(keys.values())))
    return {name: found.get(key, {}) for name, key in keys.items()}


def remember_synced(session: Session, views: Sequence[View]) -> None:
    """Remember when both sides of pairs with one peer were last known equal, and how fast the last stream was, if it
    took long enough to tell (bytes a second), and what nobody replicates below their masters; for list, status, and
    what takeover -L and dry runs say."""
    for end in End:
        records: dict[str, dict[str, Note]] = {}
        for view in views:
            record: dict[str, Note] = {"synced": session.now, "told": None, "unsent": None, "left": None}
            if left := session.left_out.get(view.name):
                record["left"] = list(left.names[:_LEFT])
            if view.executor.pace:
                record["pace"] = view.executor.pace
            records[memory_key(session.tag, view.pair.at(end).name)] = record
        if records:
            views[0].executor.host(end).ask(Remember(records))


def left_behind(remembered: Memory) -> tuple[str, ...]:
    """What nobody replicates below the master of a pair, as it was when both sides were last equal."""
    names = remembered.get("left")
    return tuple(names) if isinstance(names, list) else ()


def moments(snapshots: Sequence[Snapshot], remembered: Memory, *names: str) -> list[int]:
    """When the peer was known to have what is here, seconds since 1970, in no order: what is remembered under these
    names, and the snapshots' marks, which outlive a boot and may be older, never newer."""
    known = [value for name in names if isinstance(value := remembered.get(name), int)]
    return known + [snapshot.sent for snapshot in snapshots if snapshot.sent]


def since_synced(session: Session, name: str) -> int | None:
    """How many seconds ago a filesystem that somebody else has locked was last synced; None: never. Its snapshots are
    read only where nothing is remembered."""
    synced = _last_synced(session, name)
    return None if synced is None else max(0, session.now - synced)


def _last_synced(session: Session, name: str) -> int | None:
    remembered = recall(session, name)[name]
    if "synced" not in remembered:
        members = survey(session.driver, session.tag, [name])
        return max((when for member in members for when in moments(member.snapshots, {})), default=None)
    return max(moments((), remembered, "synced"), default=None)
