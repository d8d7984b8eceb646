"""What state a pair is in, why, what to do about it, and what may be done with it: decided here, for ``status``,
``list``, ``sync`` and every role change alike. relation.py compares two generations; this judges two datasets.
"""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote

from zrep.core.advice import command, init_again, of_half, of_pair, rejoin_again
from zrep.core.by_hand import demoted, generation_lost, its_own_peer
from zrep.core.dataset import Member, only_received
from zrep.core.diagnosis_data import diagnose_data
from zrep.core.errors import ZrepError
from zrep.core.pair import newest_common
from zrep.core.pair_state import Action, Diagnosis, State
from zrep.core.place import differs, own_and_peer
from zrep.core.relation import Adoptable, Interrupted, Linked, PeerStale, Relation, SplitBrain, Stale, relate
from zrep.core.repair import Repair, next_repair
from zrep.core.role import LEGACY, PREPARED, Role

# What one side knows of itself and the other cannot change.
_DECIDED = frozenset(
    {State.SPLIT_COPY, State.REJOIN_UNFINISHED, State.UNREADABLE, State.RENAMED, State.INIT_UNFINISHED}
)


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
    moving: bool = False,
) -> Diagnosis:
    """Judge a pair of a tag as read on both sides, seen from mine. theirs: what kept the peer from being asked, or None
    when it says that there is no such dataset.

    elsewhere: the roles of all datasets on the peer, to be given where without them the state is in ELSEWHERE, or where
    it says that there is no such pool; shell: evidence that a living shell zrep works on one of the two; moving: that
    streams show that the peer is there, and nothing is known to be wrong with this pair.
    """
    found = _diagnose_roles(tag, mine, theirs, elsewhere=elsewhere, shell=shell, moving=moving)
    goes_on = found.state.action in (Action.PROCEED, Action.REPAIR) and found.state is not State.PAUSED
    if isinstance(theirs, Member) and goes_on:
        unwell = (_unmounted(mine, theirs) or _writable(mine, theirs)) if found.state is State.OK else None
        return diagnose_data(tag, mine, theirs) or unwell or found
    return found


def _unmounted(mine: Member, theirs: Member) -> Diagnosis | None:
    """A master that would be mounted and is not: whoever uses its path does not get what is in it."""
    master, host = (mine, "") if mine.role.master else (theirs, mine.role.peer_host)
    wanted = master.get("canmount") == "on" and master.get("mountpoint").startswith("/")
    if master.volume or master.mounted or master.arriving or not wanted:
        return None
    where = f"on {host}: " if host else ""
    key = f"{master.load_key}; " if master.key_missing else ""
    return Diagnosis(
        State.NOT_MOUNTED,
        f"{master.name}{f' on {host}' if host else ''} is master and not mounted",
        f"its mountpoint is {master.get('mountpoint')}",
        f"{where}{key}zfs mount {quote(master.name)}",
    )


def _writable(mine: Member, theirs: Member) -> Diagnosis | None:
    """A replica that anybody may write to: the next stream would not be received on top of that."""
    replica, host = (theirs, mine.role.peer_host) if mine.role.master else (mine, "")
    if not replica.may_be_written:
        return None
    return Diagnosis(
        State.WRITABLE,
        f"the replica {replica.name}{f' on {host}' if host else ''} can be written to",
        f"readonly of {replica.name} {f'on {host}' if host else 'here'} is not on: what is written to it keeps the "
        "next stream out",
        of_pair(mine.name, mine.role, "sync"),
    )


def _diagnose_roles(
    tag: str,
    mine: Member,
    theirs: Member | ZrepError | None,
    *,
    elsewhere: Mapping[str, Role] | None = None,
    shell: str = "",
    moving: bool = False,
) -> Diagnosis:
    """The same without a look at the data: what decides whether two sides may work together at all."""
    if begun := begun_by_the_shell(tag, mine):
        return begun
    own = diagnose_alone(mine.name, mine.role)
    # A role that was changed by hand looks like one that was renamed; nothing else that is decided is that.
    by_hand = own.state is State.RENAMED or own.state not in _DECIDED
    if by_hand and isinstance(theirs, Member) and (itself := its_own_peer(tag, mine, theirs)):
        return _elsewhere(mine, elsewhere or {}) or itself
    if isinstance(theirs, ZrepError) and own.state is State.INIT_UNFINISHED:
        return _unknown(own, mine.role, theirs, moving)  # to go on with it needs the peer
    if own.state in _DECIDED:
        return own
    if moved := misplaced(mine):
        return moved
    if isinstance(theirs, ZrepError):
        return _elsewhere(mine, elsewhere or {}) or _unknown(own, mine.role, theirs, moving)
    if theirs is None:
        return _elsewhere(mine, elsewhere or {}) or _missing(mine)
    other = (
        demoted(tag, mine, theirs)
        or _decided(theirs.name, theirs.role, mine.role.peer_host, mine.name)
        or met_elsewhere(mine, theirs)
    )
    if other is not None:
        return other
    if shell:
        return Diagnosis(State.BUSY, "the shell zrep is working on it", shell)
    tied = _tie(mine, theirs.name, theirs.role) or generation_lost(tag, mine, theirs)
    return tied or _related(mine, theirs, elsewhere or {})


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
            rejoin_again(host, role, rejoining, own),
        )
    if role.unreadable:
        return Diagnosis(
            State.UNREADABLE,
            f"{name}{where} has properties that this zrep did not write",
            role.unreadable,
            f"update zrep on both hosts, or set right what was changed by hand: {command(host, 'list', '-v', name)}",
        )
    if role.split:
        return Diagnosis(State.SPLIT_COPY, "this is a split copy kept by rejoin, not part of a pair", role.split)
    beginning = role.intent is not None and role.intent.operation == "init"
    # An init is recorded at the source, whatever of the role has landed there.
    own, peer = (
        (role.src_fs, (role.dest_host, role.dest_fs)) if beginning else (role.own_fs, (role.peer_host, role.peer_fs))
    )
    if role.paired and own != name:
        tie = command(host, "changeconfig", name)
        if not host:
            tie += f", then {command(role.peer_host, 'changeconfig', role.peer_fs, role.own_host, name)}"
        if peer[1] == name:  # its links call it the other half: so does a role that was changed by hand
            look = command(role.own_host, "status", own)
            tie = f"if it was renamed: {tie}; if its master property was changed by hand, {look} says so"
        return Diagnosis(State.RENAMED, f"{name}{where} was renamed", f"its pair knows it as {own}", tie)
    if beginning:
        return Diagnosis(
            State.INIT_UNFINISHED,
            f"its init{where} was interrupted",
            "it goes on where it was",
            init_again(host, role, name, *peer),
        )
    return None


def begun_by_the_shell(tag: str, mine: Member) -> Diagnosis | None:
    """The source of an init of the shell zrep that was cut: that writes the links first, and that it is the master once
    the stream has arrived. Its links say that it is what they begin at, it can be written to, and nothing is known to
    have been sent. Of names that are alike on both sides its role says that it is the replica."""
    role = mine.role
    source = role.src_fs == mine.name and not only_received(tag, role, mine.properties)
    if not (role.paired and role.master is False and not role.gen and role.intent is None and source):
        return None
    if mine.readonly or mine.marked:
        return None
    return Diagnosis(
        State.INIT_UNFINISHED,
        "its init by the shell zrep was interrupted",
        f"{tag}:master is not set, and nothing of it is known to be on {role.dest_host}",
        f"{command('', 'clear', '-L', mine.name)}, then "
        f"{command('', 'init', mine.name, role.dest_host, role.dest_fs)}, which says how to go on with what is there",
    )


def _by_its_intent(name: str, role: Role) -> Diagnosis:
    intent = role.intent
    if intent is not None and intent.operation == "stopped":
        return Diagnosis(State.STOPPED, "it was made read-only", advice=of_pair(name, role, "sync"))
    if intent is not None and not intent.completed:
        what = "a role change is unfinished"
        if role.master and role.alone:
            return Diagnosis(
                State.ROLE_CHANGE_UNFINISHED,
                what,
                "promoted alone, not opened yet",
                command("", "takeover", "-L", name),
            )
        return Diagnosis(State.ROLE_CHANGE_UNFINISHED, what, advice=of_pair(name, role, "sync"))
    return Diagnosis(State.PAUSED, "it is paused", role.paused) if role.paused else Diagnosis(State.OK)


def _unknown(own: Diagnosis, role: Role, error: ZrepError, moving: bool) -> Diagnosis:
    """The peer could not be asked: what this side knows of itself, where that is something, or where a stream moves.
    Only a side that was promoted alone can be finished without it."""
    state = State.PEER_UNKNOWN if own.state.action is Action.PROCEED and not moving else own.state
    advice = (own.advice if role.alone else "") or error.advice
    return Diagnosis(state, error.what, error.statement(), advice, error.exit_code)


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
        f"{_going_on(mine)}if it is lost for good: {command('', 'clear', mine.name)}, then zrep init again",
    )


def _going_on(mine: Member) -> str:
    """What makes a replica whose master is gone the master, as the beginning of an advice; "" where it is none."""
    return "" if mine.role.master else f"to go on with what is here: {command('', 'takeover', '-L', mine.name)}; "


def _elsewhere(mine: Member, roles: Mapping[str, Role]) -> Diagnosis | None:
    """Its rejoin was cut: then a copy on its host has the record of it; or it was renamed: then it has its role."""
    role = mine.role
    for name, other in roles.items():
        if other.rejoining == role.peer_fs:
            return _decided(name, other, role.peer_host, mine.name)
    for name, other in roles.items():
        if name != role.peer_fs and other.paired and other != role and _one_pair(role, other):
            learn = command("", "changeconfig", mine.name, role.peer_host, name)
            told = f"{command(role.peer_host, 'changeconfig', name)}, then here: {learn}"
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
        command(host, "changeconfig", name, other.peer_host, mine.name),
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
        case Stale() if not theirs.role.master:
            return _no_newest_master(mine, theirs, relation, theirs)
        case PeerStale() if not mine.role.master:
            return _no_newest_master(mine, theirs, relation, mine)
        case Stale():
            state = State.STALE_MASTER if mine.role.master else State.STALE
            what, advice = f"the master role has moved to {other} on {host}", command("", "rejoin", name)
        case PeerStale():
            state, what = State.PEER_STALE, f"the old master {other} on {host} has not rejoined"
            advice = of_half(host, theirs.role, other, "rejoin")
        case SplitBrain():
            state, what, advice = State.SPLIT_BRAIN, "split brain: both sides were made master", _give_up(mine, theirs)
        case Interrupted():
            state, what, advice = State.NO_MASTER, "neither side is master", _promote(mine, theirs)
        case _:
            return _elsewhere(mine, elsewhere) or _unrelated(mine, theirs, relation)
    return Diagnosis(state, what, relation.evidence(), advice)


def _unrelated(mine: Member, theirs: Member, relation: Relation) -> Diagnosis:
    host, adopting = mine.role.peer_host, _adopting(mine, theirs)
    going_on = _going_on(mine) if not theirs.role.paired and newest_common(mine, theirs) is None else ""
    return Diagnosis(
        State.UNRELATED,
        f"{theirs.name} on {host} is not the other half of this pair",
        relation.evidence(),
        f"{f'if it is, and has lost its properties: {adopting}; ' if adopting else ''}"
        f"{going_on}to start over: {command('', 'clear', mine.name)}, then zrep init to a new target",
    )


def _adopting(mine: Member, theirs: Member) -> str:
    """The command that makes a pair again of two sides one of which has nothing of its role left, without sending
    anything again; "" where the other one is something else, or that cannot be done."""
    role = mine.role
    if theirs.role.paired or role.driver or newest_common(mine, theirs) is None:
        return ""
    words = ("init", "-r", "--adopt") if role.recursive else ("init", "--adopt")
    if role.master:
        return command("", *words, mine.name, role.peer_host, theirs.name)
    return command(role.peer_host, *words, theirs.name, role.own_host, mine.name)


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
    return of_pair(mine.name, mine.role, "sync")


def _give_up(mine: Member, theirs: Member) -> str:
    """Only a side whose peer is master can give its role up."""
    host = mine.role.peer_host
    ways = [
        *([f"{command('', 'rejoin', '-f', mine.name)} here"] if theirs.role.master else []),
        *([of_half(host, theirs.role, theirs.name, "rejoin", "-f")] if mine.role.master else []),
    ]
    if not ways:
        return _promote(mine, theirs)
    return f"decide which side to give up (its data stays in a split copy): {', or '.join(ways)}"


def _no_newest_master(mine: Member, theirs: Member, relation: Relation, newer: Member) -> Diagnosis:
    """A side went back to what it was before its role moved, as a pool that is rewound to a checkpoint or restored: the
    other one has a newer role, and is replica by that. Nobody can follow it before it is the master.

    newer: that one. A side that says it is the master still would take writes beside it until it is told."""
    older = mine if newer is theirs else theirs
    state = State.NO_MASTER
    if older.role.master:
        state = State.STALE_MASTER if older is mine else State.PEER_STALE
    host = mine.role.peer_host
    insist = ("-f",) if older.role.master else ()
    at_newer, at_older = (host, "") if newer is theirs else ("", host)
    return Diagnosis(
        state,
        f"{newer.name}{f' on {at_newer}' if at_newer else ''} has the newer role, and is no master; "
        f"{older.name}{f' on {at_older}' if at_older else ''} was set back to an older one",
        relation.evidence(),
        f"{command(at_newer, 'takeover', '-L', *insist, newer.name)}, then "
        f"{'' if at_older else 'here: '}{command(at_older, 'rejoin', older.name)}",
    )


def _promote(mine: Member, theirs: Member) -> str:
    """Without a master either side can become it: the one that has what the other lacks. What the other one has alone
    stays in a split copy when that rejoins."""
    if _more(theirs, mine) > _more(mine, theirs):
        return command(mine.role.peer_host, "takeover", "-L", theirs.name)
    return command("", "takeover", "-L", mine.name)


def _more(one: Member, other: Member) -> tuple[bool, int]:
    """Whether one side has anything that the other has not, and when its newest snapshot was made."""
    base = newest_common(one, other)
    later = one.after(base) if base else one.snapshots
    return bool(later), max((snapshot.creation for snapshot in later), default=0)
