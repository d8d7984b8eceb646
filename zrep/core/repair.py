"""What an earlier run has left of a role change, and what the next one does with it by itself."""

from __future__ import annotations

from enum import Enum

from zrep.core.pair import End
from zrep.core.relation import Linked, relate
from zrep.core.role import Role


class Repair(Enum):
    """What the next run does by itself with what an earlier one left of a role change, in this order."""

    DEMOTE = "the old master follows the side that took the role"
    UNDO = "the master goes back to how it was before a role change that was not committed"
    RESTORE = "a master that was stopped is one after all, and writable again"
    COMPLETE = "a role of which only a part landed is made whole"
    OPEN = "a new master is made available"
    TELL = "an old master's programs are told that it was demoted"
    MET = "a side promoted alone has met its peer"


def next_repair(source: Role, target: Role) -> tuple[Repair, End] | None:
    """What is to be mended first of an unfinished role change, and the end it is about; None when nothing is. After
    each, both are read and asked about again. It does not matter which is given as the source, but where both ends need
    the same the source comes first."""
    linked = isinstance(relate(source, target), Linked)
    ends = ((End.SOURCE, source, target), (End.TARGET, target, source))
    needed = ((repair, end) for repair in Repair for end, role, other in ends if _needs(repair, role, other, linked))
    return next(needed, None)


def _needs(repair: Repair, role: Role, other: Role, linked: bool) -> bool:
    operation = role.intent.operation if role.intent else ""
    match repair:
        case Repair.DEMOTE:
            identity = role.intent.identity if role.intent else ""
            return role.master is True and operation == "failover" and other.gen == identity
        case Repair.UNDO:
            return linked and role.master is True and operation == "failover"
        case Repair.RESTORE:
            return linked and role.master is True and operation == "stopped"
        case Repair.COMPLETE:
            return role.partially_applied
        case Repair.OPEN:
            return role.master is True and operation == "promote"
        case Repair.TELL:
            return linked and role.master is False and operation == "follow"
        case Repair.MET:
            return linked and role.master is True and role.alone
