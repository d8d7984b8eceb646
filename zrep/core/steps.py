"""The vocabulary of plans: every change zrep can make, as frozen data that names the end it acts on."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from zrep.core.names import (
    MADE,
    BookmarkName,
    DatasetName,
    PoolName,
    PropertyName,
    ShortSnapshotName,
    SnapshotName,
    Tag,
    TargetName,
)
from zrep.core.pair import End
from zrep.core.shape import COMPRESSORS

# The fields of steps that hold names of datasets or snapshots.
_NAMING = ("dataset", "target", "targets", "snapshot", "snapshots", "bookmark")

MountPoint = Annotated[str, Meta(pattern=r"\A/")]
# Flags of a stream that goes as it is on disk, and of one that carries properties.
RAW = frozenset({"-w", "--raw"})
CARRY_PROPERTIES = frozenset({"-p", "--props"})

Property = tuple[PropertyName, str]
SendFlag = Annotated[str, Meta(pattern=r"\A--?[A-Za-z][A-Za-z-]*\Z")]
# As ``zfs get receive_resume_token`` prints it: 1-…, in hexadecimal.
ResumeToken = Annotated[str, Meta(pattern=r"\A[0-9a-f]+(?:-[0-9a-f]+)*\Z")]


Compressor = Annotated[str, Meta(pattern=rf"\A(?:{'|'.join(COMPRESSORS)})?\Z")]
Rate = Annotated[int, Meta(ge=0, lt=10**18)]


class Step(Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """One change at one end. The types of its fields are checked where it arrives from another host."""

    end: End

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets that the step names, those of its snapshots among them."""
        words: list[str] = []
        for field in _NAMING:
            value = getattr(self, field, ())
            words += [value] if isinstance(value, str) else value
        return tuple(dict.fromkeys(word.partition("@")[0].partition("#")[0] for word in words if word))


class Change(Step, frozen=True):
    """A step that the host at its end carries out alone."""


class TakeSnapshot(Change, frozen=True):
    """One atomic ``zfs snapshot`` of full names (fs@snap), marked in the same transaction group as made under a tag."""

    tag: Tag
    snapshots: tuple[SnapshotName, ...]


def made(tag: str) -> Property:
    """The mark of a snapshot that zrep made under a tag."""
    return f"{tag}:{MADE}", "yes"


class Hold(Change, frozen=True):
    tag: Tag
    snapshots: tuple[SnapshotName, ...]


class Release(Change, frozen=True):
    tag: Tag
    snapshots: tuple[SnapshotName, ...]


class DestroySnapshots(Change, frozen=True):
    """Snapshots of one dataset, by short name: the only destroy in zrep besides a rehearsal's own clone."""

    dataset: DatasetName
    names: tuple[ShortSnapshotName, ...]

    @property
    def full(self) -> tuple[str, ...]:
        """Their names in full."""
        return tuple(f"{self.dataset}@{name}" for name in self.names)


class Bookmark(Change, frozen=True):
    """A bookmark of a snapshot of the same dataset, both in full. Nothing depends on it: to fail is no failure."""

    snapshot: SnapshotName
    bookmark: BookmarkName


class DestroyBookmark(Change, frozen=True):
    """A bookmark that zrep made, in full. Nothing depends on it either."""

    bookmark: BookmarkName


class RenameSnapshot(Change, frozen=True):
    """A snapshot's new name, both in full; its guid, holds and marks stay."""

    snapshot: SnapshotName
    new: SnapshotName


class SetProperties(Change, frozen=True):
    """Several properties of one or more datasets or snapshots in one ``zfs set``."""

    targets: tuple[TargetName, ...]
    properties: tuple[Property, ...]


class InheritProperty(Change, frozen=True):
    """Back to the inherited or default value; received=True: back to the received one (``inherit -S``)."""

    targets: tuple[TargetName, ...]
    name: PropertyName
    received: bool = False


class CreateParent(Change, frozen=True):
    """A missing ancestor of a new replica: never mounted, holds nothing."""

    dataset: DatasetName


class SendStream(Step, frozen=True):
    """A stream from a snapshot of the source (end is always SOURCE) into a dataset of the target.

    base: full name of the incremental source, "" for a full stream; token: resume a broken receive with it.
    between: with all snapshots between the two (``send -I``).
    options: the flags settled at init (-w -L -p …); exclude and override shape properties on arrival;
    outfilter and infilter: shell commands the stream passes through on either host ("" for none); compress: a program
    that does it on both, by its name; bwlimit: bytes a second at most, 0 for as many as go.
    """

    snapshot: SnapshotName
    target: DatasetName
    base: str = ""
    token: str = ""
    options: tuple[SendFlag, ...] = ()
    exclude: tuple[PropertyName, ...] = ()
    override: tuple[Property, ...] = ()
    outfilter: str = ""
    infilter: str = ""
    compress: Compressor = ""
    bwlimit: Rate = 0
    between: bool = False


class DiscardPartial(Change, frozen=True):
    """Forget a half received stream (``receive -A``)."""

    dataset: DatasetName


class CloseTransactionGroup(Change, frozen=True):
    """``zpool sync``: after it ``written`` tells the truth."""

    pool: PoolName


class RemountReadOnly(Change, frozen=True):
    """``mount -o remount,ro``: refuses while a writer has the filesystem open or mapped."""

    dataset: DatasetName
    mountpoint: MountPoint


class RemountWritable(Change, frozen=True):
    dataset: DatasetName
    mountpoint: MountPoint


class Mount(Change, frozen=True):
    """mountpoint: where it must hide no other mount; None where it may."""

    dataset: DatasetName
    mountpoint: MountPoint | None = None


class Unmount(Change, frozen=True):
    """mountpoint: the path that it goes by, and that must lead to the dataset; None where no other can be there."""

    dataset: DatasetName
    force: bool = False
    mountpoint: MountPoint | None = None


class ReplayLog(Change, frozen=True):
    """Mount a filesystem that is mounted nowhere, read-only, in a mount namespace that ends with the command: that
    replays its intent log, and fails while somebody has it mounted writable in a namespace of his own. by_hand: its
    mountpoint is legacy, so that mount(8) takes it without a word of ZFS's."""

    dataset: DatasetName
    by_hand: bool = False


class Share(Change, frozen=True):
    dataset: DatasetName


class Rename(Change, frozen=True):
    """volume: there is nothing to leave unmounted, and ZFS says so."""

    dataset: DatasetName
    new: DatasetName
    volume: bool = False


class Clone(Change, frozen=True):
    snapshot: SnapshotName
    dataset: DatasetName
    properties: tuple[Property, ...]


class DestroyClone(Change, frozen=True):
    """Only what rehearse made; ZFS refuses when anything depends on it."""

    dataset: DatasetName


class DestroyAside(Change, frozen=True):
    """A dataset that was set aside under a tag at that time (seconds since 1970), as it must say itself when it goes;
    ZFS refuses when anything is in it or depends on it."""

    dataset: DatasetName
    tag: Tag
    since: int


class PromoteClone(Change, frozen=True):
    """origin: the snapshot in full that it must be a clone of when it is promoted; "" for whatever it is."""

    dataset: DatasetName
    origin: str = ""


class PlaceKey(Change, frozen=True):
    """Where the key of what came raw is from: own, or that of what it lies below. No key has to be loaded, none is
    changed; only libzfs_core can do it."""

    dataset: DatasetName
    own: bool = False


class Allow(Change, frozen=True):
    """A delegation, as the words of ``zfs allow`` before the dataset."""

    dataset: DatasetName
    words: tuple[str, ...]


class Rollback(Change, frozen=True):
    """Only for ``sync -f``: back to the base, after zrep's own later snapshots are gone."""

    snapshot: SnapshotName


class Dirty(Change, frozen=True):
    """Make the dataset differ from its last snapshot, so that a later snapshot fences streams from the base."""

    dataset: DatasetName
    volsize: str = ""


class TakeRole(Step, frozen=True):
    """The commit point: under the lock there, if the generation is still the expected one and no cancel
    mark names this change, one set of the role. Runs as one request in one process at that end."""

    dataset: DatasetName
    expected: str
    identity: str
    properties: tuple[Property, ...]
