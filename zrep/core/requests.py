"""Everything that may be asked of a host: one frozen record each, with the type of its answer.

An operation asks the host it runs on and the peer alike; where the datasets live, one function carries a request out
(see zrep.host). A request says what is wanted, never how: no word of it is a command or an option of one, and the names
in it are checked as it arrives (see zrep.wire). To add one: its record here, and its function there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeVar, Union, get_args

from msgspec import Meta, Struct

from zrep.core import steps
from zrep.core.dataset import Member, PoolSpace, Snapshot, TokenContents, Value
from zrep.core.history import Happened
from zrep.core.mounts import MountEntry
from zrep.core.names import (
    DatasetName,
    HostName,
    PoolName,
    PropertyName,
    SnapshotName,
    Tag,
    TagOrNone,
    ancestors,
    is_dataset,
)
from zrep.core.neighbours import Child
from zrep.core.notes import Note, Record
from zrep.core.quantities import Whole
from zrep.core.rights import Rights
from zrep.core.role import Role

Answer = TypeVar("Answer")

# An answer may weigh so much that has something of every dataset of a host: twenty thousand roles weigh half of it.
_OF_ALL = 192 << 20

# In the place of the generation of a dataset that has no role yet.
NO_GENERATION = "new"
# So many differences are no more than a person would want to see counted.
DIFFERENCES_KEPT = 10000


# A transaction group takes seconds, on disks that are slow or very busy some more: whoever waits longer for one pool
# keeps those of others waiting.
SYNC_SECONDS = 120.0


class Request(Struct, Generic[Answer], frozen=True, tag=True, forbid_unknown_fields=True):
    """Something asked of one host. Answer: what it answers with; a ZrepError says why it does not.

    looks: nothing is changed by it, so that a dry run asks it of the host itself. most_weight: of an answer, in bytes
    of what is made of it (see wire/messages.weight): whoever answers may be anybody."""

    looks: ClassVar[bool] = False
    most_weight: ClassVar[int] = 64 << 20

    def fits(self, answer: Answer) -> bool:
        """Tell whether an answer of the right type can be one to this request: names are those that were asked for."""
        return True


def answer_type(kind: type[Request[Any]]) -> Any:
    """The type of the answers to one kind of request, as its class statement says."""
    [answer] = get_args(vars(kind)["__orig_bases__"][0])
    return answer


# --- the host itself ---


class Identity(Struct, frozen=True):
    """Who a host is: short name, kernel boot id (two names of one boot are one host), versions, clock in seconds."""

    host: str
    boot: str
    zrep: str
    zfs: str
    clock: float
    user: str


class Identify(Request[Identity], frozen=True):
    """Who are you? FailedError or RefusedError when ZFS is not usable there."""

    looks = True


class ReadRights(Request[Rights], frozen=True):
    """Who do you run as, and may that user mount?"""

    looks = True


class Dial(Request[Identity], frozen=True):
    """Who answers when you dial this host? For the check of the way back at init."""

    looks = True

    host: HostName


class RunHooks(Request[list[str]], frozen=True):
    """Tell every executable of the hook directory of an event, in the order of their names: what failed, a line each.

    about: the variables added to their environment."""

    event: str
    about: Mapping[str, str]


class Remember(Request[None], frozen=True):
    """Keep volatile bookkeeping by key: what is new is added to what is remembered already, None forgets. Losing it
    changes nothing, so failing to keep it is no error."""

    records: Mapping[str, Mapping[str, Note]]


class Recall(Request[dict[str, Record]], frozen=True):
    """What was remembered under each key; nothing for those it was not."""

    looks = True
    most_weight = _OF_ALL

    keys: tuple[str, ...]


class ReadSchedule(Request[dict[str, str]], frozen=True):
    """The files of cron and the timers of systemd by which zrep syncs the pairs of a tag there by itself, each with the
    path in which cron does not find the zrep that it names; "" where nothing is wrong."""

    looks = True

    tag: Tag


class ReadSessionLimit(Request[Whole], frozen=True):
    """How many sessions the ssh server there lets a connection have."""

    looks = True


class IsRunning(Request[bool], frozen=True):
    """Whether the host has a process of this number."""

    looks = True

    pid: Whole


class Users(Struct, frozen=True):
    """Which processes use a dataset, in whatever mount namespace, each as "name (pid)". writing: those that have a file
    open, or mapped, to write to it; mapped: those that have one mapped so; elsewhere: where it is mounted in other
    namespaces, for which an unmount here is none, each with one of their processes; unseen: why there may be others, ""
    where all were seen."""

    users: tuple[str, ...] = ()
    writing: tuple[str, ...] = ()
    mapped: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    unseen: str = ""


class ReadUsers(Request[Users], frozen=True):
    """Who uses a dataset that is mounted; needs root to see all."""

    looks = True

    dataset: DatasetName


class OpenVolumes(Struct, frozen=True):
    """Who has volumes open to write, by volume: processes as "name (pid)", or what the kernel does with it; unseen: why
    there may be others, "" where all were seen."""

    by: dict[str, tuple[str, ...]] = {}
    unseen: str = ""


class FindOpenVolumes(Request[OpenVolumes], frozen=True):
    """Which of these volumes somebody has open to write; needs root to see all."""

    looks = True

    volumes: tuple[DatasetName, ...]


class IsInUse(Request[bool], frozen=True):
    """Whether the kernel says that somebody has a dataset, though it is not mounted where zrep sees mounts: in another
    mount namespace, or unmounted only in name. snapshot: its newest."""

    looks = True

    snapshot: SnapshotName
    dataset: DatasetName


# --- locks and streams ---


class Lock(Request[list[str]], frozen=True):
    """Lock what is free of datasets, waiting so many seconds in all: the ones that are busy. tag: that of the pairs
    that they are locked for, "" for none."""

    looks = True

    datasets: tuple[DatasetName, ...]
    wait: float
    tag: TagOrNone = ""

    def fits(self, answer: list[str]) -> bool:
        return set(answer) <= set(self.datasets)


class ReadHolders(Request[dict[str, tuple[str, int]]], frozen=True):
    """Who else has datasets locked: under which tag, and which process; "" and 0 where that is not known. Those that
    are free, or locked by the asker, are not in the answer."""

    looks = True

    datasets: tuple[DatasetName, ...]

    def fits(self, answer: dict[str, tuple[str, int]]) -> bool:
        return answer.keys() <= set(self.datasets)


class Unlock(Request[None], frozen=True):
    """Give datasets back."""

    looks = True

    datasets: tuple[DatasetName, ...]


class Grant(Request[dict[str, tuple[str, str]]], frozen=True):
    """Let the processes that are to receive streams have the receive locks of datasets this zrep has locked: for each
    the file to lock, and the receive token to show.

    generations: of datasets, each with the generation it must be a replica of, or NO_GENERATION; those that are not are
    not in the answer. roots: of datasets, the one that has the role, itself or the root of the tree that it is in."""

    tag: Tag
    generations: Mapping[DatasetName, str]
    roots: Mapping[DatasetName, DatasetName]

    def fits(self, answer: dict[str, tuple[str, str]]) -> bool:
        return answer.keys() <= self.generations.keys()


class Revoke(Request[None], frozen=True):
    """Take receive locks back, once the receiving processes have ended. BusyError while one has not."""

    datasets: tuple[DatasetName, ...]


class EndReceive(Request[Whole], frozen=True):
    """End ``zfs receive`` processes into a dataset whose sender is gone: how many there were. quiet: only where no zrep
    is left that has the dataset, and nothing has arrived for so many seconds."""

    dataset: DatasetName
    quiet: Annotated[float, Meta(ge=0, le=60)] = 0.0


class IsArriving(Request[bool], frozen=True):
    """Whether bytes of a stream arrive at one of these datasets: watched for, at most so many seconds."""

    looks = True

    datasets: tuple[DatasetName, ...]
    seconds: float


# --- changes ---


class Failure(Struct, frozen=True):
    """A ZrepError as data, for its way between hosts: its class by name, and its parts."""

    kind: str
    what: str
    filesystem: str = ""
    evidence: str = ""
    advice: str = ""


class Carried(Struct, frozen=True):
    """How far a batch of steps came: how many of them are done, and why the next one is not (None: all are)."""

    done: int
    failure: Failure | None = None


if TYPE_CHECKING:
    _AnyChange = steps.Change
else:  # what arrives is one of them: a union that grows with them
    _AnyChange = Union[tuple(steps.Change.__subclasses__())]  # noqa: UP007  # of a number that is only known here


class CarryOut(Request[Carried], frozen=True):
    """Carry out steps in order, to the first that fails. One that finds its goal reached already is done: a run may
    have been cut between doing and knowing.

    Neither a stream, which joins two hosts, nor a role, which is taken under guard: see TakeRole."""

    steps: tuple[_AnyChange, ...]

    def fits(self, answer: Carried) -> bool:
        return 0 <= answer.done <= len(self.steps) and (answer.failure is None) == (answer.done == len(self.steps))


class Moment(Struct, frozen=True):
    """Snapshots that are made at one moment, of a pair. dataset: what the programs around it are told of, about: in
    which variables."""

    dataset: DatasetName
    snapshots: tuple[SnapshotName, ...]
    about: Mapping[str, str]


class Taken(Struct, frozen=True):
    """How far snapshots came, by the dataset of each moment. refused: what a program before said that failed; failed:
    why the snapshots did; after: what went wrong with the programs after, a line each."""

    refused: dict[str, str] = {}
    failed: dict[str, Failure] = {}
    after: dict[str, list[str]] = {}


class TakeSnapshots(Request[Taken], frozen=True):
    """Take snapshots, all at once where that can be, and around them tell the programs that the host's administrator
    has there. A moment that one of them refuses gets none, unless it is insisted on. Those that were told of its
    beginning hear of its end, whatever becomes of anything, this program among it. telling: whether any is told."""

    tag: Tag
    moments: tuple[Moment, ...]
    insist: bool = False
    telling: bool = True

    def fits(self, answer: Taken) -> bool:
        return answer.refused.keys() | answer.failed.keys() | answer.after.keys() <= {x.dataset for x in self.moments}


class TakeRole(Request[Carried], frozen=True):
    """The commit point of a role change: only if the generation is still the expected one and no cancel mark names it.
    RefusedError when the guard says no: nothing was changed. A failed set is in the answer: part of it may have landed.

    One process, under the lock it holds: a request that was delayed on its way finds another generation, a cancel mark,
    or no lock, and changes nothing."""

    tag: Tag
    step: steps.TakeRole


# --- reads ---


class FindRoles(Request[dict[str, Role]], frozen=True):
    """Every dataset with a local role under this tag."""

    looks = True
    most_weight = _OF_ALL

    tag: Tag


class ReadRole(Request[Role | None], frozen=True):
    """The role of one dataset; None when ZFS says that it does not exist."""

    looks = True

    tag: Tag
    dataset: DatasetName


class Found(Struct, frozen=True):
    """What was read of datasets, and why some could not be read: each trouble is charged to those it is about."""

    members: dict[str, Member]
    failed: dict[str, Failure] = {}


class ReadMembers(Request[Found], frozen=True):
    """Datasets as they are now; one that ZFS says does not exist is not in the answer.

    sync_txg: close the pools' transaction groups first, so that ``written`` tells the truth. seconds: so long that may
    take. trees: those of the datasets that are to be read with all below them."""

    looks = True
    most_weight = 2300 << 20  # some two million snapshots

    tag: Tag
    datasets: tuple[DatasetName, ...]
    sync_txg: bool = False
    seconds: Annotated[float, Meta(gt=0, le=SYNC_SECONDS)] = SYNC_SECONDS
    trees: tuple[DatasetName, ...] = ()

    def fits(self, answer: Found) -> bool:
        known, trees = set(self.datasets), set(self.trees)
        return (
            all(name in known or (trees & set(ancestors(name)) and is_dataset(name)) for name in answer.members)
            and answer.failed.keys() <= known - answer.members.keys()
            and all(name == found.name for name, found in answer.members.items())
        )


class ReadSnapshots(Request[dict[str, Snapshot]], frozen=True):
    """Snapshots right after they were made or received, by full name; one that ZFS says does not exist is not in the
    answer."""

    looks = True

    snapshots: tuple[SnapshotName, ...]

    def fits(self, answer: dict[str, Snapshot]) -> bool:
        return answer.keys() <= set(self.snapshots)


class ReadChildren(Request[list[str]], frozen=True):
    """Every filesystem and volume below a dataset."""

    looks = True

    dataset: DatasetName

    def fits(self, answer: list[str]) -> bool:
        return all(self.dataset in ancestors(name) and is_dataset(name) for name in answer)


class ReadBelow(Request[list[Child]], frozen=True):
    """Every filesystem and volume below datasets that exist, by name."""

    looks = True
    most_weight = _OF_ALL

    tag: Tag
    datasets: tuple[DatasetName, ...]

    def fits(self, answer: list[Child]) -> bool:
        roots = set(self.datasets)
        return all(roots & set(ancestors(child.name)) and is_dataset(child.name) for child in answer)


class ReadOwnProperties(Request[dict[str, dict[str, str]]], frozen=True):
    """Every dataset with local properties of a tag, each with their values by full name."""

    looks = True
    most_weight = _OF_ALL

    tag: Tag


class ReadAllProperties(Request[dict[str, Value]], frozen=True):
    """Everything ``zfs get all`` knows of one dataset."""

    looks = True

    dataset: DatasetName


class ReadDelegations(Request[list[tuple[str, ...]]], frozen=True):
    """What is delegated on a dataset itself, each as the words of ``zfs allow`` that delegate it."""

    looks = True

    dataset: DatasetName


class ReadMounts(Request[list[MountEntry]], frozen=True):
    """Every mount of a host, of any kind, as zrep's processes there see them; none where the kernel does not tell."""

    looks = True
    most_weight = _OF_ALL


class FindUnmakable(Request[list[str]], frozen=True):
    """Those of the directories that are not there and that nobody can make: what they would be in is read-only, or is
    no directory."""

    looks = True

    paths: tuple[steps.MountPoint, ...]

    def fits(self, answer: list[str]) -> bool:
        return set(answer) <= set(self.paths)


class ReadMarked(Request[list[tuple[str, str]]], frozen=True):
    """Every dataset that has this property itself, with its value."""

    looks = True

    name: PropertyName


class ReadPropertyNames(Request[list[str]], frozen=True):
    """The properties that a dataset has itself, set there or received: their names."""

    looks = True

    dataset: DatasetName


class ReadOtherRoles(Request[dict[str, dict[str, Role]]], frozen=True):
    """The roles of datasets under other tags than this one ("": under any), by tag, their own or as members of a tree;
    those without any are not in the answer."""

    looks = True
    most_weight = _OF_ALL

    tag: TagOrNone
    datasets: tuple[DatasetName, ...]

    def fits(self, answer: dict[str, dict[str, Role]]) -> bool:
        return answer.keys() <= set(self.datasets)


class ReadTags(Request[list[str]], frozen=True):
    """The tags under which datasets of the host are in a pair, in order."""

    looks = True


class ReadHistory(Request[dict[str, list[Happened]]], frozen=True):
    """The commands that pools remember of datasets, each in the order of time."""

    looks = True
    most_weight = 512 << 20

    datasets: tuple[DatasetName, ...]

    def fits(self, answer: dict[str, list[Happened]]) -> bool:
        return answer.keys() <= set(self.datasets)


class ReadLostPools(Request[dict[str, Failure]], frozen=True):
    """The pools of a host that answer nothing, with the error that each is: a list of all datasets leaves out what is
    in them, without a word."""

    looks = True


class ReadFeatures(Request[list[str]], frozen=True):
    """The features of a pool that streams into it may use (zpool-features(7)): those that are enabled."""

    looks = True

    pool: PoolName


class ReadPoolSpace(Request[PoolSpace], frozen=True):
    """How large a pool is, and what is free in it, in bytes."""

    looks = True

    pool: PoolName


class ReadToken(Request[TokenContents], frozen=True):
    """What a resume token stands for, as this host reads it."""

    looks = True

    token: steps.ResumeToken


class ReadStreamSize(Request[Whole | None], frozen=True):
    """Bytes a stream would have; None where it cannot be told."""

    looks = True

    step: steps.SendStream


class IsUnmodified(Request[bool], frozen=True):
    """Whether a dataset surely is what its newest snapshot is, although its ``written`` is not 0.

    After a crash, and in a clone of a volume, only the header of the intent log differs, and written counts it. False
    for what cannot be asked (mounted, busy)."""

    looks = True

    snapshot: SnapshotName
    dataset: DatasetName


class FindUnreadable(Request[list[str]], frozen=True):
    """Which of these encrypted snapshots the key that counts as loaded does not open: it does not once a stream has
    brought a change of the key that was made after it was loaded."""

    looks = True

    snapshots: tuple[SnapshotName, ...]

    def fits(self, answer: list[str]) -> bool:
        return set(answer) <= set(self.snapshots)


class ReadDifferences(Request[list[tuple[str, str]]], frozen=True):
    """What was added (+), removed (-), modified (M) and renamed (R) in a mounted filesystem since a snapshot of it,
    with its path: at most DIFFERENCES_KEPT, none where it cannot be told."""

    looks = True
    most_weight = 512 << 20

    snapshot: SnapshotName
    dataset: DatasetName
