"""Sides and pairs in a few words: snapshots are named by letters, the same letter is the same GUID."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from zrep.core.dataset import Member, Snapshot, Value
from zrep.core.pair import Lane, Pair, Tree, newest_common
from zrep.core.plan_expire import expire_lane
from zrep.core.role import Intent, Role
from zrep.core.steps import DestroySnapshots

TAG = "zrep"
GEN, OLD, NEW = "1" * 16, "a" * 16, "f" * 16
MASTER = Role("alpha", "tank/a", "beta", "tank/b", master=True, savecount=5, epoch=1, gen=GEN, flags="-p -L -e -c")
REPLICA = Role("alpha", "tank/a", "beta", "tank/b", master=False, savecount=5, epoch=1, gen=GEN, canmount="on")


def snap(text: str, place: int = 0) -> Snapshot:
    """The word 2 is zrep_000002 with guid 2. After it: h held by zrep, H held by somebody else, s sent, w written,
    c with a clone. A name that is no number is a foreign snapshot."""
    name = text.rstrip("hHswc")
    marks = text[len(name) :]
    holds = {tag for mark, tag in (("h", TAG), ("H", "backup")) if mark in marks}
    return Snapshot(
        name=f"{TAG}_{int(name, 16):06x}" if name[0].isdigit() else name,
        guid=name,
        createtxg=place,
        creation=1000 + place,
        written=4096 if "w" in marks else 0,
        holds=frozenset(holds),
        sent=1000 if "s" in marks else None,
        clones=("tank/clone",) if "c" in marks else (),
        made=name[0].isdigit(),
    )


def member(name: str, role: Role, snapshots: str = "", written: int = 0, **properties: str) -> Member:
    """properties: value, or "value source"; the default source is local. A word that begins with # is a bookmark that
    zrep keeps of that snapshot, which is gone. A replica is read-only, unless it is said otherwise."""
    given = {"type": "filesystem", "mounted": "yes -", "mountpoint": f"/{name} default"}
    given |= {"readonly": "on" if role.master is False else "off default"}
    given |= {"canmount": "on default", "written": f"{written} -", "encryption": "off -"}
    given |= {"sharenfs": "off default", "sharesmb": "off default"} | properties
    values = {key: Value(text.split(" ")[0], " ".join(text.split(" ")[1:]) or "local") for key, text in given.items()}
    taken = [snap(word.lstrip("#"), 10 * (index + 1)) for index, word in enumerate(snapshots.split())]
    gone = [index for index, word in enumerate(snapshots.split()) if word.startswith("#")]
    left = tuple(snapshot for index, snapshot in enumerate(taken) if index not in gone)
    return Member(name, values, role, left, bookmarks=tuple(mark(taken[index]) for index in gone))


def mark(snapshot: Snapshot) -> Snapshot:
    """The bookmark that zrep keeps of a snapshot."""
    name = f"{TAG}:{snapshot.name}"
    return Snapshot(name, snapshot.guid, snapshot.createtxg, snapshot.creation, bookmark=True)


def with_bookmark(source: Member, target: Member) -> Member:
    """A source that keeps a bookmark of what it has in common with the target, as after a sync."""
    base = newest_common(source, target)
    return replace(source, bookmarks=(*source.bookmarks, *((mark(base),) if base else ())))


def pair(
    here: str = "1hs",
    there: str = "1hs",
    *,
    written: int = 0,
    written_there: int = 0,
    master: Role = MASTER,
    replica: Role = REPLICA,
    there_properties: dict[str, str] | None = None,
    **properties: str,
) -> Pair:
    """The source has a bookmark of the base already; see plan_bookmarks."""
    quiet = {"readonly": "on", "mounted": "no -", "canmount": "noauto"} | (there_properties or {})
    source = member("tank/a", master, here, written, **properties)
    target = member("tank/b", replica, there, written_there, **quiet)
    return Pair(TAG, Tree((with_bookmark(source, target),)), Tree((target,)))


def lane(*snapshots: str, **about: Any) -> Lane:
    """The one lane of pair(…)."""
    [only] = pair(*snapshots, **about).lanes
    return only


def expiring(side: Lane, now: int = 77) -> tuple[DestroySnapshots, ...]:
    """What both ends let go of."""
    return tuple(step for expiry in expire_lane(side, now) for step in expiry.steps())


def intent(operation: str = "failover", identity: str = NEW, phase: str = "prepare") -> Intent:
    return Intent(operation, identity, phase, 2, {"tank/a": "off default"})
