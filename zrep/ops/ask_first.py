"""Before a promotion alone the other side is asked, if it answers: where it does, something loses less."""

from __future__ import annotations

from shlex import quote

from zrep.core.dataset import Member
from zrep.core.errors import RefusedError, ZrepError
from zrep.core.relation import Adoptable, Linked, relate
from zrep.host.parallel import in_time
from zrep.ops.pairs import Session
from zrep.ops.read import observe

# A peer that is lost says so within ssh's own bound; one that hangs in a command may take for ever.
_ANSWER_SECONDS = 20.0


def check_gone(session: Session, member: Member, loss: str) -> None:
    """RefusedError when the master of a replica that is to be promoted alone answers, and is master. loss: what would
    be lost."""
    theirs = _answer(session, member)
    if theirs is None or not theirs.role.master:
        return
    host, name = member.role.peer_host, quote(member.name)
    if isinstance(relate(member.role, theirs.role), Linked | Adoptable):
        raise RefusedError(
            f"{host} answers and is master: without -L nothing is lost",
            filesystem=member.name,
            evidence=f"with it {loss}",
            advice=f"zrep takeover {name}; or, to have two masters all the same, -f with it",
        )
    found = session.diagnose(member, theirs)
    raise RefusedError(
        f"{host} answers and is master: {found.what}",
        filesystem=member.name,
        evidence=found.evidence,
        advice=f"{found.advice}; or, to have two masters all the same, -f with zrep takeover -L {name}",
    )


def check_silent(session: Session, member: Member) -> None:
    """RefusedError when the peer of a master that is stuck answers: then a run finds out which side is master."""
    theirs = _answer(session, member)
    if theirs is None:
        return
    found = session.diagnose(member, theirs)
    raise RefusedError(
        f"{member.role.peer_host} answers, and says which side is master",
        filesystem=member.name,
        evidence=found.evidence or found.what,
        advice=f"{found.advice or f'zrep sync {quote(member.name)}'}; or, to go on as a second master, -f with -L",
    )


def _answer(session: Session, member: Member) -> Member | None:
    """The other half as its host says it is; None where the host does not answer, or has none."""
    role = member.role
    session.say(f"{member.name}: asking {role.peer_host} whether it is still there")
    try:
        found = in_time(lambda: observe(session.peer(role), session.tag, [role.peer_fs]), _ANSWER_SECONDS)
    except ZrepError as error:
        session.say(f"{member.name}: {error.line()}")
        return None
    if not found:
        session.say(f"{member.name}: {role.peer_host} did not answer within {_ANSWER_SECONDS:.0f} s")
    return found[0].get(role.peer_fs) if found else None
