"""Many locks at once, as `zrep sync all` holds them, in one process with several threads."""

from __future__ import annotations

import resource
import threading
from pathlib import Path

import pytest

from zrep.core.errors import ZrepError
from zrep.system import agent
from zrep.system.agent import LocalAgent


def test_a_lock_may_go_while_another_thread_starts_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command inherits what is held when it starts: no descriptor of that may close under it."""
    monkeypatch.setattr(agent, "_PROGRAMS", frozenset({"true"}))
    host = LocalAgent(directory=str(tmp_path))
    names = [f"tank/{number}" for number in range(300)]
    assert host.lock(names, 0.0) == []
    failed: list[ZrepError] = []

    def work() -> None:
        while host.locks.descriptors():
            try:
                host.run([["true"]])
            except ZrepError as error:
                failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for name in names:
        host.unlock([name])
        threading.Event().wait(0.001)
    for thread in threads:
        thread.join()
    assert failed == []
    assert host.lock(names, 0.0) == []  # unlocked they are, closed or not
    host.close()


def test_more_locks_than_the_usual_number_of_open_files(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3000:
        pytest.skip(f"at most {hard} open files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        host = LocalAgent(directory=str(tmp_path))
        assert host.lock([f"tank/{number}" for number in range(1000)], 0.0) == []
        host.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
