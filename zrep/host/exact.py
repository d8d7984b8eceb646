"""Reads of what anybody may have written: no value, and no tag of a hold, is ever taken for a row of its own.

One command reads all there is to read, as long as what it prints adds up (see zfs/parse.py). Otherwise the same is
asked for half of it, down to a single value: so one odd value costs some commands, and nobody but its dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from zrep.core.dataset import Snapshot, Value
from zrep.core.names import RELAYED
from zrep.core.quantities import whole_number
from zrep.host.machine import Machine
from zrep.host.process import COMMAND_SECONDS
from zrep.zfs import commands, parse
from zrep.zfs import errors as zfs_errors
from zrep.zfs.parse import AmbiguousError

Properties = dict[str, dict[str, Value]]

# One argument list must stay below the kernel's 128 KiB per argument and 2 MiB in all; names are at most 255 bytes.
BATCH = 4000
_NONE = Value("-", "-")


def properties(machine: Machine, names: Sequence[str], datasets: Sequence[str]) -> Properties:
    """Named properties of those of the datasets, or snapshots, that exist."""
    done = machine.look(commands.get_properties(names, datasets))
    there = set(datasets) - zfs_errors.absent(done)
    try:
        return parse.parse_properties(zfs_errors.present(done).out, names, there)
    except AmbiguousError:
        return _halves(machine, names, datasets)


def _halves(machine: Machine, names: Sequence[str], datasets: Sequence[str]) -> Properties:
    if len(datasets) > 1:
        middle = len(datasets) // 2
        first, second = (properties(machine, names, some) for some in (datasets[:middle], datasets[middle:]))
        return {**first, **second}
    if len(names) > 1:
        middle = len(names) // 2
        first, second = (properties(machine, some, datasets) for some in (names[:middle], names[middle:]))
        return {dataset: {**own, **second[dataset]} for dataset, own in first.items() if dataset in second}
    [dataset], [name] = datasets, names
    source = parse.parse_source(machine.output(commands.get_one("source", name, dataset)))
    value = machine.output(commands.get_one("value", name, dataset))
    return {dataset: {name: Value(value.removesuffix("\n"), source)}}


def find(machine: Machine, names: Sequence[str]) -> Properties:
    """Every dataset of the machine that has some of these properties itself, with those."""
    try:
        return parse.parse_found(machine.output(commands.find_datasets(names)), names)
    except AmbiguousError:
        rows = parse.parse_pairs(machine.output(commands.find_names(names)))
    found: Properties = {}
    for dataset, own in properties(machine, names, sorted({name for name, _ in rows})).items():
        found[dataset] = {name: value for name, value in own.items() if value.local}
    return found


def below(machine: Machine, names: Sequence[str], datasets: Sequence[str]) -> Properties:
    """Named properties of those of the datasets that exist, and of all below them."""
    done = zfs_errors.present(machine.look(commands.get_below(names, datasets)))
    try:
        return parse.parse_properties(done.out, names, None)
    except AmbiguousError:
        there = set(datasets) - zfs_errors.absent(done)
    trees = (machine.output(commands.list_tree(dataset)).splitlines() for dataset in sorted(there))
    return properties(machine, names, sorted({name for tree in trees for name in tree}))


def own_names(machine: Machine, datasets: Sequence[str], sources: str = "local,received") -> dict[str, list[str]]:
    """The names of the properties that each of the datasets has itself, set there or received."""
    found: dict[str, list[str]] = {}
    for start in range(0, len(datasets), BATCH):
        printed = zfs_errors.present(machine.look(commands.list_own(datasets[start : start + BATCH], sources))).out
        for dataset, name in parse.parse_pairs(printed):
            found.setdefault(dataset, []).append(name)
    return found


def settings(machine: Machine, dataset: str) -> dict[str, Value]:
    """Every property that a dataset has itself, or has received."""
    names = own_names(machine, [dataset]).get(dataset)
    return properties(machine, names, [dataset]).get(dataset, {}) if names else {}


def snapshots(machine: Machine, tag: str, datasets: Sequence[str], out: str) -> dict[str, list[Snapshot]]:
    """Dataset → snapshots, oldest first. out: what list_snapshots has printed of all of them, all of which exist."""
    return dict(each_snapshots(machine, tag, datasets, out))


def each_snapshots(
    machine: Machine, tag: str, datasets: Sequence[str], out: str
) -> Iterator[tuple[str, list[Snapshot]]]:
    """The same, one dataset after the other: there may be many with many."""
    marks = commands.snapshot_marks(tag)
    try:
        parse.check_snapshots(out, len(marks), datasets)
    except AmbiguousError:
        yield from _one_by_one(machine, tag, datasets)
    else:
        yield from parse.each_snapshots(out, len(marks), datasets)


def bookmarks(machine: Machine, tag: str, datasets: Sequence[str], out: str) -> dict[str, list[Snapshot]]:
    """Dataset → bookmarks, oldest first. out: what list_with_bookmarks has printed of all of them."""
    if "#" not in out:
        return {}
    try:
        parse.check_snapshots(out, len(commands.snapshot_marks(tag)), datasets)
        return parse.bookmarks(out, datasets)
    except AmbiguousError:
        return parse.bookmarks(machine.output(commands.list_bookmarks(datasets)), datasets)


def _one_by_one(machine: Machine, tag: str, datasets: Sequence[str]) -> Iterator[tuple[str, list[Snapshot]]]:
    """Without the marks, nobody can have written into a row; they are read by themselves."""
    out = machine.output(commands.list_snapshots((), datasets))
    marks = commands.snapshot_marks(tag)
    for dataset, found in parse.each_snapshots(out, 0, datasets):
        marked: Properties = {}
        for start in range(0, len(found), BATCH):
            names = [f"{dataset}@{snapshot.name}" for snapshot in found[start : start + BATCH]]
            marked.update(properties(machine, marks, names))
        yield (
            dataset,
            [_with_marks(snapshot, marks, marked.get(f"{dataset}@{snapshot.name}", {})) for snapshot in found],
        )


def _with_marks(snapshot: Snapshot, marks: Sequence[str], own: Mapping[str, Value]) -> Snapshot:
    sent, made = (own.get(mark, _NONE).value for mark in marks)
    return replace(snapshot, sent=whole_number(sent), made=made not in ("", "-"), relayed=made == RELAYED)


def holds(machine: Machine, counts: Mapping[str, int]) -> Mapping[str, frozenset[str]]:
    """The tags of the holds on snapshots. counts: how many each has, as far as they were counted."""
    names = list(counts)
    found = machine.library.read_holds(names, COMMAND_SECONDS)
    return _printed_holds(machine, counts) if found is None else found


def _printed_holds(machine: Machine, counts: Mapping[str, int]) -> Mapping[str, frozenset[str]]:
    names = list(counts)
    out = machine.output(commands.list_holds(names))
    try:
        return parse.parse_holds(out, counts)
    except AmbiguousError:
        if len(names) == 1:
            return {names[0]: parse.parse_holds_of(out, names[0])}
    found: dict[str, frozenset[str]] = {}
    middle = len(names) // 2
    for half in (names[:middle], names[middle:]):
        found.update(_printed_holds(machine, {name: counts[name] for name in half}))
    return found
