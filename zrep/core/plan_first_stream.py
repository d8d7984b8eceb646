"""Planning the first stream of a dataset: of a new pair, and of a new member of a tree."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from zrep.core.dataset import Member, Snapshot
from zrep.core.names import ROLE_PROPERTIES, SENT, UNINHERITED
from zrep.core.pair import End, Lane, Origin
from zrep.core.role import Role
from zrep.core.steps import CARRY_PROPERTIES, RAW, SendStream
from zrep.core.tags import properties_of_tags


def first_stream(
    tag: str,
    source: Member,
    role: Role,
    snapshot: Snapshot,
    token: str,
    own: Iterable[str] = (),
    *,
    encrypted: bool = False,
) -> SendStream:
    """The first stream, and any later part of it: the replica is read-only and never mounts itself from the start.
    token: what is half received, to be gone on with; "" for nothing. own: the names of the properties that the source
    has itself: none of any tag travels, or the replica would have another pair's role. encrypted: it is to be that as
    its parent is, which properties that travel would undo."""
    stream = _first(tag, source, role, snapshot, token, own)
    return _encrypted_there(stream) if encrypted else stream


def _encrypted_there(stream: SendStream) -> SendStream:
    """The same, without the property that would keep what arrives from being encrypted as its parent is. What goes on
    with a stream is what its beginning was."""
    return stream if stream.token else replace(stream, exclude=("encryption", *stream.exclude))


def member_stream(lane: Lane, snapshot: Snapshot, token: str, own: Iterable[str] = ()) -> SendStream:
    """The same of a new member of a tree; a clone begins at what the replica has of its origin, which ZFS finds there
    by its guid, the nearest to the new name first. What its canmount is while it is on the master is remembered from
    the start: there is no other moment at which both sides are known to be one member."""
    source = lane.source
    remembered = () if source.volume else ((f"{lane.tag}:canmount", source.master_canmount),)
    stream = _first(lane.tag, source, source.role, snapshot, token, own, remembered, inherits=True)
    stream = replace(stream, base=lane.origin.name) if lane.origin else stream
    return _encrypted_there(stream) if lane.target.role.within_encrypted and not source.role.raw else stream


def data_alone(stream: SendStream, source: Member, origin: Origin | None) -> SendStream:
    """The same as a host takes it that does not trust its source: no properties travel, so that none need be left out;
    what is plain stays so below an encrypted parent if they would have seen to it; and ZFS is told what a clone is made
    of, which it would look for in the whole pool."""
    left = tuple(flag for flag in stream.options if flag not in CARRY_PROPERTIES)
    carried = left != stream.options
    first = carried and not stream.token and not stream.base
    plain = first and "encryption" not in stream.exclude and not source.encrypted and bool(RAW & set(left))
    given = ((("encryption", "off"),) if plain else ()) + ((("origin", origin.there),) if origin else ())
    return replace(stream, options=left, exclude=(), override=(*stream.override, *given))


def _first(
    tag: str,
    source: Member,
    role: Role,
    snapshot: Snapshot,
    token: str,
    own: Iterable[str],
    remembered: tuple[tuple[str, str], ...] = (),
    *,
    inherits: bool = False,
) -> SendStream:
    """remembered: user properties that it arrives with; inherits: it has the readonly of what it arrives below."""
    volume = source.volume
    kept = {name for name, _ in remembered}
    given = _given(source, role, inherits=inherits)
    ours = dict.fromkeys((*(f"{tag}:{name}" for name in (*ROLE_PROPERTIES, SENT)), *properties_of_tags(own)))
    return SendStream(
        End.SOURCE,
        snapshot=f"{source.name}@{snapshot.name}",
        target=role.dest_fs,
        token=token,
        options=tuple((role.flags or "").split()),
        exclude=(
            *(() if volume else ("mountpoint",)),
            *(("readonly",) if inherits else ()),
            *(name for name in role.chosen if name not in UNINHERITED and name not in given),
            *(name for name in ours if name not in kept),
        ),
        override=(
            *(() if inherits else (("readonly", "on"),)),
            *(() if volume else (("canmount", "noauto"),)),
            *given.items(),
            *remembered,
        ),
        outfilter=role.outfilter,
        infilter=role.infilter,
        compress=role.compress,
        bwlimit=role.bwlimit,
    )


def _given(source: Member, role: Role, *, inherits: bool) -> dict[str, str]:
    """What a replica is given instead of what its master has: the root of a tree what all below it may inherit, each
    its own limits, which nothing inherits. A volume has no quota."""
    limits = UNINHERITED - {"quota", "refquota"} if source.volume else UNINHERITED
    return {
        name: value or "none"
        for name, value in role.chosen.items()
        if name in limits or (value and not inherits and name not in UNINHERITED)
    }
