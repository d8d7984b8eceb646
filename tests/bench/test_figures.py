"""The arithmetic of the benchmark and what it prints: no host, no clock."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.bench import report
from tests.bench.__main__ import keep
from tests.bench.figures import Line, Row, Series, number, row_from, spread
from tests.bench.place import Job, rounds

ZREP = Series("zrep", "s", (0.6, 0.9, 0.75))
BARE = Series("bare | warm", "s", (0.5, 0.6, 0.5))
ROW = Row("small", "Four small", "How.", (Line("against bare", ZREP, BARE, 1.5), Line("alone & <quick>", ZREP)))


def test_a_ratio_is_taken_run_by_run() -> None:
    figure = ROW.lines[0].figure
    assert figure.unit == "×"
    assert figure.values == pytest.approx((1.2, 1.5, 1.5))
    assert (figure.low, figure.middle, figure.high) == pytest.approx((1.2, 1.5, 1.5))


def test_series_of_different_length_are_compared_with_the_median() -> None:
    assert Line("x", ZREP, Series("once", "s", (0.3,))).figure.values == pytest.approx((2.0, 3.0, 2.5))


@pytest.mark.parametrize(("bar", "met"), [(1.5, True), (1.49, False), (None, None)])
def test_the_median_is_held_against_the_bar(bar: float | None, met: bool | None) -> None:
    assert Line("x", ZREP, BARE, bar).met is met


def test_without_another_series_the_bar_is_for_the_value_itself() -> None:
    assert Line("x", Series("peak", "MB", (61.0,)), None, 60).met is False


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        Series("x", "s", ())


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0512, "0.051"), (0.516, "0.52"), (5.234, "5.23"), (52.34, "52.3"), (523.4, "523"), (4.0, "4")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_the_spread_is_named_only_where_there_is_one() -> None:
    assert spread(ZREP) == "0.75 s (0.60 to 0.90)"
    assert spread(Series("x", "×", (2.0, 2.0))) == "2×"
    assert spread(Series("x", "", (3.0,))) == "3"


def test_the_table_says_all_of_a_figure() -> None:
    text = report.table([ROW], ["- OpenZFS: 2.3.2"])
    assert "| against bare | 0.75 s (0.60 to 0.90) | bare / warm 0.50 s (0.50 to 0.60) | 1.50×" in text
    assert "| ≤ 1.50× | met | 3 |" in text
    assert "- OpenZFS: 2.3.2" in text


def test_the_plot_is_well_formed() -> None:
    root = ElementTree.fromstring(report.plot([ROW]))
    assert any("against bare" in (text.text or "") for text in root.iter("{http://www.w3.org/2000/svg}text"))
    ElementTree.fromstring(report.plot([]))


def test_rows_are_kept_one_by_one(tmp_path: Path) -> None:
    keep("small", [ROW], {"OpenZFS": "2.3.2"}, tmp_path)
    keep("start", [Row("start", "Start", "How.", ROW.lines)], {"OpenZFS": "2.3.3"}, tmp_path)
    record = json.loads((tmp_path / "record.json").read_text())
    assert list(record) == ["start", "small"]
    assert row_from(record["small"]["rows"][0]) == ROW
    text = (tmp_path / "table.md").read_text()
    assert "## Four small" in text
    assert "- OpenZFS: 2.3.3; 2.3.2" in text
    assert (tmp_path / "plot.svg").exists()


def test_rounds_are_interleaved_and_begin_with_another_job_each() -> None:
    jobs = [Job("a", ()), Job("b", ()), Job("c", ())]
    assert "".join(job.name for job in rounds(jobs, 3)) == "abcbcacab"
