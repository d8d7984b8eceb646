"""What zrep relies on, case by case. Each runs below tank/c, which is new and has nothing else in it."""

from __future__ import annotations

from ..script import Case
from .bookmarks import BOOKMARKS
from .datasets import DATASETS
from .delegation import DELEGATION
from .encryption import ENCRYPTION
from .mounting import MOUNTING
from .pools import POOLS
from .power import POWER
from .properties import PROPERTIES
from .reading import READING
from .receiving import RECEIVING
from .sending import SENDING
from .snapshots import SNAPSHOTS
from .space import SPACE

CASES: list[Case] = [
    *READING,
    *PROPERTIES,
    *SNAPSHOTS,
    *DATASETS,
    *MOUNTING,
    *SENDING,
    *BOOKMARKS,
    *RECEIVING,
    *ENCRYPTION,
    *SPACE,
    *POWER,
    *POOLS,
    *DELEGATION,
]
