"""How often status --watch looks, and where it refuses to."""

from __future__ import annotations

import sys

import pytest

from zrep.cli import main, watch
from zrep.cli.rows import style
from zrep.core.errors import UsageError


@pytest.mark.parametrize(
    ("words", "parsed"),
    [
        (["status", "--watch"], ["status", "--watch=2"]),
        (["status", "--watch", "30", "tank/a"], ["status", "--watch=30", "tank/a"]),
        (["status", "--watch", "tank/a"], ["status", "--watch=2", "tank/a"]),
        (["status", "tank/a", "--watch"], ["status", "tank/a", "--watch=2"]),
        (["status"], ["status"]),
    ],
)
def test_the_seconds_may_be_left_out(words: list[str], parsed: list[str]) -> None:
    assert main._watch_seconds(words) == parsed


def test_no_seconds_make_no_sense() -> None:
    assert watch.interval("60") == 60
    for text in ("0", "x", "1e9"):
        with pytest.raises(UsageError):
            watch.interval(text)


def test_a_pipe_is_no_terminal() -> None:
    with pytest.raises(UsageError, match="--watch wants a terminal"):
        watch.watch(watch.Look, lambda: None, style("", False, False, "", "", "auto"), 2)


def test_a_terminal_that_nothing_can_be_drawn_on_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its screen would stay empty for ever."""
    monkeypatch.setenv("TERM", "dumb")
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    with pytest.raises(UsageError, match="--watch cannot draw on this terminal"):
        watch.watch(watch.Look, lambda: None, style("", False, False, "", "", "auto"), 2)
