"""Quantities as a person reads them."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

# As they come from another host. Whoever is there may say any number: those that no disk has make no text of a size and
# no property, and a time after the year 4000 no date.
Whole = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Time = Annotated[int, Meta(ge=0, lt=2**36)]


def duration(seconds: int) -> str:
    """5s, 3m 20s, 2h 5m, 4d 1h."""
    for unit, letter, smaller, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= unit:
            rest = seconds % unit // smaller
            return f"{seconds // unit}{letter}" + (f" {rest}{small}" if rest else "")
    return f"{seconds}s"


def seconds(text: str) -> int | None:
    """A time as a person writes it, 90s, 15m, 2h or 1d, or a number of seconds; None when it is neither."""
    match = re.fullmatch(r"(\d{1,9})([smhd]?)", text, re.ASCII)
    return int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]] if match else None


def size(count: int) -> str:
    """Bytes for a person: 512B, 3.4M."""
    value = float(count)
    for unit in ("B", "K", "M", "G", "T"):
        if value < 1024:
            return f"{count}B" if unit == "B" else f"{value:.1f}{unit}"
        value /= 1024
    return f"{value:.1f}P"


def floor_bytes(text: str, pool_size: int) -> int | None:
    """A floor for free space, "2%" of the pool or "10G", in bytes; None when it is neither."""
    match = re.fullmatch(r"(\d{1,15})(%|[KMGT]?)", text, re.ASCII)
    if not match:
        return None
    number, unit = int(match.group(1)), match.group(2)
    if unit == "%":
        return pool_size * number // 100 if number < 100 else None
    return number * 1024 ** "KMGT".find(unit) * 1024 if unit else number


def whole_number(text: str, digits: int = 18) -> int | None:
    """A whole number as zrep writes one; None for anything else, digits of other scripts among it."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits else None
