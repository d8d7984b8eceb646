"""How far a stream goes where the snapshots of others travel too."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.core.make import MASTER, lane
from zrep.core.dataset import NO_TOKEN, TokenContents
from zrep.core.plan_data import plan_advance
from zrep.core.plan_hop import name_taken, next_hop

ALL = replace(MASTER, all_snapshots=True)


@pytest.mark.parametrize(
    ("here", "there", "to", "between"),
    [
        ("1hs 2h", "1hs", "2", False),
        ("1hs auto weekly 2h", "1hs", "2", True),
        ("1hs auto weekly 2h later", "1hs", "2", True),
        # What is of zrep's own and was never sent, or one of another tag, is passed by.
        ("1hs 2 auto 3h", "1hs", "auto", False),
        ("1hs auto 2 3h", "1hs", "auto", False),
        ("1hs auto offsite_000001 3h", "1hs", "auto", False),
        ("1hs auto weekly 2 monthly 3h", "1hs", "weekly", True),
        ("1hs 2 3h", "1hs", "3", False),
        # send -I begins at no bookmark.
        ("#1 auto weekly 2h", "1hs", "auto", False),
        # The first stream is of the oldest.
        ("auto 1 weekly 2h", "", "auto", False),
        ("1h", "", "1", False),
    ],
)
def test_where_the_next_stream_ends(here: str, there: str, to: str, between: bool) -> None:
    found = next_hop(lane(here, there, master=ALL))
    assert found is not None
    assert (found.snapshot.guid, found.between) == (to, between)


def test_without_it_only_the_newest_of_its_own_is_sent() -> None:
    found = next_hop(lane("1hs auto 2 weekly 3h", "1hs"))
    assert found is not None
    assert (found.snapshot.guid, found.between) == ("3", False)
    assert next_hop(lane("1hs auto", "1hs", master=ALL)) is None


@pytest.mark.parametrize(
    ("token", "to", "between"),
    [
        (TokenContents(True, "1", "auto"), "auto", False),
        (TokenContents(True, "1", "2"), "2", False),
        (TokenContents(True, "0", "auto"), "2", True),
        (TokenContents(False, "1", "auto"), "2", True),
        (NO_TOKEN, "2", True),
    ],
)
def test_what_is_half_received_on_the_way_is_gone_on_with(token: TokenContents, to: str, between: bool) -> None:
    found = next_hop(lane("1hs auto weekly 2h", "1hs", master=ALL), token)
    assert found is not None
    assert (found.snapshot.guid, found.between) == (to, between)


@pytest.mark.parametrize(("here", "idle"), [("1hs auto", False), ("1hs offsite_000001", True), ("auto 1hs", True)])
def test_what_others_made_of_the_same_is_sent_too(here: str, idle: bool) -> None:
    assert plan_advance(lane(here, "1hs", master=ALL)).idle is idle


def test_a_name_that_another_one_has_there_is_found_before() -> None:
    one = lane("1hs auto 2h", "1hs", master=ALL)
    hop = next_hop(one)
    assert hop is not None
    assert name_taken(one, hop) is None
    other = replace(one.target.snapshots[0], name="auto", guid="another", createtxg=15)
    there = replace(one, target=replace(one.target, snapshots=(*one.target.snapshots, other)))
    assert name_taken(there, hop) == other
