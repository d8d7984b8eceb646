"""What fails among others is run once more, alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.again import FEW, run

PASSES = "def test_passes(): pass\n"
FAILS = "def test_fails(): assert False\n"
# Fails the first time only, as one that was starved by its neighbours.
FAILS_ONCE = """
from pathlib import Path
def test_fails_once():
    mark = Path(__file__).with_suffix('.seen')
    seen = mark.exists()
    mark.touch()
    assert seen
"""


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("tests", "code", "said"),
    [
        ([PASSES], 0, ()),
        ([PASSES, FAILS_ONCE], 0, ("Once more, alone:", "passed alone", "test_1.py::test_fails_once")),
        ([FAILS, FAILS_ONCE], 1, ("Once more, alone:", "test_0.py::test_fails")),
        ([FAILS_ONCE] * (FEW + 1), 1, ()),
        ([], 5, ()),
        (["import nothing_of_the_kind\n", PASSES], 2, ()),
    ],
    ids=["all pass", "fails among others", "fails alone", "more than a few", "there is none", "cannot be read"],
)
def test_what_fails_is_run_once_more_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], tests: list[str], code: int, said: tuple[str, ...]
) -> None:
    for number, text in enumerate(tests):
        (tmp_path / f"test_{number}.py").write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    assert run(["-q", "-c", str(tmp_path / "pytest.ini"), "--rootdir", str(tmp_path), "-n", "0", str(tmp_path)]) == code
    out = capfd.readouterr().out
    assert all(words in out for words in said)
    assert ("passed alone" in out) == ("passed alone" in said)
    assert ("Once more" in out) == bool(said)
