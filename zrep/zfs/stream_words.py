"""The words of ``zfs send`` and ``zfs receive`` of a stream, read back from a command line.

What commands.send and commands.receive write is read, and nothing else: a line is what was read of it if it is written
so again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from zrep.core.names import BaseName, DatasetName, PropertyName, SnapshotName
from zrep.core.pair import End
from zrep.core.shape import read_receiving, read_sending
from zrep.core.steps import Compressor, Property, Rate, ResumeToken, SendFlag, SendStream
from zrep.zfs import commands
from zrep.zfs.commands import Argv

Words = TypeVar("Words", bound="Sending | Receiving")


class Sending(Struct, frozen=True):
    """What the sender of a stream is told, as in SendStream. With a token: nothing else but what it goes through."""

    snapshot: SnapshotName | None = None
    base: BaseName | None = None
    token: ResumeToken | None = None
    options: tuple[SendFlag, ...] = ()
    outfilter: str = ""
    compress: Compressor = ""
    bwlimit: Rate = 0
    between: bool = False


class Receiving(Struct, frozen=True):
    """What the receiver of a stream is told, as in SendStream."""

    target: DatasetName
    exclude: tuple[PropertyName, ...] = ()
    override: tuple[Property, ...] = ()
    infilter: str = ""
    compress: Compressor = ""


def send(sending: Sending) -> Argv:
    """The words that read_send reads so."""
    snapshot, base, token = sending.snapshot or "", sending.base or "", sending.token or ""
    step = SendStream(End.SOURCE, snapshot, "", base, token, sending.options, outfilter=sending.outfilter)
    through = {"compress": sending.compress, "bwlimit": sending.bwlimit}
    return commands.send(replace(step, between=sending.between, **through))


def receive(receiving: Receiving) -> Argv:
    """The words that read_receive reads so."""
    target, exclude, override, infilter, compress = msgspec.structs.astuple(receiving)
    step = SendStream(End.SOURCE, "", target, exclude=exclude, override=override, infilter=infilter)
    return commands.receive(replace(step, compress=compress))


def read_send(words: Sequence[str]) -> Sending | None:
    """What a ``zfs send`` is told; None for one that zrep does not write."""
    outfilter, compress, bwlimit = "", "", 0
    if words[:2] == ["sh", "-c"] and len(words) > 4 and words[2].startswith('"$@" | '):
        outfilter, compress, bwlimit = read_sending(words[2].removeprefix('"$@" | '))
        words = words[4:]
    match words:
        case ["zfs", "send", "-vP", "-t", token]:
            found: dict[str, object] = {"token": token}
        case ["zfs", "send", "-vP", *options, "-i" | "-I" as how, base, snapshot]:
            found = {"options": options, "base": base, "snapshot": snapshot, "between": how == "-I"}
        case ["zfs", "send", "-vP", *options, snapshot]:
            found = {"options": options, "snapshot": snapshot}
        case _:
            return None
    return _checked({**found, "outfilter": outfilter, "compress": compress, "bwlimit": bwlimit}, Sending)


def read_receive(words: Sequence[str]) -> Receiving | None:
    """What a ``zfs receive`` is told; None for one that zrep does not write."""
    infilter = compress = ""
    if list(words[:2]) == ["sh", "-c"] and len(words) > 4 and words[2].endswith(' | "$@"'):
        infilter, compress = read_receiving(words[2].removesuffix(' | "$@"'))
        words = words[4:]
    if list(words[:4]) != ["zfs", "receive", "-s", "-u"] or len(words) % 2 == 0:
        return None
    *options, target = words[4:]
    pairs = list(zip(options[::2], options[1::2], strict=True))
    found: dict[str, object] = {
        "target": target,
        "exclude": [name for flag, name in pairs if flag == "-x"],
        "override": [text.partition("=")[::2] for flag, text in pairs if flag == "-o"],
        "infilter": infilter,
        "compress": compress,
    }
    return _checked(found, Receiving)


def _checked(found: dict[str, object], kind: type[Words]) -> Words | None:
    """The record of what was found, if every name in it is one."""
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError:
        return None
