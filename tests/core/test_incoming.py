"""Which streams are what was asked for, and which are not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.core.make import MASTER, member
from zrep.core.dataset import Snapshot
from zrep.core.incoming import Beginning, Wanted, improper, unwanted, wanted
from zrep.core.pair import End
from zrep.core.steps import SendStream

FULL = Wanted("zrep_000001", 11)
NEXT = Wanted("zrep_000002", 12, 11)
CLONE = Wanted("zrep_000002", 12, 7, clone=True)
ALL = Wanted("zrep_000004", 14, 11, between=True)
FIRST = Beginning("tank/a@zrep_000001", 11)
SECOND = Beginning("tank/a@zrep_000002", 12, 11)
ONE_BETWEEN = Beginning("tank/a@daily", 13, 11)
LAST = Beginning("tank/a@zrep_000004", 14, 13)


@pytest.mark.parametrize(
    ("asked", "found", "before", "why"),
    [
        (FULL, FIRST, None, ""),
        (FULL, FIRST._replace(name="tank/whatever@zrep_000001"), None, ""),
        (NEXT, SECOND, None, ""),
        (CLONE, SECOND._replace(since=7, clone=True), None, ""),
        (replace(FULL, volume=True), FIRST._replace(volume=True), None, ""),
        (ALL, ONE_BETWEEN, None, ""),
        (ALL, LAST, ONE_BETWEEN, ""),
        (ALL, LAST._replace(since=11), None, ""),
        # Another snapshot, by its guid or by its name.
        (FULL, FIRST._replace(guid=12), None, "it brings the guid 12, 11 was asked for"),
        (FULL, FIRST._replace(name="tank/a@daily"), None, "it brings @daily, @zrep_000001 was asked for"),
        (FULL, FIRST._replace(name="tank/a"), None, "it brings @, @zrep_000001"),
        (FULL, FIRST._replace(name="tank/a@zrep_000001@x"), None, "it brings @zrep_000001@x"),
        (ALL, LAST._replace(name="tank/a@weekly"), ONE_BETWEEN, "it brings @weekly"),
        # From elsewhere.
        (FULL, FIRST._replace(since=5), None, "it begins at the guid 5, 0 was asked for"),
        (NEXT, SECOND._replace(since=0), None, "it begins at the guid 0, 11 was asked for"),
        (NEXT, SECOND._replace(since=5), None, "it begins at the guid 5, 11 was asked for"),
        (ALL, LAST._replace(since=12), ONE_BETWEEN, "it begins at the guid 12, 13 was asked for"),
        (FULL, FIRST._replace(since=5, clone=True), None, "it makes a clone"),
        (NEXT, SECOND._replace(clone=True), None, "it makes a clone"),
        (ALL, LAST._replace(clone=True), ONE_BETWEEN, "it makes a clone"),
        (CLONE, SECOND._replace(since=7), None, "it makes no clone"),
        (CLONE, SECOND._replace(since=8, clone=True), None, "it begins at the guid 8, 7 was asked for"),
        # Something else.
        (FULL, FIRST._replace(volume=True), None, "it is a volume, a filesystem was asked for"),
        (replace(NEXT, volume=True), SECOND, None, "it is a filesystem, a volume was asked for"),
        # More.
        (FULL, SECOND, FIRST, "more than one stream came"),
        (NEXT, LAST._replace(since=12), SECOND, "more than one stream came"),
        (ALL, Beginning("tank/a@x", 15, 14), LAST, "more than one stream came"),
    ],
)
def test_what_was_not_asked_for_is_told(asked: Wanted, found: Beginning, before: Beginning | None, why: str) -> None:
    said = unwanted(asked, found, before)
    assert said.startswith(why) if why else said == "", said


@pytest.mark.parametrize(
    ("base", "since", "found"),
    [
        ("", "", Wanted("one", 4)),
        ("tank/a@zero", "3", Wanted("one", 4, 3)),
        ("tank/a#zrep:zero", "3", Wanted("one", 4, 3)),
        ("tank/other@zero", "3", Wanted("one", 4, 3, clone=True)),
        ("tank/a@zero", "no number", Wanted("one", 4)),
    ],
)
def test_what_a_step_asks_for(base: str, since: str, found: Wanted) -> None:
    step = SendStream(End.SOURCE, "tank/a@one", "tank/b", base)
    assert wanted(step, member("tank/a", MASTER), Snapshot("one", "4", 1), since) == found


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ((("readonly", "on"), ("canmount", "noauto")), ""),
        ((("compression", "zstd"), ("quota", "none"), ("offsite:canmount", "on")), ""),
        ((("origin", "tank/b@x"), ("encryption", "off")), ""),
        ((("readonly", "off"),), "readonly"),
        ((("canmount", "on"),), "canmount"),
        ((("mountpoint", "/etc"),), "mountpoint"),
        ((("sharenfs", "on"),), "sharenfs"),
        ((("encryption", "on"),), "encryption"),
        ((("zrep:canmount", "/etc"),), "zrep:canmount"),
        ((("zrep:master", "yes"),), "zrep:master"),
        ((("org.Some:canmount", "on"),), "org.Some:canmount"),
    ],
)
def test_it_arrives_with_what_zrep_gives_alone(override: tuple[tuple[str, str], ...], found: str) -> None:
    assert improper(override) == found
