"""The vocabulary of plans: every change zrep can make, as frozen data that names the end it acts on."""

from __future__ import annotations

from msgspec import Struct

from zrep.core.pair import End

# The fields of steps that hold names of datasets or snapshots.
_NAMING = ("dataset", "target", "targets", "snapshot", "snapshots")


class Step(Struct, frozen=True):
    """One change at one end."""

    end: End

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets that the step names, those of its snapshots among them."""
        words: list[str] = []
        for field in _NAMING:
            value = getattr(self, field, ())
            words += [value] if isinstance(value, str) else value
        return tuple(dict.fromkeys(word.partition("@")[0] for word in words if word))


class TakeSnapshot(Step, frozen=True):
    """One atomic ``zfs snapshot`` of full names (fs@snap)."""

    snapshots: tuple[str, ...]


class Hold(Step, frozen=True):
    tag: str
    snapshots: tuple[str, ...]


class Release(Step, frozen=True):
    tag: str
    snapshots: tuple[str, ...]


class DestroySnapshots(Step, frozen=True):
    """Snapshots of one dataset, by short name: the only destroy in zrep besides a rehearsal's own clone."""

    dataset: str
    names: tuple[str, ...]

    @property
    def full(self) -> tuple[str, ...]:
        """Their names in full."""
        return tuple(f"{self.dataset}@{name}" for name in self.names)


class RenameSnapshot(Step, frozen=True):
    """A snapshot's new name, both in full; its guid, holds and marks stay."""

    snapshot: str
    new: str


class SetProperties(Step, frozen=True):
    """Several properties of one or more datasets or snapshots in one ``zfs set``."""

    targets: tuple[str, ...]
    properties: tuple[tuple[str, str], ...]


class InheritProperty(Step, frozen=True):
    """Back to the inherited or default value; received=True: back to the received one (``inherit -S``)."""

    targets: tuple[str, ...]
    name: str
    received: bool = False


class CreateParent(Step, frozen=True):
    """A missing ancestor of a new replica: never mounted, holds nothing."""

    dataset: str


class SendStream(Step, frozen=True):
    """A stream from a snapshot of the source (end is always SOURCE) into a dataset of the target.

    base: full name of the incremental source, "" for a full stream; token: resume a broken receive with it.
    options: the flags settled at init (-w -L -p …); exclude and override shape properties on arrival;
    outfilter and infilter: shell commands the stream passes through on either host ("" for none).
    """

    snapshot: str
    target: str
    base: str = ""
    token: str = ""
    options: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    override: tuple[tuple[str, str], ...] = ()
    outfilter: str = ""
    infilter: str = ""


class DiscardPartial(Step, frozen=True):
    """Forget a half received stream (``receive -A``)."""

    dataset: str


class CloseTransactionGroup(Step, frozen=True):
    """``zpool sync``: after it ``written`` tells the truth."""

    pool: str


class RemountReadOnly(Step, frozen=True):
    """``mount -o remount,ro``: refuses while a writer has the filesystem open or mapped."""

    dataset: str
    mountpoint: str


class RemountWritable(Step, frozen=True):
    dataset: str
    mountpoint: str


class Mount(Step, frozen=True):
    dataset: str


class Unmount(Step, frozen=True):
    dataset: str
    force: bool = False


class Share(Step, frozen=True):
    dataset: str


class Rename(Step, frozen=True):
    """volume: there is nothing to leave unmounted, and ZFS says so."""

    dataset: str
    new: str
    volume: bool = False


class Clone(Step, frozen=True):
    snapshot: str
    dataset: str
    properties: tuple[tuple[str, str], ...]


class DestroyClone(Step, frozen=True):
    """Only what rehearse made; ZFS refuses when anything depends on it."""

    dataset: str


class PromoteClone(Step, frozen=True):
    dataset: str


class Allow(Step, frozen=True):
    """A delegation, as the words of ``zfs allow`` before the dataset."""

    dataset: str
    words: tuple[str, ...]


class Rollback(Step, frozen=True):
    """Only for ``sync -f``: back to the base, after zrep's own later snapshots are gone."""

    snapshot: str


class Dirty(Step, frozen=True):
    """Make the dataset differ from its last snapshot, so that a later snapshot fences streams from the base."""

    dataset: str
    volsize: str = ""


class TakeRole(Step, frozen=True):
    """The commit point: under the lock there, if the generation is still the expected one and no cancel
    mark names this change, one set of the role. Runs as one request in one process at that end."""

    dataset: str
    expected: str
    identity: str
    properties: tuple[tuple[str, str], ...]
