"""What zrep knows of one dataset and its snapshots, frozen at the moment it was read."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from zrep.core import shape
from zrep.core.names import (
    FOLLOWED,
    MADE,
    ROLE_PROPERTIES,
    SENT,
    is_bookmark,
    is_dataset,
    is_host,
    is_of_a_tag,
    sequence_of,
)
from zrep.core.place import NOWHERE, PLACES
from zrep.core.quantities import Whole, floor_bytes, whole_number
from zrep.core.role import HERE, PEER, UNKNOWN, Intent, Role
from zrep.core.rules import parse_patterns, parse_schedule

# One for all snapshots without any: Python makes a new one of 216 bytes each time.
NO_HOLDS: frozenset[str] = frozenset()


class Value(Struct, frozen=True, array_like=True):
    """A property's value and its source as ``zfs get`` names it (local, default, received, inherited from X, -)."""

    value: str
    source: str

    @property
    def local(self) -> bool:
        return self.source == "local"


class Snapshot(Struct, frozen=True, array_like=True):
    """One snapshot of one dataset. guid is its identity, createtxg its place in order; sent and creation in seconds;
    made: it has the mark of a snapshot that zrep made, relayed: that of one which a relay has passed on. bookmark: only
    a bookmark of it is known, by the name that this has: an increment can begin there, and nothing else. of: the clone
    in a pair of its own that may have made it, before this dataset was promoted over that (see promoted.py), "" for
    none: it is nobody else's to let go of."""

    name: str
    guid: str
    createtxg: Whole
    creation: Whole = 0
    written: Whole = 0
    used: Whole = 0
    holds: frozenset[str] = NO_HOLDS
    sent: Whole | None = None
    clones: tuple[str, ...] = ()
    made: bool = False
    relayed: bool = False
    bookmark: bool = False
    of: str = ""

    def own(self, tag: str) -> bool:
        """Whether zrep has made it, under a tag: by its name and a mark. The mark of its making does not travel with an
        increment; what has arrived is held, and marked as sent. What a relay has brought has the name that it was given
        under another tag; the mark of that stays with what somebody has renamed since, which is his."""
        if self.relayed:
            return is_of_a_tag(self.name)
        return sequence_of(tag, self.name) is not None and (self.made or self.sent is not None or tag in self.holds)


class PoolSpace(Struct, frozen=True):
    """A pool's size and what is free in it, in bytes."""

    size: Whole
    free: Whole


class TokenContents(Struct, frozen=True):
    """What a resume token stands for. sendable: the host that was asked can go on with it; guids are "" where the
    token names none; received: bytes that have arrived; raw: they go as they are on disk."""

    sendable: bool = False
    from_guid: str = ""
    to_guid: str = ""
    received: Whole = 0
    raw: bool = False

    def goes_on(self, source: Member, since: str, guid: str) -> bool:
        """Whether it is the rest of a stream of a source, from one guid ("" for none) to another. The token is written
        where the stream arrives: of what goes there raw, one that is not would bring it in the clear."""
        return self.sendable and (self.from_guid, self.to_guid) == (since, guid) and (self.raw or not source.sent_raw)


NO_TOKEN = TokenContents()


class Member(Struct, frozen=True):
    """One filesystem or volume with its snapshots, oldest first (by createtxg). only_quotas: what was written since the
    newest of them is known to be user, group or project quotas, and no more. filters: what root of its host lets
    streams be passed through there, programs: what is installed there of what these begin, and of what zrep itself
    passes streams through; both where it was asked for by its name. bookmarks: what is left of snapshots, whoever made
    it, oldest first."""

    name: str
    properties: Mapping[str, Value]
    role: Role
    snapshots: tuple[Snapshot, ...] = ()
    place: str = NOWHERE
    only_quotas: bool = False
    filters: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    bookmarks: tuple[Snapshot, ...] = ()

    def get(self, name: str, default: str = "-") -> str:
        value = self.properties.get(name)
        return default if value is None else value.value

    def number(self, name: str) -> int:
        return whole_number(self.get(name), 20) or 0

    @property
    def has_children(self) -> bool:
        """Whether something is below it, as far as that is told with everything else: a clone that nobody has written
        to uses nothing (seen on OpenZFS 2.3.2)."""
        return self.number("usedbychildren") > 0

    @property
    def volume(self) -> bool:
        return self.get("type") == "volume"

    @property
    def readonly(self) -> bool:
        """Whether it is read-only by its property. A mount with another option than the property says so too, as
        "temporary" (zfsprops(7)): that ends with the mount, and what the property is cannot be read meanwhile."""
        value = self.properties.get("readonly")
        return value is not None and value.value == "on" and value.source != "temporary"

    @property
    def may_be_written(self) -> bool:
        """Whether one that has been received can be written to: a replica cannot, until it is promoted."""
        return not (self.readonly or self.arriving)

    @property
    def mounted(self) -> bool:
        return self.get("mounted") == "yes"

    @property
    def placed(self) -> bool:
        """Mounted where its mountpoint says, and not by hand (mountpoint=legacy)."""
        return self.mounted and self.get("mountpoint").startswith("/")

    @property
    def master_canmount(self) -> str:
        """What canmount is while this side is master; a replica has noauto and remembers it in its role."""
        return self.role.canmount or self.get("canmount", "on")

    @property
    def encrypted(self) -> bool:
        return self.get("encryption") not in ("off", "-")

    @property
    def sent_raw(self) -> bool:
        """Whether its streams are raw. Those of a pair of the shell zrep, which has no flags recorded, are where it is
        encrypted."""
        return self.encrypted and (self.role.flags is None or self.role.raw)

    @property
    def key_missing(self) -> bool:
        return self.encrypted and self.get("keystatus") == "unavailable"

    @property
    def may_have_log(self) -> bool:
        """Whether writes that were acknowledged before a crash may still be in the intent log alone: no snapshot has
        them, and a stream that is received discards them. It is replayed when a filesystem is mounted, read-only or
        not, and when the device of a volume is made, for which its key must be loaded (zil_replay() in zfs_vfsops_os.c
        and zvol_os.c)."""
        return self.key_missing or not (self.volume or self.mounted)

    @property
    def load_key(self) -> str:
        """The command that loads its key: it is that of its encryption root, and zfs refuses any other name."""
        root = self.get("encryptionroot")
        return f"zfs load-key '{self.name if root == '-' else root}'"

    @property
    def arriving(self) -> bool:
        """Whether it has never been received whole: it is not there, or the half of its first stream is."""
        return not self.snapshots and (not self.properties or bool(self.token))

    @property
    def token(self) -> str:
        token = self.get("receive_resume_token")
        return "" if token == "-" else token

    def unwritten(self) -> Member:
        """The same, known to be what its newest snapshot is, whatever ZFS counts as written."""
        return replace(self, properties={**self.properties, "written": Value("0", "-")})

    def by_guid(self, guid: str) -> Snapshot | None:
        return next((snapshot for snapshot in self.snapshots if snapshot.guid == guid), None)

    def by_name(self, name: str) -> Snapshot | None:
        return next((snapshot for snapshot in self.snapshots if snapshot.name == name), None)

    @property
    def beginnings(self) -> Iterator[Snapshot]:
        """What an increment can begin at, the newest first: snapshots, and bookmarks of those that are gone."""
        there = {snapshot.guid for snapshot in self.snapshots} if self.bookmarks else ()
        gone = [mark for mark in self.bookmarks if mark.guid not in there]
        return reversed(sorted((*self.snapshots, *gone), key=_created) if gone else self.snapshots)

    def kept_bookmarks(self, tag: str) -> list[Snapshot]:
        """The bookmarks that its own pair keeps under a tag, oldest first."""
        return [mark for mark in self.bookmarks if is_bookmark(tag, mark.name) and not mark.of]

    def after(self, base: Snapshot) -> tuple[Snapshot, ...]:
        return tuple(snapshot for snapshot in self.snapshots if snapshot.createtxg > base.createtxg)

    def left_over(self, tag: str, base: Snapshot) -> tuple[Snapshot, ...]:
        """Of a replica, the snapshots after its base that zrep made here while this was the master and never sent:
        nothing was written to it since, nobody else holds them and they have no clones. Nothing is lost with them."""
        if self.written_since(base):
            return ()
        return tuple(
            snapshot
            for snapshot in self.after(base)
            if snapshot.made and snapshot.sent is None and sequence_of(tag, snapshot.name) is not None
            if snapshot.holds <= {tag} and not snapshot.clones and not snapshot.of
        )

    def written_since(self, base: Snapshot) -> int:
        """Bytes written after base: in later snapshots and since the last of them. Zero means nothing was
        written only after the pool's transaction group has closed: an intent log may hold more."""
        return self.number("written") + sum(snapshot.written for snapshot in self.after(base))

    @property
    def marked(self) -> tuple[Snapshot, ...]:
        """The snapshots that are marked as known to be on both sides, whoever made them, oldest first: the base that a
        replica was adopted at is another program's."""
        return tuple(snapshot for snapshot in self.snapshots if snapshot.sent is not None and not snapshot.of)

    def received(self, tag: str) -> tuple[Snapshot, ...]:
        """The snapshots of a replica that are known to have come from its master, whoever made them, oldest first: what
        is marked so, else what a run that was cut has held before it marked it, else zrep's own."""
        return self.marked or self.held(tag) or self.ours(tag)

    def held(self, tag: str) -> tuple[Snapshot, ...]:
        """The snapshots that its own pair holds under a tag, oldest first."""
        return tuple(snapshot for snapshot in self.snapshots if tag in snapshot.holds and not snapshot.of)

    def ours(self, tag: str, known: Collection[str] = ()) -> tuple[Snapshot, ...]:
        """zrep's own snapshots, oldest first. known: guids of those that are its own on the other side. An
        administrator's may be called alike: a name alone says nothing.

        The shell zrep marks what it has sent, on the master alone, and numbers one by one: of a pair of its own, what
        goes before and after a snapshot that is known in one sequence is too."""
        named = [snapshot for snapshot in self.snapshots if sequence_of(tag, snapshot.name) is not None]
        own = {snapshot.guid for snapshot in named if snapshot.own(tag) or snapshot.guid in known}
        own |= {snapshot.guid for snapshot in self.snapshots if snapshot.relayed and snapshot.own(tag)}
        if self.role.paired and not self.role.gen:
            own |= _in_sequence(tag, self.snapshots, own) | _in_sequence(tag, self.snapshots[::-1], own)
        return tuple(snapshot for snapshot in self.snapshots if snapshot.guid in own and not snapshot.of)


def _created(snapshot: Snapshot) -> int:
    return snapshot.createtxg


def _in_sequence(tag: str, snapshots: Sequence[Snapshot], known: Collection[str]) -> set[str]:
    """The guids of snapshots that follow those that are known number by number, up or down. One that was never sent
    has left its number."""
    found: set[str] = set()
    last = None
    for snapshot in snapshots:
        number = sequence_of(tag, snapshot.name.removesuffix("_unsent"))
        if number is None:
            continue
        if snapshot.guid in known:
            last = number
        elif last is not None and abs(number - last) == 1:
            last = number
            found |= {snapshot.guid} if sequence_of(tag, snapshot.name) is not None else set()
    return found


UNSET = Value("-", "-")
# What the shell zrep never wrote. Its master is marked after the first stream.
_NOT_OF_THE_SHELL = ("epoch", "gen", "parent", "inprogress", "flags", "outfilter", "infilter", "split", "canmount")


# What it can be that is set back when a side is promoted: anything else ZFS would refuse once the role has moved.
_CANMOUNT = re.compile(r"on|off|noauto")

_PROPS = re.compile(r"[a-z_]+(?:=[A-Za-z0-9.-]+)?(?:,[a-z_]+(?:=[A-Za-z0-9.-]+)?)*")
_FORMS: dict[str, Callable[[str], object]] = {
    "src-host": is_host,
    "src-fs": is_dataset,
    "dest-host": is_host,
    "dest-fs": is_dataset,
    "master": re.compile(r"yes|no").fullmatch,
    "epoch": lambda text: whole_number(text) is not None,
    "savecount": lambda text: whole_number(text) is not None,
    "lease": lambda text: whole_number(text) is not None,
    "minfree": lambda text: floor_bytes(text, 0) is not None,
    "flags": re.compile(r"(?: *--?[A-Za-z][A-Za-z-]*)* *").fullmatch,
    "props": lambda text: (
        _PROPS.fullmatch(text) and {word.partition("=")[0] for word in text.split(",")} <= {*FOLLOWED}
    ),
    "maxlag": lambda text: whole_number(text) is not None,
    "after": lambda text: whole_number(text) is not None,
    "keep": parse_schedule,
    "foreign": parse_patterns,
    "unsent": re.compile(r"keep|drop").fullmatch,
    "compress": shape.compressor,
    "bwlimit": shape.rate,
    "recursive": re.compile(r"on|off").fullmatch,
    "allsnaps": re.compile(r"on|off").fullmatch,
    "gone": lambda text: whole_number(text) is not None,
    "places": PLACES.fullmatch,
    "canmount": _CANMOUNT.fullmatch,
    "frozen": re.compile(r"on").fullmatch,
    "driver": re.compile(f"{HERE}|{PEER}").fullmatch,
    "inprogress": lambda text: (intent := _record(text)) is None or intent.operation != UNKNOWN,
}


def _record(text: str) -> Intent | None:
    """The record of a role change. While it is there it is the role: one in which something is that zrep never writes
    into a role is as one that cannot be read."""
    intent = Intent.parse(text)
    told = intent.role.items() if intent else ()
    return intent if all(_proper(name, value) for name, value in told) else Intent(UNKNOWN, text[:80])


def _proper(name: str, value: str) -> bool:
    """Whether a record may say so of a role; another record is in none."""
    return name in ROLE_PROPERTIES and name != "inprogress" and formed(name, value)


def formed(name: str, value: str) -> bool:
    """Whether a property of a role may have a value; "": it has none."""
    form = _FORMS.get(name)
    return not value or form is None or bool(form(value))


# What says that it is in a pair: as long as that is there it is not in none, whatever is written in it.
_OF_A_PAIR = frozenset({"src-host", "src-fs", "dest-host", "dest-fs", "master"})


def role_of(tag: str, dataset: str, properties: Mapping[str, Value]) -> Role:
    """The role a dataset plays itself: only properties with source local count (children inherit,
    ``send -p`` carries, clones copy). One exception: a replica that the shell zrep made and that has no role of
    its own yet, but received the master's with its first stream, naming this very dataset as the target, and nothing
    that only this zrep writes. While a record of a new role is there, it is the role (see Intent). What zrep never
    writes is left out, and told (unreadable): whoever may set a property of one dataset is not to stop a run."""

    def own(name: str) -> str:
        value = properties.get(f"{tag}:{name}")
        return value.value if value is not None and value.local and value.value != "-" else ""

    intent = _record(own("inprogress"))
    recorded = intent.role if intent else {}

    def local(name: str) -> str:
        value = recorded.get(name, "") or own(name)
        return value if name in _OF_A_PAIR or formed(name, value) else ""

    if not local("src-fs"):
        received = {
            name: value.value
            for name in ("src-host", "src-fs", "dest-host", "dest-fs", "savecount")
            if (value := properties.get(f"{tag}:{name}")) is not None and value.source == "received"
        }
        of_shell = not any(properties.get(f"{tag}:{name}", UNSET).source == "received" for name in _NOT_OF_THE_SHELL)
        if received.get("dest-fs") == dataset and of_shell and not local("gen"):
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
        savecount=whole_number(local("savecount")),
        epoch=whole_number(local("epoch")),
        gen=local("gen"),
        parents=tuple(filter(None, local("parent").split(","))),
        intent=intent,
        paused=local("paused"),
        outfilter=local("outfilter"),
        infilter=local("infilter"),
        flags=local("flags") or None,
        props=local("props"),
        split=local("split"),
        canmount=local("canmount"),
        frozen=local("frozen") == "on",
        alone=local("alone") == "yes",
        lease=whole_number(local("lease")) or 0,
        minfree=local("minfree"),
        max_lag=whole_number(local("maxlag")),
        after=whole_number(local("after")),
        places=local("places"),
        keep=local("keep"),
        foreign=parse_patterns(local("foreign")) or (),
        drop_unsent=local("unsent") == "drop",
        compress=shape.compressor(local("compress")) or "",
        bwlimit=shape.rate(local("bwlimit")) or 0,
        lock_pid=local("lock-pid"),
        unreadable=", ".join(f"{tag}:{name} is {own(name)!r}" for name in _unreadable(own)),
        partially_applied=any(own(name) != value for name, value in recorded.items()),
        recursive=local("recursive") == "on",
        all_snapshots=local("allsnaps") == "on",
        complete=local("set"),
        coming=tuple(filter(None, local("coming").split(","))),
        excluded=local("exclude").lower() not in ("", "off", "no"),
        gone=whole_number(local("gone")),
        driver=local("driver"),
    )


def _unreadable(own: Callable[[str], str]) -> Iterator[str]:
    """The properties whose values zrep never writes, by short name; of a dataset in a pair the mark of a split copy,
    which is in none, and which of both it is where that is not said. own: the local value of each, "" for none."""
    for name in _FORMS:
        if not formed(name, own(name)):
            yield name
    paired = all(own(name) for name in ("src-host", "src-fs", "dest-host", "dest-fs"))
    if own("split") and paired and not own("inprogress"):
        yield "split"
    if own("gen") and paired and not own("master") and not own("inprogress"):
        yield "master"


def build_member(tag: str, name: str, properties: Mapping[str, Value], snapshots: Sequence[Snapshot]) -> Member:
    role = role_of(tag, name, properties)
    # A stream of another tag may have brought the properties along: a replica of the shell zrep has its snapshots too.
    if only_received(tag, role, properties) and all(sequence_of(tag, snapshot.name) is None for snapshot in snapshots):
        role = Role()
    return Member(name, properties, role, tuple(_own_marks(tag, properties, snapshots)))


def only_received(tag: str, role: Role, properties: Mapping[str, Value]) -> bool:
    """Whether a role rests on received properties alone, as that of a replica of the shell zrep does."""
    return role.paired and role.intent is None and not properties.get(f"{tag}:src-fs", UNSET).local


def _own_marks(tag: str, properties: Mapping[str, Value], snapshots: Sequence[Snapshot]) -> Sequence[Snapshot]:
    """Snapshots without the marks that they might only inherit: zfs list shows what a dataset has as theirs."""
    given = {mark: properties[f"{tag}:{mark}"].value for mark in (MADE, SENT) if f"{tag}:{mark}" in properties}
    if set(given.values()) <= {"-"}:
        return snapshots
    made, sent = given.get(MADE, "-") == "-", whole_number(given.get(SENT, "-"))
    return [
        replace(s, made=s.made and made, relayed=s.relayed and made, sent=None if s.sent == sent else s.sent)
        for s in snapshots
    ]
