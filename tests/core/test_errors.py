from __future__ import annotations

from itertools import permutations

import pytest

from zrep.core.errors import (
    BugError,
    BusyError,
    FailedError,
    RefusedError,
    UnreachableError,
    UsageError,
    ZrepError,
    worst,
)


@pytest.mark.parametrize(
    ("kind", "code"),
    [(FailedError, 1), (UsageError, 2), (RefusedError, 3), (BusyError, 4), (UnreachableError, 5), (BugError, 70)],
)
def test_exit_codes(kind: type[ZrepError], code: int) -> None:
    assert kind("x").exit_code == code


@pytest.mark.parametrize(
    ("codes", "code"),
    [((), 0), ((0,), 0), ((0, 4), 4), ((4, 5), 5), ((5, 1), 1), ((1, 3), 3), ((3, 70), 70), ((0, 5, 4, 1, 3, 70), 70)],
)
def test_the_worst(codes: tuple[int, ...], code: int) -> None:
    assert all(worst(order) == code for order in permutations(codes))


def test_usage_alone_is_not_lost() -> None:
    assert worst([2]) == 2


def test_one_line() -> None:
    error = FailedError("it\nbroke", filesystem="tank/a", evidence="line one\n  line two", advice="zrep sync\ttank/a")
    assert error.line() == "tank/a: it broke (line one line two); next: zrep sync tank/a"
    assert FailedError("it broke").line() == "it broke"


def test_the_first_filesystem_named_stays() -> None:
    assert FailedError("x").about("tank/a").filesystem == "tank/a"
    assert FailedError("x", filesystem="tank/b").about("tank/a").filesystem == "tank/b"
