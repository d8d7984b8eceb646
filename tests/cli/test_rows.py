"""What list and status print: a table that fits the terminal, columns of choice, JSON with the same in it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts
from zrep.cli import document, rows
from zrep.cli.fields import FIELDS, USUAL
from zrep.core.errors import UsageError
from zrep.core.pair_state import Diagnosis, State
from zrep.ops.list import Row
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


def test_a_table_of_several_tags_has_a_column_for_them_unless_columns_were_chosen() -> None:
    names = [column.name for column in rows.with_tags([GOOD, LONG], usual()).columns]
    assert names == ["name", "tag", *USUAL[1:]]
    assert rows.with_tags([GOOD], usual()) == usual()
    assert rows.with_tags([GOOD, LONG], usual(columns="name,state")) == usual(columns="name,state")


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


# --- JSON ---


def test_the_schema_is_the_one_that_is_published() -> None:
    published = Path(__file__).parents[2] / "contrib/zrep.schema.json"
    assert published.read_bytes() == document.schema(), "make schema"


def test_json_has_every_field_of_a_row_with_its_exact_value() -> None:
    told = msgspec.to_builtins(document.pair(LONG))
    assert {name: field.value(LONG) for name, field in FIELDS.items()} | {"advice": "wait", "moving": None} == told
    assert set(USUAL) < set(told)


def test_advice_in_json_names_the_tag() -> None:
    found = Diagnosis(State.STALE, advice="zrep rejoin tank/data")
    assert document.pair(msgspec.structs.replace(LONG, diagnosis=found)).advice == "zrep -t offsite rejoin tank/data"


def test_json_of_status_says_what_the_table_says(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    pairs.diverged(hosts)
    with hosts.session("alpha") as session:
        found = status(session, [])
        document.show(document.listed(session, 3, pairs=found))
    told = json.loads(capsys.readouterr().out)
    assert told["output_version"] == {"command": "zrep", "vers_major": 1, "vers_minor": 0}
    assert (told["host"], told["exit_code"], told["error"]) == ("alpha", 3, None)
    [row] = told["pairs"]
    assert (row["name"], row["state"], row["code"]) == (pairs.A, "stale master", 3)
    assert row["advice"] == f"zrep rejoin {pairs.A}"
    msgspec.convert(told, document.Document)
