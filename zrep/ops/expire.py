"""expire: let go of surplus snapshots."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from zrep.core.errors import BusyError
from zrep.core.pair import End, plain_tree
from zrep.core.plan_data import expire_end, plan_expire
from zrep.core.relation import Linked
from zrep.core.steps import DestroySnapshots
from zrep.ops.execute import Executor
from zrep.ops.one_side import lock_here
from zrep.ops.outcome import Outcome, each
from zrep.ops.pairs import Session
from zrep.ops.read import observe_tree


def expire(session: Session, names: Sequence[str], here_only: bool) -> list[Outcome]:
    """Let go of surplus snapshots, each side by its own savecount; here_only (-L): leave the peer alone.

    No names: every filesystem of a pair here, masters on both sides, replicas on this one.
    """
    everything = not names
    chosen = list(names) or list(session.roles())
    lost = [Outcome(pool, error=error) for pool, error in session.lost_here().items()] if everything else []
    if not chosen and not lost and not session.options.may_be_empty:
        raise session.nothing_here()
    return lost + each(chosen, lambda name: _expire(session, name, here_only, everything))


def _expire(session: Session, name: str, here_only: bool, everything: bool) -> Outcome:
    link = session.link(name, there="" if here_only or everything else "expire")
    if here_only or (everything and not link.drives):
        return _expire_here(session, name)
    try:
        view = session.open(name)
    except BusyError as error:
        return Outcome(name, error=error, skipped=everything)
    if not isinstance(view.relation, Linked):
        raise view.diagnosis.error(name)
    return _let_go(session, name, view.executor, [step for lane in view.lanes for step in plan_expire(lane.lane)])


def _expire_here(session: Session, name: str) -> Outcome:
    """Without the peer the base is the newest snapshot that is held as one; without any, nothing goes."""
    root = lock_here(session, name)
    tree = plain_tree(root)
    if root.role.recursive:
        tree = observe_tree(session.local, session.tag, name, recursive=True)
    plan: list[DestroySnapshots] = []
    for member in tree.members:
        held = [snapshot for snapshot in member.snapshots if session.tag in snapshot.holds and snapshot.sent]
        own = replace(member, role=replace(member.role, savecount=root.role.savecount))
        plan += expire_end(End.SOURCE, own, own.ours(session.tag), held[-1] if held else None)
    return _let_go(session, name, session.alone(), plan)


def _let_go(session: Session, name: str, executor: Executor, plan: Sequence[DestroySnapshots]) -> Outcome:
    """Destroy snapshots, but for those that somebody uses."""
    before = len(session.untidied)
    for step in plan:
        executor.tidy(step)
    count = sum(len(step.names) for step in plan) - (len(session.untidied) - before)
    gone = f"expired {count} snapshot{'' if count == 1 else 's'}"
    return Outcome(name, message=gone if plan else "nothing to expire")
