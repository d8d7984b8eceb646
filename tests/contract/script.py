"""The language of the cases: one command a line, a little redirection, and a few words for what applications do."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

TOP = "tank/c"  # every case has this filesystem to itself


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    why: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What one line of a script did."""

    line: str
    out: str
    err: str
    rc: int


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a line, taken apart."""

    argv: tuple[str, ...]
    stdin: str | None = None
    stdout: str | None = None


def case(name: str, why: str, text: str) -> Case:
    lines = (line.strip() for line in text.strip().splitlines())
    return Case(name, why, tuple(line for line in lines if line and not line.startswith("#")))


def parse(line: str) -> list[Command]:
    """A pipeline: `zfs send a@1 > file`, `zfs receive b < file`, `zfs send a@1 | zfs receive b`."""
    commands, words = [], shlex.split(line)
    while words:
        end = words.index("|") if "|" in words else len(words)
        part, words = words[:end], words[end + 1 :]
        files: dict[str, str | None] = {"<": None, ">": None}
        for sign in files:
            if sign in part:
                at = part.index(sign)
                files[sign] = part[at + 1]
                del part[at : at + 2]
        commands.append(Command(tuple(part), files["<"], files[">"]))
    return commands
