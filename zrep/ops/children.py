"""Children of a pair that are not in it: what a change would do to them, asked before anything is changed."""

from __future__ import annotations

from zrep.core.errors import RefusedError, ZrepError
from zrep.core.mounts import hidden_by
from zrep.core.neighbours import keep_readonly, refuse_change, refuse_unmount, some_names
from zrep.core.pair import End, Tree
from zrep.host.local import Host
from zrep.ops.execute import Executor
from zrep.ops.pairs import Session
from zrep.ops.read import read_below, read_mounts


def refused_change(host: Host, tag: str, tree: Tree, readonly: str) -> list[RefusedError]:
    """Why a tree must not become read-only (readonly on) or writable (off)."""
    below = read_below(host, tag, [tree.name])
    return refuse_change(tree.name, below, readonly, host.name)


def refused_rejoin(host: Host, tag: str, tree: Tree) -> list[RefusedError]:
    """Why an old master must not be made read-only, mounted for its intent log, and unmounted."""
    below = read_below(host, tag, [tree.name])
    found = refuse_change(tree.name, below, "on", host.name)
    place = tree.members[0].get("mountpoint")
    if tree.members[0].volume or not place.startswith("/"):
        return found
    table = read_mounts(host)
    if tree.members[0].mounted:
        return [*found, *refuse_unmount(tree.name, below, table, place, host.name)]
    return [*found, *hidden_by(table, tree.name, place, host.name)]


def keep(session: Session, executor: Executor, end: End, tree: Tree, readonly: str) -> None:
    """Before a tree becomes read-only (readonly on) or writable (off) and nobody can be asked: its children keep what
    they are, as a value of their own. One that cannot be given it changes with the tree: that is told, and no reason to
    let a wrong master take writes, or to go without any."""
    host = executor.host(end)
    try:
        step = keep_readonly(end, tree.name, read_below(host, session.tag, [tree.name]), readonly)
        if step is None:
            return
        executor.do(step)
    except ZrepError as error:
        session.warn(f"{tree.name}: what is below it on {host.name} becomes what it is: {error.line()}")
        return
    [(_, value)] = step.properties
    what = f"what is below it on {host.name} keeps readonly={value}, as a value of its own from now on"
    session.warn(f"{tree.name}: {what}: {some_names(step.targets)}")
