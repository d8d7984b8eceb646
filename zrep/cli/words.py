"""What tired people type: what they plainly mean is taken so, and what is gone is answered with what is there."""

from __future__ import annotations

import re
from collections.abc import Sequence

from zrep.core.errors import UsageError

_HELP = ("help", "--help", "-h")
_VERSION = ("--version", "-V")
# The shell zrep's short forms.
SHORT = {
    "-i": "init",
    "-S": "sync",
    "-l": "list",
    "-s": "status",
    "-e": "expire",
    "-C": "changeconfig",
}
# Words of the shell zrep that are an option of another command here.
OF_SHELL = {
    "-R": ("refresh",),
    "snaponly": ("sync", "--no-send"),
    "synconly": ("sync", "--no-snapshot"),
    "sentsync": ("sync", "--no-snapshot"),
    "lastsent": ("list", "--last-sent"),
    "getlastsent": ("list", "--last-sent"),
    "uptodate": ("status", "--up-to-date"),
}
# Options of the shell zrep that ask for what happens here by itself.
_BY_ITSELF = {"sync": ("-r", "-c"), "refresh": ("-r",)}
# Words of the shell zrep that mean nothing here, after their command: what there is instead.
_GONE = {
    ("-D", ""): "zrep COMMAND -v, or -n, which print each command and its host",
    ("failover", "-L"): "where the peer is gone, on the replica's host: zrep takeover -L FS",
    ("failover", "-f"): "zrep failover FS; a replica that was changed by hand before it: zrep sync -f FS",
    ("refresh", "-f"): "of a replica that was changed by hand, on the master: zrep sync -f FS",
    ("setlastsent", ""): "zrep sentsync FS",
    ("status", "-m"): "zrep status --nagios, or --max-lag TIME",
}
# What the shell zrep calls a snapshot under its usual tag; with another one it might be a pool.
_SNAPSHOT = re.compile(r"zrep_[0-9a-f]{6}", re.ASCII)
# A host, an address in brackets among them, then a dataset, which may have colons itself.
_BOTH = re.compile(r"(\[[^\]]*\]|[^:/]+):(.+)")


def meant(arguments: Sequence[str], first: int) -> list[str]:
    """The command line that somebody means by his. first: where its first word is that is no global option."""
    words = list(arguments)
    word = words[first] if first < len(words) else ""
    if word in _HELP:
        rest = [other for other in words[first + 1 :] if other not in _HELP]
        return [*words[:first], *rest[:1], "--help"]
    if word in _VERSION and len(words) > 1:
        raise UsageError(f"{word} stands alone", advice=f"zrep {word}")
    _refuse_what_is_gone(word, words[first + 1 :])
    if word in OF_SHELL:
        rest = words[first + 1 :]
        if word == "sentsync":  # what both sides have is marked, on both
            rest = [other.partition("@")[0] for other in rest if other != "-L"]
        return [*words[:first], *OF_SHELL[word], *rest]
    if word in ("sync", "-S"):
        _refuse_a_snapshot(words[first + 1 :])
    if by_itself := _BY_ITSELF.get(SHORT.get(word, word)):
        return [*words[: first + 1], *(other for other in words[first + 1 :] if other not in by_itself)]
    return words


def _refuse_what_is_gone(word: str, rest: Sequence[str]) -> None:
    """UsageError for a word of the shell zrep that has no meaning here, with what there is instead."""
    command = SHORT.get(word, word)
    own = rest[: rest.index("--")] if "--" in rest else rest
    for gone in ("", *own):
        if instead := _GONE.get((command, gone)):
            raise UsageError(f"{' '.join(filter(None, (command, gone)))} was the shell zrep's", advice=instead)


def _refuse_a_snapshot(names: Sequence[str]) -> None:
    """UsageError where a sync is to end at an older snapshot, FS@SNAPSHOT or FS SNAPSHOT, with what to do instead."""
    if len(names) == 2 and _SNAPSHOT.fullmatch(names[1]) and "/" in names[0]:
        names = [f"{names[0]}@{names[1]}"]
    for other in names:
        name, at, snapshot = other.partition("@")
        if at and not other.startswith("-"):
            from shlex import quote

            raise UsageError(
                "a replica is never rolled back to an older snapshot",
                filesystem=name,
                evidence=other,
                advice=f"to use that one: zfs clone {quote(other)} {quote(f'{name}_{snapshot}')}, on the other "
                f"host by its name there, or look below .zfs/snapshot/{snapshot}",
            )


def dataset(word: str) -> str:
    """The dataset that a word names, with or without slashes at its end, as a shell completes a directory. UsageError,
    also for a path."""
    if word.startswith("/"):
        raise UsageError(
            f"{word} is a path", advice=f"the name of its filesystem: zfs list -H -o name {word}", evidence="not a name"
        )
    name, at, _ = word.partition("@")
    if at:
        raise UsageError(f"{word} is a snapshot", advice=f"the name of its filesystem: {name or 'FS'}")
    from zrep.core.names import check_dataset  # brings msgspec: not for printing a version

    return check_dataset(word.rstrip("/"))


def one_dataset(word: str) -> str:
    """The same for a command that takes one. UsageError for ``all``."""
    if word == "all":
        raise UsageError(
            "this command knows no 'all', it wants its filesystems named",
            advice="zrep list -H -o name prints the names",
        )
    return dataset(word)


def peer(host: str, target: str) -> tuple[str, str]:
    """A host and a dataset there, as two words or as HOST:DATASET. UsageError where one is missing."""
    host, target = new_peer(host, target)
    if not target:
        raise UsageError("Missing argument 'DEST_FS'", advice="zrep init FS HOST DEST_FS, or zrep init FS HOST:DEST_FS")
    return host, target


def new_peer(host: str, target: str) -> tuple[str, str]:
    """The same where both may be missing: what is not named stays as it is."""
    if not target and (both := _BOTH.fullmatch(host)):
        host, target = both[1], both[2]
    return host, dataset(target) if target else ""


def pulled(host: str, source: str, target: str) -> tuple[str, str, str]:
    """A host, a dataset there and one here, the first two as one word or as two. UsageError where one is missing."""
    if not target and (both := _BOTH.fullmatch(host)):
        host, source, target = both[1], both[2], source
    if not target:
        advice = "zrep init --pull HOST SRC_FS DEST_FS, or zrep init --pull HOST:SRC_FS DEST_FS"
        raise UsageError("Missing argument 'DEST_FS'", advice=advice)
    return host, dataset(source), dataset(target)


def properties(given: Sequence[str], excluded: Sequence[str]) -> str:
    """What is not to follow to a replica, as it is kept: what it is given instead (NAME=VALUE), and what it inherits.
    UsageError for what never follows, and for what is no value."""
    from zrep.core.names import FOLLOWED

    words = [*given, *excluded]
    names = [word.partition("=")[0] for word in words]
    for word, name in zip(words, names, strict=True):
        if name not in FOLLOWED or names.count(name) > 1:
            evidence = "it is named twice" if names.count(name) > 1 else f"these do: {', '.join(FOLLOWED)}"
            raise UsageError(f"{name!r} is no property that follows from a master to its replica", evidence=evidence)
        if (word in given) != bool(re.fullmatch(r"[a-z_]+=[A-Za-z0-9.-]+", word)):
            raise UsageError(f"{word!r} is not understood", evidence="-o takes NAME=VALUE, -x takes NAME")
    return ",".join(words)
