"""What list and status print: a table that fits the terminal, columns of choice, JSON with the same in it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from tests.ops import pairs
from tests.ops.hosts import Hosts
from zrep import __version__
from zrep.cli import document, output, rows
from zrep.cli.commands.version import version
from zrep.cli.fields import FIELDS, USUAL
from zrep.core.errors import UsageError
from zrep.core.pair_state import Diagnosis, State
from zrep.ops.execute import Line
from zrep.ops.failures import Failure
from zrep.ops.memory import LastStream
from zrep.ops.rows import Row
from zrep.ops.status import status

NOW = 1_800_000_000
GOOD = Row("tank/data", "master", "beta:tank/data", Diagnosis(State.OK), NOW - 3725, 0, 0, 0, "zrep", 3)
LONG = Row(
    "tank/customers/north/accounting/ledger-2026",
    "replica",
    "backup-host-2:slow/backups/customers/north/accounting/ledger-2026",
    Diagnosis(State.PEER_UNKNOWN, "lost it", "ssh: connect refused", "wait", 5),
    NOW - 720,
    720,
    1536,
    2,
    "offsite",
    0,
)
SPLIT = Row("tank/data_split_2_0a1b2c3d", "split", "-", Diagnosis(State.SPLIT_COPY), None, None, 4096, None)
ALL = [GOOD, LONG, SPLIT]
SENT = msgspec.structs.replace(
    GOOD, set_complete=False, last_failure=Failure(NOW - 61, "sync"), last_stream=LastStream(NOW - 5, 0.25, 3 << 20)
)


def usual(**options: str) -> rows.Style:
    given = {"columns": "", "ascending": "", "descending": "", "colour": "auto", **options}
    return rows.style(tabs=False, exact=False, **given)


def table(found: list[Row], width: int) -> list[str]:
    headings, cells = rows.fitting(found, usual(), NOW, width, "...")
    return rows.aligned([headings, *cells])


def test_a_table_of_ordinary_names_fits_80_columns_with_nothing_left_out_but_the_same_name_there() -> None:
    assert table([GOOD], 80) == [
        "NAME       ROLE    PEER  STATE  SENT       LAG  BEHIND  UNSENT",
        "tank/data  master  beta  ok     1h 2m ago  0s   0B      0",
    ]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_long_names_lose_their_middle_until_the_table_fits(width: int) -> None:
    lines = table(ALL, width)
    assert max(map(len, lines)) <= width
    assert len(lines) == 4
    assert lines[2].startswith("tank/c")
    assert "2026 " in lines[2]


@pytest.mark.parametrize("state", State)
def test_in_every_state_a_table_of_long_names_and_tags_fits_80_columns(state: State) -> None:
    found = [replace(LONG, diagnosis=Diagnosis(state), lag=93 * 86400 + 7200, behind=999 << 30), GOOD]
    headings, cells = rows.fitting(found, rows.with_tags(found, usual()), NOW, 80, "...")
    assert max(map(len, rows.aligned([headings, *cells]))) <= 80
    assert {"NAME", "TAG", "ROLE", "PEER", "STATE", "LAG"} <= set(headings)


def test_columns_that_were_chosen_stay_however_narrow_the_terminal_is() -> None:
    style = usual(columns="name,sent,lag,behind,unsent,detail")
    assert rows.fitting([LONG], style, NOW, 40, "...")[0] == [column.heading for column in style.columns]


def test_a_table_of_several_tags_has_a_column_for_them_unless_columns_were_chosen() -> None:
    names = [column.name for column in rows.with_tags([GOOD, LONG], usual()).columns]
    assert names == ["name", "tag", *USUAL[1:]]
    assert rows.with_tags([GOOD], usual()) == usual()
    assert rows.with_tags([GOOD, LONG], usual(columns="name,state")) == usual(columns="name,state")


def test_one_trouble_of_several_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = [replace(LONG, name=f"tank/{letter}") for letter in "abcdefg"]
    other = replace(LONG, name="tank/h", diagnosis=Diagnosis(State.PEER_UNKNOWN, "lost it", "no route", "wait", 5))
    rows.show([*waiting[:3], other, *waiting[3:]], usual(), NOW)
    assert capsys.readouterr().out.splitlines()[9:] == [
        "tank/a, tank/b, tank/c, tank/d, tank/e and 2 more: peer unknown: ssh: connect refused; next: wait",
        "tank/h: peer unknown: no route; next: wait",
    ]


LATE = "tank/home: late: it was not synced for 15m 13s, longer than its --max-lag of 1s: nothing was written since"


@pytest.mark.parametrize(
    ("line", "width", "lines"),
    [
        ("tank/a: paused: upgrade", 80, ["tank/a: paused: upgrade"]),
        (f"{LATE}; next: zrep sync a", 140, [f"{LATE}; next: zrep sync a"]),
        (
            f"{LATE}; next: zrep sync tank/home",
            80,
            [
                "tank/home: late: it was not synced for 15m 13s, longer than its --max-lag of 1s:",
                "  nothing was written since",
                "  next: zrep sync tank/home",
            ],
        ),
        (
            "tank/a: not replicated with it: tank/a/b; next: zrep init x; or, if that is how it should be: zfs set y",
            40,
            [
                "tank/a: not replicated with it: tank/a/b",
                "  next: zrep init x",
                "  or, if that is how it should be:",
                "    zfs set y",
            ],
        ),
        (f"x; next: {'y' * 60}", 40, ["x", f"  next: {'y' * 60}"]),
        (
            "tank/a: not the same zrep; next: running the same command again: what has arrived is kept, and it goes on",
            40,
            [
                "tank/a: not the same zrep",
                "  next: running the same command again:",
                "    what has arrived is kept, and it",
                "    goes on",
            ],
        ),
        (
            "tank/a: gone; next: to go on from @x, without that: zrep sync -f tank/a, or where it was set back, to "
            "keep that: on beta: zrep takeover -L -f tank/b, then here: zrep rejoin tank/a",
            40,
            [
                "tank/a: gone",
                "  next: to go on from @x, without that:",
                "    zrep sync -f tank/a, or where it was",
                "    set back, to keep that: on beta:",
                "    zrep takeover -L -f tank/b, then",
                "    here: zrep rejoin tank/a",
            ],
        ),
        (
            f"tank/a: x; next: on beta: zfs destroy {'y' * 60} z; zrep sync tank/a, as root of that host",
            40,
            [
                "tank/a: x",
                "  next: on beta:",
                f"    zfs destroy {'y' * 60} z;",
                "    zrep sync tank/a, as root of that",
                "    host",
            ],
        ),
        (
            "tank/a: x; next: make 'ssh alpha zrep version' work on beta, or give --src-host",
            40,
            ["tank/a: x", "  next: make 'ssh alpha zrep version'", "    work on beta, or give --src-host"],
        ),
        (f"a {'y' * 60}", 40, ["a", f"  {'y' * 60}"]),
    ],
)
def test_below_the_table_lines_are_broken_between_words_and_commands_stay_whole(
    line: str, width: int, lines: list[str]
) -> None:
    assert output.folded(line, width) == lines


def test_members_stand_below_their_tree() -> None:
    tree, root, child = GOOD, replace(GOOD, member=True), replace(GOOD, name="tank/data/sub", member=True)
    assert [line.split("master")[0].rstrip() for line in table([tree, root, child], 80)[1:]] == [
        "tank/data",
        "  tank/data",
        "  tank/data/sub",
    ]


def test_a_pipe_gets_everything_whole(capsys: pytest.CaptureFixture[str]) -> None:
    rows.show(ALL, usual(), NOW)
    out = capsys.readouterr().out
    assert LONG.name in out
    assert LONG.peer in out
    assert "SENT" in out
    assert f"{LONG.name}: peer unknown: ssh: connect refused; next: wait\n" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("name", "length", "shown"),
    [("tank/data", 9, "tank/data"), ("tank/data", 8, "tan...ta"), ("abcdefghijkl", 7, "ab...kl")],
)
def test_a_shortened_name_keeps_its_beginning_and_its_end(name: str, length: int, shown: str) -> None:
    assert rows.shortened(name, length, "...") == shown


@pytest.mark.parametrize(
    ("by", "ascending", "descending"),
    [
        ("name", [LONG, GOOD, SPLIT], [SPLIT, GOOD, LONG]),
        ("lag", [GOOD, LONG, SPLIT], [LONG, GOOD, SPLIT]),
        ("behind", [GOOD, LONG, SPLIT], [SPLIT, LONG, GOOD]),
    ],
)
def test_rows_are_sorted_by_the_exact_value_and_what_is_not_known_comes_last(
    by: str, ascending: list[Row], descending: list[Row]
) -> None:
    assert rows.arranged(ALL, usual(ascending=by)) == ascending
    assert rows.arranged(ALL, usual(descending=by)) == descending


def test_columns_of_choice_come_in_that_order_exact_with_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    rows.show(ALL, rows.style("state,name,sent,epoch", True, False, "", "", "auto"), NOW)
    assert capsys.readouterr().out.splitlines() == [
        f"ok\ttank/data\t{NOW - 3725}\t3",
        f"peer unknown\t{LONG.name}\t{NOW - 720}\t0",
        f"split copy\t{SPLIT.name}\t-\t-",
    ]


@pytest.mark.parametrize(
    "options",
    [{"columns": "name,nope"}, {"ascending": "nope"}, {"ascending": "lag", "descending": "lag"}, {"colour": "blue"}],
)
def test_what_there_is_not_is_a_usage_error(options: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        usual(**options)


@pytest.mark.parametrize(("colour", "coloured"), [("always", True), ("never", False), ("auto", False)])
def test_colour_is_for_terminals_or_when_asked_for(
    colour: str, coloured: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")  # --color always is the stronger word
    monkeypatch.setenv("TERM", "xterm")
    rows.show([GOOD], usual(colour=colour), NOW)
    assert ("\x1b[32mok\x1b[0m" in capsys.readouterr().out) is coloured


@pytest.mark.parametrize(
    ("row", "exact", "cells"),
    [
        (SENT, False, ["1m 1s ago", "sync", "no", "5s ago", "0s", "3.0M"]),
        (SENT, True, [str(NOW - 61), "sync", "no", str(NOW - 5), "0.25", str(3 << 20)]),
        (GOOD, False, ["-"] * 6),
    ],
)
def test_what_was_last_sent_and_what_failed_are_fields(row: Row, exact: bool, cells: list[str]) -> None:
    names = ("failed", "failed_command", "set_complete", "stream_at", "stream_took", "stream_size")
    assert [FIELDS[name].text(row, NOW, exact=exact) for name in names] == cells


# --- JSON ---


def test_the_schema_is_the_one_that_is_published() -> None:
    published = Path(__file__).parents[2] / "contrib/zrep.schema.json"
    assert published.read_bytes() == document.schema(), "make schema"


def test_json_has_every_field_of_a_row_with_its_exact_value() -> None:
    for row in (LONG, SENT):
        told = msgspec.to_builtins(document.pair(row))
        own = {"advice": row.advice, "moving": None}
        assert {name: field.value(row) for name, field in FIELDS.items()} | own == told
        assert set(USUAL) < set(told)
    assert None not in (told[name] for name in ("failed", "set_complete", "stream_at", "stream_took", "stream_size"))


def test_a_plan_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """What is to follow from a peer may be anything."""
    output.plan([Line("beta", ("zfs", "set", "compression=\x1b]0;owned\x07\u202e", "tank/a"))])
    assert capsys.readouterr().out == "beta: zfs set 'compression=?]0;owned??' tank/a\n"


def test_advice_in_json_names_the_tag() -> None:
    found = Diagnosis(State.STALE, advice="zrep rejoin tank/data")
    assert document.pair(msgspec.structs.replace(LONG, diagnosis=found)).advice == "zrep -t offsite rejoin tank/data"


def test_json_of_allow_says_its_lines(hosts: Hosts) -> None:
    with hosts.session("alpha") as session:
        told = document.allowed(session, ["zfs allow -u bob send tank/a"])
    assert told.commands == [document.Command("alpha", ["sh", "-c", "zfs allow -u bob send tank/a"])]
    assert told.exit_code == 0


def test_json_of_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert version(json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["version"], told["exit_code"], told["error"]) == (__version__, 0, None)


def test_json_of_status_says_what_the_table_says(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    pairs.diverged(hosts)
    with hosts.session("alpha") as session:
        found = status(session, [])
        document.show(document.listed(session, 3, pairs=found))
    told = json.loads(capsys.readouterr().out)
    assert told["output_version"] == {"command": "zrep", "vers_major": 1, "vers_minor": 4}
    assert (told["host"], told["exit_code"], told["error"]) == ("alpha", 3, None)
    [row] = told["pairs"]
    assert (row["name"], row["state"], row["code"]) == (pairs.A, "stale master", 3)
    assert row["advice"] == f"zrep rejoin {pairs.A}"
    msgspec.convert(told, document.Document)
