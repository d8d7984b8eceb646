"""Where the halves of a pair are: in which pool, on which host. A name is no proof: a host may be called like another
one, and an image of a pool that is imported elsewhere has all that the pool has.

A *place* is a pool's GUID and its host's machine id (machine-id(5)), each "-" where it is not known. A pool keeps its
GUID when a disk is replaced and when it is moved, a host its id when it is renamed. Either half remembers both places,
its own first, whichever of them is master.
"""

from __future__ import annotations

import re

UNKNOWN = "-"
NOWHERE = f"{UNKNOWN}/{UNKNOWN}"
PLACES = re.compile(r"(?:[0-9]+|-)/(?:[0-9a-f]+|-) (?:[0-9]+|-)/(?:[0-9a-f]+|-)")


def place(pool: str, host: str) -> str:
    """The place of what is in a pool of a host; "" for what is not known."""
    return f"{pool or UNKNOWN}/{host or UNKNOWN}"


def own_and_peer(places: str) -> tuple[str, str]:
    """The two places that a half remembers; NOWHERE for none."""
    own, _, peer = places.partition(" ")
    return own or NOWHERE, peer or NOWHERE


def differs(known: str, found: str) -> str:
    """What of a place is not what is remembered of it, as evidence; "" where nothing is known to be."""
    pairs = zip(("pool", "host"), known.split("/"), found.split("/"), strict=True)
    return ", ".join(
        f"the {what} was {old}, it is {new}" for what, old, new in pairs if UNKNOWN not in (old, new) and old != new
    )


def learned(places: str, own: str, peer: str) -> str:
    """What a half remembers once it has been at its own place and met its peer at that one's: what it knew stays."""
    known = own_and_peer(places)
    return " ".join(_filled(old, new) for old, new in zip(known, (own, peer), strict=True))


def _filled(known: str, found: str) -> str:
    return "/".join(new if old == UNKNOWN else old for old, new in zip(known.split("/"), found.split("/"), strict=True))
