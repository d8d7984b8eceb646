"""What status says, for programs that watch: a line as plugins of Nagios print it, metrics as Prometheus reads them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from zrep.core.errors import FailedError, UsageError, ZrepError, printable, tagged
from zrep.core.names import DEFAULT_TAG, spoken
from zrep.core.pair_state import State
from zrep.core.quantities import duration, seconds

if TYPE_CHECKING:
    from zrep.ops.rows import Row

# --- Nagios ---

OK, WARNING, CRITICAL, UNKNOWN = range(4)
_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_WORST_FIRST = (CRITICAL, WARNING, UNKNOWN, OK)
# What the exit status of a state is to Nagios. A peer that does not answer is no fault of the plugin's: not UNKNOWN.
_LEVELS = {0: OK, 1: CRITICAL, 4: WARNING, 5: CRITICAL}


class Limits(Struct, frozen=True):
    """Seconds of lag that are a warning, or critical; None: none is."""

    warning: int | None = None
    critical: int | None = None


def limits(warning: str, critical: str) -> Limits:
    """The limits that -w and -c give, "" for those not given. UsageError for what makes no sense."""
    found = Limits(_limit("-w", warning), _limit("-c", critical))
    if found.warning is not None and found.critical is not None and found.warning > found.critical:
        raise UsageError(f"-w {warning} is longer than -c {critical}")
    return found


def _limit(option: str, text: str) -> int | None:
    found = seconds(text)
    if text and found is None:
        raise UsageError(f"{option} {text}", evidence="expected a time: 90s, 15m, 2h, 1d")
    return found


def nagios(rows: Sequence[Row], limits: Limits) -> tuple[str, int]:
    """Output and exit status of a plugin: a line with performance data, and a line for each row that is not well."""
    judged = [(_level(row, limits), row) for row in rows]
    level = next((each for each in _WORST_FIRST if each in {level for level, _ in judged}), UNKNOWN)
    bad = [(each, row) for worst in _WORST_FIRST[:-1] for each, row in judged if each == worst]
    data = " ".join(_measured(row, limits) for row in rows if row.role != "split")
    lines = [f"ZREP {_WORDS[level]} - {_summary(rows, bad)} | {data}".rstrip(" |")]
    lines += [f"{_WORDS[each]}: {_why(row, limits)}" for each, row in bad]
    return "\n".join(lines), level


def nagios_failed(error: ZrepError) -> tuple[str, int]:
    """The same of a run that could not look at all."""
    return f"ZREP UNKNOWN - {_plain(error.line())}", UNKNOWN


def _level(row: Row, limits: Limits) -> int:
    level = _LEVELS.get(row.code, CRITICAL)
    if level is not OK or row.role == "split":
        return level
    if row.lag is None:
        return UNKNOWN if limits != Limits() else OK
    if limits.critical is not None and row.lag > limits.critical:
        return CRITICAL
    return WARNING if limits.warning is not None and row.lag > limits.warning else OK


def _summary(rows: Sequence[Row], bad: Sequence[tuple[int, Row]]) -> str:
    if bad:
        more = f", and {len(bad) - 1} more of {len(rows)}" if len(bad) > 1 else ""
        _, first = bad[0]
        lag = "" if first.lag is None else f", {duration(first.lag)} behind"
        return f"{_name(first)} is {first.state}{lag}{more}"
    oldest = max((row for row in rows if row.lag is not None), key=lambda row: row.lag or 0, default=None)
    behind = f", {_name(oldest)} {duration(oldest.lag or 0)} behind at most" if oldest else ""
    return f"{len(rows)} pair{'s' if len(rows) != 1 else ''}{behind}"


def _why(row: Row, limits: Limits) -> str:
    advice = f"; next: {tagged(row.advice, spoken(row.tag))}" if row.advice else ""
    if row.detail or advice:
        return _plain(f"{_name(row)}: {row.state}: {row.detail}{advice}")
    lag = "how far it is behind is not known" if row.lag is None else f"{duration(row.lag)} behind"
    given = {"-w": limits.warning, "-c": limits.critical}
    allowed = ", ".join(f"{option} {duration(limit)}" for option, limit in given.items() if limit is not None)
    return _plain(f"{_name(row)}: {row.state}, {lag} ({allowed})")


def _measured(row: Row, limits: Limits) -> str:
    """Performance data: 'label'=value[unit];[warning];[critical];[least]."""
    bounds = ";".join("" if limit is None else str(limit) for limit in (limits.warning, limits.critical))
    parts = [
        f"'{_name(row)} lag'={row.lag}s;{bounds};0" if row.lag is not None else "",
        f"'{_name(row)} behind'={row.behind}B;;;0" if row.behind is not None else "",
        f"'{_name(row)} unsent'={row.unsent};;;0" if row.unsent is not None else "",
    ]
    return " ".join(filter(None, parts))


def _name(row: Row) -> str:
    return row.name if row.tag in ("", DEFAULT_TAG) else f"{row.name} ({row.tag})"


def _plain(text: str) -> str:
    """Text without what begins performance data."""
    return printable(text).replace("|", "/")


# --- Prometheus ---


class _Metric(Struct, frozen=True):
    """A gauge. value: of a row, None where it is not known."""

    name: str
    meaning: str
    value: Callable[[Row], int | float | None]


_METRICS = (
    _Metric("zrep_pair_master", "Whether this side takes writes.", lambda row: int(row.role == "master")),
    _Metric("zrep_pair_epoch", "How many times the role has moved.", lambda row: row.epoch),
    _Metric(
        "zrep_pair_code", "The exit status that the state stands for: 0 well, 3 a person must decide.", lambda r: r.code
    ),
    _Metric("zrep_pair_lag_seconds", "How long ago the replica was last known to be up to date.", lambda row: row.lag),
    _Metric("zrep_pair_behind_bytes", "What was written since.", lambda row: row.behind),
    _Metric("zrep_pair_unsent_snapshots", "Snapshots that wait to be sent.", lambda row: row.unsent),
    _Metric(
        "zrep_pair_synced_timestamp_seconds", "When both sides were last known to be equal.", lambda row: row.synced
    ),
    _Metric(
        "zrep_pair_failed_timestamp_seconds",
        "When a run over it last failed.",
        lambda row: row.failed,
    ),
    _Metric(
        "zrep_pair_set_complete",
        "Of a tree: whether all its members have what was sent last.",
        lambda row: None if row.set_complete is None else int(row.set_complete),
    ),
    _Metric(
        "zrep_pair_stream_timestamp_seconds",
        "When what a run has sent of it had last arrived.",
        lambda row: row.stream_at,
    ),
    _Metric(
        "zrep_pair_stream_seconds",
        "How long that took, from the first stream of the run to the end of the last.",
        lambda row: row.stream_took,
    ),
    _Metric(
        "zrep_pair_stream_bytes",
        "How much it was, of a tree all of it, as ZFS estimates it.",
        lambda row: row.stream_size,
    ),
    _Metric(
        "zrep_pair_sent_timestamp_seconds",
        "When the newest snapshot on both sides was known to be there.",
        lambda row: row.sent,
    ),
)


def prometheus(rows: Sequence[Row], now: int, code: int, *, looked: bool = True) -> str:
    """Metrics in the text format. looked: that status could say something; without, its rows are none."""
    pairs = [row for row in rows if row.role != "split"]
    lines = [
        *_family("zrep_status_timestamp_seconds", "When zrep status last ran.", [("", now)]),
        *_family("zrep_status_exit_code", "How it ended.", [("", code)]),
        *_family("zrep_status_success", "Whether it could look at the pairs at all.", [("", int(looked))]),
        *_family("zrep_split_copies", "Copies that rejoin has kept.", [("", len(rows) - len(pairs))]),
        *_family("zrep_pair_info", "A pair, and what may change of it.", [(_about(row), 1) for row in pairs]),
    ]
    for metric in _METRICS:
        known = [(_labels(row), value) for row in pairs if (value := metric.value(row)) is not None]
        lines += _family(metric.name, metric.meaning, known)
    states = [(_labels(row, state=s.word), int(s.word == row.state)) for row in pairs for s in State]
    lines += _family("zrep_pair_state", "The state of the pair: 1 for the one that it is in.", states)
    return "\n".join(lines) + "\n"


def _family(name: str, meaning: str, samples: Sequence[tuple[str, int | float]]) -> list[str]:
    if not samples:
        return []
    return [
        f"# HELP {name} {meaning}",
        f"# TYPE {name} gauge",
        *(f"{name}{labels} {value}" for labels, value in samples),
    ]


def _about(row: Row) -> str:
    host, _, name = row.peer.partition(":")
    return _labels(row, role=row.role, peer_host=host, peer_filesystem=name)


def _labels(row: Row, **more: str) -> str:
    given = {"filesystem": row.name, "tag": row.tag, **more}
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in given.items()) + "}"


def _escaped(value: str) -> str:
    return printable(value).replace("\\", "\\\\").replace('"', '\\"')


def write(text: str, path: str) -> None:
    """Put text in a file that anybody may read, whole or not at all: whoever collects it may look at any moment.
    FailedError where that cannot be."""
    if _is_no_file(path):
        raise FailedError(
            f"cannot write {path}",
            evidence="it is no file",
            advice="choose another one; without --output it is printed",
        )
    # A collector reads what ends in .prom, and not this.
    temporary = f"{path}.{os.getpid()}"
    try:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)
        raise FailedError(f"cannot write {path}", evidence=error.strerror or str(error)) from None


def _is_no_file(path: str) -> bool:
    """Whether there is something that is none, or a link to it: a device as /dev/null, which a file in its place would
    take from every program of the host, a pipe, a folder."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
