"""boot: a host that was master writes nothing after a boot until its peer has said who is master. It may have been away
for an hour, and its role with it: without this, whatever starts by itself writes to the old master until cron's first
run, and that ends in a split copy.

Two commands, because a peer can be asked only when there is a network, and filesystems are mounted before: hold, before
they are; ask, once there is one. What holds a master is what stops a stale one, recorded beside it: whatever is cut
here, the next run of sync that reaches the peer goes on with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from shlex import quote

from zrep.core.errors import BusyError, RefusedError, UnreachableError
from zrep.core.names import memory_key
from zrep.core.pair import End
from zrep.core.plan_role import plan_restore
from zrep.core.requests import Lock, Remember
from zrep.core.role import Role
from zrep.core.tags import kept_read_only
from zrep.ops.every_tag import each_tag
from zrep.ops.finding import find_link, roles_here
from zrep.ops.locking import busy
from zrep.ops.memory import recall
from zrep.ops.outcome import Outcome, each
from zrep.ops.pairs import open_pair
from zrep.ops.read import find_role, observe_tree
from zrep.ops.repair import prepare, stop
from zrep.ops.session import Session
from zrep.ops.tags import other_roles

# Seconds between two tries to reach a peer.
_PAUSE = 2.0
_HELD = "held"


def hold(session: Session) -> list[Outcome]:
    """Make every master here read-only, under every tag. Not one that was promoted alone and has not met its peer
    since: no other side can have taken its role."""
    found: list[Outcome] = []
    for one, _ in each_tag(session, []):
        names = [name for name, role in roles_here(one).items() if _in_question(role)]
        found += each(names, partial(_hold, one))
    return found


def ask(begin: Callable[[], Session], wait: float, *, open_then: bool) -> tuple[Session, list[Outcome]]:
    """Ask the peer of each master that is stopped, again and again for so many seconds, until all have answered. The
    right master is writable again; another stays as it is, with the reason. open_then: those held since this boot whose
    peer did not answer are opened in the end; else they stay read-only until it does. begin: a session, for one try:
    what was not reached is dialled anew by another. The last one is given back open, with what became of each."""
    session = begin()
    give_up = session.clock() + wait
    # Counted too: the clock may be set back while a machine starts.
    for left in range(int(wait // _PAUSE), -1, -1):
        found = [outcome for one, _ in each_tag(session, []) for outcome in each(_stopped(one), partial(_ask, one))]
        waiting = [each for each in found if isinstance(each.error, UnreachableError | BusyError)]
        if not waiting or not left or session.clock() + _PAUSE > give_up:
            break
        session.sleep(_PAUSE)
        session.close()
        session = begin()
    if open_then:
        late = {outcome.filesystem for outcome in waiting}
        found = [outcome for outcome in found if outcome not in waiting]
        for one, _ in each_tag(session, []):
            found += each([name for name in _stopped(one) if name in late], partial(_open, one))
    return session, found


def _in_question(role: Role) -> bool:
    beginning = role.intent is not None and role.intent.operation == "init"  # it has no replica yet
    return bool(role.paired and role.master and not role.alone and not beginning)


def _stopped(session: Session) -> list[str]:
    return [
        name
        for name, role in roles_here(session).items()
        if role.master and role.intent is not None and role.intent.operation == "stopped"
    ]


def _hold(session: Session, name: str) -> Outcome:
    if session.local.ask(Lock((name,), 2.0, session.tag)):
        raise busy(name)
    role = find_role(session.local, session.tag, name)
    if role is None or not _in_question(role):
        return Outcome(name, message="it is no master any more")
    tree = observe_tree(session.local, session.tag, name, recursive=role.recursive)
    if stop(session, session.alone(), tree, other_roles(session.local, session.tag, name)):
        # Forgotten at the next boot: that it stays closed without its peer is then the safe side.
        session.local.ask(Remember({memory_key(session.tag, name): {_HELD: session.now}}))
    return Outcome(name, message=f"read-only until {role.peer_host} has said who is master")


def _ask(session: Session, name: str) -> Outcome:
    role = find_link(session, name, strict=False).role
    if role.only_dialled:
        raise UnreachableError(
            f"it is read-only until {role.peer_host} comes by", filesystem=name, evidence="that host alone dials"
        )
    try:
        prepare(session, open_pair(session, name))
    except UnreachableError as error:
        error.advice = f"it stays read-only until it answers; to go on without it: zrep takeover -L {quote(name)}"
        raise
    return Outcome(name, message="it is master")


def _open(session: Session, name: str) -> Outcome:
    """Go on without the peer's answer, as was asked for: as it was before the boot."""
    if not session.local.locks.has(name) and session.local.ask(Lock((name,), 2.0, session.tag)):
        raise busy(name)
    role = find_role(session.local, session.tag, name)
    if role is None or not role.master or role.intent is None or role.intent.operation != "stopped":
        return Outcome(name, message="it is decided meanwhile")
    if not isinstance(recall(session, name)[name].get(_HELD), int):
        raise RefusedError(
            "it stays read-only",
            filesystem=name,
            evidence="it was stopped before this boot, and its peer does not answer",
            advice=f"to go on without it: zrep takeover -L {quote(name)}",
        )
    tree = observe_tree(session.local, session.tag, name, recursive=role.recursive)
    if why := kept_read_only(other_roles(session.local, session.tag, name)):
        return Outcome(name, message=f"it stays read-only, {why}")
    session.alone().do_all(plan_restore(End.SOURCE, tree, session.tag, role.intent))
    return Outcome(name, message=f"writable, although {role.peer_host} did not answer", important=True)
