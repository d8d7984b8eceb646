"""Names: what is a dataset, a host, a tag; how zrep's own snapshots, properties and split copies are called."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Annotated

from msgspec import Meta

from zrep.core.errors import UsageError

DEFAULT_TAG = "zrep"


def spoken(tag: str) -> str:
    """A tag as far as a command line has to name it: the default one needs no word."""
    return "" if tag == DEFAULT_TAG else tag


# The user properties TAG:NAME on a dataset; names are at most 10 characters, as the shell zrep kept them.
ROLE_PROPERTIES = (
    "src-host",
    "src-fs",
    "dest-host",
    "dest-fs",
    "master",
    "savecount",
    "epoch",
    "gen",
    "parent",
    "inprogress",
    "paused",
    "flags",
    "outfilter",
    "infilter",
    "compress",
    "bwlimit",
    "split",
    "canmount",
    "frozen",
    "alone",
    "lease",
    "minfree",
    "maxlag",
    "after",
    "places",
    "lock-pid",
    "lock-time",
    "recursive",
    "set",
    "coming",
    "exclude",
    "gone",
    "driver",
    "keep",
    "foreign",
    "unsent",
    "followed",
    "limits",
    "props",
    "allsnaps",
)

# What is set on a master follows to its replica at each sync, as far as it is one of these. Not what a replica has of
# its own (mountpoint, canmount, readonly, sharenfs, sharesmb, keylocation, zoned and the labels of its host), not what
# can be set only once, and no limits of how much may lie below: a replica's snapshots are its own. All of them exist
# since OpenZFS 2.1: to ask for one that is not known fails whole.
FOLLOWED = (
    "aclinherit",
    "aclmode",
    "acltype",
    "atime",
    "checksum",
    "compression",
    "copies",
    "dedup",
    "devices",
    "dnodesize",
    "exec",
    "logbias",
    "nbmand",
    "overlay",
    "primarycache",
    "quota",
    "recordsize",
    "redundant_metadata",
    "refquota",
    "refreservation",
    "relatime",
    "reservation",
    "secondarycache",
    "setuid",
    "snapdev",
    "snapdir",
    "special_small_blocks",
    "sync",
    "volmode",
    "vscan",
    "xattr",
)

# ZFS inherits none of them: none is what they are unless set, and may be set.
UNINHERITED = frozenset({"quota", "refquota", "reservation", "refreservation"})

# The user properties TAG:NAME of a snapshot: zrep made it, and when it was known to be on both sides.
MADE = "made"
SENT = "sent"
# The value of MADE at the target of a relay: made under another tag, and brought here under this one.
RELAYED = "relayed"
# One that an administrator sets, on what need not be replicated with the filesystem it is below.
EXCLUDE = "exclude"
# On a clone that rejoin prepares: the quotas and reservations that it gets last.
LIMITS = "limits"

# zfs_namecheck.c: components of alphanumerics and "-_.: ", none of them "." or "..", at most 255 bytes in all
# (ZFS_MAX_DATASET_NAME_LEN); the pool begins with a letter.
LONGEST = 255
_COMPONENT = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.: -]+\Z")
_POOL = re.compile(r"[A-Za-z][A-Za-z0-9_.: -]*\Z")
# A file name, without the longest ending that is added to it; and what is kept of one that would be too long.
_LONGEST_FILE = 220
_BEGINNING = 180
# In a pair's life: one a second for 30000 years.
_MOST_SNAPSHOTS = 1 << 40
# The line after which the stdout of a command on another host is its own.
STREAM_MARK = "zrep-stream"
# ssh's own idea of a host, restricted to what cannot be taken for an option or a second word.
_HOST = re.compile(r"\A(?:[A-Za-z0-9_.][A-Za-z0-9_.-]*@)?[A-Za-z0-9_:\[][A-Za-z0-9_.:%\[\]-]*\Z")
# zfsprops(7): a user property name may hold lowercase letters, digits, and ":+._-"; ours ends in ":src-host".
_TAG = re.compile(r"\A[a-z0-9][a-z0-9._-]{0,63}\Z")

# The same as types, checked in every request as it arrives: what zfs, ssh or mount would take for an option or for
# another kind of name is none of these. ZFS allows 255 bytes, and names that zrep would not begin a pair with.
PoolName = Annotated[str, Meta(pattern=r"\A[A-Za-z][A-Za-z0-9_.: -]*\Z", max_length=255)]
DatasetName = Annotated[str, Meta(pattern=r"\A[A-Za-z][A-Za-z0-9_.: /-]*\Z", max_length=255)]
SnapshotName = Annotated[str, Meta(pattern=r"\A[A-Za-z][A-Za-z0-9_.: /-]*@[A-Za-z0-9_.: -]+\Z", max_length=255)]
ShortSnapshotName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.: -]+\Z", max_length=255)]
BookmarkName = Annotated[str, Meta(pattern=r"\A[A-Za-z][A-Za-z0-9_.: /-]*#[A-Za-z0-9_.: -]+\Z", max_length=255)]
# What an increment begins at: a snapshot or a bookmark.
BaseName = Annotated[str, Meta(pattern=r"\A[A-Za-z][A-Za-z0-9_.: /-]*[@#][A-Za-z0-9_.: -]+\Z", max_length=255)]
# A dataset or a snapshot.
TargetName = Annotated[str, Meta(pattern=r"\A[A-Za-z][A-Za-z0-9_.: /-]*(?:@[A-Za-z0-9_.: -]+)?\Z", max_length=255)]
PropertyName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.:@+-]*\Z", max_length=255)]
Tag = Annotated[str, Meta(pattern=_TAG.pattern)]
TagOrNone = Annotated[str, Meta(pattern=r"\A(?:[a-z0-9][a-z0-9._-]{0,63})?\Z")]
HostName = Annotated[str, Meta(pattern=_HOST.pattern, max_length=255)]


def check_dataset(name: str) -> str:
    """name, if it can be that of a filesystem or volume; else UsageError."""
    pool, *components = name.split("/")
    if not _POOL.match(pool) or not all(_COMPONENT.match(part) for part in components) or len(name) > LONGEST:
        raise UsageError(
            f"{name!r} cannot be a ZFS filesystem",
            evidence="a name is POOL/PATH of letters, digits, spaces and - _ . :, at most 255 characters",
        )
    return name


def is_dataset(text: str) -> bool:
    """Whether it can be the name of a filesystem or volume."""
    try:
        return bool(check_dataset(text))
    except UsageError:
        return False


def stripped(name: str, prefix: str, below: str) -> str:
    """The name below another dataset that a dataset gets without the first part of its own; UsageError where it does
    not begin so."""
    rest = name.removeprefix(f"{prefix.rstrip('/')}/")
    if rest == name:
        raise UsageError(f"--strip {prefix!r} is no parent of it", filesystem=name)
    return f"{below}/{rest}"


def check_host(name: str) -> str:
    """name, if ssh could dial it ([user@]host or an alias); else UsageError."""
    if not _HOST.match(name):
        raise UsageError(f"{name!r} cannot be a host", evidence="expected HOST or USER@HOST as for ssh")
    return name


def is_host(text: str) -> bool:
    """Whether ssh could dial it."""
    return _HOST.match(text) is not None and len(text) <= LONGEST


def check_tag(tag: str) -> str:
    """tag, if it can stand before the colon of a user property; else UsageError."""
    if not _TAG.match(tag):
        raise UsageError(f"{tag!r} cannot be a tag", evidence="lowercase letters, digits and . _ - only")
    return tag


def is_tag(text: str) -> bool:
    """Whether it can be a tag."""
    return _TAG.match(text) is not None


def pool_of(dataset: str) -> str:
    """The pool a dataset, snapshot or bookmark lives in."""
    return re.split("[/@#]", dataset, maxsplit=1)[0]


def ancestors(dataset: str) -> tuple[str, ...]:
    """All ancestors of a dataset, pool first, without the dataset itself."""
    parts = dataset.split("/")
    return tuple("/".join(parts[:count]) for count in range(1, len(parts)))


def snapshot_name(tag: str, sequence: int) -> str:
    """zrep_00001f, as the shell zrep named them."""
    return f"{tag}_{sequence:06x}"


@cache
def _own_name(tag: str) -> re.Pattern[str]:
    return re.compile(re.escape(tag) + r"_([0-9a-f]{6,12})")


def sequence_of(tag: str, snapshot: str) -> int | None:
    """The number in a snapshot's short name, where zrep could have given it; None for any other name (``_unsent``
    included). That it could does not say that it did: see Member.ours."""
    match = _own_name(tag).fullmatch(snapshot)
    number = int(match.group(1), 16) if match else None
    return number if number is not None and snapshot_name(tag, number) == snapshot else None


# What snapshots of zrep are called under any tag; a split copy ends in one.
_OF_A_TAG = re.compile(r"[a-z0-9][a-z0-9._-]*_(?:[0-9a-f]{6}|split_[0-9]+)")


def is_of_a_tag(snapshot: str) -> bool:
    """Whether zrep could have given a snapshot its short name, under whatever tag."""
    return _OF_A_TAG.fullmatch(snapshot) is not None


def next_sequence(tag: str, own: Iterable[str], taken: Iterable[str] = ()) -> int:
    """One higher than the highest of zrep's snapshots, by short name, or the next one whose name is not taken. A number
    that no pair gets to, as somebody may have given one, does not count: the next one after it would be too long."""
    numbers = (sequence_of(tag, name) or 0 for name in own)
    number = 1 + max((number for number in numbers if number < _MOST_SNAPSHOTS), default=0)
    others = {sequence_of(tag, name) for name in taken}
    while number in others:
        number += 1
    return number


def bookmark_name(tag: str, snapshot: str) -> str:
    """The bookmark that a master keeps of its base, by short name: no tag has a colon, and so no other one's is called
    alike."""
    return f"{tag}:{snapshot}"


def is_bookmark(tag: str, name: str) -> bool:
    """Whether a bookmark is one that zrep keeps under a tag."""
    return name.startswith(f"{tag}:")


def split_snapshot(tag: str, epoch: int) -> str:
    """The snapshot that ends a diverged history."""
    return f"{tag}_split_{epoch}"


def split_dataset(dataset: str, epoch: int, generation: str, room: int = 0) -> str:
    """Where rejoin keeps the diverged copy of a dataset."""
    return beside(dataset, f"_split_{epoch}_{generation[:8]}", room)


def is_split(copy: str, dataset: str, epoch: int) -> bool:
    """Whether a name is one that split_dataset gives the copy of a dataset, of whatever generation."""
    before, ending, generation = copy.rpartition(f"split_{epoch}_")
    begins = before.removesuffix("_")
    return bool(ending and re.fullmatch("[0-9a-z]{1,8}", generation)) and (
        begins == f"{dataset}/" if "/" not in dataset else "/" in begins and dataset.startswith(begins)
    )


def is_rejoin(clone: str, dataset: str) -> bool:
    """Whether a name is one that a rejoin gives the clones that it prepares for a dataset and what is below it, of
    whatever epoch and generation: beside the dataset, or beside what is below it, which may have left for the copy."""
    folder, _, own = clone.rpartition("/")
    found = re.fullmatch(r"(.*?)_?rejoin_[0-9]+_[0-9a-z]{1,8}(?:_[0-9a-f]+)?", own)
    above, slash, name = dataset.rpartition("/")
    if found is None or not (name.startswith(found[1]) if slash else not found[1]):
        return False
    return folder == (above or dataset) or any(_holds_members(each, dataset) for each in (folder, *ancestors(folder)))


def _holds_members(name: str, dataset: str) -> bool:
    """Whether it is a dataset, or a split copy of it of whatever epoch."""
    epoch = name.rpartition("split_")[2].partition("_")[0]
    return name == dataset or (epoch.isdecimal() and is_split(name, dataset, int(epoch)))


def rejoin_dataset(dataset: str, epoch: int, generation: str, room: int = 0) -> str:
    """The clone that rejoin prepares to take the name of a dataset."""
    return beside(dataset, f"_rejoin_{epoch}_{generation[:8]}", room)


def beside(dataset: str, ending: str, room: int) -> str:
    """A name beside a dataset's (in a pool's root, which has nothing beside it), the end of its own left out where the
    whole, with so many bytes after it, would be too long; "" where even that does not help."""
    parent, slash, own = dataset.rpartition("/")
    if not slash:
        parent, slash, own, ending = dataset, "/", "", ending.removeprefix("_")
    left = LONGEST - room - len(parent + slash + ending)
    return f"{parent}{slash}{own[:left]}{ending}" if left > 0 else ""


def fits(name: str) -> bool:
    """Whether ZFS takes a name that is this long."""
    return not excess(name)


def excess(name: str, room: int = 0) -> int:
    """How many bytes a name, with so many after it, is longer than ZFS takes; 0 where it is not."""
    return max(0, len(name) + room - LONGEST)


def file_name(name: str) -> str:
    """Make a file name of a dataset's name, or of a key with one in it, another one for each: no ZFS name holds a
    percent sign or a tilde. A file name has at most 255 bytes, endings included."""
    plain = name.replace("/", "%")
    if len(plain) <= _LONGEST_FILE:
        return plain
    from hashlib import sha256  # seldom needed, and slow to load

    return f"{plain[:_BEGINNING]}~{sha256(plain.encode()).hexdigest()[:32]}"


def lock_file(dataset: str) -> str:
    """File name of a dataset's lock."""
    return file_name(dataset) + ".lock"


def memory_key(tag: str, dataset: str) -> str:
    """Under what a pair's volatile bookkeeping is kept."""
    return f"{tag} {dataset}"
