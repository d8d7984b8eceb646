"""Work at the same time: answers, errors, and what an interruption leaves behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from zrep.host.parallel import GroupCommit, at_once, together


def test_answers_come_in_order_and_no_more_run_than_may() -> None:
    running: list[int] = []
    most: list[int] = []

    def work(number: int) -> Callable[[], int]:
        def do() -> int:
            running.append(number)
            most.append(len(running))
            time.sleep(0.01)
            running.remove(number)
            return number

        return do

    assert at_once([work(number) for number in range(9)], 3) == list(range(9))
    assert max(most) <= 3
    assert together(work(1), work(2)) == [1, 2]
    assert at_once([], 3) == []


def test_the_first_error_is_raised_once_all_have_ended() -> None:
    done = []

    def fail(seconds: float, what: str) -> Callable[[], None]:
        def do() -> None:
            time.sleep(seconds)
            done.append(what)
            raise ValueError(what)

        return do

    def end() -> None:
        time.sleep(0.1)
        done.append("three")

    with pytest.raises(ValueError, match="one"):
        together(fail(0.05, "one"), fail(0, "two"), end)
    assert done == ["two", "one", "three"]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A background job of a shell, as a test run may be one, begins with the interrupt ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("trouble", [False, True], ids=["", "and what is to end them fails"])
def test_an_interruption_waits_for_what_is_under_way_and_begins_nothing_new(trouble: bool) -> None:
    """Locks are given up after it."""
    done: list[str] = []
    threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()

    def interrupted() -> None:
        done.append("interrupted")
        if trouble:
            raise RuntimeError

    def work(seconds: float = 0.5) -> None:
        time.sleep(seconds)
        done.append("work")

    with pytest.raises(RuntimeError if trouble else KeyboardInterrupt):
        at_once([work, lambda: work(0.2), work], 2, interrupted)
    assert done == ["interrupted", "work", "work"]


def test_what_gathers_while_a_batch_is_under_way_is_the_next_batch() -> None:
    batches: list[list[int]] = []
    first = threading.Event()

    def work(numbers: list[int]) -> list[Exception | None]:
        batches.append(sorted(numbers))
        if numbers == [0]:
            first.set()
            time.sleep(0.2)
        return [ValueError(str(number)) if number == 3 else None for number in numbers]

    rolling = GroupCommit(work)

    def one(number: int) -> Callable[[], str]:
        def do() -> str:
            with rolling.coming():
                if number:
                    first.wait()
            [error] = rolling.do(number)
            return str(error) if error else "done"

        return do

    assert together(*map(one, range(6))) == ["done", "done", "done", "3", "done", "done"]
    assert batches == [[0], [1, 2, 3, 4, 5]]


@pytest.mark.parametrize(
    ("linger", "expected"), [(5.0, [[0, 1]]), (0.0, [[0], [1]])], ids=["long enough", "not at all"]
)
def test_a_batch_waits_a_moment_for_what_is_coming(linger: float, expected: list[list[int]]) -> None:
    batches: list[list[int]] = []

    def work(numbers: list[int]) -> list[Exception | None]:
        batches.append(numbers)
        return [None] * len(numbers)

    rolling = GroupCommit(work, linger)

    def one(number: int) -> Callable[[], None]:
        def do() -> None:
            with rolling.coming():
                time.sleep(0.1 + 0.2 * number)
            assert rolling.do(number) == [None]

        return do

    started = time.monotonic()
    together(one(0), one(1))
    assert batches == expected
    assert time.monotonic() - started < linger + 1, "it waits no longer than for what comes"


def test_a_batch_that_breaks_is_known_to_all_that_are_in_it() -> None:
    def work(numbers: list[int]) -> list[Exception | None]:
        time.sleep(0.1)
        raise RuntimeError(f"{len(numbers)}")

    rolling = GroupCommit(work)
    broken: list[str] = []

    def one() -> None:
        with rolling.coming():
            pass
        broken.extend(map(str, rolling.do(1)))

    together(one, one, one)
    assert sorted(broken) == ["1", "2", "2"]
