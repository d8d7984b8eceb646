"""What a pool's history tells of a pair: which command was what to it."""

from __future__ import annotations

import re

from msgspec import Struct


class Happened(Struct, frozen=True):
    """A command that a pool remembers. at: seconds since 1970; who: the user and the host that ran it, "" where the
    pool does not know."""

    at: int
    command: str
    who: str = ""


class Event(Struct, frozen=True):
    """What a command was to a pair. role: whether it moved a role, or decided who may send."""

    at: int
    host: str
    filesystem: str
    what: str
    role: bool
    who: str
    command: str


def names(command: str, filesystem: str) -> bool:
    """Whether a command is about a dataset itself or a snapshot of it, as a word of its own."""
    return re.search(rf"(?:^| ){re.escape(filesystem)}(?:@\S*)?(?: |$)", command) is not None


def event(tag: str, host: str, filesystem: str, happened: Happened) -> Event:
    """What a command was to the half of a pair on a host."""
    what, role = _meaning(tag, filesystem, happened.command)
    return Event(happened.at, host, filesystem, what, role, happened.who, happened.command)


def _meaning(tag: str, filesystem: str, command: str) -> tuple[str, bool]:
    value = dict(re.findall(rf" {re.escape(tag)}:([a-z-]+)=(\S*)", command))
    verb = command.split()[1] if command.count(" ") else command
    epoch = f", epoch {value['epoch']}" if value.get("epoch") else ""
    if verb == "set" and value.get("master") in ("yes", "no"):
        return f"{'master' if value['master'] == 'yes' else 'replica'}{epoch}", True
    if verb == "set" and value.get("inprogress"):
        return f"role change begun: {value['inprogress']}", True
    if verb == "set" and value.get("paused"):
        text = re.search(rf" {re.escape(tag)}:paused=(.*) {re.escape(filesystem)}$", command)
        return f"paused: {text[1]}" if text else "paused", True
    if verb == "inherit" and f" {tag}:" in command:
        given_up = re.findall(rf" {re.escape(tag)}:([a-z-]+)", command)
        if "master" in given_up:
            return "no part of a pair any more", True
        return ("pause ended", True) if "paused" in given_up else (f"no {', '.join(given_up)} any more", False)
    if verb in ("rename", "promote", "rollback", "clone"):
        return command.removeprefix("zfs "), True
    words = {"recv": "received", "receive": "received", "snapshot": "snapshot", "destroy": "destroyed", "send": "sent"}
    return words.get(verb, command.removeprefix("zfs ")), False
