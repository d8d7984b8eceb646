"""What is below a dataset of a pair and not in it: what a change of the pair would do to it."""

from __future__ import annotations

import pytest

from zrep.core.dataset import Value
from zrep.core.mounts import MountEntry
from zrep.core.neighbours import Child, refuse_unmount, some_names, unreplicated, would_change

ROOT = "tank/a"
DEFAULT = Value("off", "default")
INHERITED = Value("off", "inherited from tank/a")
FROM_ABOVE = Value("off", "inherited from tank")


@pytest.mark.parametrize(
    ("below", "changed"),
    [
        ([Child("tank/a/c", DEFAULT)], ["tank/a/c"]),
        ([Child("tank/a/c", INHERITED)], ["tank/a/c"]),
        ([Child("tank/a/c", FROM_ABOVE)], ["tank/a/c"]),
        ([Child("tank/a/c", Value("off", "local"))], []),
        ([Child("tank/a/c", Value("off", "received"))], []),
        ([Child("tank/a/c", Value("on", "default"))], []),
        ([Child("tank/a/c", Value("off", "temporary"))], ["tank/a/c"]),
        ([Child("tank/a/c", Value("on", "temporary"))], []),
        ([Child("tank/a/c/d", Value("off", "inherited from tank/a/c"))], []),
        ([Child("tank/a/c/d", INHERITED), Child("tank/a/c", INHERITED)], ["tank/a/c"]),
        ([Child("tank/a/c", Value("on", "local")), Child("tank/a/d", DEFAULT)], ["tank/a/d"]),
        ([Child("tank/ab/c", Value("off", "inherited from tank"))], []),
    ],
)
def test_only_the_topmost_of_those_that_inherit_through_it_would_become_read_only_too(
    below: list[Child], changed: list[str]
) -> None:
    assert [child.name for child in would_change(ROOT, below, "on")] == changed


def test_what_is_read_only_by_inheritance_would_become_writable() -> None:
    below = [Child("tank/a/c", Value("on", "inherited from tank/a")), Child("tank/a/d", Value("on", "local"))]
    assert [child.name for child in would_change(ROOT, below, "off")] == ["tank/a/c"]


def excluded(value: str, source: str, name: str = "tank/a/c") -> Child:
    return Child(name, DEFAULT, excluded=Value(value, source))


@pytest.mark.parametrize(
    ("below", "named"),
    [
        ([Child("tank/a/c", DEFAULT)], ["tank/a/c"]),
        ([Child("tank/a/c", DEFAULT, tags=("offsite",))], []),
        ([Child("tank/a/c", DEFAULT, made=True)], []),
        ([excluded("on", "local")], []),
        ([excluded("scratch space", "local")], []),
        ([excluded("off", "local")], ["tank/a/c"]),
        ([excluded("on", "inherited from tank/a")], ["tank/a/c"]),
        ([excluded("on", "inherited from tank")], ["tank/a/c"]),
        ([excluded("on", "inherited from tank/a/c", "tank/a/c/d")], []),
        ([Child("tank/a/c", DEFAULT, tags=("zrep",), master=True), Child("tank/a/c/d", DEFAULT)], []),
        ([Child("tank/a/c", DEFAULT, tags=("zrep",)), Child("tank/a/c/d", DEFAULT)], ["tank/a/c/d"]),
    ],
)
def test_what_nobody_replicates_is_what_is_in_no_pair_and_not_excluded(below: list[Child], named: list[str]) -> None:
    assert unreplicated(ROOT, below) == named


def test_what_is_mounted_below_is_unmounted_too_or_hinders_it() -> None:
    table = [
        MountEntry(1, 0, "/tank/a", "zfs", "tank/a"),
        MountEntry(2, 0, "/srv", "zfs", "tank/a/elsewhere"),
        MountEntry(3, 1, "/tank/a/cache", "tmpfs", "tmpfs"),
        MountEntry(4, 0, "/tank/ab", "zfs", "tank/ab"),
    ]
    below = [Child("tank/a/elsewhere", DEFAULT, mounted=True), Child("tank/a/not", DEFAULT)]
    assert [error.line() for error in refuse_unmount(ROOT, below, table, "/tank/a", "alpha")] == [
        "tank/a/elsewhere is mounted, and tank/a has to be unmounted (on alpha; it would be with it); "
        "next: stop what uses it, then on alpha: zfs unmount 'tank/a/elsewhere'",
        "tmpfs on /tank/a/cache is mounted, and tank/a has to be unmounted (on alpha; it keeps it from being); "
        "next: stop what uses it, then on alpha: umount '/tank/a/cache'",
    ]


def test_many_names_are_a_few_and_a_number() -> None:
    assert some_names(list("abcdefg")) == "a, b, c, d, e and 2 more"
