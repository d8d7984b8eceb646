"""Show what Debian's stable OpenZFS answers otherwise than recorded: `python -m tests.contract.compare [CASE…]`, with
the lab. It is read, not tested: what differs and matters to zrep has a test in tests/lab/test_stable.py."""

from __future__ import annotations

import difflib
import sys

from . import on_lab
from .cases import CASES
from .normal import transcript
from .test_contract import recorded


def main() -> None:
    from tests.lab.hosts import Lab

    lab = Lab.start(["beta"], stable=("beta",))
    try:
        for case in CASES:
            if sys.argv[1:] and case.name not in sys.argv[1:]:
                continue
            try:
                found = transcript(case, on_lab.run(lab["beta"], case)).splitlines()
            except Exception as error:  # a script that came to no end is worth a line, and the others a run
                print(f"--- {case.name}\n{type(error).__name__}: {error}", flush=True)
                continue
            for line in difflib.unified_diff(recorded(case), found, case.name, "stable", lineterm="", n=2):
                print(line, flush=True)
    finally:
        lab.down()


if __name__ == "__main__":
    main()
