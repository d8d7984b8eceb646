"""Reading a host: a fixed number of zfs commands, however many datasets."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

from msgspec.structs import replace

from zrep.core.dataset import (
    NO_TOKEN,
    UNSET,
    Member,
    PoolSpace,
    Snapshot,
    TokenContents,
    Value,
    build_member,
    only_received,
    role_of,
)
from zrep.core.errors import FailedError, RefusedError, ZrepError
from zrep.core.mounts import MountEntry
from zrep.core.names import FOLLOWED, ancestors, pool_of
from zrep.core.neighbours import Child
from zrep.core.promoted import Clone, clones_of_older, in_another_pair, with_owners
from zrep.core.quantities import whole_number
from zrep.core.requests import (
    SYNC_SECONDS,
    FindRoles,
    FindUnmakable,
    FindUnreadable,
    Found,
    IsInUse,
    IsUnmodified,
    ReadAllProperties,
    ReadBelow,
    ReadChildren,
    ReadDelegations,
    ReadDifferences,
    ReadFeatures,
    ReadMarked,
    ReadMembers,
    ReadMounts,
    ReadOtherRoles,
    ReadOwnProperties,
    ReadPoolSpace,
    ReadPropertyNames,
    ReadRole,
    ReadSnapshots,
    ReadStreamSize,
    ReadTags,
    ReadToken,
)
from zrep.core.role import Role
from zrep.core.tags import tags_of
from zrep.core.tree import role_within
from zrep.host import exact, pools
from zrep.host.exact import Properties
from zrep.host.machine import Machine, carry_out
from zrep.host.parallel import together
from zrep.host.process import COMMAND_SECONDS
from zrep.zfs import commands, parse, resume_token
from zrep.zfs import errors as zfs_errors
from zrep.zfs.errors import StuckError, as_failure
from zrep.zfs.parse import AmbiguousError
from zrep.zfs.records import Change, read_change

_DIFFERENCES_SECONDS = 120.0
# So often a tree is read at most whose members are renamed or destroyed meanwhile.
_READINGS = 5


# --- roles ---


@carry_out.register(FindRoles)
def find_roles(request: FindRoles, machine: Machine) -> dict[str, Role]:
    found = exact.find(machine, commands.role_properties(request.tag))
    return {name: role_of(request.tag, name, table) for name, table in found.items()}


@carry_out.register(ReadRole)
def read_role(request: ReadRole, machine: Machine) -> Role | None:
    pools.check(machine, request.dataset)
    found = _properties(request.tag, [request.dataset], machine)
    if request.dataset not in found:
        return None
    properties = found[request.dataset]
    role = role_of(request.tag, request.dataset, properties)
    if not only_received(request.tag, role, properties):
        return role
    [member] = survey(machine, request.tag, [request.dataset])
    return member.role


@carry_out.register(ReadPropertyNames)
def read_property_names(request: ReadPropertyNames, machine: Machine) -> list[str]:
    return exact.own_names(machine, [request.dataset]).get(request.dataset, [])


@carry_out.register(ReadOtherRoles)
def read_other_roles(request: ReadOtherRoles, machine: Machine) -> dict[str, dict[str, Role]]:
    if not request.datasets:
        return {}
    above = {name: ancestors(name)[::-1] for name in request.datasets}
    names = exact.own_names(machine, list(dict.fromkeys(each for name in above for each in (name, *above[name]))))
    own = {name: set(tags_of(names.get(name, ()))) - {request.tag} for name in above}
    trees = {
        name: {tag for each in above[name] for tag in tags_of(names.get(each, ())) if f"{tag}:recursive" in names[each]}
        - {request.tag, *own[name]}
        for name in above
    }
    datasets = sorted({each for name in above if own[name] or trees[name] for each in (name, *above[name])})
    if not datasets:
        return {}
    every = sorted(set().union(*own.values(), *trees.values()))
    found = exact.properties(machine, [prop for tag in every for prop in commands.role_properties(tag)], datasets)

    def role(tag: str, name: str) -> Role:
        return role_of(tag, name, found.get(name, {}))

    roles: dict[str, dict[str, Role]] = {}
    for name in above:
        within = {
            tag: role_within(name, [(each, role(tag, each)) for each in (name, *above[name])]) for tag in trees[name]
        }
        known = {tag: role(tag, name) for tag in own[name]} | {tag: one for tag, one in within.items() if one}
        if known:
            roles[name] = dict(sorted(known.items()))
    return roles


# --- datasets with their snapshots ---


@carry_out.register(ReadMembers)
def read_members(request: ReadMembers, machine: Machine) -> Found:
    failed: dict[str, ZrepError] = {**pools.troubles(machine, request.datasets)}
    names = [name for name in request.datasets if name not in failed]
    if request.sync_txg:
        failed |= _sync(names, request.seconds, machine)
    left = [name for name in names if name not in failed]
    read, others = _charged(left, partial(_steady, request, machine))
    allowed = machine.allowed_filters() if read else ()
    programs = machine.stream_programs(allowed) if read else ()
    asked = set(request.datasets) if allowed or programs else set()
    members = {
        name: replace(member, filters=allowed, programs=programs) if name in asked else member
        for name, member in read.items()
    }
    return Found(members, {name: as_failure(error) for name, error in {**failed, **others}.items()})


def _charged(
    names: Sequence[str], read: Callable[[Sequence[str]], dict[str, Member]]
) -> tuple[dict[str, Member], dict[str, ZrepError]]:
    """Read datasets at once; where that fails, in ever smaller parts, pool by pool first, so that the trouble of one is
    no other one's. What was read, and what went wrong with the rest. A command that did not end is not tried again
    within its pool: whatever it waits for, the others would too."""
    if not names:
        return {}, {}
    try:
        return read(names), {}
    except ZrepError as error:
        pools_of_them = sorted({pool_of(name) for name in names})
        if len(pools_of_them) > 1:
            parts = [[name for name in names if pool_of(name) == pool] for pool in pools_of_them]
        elif len(names) > 1 and not isinstance(error, StuckError):
            parts = [list(names[: len(names) // 2]), list(names[len(names) // 2 :])]
        else:
            return {}, dict.fromkeys(names, error)
    found: dict[str, Member] = {}
    failed: dict[str, ZrepError] = {}
    for members, errors in together(*(partial(_charged, part, read) for part in parts)):
        found |= members
        failed |= errors
    return found, failed


def _steady(request: ReadMembers, machine: Machine, names: Sequence[str]) -> dict[str, Member]:
    """As _members, some times more where something was renamed or destroyed between two commands. FailedError for a
    tree of which all that was in vain: what was read of it in part would take a member that has another name for one
    that is gone."""
    for _ in range(_READINGS - 1):
        with suppress(zfs_errors.AbsentError):
            return _members(request, machine, names)
    try:
        return _members(request, machine, names)
    except zfs_errors.AbsentError as error:
        if not set(names) & set(request.trees):
            raise
        raise FailedError(
            "what is below it is renamed or destroyed as often as it is read",
            evidence=error.evidence,
            advice="run this again",
        ) from error


def _members(request: ReadMembers, machine: Machine, names: Sequence[str]) -> dict[str, Member]:
    """As _read, their snapshots known that may be those of other pairs: that takes more commands where something was
    promoted, and only there."""
    members, created = _read(request, machine, names)
    apart = _clones_apart(request.tag, machine, members, created)
    asked = sorted(set().union(*apart.values()))
    if not asked:
        return members
    read, since = _read(replace(request, datasets=tuple(asked), trees=()), machine, asked)
    known = {name: Clone(name, since[name], bool(clone.held(request.tag))) for name, clone in read.items()}
    owned = {
        name: with_owners(
            request.tag, members[name], created[name], {clone: known[clone] for clone in clones if clone in known}
        )
        for name, clones in apart.items()
    }
    return {**members, **owned}


def _read(request: ReadMembers, machine: Machine, names: Sequence[str]) -> tuple[dict[str, Member], dict[str, int]]:
    """Those of the datasets that exist, and what is below those that are trees, of which AbsentError is raised when any
    is gone meanwhile; the first command that fails is the last of the first attempt. And in which transaction group
    each was made."""
    below = _below(names, request.trees, machine)
    names = [*names, *below]
    tag, marks = request.tag, commands.snapshot_marks(request.tag)
    properties = machine.look(commands.get_properties(commands.member_properties(tag), names))
    snapshots = properties
    if properties.status == 0:
        snapshots = machine.look(commands.list_with_bookmarks(marks, names))
    if snapshots.status == 0:  # nothing is missing
        found, printed = _parsed(tag, names, properties.out, machine), snapshots.out
    else:
        found = exact.properties(machine, commands.member_properties(tag), names)
        if gone := [name for name in below if name not in found]:
            raise zfs_errors.AbsentError("it was renamed or destroyed meanwhile", evidence=gone[0])
        printed = machine.output(commands.list_with_bookmarks(marks, list(found))) if found else ""
    kept = exact.bookmarks(machine, tag, list(found), printed)
    held = _with_holds(exact.snapshots(machine, tag, list(found), printed), machine)
    members = {name: build_member(tag, name, _own(found[name]), held[name]) for name in names if name in found}
    replicas = {name for name, member in members.items() if member.role.master is False}
    places = {pool: machine.place(pool) for pool in {pool_of(name) for name in members}}
    read = {
        name: replace(
            _truly_written(member, machine) if replicas & {name, *ancestors(name)} else member,
            place=places[pool_of(name)],
            bookmarks=tuple(kept.get(name, ())),
        )
        for name, member in members.items()
    }
    return read, {name: whole_number(found[name].get(commands.CREATED, UNSET).value, 20) or 0 for name in read}


def _clones_apart(
    tag: str, machine: Machine, members: Mapping[str, Member], created: Mapping[str, int]
) -> dict[str, set[str]]:
    """The clones that may have been promoted over, and are in other pairs, by the member that has what was theirs."""

    def root(name: str) -> str:
        above = (each for each in (name, *ancestors(name)[::-1]) if each in members and members[each].role.paired)
        return next(above, "")

    promoted: dict[str, list[str]] = {}
    for name, member in members.items():
        # What is read with it, and is in one tree with it, is no other pair's.
        if found := [
            x
            for x in clones_of_older(member, created[name])
            if x not in members or not root(x) or root(x) != root(name)
        ]:
            promoted[name] = found
    names = tuple(sorted({clone for found in promoted.values() for clone in found}))
    roles = {name: own.get(tag) for name, own in read_other_roles(ReadOtherRoles("", names), machine).items()}
    return {
        name: {clone for clone in found if in_another_pair(members[name], clone, roles.get(clone))}
        for name, found in promoted.items()
    }


def _below(names: Sequence[str], trees: Sequence[str], machine: Machine) -> list[str]:
    """What lies below those of the names that are trees, and is not among the names itself."""
    roots = [name for name in names if name in trees]
    if not roots:
        return []
    found = zfs_errors.present(machine.look(commands.list_tree(*roots))).out.splitlines()
    return [name for name in dict.fromkeys(found) if name not in names]


def _parsed(tag: str, datasets: Sequence[str], printed: str, machine: Machine) -> Properties:
    try:
        return parse.parse_properties(printed, commands.member_properties(tag), datasets)
    except AmbiguousError:
        return exact.properties(machine, commands.member_properties(tag), datasets)


def _own(properties: Mapping[str, Value]) -> Mapping[str, Value]:
    """Properties without what is to follow and is not the dataset's own: that would be the most of all that is kept."""
    return {
        name: value
        for name, value in properties.items()
        if name != commands.CREATED and (name not in FOLLOWED or value.source in ("local", "received"))
    }


def survey(machine: Machine, tag: str, datasets: Sequence[str]) -> Iterator[Member]:
    """The datasets that exist, one after the other, so that the snapshots of one are held at a time; their holds are
    not read. No request: an answer would hold all of them."""
    properties = _properties(tag, datasets, machine) if datasets else {}
    if not properties:
        return
    out = machine.output(commands.list_snapshots(commands.snapshot_marks(tag), list(properties)))
    for name, snapshots in exact.each_snapshots(machine, tag, list(properties), out):
        yield build_member(tag, name, properties[name], snapshots)


def _sync(datasets: Sequence[str], seconds: float, machine: Machine) -> dict[str, ZrepError]:
    """Close the transaction groups of the pools of datasets, all at the same time; the datasets of those that did not,
    with the reason. A pool that is not there has none of them: that is said as such later."""
    found = sorted({pool_of(name) for name in datasets})
    errors = dict(zip(found, together(*(partial(_sync_pool, pool, seconds, machine) for pool in found)), strict=True))
    return {name: error for name in datasets if (error := errors[pool_of(name)])}


def _sync_pool(pool: str, seconds: float, machine: Machine) -> ZrepError | None:
    try:
        # A command that hangs is left behind; a call that does would keep this process from ending.
        if seconds >= SYNC_SECONDS and machine.library.sync(pool, seconds):
            return None
        done = machine.look(commands.sync_pool(pool), seconds)
    except StuckError as error:
        return pools.hung(pool, error.what, machine.name)
    except ZrepError as error:
        return error
    return None if done.status == 0 or "no such pool" in done.err else zfs_errors.error(done)


def _properties(tag: str, datasets: Sequence[str], machine: Machine) -> Properties:
    return exact.properties(machine, commands.read_properties(tag), datasets)


def _with_holds(table: Mapping[str, Sequence[Snapshot]], machine: Machine) -> Mapping[str, Sequence[Snapshot]]:
    held = [(f"{name}@{s.name}", len(s.holds)) for name, snapshots in table.items() for s in snapshots if s.holds]
    tags: dict[str, frozenset[str]] = {}
    for start in range(0, len(held), exact.BATCH):
        tags.update(exact.holds(machine, dict(held[start : start + exact.BATCH])))
    return {
        name: [replace(s, holds=tags.get(f"{name}@{s.name}", frozenset())) if s.holds else s for s in snapshots]
        for name, snapshots in table.items()
    }


@carry_out.register(ReadSnapshots)
def read_snapshots(request: ReadSnapshots, machine: Machine) -> dict[str, Snapshot]:
    found: dict[str, Snapshot] = {}
    for start in range(0, len(request.snapshots), exact.BATCH):
        names = request.snapshots[start : start + exact.BATCH]
        read = machine.library.read_snapshots(names, COMMAND_SECONDS)
        if read is None:
            done = zfs_errors.present(machine.look(commands.get_snapshots(names)))
            read = parse.parse_new_snapshots(done.out)
        found.update(read)
    return found


# --- what is written ---


def _truly_written(member: Member, machine: Machine) -> Member:
    """A replica, or what is below one, whose ``written`` is not 0 although nothing was written has 0; one to which
    nothing but quotas were written says so."""
    suspect = not member.role.master and not member.mounted and member.snapshots and member.number("written")
    if not suspect:
        return member
    match _change(f"{member.name}@{member.snapshots[-1].name}", member.name, machine):
        case Change.NONE:
            return member.unwritten()
        case Change.QUOTAS:
            return replace(member, only_quotas=True)
        case Change.ANY:
            return member


@carry_out.register(IsUnmodified)
def is_unmodified(request: IsUnmodified, machine: Machine) -> bool:
    return _change(request.snapshot, request.dataset, machine) is Change.NONE


def _change(snapshot: str, dataset: str, machine: Machine) -> Change:
    """What has changed since a snapshot, by what ZFS would send. Under the dataset's lock, its own where the caller has
    none: a send of a dataset keeps a receive out of it."""
    locked = machine.locks.has(dataset)
    try:
        if not locked:
            machine.locks.take(dataset, 0.0)
        done = machine.runner.run(commands.change(snapshot, dataset))
        return read_change(b64decode(done.out)) if done.status == 0 else Change.ANY
    except (ZrepError, ValueError):  # busy, not in time, or no base64
        return Change.ANY
    finally:
        if not locked:
            machine.locks.drop(dataset)


@carry_out.register(IsInUse)
def is_in_use(request: IsInUse, machine: Machine) -> bool:
    """A send of what is not mounted needs it for itself, whoever else has it mounted, wherever (dmu_send_obj())."""
    done = machine.runner.run(commands.change(request.snapshot, request.dataset))
    return "is busy" in done.err


@carry_out.register(FindUnreadable)
def find_unreadable(request: FindUnreadable, machine: Machine) -> list[str]:
    found, name = [], ""
    for line in machine.look(commands.readable(request.snapshots)).err.splitlines():
        if line in request.snapshots:
            name = line
        elif "key must be loaded" in line:
            found.append(name)
    return found


@carry_out.register(ReadDifferences)
def read_differences(request: ReadDifferences, machine: Machine) -> list[tuple[str, str]]:
    try:
        words = commands.differences(request.snapshot, request.dataset)
        done = machine.runner.run(words, timeout=_DIFFERENCES_SECONDS)
    except ZrepError:
        return []
    return parse.parse_differences(done.out)


# --- the rest of a host ---


@carry_out.register(ReadChildren)
def read_children(request: ReadChildren, machine: Machine) -> list[str]:
    lines = machine.output(commands.list_tree(request.dataset)).splitlines()
    return [line for line in lines if line != request.dataset]


@carry_out.register(ReadBelow)
def read_below(request: ReadBelow, machine: Machine) -> list[Child]:
    """Of other tags only for those that are in no pair of this one: that takes another command."""
    lost = pools.troubles(machine, request.datasets)  # of them it is said already
    datasets = [name for name in request.datasets if name not in lost]
    if not datasets:
        return []
    found = exact.below(machine, commands.below_properties(request.tag), datasets)
    children = parse.children_of(request.tag, datasets, found)
    alone = [child.name for child in children if not (child.tags or child.made)]
    own = exact.own_names(machine, alone, "local")
    return [_with_tags(child, own[child.name], machine) if child.name in own else child for child in children]


def _with_tags(child: Child, names: Sequence[str], machine: Machine) -> Child:
    masters = [name for name in names if name.endswith(commands.MASTER)]
    values = exact.properties(machine, masters, [child.name]).get(child.name, {}) if masters else {}
    return parse.with_tags(child, {name: values[name].value if name in values else "" for name in names})


@carry_out.register(ReadOwnProperties)
def read_own_properties(request: ReadOwnProperties, machine: Machine) -> dict[str, dict[str, str]]:
    found = exact.find(machine, commands.role_properties(request.tag))
    return {name: {key: value.value for key, value in values.items()} for name, values in found.items()}


@carry_out.register(ReadAllProperties)
def read_all_properties(request: ReadAllProperties, machine: Machine) -> dict[str, Value]:
    return exact.settings(machine, request.dataset)


@carry_out.register(ReadDelegations)
def read_delegations(request: ReadDelegations, machine: Machine) -> list[tuple[str, ...]]:
    return parse.parse_allowed(machine.output(commands.list_allowed(request.dataset)), request.dataset)


@carry_out.register(ReadMounts)
def read_mounts(request: ReadMounts, machine: Machine) -> list[MountEntry]:
    return parse.parse_mountinfo(machine.mountinfo())


@carry_out.register(FindUnmakable)
def find_unmakable(request: FindUnmakable, machine: Machine) -> list[str]:
    return [path for path in request.paths if not machine.can_make(path)]


@carry_out.register(ReadMarked)
def read_marked(request: ReadMarked, machine: Machine) -> list[tuple[str, str]]:
    return [(name, own[request.name].value) for name, own in exact.find(machine, (request.name,)).items()]


@carry_out.register(ReadTags)
def read_tags(request: ReadTags, machine: Machine) -> list[str]:
    return parse.parse_tags(machine.output(commands.find_tags()))


@carry_out.register(ReadFeatures)
def read_features(request: ReadFeatures, machine: Machine) -> list[str]:
    return parse.parse_features(machine.output(commands.pool_features(request.pool)))


@carry_out.register(ReadPoolSpace)
def read_pool_space(request: ReadPoolSpace, machine: Machine) -> PoolSpace:
    return parse.parse_pool_space(machine.output(commands.pool_free(request.pool)))


@carry_out.register(ReadToken)
def read_token(request: ReadToken, machine: Machine) -> TokenContents:
    """Never what zfs prints of it: whoever has the target writes the token, and a name in it may hold lines. It would
    pass for one of the pair, and zfs would send what its guid is of, of whatever dataset in the pool."""
    try:
        found = resume_token.read(request.token)
    except RefusedError:
        return NO_TOKEN
    done = machine.look(commands.token_contents(request.token))
    return TokenContents(done.status == 0, found.since, found.guid, found.received, found.raw)


@carry_out.register(ReadStreamSize)
def read_stream_size(request: ReadStreamSize, machine: Machine) -> int | None:
    done = machine.look(commands.stream_size(request.step))
    return parse.parse_stream_size(done.out) if done.status == 0 else None
