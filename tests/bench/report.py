"""From rows to what a person reads: a table in Markdown, a plot in SVG. Pure: text in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from tests.bench.figures import Line, Row, number, spread

_WIDTH, _LEFT, _RIGHT, _STEP = 900, 420, 110, 20
_COLOURS = {True: "#2f7d4f", False: "#b3402e", None: "#5b7083"}


def verdict(line: Line) -> str:
    """ "met", "not met", or nothing for a figure without a bar."""
    return {True: "met", False: "not met", None: ""}[line.met]


def told(line: Line) -> str:
    """One line for a terminal."""
    text = f"{line.what}: {spread(line.figure)}"
    if line.against is not None:
        text += f" = {spread(line.measured)} / {line.against.name} {spread(line.against)}"
    if line.bar is not None:
        text += f"; bar {_bar(line)}: {verdict(line)}"
    return f"{text} [{len(line.measured.values)} runs]"


def about(parts: Sequence[dict[str, str]]) -> list[str]:
    """What the rows were measured on, as list items; where rows differ, each value once."""
    names = list(dict.fromkeys(name for part in parts for name in part))
    return [f"- {name}: {'; '.join(dict.fromkeys(part[name] for part in parts if name in part))}" for name in names]


def table(rows: Sequence[Row], about: Sequence[str]) -> str:
    """The whole table in Markdown: first what it was measured on, then a section for each row."""
    parts = ["# What zrep costs", "", *about, ""]
    parts += ["Median (lowest to highest) of the runs; a ratio is taken run by run, to the run beside it.", ""]
    for row in rows:
        parts += [f"## {row.title}", "", row.how, ""]
        parts += ["| figure | measured | against | ratio | bar | | runs |", "|---|---|---|---|---|---|---|"]
        for line in row.lines:
            against = f"{line.against.name} {spread(line.against)}" if line.against else ""
            ratio = spread(line.figure) if line.against else ""
            cells = (line.what, spread(line.measured), against, ratio, _bar(line), verdict(line))
            parts.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} | {len(line.measured.values)} |")
        parts.append("")
    return "\n".join(parts)


def plot(rows: Sequence[Row]) -> str:
    """Every figure that has a bar, as a share of its bar (the line at 1): left of the line is met. One SVG."""
    lines = [(row, line) for row in rows for line in row.lines if line.bar]
    farthest = max([1.5, *(min(line.figure.high / line.bar, 3.0) for _, line in lines if line.bar)])
    scale = (_WIDTH - _LEFT - _RIGHT) / farthest
    height = 60 + _STEP * len(lines)
    one = _LEFT + scale
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        '<text x="10" y="20" font-size="14">Each figure as a share of its bar: median and range</text>',
        f'<text x="{one:.0f}" y="40" text-anchor="middle">bar</text>',
        f'<line x1="{one:.0f}" y1="44" x2="{one:.0f}" y2="{height - 6}" stroke="black"/>',
    ]
    for place, (row, line) in enumerate(lines):
        assert line.bar
        y = 48 + _STEP * place
        low, middle, high = (
            _LEFT + scale * min(value / line.bar, farthest)
            for value in (line.figure.low, line.figure.middle, line.figure.high)
        )
        unit = line.figure.unit if line.figure.unit in "×%" else f" {line.figure.unit}"
        label = _short(f"{row.name}: {line.what}")
        out += [
            f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{_LEFT}" y="{y + 2}" width="{max(middle - _LEFT, 1):.1f}" height="13" '
            f'fill="{_COLOURS[line.met]}"/>',
            f'<line x1="{low:.1f}" y1="{y + 8}" x2="{high:.1f}" y2="{y + 8}" stroke="#222" stroke-width="2"/>',
            f'<text x="{max(high, middle) + 6:.1f}" y="{y + 12}">{number(line.figure.middle)}{unit}</text>',
        ]
    return "\n".join([*out, "</svg>", ""])


def _bar(line: Line) -> str:
    if line.bar is None:
        return ""
    unit = line.figure.unit if line.figure.unit in "×%" else f" {line.figure.unit}"
    return f"≤ {number(line.bar)}{unit}"


def _short(text: str, room: int = 62) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"
