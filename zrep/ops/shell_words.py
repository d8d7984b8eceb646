"""What scripts for the shell zrep ask for: a snapshot without a stream, what was sent last, whether anything was
written since."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from zrep.core.dataset import Member, Snapshot
from zrep.core.errors import FailedError, RefusedError, ZrepError
from zrep.core.pair import End, next_snapshots
from zrep.core.quantities import size
from zrep.core.requests import Moment, TakeSnapshots
from zrep.core.steps import Hold
from zrep.core.tags import replica_under
from zrep.ops.finding import all_here, find_link, roles_here
from zrep.ops.hooks import about
from zrep.ops.one_side import lock_here
from zrep.ops.outcome import Outcome, each
from zrep.ops.read import observe, observe_tree
from zrep.ops.session import Session
from zrep.ops.tags import other_roles
from zrep.zfs.errors import as_error


def snap_only(session: Session, names: Sequence[str]) -> list[Outcome]:
    """A snapshot of masters, held, that the next sync sends; the peer is not asked. No names: of every master here that
    passes on nothing."""
    if names:
        return each(names, lambda name: _snap_only(session, name))
    roles, lost = all_here(session)
    masters = [name for name, role in roles.items() if role.master]
    relays = {name for name in masters if replica_under(other_roles(session.local, session.tag, name))}
    return lost + each([name for name in masters if name not in relays], lambda name: _snap_only(session, name))


def _snap_only(session: Session, name: str) -> Outcome:
    role = find_link(session, name).role
    if not role.master or role.intent is not None or replica_under(other_roles(session.local, session.tag, name)):
        raise RefusedError(
            "only a master gets snapshots of its own",
            filesystem=name,
            evidence="a role change is unfinished" if role.intent else "it is a replica here",
            advice=f"zrep sync {quote(name)}",
        )
    lock_here(session, name, role)
    tree = observe_tree(session.local, session.tag, name, recursive=role.recursive, sync_txg=True)
    snapshots = next_snapshots(session.tag, *tree.members)
    facts = about(session, name, (role.dest_host, role.dest_fs), role.epoch or 0)
    executor = session.alone()
    taken = executor.take_snapshots(TakeSnapshots(session.tag, (Moment(name, snapshots, facts),)))
    error: ZrepError | None = as_error(taken.failed[name]) if name in taken.failed else None
    if name in taken.refused:
        error = FailedError("a before-snapshot hook failed; no snapshot was made", evidence=taken.refused[name])
    if error is not None:
        raise error.about(name)
    for line in taken.after.get(name, ()):
        session.warn(f"{name}: an after-snapshot hook failed ({line})")
    executor.do(Hold(End.SOURCE, session.tag, snapshots))
    return Outcome(name, message=f"made {', '.join(snapshots)}, which the next sync sends")


def last_sent(session: Session, names: Sequence[str]) -> list[str]:
    """The newest snapshot of each (of all here when no names are given) that is known to be on both sides, in full."""
    found = []
    for name in names or roles_here(session):
        snapshot = _last(session, name)[1]
        found.append(f"{name}@{snapshot.name}")
    return found


def up_to_date(session: Session, names: Sequence[str]) -> list[Outcome]:
    """Whether anything was written since to each, or to all here when no names are given: FailedError where it was."""
    return each(names or list(roles_here(session)), lambda name: _up_to_date(session, name))


def _up_to_date(session: Session, name: str) -> Outcome:
    member, snapshot = _last(session, name)
    written = member.written_since(snapshot)
    if written:
        raise FailedError(
            "it is not up to date", filesystem=name, evidence=f"{size(written)} were written since @{snapshot.name}"
        )
    return Outcome(name, message=f"nothing was written since @{snapshot.name}")


def _last(session: Session, name: str) -> tuple[Member, Snapshot]:
    find_link(session, name)
    member = observe(session.local, session.tag, [name], sync_txg=True)[name]
    if not member.marked:
        raise FailedError("nothing of it is known to be on both sides", filesystem=name)
    return member, member.marked[-1]
