"""/etc/default/zrep: plain settings, never executed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zrep.cli.settings import SETTINGS, Defaults, load_defaults, number, read_settings
from zrep.core.errors import RefusedError, UsageError
from zrep.core.settings import Settings


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"ZREP_JOBS": "2"})


def load(folder: Path, text: str) -> Defaults:
    file = folder / "zrep"
    file.write_text(text)
    return load_defaults(str(file))


@pytest.mark.usefixtures("empty")
def test_settings_are_for_names_the_environment_does_not_have(tmp_path: Path) -> None:
    assert (
        load(tmp_path, "# mine\n\nexport ZREP_STALL='30'\nZREP_JOBS=8\nSSH=\"ssh -4\"\nZREP_PATH=$HOME/zrep\n")
        == Defaults()
    )
    found = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    assert found == {"ZREP_JOBS": "2", "ZREP_STALL": "30", "SSH": "ssh -4", "ZREP_PATH": "$HOME/zrep"}


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("SSH=${SSH:-ssh -4}", "ssh -4"),
        ('SSH="${SSH:-ssh -4}"', "ssh -4"),
        ("SSH=${SSH-'ssh -4'}", "ssh -4"),
        ("export SSH=${SSH:-}", ""),
        ("SSH=${OTHER:-ssh}", "${OTHER:-ssh}"),
        ("SSH=${SSH:-$(id)}", "${SSH:-$(id)}"),
    ],
)
def test_a_default_as_the_file_of_the_shell_zrep_says_it(tmp_path: Path, line: str, value: str) -> None:
    assert load(tmp_path, f"{line}\nZREP_JOBS=${{ZREP_JOBS:-8}}\n") == Defaults()
    assert (os.environ["SSH"], os.environ["ZREP_JOBS"]) == (value, "2")


@pytest.mark.usefixtures("empty")
def test_no_file_is_no_settings(tmp_path: Path) -> None:
    assert load_defaults(str(tmp_path / "none")) == Defaults()


@pytest.mark.usefixtures("empty")
def test_what_looks_meant_for_zrep_and_is_not_known_comes_back(tmp_path: Path) -> None:
    [line] = load(tmp_path, "LANG=C\nZREP_JOB=8\nZREP_JOBS=8\n").unknown
    assert line.endswith("/zrep line 2: ZREP_JOB is no setting of zrep, see ENVIRONMENT in zrep(8)")


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("line", ["ZREP_JOBS", "if true; then", "zrep_jobs=8", "ZREP_JOBS =8"])
def test_any_other_line_is_an_error_that_names_it(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match="line 2 is not NAME=value"):
        load(tmp_path, f"ZREP_STALL=30\n{line}\n")


def test_an_environment_that_says_nothing_leaves_the_defaults() -> None:
    assert read_settings({}) == Settings()
    assert read_settings(dict.fromkeys(("ZREP_RUNDIR", "ZREP_STALL", "SSH", "ZREPTAG", "ZREP_HOOKS"), "")) == Settings()


def test_everything_it_may_say_is_read() -> None:
    said = {
        "ZREP_HOST": "alpha",
        "ZREP_RUNDIR": "/run",
        "ZREP_HOOKS": "/hooks",
        "ZREP_LIBRARY": "no",
        "ZREP_STALL": "30.5",
        "USER": "bob",
        "SSH": "ssh -4",
        "ZREP_PATH": "/opt/zrep",
        "ZREPTAG": "off",
        "ZREP_SKIP_EXPIRE": "1",
        "ZREP_JOBS": "2",
        "ZREP_FENCE_CMD": "off beta",
        "ZREP_SAVE_COUNT": "9",
        "ZREP_SRC_HOST": "alpha.lan",
        "ZREP_SEND_FLAGS": "",
        "ZREP_OUTFILTER": "pigz",
        "ZREP_INFILTER": "pigz -d",
        "ZREP_FILTERS": "/filters",
        "ZREP_AFTER": "90s",
        "ZREP_SYSLOG": "no",
        "ZREP_R": "-R",
        "ZREP_INC_FLAG": "-I",
    }
    assert set(said) - {"USER"} == SETTINGS
    found = read_settings(said)
    assert found == Settings(
        *("alpha", "/run", "/hooks", False, 30.5, "bob", "ssh -4", "/opt/zrep", "off", False, "2", "off beta", "9"),
        *("alpha.lan", "", "pigz", "pigz -d", False, "/filters", (), False, 90, True, True),
    )


@pytest.mark.parametrize("name", ["ZREP_CREATE_FLAGS", "ZREP_INIT_REMOTE_PROPERTIES"])
def test_what_gave_a_replica_its_properties_is_known_not_to_be_read(name: str) -> None:
    assert read_settings({name: "-o compression=on"}).not_read == name


@pytest.mark.parametrize("said", [{"ZREP_STALL": "soon"}, {"ZREPTAG": "a b"}])
def test_a_value_that_makes_no_sense_is_a_usage_error(said: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        read_settings(said)


@pytest.mark.parametrize(("text", "found"), [("", None), ("1", 1), ("8", 8)])
def test_a_number_is_read_by_the_command_that_uses_it(text: str, found: int | None) -> None:
    assert number("ZREP_JOBS", text, 1, 8) == found


@pytest.mark.parametrize("text", ["0", "9", "-1", "two", "1.5", "²"])
def test_a_number_out_of_its_range_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="ZREP_JOBS"):
        number("ZREP_JOBS", text, 1, 8)


@pytest.mark.usefixtures("empty")
def test_the_filters_of_the_file_are_those_that_root_allows(tmp_path: Path) -> None:
    os.environ["ZREP_INFILTER"] = "from the environment"
    assert load(tmp_path, "ZREP_OUTFILTER='zstd -3'\nZREP_INFILTER=zstd -d\n").filters == ("zstd -3", "zstd -d")


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("mode", [0o664, 0o666, 0o602])
def test_a_file_that_others_could_have_written_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "zrep"
    file.write_text("SSH=/tmp/evil\n")
    file.chmod(mode)
    with pytest.raises(RefusedError) as refused:
        load_defaults(str(file))
    assert f"has mode {mode:o}: others may write to it" in refused.value.line()
    assert "SSH" not in os.environ
