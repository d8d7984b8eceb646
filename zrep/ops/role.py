"""Moving the master role: failover and takeover drive one protocol, from either end; takeover -L goes alone.

The order of the steps is the protocol (see core/plan.py for the reason beside each): up to the commit any failure
undoes everything; after it the old master stays read-only until its peer can be asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zrep.core.errors import BusyError, FailedError, RefusedError, UnreachableError, ZrepError
from zrep.core.plan import (
    new_snapshot,
    next_epoch,
    plan_abort,
    plan_advance,
    plan_commit,
    plan_converge,
    plan_demote,
    plan_fence,
    plan_final_snapshot,
    plan_open,
    plan_quiesce,
    plan_restore,
    plan_stream,
    refuse_modified,
    role_properties,
    role_values,
    take_role,
)
from zrep.core.state import Intent, Member, Pair, Role, Side, Snapshot, Unit, Value, newest_common
from zrep.core.steps import (
    DiscardPartial,
    RemountReadOnly,
    SetProperties,
    Step,
    TakeRole,
    Unmount,
)
from zrep.ops import hooks, sync
from zrep.ops.session import Outcome, Session, View
from zrep.system import zfs
from zrep.system.execute import Executor, Line
from zrep.system.observe import observe
from zrep.system.process import Completed

# The read-only window opens when what is left to send is at most this, or after as many rounds.
_SMALL_DELTA = 16 * 1024 * 1024
_PRESYNC_ROUNDS = 4
# A remount read-only fails while any file is open for writing. A program that opens, writes and closes all the time is
# caught between two writes by trying often; one that keeps a file open or mapped is still there after this.
_BUSY_TRIES = 40
_BUSY_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class RoleChange:
    """How a person wants a role change done. insist: unmount by force what keeps the master busy."""

    insist: bool = False


def failover(session: Session, name: str, change: RoleChange) -> Outcome:
    """Planned, run on the master: the peer becomes master."""
    link = session.link(name)
    if not link.is_master:
        raise RefusedError(
            "it is the replica here",
            filesystem=name,
            evidence=f"epoch {link.role.epoch}, master is {link.peer_host}",
            advice=f"to make this side the master: zrep takeover {name}",
        )
    return _move(session, name, change, become_master=False)


def takeover(session: Session, name: str, change: RoleChange) -> Outcome:
    """Planned, run on the replica: this side becomes master. On the master, what is left of an earlier role change
    is finished, if the peer can be asked."""
    link = session.link(name)
    already = Outcome(name, message="it is the master here already")
    if not link.is_master:
        return _move(session, name, change, become_master=True)
    try:
        done = _move(session, name, change, become_master=True)
    except UnreachableError:
        if link.role.intent:
            raise
        return Outcome(name, message=f"it is the master here; {link.peer_host} could not be asked")
    return done if link.role.intent else already


def _move(session: Session, name: str, change: RoleChange, *, become_master: bool) -> Outcome:
    """Exchange the roles, unless finishing or undoing what an earlier run left has brought about what is wanted:
    a takeover that is run again must not give the role away."""
    try:
        view = sync.prepare(session, session.open(name))
    except UnreachableError as error:
        if become_master:
            error.advice = f"if it is gone for good: zrep takeover -L '{name}'"
        raise
    if bool(view.mine.role.master) is become_master:
        if not session.options.dry_run:
            view.converge(plan_converge(view.pair, session.now))
        return Outcome(name, message=f"finished the role change: {_where(view)}")
    _preflight(session, view)
    if session.options.dry_run:
        return Outcome(name, lines=tuple(view.executor.lines(_whole_plan(session, view))))
    _ask_hooks(session, view)
    view = _presync(session, view)
    generation = session.new_identity()
    view = _quiesced(session, view, change, generation)
    view = _commit(session, view, generation)
    # The new master first: writes may resume while the old one is still being told.
    trouble = _try_open(session, view)
    view.do(plan_demote(view.pair, view.pair.replica.role))
    if trouble is not None:
        raise trouble
    view = session.turned(session.again(view))
    view.converge(plan_converge(view.pair, session.now))
    sync.remember_synced(session, [view])
    for side, event in ((Side.REPLICA, "after-demote"), (Side.MASTER, "after-promote")):
        unit = view.pair.side(side)
        hooks.tell(session, view.executor.agent(side), event, unit.name, unit.role)
    return Outcome(name, message=f"role moved: {_where(view)}")


def _ask_hooks(session: Session, view: View) -> None:
    """Each side's own programs may say no while nothing has been changed."""
    role = view.pair.master.role
    epoch = next_epoch(role, view.pair.replica.role)
    master, replica = view.pair.master.name, view.pair.replica.name
    hooks.ask(session, view.executor.master, "before-demote", master, (role.dest_host, role.dest_fs), epoch)
    hooks.ask(session, view.executor.replica, "before-promote", replica, (role.src_host, role.src_fs), epoch)


def _try_open(session: Session, view: View) -> ZrepError | None:
    """A new master that cannot be mounted is master all the same: the old one is told first, the person then."""
    try:
        sync.open_master(session, view, Side.REPLICA)
    except ZrepError as error:
        host = view.executor.replica.name
        return FailedError(
            f"{view.pair.replica.name} on {host} is master now, but could not be made available",
            filesystem=view.name,
            evidence=error.line(),
            advice=f"mend that, then on {host}: zrep sync '{view.pair.replica.name}'",
        )
    return None


def _where(view: View) -> str:
    role = view.mine.role
    return f"master is {role.src_host}:{role.src_fs}, epoch {role.epoch}"


def _preflight(session: Session, view: View) -> None:
    """Refuse now what would fail half way."""
    pair = view.pair
    base = newest_common(pair.master.root, pair.replica.root)
    if base is None:
        plan_advance(pair)
    else:
        refuse_modified(pair, base)
    replica_host = view.executor.replica.name
    for member in pair.replica.members:
        if member.key_missing:
            raise RefusedError(
                f"the key of {member.name} is not loaded on {replica_host}",
                filesystem=view.name,
                advice=f"on {replica_host}: zfs load-key '{member.name}'",
            )
    _check_mountpoints(view)


def _check_mountpoints(view: View) -> None:
    """RefusedError when another mounted filesystem sits where the new master would be mounted."""
    wanted = {m.get("mountpoint"): m.name for m in view.pair.replica.members if m.get("mountpoint").startswith("/")}
    if not wanted:
        return
    [done] = view.executor.replica.run([("zfs", "list", "-H", "-t", "filesystem", "-o", "name,mounted,mountpoint")])
    if done.status != 0:
        raise zfs.error(done)
    for line in done.out.splitlines():
        name, mounted, mountpoint = line.split("\t")
        if mounted == "yes" and mountpoint in wanted and name != wanted[mountpoint]:
            raise RefusedError(
                f"{name} is mounted on {mountpoint}, where {wanted[mountpoint]} belongs",
                filesystem=view.name,
                evidence=f"on {view.executor.replica.name}",
                advice=f"unmount it, or: zfs set mountpoint=… '{wanted[mountpoint]}' there",
            )


def _presync(session: Session, view: View) -> View:
    """Send while the master still takes writes, until what is left is small."""
    for _ in range(_PRESYNC_ROUNDS):
        advance = plan_advance(view.pair)
        if advance.pending is None and advance.written <= _SMALL_DELTA:
            break
        view, _ = sync.sync_view(session, view)
        view = session.again(view, settle=True)
    return view


def _quiesced(session: Session, view: View, change: RoleChange, generation: str) -> View:
    """Master read-only, its final snapshot on the replica, nothing written after it. Any failure undoes all of it."""
    try:
        for step in plan_quiesce(view.pair, generation):
            _quiesce_step(session, view, step, change)
        view.do(plan_final_snapshot(view.pair))
        view, final = sync.send_pending(session, session.again(view, Side.MASTER), final=True)
        _check_final(view, final)
    except (ZrepError, KeyboardInterrupt) as error:
        _undo(session, view, error)
        raise
    return view


def _undo(session: Session, view: View, error: BaseException) -> None:
    """Before the commit: back to how it was. With the peer lost, this host's half alone: as long as the commit is
    not written down, no promotion was ever asked for, so there is none to cancel."""
    try:
        view = session.again(view)
        begun = view.pair.master.role.intent
        if begun is not None:
            view.do(plan_abort(view.pair, begun))
    except UnreachableError as lost:
        if view.link.is_master:
            view = session.again(view, Side.MASTER)
            begun = view.pair.master.role.intent
            if begun is not None:
                view.do(plan_restore(view.pair, begun))
        elif isinstance(error, ZrepError):
            error.advice = f"on {view.link.peer_host}: zrep sync '{view.theirs.name}' makes it writable again"
        if isinstance(error, ZrepError) and not isinstance(error, UnreachableError):
            raise lost.about(view.name) from error


def _quiesce_step(session: Session, view: View, step: Step, change: RoleChange) -> None:
    error = view.executor.try_do(step)
    for _ in range(_BUSY_TRIES if isinstance(step, RemountReadOnly) else 0):
        if not isinstance(error, zfs.OccupiedError):
            break
        session.sleep(_BUSY_PAUSE)
        error = view.executor.try_do(step)
    if error is None:
        return
    if not isinstance(step, RemountReadOnly) or isinstance(error, UnreachableError):
        raise error
    occupants = view.executor.master.occupants(step.mountpoint)
    if change.insist:
        session.say(f"{view.name}: forcing out {', '.join(occupants) or 'whoever uses it'}")
        stays = view.executor.try_do(Unmount(Side.MASTER, step.dataset, force=True))
        if stays is not None and not isinstance(stays, zfs.OccupiedError):
            raise stays
        # Linux unmounts nothing with open files, by force or not. The readonly=on that comes next stops every write
        # through them; what gets past it, through a mapping, is found by the check after the final snapshot.
        return
    raise RefusedError(
        f"{step.dataset} is being written on {view.executor.master.name}; nothing was changed",
        filesystem=view.name,
        evidence=", ".join(occupants) or error.evidence,
        advice="stop the writer and run this again, or insist with --force-unmount",
    )


def _check_final(view: View, final: Snapshot) -> None:
    """The whole promise of a planned role change: the target has the final snapshot, nothing came after it."""
    here = view.pair.master.root.by_guid(final.guid)
    there = view.pair.replica.root.by_guid(final.guid)
    if here is None or there is None:
        raise FailedError("the final snapshot is not on both sides", filesystem=view.name)
    written = view.pair.master.root.written_since(here)
    if written:
        raise FailedError(
            "the master was written to after the final snapshot",
            filesystem=view.name,
            evidence=f"{written} bytes although read-only; a mapped file, or someone set readonly off",
            advice="stop the writer and run this again",
        )


def _commit(session: Session, view: View, generation: str) -> View:
    """From the commit mark on only the peer's word ends it: done, or surely not done."""
    intent = view.pair.master.role.intent
    if intent is None or intent.identity != generation:
        raise FailedError("the record of this role change is gone", filesystem=view.name)
    mark, take = plan_commit(view.pair, intent)
    assert isinstance(take, TakeRole)
    view.do([mark])
    said = ""
    try:
        done = _ask_to_take(view, take)
        if done.status == 0:
            return _promoted(view, take)
        said = done.err.strip()
        view = session.again(view)
    except RefusedError:
        # The guard on the other side said no before it changed anything.
        view.do(plan_abort(view.pair, intent))
        raise
    except UnreachableError as error:
        error.about(view.name).advice = (
            f"run this again, or let cron's sync do it: {view.pair.master.name} stays read-only until "
            f"{view.executor.replica.name} says whether it took the role"
        )
        raise
    if view.pair.replica.role.gen == generation and view.pair.replica.role.master:
        return view
    # A set that failed can have landed in part: what was read back decides, not its exit status.
    view.do(plan_abort(view.pair, intent))
    raise FailedError("the replica could not take the role", filesystem=view.name, evidence=said)


def _ask_to_take(view: View, take: TakeRole) -> Completed:
    """The commit step as the one guarded request it is."""
    agent = view.executor.agent(take.side)
    argv = zfs.argv(take)
    try:
        return agent.take_role(view.tag, take.dataset, take.expected, take.identity, argv)
    except FailedError as error:
        return Completed(argv, 1, "", error.line())


def _promoted(view: View, take: TakeRole) -> View:
    """The view after a role was taken: a set that succeeded is whole."""
    member = view.pair.replica.root
    properties = {**member.properties, **{name: Value(value, "local") for name, value in take.properties}}
    unit = Unit((zfs.build_member(view.tag, member.name, properties, member.snapshots),))
    return view.with_replica(unit)


def _whole_plan(session: Session, view: View) -> list[Step]:
    """Everything a role change will do, as far as it can be known before it is done."""
    pair = view.pair
    generation = "0" * 16
    detail = {m.name: f"{m.get('readonly')} local" for m in pair.master.members}
    intent = Intent("failover", generation, "prepare", next_epoch(pair.master.role, pair.replica.role), detail)
    base = newest_common(pair.master.root, pair.replica.root)
    final = Snapshot(new_snapshot(pair).partition("@")[2], "", 0)
    plan: list[Step] = [*plan_quiesce(pair, generation), *plan_final_snapshot(pair)]
    if base is not None:
        plan += plan_stream(pair, base, final, {}, "")
    plan += plan_commit(pair, intent)
    plan += plan_open(Side.REPLICA, pair.replica, session.tag)
    plan += plan_demote(pair, Role(gen=generation, epoch=intent.epoch, parents=pair.replica.role.lineage))
    return plan


# --- takeover -L -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loss:
    """What a forced takeover gives up: everything the old master wrote after this snapshot. age in seconds."""

    snapshot: str
    age: int
    partial: bool

    def text(self) -> str:
        half = "; a half received stream is discarded" if self.partial else ""
        return f"what was written after @{self.snapshot}, received {self.age} s ago, is lost to this side{half}"


def forced_takeover(session: Session, name: str, agree: Callable[[str], bool]) -> Outcome:
    """The master is gone: promote this side alone. agree: told of the loss, says whether the person wants it.

    Nothing is touched before the person has agreed, an orphan receive of ours included.
    """
    link = session.link(name)
    if link.is_master and not link.role.intent:
        return Outcome(name, message="it is the master here already")
    executor = session.alone()
    member = observe(session.local, session.tag, [name], settle=not session.options.dry_run)[name]
    if member.role.master:
        return _insist(session, executor, member, agree)
    if member.key_missing:
        raise RefusedError("its key is not loaded", filesystem=name, advice=f"zfs load-key '{name}'")
    loss = _loss(session, member)
    generation = session.new_identity()
    if session.options.dry_run:
        plan = _forced_plan(session, member, generation)
        lines = tuple(Line(session.local.name, zfs.argv(step)) for step in plan)
        return Outcome(name, message=loss.text(), lines=lines)
    _need_yes(name, loss.text(), agree)
    session.local.end_receive(name)
    if session.local.lock([name], 20.0):
        raise BusyError("busy", filesystem=name, evidence="another zrep or a stream is still at work on it")
    member = observe(session.local, session.tag, [name], settle=True)[name]
    if member.role.links != link.role.links or member.role.master:
        raise BusyError("its role changed meanwhile", filesystem=name)
    peer = (member.role.src_host, member.role.src_fs)
    hooks.ask(session, session.local, "before-promote", name, peer, next_epoch(member.role))
    *before, take = _forced_plan(session, member, generation)
    assert isinstance(take, TakeRole)
    executor.do_all(before)
    done = session.local.take_role(session.tag, name, take.expected, take.identity, zfs.argv(take))
    member = observe(session.local, session.tag, [name])[name]
    if member.role.gen != generation or not member.role.master:
        raise FailedError("could not take the role", filesystem=name, evidence=done.err.strip())
    return _open_alone(session, executor, name, f"this side is master now, epoch {member.role.epoch}; {loss.text()}")


def _need_yes(name: str, what: str, agree: Callable[[str], bool]) -> None:
    if not agree(f"{name}: {what}"):
        raise RefusedError("this needs a yes", filesystem=name, evidence=what, advice="add --yes")


def _forced_plan(session: Session, member: Member, generation: str) -> tuple[Step, ...]:
    """Forget what is half received, fence, take the role: the last step is the TakeRole."""
    unit = Unit((member,))
    discard = (DiscardPartial(Side.REPLICA, member.name),) if member.token else ()
    take = take_role(Pair(session.tag, unit, unit), generation, next_epoch(member.role))
    return (*discard, *plan_fence(Side.REPLICA, member, session.tag), take)


def _insist(session: Session, executor: Executor, member: Member, agree: Callable[[str], bool]) -> Outcome:
    """A master with an intent: one that only has to be opened, or one whose peer never answers."""
    name = member.name
    stuck = member.role.intent is not None and member.role.intent.operation in ("failover", "stopped")
    if session.options.dry_run:
        return Outcome(name, message="would go on as master of a new generation" if stuck else "would be opened")
    if stuck:
        _need_yes(name, "its peer may be master; this side would go on as master of its own all the same", agree)
    if session.local.lock([name], 20.0):
        raise BusyError("busy", filesystem=name, evidence="another zrep is working on it")
    if not stuck:
        return _open_alone(session, executor, name, "finished becoming master")
    return _stuck_master(session, executor, name)


def _loss(session: Session, member: Member) -> Loss:
    if not member.snapshots:
        raise RefusedError("nothing was ever received here", filesystem=member.name)
    newest = member.snapshots[-1]
    return Loss(newest.name, max(0, session.now - (newest.sent or newest.creation)), bool(member.token))


def _open_alone(session: Session, executor: Executor, name: str, message: str) -> Outcome:
    member = observe(session.local, session.tag, [name])[name]
    executor.do_all(plan_open(Side.REPLICA, Unit((member,)), session.tag))
    hooks.tell(session, session.local, "after-promote", name, member.role)
    return Outcome(name, message=message)


def _stuck_master(session: Session, executor: Executor, name: str) -> Outcome:
    """A master whose peer will never say whether it took the role: a person insists that this side goes on, as a
    new generation, so that a peer that did take it is recognised as the other half of a split brain."""
    member = observe(session.local, session.tag, [name])[name]
    role = member.role
    generation = session.new_identity()
    values = role_values(role, master=True, swap=False, epoch=next_epoch(role), gen=generation, parents=role.lineage)
    properties = role_properties(session.tag, "promote", generation, values)
    executor.do(SetProperties(Side.MASTER, (name,), properties))
    return _open_alone(session, executor, name, "this side goes on as master of a new generation")
