"""expire: let go of surplus snapshots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from zrep.core.errors import BusyError, ZrepError
from zrep.core.pair import End, Tree, plain_tree
from zrep.core.plan_data import crowded, expire_end, held_back, judged, plan_expire
from zrep.core.plan_gone import plan_gone
from zrep.core.quantities import duration, size
from zrep.core.relation import Linked
from zrep.core.steps import DestroySnapshots
from zrep.ops.execute import Executor
from zrep.ops.one_side import lock_here
from zrep.ops.outcome import Outcome, each
from zrep.ops.pairs import Session, View
from zrep.ops.read import observe_children, observe_tree


def expire(
    session: Session, names: Sequence[str], here_only: bool, gone: int | None = None, *, many: bool = False
) -> list[Outcome]:
    """Let go of surplus snapshots, each side by its own savecount and schedule; here_only (-L): leave the peer alone.
    gone: and remove what was set aside longer than so many seconds ago; None: nothing of that. many (--yes): also more
    than a quarter of a filesystem's at once, where a schedule says so.

    No names: every filesystem of a pair here, masters on both sides, replicas on this one.
    """
    everything = not names
    chosen = list(names) or list(session.roles())
    lost = [Outcome(pool, error=error) for pool, error in session.lost_here().items()] if everything else []
    if not chosen and not lost and not session.options.may_be_empty:
        raise session.nothing_here()
    return lost + each(chosen, lambda name: _expire(session, name, here_only, everything, gone, many=many))


def _expire(session: Session, name: str, here_only: bool, everything: bool, gone: int | None, *, many: bool) -> Outcome:
    link = session.link(name, there="" if here_only or everything else "expire")
    if here_only or (everything and not link.drives):
        return _expire_here(session, name, gone, many=many)
    try:
        view = session.open(name)
    except BusyError as error:
        return Outcome(name, error=error, skipped=everything)
    if not isinstance(view.relation, Linked):
        raise view.diagnosis.error(name)
    for lane in view.lanes if not (many or session.options.dry_run) else ():
        for end, going in held_back(lane.lane, session.now):
            host = "" if end is lane.here else lane.executor.host(end).name
            raise crowded(lane.lane, end, going, name, host)
    plan = [step for lane in view.lanes for step in plan_expire(lane.lane, session.now, many=many)]
    why = [line for lane in view.lanes for end in End for line in _why(session, lane, end)]
    done = _let_go(session, name, view.executor, plan, why if session.options.dry_run else ())
    if gone is None:
        return done
    return _remove_gone(session, done, view.executor, {end: view.pair.at(end) for end in End}, gone)


def _why(session: Session, lane: View, end: End) -> list[str]:
    """What becomes of each of zrep's snapshots at one end, and by which rule, a line each."""
    member, base, host = lane.lane.at(end), lane.lane.base, lane.executor.host(end).name
    own = member.by_guid(base.guid) if base else None
    found = judged(member, lane.lane.ours(end), own, session.now)
    return [f"{host}: {member.name}@{each.snapshot.name}: {each.reason or 'goes'}" for each in found]


def _expire_here(session: Session, name: str, gone: int | None, *, many: bool) -> Outcome:
    """Without the peer the base is the newest snapshot that is held as one; without any, nothing goes."""
    root = lock_here(session, name)
    tree = plain_tree(root)
    if root.role.recursive:
        tree = observe_tree(session.local, session.tag, name, recursive=True, sync_txg=True)
    plan: list[DestroySnapshots] = []
    for member in tree.members:
        held = [snapshot for snapshot in member.snapshots if session.tag in snapshot.holds and snapshot.sent]
        own = replace(member, role=replace(member.role, savecount=root.role.savecount, keep=root.role.keep))
        base = held[-1] if held else None
        plan += expire_end(End.SOURCE, own, own.ours(session.tag), base, session.now, many=many)
    done = _let_go(session, name, session.alone(), plan)
    return done if gone is None else _remove_gone(session, done, session.alone(), {End.SOURCE: tree}, gone)


def _remove_gone(session: Session, done: Outcome, executor: Executor, trees: Mapping[End, Tree], gone: int) -> Outcome:
    """Remove what was set aside in trees longer than so many seconds ago. done: what else was done. The error of the
    first that stays, after all that go."""
    removed: list[str] = []
    trouble: ZrepError | None = None
    for end, tree in trees.items():
        host = executor.host(end)
        below = observe_children(host, tree.name) if tree.aside else []
        for each_of_them in plan_gone(end, session.tag, tree, below, session.now - gone, host.name):
            failed: ZrepError | None = each_of_them.refusal
            for step in each_of_them.steps:
                failed = failed or executor.try_do(step)
            trouble = trouble or (failed.about(each_of_them.member.name) if failed else None)
            if failed is None:
                removed.append(f"{each_of_them.member.name} ({size(each_of_them.member.number('used'))})")
    what = f"removed what was set aside: {', '.join(removed)}" if removed else f"nothing set aside for {duration(gone)}"
    return replace(done, message=f"{done.message}; {what}", error=done.error or trouble)


def _let_go(
    session: Session, name: str, executor: Executor, plan: Sequence[DestroySnapshots], why: Sequence[str] = ()
) -> Outcome:
    """Destroy snapshots, but for those that somebody uses. why: what is to be told of each."""
    before = len(session.untidied)
    for step in plan:
        executor.tidy(step)
    count = sum(len(step.names) for step in plan) - (len(session.untidied) - before)
    gone = f"expired {count} snapshot{'' if count == 1 else 's'}"
    return Outcome(name, message=gone if plan else "nothing to expire", notes=tuple(why))
