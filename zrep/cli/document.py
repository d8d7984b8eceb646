"""What --json prints: one document for each run, whatever its end. The types here are its schema, which a test compares
with contrib/zrep.schema.json: a field may be added, and raises the minor version; what is changed or goes raises the
major one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from zrep.cli.output import give
from zrep.core.errors import ZrepError, printable, tagged, worst
from zrep.core.names import spoken

if TYPE_CHECKING:
    from zrep.core.history import Event
    from zrep.core.moving import Moving
    from zrep.ops.outcome import Outcome
    from zrep.ops.rows import Row
    from zrep.ops.session import Session

MAJOR, MINOR = 1, 4


class Version(Struct, frozen=True):
    """What the document is, in the words of OpenZFS's own."""

    command: str = "zrep"
    vers_major: int = MAJOR
    vers_minor: int = MINOR


class Trouble(Struct, frozen=True):
    """An error. kind: failed, usage, refused, busy, unreachable, interrupted or bug; code: the exit status it stands
    for."""

    filesystem: str
    kind: str
    code: int
    what: str
    evidence: str
    advice: str


class Stream(Struct, frozen=True):
    """A stream that is under way. since: when it began, at: when it was last seen to move, seconds since 1970; sent:
    bytes until then; size: bytes it is estimated to have; left: seconds it may still take; null: not known."""

    since: int
    at: int
    sent: int
    size: int | None
    left: int | None


class PairState(Struct, frozen=True):
    """A pair, as list and status know it: see zrep(8) for the fields. cause: why it is late, "" unless it is; sent,
    synced: seconds since 1970; lag: seconds; behind: bytes; left_out: what nobody replicates below its master, with
    commas between; moving: the stream that is under way, of a tree all of them as one; failed: when a run over it last
    failed, seconds since 1970; failed_command: which run that was, "" where it is not known; set_complete: of a tree,
    whether all members have what was sent last; stream_at: when what was last sent had arrived, seconds since 1970;
    stream_took: seconds; stream_size: bytes, as ZFS estimated them; null: not known, or none."""

    name: str
    tag: str
    role: str
    peer: str
    state: str
    code: int
    detail: str
    advice: str
    sent: int | None
    lag: int | None
    behind: int | None
    unsent: int | None
    epoch: int | None
    synced: int | None
    left_out: str
    moving: Stream | None = None
    cause: str = ""
    failed: int | None = None
    set_complete: bool | None = None
    stream_at: int | None = None
    stream_took: float | None = None
    stream_size: int | None = None
    failed_command: str = ""


class SnapshotState(Struct, frozen=True):
    """A snapshot of zrep's. sent: seconds since 1970 at which it was known to be on both sides, null: not; used:
    bytes."""

    name: str
    sent: int | None
    used: int


class EventState(Struct, frozen=True):
    """What was done to a pair. at: seconds since 1970; host: whose pool remembers it; role: whether it moved a role;
    who: the user and host that ran it; command: as it was; tag: the one that it names, "" where it names none."""

    at: int
    host: str
    filesystem: str
    what: str
    role: bool
    who: str
    command: str
    tag: str = ""


class Command(Struct, frozen=True):
    """A command that -n has found, or allow, and the host that would carry it out."""

    host: str
    argv: list[str]


class Result(Struct, frozen=True):
    """What became of one filesystem. code: 0 where all is well; skipped: nothing was to be done, or somebody else is
    doing it; error: what went wrong, or keeps it from being done; blockers: everything that would stop it."""

    filesystem: str
    code: int
    message: str
    skipped: bool
    notes: list[str]
    error: Trouble | None
    blockers: list[Trouble]


class Document(Struct, frozen=True, kw_only=True):
    """One run of zrep. time: seconds since 1970; error: what ended the run itself; version: of zrep; null: not what its
    command tells."""

    output_version: Version = Version()
    host: str
    time: int
    exit_code: int
    error: Trouble | None = None
    warnings: list[str] = []
    pairs: list[PairState] | None = None
    snapshots: list[SnapshotState] | None = None
    properties: dict[str, dict[str, str]] | None = None
    results: list[Result] | None = None
    commands: list[Command] | None = None
    events: list[EventState] | None = None
    version: str | None = None


def show(document: Document) -> None:
    """Print a document."""
    give(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")


def schema() -> bytes:
    """The JSON schema of a document, the same of every msgspec and Python."""
    return msgspec.json.format(msgspec.json.encode(_settled(msgspec.json.schema(Document))), indent=2) + b"\n"


def _settled(part: Any) -> Any:
    """A part of a schema without what depends on versions: null is the last of what a value may be (before msgspec 0.22
    the first, where there is a reference), and a description is one line (the others were indented as in the source,
    until msgspec 0.23 or Python 3.13)."""
    if isinstance(part, list):
        return [_settled(one) for one in part]
    if not isinstance(part, dict):
        return part
    found = {key: _settled(value) for key, value in part.items()}
    if choices := found.get("anyOf"):
        found["anyOf"] = sorted(choices, key=lambda choice: (choice == {"type": "null"}, msgspec.json.encode(choice)))
    if isinstance(text := found.get("description"), str):
        found["description"] = " ".join(text.split())
    return found


def trouble(error: ZrepError) -> Trouble:
    parts = (printable(part) for part in (error.what, error.evidence, error.advice))
    return Trouble(printable(error.filesystem), error.word, error.exit_code, *parts)


def pair(row: Row) -> PairState:
    return PairState(
        name=row.name,
        tag=row.tag,
        role=row.role,
        peer=printable(row.peer),
        state=row.state,
        code=row.code,
        detail=printable(row.detail),
        advice=printable(tagged(row.advice, spoken(row.tag))),
        sent=row.sent,
        lag=row.lag,
        behind=row.behind,
        unsent=row.unsent,
        epoch=row.epoch,
        synced=row.synced,
        left_out=printable(",".join(row.left_out.names)) if row.left_out else "",
        moving=_stream(row.moving, row.at) if row.moving else None,
        cause=row.cause,
        failed=row.failed,
        set_complete=row.set_complete,
        stream_at=row.stream_at,
        stream_took=row.stream_took,
        stream_size=row.stream_size,
        failed_command=row.failed_command,
    )


def _stream(moving: Moving, now: int) -> Stream:
    return Stream(moving.since, moving.at, moving.sent, moving.size or None, moving.left(now))


def results(outcomes: Iterable[Outcome]) -> list[Result]:
    return [
        Result(
            filesystem=outcome.filesystem,
            code=outcome.code,
            message=printable(outcome.message),
            skipped=outcome.skipped,
            notes=[printable(note) for note in outcome.notes],
            error=trouble(outcome.error) if outcome.error else None,
            blockers=[trouble(blocker) for blocker in outcome.blockers],
        )
        for outcome in outcomes
    ]


def listed(
    session: Session,
    exit_code: int = 0,
    *,
    pairs: Iterable[Row] | None = None,
    snapshots: Mapping[str, Sequence[tuple[str, int | None, int]]] | None = None,
    properties: Mapping[str, Mapping[str, str]] | None = None,
) -> Document:
    """The document of list or status: what it found is pairs, zrep's snapshots by filesystem, or properties by
    filesystem."""
    made = (
        [SnapshotState(f"{name}@{own}", sent, used) for name, found in snapshots.items() for own, sent, used in found]
        if snapshots is not None
        else None
    )
    kept = (
        {name: {key: printable(value) for key, value in found.items()} for name, found in properties.items()}
        if properties is not None
        else None
    )
    rows = [pair(row) for row in pairs] if pairs is not None else None
    return Document(
        host=session.local.name,
        time=session.now,
        exit_code=exit_code,
        pairs=rows,
        snapshots=made,
        properties=kept,
    )


def happened(session: Session, events: Iterable[Event]) -> Document:
    """The document of history."""
    told = [
        EventState(
            each.at,
            each.host,
            each.filesystem,
            printable(each.what),
            each.role,
            printable(each.who),
            printable(each.command),
            each.tag,
        )
        for each in events
    ]
    return Document(
        host=session.local.name,
        time=session.now,
        exit_code=0,
        warnings=[printable(text) for text in session.warnings],
        events=told,
    )


def done(session: Session, outcomes: Sequence[Outcome], error: ZrepError | None) -> Document:
    """The document of a run that does something. error: what ended it before it could say of each filesystem."""
    code = error.exit_code if error else worst(outcome.code for outcome in outcomes)
    commands = [Command(line.host, [printable(word) for word in line.argv]) for line in session.lines]
    return Document(
        host=session.local.name,
        time=session.now,
        exit_code=code,
        error=trouble(error) if error else None,
        warnings=[printable(text) for text in session.warnings],
        results=results(outcomes),
        commands=commands if session.options.dry_run else None,
    )


def allowed(session: Session, lines: Iterable[str]) -> Document:
    """The document of allow, whose lines are for a shell."""
    host = session.local.name
    return Document(
        host=host,
        time=session.now,
        exit_code=0,
        warnings=[printable(text) for text in session.warnings],
        commands=[Command(host, ["sh", "-c", line]) for line in lines],
    )


def versioned(version: str) -> Document:
    """The document of version."""
    return Document(host=os.uname().nodename, time=int(time.time()), exit_code=0, version=version)


def failed(error: ZrepError) -> Document:
    """The document of a run that ended before it had anything to work with."""
    return Document(host=os.uname().nodename, time=int(time.time()), exit_code=error.exit_code, error=trouble(error))
