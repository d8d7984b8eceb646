"""What a stream's commands say beside their status: a filter that is not there, a property that was not kept."""

from __future__ import annotations

import pytest

from zrep.zfs import errors
from zrep.zfs.commands import Completed


@pytest.mark.parametrize("said", ["zrep: 1: pigz: not found", "zrep: line 1: pigz: command not found"])
def test_a_filter_that_is_not_there_is_named(said: str) -> None:
    broken = Completed(("sh",), 1, "", f"{said}\ncannot receive: failed to read from stream\n")
    error = errors.missing_program(broken, "beta")
    assert error is not None
    assert error.line().startswith("the filter program pigz is not installed on beta")


@pytest.mark.parametrize(("status", "said"), [(1, "cannot receive: invalid stream"), (0, "zrep: 1: pigz: not found")])
def test_nothing_else_is_taken_for_one(status: int, said: str) -> None:
    assert errors.missing_program(Completed(("sh",), status, "", said), "beta") is None


def test_what_is_said_of_a_success_is_kept_and_no_banner_is() -> None:
    said = "Welcome to beta\ncannot receive refreservation property on tank/b: out of space\n"
    assert errors.warnings(Completed(("zfs",), 0, "", said)) == said.splitlines()[1:]
    assert errors.warnings(Completed(("zfs",), 1, "", said)) == []
    not_even_inherited = "cannot receive mountpoint property on tank/a: permission denied\n"
    assert errors.warnings(Completed(("zfs",), 0, "", not_even_inherited), ("mountpoint",)) == []
