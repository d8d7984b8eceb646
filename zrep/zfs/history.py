"""What zpool history prints, as data."""

from __future__ import annotations

import re
from datetime import datetime

from zrep.core.history import Happened

# 2026-11-28.12:00:05 zfs set a:b=c tank/a [user 0 (root) on alpha:linux]
# 2026-11-28.12:00:05 [txg:812] set tank/a (68) a:b=c [on alpha]
_LINE = re.compile(
    r"(\d{4}-\d\d-\d\d\.\d\d:\d\d:\d\d) (.*?)"
    r"(?: \[(?:user (\d+)(?: \((.*?)\))? ?)?(?:on ([^:\]]*)(?::\w*)?)?\])?"
)
# Seconds between what a command has set and its own record, on a pool that is busy.
_NEAR = 30
_SET = re.compile(r"\[txg:(\d+)\] (set|inherit) (.*) \(\d+\) ([^= ]+)=(.*)")


def parse_history(text: str) -> list[Happened]:
    """``zpool history -il`` of a pool, its time in UTC, in the order of time. What a transaction group set on a
    dataset is one command, and is left out where a command did it. What has another form is left out."""
    commands: list[tuple[int, Happened]] = []
    groups: dict[tuple[str, str, str], list[str]] = {}
    began: dict[tuple[str, str, str], tuple[int, int, str]] = {}
    for place, line in enumerate(text.splitlines()):
        match = _LINE.fullmatch(line.strip())
        at = _seconds(match[1]) if match else None
        if match is None or at is None:
            continue
        _, command, number, name, host = match.groups()
        user = name or number or ""
        who = f"{user}@{host}" if user and host else host or user
        if inner := _SET.fullmatch(command):
            group, verb, dataset, key, value = inner.groups()
            key_of = (group, verb, dataset)
            groups.setdefault(key_of, []).append(key if verb == "inherit" else f"{key}={value}")
            began.setdefault(key_of, (place, at, who))
        elif not command.startswith("["):
            commands.append((place, Happened(at, command, who)))
    found = list(commands)
    # zfs set logs itself too, right after what it has set. By the second: a pool remembers a hundred thousand lines.
    told: dict[tuple[str, int], list[str]] = {}
    for _, each in commands:
        told.setdefault((" ".join(each.command.split(" ", 2)[:2]), each.at), []).append(each.command)
    for (group, verb, dataset), words in groups.items():
        place, at, who = began[group, verb, dataset]
        near = (text for when in range(at - _NEAR, at + _NEAR + 1) for text in told.get((f"zfs {verb}", when), ()))
        if not any(dataset in text and words[0] in text for text in near):
            found.append((place, Happened(at, f"zfs {verb} {' '.join(words)} {dataset}", who)))
    # Of one second, what the pool wrote first comes first.
    return [each for _, each in sorted(found, key=lambda one: (one[1].at, one[0]))]


def _seconds(when: str) -> int | None:
    try:
        return int(datetime.strptime(f"{when} +0000", "%Y-%m-%d.%H:%M:%S %z").timestamp())
    except ValueError:
        return None
