"""What a gate lets through: which requests and which steps of a peer that is not trusted with the whole host, within
which datasets, in which direction. What is not named here is refused.

A peer that only sends to this host (receive) has replicas here; one that only takes from it (send) has masters here;
one that does both shares pairs whose role moves.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from zrep.core import requests as asked
from zrep.core import steps
from zrep.core.dataset import Member, formed
from zrep.core.names import FOLLOWED, MADE, ROLE_PROPERTIES, SENT, ancestors, is_dataset, is_tag, pool_of
from zrep.core.pair import End
from zrep.core.quantities import whole_number
from zrep.core.role import PEER, Intent, Role

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
# What a replica is told with each stream; all the rest of its role is settled once where the side that stores decides.
_WITH_STREAMS = frozenset(
    {"inprogress", "set", "coming", "gone", "canmount", "frozen", "alone", "epoch", "gen", "parent", "followed"}
)
# How a pair is kept, sent and driven: decided when it is made, and from then on by each side for itself.
_SETTLED = frozenset(
    {"savecount", "keep", "unsent", "flags", "outfilter", "infilter", "compress", "bwlimit", "allsnaps", "driver"}
    | {"lease", "minfree", "maxlag", "after", "paused", "split", "exclude", "lock-pid", "lock-time"}
)
# Of what a peer ends, what is no link of a pair.
_ENDED = (_WITH_STREAMS - {"gen", "epoch", "parent"}) | {"props", "lock-pid", "lock-time"}
# The records of what can be under way where no role moves.
_RECORDS = frozenset({"init", "follow", "cancelled"})
# What follows to a replica, but for what whoever stores it may rely on: how much room it gets, what of it can run, and
# what becomes a disk of this host.
_ADMITTED = frozenset(FOLLOWED) - {
    "quota", "refquota", "reservation", "refreservation", "devices", "exec", "setuid", "dedup", "volmode", "snapdev",
}  # fmt: skip
# What is set aside now is not set aside since long: its time here runs from now. So far clocks may be apart.
_ASIDE_SECONDS = 3600
_ELSEWHERE = "a clone elsewhere"
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_ADMITTED_VALUE = re.compile(r"[a-z0-9-]{1,40}")
# What of a dataset above a tree has to be known to whoever makes something in the tree.
_OF_ANCESTORS = ("type", "available", "readonly", "encryption", "encryptionroot", "keystatus", "mountpoint")


# How the reason begins of what the words of a gate lack.
WITHOUT = "it without "
# What says whom this host dials for a pair.
DIALLED = ("master", "src-host", "dest-host", "driver")


class Gate(Struct, frozen=True):
    """What a peer may do. trees: datasets, each with all below it; send: take streams from here; receive: bring streams
    here; keep: what has arrived stays, whatever the peer asks for: this side alone lets snapshots go."""

    trees: tuple[str, ...]
    send: bool = False
    receive: bool = False
    keep: bool = False

    @property
    def moves(self) -> bool:
        """Whether roles move through it. What is kept stays a replica."""
        return self.send and self.receive and not self.keep

    @property
    def pools(self) -> frozenset[str]:
        return frozenset(map(pool_of, self.trees))

    def has(self, name: str) -> bool:
        """Whether a dataset, or a snapshot's, is in one of the trees."""
        dataset = name.partition("@")[0].partition("#")[0]
        # zfs takes other names too, but none that leads out of a tree
        return is_dataset(dataset) and bool(self.around(dataset))

    def around(self, dataset: str) -> tuple[str, ...]:
        """The trees that a dataset is in."""
        return tuple(tree for tree in self.trees if f"{dataset}/".startswith(f"{tree}/"))

    def above(self, name: str) -> bool:
        """Whether one of the trees is below a dataset."""
        return any(name in ancestors(tree) for tree in self.trees)


class Known(Protocol):
    """What a gate asks about its host. now: seconds since 1970."""

    @property
    def now(self) -> float: ...

    def tags(self, datasets: Collection[str]) -> Mapping[str, Collection[str]]:
        """The tags under which each of the datasets is in a pair itself."""

    def settled(self, datasets: Collection[str]) -> Mapping[str, Collection[str]]:
        """Those of them under which the making of the pair is over."""

    def around(self, datasets: Collection[str]) -> Mapping[str, Collection[str]]:
        """The tags under which each is in a pair, itself or as a member of one that it lies in within the trees."""

    def below(self, datasets: Collection[str]) -> Collection[str]:
        """Everything below them."""

    def links(self, tag: str, dataset: str) -> Mapping[str, Collection[str]]:
        """What a dataset says of whom this host dials for it, itself or in its record: the values of each of
        DIALLED."""

    def dials(self, tag: str, host: str) -> bool:
        """Whether this host dials that name anyway: for a pair in the trees, or because the peer comes from there."""


def refusal(gate: Gate, request: asked.Request[Any], known: Known) -> str:
    """Why a gate does not admit a request, in words; "" where it does."""
    match request:
        case (
            asked.Identify() | asked.ReadRights() | asked.Dial() | asked.FindRoles() | asked.ReadTags()
            | asked.ReadOwnProperties() | asked.ReadMarked() | asked.ReadLostPools() | asked.IsRunning()
        ):  # fmt: skip
            return ""  # see trimmed
        case asked.Lock(datasets=names, wait=wait):
            return _outside(gate, names) or ("" if wait <= LOCK_SECONDS else f"a wait of {wait} s")
        case asked.Unlock(datasets=names) | asked.ReadHolders(datasets=names):
            return _outside(gate, names)
        case asked.ReadBelow(datasets=names) | asked.ReadOtherRoles(datasets=names) | asked.ReadHistory(datasets=names):
            return _outside(gate, names)
        case asked.ReadMembers(datasets=names, trees=trees):
            return _outside(gate, [name for name in names if not gate.above(name)]) or _outside(gate, trees)
        case asked.ReadSnapshots(snapshots=names):
            return _outside(gate, names)
        case (
            asked.ReadRole(dataset=name) | asked.ReadChildren(dataset=name) | asked.ReadAllProperties(dataset=name)
            | asked.ReadDelegations(dataset=name) | asked.ReadPropertyNames(dataset=name)
            | asked.IsUnmodified(dataset=name)
        ):  # fmt: skip
            return _outside(gate, [name, *_snapshot_of(request)])
        case asked.ReadPoolSpace(pool=pool) | asked.ReadFeatures(pool=pool):
            return _pool(gate, pool)
        case asked.Remember(records=records):
            return _notes(gate, records) or ("" if len(repr(records)) <= _NOTES_LENGTH else "too much to remember")
        case asked.Recall(keys=keys):
            return _notes(gate, keys)
        case asked.Grant():
            return _needs(gate, "receive") or _grant(gate, request, known)
        case asked.Revoke(datasets=names):
            return _needs(gate, "receive") or _outside(gate, names)
        case asked.EndReceive(dataset=name):
            return _needs(gate, "receive") or _outside(gate, [name])
        case asked.IsArriving():
            return "what a host asks itself"
        case asked.ReadToken():
            return _needs(gate, "send")
        case asked.ReadStreamSize(step=step):
            return _needs(gate, "send") or _sending(gate, step)
        case asked.ReadDifferences(dataset=name):
            return _needs(gate, "send") or _outside(gate, [name, *_snapshot_of(request)])
        case asked.ReadUsers(dataset=name) | asked.IsInUse(dataset=name):
            return _needs(gate, "send", "receive") or _outside(gate, [name, *_snapshot_of(request)])
        case asked.FindOpenVolumes(volumes=names):
            return _needs(gate, "send", "receive") or _outside(gate, names)
        case asked.IsReadable(snapshot=name):
            return _needs(gate, "send", "receive") or _outside(gate, [name])
        case asked.ReadMounts() | asked.FindUnmakable() | asked.ReadSchedule() | asked.ReadSessionLimit():
            return _needs(gate, "send", "receive")
        case asked.TakeSnapshots(tag=tag, moments=moments):
            return next(filter(None, (_moment(gate, tag, moment, known) for moment in moments)), "") or _pairs(
                tag, [moment.dataset for moment in moments], known
            )
        case asked.RunHooks(event=event, about=about):
            return _moving(gate) or _hooks(gate, event, about)
        case asked.TakeRole(step=step):
            return (
                _moving(gate)
                or _outside(gate, [step.dataset])
                or _role_set(gate, (step.dataset,), step.properties, known)
            )
        case asked.CarryOut(steps=plan):
            return next(filter(None, (refused_step(gate, step, known) for step in plan)), "")
    return f"a {type(request).__name__}"


def _moment(gate: Gate, tag: str, moment: asked.Moment, known: Known) -> str:
    around = {name for name in moment.snapshots if not f"{name.partition('@')[0]}/".startswith(f"{moment.dataset}/")}
    return (
        _needs(gate, "send")
        or _outside(gate, [moment.dataset])
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
    if outside := _outside(gate, step.datasets):
        return outside
    match step:
        case steps.Hold():
            return ""
        case steps.Release(tag=tag):
            foreign = gate.keep and not all(tag in tags for tags in known.around(step.datasets).values())
            return f"to release {tag}, which is no pair's" if foreign else ""
        case steps.CloseTransactionGroup(pool=pool):
            return _pool(gate, pool)
        case steps.SetProperties(targets=targets, properties=properties):
            return _role_set(gate, targets, properties, known)
        case steps.InheritProperty(targets=targets, name=name):
            return _inherited(gate, targets, name)
        case steps.DestroySnapshots(names=names):
            return "to destroy anything: this side keeps it" if gate.keep else _own(names)
        case steps.Bookmark(snapshot=name, bookmark=mark):
            same = name.partition("@")[0] == mark.partition("#")[0]
            own = _own_bookmark(mark) if same else "a bookmark of another dataset"
            return _needs(gate, "send") or own
        case steps.DestroyBookmark(bookmark=mark):
            return "to destroy anything: this side keeps it" if gate.keep else _own_bookmark(mark)
        case steps.TakeSnapshot(snapshots=names):
            return _needs(gate, "send") or _own(name.partition("@")[2] for name in names)
        case steps.RenameSnapshot(snapshot=name, new=new):
            same = name.partition("@")[0] == new.partition("@")[0]
            own = _own((name.partition("@")[2], new.partition("@")[2]))
            if gate.keep:
                return "to rename a snapshot: this side keeps it"
            return _needs(gate, "send") or own or ("" if same else "a snapshot of another dataset")
        case steps.CreateParent() | steps.DiscardPartial():
            return _needs(gate, "receive")
        case steps.PlaceKey():
            return _needs(gate, "receive")
        case steps.PromoteClone(dataset=name, origin=origin):
            return (
                _needs(gate, "receive")
                or _outside(gate, [origin])
                or _between_pairs(gate, (name, origin.partition("@")[0]), known)
            )
        case steps.Rename(dataset=name, new=new):
            root = next((each for each in (name, new) if each in gate.trees), "")
            return (
                _needs(gate, "receive")
                or _outside(gate, [new])
                or (f"to rename {root}" if root else "")
                or _between_pairs(gate, [each.rpartition("/")[0] for each in (name, new)], known)
            )
        case steps.RemountReadOnly() | steps.RemountWritable() | steps.ReplayLog():
            return _moving(gate)
        case steps.Mount() | steps.Unmount() | steps.Share():
            return _moving(gate)
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
    return _needs(gate, "receive") or _outside(gate, [target]) or next(filter(None, map(_override, override)), "")


def refused_send(gate: Gate, names: Iterable[str], options: Iterable[str], *, encrypted: bool, raw: bool) -> str:
    """Why a gate does not admit a stream of snapshots. encrypted: what they are of is; raw: it goes as it is on
    disk."""
    if encrypted and not raw:
        return "an encrypted dataset other than raw"
    return _needs(gate, "send") or _outside(gate, names) or _flags(options)


# --- parts ---


def _needs(gate: Gate, *directions: str) -> str:
    missing = [f"--{name}" for name in directions if not getattr(gate, name)]
    return f"{WITHOUT}{' and '.join(missing)}" if missing else ""


def _moving(gate: Gate) -> str:
    return _needs(gate, "send", "receive") or ("" if gate.moves else "it with --keep")


def _outside(gate: Gate, names: Iterable[str]) -> str:
    return next((f"anything of {name!r:.100}" for name in names if not gate.has(name)), "")


def _pool(gate: Gate, pool: str) -> str:
    return "" if pool in gate.pools else f"anything of the pool {pool}"


def _own(names: Iterable[str]) -> str:
    """Snapshots that are not called as zrep's own are."""
    return next((f"anything with @{name:.100}" for name in names if not _OWN_SNAPSHOT.fullmatch(name)), "")


def _own_bookmark(full: str) -> str:
    """A bookmark that is not called as zrep's own are."""
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
    return _outside(gate, named) or (f"{taken} as a new one: it is in a pair" if taken else "")


def _sending(gate: Gate, step: steps.SendStream) -> str:
    return _outside(gate, [step.snapshot, *([step.base] if step.base else [])]) or _flags(step.options)


def _flags(options: Iterable[str]) -> str:
    return next((f"zfs send {word:.20}" for word in options if word not in SEND_FLAGS), "")


def _hooks(gate: Gate, event: str, about: Mapping[str, str]) -> str:
    """Hooks run as root: what they are told is what zrep tells them."""
    if event not in _EVENTS or not set(about) <= _ABOUT or not all(map(_ABOUT_VALUE.fullmatch, about.values())):
        return "such a word to hooks"
    return _outside(gate, [about.get("ZREP_FS", "")])


def _role_set(gate: Gate, targets: Iterable[str], properties: Iterable[tuple[str, str]], known: Known) -> str:
    """Properties that are set: zrep's own, and what a role change has to set beside them. What a record says counts as
    what is set: while it is there, it is the role."""
    targets, told = tuple(targets), list(_told(properties))
    for name, value in told:
        if reason := _one_set(gate, name, value, known.now, on_snapshots=all("@" in target for target in targets)):
            return reason
    decided = (_decided(targets, told, *x, known) for x in told)
    return (
        _kept(gate, targets, told, known)
        or next(filter(None, decided), "")
        or _dialled(targets, dict(properties), told, known)
    )


def _kept(gate: Gate, targets: Collection[str], told: Collection[tuple[str, str]], known: Known) -> str:
    """Why what is kept must not be told so."""
    names = {name.rpartition(":")[2] for name, _ in told if ":" in name} - {SENT, MADE}
    if not gate.keep or names <= _WITH_STREAMS:
        return ""
    made = any(name.endswith(":recursive") and value == "on" for name, value in told)
    below = known.below(targets) if made else ()
    paired = {**known.around(targets), **known.tags(below)}
    held = next((name for name, tags in paired.items() if tags), "")
    return f"to set what {held} is kept by" if held else ""


def _between_pairs(gate: Gate, places: Collection[str], known: Known) -> str:
    """Why what is kept is not brought from one pair to another: each lets go of snapshots by rules of its own, and
    those of a new one are said by the peer."""
    if not gate.keep:
        return ""
    inside = {each: [x for x in (*ancestors(each), each) if gate.has(x)] for each in places}
    tags = known.tags({x for within in inside.values() for x in within})
    pairs = {tuple(x for x in within if tags[x]) for within in inside.values()}
    return "to bring what is kept from one pair to another" if len(pairs) > 1 else ""


def _decided(targets: Collection[str], told: Collection[tuple[str, str]], name: str, value: str, known: Known) -> str:
    """Why one of the properties that are told is for this side to decide: how a pair goes on that is made; and whether
    this host sends by itself what is in none: whom it would dial then, and how it would send, no gate sees."""
    tag, _, own = name.rpartition(":")
    if own in _SETTLED:
        made = next((each for each, tags in known.settled(targets).items() if tag in tags), "")
        return f"to set {name}, which is settled, of {made}" if made else ""
    if (own, value) == ("master", "yes") and (f"{tag}:driver", PEER) not in told:
        new = next((each for each, tags in known.tags(targets).items() if tag not in tags), "")
        return f"that this host sends {new} by itself" if new else ""
    return ""


def _dialled(
    targets: Collection[str], given: Mapping[str, str], told: Collection[tuple[str, str]], known: Known
) -> str:
    """Why a pair is not to be told so: this host would dial another one for it than it does, or than the peer is.
    given: what is set; told: that, and what a record among it says: either may count."""
    tags = {tag for tag, _, own in (name.rpartition(":") for name, _ in told) if own in DIALLED}
    for tag, target in ((tag, target) for tag in sorted(tags) for target in targets):
        now = known.links(tag, target)
        said = {own: [value for name, value in told if name == f"{tag}:{own}"] for own in DIALLED}
        may = {own: {*said[own], *(() if f"{tag}:{own}" in given else now.get(own, ()))} - {""} for own in DIALLED}
        if may["driver"] == {PEER}:
            continue
        hosts = may["dest-host"] if "yes" in may["master"] else set[str]()
        hosts |= set() if may["master"] == {"yes"} else may["src-host"]
        if other := next((host for host in sorted(hosts) if not known.dials(tag, host)), ""):
            return f"that this host dials {other:.100} for {target}"
    return ""


def _told(properties: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Properties, and those of the roles in the records among them."""
    for name, value in properties:
        yield name, value
        tag, colon, own = name.rpartition(":")
        if colon and own == "inprogress" and (intent := Intent.parse(value)):
            yield from ((f"{tag}:{key}", text) for key, text in intent.role.items())


def _one_set(gate: Gate, name: str, value: str, now: float, *, on_snapshots: bool) -> str:
    tag, colon, own = name.rpartition(":")
    if colon and is_tag(tag):
        if own in (SENT, MADE) if on_snapshots else own in ROLE_PROPERTIES:
            return f"{name}={value:.100}" if _wrong(gate, own, value, now) else ""
    elif (name, value) in (("readonly", "on"), ("canmount", "noauto")):
        return _needs(gate, "receive")
    elif (name, value) in (("readonly", "off"), ("canmount", "on"), ("canmount", "off")):
        return _moving(gate)
    elif name in _ADMITTED and _ADMITTED_VALUE.fullmatch(value):
        return _needs(gate, "receive")
    return f"to set {name}"


def _wrong(gate: Gate, own: str, value: str, now: float) -> bool:
    """Whether a property of a role is none of what the peer of a gate sets."""
    # Of a control character what reads it would have to ask for every value by itself, of every dataset.
    if _CONTROL.search(value) or not formed(own, value):
        return True
    match own:
        case "src-host" | "src-fs" | "dest-host" | "dest-fs":
            return not value  # that ends the pair
        case "master":
            # Who has only replicas here makes none of them a master, who has only masters none of them a replica.
            return value not in (("yes",) if gate.send else ()) + (("no",) if gate.receive else ())
        case "inprogress":
            intent = Intent.parse(value)
            return intent is not None and intent.operation not in _RECORDS and not gate.moves
        case "gone":
            return value != "" and (whole_number(value) or 0) < now - _ASIDE_SECONDS
        case "driver":  # who dials has no gate
            return value != PEER
        case "foreign":
            return True
    return False


def _inherited(gate: Gate, targets: Iterable[str], name: str) -> str:
    tag, colon, own = name.rpartition(":")
    if name == "readonly":
        return _moving(gate)
    if name in _ADMITTED:
        return _needs(gate, "receive")
    if not (colon and is_tag(tag) and own in ROLE_PROPERTIES):
        return f"to inherit {name}"
    return "" if own in _ENDED and (gate.moves or own in _WITH_STREAMS) else f"to end what is in {name}"


def _override(prop: tuple[str, str]) -> str:
    """What a stream may be received with: zrep's own."""
    name, value = prop
    if prop in (("readonly", "on"), ("canmount", "noauto")):
        return ""
    tag, colon, own = name.rpartition(":")
    remembered = colon and is_tag(tag) and own == "canmount" and value in ("on", "off", "noauto")
    return "" if remembered else f"a stream with {name}={value}"


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
