"""What a gate lets through: which requests and which steps of a peer that is not trusted with the whole host, within
which datasets, in which direction. What is not named here is refused.

A peer that only sends to this host (receive) has replicas here; one that only takes from it (send) has masters here;
one that does both shares pairs whose role moves.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from zrep.core import requests as asked
from zrep.core import steps
from zrep.core.dataset import Member
from zrep.core.gate import Gate, Known
from zrep.core.gate_properties import refused_inherit, refused_override, refused_set
from zrep.core.names import ancestors, is_dataset, is_tag
from zrep.core.pair import End
from zrep.core.role import Role

# The flags that init can settle.
SEND_FLAGS = frozenset({"-p", "-w", "-L", "-e", "-c", "--props", "--raw", "--large-block", "--embed", "--compressed"})
LOCK_SECONDS = 60.0
# What is remembered of a filesystem is a few numbers and names.
_NOTES_LENGTH = 64 << 10
_OWN_SNAPSHOT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}_[0-9a-f]{6,12}")
_EVENTS = frozenset(
    {"before-demote", "before-promote", "after-demote", "after-promote", "not-demoted", "not-promoted"}
    | {"before-snapshot", "after-snapshot"}
)
_ABOUT = frozenset({"ZREP_FS", "ZREP_TAG", "ZREP_EPOCH", "ZREP_PEER", "ZREP_PEER_FS"})
_ABOUT_VALUE = re.compile(r"[A-Za-z0-9_.:@%/ \[\]-]{0,300}")
_ELSEWHERE = "a clone elsewhere"
# What of a dataset above a tree has to be known to whoever makes something in the tree.
_OF_ANCESTORS = ("type", "available", "readonly", "encryption", "encryptionroot", "keystatus", "mountpoint")


def refusal(gate: Gate, request: asked.Request[Any], known: Known) -> str:
    """Why a gate does not admit a request, in words; "" where it does."""
    match request:
        case (
            asked.Identify() | asked.ReadRights() | asked.Dial() | asked.FindRoles() | asked.ReadTags()
            | asked.ReadOwnProperties() | asked.ReadMarked() | asked.ReadLostPools() | asked.IsRunning()
        ):  # fmt: skip
            return ""  # see trimmed
        case asked.Lock(datasets=names, wait=wait):
            return gate.outside(names) or ("" if wait <= LOCK_SECONDS else f"a wait of {wait} s")
        case asked.Unlock(datasets=names) | asked.ReadHolders(datasets=names):
            return gate.outside(names)
        case asked.ReadBelow(datasets=names) | asked.ReadOtherRoles(datasets=names) | asked.ReadHistory(datasets=names):
            return gate.outside(names)
        case asked.ReadMembers(datasets=names, trees=trees):
            return gate.outside([name for name in names if not gate.above(name)]) or gate.outside(trees)
        case asked.ReadSnapshots(snapshots=names):
            return gate.outside(names)
        case (
            asked.ReadRole(dataset=name) | asked.ReadChildren(dataset=name) | asked.ReadAllProperties(dataset=name)
            | asked.ReadDelegations(dataset=name) | asked.ReadPropertyNames(dataset=name)
            | asked.IsUnmodified(dataset=name)
        ):  # fmt: skip
            return gate.outside([name, *_snapshot_of(request)])
        case asked.ReadPoolSpace(pool=pool) | asked.ReadFeatures(pool=pool):
            return gate.other_pool(pool)
        case asked.Remember(records=records):
            return _notes(gate, records) or ("" if len(repr(records)) <= _NOTES_LENGTH else "too much to remember")
        case asked.Recall(keys=keys):
            return _notes(gate, keys)
        case asked.Grant():
            return gate.needs("receive") or _grant(gate, request, known)
        case asked.Revoke(datasets=names):
            return gate.needs("receive") or gate.outside(names)
        case asked.EndReceive(dataset=name):
            return gate.needs("receive") or gate.outside([name])
        case asked.IsArriving():
            return "what a host asks itself"
        case asked.ReadToken():
            return gate.needs("send")
        case asked.ReadStreamSize(step=step):
            return gate.needs("send") or _sending(gate, step)
        case asked.ReadDifferences(dataset=name):
            return gate.needs("send") or gate.outside([name, *_snapshot_of(request)])
        case asked.ReadUsers(dataset=name) | asked.IsInUse(dataset=name):
            return gate.needs("send", "receive") or gate.outside([name, *_snapshot_of(request)])
        case asked.FindOpenVolumes(volumes=names):
            return gate.needs("send", "receive") or gate.outside(names)
        case asked.FindUnreadable(snapshots=names):
            return gate.needs("send", "receive") or gate.outside(names)
        case asked.ReadMounts() | asked.FindUnmakable() | asked.ReadSchedule() | asked.ReadSessionLimit():
            return gate.needs("send", "receive")
        case asked.TakeSnapshots(tag=tag, moments=moments):
            return next(filter(None, (_moment(gate, tag, moment, known) for moment in moments)), "") or _pairs(
                tag, [moment.dataset for moment in moments], known
            )
        case asked.RunHooks(event=event, about=about):
            return gate.needs_moves() or _hooks(gate, event, about)
        case asked.TakeRole(step=step):
            return (
                gate.needs_moves()
                or gate.outside([step.dataset])
                or refused_set(gate, (step.dataset,), step.properties, known)
            )
        case asked.CarryOut(steps=plan):
            return next(filter(None, (refused_step(gate, step, known) for step in plan)), "")
    return f"a {type(request).__name__}"


def _moment(gate: Gate, tag: str, moment: asked.Moment, known: Known) -> str:
    around = {name for name in moment.snapshots if not f"{name.partition('@')[0]}/".startswith(f"{moment.dataset}/")}
    return (
        gate.needs("send")
        or gate.outside([moment.dataset])
        or (f"{min(around)} at a moment of {moment.dataset}" if around else "")
        or refused_step(gate, steps.TakeSnapshot(End.SOURCE, tag, moment.snapshots), known)
        or _hooks(gate, "before-snapshot", moment.about)
    )


def _pairs(tag: str, datasets: Collection[str], known: Known) -> str:
    """Programs of this host are at rest around each moment: one of each pair, and no more."""
    if len(set(datasets)) < len(datasets):
        return "two moments of a dataset"
    return next(
        (f"a moment of {name}, which is in no pair" for name, tags in known.tags(datasets).items() if tag not in tags),
        "",
    )


def refused_step(gate: Gate, step: steps.Step, known: Known) -> str:
    """The same for a step."""
    if outside := gate.outside(step.datasets):
        return outside
    match step:
        case steps.Hold():
            return ""
        case steps.Release(tag=tag):
            foreign = gate.keep and not all(tag in tags for tags in known.around(step.datasets).values())
            return f"to release {tag}, which is no pair's" if foreign else ""
        case steps.CloseTransactionGroup(pool=pool):
            return gate.other_pool(pool)
        case steps.SetProperties(targets=targets, properties=properties):
            return refused_set(gate, targets, properties, known)
        case steps.InheritProperty(name=name):
            return refused_inherit(gate, name)
        case steps.DestroySnapshots(names=names):
            return "to destroy anything: this side keeps it" if gate.keep else _own(names)
        case steps.Bookmark(snapshot=name, bookmark=mark):
            same = name.partition("@")[0] == mark.partition("#")[0]
            own = _own_bookmark(mark) if same else "a bookmark of another dataset"
            return gate.needs("send") or own
        case steps.DestroyBookmark(bookmark=mark):
            return "to destroy anything: this side keeps it" if gate.keep else _own_bookmark(mark)
        case steps.TakeSnapshot(snapshots=names):
            return gate.needs("send") or _own(name.partition("@")[2] for name in names)
        case steps.RenameSnapshot(snapshot=name, new=new):
            same = name.partition("@")[0] == new.partition("@")[0]
            own = _own((name.partition("@")[2], new.partition("@")[2]))
            if gate.keep:
                return "to rename a snapshot: this side keeps it"
            return gate.needs("send") or own or ("" if same else "a snapshot of another dataset")
        case steps.CreateParent() | steps.DiscardPartial():
            return gate.needs("receive")
        case steps.PlaceKey():
            return gate.needs("receive")
        case steps.PromoteClone(dataset=name, origin=origin):
            return (
                gate.needs("receive")
                or gate.outside([origin])
                or _between_pairs(gate, (name, origin.partition("@")[0]), known)
            )
        case steps.Rename(dataset=name, new=new):
            root = next((each for each in (name, new) if each in gate.trees), "")
            return (
                gate.needs("receive")
                or gate.outside([new])
                or (f"to rename {root}" if root else "")
                or _between_pairs(gate, [each.rpartition("/")[0] for each in (name, new)], known)
            )
        case steps.Rollback(snapshot=name):
            return f"that {name.partition('@')[0]} is rolled back"
        case steps.RemountReadOnly() | steps.RemountWritable() | steps.ReplayLog():
            return gate.needs_moves()
        case steps.Mount() | steps.Unmount() | steps.Share():
            return gate.needs_moves()
    return f"a {type(step).__name__}"


def trimmed(gate: Gate, request: asked.Request[Any], answer: Any) -> Any:
    """The answer to a request that was admitted, without what lies outside the trees."""
    match request:
        case asked.FindRoles() | asked.ReadOwnProperties():
            return {name: own for name, own in answer.items() if gate.has(name)}
        case asked.ReadMarked():
            return [(name, value) for name, value in answer if gate.has(name)]
        case asked.ReadLostPools():
            return {pool: why for pool, why in answer.items() if pool in gate.pools}
        case asked.ReadTags():
            return []
        case asked.ReadMembers():
            return replace(answer, members={name: _shown(gate, member) for name, member in answer.members.items()})
        case asked.ReadHistory():
            return {name: [each for each in told if not _others(gate, each.command)] for name, told in answer.items()}
    return answer


def refused_receive(gate: Gate, target: str, override: Iterable[tuple[str, str]]) -> str:
    """Why a gate does not admit a stream into a target, with properties that it is to get."""
    return gate.needs("receive") or gate.outside([target]) or next(filter(None, map(refused_override, override)), "")


def refused_send(gate: Gate, names: Iterable[str], options: Iterable[str], *, encrypted: bool, raw: bool) -> str:
    """Why a gate does not admit a stream of snapshots. encrypted: what they are of is; raw: it goes as it is on
    disk."""
    if encrypted and not raw:
        return "an encrypted dataset other than raw"
    return gate.needs("send") or gate.outside(names) or _flags(options)


def _own(names: Iterable[str]) -> str:
    """Refuse snapshots that are not called as zrep's own are."""
    return next((f"anything with @{name:.100}" for name in names if not _OWN_SNAPSHOT.fullmatch(name)), "")


def _own_bookmark(full: str) -> str:
    """Refuse a bookmark that is not called as zrep's own are."""
    name = full.partition("#")[2]
    tag, colon, _ = name.partition(":")
    return "" if colon and is_tag(tag) else f"anything with #{name:.100}"


def _snapshot_of(request: asked.Request[Any]) -> list[str]:
    snapshot = getattr(request, "snapshot", "")
    return [snapshot] if snapshot else []


def _notes(gate: Gate, keys: Iterable[str]) -> str:
    for key in keys:
        tag, _, dataset = key.partition(" ")
        if not is_tag(tag) or not gate.has(dataset):
            return f"notes about {key[:80]!r}"
    return ""


def _grant(gate: Gate, request: asked.Grant, known: Known) -> str:
    """A dataset that has no role is received into only as long as it has none under any tag."""
    new = [name for name, generation in request.generations.items() if generation == asked.NO_GENERATION]
    inside = [name for name in new if gate.has(name)]
    taken = next((name for name, tags in known.tags(inside).items() if tags), "") if inside else ""
    named = [*request.generations, *request.roots, *request.roots.values()]
    return gate.outside(named) or (f"{taken} as a new one: it is in a pair" if taken else "")


def _sending(gate: Gate, step: steps.SendStream) -> str:
    return gate.outside([step.snapshot, *([step.base] if step.base else [])]) or _flags(step.options)


def _flags(options: Iterable[str]) -> str:
    return next((f"zfs send {word:.20}" for word in options if word not in SEND_FLAGS), "")


def _hooks(gate: Gate, event: str, about: Mapping[str, str]) -> str:
    """Hooks run as root: what they are told is what zrep tells them."""
    if event not in _EVENTS or not set(about) <= _ABOUT or not all(map(_ABOUT_VALUE.fullmatch, about.values())):
        return "such a word to hooks"
    return gate.outside([about.get("ZREP_FS", "")])


def _between_pairs(gate: Gate, places: Collection[str], known: Known) -> str:
    """Refuse to bring what is kept from one pair to another: each lets go of snapshots by rules of its own, and
    those of a new one are said by the peer."""
    if not gate.keep:
        return ""
    inside = {each: [x for x in (*ancestors(each), each) if gate.has(x)] for each in places}
    tags = known.tags({x for within in inside.values() for x in within})
    pairs = {tuple(x for x in within if tags[x]) for within in inside.values()}
    return "to bring what is kept from one pair to another" if len(pairs) > 1 else ""


def _others(gate: Gate, command: str) -> bool:
    """Whether a command names a dataset outside of the trees, as one of several, or as where it came from."""
    names = (word.partition("@")[0].partition("#")[0] for word in command.split(" "))
    return any(is_dataset(name) and ("/" in name or name in gate.pools) and not gate.has(name) for name in names)


def _shown(gate: Gate, member: Member) -> Member:
    """A dataset as the peer may see it: one above the trees as far as whoever makes something in them has to know it;
    of one in them not what the clones are called that somebody has made of it elsewhere, which only keep snapshots from
    going."""
    if gate.has(member.name):
        snapshots = (
            replace(s, clones=tuple(name if gate.has(name) else _ELSEWHERE for name in s.clones)) if s.clones else s
            for s in member.snapshots
        )
        return replace(member, snapshots=tuple(snapshots))
    known = {name: member.properties[name] for name in _OF_ANCESTORS if name in member.properties}
    return Member(member.name, known, Role(), filters=member.filters)
