"""expire: let go of surplus snapshots."""

from __future__ import annotations

from collections.abc import Sequence

from zrep.core.errors import BusyError
from zrep.core.pair import End
from zrep.core.plan_data import expire_end, plan_expire
from zrep.core.relation import Linked
from zrep.core.steps import DestroySnapshots, Step
from zrep.ops.one_side import apply_here, lock_here
from zrep.ops.outcome import Outcome, each
from zrep.ops.pairs import Session


def expire(session: Session, names: Sequence[str], here_only: bool) -> list[Outcome]:
    """Let go of surplus snapshots, each side by its own savecount; here_only (-L): leave the peer alone.

    No names: every filesystem of a pair here, masters on both sides, replicas on this one.
    """
    everything = not names
    chosen = list(names) or list(session.roles())
    return each(chosen, lambda name: _expire(session, name, here_only, everything))


def _expire(session: Session, name: str, here_only: bool, everything: bool) -> Outcome:
    link = session.link(name)
    if here_only or (everything and not link.is_master):
        return _expire_here(session, name)
    try:
        view = session.open(name)
    except BusyError as error:
        return Outcome(name, error=error, skipped=everything)
    if not isinstance(view.relation, Linked):
        raise view.diagnosis.error(name)
    plan = plan_expire(view.lane)
    view.do(plan)
    return Outcome(name, message=_expired(plan))


def _expire_here(session: Session, name: str) -> Outcome:
    """Without the peer the base is the newest snapshot that is held as one; without any, nothing goes."""
    member = lock_here(session, name)
    held = [snapshot for snapshot in member.snapshots if session.tag in snapshot.holds and snapshot.sent]
    plan = expire_end(End.SOURCE, member, session.tag, held[-1] if held else None)
    return apply_here(session, name, plan, _expired(plan))


def _expired(plan: Sequence[Step]) -> str:
    count = sum(len(step.names) for step in plan if isinstance(step, DestroySnapshots))
    return f"expired {count} snapshot{'' if count == 1 else 's'}" if count else "nothing to expire"
