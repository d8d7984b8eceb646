"""What list and status know of a pair, a field each: the columns of the table, of -o and of -s, and the record of
--json are all made from here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from shlex import quote
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from zrep.core.errors import UsageError, printable
from zrep.core.quantities import duration, size

if TYPE_CHECKING:
    from zrep.ops.rows import Row

# What a field is, exact: text, a number of bytes, seconds or things, or whether it is so; None: not known.
Value = str | int | float | None


class Field(Struct, frozen=True):
    """One field. value: what it is of a row; shown: the same for a person, who reads at a time (seconds since 1970);
    meaning: for the manual."""

    name: str
    meaning: str
    value: Callable[[Row], Value]
    shown: Callable[[Any, int], str] = lambda value, now: str(value)

    @property
    def heading(self) -> str:
        return self.name.upper()

    def text(self, row: Row, now: int, *, exact: bool) -> str:
        """The field of a row as text: ``-`` where it is not known."""
        value = self.value(row)
        if value is None or value == "":
            return "-"
        if isinstance(value, bool):
            return "yes" if value else "no"
        return self.shown(value, now) if isinstance(value, int | float) and not exact else printable(str(value))


def _ago(when: int, now: int) -> str:
    return f"{duration(max(0, now - when))} ago"


FIELDS = {
    field.name: field
    for field in (
        Field("name", "the filesystem here", lambda row: row.name),
        Field("role", "master, replica, none or split", lambda row: row.role),
        Field("peer", "the other half, as HOST:NAME", lambda row: row.peer),
        Field("state", "the state of the pair", lambda row: row.state),
        Field(
            "sent",
            "when the newest snapshot on both sides was known to be there; exact: seconds since 1970",
            lambda row: row.sent,
            _ago,
        ),
        Field(
            "lag",
            "how long ago the replica was last known to be up to date; exact: seconds",
            lambda row: row.lag,
            lambda value, now: duration(value),
        ),
        Field("behind", "what was written since; exact: bytes", lambda row: row.behind, lambda value, now: size(value)),
        Field("unsent", "snapshots that wait to be sent", lambda row: row.unsent),
        Field("tag", "the tag of the pair", lambda row: row.tag),
        Field("epoch", "how many times the role has moved", lambda row: row.epoch),
        Field(
            "synced",
            "when both sides were last known to be equal; exact: seconds since 1970",
            lambda row: row.synced,
            _ago,
        ),
        Field("code", "the exit status that the state stands for", lambda row: row.code),
        Field(
            "cause",
            "why it is late: not synced, sending, paused, peer unknown, busy, not mounted, replica writable or stopped",
            lambda row: row.cause,
        ),
        Field("detail", "why the state is what it is", lambda row: row.detail),
        Field("moving", "how far a stream under way is", lambda row: row.sending),
        Field("advice", "what to do about it", lambda row: row.advice),
        Field(
            "left_out",
            "what nobody replicates below the master",
            lambda row: ",".join(row.left_out.names) if row.left_out else "",
        ),
        Field(
            "failed",
            "when a run over it last failed; exact: seconds since 1970",
            lambda row: row.failed,
            _ago,
        ),
        Field("failed_command", "which run that was: sync, failover or another", lambda row: row.failed_command),
        Field(
            "set_complete",
            "of a tree, whether all members have what was sent last: yes or no",
            lambda row: row.set_complete,
        ),
        Field(
            "stream_at",
            "when what was last sent had arrived; exact: seconds since 1970",
            lambda row: row.stream_at,
            _ago,
        ),
        Field(
            "stream_took",
            "how long that took; exact: seconds",
            lambda row: row.stream_took,
            lambda value, now: duration(round(value)),
        ),
        Field(
            "stream_size",
            "how much it was, of a tree all of it; exact: bytes",
            lambda row: row.stream_size,
            lambda value, now: size(value),
        ),
    )
}
# The columns where -o names none.
USUAL = ("name", "role", "peer", "state", "sent", "lag", "behind", "unsent")


def chosen(names: str) -> tuple[Field, ...]:
    """The fields of a list with commas between them, as -o takes it. UsageError for one that does not exist."""
    return tuple(field(name) for name in names.split(","))


def field(name: str) -> Field:
    """The field of a name. UsageError, with the names there are, for another."""
    found = FIELDS.get(name.lower())
    if found is None:
        advice = f"fields: {','.join(FIELDS)}"
        if "/" in name:  # -s was the shell zrep's for the snapshots of what follows
            advice = f"its snapshots: zrep list --snapshots {quote(name)}; {advice}"
        raise UsageError(f"no field {name!r}", advice=advice)
    return found


def ordered(rows: Sequence[Row], by: Field, *, descending: bool) -> list[Row]:
    """Rows by a field, those of equal value in the order they had; what is not known comes last."""
    known = [row for row in rows if by.value(row) is not None]
    unknown = [row for row in rows if by.value(row) is None]
    return sorted(known, key=lambda row: _order(by.value(row)), reverse=descending) + unknown


def _order(value: Value) -> tuple[float, str]:
    return (value, "") if isinstance(value, int | float) else (0, value or "")
