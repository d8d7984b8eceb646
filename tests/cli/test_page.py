"""The page of status --html: all of the table, nothing that anybody could have put in it as code, and its look in a
browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.cli.test_rows import ALL, LONG, NOW, usual
from zrep.cli import rows
from zrep.cli.page import page
from zrep.ops.rows import Row

ARRIVED = replace(LONG, arrivals=((NOW - 600, NOW - 590), (NOW - 300, NOW - 180)))


def made(*found: Row) -> str:
    return page(found, usual(), "alpha", NOW)


def test_it_has_every_cell_of_the_table_and_every_reason() -> None:
    text = unescape(re.sub(r"<[^>]*>", "\n", made(*ALL).replace("<wbr>", "")))
    for line in rows.whole(ALL, usual(), NOW):
        assert all(cell in text for cell in line)
    assert all(line in text for _, line in rows.explained(ALL))


def test_nothing_in_it_is_code_or_from_elsewhere() -> None:
    evil = replace(LONG, name='tank/"><script>alert(1)</script>', peer="beta:<b>&\x1b[2J")
    text = made(evil)
    assert "<script" not in text
    assert "<b>" not in text
    assert "\x1b" not in text
    assert not re.search(r"https?:|src=|@import|url\(", text)


def test_past_lags_are_bars() -> None:
    text = made(ARRIVED)
    assert re.findall(r'height="(\d+)"/>', text) == ["2", "24"]
    assert "2 in 10m, at most 2m" in text
    assert "<svg" not in made(LONG)


def test_a_long_name_goes_on_in_the_next_line_after_a_part_of_it() -> None:
    text = made(replace(LONG, name="tank/a&b/vm", peer="beta:slow/vm"))
    assert ">tank/<wbr>a&amp;b/<wbr>vm<" in text
    assert ">beta:<wbr>slow/<wbr>vm<" in text


def test_where_nothing_is_replicated_it_says_so() -> None:
    assert "No filesystem here is replicated by zrep." in made()


BROWSER = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), "")


@pytest.mark.thorough
@pytest.mark.skipif(not BROWSER, reason="no headless Chromium is installed")
@pytest.mark.parametrize("width", [1280, 400])
def test_it_fits_its_window(tmp_path: Path, width: int) -> None:
    """In a frame: a window of Chromium's is 500 wide at the least."""
    measure = "<script>parent.document.title = document.documentElement.scrollWidth + ' of ' + innerWidth</script>"
    framed = escape(made(*ALL, ARRIVED).replace("</body>", f"{measure}</body>"))
    path = tmp_path / "frame.html"
    path.write_text(f'<title></title><iframe style="width: {width}px; border: 0" srcdoc="{framed}"></iframe>')
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,800", "--dump-dom"]
    shown = subprocess.run([*words, path.as_uri()], capture_output=True, text=True, timeout=60, check=True).stdout
    found = re.search(r"<title>(\d+) of (\d+)</title>", shown)
    assert found is not None, shown
    assert int(found[1]) <= int(found[2]) == width
