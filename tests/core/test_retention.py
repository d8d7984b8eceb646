from __future__ import annotations

import pytest

from tests.core.make import MASTER, TAG, member
from zrep.core.retention import expirable


@pytest.mark.parametrize(
    ("snapshots", "base", "keep", "gone"),
    [
        ("1 2 3 4", "4", 2, "1 2"),
        ("1 2 3 4", "4", 1, "1 2 3"),
        ("1 2 3 4", "4", 0, "1 2 3"),
        ("1 2 3 4", "4", 4, ""),
        ("1 2 3 4", "4", 9, ""),
        ("1 2 3 4", "2", 1, "1"),  # what is newer than the base is not on the other side
        ("1 2 3 4", "1", 1, ""),
        ("1 2 3 4", None, 1, ""),  # no base: nothing is known to be on both sides
        ("1h 2H 3 4", "4", 1, "3"),
        ("1c 2 3", "3", 1, "2"),
        ("daily 1 2 weekly 3", "3", 1, "1 2"),  # foreign ones are neither counted nor touched
        ("daily weekly", "daily", 1, ""),
        ("1 2 3 4h", "4h", 2, "1 2"),
    ],
)
def test_what_one_side_may_let_go_of(snapshots: str, base: str | None, keep: int, gone: str) -> None:
    side = member("tank/a", MASTER, snapshots)
    guid = base.rstrip("hHswc") if base else ""
    found = expirable(side.ours(TAG), side.by_guid(guid) if base else None, keep)
    assert " ".join(snapshot.guid for snapshot in found) == gone


def test_of_another_tag_nothing() -> None:
    side = member("tank/a", MASTER, "1 2 3")
    assert expirable(side.ours("offsite"), side.snapshots[-1], 1) == ()
