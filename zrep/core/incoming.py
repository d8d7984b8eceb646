"""What a stream from another host has to be: the one that was asked for, and nothing beside it. Whoever sends it may
be anybody by now, and ZFS takes what it is given: another dataset's, a whole tree, a clone of what is somewhere else.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from zrep.core.dataset import Member, Snapshot
from zrep.core.names import FOLLOWED, is_tag
from zrep.core.quantities import whole_number
from zrep.core.steps import Property, SendStream

_GUID_DIGITS = 20
# What a dataset that is new here arrives with: not mounted, not written to.
_QUIET = (("readonly", "on"), ("canmount", "noauto"))
_KEPT_PLAIN = ("encryption", "off")
_KINDS = {False: "a filesystem", True: "a volume"}


class Beginning(NamedTuple):
    """What the first record of a stream says. name: of the snapshot that it brings, in full; guid: of that; since: the
    guid of what it begins at, 0 where it brings all; clone: it makes a clone of that; volume: it is of one."""

    name: str
    guid: int
    since: int = 0
    clone: bool = False
    volume: bool = False

    @property
    def origin(self) -> int:
        """The guid of the snapshot that it makes a clone of, 0 for none."""
        return self.since if self.clone else 0

    @property
    def makes_filesystem(self) -> bool:
        """Whether it is received as a new filesystem, and not into one, or as a volume."""
        return not self.volume and (self.clone or not self.since)


class Wanted(Struct, frozen=True):
    """The stream that was asked for. name: of the snapshot, after its @; guid, since, clone, volume: as in Beginning;
    between: with all snapshots that are between the two, in a stream each."""

    name: str
    guid: int
    since: int = 0
    clone: bool = False
    volume: bool = False
    between: bool = False


class Incoming(Struct, frozen=True):
    """A stream that is to come: the step that asks for it, what it has to be, the file of its target's receive lock
    and the receive token in it, as they were granted."""

    step: SendStream
    wanted: Wanted
    lock: str
    token: str


def wanted(step: SendStream, source: Member, snapshot: Snapshot, since: str) -> Wanted:
    """What a stream has to be that a step asks for. since: the guid of what it begins at, "" for none."""
    clone = bool(step.base) and step.base.partition("@")[0].partition("#")[0] != source.name
    return Wanted(snapshot.name, _number(snapshot.guid), _number(since), clone, source.volume, step.between)


def _number(guid: str) -> int:
    """A guid as a stream has it; 0, which no snapshot has, for what is none."""
    return whole_number(guid, _GUID_DIGITS) or 0


def unwanted(asked: Wanted, found: Beginning, before: Beginning | None = None) -> str:
    """Why a stream that begins so is not the one that was asked for, in words; "" where it is. before: the beginning of
    the one before it, of those that come together."""
    since, clone = (before.guid, False) if before else (asked.since, asked.clone)
    name = found.name.partition("@")[2]
    if before and (not asked.between or before.guid == asked.guid):
        return "more than one stream came"
    if found.volume is not asked.volume:
        return f"it is {_KINDS[found.volume]}, {_KINDS[asked.volume]} was asked for"
    if found.clone is not clone:
        return "it makes a clone" if found.clone else "it makes no clone"
    if found.since != since:
        return f"it begins at the guid {found.since}, {since} was asked for"
    if found.guid != asked.guid:
        return "" if asked.between else f"it brings the guid {found.guid}, {asked.guid} was asked for"
    return "" if name == asked.name else f"it brings @{name:.80}, @{asked.name} was asked for"


def improper(override: tuple[Property, ...]) -> str:
    """What of the properties that a dataset is to arrive with is none that zrep gives one; "" for nothing."""
    return next((name for name, value in override if not _proper(name, value)), "")


def _proper(name: str, value: str) -> bool:
    tag, colon, own = name.rpartition(":")
    if colon:
        return is_tag(tag) and own == "canmount" and value in ("on", "off", "noauto")
    return (name, value) in (*_QUIET, _KEPT_PLAIN) or name in (*FOLLOWED, "origin")
