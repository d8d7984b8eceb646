"""Planning a rejoin: how an old master becomes a replica again. What it wrote alone: core/plan_split.py.

All steps are on the host of the old master, which will be the target of the new one's streams.
"""

from __future__ import annotations

from collections.abc import Sequence

from zrep.core.dataset import Member
from zrep.core.pair import End, Tree
from zrep.core.plan_role import own_readonly, plan_closed, plan_keep_excluded, plan_replica_role
from zrep.core.plan_split import Split
from zrep.core.role import Role
from zrep.core.steps import InheritProperty, SetProperties, Step

_END = End.TARGET


def has_landed(role: Role | None) -> bool:
    """Whether the dataset of a rejoin has its role on the clone: from then on the role may have moved on, and only the
    copy's record is left of the rejoin. A role that landed in part has not, unless it is a later one."""
    if role is None or role.rejoining or not role.gen:
        return False
    return not (role.partially_applied and role.intent is not None and role.intent.operation == "follow")


def plan_become_replica(tag: str, tree: Tree, master: Role) -> tuple[Step, ...]:
    """Take the role as the new master has it, where nothing was written alone; mounting is its business from now on."""
    names = tuple(member.name for member in own_readonly(tree))
    keep = plan_keep_excluded(_END, tree, "on")
    return (*keep, SetProperties(_END, names, (("readonly", "on"),)), *_follow(tag, tree, master))


def _follow(tag: str, tree: Tree, master: Role) -> tuple[Step, ...]:
    return (*plan_closed(_END, tree, tag), *plan_replica_role(_END, tree.name, tag, master, master, swap=False))


def plan_finish(
    split: Split, tree: Tree, copy: Member | None, master: Role, others: Sequence[Step] = ()
) -> tuple[Step, ...]:
    """After a split: the role on the tree, then the copy loses its role and says what it is. copy: of the root itself,
    None where only others were split: then the record is the root's own, and the role ends it. master: the role of the
    new master; others: what moves the roles under other tags, before the record goes and, where that can be, once it is
    a replica: then it is a relay from the start."""
    mark = InheritProperty(_END, (split.name,), f"{split.tag}:split")
    if copy is None:
        return (*others, *_follow(split.tag, tree, master))
    return (mark, *_follow(split.tag, tree, master), *others, *plan_forget(split, copy))


def plan_forget(split: Split, copy: Member) -> tuple[Step, ...]:
    """Take the role and the record from the copy, the record last: by it a run that was cut here is recognised."""
    mark, record = f"{split.tag}:split", f"{split.tag}:inprogress"
    own = [key for key, value in copy.properties.items() if key.startswith(f"{split.tag}:") and value.local]
    return (
        SetProperties(_END, (split.copy,), (split.mark,)),
        *(InheritProperty(_END, (split.copy,), key) for key in own if key not in (mark, record)),
        InheritProperty(_END, (split.copy,), record),
    )
