"""The exact command of every step and every read, as it runs and as --dry-run prints it: the only place for them.

Shapes are those of OpenZFS 2.1 to 2.3; the contract suite (tests/contract) holds them to the real one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from zrep.core import shape, steps
from zrep.core.names import EXCLUDE, FOLLOWED, MADE, ROLE_PROPERTIES, SENT
from zrep.core.requests import DIFFERENCES_KEPT

CREATED = "createtxg"
NATIVE_PROPERTIES = (
    "type",
    "guid",
    "readonly",
    "mounted",
    "mountpoint",
    "canmount",
    "written",
    "used",
    "usedbychildren",
    "referenced",
    "available",
    "encryption",
    "encryptionroot",
    "keystatus",
    "pbkdf2salt",
    "origin",
    "receive_resume_token",
    "volsize",
    "sharenfs",
    "sharesmb",
)


# There is one on every host, and what is mounted there in a namespace of its own hides nothing.
_ANY_DIRECTORY = "/tmp"


SNAPSHOT_COLUMNS = ("name", "guid", "createtxg", "creation", "userrefs", "written", "used", "clones")


Argv = tuple[str, ...]


def version() -> Argv:
    return ("zfs", "version")


# Every filesystem and volume has it itself, or by default: among what find_datasets prints, its row begins each one's.
FOUND_BY = "reservation"


def role_properties(tag: str) -> tuple[str, ...]:
    """All properties of a role."""
    return tuple(f"{tag}:{name}" for name in ROLE_PROPERTIES)


def find_datasets(properties: Sequence[str]) -> Argv:
    """Every dataset that has one of these properties itself, in one command for the whole machine."""
    names = ",".join((FOUND_BY, *properties))
    sources = "local,default,received"
    return ("zfs", "get", "-Hp", "-s", sources, "-t", "filesystem,volume", "-o", "name,property,value,source", names)


def find_names(properties: Sequence[str]) -> Argv:
    """The names of the same, and of their properties: nothing in which anybody can write what he likes."""
    names = ",".join(properties)
    return ("zfs", "get", "-Hp", "-s", "local", "-t", "filesystem,volume", "-o", "name,property", names)


def find_tags() -> Argv:
    """Every property that some dataset has itself: dear, for where a person has to be helped."""
    return ("zfs", "get", "-H", "-s", "local", "-t", "filesystem,volume", "-o", "property", "all")


def read_properties(tag: str) -> tuple[str, ...]:
    """What is read of a dataset."""
    return (*NATIVE_PROPERTIES, *role_properties(tag), *snapshot_marks(tag))


def member_properties(tag: str) -> tuple[str, ...]:
    """What is read of a dataset whose other half is asked too: since when it is there, what of it is to follow, and
    what has."""
    return (*read_properties(tag), CREATED, *FOLLOWED)


def get_properties(properties: Sequence[str], datasets: Sequence[str]) -> Argv:
    """Named properties of datasets or snapshots."""
    return ("zfs", "get", "-Hp", "-o", "name,property,value,source", ",".join(properties), *datasets)


def get_one(column: str, name: str, dataset: str) -> Argv:
    """The value or the source of one property of one dataset, and nothing else."""
    return ("zfs", "get", "-Hp", "-o", column, name, dataset)


def standing_properties(tag: str) -> tuple[str, ...]:
    """What decides whether a dataset may receive, where it has them itself: its generation and its role."""
    return (f"{tag}:gen", f"{tag}:master")


def snapshot_marks(tag: str) -> tuple[str, ...]:
    """The properties of snapshots."""
    return (f"{tag}:{SENT}", f"{tag}:{MADE}")


def list_snapshots(marks: Sequence[str], datasets: Sequence[str]) -> Argv:
    """The snapshots of datasets, each after its dataset's own row (and whatever is right below that)."""
    columns = ",".join((*SNAPSHOT_COLUMNS, *marks))
    return ("zfs", "list", "-Hp", "-d", "1", "-t", "filesystem,volume,snapshot", "-o", columns, *datasets)


def list_with_bookmarks(marks: Sequence[str], datasets: Sequence[str]) -> Argv:
    """The same, and their bookmarks, none of which anybody can give a property."""
    return tuple(f"{word},bookmark" if word.endswith(",snapshot") else word for word in list_snapshots(marks, datasets))


def list_bookmarks(datasets: Sequence[str]) -> Argv:
    """The bookmarks of datasets alone."""
    return ("zfs", "list", "-Hp", "-d", "1", "-t", "bookmark", "-o", ",".join(SNAPSHOT_COLUMNS), *datasets)


def get_snapshots(snapshots: Sequence[str]) -> Argv:
    """What makes each snapshot the one it is, by full name."""
    return ("zfs", "get", "-Hp", "-o", "name,property,value", "guid,createtxg,creation", *snapshots)


def list_guids(*trees: str) -> Argv:
    """The guid and the name of each snapshot of datasets and of all below them."""
    return ("zfs", "list", "-Hp", "-r", "-t", "snapshot", "-o", "guid,name", *trees)


def list_holds(snapshots: Sequence[str]) -> Argv:
    return ("zfs", "holds", "-H", *snapshots)


def list_tree(*datasets: str) -> Argv:
    """Datasets and all below them, by name."""
    return ("zfs", "list", "-H", "-r", "-t", "filesystem,volume", "-o", "name", *datasets)


# What a dataset that is in a pair, or that zrep made for a while, has itself, after the tag.
PAIRED, MASTER, MADE_ALONE = ":src-fs", ":master", (":split", ":rehearse")


def below_properties(tag: str) -> tuple[str, ...]:
    """What a change of a dataset would change in those below it, and whether they are in a pair of a tag."""
    return ("readonly", "mounted", *(f"{tag}{name}" for name in (f":{EXCLUDE}", PAIRED, MASTER, *MADE_ALONE)))


def get_below(properties: Sequence[str], datasets: Sequence[str]) -> Argv:
    """Named properties of datasets and of all below them."""
    names = ",".join(properties)
    return ("zfs", "get", "-Hp", "-r", "-t", "filesystem,volume", "-o", "name,property,value,source", names, *datasets)


def list_own(datasets: Sequence[str], sources: str) -> Argv:
    """Which properties datasets have themselves, set there ("local") or received: names alone, which no value can be
    taken for."""
    return ("zfs", "get", "-Hp", "-s", sources, "-t", "filesystem,volume", "-o", "name,property", "all", *datasets)


def list_allowed(dataset: str) -> Argv:
    return ("zfs", "allow", dataset)


def pool_free(pool: str) -> Argv:
    return ("zpool", "list", "-Hp", "-o", "name,size,free,health,readonly", pool)


# Commands, and the properties that were set without one, as by a channel program; those of snapshots are far too many.
HISTORY_SCRIPT = (
    'TZ=UTC0 LC_ALL=C zpool history -il "$1" | '
    "grep -E ' (zfs [a-z]+|\\[txg:[0-9]+\\] (set|inherit)) ' | grep -vE '\\] (set|inherit) [^ ]*@' | tail -n 100000; :"
)


def history(pool: str) -> Argv:
    """What a pool remembers, with who ran it where it knows; the time in UTC."""
    return ("sh", "-c", HISTORY_SCRIPT, "zrep", pool)


def pool_features(pool: str) -> Argv:
    """All its properties: to name a feature that this ZFS does not know is an error."""
    return ("zpool", "get", "-Hp", "-o", "property,value", "all", pool)


def sync_pool(pool: str) -> Argv:
    """Close a pool's transaction group."""
    return ("zpool", "sync", pool)


# So much of a stream tells what has changed, if that is little: see zrep.zfs.records.
CHANGE_BYTES = 128 * 1024
CHANGE_SCRIPT = f'zfs send -w -i "$1" "$2" | head -c {CHANGE_BYTES} | base64'

# What cannot be decrypted is not sent. One shell for all: a new master waits for it while nobody can write.
READABLE_SCRIPT = 'for each do echo "$each" >&2; zfs send "$each" | head -c 1 > /dev/null; done'


def readable(snapshots: Iterable[str]) -> Argv:
    """Have snapshots read as far as to know whether their keys do for them: what is said of each, after its name."""
    return ("sh", "-c", READABLE_SCRIPT, "zrep", *snapshots)


# A line for each file.
DIFFERENCES_SCRIPT = f'zfs diff -H "$1" "$2" | head -n {DIFFERENCES_KEPT}'


def change(snapshot: str, dataset: str) -> Argv:
    """The beginning of what would be sent of a dataset since its snapshot, in base64."""
    return ("sh", "-c", CHANGE_SCRIPT, "zrep", snapshot, dataset)


def differences(snapshot: str, dataset: str) -> Argv:
    """The files of a mounted filesystem that differ from its snapshot."""
    return ("sh", "-c", DIFFERENCES_SCRIPT, "zrep", snapshot, dataset)


def token_contents(token: str) -> Argv:
    """What a resume token stands for; fails when its snapshot is gone here."""
    return ("zfs", "send", "-nvP", "-t", token)


def remount(step: steps.RemountReadOnly | steps.RemountWritable, path: str, flags: Sequence[str]) -> Argv:
    """The command of a remount for an open directory (/proc/self/fd/N). mount(8) must neither look where that leads nor
    hand it on to mount.zfs; so it does not find the flags of the mount, which would be gone without being given."""
    _, option, way, _ = command(step)
    return ("mount", "-i", "-c", option, ",".join((way, *flags)), path)


class Completed(Struct, frozen=True):
    """A finished command: what ran, its exit status (negative: the signal that ended it), output and errors."""

    argv: tuple[str, ...]
    status: int
    out: str
    err: str


def command(step: steps.Step) -> Argv:
    """The exact command of a step, as it runs and as --dry-run prints it. For a stream: the sending half."""
    match step:
        case steps.TakeSnapshot(tag=tag, snapshots=names):
            return ("zfs", "snapshot", "-o", "=".join(steps.made(tag)), *names)
        case steps.Hold(tag=tag, snapshots=names):
            return ("zfs", "hold", tag, *names)
        case steps.Release(tag=tag, snapshots=names):
            return ("zfs", "release", tag, *names)
        case steps.DestroySnapshots(dataset=dataset, names=names):
            return ("zfs", "destroy", f"{dataset}@{','.join(names)}")
        case steps.Bookmark(snapshot=snapshot, bookmark=bookmark):
            return ("zfs", "bookmark", snapshot, bookmark)
        case steps.DestroyBookmark(bookmark=bookmark):
            return ("zfs", "destroy", bookmark)
        case steps.RenameSnapshot(snapshot=snapshot, new=new):
            return ("zfs", "rename", snapshot, new)
        case steps.SetProperties(targets=targets, properties=properties):
            return ("zfs", "set", *_assignments(properties), *targets)
        case steps.InheritProperty(targets=targets, name=name, received=received):
            return ("zfs", "inherit", *(("-S",) if received else ()), name, *targets)
        case steps.CreateParent(dataset=dataset):
            return ("zfs", "create", "-u", "-o", "canmount=off", dataset)
        case steps.SendStream():
            return send(step)
        case steps.DiscardPartial(dataset=dataset):
            return ("zfs", "receive", "-A", dataset)
        case steps.CloseTransactionGroup(pool=pool):
            return sync_pool(pool)
        case steps.RemountReadOnly(mountpoint=mountpoint):
            return ("mount", "-o", "remount,ro", mountpoint)
        case steps.RemountWritable(mountpoint=mountpoint):
            return ("mount", "-o", "remount,rw", mountpoint)
        case steps.ReplayLog(dataset=dataset, by_hand=by_hand):
            options = "ro" if by_hand else "ro,zfsutil"
            return ("unshare", "--mount", "mount", "-t", "zfs", "-o", options, dataset, _ANY_DIRECTORY)
        case steps.Mount(dataset=dataset):
            return ("zfs", "mount", dataset)
        case steps.Unmount(dataset=dataset, force=force):
            return ("zfs", "unmount", *(("-f",) if force else ()), dataset)
        case steps.Share(dataset=dataset):
            return ("zfs", "share", dataset)
        case steps.Rename(dataset=dataset, new=new, volume=volume):
            return ("zfs", "rename", *(() if volume else ("-u",)), dataset, new)
        case steps.Clone(snapshot=snapshot, dataset=dataset, properties=properties):
            return ("zfs", "clone", *_options("-o", _assignments(properties)), snapshot, dataset)
        case steps.DestroyClone(dataset=dataset) | steps.DestroyAside(dataset=dataset):
            return ("zfs", "destroy", dataset)
        case steps.PromoteClone(dataset=dataset):
            return ("zfs", "promote", dataset)
        case steps.PlaceKey(dataset=dataset, own=own):
            return ("zfs", "change-key", *(() if own else ("-i",)), dataset)
        case steps.Allow(dataset=dataset, words=words):
            return ("zfs", "allow", *words, dataset)
        case steps.Rollback(snapshot=snapshot):
            return ("zfs", "rollback", snapshot)
        case steps.Dirty(dataset=dataset, volsize=volsize):
            # Seen on OpenZFS 2.3.2: a property set in the dataset itself dirties it even read-only and unmounted.
            return ("zfs", "set", f"volsize={volsize}" if volsize else "userquota@4294967294=none", dataset)
        case steps.TakeRole(dataset=dataset, properties=properties):
            return ("zfs", "set", *_assignments(properties), dataset)
    raise AssertionError(step)


def send(step: steps.SendStream) -> Argv:
    """``zfs send -vP``: -v -P for a line a second on stderr, by which progress and a stall are seen."""
    what = ("-t", step.token) if step.token else (*step.options, *_base(step), step.snapshot)
    words = ("zfs", "send", "-vP", *what)
    through = shape.sending(step.outfilter, step.compress, step.bwlimit)
    return ("sh", "-c", f'"$@" | {through}', "zrep", *words) if through else words


def receive(step: steps.SendStream) -> Argv:
    """Never -F: a target that differs from the base is a person's business. -s: resumable, -u: not mounted."""
    words = receive_alone(step.target, step.override, step.exclude)
    through = shape.receiving(step.infilter, step.compress)
    return ("sh", "-c", f'{through} | "$@"', "zrep", *words) if through else words


def receive_alone(target: str, override: Iterable[tuple[str, str]], exclude: Iterable[str] = ()) -> Argv:
    """The same of one stream, without what it passes through before."""
    words = (*_options("-x", exclude), *_options("-o", _assignments(override)))
    return ("zfs", "receive", "-s", "-u", *words, target)


def stream_size(step: steps.SendStream) -> Argv:
    """How much a stream would send; see zfs.parse_stream_size."""
    return ("zfs", "send", "-nvP", *step.options, *_base(step), step.snapshot)


def _base(step: steps.SendStream) -> Argv:
    return ("-I" if step.between else "-i", step.base) if step.base else ()


def _assignments(properties: Iterable[tuple[str, str]]) -> Argv:
    return tuple(f"{name}={value}" for name, value in properties)


def _options(flag: str, values: Iterable[str]) -> Argv:
    return tuple(word for value in values for word in (flag, value))
