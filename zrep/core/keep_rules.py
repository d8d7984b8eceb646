"""Which snapshots of one series stay: the newest so many, and by a schedule the first one of each of so many hours,
days, weeks, months and years.

Times are whole seconds since 1970 in UTC, as ZFS keeps them, and periods are those of UTC: a zone, and its two changes
of the clock a year, decide nothing. What counts is periods that have a snapshot: a host that was off for a month loses
nothing by it, and whatever the clock says a new snapshot pushes out at most one of each rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from zrep.core.dataset import Snapshot
from zrep.core.rules import Rule, Rules

# So far two clocks may be apart: what is dated later than this is dated by one that is wrong.
CLOCK_SECONDS = 60
AHEAD, BEHIND = "dated in the future", "dated before an older one"
_HOUR, _DAY = 3600, 86400


def kept(snapshots: Sequence[Snapshot], rules: Rules, now: int) -> Mapping[str, str]:
    """Of one series of snapshots, oldest first: those that stay, by guid, each with the first rule it stays by. now:
    seconds since 1970.

    One dated in the future stays, and counts for no period: the clock that dated it is wrong, or this one is. So does
    one dated before another that was made before it, as long as that is there: whoever sends snapshots dates them as he
    likes, and would have it stand for a period in the place of what was there already."""
    reasons = {snapshot.guid: f"one of the newest {rules.newest}" for snapshot in snapshots[-max(1, rules.newest) :]}
    if not rules.schedule:
        return reasons
    dated: list[Snapshot] = []
    wrong: dict[str, str] = {}
    latest = 0
    for snapshot in snapshots:
        if snapshot.creation > now + CLOCK_SECONDS:
            wrong[snapshot.guid] = AHEAD
        elif snapshot.creation < latest - CLOCK_SECONDS:
            wrong[snapshot.guid] = BEHIND
        else:
            dated.append(snapshot)
            latest = max(latest, snapshot.creation)
    reasons = {**wrong, **reasons}
    # Newest first; of one second the one that was made last.
    dated.sort(key=lambda snapshot: (snapshot.creation, snapshot.createtxg), reverse=True)
    for rule in rules.schedule:
        _keep(dated, rule, reasons)
    return reasons


def _keep(dated: Sequence[Snapshot], rule: Rule, reasons: dict[str, str]) -> None:
    """Add what one rule keeps of snapshots, newest first, where no other does."""
    period_of, first = _PERIODS[rule.unit], dict[int, Snapshot]()
    for snapshot in dated:
        period = period_of(snapshot.creation)
        if period not in first and len(first) == rule.count:
            break
        first[period] = snapshot
    for snapshot in first.values():
        reasons.setdefault(snapshot.guid, f"the first of its {_NAMES[rule.unit]} ({rule.text})")


_NAMES = {"h": "hour", "d": "day", "w": "week", "m": "month", "y": "year"}
# A number for the period that a second since 1970 is in. A week begins on Monday, and 1970 on a Thursday.
_PERIODS: dict[str, Callable[[int], int]] = {
    "h": lambda second: second // _HOUR,
    "d": lambda second: second // _DAY,
    "w": lambda second: (second // _DAY + 3) // 7,
    "m": lambda second: _month(second // _DAY),
    "y": lambda second: _month(second // _DAY) // 12,
}


def _month(day: int) -> int:
    """The number of months from January of the year 0 to a day since 1970, by the calendar of Gregory. Counted in years
    that begin in March, so that the day of a leap year is the last of one, and in eras of 400 of them."""
    era, of_era = divmod(day + 719468, 146097)
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    return (era * 400 + year) * 12 + (5 * of_year + 2) // 153 + 2
