"""What is being done goes on to its end whether or not anybody can be told; the exit code tells."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PRELUDE = "import sys; from zrep.cli import main as cli; sys.argv = ['zrep', 'sync', 'all'];"


def ended(program: str, redirect: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in place of zrep, its output going somewhere by a shell."""
    return subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {redirect}', sys.executable, PRELUDE + textwrap.dedent(program)],
        capture_output=True, text=True, env={**os.environ, **environment}, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("redirect", "code"),
    [(">/dev/null", 0), (">/dev/full", 1), (">&-", 0), ("2>&-", 0), ("2>/dev/full", 1), (">&- 2>&-", 0)],
)
def test_an_output_that_fails_ends_nothing_half_way(tmp_path: Path, redirect: str, code: int) -> None:
    done = tmp_path / "done"
    program = f"""
        def work(arguments):
            for number in range(3):
                print("said" * 5000, flush=True)
                print("complained" * 5000, file=sys.stderr, flush=True)
            open({str(done)!r}, "w").close()
            return 0
        cli._dispatch = work
        cli.main()
    """
    told = ended(program, redirect)
    assert told.returncode == code
    assert done.exists()
    says = "zrep: not all of its output could be written (No space left on device); what it was to do is done\n"
    assert told.stderr.endswith(says) is (redirect == ">/dev/full")


@pytest.mark.parametrize("words", ["help", "sync --help", "version", "-V"])
def test_what_only_prints_does_not_say_that_anything_is_done(words: str) -> None:
    program = f"sys.argv = ['zrep', *{words.split()}]; cli.main()"
    told = ended(program, ">/dev/full")
    said = "zrep: not all of its output could be written (No space left on device)\n"
    assert (told.returncode, told.stderr) == (1, said)


def test_a_reader_that_has_gone_is_no_failure(tmp_path: Path) -> None:
    done = tmp_path / "done"
    program = f"""
        def work(arguments):
            for number in range(100):
                print("said" * 5000, flush=True)
            open({str(done)!r}, "w").close()
            return 0
        cli._dispatch = work
        cli.main()
    """
    told = ended(program, "| true")
    assert (told.stderr, done.exists()) == ("", True)


def test_a_bug_is_reported_where_no_file_can_be_made(tmp_path: Path) -> None:
    program = """
        def work(arguments):
            raise LookupError("surprise")
        cli._dispatch = work
        cli.main()
    """
    nowhere = str(tmp_path / "nowhere")
    import_first = f"import tempfile; tempfile.tempdir = {nowhere!r}\n"
    told = ended(import_first + textwrap.dedent(program), "")
    assert told.returncode == 70
    assert "LookupError: surprise" in told.stderr
    assert told.stderr.splitlines()[-1].startswith("zrep: a bug in zrep: LookupError('surprise'); next: please report")
    assert "Traceback" in told.stderr


def test_the_report_of_a_bug_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    """It names filesystems and hosts; nobody can have put a file in its place, under a name that is new each time."""
    program = f"""
        import os, tempfile
        os.umask(0)
        tempfile.tempdir = {str(tmp_path)!r}
        def work(arguments):
            raise LookupError("surprise")
        cli._dispatch = work
        cli.main()
    """
    told = [ended(program, "") for _ in range(2)]
    reports = list(tmp_path.glob("zrep-bug-*.txt"))
    assert [path.stat().st_mode & 0o777 for path in reports] == [0o600] * 2
    assert {each.stderr.rpartition(" ")[2].strip() for each in told} == {str(path) for path in reports}
    assert all("LookupError: surprise" in path.read_text() for path in reports)
    assert all("Traceback" not in each.stderr for each in told)


def test_a_name_of_another_alphabet_is_printed_in_a_plain_locale() -> None:
    program = """
        def work(arguments):
            print("\\u00fc")
            return 0
        cli._dispatch = work
        cli.main()
    """
    told = ended(program, "", LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert (told.returncode, told.stdout) == (0, "\\xfc\n")
