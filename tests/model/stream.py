"""Send streams and resume tokens of the model: one line of JSON per record, the last one a checksum."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

from tests.zfs import tokens

from .state import Dataset, Partial

MAGIC = "zfs model stream"
PACKAGE = "zfs model package"
HEADER_BYTES = 312
Record = tuple[str, bytes | None]


@dataclass(slots=True)
class Begin:
    """What the first record of a stream says."""

    toname: str
    toguid: int
    fromguid: int = 0
    kind: str = "filesystem"
    raw: bool = False
    resuming: int | None = None  # how many records the receiver has already (a token of none resumes, too)
    clone: bool = False  # from is the origin of the filesystem to is of
    changed: bool = True  # whether to differs from from
    volsize: int = 0
    encryption_root: bool = False
    salt: int = 0
    embedded: bool = False  # send -e
    created: int = 0
    props: dict[str, str] | None = None  # send -p
    snapprops: dict[str, str] = field(default_factory=dict)


def encode(begin: Begin, records: list[Record]) -> bytes:
    fields = {name: getattr(begin, name) for name in Begin.__slots__}
    lines = [
        json.dumps([key, None if value is None else base64.b64encode(value).decode()])
        for key, value in records[begin.resuming or 0 :]
    ]
    lines.append(json.dumps({"end": zlib.crc32("\n".join(lines).encode())}))
    body = "".join(f"{line}\n" for line in lines)
    return (json.dumps({"magic": MAGIC, "bytes": len(body), **fields}) + f"\n{body}").encode()


def package(streams: list[bytes]) -> bytes:
    """Several streams as one, as -I makes it."""
    body = b"".join(streams)
    return (json.dumps({"magic": PACKAGE, "bytes": len(body)}) + "\n").encode() + body


def unpacked(stream: bytes) -> list[bytes]:
    """The streams of a package, or the one that is none."""
    start = stream.find(b"\n") + 1
    if not is_package(stream[:start]):
        return [stream]
    rest, found = stream[start:], []
    while rest:
        start = rest.find(b"\n") + 1
        end = start + (length(rest[:start]) or len(rest))
        found.append(rest[:end])
        rest = rest[end:]
    return found


def without_properties(stream: bytes) -> bytes:
    """The same stream out of the wrapping that brings its properties."""
    line, _, body = stream.partition(b"\n")
    fields = {**_fields(line + b"\n"), "props": None, "snapprops": {}}
    return json.dumps(fields).encode() + b"\n" + body


def header(stream: bytes) -> bytes:
    """The first record of a stream as OpenZFS has it (dmu_replay_record), for whoever looks at that; b"" where none
    begins."""
    begin = decode_begin(stream[: stream.find(b"\n") + 1])
    if begin is None:
        return b""
    fields = (0, 0, 0x2F5BACBAC, 1, begin.created, 3 if begin.kind == "volume" else 2, int(begin.clone))
    said = struct.pack("<IIQQQIIQQ", *fields, begin.toguid, begin.fromguid) + begin.toname.encode()
    return said.ljust(HEADER_BYTES, b"\0")


def is_package(line: bytes) -> bool:
    return _fields(line).get("magic") == PACKAGE


def decode_begin(line: bytes) -> Begin | None:
    """None for what is not a stream of ours."""
    fields = _fields(line)
    fields.pop("bytes", None)
    return Begin(**fields) if fields.pop("magic", None) == MAGIC else None


def length(line: bytes) -> int | None:
    """How many bytes follow the first line of a stream; None for what is not one of ours."""
    found = _fields(line).get("bytes")
    return found if isinstance(found, int) else None


def _fields(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def decode_records(body: bytes) -> tuple[list[Record], bool]:
    """The whole records there are, and whether the stream is complete."""
    records: list[Record] = []
    for line in body.split(b"\n")[:-1]:
        try:
            record = json.loads(line)
        except ValueError:
            return records, False
        if isinstance(record, dict):
            return records, "end" in record
        key, value = record
        records.append((key, None if value is None else base64.b64decode(value)))
    return records, False


def difference(old: dict[str, bytes], new: dict[str, bytes]) -> list[Record]:
    changed: list[Record] = [(key, value) for key, value in sorted(new.items()) if old.get(key) != value]
    return changed + [(key, None) for key in sorted(old.keys() - new.keys())]


def apply(data: dict[str, bytes], records: list[Record]) -> dict[str, bytes]:
    result = dict(data)
    for key, value in records:
        if value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


def token_of(dataset: Dataset) -> str | None:
    partial = dataset.partial
    return make_token(partial) if partial is not None and partial.resumable else None


def make_token(partial: Partial) -> str:
    begin = partial.begin
    since = {"fromguid": int(str(begin["fromguid"]))} if begin["fromguid"] else {}
    place = {"object": len(partial.records) + 1, "offset": 0, "bytes": 0}
    flags = {"rawok": True} if begin["raw"] else {}
    return tokens.token(**since, **place, toguid=int(str(begin["toguid"])), toname=str(begin["toname"]), **flags)


def read_token(token: str) -> dict[str, object] | str:
    """What a token says, or what is wrong with it."""
    parts = token.split("-")
    try:
        version, checksum, length = int(parts[0]), int(parts[1], 16), int(parts[2], 16)
    except (ValueError, IndexError):
        return "resume token is corrupt (invalid format)"
    if version != 1:
        return f"resume token is corrupt (invalid version {version})"
    try:
        squeezed = bytes.fromhex(parts[-1])
    except ValueError:
        return "resume token is corrupt (payload is not hex-encoded)"
    words = squeezed[: len(squeezed) // 4 * 4]
    if sum(struct.unpack(f"<{len(words) // 4}I", words)) != checksum:
        return "resume token is corrupt (incorrect checksum)"
    packed = zlib.decompress(squeezed)
    if len(packed) != length:
        return "resume token is corrupt (decompression failed)"
    found = tokens.contents(packed)
    known = {"toname": found["toname"], "toguid": found["toguid"], "fromguid": found.get("fromguid", 0)}
    return {**known, "raw": "rawok" in found, "records": int(found["object"]) - 1}
