"""What the other tags of a dataset are asked before its role changes (core/tags.py decides)."""

from __future__ import annotations

from collections.abc import Callable
from shlex import quote

from msgspec.structs import replace

from zrep.core.dataset import only_received
from zrep.core.errors import RefusedError
from zrep.core.names import EXCLUDE
from zrep.core.pair import End, Tree
from zrep.core.role import Role
from zrep.core.tags import Roles, plan_forget_received, refuse_following, refuse_giving, refuse_taking, replica_under
from zrep.host.local import Host
from zrep.ops.execute import Executor
from zrep.ops.read import observe_tree, read_all_properties, read_other_roles
from zrep.ops.session import Session
from zrep.ops.view import View


def other_roles(host: Host, tag: str, name: str) -> Roles:
    """The roles of one dataset under its other tags, by tag."""
    return read_other_roles(host, tag, [name]).get(name, {})


def refuse_exchange(view: View) -> tuple[RefusedError, ...]:
    """What the other tags of either end have against the source giving its role to the target."""
    giver, taker = view.executor.source, view.executor.target
    return (
        *_refused(giver, view.tag, view.pair.source, refuse_giving),
        *_refused(taker, view.tag, view.pair.target, refuse_taking),
    )


def check_taking(session: Session, tree: Tree) -> None:
    """The refusal of a promotion alone that would make what another tag's master sends to writable."""
    for error in _refused(session.local, session.tag, tree, refuse_taking):
        raise error.about(tree.name)


def check_following(session: Session, tree: Tree) -> None:
    """The refusal of a second master to follow."""
    own = tree.role

    def refuse(name: str, host: str, tag: str, others: Roles) -> RefusedError | None:
        return refuse_following(name, host, tag, own, others)

    for error in _refused(session.local, session.tag, tree, refuse):
        raise error.about(tree.name)


def follows_by_itself(host: Host, tag: str, name: str, role: Role) -> bool:
    """Whether a dataset is the replica that its role under a tag says, by itself: not as a member of a tree, nor by
    what a stream has brought along (see forget_received). That takes all its properties."""
    if not role.paired or role.master is not False or role.within:
        return False
    return not only_received(tag, role, read_all_properties(host, name))


def check_all_below(host: Host, tag: str, root: str) -> None:
    """RefusedError where something below what is to be the replica of a whole tree is a replica under another tag: the
    tree could never be promoted, not even after a disaster."""
    below = observe_tree(host, tag, root, recursive=True).members[1:]
    roles = read_other_roles(host, tag, [member.name for member in below])
    for name, others in roles.items():
        for other, role in others.items():
            if not follows_by_itself(host, other, name, role):
                continue
            raise RefusedError(
                f"{name} on {host.name}, below {root}, is a replica under the tag {other}",
                filesystem=root,
                evidence=f"there it follows {role.peer_host}:{role.peer_fs}; as a part of the tree it would be "
                "promoted with it",
                advice=_leave_out(name, host.name, tag),
            )


def _leave_out(name: str, host: str, tag: str) -> str:
    return f"to leave it out of the tree, on {host}: zfs set {tag}:{EXCLUDE}=on {quote(name)}, and then this again"


def _refused(
    host: Host, tag: str, tree: Tree, refuse: Callable[[str, str, str, Roles], RefusedError | None]
) -> list[RefusedError]:
    """What the other tags of any member of a tree have against something. What they are as members of one tree is said
    of its root alone."""
    roles = read_other_roles(host, tag, [member.name for member in tree.members])
    of_root = roles.get(tree.name, {})
    found: list[RefusedError] = []
    for member in tree.members:
        others = roles.get(member.name, {})
        if member.name != tree.name:
            others = {tag: role for tag, role in others.items() if not (role.within and tag in of_root)}
        if error := refuse(member.name, host.name, tag, others):
            if refuse is refuse_taking and member.name != tree.name and not member.ours(tag):
                # Nothing of the tree has ever arrived in it.
                error.advice = _leave_out(member.name, host.name, tag)
            found.append(error)
    return found


def relaying(view: View) -> View:
    """The same, known to pass on what it receives where its source is a replica under another tag. Only what is
    read-only can be: of any other nothing is asked."""
    source = view.pair.source.members[0]
    if not (source.readonly and source.role.master):
        return view
    upstream = replica_under(roles_at(view, End.SOURCE))
    return replace(view, pair=replace(view.pair, upstream=upstream)) if upstream else view


def roles_at(view: View, end: End) -> Roles:
    """The roles of the dataset at one end under its other tags."""
    return other_roles(view.executor.host(end), view.tag, view.pair.at(end).name)


def forget_received(executor: Executor, tag: str, target: str) -> None:
    """Take from what becomes the replica of a pair of this tag the roles under others that a stream has brought along:
    before its own, so that a run that is cut does it again. What a gate does not let be done stops no stream."""
    host = executor.host(End.TARGET)
    if other_roles(host, tag, target):  # seldom: only then all its properties are asked for
        for step in plan_forget_received(End.TARGET, tag, target, read_all_properties(host, target)):
            executor.try_do(step)
