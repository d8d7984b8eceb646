"""expire: let go of surplus snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from zrep.core.errors import BusyError, ZrepError
from zrep.core.pair import End, Tree, plain_tree
from zrep.core.plan_expire import Expiry, expire_end, expire_lane
from zrep.core.plan_gone import plan_gone
from zrep.core.quantities import duration, size
from zrep.core.relation import Linked
from zrep.ops.execute import Executor
from zrep.ops.failures import attempt
from zrep.ops.finding import all_here, find_link
from zrep.ops.kept_back import dated_ahead, too_many
from zrep.ops.one_side import lock_here
from zrep.ops.outcome import Outcome, each
from zrep.ops.pairs import open_pair
from zrep.ops.read import observe_children, observe_tree
from zrep.ops.session import Session
from zrep.ops.view import Link


def expire(
    session: Session, names: Sequence[str], here_only: bool, gone: int | None = None, *, many: bool = False
) -> list[Outcome]:
    """Let go of surplus snapshots, each side by its own rules; here_only (-L): leave the peer alone.
    gone: and remove what was set aside longer than so many seconds ago; None: nothing of that. many (--yes): also more
    than a quarter of a filesystem's at once.

    No names: every filesystem of a pair here, masters on both sides, replicas on this one.
    """
    everything = not names
    roles, lost = all_here(session) if everything else ({}, [])
    return lost + each(names or roles, lambda name: _expire(session, name, here_only, everything, gone, many=many))


def _expire(session: Session, name: str, here_only: bool, everything: bool, gone: int | None, *, many: bool) -> Outcome:
    link = find_link(session, name, there="" if here_only or everything else "expire")
    return attempt(session, "expire", name, lambda: _expire_pair(session, link, here_only, everything, gone, many=many))


def _expire_pair(
    session: Session, link: Link, here_only: bool, everything: bool, gone: int | None, *, many: bool
) -> Outcome:
    name = link.name
    if here_only or (everything and not link.drives):
        return _expire_here(session, name, gone, many=many)
    try:
        view = open_pair(session, name)
    except BusyError as error:
        return Outcome(name, error=error, skipped=everything)
    if not isinstance(view.relation, Linked):
        raise view.diagnosis.error(name)
    expiries = [expiry for lane in view.lanes for expiry in expire_lane(lane.lane, session.now)]
    done = _let_go(session, name, view.executor, expiries, many=many)
    if gone is None:
        return done
    return _remove_gone(session, done, view.executor, {end: view.pair.at(end) for end in End}, gone)


def _expire_here(session: Session, name: str, gone: int | None, *, many: bool) -> Outcome:
    """Without the peer the base is the newest snapshot that is held as one; without any, nothing goes."""
    root = lock_here(session, name)
    tree = plain_tree(root)
    if root.role.recursive:
        tree = observe_tree(session.local, session.tag, name, recursive=True, sync_txg=True)
    end = End.SOURCE if root.role.master else End.TARGET
    expiries: list[Expiry] = []
    for member in tree.members:
        held = [snapshot for snapshot in member.marked if session.tag in snapshot.holds]
        own, base = replace(member, role=root.role), held[-1] if held else None
        expiries.append(expire_end(end, own, session.tag, member.ours(session.tag), base, session.now))
    done = _let_go(session, name, session.alone(), expiries, many=many, option="-L ")
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
    session: Session, name: str, executor: Executor, expiries: Sequence[Expiry], *, many: bool, option: str = ""
) -> Outcome:
    """Destroy snapshots, but for those that somebody uses, and for more at once than is usual. option: of the command
    that does those too."""
    before = len(session.untidied)
    plan = [step for expiry in expiries for step in expiry.steps(agreed=many)]
    for end in End:
        executor.tidy([step for step in plan if step.end is end])
    count = sum(len(step.names) for step in plan) - (len(session.untidied) - before)
    gone = f"expired {count} snapshot{'' if count == 1 else 's'}"
    return Outcome(
        name,
        message=gone if plan else "nothing to expire",
        notes=tuple(_explained(executor, expiries)) if session.options.dry_run else (),
        error=_kept_back(session, name, executor, expiries, many=many, option=option),
    )


def _kept_back(
    session: Session, name: str, executor: Executor, expiries: Sequence[Expiry], *, many: bool, option: str
) -> ZrepError | None:
    """Why not all went that could have gone, for the first that it is true of."""
    for expiry in expiries:
        if expiry.too_many and not many:
            return too_many(name, executor.host(expiry.end).name, expiry, option)
    for expiry in expiries:
        if expiry.ahead:
            return dated_ahead(name, executor.host(expiry.end).name, expiry, session.now)
    return None


def _explained(executor: Executor, expiries: Iterable[Expiry]) -> Iterable[str]:
    """A line for each snapshot that the rules are about: that it goes, or by what it stays."""
    for expiry in expiries:
        host, name = executor.host(expiry.end).name, expiry.member.name
        for verdict in expiry.verdicts:
            becomes = f"stays: {verdict.reason}" if verdict.reason else "goes"
            yield f"{host}: {name}@{verdict.snapshot.name} {becomes}"
