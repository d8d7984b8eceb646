"""Whether all processes of a machine can be seen: who uses a dataset is known only then."""

from __future__ import annotations

import os

import pytest

from zrep.host.users import unseen

FIRST = "pid:[4026531836]"


@pytest.mark.parametrize(
    ("namespace", "hidden", "why"),
    [
        (FIRST, (), ""),
        (FIRST, (7, 8, 7), "2 processes could not be looked into; root may"),
        ("pid:[4026532001]", (), "zrep runs in a container there, and sees only its own processes"),
        (FileNotFoundError(2, "No such file or directory"), (), ""),
        (FileNotFoundError(2, "No such file or directory"), (7,), "1 processes could not be looked into; root may"),
        (PermissionError(13, "Permission denied"), (), "/proc/self/ns/pid: Permission denied"),
    ],
    ids=["all", "some hidden", "a container", "no pid namespaces", "nor all", "unknown"],
)
def test_it_is_said_why_there_may_be_others(
    monkeypatch: pytest.MonkeyPatch, namespace: str | OSError, hidden: tuple[int, ...], why: str
) -> None:
    def readlink(path: str) -> str:
        assert path == "/proc/self/ns/pid"
        if isinstance(namespace, OSError):
            raise namespace
        return namespace

    monkeypatch.setattr(os.path, "isdir", lambda path: path == "/proc/self")
    monkeypatch.setattr(os, "readlink", readlink)
    assert unseen(hidden) == why


def test_where_there_is_nothing_to_see_users_in_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    assert unseen(()) == "there is no /proc"
