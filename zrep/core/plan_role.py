"""Planning a role change: each plan is safe to stop after any step, and the reason for the order stands beside it.

Up to the commit everything can be undone; after it the old master stays read-only until its peer can be asked.
"""

from __future__ import annotations

from msgspec.structs import replace

from zrep.core.dataset import Member, Value
from zrep.core.names import next_sequence, pool_of, snapshot_name
from zrep.core.pair import Pair, Side, Unit
from zrep.core.plan_data import new_snapshot
from zrep.core.plan_record import clear_intent, plan_whole
from zrep.core.role import ALONE, Intent, Role, intent_property, next_epoch, role_properties, role_values
from zrep.core.steps import (
    CloseTransactionGroup,
    Dirty,
    Hold,
    InheritProperty,
    Mount,
    RemountReadOnly,
    RemountWritable,
    SetProperties,
    Share,
    Step,
    TakeRole,
    TakeSnapshot,
)


def plan_stop(side: Side, unit: Unit, tag: str) -> tuple[Step, ...]:
    """A master that cannot be shown to be the right one stops writes. What it was is recorded first, so that it
    goes back to that when it turns out to be the right one after all."""
    if all(member.readonly for member in unit.members):
        return ()
    detail = {member.name: _source_of(member, "readonly") for member in unit.members}
    record = SetProperties(side, (unit.name,), (intent_property(tag, Intent("stopped", unit.role.gen, "", 0, detail)),))
    names = tuple(member.name for member in unit.members)
    readonly = SetProperties(side, names, (("readonly", "on"),))
    return (readonly,) if unit.role.intent else (record, readonly)


def plan_quiesce(pair: Pair, generation: str) -> tuple[Step, ...]:
    """Stop writes on the master: intent first (it says what to restore), then remount (refuses while a writer has a
    file open or mapped; after readonly=on it would prove nothing), then readonly on every member explicitly (a child
    may have its own), then the transaction group, so that what was written is in the next snapshot."""
    detail = {member.name: _source_of(member, "readonly") for member in pair.master.members}
    intent = Intent("failover", generation, "prepare", next_epoch(pair.master.role, pair.replica.role), detail)
    steps: list[Step] = [SetProperties(Side.MASTER, (pair.master.name,), (intent_property(pair.tag, intent),))]
    steps += [
        RemountReadOnly(Side.MASTER, member.name, member.get("mountpoint"))
        for member in pair.master.members
        if member.placed
    ]
    steps.append(SetProperties(Side.MASTER, tuple(m.name for m in pair.master.members), (("readonly", "on"),)))
    steps.append(CloseTransactionGroup(Side.MASTER, pool_of(pair.master.name)))
    return tuple(steps)


def _source_of(member: Member, name: str) -> str:
    value = member.properties[name]
    return f"{value.value} {value.source}"


def plan_final_snapshot(pair: Pair) -> tuple[Step, ...]:
    """Always a real snapshot, even with nothing written: it is what the target must hold to be promoted. Held once
    it is there, so that what waits for the disk meanwhile is the stream."""
    return (TakeSnapshot(Side.MASTER, (new_snapshot(pair),)),)


def plan_commit(pair: Pair, intent: Intent) -> tuple[Step, ...]:
    """The point of no return: the master says so first (from here it never aborts by itself), then the replica
    takes the role in one guarded set that also says what is left to do there."""
    committed = Intent(intent.operation, intent.identity, "commit", intent.epoch, intent.detail)
    return (
        SetProperties(Side.MASTER, (pair.master.name,), (intent_property(pair.tag, committed),)),
        take_role(pair, intent.identity, intent.epoch),
    )


def take_role(pair: Pair, generation: str, epoch: int, *, alone: bool = False) -> TakeRole:
    """The replica becomes master of a new generation; what is left to do there is its own intent."""
    role = pair.replica.role
    values = role_values(role, master=True, swap=True, epoch=epoch, gen=generation, parents=role.lineage)
    return TakeRole(
        Side.REPLICA,
        pair.replica.name,
        expected=role.generation,
        identity=generation,
        properties=role_properties(pair.tag, "promote", generation, {**values, **(ALONE if alone else {})}),
    )


def plan_fence(side: Side, member: Member, tag: str) -> tuple[Step, ...]:
    """Before a promotion without the master: dirtied, then snapshotted, then the snapshot held. From then on no
    stream on top of the base is accepted here (a bare snapshot would not refuse it), and nobody's ``receive -F``
    can take the snapshot away. A volume can only be dirtied by its size, and that only while it is writable."""
    name = member.name
    dirty: tuple[Step, ...] = (Dirty(side, name),)
    if member.volume:
        on, off = (SetProperties(side, (name,), (("readonly", value),)) for value in ("on", "off"))
        dirty = (off, Dirty(side, name, member.get("volsize")), on)
    promotion = snapshot_name(tag, next_sequence(tag, [snapshot.name for snapshot in member.snapshots]))
    full = (f"{name}@{promotion}",)
    return (*dirty, TakeSnapshot(side, full), Hold(side, tag, full))


def plan_writable(side: Side, unit: Unit, tag: str) -> tuple[Step, ...]:
    """First half of opening a new master: writable, and canmount back to what a master here has."""
    steps: list[Step] = list(plan_whole(side, unit, tag))
    for member in unit.members:
        own = () if member.volume else (("canmount", _while_master(member)),)
        steps.append(SetProperties(side, (member.name,), (("readonly", "off"), *own)))
    return tuple(steps)


def opened(unit: Unit) -> Unit:
    """A unit as plan_writable leaves it."""
    return Unit(
        tuple(
            replace(
                member,
                properties={
                    **member.properties,
                    "readonly": Value("off", "local"),
                    "canmount": Value(_while_master(member), "local"),
                },
            )
            for member in unit.members
        )
    )


def _while_master(member: Member) -> str:
    """A pair of the shell zrep remembers nothing: a replica it left at noauto is to be mounted when promoted."""
    remembered = member.role.canmount
    return remembered or ("on" if member.get("canmount") == "noauto" else member.get("canmount", "on"))


def plan_closed(side: Side, unit: Unit, tag: str) -> tuple[Step, ...]:
    """What makes a dataset a replica besides its role: it does not mount by itself, and remembers what it did."""
    steps: list[Step] = []
    for member in unit.members:
        if not member.volume and not (member.role.canmount and member.get("canmount") == "noauto"):
            steps.append(SetProperties(side, (member.name,), ((f"{tag}:canmount", member.get("canmount", "on")),)))
            steps.append(SetProperties(side, (member.name,), (("canmount", "noauto"),)))
    return tuple(steps)


def plan_mounted(side: Side, unit: Unit, tag: str) -> tuple[Step, ...]:
    """Second half, planned over what the first has made: mounted and shared where the properties say so. What only
    tidies up comes after that: writes may resume."""
    steps: list[Step] = []
    for member in unit.members:
        if member.volume or not member.get("mountpoint").startswith("/"):
            continue
        if member.mounted:
            # Mounted since it was master: the kernel's mount keeps the ro that the role change gave it.
            steps.append(RemountWritable(side, member.name, member.get("mountpoint")))
        elif member.get("canmount") == "on":
            steps.append(Mount(side, member.name))
        if member.get("sharenfs", "off") not in ("off", "-") or member.get("sharesmb", "off") not in ("off", "-"):
            steps.append(Share(side, member.name))
    remembering = tuple(member.name for member in unit.members if member.role.canmount)
    if remembering:
        steps.append(InheritProperty(side, remembering, f"{tag}:canmount"))
    steps.append(clear_intent(side, unit.name, tag))
    return tuple(steps)


def plan_open(side: Side, unit: Unit, tag: str) -> tuple[Step, ...]:
    """All that makes a side with the role of master available."""
    return (*plan_writable(side, unit, tag), *plan_mounted(side, opened(unit), tag))


def plan_demote(pair: Pair, promoted: Role) -> tuple[Step, ...]:
    """The old master follows the new one; mounting is the new master's business. That it no longer mounts by itself
    goes first: once the failover's record has gone, no run comes back to finish it."""
    return (
        *plan_closed(Side.MASTER, pair.master, pair.tag),
        *plan_follow(Side.MASTER, pair.master.name, pair.tag, pair.master.role, promoted, swap=True),
    )


def plan_follow(side: Side, dataset: str, tag: str, role: Role, master: Role, *, swap: bool) -> tuple[Step, ...]:
    """A dataset becomes the replica of the generation that master has. role: whose links it takes."""
    values = role_values(role, master=False, swap=swap, epoch=master.epoch or 0, gen=master.gen, parents=master.parents)
    return (
        SetProperties(side, (dataset,), role_properties(tag, "follow", master.gen, values)),
        clear_intent(side, dataset, tag),
    )


def plan_abort(pair: Pair, intent: Intent) -> tuple[Step, ...]:
    """Undo before the commit. The cancel mark goes first, under the replica's lock: a promotion that was delayed
    on its way finds it. Then each member's readonly by value and source, the intent last."""
    mark = Intent("cancelled", intent.identity)
    steps: list[Step] = [SetProperties(Side.REPLICA, (pair.replica.name,), (intent_property(pair.tag, mark),))]
    return (*steps, *plan_restore(pair, intent))


def plan_restore(pair: Pair, intent: Intent) -> tuple[Step, ...]:
    """The master writable as it was, by value and source; the intent last."""
    steps: list[Step] = []
    for member in pair.master.members:
        value, _, source = intent.detail.get(member.name, "off inherited").partition(" ")
        if source == "local":
            steps.append(SetProperties(Side.MASTER, (member.name,), (("readonly", value),)))
        else:
            steps.append(InheritProperty(Side.MASTER, (member.name,), "readonly", received=source == "received"))
        if member.placed and value == "off":
            steps.append(RemountWritable(Side.MASTER, member.name, member.get("mountpoint")))
    steps.append(clear_intent(Side.MASTER, pair.master.name, pair.tag))
    return tuple(steps)
