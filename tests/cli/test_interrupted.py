"""Ctrl-C and polite signals have an exit status of their own."""

from __future__ import annotations

import signal

import pytest

from zrep.cli import main
from zrep.cli import run as running
from zrep.core.errors import AGAIN, CutShortError
from zrep.ops.session import Options, Session


@pytest.mark.parametrize(
    "end", [KeyboardInterrupt(), CutShortError("interrupted", advice=AGAIN)], ids=["here", "within"]
)
@pytest.mark.parametrize(
    ("typed", "says"),
    [("sync all", f"; next: {AGAIN}"), ("status --watch", ""), ("sync -n all", ""), ("list", "")],
)
def test_it_is_130_and_one_line(
    typed: str,
    says: str,
    end: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What only looks has begun nothing that another run would finish."""

    def ended(arguments: list[str]) -> int:
        raise end

    no_handlers(monkeypatch)
    monkeypatch.setattr(main, "_dispatch", ended)
    assert main.run(typed.split()) == 130
    assert capsys.readouterr().err == f"zrep: interrupted{says}\n"


def no_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)


def test_it_is_told_by_every_command_wherever_it_is_pressed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line's parser would end with 130, and say nothing."""

    def pressed(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    no_handlers(monkeypatch)
    monkeypatch.setattr(running, "begin", pressed)
    assert main.run(["failover", "tank/a"]) == 130
    assert capsys.readouterr().err == f"zrep: interrupted; next: {AGAIN}\n"


def test_once_more_while_everything_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    silenced: list[str] = []

    def pressed(session: Session) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "close", pressed)
    monkeypatch.setattr(running, "silence", lambda session: silenced.append("yes"))
    session = Session(Options())
    session.leaves = "tank/a is read-only"
    with pytest.raises(CutShortError) as cut, running.closing(session):
        raise KeyboardInterrupt
    assert cut.value.line() == f"interrupted (tank/a is read-only); next: {AGAIN}"
    assert silenced == ["yes"]


def test_once_more_while_it_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Before it was no longer heard; after that it does nothing."""
    heard: list[object] = []

    def handler(number: int, handler: object) -> None:
        heard.append(handler)
        if len(heard) == 3:
            raise KeyboardInterrupt

    def ended(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(signal, "signal", handler)
    monkeypatch.setattr(main, "_dispatch", ended)
    assert main.run(["sync", "all"]) == 130
    assert capsys.readouterr().err == f"zrep: interrupted; next: {AGAIN}\n"
    assert heard[-6:] == [signal.SIG_IGN] * 3 + [signal.SIG_DFL] * 3
