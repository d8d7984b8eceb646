"""Reading one side: a fixed number of zfs commands, however many datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from msgspec.structs import replace

from zrep.core.dataset import Member, PoolSpace, Snapshot, TokenContents, Value, build_member, role_of
from zrep.core.names import pool_of
from zrep.core.role import Role
from zrep.core.steps import SendStream, Step
from zrep.host.local import Agent
from zrep.zfs import commands, parse
from zrep.zfs import errors as zfs_errors
from zrep.zfs.commands import Argv

# One argument list must stay below the kernel's 128 KiB per argument and 2 MiB in all; names are at most 255 bytes.
_BATCH = 4000


class Picture(Protocol):
    """What a dry run knows of a host: its own answers to what is read."""

    def carry_out(self, steps: Sequence[Step]) -> None: ...
    def observe(self, tag: str, names: Sequence[str], *, sync_txg: bool = False) -> dict[str, Member]: ...
    def find_roles(self, tag: str) -> dict[str, Role]: ...
    def snapshots(self, names: Sequence[str]) -> dict[str, Snapshot]: ...
    def below(self, name: str) -> list[str]: ...
    def all_properties(self, name: str) -> Mapping[str, Value]: ...
    def delegations(self, name: str) -> list[tuple[str, ...]]: ...


def picture_of(agent: Agent) -> Picture | None:
    """The picture of a host that only looks, None for one that carries out."""
    picture: Picture | None = getattr(agent, "picture", None)
    return picture


def find_roles(agent: Agent, tag: str) -> dict[str, Role]:
    """Every dataset on a host that has a local role under this tag, in one command."""
    if (picture := picture_of(agent)) is not None:
        return picture.find_roles(tag)
    [done] = agent.run([commands.find_pairs(tag)])
    if done.status != 0:
        raise zfs_errors.error(done)
    return {name: role_of(tag, name, table) for name, table in parse.parse_properties(done.out).items()}


def find_role(agent: Agent, tag: str, dataset: str) -> Role | None:
    """The role of one dataset; None when ZFS says that it does not exist."""
    if (picture := picture_of(agent)) is not None:
        return m.role if (m := picture.observe(tag, [dataset]).get(dataset)) else None
    properties = _properties(agent, tag, [dataset])
    return role_of(tag, dataset, properties[dataset]) if dataset in properties else None


def observe(agent: Agent, tag: str, datasets: Sequence[str], *, sync_txg: bool = False) -> dict[str, Member]:
    """The datasets as they are now; one that ZFS says does not exist is not in the answer.

    sync_txg: close the pools' transaction groups first, so that ``written`` tells the truth.
    Raises the typed error of whatever else goes wrong: unreadable is never absent.
    """
    if (picture := picture_of(agent)) is not None:
        return picture.observe(tag, datasets, sync_txg=sync_txg)
    if not datasets:
        return {}
    pools = sorted({pool_of(name) for name in datasets}) if sync_txg else []
    commands = [*(("zpool", "sync", pool) for pool in pools), *_reading(tag, datasets)]
    done = agent.run(commands)
    if len(done) == len(commands) and done[-1].status == 0:
        # One request answered all: nothing is missing.
        properties, table = parse.parse_properties(done[-2].out), parse.parse_snapshots(done[-1].out)
    else:
        for sync in done[: len(pools)]:
            if sync.status != 0 and "no such pool" not in sync.err:
                raise zfs_errors.error(sync)
        properties = _properties(agent, tag, datasets)
        table = _snapshots(agent, tag, list(properties))
    snapshots = _with_holds(agent, table)
    return {
        name: _truly_written(agent, build_member(tag, name, properties[name], snapshots.get(name, ())))
        for name in datasets
        if name in properties
    }


def survey(agent: Agent, tag: str, datasets: Sequence[str]) -> Iterator[Member]:
    """The datasets that exist, one after the other, so that the snapshots of one are held at a time; their holds are
    not read."""
    properties = _properties(agent, tag, datasets) if datasets else {}
    if not properties:
        return
    [done] = agent.run([commands.list_snapshots(tag, list(properties))])
    if done.status != 0:
        raise zfs_errors.error(done)
    for name, snapshots in parse.each_snapshots(done.out):
        yield build_member(tag, name, properties.pop(name), snapshots)
    for name, own in properties.items():
        yield build_member(tag, name, own, ())


def observe_children(agent: Agent, name: str) -> list[str]:
    """Every filesystem and volume below a dataset."""
    if (picture := picture_of(agent)) is not None:
        return picture.below(name)
    [done] = agent.run([commands.list_tree(name)])
    if done.status != 0:
        raise zfs_errors.error(done)
    return [line for line in done.out.splitlines() if line != name]


def read_own_properties(agent: Agent, tag: str) -> dict[str, dict[str, str]]:
    """Every dataset on a host with local properties of a tag, each with their values by full name."""
    table = parse.parse_properties(_said(agent, commands.find_pairs(tag)))
    return {name: {key: value.value for key, value in values.items()} for name, values in table.items()}


def read_all_properties(agent: Agent, dataset: str) -> Mapping[str, Value]:
    """Everything ``zfs get all`` knows of one dataset."""
    if (picture := picture_of(agent)) is not None:
        return picture.all_properties(dataset)
    return parse.parse_properties(_said(agent, commands.get_all(dataset))).get(dataset, {})


def read_delegations(agent: Agent, dataset: str) -> list[tuple[str, ...]]:
    """What is delegated on the dataset itself, each as the words of ``zfs allow`` that delegate it."""
    if (picture := picture_of(agent)) is not None:
        return picture.delegations(dataset)
    return parse.parse_allowed(_said(agent, commands.list_allowed(dataset)), dataset)


def read_mounts(agent: Agent) -> list[tuple[str, bool, str]]:
    """Every filesystem of a host: its name, whether it is mounted, and its mountpoint."""
    rows = [line.split("\t", 2) for line in _said(agent, commands.list_mounts()).splitlines()]
    return [(name, mounted == "yes", mountpoint) for name, mounted, mountpoint in rows]


def read_marked(agent: Agent, name: str) -> list[tuple[str, str]]:
    """Every dataset that has this property itself, with its value."""
    rows = [line.partition("\t") for line in _said(agent, commands.find_marked(name)).splitlines()]
    return [(dataset, value) for dataset, _, value in rows]


def read_pool_space(agent: Agent, pool: str) -> PoolSpace:
    """How large a pool is, and what is free in it, in bytes."""
    fields = _said(agent, commands.pool_free(pool)).strip().split("\t")
    return PoolSpace(int(fields[1]), int(fields[2]))


def read_token(agent: Agent, token: str) -> TokenContents:
    """What a resume token stands for, as a host reads it."""
    [done] = agent.run([commands.token_contents(token)])
    found = parse.parse_token(done.out + done.err)
    return TokenContents(
        sendable=done.status == 0,
        from_guid=found.get("fromguid", ""),
        to_guid=found.get("toguid", ""),
        received=int(found.get("bytes", "0")),
    )


def read_stream_size(agent: Agent, step: SendStream) -> int | None:
    """Bytes a stream would have; None where it cannot be told."""
    [done] = agent.run([commands.stream_size(step)])
    return parse.parse_stream_size(done.out) if done.status == 0 else None


def _said(agent: Agent, command: Argv) -> str:
    """What a command printed; its typed error when it failed."""
    [done] = agent.run([command])
    if done.status != 0:
        raise zfs_errors.error(done)
    return done.out


def _reading(tag: str, datasets: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return commands.get_properties(tag, datasets), commands.list_snapshots(tag, datasets)


def _truly_written(agent: Agent, member: Member) -> Member:
    """A replica whose ``written`` is not 0 although nothing was written has 0."""
    suspect = member.role.master is False and not member.mounted and member.snapshots and member.number("written")
    if not suspect or not agent.is_unmodified(f"{member.name}@{member.snapshots[-1].name}", member.name):
        return member
    return member.unwritten()


def _properties(agent: Agent, tag: str, datasets: Sequence[str]) -> dict[str, dict[str, Value]]:
    done = zfs_errors.present(*agent.run([commands.get_properties(tag, datasets)]))
    return parse.parse_properties(done.out)


def _snapshots(agent: Agent, tag: str, datasets: Sequence[str]) -> dict[str, list[Snapshot]]:
    if not datasets:
        return {}
    [done] = agent.run([commands.list_snapshots(tag, datasets)])
    if done.status != 0:
        raise zfs_errors.error(done)
    return parse.parse_snapshots(done.out)


def read_snapshots(agent: Agent, names: Sequence[str]) -> dict[str, Snapshot]:
    """What makes each snapshot the one it is, by full name; those that are not there are not in the answer. Of holds
    and marks nothing is read."""
    if (picture := picture_of(agent)) is not None:
        return picture.snapshots(names)
    found: dict[str, Snapshot] = {}
    for start in range(0, len(names), _BATCH):
        done = zfs_errors.present(*agent.run([commands.get_snapshots(names[start : start + _BATCH])]))
        found.update(parse.parse_new_snapshots(done.out))
    return found


def _with_holds(agent: Agent, table: Mapping[str, Sequence[Snapshot]]) -> Mapping[str, Sequence[Snapshot]]:
    held = [f"{name}@{s.name}" for name, snapshots in table.items() for s in snapshots if s.holds]
    tags: dict[str, frozenset[str]] = {}
    for start in range(0, len(held), _BATCH):
        [done] = agent.run([commands.list_holds(held[start : start + _BATCH])])
        if done.status != 0:
            raise zfs_errors.error(done)
        tags.update(parse.parse_holds(done.out))
    return {
        name: [replace(s, holds=tags.get(f"{name}@{s.name}", frozenset())) if s.holds else s for s in snapshots]
        for name, snapshots in table.items()
    }
