"""Whose a path is, and what a new mount would hide."""

from __future__ import annotations

import pytest

from zrep.core.mounts import MountEntry, covering, in_the_way, unreachable_by_path

ROOT = MountEntry(1, 0, "/", "ext4", "/dev/vda1")
TANK = MountEntry(2, 1, "/tank", "zfs", "tank")
A = MountEntry(3, 2, "/tank/a", "zfs", "tank/a")
INSIDE = MountEntry(4, 3, "/tank/a/c", "zfs", "tank/a/c")
SIDE = MountEntry(5, 2, "/tank/ab", "zfs", "tank/ab")
OVER = MountEntry(6, 3, "/tank/a", "tmpfs", "tmpfs")
OVER_TANK = MountEntry(7, 2, "/tank", "tmpfs", "tmpfs")
UNDER = MountEntry(8, 2, "/tank/a", "tmpfs", "tmpfs")
ON_IT = MountEntry(9, 8, "/tank/a", "zfs", "tank/a")


@pytest.mark.parametrize(
    ("table", "entry", "over"),
    [
        ((ROOT, TANK, A), A, None),
        ((ROOT, TANK, A, INSIDE, SIDE), A, None),
        ((ROOT, TANK, A, OVER), A, OVER),
        ((ROOT, TANK, A, OVER_TANK), A, OVER_TANK),
        ((ROOT, TANK, UNDER, ON_IT), ON_IT, None),
    ],
    ids=["alone", "below and beside", "over it", "over a directory above it", "over something else"],
)
def test_what_covers_a_mount(table: tuple[MountEntry, ...], entry: MountEntry, over: MountEntry | None) -> None:
    assert covering(table, entry) == over


@pytest.mark.parametrize(
    ("point", "found"),
    [("/tank/a", [A, INSIDE]), ("/tank/b", []), ("/", [ROOT, TANK, A, INSIDE, SIDE]), ("/tank/a/c/d", [])],
)
def test_what_a_mount_would_hide(point: str, found: list[MountEntry]) -> None:
    assert in_the_way((ROOT, TANK, A, INSIDE, SIDE), point) == found


def test_what_was_mounted_first_and_is_hidden_covers_nothing() -> None:
    """Something on /tank/a, then something on /tank, then in that something on /tank/a/c: found by the simulation
    (seed 101), which hid that."""
    table = (ROOT, TANK, UNDER, OVER_TANK, MountEntry(10, 7, "/tank/a/c", "tmpfs", "tmpfs"))
    assert covering(table, table[-1]) is None
    assert in_the_way(table, "/tank/a") == [table[-1]]


def test_what_is_hidden_already_is_not_in_the_way() -> None:
    """Nobody could take it away by its path. Found by the simulation (seed 6)."""
    table = (ROOT, TANK, A, INSIDE, MountEntry(6, 1, "/tank", "zfs", "tank"))
    assert in_the_way(table, "/tank/a") == []
    assert in_the_way((ROOT, TANK, A, OVER), "/tank/a") == [OVER]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ((ROOT, TANK, A), ""),
        ((ROOT, TANK), "tank/a is not mounted on /tank/a, its mountpoint"),
        ((ROOT, TANK, A, OVER), "tmpfs (tmpfs) is mounted on /tank/a, over tank/a"),
        ((ROOT,), ""),
        ((), ""),
    ],
    ids=["by its path", "elsewhere", "covered", "no ZFS is known of", "nothing is known"],
)
def test_why_a_path_does_not_lead_to_a_dataset(table: tuple[MountEntry, ...], says: str) -> None:
    error = unreachable_by_path(table, "tank/a", "/tank/a", "alpha")
    assert (error.what if error else "") == says
