"""How much of the directory of locks the peer behind a gate may have: it is in memory, and without room in it nothing
on the host is locked any more. A lock is two files, of whatever name; they stay until the next boot."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from zrep.core.names import file_name

# Of all that there is room for.
_SHARE = 4
# Where a file system has no number of files.
_FILES = 100_000
# What a file takes in memory, however little is in it.
_PAGE = 4096
_LOCKS = ("", ".lock", ".receive")
# What of a name that is too long for a file is left of it, at least.
_BEGINNING = 180


def lacking(directory: str, trees: Collection[str], more: Mapping[str, int]) -> str:
    """Why some files may not be made, or grow by so many bytes, in words: those about trees would be too many, or too
    large. "" where they may; nothing is counted as long as they are there, and stay small."""
    new = {path: count for path, count in more.items() if _grows(path, count)}
    if not new:
        return ""
    space = os.statvfs(directory)
    files, size = _used(directory, trees)
    if files + len(new) > (space.f_files or _FILES) // _SHARE:
        return f"so many names: {files} files are about {' and '.join(trees)}"
    if size + sum(map(_pages, new.values())) > space.f_blocks * space.f_frsize // _SHARE:
        return f"so much: {size} bytes are about {' and '.join(trees)}"
    return ""


def _grows(path: str, more: int) -> bool:
    try:
        return os.lstat(path).st_size + more > _PAGE
    except OSError:
        return True


def _pages(size: int) -> int:
    return max(_PAGE, -(-size // _PAGE) * _PAGE)


def _used(directory: str, trees: Collection[str]) -> tuple[int, int]:
    """How many files there are about trees, and what they take."""
    count = size = 0
    for folder in (directory, f"{directory}/state"):
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            name = entry.name if folder == directory else entry.name.partition(" ")[2]
            if any(_about(name, file_name(tree)) for tree in trees):
                count += 1
                size += _pages(entry.stat(follow_symlinks=False).st_size)
    return count, size


def _about(name: str, tree: str) -> bool:
    return name in [tree + ending for ending in _LOCKS] or name.startswith(f"{tree}%"[:_BEGINNING])
