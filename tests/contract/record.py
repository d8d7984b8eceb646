"""Write down what real OpenZFS answers: `python -m tests.contract.record [CASE…]`, with the lab."""

from __future__ import annotations

import sys
from pathlib import Path

from . import on_lab
from .cases import CASES
from .normal import transcript

RECORDED = Path(__file__).parent / "recorded"


def record(host: on_lab.Runner, names: list[str]) -> None:
    RECORDED.mkdir(exist_ok=True)
    for case in CASES:
        if not names or case.name in names:
            (RECORDED / f"{case.name}.txt").write_text(transcript(case, on_lab.run(host, case)))


def main() -> None:
    from tests.lab.hosts import Lab

    lab = Lab.start(["alpha"])
    try:
        record(lab["alpha"], sys.argv[1:])
    finally:
        lab.down()


if __name__ == "__main__":
    main()
