"""What a gate is: which datasets a peer reaches through it, in which direction; what lies outside is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from shlex import quote
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.names import ancestors, is_dataset, pool_of

# What says whom this host dials for a pair.
DIALLED = ("master", "src-host", "dest-host", "driver")


class Lacking(str):
    """Why something is refused, in words, where a gate with other words would admit it: that gate."""

    wider: Gate

    @classmethod
    def of(cls, reason: str, wider: Gate) -> Lacking:
        made = cls(reason)
        made.wider = wider
        return made


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
    def command(self) -> str:
        """The forced command that is this gate."""
        flags = [f"--{name}" for name in ("send", "receive", "keep") if getattr(self, name)]
        return " ".join(("zrep gate", *(f"--tree {quote(tree)}" for tree in self.trees), *flags))

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

    # --- why something is refused, in words; "" where it is not ---

    def needs(self, *directions: str) -> str:
        """Refuse what goes in directions that it does not have."""
        missing = [f"--{name}" for name in directions if not getattr(self, name)]
        if not missing:
            return ""
        return Lacking.of(f"it without {' and '.join(missing)}", replace(self, **dict.fromkeys(directions, True)))

    def needs_moves(self) -> str:
        """Refuse what belongs to a move of roles where none move through it."""
        return self.needs("send", "receive") or (
            "" if self.moves else Lacking.of("it with --keep", replace(self, keep=False))
        )

    def outside(self, names: Iterable[str]) -> str:
        """Refuse datasets, or snapshots of them, that are in none of its trees."""
        for name in names:
            if not self.has(name):
                reason, dataset = f"anything of {name!r:.100}", name.partition("@")[0].partition("#")[0]
                wider = replace(self, trees=(*self.trees, dataset))
                return Lacking.of(reason, wider) if is_dataset(dataset) else reason
        return ""

    def other_pool(self, pool: str) -> str:
        """Refuse a pool that has none of its trees."""
        return "" if pool in self.pools else f"anything of the pool {pool}"


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
