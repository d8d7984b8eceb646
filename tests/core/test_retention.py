from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from tests.core.make import MASTER, TAG, member
from zrep.core.dataset import Snapshot
from zrep.core.retention import Rule, expirable, kept, period, rules_of, too_many, verdicts


@pytest.mark.parametrize(
    ("snapshots", "base", "keep", "gone"),
    [
        ("1 2 3 4", "4", 2, "1 2"),
        ("1 2 3 4", "4", 1, "1 2 3"),
        ("1 2 3 4", "4", 0, "1 2 3"),
        ("1 2 3 4", "4", 4, ""),
        ("1 2 3 4", "4", 9, ""),
        ("1 2 3 4", "2", 1, "1"),  # what is newer than the base is not on the other side
        ("1 2 3 4", "1", 1, ""),
        ("1 2 3 4", None, 1, ""),  # no base: nothing is known to be on both sides
        ("1h 2H 3 4", "4", 1, "3"),
        ("1c 2 3", "3", 1, "2"),
        ("daily 1 2 weekly 3", "3", 1, "1 2"),  # foreign ones are neither counted nor touched
        ("daily weekly", "daily", 1, ""),
        ("1 2 3 4h", "4h", 2, "1 2"),
    ],
)
def test_what_one_side_may_let_go_of(snapshots: str, base: str | None, keep: int, gone: str) -> None:
    side = member("tank/a", MASTER, snapshots)
    guid = base.rstrip("hHswc") if base else ""
    found = expirable(side.ours(TAG), side.by_guid(guid) if base else None, keep)
    assert " ".join(snapshot.guid for snapshot in found) == gone


def test_of_another_tag_nothing() -> None:
    side = member("tank/a", MASTER, "1 2 3")
    assert expirable(side.ours("offsite"), side.snapshots[-1], 1) == ()


# --- schedules ---

RULES = "24h 14d 8w 12m 5y"


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def taken(moments: Sequence[int]) -> list[Snapshot]:
    return [Snapshot(f"zrep_{n:06x}", str(n), n, when, made=True) for n, when in enumerate(moments, 1)]


def schedule(text: str) -> tuple[Rule, ...]:
    found = rules_of(text)
    assert found is not None
    return found


def a_year(step: int, rules: str) -> list[str]:
    """What is left of a year of syncs, each with its expiry: the times."""
    left: list[Snapshot] = []
    for number, when in enumerate(range(at("2026-01-01"), at("2027-01-01"), step), 1):
        left.append(Snapshot(f"zrep_{number:06x}", str(number), number, when, made=True))
        gone = {snapshot.guid for snapshot in expirable(left, left[-1], 1, schedule(rules), when)}
        left = [snapshot for snapshot in left if snapshot.guid not in gone]
    return [datetime.fromtimestamp(snapshot.creation, UTC).strftime("%m-%d %H:%M") for snapshot in left]


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("24h", (Rule("h", 24),)),
        (" 14d  y ", (Rule("d", 14), Rule("y"))),
        ("", None),
        ("24", None),
        ("0h", None),
        ("24x", None),
        ("2h 3h", None),
        ("-2h", None),
        ("24h,14d", None),
        ("٢h", None),
    ],
)
def test_a_schedule_as_a_person_writes_it(text: str, rules: tuple[Rule, ...] | None) -> None:
    assert rules_of(text) == rules


def test_periods_are_those_of_the_calendar() -> None:
    seen: dict[tuple[str, int], tuple[int, ...]] = {}
    for when in range(at("1999-12-27"), at("2033-03-01"), 11 * 3600 + 11):
        day = datetime.fromtimestamp(when, UTC)
        names = {"h": (day.year, day.month, day.day, day.hour), "d": (day.year, day.month, day.day)}
        names |= {"w": tuple(day.isocalendar())[:2], "m": (day.year, day.month), "y": (day.year,)}
        for unit, name in names.items():
            assert seen.setdefault((unit, period(unit, when)), name) == name
    for unit in "hdwmy":
        own = [name for (found, _), name in seen.items() if found == unit]
        assert len(own) == len(set(own)), unit


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])  # when clocks change in much of Europe
def test_no_zone_and_no_change_of_clocks_moves_anything(day: str, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [at(day) - 3600 * 5 + 900 * n for n in range(4 * 34)]
    here = kept(taken(moments), schedule(RULES))
    for zone in ("Europe/Berlin", "America/New_York", "Pacific/Kiritimati"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert kept(taken(moments), schedule(RULES)) == here
    monkeypatch.undo()
    time.tzset()
    hours = [guid for guid, why in here.items() if "hour" in why]
    assert len(hours) == 24


def test_what_a_year_leaves() -> None:
    left = a_year(6 * 3600, "4h 3d 2w 12m y")
    assert left == [
        *(f"{month:02}-01 00:00" for month in range(1, 13)),
        "12-21 00:00",
        "12-28 00:00",
        "12-29 00:00",
        "12-30 00:00",
        "12-31 00:00",
        "12-31 06:00",
        "12-31 12:00",
        "12-31 18:00",
    ]


@pytest.mark.thorough
def test_what_a_year_of_a_sync_every_half_hour_leaves() -> None:
    left = a_year(1800, RULES)
    months = [f"{month:02}-01 00:00" for month in range(1, 13)]
    assert set(months) < set(left)
    assert left[-24:-1] == [f"12-31 {hour:02}:00" for hour in range(1, 24)]
    assert left[-1] == "12-31 23:30"
    assert len(left) <= 24 + 14 + 8 + 12 + 5 + 1


def test_what_stays_says_by_which_rule() -> None:
    snapshots = taken([at("2026-01-05 10:00") + 1800 * n for n in range(6)])
    found = {
        v.snapshot.guid: v.reason for v in verdicts(snapshots, snapshots[-1], 1, schedule("2h d"), at("2027-01-01"))
    }
    assert found == {
        "1": "the first of its day (d)",
        "2": "",
        "3": "the first of its hour (2h)",
        "4": "",
        "5": "the first of its hour (2h)",
        "6": "the base",
    }


def test_a_pause_of_months_lets_nothing_go() -> None:
    """So many periods in which there is a snapshot, and not so many from now on."""
    snapshots = taken([at("2026-01-05 10:00"), at("2026-01-06 10:00"), at("2026-09-01 10:00")])
    assert expirable(snapshots, snapshots[-1], 1, schedule("3d"), at("2026-12-01")) == ()


def test_what_is_dated_in_the_future_stays() -> None:
    snapshots = taken([at("2031-01-01 10:00"), at("2031-01-01 11:00"), at("2026-01-01 10:00")])
    now = at("2026-01-01 10:01")
    reasons = [verdict.reason for verdict in verdicts(snapshots, snapshots[-1], 1, schedule("1y"), now)]
    assert reasons == ["dated in the future", "dated in the future", "the base"]


@pytest.mark.parametrize(("going", "there", "many"), [(4, 5, False), (5, 19, True), (5, 20, False), (26, 100, True)])
def test_more_than_a_quarter_at_once_is_for_a_person(going: int, there: int, many: bool) -> None:
    assert too_many(going, there) is many
