"""rejoin: an old master that returned becomes the replica, without a full resend and without losing its tail.

What it wrote alone after the base stays readable in a split copy (core/plan_rejoin.py has the steps). A run that is cut
anywhere is finished by running it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote

from msgspec.structs import replace

from zrep.core.dataset import Member, Snapshot, Value
from zrep.core.diagnosis import Action, State
from zrep.core.errors import BusyError, FailedError, RefusedError, ZrepError
from zrep.core.names import fits, split_snapshot
from zrep.core.pair import End, newest_common
from zrep.core.plan_rejoin import (
    Split,
    find_split,
    has_landed,
    is_prepared,
    new_split,
    plan_become_replica,
    plan_clone,
    plan_finish,
    plan_forget,
    plan_limits,
    plan_promote,
    plan_seal,
    plan_set_aside,
    plan_settings,
    plan_take_place,
    received,
)
from zrep.core.plan_role import by_mountpoint, own_readonly
from zrep.core.quantities import size
from zrep.core.relation import Linked
from zrep.core.requests import DIFFERENCES_KEPT, IsInUse, IsUnmodified, Lock, ReadDifferences, ReadUsers, Unlock
from zrep.core.role import Role, intent_property
from zrep.core.steps import Allow, DestroyClone, Mount, SetProperties, Unmount
from zrep.ops import hooks
from zrep.ops.advance import converge_all
from zrep.ops.children import refused_rejoin
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import Link, Session, View
from zrep.ops.preflight import covered
from zrep.ops.read import find_role, find_roles, observe, observe_children, read_all_properties, read_delegations
from zrep.ops.repair import finish
from zrep.ops.tags import check_following
from zrep.zfs import commands
from zrep.zfs.errors import NoSpaceError

# So many of the differences are shown one by one.
_SHOWN = 20


def rejoin(session: Session, name: str) -> Outcome:
    """Become the replica of the side that is master now."""
    unfinished = find_split(session.tag, name, find_roles(session.local, session.tag).items())
    if unfinished is not None:
        role = find_role(session.local, session.tag, name)
        if not has_landed(role):
            return _resume(session, unfinished)
        _tidy(session, unfinished)
        if role is not None and role.master:
            return Outcome(name, message=f"{_kept(unfinished)}; it has become master since, nothing is left to do")
    view = session.open(name)
    if view.diagnosis.state.action is Action.REPAIR and not isinstance(view.relation, Linked):
        finish(session, view)
        return Outcome(name, message="finished the role change: the pair is linked")
    if not _may_rejoin(session, view):
        if unfinished is not None:
            return _linked_again(session, name, _kept(unfinished))
        return Outcome(name, message="nothing to rejoin: the pair is linked")
    check_following(session, name)
    base = newest_common(_own(view), view.theirs.members[0])
    if base is None:
        raise RefusedError(
            "the two sides have no common snapshot, so it cannot become a replica without starting over",
            filesystem=name,
            advice=f"zrep clear -L {quote(name)}; then init from the master to a new target",
        )
    _refuse_early(session, view, base)
    peer = (view.link.peer_host, view.link.peer_name)
    epoch = view.theirs.role.epoch or 0
    try:
        hooks.ask(session, session.local, "before-demote", name, peer, epoch)
        view, split, listed = _ready(session, view, base)
    except (ZrepError, KeyboardInterrupt):
        hooks.take_one_back(session, session.local, "not-demoted", name, peer, epoch)
        raise
    if split is None:
        session.alone().do_all(plan_become_replica(session.tag, view.mine, view.theirs.role))
        return _linked_again(session, name, f"rejoined at @{base.name}; nothing had been written since")
    session.say(f"{name}: {size(split.written)} were written here after @{base.name} and stay in {split.copy}")
    for line in listed:
        session.say(f"{name}: {line}")
    session.alone().do_all(plan_set_aside(split, _own(view)))
    return _carry_on(session, split, view.theirs.role)


def _refuse_early(session: Session, view: View, base: Snapshot) -> None:
    """What is known already of what would refuse it later, before anything is changed and anybody told. That nothing
    was written alone may be seen only once the intent log is replayed."""
    member = _own(view)
    for refusal in (*covered(session.local, view.mine.members), *refused_rejoin(session.local, view.tag, view.mine)):
        raise refusal.about(view.name)
    if not member.volume and (elsewhere := session.local.ask(ReadUsers(member.name)).elsewhere):
        raise _in_use(member, f"mounted in another mount namespace: {', '.join(elsewhere)}")
    own = member.by_guid(base.guid)
    unreadable = member.may_have_log and not _can_be_mounted(member)
    if unreadable or (own is not None and any(snapshot.written for snapshot in member.after(own))):
        _refuse_split(session, member, base, read_all_properties(session.local, member.name))


def _ready(session: Session, view: View, base: Snapshot) -> tuple[View, Split | None, list[str]]:
    """All up to the first step that gives the role up: the pair as it is then, the split that keeps what was written
    here alone (None: nothing was), and what that is, for a person. Every refusal comes here or before."""
    view = _raise_epoch(session, view)
    if view.link.role.recursive:
        return _ready_tree(session, view), None, []
    readable = _replay_intent_log(session, view)
    listed = _differences(session, _own(view), base) if readable else []
    # Read-only or not, a process that has mapped a file writable goes on storing into it, and what it stores after the
    # last look would be lost with the next stream.
    mounted = observe(session.local, session.tag, [view.name])[view.name]
    _unmount(session, mounted)
    try:
        view = session.again(view, sync_txg=True)
        written = _written_alone(session, _own(view), base)
        if readable and not written:
            _refuse_in_use(session, _own(view))
            return view, None, []
        member = _own(view)
        properties = read_all_properties(session.local, member.name)
        _refuse_split(session, member, base, properties)
        peer = (view.link.peer_host, view.link.peer_name)
        split = new_split(view.tag, member, view.theirs.role, base, written, peer, properties)
        _refuse_names(session, split, member)
        _prepare(session, split, member, base)
    except ZrepError:
        if mounted.mounted:
            session.alone().try_do(Mount(End.SOURCE, mounted.name))
        raise
    if found := received(view.tag, properties):
        listed.append(f"these properties were received, and will be its own, as if set by hand: {', '.join(found)}")
    return view, split, listed


def _own(view: View) -> Member:
    """The dataset that rejoins, of a tree its root."""
    return view.mine.members[0]


def _ready_tree(session: Session, view: View) -> View:
    """The same for a tree. RefusedError where a member was written to here alone, or what a crash left in its intent
    log cannot be told: what of it is to be kept, a person has to copy."""
    executor = session.alone()
    writable = tuple(member.name for member in own_readonly(view.mine) if not member.readonly)
    if writable:
        executor.do(SetProperties(End.SOURCE, writable, (("readonly", "on"),)))
    for member in by_mountpoint(view.mine):
        if not member.may_have_log:
            continue
        trouble: ZrepError | None = None
        if not member.key_missing and member.get("mountpoint").startswith("/"):
            trouble = executor.try_do(Mount(End.SOURCE, member.name))
            if trouble is None:
                continue
        raise RefusedError(
            "what a crash may have left in its intent log cannot be looked at",
            filesystem=member.name,
            evidence=trouble.line() if trouble else "its key is not loaded" if member.key_missing else "not mounted",
            advice=f"{member.load_key if member.key_missing else f'zfs mount {quote(member.name)}'}, "
            f"then zrep rejoin {quote(view.name)}",
        )
    for member in reversed(by_mountpoint(session.again(view, view.here).mine)):
        _unmount(session, member)
    view = session.again(view, sync_txg=True)
    guids = {snapshot.guid for member in view.theirs.members for snapshot in member.snapshots}
    written: list[tuple[Member, Snapshot, int]] = []
    for member in view.mine.members:
        base = next((snapshot for snapshot in reversed(member.snapshots) if snapshot.guid in guids), None)
        alone = _written_alone(session, member, base) if base else 0
        if base and alone:
            written.append((member, base, alone))
    if written:
        member, base, _ = written[0]
        raise RefusedError(
            "members of this tree were written to here alone, and a tree has no split copy yet",
            filesystem=view.name,
            evidence=", ".join(f"{each.name} ({size(alone)} after @{at.name})" for each, at, alone in written),
            advice=f"copy what you want of each, then zfs rollback -r {quote(f'{member.name}@{base.name}')} and so on; "
            f"then zrep rejoin {quote(view.name)}",
        )
    return view


def _may_rejoin(session: Session, view: View) -> bool:
    """Whether there is anything to do; the refusal when this side is not the one to give up its role."""
    if isinstance(view.relation, Linked):
        return False
    found = view.diagnosis
    if found.state in (State.STALE, State.STALE_MASTER):
        return True
    if found.state is State.SPLIT_BRAIN and session.options.force and view.theirs.role.master:
        return True
    raise found.error(view.name)


def _raise_epoch(session: Session, view: View) -> View:
    """Epochs only rise: after a split brain the side that is kept may be behind the one that gives up."""
    mine, theirs = view.mine.role.epoch or 0, view.theirs.role.epoch or 0
    if mine <= theirs:
        return view
    properties = [(f"{view.tag}:epoch", str(mine))]
    intent = view.theirs.role.intent
    if intent and intent.role:  # the record of a role that is not finished is what counts
        record = replace(intent, role={**intent.role, "epoch": str(mine)})
        properties.insert(0, intent_property(view.tag, record))
    view.do([SetProperties(view.here.other, (view.theirs.name,), tuple(properties))])
    return session.again(view)


def _replay_intent_log(session: Session, view: View) -> bool:
    """Stop writes and mount, which replays the intent log: writes acknowledged just before a crash live only there,
    and a receive would discard them silently. False when the dataset cannot be mounted: then it is split."""
    member = _own(view)
    executor = session.alone()
    if not member.readonly:
        executor.do(SetProperties(End.SOURCE, (member.name,), (("readonly", "on"),)))
    if not member.may_have_log:
        return True
    if not _can_be_mounted(member):
        return False
    return executor.try_do(Mount(End.SOURCE, member.name)) is None


def _can_be_mounted(member: Member) -> bool:
    return not member.key_missing and member.get("mountpoint").startswith("/")


def _differences(session: Session, member: Member, base: Snapshot) -> list[str]:
    """What was written here alone, for a person: counts by kind, and the first of them. It can be told only while it
    is mounted; of a volume only how much."""
    if member.volume:
        return []
    found = session.local.ask(ReadDifferences(f"{member.name}@{base.name}", member.name))
    kinds = (("+", "added"), ("M", "modified"), ("-", "removed"), ("R", "renamed"))
    counts = [(sum(kind == letter for kind, _ in found), word) for letter, word in kinds]
    some = ", ".join(f"{count} {word}" for count, word in counts if count)
    if not found:
        return []
    more = " or more" if len(found) >= DIFFERENCES_KEPT else ""
    return [f"{some}{more}, among them:", *(f"  {letter} {path}" for letter, path in found[:_SHOWN])]


def _written_alone(session: Session, member: Member, base: Snapshot) -> int:
    """How many bytes were written after the base."""
    own = member.by_guid(base.guid)
    assert own is not None
    written = member.written_since(own)
    if written and not member.after(own) and session.local.ask(IsUnmodified(f"{member.name}@{own.name}", member.name)):
        return 0  # a crash, and the replay after it, count as written
    return written


def _unmount(session: Session, member: Member) -> None:
    """RefusedError when somebody uses it."""
    if not member.mounted:
        return
    point = member.get("mountpoint") if member.placed else None
    error = session.alone().try_do(Unmount(End.SOURCE, member.name, mountpoint=point))
    if isinstance(error, RefusedError):  # something else is mounted there: zfs would unmount that
        raise error.about(member.name)
    if error is not None:
        occupants = session.local.ask(ReadUsers(member.name)).users
        raise RefusedError(
            "it is in use",
            filesystem=member.name,
            evidence=", ".join(occupants) or error.evidence,
            advice=f"stop what uses {member.get('mountpoint')} and run this again",
        )


def _refuse_in_use(session: Session, member: Member) -> None:
    """That it is not mounted here says nothing of other mount namespaces, and a process there that has a file mapped
    would go on storing into it: the next stream would throw that away. RefusedError when the kernel says that somebody
    has it. A dry run has unmounted nothing."""
    if member.volume or session.options.dry_run:
        return
    if session.local.ask(IsInUse(f"{member.name}@{member.snapshots[-1].name}", member.name)):
        users = session.local.ask(ReadUsers(member.name))
        raise _in_use(member, "; ".join((*users.elsewhere, *users.users)) or "the kernel says that it is busy")


def _in_use(member: Member, evidence: str) -> RefusedError:
    return RefusedError(
        "it is in use, where an unmount here does not reach",
        filesystem=member.name,
        evidence=evidence,
        advice="stop what uses it there, a container perhaps, and run this again",
    )


def _linked_again(session: Session, name: str, message: str) -> Outcome:
    """Converge holds and marks over the new roles."""
    link = session.link(name)
    view = session.view(link)
    if not isinstance(view.relation, Linked):
        raise FailedError("the two sides are not linked", filesystem=name, evidence=view.relation.evidence())
    converge_all(session, view)
    hooks.tell(session, session.local, "after-demote", name, view.mine.role)
    return Outcome(name, message=f"{message}; {link.peer_host}'s next sync brings it up to date")


# --- the split ---


def _refuse_split(session: Session, member: Member, base: Snapshot, properties: Mapping[str, Value]) -> None:
    """What keeps a split copy from being made."""
    _refuse_pool_root(session, member, base)
    _refuse_other_pairs(session, member, properties)
    _refuse_children(session, member)


def _refuse_names(session: Session, split: Split, member: Member) -> None:
    """The copy, the clone and the snapshot that ends what is in the copy have names that ZFS takes and nobody has."""
    ending = f"{member.name}@{split_snapshot(split.tag, split.intent.epoch)}"
    if not (split.copy and split.clone and fits(ending)):
        raise RefusedError(
            "its name is so long that what was written here alone can be kept under no name beside it",
            filesystem=member.name,
            evidence=f"{len(member.name)} bytes",
            advice=f"zfs rename {quote(member.name)} to a shorter name, then zrep changeconfig with that on both hosts",
        )
    if split.copy in observe(session.local, split.tag, [split.copy]):
        raise RefusedError(
            "the name that its split copy would have is taken",
            filesystem=member.name,
            evidence=split.copy,
            advice=f"zfs rename {quote(split.copy)} to another name and run this again",
        )


def _prepare(session: Session, split: Split, member: Member, base: Snapshot) -> None:
    """Make the clone that will have the dataset's name, with all that is set and delegated on it: what ZFS does not
    take is known before anything else is changed. member: where the base is, the dataset or its copy."""
    executor = session.alone()
    there = observe(session.local, split.tag, [split.clone]).get(split.clone)
    if there is not None and not is_prepared(split, there):
        raise RefusedError(
            "the name of the clone that would take its place is taken",
            filesystem=member.name,
            evidence=split.clone,
            advice=f"zfs rename {quote(split.clone)} to another name and run this again",
        )
    if there is not None:  # of a run that was cut: what is set may have changed since
        executor.do(DestroyClone(End.TARGET, split.clone))
    own = read_all_properties(session.local, member.name)
    delegations = read_delegations(session.local, member.name)
    try:
        executor.do(plan_clone(split, member, base))
        for step in plan_settings(split, member, own):
            if error := executor.try_do(step):
                raise _not_given(member, step, error)
        executor.do_all(Allow(End.TARGET, split.clone, words) for words in delegations)
    except ZrepError:
        executor.try_do(DestroyClone(End.TARGET, split.clone))
        raise


def _not_given(member: Member, step: SetProperties, error: ZrepError) -> ZrepError:
    names = ", ".join(name for name, _ in step.properties)
    return RefusedError(
        f"the clone that would take its place cannot be given its {names}",
        filesystem=member.name,
        evidence=error.evidence or error.what,
        advice=f"zfs inherit {quote(step.properties[0][0])} {quote(member.name)}, or set what zfs takes; then run this "
        "again",
    )


def _refuse_pool_root(session: Session, member: Member, base: Snapshot) -> None:
    """ZFS renames no pool's root, and the split copy is made by a rename."""
    if "/" not in member.name:
        held = [snapshot for snapshot in member.after(base) if session.tag in snapshot.holds]
        release = [f"zfs release {session.tag} {quote(f'{member.name}@{snapshot.name}')}" for snapshot in held]
        rollback = f"zfs rollback -r {quote(f'{member.name}@{base.name}')}"  # which a hold would stop
        again = f"zrep rejoin {'-f ' if session.options.force else ''}{quote(member.name)}"
        raise RefusedError(
            "it is the root of a pool, which cannot be renamed to keep what was written here alone",
            filesystem=member.name,
            evidence=f"written after @{base.name}",
            advice=f"copy what is wanted of it, then: {'; '.join([*release, rollback])}, then {again}",
        )


def _refuse_other_pairs(session: Session, member: Member, properties: Mapping[str, Value]) -> None:
    others = [
        key.removesuffix(":src-fs") for key, value in properties.items() if key.endswith(":src-fs") and value.local
    ]
    if others != [session.tag]:
        raise RefusedError(
            "it is in another pair too, and a split would tear that one apart",
            filesystem=member.name,
            evidence=f"tags {', '.join(others)}",
            advice="end the others first: "
            + ", ".join(f"zrep -t {tag} clear {quote(member.name)}" for tag in others if tag != session.tag),
        )


def _refuse_children(session: Session, member: Member) -> None:
    """A rename would carry along datasets that are not part of the pair."""
    children = observe_children(session.local, member.name)
    if children:
        raise RefusedError(
            "it has child filesystems that are not replicated, and a split would move them along",
            filesystem=member.name,
            evidence=", ".join(children[:5]),
            advice="move them out of it (zfs rename) and run this again",
        )


def _tidy(session: Session, split: Split) -> None:
    """Take the record of a rejoin that has come to its end from the copy."""
    if session.local.ask(Lock((split.name,), 5.0, session.tag)):
        raise BusyError("busy", filesystem=split.name, evidence="another zrep is working on it")
    try:
        copy = observe(session.local, split.tag, [split.copy])[split.copy]
        session.alone().do_all(plan_forget(split, copy))
    finally:
        session.local.ask(Unlock((split.name,)))


def _kept(split: Split) -> str:
    return f"rejoined; {size(split.written)} that it had written alone are in {split.copy}"


def _resume(session: Session, split: Split) -> Outcome:
    detail = split.intent.detail
    link = Link(split.tag, split.name, Role(src_host=detail["host"], src_fs=detail["peer"], master=False))
    if session.lock([link]):
        raise BusyError("busy", filesystem=split.name, evidence="another zrep is working on it")
    peer = session.host(link.peer_host)
    theirs = observe(peer, split.tag, [link.peer_name]).get(link.peer_name)
    if theirs is None or not theirs.role.master:
        raise RefusedError(f"{link.peer_name} on {link.peer_host} is not master", filesystem=split.name)
    session.say(f"{split.name}: finishing the rejoin that was interrupted; its copy is {split.copy}")
    return _carry_on(session, split, theirs.role)


def _carry_on(session: Session, split: Split, master: Role) -> Outcome:
    """From wherever it stands, by what is there."""
    executor = session.alone()
    names = [split.name, split.copy, split.clone]
    found = observe(session.local, split.tag, names)
    if split.copy not in found:
        _unmount(session, found[split.name])
        if split.clone not in found:
            _prepare(session, split, found[split.name], _base(split, found[split.name]))
        executor.do_all(plan_set_aside(split, found[split.name]))
        found = observe(session.local, split.tag, names)
    copy = found[split.copy]
    if split.name not in found:
        if split.clone not in found:
            _prepare(session, split, copy, _base(split, copy))
        executor.do_all(plan_take_place(split, volume=copy.volume))
        found = observe(session.local, split.tag, names)
    executor.do_all((*plan_seal(split, copy), *plan_promote(split, found[split.name])))
    _limit(session, split)
    copy = observe(session.local, split.tag, [split.copy])[split.copy]
    executor.do_all(plan_finish(split, copy, master))
    key = f"; before it can be mounted again: zfs load-key '{split.name}'" if copy.encrypted else ""
    return _linked_again(session, split.name, f"{_kept(split)}{key}")


def _limit(session: Session, split: Split) -> None:
    """Quotas and reservations. There may be no room for one beside the copy: that is told, and ends nothing."""
    for step in plan_limits(split):
        error = session.alone().try_do(step)
        if isinstance(error, NoSpaceError):
            command = " ".join(map(quote, commands.command(step)))
            session.warn(f"{split.name}: {error.evidence}; once there is room: {command}")
        elif error is not None:
            raise error


def _base(split: Split, member: Member) -> Snapshot:
    base = member.by_guid(split.base_guid)
    if base is None:
        raise FailedError("the base is gone", filesystem=member.name, evidence=f"guid {split.base_guid}")
    return base
