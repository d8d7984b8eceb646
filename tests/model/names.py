"""Dataset names: taking them apart, and the checks libzfs makes before it opens one."""

from __future__ import annotations

from .errors import RefusalError

FILESYSTEM, VOLUME, SNAPSHOT, BOOKMARK = "filesystem", "volume", "snapshot", "bookmark"
HEADS = frozenset({FILESYSTEM, VOLUME})
DATASETS = HEADS | {SNAPSHOT}
_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.: ")
_MAX = 256


def split(name: str) -> tuple[str, str]:
    head, _, snap = name.partition("@")
    return head, snap


def parent(name: str) -> str:
    return name.rpartition("/")[0]


def is_under(name: str, top: str) -> bool:
    return name == top or name.startswith(top + "/")


def too_long(name: str) -> bool:
    """Whether a name, that of a snapshot included, is longer than ZFS takes."""
    return len(name) >= _MAX


def problem(name: str, types: frozenset[str], modifying: bool = False) -> str | None:
    """Why libzfs does not take this name for these types, or None."""
    if SNAPSHOT not in types and "@" in name:
        return "snapshot delimiter '@' is not expected here"
    if types == {SNAPSHOT} and "@" not in name:
        return "missing '@' delimiter in snapshot name"
    if BOOKMARK not in types and "#" in name:
        return "bookmark delimiter '#' is not expected here"
    if modifying and "%" in name:
        return "invalid character % in name"
    if too_long(name):
        return "name is too long"
    if name.startswith("/"):
        return "leading slash in name"
    if name.count("@") + name.count("#") > 1:
        return "multiple '@' and/or '#' delimiters in name"
    if name.endswith("/"):
        return "trailing slash in name"
    for component in name.replace("@", "/").replace("#", "/").split("/"):
        if not component:
            return "empty component or misplaced '@' or '#' delimiter in name"
        for char in component:
            if char not in _CHARS and char != "%":
                return f"invalid character '{char}' in name"
        if component == ".":
            return "self reference, '.' is found in name"
        if component == "..":
            return "parent reference, '..' is found in name"
    return None


def check(name: str, types: frozenset[str], action: str, modifying: bool = False) -> None:
    why = problem(name, types, modifying)
    if why:
        raise RefusalError(f"{action}: {why}")
