"""Planning a role change: each plan is safe to stop after any step, and the reason for the order stands beside it.

Up to the commit everything can be undone; after it the old master stays read-only until its peer can be asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from zrep.core.apply import tree_after
from zrep.core.dataset import Member
from zrep.core.mounts import within
from zrep.core.names import ancestors, pool_of
from zrep.core.pair import End, Pair, Tree, next_snapshots
from zrep.core.plan_record import clear_intent, plan_complete_role
from zrep.core.role import ALONE, Intent, Role, intent_property, next_epoch, role_properties, role_values
from zrep.core.steps import (
    CloseTransactionGroup,
    Dirty,
    DiscardPartial,
    Hold,
    InheritProperty,
    Mount,
    RemountReadOnly,
    RemountWritable,
    ReplayLog,
    SetProperties,
    Share,
    Step,
    TakeRole,
    TakeSnapshot,
    Unmount,
)
from zrep.core.tags import NO_ROLES, Roles, stopped_by


def own_readonly(tree: Tree) -> tuple[Member, ...]:
    """The root, and the members that do not inherit readonly: what is set on these reaches all of a tree, so that the
    time in which nothing can be written does not grow by a command for each member."""
    root, *below = tree.members
    inherits = ("inherited", "default")
    return (root, *(m for m in below if not m.properties["readonly"].source.startswith(inherits)))


def by_mountpoint(tree: Tree) -> list[Member]:
    """The filesystems and volumes of a tree in the order in which they are mounted: what lies in another comes after
    it, whatever their names."""
    return sorted(tree.members, key=place_of_mount)


def plan_keep_excluded(end: End, tree: Tree, readonly: str) -> tuple[Step, ...]:
    """Before readonly is set on a tree: what is left out of it keeps what it is, as a value of its own."""
    names = {member.name for member in tree.excluded}
    heirs = tuple(
        member.name
        for member in tree.excluded
        if member.get("readonly") != readonly and not _has_own_readonly(member, names)
    )
    other = "off" if readonly == "on" else "on"
    return (SetProperties(end, heirs, (("readonly", other),)),) if heirs else ()


def _has_own_readonly(member: Member, excluded: Collection[str]) -> bool:
    """Whether what is set on a tree does not reach it: the value is its own, or of another one that is left out."""
    source = member.properties["readonly"].source
    return source in ("local", "received", "temporary") or source.removeprefix("inherited from ") in excluded


def place_of_mount(member: Member) -> list[str]:
    """What sorts what lies in another mount after it."""
    return member.get("mountpoint").split("/")


def plan_stop(end: End, tree: Tree, tag: str, others: Roles = NO_ROLES) -> tuple[Step, ...]:
    """A master that cannot be shown to be the right one stops writes. What it was is recorded first, so that it
    goes back to that when it turns out to be the right one after all. others: its roles under other tags: one that has
    stopped it already knows what it was, and is not to make it writable while this one has reason to doubt it."""
    stopped = all(member.readonly for member in tree.members)
    known = stopped_by(others)
    if stopped and (known is None or tree.role.intent):
        return ()
    own = own_readonly(tree)
    detail = known.detail if stopped and known else {member.name: _source_of(member, "readonly") for member in own}
    record = SetProperties(end, (tree.name,), (intent_property(tag, Intent("stopped", tree.role.gen, "", 0, detail)),))
    readonly = SetProperties(end, tuple(member.name for member in own), (("readonly", "on"),))
    stop = (*plan_keep_excluded(end, tree, "on"), readonly)
    return stop if tree.role.intent else (record,) if stopped else (record, *stop)


def plan_quiesce(pair: Pair, generation: str) -> tuple[Step, ...]:
    """Stop writes on the master: intent first (it says what to restore), then replay the intent log of what is not
    mounted (which fails under a writer elsewhere; nobody waits for it yet, however many they are), then remount what is
    (refuses while a writer has a file open or mapped; after readonly=on it would prove nothing), then readonly on the
    root and on every member that does not inherit it, then the transaction group, so that what was written is in the
    next snapshot."""
    own = own_readonly(pair.source)
    detail = {member.name: _source_of(member, "readonly") for member in own}
    intent = Intent("failover", generation, "prepare", next_epoch(pair.source.role, pair.target.role), detail)
    steps: list[Step] = [SetProperties(End.SOURCE, (pair.source.name,), (intent_property(pair.tag, intent),))]
    steps += filter(None, (replaying(End.SOURCE, member) for member in pair.source.members))
    steps += [
        RemountReadOnly(End.SOURCE, member.name, member.get("mountpoint"))
        for member in pair.source.members
        if member.placed
    ]
    steps += plan_keep_excluded(End.SOURCE, pair.source, "on")
    steps.append(SetProperties(End.SOURCE, tuple(member.name for member in own), (("readonly", "on"),)))
    steps.append(CloseTransactionGroup(End.SOURCE, pool_of(pair.source.name)))
    return tuple(steps)


def replaying(end: End, member: Member) -> ReplayLog | None:
    """What brings the intent log of a filesystem that is not mounted, for whatever reason, into it; None where nothing
    does, or has to."""
    if member.volume or member.mounted or member.key_missing:
        return None
    return ReplayLog(end, member.name, by_hand=member.get("mountpoint") == "legacy")


def _source_of(member: Member, name: str) -> str:
    value = member.properties[name]
    return f"{value.value} {value.source}"


def plan_final_snapshot(pair: Pair) -> tuple[Step, ...]:
    """Always a real snapshot, even with nothing written: it is what the target must hold to be promoted. Held once
    it is there, so that what waits for the disk meanwhile is the stream."""
    return (TakeSnapshot(End.SOURCE, pair.tag, tuple(lane.next_snapshot for lane in pair.lanes)),)


def plan_commit(pair: Pair, intent: Intent) -> tuple[Step, ...]:
    """The point of no return: the master says so first (from here it never aborts by itself), then the replica
    takes the role in one guarded set that also says what is left to do there."""
    committed = Intent(intent.operation, intent.identity, "commit", intent.epoch, intent.detail)
    return (
        SetProperties(End.SOURCE, (pair.source.name,), (intent_property(pair.tag, committed),)),
        take_role(pair.target, pair.tag, intent.identity, intent.epoch),
    )


def take_role(replica: Tree, tag: str, generation: str, epoch: int, *, alone: bool = False) -> TakeRole:
    """Make a replica, at the target, the master of a new generation; what is left to do there is its own intent."""
    role = replica.role
    values = role_values(role, master=True, swap=True, epoch=epoch, gen=generation, parents=role.lineage)
    return TakeRole(
        End.TARGET,
        replica.name,
        expected=role.generation,
        identity=generation,
        properties=role_properties(tag, "promote", generation, {**values, **(ALONE if alone else {})}),
    )


def plan_fence(end: End, tree: Tree, tag: str) -> tuple[Step, ...]:
    """Before a promotion without the master: dirtied, then snapshotted, then the snapshot held. From then on no
    stream on top of the base is accepted here (a bare snapshot would not refuse it), and nobody's ``receive -F``
    can take the snapshot away. A volume can only be dirtied by its size, and that only while it is writable."""
    steps: list[Step] = []
    for member in tree.members:
        if member.volume:
            on, off = (SetProperties(end, (member.name,), (("readonly", value),)) for value in ("on", "off"))
            steps += [off, Dirty(end, member.name, member.get("volsize")), on]
        else:
            steps.append(Dirty(end, member.name))
    full = next_snapshots(tag, *tree.members)
    return (*steps, TakeSnapshot(end, tag, full), Hold(end, tag, full))


def plan_forget_partial(end: End, tree: Tree) -> tuple[Step, ...]:
    """Forget what is half received of any member; one that has nothing else goes with it."""
    return tuple(DiscardPartial(end, member.name) for member in reversed(tree.members) if member.token)


def plan_take_alone(replica: Tree, tag: str, generation: str) -> tuple[Step, ...]:
    """Take the role without the master: fence, take. The last step is the TakeRole."""
    take = take_role(replica, tag, generation, next_epoch(replica.role), alone=True)
    return (*plan_fence(End.TARGET, replica, tag), take)


def plan_go_on_alone(master: Member, tag: str, generation: str) -> SetProperties:
    """A master whose peer will never say whether it took the role goes on as a new generation, so that a peer that did
    take it is recognised as the other half of a split brain."""
    role = master.role
    values = role_values(role, master=True, swap=False, epoch=next_epoch(role), gen=generation, parents=role.lineage)
    return SetProperties(End.TARGET, (master.name,), role_properties(tag, "promote", generation, {**values, **ALONE}))


def plan_writable(end: End, tree: Tree, tag: str) -> tuple[Step, ...]:
    """First half of opening a new master: writable, but for what its master kept read-only. canmount goes back to what
    a master here has where that takes no command of its own, or decides whether it can be mounted."""
    steps: list[Step] = [*plan_complete_role(end, tree, tag), *plan_keep_excluded(end, tree, "off")]
    own, frozen = own_readonly(tree), _frozen(tree)
    # What is below one of them inherits it, and what has it of its own keeps it.
    given = tuple(
        m.name for m in tree.members if m.name in frozen and m not in own and not frozen & {*ancestors(m.name)}
    )
    if given:
        steps.append(SetProperties(end, given, (("readonly", "on"),)))
    opened = tuple(member for member in own if member.name not in frozen)
    # What init has received has it all by itself: a command for each would be one for each member.
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for member in opened:
        mounts = () if member.volume else (("canmount", while_master(member)),)
        alike.setdefault((("readonly", "off"), *mounts), []).append(member.name)
    steps += [SetProperties(end, tuple(names), values) for values, names in alike.items()]
    # off unmounts, and keeps from being mounted.
    first = (m for m in tree.members if m not in opened and "off" in (m.get("canmount"), while_master(m)))
    steps += _canmount_back(end, first)
    return tuple(steps)


def _canmount_back(end: End, members: Iterable[Member]) -> tuple[SetProperties, ...]:
    """Give filesystems the canmount that a master here has, in a command for each value."""
    wanted: dict[str, list[str]] = {}
    for member in members:
        if not member.volume and member.get("canmount") != while_master(member):
            wanted.setdefault(while_master(member), []).append(member.name)
    return tuple(SetProperties(end, tuple(names), (("canmount", value),)) for value, names in wanted.items())


def _frozen(tree: Tree) -> set[str]:
    """The members of a replica that their master keeps read-only."""
    return {member.name for member in tree.members[1:] if member.role.frozen}


def while_master(member: Member) -> str:
    """A pair of the shell zrep remembers nothing: a replica it left at noauto is to be mounted when promoted."""
    remembered = member.role.canmount
    return remembered or ("on" if member.get("canmount") == "noauto" else member.get("canmount", "on"))


def plan_closed(end: End, tree: Tree, tag: str) -> tuple[Step, ...]:
    """What makes a dataset a replica besides its role: it does not mount by itself, and remembers what it did, and what
    was read-only of it while it was the master, as the record of its last change says. The inner ones first: after a
    power loss half way nothing is mounted at boot below what is not, which could then only be mounted over it."""
    steps: list[Step] = []
    if was := tree.role.intent.detail if tree.role.intent else {}:
        kept = {member.name for member in tree.members[1:] if was.get(member.name, "") in ("on local", "on received")}
        known = _frozen(tree)
        if more := tuple(sorted(kept - known)):
            steps.append(SetProperties(end, more, ((f"{tag}:frozen", "on"),)))
        if less := tuple(sorted(known - kept)):
            steps.append(InheritProperty(end, less, f"{tag}:frozen"))
    open_ones = [m for m in tree.members if not (m.volume or (m.role.canmount and m.get("canmount") == "noauto"))]
    remembered: dict[str, list[str]] = {}
    levels: dict[int, list[str]] = {}
    for member in open_ones:
        remembered.setdefault(member.get("canmount", "on"), []).append(member.name)
        levels.setdefault(member.name.count("/"), []).append(member.name)
    steps += [SetProperties(end, tuple(own), ((f"{tag}:canmount", value),)) for value, own in remembered.items()]
    # zfs set takes its datasets in the order of their names, whatever that of its arguments.
    steps += [
        SetProperties(end, tuple(levels[deep]), (("canmount", "noauto"),)) for deep in sorted(levels, reverse=True)
    ]
    return tuple(steps)


def plan_mounted(end: End, tree: Tree, tag: str) -> tuple[Step, ...]:
    """Second half, planned over what the first has made: mounted and shared where the properties say so (zfs mounts
    what is canmount=noauto when it is told to). What only tidies up, or is for the next boot, comes after that: writes
    may resume, and none of it grows by a command for each member before."""
    inside, frozen = hidden_excluded(tree), _frozen(tree)
    steps: list[Step] = [Unmount(end, member.name) for member in reversed(inside)]
    for member in by_mountpoint(tree):
        if member.volume or member.arriving or not member.get("mountpoint").startswith("/"):
            continue
        if member.mounted:
            # Mounted since it was master: the kernel's mount keeps the ro that the role change gave it.
            if member.name not in frozen:
                steps.append(RemountWritable(end, member.name, member.get("mountpoint")))
        elif while_master(member) == "on":
            steps.append(Mount(end, member.name, member.get("mountpoint")))
        if member.get("sharenfs", "off") not in ("off", "-") or member.get("sharesmb", "off") not in ("off", "-"):
            steps.append(Share(end, member.name))
    steps += [Mount(end, member.name, member.get("mountpoint")) for member in inside]
    steps += _canmount_back(end, tree.members)
    remembering = tuple(member.name for member in tree.members if member.role.canmount)
    if remembering:
        steps.append(InheritProperty(end, remembering, f"{tag}:canmount"))
    # What a replica keeps of what comes from its master.
    kept = (("set", tree.role.complete), ("coming", tree.role.coming))
    steps += [InheritProperty(end, (tree.name,), f"{tag}:{name}") for name, value in kept if value]
    steps.append(clear_intent(end, tree.name, tag))
    return tuple(steps)


def hidden_excluded(tree: Tree) -> list[Member]:
    """What is left out of a tree and mounted where a member that is not mounted would hide it: it makes room for that,
    and is mounted again in it. The outer ones first."""
    places = [m.get("mountpoint") for m in tree.members if not m.mounted and m.get("mountpoint").startswith("/")]
    hidden = [m for m in tree.excluded if m.placed and any(within(m.get("mountpoint"), place) for place in places)]
    return sorted(hidden, key=place_of_mount)


def plan_mount_excluded(end: End, tree: Tree) -> tuple[Mount, ...]:
    """What is left out of a tree is mounted as it would be by the next boot: a run that was cut may have unmounted it
    to make room."""
    wanted = (m for m in tree.excluded if m.get("canmount") == "on" and m.get("mountpoint").startswith("/"))
    return tuple(
        Mount(end, member.name, member.get("mountpoint"))
        for member in sorted(wanted, key=place_of_mount)
        if not (member.volume or member.mounted or member.key_missing)
    )


def plan_open(end: End, tree: Tree, tag: str) -> tuple[Step, ...]:
    """All that makes a side with the role of master available."""
    writable = plan_writable(end, tree, tag)
    return (*writable, *plan_mounted(end, tree_after(tag, tree, writable), tag))


def plan_demote(pair: Pair) -> tuple[Step, ...]:
    """The old master, at the source, follows the target, which has taken the role; mounting is the new
    master's business. That it no longer mounts by itself goes first: once the failover's record has gone, no run comes
    back to finish it."""
    return (
        *plan_closed(End.SOURCE, pair.source, pair.tag),
        *plan_replica_role(End.SOURCE, pair.source.name, pair.tag, pair.source.role, pair.target.role, swap=True),
    )


def plan_replica_role(end: End, dataset: str, tag: str, role: Role, master: Role, *, swap: bool) -> tuple[Step, ...]:
    """A dataset becomes the replica of the generation that master has. role: whose links it takes."""
    values = role_values(role, master=False, swap=swap, epoch=master.epoch or 0, gen=master.gen, parents=master.parents)
    return (
        SetProperties(end, (dataset,), role_properties(tag, "follow", master.gen, values)),
        clear_intent(end, dataset, tag),
    )


def plan_abort(pair: Pair, intent: Intent) -> tuple[Step, ...]:
    """Undo before the commit. The cancel mark goes first, under the replica's lock: a promotion that was delayed
    on its way finds it. Then the master."""
    return (plan_cancel(pair, intent), *plan_undo(End.SOURCE, pair.source, pair.tag, intent))


def plan_undo(end: End, master: Tree, tag: str, intent: Intent) -> tuple[Step, ...]:
    """The master's half of that: writable at once, then its final snapshot held, the intent last: a run that is cut
    here comes back."""
    *writable, clear = plan_restore(end, master, tag, intent)
    return (*writable, *plan_hold_unsent(end, master, tag), clear)


def plan_hold_unsent(end: End, master: Tree, tag: str) -> tuple[Hold, ...]:
    """Hold what a role change that is undone was about to send, as any other run holds what it sends. It may have
    arrived, and whoever destroyed it here would leave a snapshot on the replica that nobody knows for zrep's: no raw
    stream is received on top of it."""
    newest = ((member, ours[-1]) for member in master.members if (ours := member.ours(tag)))
    free = tuple(f"{m.name}@{s.name}" for m, s in newest if s.sent is None and tag not in s.holds)
    return (Hold(end, tag, free),) if free else ()


def plan_cancel(pair: Pair, intent: Intent) -> SetProperties:
    """The cancel mark of a role change."""
    mark = Intent("cancelled", intent.identity)
    return SetProperties(End.TARGET, (pair.target.name,), (intent_property(pair.tag, mark),))


def plan_restore(end: End, master: Tree, tag: str, intent: Intent) -> tuple[Step, ...]:
    """Make a master writable as it was, by value and source; the intent last."""
    steps: list[Step] = []
    root = master.name
    for member in master.members:
        recorded = intent.detail.get(member.name, "off inherited" if member.name == root else "")
        value, _, source = recorded.partition(" ")
        if source == "local":
            steps.append(SetProperties(end, (member.name,), (("readonly", value),)))
        elif source:
            steps.append(InheritProperty(end, (member.name,), "readonly", received=source == "received"))
        elif member.properties["readonly"].local:
            value = "on"  # somebody's since then
        if member.placed and value != "on":
            steps.append(RemountWritable(end, member.name, member.get("mountpoint")))
    steps.append(clear_intent(end, master.name, tag))
    return tuple(steps)
