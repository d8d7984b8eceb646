"""Two hosts in process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ops.hosts import Hosts, in_order


@pytest.fixture(autouse=True)
def _in_order() -> Iterator[None]:
    with in_order():
        yield


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)
