"""clear: end a pair."""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote

from zrep.core.dataset import NO_TOKEN, Member, Snapshot, TokenContents
from zrep.core.diagnosis import diagnose_alone, met_elsewhere, misplaced
from zrep.core.errors import NotAdmittedError, RefusedError, UnreachableError, UsageError
from zrep.core.names import ancestors, sequence_of
from zrep.core.pair import Tree, newest_common, plain_tree
from zrep.core.plan_clear import plan_clear, plan_clear_below, without_exclude
from zrep.core.plan_init import is_begun, of_init
from zrep.core.relation import Unrelated, relate
from zrep.core.role import Role
from zrep.core.tags import Roles
from zrep.host.local import Host
from zrep.ops.finding import check_driving, roles_here
from zrep.ops.locking import busy, lock
from zrep.ops.one_side import lock_here
from zrep.ops.outcome import Outcome
from zrep.ops.read import observe, observe_tree, read_token
from zrep.ops.session import Session
from zrep.ops.tags import other_roles
from zrep.ops.view import Link


def clear(session: Session, name: str, here_only: bool, *, keep_base: bool = False) -> Outcome:
    """Undo the link: properties, holds and snapshots of ours go; the data stays, on both sides.

    The peer's half goes too, if it is this pair's; here_only (-L) leaves it. UnreachableError, and nothing
    changed, when the peer does not answer. keep_base: the newest snapshot that both have stays on both, so that init
    --adopt makes a pair of them again without a full stream.
    """
    member = observe(session.local, session.tag, [name]).get(name)
    if member is None:
        raise RefusedError("no such filesystem here", filesystem=name, advice="see: zfs list")
    if not member.role.paired:
        _refuse_member(session, name)
    if not member.role.paired and not _traces(session, member):
        return Outcome(name, message="nothing of zrep is on it")
    if member.role.paired and not here_only:
        _check_askable(session, member)
        # Both before anything is changed: what is seen of the roles now may be over when the locks are free.
        _lock_both(session, Link(session.tag, name, member.role))
        member = lock_here(session, name, member.role)
        if moved := misplaced(member):  # a copy ends nothing on the peer
            raise moved.error(name)
        if keep_base and member.role.recursive:
            raise UsageError("--keep-base is for one filesystem, and this is a tree", filesystem=name)
        theirs = _clear_peer(session, Link(session.tag, name, member.role), member, keep_base=keep_base)
    else:
        member, theirs = lock_here(session, name), None
    tree = _tree(session, session.local, member)
    known = _guids(theirs.ours(session.tag)) if theirs else set()
    ours = member.ours(session.tag, known)
    others = _others(session.local, session.tag, member)
    base = newest_common(member, theirs) if keep_base and theirs else None
    last = plan_clear(member, session.tag, ours, others=others, tree=tree, keep=base.guid if base else "")
    if member.role.excluded and _is_below_tree(session, name):
        last = without_exclude(last, session.tag)
    session.alone().do_all((*plan_clear_below(tree, session.tag), *last))
    for each in tree.members:
        own = ours if each.name == name else each.ours(session.tag)
        for snapshot in each.snapshots:
            if snapshot.clones and snapshot in own:
                session.say(f"{each.name}: @{snapshot.name} stays, {', '.join(snapshot.clones)} is its clone")
            elif base is not None and snapshot.guid == base.guid:
                session.say(f"{each.name}: @{snapshot.name} stays on both sides, for zrep init --adopt; or destroy it")
            elif snapshot not in own and sequence_of(session.tag, snapshot.name) is not None:
                session.say(f"{each.name}: @{snapshot.name} stays: nothing shows that zrep made it")
    return Outcome(name, message="cleared; the data is untouched")


def _is_below_tree(session: Session, name: str) -> bool:
    roles = roles_here(session)
    return any(above in roles and roles[above].recursive for above in ancestors(name))


def _refuse_member(session: Session, name: str) -> None:
    """RefusedError for a member of a tree: the pair is that of the root, and what it has of zrep's is its base."""
    within = other_roles(session.local, "", name).get(session.tag)
    if within is None or not within.within:
        return
    master = name if within.master else f"{within.peer_fs}{name.removeprefix(within.own_fs)}"
    where = "" if within.master else f"on {within.peer_host}: "
    raise RefusedError(
        f"it is a member of the tree {within.own_fs}, which is one pair",
        filesystem=name,
        advice=f"to leave it out: {where}zrep changeconfig --exclude {quote(master)}; to end the pair: "
        f"zrep clear {quote(within.own_fs)}",
    )


def _check_askable(session: Session, member: Member) -> None:
    """RefusedError where the peer cannot be asked from here. Of an init that was not ended it knows nothing yet."""
    role = member.role
    if not role.askable:
        raise diagnose_alone(member.name, role).error(member.name)
    if role.only_dialled and is_begun(member):
        raise RefusedError(
            f"its init from {role.peer_host} is unfinished, and that is not dialled from here",
            filesystem=member.name,
            advice=f"zrep clear -L {quote(member.name)}; and remove what {role.peer_host} has received of "
            f"{quote(role.peer_fs)}",
        )
    try:
        check_driving(session, member.name, role, "clear")
    except RefusedError as error:
        error.advice += f"; or, if that follows another by now, only here: zrep clear -L {quote(member.name)}"
        raise


def _traces(session: Session, member: Member) -> bool:
    has_properties = any(value.local for key, value in member.properties.items() if key.startswith(f"{session.tag}:"))
    return has_properties or bool(member.ours(session.tag))


def _lock_both(session: Session, link: Link) -> None:
    try:
        taken = lock(session, [link], 2.0)
    except UnreachableError as error:
        raise _uncleared(link, error) from None
    if taken:
        raise busy(link.name)


def _uncleared(link: Link, error: UnreachableError) -> UnreachableError:
    return UnreachableError(
        f"cannot reach {link.peer_host} to clear its half; nothing was changed",
        filesystem=link.name,
        evidence=error.evidence or error.what,
        advice=f"to clear only this side: zrep clear -L '{link.name}'",
    )


def _clear_peer(session: Session, link: Link, mine: Member, *, keep_base: bool) -> Member | None:
    """Clear the other half, if it is this pair's: how it was before, None where there is none."""
    peer = session.peer(link.role)
    try:
        found = observe(peer, link.tag, [link.peer_name])
    except UnreachableError as error:
        raise _uncleared(link, error) from None
    member = found.get(link.peer_name)
    if member is None:
        return None
    ours = member.ours(link.tag, _guids(mine.ours(link.tag)))
    half = False
    if not member.role.paired:
        # Its role goes last: of its snapshots none can be left but those of an init that was never ended.
        ours = tuple(snapshot for snapshot in ours if snapshot.guid in _guids(mine.snapshots))
        half = is_begun(mine) and of_init(mine, link.tag, _half_received(session, member))
    related = _other_half(link.role, member.role) if member.role.paired else _remains(link, member)
    if not related and not (is_begun(mine) and not member.role.paired and (half or ours)):
        # Everything is called tank/data everywhere: equal names are no proof.
        whose = "belongs to another pair" if member.role.paired else "is in no pair"
        session.say(f"{link.name}: {link.peer_name} on {link.peer_host} {whose}; left alone")
        return None
    if elsewhere := met_elsewhere(mine, member):
        raise elsewhere.error(link.name)
    others = _others(peer, link.tag, member)
    tree = _tree(session, peer, member)
    base = newest_common(mine, member) if keep_base else None
    last = plan_clear(member, link.tag, ours, half=half, others=others, tree=tree, keep=base.guid if base else "")
    try:
        session.alone(peer).do_all((*plan_clear_below(tree, link.tag), *last))
    except NotAdmittedError as error:  # nobody but its own host ends a half
        here, there = quote(link.name), quote(link.peer_name)
        error.advice = f"end each half where it is: zrep clear -L {here}; on {link.peer_host}: zrep clear -L {there}"
        raise
    return member


def _tree(session: Session, host: Host, member: Member) -> Tree:
    """What is cleared with a dataset: all below it where its pair is that of a tree."""
    if not member.role.recursive:
        return plain_tree(member)
    return observe_tree(host, session.tag, member.name, recursive=True)


def _remains(link: Link, member: Member) -> bool:
    """Whether it has a part of a role, and no part that is not this pair's: a clear was cut there."""
    mine, left = link.role, member.role
    some = any(value.local for key, value in member.properties.items() if key.startswith(f"{link.tag}:"))
    named = {left.src_fs, left.dest_fs} - {""} <= {mine.src_fs, mine.dest_fs}
    return some and named and left.gen in ("", mine.gen, *mine.parents)


def _half_received(session: Session, member: Member) -> TokenContents:
    return read_token(session.local, member.token) if member.token else NO_TOKEN


def _guids(snapshots: Iterable[Snapshot]) -> set[str]:
    return {snapshot.guid for snapshot in snapshots}


def _others(host: Host, tag: str, member: Member) -> Roles:
    """Its roles under other tags, where it may have to be made writable again."""
    return other_roles(host, tag, member.name) if member.role.master and member.role.intent else {}


def _other_half(mine: Role, theirs: Role) -> bool:
    """Whether two roles are, or were, of one pair: by descent; without any, as the shell zrep left it, by names."""
    if not mine.gen and not theirs.gen:
        return mine.links == theirs.links or mine.links == theirs.links[2:] + theirs.links[:2]
    return not isinstance(relate(mine, theirs), Unrelated)
