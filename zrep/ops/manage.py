"""The smaller commands: expire, pause, unpause, changeconfig, clear."""

from __future__ import annotations

import time
from collections.abc import Sequence
from shlex import quote

from zrep.core.errors import BusyError, RefusedError, UnreachableError, UsageError
from zrep.core.names import ROLE_PROPERTIES, check_dataset, check_host
from zrep.core.plan import expire_side, plan_expire
from zrep.core.record import Record
from zrep.core.relation import Linked, Unrelated, relate
from zrep.core.rolechange import plan_restore
from zrep.core.state import Member, Pair, Role, Side, Snapshot, Unit
from zrep.core.steps import DestroySnapshots, DiscardPartial, InheritProperty, Release, SetProperties, Step
from zrep.core.words import floor_bytes
from zrep.ops.session import Link, Outcome, Session, each
from zrep.ops.unusable import busy, unreadable
from zrep.system.agent import Agent
from zrep.system.execute import Line
from zrep.system.observe import observe


def _lock_here(session: Session, name: str, seen: Role | None = None) -> Member:
    """Lock and read one dataset of this host. BusyError when its role is not the one seen before any more."""
    if session.local.lock([name], 2.0):
        raise busy(name)
    found = observe(session.local, session.tag, [name])
    if name not in found:
        raise RefusedError("no such filesystem here", filesystem=name)
    role = found[name].role
    if seen is not None and (role.links, role.master) != (seen.links, seen.master):
        raise BusyError("its role changed meanwhile", filesystem=name)
    return found[name]


def _apply(session: Session, name: str, plan: Sequence[Step], message: str, agent: Agent | None = None) -> Outcome:
    executor = session.alone(agent)
    if session.options.dry_run:
        return Outcome(name, lines=tuple(executor.lines(plan)))
    executor.do_all(plan)
    return Outcome(name, message=message)


# --- expire ---


def expire(session: Session, names: Sequence[str], here_only: bool) -> list[Outcome]:
    """Let go of surplus snapshots, each side by its own savecount; here_only (-L): leave the peer alone.

    No names: every filesystem of a pair here, masters on both sides, replicas on this one.
    """
    everything = not names
    chosen = list(names) or list(session.roles())
    return each(chosen, lambda name: _expire(session, name, here_only, everything))


def _expire(session: Session, name: str, here_only: bool, everything: bool) -> Outcome:
    link = session.link(name)
    if here_only or (everything and not link.is_master):
        return _expire_here(session, name)
    try:
        view = session.open(name)
    except BusyError as error:
        return Outcome(name, error=error, skipped=everything)
    if not isinstance(view.relation, Linked):
        raise RefusedError(f"not expired: {view.relation.word}", filesystem=name, evidence=view.relation.evidence())
    plan = plan_expire(view.pair)
    if session.options.dry_run:
        return Outcome(name, lines=tuple(view.executor.lines(plan)))
    view.do(plan)
    return Outcome(name, message=_expired(plan))


def _expire_here(session: Session, name: str) -> Outcome:
    """Without the peer the base is the newest snapshot that is held as one; without any, nothing goes."""
    member = _lock_here(session, name)
    held = [snapshot for snapshot in member.snapshots if session.tag in snapshot.holds and snapshot.sent]
    plan = expire_side(Side.MASTER, member, session.tag, held[-1] if held else None)
    return _apply(session, name, plan, _expired(plan))


def _expired(plan: Sequence[Step]) -> str:
    count = sum(len(step.names) for step in plan if isinstance(step, DestroySnapshots))
    return f"expired {count} snapshot{'' if count == 1 else 's'}" if count else "nothing to expire"


# --- pause ---


def pause(session: Session, names: Sequence[str], reason: str) -> list[Outcome]:
    """sync leaves the filesystems alone until unpause; who asked and when is kept with it."""
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(session.now))
    text = f"{reason or 'paused'} since {since}"
    return each(names, lambda name: _set_paused(session, name, text))


def unpause(session: Session, names: Sequence[str]) -> list[Outcome]:
    return each(names, lambda name: _set_paused(session, name, ""))


def _set_paused(session: Session, name: str, text: str) -> Outcome:
    role = session.link(name).role
    if bool(role.paused) == bool(text):
        return Outcome(name, message="paused already" if text else "not paused")
    if text and not role.master:
        raise RefusedError(
            "it is the replica here, and only the master's sync can be paused",
            filesystem=name,
            advice=f"on {role.src_host}: zrep pause {quote(role.src_fs)}",
        )
    _lock_here(session, name, role)
    step: Step = (
        SetProperties(Side.MASTER, (name,), ((f"{session.tag}:paused", text),))
        if text
        else InheritProperty(Side.MASTER, (name,), f"{session.tag}:paused")
    )
    return _apply(session, name, [step], "paused" if text else "sync goes on")


# --- changeconfig ---


class Config(Record):
    """What changeconfig changes on this side; empty, 0 or None: as it is. Names are the peer's; lease: seconds, 0 for
    none."""

    peer_host: str = ""
    peer_fs: str = ""
    own_host: str = ""
    savecount: int = 0
    lease: int | None = None
    minfree: str = ""


def changeconfig(session: Session, name: str, config: Config) -> Outcome:
    """Change where this side finds its peer, or its own limits; a dataset that was renamed learns its
    own name. Only this side is changed."""
    link = session.link(name, strict=False)
    if garbage := unreadable(name, link.role):
        raise garbage
    if link.role.intent is not None and link.role.intent.role:
        raise RefusedError(
            "a role change is unfinished, and its record would undo this",
            filesystem=name,
            advice=f"finish it first: zrep sync {quote(name)}",
        )
    changes: dict[str, str] = {}
    ours, theirs = ("src", "dest") if link.is_master else ("dest", "src")
    if config.peer_host:
        changes[f"{theirs}-host"] = check_host(config.peer_host)
    if config.peer_fs:
        changes[f"{theirs}-fs"] = check_dataset(config.peer_fs)
    if link.role.own_fs != name:
        changes[f"{ours}-fs"] = name
    if config.own_host:
        changes[f"{ours}-host"] = check_host(config.own_host)
    if config.savecount:
        changes["savecount"] = str(config.savecount)
    if config.lease is not None:
        changes["lease"] = str(config.lease)
    if config.minfree:
        changes["minfree"] = config.minfree
        if floor_bytes(config.minfree, 0) is None:
            raise UsageError(f"{config.minfree!r} is no floor", filesystem=name, evidence="expected 2% or 10G")
    if not changes:
        raise UsageError("nothing to change", filesystem=name, advice="see: zrep changeconfig --help")
    _lock_here(session, name, link.role)
    properties = tuple((f"{session.tag}:{key}", value) for key, value in changes.items())
    text = ", ".join(f"{key}={value}" for key, value in changes.items())
    return _apply(session, name, [SetProperties(Side.MASTER, (name,), properties)], f"set {text}")


# --- clear ---


def clear(session: Session, name: str, here_only: bool) -> Outcome:
    """Undo the link: properties, holds and snapshots of ours go; the data stays, on both sides.

    The peer's half goes too, if it is this pair's; here_only (-L) leaves it. UnreachableError, and nothing
    changed, when the peer does not answer.
    """
    member = observe(session.local, session.tag, [name]).get(name)
    if member is None:
        raise RefusedError("no such filesystem here", filesystem=name, advice="see: zfs list")
    if not member.role.paired and not _traces(session, member):
        return Outcome(name, message="nothing of zrep is on it")
    lines: list[Line] = []
    if member.role.paired and not here_only:
        # Both before anything is changed: what is seen of the roles now may be over when the locks are free.
        _lock_both(session, Link(name, member.role))
        member = _lock_here(session, name, member.role)
        lines += _clear_peer(session, Link(name, member.role))
    else:
        member = _lock_here(session, name)
    plan = _clear_plan(session, member)
    lines += session.alone().lines(plan)
    if session.options.dry_run:
        return Outcome(name, lines=tuple(lines))
    session.alone().do_all(plan)
    for snapshot in member.ours(session.tag):
        if snapshot.clones:
            session.say(f"{name}: @{snapshot.name} stays, {', '.join(snapshot.clones)} is its clone")
    return Outcome(name, message="cleared; the data is untouched")


def _traces(session: Session, member: Member) -> bool:
    has_properties = any(value.local for key, value in member.properties.items() if key.startswith(f"{session.tag}:"))
    return has_properties or bool(member.ours(session.tag))


def _lock_both(session: Session, link: Link) -> None:
    try:
        taken = session.lock([link], 2.0)
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


def _clear_peer(session: Session, link: Link) -> list[Line]:
    peer = session.agent(link.peer_host)
    try:
        found = observe(peer, session.tag, [link.peer_name])
    except UnreachableError as error:
        raise _uncleared(link, error) from None
    member = found.get(link.peer_name)
    if member is None:
        return []
    if member.role.paired and not _other_half(link.role, member.role):
        # Everything is called tank/data everywhere: equal names are no proof.
        session.say(f"{link.name}: {link.peer_name} on {link.peer_host} belongs to another pair; left alone")
        return []
    plan = _clear_plan(session, member)
    executor = session.alone(peer)
    if not session.options.dry_run:
        executor.do_all(plan)
    return executor.lines(plan)


def _other_half(mine: Role, theirs: Role) -> bool:
    """Whether two roles are, or were, of one pair: by descent; without any, as the shell zrep left it, by names."""
    if not mine.gen and not theirs.gen:
        return mine.links == theirs.links or mine.links == theirs.links[2:] + theirs.links[:2]
    return not isinstance(relate(mine, theirs), Unrelated)


def _clear_plan(session: Session, member: Member) -> list[Step]:
    """Holds first (nothing held can be destroyed), then snapshots of ours without clones, properties last: a run
    that is cut finds the role and goes on. A former replica stays read-only: to write to it is the next decision."""
    tag, name, side = session.tag, member.name, Side.MASTER
    plan: list[Step] = []
    intent = member.role.intent
    if member.role.master and intent is not None and intent.operation in ("failover", "stopped"):
        # zrep made it read-only for a while: with the record goes the only one who would undo that.
        unit = Unit((member,))
        plan += plan_restore(Pair(tag, unit, unit), intent)
    if member.token:
        plan.append(DiscardPartial(side, name))
    held = tuple(f"{name}@{s.name}" for s in member.snapshots if tag in s.holds)
    if held:
        plan.append(Release(side, tag, held))
    ours: tuple[Snapshot, ...] = member.ours(tag)
    free = tuple(s.name for s in ours if not s.clones and not s.holds - {tag})
    if free:
        plan.append(DestroySnapshots(side, name, free))
    for key in (*(f"{tag}:{prop}" for prop in ROLE_PROPERTIES), f"{tag}:sent"):
        value = member.properties.get(key)
        if value is not None and (value.local or value.source == "received"):
            plan.append(InheritProperty(side, (name,), key))
    kept = tuple(f"{name}@{s.name}" for s in ours if s.name not in free and s.sent)
    if kept:
        plan.append(InheritProperty(side, kept, f"{tag}:sent"))
    return plan
