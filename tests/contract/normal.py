"""Transcripts, with all that differs from run to run made equal: what is left is the contract."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .script import Case, Command, Step, parse

_SIZES = (
    "used available referenced written logicalused logicalreferenced usedbysnapshots usedbydataset usedbychildren "
    "usedbyrefreservation compressratio refcompressratio size allocated free capacity objsetid "
    "avail refer alloc cap"
)
_TIMES = frozenset(("creation", "snapshots_changed"))
_BIG = re.compile(r"\b\d{10,20}\b")
_HEX = re.compile(r"\b0x[0-9a-f]{6,16}\b")
_TXG = re.compile(r"<txg (\d+)>")
_TOKEN = re.compile(r"\b1-[0-9a-f]+-[0-9a-f]+-[0-9a-f]{8,}")


class _Names:
    """Each distinct number by the order it was first seen in."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}

    def __call__(self, match: re.Match[str]) -> str:
        return self._name("id", str(int(match[0], 0)))

    def txg(self, match: re.Match[str]) -> str:
        return self._name("txg", match[1])

    def _name(self, kind: str, value: str) -> str:
        taken = sum(key.startswith(kind) for key in self.seen)
        return self.seen.setdefault(f"{kind} {value}", f"<{kind} {taken + 1}>")


def transcript(case: Case, steps: Iterable[Step]) -> str:
    names = _Names()
    parts = [f"# {line}" for line in case.why.splitlines()]
    for step in steps:
        parts.append(f"$ {step.line}")
        parts += [_ids(line, names) for line in _output(step)]
        parts += [f"! {_ids(line, names)}" for line in _errors(step.err)]
        if step.rc:
            parts.append(f"= {step.rc}")
    return "\n".join(parts) + "\n"


def _ids(line: str, names: _Names) -> str:
    return _TXG.sub(names.txg, _HEX.sub(names, _BIG.sub(names, _TOKEN.sub("<token>", line))))


def _bare(command: Command) -> Command:
    """Without the helper a command is run by."""
    at = next((i for i, word in enumerate(command.argv) if word in ("zfs", "zpool")), 0)
    return Command(command.argv[at:])


def _output(step: Step) -> list[str]:
    lines = step.out.splitlines()
    command = next((c for c in map(_bare, reversed(parse(step.line))) if c.argv[0] in ("zfs", "zpool")), None)
    if command is None or len(command.argv) < 2:
        return lines
    match command.argv[1]:
        case "get":
            columns = _columns(command, ["name", "property", "value", "source"])
            return [_get_line(line, columns, _single(command)) for line in lines]
        case "list":
            columns = _columns(command, ["name", "used", "available", "referenced", "mountpoint"])
            return [_list_line(line, columns) for line in lines]
        case "holds":
            return sorted("\t".join([*line.split("\t")[:2], "<time>"]) for line in lines)  # they come by their hashes
        case "send":
            return [re.sub(r"\d+$", "<size>", line) for line in lines if not line.startswith("\t")]
        case "version":
            return [re.sub(r"-\d+~bpo.*", "", line) for line in lines]
    return lines


def _single(command: Command) -> str | None:
    """The property that a `zfs get` without a property column is about."""
    named = [w for w in command.argv[2:] if not w.startswith("-")]
    with_values = {"-o", "-t", "-s", "-d"}
    wanted = [w for before, w in zip(command.argv[1:], command.argv[2:], strict=False) if before not in with_values]
    first = next((w for w in wanted if w in named), "")
    return first if first and "," not in first else None


def _columns(command: Command, default: list[str]) -> list[str]:
    words = list(command.argv)
    return words[words.index("-o") + 1].split(",") if "-o" in words else default


def _plain(prop: str, value: str) -> str:
    if value in ("0", "-"):
        return value
    if prop in _SIZES.split() or prop.startswith("written@"):
        return "<number>"
    if prop == "createtxg":
        return f"<txg {value}>"
    return "<time>" if prop in _TIMES else value


def _list_line(line: str, columns: list[str]) -> str:
    cells = line.split("\t")
    if len(cells) != len(columns):
        return line
    return "\t".join(_plain(prop, cell) for prop, cell in zip(columns, cells, strict=True))


def _get_line(line: str, columns: list[str], single: str | None) -> str:
    cells = line.split("\t")
    if len(cells) != len(columns):
        return line
    prop = cells[columns.index("property")] if "property" in columns else single or ""
    return "\t".join(
        _plain(prop, cell) if column in ("value", "received") else cell
        for column, cell in zip(columns, cells, strict=True)
    )


def _errors(text: str) -> list[str]:
    lines = text.replace("\r\n", "\n").splitlines()
    if "usage:" in lines:
        lines = lines[: lines.index("usage:") + 1]
    if all(line.startswith("cannot destroy snapshot ") for line in lines):
        lines.sort()  # they come by their hashes
    for at, line in enumerate(lines):
        if line.endswith(("following datasets:", "dependents:", "and bookmarks:")):
            end = next((i for i in range(at + 1, len(lines)) if " " in lines[i]), len(lines))
            lines[at + 1 : end] = sorted(lines[at + 1 : end])  # they come by their hashes
    return lines
