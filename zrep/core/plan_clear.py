"""Planning the end of a pair: zrep's properties, holds and snapshots go, the data stays."""

from __future__ import annotations

from collections.abc import Sequence

from zrep.core.dataset import Member, Snapshot
from zrep.core.names import EXCLUDE, MADE, ROLE_PROPERTIES, SENT
from zrep.core.pair import End, Tree, plain_tree
from zrep.core.plan_role import plan_restore
from zrep.core.steps import DestroyBookmark, DestroySnapshots, DiscardPartial, InheritProperty, Release, Step
from zrep.core.tags import NO_ROLES, Roles, kept_read_only


def plan_clear_below(tree: Tree, tag: str) -> tuple[Step, ...]:
    """Take all that is zrep's from what lies below the root of a tree, from what was set aside too, and from what was
    left out since, but for that it is; the deepest first. The root knows of the others: it goes last."""
    half = tree.role.master is False
    below = sorted((*tree.members[1:], *tree.aside), key=lambda member: member.name, reverse=True)
    steps = [step for member in below for step in plan_clear(member, tag, member.ours(tag), half=half)]
    for member in tree.excluded:
        steps += without_exclude(plan_clear(member, tag, member.ours(tag)), tag)
    return tuple(steps)


def without_exclude(plan: Sequence[Step], tag: str) -> tuple[Step, ...]:
    """The same for what stays left out of the tree that it lies in."""
    return tuple(step for step in plan if not (isinstance(step, InheritProperty) and step.name == f"{tag}:{EXCLUDE}"))


def plan_clear(
    member: Member,
    tag: str,
    ours: Sequence[Snapshot],
    *,
    half: bool = False,
    others: Roles = NO_ROLES,
    tree: Tree | None = None,
    keep: str = "",
) -> tuple[Step, ...]:
    """Take all that is zrep's from one half: holds first (nothing held can be destroyed), then snapshots of ours
    without clones, properties last: a run that is cut finds the role and goes on. A former replica stays read-only: to
    write to it is the next decision.

    ours: which of its snapshots are zrep's own; half: what is half received is so too. A replica's always is.
    others: its roles under other tags, which may keep it read-only too; tree: that of which it is the root, if it is
    one; keep: the guid of a snapshot that stays, without anything of zrep's, "" for none."""
    name, end = member.name, End.SOURCE
    plan: list[Step] = []
    intent = member.role.intent
    if member.role.master and intent is not None and intent.operation in ("failover", "stopped"):
        # zrep made it read-only for a while: with the record goes the only one who would undo that.
        plan += () if kept_read_only(others) else plan_restore(end, tree or plain_tree(member), tag, intent)
    if member.token and (half or member.role.master is False):
        plan.append(DiscardPartial(end, name))
    held = tuple(f"{name}@{s.name}" for s in member.held(tag))
    if held:
        plan.append(Release(end, tag, held))
    free = tuple(s.name for s in ours if s.guid != keep and not s.clones and not s.holds - {tag})
    if free:
        plan.append(DestroySnapshots(end, name, free))
    plan += (DestroyBookmark(end, f"{name}#{mark.name}") for mark in member.kept_bookmarks(tag) if mark.guid != keep)
    for key in (f"{tag}:{prop}" for prop in (*ROLE_PROPERTIES, MADE, SENT)):
        value = member.properties.get(key)
        if value is not None and (value.local or value.source == "received"):
            plan.append(InheritProperty(end, (name,), key))
    # What stays and is no longer zrep's: a base that another program had made has a mark too.
    kept = [snapshot for snapshot in member.snapshots if snapshot.guid == keep or snapshot in ours]
    kept = [snapshot for snapshot in kept if snapshot.name not in free]
    for mark, marked in ((SENT, [s for s in kept if s.sent is not None]), (MADE, [s for s in kept if s.made])):
        if marked:
            plan.append(InheritProperty(end, tuple(f"{name}@{s.name}" for s in marked), f"{tag}:{mark}"))
    return tuple(plan)
