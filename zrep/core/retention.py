"""Which of zrep's snapshots one side may let go of.

A pure function of what is there: times are seconds since 1970 in UTC, compared as integers, so that no zone and no
change of clocks moves a day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from zrep.core.dataset import Snapshot

DEFAULT_SAVECOUNT = 5

_HOUR, _DAY = 3600, 86400
# So few may always go at once, and of many a quarter.
_FEW = 4
_RULE = re.compile(r"([1-9][0-9]{0,4})?([hdwmy])")
_PERIODS: Mapping[str, str] = MappingProxyType({"h": "hour", "d": "day", "w": "week", "m": "month", "y": "year"})


class Rule(Struct, frozen=True):
    """Keep the first snapshot of each of so many periods, the newest in which there are any; of all, where count is
    None. unit: h, d, w, m or y."""

    unit: str
    count: int | None = None

    @property
    def text(self) -> str:
        return f"{'' if self.count is None else self.count}{self.unit}"


class Verdict(Struct, frozen=True):
    """One snapshot and why it stays; "" for one that goes."""

    snapshot: Snapshot
    reason: str


def rules_of(text: str) -> tuple[Rule, ...] | None:
    """Read a schedule as a person writes it, "24h 14d 8w 12m 5y"; None when it is none. A rule without a number keeps
    all of its kind."""
    found = [_RULE.fullmatch(word) for word in text.split()]
    rules = [Rule(match[2], int(match[1]) if match[1] else None) for match in found if match]
    units = [rule.unit for rule in rules]
    return tuple(rules) if rules and len(rules) == len(found) and len(set(units)) == len(units) else None


def period(unit: str, when: int) -> int:
    """The number of the hour, day, week (from Monday on), month or year that a time is in."""
    days = when // _DAY
    match unit:
        case "h":
            return when // _HOUR
        case "d":
            return days
        case "w":
            return (days + 3) // 7  # 1 January 1970 was a Thursday
    year, month = _year_and_month(days)
    return year if unit == "y" else year * 12 + month - 1


def _year_and_month(days: int) -> tuple[int, int]:
    """The year and month of a day since 1970 in the Gregorian calendar; years are counted from 1 March on the way, so
    that the day that leap years have is the last one (Howard Hinnant's civil_from_days)."""
    days += 719468
    era, of_era = divmod(days, 146097)
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    day = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * day + 2) // 153
    return era * 400 + year + (month >= 10), month + 3 if month < 10 else month - 9


def kept(snapshots: Sequence[Snapshot], rules: Sequence[Rule]) -> dict[str, str]:
    """The guids of the snapshots that rules keep, each with the rule that does. snapshots: oldest first."""
    found: dict[str, str] = {}
    for rule in rules:
        first: dict[int, Snapshot] = {}
        for snapshot in snapshots:
            first.setdefault(period(rule.unit, snapshot.creation), snapshot)
        newest = sorted(first, reverse=True)
        for number in newest if rule.count is None else newest[: rule.count]:
            found.setdefault(first[number].guid, f"the first of its {_PERIODS[rule.unit]} ({rule.text})")
    return found


def verdicts(
    ours: Sequence[Snapshot],
    base: Snapshot | None,
    savecount: int,
    rules: Sequence[Rule] = (),
    now: int | None = None,
) -> Iterator[Verdict]:
    """Of zrep's own snapshots of a dataset, oldest first, why each stays, if it does.

    Always the base and anything newer (it may not be on the other side), a held one, one with clones, the newest
    savecount, and what a rule keeps; with rules nothing that is dated after now. Without a base nothing is known to be
    on both sides: all stay.
    """
    newest = {snapshot.guid for snapshot in ours[max(0, len(ours) - max(1, savecount)) :]}
    by_rule = kept(ours, rules)
    for snapshot in ours:
        if base is None:
            reason = "no base is known"
        elif snapshot.createtxg >= base.createtxg:
            reason = "the base" if snapshot.guid == base.guid else "newer than the base"
        elif snapshot.holds:
            reason = f"held ({', '.join(sorted(snapshot.holds))})"
        elif snapshot.clones:
            reason = f"it has clones ({', '.join(snapshot.clones)})"
        elif snapshot.guid in newest:
            reason = f"one of the newest {max(1, savecount)}"
        elif rules and now is not None and snapshot.creation > now:
            reason = "dated in the future"
        else:
            reason = by_rule.get(snapshot.guid, "")
        yield Verdict(snapshot, reason)


def expirable(
    ours: Sequence[Snapshot],
    base: Snapshot | None,
    savecount: int,
    rules: Sequence[Rule] = (),
    now: int | None = None,
) -> tuple[Snapshot, ...]:
    """Those of them that go."""
    return tuple(found.snapshot for found in verdicts(ours, base, savecount, rules, now) if not found.reason)


def too_many(going: int, there: int) -> bool:
    """Whether a schedule would let go of so much of what is there at once that a person is to see it before."""
    return going > max(_FEW, there // 4)
