"""A short run of the simulation; `make simulate` runs it for as long as you like."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.ops.simulation import Simulation


@pytest.mark.parametrize("examples", [5, pytest.param(60, marks=pytest.mark.thorough)])
def test_whatever_happens_in_any_order(pytestconfig: pytest.Config, examples: int) -> None:
    """The same examples in every run, unless --hypothesis-seed asks for others."""
    seeded = pytestconfig.getoption("--hypothesis-seed") is not None
    chosen = settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        database=None,
        derandomize=not seeded,
        suppress_health_check=list(HealthCheck),  # they look at the clock
    )
    run_state_machine_as_test(Simulation, settings=chosen)
