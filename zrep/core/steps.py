"""The vocabulary of plans: every change zrep can make, as frozen data that names the side it acts on."""

from __future__ import annotations

from zrep.core.record import Record
from zrep.core.state import Side


class Step(Record):
    """One change on one side."""

    side: Side


class TakeSnapshot(Step):
    """One atomic ``zfs snapshot`` of full names (fs@snap)."""

    snapshots: tuple[str, ...]


class Hold(Step):
    tag: str
    snapshots: tuple[str, ...]


class Release(Step):
    tag: str
    snapshots: tuple[str, ...]


class DestroySnapshots(Step):
    """Snapshots of one dataset, by short name: the only destroy in zrep besides a rehearsal's own clone."""

    dataset: str
    names: tuple[str, ...]

    @property
    def full(self) -> tuple[str, ...]:
        """Their names in full."""
        return tuple(f"{self.dataset}@{name}" for name in self.names)


class RenameSnapshot(Step):
    """A snapshot's new name, both in full; its guid, holds and marks stay."""

    snapshot: str
    new: str


class SetProperties(Step):
    """Several properties of one or more datasets or snapshots in one ``zfs set``."""

    targets: tuple[str, ...]
    properties: tuple[tuple[str, str], ...]


class InheritProperty(Step):
    """Back to the inherited or default value; received=True: back to the received one (``inherit -S``)."""

    targets: tuple[str, ...]
    name: str
    received: bool = False


class CreateParent(Step):
    """A missing ancestor of a new replica: never mounted, holds nothing."""

    dataset: str


class SendStream(Step):
    """A stream from the master's snapshot (side is always MASTER) into target on the replica.

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


class DiscardPartial(Step):
    """Forget a half received stream (``receive -A``)."""

    dataset: str


class CloseTransactionGroup(Step):
    """``zpool sync``: after it ``written`` tells the truth."""

    pool: str


class RemountReadOnly(Step):
    """``mount -o remount,ro``: refuses while a writer has the filesystem open or mapped."""

    dataset: str
    mountpoint: str


class RemountWritable(Step):
    dataset: str
    mountpoint: str


class Mount(Step):
    dataset: str


class Unmount(Step):
    dataset: str
    force: bool = False


class Share(Step):
    dataset: str


class Rename(Step):
    """volume: there is nothing to leave unmounted, and ZFS says so."""

    dataset: str
    new: str
    volume: bool = False


class Clone(Step):
    snapshot: str
    dataset: str
    properties: tuple[tuple[str, str], ...]


class DestroyClone(Step):
    """Only what rehearse made; ZFS refuses when anything depends on it."""

    dataset: str


class PromoteClone(Step):
    dataset: str


class Allow(Step):
    """A delegation, as the words of ``zfs allow`` before the dataset."""

    dataset: str
    words: tuple[str, ...]


class Rollback(Step):
    """Only for ``sync -f``: back to the base, after zrep's own later snapshots are gone."""

    snapshot: str


class Dirty(Step):
    """Make the dataset differ from its last snapshot, so that a later snapshot fences streams from the base."""

    dataset: str
    volsize: str = ""


class TakeRole(Step):
    """The commit point: under the lock there, if the generation is still the expected one and no cancel
    mark names this change, one set of the role. Runs as one request in one process on that side."""

    dataset: str
    expected: str
    identity: str
    properties: tuple[tuple[str, str], ...]
