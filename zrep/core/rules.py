"""How an administrator says what one side keeps, as properties hold it."""

from __future__ import annotations

import re
from functools import cache

from msgspec import Struct

DEFAULT_SAVECOUNT = 5
_RULE = re.compile(r"([1-9][0-9]{0,4})?([hdwmy])", re.ASCII)
# More would take long to be looked for in a name.
_MOST_STARS, _MOST_PATTERNS = 3, 16
_PATTERN = re.compile(r"[A-Za-z0-9_.: *?-]{1,255}", re.ASCII)


class Rule(Struct, frozen=True):
    """The first snapshot of each of the newest count periods that have one stays; count None: of all of them. unit: h
    (hour), d, w (from Monday), m or y."""

    count: int | None
    unit: str

    @property
    def text(self) -> str:
        """As an administrator writes it."""
        return f"{self.count or ''}{self.unit}"


class Rules(Struct, frozen=True):
    """What one side keeps of a series of snapshots: the newest of them, and what a schedule asks for."""

    newest: int = DEFAULT_SAVECOUNT
    schedule: tuple[Rule, ...] = ()


@cache
def parse_schedule(text: str) -> tuple[Rule, ...] | None:
    """A schedule as '24h 14d 8w 12m 5y', a rule without a number keeping all of its kind; None for what is none."""
    found = [_RULE.fullmatch(word) for word in text.split(" ") if word]
    rules = tuple(Rule(int(match[1]) if match[1] else None, match[2]) for match in found if match)
    once_each = len({rule.unit for rule in rules}) == len(rules) == len(found)
    return rules if rules and once_each else None


def parse_patterns(text: str) -> tuple[str, ...] | None:
    """Patterns of names of snapshots with commas between: of their characters, * for any of them, ? for one; None where
    one is none."""
    patterns = tuple(text.split(","))
    well = all(_PATTERN.fullmatch(each) and each.count("*") <= _MOST_STARS for each in patterns)
    return patterns if well and len(patterns) <= _MOST_PATTERNS else None


@cache
def names_like(pattern: str) -> re.Pattern[str]:
    """The names that a pattern stands for."""
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."))
