"""What status says to programs that watch: a plugin's line and exit status, metrics, a file that is always whole."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.cli.test_rows import GOOD, LONG, NOW, SPLIT
from zrep.cli import monitors
from zrep.cli.monitors import CRITICAL, OK, UNKNOWN, WARNING, Limits, nagios, prometheus
from zrep.cli.status_forms import form
from zrep.core.errors import FailedError, UnreachableError, UsageError
from zrep.core.pair_state import Diagnosis, State
from zrep.ops.failures import Failure
from zrep.ops.memory import LastStream
from zrep.ops.rows import Row

MINUTE = 60
# A label in quotes, a value with its unit, and up to four bounds: Nagios plugin guidelines, "Performance data".
MEASURED = re.compile(r"'[^'=|]+'=\d+(?:s|B)?(?:;\d*){0,4}")


def aged(lag: int | None, state: State = State.OK) -> Row:
    return replace(GOOD, lag=lag, behind=1, diagnosis=Diagnosis(state, "what", "why", "zrep sync tank/data"))


# --- Nagios ---


@pytest.mark.parametrize(
    ("lag", "limits", "level"),
    [
        (10**6, Limits(), OK),
        (300, Limits(300, 900), OK),
        (301, Limits(300, 900), WARNING),
        (900, Limits(300, 900), WARNING),
        (901, Limits(300, 900), CRITICAL),
        (301, Limits(warning=300), WARNING),
        (901, Limits(critical=900), CRITICAL),
        (1, Limits(0, 0), CRITICAL),
        (None, Limits(300, 900), UNKNOWN),
        (None, Limits(), OK),
    ],
)
def test_lag_over_a_limit_is_a_warning_or_critical(lag: int | None, limits: Limits, level: int) -> None:
    assert nagios([aged(lag)], limits)[1] == level


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_level(state: State) -> None:
    expected = {0: OK, 1: CRITICAL, 3: CRITICAL, 4: WARNING, 5: CRITICAL}[state.code]
    assert nagios([aged(0, state)], Limits(300, 900))[1] == expected


def test_the_first_line_says_the_worst_and_the_next_ones_each() -> None:
    late = replace(aged(1200, State.LATE), name="tank/late")
    busy = replace(aged(3, State.BUSY), name="tank/busy", tag="offsite")
    text, level = nagios([GOOD, busy, late], Limits(300, 900))
    assert level == CRITICAL
    assert text.splitlines() == [
        "ZREP CRITICAL - tank/late is late, 20m behind, and 1 more of 3"
        " | 'tank/data lag'=0s;300;900;0 'tank/data behind'=0B;;;0 'tank/data unsent'=0;;;0"
        " 'tank/busy (offsite) lag'=3s;300;900;0 'tank/busy (offsite) behind'=1B;;;0 'tank/busy (offsite) unsent'=0;;;0"
        " 'tank/late lag'=1200s;300;900;0 'tank/late behind'=1B;;;0 'tank/late unsent'=0;;;0",
        "CRITICAL: tank/late: late: why; next: zrep sync tank/data",
        "WARNING: tank/busy (offsite): busy: why; next: zrep -t offsite sync tank/data",
    ]


def test_what_is_well_is_one_line_with_the_oldest() -> None:
    text, level = nagios([GOOD, replace(GOOD, name="tank/b", lag=75), SPLIT], Limits())
    assert level == OK
    summary, _, data = text.partition(" | ")
    assert summary == "ZREP OK - 3 pairs, tank/b 1m 15s behind at most"
    assert "tank/data_split" not in data
    assert MEASURED.sub("", data).strip() == ""


def test_a_lag_over_its_limit_says_so_although_the_pair_is_ok() -> None:
    text, _ = nagios([replace(GOOD, lag=1000)], Limits(300, 900))
    assert text.splitlines()[1] == "CRITICAL: tank/data: ok, 16m 40s behind (-w 5m, -c 15m)"


def test_no_text_begins_performance_data_of_its_own() -> None:
    found = replace(GOOD, diagnosis=Diagnosis(State.PEER_UNKNOWN, "x", "ssh | died\x1b[31m", "a|b"))
    text, _ = nagios([found], Limits())
    assert text.count("|") == 1
    assert "\x1b" not in text
    assert "|" not in monitors.nagios_failed(FailedError("a|b"))[0]


def test_a_run_that_could_not_look_is_unknown() -> None:
    text, level = monitors.nagios_failed(UnreachableError("cannot reach beta", evidence="no route"))
    assert (text, level) == ("ZREP UNKNOWN - cannot reach beta (no route)", UNKNOWN)
    assert nagios([], Limits())[1] == UNKNOWN


@pytest.mark.parametrize(
    "options",
    [
        {"warning": "15m", "critical": "5m", "nagios": True},
        {"warning": "soon", "nagios": True},
        {"critical": "5m"},
        {"warning": "5m", "prometheus": True},
        {"output": "/tmp/x"},
        {"nagios": True, "prometheus": True},
        {"json": True, "nagios": True},
        {"html": True, "prometheus": True},
        {"html": True, "watch": "2"},
        {"watch": "soon"},
    ],
)
def test_options_that_make_no_sense_together_are_refused(options: dict[str, str | bool]) -> None:
    given: dict[str, str | bool] = dict.fromkeys(("warning", "critical", "output", "watch"), "")
    given |= dict.fromkeys(("json", "nagios", "prometheus", "html"), False)
    with pytest.raises(UsageError):
        form(**(given | options))  # type: ignore[arg-type]  # one table for options of both kinds


# --- Prometheus ---


def samples(text: str) -> dict[str, str]:
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_each_metric_is_there_with_its_exact_value() -> None:
    row = replace(
        LONG,
        synced=NOW - 720,
        last_failure=Failure(NOW - 60, "sync"),
        set_complete=False,
        last_stream=LastStream(NOW - 730, 0.25, 3 << 20),
    )
    found = samples(prometheus([row], NOW, 5))
    pair = f'{{filesystem="{LONG.name}",tag="offsite"}}'
    host, _, name = LONG.peer.partition(":")
    info = f'filesystem="{LONG.name}",tag="offsite",role="replica",peer_host="{host}",peer_filesystem="{name}"'
    states = {key: value for key, value in found.items() if key.startswith("zrep_pair_state")}
    assert {key: value for key, value in found.items() if key not in states} == {
        "zrep_status_timestamp_seconds": str(NOW),
        "zrep_status_exit_code": "5",
        "zrep_status_success": "1",
        "zrep_split_copies": "0",
        f"zrep_pair_info{{{info}}}": "1",
        f"zrep_pair_master{pair}": "0",
        f"zrep_pair_epoch{pair}": "0",
        f"zrep_pair_code{pair}": "5",
        f"zrep_pair_lag_seconds{pair}": "720",
        f"zrep_pair_behind_bytes{pair}": "1536",
        f"zrep_pair_unsent_snapshots{pair}": "2",
        f"zrep_pair_synced_timestamp_seconds{pair}": str(NOW - 720),
        f"zrep_pair_failed_timestamp_seconds{pair}": str(NOW - 60),
        f"zrep_pair_set_complete{pair}": "0",
        f"zrep_pair_stream_timestamp_seconds{pair}": str(NOW - 730),
        f"zrep_pair_stream_seconds{pair}": "0.25",
        f"zrep_pair_stream_bytes{pair}": str(3 << 20),
        f"zrep_pair_sent_timestamp_seconds{pair}": str(NOW - 720),
    }
    assert len(states) == len(State)
    assert [key for key, value in states.items() if value == "1"] == [
        f'zrep_pair_state{{filesystem="{LONG.name}",tag="offsite",state="peer unknown"}}'
    ]


def test_what_is_not_known_is_not_there_and_a_split_copy_is_no_pair() -> None:
    text = prometheus([replace(GOOD, lag=None), SPLIT], NOW, 0)
    for name in ("lag_seconds", "set_complete", "stream_seconds", "failed_timestamp"):
        assert f"zrep_pair_{name}" not in text
    assert "zrep_split_copies 1\n" in text
    assert SPLIT.name not in text


def test_a_run_that_could_not_look_tells_that() -> None:
    assert samples(prometheus([], NOW, 3, looked=False)) == {
        "zrep_status_timestamp_seconds": str(NOW),
        "zrep_status_exit_code": "3",
        "zrep_status_success": "0",
        "zrep_split_copies": "0",
    }


def test_labels_hold_any_text() -> None:
    text = prometheus([replace(GOOD, peer='be"ta:ta\\nk')], NOW, 0)
    assert r'peer_host="be\"ta",peer_filesystem="ta\\nk"' in text


# --- the file ---


def test_a_file_is_replaced_whole_and_anybody_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "zrep.prom"
    monitors.write("old\n", str(path))
    with path.open() as reading:
        monitors.write("new\n", str(path))
        assert reading.read() == "old\n"
    assert path.read_text() == "new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [found.name for found in tmp_path.iterdir()] == ["zrep.prom"]


@pytest.mark.parametrize("where", ["nowhere/zrep.prom", "folder"])
def test_a_file_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path, where: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(FailedError, match="cannot write"):
        monitors.write("new\n", str(tmp_path / where))
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path, linked: bool) -> None:
    """As root anything can be: /dev/null, and /dev/stdout, which is a link."""
    os.mkfifo(tmp_path / "pipe")
    given = tmp_path / "link" if linked else tmp_path / "pipe"
    if linked:
        given.symlink_to("pipe")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(FailedError, match="cannot write") as refused:
        monitors.write("new\n", str(given))
    assert "it is no file" in refused.value.line()
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "pipe").is_fifo()


# --- Every metric is told and used ---

ROOT = Path(__file__).parents[2]
# Metrics that no panel and no alert asks for, and why.
UNUSED = {
    "zrep_pair_master": "the role is a label of zrep_pair_info",
    "zrep_status_exit_code": "zrep_pair_code says it of each pair",
}


def test_every_metric_is_in_the_man_page_and_in_a_panel_or_an_alert_or_has_a_reason() -> None:
    names = set(re.findall(r'"(zrep_\w+)"', (ROOT / "zrep/cli/monitors.py").read_text()))
    told = set(re.findall(r"^\.It Sy (zrep_\w+)$", (ROOT / "man/zrep.8").read_text(), re.MULTILINE))
    board = json.loads((ROOT / "contrib/grafana/zrep.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked += re.findall(r"expr: (.*)", (ROOT / "contrib/prometheus/zrep.rules.yml").read_text())
    assert told == names
    assert {name for text in asked for name in re.findall(r"zrep_[a-z_]+", text)} == names - set(UNUSED)
