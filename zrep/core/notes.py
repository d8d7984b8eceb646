"""Notes: what is remembered of a pair, or of a run, and may be lost at any time."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from zrep.core.quantities import Whole

# What was reported: what, the advice, since when, and when it was told last (seconds since 1970).
Told = tuple[str, str, Whole, Whole]
# What may be remembered: a number, names, or what was reported, by its subject.
Note = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None | list[str] | dict[str, Told]
# Notes by their names: what is kept under one key.
Record = dict[str, Note]
