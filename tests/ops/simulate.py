"""The simulation for as long as you like: python -m tests.ops.simulate --seconds 600 [--seed S].

It goes in rounds, each with the next seed. Time only decides after which round it ends, so that the seed of a round
is all that is needed to see it again.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.ops.hosts import in_order
from tests.ops.simulation import Simulation, counted
from tests.ops.simulation.layouts import LAYOUTS, drawn

EXAMPLES = 40
STEPS = 30


def one_round(number: int, shrink: bool = True) -> BaseException | None:
    """What went wrong with one seed, shrunk by hypothesis if wanted; None when all went well."""
    machine = seed(number)(type("Simulation", (Simulation,), {}))
    chosen = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(machine, settings=chosen)
    except Exception as error:
        return error
    return None


def tell(number: int, error: BaseException) -> None:
    """The shrunk example is a note of hypothesis's on the error: as it stands it can be pasted into a test."""
    print(f"\nviolation with seed {number}: {type(error).__name__}: {error}")
    print("\n".join(getattr(error, "__notes__", [])))
    print(f"\nto see it again: python -m tests.ops.simulate --seconds 0 --seed {number}")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.ops.simulate")
    parser.add_argument("--seconds", type=float, default=600, help="begin no further round after this time")
    parser.add_argument("--seed", type=int, default=None, help="of the first round")
    parser.add_argument("--layout", choices=list(LAYOUTS), help="what stands on the hosts; any, when not given")
    parser.add_argument("--no-shrink", action="store_true", help="end at the first violation, however long its story")
    given = parser.parse_args(argv)
    if given.layout:
        drawn[:] = [given.layout]
    first: int = secrets.randbelow(1_000_000_000) if given.seed is None else given.seed
    print(f"seed {first}", flush=True)
    started = time.monotonic()
    rounds, error = 0, None
    with in_order():
        while error is None and (rounds == 0 or time.monotonic() - started < given.seconds):
            error = one_round(first + rounds, shrink=not given.no_shrink)
            rounds += 1
            print(".", end="", flush=True)
    took = time.monotonic() - started
    print()
    if error is not None:
        tell(first + rounds - 1, error)
    for what, count in sorted(counted.items()):
        print(f"{count:8}  {what}")
    print(f"seed {first}, {rounds} rounds, {counted['examples']} examples, {counted['steps']} steps in {took:.0f} s")
    speed = f"{counted['steps'] / took:.0f} steps/s, {counted['runs'] / took:.0f} runs of zrep/s"
    print(f"{speed}, violations: {1 if error else 0}")
    return 1 if error is not None else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
