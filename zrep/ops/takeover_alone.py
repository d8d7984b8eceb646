"""takeover -L: promotion without the other side, after a disaster, or by a person's decision.

Nothing is touched before the person has agreed to the loss and the fence command, where there is one, has said that
the peer is fenced.
"""

from __future__ import annotations

from collections.abc import Callable
from shlex import quote

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.dataset import Member
from zrep.core.diagnosis import diagnose_alone, misplaced
from zrep.core.errors import BusyError, FailedError, RefusedError, ZrepError
from zrep.core.names import sequence_of
from zrep.core.neighbours import some_names
from zrep.core.pair import End, Tree
from zrep.core.pair_state import State
from zrep.core.plan_role import plan_forget_partial, plan_go_on_alone, plan_hold_unsent, plan_open, plan_take_alone
from zrep.core.quantities import duration, size
from zrep.core.requests import EndReceive, Lock
from zrep.core.role import next_epoch
from zrep.core.sets import Behind, beyond_set, plan_back_to_set
from zrep.core.steps import TakeRole
from zrep.host.programs import ending
from zrep.ops import hooks
from zrep.ops.ask_first import check_gone, check_silent
from zrep.ops.children import keep
from zrep.ops.execute import Executor
from zrep.ops.failures import attempt
from zrep.ops.finding import find_link
from zrep.ops.locking import busy, role_changed
from zrep.ops.memory import Memory, left_behind, recall
from zrep.ops.outcome import Outcome
from zrep.ops.preflight import cannot_mount, preflight_alone, unusable_keys
from zrep.ops.read import observe, observe_tree, read_token
from zrep.ops.repair import open_again
from zrep.ops.session import Session
from zrep.ops.tags import check_taking
from zrep.ops.view import Link
from zrep.zfs import errors as zfs_errors

# A limit that leaves less than this counts as used up, where a word could not be written.
_ROOM = 1024 * 1024
# Seconds for which what has the lock is waited for: the receive that is being ended, or another zrep.
_LOCK_SECONDS = 20.0
# What a fence command says by its exit status. Any other means: not fenced.
_FENCED = 0
_ALIVE = 1
_UNKNOWN = 2


class Loss(Struct, frozen=True):
    """What a forced takeover gives up: everything the old master wrote after this snapshot. age: seconds since it
    came; told: what the old master last said of itself, "" when it said nothing; partial: bytes of a stream that is
    half received, None for none; left: what was below the old master and not replicated; behind: members of a tree that
    have more than its newest complete set, and lose it."""

    snapshot: str
    age: int
    told: str = ""
    partial: int | None = None
    left: tuple[str, ...] = ()
    behind: tuple[Behind, ...] = ()

    def text(self) -> str:
        of_tree = "".join(f"; {behind.text}" for behind in self.behind)
        half = "" if self.partial is None else f"; a half received stream ({size(self.partial)}) is discarded"
        told = f"; {self.told}" if self.told else ""
        left = f"; not replicated with its master, so not here: {some_names(self.left)}" if self.left else ""
        when = f"received {duration(self.age)} ago"
        return f"what was written after @{self.snapshot}, {when}, is lost to this side{told}{half}{of_tree}{left}"


def forced_takeover(
    session: Session, name: str, agree: Callable[[str], bool], *, insist: bool = False, newest: bool = False
) -> Outcome:
    """The master is gone: promote this side alone. agree: told of the loss, says whether the person wants it; insist:
    although the other side answers; newest: each member of a tree keeps the newest that it has, of whatever moment;
    else all go to the newest complete set.

    Nothing is touched before the person has agreed, an orphan receive of ours included.
    """
    link = find_link(session, name)
    return attempt(session, "takeover", name, lambda: _promote(session, link, agree, insist=insist, newest=newest))


def _promote(session: Session, link: Link, agree: Callable[[str], bool], *, insist: bool, newest: bool) -> Outcome:
    name = link.name
    if link.is_master and not link.role.intent:
        return Outcome(name, message="it is the master here already")
    executor = session.alone()
    tree = _read(session, link, sync_txg=True)
    if moved := misplaced(tree.members[0]):
        raise moved.error(name)
    if tree.role.master:
        return _insist(session, executor, tree.members[0], agree, insist)
    for member, unusable in unusable_keys(session.local, tree.members).items():
        raise unusable.about(member)
    check_taking(session, tree)
    _refuse_mount(session, tree)
    loss = _loss(session, tree, newest=newest)
    generation = session.new_identity()
    if not insist:
        check_gone(session, tree.members[0], loss.text())
    _need_yes(session, name, loss.text(), agree)
    _fence(session, link)
    ahead = _end_and_lock(session, tree)
    tree = _read(session, link, sync_txg=True)
    if tree.role.links != link.role.links or tree.role.master:
        raise role_changed(name)
    check_taking(session, tree)
    peer = (tree.role.src_host, tree.role.src_fs)
    epoch = next_epoch(tree.role)
    try:
        hooks.ask(session, session.local, "before-promote", name, peer, epoch)
        keep(session, executor, End.TARGET, tree, "off")
        tree = _at_one_moment(session, executor, link, tree, loss)
        tree = _take_role(session, executor, link, tree, generation)
    except (ZrepError, KeyboardInterrupt):
        # Where it took the role all the same, whoever finishes it tells after-promote.
        hooks.take_one_back(session, session.local, "not-promoted", name, peer, epoch)
        raise
    # A mount that would not come about is no reason not to promote, and worth knowing before.
    notes = (*ahead, *preflight_alone(session, tree)) if session.options.dry_run else ()
    done = _open_alone(session, executor, link, f"this side is master now, epoch {tree.role.epoch}; {loss.text()}")
    return replace(done, notes=notes)


def _end_and_lock(session: Session, tree: Tree) -> tuple[str, ...]:
    """End what is still being received into a tree, and lock it. Of a dry run, which ends nothing, what the run itself
    would come upon. BusyError where somebody else is at work on it."""
    for member in tree.members:
        session.local.ask(EndReceive(member.name))
    dry = session.options.dry_run
    taken = session.local.ask(
        Lock(tuple(member.name for member in tree.members), 0 if dry else _LOCK_SECONDS, session.tag)
    )
    if taken and not dry:
        raise busy(tree.name)
    what = f"a receive is ended by the run itself, another zrep is waited for up to {_LOCK_SECONDS:.0f} s"
    return (f"somebody is at work on {some_names(taken)} now: {what}",) if taken else ()


def _read(session: Session, link: Link, *, sync_txg: bool = False) -> Tree:
    return observe_tree(session.local, session.tag, link.name, recursive=link.role.recursive, sync_txg=sync_txg)


def _refuse_mount(session: Session, tree: Tree) -> None:
    """RefusedError for who would take the role, and could not mount what he then is the master of."""
    plan = plan_open(End.TARGET, tree, session.tag)
    if error := cannot_mount(session.local, plan, f"sudo zrep takeover -L {quote(tree.name)}"):
        raise error.about(tree.name)


def _at_one_moment(session: Session, executor: Executor, link: Link, tree: Tree, loss: Loss) -> Tree:
    """Forget what is half received, and take every member back to what was agreed to, and no further: the tree as it is
    then."""
    plan = list(plan_forget_partial(End.TARGET, tree))
    agreed = {behind.member.name: behind for behind in loss.behind}
    for behind in beyond_set(tree, session.tag) if agreed else ():
        known = agreed.get(behind.member.name)
        if known is None or known.later != behind.later:
            raise BusyError("a stream arrived meanwhile", filesystem=behind.member.name)
        plan += plan_back_to_set(End.TARGET, session.tag, behind, session.now)
    if not plan:
        return tree
    executor.do_all(plan)
    return _read(session, link)


def _take_role(session: Session, executor: Executor, link: Link, tree: Tree, generation: str) -> Tree:
    """Fence it and make it master; how it is then."""
    *before, take = plan_take_alone(tree, session.tag, generation)
    assert isinstance(take, TakeRole)
    try:
        executor.do_all(before)
    except zfs_errors.NoSpaceError as error:
        error.advice = _lifting(tree) or error.advice
        raise
    said = executor.take_role(take)
    found = _read(session, link)
    if found.role.gen != generation or not found.role.master:
        raise FailedError("could not take the role", filesystem=tree.name, evidence=said)
    return found


def _lifting(tree: Tree) -> str:
    """The commands that take away the limits that are used up, as a full quota came with what was received: a word has
    to be written to each member, so that no stream is let in any more; "" where it is not a limit of its own."""
    lines = [
        f"zfs set {limit}=none {quote(member.name)}"
        for member in tree.members
        for limit, used in (("quota", "used"), ("refquota", "referenced"))
        if member.number(limit) and member.number(limit) - member.number(used) < _ROOM
    ]
    return f"its limit is used up, and a word has to be written: {'; '.join(lines)}; then this again" if lines else ""


def _need_yes(session: Session, name: str, what: str, agree: Callable[[str], bool]) -> None:
    if not session.options.dry_run and not agree(f"{name}: {what}"):
        raise RefusedError("this needs a yes", filesystem=name, evidence=what, advice="add --yes")


def _insist(
    session: Session, executor: Executor, member: Member, agree: Callable[[str], bool], insist: bool
) -> Outcome:
    """A master with an intent: one that only has to be opened, or one whose peer never answers."""
    name = member.name
    diagnosis = diagnose_alone(name, member.role)
    if diagnosis.state is State.INIT_UNFINISHED:
        raise diagnosis.error(name)
    stuck = member.role.intent is not None and member.role.intent.operation in ("failover", "stopped")
    if stuck:
        if not insist:
            check_silent(session, member)
        _need_yes(
            session, name, "its peer may be master; this side would go on as master of its own all the same", agree
        )
        _fence(session, Link(session.tag, name, member.role))
    if session.local.ask(Lock((name,), 20.0, session.tag)):
        raise busy(name)
    found = observe(session.local, session.tag, [name]).get(name)
    if found is None or found.role != member.role:
        # What had it locked was the role change itself, which has ended meanwhile.
        raise role_changed(name)
    tree = _read(session, Link(session.tag, name, found.role))
    check_taking(session, tree)
    _refuse_mount(session, tree)
    if not stuck:
        open_again(session, executor, End.TARGET, tree)
        hooks.tell(session, session.local, "after-promote", name, found.role)
        return Outcome(name, message="finished becoming master")
    return _stuck_master(session, executor, tree)


def _fence(session: Session, link: Link) -> None:
    """Let the administrator's command make sure that the peer writes no more. It runs after the yes and before
    anything is changed; everything is read anew after it."""
    if not session.options.fence:
        return
    peer = (link.peer_host, link.peer_name)
    about = hooks.about(session, link.name, peer, next_epoch(link.role))
    status, said = session.local.fence(session.options.fence, about)
    evidence = ending(status, said)
    if status == _FENCED:
        session.say(f"{link.name}: {link.peer_host} is fenced")
        return
    if status == _ALIVE:
        raise RefusedError(
            f"{link.peer_host} is alive and was not fenced; nothing was changed",
            filesystem=link.name,
            evidence=evidence,
            advice=f"zrep takeover '{link.name}'",
        )
    if status == _UNKNOWN:
        raise RefusedError(
            f"the fence command could not tell whether {link.peer_host} is down; nothing was changed",
            filesystem=link.name,
            evidence=evidence,
            advice="make sure that it is, then run this again without the fence command",
        )
    raise FailedError(
        f"the fence command failed, so {link.peer_host} counts as not fenced; nothing was changed",
        filesystem=link.name,
        evidence=evidence,
        advice="mend the command and run this again",
    )


def _loss(session: Session, tree: Tree, *, newest: bool) -> Loss:
    """What is given up; RefusedError where somebody's snapshots stand in the way of a set."""
    behind = () if newest else beyond_set(tree, session.tag)
    for each in behind:
        if each.foreign:
            raise RefusedError(
                "it has snapshots after the newest complete set that zrep did not make",
                filesystem=each.member.name,
                evidence=", ".join(f"@{name}" for name in each.foreign),
                advice="remove them yourself, or keep for each member what it has: --newest",
            )
    member = tree.members[0]
    if not member.snapshots:
        raise RefusedError("nothing was ever received here", filesystem=member.name)
    # Somebody else's snapshot here was not received, nor was the one by which an earlier attempt has fenced this side.
    alike = [s for s in member.snapshots if sequence_of(session.tag, s.name) is not None]
    last = (member.received(session.tag) or alike or member.snapshots)[-1]
    age = max(0, session.now - (last.sent or last.creation))
    to = last.name if newest or not tree.role.complete else tree.role.complete
    record = recall(session, member.name)[member.name]
    told, partial = _last_told(session, record), _partial(session, tree)
    return Loss(to, age, told, partial, left_behind(record), behind)


def _last_told(session: Session, record: Memory) -> str:
    """What the old master last said: that there was nothing more, or how much it was about to send."""
    synced, told, unsent = (record.get(name) for name in ("synced", "told", "unsent"))
    if isinstance(told, int) and isinstance(unsent, int):
        return f"its master had {size(unsent)} more {duration(max(0, session.now - told))} ago"
    if isinstance(synced, int):
        return f"its master had nothing more {duration(max(0, session.now - synced))} ago"
    return ""


def _partial(session: Session, tree: Tree) -> int | None:
    """Bytes of the streams that resume tokens stand for; their text is told although the source is not here."""
    tokens = [member.token for member in tree.members if member.token]
    return sum(read_token(session.local, token).received for token in tokens) if tokens else None


def _open_alone(session: Session, executor: Executor, link: Link, message: str) -> Outcome:
    tree = _read(session, link)
    executor.do_all(plan_open(End.TARGET, tree, session.tag))
    hooks.tell(session, session.local, "after-promote", link.name, tree.role)
    return Outcome(link.name, message=message, important=True)


def _stuck_master(session: Session, executor: Executor, tree: Tree) -> Outcome:
    """A master whose peer will never say whether it took the role: a person insists that this side goes on, as a
    new generation, so that a peer that did take it is recognised as the other half of a split brain."""
    member = tree.members[0]
    executor.do_all(plan_hold_unsent(End.TARGET, tree, session.tag))
    executor.do(plan_go_on_alone(member, session.tag, session.new_identity()))
    link = Link(session.tag, member.name, member.role)
    return _open_alone(session, executor, link, "this side goes on as master of a new generation")
