"""What became of one filesystem."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from zrep.core.errors import ZrepError, worst


class Outcome(Struct, frozen=True):
    """What became of one filesystem: its exit code is that of the error, 0 without one.

    message: what was done, said on a terminal or with -v; blockers: what would stop it;
    notes: what a person should know although nothing failed; skipped: not worth a word under ``all``;
    told: an earlier run has said it already, it still counts; harmless: the error is told, and does not count;
    about: what it is news of, where that is not the filesystem; moved: a stream has gone;
    important: the message is said wherever it goes; failed: it failed for what the error of another is about.
    """

    filesystem: str
    message: str = ""
    error: ZrepError | None = None
    notes: tuple[str, ...] = ()
    blockers: tuple[ZrepError, ...] = ()
    skipped: bool = False
    told: bool = False
    harmless: bool = False
    about: str = ""
    important: bool = False
    moved: bool = False
    failed: bool = False

    @property
    def code(self) -> int:
        errors = (*self.blockers, *((self.error,) if self.error and not (self.skipped or self.harmless) else ()))
        return worst(error.exit_code for error in errors)


def each(names: Iterable[str], work: Callable[[str], Outcome]) -> list[Outcome]:
    """One outcome a filesystem: one that fails never stops the others. An unreachable peer is raised: it would
    fail for all of them."""
    outcomes = []
    for name in names:
        try:
            outcomes.append(work(name))
        except ZrepError as error:
            outcomes.append(Outcome(name, error=error.about(name)))
    return outcomes
