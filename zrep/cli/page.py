"""status --html: one page, with no script and nothing from elsewhere, for a screen in the office or a mail."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from zrep.cli.rows import Style, explained, whole, with_tags
from zrep.core.quantities import duration

if TYPE_CHECKING:
    from zrep.ops.rows import Row

# A screen in the office loads it anew that often.
_SECONDS = 60
# Of the picture of past lags, in its own units.
_WIDTH, _HEIGHT = 120, 24
_STYLE = """
:root { color-scheme: light dark; --well: #1a7f37; --aware: #9a6700; --bad: #cf222e; --line: #8884; }
@media (prefers-color-scheme: dark) { :root { --well: #3fb950; --aware: #d29922; --bad: #f85149; } }
body { font: 16px/1.4 system-ui, sans-serif; margin: 1.5rem; }
h1 { font-size: 1.2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--line); }
th { font-size: .8rem; }
td, th { white-space: nowrap; }
li, [data-name=NAME], [data-name=PEER], [data-name="LAG BEFORE"] { white-space: normal; overflow-wrap: anywhere; }
.well { color: var(--well); } .aware { color: var(--aware); } .bad { color: var(--bad); }
.state { font-weight: 600; }
svg { width: 120px; height: 24px; vertical-align: middle; } svg + span { white-space: nowrap; }
rect { fill: currentColor; opacity: .6; }
footer { margin-top: 1rem; font-size: .8rem; opacity: .7; }
@media (max-width: 700px) {
    thead { display: none; }
    tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--line); }
    td { display: block; border: 0; padding: .1rem 0; white-space: normal; overflow-wrap: anywhere; }
    td::before { content: attr(data-name) " "; font-size: .8rem; opacity: .7; }
}
"""


def page(rows: Sequence[Row], style: Style, host: str, now: int) -> str:
    """The page of a status of this host, asked at a time in seconds since 1970."""
    style = with_tags(rows, style)
    headings = [column.heading for column in style.columns]
    head = "".join(f"<th>{escape(heading)}</th>" for heading in [*headings, "LAG BEFORE"])
    body = "".join(_row(row, headings, cells, now) for row, cells in zip(rows, whole(rows, style, now), strict=True))
    reasons = "".join(f'<li class="{_class(row)}">{escape(line)}</li>' for row, line in explained(rows))
    when = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now))
    empty = "" if rows else "<p>No filesystem here is replicated by zrep.</p>"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="refresh" content="{_SECONDS}"><title>zrep on {escape(host)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>zrep on {escape(host)}</h1>{empty}"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<ul>{reasons}</ul><footer>As of {escape(when)}</footer></body></html>\n"
    )


def _class(row: Row) -> str:
    return "well" if row.state == "ok" else "aware" if row.code == 0 else "bad"


def _row(row: Row, headings: Sequence[str], cells: Sequence[str], now: int) -> str:
    columns = "".join(
        f'<td data-name="{escape(heading)}" class="{f"state {_class(row)}" if heading == "STATE" else ""}">'
        f"{_breakable(escape(cell))}</td>"
        for heading, cell in zip(headings, cells, strict=True)
    )
    return f'<tr>{columns}<td data-name="LAG BEFORE">{_past(row, now)}</td></tr>'


def _breakable(text: str) -> str:
    """The same, that may go on in the next line after a part of a name before it does in the midst of one."""
    return re.sub(r"(?<=[/:])", "<wbr>", text)


def _past(row: Row, now: int) -> str:
    """A bar for each snapshot that is known to have arrived: as high as it took from its creation until then."""
    if not row.arrivals or row.role == "split":
        return "-"
    longest = max(1, *(arrived - made for made, arrived in row.arrivals))
    begin = min(made for made, _ in row.arrivals)
    span = max(1, now - begin)
    bars = "".join(
        f'<rect x="{(arrived - begin) * (_WIDTH - 4) // span}" y="{_HEIGHT - high}" width="4" height="{high}"/>'
        for made, arrived in row.arrivals
        for high in [max(1, (arrived - made) * _HEIGHT // longest)]
    )
    says = f"{len(row.arrivals)} in {duration(span)}, at most {duration(longest)}"
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{says}">{bars}</svg> <span>{says}</span>'
