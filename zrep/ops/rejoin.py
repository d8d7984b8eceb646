"""rejoin: an old master that returned becomes the replica, without a full resend and without losing its tail.

What it wrote alone after the base stays readable in a split copy: the dataset is renamed, a clone of the base takes
its name, and promote makes the history up to the base the clone's. Each sub-step is recognised by name and
``origin``, so a run that is cut anywhere is finished by running it again.
"""

from __future__ import annotations

from shlex import quote

from msgspec import Struct
from msgspec.structs import replace

from zrep.core.dataset import Member, Snapshot
from zrep.core.errors import BusyError, FailedError, RefusedError
from zrep.core.names import split_dataset, split_snapshot
from zrep.core.pair import End, Tree, newest_common
from zrep.core.plan_data import plan_converge
from zrep.core.plan_role import plan_closed, plan_follow
from zrep.core.quantities import size
from zrep.core.relation import Interrupted, Linked, SplitBrain, Stale
from zrep.core.role import Intent, Role, intent_property
from zrep.core.steps import (
    Allow,
    Clone,
    InheritProperty,
    Mount,
    PromoteClone,
    Rename,
    SetProperties,
    Step,
    TakeSnapshot,
    Unmount,
)
from zrep.host.local import DIFFERENCES_KEPT
from zrep.ops import hooks
from zrep.ops.execute import Executor
from zrep.ops.outcome import Outcome
from zrep.ops.pairs import Link, Session, View
from zrep.ops.read import find_role, find_roles, observe, observe_children, read_all_properties, read_delegations

# Not given to the clone: made by zrep for a replica, or impossible to set on an existing dataset.
_NOT_COPIED = frozenset(
    (
        "readonly",
        "canmount",
        "volsize",
        "volblocksize",
        "encryption",
        "keyformat",
        "keylocation",
        "pbkdf2iters",
        "utf8only",
        "normalization",
        "casesensitivity",
    )
)
# Set last: a limit must not stand in the way of the clone, nor count twice while both exist.
_LIMITS = frozenset(["quota", "refquota", "reservation", "refreservation"])
_PROPERTY = "property "
# So many of the differences are shown one by one.
_SHOWN = 20


class _Rejoin(Struct, frozen=True):
    """One rejoin under way: the dataset's name, where its diverged copy goes, and what to set on the clone."""

    name: str
    split: str
    intent: Intent

    @property
    def base_guid(self) -> str:
        return self.intent.detail["base"]

    def properties(self, *, limits: bool) -> tuple[tuple[str, str], ...]:
        found = ((key.removeprefix(_PROPERTY), value) for key, value in self.intent.detail.items() if " " in key)
        return tuple((name, value) for name, value in found if (name in _LIMITS) is limits)


def rejoin(session: Session, name: str) -> Outcome:
    """Become the replica of the side that is master now."""
    unfinished = _unfinished(session, name)
    if unfinished is not None:
        role = find_role(session.local, session.tag, name)
        if not _landed(unfinished, role):
            return _resume(session, unfinished)
        _tidy(session, unfinished)
        if role is not None and role.master:
            return Outcome(name, message=f"{_kept(unfinished)}; it has become master since, nothing is left to do")
    view = session.open(name)
    if not _may_rejoin(session, view):
        if unfinished is not None and not session.options.dry_run:
            return _linked_again(session, name, _kept(unfinished))
        return Outcome(name, message="nothing to rejoin: the pair is linked")
    base = newest_common(view.lane.at(view.here), view.lane.at(view.here.other))
    if base is None:
        raise RefusedError(
            "the two sides have no common snapshot, so it cannot become a replica without starting over",
            filesystem=name,
            advice=f"zrep clear -L {quote(name)}; then init from the master to a new target",
        )
    if not session.options.dry_run:
        peer = (view.link.peer_host, view.link.peer_name)
        hooks.ask(session, session.local, "before-demote", name, peer, view.theirs.role.epoch or 0)
    view = _raise_epoch(session, view)
    readable = _replay_intent_log(session, view)
    listed = _differences(session, view, base) if readable else []
    _close(session, name)
    view = session.again(view, sync_txg=True)
    base = view.lane.at(view.here).by_guid(base.guid)
    assert base is not None
    written = view.lane.at(view.here).written_since(base)
    later = [s.name for s in view.lane.at(view.here).after(base)]
    if written and not later and session.local.is_unmodified(f"{name}@{base.name}", name):
        written = 0  # a crash, and the replay after it, count as written
    if readable and not written:
        plan = _become_replica(session, view.lane.at(view.here), view.theirs.role)
        if session.options.dry_run:
            return Outcome(name, message="nothing was written since the base", lines=tuple(session.alone().lines(plan)))
        session.alone().do_all(plan)
        return _linked_again(session, name, f"rejoined at @{base.name}; nothing had been written since")
    return _split(session, view, base, written, later, listed)


def _may_rejoin(session: Session, view: View) -> bool:
    """Whether there is anything to do; RefusedError when this side is not the one to give up its role."""
    match view.relation:
        case Linked():
            return False
        case Stale():
            return True
        case SplitBrain() if session.options.force and view.theirs.role.master:
            return True
        case Interrupted() if view.theirs.role.master:
            return True
        case SplitBrain():
            raise RefusedError(
                "split brain: both sides were made master",
                filesystem=view.name,
                evidence=view.relation.evidence(),
                advice=f"to give up this side (its data stays in a split copy): zrep rejoin -f {quote(view.name)}",
            )
    raise RefusedError(f"cannot rejoin: {view.relation.word}", filesystem=view.name, evidence=view.relation.evidence())


def _raise_epoch(session: Session, view: View) -> View:
    """Epochs only rise: after a split brain the side that is kept may be behind the one that gives up."""
    mine, theirs = view.mine.role.epoch or 0, view.theirs.role.epoch or 0
    if mine <= theirs or session.options.dry_run:
        return view
    peer = session.agent(view.link.peer_host)
    there = Executor(session.local, peer, peer, session.tag)
    properties = [(f"{session.tag}:epoch", str(mine))]
    intent = view.theirs.role.intent
    if intent and intent.role:  # the record of a role that is not finished is what counts
        record = replace(intent, role={**intent.role, "epoch": str(mine)})
        properties.insert(0, intent_property(session.tag, record))
    there.do(SetProperties(End.SOURCE, (view.theirs.name,), tuple(properties)))
    return session.again(view)


def _replay_intent_log(session: Session, view: View) -> bool:
    """Stop writes and mount, which replays the intent log: writes acknowledged just before a crash live only there,
    and a receive would discard them silently. False when the dataset cannot be mounted: then it is split."""
    member = view.lane.at(view.here)
    executor = session.alone()
    if session.options.dry_run:
        return True
    if not member.readonly:
        executor.do(SetProperties(End.SOURCE, (member.name,), (("readonly", "on"),)))
    if member.volume or member.mounted:
        return True
    if member.key_missing or not member.get("mountpoint").startswith("/"):
        return False
    return executor.try_do(Mount(End.SOURCE, member.name)) is None


def _differences(session: Session, view: View, base: Snapshot) -> list[str]:
    """What was written here alone, for a person: counts by kind, and the first of them. It can be told only while it
    is mounted; of a volume only how much."""
    root = view.lane.at(view.here)
    if root.volume or (session.options.dry_run and not root.mounted):
        return []
    found = session.local.differences(f"{root.name}@{base.name}", root.name)
    kinds = (("+", "added"), ("M", "modified"), ("-", "removed"), ("R", "renamed"))
    counts = [(sum(kind == letter for kind, _ in found), word) for letter, word in kinds]
    some = ", ".join(f"{count} {word}" for count, word in counts if count)
    if not found:
        return []
    more = " or more" if len(found) >= DIFFERENCES_KEPT else ""
    return [f"{some}{more}, among them:", *(f"  {letter} {path}" for letter, path in found[:_SHOWN])]


def _close(session: Session, name: str) -> None:
    """Unmount it: read-only or not, a process that has mapped a file writable goes on storing into it, and what it
    stores after the last look would be lost with the next stream. RefusedError when somebody uses it."""
    if not session.options.dry_run:
        _unmount(session, observe(session.local, session.tag, [name])[name])


def _become_replica(session: Session, member: Member, master: Role) -> list[Step]:
    """The role as the master has it; mounting is from now on the master's business."""
    side = End.SOURCE
    return [
        SetProperties(side, (member.name,), (("readonly", "on"),)),
        *plan_closed(side, Tree((member,)), session.tag),
        *plan_follow(side, member.name, session.tag, master, master, swap=False),
    ]


def _linked_again(session: Session, name: str, message: str) -> Outcome:
    """Converge holds and marks over the new roles."""
    link = session.link(name)
    view = session.view(link)
    if not isinstance(view.relation, Linked):
        raise FailedError("the two sides are not linked", filesystem=name, evidence=view.relation.evidence())
    view.converge(plan_converge(view.lane, session.now))
    hooks.tell(session, session.local, "after-demote", name, view.mine.role)
    return Outcome(name, message=f"{message}; {link.peer_host}'s next sync brings it up to date")


# --- the split ---


def _split(session: Session, view: View, base: Snapshot, written: int, later: list[str], listed: list[str]) -> Outcome:
    member, master = view.lane.at(view.here), view.theirs.role
    _refuse_children(session, member)
    job = _Rejoin(
        member.name,
        split_dataset(member.name, member.role.epoch or 0, member.role.generation),
        Intent("rejoin", master.gen, "split", member.role.epoch or 0, _detail(session, view, base, written)),
    )
    if session.options.dry_run:
        message = f"{size(written)} in {len(later)} snapshots and after them would stay in {job.split}"
        plan = [*_begin(session, job, member), *_move(session, job, base.name)]
        plan += [*_delegations(session, job, job.name), *_end(session, job, master, member)]
        return Outcome(member.name, message=message, lines=tuple(session.alone().lines(plan)), notes=tuple(listed))
    session.say(f"{member.name}: {size(written)} were written here after @{base.name} and stay in {job.split}")
    for line in listed:
        session.say(f"{member.name}: {line}")
    session.alone().do_all(_begin(session, job, member))
    return _carry_on(session, job, view.theirs)


def _detail(session: Session, view: View, base: Snapshot, written: int) -> dict[str, str]:
    """What a later run needs to finish: the base, the peer (the copy loses its links before it loses this record),
    and every local property to give to the clone."""
    member = view.lane.at(view.here)
    peer = {"host": view.link.peer_host, "peer": view.link.peer_name}
    table = read_all_properties(session.local, member.name)
    others = [key.removesuffix(":src-fs") for key, value in table.items() if key.endswith(":src-fs") and value.local]
    if others != [session.tag]:
        raise RefusedError(
            "it is in another pair too, and a split would tear that one apart",
            filesystem=member.name,
            evidence=f"tags {', '.join(others)}",
            advice="end the others first: zrep -t TAG clear FS",
        )
    copied = {
        f"{_PROPERTY}{key}": value.value
        for key, value in table.items()
        if value.local and key not in _NOT_COPIED and not key.startswith(f"{session.tag}:") and "\n" not in value.value
    }
    role = member.role
    settings = {f"{_PROPERTY}{session.tag}:savecount": str(role.savecount)} if role.savecount else {}
    if not member.volume:
        settings[f"{_PROPERTY}{session.tag}:canmount"] = member.master_canmount
    for key, value in (
        ("flags", role.flags),
        ("outfilter", role.outfilter),
        ("infilter", role.infilter),
        ("lease", role.lease),
        ("minfree", role.minfree),
    ):
        if value:
            settings[f"{_PROPERTY}{session.tag}:{key}"] = str(value)
    return {"fs": member.name, "base": base.guid, "written": str(written), **peer, **copied, **settings}


def _refuse_children(session: Session, member: Member) -> None:
    """A rename would carry along datasets that are not part of the pair."""
    children = observe_children(session.local, member.name)
    if children:
        raise RefusedError(
            "it has child filesystems that are not replicated, and a split would move them along",
            filesystem=member.name,
            evidence=", ".join(children[:5]),
            advice="move them out of it (zfs rename) and run this again",
        )


def _unmount(session: Session, member: Member) -> None:
    if not member.mounted:
        return
    error = session.alone().try_do(Unmount(End.SOURCE, member.name))
    if error is not None:
        occupants = session.local.occupants(member.get("mountpoint"))
        raise RefusedError(
            "it is in use",
            filesystem=member.name,
            evidence=", ".join(occupants) or error.evidence,
            advice=f"stop what uses {member.get('mountpoint')} and run this again",
        )


def _begin(session: Session, job: _Rejoin, member: Member) -> list[Step]:
    """The role is given up in the same set that records the intent (which goes first: of a set that lands in part the
    record is what a later run needs); then the end of the diverged history."""
    ending = split_snapshot(session.tag, job.intent.epoch)
    plan: list[Step] = [
        SetProperties(
            End.SOURCE,
            (job.name,),
            (intent_property(session.tag, job.intent), (f"{session.tag}:master", "no")),
        )
    ]
    if member.by_name(ending) is None:
        plan.append(TakeSnapshot(End.SOURCE, (f"{job.name}@{ending}",)))
    plan.append(Rename(End.SOURCE, job.name, job.split, member.volume))
    return plan


def _move(session: Session, job: _Rejoin, base: str) -> list[Step]:
    """From the renamed copy to a promoted clone. The copy is made harmless first: nothing mounts or writes it."""
    return [*_seal(job), *_clone(job, base), PromoteClone(End.SOURCE, job.name)]


def _seal(job: _Rejoin, volume: bool = False) -> list[Step]:
    quiet = (("readonly", "on"),) if volume else (("canmount", "noauto"), ("mountpoint", "none"), ("readonly", "on"))
    room = (("refreservation", "none"), ("reservation", "none"))
    return [SetProperties(End.SOURCE, (job.split,), quiet), SetProperties(End.SOURCE, (job.split,), room)]


def _clone(job: _Rejoin, base: str, volume: bool = False) -> list[Step]:
    own = (("readonly", "on"),) if volume else (("readonly", "on"), ("canmount", "noauto"))
    return [Clone(End.SOURCE, f"{job.split}@{base}", job.name, (*own, *job.properties(limits=False)))]


def _delegations(session: Session, job: _Rejoin, holder: str) -> list[Step]:
    """What is delegated on the dataset, or on the copy that was the dataset: a clone has none of it."""
    return [Allow(End.SOURCE, job.name, words) for words in read_delegations(session.local, holder)]


def _end(session: Session, job: _Rejoin, master: Role, member: Member) -> list[Step]:
    """Limits, then the role on the clone, then the copy loses its role and says what it is."""
    plan: list[Step] = []
    limits = job.properties(limits=True)
    if limits:
        plan.append(SetProperties(End.SOURCE, (job.name,), limits))
    plan += plan_follow(End.SOURCE, job.name, session.tag, master, master, swap=False)
    plan += _forget(session, job, member)
    return plan


def _forget(session: Session, job: _Rejoin, member: Member) -> list[Step]:
    text = f"what {job.name} held alone: {size(int(job.intent.detail['written']))}, epoch {job.intent.epoch}"
    plan: list[Step] = [SetProperties(End.SOURCE, (job.split,), ((f"{session.tag}:split", text),))]
    own = [key for key, value in member.properties.items() if key.startswith(f"{session.tag}:") and value.local]
    # The intent goes last: by it a run that was cut here is recognised.
    intent = f"{session.tag}:inprogress"
    for key in [*(key for key in own if key not in (intent, f"{session.tag}:split")), intent]:
        plan.append(InheritProperty(End.SOURCE, (job.split,), key))
    return plan


def _unfinished(session: Session, name: str) -> _Rejoin | None:
    """A rejoin of this dataset that was cut after the record was made, found on the dataset or on its copy."""
    for dataset, role in find_roles(session.local, session.tag).items():
        intent = role.intent
        if intent and intent.operation == "rejoin" and intent.detail.get("fs") == name:
            split = dataset if dataset != name else split_dataset(name, intent.epoch, role.generation)
            return _Rejoin(name, split, intent)
    return None


def _landed(job: _Rejoin, role: Role | None) -> bool:
    """Whether the dataset has its role on the clone: from then on the role may have moved on, and only the copy's
    record is left of the rejoin. A role that landed in part has not, unless it is a later one."""
    if role is None or role.rejoining or not role.gen:
        return False
    return not (role.partially_applied and role.intent is not None and role.intent.operation == "follow")


def _tidy(session: Session, job: _Rejoin) -> None:
    """Take the record of a rejoin that has come to its end from the copy."""
    if session.options.dry_run:
        return
    if session.local.lock([job.name], 5.0):
        raise BusyError("busy", filesystem=job.name, evidence="another zrep is working on it")
    try:
        session.alone().do_all(_forget(session, job, observe(session.local, session.tag, [job.split])[job.split]))
    finally:
        session.local.unlock([job.name])


def _kept(job: _Rejoin) -> str:
    return f"rejoined; {size(int(job.intent.detail['written']))} that it had written alone are in {job.split}"


def _resume(session: Session, job: _Rejoin) -> Outcome:
    detail = job.intent.detail
    link = Link(session.tag, job.name, Role(src_host=detail["host"], src_fs=detail["peer"], master=False))
    if session.lock([link]):
        raise BusyError("busy", filesystem=job.name, evidence="another zrep is working on it")
    peer = session.agent(link.peer_host)
    theirs = observe(peer, session.tag, [link.peer_name]).get(link.peer_name)
    if theirs is None or not theirs.role.master:
        raise RefusedError(f"{link.peer_name} on {link.peer_host} is not master", filesystem=job.name)
    if session.options.dry_run:
        return Outcome(job.name, message=f"would finish the rejoin that was interrupted; its copy is {job.split}")
    session.say(f"{job.name}: finishing the rejoin that was interrupted")
    return _carry_on(session, job, Tree((theirs,)))


def _carry_on(session: Session, job: _Rejoin, theirs: Tree) -> Outcome:
    """From wherever it stands, by what is there."""
    executor = session.alone()
    found = observe(session.local, session.tag, [job.name, job.split])
    if job.split not in found:
        member = found[job.name]
        _unmount(session, member)
        executor.do_all(_begin(session, job, member))
        found = observe(session.local, session.tag, [job.name, job.split])
    split = found[job.split]
    if job.name not in found:
        base = split.by_guid(job.base_guid)
        if base is None:
            raise FailedError("the base is gone", filesystem=job.split, evidence=f"guid {job.base_guid}")
        executor.do_all([*_seal(job, split.volume), *_clone(job, base.name, split.volume)])
        found = observe(session.local, session.tag, [job.name, job.split])
    if found[job.name].get("origin").startswith(job.split + "@"):
        executor.do(PromoteClone(End.SOURCE, job.name))
    executor.do_all(_delegations(session, job, job.split))
    executor.do_all(_end(session, job, theirs.role, observe(session.local, session.tag, [job.split])[job.split]))
    key = f"; before it can be mounted again: zfs load-key '{job.name}'" if split.encrypted else ""
    return _linked_again(session, job.name, f"{_kept(job)}{key}")
