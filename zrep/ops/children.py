"""Children of a pair that are not in it: what a change would do to them, asked before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from msgspec.structs import replace

from zrep.core.dataset import Member
from zrep.core.errors import RefusedError, ZrepError
from zrep.core.mounts import hidden_by
from zrep.core.neighbours import (
    Child,
    LeftOut,
    keep_readonly,
    left_out,
    opposite,
    refuse_change,
    refuse_unmount,
    some_names,
    unreplicated,
)
from zrep.core.pair import End, Tree
from zrep.host.local import Host
from zrep.ops.execute import Executor
from zrep.ops.read import read_below, read_mounts
from zrep.ops.session import Session


def find_left_out(
    host: Host, tag: str, masters: Iterable[Member], *, here: bool = True, certain: bool = False
) -> dict[str, LeftOut]:
    """What nobody replicates below masters on one host, by their names. One or two commands for all of them, and none
    where nothing is below any. What cannot be read is not told of: it is worth knowing, and no trouble of theirs. here:
    whether a person reads of it on that host; certain: do not go by what they use (see Member.has_children)."""
    roots = {
        member.name: member.role for member in masters if (certain or member.has_children) and not member.role.recursive
    }
    below: list[Child] = []
    with suppress(ZrepError):
        below = read_below(host, tag, list(roots))
    where = "" if here else host.name
    found = ((name, left_out(tag, name, role, unreplicated(name, below), where)) for name, role in roots.items())
    return {name: what for name, what in found if what is not None}


def below_and_outside(host: Host, tag: str, tree: Tree) -> list[Child]:
    """What lies below the root of a tree, and is neither a member of it nor left out of it: that makes way."""
    known = {member.name for member in (*tree.members, *tree.excluded)}
    return [child for child in read_below(host, tag, [tree.name]) if child.name not in known]


def refused_change(host: Host, tag: str, tree: Tree, readonly: str) -> list[RefusedError]:
    """Why a tree must not become read-only (readonly on) or writable (off)."""
    return refuse_change(tree.name, below_and_outside(host, tag, tree), readonly, host.name)


def refused_rejoin(host: Host, tag: str, tree: Tree) -> list[RefusedError]:
    """Why an old master must not be made read-only, mounted for its intent log, and unmounted."""
    below = below_and_outside(host, tag, tree)
    found = refuse_change(tree.name, below, "on", host.name)
    filesystems = [m for m in tree.members if not m.volume and m.get("mountpoint").startswith("/")]
    # Members are unmounted one by one, the inner ones first.
    members = {member.name for member in (*tree.members, *tree.excluded)}
    table = [entry for entry in read_mounts(host) if entry.source not in members] if filesystems else []
    for member in filesystems:
        place = member.get("mountpoint")
        if member.mounted:
            found += refuse_unmount(member.name, below, table, place, host.name)
        else:
            found += hidden_by(table, member.name, place, host.name)
    return found


def keep(session: Session, executor: Executor, end: End, tree: Tree, readonly: str) -> None:
    """Before a tree becomes read-only (readonly on) or writable (off) and nobody can be asked: its children keep what
    they are, as a value of their own. Once more, and each by itself, where that fails: one that is odd, or was
    destroyed meanwhile, is no trouble of the others. One that cannot be given it changes with the tree: that is told,
    and no reason to let a wrong master take writes, or to go without any."""
    host = executor.host(end)
    kept: list[str] = []
    lost = ""
    for one_by_one in (False, True):
        try:
            step = keep_readonly(end, tree.name, below_and_outside(host, session.tag, tree), readonly)
            alone = [replace(step, targets=(name,)) for name in step.targets] if step and one_by_one else [step]
        except ZrepError as error:
            lost = error.line()
            continue
        failed = [(each, executor.try_do(each)) for each in alone if each]
        kept += [name for each, error in failed if error is None for name in each.targets]
        lost = next((error.line() for _, error in failed if error), "")
        if not lost:
            break
    if lost:
        session.warn(f"{tree.name}: what is below it on {host.name} becomes what it is: {lost}")
    if kept:
        what = f"what is below it on {host.name} keeps readonly={opposite(readonly)}, as a value of its own from now on"
        session.warn(f"{tree.name}: {what}: {some_names(kept)}")
