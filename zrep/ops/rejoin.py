"""rejoin: an old master that returned becomes the replica, without a full resend and without losing its tail.

What it wrote alone after the base stays readable in a split copy, what members of a tree wrote in one for all
(ops/split.py). A run that is cut anywhere is finished by running it again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from shlex import quote

from msgspec.structs import replace

from zrep.core.dataset import Member, Snapshot
from zrep.core.errors import FailedError, RefusedError, ZrepError
from zrep.core.mounts import within
from zrep.core.pair import End, Tree, newest_common
from zrep.core.pair_state import Action, State
from zrep.core.plan_rejoin import has_landed, plan_become_replica, plan_forget
from zrep.core.plan_role import (
    by_mountpoint,
    own_readonly,
    place_of_mount,
    plan_keep_excluded,
    plan_mount_excluded,
    replaying,
)
from zrep.core.plan_split import Part, Split, find_split
from zrep.core.quantities import size
from zrep.core.relation import Linked
from zrep.core.requests import DIFFERENCES_KEPT, IsInUse, IsUnmodified, Lock, ReadDifferences, ReadUsers, Unlock
from zrep.core.role import Role, intent_property
from zrep.core.steps import Mount, SetProperties, Step, Unmount
from zrep.ops import hooks
from zrep.ops.advance import converge_all
from zrep.ops.children import refused_rejoin
from zrep.ops.finding import find_link
from zrep.ops.locking import ROLE_SECONDS, busy, lock
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import open_pair, read_again, read_view
from zrep.ops.preflight import by_hand, cannot_mount, covered, find_open, is_open
from zrep.ops.read import find_role, find_roles, observe, observe_children, observe_tree
from zrep.ops.repair import finish
from zrep.ops.session import Session
from zrep.ops.split import (
    Bases,
    Prepared,
    exchange,
    give_up,
    look,
    newest_known,
    other_tags,
    parts_again,
    parts_of,
    prepare_split,
    refuse_split,
    split_members,
)
from zrep.ops.tags import check_following
from zrep.ops.view import Link, View

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
    view = open_pair(session, name, wait=ROLE_SECONDS)
    if view.diagnosis.state.action is Action.REPAIR and not isinstance(view.relation, Linked):
        finish(session, view)
        return Outcome(name, message="finished the role change: the pair is linked")
    if not _may_rejoin(session, view):
        if unfinished is not None:
            return _linked_again(session, name, _kept(unfinished))
        return Outcome(name, message="nothing to rejoin: the pair is linked")
    check_following(session, view.mine)
    base = newest_common(view.mine.members[0], view.theirs.members[0])
    if base is None:
        raise RefusedError(
            "the two sides have no common snapshot, so it cannot become a replica without starting over",
            filesystem=name,
            advice=f"zrep clear -L {quote(name)}; then init from the master to a new target",
        )
    _refuse_early(session, view)
    peer = (view.link.peer_host, view.link.peer_name)
    epoch = view.theirs.role.epoch or 0
    try:
        hooks.ask(session, session.local, "before-demote", name, peer, epoch)
        view, prepared = _ready(session, view)
    except (ZrepError, KeyboardInterrupt):
        hooks.take_one_back(session, session.local, "not-demoted", name, peer, epoch)
        raise
    if prepared is None:
        session.alone().do_all(plan_become_replica(session.tag, view.mine, view.theirs.role))
        return _linked_again(session, name, f"rejoined at @{base.name}; nothing had been written since")
    split, parts = prepared.split, prepared.parts
    _say_what_leaves(session, view, split, parts)
    for line in prepared.listed:
        session.say(f"{name}: {line}")
    give_up(session, split, parts)
    return _carry_on(session, split, parts, view.theirs.role)


def _say_what_leaves(session: Session, view: View, split: Split, parts: Collection[Part]) -> None:
    wrote = f"{split.name}: {size(split.written)} were written here"
    if view.link.role.recursive:
        session.say(f"{wrote} alone and stay in {split.copy}: {', '.join(part.name for part in parts)}")
        return
    [part] = parts
    assert part.base is not None
    for tag in sorted({tag for s in view.mine.members[0].after(part.base) for tag in s.holds} - {view.tag}):
        session.warn(
            f"{split.name}: what is held as {tag!r} of it is known elsewhere; if that is a pair of zrep, its next sync "
            f"says what has to be dropped there: zrep -t {quote(tag)} sync {quote(split.name)}"
        )
    session.say(f"{wrote} after @{part.base.name} and stay in {split.copy}")


def _refuse_early(session: Session, view: View) -> None:
    """What is known already of what would refuse it later, before anything is changed and anybody told. That nothing
    was written alone may be seen only once the intent log is replayed."""
    root = view.mine.members[0]
    if error := cannot_mount(session.local, _mounting(view.mine), f"sudo zrep rejoin {quote(view.name)}"):
        raise error.about(view.name)
    own = session.local, view.mine.members
    for refusal in (*by_hand(*own), *covered(*own), *refused_rejoin(session.local, view.tag, view.mine)):
        raise refusal.about(view.name)
    volumes = [member.name for member in view.mine.members if member.volume]
    for name, who in find_open(session.local, volumes).by.items():
        raise is_open(session.local.name, name, who).about(view.name)
    if not root.volume and (elsewhere := session.local.ask(ReadUsers(root.name)).elsewhere):
        raise _in_use(root, f"mounted in another mount namespace: {', '.join(elsewhere)}")
    bases = _bases(view.mine, _guids(view.theirs))
    known = [member.name for member in view.mine.members if _surely_written(member, bases.get(member.name))]
    refuse_split(session, view.mine, split_members(view.mine, known), bases)


def _mounting(mine: Tree) -> list[Step]:
    """What a rejoin mounts and unmounts before it knows what was written here alone."""
    mounted = (Unmount(End.SOURCE, member.name) for member in mine.members if member.mounted)
    replayed = (replaying(End.SOURCE, member) for member in mine.members)
    return [*filter(None, replayed), *mounted]


def _surely_written(member: Member, base: Snapshot | None) -> bool:
    return member.key_missing or (base is not None and any(snapshot.written for snapshot in member.after(base)))


def _bases(mine: Tree, guids: Collection[str]) -> Bases:
    """Of each member here the newest snapshot that the other side has in any of its own, by name: one that was moved
    is known for what it is. guids: of the snapshots of the other side."""
    found = ((member.name, newest_known(member, guids)) for member in mine.members)
    return {name: base for name, base in found if base is not None}


def _guids(tree: Tree) -> set[str]:
    return {snapshot.guid for member in tree.members for snapshot in member.snapshots}


def _ready(session: Session, view: View) -> tuple[View, Prepared | None]:
    """All up to the first step that gives the role up: the pair as it is then, and the split that keeps what was
    written here alone (None: nothing was). Every refusal comes here or before."""
    view = _raise_epoch(session, view)
    unread = _replay_intent_logs(session, view)
    view = read_again(session, view, sync_txg=True)
    bases = _bases(view.mine, _guids(view.theirs))
    listed = [line for name in bases for line in _differences(session, view, name, unread, bases[name])]
    # Read-only or not, a process that has mapped a file writable goes on storing into it, and what it stores after the
    # last look would be lost with the next stream.
    mounted = [member for member in by_mountpoint(view.mine) if member.mounted]
    mounted += _excluded_in(session, view.mine, mounted)
    try:
        for member in reversed(mounted):
            _unmount(session, member)
        view = read_again(session, view, sync_txg=True)
        bases = _bases(view.mine, _guids(view.theirs))
        written = _written_alone(session, view.mine, bases, unread)
        leaving = {member.name for member in split_members(view.mine, written)}
        for member in view.mine.members:
            if member.name not in leaving:
                _refuse_in_use(session, member)
        if not written:
            return view, None
        peer = (view.link.peer_host, view.link.peer_name)
        prepared = prepare_split(session, view.mine, view.theirs.role, peer, written, bases)
    except ZrepError:
        for member in mounted:
            session.alone().try_do(Mount(End.SOURCE, member.name))
        raise
    return view, replace(prepared, listed=(*listed, *prepared.listed))


def _may_rejoin(session: Session, view: View) -> bool:
    """Whether there is anything to do; the refusal when this side is not the one to give up its role."""
    if isinstance(view.relation, Linked):
        return False
    found = view.diagnosis
    if found.state in (State.STALE, State.STALE_MASTER) and view.theirs.role.master:
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
    return read_again(session, view)


def _excluded_in(session: Session, mine: Tree, mounted: Sequence[Member]) -> list[Member]:
    """What is left out of a tree and mounted in what has to be unmounted: so is that, for a moment. zfs unmount takes
    along what is below a dataset, wherever that is mounted."""
    places = [member.get("mountpoint") for member in mounted if member.placed]
    names = tuple(f"{member.name}/" for member in mounted)
    inside = [
        member
        for member in mine.excluded
        if member.mounted
        and (member.name.startswith(names) or any(within(member.get("mountpoint"), place) for place in places))
    ]
    for member in inside:
        session.say(f"{mine.name}: {member.name} is left out of it, and unmounted until the end of this")
    return sorted(inside, key=place_of_mount)


def _mount_excluded(session: Session, view: View) -> None:
    """This run, or one that was cut, may have unmounted what is left out of a tree."""
    for step in plan_mount_excluded(End.SOURCE, view.mine):
        if error := session.alone().try_do(step):
            session.warn(f"{step.dataset}: it was unmounted, and cannot be mounted again: {error.line()}")


def _replay_intent_logs(session: Session, view: View) -> set[str]:
    """Stop writes and mount, which replays intent logs: writes acknowledged just before a crash live only there, and a
    receive would discard them silently. What ZFS does not mount is mounted for a moment. The members that cannot be
    mounted at all: they are split, whatever is in them."""
    executor = session.alone()
    writable = tuple(member.name for member in own_readonly(view.mine) if not member.readonly)
    if writable:
        executor.do_all(plan_keep_excluded(End.SOURCE, view.mine, "on"))
        executor.do(SetProperties(End.SOURCE, writable, (("readonly", "on"),)))
    unread: set[str] = set()
    for member in by_mountpoint(view.mine):
        if not member.may_have_log:
            continue
        # What is mounted where ZFS mounts it can be listed too.
        by_itself = member.get("mountpoint").startswith("/") and member.get("canmount") != "off"
        if by_itself and not member.key_missing and executor.try_do(Mount(End.SOURCE, member.name)) is None:
            continue
        step = replaying(End.SOURCE, member)
        if step is None or executor.try_do(step) is not None:
            unread.add(member.name)
    return unread


def _differences(session: Session, view: View, name: str, unread: Collection[str], base: Snapshot) -> list[str]:
    """What was written to a member here alone, for a person: counts by kind, and the first of them. It can be told only
    while it is mounted; of a volume only how much."""
    [member] = (member for member in view.mine.members if member.name == name)
    if not member.mounted or name in unread or (view.link.role.recursive and not member.written_since(base)):
        return []
    found = session.local.ask(ReadDifferences(f"{member.name}@{base.name}", member.name))
    kinds = (("+", "added"), ("M", "modified"), ("-", "removed"), ("R", "renamed"))
    counts = [(sum(kind == letter for kind, _ in found), word) for letter, word in kinds]
    some = ", ".join(f"{count} {word}" for count, word in counts if count)
    if not found:
        return []
    more = " or more" if len(found) >= DIFFERENCES_KEPT else ""
    about = "" if name == view.name else f"in {name} "
    return [f"{about}{some}{more}, among them:", *(f"  {letter} {path}" for letter, path in found[:_SHOWN])]


def _written_alone(session: Session, mine: Tree, bases: Bases, unread: Collection[str]) -> dict[str, int]:
    """How many bytes were written after the base to each member that was written to, or that nobody can look at; of one
    that the other side has nothing of, all of it."""
    found = _unknown_there(session, mine, bases)
    for member in (member for member in mine.members if member.name in bases):
        base = bases[member.name]
        written = member.written_since(base)
        if written and not member.after(base) and _is_unmodified(session, member, base):
            written = 0  # a crash, and the replay after it, count as written
        if written or member.name in unread:
            found[member.name] = written
    return found


def _unknown_there(session: Session, mine: Tree, bases: Bases) -> dict[str, int]:
    """The members that the other side has nothing of, with their bytes: but for those below which something else is,
    which would have to leave with them. Those stay, and the next sync deals with them."""
    new = {member.name: member.number("referenced") for member in mine.members if member.name not in bases}
    others = [name for name in observe_children(session.local, mine.name) if name not in new] if new else []
    return {name: size for name, size in new.items() if not any(other.startswith(f"{name}/") for other in others)}


def _is_unmodified(session: Session, member: Member, base: Snapshot) -> bool:
    return session.local.ask(IsUnmodified(f"{member.name}@{base.name}", member.name))


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
    if member.volume or not member.snapshots or session.options.dry_run:
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
    link = find_link(session, name)
    view = read_view(session, link)
    if not isinstance(view.relation, Linked):
        raise FailedError("the two sides are not linked", filesystem=name, evidence=view.relation.evidence())
    converge_all(session, view)
    _mount_excluded(session, view)
    hooks.tell(session, session.local, "after-demote", name, view.mine.role)
    return Outcome(name, message=f"{message}; {link.peer_host}'s next sync brings it up to date")


def _tidy(session: Session, split: Split) -> None:
    """Take the record of a rejoin that has come to its end from the copy."""
    if session.local.ask(Lock((split.name,), ROLE_SECONDS, session.tag)):
        raise busy(split.name)
    try:
        copy = observe(session.local, split.tag, [split.copy])[split.copy]
        session.alone().do_all((*other_tags(session, split), *plan_forget(split, copy)))
    finally:
        session.local.ask(Unlock((split.name,)))


def _kept(split: Split) -> str:
    return f"rejoined; {size(split.written)} that it had written alone are in {split.copy}"


def _resume(session: Session, split: Split) -> Outcome:
    detail = split.intent.detail
    link = Link(split.tag, split.name, Role(src_host=detail["host"], src_fs=detail["peer"], master=False))
    if lock(session, [link], ROLE_SECONDS):
        raise busy(split.name)
    peer = session.host(link.peer_host)
    role = find_role(peer, split.tag, link.peer_name)
    if role is None or not role.master:
        raise RefusedError(f"{link.peer_name} on {link.peer_host} is not master", filesystem=split.name)
    theirs = observe_tree(peer, split.tag, link.peer_name, recursive=role.recursive)
    session.say(f"{split.name}: finishing the rejoin that was interrupted; its copy is {split.copy}")
    guids = _guids(theirs)
    there = look(session, split)
    parts = parts_of(session, split, there, guids)
    if not parts:  # nothing but the record has landed
        mine = observe_tree(session.local, split.tag, split.name, recursive=role.recursive, sync_txg=True)
        bases = _bases(mine, guids)
        parts = parts_again(session, split, mine, _written_alone(session, mine, bases, ()), bases)
    leaving = {name for part in parts for name in (part.name, part.copy)} & there.keys()
    for member in sorted((there[name] for name in leaving), key=place_of_mount, reverse=True):
        _unmount(session, member)
    if not any(member.by_name(split.ending) for member in there.values()):
        give_up(session, split, parts)
    return _carry_on(session, split, parts, theirs.role)


def _carry_on(session: Session, split: Split, parts: Collection[Part], master: Role) -> Outcome:
    exchange(session, split, tuple(parts), master)
    key = ""
    if any(part.name == split.name for part in parts):
        copy = observe(session.local, split.tag, [split.copy])[split.copy]
        key = f"; before it can be mounted again: zfs load-key '{split.name}'" if copy.encrypted else ""
    return _linked_again(session, split.name, f"{_kept(split)}{key}")
