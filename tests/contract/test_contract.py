"""The model answers as real OpenZFS was heard to answer, and real OpenZFS still answers so."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import on_model
from .cases import CASES
from .conftest import Answers
from .normal import transcript
from .script import Case

RECORDED = Path(__file__).parent / "recorded"
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def recorded(case: Case) -> list[str]:
    return (RECORDED / f"{case.name}.txt").read_text().splitlines()


@every_case
def test_the_model_answers_as_recorded(case: Case) -> None:
    assert transcript(case, on_model.run(case)).splitlines() == recorded(case)


@every_case
def test_openzfs_answers_as_recorded(case: Case, openzfs: Answers) -> None:
    assert transcript(case, openzfs(case)).splitlines() == recorded(case)


def test_every_recording_has_its_case() -> None:
    assert {path.stem for path in RECORDED.glob("*.txt")} == {case.name for case in CASES}
    assert len({case.name for case in CASES}) == len(CASES)
