"""Work done at the same time. concurrent.futures would do, but loads logging, a tenth of all that zrep loads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

Answer = TypeVar("Answer")


def at_once(
    works: Sequence[Callable[[], Answer]], limit: int, interrupted: Callable[[], None] = lambda: None
) -> list[Answer]:
    """Do all of them, at most limit at the same time; the answers in order. The first error, in that order, is raised
    once all have ended.

    interrupted: Ctrl-C reaches the main thread only; what makes those under way end soon. The rest is not begun.
    """
    answers: dict[int, Answer] = {}
    errors: dict[int, BaseException] = {}
    left = deque(enumerate(works))

    def work_off() -> None:
        while left:
            try:
                number, work = left.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                answers[number] = work()
            except BaseException as error:
                errors[number] = error

    workers = [threading.Thread(target=work_off) for _ in range(min(limit, len(works)))]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    except BaseException:
        left.clear()
        interrupted()
        for worker in workers:
            if worker.ident is not None:
                worker.join()
        raise
    if errors:
        raise errors[min(errors)]
    return [answers[number] for number in range(len(works))]


def together(*works: Callable[[], Answer]) -> list[Answer]:
    """Do all of them at the same time, as one for each host; see at_once."""
    return at_once(works, len(works))
