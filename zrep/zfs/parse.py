"""What zfs prints, as data. Anything that is not understood is a FailedError, never a guess.

Shapes are those of OpenZFS 2.1 to 2.3; the contract suite (tests/contract) holds them to the real one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from msgspec.structs import replace

from zrep.core.dataset import NO_HOLDS, PoolSpace, Snapshot, TokenContents, Value
from zrep.core.errors import FailedError
from zrep.core.mounts import MountEntry
from zrep.core.names import EXCLUDE, ancestors
from zrep.core.neighbours import Child
from zrep.core.quantities import whole_number
from zrep.zfs.commands import MADE_ALONE, MASTER, PAIRED, SNAPSHOT_COLUMNS

_HOLDS_UNKNOWN = frozenset(("",))
_NO_VALUE = Value("-", "-")
_YES = Value("yes", "local")


def parse_version(text: str) -> tuple[int, ...]:
    """(2, 3, 2) from ``zfs version``; () when it says nothing of the kind."""
    match = re.search(r"^zfs-(?:kmod-)?v?(\d+)\.(\d+)(?:\.(\d+))?", text, re.MULTILINE)
    return tuple(int(part) for part in match.groups() if part) if match else ()


# The sections of what `zfs allow` prints, as the options that bring one about (seen on OpenZFS 2.3.2).
_SECTIONS = {
    "Permission sets:": ("-s",),
    "Create time permissions:": ("-c",),
    "Local permissions:": ("-l",),
    "Descendent permissions:": ("-d",),
    "Local+Descendent permissions:": (),
}


_WHO = re.compile(r"(?:(user|group) (?:\(unknown: (\d+)\)|(.+)) |(everyone) |(@\S+) )?(\S+)")


def parse_allowed(text: str, dataset: str) -> list[tuple[str, ...]]:
    """``zfs allow``: what is delegated on the dataset itself, each as the words that delegate it."""
    found: list[tuple[str, ...]] = []
    section: tuple[str, ...] | None = None
    own = False
    for line in text.splitlines():
        if line.startswith("---- Permissions on "):
            own = line.removeprefix("---- Permissions on ").rstrip("-").rstrip() == dataset
        elif not line.startswith("\t"):
            section = _SECTIONS.get(line)
        elif own and section is not None and (who := _WHO.fullmatch(line.strip())):
            kind, number, name, everyone, permission_set, permissions = who.groups()
            holder = (f"-{kind[0]}", number or name) if kind else ("-e",) if everyone else ()
            found.append((*section, *holder, *((permission_set,) if permission_set else ()), permissions))
    return found


def parse_token(text: str, *, sendable: bool) -> TokenContents:
    """``zfs send -nvP -t``: its guids, decimal as those of ``zfs get guid``. sendable: whether it succeeded."""
    found = {
        key: str(int(value, 16))
        for key, value in re.findall(r"^\s*(toguid|fromguid|bytes) = (0x[0-9a-f]+)$", text, re.MULTILINE)
    }
    return TokenContents(
        sendable=sendable,
        from_guid=found.get("fromguid", ""),
        to_guid=found.get("toguid", ""),
        received=int(found.get("bytes", "0")),
    )


def parse_stream_size(text: str) -> int:
    match = re.search(r"^size\t(\d+)", text, re.MULTILINE)
    return int(match.group(1)) if match else 0


def parse_properties(text: str) -> dict[str, dict[str, Value]]:
    """``zfs get -o name,property,value,source``: dataset → property → Value. Anything else is refused."""
    table: dict[str, dict[str, Value]] = {}
    known: dict[tuple[str, str], Value] = {}  # most are those of many datasets
    for name, prop, value, source in _values(text, 4):
        table.setdefault(name, {})[sys.intern(prop)] = known.setdefault((value, source), Value(value, source))
    return table


def parse_below(tag: str, roots: Sequence[str], text: str) -> list[Child]:
    """``zfs get`` of get_below: what is below the roots. The other tags are not known yet; see with_tags."""
    children = []
    for name, found in parse_properties(text).items():
        if not set(roots) & set(ancestors(name)):
            continue
        own = {prop.removeprefix(tag) for prop, value in found.items() if value.local}
        children.append(
            Child(
                name,
                found.get("readonly", _NO_VALUE),
                mounted=found.get("mounted", _NO_VALUE).value == "yes",
                tags=(tag,) if PAIRED in own else (),
                master=found.get(f"{tag}{MASTER}", _NO_VALUE) == _YES,
                excluded=found.get(f"{tag}:{EXCLUDE}", _NO_VALUE),
                made=bool(own & set(MADE_ALONE)),
            )
        )
    return children


def parse_whatever(text: str) -> dict[str, dict[str, str]]:
    """``zfs get`` of get_own: name → property → value. A value of somebody's property may hold line ends: what is no
    row by itself is skipped."""
    table: dict[str, dict[str, str]] = {}
    for line in text.split("\n"):
        name, _, rest = line.partition("\t")
        prop, _, value = rest.partition("\t")
        if prop:
            table.setdefault(name, {})[prop] = value
    return table


def with_tags(child: Child, own: Mapping[str, str]) -> Child:
    """The same child, by everything it has itself, of any tag."""
    tags = sorted(prop.removesuffix(PAIRED) for prop in own if prop.endswith(PAIRED))
    master = any(own.get(f"{tag}{MASTER}") == "yes" for tag in tags)
    return replace(child, tags=tuple(tags), master=master, made=any(prop.endswith(MADE_ALONE) for prop in own))


def parse_own(text: str) -> dict[str, dict[str, str]]:
    """``zfs get -o name,property,value``: name → property → value."""
    table: dict[str, dict[str, str]] = {}
    for name, prop, value in _values(text, 3):
        table.setdefault(name, {})[prop] = value
    return table


def parse_snapshots(text: str) -> dict[str, list[Snapshot]]:
    """``zfs list`` of list_snapshots: dataset → snapshots, oldest first. Holds are not known yet; a snapshot
    with userrefs has the empty hold "" until list_holds says which."""
    return dict(each_snapshots(text))


def each_snapshots(text: str) -> Iterator[tuple[str, list[Snapshot]]]:
    """The same, one dataset after the other: there may be many with many. FailedError when one comes twice: zfs list
    sorts by name."""
    seen: set[str] = set()
    rows = _rows(text, len(SNAPSHOT_COLUMNS) + 2, "zfs list -t snapshot")
    for dataset, group in groupby(rows, lambda row: row[0].partition("@")[0]):
        if dataset in seen:
            raise FailedError("zfs list printed something zrep does not understand", evidence=f"{dataset} comes twice")
        seen.add(dataset)
        yield dataset, sorted(map(_snapshot, group), key=lambda snapshot: snapshot.createtxg)


def _snapshot(row: Sequence[str]) -> Snapshot:
    full, guid, createtxg, creation, userrefs, written, used, clones, sent, made = row
    return Snapshot(
        name=sys.intern(full.partition("@")[2]),  # many filesystems have snapshots of the same names
        guid=sys.intern(guid),  # the other side has it too
        createtxg=_integer(createtxg, full),
        creation=_integer(creation, full),
        written=_integer(written, full),
        used=_integer(used, full),
        holds=_HOLDS_UNKNOWN if userrefs not in ("0", "-") else NO_HOLDS,
        sent=whole_number(sent),
        clones=tuple(clones.split(",")) if clones not in ("", "-") else (),
        made=made not in ("", "-"),
    )


def parse_new_snapshots(text: str) -> dict[str, Snapshot]:
    """``zfs get`` of get_snapshots: full name → the snapshot, as it is right after it was made."""
    return {
        full: Snapshot(
            name=full.partition("@")[2],
            guid=found.get("guid", ""),
            createtxg=_integer(found.get("createtxg", ""), full),
            creation=_integer(found.get("creation", ""), full),
        )
        for full, found in parse_own(text).items()
    }


def parse_mountinfo(text: str) -> list[MountEntry]:
    """/proc/self/mountinfo (proc_pid_mountinfo(5)): mounts, in the order they were made. Blanks, tabs, line ends and
    backslashes in names are in octal there. FailedError for anything else."""
    return [_mount(line) for line in text.split("\n") if line]


def _mount(line: str) -> MountEntry:
    before, _, after = line.partition(" - ")
    fields, more = before.split(" "), after.split(" ")
    numbers = [whole_number(field) for field in fields[:2]]
    if len(fields) < 6 or len(more) < 2 or numbers[0] is None or numbers[1] is None:
        raise FailedError("/proc/self/mountinfo has something zrep does not understand", evidence=line[:120])
    return MountEntry(numbers[0], numbers[1], _plain(fields[4]), more[0], _plain(more[1]))


def _plain(name: str) -> str:
    return re.sub(r"\\([0-3][0-7]{2})", lambda match: chr(int(match[1], 8)), name)


def parse_tags(text: str) -> list[str]:
    """``zfs get`` of find_tags: the tags of which some dataset has links."""
    names = set(text.splitlines())
    return sorted(name.removesuffix(":src-fs") for name in names if name.endswith(":src-fs"))


def parse_names(text: str) -> dict[str, list[str]]:
    """``zfs get`` of list_own: dataset → the names of its own properties."""
    table: dict[str, list[str]] = {}
    for name, prop in _rows(text, 2, "zfs get"):
        table.setdefault(name, []).append(prop)
    return table


def parse_marked(text: str) -> list[tuple[str, str]]:
    """``zfs get`` of find_marked: name and value."""
    rows = (line.partition("\t") for line in text.splitlines())
    return [(dataset, value) for dataset, _, value in rows]


def parse_pool_space(text: str) -> PoolSpace:
    """``zpool list`` of pool_free."""
    for _, size, free, _, _ in _rows(text, 5, "zpool list"):
        return PoolSpace(_integer(size, "size"), _integer(free, "free"))
    raise FailedError("zpool list printed nothing")


def seconds_of_sync(text: str, now: float) -> float:
    """The kernel's history of a pool's transaction groups: for how many seconds the one that is being written has been,
    0 where none is. now: the clock of that history, in seconds."""
    for line in reversed(text.splitlines()):
        fields = line.split()
        if len(fields) == 12 and fields[2] == "S":
            numbers = [whole_number(field, 20) or 0 for field in (fields[1], *fields[8:11])]
            return now - sum(numbers) / 1e9
    return 0.0


def parse_differences(text: str) -> list[tuple[str, str]]:
    """``zfs diff -H``: what happened to a file (+ - M R), and its path."""
    rows = (line.split("\t") for line in text.splitlines())
    return [(row[0], row[1]) for row in rows if len(row) > 1]


def parse_holds(text: str) -> dict[str, frozenset[str]]:
    """``zfs holds -H``: snapshot → tags."""
    table: dict[str, frozenset[str]] = {}
    for row in _rows(text, 3, "zfs holds"):
        table[row[0]] = table.get(row[0], frozenset()) | {row[1]}
    return table


def _values(text: str, columns: int) -> Iterator[list[str]]:
    """Rows of ``zfs get``: name, property, value, and the source where there are four. A user property may hold tabs:
    the value is what stands between."""
    after = columns - 3
    for line in _lines(text):
        name, _, rest = line.partition("\t")
        prop, _, rest = rest.partition("\t")
        row = [name, prop, *rest.rsplit("\t", after)] if after else [name, prop, rest]
        if len(row) != columns or not prop:
            raise FailedError("zfs get printed something zrep does not understand", evidence=line[:120])
        yield row


def _rows(text: str, columns: int, command: str) -> Iterator[list[str]]:
    for line in _lines(text):
        row = line.split("\t")
        if len(row) != columns:
            raise FailedError(f"{command} printed something zrep does not understand", evidence=line[:120])
        yield row


def _lines(text: str) -> Iterator[str]:
    """Line by line: a list of all of them is as large as the text once more."""
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield text[start:end]
        start = end + 1


def _integer(text: str, what: str) -> int:
    if text == "-":
        return 0
    number = whole_number(text, 20)  # as many as 64 bits have
    if number is None:
        raise FailedError("zfs list printed something zrep does not understand", evidence=f"{what}: {text[:60]}")
    return number
