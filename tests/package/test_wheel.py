"""What pip installs: every module, and the manual and completions where man and the shells find them by themselves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from email.message import Message
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.docs.test_docs import tool
from zrep import __version__

ROOT = Path(__file__).parents[2]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q"]
SOURCES = ("zrep", "man", "completions", "pyproject.toml", "README.md", "LICENSE")


pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working tree's wheel, built without the network."""
    if int(version("setuptools").split(".")[0]) < 77:
        pytest.fail("the virtual environment is older than pyproject.toml: make .venv/.ready")
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:  # a copy: building leaves folders behind
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / "tree" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / "tree" / name)
    build = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(folder / "tree")]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def prefix(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where that wheel is installed."""
    where = tmp_path_factory.mktemp("prefix")
    install = [*PIP, "install", "--ignore-installed", "--no-deps", "--no-index", "--prefix", str(where), str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    return where


@pytest.fixture
def share(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its share folder, as one of those that programs look into (as /usr/local/share is); its zrep is on the PATH."""
    monkeypatch.setenv("PATH", f"{prefix / 'bin'}:{os.environ['PATH']}")  # fish completes commands that there are
    monkeypatch.setenv("XDG_DATA_DIRS", f"{prefix / 'share'}:/usr/share")
    return prefix / "share"


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def asked(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


def test_the_name_is_not_that_of_another_program_on_pypi(wheel: Path) -> None:
    told = metadata(wheel)
    assert (told["Name"], told["Version"]) == ("zrep-zfs", __version__)
    readme = (ROOT / "README.md").read_text()
    assert "`zrep` on PyPI is another program" in readme
    assert not re.search(r"pip\S* install [^\n]*\bzrep$", readme, re.MULTILINE)


def test_metadata_is_complete(wheel: Path) -> None:
    told = metadata(wheel)
    assert told["License-Expression"] == "MIT"
    assert told["License-File"] == "LICENSE"
    assert told["Author"] == "the zrep developers"
    assert told["Requires-Python"] == ">=3.11"
    assert told["Summary"]
    assert told.get_all("Project-URL")
    topics = {line.split(" :: ")[0] for line in told.get_all("Classifier") or []}
    assert {"Development Status", "Intended Audience", "Operating System", "Programming Language", "Topic"} <= topics


def test_every_module_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("zrep/")}
    tree = {str(path.relative_to(ROOT)) for path in (ROOT / "zrep").rglob("*.py")}
    assert packed == tree | {"zrep/py.typed"}


def test_the_command_is_zrep(prefix: Path) -> None:
    assert [path.name for path in (prefix / "bin").iterdir()] == ["zrep"]


def test_man_finds_the_manual(share: Path) -> None:
    assert sorted(path.name for path in (share / "man").rglob("*.*")) == sorted(
        path.name for path in (ROOT / "man").iterdir()
    )
    for page in (share / "man").rglob("*.[1-8]"):
        assert page.parent.name == f"man{page.suffix[1:]}"


def test_bash_finds_the_completion(share: Path) -> None:
    load = ". /usr/share/bash-completion/bash_completion; _completion_loader zrep; complete -p zrep"
    assert "-F _zrep zrep" in asked(tool("bash"), "--norc", "-c", load)


def test_fish_finds_the_completion(share: Path) -> None:
    assert "failover" in asked(tool("fish"), "-c", "complete -C 'zrep failo'")


def test_zsh_finds_the_completion(share: Path, tmp_path: Path) -> None:
    look = f"fpath=({share}/zsh/site-functions $fpath); autoload -Uz compinit; compinit -u -d {tmp_path}/dump; "
    assert asked(tool("zsh"), "-f", "-c", look + "print $_comps[zrep]").strip() == "_zrep"


def test_everything_is_below_the_prefix_that_it_was_given(prefix: Path) -> None:
    there = {str(path.relative_to(prefix)).split(os.sep)[0] for path in prefix.rglob("*")}
    assert there == {"bin", "lib", "share"}
