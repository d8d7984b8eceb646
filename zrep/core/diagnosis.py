"""What state a pair is in, why, what to do about it, and what may be done with it: decided here, for ``status``,
``list``, ``sync`` and every role change alike. relation.py compares two generations; this judges two datasets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from shlex import join, quote

from msgspec import Struct

from zrep.core import shape
from zrep.core.dataset import Member, Snapshot
from zrep.core.errors import BusyError, RefusedError, ZrepError
from zrep.core.pair import End, newest_common
from zrep.core.place import differs, own_and_peer
from zrep.core.quantities import size
from zrep.core.relation import Adoptable, Interrupted, Linked, PeerStale, Relation, SplitBrain, Stale, relate
from zrep.core.role import LEGACY, PREPARED, Role
from zrep.core.settings import FILTERS_FILE


class Action(Enum):
    """What zrep may do with a pair by itself."""

    PROCEED = "go on"
    REPAIR = "finish or undo what was cut, then go on"
    WAIT = "leave it alone for now"
    STOP_WRITES = "refuse, and make a side that says it is master read-only"
    REFUSE = "refuse"


class State(Enum):
    """A state of a pair, as one side sees it. word: what list and status call it (README "States"); code: the exit
    status of status; action: what may be done."""

    OK = ("ok", 0, Action.PROCEED)
    PAUSED = ("paused", 0, Action.PROCEED)
    SPLIT_COPY = ("split copy", 0, Action.REFUSE)
    NOT_MOUNTED = ("not mounted", 0, Action.PROCEED)
    STOPPED = ("stopped", 0, Action.REPAIR)
    # Only of what has been judged otherwise: see zrep.core.age.
    LATE = ("late", 1, Action.PROCEED)
    ROLE_CHANGE_UNFINISHED = ("role change unfinished", 3, Action.REPAIR)
    INIT_UNFINISHED = ("init unfinished", 3, Action.REFUSE)
    REJOIN_UNFINISHED = ("rejoin unfinished", 3, Action.REFUSE)
    BUSY = ("busy", 4, Action.WAIT)
    PEER_UNKNOWN = ("peer unknown", 5, Action.WAIT)
    POOL_LOST = ("pool lost", 1, Action.WAIT)
    PEER_MISSING = ("peer missing", 3, Action.REFUSE)
    STALE_MASTER = ("stale master", 3, Action.STOP_WRITES)
    STALE = ("stale", 3, Action.REFUSE)
    PEER_STALE = ("peer stale", 3, Action.REFUSE)
    SPLIT_BRAIN = ("split brain", 3, Action.STOP_WRITES)
    NO_MASTER = ("no master", 3, Action.REFUSE)
    UNRELATED = ("unrelated", 3, Action.REFUSE)
    RENAMED = ("renamed", 3, Action.REFUSE)
    WRONG_PLACE = ("wrong place", 3, Action.REFUSE)
    UNREADABLE = ("unreadable", 3, Action.REFUSE)
    NO_COMMON_SNAPSHOT = ("no common snapshot", 3, Action.REFUSE)
    KEY_NOT_LOADED = ("key not loaded", 3, Action.REFUSE)
    FOREIGN_SNAPSHOT = ("foreign snapshot", 3, Action.REFUSE)
    REPLICA_MODIFIED = ("replica modified", 3, Action.REFUSE)
    FILTER_NOT_ALLOWED = ("filter not allowed", 3, Action.REFUSE)
    PROGRAM_MISSING = ("program missing", 3, Action.REFUSE)

    @property
    def word(self) -> str:
        return self.value[0]

    @property
    def code(self) -> int:
        return self.value[1]

    @property
    def action(self) -> Action:
        return self.value[2]


# Where the other half may be under another name, or its rejoin may be recorded on another dataset of its host.
ELSEWHERE = frozenset({State.PEER_MISSING, State.UNRELATED})
# The roles are well and only the data is not: whatever moves data refuses by itself.
DATA = frozenset({State.NO_COMMON_SNAPSHOT, State.KEY_NOT_LOADED, State.FOREIGN_SNAPSHOT, State.REPLICA_MODIFIED})
# They could not be given to the peer's login shell.
_NOT_IN_FILTERS = frozenset("'!\\\n")
# What one side knows of itself and the other cannot change.
_DECIDED = frozenset(
    {State.SPLIT_COPY, State.REJOIN_UNFINISHED, State.UNREADABLE, State.RENAMED, State.INIT_UNFINISHED}
)


class Diagnosis(Struct, frozen=True):
    """A state with what it rests on. what: the statement that an error makes; evidence: why zrep says so; advice: the
    next command, with real names, or what to do; unasked: the exit status of what kept the peer from being asked, 0
    where nothing did."""

    state: State
    what: str = ""
    evidence: str = ""
    advice: str = ""
    unasked: int = 0

    @property
    def code(self) -> int:
        return self.unasked or self.state.code

    def error(self, filesystem: str, more: str = "") -> ZrepError:
        """The refusal that this state is. more: what to add to the evidence."""
        kind = BusyError if self.state.action is Action.WAIT else RefusedError
        return kind(self.what, filesystem=filesystem, evidence=self.evidence + more, advice=self.advice)


class Repair(Enum):
    """What the next run does by itself with what an earlier one left of a role change, in this order."""

    DEMOTE = "the old master follows the side that took the role"
    UNDO = "the master goes back to how it was before a role change that was not committed"
    RESTORE = "a master that was stopped is one after all, and writable again"
    COMPLETE = "a role of which only a part landed is made whole"
    OPEN = "a new master is made available"
    TELL = "an old master's programs are told that it was demoted"
    MET = "a side promoted alone has met its peer"


def next_repair(source: Role, target: Role) -> tuple[Repair, End] | None:
    """What is to be mended first of an unfinished role change, and the end it is about; None when nothing is. After
    each, both are read and asked about again. It does not matter which is given as the source, but where both ends need
    the same the source comes first."""
    linked = isinstance(relate(source, target), Linked)
    ends = ((End.SOURCE, source, target), (End.TARGET, target, source))
    needed = ((repair, end) for repair in Repair for end, role, other in ends if _needs(repair, role, other, linked))
    return next(needed, None)


def _needs(repair: Repair, role: Role, other: Role, linked: bool) -> bool:
    operation = role.intent.operation if role.intent else ""
    match repair:
        case Repair.DEMOTE:
            identity = role.intent.identity if role.intent else ""
            return role.master is True and operation == "failover" and other.gen == identity
        case Repair.UNDO:
            return linked and role.master is True and operation == "failover"
        case Repair.RESTORE:
            return linked and role.master is True and operation == "stopped"
        case Repair.COMPLETE:
            return role.partially_applied
        case Repair.OPEN:
            return role.master is True and operation == "promote"
        case Repair.TELL:
            return linked and role.master is False and operation == "follow"
        case Repair.MET:
            return linked and role.master is True and role.alone


def unread(error: ZrepError) -> Diagnosis:
    """Judge what is here and cannot be read, for this reason."""
    return Diagnosis(State.POOL_LOST, error.what, error.what, error.advice, error.exit_code)


def diagnose_alone(name: str, role: Role) -> Diagnosis:
    """Judge one dataset by its own role, its peer unasked."""
    return _decided(name, role, "") or _by_its_intent(name, role)


def diagnose(
    tag: str,
    mine: Member,
    theirs: Member | ZrepError | None,
    *,
    elsewhere: Mapping[str, Role] | None = None,
    shell: str = "",
) -> Diagnosis:
    """Judge a pair of a tag as read on both sides, seen from mine. theirs: what kept the peer from being asked, or None
    when it says that there is no such dataset.

    elsewhere: the roles of all datasets on the peer, to be given where without them the state is in ELSEWHERE;
    shell: evidence that a living shell zrep works on one of the two.
    """
    found = _diagnose_roles(mine, theirs, elsewhere=elsewhere, shell=shell)
    goes_on = found.state.action in (Action.PROCEED, Action.REPAIR) and found.state is not State.PAUSED
    if isinstance(theirs, Member) and goes_on:
        unmounted = _unmounted(mine, theirs) if found.state is State.OK else None
        return diagnose_data(tag, mine, theirs) or unmounted or found
    return found


def _unmounted(mine: Member, theirs: Member) -> Diagnosis | None:
    """A master that would be mounted and is not: whoever uses its path does not get what is in it."""
    master, host = (mine, "") if mine.role.master else (theirs, mine.role.peer_host)
    wanted = master.get("canmount") == "on" and master.get("mountpoint").startswith("/")
    if master.volume or master.mounted or not wanted:
        return None
    where = f"on {host}: " if host else ""
    key = f"{master.load_key}; " if master.key_missing else ""
    return Diagnosis(
        State.NOT_MOUNTED,
        f"{master.name}{f' on {host}' if host else ''} is master and not mounted",
        f"its mountpoint is {master.get('mountpoint')}",
        f"{where}{key}zfs mount {quote(master.name)}",
    )


def _diagnose_roles(
    mine: Member,
    theirs: Member | ZrepError | None,
    *,
    elsewhere: Mapping[str, Role] | None = None,
    shell: str = "",
) -> Diagnosis:
    """The same without a look at the data: what decides whether two sides may work together at all."""
    own = diagnose_alone(mine.name, mine.role)
    if isinstance(theirs, ZrepError) and own.state is State.INIT_UNFINISHED:
        return _unknown(own, mine.role, theirs)  # to go on with it needs the peer
    if own.state in _DECIDED:
        return own
    if moved := misplaced(mine):
        return moved
    if isinstance(theirs, ZrepError):
        return _unknown(own, mine.role, theirs)
    if theirs is None:
        return _elsewhere(mine, elsewhere or {}) or _missing(mine)
    other = _decided(theirs.name, theirs.role, mine.role.peer_host, mine.name) or met_elsewhere(mine, theirs)
    if other is not None:
        return other
    if shell:
        return Diagnosis(State.BUSY, "the shell zrep is working on it", shell)
    return _tie(mine, theirs.name, theirs.role) or _related(mine, theirs, elsewhere or {})


# --- one side ---


def _decided(name: str, role: Role, host: str, own: str = "") -> Diagnosis | None:
    """What a side is whatever the other one says. host: where it is, "" for here; own: of one that is elsewhere, the
    half here."""
    where = f" on {host}" if host else ""
    # A clone that has the name it was prepared for: the record of its rejoin is on the copy.
    in_place = name if role.split.startswith(f"{PREPARED} {name},") else ""
    if rejoining := role.rejoining or in_place:
        return Diagnosis(
            State.REJOIN_UNFINISHED,
            f"the rejoin of {rejoining}{where} is unfinished",
            "it was cut on the way",
            _rejoin_again(host, role, rejoining, own),
        )
    if role.split:
        return Diagnosis(State.SPLIT_COPY, "this is a split copy kept by rejoin, not part of a pair", role.split)
    if role.unreadable:
        return Diagnosis(
            State.UNREADABLE,
            f"{name}{where} has properties that this zrep did not write",
            role.unreadable,
            f"update zrep on both hosts, or set right what was changed by hand: {_command(host, 'list', '-v', name)}",
        )
    beginning = role.intent is not None and role.intent.operation == "init"
    # An init is recorded at the source, whatever of the role has landed there.
    own, peer = (
        (role.src_fs, (role.dest_host, role.dest_fs)) if beginning else (role.own_fs, (role.peer_host, role.peer_fs))
    )
    if role.paired and own != name:
        return Diagnosis(
            State.RENAMED,
            f"{name}{where} was renamed",
            f"its pair knows it as {own}",
            _command(host, "changeconfig", name)
            + ("" if host else f", then {_command(role.peer_host, 'changeconfig', role.peer_fs, role.own_host, name)}"),
        )
    if beginning:
        return Diagnosis(
            State.INIT_UNFINISHED,
            f"its init{where} was interrupted",
            "it goes on where it was",
            _init_again(host, role, name, *peer),
        )
    return None


def _by_its_intent(name: str, role: Role) -> Diagnosis:
    intent = role.intent
    if intent is not None and intent.operation == "stopped":
        return Diagnosis(State.STOPPED, "it was made read-only", advice=_of_pair(name, role, "sync"))
    if intent is not None and not intent.completed:
        what = "a role change is unfinished"
        if role.master and role.alone:
            return Diagnosis(
                State.ROLE_CHANGE_UNFINISHED,
                what,
                "promoted alone, not opened yet",
                _command("", "takeover", "-L", name),
            )
        return Diagnosis(State.ROLE_CHANGE_UNFINISHED, what, advice=_of_pair(name, role, "sync"))
    return Diagnosis(State.PAUSED, "it is paused", role.paused) if role.paused else Diagnosis(State.OK)


def _unknown(own: Diagnosis, role: Role, error: ZrepError) -> Diagnosis:
    """The peer could not be asked: what this side knows of itself, where that is something. Only a side that was
    promoted alone can be finished without it."""
    state = State.PEER_UNKNOWN if own.state.action is Action.PROCEED else own.state
    return Diagnosis(state, error.what, error.line(), own.advice if role.alone else "", error.exit_code)


# --- places ---


def misplaced(member: Member, host: str = "") -> Diagnosis | None:
    """A half that is in another pool or on another host than it says: a copy, or a pool that was moved there. host:
    where it is, "" for here."""
    evidence = differs(own_and_peer(member.role.places)[0], member.place)
    if not evidence:
        return None
    where = f"on {host}: " if host else ""
    return Diagnosis(
        State.WRONG_PLACE,
        f"{member.name}{f' on {host}' if host else ''} was in another place: its pool was moved, or this is a copy",
        evidence,
        f"{where}if it was moved for good: zrep changeconfig --moved {quote(member.name)}; "
        f"a copy: zrep clear -L {quote(member.name)}",
    )


def met_elsewhere(mine: Member, theirs: Member) -> Diagnosis | None:
    """One of two halves is not where the other one knows it."""
    host = mine.role.peer_host
    if moved := misplaced(theirs, host):
        return moved
    if evidence := differs(own_and_peer(mine.role.places)[1], theirs.place):
        return Diagnosis(
            State.WRONG_PLACE,
            f"what answers as {host} is another host or pool than {theirs.name} was on",
            evidence,
            f"is {host} this host's own name (ZREP_HOST), or the address of another one? If its pool was moved for "
            f"good, there: zrep changeconfig --moved {quote(theirs.name)}",
        )
    if evidence := differs(own_and_peer(theirs.role.places)[1], mine.place):
        return Diagnosis(
            State.WRONG_PLACE,
            f"{theirs.name} on {host} knows {mine.name} in another place than this one",
            evidence,
            f"if the pool was moved here for good: zrep changeconfig --moved {quote(mine.name)}; "
            f"a copy: zrep clear -L {quote(mine.name)}",
        )
    return None


# --- the other half is not where it should be ---


def _missing(mine: Member) -> Diagnosis:
    role = mine.role
    return Diagnosis(
        State.PEER_MISSING,
        f"{role.peer_fs} does not exist on {role.peer_host}",
        "the peer's ZFS says so",
        f"if it is lost for good: {_command('', 'clear', mine.name)}, then zrep init again",
    )


def _elsewhere(mine: Member, roles: Mapping[str, Role]) -> Diagnosis | None:
    """Its rejoin was cut: then a copy on its host has the record of it; or it was renamed: then it has its role."""
    role = mine.role
    for name, other in roles.items():
        if other.rejoining == role.peer_fs:
            return _decided(name, other, role.peer_host, mine.name)
    for name, other in roles.items():
        if name != role.peer_fs and other.paired and other != role and _one_pair(role, other):
            learn = _command("", "changeconfig", mine.name, role.peer_host, name)
            told = f"{_command(role.peer_host, 'changeconfig', name)}, then here: {learn}"
            return Diagnosis(
                State.RENAMED,
                f"{role.peer_fs} on {role.peer_host} was renamed",
                f"it is called {name} there now",
                learn if other.own_fs == name else told,
            )
    return None


def _tie(mine: Member, name: str, other: Role) -> Diagnosis | None:
    """The other half knows this one by an earlier name."""
    if not other.paired or other.peer_fs == mine.name or not _one_pair(mine.role, other):
        return None
    host = mine.role.peer_host
    return Diagnosis(
        State.RENAMED,
        f"{name} on {host} knows this by an earlier name",
        f"its peer is called {other.peer_fs} there",
        _command(host, "changeconfig", name, other.peer_host, mine.name),
    )


def _one_pair(one: Role, other: Role) -> bool:
    """Whether two roles are of one pair whatever the names in them: an id of a generation is made once. A pair of the
    shell zrep has none, and is one where no more than one name differs."""
    if not one.gen and not other.gen:
        return sum(a != b for a, b in zip(one.links, other.links, strict=True)) <= 1
    return bool(({one.gen, *one.parents} & {other.gen, *other.parents}) - {"", LEGACY})


# --- two sides ---


def _related(mine: Member, theirs: Member, elsewhere: Mapping[str, Role]) -> Diagnosis:
    name, host, other = mine.name, mine.role.peer_host, theirs.name
    relation = relate(mine.role, theirs.role)
    repair, _ = next_repair(mine.role, theirs.role) or (None, None)
    if repair is Repair.DEMOTE or repair is Repair.UNDO:
        return _unfinished(mine, theirs, repair)
    match relation:
        case Linked() | Adoptable():
            return _linked(mine, theirs, repair)
        case Stale():
            state = State.STALE_MASTER if mine.role.master else State.STALE
            what, advice = f"the master role has moved to {other} on {host}", _command("", "rejoin", name)
        case PeerStale():
            state, what = State.PEER_STALE, f"the old master {other} on {host} has not rejoined"
            advice = _of_half(host, theirs.role, other, "rejoin")
        case SplitBrain():
            state, what, advice = State.SPLIT_BRAIN, "split brain: both sides were made master", _give_up(mine, theirs)
        case Interrupted():
            state, what, advice = State.NO_MASTER, "neither side is master", _promote(mine)
        case _:
            return _elsewhere(mine, elsewhere) or _unrelated(mine, theirs, relation)
    return Diagnosis(state, what, relation.evidence(), advice)


def _unrelated(mine: Member, theirs: Member, relation: Relation) -> Diagnosis:
    host = mine.role.peer_host
    return Diagnosis(
        State.UNRELATED,
        f"{theirs.name} on {host} is not the other half of this pair",
        relation.evidence(),
        f"to start over: {_command('', 'clear', mine.name)}, then zrep init to a new target",
    )


def _linked(mine: Member, theirs: Member, repair: Repair | None) -> Diagnosis:
    if repair is Repair.COMPLETE or repair is Repair.OPEN:
        return _unfinished(mine, theirs, repair)
    if repair is Repair.RESTORE:
        return Diagnosis(State.STOPPED, "it was made read-only", "it is the master after all", _sync(mine))
    if paused := mine.role.paused or theirs.role.paused:
        return Diagnosis(State.PAUSED, "it is paused", paused)
    return Diagnosis(State.OK)


def _unfinished(mine: Member, theirs: Member, repair: Repair) -> Diagnosis:
    evidence = f"{relate(mine.role, theirs.role).evidence()}; {repair.value}"
    return Diagnosis(State.ROLE_CHANGE_UNFINISHED, "a role change is unfinished", evidence, _sync(mine))


def _sync(mine: Member) -> str:
    """What finishes or undoes it: a sync where a side says it is master, or where the pair is driven."""
    return _of_pair(mine.name, mine.role, "sync")


def _give_up(mine: Member, theirs: Member) -> str:
    """Only a side whose peer is master can give its role up."""
    host = mine.role.peer_host
    ways = [
        *([f"{_command('', 'rejoin', '-f', mine.name)} here"] if theirs.role.master else []),
        *([_of_half(host, theirs.role, theirs.name, "rejoin", "-f")] if mine.role.master else []),
    ]
    if not ways:
        return _promote(mine)
    return f"decide which side to give up (its data stays in a split copy): {', or '.join(ways)}"


def _promote(mine: Member) -> str:
    """Without a master, the one that its links call the replica can become it; what the other has alone stays in a
    split copy when that rejoins."""
    return _command("", "takeover", "-L", mine.name)


# --- data ---


def diagnose_data(tag: str, mine: Member, theirs: Member) -> Diagnosis | None:
    """Judge whether a stream can go from the master to the replica: there is a base, and the replica is as it was
    received, or has still to be received for the first time. None: it can."""
    master, replica = _by_role(mine, theirs)
    if barred := diagnose_filters(master.role, mine.filters, theirs.filters, mine.role.peer_host):
        return barred
    where = ("here", f"on {mine.role.peer_host}")
    if lacking := diagnose_programs(master, replica, *(where if master is mine else where[::-1])):
        return lacking
    if replica.arriving:
        return None
    base = newest_common(master, replica)
    if base is None:
        if master.role.within:
            return _taken(mine, master, replica)
        return Diagnosis(
            State.NO_COMMON_SNAPSHOT,
            "the two sides have no common snapshot",
            f"{len(mine.snapshots)} snapshots here, {len(theirs.snapshots)} there",
            f"{_of_master(mine, master, 'clear')}, then zrep init to a new target",
        )
    own = replica.by_guid(base.guid)
    assert own is not None
    later, written = replica.after(own), replica.written_since(own)
    if written == replica.number("written") > 0 and replica.only_quotas:
        return _quotas_set(mine, theirs, base)
    if written:
        return modified(mine, theirs, f"{size(written)} written there since @{base.name}")
    if replica.key_missing and not master.sent_raw:
        return _key_away(mine, theirs)
    left = replica.left_over(tag, own)
    obstacles = [snapshot for snapshot in later if snapshot not in left]
    return _in_the_way(mine, theirs, base, obstacles) if obstacles and master.sent_raw else None


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
        f"{told}; it runs as a shell command, and stands in a property, which others than root may have set",
        "zrep writes no such filter: see zrep(8), STREAM FILTERS" if odd else f"only if you know it, as root {write}",
    )


def diagnose_programs(master: Member, replica: Member, at_master: str, at_replica: str) -> Diagnosis | None:
    """Judge whether both hosts have what the streams of a master pass through. at_master, at_replica: where each is, as
    "here" and "on HOST". None: they have."""
    role = master.role
    for member, where in ((master, at_master), (replica, at_replica)):
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
        + _of_master(mine, master, "sync", "-f"),
    )


def _in_the_way(mine: Member, theirs: Member, base: Snapshot, later: Sequence[Snapshot]) -> Diagnosis:
    """Onto an encrypted dataset a raw stream goes only where the base is the newest snapshot. later: those that are no
    business of zrep's."""
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
        f"the encrypted replica {replica.name} has snapshots that zrep did not make, newer than the base",
        f"{', '.join(f'@{snapshot.name}' for snapshot in later)}: nothing is in them that @{base.name} has not, and no "
        "raw stream is received on top of them",
        f"{f'on {host}: ' if host else ''}{copy}{'; '.join(map(join, (*held, *remove)))}",
    )


def _taken(mine: Member, master: Member, replica: Member) -> Diagnosis:
    """A member of a tree whose place on the replica somebody else's dataset has."""
    here, there = (f"on {mine.role.peer_host}: " if member is not mine else "" for member in (master, replica))
    return Diagnosis(
        State.NO_COMMON_SNAPSHOT,
        f"{replica.name} is in its place on the replica, and zrep did not make it",
        f"{len(replica.snapshots)} snapshots there, none in common",
        f"{there}zfs rename {quote(replica.name)} to another name; or leave it out, "
        f"{here}zfs set zrep:exclude=on {quote(master.name)}",
    )


def modified(mine: Member, theirs: Member, evidence: str) -> Diagnosis:
    """The replica is not what was received, by whatever evidence."""
    master, replica = _by_role(mine, theirs)
    return Diagnosis(
        State.REPLICA_MODIFIED,
        f"the replica {replica.name} was changed by hand",
        evidence + _whose(master, replica),
        f"to throw that away: {_of_master(mine, master, 'sync', '-f')}",
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


# --- command lines ---


def _command(host: str, *words: str) -> str:
    """A command line of zrep. host: where to run it, "" for here."""
    return f"{f'on {host}: ' if host else ''}zrep {join(words)}"


def _of_pair(name: str, role: Role, *words: str) -> str:
    """A command for the side that drives, seen from one with this role."""
    return _command("", *words, name) if role.drives else _command(role.peer_host, *words, role.peer_fs)


def _of_master(mine: Member, master: Member, *words: str) -> str:
    """A command for the master, or where the other side drives for that one, seen from mine."""
    if mine.role.driver:
        return _of_pair(mine.name, mine.role, *words)
    return _command("" if master is mine else mine.role.peer_host, *words, master.name)


def _of_half(host: str, role: Role, name: str, *words: str) -> str:
    """A command that is about one half of a pair, with this role and name on host ("": here). Where its host never
    dials the other, that one does it, under the name there."""
    if not role.only_dialled:
        return _command(host, *words, name)
    return _command("" if host else role.peer_host, *words, "--peer", role.peer_fs)


def _rejoin_again(host: str, role: Role, name: str, own: str) -> str:
    """The rejoin that goes on with one that was cut. role: that of the dataset on host that shows it, the copy or the
    clone in its place, whose links are no longer those of the pair; own: as of _decided."""
    if not role.only_dialled:
        return _command(host, "rejoin", name)
    if host:
        return _command("", "rejoin", "--peer", own)
    known = role.intent.detail if role.intent else {}
    # A clone in its place knows no peer: the copy does, and says it.
    return _command(known["host"], "rejoin", "--peer", known["peer"]) if "peer" in known else ""


def _init_again(host: str, role: Role, name: str, peer: str, target: str) -> str:
    """The init that goes on with one that was cut, of a source with this role and name on host."""
    if not role.only_dialled:
        return _command(host, "init", name, peer, target)
    return _command("" if host else role.dest_host, "init", "--pull", role.src_host, name, target)
