"""Read both sides of pairs: as views, with the state that each pair is in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

from msgspec.structs import replace

from zrep.core.dataset import Member, Snapshot
from zrep.core.diagnosis import diagnose
from zrep.core.errors import FailedError, RefusedError, ZrepError
from zrep.core.pair import End, Pair, Tree, plain_tree
from zrep.core.pair_state import ELSEWHERE, Diagnosis, State
from zrep.core.plan_first_stream import data_alone, member_stream
from zrep.core.plan_hop import was_between
from zrep.core.quantities import whole_number
from zrep.core.requests import IsRunning, Lock
from zrep.core.steps import Hold, SendStream, TakeSnapshot
from zrep.host.local import Host
from zrep.host.parallel import together
from zrep.ops.finding import NO_LINK, find_link, link_of
from zrep.ops.locking import LOCK_SECONDS, busy, lock, lock_targets, role_changed
from zrep.ops.outcome import Outcome
from zrep.ops.read import find_roles, observe, observe_trees, read_snapshots
from zrep.ops.session import Session
from zrep.ops.view import Link, View
from zrep.zfs.errors import PoolAbsentError

# What no operation but the one that is advised works on, whatever the other half is or whatever this one is.
_NO_VIEW = NO_LINK | {State.INIT_UNFINISHED, State.BUSY, State.PEER_MISSING, State.WRONG_PLACE}
# So often at most what changed while it was looked at without a lock is looked at anew.
_LOOKS_ANEW = 3


def open_pair(session: Session, name: str, *, there: str = "", wait: float = LOCK_SECONDS) -> View:
    """Find, lock and read one pair. BusyError when either side is still being worked on after so many seconds of
    waiting. there: as in find_link."""
    taken, found = lock_and_read(session, [find_link(session, name, there=there)], wait)
    if taken:
        raise busy(name)
    return usable(*found)


def lock_and_read(
    session: Session,
    links: Sequence[Link],
    wait: float = LOCK_SECONDS,
    then: Callable[[dict[str, Member]], None] = lambda members: None,
) -> tuple[list[str], list[View | Outcome]]:
    """Lock links with one peer and one direction, and read both sides of those that are not busy. The names here
    of the busy ones, and the others as from read_views. then: what else to do here with what was read here, where there
    is time for it because the peer has still to answer.

    What is locked here is read while the peer is still being dialled: nobody else changes it now, and whoever
    wants both halves begins with the master's.
    """
    peer = session.peer(links[0].role)
    if peer is session.local or not links[0].is_master:
        busy_here = lock(session, links, wait)
        free = [link for link in links if link.name not in busy_here]
        return busy_here, read_views(session, free) if free else []
    busy_here = session.local.ask(Lock(tuple(link.name for link in links), wait, session.tag))
    free = [link for link in links if link.name not in busy_here]
    if not free:
        return busy_here, []

    def there() -> dict[str, Tree | ZrepError]:
        busy_there = lock_targets(session, peer, [link.peer_name for link in free], wait)
        busy_here.extend(link.name for link in free if link.peer_name in busy_there)
        names = {x.peer_name: x.role.recursive for x in free if x.peer_name not in busy_there}
        return observe_trees(peer, session.tag, names, sync_txg=True)

    def here() -> dict[str, Tree | ZrepError]:
        names = {x.name: x.role.recursive for x in free}
        found = observe_trees(session.local, session.tag, names, sync_txg=True)
        trees = (tree for tree in found.values() if isinstance(tree, Tree))
        then({member.name: member for tree in trees for member in tree.members})
        return found

    mine, theirs = together(here, there)
    found = [_view(session, x, mine.get(x.name), theirs.get(x.peer_name)) for x in free if x.name not in busy_here]
    return busy_here, found


def read_view(session: Session, link: Link, *, sync_txg: bool = True) -> View:
    """Read both sides of one link; the error of an unusable one is raised."""
    return usable(*read_views(session, [link], sync_txg=sync_txg))


def read_views(session: Session, links: Sequence[Link], *, sync_txg: bool = True) -> list[View | Outcome]:
    """Read both sides of links with one peer, at the same time; an Outcome where one cannot be worked on."""
    peer = session.peer(links[0].role)
    halves: list[tuple[Host, str, bool]] = [(session.local, link.name, link.role.recursive) for link in links]
    halves += [(peer, link.peer_name, link.role.recursive) for link in links]
    found = _read(session, halves, sync_txg)
    return [_view(session, x, found[session.local].get(x.name), found[peer].get(x.peer_name)) for x in links]


class Look(Protocol):
    """What was seen of one pair without its locks: the half here first, then the other one."""

    @property
    def here(self) -> Tree | ZrepError: ...

    @property
    def alarming(self) -> bool:
        """Whether a person would have to act on it."""
        ...


_Look = TypeVar("_Look", bound=Look)
_Names = Mapping[str, bool]


def look_while_changing(
    names: _Names,
    look: Callable[[_Names], Mapping[str, _Look]],
    read_here: Callable[[_Names], Mapping[str, Tree | ZrepError]],
) -> dict[str, _Look]:
    """Look at pairs without their locks, and anew at those that are alarming and whose half here is no longer what it
    was before the other one was read: a sync that came in between looks like a replica that was changed by hand, a role
    change like a master that is none any more. names: of the halves here, and whether each is a tree; look: look at
    both halves of pairs, leaving out those that are gone; read_here: read the halves here alone."""
    seen = dict(look(names))
    for _ in range(_LOOKS_ANEW):
        before = {name: each.here for name, each in seen.items() if each.alarming and isinstance(each.here, Tree)}
        deep = {name: tree.role.recursive for name, tree in before.items()}
        now = read_here(deep) if deep else {}
        changed = {name: deep[name] for name, tree in before.items() if _content(now.get(name)) != _content(tree)}
        if not changed:
            break
        later = look(changed)
        seen = {name: each for name, each in seen.items() if name not in changed or name in later} | dict(later)
    return seen


def _content(tree: Tree | ZrepError | None) -> object:
    """What of a tree zrep changes: roles and snapshots."""
    if not isinstance(tree, Tree):
        return None
    return [(member.name, member.role, [each.guid for each in member.snapshots]) for member in tree.members]


def read_other_half(session: Session, here: Tree) -> View | Outcome:
    """Make a view without locks of what was read here and of its other half, which is read now; an Outcome where it
    cannot be worked on. Raises what keeps the peer from being asked."""
    link = link_of(session, here.name, here.role, strict=False)
    found = observe_trees(session.peer(link.role), session.tag, {link.peer_name: link.role.recursive})
    return _view(session, link, here, found.get(link.peer_name))


def _read(
    session: Session, halves: Iterable[tuple[Host, str, bool]], sync_txg: bool
) -> dict[Host, dict[str, Tree | ZrepError]]:
    """Read what is on each host of these datasets, those that are said to be trees with all below them: one request for
    each host, all at the same time. For one that could not be read, the reason."""
    names: dict[Host, dict[str, bool]] = {}
    for host, name, tree in halves:
        names.setdefault(host, {})[name] = tree
    read = [partial(observe_trees, host, session.tag, own, sync_txg=sync_txg) for host, own in names.items()]
    return dict(zip(names, together(*read), strict=True))


def _view(
    session: Session, link: Link, mine: Tree | ZrepError | None, theirs: Tree | ZrepError | None
) -> View | Outcome:
    """Make one pair of what was read on both hosts."""
    if isinstance(mine, ZrepError):
        return Outcome(link.name, error=mine.about(link.name))
    if isinstance(theirs, ZrepError) and not isinstance(theirs, PoolAbsentError):
        return Outcome(link.name, error=theirs.about(link.name))
    if mine is None:
        return Outcome(link.name, error=RefusedError("it is gone", filesystem=link.name))
    if mine.role.links != link.role.links or mine.role.master != link.role.master:
        return Outcome(link.name, error=role_changed(link.name))
    try:
        found = diagnose_pair(session, mine.members[0], theirs.members[0] if isinstance(theirs, Tree) else theirs)
    except ZrepError as error:
        return Outcome(link.name, error=error.about(link.name))
    if isinstance(theirs, ZrepError) and found.state is not State.RENAMED:
        return Outcome(link.name, error=theirs.about(link.name))
    if not isinstance(theirs, Tree) or found.state in _NO_VIEW:
        return Outcome(link.name, error=found.error(link.name))
    trees = {link.end: mine, link.end.other: theirs}
    return View(link, link.end, Pair(link.tag, trees[End.SOURCE], trees[End.TARGET]), session.executor(link))


def diagnose_pair(
    session: Session, mine: Member, theirs: Member | ZrepError | None, *, moving: bool = False
) -> Diagnosis:
    """Say what state a pair is in; moving: that a stream of it is known to move. Where the other half is not under its
    name, its host is asked once more, for all roles there: its rejoin may have been cut, or it was renamed, or its
    pool. Raises what keeps the peer from saying so."""
    shell = _living_shell(session, mine, session.local)
    if not shell and isinstance(theirs, Member):
        shell = _living_shell(session, theirs, session.peer(mine.role))
    found = diagnose(session.tag, mine, theirs, shell=shell, moving=moving)
    asked = not isinstance(theirs, ZrepError)
    if (asked and found.state in ELSEWHERE) or isinstance(theirs, PoolAbsentError):
        roles = find_roles(session.peer(mine.role), session.tag)
        found = diagnose(session.tag, mine, theirs, elsewhere=roles, shell=shell)
    return found


def _living_shell(session: Session, member: Member, host: Host) -> str:
    """Find evidence that a shell zrep is at work on a side, "" for none: a dead one's lock is no obstacle. host: where
    the side is, whose process that is."""
    pid = whole_number(member.role.lock_pid)
    alive = bool(pid) and host.ask(IsRunning(pid or 0))
    return f"{session.tag}:lock-pid {pid} is alive on {host.name}" if alive else ""


def read_again(session: Session, view: View, *ends: End, sync_txg: bool = False) -> View:
    """Read the same pair anew under the same locks (whatever its roles are now); with ends: only those."""
    deep = view.link.role.recursive
    halves = {end: (view.executor.host(end), view.pair.at(end).name, deep) for end in ends or tuple(End)}
    found = _read(session, halves.values(), sync_txg)
    before = view.pair
    for end, (host, name, _) in halves.items():
        tree = found[host].get(name)
        root = before.at(end).members[0]
        if tree is None and root.arriving:
            tree = plain_tree(Member(name, {}, root.role, filters=root.filters, programs=root.programs))
        if tree is None:
            # Renamed or destroyed: the next run says what became of it, or knows it under its new name.
            raise FailedError(f"{name} vanished from {host.name} while zrep was working on it", advice="run this again")
        if isinstance(tree, ZrepError):
            raise tree.about(view.name)
        view = view.with_tree(end, tree)
    return view._with_borrowed_roles(before)


def read_members(
    view: View, names: Mapping[End, Sequence[str]], *, sync_txg: bool = False
) -> dict[End, dict[str, Member]]:
    """Read datasets of both sides of a pair, at the same time; one that is gone is not in the answer."""
    reads = [partial(observe, view.executor.host(end), view.tag, own, sync_txg=sync_txg) for end, own in names.items()]
    return dict(zip(names, together(*reads), strict=True))


def read_turned(session: Session, view: View) -> View:
    """Read a view anew after its roles have moved: its streams go from the new master to the old one now."""
    link = Link(view.tag, view.name, view.mine.role)
    return replace(view if link.end is view.here else view.turned, link=link)


def after_snapshots(session: Session, views: Sequence[View], *, held: bool = True) -> dict[str, View]:
    """Make views of pairs whose sources are on one host, by name here, right after the next snapshot of each, of a tree
    that of every member, was taken (and held), under its lock: nothing else of it is known to have changed. Without
    those that are gone."""
    if not views:
        return {}
    names = {view.name: tuple(lane.next_snapshot for lane in view.pair.lanes) for view in views}
    made = read_snapshots(views[0].executor.source, [full for own in names.values() for full in own])
    found = {}
    for view in views:
        own = names[view.name]
        hold = (Hold(End.SOURCE, view.tag, own),) if held else ()
        if made.keys() >= set(own):
            found[view.name] = view.after(TakeSnapshot(End.SOURCE, view.tag, own), *hold, made=made)
    return found


def after_streams(session: Session, streams: Sequence[tuple[View, Snapshot]]) -> dict[str, View]:
    """Make views of pairs with one peer, by name here, after a stream that brings this snapshot has ended, under the
    locks: nothing else of the target has changed. Without those at whose target it is not."""
    names = {view.name: f"{view.lane.target.name}@{snapshot.name}" for view, snapshot in streams}
    made = read_snapshots(streams[0][0].executor.target, list(names.values()))
    found = {}
    for view, snapshot in streams:
        arrived = made.get(names[view.name])
        if arrived is not None and arrived.guid == snapshot.guid:
            found[view.name] = view.after(_arrival(view, snapshot), made=made)
    return found


def _arrival(view: View, snapshot: Snapshot) -> SendStream:
    """Make the stream that has brought a snapshot, as far as it tells what the target is after it."""
    lane = view.lane
    if lane.target.arriving:
        stream = member_stream(lane, snapshot, "")
        return data_alone(stream, lane.source, lane.origin) if view.executor.pulls else stream
    sent = SendStream(End.SOURCE, snapshot=f"{lane.source.name}@{snapshot.name}", target=lane.target.name)
    base = lane.base
    if base is None or base.bookmark or not lane.source.role.all_snapshots:
        return sent
    return replace(sent, base=f"{lane.source.name}@{base.name}", between=was_between(lane, snapshot))


def usable(found: View | Outcome) -> View:
    """Give a view back; the error of one that is none is raised."""
    if isinstance(found, Outcome):
        assert found.error is not None
        raise found.error
    return found
