"""Whatever somebody writes into his values, zrep reads of other datasets what is so, or says that it cannot tell."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.zfs import fuzz
from zrep.core.dataset import Value
from zrep.core.errors import FailedError
from zrep.zfs import parse
from zrep.zfs.parse import AmbiguousError

RANDOM = st.randoms(use_true_random=False)


@settings(deadline=None)  # a machine that is busy
@given(RANDOM)
def test_no_value_is_taken_for_a_property_of_another_dataset(random: Random) -> None:
    fuzz.properties(random)


@settings(deadline=None)  # a machine that is busy
@given(RANDOM)
def test_no_value_makes_another_dataset_one_that_is_replicated(random: Random) -> None:
    fuzz.found(random)


@settings(deadline=None)  # a machine that is busy
@given(RANDOM)
def test_no_mark_is_taken_for_a_snapshot(random: Random) -> None:
    fuzz.snapshots(random)


@settings(deadline=None)  # a machine that is busy
@given(RANDOM)
def test_no_tag_is_taken_for_a_hold_of_another_snapshot(random: Random) -> None:
    fuzz.holds(random)


@pytest.mark.parametrize("way", fuzz.WAYS, ids=lambda way: way.__name__)
@settings(deadline=None)  # a machine that is busy
@given(random=RANDOM)
def test_what_is_broken_raises_nothing_but_the_typed_error(way: Callable[[Random], object], random: Random) -> None:
    way(random)


ROW = "tank/b\tzrep:master\tyes\tlocal"


@pytest.mark.parametrize(
    "text",
    [
        f"tank/a\tzrep:master\tx\tlocal\n{ROW}\ntank/b\tzrep:master\tno\tlocal\n",  # one comes twice
        f"tank/a\tzrep:master\tx\tlocal\n{ROW}\n",  # one that is not there
        "tank/a\tzrep:master\tx\nlocal\n",
        "tank/a\tzrep:master\tx\tnowhere\n",
        "",
    ],
)
def test_what_does_not_add_up_is_not_believed(text: str) -> None:
    with pytest.raises(AmbiguousError):
        parse.parse_properties(text, ("zrep:master",), ["tank/a"])


@pytest.mark.parametrize("value", ["a\tb", "\t", "a\tlocal\tb", "", "\udcff"])
def test_a_tab_in_a_value_costs_nothing(value: str) -> None:
    rows = f"tank/a\tzrep:paused\t{value}\tlocal\ntank/b\tzrep:paused\t-\t-\n"
    table = parse.parse_properties(rows, ("zrep:paused",), ["tank/b", "tank/a"])
    assert table == {"tank/a": {"zrep:paused": Value(value, "local")}, "tank/b": {"zrep:paused": Value("-", "-")}}


@pytest.mark.parametrize("tag", ["x", "a\tb", "a\nb", "\n", "\udcff", "k\ntank/b@1\tzrep\tdate"])
def test_the_tags_of_one_snapshot_are_all_its_own(tag: str) -> None:
    date = "Sat Nov 28 05:16 2026"
    text = f"tank/a@1\t{tag}\t{date}\ntank/a@1\tzrep\t{date}\n"
    assert parse.parse_holds_of(text, "tank/a@1") == {tag, "zrep"}


@pytest.mark.parametrize(
    "text",
    [
        "tank/a#1\n",
        "tank/a#1\t7\n",
        "tank/a#1\t7\t1\n",
        "tank/a#\t7\t1\t1\t-\t-\t-\t-\n",
        "tank/a#1\tx\t1\t1\t-\t-\t-\t-\n",
    ],
)
def test_what_is_no_bookmark_is_not_believed(text: str) -> None:
    with pytest.raises(FailedError):
        parse.bookmarks(text, ["tank/a"])


NATIVE = "\t7\t1\t1\t-\t0\t0\t-\t-"
BOOKMARK = "\t9\t1\t1\t-\t-\t-\t-\t-"


def test_no_mark_is_taken_for_a_bookmark_of_another_dataset() -> None:
    """Nor where it could be one: a blank is the one character of a name that comes before the #."""
    for other in ("tank/b", "tank/a b", "tank/a/b"):
        text = f"tank/a{NATIVE}\n{other}{NATIVE[:-1]}x\ntank/a#1{BOOKMARK}\n"
        with pytest.raises(AmbiguousError):
            parse.bookmarks(text, ["tank/a", other])


def test_a_row_without_a_name_is_nobodys() -> None:
    text = f"tank/a{NATIVE}\ntank/b{NATIVE[:-1]}x\n{NATIVE}\ntank/a#1{BOOKMARK}\n"
    with pytest.raises(AmbiguousError):
        parse.check_snapshots(text, 1, ["tank/a", "tank/b"])
    with pytest.raises(AmbiguousError):
        parse.bookmarks(text, ["tank/a", "tank/b"])


def test_bookmarks_where_they_belong_are_believed() -> None:
    text = f"tank/a{NATIVE}\ntank/a@1{NATIVE}\ntank/a#1{BOOKMARK}\ntank/a/x{NATIVE}\n"
    parse.check_snapshots(text, 1, ["tank/a"])
    for printed in (text, f"tank/a#1{BOOKMARK}\n"):
        assert [mark.guid for mark in parse.bookmarks(printed, ["tank/a"])["tank/a"]] == ["9"]


def test_honest_answers_are_believed() -> None:
    """Most of what is made here has no line end in it: a parser that refuses all would prove nothing."""
    random = Random(1)
    for way in (fuzz.properties, fuzz.found, fuzz.snapshots, fuzz.holds):
        assert 20 < sum(way(random) for _ in range(200)) < 200, way.__name__


def test_a_tag_that_repeats_another_in_its_rows_is_not_believed() -> None:
    """Of two holds, one has a tag that looks like two rows, the first of which is the other hold's."""
    text = "tank/a@1\tx\tSat\ntank/a@1\tx\t\ntank/a@1\tzrep\tSat\tSat\n"
    with pytest.raises(AmbiguousError):
        parse.parse_holds(text, {"tank/a@1": 2})
    assert parse.parse_holds_of(text, "tank/a@1") != {"x", "zrep"}
