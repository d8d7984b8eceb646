"""The documents say what the program has, and nothing it has not: checked against the program itself."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer.main

from zrep.cli.document import Document
from zrep.cli.fields import FIELDS
from zrep.cli.main import _GLOBAL_WITH_VALUE, _watch_seconds
from zrep.cli.parser import app
from zrep.cli.words import SHORT
from zrep.core import errors
from zrep.core.age import NOT_SYNCED, SENDING
from zrep.core.errors import worst
from zrep.core.names import EXCLUDE, FOLLOWED, MADE, ROLE_PROPERTIES, SENT
from zrep.core.pair_state import State
from zrep.core.shape import COMPRESSORS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
MAN = ROOT / "man/zrep.8"
BASH = ROOT / "completions/zrep.bash"
ZSH = ROOT / "completions/_zrep"
FISH = ROOT / "completions/zrep.fish"
KEPT = ROOT / "man/zrep-properties.7"
MONITORING = ROOT / "docs/monitoring.md"
DOCUMENTS = (
    README,
    MAN,
    ROOT / "man/zrep-recovery.7",
    KEPT,
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
)

HELP = {"-h", "--help"}
# zrep.cli.main answers these before any command line is parsed.
VERSION = {"-V", "--version"}
GROUP: Any = typer.main.get_command(app)  # typer exports no types for what it is made of


def visible(command: Any) -> set[str]:
    """The options of a command that its help shows, --help aside."""
    return {
        name
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.hidden
        for name in (*parameter.opts, *parameter.secondary_opts)
    } - HELP


def shortest(command: Any) -> set[str]:
    """The same, of an option with two forms only the short one."""
    short = {name for name in visible(command) if not name.startswith("--")}
    pairs = [set(parameter.opts) for parameter in command.params if len(parameter.opts) > 1]
    return visible(command) - {name for pair in pairs if pair & short for name in pair - short}


COMMANDS: dict[str, set[str]] = {name: visible(command) for name, command in GROUP.commands.items()}
GLOBAL = visible(GROUP)
LONG = dict(SHORT)
SOURCES = "\n".join(path.read_text() for path in sorted((ROOT / "zrep").rglob("*.py")))


def tool(name: str) -> str:
    """The full path of a program that `make check` installs; without it only the one test is skipped, never in CI."""
    found = shutil.which(name)
    if found is None:
        message = f"{name} is not installed here (make check installs it)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def run(*argv: str, **environment: str) -> str:
    """What a program prints; the test fails when it does, or when it has complaints."""
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, env={**os.environ, **environment}, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def programs(tmp_path: Path) -> str:
    """A PATH with a zfs and a zrep that know a few filesystems; each zrep call is noted in the file `calls`."""
    for name, text in {
        "zfs": r"printf 'tank\ntank/my data\ntank/a:b\nrpool\n'",
        "zrep": rf"echo \"$@\" >>'{tmp_path}/calls'; printf 'tank/my data\tmaster\tbeta:t\ntank/a:b\tmaster\tbeta:u\n'",
    }.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{text}\n".replace('\\"', '"'))
        program.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


# --- the man page ---


def man_sections() -> dict[str, str]:
    return dict(re.findall(r"^\.Sh ([A-Z ]+)\n(.*?)(?=^\.Sh |\Z)", MAN.read_text(), re.MULTILINE | re.DOTALL))


def man_flags(text: str) -> set[str]:
    """The options that tagged paragraphs of a piece of mdoc explain."""
    lines = re.findall(r"^\.It (Fl .*)$", text, re.MULTILINE)
    return {f"-{flag}" for line in lines for flag in re.findall(r"Fl (-?[A-Za-z][\w-]*)", line)}


def test_man_page_has_every_command_and_option_and_no_other() -> None:
    text = man_sections()["COMMANDS"]
    found = dict(re.findall(r"^\.Ss (\S+)\n(.*?)(?=^\.Ss |\Z)", text, re.MULTILINE | re.DOTALL))
    assert {name: man_flags(part) for name, part in found.items()} == COMMANDS
    shorts = {name: re.search(r"^Short form:\n\.Fl (\w) \.$", part, re.MULTILINE) for name, part in found.items()}
    assert {f"-{match[1]}": name for name, match in shorts.items() if match} == LONG


def test_man_page_explains_the_global_options() -> None:
    text = man_sections()["DESCRIPTION"]
    part = re.search(r"\.Ss Options before the command\n(.*?)(?=^\.Ss )", text, re.MULTILINE | re.DOTALL)
    assert part is not None
    assert man_flags(part[1]) == GLOBAL | HELP | VERSION


def test_synopsis_names_every_command_with_its_options() -> None:
    found: dict[str, set[str]] = {}
    for part in man_sections()["SYNOPSIS"].split(".Nm\n")[1:]:
        name = re.findall(r"^\.Cm (\w+)$", part, re.MULTILINE)[0]
        after = part.split(f".Cm {name}\n")[1]
        for word in re.findall(r"Fl (\S+)", after):
            flags = {f"-{word}"} if word.startswith("-") else {f"-{letter}" for letter in word}
            found.setdefault(name, set()).update(flags)
        found.setdefault(name, set())
    assert found == {name: shortest(command) for name, command in GROUP.commands.items()}


@pytest.mark.parametrize("page", [path.name for path in sorted((ROOT / "man").glob("*.[1-8]"))])
def test_man_page_is_clean(page: str) -> None:
    done = subprocess.run(
        [tool("mandoc"), "-T", "lint", str(ROOT / "man" / page)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # Whether other manuals are installed on this machine is not this page's fault.
    complaints = [line for line in done.stdout.splitlines() if "referenced manual not found" not in line]
    assert complaints == []


# --- completions ---
# Each shell is asked once for many lines: starting one takes longer than all of its answers.


def ask(out: str, lines: Sequence[str]) -> dict[str, set[str]]:
    """Answers that a shell printed in blocks, one for each line, each begun with a line "==="."""
    blocks = out.split("===\n")[1:]
    assert len(blocks) == len(lines)
    return {line: set(block.splitlines()) for line, block in zip(lines, blocks, strict=True)}


def completed_by_bash(*lines: str, **environment: str) -> dict[str, set[str]]:
    script = (
        'source "$1"; shift; complete -p zrep | grep -q -- "-F _zrep zrep" || exit 9; '
        'for line in "$@"; do echo ===; COMP_LINE=$line COMP_POINT=${#line}; COMPREPLY=(); _zrep; '
        '(( ${#COMPREPLY[@]} )) && printf "%s\\n" "${COMPREPLY[@]}"; done; exit 0'
    )
    return ask(run(tool("bash"), "--norc", "-c", script, "bash", str(BASH), *lines, **environment), lines)


def completed_by_fish(*lines: str, **environment: str) -> dict[str, set[str]]:
    script = (
        "source $argv[1]; for line in $argv[2..]; echo ===; complete -C $line | string replace -r '\\t.*' ''; end; true"
    )
    return ask(run(tool("fish"), "--no-config", "-c", script, str(FISH), *lines, **environment), lines)


def specified_by_zsh(*lines: str) -> dict[str, set[str]]:
    """What the zsh completion gives to _arguments when the last word of a line is to be completed."""
    script = (
        '_arguments() { print -rl -- "$@" }; file=$1; shift; '
        'for line in "$@"; do print -r -- "==="; ( words=("${(@s: :)line}"); CURRENT=$#words; source $file ); done'
    )
    return ask(run(tool("zsh"), "-f", "-c", script, "zsh", str(ZSH), *lines), lines)


def completed_by_zsh(*lines: str, home: Path, **environment: str) -> dict[str, set[str]]:
    """What a zsh on a terminal offers for each line: the whole way, through its own completion system."""
    zsh = tool("zsh")
    (home / "inner").write_text(
        f"PS1=; unsetopt beep; TERM=dumb; LISTMAX=100000; fpath=({shlex.quote(str(ZSH.parent))} $fpath)\n"
        f"autoload -Uz compinit; compinit -u -d {shlex.quote(str(home / 'dump'))}\n"
        'compadd() { local -a hits; builtin compadd -O hits "$@"; print -rl -- "<hit>"${^hits}"<end>"; '
        'builtin compadd "$@" }\n'
        "integer n=0; say-done() { print \"<done $((++n))>\" }; zle -N say-done; bindkey '^X' say-done\n"
        "bindkey '^I' list-choices; bindkey '^U' kill-whole-line; print '<ready>'\n"
    )
    (home / "outer").write_text(
        f"""
zmodload zsh/zpty
integer deadline=$((SECONDS + 50)) number=0
expect() {{
  local out
  until [[ $all == *$1* ]]; do
    (( SECONDS < deadline )) || {{ print -r -- "no $1 in: $all" >&2; exit 1 }}
    zpty -r -t z out && all+=$out || sleep 0.02
  done
}}
zpty z {shlex.quote(zsh)} -f -i
zpty -w z 'stty -echo; source {shlex.quote(str(home / "inner"))}'
expect '<ready>'
for line in "$@"; do
  zpty -w -n z $'\\x15'$line$'\\t\\x18'
  expect "<done $((++number))>"
done
zpty -d z
print -r -- $all
"""
    )
    out = run(zsh, "-f", str(home / "outer"), *lines, **environment)
    answers = re.split(r"<done \d+>", out)
    assert len(answers) == len(lines) + 1
    return {line: set(re.findall(r"<hit>(.*?)<end>", text)) for line, text in zip(lines, answers, strict=False)}


def flags_of(specifications: Iterable[str]) -> set[str]:
    """Options of _arguments specifications: (-x --long)-x[text], --long[text]:value:action."""
    found = {re.match(r"(?:\([^)]*\)|\*)?(-[\w-]+)\[", text) for text in specifications}
    return {match[1] for match in found if match}


# Every way to name a command: itself, its short form, and after a tag.
OPTION_LINES = {
    **{f"zrep {name} -": name for name in COMMANDS},
    **{f"zrep -t other {name} -": name for name in COMMANDS},
    **{f"zrep {short} -": name for short, name in LONG.items()},
}
OPTIONS = {line: COMMANDS[name] | HELP for line, name in OPTION_LINES.items()}
COMMAND_LINES = {
    "zrep sy": {"sync"},
    "zrep ": set(COMMANDS),
    "zrep -t other ": set(COMMANDS),
    "zrep -": GLOBAL | HELP | VERSION,
}
VALUE_LINES = {
    "zrep list -o ": set(FIELDS),
    "zrep status -S ": set(FIELDS),
    "zrep changeconfig --compress ": {*COMPRESSORS, "none"},
    "zrep changeconfig --unsent ": {"keep", "drop"},
    "zrep list --color ": {"auto", "always", "never"},
}


@pytest.mark.parametrize(("shell", "file"), [("bash", BASH), ("zsh", ZSH), ("fish", FISH)])
def test_completion_syntax(shell: str, file: Path) -> None:
    run(tool(shell), "-n", str(file))


def test_bash_completes_options_and_commands() -> None:
    assert completed_by_bash(*OPTIONS) == OPTIONS
    assert completed_by_bash(*COMMAND_LINES) == COMMAND_LINES
    assert completed_by_bash(*VALUE_LINES) == VALUE_LINES


def test_fish_completes_options_and_commands() -> None:
    assert completed_by_fish(*OPTIONS) == OPTIONS
    assert completed_by_fish(*COMMAND_LINES) == COMMAND_LINES
    assert completed_by_fish(*VALUE_LINES) == VALUE_LINES


def test_zsh_completes_options_and_commands() -> None:
    assert {line: flags_of(found) for line, found in specified_by_zsh(*OPTIONS).items()} == OPTIONS
    assert flags_of(specified_by_zsh("zrep -")["zrep -"]) == GLOBAL | HELP | VERSION
    block = re.search(r"commands=\(\n(.*?)\n  \)", ZSH.read_text(), re.DOTALL)
    assert block is not None
    assert set(re.findall(r"^ +'(\w+):", block[1], re.MULTILINE)) == set(COMMANDS)


def test_bash_completes_filesystems(programs: str, tmp_path: Path) -> None:
    expected = {
        "zrep init t": {"tank", r"tank/my\ data", "tank/a:b"},
        r"zrep init tank/my\ d": {r"tank/my\ data"},
        "zrep init --savecount 5 r": {"rpool"},
        "zrep failover tank/a:": {"b"},  # readline replaces only what follows a colon
        "zrep failover tank/x ": set(),
        "zrep sync ": {"all", r"tank/my\ data", "tank/a:b"},
        "zrep -t other rejoin ": {r"tank/my\ data", "tank/a:b"},
    }
    assert completed_by_bash(*expected, PATH=programs) == expected
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == ["list -H -L", "list -H -L", "-t other list -H"]


def test_fish_completes_filesystems(programs: str, tmp_path: Path) -> None:
    expected = {
        "zrep init t": {"tank", "tank/my data", "tank/a:b"},
        "zrep init --savecount 5 r": {"rpool"},
        "zrep failover tank/x ": set(),
        "zrep sync ": {"all", "tank/my data", "tank/a:b"},
        "zrep -t other rejoin ": {"tank/my data", "tank/a:b"},
    }
    assert completed_by_fish(*expected, PATH=programs) == expected
    assert (tmp_path / "calls").read_text().splitlines() == ["list -H -L", "-t other list -H"]


def test_zsh_completes_on_a_terminal(programs: str, tmp_path: Path) -> None:
    expected = {
        "zrep sy": {"sync"},
        "zrep init r": {"rpool"},
        "zrep sync ": {"all", "tank/my data", "tank/a:b"},
        "zrep -t other rejoin ": {"tank/my data", "tank/a:b"},
        **VALUE_LINES,
    }
    assert completed_by_zsh(*expected, home=tmp_path, PATH=programs) == expected
    assert (tmp_path / "calls").read_text().splitlines() == ["list -H -L", "-t other list -H"]


# --- names the documents explain ---


def table(document: Path, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    part = f"\n{document.read_text()}".split(f"\n{heading}\n", 1)[1]
    found = re.search(r"(?:^\|.*\n)+", part, re.MULTILINE)
    assert found is not None
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found[0].splitlines()[2:]]


def in_code(cells: Sequence[str]) -> set[str]:
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_environment_is_documented() -> None:
    named = set(re.findall(r'"(SSH|ZREP[A-Z_]*)"', SOURCES))
    read = set(re.findall(r'os\.environ(?:\.get\(|\[)"(\w+)"', SOURCES)) - {"PATH", "USER"}
    given = set(re.findall(r'"(ZREP_[A-Z_]+)": ', SOURCES))  # to a command, not read
    names = (named | read) - given
    assert given
    assert all(f".Sy {name}" in (ROOT / "man/zrep.8").read_text() for name in given)
    manual = re.findall(r"^\.It Ev (.+)$", man_sections()["ENVIRONMENT"], re.MULTILINE)
    assert {name for line in manual for name in line.split(" , ")} == names


def test_fields_of_list_and_status_are_documented() -> None:
    columns = re.findall(r"^\.It ([A-Z]+)$", man_sections()["COMMANDS"], re.MULTILINE)
    part = man_sections()["COMMANDS"].split("Fields for\n")[1].split(".Pp")[0]
    assert (*(name.lower() for name in columns), *re.findall(r"^\.Cm (\w+)", part, re.MULTILINE)) == tuple(FIELDS)
    text = MONITORING.read_text()
    more = re.search(r"^More fields for `-o`: (.*)$", text, re.MULTILINE)
    assert more is not None
    rows = [row[1].lower() for row in table(MONITORING, "# Monitoring")]
    assert (*rows, *re.findall(r"`(\w+)`", more[1])) == tuple(FIELDS)


def test_what_json_holds_is_documented() -> None:
    items = re.findall(r"^\.It Sy (.*)$", man_sections()["JSON"], re.MULTILINE)
    assert {name for item in items for name in item.split(" , ")} == set(Document.__struct_fields__)


def test_exit_codes_are_documented() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ZrepError)]
    cli = (ROOT / "zrep/cli/main.py").read_text()
    codes = {*(kind.exit_code for kind in kinds), *map(int, re.findall(r"^ +return (\d+)$", cli, re.MULTILINE))}
    manual = re.findall(r"^\.It (\d+)$", man_sections()["EXIT STATUS"], re.MULTILINE)
    assert set(map(int, manual)) == codes
    assert {int(row[0]) for row in table(MONITORING, "## Exit codes")} == codes


def test_order_of_exit_codes_is_documented() -> None:
    order = ", ".join(map(str, errors._SEVERITY))
    assert order in man_sections()["EXIT STATUS"]
    assert order in MONITORING.read_text()


def test_properties_are_documented() -> None:
    names = {f"zrep:{name}" for name in (*ROLE_PROPERTIES, MADE, SENT, EXCLUDE)}
    manual = [
        name
        for line in re.findall(r"^\.It Sy (zrep:.*)$", KEPT.read_text(), re.MULTILINE)
        for name in line.split(" , ")
    ]
    assert sorted(manual) == sorted(names)


def test_no_entry_sends_its_reader_elsewhere() -> None:
    assert not re.findall(r"^\.It .*\nSee above\.$", MAN.read_text(), re.MULTILINE)


def test_what_follows_is_documented() -> None:
    section = man_sections()["PROPERTIES THAT FOLLOW"].partition("These follow:")[2].partition(".Pp")[0]
    assert re.findall(r"[a-z_]{3,}", section) == list(FOLLOWED)


def test_states_are_documented() -> None:
    manual = re.findall(r"^\.It ([a-z ]+)$", man_sections()["COMMANDS"], re.MULTILINE)
    told = [row[0].strip("`") for row in table(MONITORING, "## States")]
    assert set(manual) == set(told)
    assert set(manual) == {state.word for state in State}


def test_causes_of_what_is_late_are_documented() -> None:
    """Every state that may be late by age: none that is worse, or that age says nothing of."""
    hidden = {State.OK, State.LATE, State.SPLIT_COPY}
    late = {state.word for state in State if worst((state.code, 1)) == 1 != state.code and state not in hidden}
    manual = man_sections()["COMMANDS"].partition(".Cm cause :\n")[2].partition(".It ")[0]
    assert set(re.findall(r"^\.Dq ([a-z ]+?)(?: ,)?$", manual, re.MULTILINE)) == {NOT_SYNCED, SENDING, *late}
    told = MONITORING.read_text().partition("the field `cause` says why")[2].partition("For a person")[0]
    assert in_code([told]) - {"detail"} == {NOT_SYNCED, SENDING, *late}
    assert all(cause in FIELDS["cause"].meaning for cause in (NOT_SYNCED, SENDING, *late))


def test_exit_codes_of_states_are_documented() -> None:
    codes = {row[0].strip("`"): set(map(int, re.findall(r"\d+", row[2]))) for row in table(MONITORING, "## States")}
    assert {state.word: state.code in codes[state.word] for state in State} == {state.word: True for state in State}


# --- every command line that a document shows ---


def shown(document: Path) -> Iterator[str]:
    text = document.read_text()
    if document.suffix == ".md":
        blocks = "\n".join(re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
        yield from re.findall(r"`(zrep [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    else:
        blocks = text.replace(".Dl ", "")
    for line in blocks.splitlines():
        match = re.search(r"(?:^|\w# +|&& |\broot /usr/local/bin/)(zrep [^#&>|']+)", line.strip())
        if match:
            yield match[1].strip()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_command_lines_parse(document: Path) -> None:
    """An example in a document is a command line that zrep takes; FS, HOST and ... stand for anything."""
    for line in shown(document):
        words = _watch_seconds(shlex.split(line)[1:])
        while words and words[0] in _GLOBAL_WITH_VALUE:
            words = words[2:]
        if not words or words[0] in HELP | VERSION | {"COMMAND", "help"}:
            continue
        name = LONG.get(words[0], words[0])
        assert name in COMMANDS, line
        command = GROUP.commands[name]
        arguments = words[1:]
        required = [p for p in command.params if p.param_type_name == "argument" and p.required]
        bare = [word for word in arguments if not word.startswith("-")]
        if len(bare) < len(required):  # prose: "`zrep sync -f`" names an option, not a whole command line
            assert {word for word in arguments if word.startswith("-")} <= COMMANDS[name] | HELP, line
            continue
        try:
            command.make_context(name, list(arguments))
        except Exception as error:
            pytest.fail(f"{document.name}: {line}: {error}")


def test_links_lead_somewhere() -> None:
    for document in (each for each in DOCUMENTS if each.suffix == ".md"):
        text = document.read_text()
        headings = {
            re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        for link in re.findall(r"\]\(([^)]+)\)", text):
            if link.startswith("#"):
                assert link[1:] in headings, link
            elif not link.startswith("http"):
                assert (document.parent / link).exists(), link


def test_every_cell_about_another_program_leads_to_its_source() -> None:
    rows = table(README, "### Beside others")
    assert {len(row) for row in rows} == {5}
    assert [row[0] for row in rows if not re.search(r"\]\(", row[0])] == ["zrep"]
    assert [cell for row in rows for cell in row[1:] if not re.search(r"\]\(\S+\)", cell) and cell != "-"] == []


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        assert set(re.findall(r"`make ([a-z-]+)`", document.read_text())) <= targets


def test_every_fault_names_a_test_that_there_is() -> None:
    rows = re.findall(r"^\|.*\| `(\S+)` \|$", (ROOT / "tests/FAULTS.md").read_text(), re.MULTILINE)
    assert len(rows) > 20
    _check_tests(rows)


def test_every_row_of_who_can_do_what_names_tests_that_there_are() -> None:
    """But that of who has everything, and that of ssh's own promise."""
    table = (ROOT / "SECURITY.md").read_text().partition("| who |")[2].partition("\n\n")[0].splitlines()[2:]
    tests = [re.findall(r"`(\w+/\w+\.py\S*)`", row.rpartition(" | ")[2]) for row in table]
    assert len(table) >= 10
    assert sum(not named for named in tests) == 2
    _check_tests(name for named in tests for name in named)


def _check_tests(rows: Iterable[str]) -> None:
    for row in rows:
        file, *names = row.split("::")
        text = (ROOT / "tests" / file).read_text()
        for name in names:
            assert re.search(rf"(?:class|def) {name}\b", text), row
