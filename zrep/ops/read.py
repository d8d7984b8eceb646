"""What operations read of a host, a function each: thin askers, so that an operation reads as what it wants to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from msgspec.structs import replace

from zrep.core.dataset import Member, PoolSpace, Snapshot, TokenContents, Value
from zrep.core.errors import RefusedError, ZrepError
from zrep.core.mounts import MountEntry
from zrep.core.names import ancestors
from zrep.core.neighbours import Child
from zrep.core.pair import Tree
from zrep.core.requests import (
    FindRoles,
    ReadAllProperties,
    ReadBelow,
    ReadChildren,
    ReadDelegations,
    ReadLostPools,
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
    ReadToken,
)
from zrep.core.role import Role
from zrep.core.steps import SendStream
from zrep.core.tree import tree_of, unknown_origins
from zrep.host import reads
from zrep.host.local import Host, LocalHost
from zrep.zfs.errors import as_error


def find_roles(host: Host, tag: str) -> dict[str, Role]:
    """Every dataset on a host that has a local role under this tag, in one command."""
    return host.ask(FindRoles(tag))


def find_role(host: Host, tag: str, dataset: str) -> Role | None:
    """The role of one dataset; None when ZFS says that it does not exist."""
    return host.ask(ReadRole(tag, dataset))


def observe(host: Host, tag: str, datasets: Sequence[str], *, sync_txg: bool = False) -> dict[str, Member]:
    """The datasets as they are now; one that ZFS says does not exist is not in the answer.

    sync_txg: close the pools' transaction groups first, so that ``written`` tells the truth.
    Raises the typed error of whatever else goes wrong with any of them: unreadable is never absent.
    """
    found: dict[str, Member] = {}
    for name, member in observe_each(host, tag, datasets, sync_txg=sync_txg).items():
        if isinstance(member, ZrepError):
            raise member.about(name)
        found[name] = member
    return found


def observe_each(
    host: Host,
    tag: str,
    datasets: Sequence[str],
    *,
    sync_txg: bool = False,
    seconds: float = 0.0,
    trees: Sequence[str] = (),
) -> dict[str, Member | ZrepError]:
    """The same, with the error of each that could not be read instead: of many, one that is in trouble is no trouble of
    the others. seconds: how long a transaction group may take, where that is not as long as ever; trees: those of the
    datasets below which everything is read too."""
    if not datasets:
        return {}
    request = ReadMembers(tag, tuple(datasets), sync_txg, trees=tuple(trees))
    found = host.ask(replace(request, seconds=seconds) if seconds else request)
    failed = {name: as_error(failure) for name, failure in found.failed.items()}
    known: dict[str, Member | ZrepError] = {**found.members, **failed}
    names = dict.fromkeys((*datasets, *known))
    return {name: known[name] for name in names if name in known}


def observe_trees(
    host: Host, tag: str, names: Mapping[str, bool], *, sync_txg: bool = False, seconds: float = 0.0
) -> dict[str, Tree | ZrepError]:
    """The same, those that are true with all that belongs to them below."""
    deep = [name for name, below in names.items() if below]
    found = observe_each(host, tag, list(names), sync_txg=sync_txg, seconds=seconds, trees=deep)
    below: dict[str, list[Member]] = {}
    for name, member in found.items():
        if isinstance(member, Member):
            for root in set(ancestors(name)) & set(deep):
                below.setdefault(root, []).append(member)
    return {
        name: _with_origins(host, tag, tree_of(member, below.get(name, ()))) if isinstance(member, Member) else member
        for name, member in found.items()
        if name in names
    }


def _with_origins(host: Host, tag: str, tree: Tree) -> Tree:
    """The same with what its members have to be known by. What a gate lets nobody see stays unknown."""
    with suppress(RefusedError):
        while names := unknown_origins(tree):
            found = [x for x in observe_each(host, tag, names).values() if isinstance(x, Member)]
            if not found:
                break
            tree = replace(tree, origins=(*tree.origins, *found))
    return tree


def observe_tree(host: Host, tag: str, name: str, *, recursive: bool, sync_txg: bool = False) -> Tree:
    """One tree that is there; its error where it cannot be read."""
    found = observe_trees(host, tag, {name: recursive}, sync_txg=sync_txg).get(name)
    if found is None:
        raise RefusedError("no such filesystem", filesystem=name, evidence=f"on {host.name}")
    if isinstance(found, ZrepError):
        raise found.about(name)
    return found


def lost_pools(host: Host) -> dict[str, ZrepError]:
    """The pools of a host that answer nothing: what is in them is in no list of its datasets."""
    return {pool: as_error(failure) for pool, failure in host.ask(ReadLostPools()).items()}


def survey(host: LocalHost, tag: str, datasets: Sequence[str]) -> Iterator[Member]:
    """The datasets here that exist, one after the other, so that the snapshots of one are held at a time; their holds
    are not read."""
    return reads.survey(host, tag, datasets)


def observe_children(host: Host, name: str) -> list[str]:
    """Every filesystem and volume below a dataset."""
    return host.ask(ReadChildren(name))


def read_below(host: Host, tag: str, datasets: Sequence[str]) -> list[Child]:
    """Every filesystem and volume below datasets."""
    return host.ask(ReadBelow(tag, tuple(datasets))) if datasets else []


def read_snapshots(host: Host, names: Sequence[str]) -> dict[str, Snapshot]:
    """What makes each snapshot the one it is, by full name; those that are not there are not in the answer. Of holds
    and marks nothing is read."""
    return host.ask(ReadSnapshots(tuple(names))) if names else {}


def read_own_properties(host: Host, tag: str) -> dict[str, dict[str, str]]:
    """Every dataset on a host with local properties of a tag, each with their values by full name."""
    return host.ask(ReadOwnProperties(tag))


def read_property_names(host: Host, dataset: str) -> list[str]:
    """The names of the properties that a dataset has itself, set there or received."""
    return host.ask(ReadPropertyNames(dataset))


def read_other_roles(host: Host, tag: str, datasets: Sequence[str]) -> dict[str, dict[str, Role]]:
    """The roles of datasets under other tags than this one ("": under any), by tag, their own or as members of a tree;
    those without any are not in the answer."""
    return host.ask(ReadOtherRoles(tag, tuple(datasets))) if datasets else {}


def read_all_properties(host: Host, dataset: str) -> Mapping[str, Value]:
    """Everything ``zfs get all`` knows of one dataset."""
    return host.ask(ReadAllProperties(dataset))


def read_delegations(host: Host, dataset: str) -> list[tuple[str, ...]]:
    """What is delegated on the dataset itself, each as the words of ``zfs allow`` that delegate it."""
    return host.ask(ReadDelegations(dataset))


def read_mounts(host: Host) -> list[MountEntry]:
    """Every mount of a host, of any kind."""
    return host.ask(ReadMounts())


def read_marked(host: Host, name: str) -> list[tuple[str, str]]:
    """Every dataset that has this property itself, with its value."""
    return host.ask(ReadMarked(name))


def read_pool_space(host: Host, pool: str) -> PoolSpace:
    """How large a pool is, and what is free in it, in bytes."""
    return host.ask(ReadPoolSpace(pool))


def read_token(host: Host, token: str) -> TokenContents:
    """What a resume token stands for, as a host reads it."""
    return host.ask(ReadToken(token))


def read_stream_size(host: Host, step: SendStream) -> int | None:
    """Bytes a stream would have; None where it cannot be told."""
    return host.ask(ReadStreamSize(step))
