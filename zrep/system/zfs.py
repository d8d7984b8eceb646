"""The ZFS vocabulary of zrep: what is read and how, and errors as types. What changes something is in argv.py.

Shapes and wordings are those of OpenZFS 2.1 to 2.3; the contract suite (tests/contract) holds them to the real one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from zrep.core.errors import FailedError, RefusedError, ZrepError
from zrep.core.names import ROLE_PROPERTIES
from zrep.core.record import replace
from zrep.core.state import NO_HOLDS, UNKNOWN, Intent, Member, Role, Snapshot, Value
from zrep.core.words import floor_bytes
from zrep.system.process import Completed

NATIVE_PROPERTIES = (
    "type",
    "guid",
    "readonly",
    "mounted",
    "mountpoint",
    "canmount",
    "written",
    "used",
    "referenced",
    "available",
    "encryption",
    "encryptionroot",
    "keystatus",
    "origin",
    "receive_resume_token",
    "volsize",
    "sharenfs",
    "sharesmb",
)
_SNAPSHOT_COLUMNS = ("name", "guid", "createtxg", "creation", "userrefs", "written", "used", "clones")
_HOLDS_UNKNOWN = frozenset(("",))

Argv = tuple[str, ...]


# --- reading -------------------------------------------------------------------------------------------------


def version() -> Argv:
    return ("zfs", "version")


def parse_version(text: str) -> tuple[int, ...]:
    """(2, 3, 2) from ``zfs version``; () when it says nothing of the kind."""
    match = re.search(r"^zfs-(?:kmod-)?v?(\d+)\.(\d+)(?:\.(\d+))?", text, re.MULTILINE)
    return tuple(int(part) for part in match.groups() if part) if match else ()


def find_pairs(tag: str) -> Argv:
    """Every dataset with a local role: one command for the whole machine."""
    names = ",".join(f"{tag}:{name}" for name in ROLE_PROPERTIES)
    return ("zfs", "get", "-Hp", "-s", "local", "-t", "filesystem,volume", "-o", "name,property,value,source", names)


def find_marked(name: str) -> Argv:
    """Every dataset that has this property itself, with its value."""
    return ("zfs", "get", "-Hp", "-s", "local", "-t", "filesystem,volume", "-o", "name,value", name)


def get_properties(tag: str, datasets: Sequence[str]) -> Argv:
    names = ",".join((*NATIVE_PROPERTIES, *(f"{tag}:{name}" for name in ROLE_PROPERTIES)))
    return ("zfs", "get", "-Hp", "-o", "name,property,value,source", names, *datasets)


def get_standing(tag: str, datasets: Sequence[str]) -> Argv:
    """What decides whether each dataset may receive: its own generation and role."""
    return ("zfs", "get", "-Hp", "-s", "local", "-o", "name,property,value", f"{tag}:gen,{tag}:master", *datasets)


def get_all(dataset: str) -> Argv:
    return ("zfs", "get", "-Hp", "-o", "name,property,value,source", "all", dataset)


def list_snapshots(tag: str, datasets: Sequence[str]) -> Argv:
    columns = ",".join((*_SNAPSHOT_COLUMNS, f"{tag}:sent"))
    return ("zfs", "list", "-Hp", "-d", "1", "-t", "snapshot", "-o", columns, *datasets)


def get_snapshots(snapshots: Sequence[str]) -> Argv:
    """What makes each snapshot the one it is, by full name."""
    return ("zfs", "get", "-Hp", "-o", "name,property,value", "guid,createtxg,creation", *snapshots)


def list_holds(snapshots: Sequence[str]) -> Argv:
    return ("zfs", "holds", "-H", *snapshots)


def list_tree(dataset: str) -> Argv:
    """A dataset and all below it, by name."""
    return ("zfs", "list", "-H", "-r", "-t", "filesystem,volume", "-o", "name", dataset)


def list_mounts() -> Argv:
    """Every filesystem: where it belongs, and whether it is mounted."""
    return ("zfs", "list", "-H", "-t", "filesystem", "-o", "name,mounted,mountpoint")


def list_allowed(dataset: str) -> Argv:
    return ("zfs", "allow", dataset)


def pool_free(pool: str) -> Argv:
    return ("zpool", "list", "-Hp", "-o", "name,size,free,health,readonly", pool)


def token_contents(token: str) -> Argv:
    """What a resume token stands for; fails when its snapshot is gone here."""
    return ("zfs", "send", "-nvP", "-t", token)


# The sections of what `zfs allow` prints, as the options that bring one about (seen on OpenZFS 2.3.2).
_SECTIONS = {
    "Permission sets:": ("-s",),
    "Create time permissions:": ("-c",),
    "Local permissions:": ("-l",),
    "Descendent permissions:": ("-d",),
    "Local+Descendent permissions:": (),
}
_WHO = re.compile(r"(?:(user|group) (?:\(unknown: (\d+)\)|(.+)) |(everyone) |(@\S+) )?(\S+)")


def parse_allowed(text: str, dataset: str) -> list[tuple[str, ...]]:
    """``zfs allow``: what is delegated on the dataset itself, each as the words that delegate it."""
    found: list[tuple[str, ...]] = []
    section: tuple[str, ...] | None = None
    own = False
    for line in text.splitlines():
        if line.startswith("---- Permissions on "):
            own = line.removeprefix("---- Permissions on ").rstrip("-").rstrip() == dataset
        elif not line.startswith("\t"):
            section = _SECTIONS.get(line)
        elif own and section is not None and (who := _WHO.fullmatch(line.strip())):
            kind, number, name, everyone, permission_set, permissions = who.groups()
            holder = (f"-{kind[0]}", number or name) if kind else ("-e",) if everyone else ()
            found.append((*section, *holder, *((permission_set,) if permission_set else ()), permissions))
    return found


def parse_token(text: str) -> Mapping[str, str]:
    """toguid, fromguid, bytes (decimal, as ``zfs get guid``) and toname of ``zfs send -nvP -t``."""
    found: dict[str, str] = {}
    for key, value in re.findall(r"^\s*(toguid|fromguid|toname|bytes) = (.+)$", text, re.MULTILINE):
        found[key] = str(int(value, 16)) if value.startswith("0x") else value
    return found


def parse_stream_size(text: str) -> int:
    match = re.search(r"^size\t(\d+)", text, re.MULTILINE)
    return int(match.group(1)) if match else 0


def parse_properties(text: str) -> dict[str, dict[str, Value]]:
    """``zfs get -o name,property,value,source``: dataset → property → Value. Anything else is refused."""
    table: dict[str, dict[str, Value]] = {}
    known: dict[tuple[str, str], Value] = {}  # most are those of many datasets
    for name, prop, value, source in _rows(text, 4, "zfs get"):
        table.setdefault(name, {})[sys.intern(prop)] = known.setdefault((value, source), Value(value, source))
    return table


def parse_replicas(tag: str, text: str) -> dict[str, str]:
    """``zfs get`` of get_standing: those that are replicas, each with its generation."""
    table = _values(text)
    return {name: found.get(f"{tag}:gen", "") for name, found in table.items() if found.get(f"{tag}:master") == "no"}


def parse_snapshots(text: str) -> dict[str, list[Snapshot]]:
    """``zfs list`` of list_snapshots: dataset → snapshots, oldest first. Holds are not known yet; a snapshot
    with userrefs has the empty hold "" until list_holds says which."""
    return dict(each_snapshots(text))


def each_snapshots(text: str) -> Iterator[tuple[str, list[Snapshot]]]:
    """The same, one dataset after the other: there may be many with many. FailedError when one comes twice: zfs list
    sorts by name."""
    seen: set[str] = set()
    rows = _rows(text, len(_SNAPSHOT_COLUMNS) + 1, "zfs list -t snapshot")
    for dataset, group in groupby(rows, lambda row: row[0].partition("@")[0]):
        if dataset in seen:
            raise FailedError("zfs list printed something zrep does not understand", evidence=f"{dataset} comes twice")
        seen.add(dataset)
        yield dataset, sorted(map(_snapshot, group), key=lambda snapshot: snapshot.createtxg)


def _snapshot(row: Sequence[str]) -> Snapshot:
    full, guid, createtxg, creation, userrefs, written, used, clones, sent = row
    return Snapshot(
        name=sys.intern(full.partition("@")[2]),  # many filesystems have snapshots of the same names
        guid=sys.intern(guid),  # the other side has it too
        createtxg=_integer(createtxg, full),
        creation=_integer(creation, full),
        written=_integer(written, full),
        used=_integer(used, full),
        holds=_HOLDS_UNKNOWN if userrefs not in ("0", "-") else NO_HOLDS,
        sent=_number(sent),
        clones=tuple(clones.split(",")) if clones not in ("", "-") else (),
    )


def parse_new_snapshots(text: str) -> dict[str, Snapshot]:
    """``zfs get`` of get_snapshots: full name → the snapshot, as it is right after it was made."""
    return {
        full: Snapshot(
            name=full.partition("@")[2],
            guid=found.get("guid", ""),
            createtxg=_integer(found.get("createtxg", ""), full),
            creation=_integer(found.get("creation", ""), full),
        )
        for full, found in _values(text).items()
    }


def parse_holds(text: str) -> dict[str, frozenset[str]]:
    """``zfs holds -H``: snapshot → tags."""
    table: dict[str, frozenset[str]] = {}
    for row in _rows(text, 3, "zfs holds"):
        table[row[0]] = table.get(row[0], frozenset()) | {row[1]}
    return table


def _number(text: str, digits: int = 18) -> int | None:
    """A whole number as zrep writes one; None for anything else, digits of other scripts among it."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits else None


_FORMS: dict[str, Callable[[str], object]] = {
    "master": re.compile(r"yes|no").fullmatch,
    "epoch": lambda text: _number(text) is not None,
    "savecount": lambda text: _number(text) is not None,
    "lease": lambda text: _number(text) is not None,
    "minfree": lambda text: floor_bytes(text, 0) is not None,
    "inprogress": lambda text: (intent := Intent.parse(text)) is None or intent.operation != UNKNOWN,
}


def role_of(tag: str, dataset: str, properties: Mapping[str, Value]) -> Role:
    """The role a dataset plays itself: only properties with source local count (children inherit,
    ``send -p`` carries, clones copy). One exception: a replica that the shell zrep made and that has no role of
    its own yet, but received the master's with its first stream, naming this very dataset as the target.
    While a record of a new role is there, it is the role (see Intent)."""

    def own(name: str) -> str:
        value = properties.get(f"{tag}:{name}")
        return value.value if value is not None and value.local and value.value != "-" else ""

    intent = Intent.parse(own("inprogress"))
    recorded = intent.role if intent else {}

    def local(name: str) -> str:
        return recorded.get(name, "") or own(name)

    if not local("src-fs"):
        received = {
            name: value.value
            for name in ("src-host", "src-fs", "dest-host", "dest-fs", "savecount")
            if (value := properties.get(f"{tag}:{name}")) is not None and value.source == "received"
        }
        if received.get("dest-fs") == dataset and not local("gen"):
            links = (received.get("src-host", ""), received.get("src-fs", ""), received.get("dest-host", ""), dataset)
            return Role(*links, master=False, intent=intent)
    return Role(
        src_host=local("src-host"),
        src_fs=local("src-fs"),
        dest_host=local("dest-host"),
        dest_fs=local("dest-fs"),
        # The shell zrep marks only masters.
        master={"yes": True, "no": False, "": False if local("src-fs") and not local("gen") else None}.get(
            local("master")
        ),
        savecount=_number(local("savecount")),
        epoch=_number(local("epoch")),
        gen=local("gen"),
        parents=tuple(filter(None, local("parent").split(","))),
        intent=intent,
        paused=local("paused"),
        outfilter=local("outfilter"),
        infilter=local("infilter"),
        flags=properties[f"{tag}:flags"].value if local("flags") else None,
        split=local("split"),
        canmount=local("canmount"),
        alone=local("alone") == "yes",
        lease=_number(local("lease")) or 0,
        minfree=local("minfree"),
        lock_pid=local("lock-pid"),
        lock_time=local("lock-time"),
        unreadable=", ".join(
            f"{tag}:{name} is {own(name)!r}" for name, form in _FORMS.items() if own(name) and not form(own(name))
        ),
        torn=any(own(name) != value for name, value in recorded.items()),
    )


def build_member(tag: str, name: str, properties: Mapping[str, Value], snapshots: Sequence[Snapshot]) -> Member:
    return Member(name, properties, role_of(tag, name, properties), tuple(snapshots))


def _values(text: str) -> dict[str, dict[str, str]]:
    """``zfs get -o name,property,value``: name → property → value."""
    table: dict[str, dict[str, str]] = {}
    for name, prop, value in _rows(text, 3, "zfs get"):
        table.setdefault(name, {})[prop] = value
    return table


def _rows(text: str, columns: int, command: str) -> Iterator[list[str]]:
    # Line by line: a list of all of them is as large as the text once more.
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        row = text[start:end].split("\t")
        if len(row) != columns:
            raise FailedError(f"{command} printed something zrep does not understand", evidence=text[start:end][:120])
        yield row
        start = end + 1


def _integer(text: str, what: str) -> int:
    if text == "-":
        return 0
    number = _number(text, 20)  # as many as 64 bits have
    if number is None:
        raise FailedError("zfs list printed something zrep does not understand", evidence=f"{what}: {text[:60]}")
    return number


# --- errors --------------------------------------------------------------------------------------------------


class AbsentError(RefusedError):
    """The dataset or snapshot is not there: said by ZFS itself, so it may be believed."""


class ModifiedError(RefusedError):
    """The target of a stream was changed since the base."""


class NoBaseError(RefusedError):
    """The target does not have, or no longer ends at, the incremental source."""


class OccupiedError(FailedError):
    """Something has the dataset open, mounted, held or cloned."""


class NoSpaceError(FailedError):
    """Pool or quota full."""


class DeniedError(RefusedError):
    """The user may not."""


class BrokenStreamError(FailedError):
    """The stream ended too early: its cause is at the other end."""


class StaleTokenError(FailedError):
    """What is half received can never be completed: a snapshot was made there since."""


_ERRORS: tuple[tuple[str, type[ZrepError]], ...] = (
    (r"dataset does not exist|no such pool|could not find any snapshots|does not exist$", AbsentError),
    (r"has been modified", ModifiedError),
    (r"does not match incremental source|incremental source .* does not|most recent snapshot of", NoBaseError),
    (r"out of space|No space left|quota exceeded|ENOSPC", NoSpaceError),
    (r"permission denied|Permission denied|must be root|insufficient privileges", DeniedError),
    (
        r"dataset is busy|is busy|pool or dataset is busy|target is busy|dependent clones|has children|"
        # mount.zfs's words for a read-only remount while a file is open for writing
        r"currently being received|unmount failed|filesystem '.*' is already mounted",
        OccupiedError,
    ),
    (
        r"incomplete stream|invalid stream|checksum mismatch|stream .* truncated|partially-complete state|"
        r"input/output error|Broken pipe|signal received",
        BrokenStreamError,
    ),
    (r"kernel modules must be upgraded", StaleTokenError),
)


_ADVICE: dict[type[ZrepError], str] = {
    DeniedError: "run it as root, or let this user do it: zfs allow",
    NoSpaceError: "make room: destroy snapshots or raise the quota",
}


def error(completed: Completed) -> ZrepError:
    """zfs's own words as a typed error; what no rule knows is a plain FailedError."""
    said = [line.strip() for line in (completed.err.strip() or completed.out.strip()).splitlines()]
    command = " ".join(completed.argv[:2])
    for pattern, kind in _ERRORS:
        for line in said:
            if re.search(pattern, line):
                return kind(f"{command} failed", evidence=line, advice=_ADVICE.get(kind, ""))
    # Over ssh, login files may have said something before; zfs says what it cannot do.
    telling = [line for line in said if line.startswith(("cannot ", "internal error"))] or said[-1:]
    return FailedError(f"{command} failed", evidence=telling[0] if telling else f"exit status {completed.status}")


_ABSENT = re.compile(r"cannot open '.+': (dataset|snapshot) does not exist")


def present(completed: Completed) -> Completed:
    """A ``zfs get`` of many datasets or snapshots, of which some may not be there: what it printed is of the others.
    Its typed error when it failed for any other reason, or was ended before it had asked for all of them."""
    said = [line.strip() for line in completed.err.splitlines() if line.strip()]
    other = [line for line in said if not _ABSENT.fullmatch(line)]
    if completed.status == 0 or (completed.status == 1 and said and not other):
        return completed
    raise error(replace(completed, out="", err="".join(other[:1])))
