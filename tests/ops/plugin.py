"""How much of the crash loop, and of two runs at the same time, is run, and how many cases that were."""

from __future__ import annotations

import pytest

CASES = "crash cases"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--crash",
        choices=["some", "all"],
        default="some",
        help="how much of the crash loop, and of two runs at the same time",
    )


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
