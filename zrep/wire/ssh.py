"""The command lines that cross ssh: built here, and read back here, as whoever admits only these has to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from zrep.core.errors import RefusedError, one_line
from zrep.core.steps import SendStream
from zrep.host.streams import RECEIVE_SCRIPT, SEND_SCRIPT, Admission, in_turn, under_locks
from zrep.wire.line import COMMAND, WORD, helper, line_of
from zrep.zfs import commands, stream_words
from zrep.zfs.commands import Argv
from zrep.zfs.stream_words import Receiving, Sending

# A receive prints nothing that anybody reads, and its script knows its way: no other shell is needed.
_RECEIVE = f"PATH=/usr/local/bin:$PATH; {RECEIVE_SCRIPT}"
_LINE = re.compile(r"sh -c '[^'!\\\n]*'(?: '[^'!\\\n]*')*")
# Beyond the 128 KiB that one argument may have, nobody can have sent it.
_LINE_LENGTH = 128 << 10
_TOKEN = re.compile(r"[0-9]{1,10}\.[0-9a-f]{16}")
_COUNT = re.compile(r"[1-9][0-9]{0,3}")


class Helper(Struct, frozen=True):
    """Start the helper; program: how zrep is called there."""

    program: str


class Sender(Struct, frozen=True):
    """Send streams, one after the other, after a line that is STREAM_MARK."""

    streams: tuple[Sending, ...]


class Admitted(Struct, frozen=True):
    """A stream that is received under the receive lock in the file lock, as token grants it."""

    lock: str
    token: str
    receiving: Receiving


class Receiver(Struct, frozen=True):
    """Receive streams, one after the other. marked: they begin after a line that is STREAM_MARK."""

    marked: bool
    streams: tuple[Admitted, ...]


Line = Helper | Sender | Receiver


def sender(steps: Sequence[SendStream]) -> str:
    """The line that brings streams out of their sources."""
    return _sender([commands.send(step) for step in steps])


def receiver(steps: Sequence[tuple[SendStream, tuple[str, str]]], *, marked: bool) -> str:
    """The line that takes streams into their targets, each as it was granted."""
    return _receiver([Admission(commands.receive(step), *granted) for step, granted in steps], marked=marked)


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
        case Sender(streams=sendings):
            return _sender([stream_words.send(sending) for sending in sendings])
        case Receiver(marked=marked, streams=admitted):
            known = [Admission(stream_words.receive(x.receiving), x.lock, x.token) for x in admitted]
            return _receiver(known, marked=marked)


def _parse(line: str) -> Line | None:
    """What a line seems to be; it is that if it is built so."""
    script, *words = WORD.findall(line)
    if script == COMMAND and len(words) == 2 and words[1] == "peer":
        return Helper(words[0])
    if script == COMMAND:
        senders = list(_in_turn(words[4:], 0)) if words[:4] == ["sh", "-c", SEND_SCRIPT, "zrep"] else [words]
        sendings = [stream_words.read_send(each) for each in senders]
        return Sender(tuple(filter(None, sendings))) if sendings and all(sendings) else None
    if script == _RECEIVE and words[:1] == ["zrep"] and words[1:2] in (["marked"], ["plain"]):
        admitted = [_admitted(*each) for each in _in_turn(words[2:], 2)]
        return Receiver(words[1] == "marked", tuple(filter(None, admitted))) if admitted and all(admitted) else None
    return None


def _in_turn(words: list[str], more: int) -> Iterator[list[str]]:
    """The parts of a line that is about several streams: so many words each, their number, and as many. What is
    none ends it with an empty one."""
    while words:
        count = words[more] if len(words) > more else ""
        end = more + 1 + (int(count) if _COUNT.fullmatch(count) else len(words))
        yield [*words[:more], *words[more + 1 : end]] if end <= len(words) else []
        words = words[end:]


def _admitted(lock: str = "", token: str = "", *words: str) -> Admitted | None:
    receiving = stream_words.read_receive(words)
    if receiving is None or not lock.startswith("/") or not _TOKEN.fullmatch(token):
        return None
    return Admitted(lock, token, receiving)


def _sender(senders: Sequence[Argv]) -> str:
    return line_of([COMMAND, *in_turn(senders)])


def _receiver(admissions: Sequence[Admission], *, marked: bool) -> str:
    _, _, _, *arguments = under_locks(admissions, marked=marked)
    return line_of([_RECEIVE, *arguments])
