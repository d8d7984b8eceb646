"""A role and the intent of a change of it: what they say, and how they are written as ZFS properties."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from zrep.core.names import is_dataset, is_host
from zrep.core.quantities import Whole, whole_number
from zrep.core.rules import parse_patterns

# The generation of a pair that the shell zrep made: it has no zrep:gen, so it descends from nothing.
LEGACY = "0" * 16

# How many generations before its own a side remembers. Each one more may have been made without the peer, which knows
# none of them: as long as one of both is remembered, the two are the halves of one pair. 17 bytes each, in values that
# may have 8191.
ANCESTORS_KEPT = 64

# A value of a property has at most so many bytes. A record that is longer is packed, and comes unpacked to at most so
# many: whoever may set properties has written it.
_LONGEST = 8191
_UNPACKED = 1 << 20

# How the mark of a clone begins that a rejoin has prepared; the name of the dataset whose place it is to take follows.
PREPARED = "made for the rejoin of"


UNKNOWN = "unknown"


NOTHING: Mapping[str, str] = MappingProxyType({})

# Who drives a pulled pair: the host of this half, which dials the other, or that of the other half.
HERE, PEER = "here", "peer"


class Intent(Struct, frozen=True):
    """A role change, init or rejoin under way, as ``zrep:inprogress`` keeps it.

    operation: failover, promote, follow, cancelled, stopped, init, rejoin; identity: the generation it makes (or a
    random id); phase: how far it got; detail: what to restore, by dataset and property: (value, source).
    role: the properties of a new role, by short name. A role is eight properties, and a set of several that fails
    can land in part; the record is one property, lands whole or not, and while it is there it is the role.
    """

    operation: str
    identity: str
    phase: str = ""
    epoch: int = 0
    detail: Mapping[str, str] = NOTHING
    role: Mapping[str, str] = NOTHING

    @property
    def completed(self) -> bool:
        """Nothing is left to do but to take the record away."""
        return self.operation in ("cancelled", "follow")

    def text(self) -> str:
        record: dict[str, object] = {"op": self.operation, "id": self.identity}
        if self.phase:
            record["phase"] = self.phase
        if self.epoch:
            record["epoch"] = self.epoch
        if self.detail:
            record["detail"] = dict(self.detail)
        if self.role:
            record["role"] = dict(self.role)
        text = _written(record)
        if len(text) > _LONGEST and self.detail:  # of a tree, of whose members many have a readonly of their own
            record["packed"] = _packed(_written(record.pop("detail")))
            text = _written(record)
        return text

    @classmethod
    def parse(cls, text: str) -> Intent | None:
        """None for no intent. One this program did not write becomes the operation "unknown", with the text as its
        identity: never taken for none, and refused wherever a pair is worked on."""
        if text in ("", "-"):
            return None
        try:
            record = json.loads(text)
            if "packed" in record:
                record["detail"] = json.loads(_unpacked(record["packed"]))
            if any("\ud800" <= letter <= "\udbff" for letter in json.dumps(record, ensure_ascii=False)):
                raise ValueError  # half a character, which beside a stray byte is another when it is written again
            if record["op"] == "rejoin":
                _check_rejoin(record["detail"])
            return cls(
                str(record["op"]),
                str(record["id"]),
                str(record.get("phase", "")),
                int(record.get("epoch", 0)),
                {str(key): str(value) for key, value in record.get("detail", {}).items()},
                {str(key): str(value) for key, value in record.get("role", {}).items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return cls(UNKNOWN, text[:80])


def _written(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _packed(text: str) -> str:
    import zlib  # seldom needed, as is what follows
    from base64 import b64encode

    return b64encode(zlib.compress(text.encode())).decode()


def _unpacked(text: str) -> bytes:
    """ValueError when it is not what _packed makes."""
    import zlib
    from base64 import b64decode

    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(b64decode(text, validate=True), _UNPACKED)
    except zlib.error as error:
        raise ValueError("not packed") from error
    if not unpacking.eof:
        raise ValueError("not whole")
    return found


def _check_rejoin(detail: Mapping[str, object]) -> None:
    """Look at what the record of a rejoin is read for. ValueError, KeyError or TypeError when that is not all there."""
    for name in ("fs", "host", "peer"):
        if not detail[name]:
            raise ValueError(name)
    if whole_number(str(detail["written"])) is None:
        raise ValueError("written")


class Role(Struct, frozen=True):
    """The zrep:* properties of one dataset, only those with source ``local``.

    partially_applied: some of them are not yet what the record of a new role says; everything here is as the record
    says. alone: promoted without its peer, and not met it since; lease: seconds a master may go without its peer, 0 for
    ever; minfree: what must stay free in its pool, as floor_bytes reads it; max_lag: seconds for which the replica
    may be behind, 0 for ever, None where it is not said; after: for how many seconds cron is not told of a trouble that
    may heal by itself, None where it is not said; places: see place.py; keep: the schedule by which this side keeps
    snapshots, "" for none; foreign: patterns of those of others that it goes for too; drop_unsent: and for those that
    are not known to be on the other side, while it is master. compress and bwlimit: what its streams pass
    through, see shape.py; all_snapshots: those of others travel too. unreadable: the properties whose values zrep never
    writes, as evidence.

    recursive: the pair is that of a tree, everything below the dataset with it; complete: the snapshot of the newest
    moment of which a replica has every member; coming: those that were about to be sent last. excluded and gone are
    those of a dataset below: left out of a tree with all below it, and set aside since so many seconds after 1970,
    because its source has gone; frozen: of one on a replica, that its master keeps it read-only by a value of its own,
    and that it stays so when this side is promoted; it says nothing on a master. driver: HERE or PEER in a pulled pair,
    one of whose hosts alone dials the other, whatever their roles; "": each can dial the other. within: it is that of
    the root of a tree, for one of its members; within_encrypted: that root is encrypted; roots: of a lane of that tree,
    the names of both roots, its own side's first: the commands that are named take the tree, never a member; overlong:
    what the target of such a lane cannot be called although it should, see Pair.overlong; taken: the same where
    somebody else's dataset has that name; base_with: the dataset outside of the tree that has the base of a lane's
    source since it was promoted over that."""

    src_host: str = ""
    src_fs: str = ""
    dest_host: str = ""
    dest_fs: str = ""
    master: bool | None = None
    savecount: Whole | None = None
    epoch: Whole | None = None
    gen: str = ""
    parents: tuple[str, ...] = ()
    intent: Intent | None = None
    paused: str = ""
    flags: str | None = None
    props: str = ""
    outfilter: str = ""
    infilter: str = ""
    split: str = ""
    canmount: str = ""
    frozen: bool = False
    alone: bool = False
    lease: Whole = 0
    minfree: str = ""
    max_lag: Whole | None = None
    after: Whole | None = None
    places: str = ""
    keep: str = ""
    foreign: tuple[str, ...] = ()
    drop_unsent: bool = False
    compress: str = ""
    bwlimit: Whole = 0
    all_snapshots: bool = False
    lock_pid: str = ""
    partially_applied: bool = False
    unreadable: str = ""
    recursive: bool = False
    complete: str = ""
    coming: tuple[str, ...] = ()
    excluded: bool = False
    gone: Whole | None = None
    driver: str = ""
    within: bool = False
    within_encrypted: bool = False
    roots: tuple[str, str] | None = None
    overlong: str = ""
    taken: str = ""
    base_with: str = ""

    def __post_init__(self) -> None:
        """ValueError for patterns that zrep never writes: those of another host are looked for in names here, and some
        take for ever."""
        if self.foreign and parse_patterns(",".join(self.foreign)) != self.foreign:
            raise ValueError("no patterns of names of snapshots")

    @property
    def paired(self) -> bool:
        return bool(self.src_host and self.src_fs and self.dest_host and self.dest_fs)

    @property
    def askable(self) -> bool:
        """Whether it says of whom to ask what about the other half. Somebody may have written anything there: a request
        about that is none, and whoever gets it asks no more."""
        return self.paired and is_host(self.peer_host) and is_dataset(self.peer_fs)

    @property
    def chosen(self) -> Mapping[str, str]:
        """The properties that do not follow from the master, and what the replica has been given instead, "" for what
        it inherits."""
        return {name: value for word in self.props.split(",") for name, _, value in (word.partition("="),) if name}

    @property
    def raw(self) -> bool:
        """Whether its flags ask for raw streams."""
        return bool({"-w", "--raw"} & set((self.flags or "").split()))

    @property
    def generation(self) -> str:
        """The generation, LEGACY for a pair of the shell zrep."""
        return self.gen or LEGACY

    @property
    def lineage(self) -> tuple[str, ...]:
        """The parent value of the next generation: this one and the last before it, newest first."""
        return (self.generation, *self.parents)[:ANCESTORS_KEPT]

    @property
    def own_host(self) -> str:
        """The name by which the peer reaches the host that it is on."""
        return self.src_host if self.master else self.dest_host

    @property
    def own_fs(self) -> str:
        """The name its links give to the dataset it is a role of."""
        return self.src_fs if self.master else self.dest_fs

    @property
    def peer_host(self) -> str:
        return self.dest_host if self.master else self.src_host

    @property
    def peer_fs(self) -> str:
        return self.dest_fs if self.master else self.src_fs

    @property
    def drives(self) -> bool:
        """Whether runs over the pair begin on this half's host: the master's, of a pulled pair the one that dials."""
        return self.driver == HERE or (self.master is True and not self.only_dialled)

    @property
    def only_dialled(self) -> bool:
        """Whether this half's host never dials the other half's."""
        return self.driver == PEER

    @property
    def rejoining(self) -> str:
        """The filesystem whose unfinished rejoin is recorded here, on itself or on its split copy."""
        return self.intent.detail.get("fs", "") if self.intent and self.intent.operation == "rejoin" else ""

    @property
    def links(self) -> tuple[str, str, str, str]:
        return (self.src_host, self.src_fs, self.dest_host, self.dest_fs)


def intent_property(tag: str, intent: Intent | None) -> tuple[str, str]:
    return (f"{tag}:inprogress", intent.text() if intent else "")


def role_values(
    role: Role, *, master: bool, swap: bool, epoch: int, gen: str, parents: tuple[str, ...]
) -> dict[str, str]:
    """The properties of a role that its changes change, by short name. swap: direction reversed."""
    src_host, src_fs, dest_host, dest_fs = role.links
    if swap:
        src_host, src_fs, dest_host, dest_fs = dest_host, dest_fs, src_host, src_fs
    return {
        "src-host": src_host,
        "src-fs": src_fs,
        "dest-host": dest_host,
        "dest-fs": dest_fs,
        "epoch": str(epoch),
        "gen": gen,
        "parent": ",".join(parents),
        "master": "yes" if master else "no",
    }


def named(tag: str, values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Properties by full name: one set of them, only short user properties, is one transaction. Should it land in part
    all the same, the first ones have: a side stops being master before, and becomes it after all else. Whoever reads
    the properties without their record then sees no second master of a generation."""
    others = {name: value for name, value in values.items() if name != "master"}
    master = {name: value for name, value in values.items() if name == "master"}
    ordered = {**others, **master} if values.get("master") == "yes" else {**master, **others}
    return tuple((f"{tag}:{name}", value) for name, value in ordered.items())


# Of a side that is promoted without its peer, until it has met it.
ALONE = {"alone": "yes"}


def role_properties(tag: str, operation: str, identity: str, values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """One set of a new role, its record first: of a set that lands in part, the record decides (see Intent)."""
    return (intent_property(tag, Intent(operation, identity, role=values)), *named(tag, values))


def next_epoch(*roles: Role) -> int:
    return 1 + max((role.epoch or 0 for role in roles), default=0)
