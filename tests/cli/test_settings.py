"""/etc/default/zrep: plain settings, never executed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zrep.cli.settings import load_defaults
from zrep.core.errors import UsageError


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"ZREP_JOBS": "2"})


def load(folder: Path, text: str) -> list[str]:
    file = folder / "zrep"
    file.write_text(text)
    return load_defaults(str(file))


@pytest.mark.usefixtures("empty")
def test_settings_are_for_names_the_environment_does_not_have(tmp_path: Path) -> None:
    assert load(tmp_path, "# mine\n\nexport ZREP_STALL='30'\nZREP_JOBS=8\nSSH=\"ssh -4\"\nZREP_PATH=$HOME/zrep\n") == []
    found = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    assert found == {"ZREP_JOBS": "2", "ZREP_STALL": "30", "SSH": "ssh -4", "ZREP_PATH": "$HOME/zrep"}


@pytest.mark.usefixtures("empty")
def test_no_file_is_no_settings(tmp_path: Path) -> None:
    assert load_defaults(str(tmp_path / "none")) == []


@pytest.mark.usefixtures("empty")
def test_what_looks_meant_for_zrep_and_is_not_known_comes_back(tmp_path: Path) -> None:
    [line] = load(tmp_path, "LANG=C\nZREP_JOB=8\nZREP_JOBS=8\n")
    assert line.endswith("/zrep line 2: ZREP_JOB is no setting of zrep, see ENVIRONMENT in zrep(8)")


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("line", ["ZREP_JOBS", "if true; then", "zrep_jobs=8", "ZREP_JOBS =8"])
def test_any_other_line_is_an_error_that_names_it(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match="line 2 is not NAME=value"):
        load(tmp_path, f"ZREP_STALL=30\n{line}\n")
