"""What a gate knows of its host, as a table."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct

NOW = 1_700_000_000


class Knows(Struct, frozen=True):
    """See gate.Known. pairs: the tags of the pairs that each dataset is in itself; begun: none of these pairs is
    made yet; linked: what each dataset says of whom this host dials for it; dialled: whom it dials anyway."""

    pairs: Mapping[str, Collection[str]] = {}
    begun: bool = False
    now: float = NOW
    linked: Mapping[str, Collection[str]] = {}
    dialled: Collection[str] = ("alpha",)

    def tags(self, datasets: Collection[str]) -> Mapping[str, Collection[str]]:
        return {name: self.pairs.get(name, ()) for name in datasets}

    def settled(self, datasets: Collection[str]) -> Mapping[str, Collection[str]]:
        return {name: () if self.begun else tags for name, tags in self.tags(datasets).items()}

    def around(self, datasets: Collection[str]) -> Mapping[str, Collection[str]]:
        return {
            each: [tag for name, tags in self.pairs.items() if f"{each}/".startswith(f"{name}/") for tag in tags]
            for each in datasets
        }

    def below(self, datasets: Collection[str]) -> Collection[str]:
        return [name for name in self.pairs if any(name.startswith(f"{each}/") for each in datasets)]

    def links(self, tag: str, dataset: str) -> Mapping[str, Collection[str]]:
        return self.linked

    def dials(self, tag: str, host: str) -> bool:
        return host in self.dialled
