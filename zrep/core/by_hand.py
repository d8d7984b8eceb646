"""Roles of which a person has changed or taken a property by hand, known by all that was not changed: each with the
command that sets it right.
"""

from __future__ import annotations

from shlex import quote

from zrep.core.advice import on
from zrep.core.dataset import Member
from zrep.core.pair import newest_base
from zrep.core.pair_state import Diagnosis, State
from zrep.core.place import UNKNOWN
from zrep.core.role import LEGACY, Role


def its_own_peer(tag: str, mine: Member, theirs: Member) -> Diagnosis | None:
    """Judge whether what answers as the peer is this very dataset: the host is called as its peer, or a property says
    that the dataset is what its links call the other half."""
    here = mine.name == theirs.name and mine.place == theirs.place and UNKNOWN not in mine.place.split("/")
    if not here or mine.role != theirs.role or mine.role.master is None:
        return None
    role = mine.role
    said, right = ("yes", "no") if role.master else ("no", "yes")
    return Diagnosis(
        State.WRONG_PLACE,
        f"what answers as {role.peer_host} is {mine.name} itself",
        f"{tag}:master is {said}, and the other half that its links name is this one",
        f"is {role.peer_host} this host's own name (ZREP_HOST)? If so, {tag}:master was changed by hand: "
        f"{_setting('', tag, 'master', right, mine.name)}",
    )


def demoted(tag: str, mine: Member, theirs: Member) -> Diagnosis | None:
    """Judge whether both sides of one generation are replicas, and the other one is the master by the links of both: no
    role change leaves that, as each turns the links round."""
    one, other = mine.role, theirs.role
    if one.master is not False or other.master is not False or one.intent or other.intent:
        return None
    if not one.gen or (one.gen, one.links) != (other.gen, other.links):
        return None
    if (mine.name, theirs.name) != (one.own_fs, one.peer_fs):
        return None
    host = one.peer_host
    return Diagnosis(
        State.NO_MASTER,
        "neither side is master",
        f"{tag}:master of {theirs.name} on {host} is no, and by the links of both it is the master: "
        "that was changed by hand",
        _setting(host, tag, "master", "yes", theirs.name),
    )


def generation_lost(tag: str, mine: Member, theirs: Member) -> Diagnosis | None:
    """Judge whether one side has lost its generation alone, and all else that both say of their role shows which that
    was: the other one's, or an earlier one from which that descends."""
    lost, other = (theirs, mine) if mine.role.gen else (mine, theirs)
    gen = "" if lost.role.intent else _generation(lost.role, other.role)
    source, target = (lost, other) if lost.role.master else (other, lost)
    if not gen or newest_base(source, target) is None:
        return None
    host = "" if lost is mine else mine.role.peer_host
    return Diagnosis(
        State.UNREADABLE,
        f"{lost.name}{f' on {host}' if host else ''} has lost its {tag}:gen",
        f"its epoch {lost.role.epoch} and {tag}:parent are those of this generation of {other.name}, and both have a "
        "common snapshot: it is the other half",
        _setting(host, tag, "gen", gen, lost.name),
    )


def _generation(lost: Role, other: Role) -> str:
    """Which of another side's generations, its own or those before it, a role without one has; "" for none of them, or
    where that is not certain: two masters of one origin have the same ancestors."""
    if lost.gen or lost.epoch is None or other.epoch is None or not other.gen:
        return ""
    line = (other.gen, *other.parents)
    before = other.epoch - lost.epoch
    if not 0 <= before < len(line) or line[before + 1 :] != lost.parents or line[before] == LEGACY:
        return ""
    one_of_two = before == 0 and (lost.links != other.links or (lost.master and other.master))
    return "" if one_of_two else line[before]


def _setting(host: str, tag: str, name: str, value: str, dataset: str) -> str:
    return on(host, f"zfs set {quote(f'{tag}:{name}={value}')} {quote(dataset)}")
