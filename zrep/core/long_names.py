"""Names that ZFS would not take: a dataset's with its snapshot's has at most 255 bytes, and on a replica it is another
one than on its master."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from zrep.core.advice import command
from zrep.core.dataset import Member, Snapshot
from zrep.core.names import LONGEST, excess, is_of_a_tag, next_sequence, snapshot_name
from zrep.core.pair import newest_base
from zrep.core.pair_state import Diagnosis, State

# A @, a _ and the digits of more snapshots than any pair has.
_ROOM = 14


def too_long(tag: str, master: Member, place: str, base: Snapshot | None = None) -> str:
    """What a snapshot that is to come next would be called at a dataset of this name, in full, where that is more than
    ZFS takes; "" where it is not. base: what has arrived already."""
    if not master.role.all_snapshots and not excess(f"{place}{tag}", _ROOM):
        return ""
    full = f"{place}@{max(_coming(tag, master, base), key=len)}"
    return full if excess(full) else ""


def _coming(tag: str, master: Member, base: Snapshot | None) -> Iterator[str]:
    """The short names of what the next streams bring. A relay makes none, and passes on what it has received: what that
    is held under another tag says."""
    own = [snapshot.name for snapshot in master.ours(tag)]
    passed_on = (snapshot.name for snapshot in master.snapshots if snapshot.holds - {tag})
    yield min((snapshot_name(tag, next_sequence(tag, own)), *passed_on), key=len)
    if master.role.all_snapshots:
        ahead = master.after(base) if base else master.snapshots
        yield from (snapshot.name for snapshot in ahead if not is_of_a_tag(snapshot.name))


def said(full: str) -> str:
    """The evidence that a name is too long."""
    return f"{full} has {len(full)} bytes, ZFS allows {LONGEST}"


def diagnose_names(tag: str, mine: Member, master: Member, replica: Member) -> Diagnosis | None:
    """Judge whether what a master is to send can have its name on both sides. mine: which of them a person reads of it
    at. None: it can."""
    base = newest_base(master, replica)
    there = replica.role.overlong or too_long(tag, master, place_of(master, replica), base)
    full = there or too_long(tag, master, master.name, base)
    if not full:
        return None
    host = "" if (replica if there else master) is mine else f" on {mine.role.peer_host}"
    what = f"its name{host} would be too long" if there else f"its name{host} is too long for another snapshot"
    return Diagnosis(State.NAME_TOO_LONG, what, said(full), _advice(mine, master, replica, full, bool(there)))


def place_of(master: Member, replica: Member) -> str:
    """What the replica of a lane is to be called: below its root what the master is called below its own."""
    if replica.role.roots is None or master.role.roots is None:
        return replica.name
    return replica.role.roots[0] + master.name.removeprefix(master.role.roots[0])


def _advice(mine: Member, master: Member, replica: Member, full: str, there: bool) -> str:
    def shorter(member: Member, name: str) -> str:
        start = "" if member is mine else f"on {mine.role.peer_host}: "
        return f"{start}zfs rename {quote(name)} to a name that is {excess(full)} bytes shorter"

    short = full.partition("@")[2]
    if any(snapshot.name == short and not is_of_a_tag(short) for snapshot in master.snapshots):
        return shorter(master, f"{master.name}@{short}")
    if not master.role.within:
        named = replica if there else master
        return f"{shorter(named, named.name)}; zrep status says then how both sides learn of it"
    host = "" if master is mine else mine.role.peer_host
    return f"leave it out, {command(host, 'changeconfig', '--exclude', master.name)}; or {shorter(master, master.name)}"
