"""What stays, and by which rule."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from tests.core.make import MASTER, REPLICA, TAG, member
from zrep.core.dataset import Member, Snapshot
from zrep.core.keep_rules import kept
from zrep.core.pair import End
from zrep.core.plan_expire import Expiry, expire_end
from zrep.core.rules import Rules, parse_patterns, parse_schedule

START = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
HOUR, DAY = 3600, 86400


def rules(schedule: str, newest: int = 1) -> Rules:
    parsed = parse_schedule(schedule)
    assert parsed
    return Rules(newest, parsed)


def taken(times: Sequence[int]) -> list[Snapshot]:
    return [Snapshot(f"{TAG}_{at:06x}", str(at), at, creation=second) for at, second in enumerate(times, 1)]


def at(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp())


def left(snapshots: Sequence[Snapshot], by: Rules, now: int) -> list[Snapshot]:
    staying = kept(snapshots, by, now)
    return [snapshot for snapshot in snapshots if snapshot.guid in staying]


# --- by number ---


def by_number(side: Member, base: str | None, end: End = End.SOURCE) -> Expiry:
    return expire_end(end, side, TAG, side.ours(TAG), side.by_guid(base.rstrip("hHswc")) if base else None, START)


@pytest.mark.parametrize(
    ("snapshots", "base", "keep", "gone"),
    [
        ("1 2 3 4", "4", 2, "1 2"),
        ("1 2 3 4", "4", 1, "1 2 3"),
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
    side = member("tank/a", replace(MASTER, savecount=keep), snapshots)
    assert " ".join(snapshot.guid for snapshot in by_number(side, base).going) == gone


def test_of_another_tag_nothing() -> None:
    side = member("tank/a", replace(MASTER, savecount=1), "1 2 3")
    assert not expire_end(End.SOURCE, side, "offsite", side.ours("offsite"), side.snapshots[-1], START).verdicts


# --- what rules are ---


@pytest.mark.parametrize(
    "text", ["", " ", "24", "h24", "0h", "24h 12h", "24x", "-1h", "100000h", "٣h", "24h\n14d", "24h,14d"]
)
def test_what_is_no_schedule(text: str) -> None:
    assert parse_schedule(text) is None


@pytest.mark.parametrize("text", ["", "a,", "a@b", "a/b", "*" * 4, "\u00e4", ",".join("a" * 17), "x" * 256, "[a]"])
def test_what_is_no_pattern(text: str) -> None:
    assert parse_patterns(text) is None


def test_rules_as_they_are_written() -> None:
    assert [(rule.count, rule.unit) for rule in rules("24h 14d y").schedule] == [(24, "h"), (14, "d"), (None, "y")]


# --- periods ---


@pytest.mark.parametrize("year", [1970, 1998, 2098, 2398])
def test_months_and_years_are_those_of_the_calendar(year: int) -> None:
    """Each day of four years: the first snapshot of each period, and the newest of all."""
    days = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=number) for number in range(366 * 4)]
    snapshots = taken([int(day.timestamp()) + 7 for day in days])
    for unit, period in (
        ("m", lambda day: (day.year, day.month)),
        ("y", lambda day: day.year),
        ("w", lambda day: day.isocalendar()[:2]),
    ):
        expected = [next(group) for _, group in itertools.groupby(days, key=period)]
        found = left(snapshots, rules(unit), snapshots[-1].creation)
        assert [snapshot.creation - 7 for snapshot in found[:-1]] == [int(day.timestamp()) for day in expected]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"])
def test_the_zone_and_its_changes_of_the_clock_decide_nothing(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot each ten minutes through the two nights at which the clocks of the zone change: an hour that there is
    twice, or not at all, is what it is in UTC. Every hour keeps its first one, every day too."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for night in _changes(zone, 2026) or [at("2026-03-29T01:00")]:
            times = list(range(night - DAY - night % DAY, night + 2 * DAY - night % DAY, 600))
            found = left(taken(times), rules("h"), times[-1])
            assert [snapshot.creation % HOUR for snapshot in found[:-1]] == [0] * 72
            found = left(taken(times), rules("2d"), times[-1])
            assert [snapshot.creation % DAY for snapshot in found[:-1]] == [0] * 2
    finally:
        monkeypatch.undo()
        time.tzset()


def _changes(zone: str, year: int) -> list[int]:
    """The seconds of a year after which the clocks of a zone go another way."""
    there = ZoneInfo(zone)
    hours = range(at(f"{year}-01-01T00:00"), at(f"{year + 1}-01-01T00:00"), 1800)
    offsets = [(second, datetime.fromtimestamp(second, there).utcoffset()) for second in hours]
    return [second for (_, before), (second, now) in itertools.pairwise(offsets) if before != now]


def test_the_clock_changes_that_are_looked_at_are_two_a_year() -> None:
    assert [len(_changes(zone, 2026)) for zone in ("Europe/Berlin", "Australia/Lord_Howe", "UTC")] == [2, 2, 0]


def test_only_periods_with_a_snapshot_count() -> None:
    """A host that was off for half a year loses nothing by it."""
    days = [START + number * DAY for number in (0, 1, 2, 180, 181)]
    assert len(left(taken(days), rules("5d"), days[-1])) == 5


@pytest.mark.parametrize(
    ("schedule", "period"), [("24h", "hour"), ("14d", "day"), ("8w", "week"), ("12m", "month"), ("y", "year")]
)
def test_each_stays_by_a_rule_that_is_named(schedule: str, period: str) -> None:
    snapshots = taken([at("2024-12-31T23:59"), at("2026-01-05T00:00"), at("2026-01-05T00:00"), at("2026-01-05T00:01")])
    reason = f"the first of its {period} ({schedule})"
    assert kept(snapshots, rules(schedule), START + 30 * DAY) == {"1": reason, "2": reason, "4": "one of the newest 1"}


# --- a year ---

FULL = rules("24h 14d 8w 12m 5y", newest=5)


def shown(snapshots: Sequence[Snapshot]) -> list[str]:
    return [datetime.fromtimestamp(snapshot.creation, UTC).strftime("%m-%d %H:%M") for snapshot in snapshots]


# What is left at the end of 2026 of a snapshot every few minutes since November 2025: days of which the first stays.
FIRSTS = ["11-01", *(f"{month:02}-01" for month in range(1, 12)), "11-09", "11-16", "11-23", "11-30"]
FIRSTS += ["12-01", "12-07", "12-14", *(f"12-{day}" for day in range(18, 32))]


def simulated(first: int, last: int, minutes: int, every: int) -> list[Snapshot]:
    """What is left of a snapshot each so many minutes, expired after each so many of them."""
    snapshots: list[Snapshot] = []
    for number, second in enumerate(range(first, last + 1, 60 * minutes)):
        snapshots.append(Snapshot("", str(number), number, creation=second))
        if number % every == 0 or second + 60 * minutes > last:
            before, snapshots = len(snapshots), left(snapshots, FULL, second)
            # One for each that is new, and one of each rule.
            assert before - len(snapshots) <= every + 5
    return snapshots


@pytest.mark.parametrize("minutes", [10, pytest.param(1, marks=pytest.mark.thorough)])
def test_what_a_year_of_syncs_leaves(minutes: int) -> None:
    found = simulated(at("2025-11-01T00:00"), at("2026-12-31T23:59"), minutes, DAY // 60 // minutes)
    days = [f"{day} 00:00" for day in FIRSTS]
    hours = [f"12-31 {hour:02}:00" for hour in range(1, 24)]
    newest = [f"12-31 23:{minute}" for minute in range(60 - 5 * minutes, 60, minutes)]
    assert shown(found) == [*days, *hours, *newest]


@pytest.mark.thorough
def test_ten_days_expired_each_minute() -> None:
    first, last = at("2026-02-21T00:00"), at("2026-03-02T12:00")
    assert shown(simulated(first, last, 1, 1)) == shown(simulated(first, last, 1, DAY // 60))


@pytest.mark.parametrize("seed", range(20))
def test_how_often_it_is_expired_makes_no_difference(seed: int) -> None:
    dice = random.Random(seed)
    times = sorted(dice.randrange(START, START + 90 * DAY) for _ in range(400))
    snapshots = taken(times)
    by = rules("12h 7d 4w 3m y", newest=dice.randrange(1, 6))
    staying: list[Snapshot] = []
    for snapshot in snapshots:
        staying.append(snapshot)
        if dice.random() < 0.5:
            staying = left(staying, by, snapshot.creation)
    assert left(staying, by, times[-1]) == left(snapshots, by, times[-1])


# --- clocks that are wrong ---


def minutes(count: int, ending: int = START) -> list[int]:
    return [ending - 60 * number for number in reversed(range(count))]


def side(times: Sequence[int], keep: str, **about: object) -> Member:
    return replace(member("tank/a", replace(MASTER, savecount=1, keep=keep, **about)), snapshots=tuple(taken(times)))


def expiry(
    side: Member, now: int, base: int = -1, end: End = End.SOURCE, ours: Sequence[Snapshot] | None = None
) -> Expiry:
    own = side.snapshots if ours is None else ours
    return expire_end(end, side, TAG, own, side.snapshots[base], now)


def test_what_is_dated_in_the_future_stays_and_counts_for_nothing() -> None:
    """A clock that was years ahead for three runs."""
    late = [START + 900 * DAY + 60 * number for number in range(3)]
    good = minutes(40, START - 60)
    found = expiry(side([*good[:20], *late, *good[20:]], "2h"), START)
    assert [snapshot.creation for snapshot in found.ahead] == late
    assert found.dated_ahead(START) == "tank/a@zrep_000017 and 2 more, by 900d"
    assert not {snapshot.creation for snapshot in found.going} & set(late)
    kept_ = [verdict.reason for verdict in found.verdicts if verdict.reason]
    assert kept_ == ["the first of its hour (2h)", *["dated in the future"] * 3, "the base"]


def test_what_is_dated_back_stands_for_no_period() -> None:
    """Whoever sends has a snapshot a little older than each first one of a day: none of those goes for it."""
    days = taken([START + number * DAY for number in range(14)])
    now = days[-1].creation + HOUR
    back = [replace(s, guid=f"back{s.guid}", createtxg=100 + s.createtxg, creation=s.creation - HOUR) for s in days]
    reasons = kept([*days, *back], rules("14d"), now)
    assert {reasons[snapshot.guid] for snapshot in days} == {"the first of its day (14d)"}
    assert {reasons[snapshot.guid] for snapshot in back[:-1]} == {"dated before an older one"}
    # The same where days without one are left, which more than the rule's number of days would fill.
    second = days[::2]
    between = [replace(snapshot, createtxg=200 + snapshot.createtxg) for snapshot in days[1:-1:2]]
    assert {snapshot.guid for snapshot in second} <= kept([*second, *between], rules("7d"), now).keys()


def test_two_clocks_that_are_some_seconds_apart_date_nothing_back() -> None:
    times = [START, START - 45, START + 15]
    assert "dated before an older one" not in kept(taken(times), rules("2h"), START + HOUR).values()


def test_with_a_clock_that_is_behind_nothing_goes() -> None:
    found = expiry(side(minutes(50), "2h"), START - 400 * DAY)
    assert not found.going
    assert len(found.ahead) == 49


def test_two_clocks_may_be_some_seconds_apart() -> None:
    found = expiry(side(minutes(50), "2h"), START - 45)
    assert not found.ahead


# --- how much at once ---


@pytest.mark.parametrize(
    ("have", "keep", "too_many"),
    [(12, 1, True), (11, 1, False), (3, 1, False), (100, 75, False), (100, 74, True), (1000, 999, False)],
)
def test_more_than_a_quarter_does_not_go_at_once(have: int, keep: int, too_many: bool) -> None:
    """But for ten: those are no more than what runs that were cut have left."""
    whole = replace(member("tank/a", replace(MASTER, savecount=keep)), snapshots=tuple(taken(minutes(have))))
    found = expiry(whole, START)
    assert len(found.going) == have - keep
    assert bool(found.too_many) is too_many
    assert sum(len(step.names) for step in found.steps()) == (0 if too_many else have - keep)
    assert sum(len(step.names) for step in found.steps(agreed=True)) == have - keep


def test_one_command_has_room_for_its_names() -> None:
    found = expiry(side(minutes(5000), "1h"), START).steps(agreed=True)
    assert max(len(",".join(step.names)) for step in found) < (128 << 10) / 255 * 13
    assert sum(len(step.names) for step in found) == 4999


# --- what nobody may let go of, whatever the rules say ---


def test_what_is_newer_than_the_base_stays_unless_space_must_win() -> None:
    times = minutes(9)
    staying = [verdict.reason for verdict in expiry(side(times, "1h"), START, base=2).verdicts if verdict.reason]
    assert staying == ["the base"] + ["newer than the base: not known to be on the other side"] * 6
    dropped = expiry(side(times, "1h", drop_unsent=True), START, base=2)
    assert len(dropped.going) == 7
    assert [verdict.reason for verdict in dropped.verdicts if verdict.reason] == ["the base", "one of the newest 1"]
    replica = replace(side(times, "1h"), role=replace(REPLICA, keep="1h", savecount=1, drop_unsent=True))
    assert len(expiry(replica, START, base=2, end=End.TARGET).going) == 2


def test_the_newest_complete_set_stays_on_the_replica() -> None:
    """Of a member that was not written to then, what it has of an earlier moment."""
    times = minutes(9)
    role = replace(REPLICA, savecount=1, complete=f"{TAG}_000004")
    whole = replace(member("tank/b", role), snapshots=tuple(taken(times)))
    assert [s.guid for s in expiry(whole, START, end=End.TARGET).going] == ["1", "2", "3", "5", "6", "7", "8"]
    without = replace(whole, snapshots=(*whole.snapshots[:3], *whole.snapshots[5:]))
    assert [s.guid for s in expiry(without, START, end=End.TARGET).going] == ["1", "2", "6", "7", "8"]


NAMES = ("autosnap_2026-01-01_hourly", "by-hand", "offsite_00001f", "offsite_split_3", "backup_20260101", "autosnap")


@pytest.mark.parametrize(
    ("patterns", "gone"),
    [
        ("", []),
        ("autosnap_*", [0]),
        ("autosnap*", [0, 5, 6]),
        ("by-h?nd", [1]),
        ("*", [0, 1, 4, 5, 6, 7, 10]),
        ("by-hand,backup_*", [1, 4]),
    ],
)
def test_snapshots_of_others_go_only_by_a_pattern(patterns: str, gone: list[int]) -> None:
    """Each pattern is a series of its own, of which the newest stays; what another tag's may be is nobody's."""
    role = replace(MASTER, savecount=1, foreign=parse_patterns(patterns) or ())
    others = [
        Snapshot(name, f"{turn}{name}", 1 + at_, creation=START - 900 + at_)
        for turn in range(2)
        for at_, name in enumerate(NAMES, turn * len(NAMES))
    ]
    base = Snapshot(f"{TAG}_000001", "base", 99, creation=START, made=True)
    whole = replace(member("tank/a", role), snapshots=(*others, base))
    found = expire_end(End.SOURCE, whole, TAG, (base,), base, START)
    assert [others.index(snapshot) for snapshot in found.going] == gone
