"""What zrep itself has a stream pass through: a compressor for a slow link, and a limit of its rate.

A property names one of a few programs, and says a number: no word of it is shell. Filters of the administrator's own
are another thing (see diagnosis.diagnose_filters).
"""

from __future__ import annotations

import re
from collections.abc import Collection

from zrep.core.quantities import size

# By the name of the program: how the sending host calls it, and how the receiving one.
COMPRESSORS = {
    "zstd": ("zstd -qc", "zstd -dqc"),
    "lz4": ("lz4 -qc", "lz4 -dqc"),
    "gzip": ("gzip -1c", "gzip -dc"),
    "pigz": ("pigz -1c", "pigz -dc"),
}
# Either limits a rate. pv is asked first: it holds nothing back, so that what zfs send says of its progress stays true.
LIMITERS = ("pv", "mbuffer")
PROGRAMS = (*COMPRESSORS, *LIMITERS)
_LIMIT = "if command -v pv >/dev/null; then pv -q -L {0}; else mbuffer -q -s 128k -m 16M -r {0}; fi"
# A filter of which it can be told what programs it begins: words of these characters, and pipes between them. And the
# words for which a shell looks for no program.
_PLAIN = re.compile(r"[\w./:=,%+@ |-]+", re.ASCII)
_OF_THE_SHELL = frozenset(("command", "eval", "exec", "time"))
# Below, a stream could be taken for one that does not move.
_LEAST_RATE = 16 << 10
_LIMIT_OF = re.escape(_LIMIT).replace(r"\{0\}", "([1-9][0-9]{0,17})", 1).replace(r"\{0\}", r"\1")


def rate(text: str) -> int | None:
    """A rate as a person writes it, 500K, 10M or a number of bytes a second; None when it is none, or too small."""
    match = re.fullmatch(r"([0-9]{1,12})([KMG]?)", text, re.ASCII)
    number = int(match[1]) * 1024 ** " KMG".find(match[2] or " ") if match else 0
    return number if _LEAST_RATE <= number < 10**18 else None


def compressor(text: str) -> str | None:
    """The name of a compressor; None for what is none."""
    return text if text in COMPRESSORS else None


def sending(outfilter: str, compress: str, bwlimit: int) -> str:
    """What a stream passes through where it is sent, as shell; "" for nothing. The rate is that of the wire."""
    parts = (outfilter, COMPRESSORS[compress][0] if compress else "", _LIMIT.format(bwlimit) if bwlimit else "")
    return " | ".join(filter(None, parts))


def receiving(infilter: str, compress: str) -> str:
    """The same where it is received."""
    return " | ".join(filter(None, (COMPRESSORS[compress][1] if compress else "", infilter)))


def read_sending(text: str) -> tuple[str, str, int]:
    """The filter, the compressor and the rate of which sending makes a text."""
    rest, limit = text, 0
    last = rest.rpartition(" | ")
    if found := re.fullmatch(_LIMIT_OF, last[2]):
        rest, limit = last[0], int(found[1])
    for name, (there, _) in COMPRESSORS.items():
        if rest == there or rest.endswith(f" | {there}"):
            return rest.removesuffix(there).removesuffix(" | "), name, limit
    return rest, "", limit


def read_receiving(text: str) -> tuple[str, str]:
    """The filter and the compressor of which receiving makes a text."""
    for name, (_, here) in COMPRESSORS.items():
        if text == here or text.startswith(f"{here} | "):
            return text.removeprefix(here).removeprefix(" | "), name
    return text, ""


def missing(bwlimit: int, compress: str, *, sends: bool, programs: Collection[str]) -> str:
    """The program that a host lacks, in words, "" for none. sends: it is the one that streams come from."""
    if compress and compress not in programs:
        return compress
    return " or ".join(LIMITERS) if sends and bwlimit and not set(LIMITERS) & set(programs) else ""


def begun(text: str) -> tuple[str, ...]:
    """The programs that an administrator's filter begins, one for each part of a pipeline; none where there is more of
    a shell's language in it, or what is no program."""
    parts = [[word for word in part.split() if not re.match(r"\w+=", word)][:1] for part in text.split("|")]
    words = tuple(word for part in parts for word in part)
    return words if _PLAIN.fullmatch(text) and all(parts) and not _OF_THE_SHELL.intersection(words) else ()


def absent(text: str, programs: Collection[str]) -> str:
    """The first program of a filter that is not among those of a host; "" for none."""
    return next((name for name in begun(text) if name not in programs), "")


def said(bwlimit: int, compress: str) -> str:
    """What streams pass through, as evidence."""
    parts = (f"compressed by {compress}" if compress else "", f"{size(bwlimit)} a second" if bwlimit else "")
    return f"its streams are {' and '.join(filter(None, parts))}"


def ending(compress: str, missing: str) -> str:
    """The option of changeconfig that does without a program that is missing."""
    return "--compress none" if missing == compress else "--bwlimit none"
