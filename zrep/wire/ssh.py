"""The command lines that cross ssh: built here, and read back here, as whoever admits only these has to.

Whatever login shell reads them, csh and fish too: every word is in single quotes, which all of them take alike as long
as there is no quote, exclamation mark, backslash or line break in it. zrep's own words have none; names are checked.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from msgspec import Struct

from zrep.core.errors import BugError, RefusedError, UsageError, one_line
from zrep.core.steps import SendStream
from zrep.host.streams import RECEIVE_SCRIPT, STREAM_MARK, under_lock
from zrep.zfs import commands, stream_words
from zrep.zfs.commands import Argv
from zrep.zfs.stream_words import Receiving, Sending

# Any PATH. What login files printed, with or without a line break at its end, is followed by the mark on a line of its
# own.
_COMMAND = (
    "PATH=/usr/local/bin:$PATH:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH; "
    f'echo; echo {STREAM_MARK}; exec "$0" "$@"'
)
# A receive prints nothing that anybody reads, and its script knows its way: no other shell is needed.
_RECEIVE = f"PATH=/usr/local/bin:$PATH; {RECEIVE_SCRIPT}"
_BEGINNING = "sh -c "
_WORD = re.compile(r"'([^'!\\\n]*)'")
_LINE = re.compile(r"sh -c '[^'!\\\n]*'(?: '[^'!\\\n]*')*")
# Beyond the 128 KiB that one argument may have, nobody can have sent it.
_LINE_LENGTH = 128 << 10
_TOKEN = re.compile(r"[0-9]{1,10}\.[0-9a-f]{16}")


class Helper(Struct, frozen=True):
    """Start the helper; program: how zrep is called there."""

    program: str


class Sender(Struct, frozen=True):
    """Send a stream, after a line that is STREAM_MARK."""

    sending: Sending


class Receiver(Struct, frozen=True):
    """Receive a stream under the receive lock in the file lock, as token grants it. marked: it begins after a line that
    is STREAM_MARK."""

    lock: str
    token: str
    marked: bool
    receiving: Receiving


Line = Helper | Sender | Receiver


def ssh_words(text: str) -> list[str]:
    """The words that start ssh, as SSH in the environment says them; UsageError when it cannot be read."""
    try:
        return shlex.split(text) or ["ssh"]
    except ValueError as error:
        raise UsageError(f"SSH is {text!r}", evidence=str(error)) from None


def helper(program: str) -> str:
    """The line that starts the helper."""
    return _line([_COMMAND, program, "peer"])


def sender(step: SendStream) -> str:
    """The line that brings a stream out of its source."""
    return _line([_COMMAND, *commands.send(step)])


def receiver(step: SendStream, granted: tuple[str, str], *, marked: bool) -> str:
    """The line that takes a stream into its target."""
    return _receiver(commands.receive(step), granted, marked=marked)


def parse(line: str) -> Line:
    """Read a command line back; RefusedError for one that zrep does not build, to the last character."""
    found = _parse(line) if len(line) <= _LINE_LENGTH and _LINE.fullmatch(line) else None
    if found is None or build(found) != line:
        raise RefusedError("this is no command line of zrep", evidence=one_line(line[:120]))
    return found


def build(line: Line) -> str:
    """The command line that parse reads as this one."""
    match line:
        case Helper(program=program):
            return helper(program)
        case Sender(sending=sending):
            return _line([_COMMAND, *stream_words.send(sending)])
        case Receiver(receiving=receiving):
            return _receiver(stream_words.receive(receiving), (line.lock, line.token), marked=line.marked)


def _parse(line: str) -> Line | None:
    """What a line seems to be; it is that if it is built so."""
    script, *words = _WORD.findall(line)
    if script == _COMMAND and len(words) == 2 and words[1] == "peer":
        return Helper(words[0])
    if script == _COMMAND and (sending := stream_words.read_send(words)):
        return Sender(sending)
    if script == _RECEIVE and len(words) > 4 and words[0] == "zrep":
        lock, token, marked, *rest = words[1:]
        receiving = stream_words.read_receive(rest)
        if receiving and lock.startswith("/") and _TOKEN.fullmatch(token) and marked in ("marked", "plain"):
            return Receiver(lock, token, marked == "marked", receiving)
    return None


def _receiver(argv: Argv, granted: tuple[str, str], *, marked: bool) -> str:
    _, _, _, *arguments = under_lock(argv, granted, marked=marked)
    return _line([_RECEIVE, *arguments])


def _line(words: Sequence[str]) -> str:
    for word in words:
        if not _WORD.fullmatch(f"'{word}'"):
            raise BugError(f"{word!r} cannot be passed through every shell")
    return _BEGINNING + " ".join(f"'{word}'" for word in words)
