"""Hosts on which somebody writes into his values what zfs prints of others, and what zfs would print of them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from msgspec import Struct

from zrep.core.dataset import Value
from zrep.zfs.commands import FOUND_BY

NAMES = ("tank/a", "tank/a/x", "tank/b", "tank/c c", "tank/d")
PROPERTIES = ("zrep:src-fs", "zrep:master", "zrep:inprogress")
TAGS = ("zrep", "offsite", "x")


class Printed(Struct, frozen=True):
    """What zfs prints, and what is so; odd: the datasets with a line end in a value."""

    text: str
    truth: dict[str, dict[str, Value]]
    odd: set[str]


def forged(random: Random, rows: Sequence[str]) -> str:
    """A value: plain, or with pieces of rows in it, of its own dataset or of others, in any order."""
    if random.random() < 0.5:
        return random.choice(("yes", "no", "-", "", "tank/a", "é", "\udcff", "a b"))
    pieces = ["x", *(random.choice((*rows, "x\tlocal", "\t", "\n", "", "-\t-")) for _ in range(random.randint(1, 8)))]
    return random.choice(("\n", "\n", "\t", "")).join(pieces)


def _row(name: str, prop: str, value: Value) -> str:
    return f"{name}\t{prop}\t{value.value}\t{value.source}"


def _table(random: Random, names: Sequence[str], properties: Sequence[str]) -> dict[str, dict[str, Value]]:
    honest = [_row(name, prop, Value("yes", "local")) for name in NAMES for prop in (*properties, FOUND_BY)]
    return {
        name: {
            prop: Value(forged(random, honest), random.choice(("local", "received", "inherited from tank")))
            if random.random() < 0.3
            else Value(random.choice(("yes", "-")), random.choice(("local", "-")))
            for prop in properties
        }
        for name in names
    }


def properties(random: Random) -> Printed:
    """Named properties of some of NAMES."""
    truth = _table(random, sorted(random.sample(NAMES, random.randint(1, len(NAMES)))), PROPERTIES)
    lines = [_row(name, prop, value) for name, own in truth.items() for prop, value in own.items()]
    return Printed("".join(f"{line}\n" for line in lines), truth, _odd(truth))


def _odd(table: dict[str, dict[str, Value]]) -> set[str]:
    return {name for name, own in table.items() if any("\n" in value.value for value in own.values())}


def found(random: Random) -> Printed:
    """All of NAMES, those that have some of the properties with these."""
    table = _table(random, NAMES, PROPERTIES)
    lines = []
    for name, own in table.items():
        lines.append(f"{name}\t{FOUND_BY}\t0\tdefault")
        lines += [_row(name, prop, value) for prop, value in own.items() if value.source in ("local", "received")]
    local = {name: {prop: value for prop, value in own.items() if value.local} for name, own in table.items()}
    truth = {name: own for name, own in local.items() if own}
    return Printed("".join(f"{line}\n" for line in lines), truth, _odd(table))


def snapshots(random: Random) -> tuple[str, list[str], dict[str, list[tuple[str, str]]], set[str]]:
    """What zfs list prints of some of NAMES and what is below them; which were asked for; their snapshots, and their
    bookmarks as #NAME, with the guid of each; and those of NAMES without a line end in any mark."""
    asked = sorted(random.sample(NAMES, random.randint(1, len(NAMES))))
    shown = {*asked, *(name for name in NAMES if name.rpartition("/")[0] in asked)}
    natives = "\t1\t1\t0\t0\t0\t-\t1\t-"
    rows = [f"{name}@{word}\t7{natives}" for name in NAMES for word in ("1", "forged")]
    rows += [f"{name}\t7\t1\t1\t-\t0\t0\t-\t-\t-" for name in NAMES]
    rows += [f"{name}#{word}\t7\t1\t1\t-\t-\t-\t-\t-\t-" for name in NAMES for word in ("1", "forged")]
    lines, truth, honest = [], {}, set(NAMES)

    def mark(name: str, share: float) -> str:
        text = forged(random, rows) if random.random() < share else "-"
        honest.difference_update({name} if "\n" in text else ())
        return text

    for number, name in enumerate(sorted(shown)):
        lines.append(f"{name}\t{number}\t1\t1\t-\t0\t0\t-\t{mark(name, 0.1)}\t{mark(name, 0.1)}")
        if name in asked:
            truth[name] = [(str(each), str(100 * number + each)) for each in range(random.randint(0, 3))]
            for word, guid in truth[name]:
                lines.append(
                    f"{name}@{word}\t{guid}\t{int(word) + 1}\t1\t0\t0\t0\t-\t{mark(name, 0.2)}\t{mark(name, 0.2)}"
                )
            if random.random() < 0.3:
                truth[name].append(("#1", str(100 * number + 50)))
                lines.append(f"{name}#1\t{100 * number + 50}\t1\t1\t-\t-\t-\t-\t-\t-")
    return "".join(f"{line}\n" for line in lines), asked, truth, honest


def holds(random: Random) -> tuple[str, dict[str, frozenset[str]]]:
    """What zfs holds prints, and the tags of each snapshot."""
    date = "Sat Nov 28 05:16 2026"
    rows = [f"{name}@1\t{tag}\t{date}" for name in NAMES for tag in TAGS]
    truth: dict[str, frozenset[str]] = {}
    lines = []
    for name in sorted(random.sample(NAMES, random.randint(1, 3))):
        tags = {forged(random, rows) if random.random() < 0.3 else random.choice(TAGS) for _ in range(3)}
        truth[f"{name}@1"] = frozenset(tags)
        lines += [f"{name}@1\t{tag}\t{date}" for tag in sorted(tags)]
    return "".join(f"{line}\n" for line in lines), truth
