"""How much of the crash loop, and of two runs at the same time, is run, and how many cases that were."""

from __future__ import annotations

import pytest

CASES = "crash cases"
EVERY = {"few": 16, "some": 1}  # of the cases that a loop takes under "some", one in so many


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--crash",
        choices=["few", "some", "all"],
        default="few",
        help="how much of the crash loop, and of two runs at the same time",
    )


def one_in(config: pytest.Config, some: int) -> int:
    """Say of how many cases one is run: of one in `some` under --crash some, of each under all, of fewer otherwise."""
    asked = config.getoption("--crash")
    return 1 if asked == "all" else some * EVERY[asked]


def thorough(*values: object) -> list[object]:
    """Mark parameters of a test as those that make check passes over."""
    return [pytest.param(value, marks=pytest.mark.thorough) for value in values]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    found: dict[str, int] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == CASES and getattr(report, "when", "") == "call":
                    for key, count in value.items():
                        found[key] = found.get(key, 0) + count
    if found:
        terminalreporter.section("crash loop")
        for key, count in sorted(found.items()):
            terminalreporter.line(f"{count:6}  {key}")
        terminalreporter.line(f"{sum(found.values()):6}  cases in all")
