"""zfs's own words as typed errors; wordings are those of OpenZFS 2.1 to 2.3 (see tests/contract)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec.structs import replace

from zrep.core import errors, steps
from zrep.core.errors import MOST_TOLD, FailedError, RefusedError, ZrepError, one_line
from zrep.core.requests import Failure
from zrep.zfs.commands import Completed


class AbsentError(RefusedError):
    """The dataset or snapshot is not there: said by ZFS itself, so it may be believed."""


class ModifiedError(RefusedError):
    """The target of a stream was changed since the base."""


class NoBaseError(RefusedError):
    """The target does not have, or no longer ends at, the incremental source."""


class OccupiedError(FailedError):
    """Something has the dataset open, mounted, held or cloned."""


class NoSpaceError(FailedError):
    """Pool or quota full."""


class DeniedError(RefusedError):
    """The user may not."""


class UnknownFeatureError(RefusedError):
    """An OpenZFS does not know what is in the stream, and takes nothing of it."""


class BrokenStreamError(FailedError):
    """The stream ended too early: its cause is at the other end."""


class PoolError(FailedError):
    """A whole pool is out of reach: what is in it can be neither read nor changed, and is not absent."""


class PoolAbsentError(PoolError):
    """A pool is not imported, wherever its disks are."""


class StuckError(FailedError):
    """A command did not end in the time it had: what it is about may hang for ever."""


class StaleTokenError(FailedError):
    """What is half received can never be completed: a snapshot was made there since."""


_ERRORS: tuple[tuple[str, type[ZrepError]], ...] = (
    (r"pool I/O is currently suspended", PoolError),
    (r"dataset does not exist|no such pool|could not find any snapshots|does not exist$", AbsentError),
    (r"has been modified", ModifiedError),
    (r"does not match incremental source|incremental source .* does not|most recent snapshot of", NoBaseError),
    (
        r"out of space|No space left|quota exceeded|ENOSPC|size is (?:greater than available|less than current)",
        NoSpaceError,
    ),
    (r"permission denied|Permission denied|must be root|insufficient privileges", DeniedError),
    (
        r"dataset is busy|is busy|pool or dataset is busy|target is busy|dependent clones|has children|"
        # mount.zfs's words for a read-only remount while a file is open for writing
        r"currently being received|unmount failed|filesystem '.*' is already mounted",
        OccupiedError,
    ),
    (r"stream has unsupported feature", UnknownFeatureError),
    (
        r"incomplete stream|invalid stream|checksum mismatch|stream .* truncated|partially-complete state|"
        r"input/output error|Broken pipe|signal received",
        BrokenStreamError,
    ),
    (r"kernel modules must be upgraded|Invalid cross-device link", StaleTokenError),
    # The last: of a stream that broke off, a line beside it may say more.
    (r"failed to read from stream", BrokenStreamError),
)


_ADVICE: dict[type[ZrepError], str] = {
    DeniedError: "run it as root, or let this user do it: zrep doctor names what he lacks, and the command",
    PoolError: "see: zpool status -x",
    NoSpaceError: "make room: destroy snapshots or raise the quota",
    UnknownFeatureError: "bring OpenZFS there up to the sender's, or copy the files into a filesystem that lacks it",
}
# What a stream may hold that OpenZFS 2.1 does not know: DMU_BACKUP_FEATURE_* of its zfs_ioctl.h, by bit, as
# zpool-features(7) calls them.
_FEATURES = {28: "longname", 29: "large_microzap"}


def error(completed: Completed) -> ZrepError:
    """zfs's own words as a typed error; what no rule knows is a plain FailedError."""
    said = [line.strip()[:MOST_TOLD] for line in (completed.err.strip() or completed.out.strip()).splitlines()]
    command = " ".join(completed.argv[:2])
    for pattern, kind in _ERRORS:
        for line in said:
            if re.search(pattern, line):
                return kind(f"{command} failed", evidence=line + _features(line), advice=_ADVICE.get(kind, ""))
    # Over ssh, login files may have said something before; zfs says what it cannot do.
    telling = [line for line in said if line.startswith(("cannot ", "internal error"))] or said[-1:]
    return FailedError(f"{command} failed", evidence=telling[0] if telling else f"exit status {completed.status}")


def placed(error: ZrepError, host: str) -> ZrepError:
    """An error of a command on a host, of which there it is to be mended: the same, naming it."""
    if isinstance(error, NoSpaceError) and error.advice == _ADVICE[NoSpaceError]:
        error.advice = f"on {host}: {error.advice}"
    return error


def _features(line: str) -> str:
    """The names of those of the features that a stream was refused for that an older OpenZFS does not know."""
    flags = re.search(r"stream has unsupported feature, feature flags = ([0-9a-f]{1,16})\b", line)
    names = [name for bit, name in _FEATURES.items() if flags and int(flags[1], 16) >> bit & 1]
    return f": {', '.join(names)}" if names else ""


def gone_meanwhile(evidence: str) -> FailedError:
    """A dataset of the source that is not where it was read."""
    return FailedError("it was renamed or destroyed meanwhile", evidence=evidence, advice="run this again")


_ABSENT = re.compile(r"cannot open '(.+)': (?:dataset|snapshot) does not exist")


def absent(completed: Completed) -> set[str]:
    """The datasets and snapshots that do not exist, as a ``zfs get`` of many has said."""
    said = (_ABSENT.fullmatch(line.strip()) for line in completed.err.splitlines())
    return {match[1] for match in said if match}


def present(completed: Completed) -> Completed:
    """A ``zfs get`` of many datasets or snapshots, of which some may not be there: what it printed is of the others.
    Its typed error when it failed for any other reason, or was ended before it had asked for all of them."""
    said = [line.strip() for line in completed.err.splitlines() if line.strip()]
    other = [line for line in said if not _ABSENT.fullmatch(line)]
    if completed.status == 0 or (completed.status == 1 and said and not other):
        return completed
    raise error(replace(completed, out="", err="".join(other[:1])))


# What dash and bash say of the word of a script that is no program.
_NO_PROGRAM = re.compile(r"^\S+: (?:line )?\d+: (?P<name>.+): (?:command )?not found$", re.MULTILINE)


def missing_program(completed: Completed, host: str) -> RefusedError | None:
    """What is to be said where a stream's filter is not there: its neighbours only say that a pipe broke."""
    found = _NO_PROGRAM.search(completed.err) if completed.status != 0 else None
    if found is None:
        return None
    return RefusedError(
        f"the filter program {found['name']} is not installed on {host}",
        evidence=found[0],
        advice=f"install it on {host}, where its PATH finds it",
    )


def warnings(completed: Completed, exclude: Iterable[str] = ()) -> list[str]:
    """What zfs receive said although it succeeded, as of a property that could not be set. exclude: what was to be
    left out: who may not set it is told that he may not inherit it either, and it is left out all the same."""
    said = [one_line(line) for line in completed.err.splitlines()] if completed.status == 0 else []
    left_out = tuple(f"cannot receive {name} property on " for name in exclude)
    return [line for line in said if line.startswith(("cannot ", "warning: ")) and not line.startswith(left_out)]


# A step that finds its goal reached already is done: a run may have been cut between doing and knowing.
_ALREADY: dict[type[steps.Step], str] = {
    steps.Hold: "tag already exists on this dataset",
    steps.Release: "no such tag on this dataset",
    steps.Mount: "filesystem already mounted",
    steps.Unmount: "not currently mounted",
    steps.Share: "already shared|not permitted|legacy|sharenfs|no 'sharenfs'|share",
}


# What zfs says of a readonly (and what else it set with it) that is set, and holds, when the mount's own option could
# not follow: that goes by the path, where something else is mounted now (zfs_prop_set_list(), zfs_prop_inherit()).
_SET_ALL_THE_SAME = r"^cannot mount '.+': Invalid argument$|^property may be set but unable to remount filesystem$"


def step_error(step: steps.Step, completed: Completed) -> ZrepError | None:
    """Tell whether a step is done once its command has ended: None, or the error its words stand for."""
    said = [line.strip() for line in completed.err.splitlines() if line.strip()]
    already = _SET_ALL_THE_SAME if _sets_readonly(step) else _ALREADY.get(type(step))
    if completed.status == 0 or (already and said and all(re.search(already, line) for line in said)):
        return None
    return error(completed)


def _sets_readonly(step: steps.Step) -> bool:
    match step:
        case steps.SetProperties(properties=properties):
            return {"readonly"} <= {name for name, _ in properties} <= {"readonly", "canmount"}
        case steps.InheritProperty(name=name):
            return name == "readonly"
    return False


# Every error that may cross between hosts, by its name.
_KINDS: dict[str, type[ZrepError]] = {
    kind.__name__: kind
    for kind in (*vars(errors).values(), *globals().copy().values())
    if isinstance(kind, type) and issubclass(kind, ZrepError)
}


def as_failure(error: ZrepError) -> Failure:
    """Put an error into data; of a kind that no other host knows, a FailedError."""
    kind = next((each.__name__ for each in type(error).__mro__ if each.__name__ in _KINDS), FailedError.__name__)
    return Failure(kind, error.what, error.filesystem, error.evidence, error.advice)


def as_error(failure: Failure) -> ZrepError:
    """Make the error that data stands for; a FailedError when its kind is none of this program's."""
    kind = _KINDS.get(failure.kind, FailedError)
    parts = (failure.filesystem, failure.evidence, failure.advice)
    filesystem, evidence, advice = (one_line(part[:MOST_TOLD]) for part in parts)
    return kind(one_line(failure.what[:MOST_TOLD]), filesystem=filesystem, evidence=evidence, advice=advice)
