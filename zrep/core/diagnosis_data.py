"""Whether the data of a master can go to its replica as both are, and what to do where it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import join, quote

from zrep.core import shape
from zrep.core.advice import aside, command, of_master, on
from zrep.core.dataset import Member, Snapshot
from zrep.core.long_names import diagnose_names
from zrep.core.pair import End, newest_base, newest_common
from zrep.core.pair_state import Diagnosis, State
from zrep.core.quantities import size
from zrep.core.repair import Repair, next_repair
from zrep.core.role import Role
from zrep.core.settings import FILTERS_FILE

# They could not be given to the peer's login shell.
_NOT_IN_FILTERS = frozenset("'!\\\n")


def diagnose_data(tag: str, mine: Member, theirs: Member) -> Diagnosis | None:
    """Judge whether a stream can go from the master to the replica: there is a base, and the replica is as it was
    received, or has still to be received for the first time. None: it can."""
    master, replica = _by_role(mine, theirs)
    if barred := _diagnose_passing(mine, theirs, master):
        return barred
    if replica.role.taken:
        return _place_taken(mine, master, replica)
    if long := diagnose_names(tag, mine, master, replica):
        return long
    if replica.arriving:
        return None
    base = newest_base(master, replica)
    if base is None:
        if master.role.base_with:
            return _base_elsewhere(mine, master, replica)
        if master.role.within:
            return _taken(mine, master, replica)
        return _nothing_common(mine, theirs, master)
    own = replica.by_guid(base.guid)
    assert own is not None
    later, written = replica.after(own), replica.written_since(own)
    if written == replica.number("written") > 0 and replica.only_quotas:
        return _quotas_set(mine, theirs, base)
    came = [snapshot for snapshot in later if snapshot.written]
    if came and not replica.number("written") and all(snapshot.sent is not None for snapshot in came):
        return _base_destroyed(mine, theirs, base, came[-1])
    if written:
        return modified(mine, theirs, f"{size(written)} written there since @{base.name}")
    if replica.key_missing and not master.sent_raw:
        return _key_away(mine, theirs)
    left = replica.left_over(tag, own)
    obstacles = [snapshot for snapshot in later if snapshot not in left]
    return _in_the_way(mine, theirs, base, obstacles) if obstacles and master.sent_raw else None


def _nothing_common(mine: Member, theirs: Member, master: Member) -> Diagnosis:
    """There is no base: it was destroyed, or it is the snapshot of a clone that was promoted over the master."""
    why = "its base was destroyed, and what zrep keeps of that too"
    advice = f"{of_master(mine, master, 'clear')}, then zrep init to a new target"
    if master.get("origin") != "-":
        clone = master.get("origin").partition("@")[0]
        why += f"; or {clone} has it, which {master.name} is a clone of since that was promoted"
        back = on("" if master is mine else mine.role.peer_host, f"zfs promote {quote(master.name)}")
        advice = f"if {clone} was promoted, to take its snapshots back: {back}; else {advice}"
    return Diagnosis(
        State.NO_COMMON_SNAPSHOT,
        "the two sides have no common snapshot",
        f"{len(mine.snapshots)} snapshots here, {len(theirs.snapshots)} there, and no bookmark of the master is of "
        f"one of the replica: {why}",
        advice,
    )


def _key_away(mine: Member, theirs: Member) -> Diagnosis:
    """What is not sent raw is encrypted where it arrives."""
    master, replica = _by_role(mine, theirs)
    host = mine.role.peer_host if master is mine else ""
    return Diagnosis(
        State.KEY_NOT_LOADED,
        f"the key of the replica {replica.name}{f' on {host}' if host else ''} is not loaded",
        "its streams are not raw: they are encrypted as they arrive",
        f"{f'on {host}: ' if host else ''}{replica.load_key}",
    )


def diagnose_turned(mine: Member, theirs: Member) -> Diagnosis | None:
    """Judge whether the streams of a replica could go to its master, once it is the master: each side has been told for
    itself what they pass through. None: they could."""
    return _diagnose_passing(mine, theirs, _by_role(mine, theirs)[1])


def _diagnose_passing(mine: Member, theirs: Member, sender: Member) -> Diagnosis | None:
    """Judge what the streams of one of two sides pass through."""
    if barred := diagnose_filters(sender.role, mine.filters, theirs.filters, mine.role.peer_host):
        return barred
    where = ("here", f"on {mine.role.peer_host}")
    if sender is mine:
        return diagnose_programs(mine, theirs, *where)
    return diagnose_programs(theirs, mine, *where[::-1])


def diagnose_filters(role: Role, here: Sequence[str], there: Sequence[str], host: str) -> Diagnosis | None:
    """Judge the filters in a master's role by what root allows here, and there on host. They are shell commands, and
    whoever may set a property of the dataset can write them: each host runs only what its own root has written down.
    Both are needed on both, or a role change would end what goes on now. None: they are allowed."""
    wanted = dict.fromkeys(text for text in (role.outfilter, role.infilter) if text)
    sides = (("here", here), (f"on {host}", there))
    barred = {where: [text for text in wanted if text not in allowed] for where, allowed in sides}
    if not any(barred.values()):
        return None
    told = "; ".join(f"{where}: {', '.join(map(repr, texts))}" for where, texts in barred.items() if texts)
    odd = any(not text.isprintable() or set(text) & _NOT_IN_FILTERS for text in wanted)
    write = "; ".join(_allowing(where, texts) for where, texts in barred.items() if texts)
    return Diagnosis(
        State.FILTER_NOT_ALLOWED,
        "a filter of its streams is not one that root has allowed",
        f"{told}; it runs as a shell command, and stands in a property, which others than root may have set; "
        f"{FILTERS_FILE} counts where none but root may write it",
        "zrep writes no such filter: see zrep(8), STREAM FILTERS" if odd else f"only if you know it, as root {write}",
    )


def diagnose_programs(master: Member, replica: Member, at_master: str, at_replica: str) -> Diagnosis | None:
    """Judge whether both hosts have what the streams of a master pass through. at_master, at_replica: where each is, as
    "here" and "on HOST". None: they have."""
    role = master.role
    for member, where, text in ((master, at_master, role.outfilter), (replica, at_replica, role.infilter)):
        if name := shape.absent(text, member.programs):
            return Diagnosis(
                State.PROGRAM_MISSING,
                f"the filter program {name} is not installed {where}",
                f"its streams pass through {text!r} there",
                f"install it {where}, where its PATH finds it",
            )
        if name := shape.missing(role.bwlimit, role.compress, sends=member is master, programs=member.programs):
            return Diagnosis(
                State.PROGRAM_MISSING,
                f"{name} is not installed {where}",
                shape.said(role.bwlimit, role.compress),
                f"install it {where}, or {at_master}: zrep changeconfig "
                f"{shape.ending(role.compress, name)} {quote(master.name)}",
            )
    return None


def _allowing(where: str, filters: Sequence[str]) -> str:
    """The line that allows filters on a host: its file need not be there yet."""
    return f"{where}: mkdir -p /etc/zrep; printf '%s\\n' {join(filters)} >> {FILTERS_FILE}"


def _base_destroyed(mine: Member, theirs: Member, base: Snapshot, gone: Snapshot) -> Diagnosis:
    """What the replica has received since, gone as the last of it, is nowhere on the master, neither as snapshots nor
    as bookmarks: nobody wrote to the replica. Where the master was rolled back, or its pool was, the replica alone has
    that."""
    master, replica = _by_role(mine, theirs)
    own, other = replica.role.roots or (replica.name, replica.role.peer_fs)
    at_replica, at_master = ("", mine.role.peer_host) if replica is mine else (mine.role.peer_host, "")
    keep = (
        f"{command(at_replica, 'takeover', '-L', '-f', own)}, then "
        f"{'' if at_master else 'here: '}{command(at_master, 'rejoin', other)}"
    )
    return Diagnosis(
        State.REPLICA_MODIFIED,
        f"the base @{gone.name} was destroyed on the master, and its bookmark too",
        f"the newest that both have is @{base.name}; {replica.name} has what came since",
        f"to go on from @{base.name}, without that: {of_master(mine, master, 'sync', '-f')}, "
        f"or where the master was set back, to keep that: {keep}",
    )


def _quotas_set(mine: Member, theirs: Member, base: Snapshot) -> Diagnosis:
    """Quotas are in what is replicated. Whoever sets them on the replica makes it differ, and would lose them."""
    master, replica = _by_role(mine, theirs)
    there = f" on {mine.role.peer_host}" if master is mine else ""
    return Diagnosis(
        State.REPLICA_MODIFIED,
        f"user, group or project quotas were set or cleared on the replica {replica.name}",
        f"nothing else was written there since @{base.name}; see: zfs userspace {quote(replica.name)}{there}; "
        "a takeover -L that was cut does so too",
        "quotas come with the master's data, so set them there; then, to drop the replica's: "
        + of_master(mine, master, "sync", "-f"),
    )


def _in_the_way(mine: Member, theirs: Member, base: Snapshot, later: Sequence[Snapshot]) -> Diagnosis:
    """Onto an encrypted dataset a raw stream goes only where the base is the newest snapshot. later: those that zrep
    leaves to a person: others made them, hold them, or have clones of them, or nothing shows any more that zrep did."""
    master, replica = _by_role(mine, theirs)
    host = mine.role.peer_host if master is mine else ""
    full = [f"{replica.name}@{snapshot.name}" for snapshot in later]
    held = [("zfs", "release", tag, name) for name, s in zip(full, later, strict=True) for tag in sorted(s.holds)]
    clones = [clone for snapshot in later for clone in snapshot.clones]
    copy = f"copy what is wanted of {', '.join(clones)}, then: " if clones else ""
    remove = [*(("zfs", "destroy", clone) for clone in clones)]
    remove.append(("zfs", "destroy", f"{replica.name}@{','.join(snapshot.name for snapshot in later)}"))
    return Diagnosis(
        State.FOREIGN_SNAPSHOT,
        f"the encrypted replica {replica.name} has snapshots newer than the base that are not on the master",
        f"{', '.join(f'@{snapshot.name}' for snapshot in later)}: nothing is in them that @{base.name} has not, and no "
        "raw stream is received on top of them",
        f"{f'on {host}: ' if host else ''}{copy}{'; '.join(map(join, (*held, *remove)))}",
    )


def _taken(mine: Member, master: Member, replica: Member) -> Diagnosis:
    """A member of a tree whose place on the replica somebody else's dataset has."""
    return Diagnosis(
        State.NO_COMMON_SNAPSHOT,
        f"{replica.name} is in its place on the replica, and is no copy of it",
        f"{len(replica.snapshots)} snapshots there, none in common{_with_it(replica)}",
        _making_room(mine, master, replica, replica.name),
    )


def _base_elsewhere(mine: Member, master: Member, replica: Member) -> Diagnosis:
    """A member of a tree over which a clone outside of it was promoted, that has its base since."""
    clone, host = master.role.base_with, "" if master is mine else mine.role.peer_host
    return Diagnosis(
        State.NO_COMMON_SNAPSHOT,
        f"its base belongs to {clone} now, which is not in the tree",
        f"a clone was promoted over it: it is one of {master.get('origin')} since",
        f"to take its snapshots back: {on(host, f'zfs promote {quote(master.name)}')}; or leave it out, "
        + command(host, "changeconfig", "--exclude", master.name),
    )


def _place_taken(mine: Member, master: Member, replica: Member) -> Diagnosis:
    """The same, where its own is under another name, or has still to arrive."""
    own = "it has still to arrive" if replica.arriving else f"it is still called {replica.name} there"
    return Diagnosis(
        State.NO_COMMON_SNAPSHOT,
        f"{replica.role.taken} is in its place on the replica, and is none of the tree's",
        own,
        _making_room(mine, master, replica, replica.role.taken),
    )


def _making_room(mine: Member, master: Member, replica: Member, name: str) -> str:
    """What gives a member of a tree its place. name: of what has that."""
    host = mine.role.peer_host
    there = f"on {host}: " if replica is not mine else ""
    out = command("" if master is mine else host, "changeconfig", "--exclude", master.name)
    return f"{there}{aside(name)}; or leave it out, {out}"


def _with_it(member: Member) -> str:
    """What else a dataset takes along that is given another name, as evidence."""
    return (
        "; what is below it goes along, and a pair there says then how it is tied again" if member.has_children else ""
    )


def modified(mine: Member, theirs: Member, evidence: str) -> Diagnosis:
    """The replica is not what was received, by whatever evidence."""
    master, replica = _by_role(mine, theirs)
    return Diagnosis(
        State.REPLICA_MODIFIED,
        f"the replica {replica.name} was changed by hand",
        evidence + _whose(master, replica),
        f"to throw that away: {of_master(mine, master, 'sync', '-f')}",
    )


def _whose(master: Member, replica: Member) -> str:
    """Whose that may be. A replica whose role has moved before was the master until then: what a program there stored
    through a file it had mapped came after the final snapshot, and is nowhere else."""
    base = newest_common(replica, master)
    if (replica.role.epoch or 0) < 2 or base is None:
        return ""
    look = "" if replica.volume else f": zfs diff {quote(f'{replica.name}@{base.name}')} {quote(replica.name)} shows it"
    return f"; it was master before epoch {replica.role.epoch}, and this may be what a program stored there last{look}"


def _by_role(mine: Member, theirs: Member) -> tuple[Member, Member]:
    """Master and replica, as they are when what was cut is finished."""
    repair = next_repair(mine.role, theirs.role)
    taken = repair == (Repair.DEMOTE, End.SOURCE)
    return (theirs, mine) if taken or not mine.role.master else (mine, theirs)
