"""Planning: what is there → the steps to the next safe state. Nothing here acts.

A crashed run is repaired by planning again from what is there, so every plan is safe to stop after any step; the
order of steps is chosen for that and the reason stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote

from zrep.core.errors import RefusedError
from zrep.core.names import next_sequence, pool_of, snapshot_name
from zrep.core.record import Record, replace
from zrep.core.retention import DEFAULT_SAVECOUNT, expirable
from zrep.core.state import LEGACY, Intent, Member, Pair, Role, Side, Snapshot, Unit, Value, newest_common
from zrep.core.steps import (
    CloseTransactionGroup,
    DestroySnapshots,
    Dirty,
    DiscardPartial,
    Hold,
    InheritProperty,
    Mount,
    Release,
    RemountReadOnly,
    RemountWritable,
    RenameSnapshot,
    SendStream,
    SetProperties,
    Share,
    Step,
    TakeRole,
    TakeSnapshot,
)
from zrep.core.words import size

# Properties travel with the first full stream only. The first property-carrying receive into a dataset that was
# never received with properties drops every local property it has, -x or not (seen on OpenZFS 2.3.2): an old
# master that becomes the replica would lose its role, its readonly and its quota.
_CARRIES_PROPERTIES = frozenset({"-p", "--props"})


class Advance(Record):
    """What a sync has to move: nothing, a new snapshot, or one that an earlier run left unsent.

    base: the newest common snapshot; pending: the unsent snapshot to send (None: take a new one if written);
    written: bytes since the newest of those; prepare: steps before the stream.
    """

    base: Snapshot
    pending: Snapshot | None
    written: int
    prepare: tuple[Step, ...]
    foreign: tuple[str, ...] = ()

    @property
    def idle(self) -> bool:
        return self.pending is None and self.written == 0


def plan_advance(pair: Pair) -> Advance:
    """What sync has to do for a linked pair. RefusedError when there is no base or the replica was changed."""
    master, replica = pair.master.root, pair.replica.root
    base = newest_common(master, replica)
    if base is None:
        raise RefusedError(
            "the two sides have no common snapshot",
            filesystem=master.name,
            evidence=f"{len(master.snapshots)} snapshots here, {len(replica.snapshots)} there",
            advice=f"zrep clear {quote(master.name)}, then zrep init to a new target",
        )
    refuse_modified(pair, base)
    later = [snapshot for snapshot in master.ours(pair.tag) if snapshot.createtxg > base.createtxg]
    pending = later[-1] if later else None
    since = pending or base
    there = {snapshot.guid for snapshot in master.snapshots}
    foreign = tuple(s.name for s in replica.snapshots if s.guid not in there and s not in replica.ours(pair.tag))
    return Advance(base, pending, master.written_since(since), (), foreign)


def refuse_modified(pair: Pair, base: Snapshot) -> None:
    """RefusedError when the replica was written to since the base: its next receive would fail, and what was
    written there is not ours to drop."""
    on_replica = pair.replica.root.by_guid(base.guid)
    written = pair.replica.root.written_since(on_replica) if on_replica else 0
    if written:
        raise changed_by_hand(pair, f"{size(written)} written there since @{base.name}")


def changed_by_hand(pair: Pair, evidence: str) -> RefusedError:
    return RefusedError(
        f"the replica {pair.replica.name} was changed by hand",
        filesystem=pair.master.name,
        evidence=evidence,
        advice=f"to throw that away: zrep sync -f {quote(pair.master.name)}",
    )


def new_snapshot(pair: Pair) -> str:
    """Full name of the next snapshot on the master."""
    return f"{pair.master.name}@{snapshot_name(pair.tag, pair.next_sequence())}"


def plan_stream(
    pair: Pair, base: Snapshot, target: Snapshot, token: Mapping[str, str], resume: str
) -> tuple[Step, ...]:
    """Send target on top of base, resuming a broken receive when its token is exactly that stream.

    token: toguid and fromguid of the replica's token as the master reads it, empty when it cannot.
    A token that stands for anything else can never complete, so it is discarded.
    """
    steps: list[Step] = []
    master = pair.master.name
    if resume and not (token.get("toguid") == target.guid and token.get("fromguid") == base.guid):
        steps.append(DiscardPartial(Side.REPLICA, pair.replica.name))
        resume = ""
    steps.append(
        SendStream(
            Side.MASTER,
            snapshot=f"{master}@{target.name}",
            target=pair.replica.name,
            base=f"{master}@{base.name}",
            token=resume,
            options=stream_options(pair.master.root),
            outfilter=pair.master.role.outfilter,
            infilter=pair.master.role.infilter,
        )
    )
    return tuple(steps)


def plan_another_name(pair: Pair, pending: Snapshot) -> tuple[Step, ...]:
    """A snapshot still to be sent whose name another one has on the replica gets the next number: two sides that each
    went on alone number alike."""
    namesake = pair.replica.root.by_name(pending.name)
    if namesake is None or namesake.guid == pending.guid:
        return ()
    return (RenameSnapshot(Side.MASTER, f"{pair.master.name}@{pending.name}", new_snapshot(pair)),)


def stream_options(member: Member) -> tuple[str, ...]:
    """The flags of an increment: those settled at init but for the ones that carry properties. A pair of the
    shell zrep has none recorded: it sent without any, an encrypted filesystem raw."""
    if member.role.flags is None:
        return ("-w",) if member.encrypted else ()
    return tuple(flag for flag in member.role.flags.split() if flag not in _CARRIES_PROPERTIES)


def plan_converge(pair: Pair, now: int, *, expire: bool = True) -> tuple[Step, ...]:
    """After a stream, or with nothing to send: hold exactly the base on both sides, mark it sent, expire.

    The new base is held on both sides before the old one is let go of, there first and then here: at every
    moment one common snapshot is held on both. Marked sent only now that it is known to be on both.
    """
    master, replica = pair.master.root, pair.replica.root
    base = newest_common(master, replica)
    if base is None:
        return ()
    on_replica = replica.by_guid(base.guid)
    assert on_replica is not None
    here, there = f"{master.name}@{base.name}", f"{replica.name}@{on_replica.name}"
    steps: list[Step] = []
    if pair.tag not in base.holds:
        steps.append(Hold(Side.MASTER, pair.tag, (here,)))
    if pair.tag not in on_replica.holds:
        steps.append(Hold(Side.REPLICA, pair.tag, (there,)))
    if on_replica.sent is None:
        steps.append(SetProperties(Side.REPLICA, (there,), ((f"{pair.tag}:sent", str(now)),)))
    if base.sent is None:
        steps.append(SetProperties(Side.MASTER, (here,), ((f"{pair.tag}:sent", str(now)),)))
    if not replica.readonly:
        # Somebody, or a forced takeover that was cut, left it writable: a replica is read-only until promoted.
        steps.append(SetProperties(Side.REPLICA, (replica.name,), (("readonly", "on"),)))
    steps += _release_others(Side.REPLICA, replica, pair.tag, on_replica)
    steps += _release_others(Side.MASTER, master, pair.tag, base)
    if expire:
        steps += plan_expire(pair)
    # A cancel mark has done its work once both locks are held by a new run: no late request is left alive.
    if replica.role.intent and replica.role.intent.settled:
        steps += plan_whole(Side.REPLICA, pair.replica, pair.tag)
        steps.append(clear_intent(Side.REPLICA, replica.name, pair.tag))
    return tuple(steps)


def _release_others(side: Side, member: Member, tag: str, base: Snapshot) -> list[Step]:
    """Let go of what is older than the base; a newer one of ours is a stream that has still to arrive."""
    old = tuple(
        f"{member.name}@{snapshot.name}"
        for snapshot in member.snapshots
        if tag in snapshot.holds and snapshot.createtxg < base.createtxg
    )
    return [Release(side, tag, old)] if old else []


def plan_expire(pair: Pair) -> tuple[Step, ...]:
    """Each side's own savecount, judged as if the holds on what is older than the base were gone already."""
    master, replica = pair.master.root, pair.replica.root
    base = newest_common(master, replica)
    if base is None:
        return ()
    return (
        *expire_side(Side.MASTER, _without_hold(master, pair.tag, base), pair.tag, base),
        *expire_side(Side.REPLICA, _without_hold(replica, pair.tag, base), pair.tag, replica.by_guid(base.guid)),
    )


def expire_side(side: Side, member: Member, tag: str, base: Snapshot | None) -> tuple[Step, ...]:
    names = tuple(s.name for s in expirable(member, tag, base, member.role.savecount or DEFAULT_SAVECOUNT))
    return (DestroySnapshots(side, member.name, names),) if names else ()


def _without_hold(member: Member, tag: str, base: Snapshot) -> Member:
    own = member.by_guid(base.guid)
    if own is None:
        return member
    snapshots = tuple(
        replace(s, holds=s.holds - {tag}) if tag in s.holds and s.createtxg < own.createtxg else s
        for s in member.snapshots
    )
    return replace(member, snapshots=snapshots)


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


# --- roles ---------------------------------------------------------------------------------------------------


def intent_property(tag: str, intent: Intent | None) -> tuple[str, str]:
    return (f"{tag}:inprogress", intent.text() if intent else "")


def clear_intent(side: Side, dataset: str, tag: str) -> Step:
    return SetProperties(side, (dataset,), (intent_property(tag, None),))


def plan_adopt(pair: Pair, generation: str) -> tuple[Step, ...]:
    """Give a pair of the shell zrep its first generation: master first, so that a cut between the two shows as
    Adoptable and never as a role that moved. generation: the new id, or the one the master already has."""
    role = pair.master.role
    gen, epoch = role.gen or generation, role.epoch or 0
    steps: list[Step] = []
    for side, unit in ((Side.MASTER, pair.master), (Side.REPLICA, pair.replica)):
        if not unit.role.gen:
            # On the replica the whole role: the shell zrep left it the master's properties, received and not its own.
            own = role_values(role, master=side is Side.MASTER, swap=False, epoch=epoch, gen=gen, parents=(LEGACY,))
            steps.append(SetProperties(side, (unit.name,), named(pair.tag, own)))
    return tuple(steps)


def role_values(
    role: Role, *, master: bool, swap: bool, epoch: int, gen: str, parents: tuple[str, ...]
) -> dict[str, str]:
    """The properties of a role that its changes change, by short name. swap: direction reversed."""
    src_host, src_fs, dest_host, dest_fs = role.links
    if swap:
        src_host, src_fs, dest_host, dest_fs = dest_host, dest_fs, src_host, src_fs
    return {
        "src-host": src_host,
        "src-fs": src_fs,
        "dest-host": dest_host,
        "dest-fs": dest_fs,
        "epoch": str(epoch),
        "gen": gen,
        "parent": ",".join(parents),
        "master": "yes" if master else "no",
    }


def named(tag: str, values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Properties by full name: one set of them, only short user properties, is one transaction."""
    return tuple((f"{tag}:{name}", value) for name, value in values.items())


# Of a side that is promoted without its peer, until it has met it.
ALONE = {"alone": "yes"}


def role_properties(tag: str, operation: str, identity: str, values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """One set of a new role, its record first: of a set that lands in part, the record decides (see Intent)."""
    return (intent_property(tag, Intent(operation, identity, role=values)), *named(tag, values))


def plan_whole(side: Side, unit: Unit, tag: str) -> tuple[Step, ...]:
    """A role of which only a part landed, made whole from its record."""
    role = unit.role
    if not (role.torn and role.intent):
        return ()
    return (SetProperties(side, (unit.name,), named(tag, role.intent.role)),)


def next_epoch(*roles: Role) -> int:
    return 1 + max((role.epoch or 0 for role in roles), default=0)


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
