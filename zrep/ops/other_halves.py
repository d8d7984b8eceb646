"""Ask peers for the other halves of pairs, on behalf of whoever monitors and waits seconds: that streams fill the wire
is an answer too."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from msgspec import Struct

from zrep.core.dataset import Member
from zrep.core.errors import BusyError, RefusedError, ZrepError
from zrep.core.moving import Moving
from zrep.core.neighbours import LeftOut
from zrep.core.pair import Tree
from zrep.host.local import Host
from zrep.host.parallel import start
from zrep.ops.children import find_left_out
from zrep.ops.full_wire import Patience
from zrep.ops.memory import Memory, recall, under_way
from zrep.ops.read import observe_trees
from zrep.ops.session import Session

# Longer than a transaction group takes on disks that are busy.
_SECONDS = 15.0
# Whoever monitors waits seconds. A peer that has not said a word so many seconds after it was dialled, and not all that
# it is asked so many after the beginning, has a full wire, where streams of zrep's fill it.
_GREETING = 2.0
PATIENCE = 3.0


class Recalled(Struct, frozen=True):
    """What one host remembers of datasets in its pairs. memories: by name; moving: the streams of those that are being
    worked on there, by name."""

    memories: Mapping[str, Memory]
    moving: Mapping[str, Moving]


def recall_trees(
    session: Session, trees: Iterable[Tree | ZrepError], *names: str, host: Host | None = None
) -> Recalled:
    """Recall what a host, this one unless another is given, remembers of trees, of each member, and of other names."""
    members = [member.name for tree in trees if isinstance(tree, Tree) for member in tree.members]
    memories = recall(session, *dict.fromkeys([*names, *members]), host=host)
    return Recalled(memories, under_way(host or session.local, memories))


class OtherHalf(Struct, frozen=True):
    """The other half of a pair, or of a lane of one, what is remembered of the pair on its host, and what nobody
    replicates below it."""

    half: Tree
    recalled: Memory
    moving: Mapping[str, Moving]
    left_out: LeftOut | None

    @property
    def member(self) -> Member:
        return self.half.members[0]


# By the names of the halves here; instead of what could not be asked for, why not.
Answers = dict[str, OtherHalf | ZrepError]


def observe_soon(session: Session, host: Host, names: Mapping[str, bool]) -> dict[str, Tree | ZrepError]:
    """Read datasets for whoever monitors: what is said of bytes behind, or written to a replica, must not lag a
    transaction group; and there is an answer in seconds, whatever hangs."""
    return observe_trees(host, session.tag, names, sync_txg=True, seconds=_SECONDS)


def ask_peers(session: Session, trees: Sequence[Tree], patience: Patience) -> Answers:
    """Ask for the other halves, by their names here, of those that are there; instead of each of a peer's, what kept it
    from being asked."""
    by_peer: dict[str, list[Tree]] = {}
    for tree in trees:
        by_peer.setdefault(tree.role.peer_host, []).append(tree)
    peers = [partial(_ask_peer, session, host, mine, patience) for host, mine in by_peer.items()]
    found: Answers = {}
    for answers in session.side_by_side(peers, len(peers)):
        found |= answers
    return found


def _ask_peer(session: Session, name: str, mine: Sequence[Tree], patience: Patience) -> Answers:
    """The same of one peer. Where streams fill the wire to it, that is the answer: monitoring does not wait for their
    end. A peer that greets soon has a wire, and is waited for."""
    try:
        peer = session.host(name)
    except ZrepError as error:
        return {each.name: error for each in mine}
    if peer.answered:
        return _answers(session, peer, mine)
    said: list[Answers | BaseException] = []

    def ask() -> None:
        try:
            said.append(_answers(session, peer, mine))
        except BaseException as error:  # raised where it is waited for
            said.append(error)

    began = time.monotonic()
    ended = start(ask)
    if not ended.wait(_GREETING) and not peer.answered:
        ended.wait(max(_GREETING / 4, patience.until - time.monotonic()))
        if not said and (working := patience.at_work(session, name)):
            evidence = f"no answer in {time.monotonic() - began:.0f} s, while zrep is at work on {', '.join(working)}"
            full = BusyError(f"the wire to {name} is full", evidence=evidence)
            peer.hang_up(full)  # what is under way changes nothing, and its end would take as long as an answer
            return {each.name: full for each in mine}
    ended.wait()
    [answers] = said
    if isinstance(answers, BaseException):
        raise answers
    return answers


def _answers(session: Session, peer: Host, mine: Sequence[Tree]) -> Answers:
    """The same, however long it takes."""
    found: Answers = {}
    try:
        theirs = observe_soon(session, peer, {x.role.peer_fs: x.role.recursive for x in mine})
        known = recall_trees(session, theirs.values(), *theirs, host=peer)
        masters = [other.members[0] for other in theirs.values() if isinstance(other, Tree) and other.role.master]
        left = find_left_out(peer, session.tag, masters, here=False)
    except ZrepError as error:
        if isinstance(error, RefusedError) and len(mine) > 1 and peer.answered:  # by a gate, for one of them
            middle = len(mine) // 2
            return _answers(session, peer, mine[:middle]) | _answers(session, peer, mine[middle:])
        return {x.name: error for x in mine}
    for each in (each for each in mine if each.role.peer_fs in theirs):
        other = theirs[each.role.peer_fs]
        if isinstance(other, Tree):
            found[each.name] = OtherHalf(other, known.memories[other.name], known.moving, left.get(other.name))
        else:
            found[each.name] = other
    return found
