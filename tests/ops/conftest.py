"""Two hosts in process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.ops.hosts import Hosts
from zrep.ops import session

Answer = TypeVar("Answer")


def one_after_the_other(*readers: Callable[[], Answer]) -> list[Answer]:
    """In place of threads: the order of commands is the same in every run, so that a number names one of them."""
    return [reader() for reader in readers]


@pytest.fixture(autouse=True)
def _in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "together", one_after_the_other)


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)
