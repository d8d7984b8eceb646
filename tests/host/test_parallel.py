"""Work at the same time: answers, errors, and what an interruption leaves behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.waiting import wait_for
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
    done: list[str] = []

    def end(what: str, after: int) -> None:
        wait_for(lambda: len(done) == after, every=0.005)
        done.append(what)

    def fail(what: str, after: int) -> Callable[[], None]:
        def do() -> None:
            end(what, after)
            raise ValueError(what)

        return do

    with pytest.raises(ValueError, match="one"):
        together(fail("one", 1), fail("two", 0), lambda: end("three", 2))
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
    begun: list[str] = []
    done: list[str] = []

    def interrupt() -> None:
        wait_for(lambda: len(begun) == 2, every=0.005)
        os.kill(os.getpid(), signal.SIGINT)

    def interrupted() -> None:
        done.append("interrupted")
        if trouble:
            raise RuntimeError

    def work() -> None:
        begun.append("work")
        wait_for(lambda: bool(done), every=0.005)
        done.append("work")

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(RuntimeError if trouble else KeyboardInterrupt):
        at_once([work] * 3, 2, interrupted)
    interrupter.join()
    assert done == ["interrupted", "work", "work"]


def test_what_gathers_while_a_batch_is_under_way_is_the_next_batch() -> None:
    batches: list[list[int]] = []
    first = threading.Event()

    def work(numbers: list[int]) -> list[Exception | None]:
        batches.append(sorted(numbers))
        if numbers == [0]:
            first.set()
            wait_for(lambda: len(rolling._ready) == 5, every=0.005)
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
    ("linger", "expected"), [(60.0, [[0, 1]]), (0.0, [[0], [1]])], ids=["long enough", "not at all"]
)
def test_a_batch_waits_a_moment_for_what_is_coming(linger: float, expected: list[list[int]]) -> None:
    batches: list[list[int]] = []

    def work(numbers: list[int]) -> list[Exception | None]:
        batches.append(numbers)
        return [None] * len(numbers)

    rolling = GroupCommit(work, linger)
    coming = threading.Barrier(2)

    def first() -> None:
        with rolling.coming():
            coming.wait(60)
        assert rolling.do(0) == [None]

    def second() -> None:
        with rolling.coming():
            coming.wait(60)
            wait_for(lambda: bool(rolling._ready if linger else batches), every=0.005)
        assert rolling.do(1) == [None]

    started = time.monotonic()
    together(first, second)
    assert batches == expected
    assert time.monotonic() - started < 50, "it waits no longer than for what comes"


def test_a_batch_that_breaks_is_known_to_all_that_are_in_it() -> None:
    def work(numbers: list[int]) -> list[Exception | None]:
        if len(numbers) == 1:
            wait_for(lambda: len(rolling._ready) == 2, every=0.005)
        raise RuntimeError(f"{len(numbers)}")

    rolling = GroupCommit(work)
    broken: list[str] = []

    def one() -> None:
        with rolling.coming():
            pass
        broken.extend(map(str, rolling.do(1)))

    together(one, one, one)
    assert sorted(broken) == ["1", "2", "2"]
