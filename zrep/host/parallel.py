"""Work done at the same time. concurrent.futures would do, but loads logging, a tenth of all that zrep loads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

# Requests to one host at the same time: enough to share a transaction group, few enough for a small machine.
_MOST = 16

# How long Ctrl-C may go unheard.
_HEARD_SECONDS = 0.5

Item = TypeVar("Item")
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

    under_way: list[threading.Event] = []

    def work_off() -> None:
        # Each thread makes itself known before it takes any: Ctrl-C can reach the main thread before start answers.
        ended = threading.Event()
        under_way.append(ended)
        while left:
            try:
                number, work = left.popleft()
            except IndexError:  # another thread was faster
                break
            try:
                answers[number] = work()
            except BaseException as error:
                errors[number] = error
        ended.set()

    try:
        for each in [start(work_off) for _ in range(min(limit, len(works)))]:
            await_end(each)
    except BaseException:
        left.clear()
        try:
            interrupted()
        finally:
            for each in under_way:
                await_end(each)
        raise
    if errors:
        raise errors[min(errors)]
    return [answers[number] for number in range(len(works))]


def together(*works: Callable[[], Answer]) -> list[Answer]:
    """Do all of them at the same time, as one for each host, or as many as a host can bear; see at_once."""
    return at_once(works, _MOST) if len(works) > 1 else [work() for work in works]


class GroupCommit(Generic[Item]):
    """Work on many that costs little more than on one: while one batch is under way, the next one gathers.

    work: what went wrong with each, in order; None: nothing. linger: seconds that a batch waits for those coming."""

    def __init__(self, work: Callable[[list[Item]], Sequence[Exception | None]], linger: float = 0.0) -> None:
        self._work = work
        self._linger = linger
        self._changed = threading.Condition()
        self._ready: list[tuple[Item, list[Exception | None]]] = []
        self._coming = 0
        self._busy = False

    @contextmanager
    def coming(self) -> Iterator[None]:
        """What is done inside is followed by one call of do, unless it raises: a batch is worth a short wait for it."""
        with self._changed:
            self._coming += 1
        try:
            yield
        except BaseException:
            with self._changed:
                self._coming -= 1
                self._changed.notify_all()
            raise

    def do(self, *items: Item) -> list[Exception | None]:
        """Wait for the batch before, then have these done, with all that have gathered: what went wrong with each. To
        be called after coming."""
        answers: list[list[Exception | None]] = [[] for _ in items]
        with self._changed:
            self._coming -= 1
            self._ready += zip(items, answers, strict=True)
            self._changed.notify_all()
            self._changed.wait_for(lambda: all(answers) or not self._busy)
            if not all(answers):
                self._busy = True
                self._changed.wait_for(lambda: not self._coming, self._linger)
        if not all(answers):
            self._do_all()
        return [answer[0] for answer in answers]

    def _do_all(self) -> None:
        """The batch that has gathered, in the thread of one of it."""
        with self._changed:
            batch, self._ready = self._ready, []
        answers: Sequence[Exception | None] = [RuntimeError("ended early")] * len(batch)
        try:
            answers = self._work([item for item, _ in batch])
        except Exception as error:
            answers = [error] * len(batch)
        finally:
            with self._changed:
                for (_, answer), found in zip(batch, answers, strict=True):
                    answer.append(found)
                self._busy = False
                self._changed.notify_all()


def in_time(work: Callable[[], Answer], seconds: float) -> list[Answer]:
    """The answer of what ends within so many seconds, or nothing; its error is raised. What has not ended goes on."""
    answers: list[Answer] = []
    errors: list[BaseException] = []

    def note() -> None:
        try:
            answers.append(work())
        except BaseException as error:
            errors.append(error)

    start(note).wait(seconds)
    for error in errors:
        raise error
    return answers


def await_end(ended: threading.Event) -> None:
    """Wait until it is set. Ctrl-C in the moment before a wait begins is heard when that wait ends (lock.acquire of
    CPython), so none is long: one without an end would go on as if nobody had pressed anything."""
    while not ended.wait(_HEARD_SECONDS):
        pass


def start(work: Callable[[], None]) -> threading.Event:
    """Do it in a thread of its own; what is set when it has ended. Thread.join would not do: after a Ctrl-C during it,
    Python before 3.13 takes the thread for ended, and locks would be given up under it (python/cpython#90882)."""
    ended = threading.Event()

    def run() -> None:
        try:
            work()
        finally:
            ended.set()

    threading.Thread(target=run, daemon=True).start()
    return ended
