"""What can go wrong, as types: each carries its exit code and everything one line to a person needs."""

from __future__ import annotations

import re
from collections.abc import Iterable

# A command line of zrep in an advice: its command works on the pairs of a tag. One after -t names its own.
_COMMAND = re.compile(
    r"(?<!-t )\bzrep (?="
    r"(?:init|sync|refresh|failover|takeover|rejoin|rehearse|expire|list|status|history|pause|unpause|changeconfig|clear|"
    r"allow|doctor)\b)"
)


def tagged(advice: str, tag: str) -> str:
    """An advice for the pairs of a tag ("": the default one, which needs no word)."""
    return _COMMAND.sub(f"zrep -t {tag} ", advice) if tag else advice


# So much of one line of another host's is read, and told: whoever is there may make it as long as he likes.
MOST_TOLD = 2000

# What a terminal could take for a command: control characters, and what changes the direction of writing.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Text of anybody as it may reach a terminal: every character that could command it is a question mark."""
    return _UNPRINTABLE.sub("?", text)


def one_line(text: str) -> str:
    """The same, on one line whatever line breaks it held."""
    return printable(" ".join(text.split()))


class ZrepError(Exception):
    """A failure the user is told about in one line.

    what: the plain statement; filesystem: which one ("" when none); evidence: why zrep says so;
    advice: the next command to run, or what to do ("" when there is nothing to add).
    """

    exit_code = 1
    word = "failed"

    def __init__(self, what: str, *, filesystem: str = "", evidence: str = "", advice: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.filesystem = filesystem
        self.evidence = evidence
        self.advice = advice

    def line(self) -> str:
        """The whole message on one line, whatever line breaks and control characters the parts held."""
        return one_line(f"{self.statement()}; next: {self.advice}" if self.advice else self.statement())

    def statement(self) -> str:
        """The same without what to do about it."""
        text = f"{self.filesystem}: {self.what}" if self.filesystem else self.what
        return one_line(f"{text} ({self.evidence})" if self.evidence else text)

    def tagged(self, tag: str) -> ZrepError:
        """The same error, its advice for the pairs of a tag."""
        self.advice = tagged(self.advice, tag)
        return self

    def about(self, filesystem: str) -> ZrepError:
        """The same error, naming filesystem if it named none."""
        if not self.filesystem:
            self.filesystem = filesystem
        return self


class FailedError(ZrepError):
    """Something failed that may work when tried again."""


class UsageError(ZrepError):
    """The command line makes no sense."""

    exit_code = 2
    word = "usage"


class RefusedError(ZrepError):
    """A person must decide; trying again will not help."""

    exit_code = 3
    word = "refused"


class NotAdmittedError(RefusedError):
    """The gate of the host that was asked does not let this be done."""


class BusyError(ZrepError):
    """Another zrep (or its stream) is at work on this filesystem."""

    exit_code = 4
    word = "busy"


class MovedError(BusyError):
    """Another zrep has moved the role of this filesystem between the finding of it and its lock."""


class UnreachableError(ZrepError):
    """The peer did not answer. Never taken to mean that anything is absent there."""

    exit_code = 5
    word = "unreachable"


# What to do about a run that was ended from outside.
AGAIN = "running the same command again finishes or undoes what was begun"


class CutShortError(ZrepError):
    """Ended from outside: Ctrl-C, or a polite signal. The exit code is what shells give to Ctrl-C."""

    exit_code = 130
    word = "interrupted"


class BugError(ZrepError):
    """zrep itself is wrong."""

    exit_code = 70
    word = "bug"


_SEVERITY = (70, 3, 1, 5, 4, 0)


def worst(codes: Iterable[int]) -> int:
    """The exit code of a run over several filesystems: 70, 3, 1, 5, 4, 0 in that order."""
    seen = set(codes)
    return next((code for code in _SEVERITY if code in seen), max(seen, default=0))
