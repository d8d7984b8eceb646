"""What a peer may set and end through a gate: zrep's own properties, as far as they are not for this side to decide,
and what a role change, a stream or a master's property brings along. Each function
says in words why something is refused, "" where it is not."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from zrep.core.dataset import formed
from zrep.core.gate import DIALLED, Gate, Known
from zrep.core.names import FOLLOWED, MADE, ROLE_PROPERTIES, SENT, is_tag
from zrep.core.quantities import whole_number
from zrep.core.role import PEER, Intent

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
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_ADMITTED_VALUE = re.compile(r"[a-z0-9-]{1,40}")


def refused_set(gate: Gate, targets: Iterable[str], properties: Iterable[tuple[str, str]], known: Known) -> str:
    """Refuse properties that are set, but zrep's own, and what a role change has to set beside them. What a record says
    counts as what is set: while it is there, it is the role."""
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
    """Refuse to a gate that keeps whatever a pair here is kept by."""
    names = {name.rpartition(":")[2] for name, _ in told if ":" in name} - {SENT, MADE}
    if not gate.keep or names <= _WITH_STREAMS:
        return ""
    made = any(name.endswith(":recursive") and value == "on" for name, value in told)
    below = known.below(targets) if made else ()
    paired = {**known.around(targets), **known.tags(below)}
    held = next((name for name, tags in paired.items() if tags), "")
    return f"to set what {held} is kept by" if held else ""


def _decided(targets: Collection[str], told: Collection[tuple[str, str]], name: str, value: str, known: Known) -> str:
    """Refuse one of the properties that are told where this side decides: how a pair goes on that is made; and whether
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
    """Refuse what would have this host dial another one for a pair than it does, or than the peer is.
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
    """Refuse a property, or a value of it, that no peer of this gate sets, whatever it is set on."""
    tag, colon, own = name.rpartition(":")
    if colon and is_tag(tag):
        if own in (SENT, MADE) if on_snapshots else own in ROLE_PROPERTIES:
            return f"{name}={value:.100}" if _wrong(gate, own, value, now) else ""
    elif (name, value) in (("readonly", "on"), ("canmount", "noauto")):
        return gate.needs("receive")
    elif (name, value) in (("readonly", "off"), ("canmount", "on"), ("canmount", "off")):
        return gate.needs_moves()
    elif name in _ADMITTED and _ADMITTED_VALUE.fullmatch(value):
        return gate.needs("receive")
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


def refused_inherit(gate: Gate, name: str) -> str:
    """Refuse that a property goes back to what it is without a value of its own, which ends what a pair's says."""
    tag, colon, own = name.rpartition(":")
    if name == "readonly":
        return gate.needs_moves()
    if name in _ADMITTED:
        return gate.needs("receive")
    if not (colon and is_tag(tag) and own in ROLE_PROPERTIES):
        return f"to inherit {name}"
    return "" if own in _ENDED and (gate.moves or own in _WITH_STREAMS) else f"to end what is in {name}"


def refused_override(prop: tuple[str, str]) -> str:
    """Refuse what a stream is to be received with, but zrep's own."""
    name, value = prop
    if prop in (("readonly", "on"), ("canmount", "noauto")):
        return ""
    tag, colon, own = name.rpartition(":")
    remembered = colon and is_tag(tag) and own == "canmount" and value in ("on", "off", "noauto")
    return "" if remembered else f"a stream with {name}={value}"
