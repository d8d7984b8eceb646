"""Figures: what was measured, against what, how it spreads, and whether it is within its bar. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Series:
    """The same thing measured in several runs, in order. unit: what each value counts, such as s, MB, groups."""

    name: str
    unit: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"{self.name}: nothing was measured")

    @property
    def middle(self) -> float:
        """The median, in the series' unit."""
        return median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)

    def beyond(self, other: Series) -> Series:
        """What each value is more than the other's of the same round."""
        return Series(self.name, self.unit, tuple(a - b for a, b in zip(self.values, other.values, strict=True)))


@dataclass(frozen=True)
class Line:
    """One figure of the table: a series, or its ratio to another one; bar: the most that it may be.

    The runs of `measured` and `against` were interleaved: the ratio of each run is taken to its neighbour.
    """

    what: str
    measured: Series
    against: Series | None = None
    bar: float | None = None

    @property
    def figure(self) -> Series:
        """What the bar is for: the measured series itself, or run by run its ratio to the other (unit ×)."""
        if self.against is None:
            return self.measured
        if len(self.measured.values) == len(self.against.values):
            pairs = list(zip(self.measured.values, self.against.values, strict=True))
        else:
            pairs = [(value, self.against.middle) for value in self.measured.values]
        return Series(f"{self.measured.name} / {self.against.name}", "×", tuple(a / b for a, b in pairs))

    @property
    def met(self) -> bool | None:
        """The median is within the bar; None without one."""
        return None if self.bar is None else self.figure.middle <= self.bar


@dataclass(frozen=True)
class Row:
    """One part of the benchmark: its lines, and in words how it was measured."""

    name: str
    title: str
    how: str
    lines: tuple[Line, ...]

    def as_record(self) -> dict[str, Any]:
        """The row as JSON has it, with every single value."""
        return {
            "name": self.name,
            "title": self.title,
            "how": self.how,
            "lines": [
                {
                    "what": line.what,
                    "measured": _series(line.measured),
                    "against": _series(line.against) if line.against else None,
                    "figure": _series(line.figure),
                    "bar": line.bar,
                    "met": line.met,
                }
                for line in self.lines
            ],
        }


def row_from(record: dict[str, Any]) -> Row:
    """The row that as_record told of."""
    lines = tuple(
        Line(
            line["what"],
            _read_series(line["measured"]),
            _read_series(line["against"]) if line["against"] else None,
            line["bar"],
        )
        for line in record["lines"]
    )
    return Row(record["name"], record["title"], record["how"], lines)


def number(value: float) -> str:
    """Three significant digits, and never an exponent."""
    if abs(value) >= 100 or value == int(value):  # a count has no decimals
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def spread(series: Series) -> str:
    """Median and range with the unit: "0.52 s (0.48 to 0.61)"; the value alone when all are equal."""
    unit = series.unit if series.unit in ("", "×", "%") else f" {series.unit}"
    text = f"{number(series.middle)}{unit}"
    if number(series.low) == number(series.high):
        return text
    return f"{text} ({number(series.low)} to {number(series.high)})"


def _series(series: Series) -> dict[str, Any]:
    return {
        "name": series.name,
        "unit": series.unit,
        "runs": len(series.values),
        "median": series.middle,
        "min": series.low,
        "max": series.high,
        "values": list(series.values),
    }


def _read_series(record: dict[str, Any]) -> Series:
    return Series(record["name"], record["unit"], tuple(record["values"]))
