"""What a pool's history tells of a pair: which command was what to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.quantities import Time

_GIVEN_UP = "no part of a pair any more"
# Records that are no change under way.
_CHANGES = {"stopped": "made read-only, as it may not be the master", "cancelled": "role change given up"}
# Seconds from the first properties of a stream to the last, on a pool that is busy.
_NEAR = 30


class Happened(Struct, frozen=True):
    """A command that a pool remembers. at: seconds since 1970; who: the user and the host that ran it, "" where the
    pool does not know."""

    at: Time
    command: str
    who: str = ""


class Event(Struct, frozen=True):
    """What a command was to a pair. role: whether it moved a role, or decided who may send; tag: the one that the
    command names, "" where it names none."""

    at: int
    host: str
    filesystem: str
    what: str
    role: bool
    who: str
    command: str
    tag: str = ""


def names(command: str, filesystem: str) -> bool:
    """Whether a command is about a dataset itself or a snapshot of it, as a word of its own."""
    return re.search(rf"(?:^| ){re.escape(filesystem)}(?:@\S*)?(?: |$)", command) is not None


def events(tag: str, host: str, filesystem: str, told: Sequence[Happened]) -> Iterator[Event]:
    """What commands were to the half of a pair on a host, in the order of time. The first stream brings the role of its
    source along, which is taken away before anything else is done: that moved no role."""
    found = [event(tag, host, filesystem, each) for each in told]
    decided = [number for number, each in enumerate(found) if each.role]
    brought = {
        number
        for one, other in pairwise(decided)
        if _beginning(tag, found[one]) and found[other].what == _GIVEN_UP and found[other].at - found[one].at <= _NEAR
        for number in (one, other)
    }
    for number, each in enumerate(found):
        yield replace(each, what=f"{each.what}, in a stream", role=False) if number in brought else each


def _beginning(tag: str, found: Event) -> bool:
    """Whether it is the role of a master whose init has only begun."""
    return (
        found.what.startswith("master")
        and '"init"' in found.command.partition(f" {tag}:inprogress=")[2].partition(" ")[0]
    )


def event(tag: str, host: str, filesystem: str, happened: Happened) -> Event:
    """What a command was to the half of a pair on a host."""
    what, role = _meaning(tag, filesystem, happened.command)
    named = tag if re.search(rf" {re.escape(tag)}:|[@#]{re.escape(tag)}[_:]", happened.command) else ""
    return Event(happened.at, host, filesystem, what, role, happened.who, happened.command, named)


def _change(record: str) -> str:
    """What the record of a change under way says of it."""
    try:
        known = json.loads(record)
        said = _CHANGES.get(known["op"], f"{known['op']} under way")
        return ", ".join(filter(None, [said, str(known.get("phase", ""))]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"role change under way: {record}"


def _meaning(tag: str, filesystem: str, command: str) -> tuple[str, bool]:
    value = dict(re.findall(rf" {re.escape(tag)}:([a-z-]+)=(\S*)", command))
    verb = command.split()[1] if command.count(" ") else command
    epoch = f", epoch {value['epoch']}" if value.get("epoch") else ""
    if verb == "set" and value.get("master") in ("yes", "no"):
        return f"{'master' if value['master'] == 'yes' else 'replica'}{epoch}", True
    if verb == "set" and value.get("inprogress"):
        record = command.partition(f" {tag}:inprogress=")[2].partition(f" {tag}:")[0]
        return _change(record.removesuffix(f" {filesystem}")), True
    if verb == "set" and value.get("paused"):
        text = command.partition(f" {tag}:paused=")[2]
        ends = f" {filesystem}"
        return f"paused: {text.removesuffix(ends)}" if text.endswith(ends) else "paused", True
    if verb == "inherit" and f" {tag}:" in command:
        given_up = re.findall(rf" {re.escape(tag)}:([a-z-]+)", command)
        if "master" in given_up:
            return _GIVEN_UP, True
        return ("pause ended", True) if "paused" in given_up else (f"no {', '.join(given_up)} any more", False)
    if verb in ("rename", "promote", "rollback", "clone"):
        return command.removeprefix("zfs "), True
    words = {"recv": "received", "receive": "received", "snapshot": "snapshot", "destroy": "destroyed", "send": "sent"}
    return words.get(verb, command.removeprefix("zfs ")), False
