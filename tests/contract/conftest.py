"""Two hosts with real OpenZFS answer the cases side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

import pytest

from tests.lab.hosts import Host, Lab

from . import on_lab
from .script import Case, Step

Answers = Callable[[Case], list[Step]]


@pytest.fixture(scope="session")
def openzfs(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Answers]:
    """What real OpenZFS answers to a case. All cases that were asked for are started at once, one per host."""
    lab.reset()
    free: SimpleQueue[Host] = SimpleQueue()
    for host in lab:
        free.put(host)

    def answer(case: Case) -> list[Step]:
        host = free.get()
        try:
            return on_lab.run(host, case)
        finally:
            free.put(host)

    wanted = [item.callspec.params["case"] for item in request.session.items if _asks(item)]  # type: ignore[attr-defined]
    pool = ThreadPoolExecutor(len(lab.hosts))
    futures: dict[str, Future[list[Step]]] = {case.name: pool.submit(answer, case) for case in wanted}
    yield lambda case: futures[case.name].result()
    pool.shutdown(cancel_futures=True)


def _asks(item: pytest.Item) -> bool:
    return "openzfs" in getattr(item, "fixturenames", ()) and hasattr(item, "callspec")
