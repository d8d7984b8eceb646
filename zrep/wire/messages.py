"""What crosses between two zreps: one message a line of JSON, of a bounded length, checked as it arrives.

The helper greets first. Then each request goes with a number, and its answer comes back with the same one; both ends
send a beat every few seconds. Whatever is not a message of the expected type is a MalformedError, and nothing of it is
carried out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union

from msgspec import Meta, MsgspecError, Raw, Struct, to_builtins
from msgspec.json import Decoder, Encoder

from zrep.core.errors import RefusedError, UsageError, one_line
from zrep.core.requests import Answer, Failure, Request, answer_type

# Both ends speak the same one: what a request or a step says may change with every version.
PROTOCOL = 4
BEAT_SECONDS = 3.0
# A helper that has not heard the other end for so long ends, with this exit status.
HEARTBEAT_SECONDS = 12.0
HEARD_NOTHING = 75

# The longest lines that are read. To a helper: a quarter of a million names of snapshots. From it: the snapshots of all
# pairs with one peer, some two million; of what else is asked less is read (Request.most_weight). Before its greeting:
# what login files print.
REQUEST_BYTES = 16 << 20
ANSWER_BYTES = 256 << 20
NOISE_BYTES = 64 << 10
_CHUNK = 64 << 10
# What is made of a line takes about its own length, so many bytes more for each value and each list in it, and so many
# for each record (seen with CPython 3.11, where names of a letter take ten times their text, and roles of which nothing
# is said fifty times).
_VALUE_BYTES = 64
_RECORD_BYTES = 192

Message = TypeVar("Message")
Number = Annotated[int, Meta(ge=1, lt=2**62)]


class MalformedError(RefusedError):
    """What came over the wire is not what is said there."""


class UnfinishedError(MalformedError):
    """The wire ended in the middle of a line."""


class Greeting(Struct, frozen=True):
    """The first line of a helper; its shape is that of every protocol, so that two versions recognise each other."""

    greeting: Literal["zrep-peer"]
    protocol: int


GREETING = Greeting("zrep-peer", PROTOCOL)


class Beat(Struct, frozen=True, tag=True):
    """Still there."""


if TYPE_CHECKING:
    _AnyRequest = Request[Any]
else:  # what arrives is one of them: a union that grows with them
    _AnyRequest = Union[tuple(Request.__subclasses__())]  # noqa: UP007  # of a number that is only known here


class Ask(Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """A request, and the number its answer will have."""

    number: Number
    request: _AnyRequest


class Answered(Struct, frozen=True, tag=True):
    """The answer to a request, as the JSON that answer_type says."""

    number: Number
    answer: Raw


class Failed(Struct, frozen=True, tag=True):
    """Why there is no answer to a request; number 0: the helper ends, because what it was sent was none."""

    number: Annotated[int, Meta(ge=0, lt=2**62)]
    failure: Failure


def _plain(value: object) -> object:
    """What msgspec does not encode by itself: a mapping that cannot be changed."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value))


_ENCODER = Encoder(enc_hook=_plain)


def encode(message: Struct) -> bytes:
    """Put a message into a line. UsageError for text that is no text, as a name from a disk may be."""
    try:
        return _ENCODER.encode(message) + b"\n"
    except UnicodeEncodeError as error:
        raise UsageError("this cannot be said to another host", evidence=f"not UTF-8: {error.object!r:.100}") from None


def encode_answer(number: int, answer: object) -> bytes:
    """Put the answer to a request into a line. What is no text, as somebody's property or a path may be, is told in
    text: bytes as \\xff. It must not keep the rest of the answer from its host."""
    try:
        told = _ENCODER.encode(answer)
    except UnicodeEncodeError:
        told = _ENCODER.encode(_as_text(to_builtins(answer, enc_hook=_plain)))
    return encode(Answered(number, Raw(told)))


def _as_text(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        case dict():
            return {_as_text(key): _as_text(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_as_text(each) for each in value]
    return value


def weight(line: bytes) -> int:
    """Tell about how many bytes of memory what is made of a line will take: where somebody means harm four times as
    many, or five times its length where that is more (a text of wide characters). It is told before any of it is
    made: whoever sends it may be anybody."""
    return len(line) + _VALUE_BYTES * (line.count(b",") + line.count(b"[")) + _RECORD_BYTES * line.count(b"{")


def check_weight(kind: type[Request[Any]], line: bytes) -> None:
    """MalformedError where a line weighs more than an answer to a kind of request may."""
    if weight(line) > (most := kind.most_weight):
        raise MalformedError(f"an answer to {kind.__name__} that is too long", evidence=f"more than {most} bytes")


def read_for_helper(line: bytes) -> Ask | Beat:
    """What a helper is sent."""
    message: Ask | Beat = _read(_decoder(Ask | Beat), line)
    return message


def read_from_helper(line: bytes) -> Answered | Failed | Beat:
    """What a helper says after its greeting."""
    message: Answered | Failed | Beat = _read(_decoder(Answered | Failed | Beat), line)
    return message


def read_greeting(line: bytes) -> Greeting | None:
    """A helper's greeting; None for any other line: login files may print before it."""
    try:
        greeting: Greeting = _read(_decoder(Greeting), line)
    except MalformedError:
        return None
    return greeting


def read_answer(request: Request[Answer], text: bytes) -> Answer:
    """The answer to a request, of the type that it states; MalformedError also where it is not an answer to it."""
    answer: Answer = _read(_decoder(answer_type(type(request))), text)
    if not request.fits(answer):
        raise MalformedError("not an answer to what was asked", evidence=type(request).__name__)
    return answer


@cache
def _decoder(kind: Any) -> Decoder[Any]:
    return Decoder(kind)


def _read(decoder: Decoder[Message], text: bytes) -> Message:
    try:
        return decoder.decode(text)
    except (MsgspecError, ValueError, RecursionError) as error:  # bad UTF-8 is a ValueError
        raise MalformedError("not a message of this zrep", evidence=one_line(str(error))[:200]) from None


class Lines:
    """Lines from a descriptor, without their ends; bound: of the length of the next one, in bytes. No more than that is
    kept of a line. MalformedError for a longer one, UnfinishedError for one that the end of the file cuts.

    heard: called whenever anything came."""

    def __init__(self, descriptor: int, bound: int, heard: Callable[[], None] = lambda: None) -> None:
        self._descriptor = descriptor
        self._heard = heard
        self.bound = bound

    def __iter__(self) -> Iterator[bytes]:
        line = bytearray()
        while chunk := os.read(self._descriptor, _CHUNK):
            self._heard()
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                line += end
                self._check(line)
                yield bytes(line)
                line.clear()
            line += rest
            self._check(line)
        if line:
            raise UnfinishedError("a line without its end")

    def _check(self, line: bytearray) -> None:
        if len(line) > self.bound:
            raise MalformedError("a line that is too long", evidence=f"more than {self.bound} bytes")
