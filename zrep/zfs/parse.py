"""What zfs prints, as data. Anything that is not understood is a FailedError, never a guess.

Whoever may set a user property of one dataset, or hold its snapshots, can put tabs and line ends into what zfs prints,
and with them rows of other datasets. So each parser is told what was asked for and takes nothing else, nothing twice
and nothing that is missing: what does not add up is an AmbiguousError (host/exact.py asks again, for less at a time).

Shapes are those of OpenZFS 2.1 to 2.3; the contract suite (tests/contract) holds them to the real one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence

from msgspec.structs import replace

from zrep.core.dataset import NO_HOLDS, PoolSpace, Snapshot, Value
from zrep.core.errors import FailedError
from zrep.core.mounts import MountEntry
from zrep.core.names import EXCLUDE, RELAYED, ancestors
from zrep.core.neighbours import Child
from zrep.core.quantities import whole_number
from zrep.zfs.commands import FOUND_BY, MADE_ALONE, MASTER, PAIRED, SNAPSHOT_COLUMNS

_SOURCES = frozenset(("local", "default", "received", "temporary", "none", "-"))
# More holds than this on one snapshot are not counted.
_MOST_HOLDS = 1000
_NO_VALUE = Value("-", "-")
_YES = Value("yes", "local")


class AmbiguousError(FailedError):
    """Rows that do not add up: a value or the tag of a hold may have line ends in it."""


def _ambiguous(command: str, line: str) -> AmbiguousError:
    return AmbiguousError(f"{command} printed something zrep does not understand", evidence=line[:120])


def parse_version(text: str) -> tuple[int, ...]:
    """(2, 3, 2) from ``zfs version``; () when it says nothing of the kind."""
    match = re.search(r"^zfs-(?:kmod-)?v?(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?", text, re.MULTILINE)
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


def parse_stream_size(text: str) -> int:
    match = re.search(r"^size\t(\d{1,20})$", text, re.MULTILINE)
    return int(match.group(1)) if match else 0


def parse_properties(
    text: str, properties: Sequence[str], datasets: Collection[str] | None
) -> dict[str, dict[str, Value]]:
    """``zfs get -o name,property,value,source`` of named properties and datasets, all of which are there (None: it is
    not known which): dataset → property → Value. Each dataset has a row for each property, in order."""
    table: dict[str, dict[str, Value]] = {}
    known: dict[tuple[str, str], Value] = {}  # most are those of many datasets
    wanted = None if datasets is None else set(datasets)
    names = [sys.intern(name) for name in properties]
    own: dict[str, Value] = {}
    of = ""
    for number, line in enumerate(_lines(text)):
        name, prop, value, source = _value(line)
        place = number % len(names)
        if place == 0:
            if name in table or (wanted is not None and name not in wanted):
                raise _ambiguous("zfs get", line)
            of, own = name, {}
            table[name] = own
        if name != of or prop != names[place]:
            raise _ambiguous("zfs get", line)
        own[names[place]] = known.setdefault((value, source), Value(value, source))
    if len(own) % len(names) or (wanted is not None and len(table) != len(wanted)):
        raise _ambiguous("zfs get", f"{len(table)} datasets")
    return table


def parse_found(text: str, properties: Sequence[str]) -> dict[str, dict[str, Value]]:
    """``zfs get`` of find_datasets: every dataset that has some of the properties itself, with those. The rows of each
    dataset begin with one of FOUND_BY."""
    table: dict[str, dict[str, Value]] = {}
    places = {sys.intern(name): place for place, name in enumerate(properties)}
    seen: set[str] = set()
    of, last = "", -1
    for line in _lines(text):
        name, prop, value, source = _value(line)
        if prop == FOUND_BY:
            if name in seen:
                raise _ambiguous("zfs get", line)
            seen.add(name)
            of, last = name, -1
        elif name != of or places.get(prop, -1) <= last:
            raise _ambiguous("zfs get", line)
        else:
            last = places[prop]
            if source == "local":
                table.setdefault(name, {})[properties[last]] = Value(value, source)
    return table


def parse_source(text: str) -> str:
    """``zfs get -o source`` of one property."""
    source = text.removesuffix("\n")
    if not _is_source(source):
        raise FailedError("zfs get printed something zrep does not understand", evidence=source[:120])
    return source


def parse_pairs(text: str) -> list[tuple[str, str]]:
    """``zfs get -o property,source``, or another pair of columns in which nobody can write what he likes."""
    rows = [tuple(line.split("\t")) for line in _lines(text)]
    for row in rows:
        if len(row) != 2:
            raise FailedError("zfs get printed something zrep does not understand", evidence="\t".join(row)[:120])
    return [(row[0], row[1]) for row in rows]


def children_of(tag: str, roots: Sequence[str], table: Mapping[str, Mapping[str, Value]]) -> list[Child]:
    """What is below the roots, by below_properties of each. The other tags are not known yet; see with_tags."""
    children = []
    for name, found in table.items():
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


def with_tags(child: Child, own: Mapping[str, str]) -> Child:
    """The same child, by everything it has itself, of any tag."""
    tags = sorted(prop.removesuffix(PAIRED) for prop in own if prop.endswith(PAIRED))
    master = any(own.get(f"{tag}{MASTER}") == "yes" for tag in tags)
    return replace(child, tags=tuple(tags), master=master, made=any(prop.endswith(MADE_ALONE) for prop in own))


def each_snapshots(text: str, columns: int, datasets: Collection[str]) -> Iterator[tuple[str, list[Snapshot]]]:
    """``zfs list`` of list_snapshots: dataset and snapshots, oldest first, one dataset after the other: there may be
    many with many. Holds are not known yet; a snapshot with holds has as many stand-ins until list_holds says which.
    columns: those after SNAPSHOT_COLUMNS.

    Nothing of it may be used before check_snapshots, or the end: what does not add up may show late."""
    for dataset, rows in _blocks(text, columns, datasets):
        yield dataset, sorted((_snapshot(row, columns) for row in rows), key=lambda snapshot: snapshot.createtxg)


def bookmarks(text: str, datasets: Collection[str]) -> dict[str, list[Snapshot]]:
    """``zfs list`` of list_with_bookmarks, which check_snapshots has found to be right, or of list_bookmarks: dataset →
    bookmarks, oldest first.

    Those of tank/a come after the rows of "tank/a b", where somebody else may have written them into a value: then
    only list_bookmarks, which prints no value, is believed."""
    found: dict[str, list[Snapshot]] = {name: [] for name in datasets}
    of: str | None = None
    for line in _lines(text):
        full, *row = line.split("\t")
        dataset, mark, name = full.partition("#")
        if not mark:
            of = full.partition("@")[0]
        if not mark or dataset not in found:
            continue
        if not name or len(row) < 3 or not row[0].isdigit() or of not in (None, dataset):
            raise _ambiguous("zfs list -t bookmark", line)
        guid, createtxg, creation = row[:3]
        made = Snapshot(name, sys.intern(guid), _integer(createtxg, full), _integer(creation, full), bookmark=True)
        found[dataset].append(made)
    return {name: sorted(own, key=lambda mark: mark.createtxg) for name, own in found.items()}


def check_snapshots(text: str, columns: int, datasets: Collection[str]) -> None:
    """AmbiguousError unless each_snapshots can be believed."""
    for _ in _blocks(text, columns, datasets):
        pass


def _blocks(text: str, columns: int, datasets: Collection[str]) -> Iterator[tuple[str, list[list[str]]]]:
    """The rows of each dataset begin with its own; those of datasets below it, which were not asked for, have no
    others."""
    missing = set(datasets)
    seen: set[str] = set()
    of, found = "", []
    for line in _lines(text):
        row = line.split("\t", len(SNAPSHOT_COLUMNS))
        dataset, at, _ = row[0].partition("@")
        if not dataset or len(row) != len(SNAPSHOT_COLUMNS) + bool(columns):
            raise _ambiguous("zfs list -t snapshot", line)
        if "#" in row[0]:  # see bookmarks: a row of nothing but dashes and numbers
            if row[0].partition("#")[0] not in seen or set("\t".join(row[4:])) - {"\t", "-"}:
                raise _ambiguous("zfs list -t bookmark", line)
            continue
        if at and dataset == of and of in missing:
            found.append(row)
        elif at or dataset in seen:
            raise _ambiguous("zfs list -t snapshot", line)
        else:
            if of in missing:
                missing.discard(of)
                yield of, found
            seen.add(dataset)
            of, found = dataset, []
    if of in missing:
        missing.discard(of)
        yield of, found
    if missing:
        raise _ambiguous("zfs list -t snapshot", f"{min(missing)} is missing")


def _snapshot(row: Sequence[str], columns: int) -> Snapshot:
    full, guid, createtxg, creation, userrefs, written, used, clones, *more = row
    marks = more[0].split("\t") if more else []
    if len(marks) != columns:  # a tab in one of them: none of zrep's
        marks = ["-"] * columns
    name = full.partition("@")[2]
    if not name or not guid.isdigit():
        raise _ambiguous("zfs list -t snapshot", full)
    return Snapshot(
        name=sys.intern(name),  # many filesystems have snapshots of the same names
        guid=sys.intern(guid),  # the other side has it too
        createtxg=_integer(createtxg, full),
        creation=_integer(creation, full),
        written=_integer(written, full),
        used=_integer(used, full),
        holds=_stand_ins(_integer(userrefs, full)),
        sent=whole_number(marks[0]) if marks else None,
        clones=tuple(clones.split(",")) if clones not in ("", "-") else (),
        made=bool(marks) and marks[1] not in ("", "-"),
        relayed=bool(marks) and marks[1] == RELAYED,
    )


def _stand_ins(holds: int) -> frozenset[str]:
    return frozenset(map(str, range(min(holds, _MOST_HOLDS)))) if holds else NO_HOLDS


def parse_new_snapshots(text: str) -> dict[str, Snapshot]:
    """``zfs get`` of get_snapshots: full name → the snapshot, as it is right after it was made."""
    table: dict[str, dict[str, str]] = {}
    for full, prop, value in _rows(text, 3, "zfs get"):
        table.setdefault(full, {})[prop] = value
    return {
        full: Snapshot(
            name=full.partition("@")[2],
            guid=found.get("guid", ""),
            createtxg=_integer(found.get("createtxg", ""), full),
            creation=_integer(found.get("creation", ""), full),
        )
        for full, found in table.items()
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
    shared = (field.partition(":") for field in fields[6:])
    groups = tuple(number for kind, _, number in shared if kind in ("shared", "master"))
    return MountEntry(numbers[0], numbers[1], _plain(fields[4]), more[0], _plain(more[1]), fields[2], groups)


def mount_line(text: str, identity: int) -> str:
    """The line of /proc/self/mountinfo about one mount, by its id; "" where it is not there."""
    return next((line for line in text.split("\n") if line.startswith(f"{identity} ")), "")


def mount_flags(text: str, identity: int) -> tuple[str, ...]:
    """What /proc/self/mountinfo says of one mount, by its id, beside whether it is read-only: nosuid, noatime ...; none
    where it is not there."""
    fields = mount_line(text, identity).split(" ")
    return tuple(flag for flag in (fields[5].split(",") if len(fields) > 5 else ()) if flag not in ("ro", "rw"))


def _plain(name: str) -> str:
    return re.sub(r"\\([0-3][0-7]{2})", lambda match: chr(int(match[1], 8)), name)


def parse_tags(text: str) -> list[str]:
    """``zfs get`` of find_tags: the tags of which some dataset has links."""
    names = set(text.splitlines())
    return sorted(name.removesuffix(":src-fs") for name in names if name.endswith(":src-fs"))


def parse_features(text: str) -> list[str]:
    """``zpool get`` of pool_features: the names of the features that are enabled."""
    rows = (line.partition("\t") for line in text.splitlines())
    known = {name: value for name, _, value in rows if name.startswith("feature@")}
    return [name.removeprefix("feature@") for name, value in known.items() if value in ("enabled", "active")]


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


def parse_holds(text: str, counts: Mapping[str, int]) -> dict[str, frozenset[str]]:
    """``zfs holds -H``: snapshot → tags. counts: how many holds each of the snapshots that were asked about has."""
    table: dict[str, list[str]] = {name: [] for name in counts}  # as rows: a tag that looks like two may repeat another
    for line in _lines(text):
        name, _, rest = line.partition("\t")
        tag, tab, _ = rest.rpartition("\t")
        if name not in table or not tab:
            raise _ambiguous("zfs holds", line)
        table[name].append(tag)
    for name, count in counts.items():
        if len(table[name]) != count:
            raise _ambiguous("zfs holds", f"{len(table[name])} of {count} of {name}")
    return {name: frozenset(tags) for name, tags in table.items()}


def parse_holds_of(text: str, snapshot: str) -> frozenset[str]:
    """The same of one snapshot: whatever begins no row of its own belongs to the tag before it."""
    rows = text.removesuffix("\n").split(f"\n{snapshot}\t") if text else []
    return frozenset(row.removeprefix(f"{snapshot}\t").rpartition("\t")[0] for row in rows)


def _value(line: str) -> tuple[str, str, str, str]:
    """A row of ``zfs get``: name, property, value, source. A user property may hold tabs: the value is what stands
    between."""
    name, _, rest = line.partition("\t")
    prop, _, rest = rest.partition("\t")
    value, tab, source = rest.rpartition("\t")
    if not tab or not prop or not _is_source(source):
        raise _ambiguous("zfs get", line)
    return name, prop, value, source


def _is_source(text: str) -> bool:
    return text in _SOURCES or (text.startswith("inherited from ") and "\n" not in text)


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
