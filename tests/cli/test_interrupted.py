"""Ctrl-C and polite signals have an exit status of their own."""

from __future__ import annotations

import signal

import pytest

from zrep.cli import main


def test_it_is_130_and_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def ended(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(main, "_dispatch", ended)
    assert main.run(["sync", "all"]) == 130
    assert capsys.readouterr().err == (
        "zrep: interrupted; next: running the same command again finishes or undoes what was begun\n"
    )
