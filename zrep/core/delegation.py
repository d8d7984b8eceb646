"""What a user other than root needs to replicate a filesystem: the least of ``zfs allow`` on either side.

All of it but mounting works as that user, who may mount nothing on Linux: a role change takes root, or hooks of his.
"""

from __future__ import annotations

import re

from zrep.core.errors import UsageError

# Of the master: snapshots are made, held, sent, let go of and destroyed (which ZFS wants mount for), the base keeps a
# bookmark, the role is kept
# in user properties, and a side that is not the right one is made read-only.
SEND = ("bookmark", "destroy", "hold", "mount", "readonly", "release", "rename", "send", "snapshot", "userprop")
# Of the replica and what is above it: it is made (which ZFS wants create and mount for), received into, its old
# snapshots go, and a clone in a tree is promoted as on the master.
RECEIVE = (
    "canmount",
    "create",
    "destroy",
    "hold",
    "mount",
    "promote",
    "readonly",
    "receive",
    "release",
    "rename",
    "userprop",
)

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}\Z")


def check_user(name: str) -> str:
    """name, if useradd(8) would make such a user; else UsageError."""
    if not _USER.match(name):
        raise UsageError(f"{name!r} cannot be a user", evidence="lowercase letters, digits, _ and - only")
    return name


def words(user: str, *, receive: bool) -> tuple[str, ...]:
    """The words of ``zfs allow`` before the dataset."""
    return ("-u", user, ",".join(RECEIVE if receive else SEND))
