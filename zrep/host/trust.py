"""Whom a file could be from: what root acts on must not be what others can write."""

from __future__ import annotations

import os
import stat

# path_resolution(7).
_MOST_LINKS = 40


def others_may_write(path: str) -> str:
    """Who but root, or the user that this process runs as, could have put what is at a path there, in words for the
    evidence of an error; "" for nobody, and for what is not there. Looked at are the file, every link on the
    way to what it is, that, and every directory above any of them."""
    for place in _places(os.path.abspath(path)):
        for each in _with_folders(place):
            try:
                found = os.lstat(each)
            except OSError:
                continue  # what is below it is not there either
            if found.st_uid not in (0, os.geteuid()):
                return f"{each} belongs to the user {found.st_uid}"
            if not stat.S_ISLNK(found.st_mode) and _writable(found):
                return f"{each} has mode {stat.S_IMODE(found.st_mode):o}: others may write to it"
    return ""


def _places(path: str) -> list[str]:
    """A path, and where it leads from one link to the next, each component's in turn: whoever has one in between
    decides where it leads. Of more of them than the kernel follows there is nothing."""
    places: list[str] = []
    while path not in places and len(places) <= _MOST_LINKS:
        places.append(path)
        link = next((each for each in reversed(_with_folders(path)) if os.path.islink(each)), "")
        if link:
            leads = os.path.join(os.path.dirname(link), os.readlink(link))
            path = os.path.normpath(leads + path[len(link) :])
    return places


def _with_folders(path: str) -> list[str]:
    """A path and every directory above it."""
    return [path, *([] if path == "/" else _with_folders(os.path.dirname(path)))]


def _writable(found: os.stat_result) -> bool:
    """Whether others may write to it. In a directory like /tmp they may, but not in the place of what is there."""
    sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    return bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)) and not sticky
