"""What core/apply says of a dataset, beside what is read of it: everything an operation decides by."""

from __future__ import annotations

from collections.abc import Mapping

from tests import model
from zrep.core.dataset import Member, Value
from zrep.host.local import Host
from zrep.ops.read import observe
from zrep.zfs.commands import NATIVE_PROPERTIES

TAG = "zrep"
# Not told: sizes, which only ZFS counts (of written: whether there is any), and the guid of a dataset that is new.
NOT_TOLD = frozenset({"used", "usedbychildren", "referenced", "available", "written", "guid"})
TOLD = tuple(name for name in NATIVE_PROPERTIES if name not in NOT_TOLD)

Picture = Mapping[str, Member]


def look(host: Host, itself: model.Host) -> dict[str, Member]:
    """Everything that is on a host, as zrep reads it. itself: the host that it is in the model."""
    return observe(host, TAG, itself.names())


def told(member: Member) -> dict[str, object]:
    """Everything core/apply promises of a dataset. Of zrep's properties those count that are the dataset's own: no
    other makes a role."""
    found: dict[str, object] = {}
    for key in TOLD:
        value = member.properties.get(key, Value("-", "-"))
        found[key] = f"{value.value} ({value.source})"
    ours = {key: value for key, value in member.properties.items() if key.startswith(f"{TAG}:")}
    own = {key: value for key, value in ours.items() if value.source in ("local", "received")}
    found |= {key: f"{value.value} ({value.source})" for key, value in own.items()}
    found["role"] = member.role
    found["written"] = member.number("written") > 0
    found["snapshots"] = [snapshot.name for snapshot in member.snapshots]
    for mark in member.bookmarks:
        found[f"#{mark.name}"] = (mark.guid,)
    for s in member.snapshots:
        found[f"@{s.name}"] = (s.guid, sorted(s.holds), s.sent, s.made, sorted(s.clones), s.written > 0)
    return found


def differences(expected: Picture, seen: Picture) -> list[str]:
    """Where they differ. A snapshot that core/apply cannot know the guid of has any that no other has."""
    found = [f"{name}: expected, and not there" for name in sorted(expected.keys() - seen.keys())]
    found += [f"{name}: there, and not expected" for name in sorted(seen.keys() - expected.keys())]
    for name in sorted(expected.keys() & seen.keys()):
        one, other = told(expected[name]), told(seen[name])
        for key in sorted(one.keys() | other.keys()):
            before, after = one.get(key, "nothing"), other.get(key, "nothing")
            if isinstance(before, tuple) and isinstance(after, tuple) and before[0].startswith("planned:"):
                before, after = before[1:], after[1:]
            if before != after:
                found.append(f"{name}: {key}: {before}, and it is {after}")
    return found
