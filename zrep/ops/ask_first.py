"""Before a promotion alone the other side is asked, if it answers: where it does, something loses less."""

from __future__ import annotations

from shlex import quote

from zrep.core.dataset import Member
from zrep.core.errors import RefusedError, ZrepError
from zrep.core.pair import newest_common
from zrep.core.pair_state import DATA, Diagnosis, State
from zrep.core.relation import Adoptable, Linked, relate
from zrep.host.parallel import in_time
from zrep.ops.pairs import diagnose_pair
from zrep.ops.read import observe
from zrep.ops.session import Session
from zrep.zfs.errors import PoolAbsentError

# A peer that is lost says so within ssh's own bound; one that hangs in a command may take for ever.
_ANSWER_SECONDS = 20.0


def check_gone(session: Session, member: Member, loss: str) -> None:
    """RefusedError when the master of a replica that is to be promoted alone answers, and is master. loss: what would
    be lost."""
    theirs = _answer(session, member)
    if theirs is None or (isinstance(theirs, Member) and not (theirs.role.master or _lost_its_role(member, theirs))):
        return
    host, name = member.role.peer_host, quote(member.name)
    found = diagnose_pair(session, member, theirs) if isinstance(theirs, Member) else theirs
    linked = isinstance(theirs, Member) and isinstance(relate(member.role, theirs.role), Linked | Adoptable)
    if linked and found.state not in DATA:
        raise RefusedError(
            f"{host} answers and is master: without -L nothing is lost",
            filesystem=member.name,
            evidence=f"with it {loss}",
            advice=f"zrep takeover {name}; or, to have two masters all the same, -f with it",
        )
    raise RefusedError(
        f"{host} answers{' and is master' if isinstance(theirs, Member) and theirs.role.master else ''}: {found.what}",
        filesystem=member.name,
        evidence=found.evidence,
        advice=f"{found.advice}; or, to have two masters all the same, -f with zrep takeover -L {name}",
    )


def _lost_its_role(member: Member, theirs: Member) -> bool:
    """Whether what has the name of the master is it, by what is in it, and nothing says so any more."""
    return not theirs.role.paired and newest_common(member, theirs) is not None


def check_silent(session: Session, member: Member) -> None:
    """RefusedError when the peer of a master that is stuck answers: then a run finds out which side is master."""
    theirs = _answer(session, member)
    if theirs is None:
        return
    found = diagnose_pair(session, member, theirs) if isinstance(theirs, Member) else theirs
    raise RefusedError(
        f"{member.role.peer_host} answers, and says which side is master",
        filesystem=member.name,
        evidence=found.evidence or found.what,
        advice=f"{found.advice or f'zrep sync {quote(member.name)}'}; or, to go on as a second master, -f with -L",
    )


def _answer(session: Session, member: Member) -> Member | Diagnosis | None:
    """The other half as its host says it is; what the pair is where that is there under another name; None where the
    host does not answer, is never asked from here, or has none."""
    role = member.role
    if role.only_dialled:
        return None
    session.say(f"{member.name}: asking {role.peer_host} whether it is still there")
    try:
        found = in_time(lambda: _other_half(session, member), _ANSWER_SECONDS)
    except RefusedError as error:
        raise RefusedError(
            f"{role.peer_host} may be there, and cannot be asked which side is master: {error.what}",
            filesystem=member.name,
            evidence=error.evidence,
            advice=f"{error.advice}; or, to have two masters if it is one, -f with zrep takeover -L "
            f"{quote(member.name)}",
        ) from None
    except ZrepError as error:
        session.say(f"{member.name}: {error.line()}")
        return None
    if not found:
        session.say(f"{member.name}: {role.peer_host} did not answer within {_ANSWER_SECONDS:.0f} s")
    return found[0] if found else None


def _other_half(session: Session, member: Member) -> Member | Diagnosis | None:
    """What has the name of the other half now, or what the pair is where that half is there under another name."""
    role = member.role
    theirs: Member | ZrepError | None
    try:
        theirs = observe(session.peer(role), session.tag, [role.peer_fs]).get(role.peer_fs)
    except PoolAbsentError as error:
        theirs = error
    found = diagnose_pair(session, member, theirs)
    if found.state is State.RENAMED:
        return found
    if isinstance(theirs, ZrepError):
        raise theirs
    return theirs
