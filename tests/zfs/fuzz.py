"""A million answers of zfs for each parser: broken ones, and ones into which somebody has written what he likes.

    python -m tests.zfs.fuzz --inputs 1000000 --seed 1

A parser says what is so, or raises the one typed error; anything else ends this with the input. Printed at the end,
for each: how many were believed, how many refused. With --atheris (pip install atheris) the broken ones are made by
what the parsers do with them.
"""

from __future__ import annotations

import argparse
import sys
import time
import unicodedata
from collections.abc import Callable, Sequence
from importlib import import_module
from random import Random
from types import FunctionType

from tests.wire.mutate import mutated
from tests.zfs import forging
from zrep.core import dataset
from zrep.core.dataset import Value, role_of
from zrep.core.errors import FailedError, ZrepError
from zrep.core.pair import End
from zrep.core.role import Intent
from zrep.core.steps import Hold, Mount
from zrep.zfs import errors, parse
from zrep.zfs.commands import Completed
from zrep.zfs.history import parse_history
from zrep.zfs.parse import AmbiguousError

# --- somebody writes into his values ---


def properties(random: Random) -> bool:
    printed = forging.properties(random)
    try:
        found = parse.parse_properties(printed.text, forging.PROPERTIES, list(printed.truth))
    except AmbiguousError:
        assert printed.odd
        return False
    assert found == printed.truth, printed.text
    for name, own in found.items():
        role_of("zrep", name, own)
    return True


def found(random: Random) -> bool:
    printed = forging.found(random)
    try:
        table = parse.parse_found(printed.text, forging.PROPERTIES)
    except AmbiguousError:
        return False
    # He may lie about his own, and make one up that is not there: reading it by its name says so.
    for name in set(forging.NAMES) - printed.odd:
        assert table.get(name) == printed.truth.get(name), printed.text
    return True


def snapshots(random: Random) -> bool:
    text, asked, truth, honest = forging.snapshots(random)
    try:
        table = dict(parse.each_snapshots(text, 2, asked))
    except AmbiguousError:
        return False
    try:
        kept = parse.bookmarks(text, asked)
    except AmbiguousError:
        return False
    assert table.keys() == truth.keys(), text
    for name in truth.keys() & honest:
        told = [(snapshot.name, snapshot.guid) for snapshot in table[name]]
        assert [*told, *((f"#{mark.name}", mark.guid) for mark in kept[name])] == truth[name], text
    return True


def holds(random: Random) -> bool:
    text, truth = forging.holds(random)
    try:
        table = parse.parse_holds(text, {name: len(tags) for name, tags in truth.items()})
    except AmbiguousError:
        return False
    assert table == truth, text
    return True


# --- what is broken ---

ZFS_GET = b"tank/a\tzrep:src-fs\ttank/a\tlocal\ntank/a\tzrep:master\tyes\tlocal\ntank/a\tzrep:inprogress\t\tlocal\n"
ZFS_FOUND = b"tank/a\treservation\t0\tdefault\n" + ZFS_GET + b"tank/b\treservation\t0\tlocal\n"
ZFS_LIST = (
    b"tank/a\t7\t1\t1795000000\t-\t0\t0\t-\t-\t-\n"
    b"tank/a@zrep_000001\t18307450420624604574\t15\t1795000000\t1\t98304\t0\ttank/c,tank/d\t1795000001\tyes\n"
    b"tank/a@daily\t8\t16\t1795000060\t0\t0\t0\t-\t-\t-\n"
    b"tank/a#zrep_000001\t18307450420624604574\t15\t1795000000\t-\t-\t-\t-\t-\t-\n"
)
ZFS_BOOKMARKS = (
    b"tank/a#zrep_000001\t18307450420624604574\t15\t1795000000\t-\t-\t-\t-\n"
    b"tank/a#zrep:zrep_000002\t8\t16\t1795000060\t-\t-\t-\t-\n"
)
ZFS_HOLDS = b"tank/a@1\tzrep\tSat Nov 28 05:16 2026\ntank/a@1\tk\tSat Nov 28 05:16 2026\n"
INTENT = Intent("failover", "0123456789abcdef", "prepare", 3, {"a b": "on local"}, {"master": "yes"}).text().encode()
SAID = (
    b"cannot open 'tank/a': dataset does not exist\n",
    b"cannot receive incremental stream: destination tank/b has been modified\nsince most recent snapshot\n",
    b"cannot create snapshots : out of space\n  no snapshots were created\n",
    b"cannot hold snapshot 'tank/a@1': tag already exists on this dataset\n",
    b"filesystem 'tank/a' is already mounted\n",
)
REST = (
    b"zfs-2.3.2-2\nzfs-kmod-2.3.2-2\n",
    b"resume token contents:\nnvlist version: 0\n\ttoguid = 0xfe\n\tfromguid = 0x1\n\tbytes = 0x10\n",
    b"incremental\ta\tb\t624\nsize\t624\n",
    b"---- Permissions on tank/a ----\nLocal permissions:\n\tuser operator mount\n\teveryone diff\n",
    b"25 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n",
    b"tank\t3758096384\t3750000000\tONLINE\toff\n",
    b"+\t/tank/a/b\nR\t/tank/a/c\t/tank/a/d\n",
    b"zrep:src-fs\nzrep:dest-fs\n",
    b"quota\tlocal\nzrep:a\treceived\n",
    b"tank/a@1\tguid\t7\ntank/a@1\tcreatetxg\t7\ntank/a@1\tcreation\t7\n",
    b"tank\tfeature@async_destroy\tenabled\tlocal\n",
    b"2026-11-28.12:00:05 zfs set a:b=c tank/a [user 0 (root) on alpha:linux]\n"
    b"2026-11-28.12:00:05 [txg:812] set tank/a (68) a:b=c [on alpha]\n",
)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")


def zfs_get(data: bytes) -> None:
    """Named properties, and every dataset that has some; what a role is made of them."""
    text = _text(data)
    for name, own in parse.parse_properties(text, forging.PROPERTIES, ["tank/a"]).items():
        role_of("zrep", name, own)


def zfs_get_of_all(data: bytes) -> None:
    parse.parse_found(_text(data), forging.PROPERTIES)


def zfs_list(data: bytes) -> None:
    text = _text(data)
    dict(parse.each_snapshots(text, 2, ["tank/a"]))
    parse.bookmarks(text, ["tank/a"])


def zfs_list_of_bookmarks(data: bytes) -> None:
    parse.bookmarks(_text(data), ["tank/a"])


def zfs_holds(data: bytes) -> None:
    parse.parse_holds_of(_text(data), "tank/a@1")
    parse.parse_holds(_text(data), {"tank/a@1": 2})


def intent(data: bytes) -> None:
    """Never an error: what is none is an unknown one."""
    text = _text(data)
    found = Intent.parse(text)
    assert found is not None or text in ("", "-")
    if found is not None:
        assert Intent.parse(found.text()) == found
        role = role_of("zrep", "tank/a", {"zrep:inprogress": Value(text, "local")})
        assert role.intent is not None
        assert bool(role.unreadable) is (role.intent.operation == "unknown"), text


def _commands(character: str) -> bool:
    """Whether a terminal may take a character for a command, or for the direction of what follows (Unicode's categories
    and bidirectional classes)."""
    directions = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or (
        unicodedata.bidirectional(character) in directions or character in "\u200e\u200f\u061c"
    )


def stderr(data: bytes) -> None:
    """Any words are an error, and one that can be shown and sent."""
    text = _text(data)
    for step in (None, Hold(End.SOURCE, "zrep", ("tank/a@1",)), Mount(End.SOURCE, "tank/a")):
        done = Completed(("zfs", "get"), 1, "", text)
        error = errors.step_error(step, done) if step else errors.error(done)
        if error is not None:
            assert not any(map(_commands, errors.as_error(errors.as_failure(error)).line())), text
    errors.absent(done)
    errors.present(done)


def the_rest(data: bytes) -> None:
    """Every other parser takes it or refuses it."""
    text = _text(data)
    parse.parse_version(text)
    parse.parse_stream_size(text)
    parse.parse_allowed(text, "tank/a")
    parse.parse_tags(text)
    parse.parse_differences(text)
    parse.parse_features(text)
    parse_history(text)
    for parser in (
        parse.parse_mountinfo,
        lambda found: parse.mount_flags(found, 1),
        parse.parse_pool_space,
        parse.parse_pairs,
        parse.parse_new_snapshots,
    ):
        try:
            parser(text)
        except FailedError:
            continue


BROKEN: Sequence[tuple[Callable[[bytes], None], Sequence[bytes]]] = (
    (zfs_get, (ZFS_GET,)),
    (zfs_get_of_all, (ZFS_FOUND,)),
    (zfs_list, (ZFS_LIST,)),
    (zfs_list_of_bookmarks, (ZFS_BOOKMARKS,)),
    (zfs_holds, (ZFS_HOLDS,)),
    (intent, (INTENT,)),
    (stderr, SAID),
    (the_rest, REST),
)


def _broken(reader: Callable[[bytes], None], samples: Sequence[bytes]) -> Callable[[Random], bool]:
    def way(random: Random) -> bool:
        try:
            reader(mutated(random.choice(samples), random))
        except ZrepError:
            return False
        return True

    way.__name__ = reader.__name__
    return way


WAYS: Sequence[Callable[[Random], bool]] = tuple(_broken(*each) for each in BROKEN)
FORGED: Sequence[Callable[[Random], bool]] = (properties, found, snapshots, holds)


def fuzz(way: Callable[[Random], bool], inputs: int, seed: int) -> int:
    """So many inputs; how many were believed."""
    random = Random(seed)
    believed = 0
    for number in range(inputs):
        try:
            believed += way(random)
        except BaseException:
            print(f"{way.__name__}: input {number} of seed {seed}")
            raise
    return believed


def by_atheris(arguments: Sequence[str]) -> None:
    """Every reader in turn by the first byte. atheris's own options, as -runs=1000000, are in arguments."""
    atheris = import_module("atheris")  # only where it is asked for

    for module in (parse, errors, dataset):
        for name, value in list(vars(module).items()):
            if isinstance(value, FunctionType) and value.__module__ == module.__name__:
                setattr(module, name, atheris.instrument_func(value))

    def one(data: bytes) -> None:
        if not data:
            return
        reader, _ = BROKEN[data[0] % len(BROKEN)]
        try:
            reader(data[1:])
        except ZrepError:
            return

    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--way", default="", help="only this one")
    parser.add_argument("--atheris", action="store_true")
    options, more = parser.parse_known_args()
    if options.atheris:
        by_atheris(more)
        return
    for way in [way for way in (*WAYS, *FORGED) if options.way in ("", way.__name__)]:
        started = time.monotonic()
        believed = fuzz(way, options.inputs, options.seed)
        seconds = time.monotonic() - started
        refused = options.inputs - believed
        print(
            f"{way.__name__}: {options.inputs} inputs, {believed} believed, {refused} refused, {seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
