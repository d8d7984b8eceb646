"""What datasets look like after a step, said once: for a run that need not read again what it knows, and for -n, which
cannot read what would be there.

Sizes are told as far as they decide something: whether anything was written. Nothing here asks or changes a host.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from zrep.core import steps
from zrep.core.apply_host import HostState
from zrep.core.dataset import NO_HOLDS, Member, Snapshot, Value
from zrep.core.errors import FailedError
from zrep.core.pair import End, Pair, Tree

_NOTHING: Mapping[str, Snapshot] = {}
# The sources of what zfs receive is told that is no setting (zfsprops(7)).
_SOURCES = {"origin": "-"}


def applied(
    tag: str, members: Mapping[str, Member], step: steps.Step, made: Mapping[str, Snapshot] = _NOTHING
) -> dict[str, Member]:
    """Apply a step on one host to its datasets, by name; the others are as they were.

    members: those that the step names, and as far as it is to be told those that they inherit from or are clones of.
    made: snapshots that the step has made, by full name, as far as they have been read. One that has not gets a guid
    that no snapshot has. FailedError when a dataset or snapshot is not there, the name is taken, or a snapshot is held,
    cloned or not the newest where ZFS refuses the step for that."""
    host = HostState(tag, members)
    host.apply(step, made)
    return host.members


def received(
    tag: str,
    members: Mapping[str, Member],
    step: steps.SendStream,
    source: Member,
    made: Mapping[str, Snapshot] = _NOTHING,
) -> dict[str, Member]:
    """Apply a stream to the datasets of the host that receives it, by name: the target is new, or has a snapshot more.

    source: the dataset that it comes from; made: as for applied. FailedError when there is no such snapshot to send, or
    the target has one of its name, or is not there for an increment."""
    name = step.snapshot.partition("@")[2]
    sent = source.by_name(name)
    if sent is None:
        raise FailedError("there is no such snapshot to send", filesystem=source.name, evidence=step.snapshot)
    host = HostState(tag, members)
    onto = step.base if step.base.partition("@")[0] == source.name else ""
    if step.target not in members and not onto:
        _receive_first(host, step, source)
    host.refuse_taken(f"{step.target}@{name}")
    base = source.by_name(onto.partition("@")[2])
    # What the target lacks between two snapshots counts for the later one; one sent in full is all that there is.
    between = [s.written for s in source.after(base) if s.createtxg <= sent.createtxg] if base else [1, sent.written]
    if step.between and base:
        for each in source.after(base):
            if each.createtxg < sent.createtxg:
                host.refuse_taken(f"{step.target}@{each.name}")
                there = replace(each, createtxg=0, holds=NO_HOLDS, sent=None, clones=(), made=False, relayed=False)
                host.add_snapshot(step.target, there)
        between = [sent.written]
    arrived = made.get(f"{step.target}@{name}")
    if arrived is None:
        arrived = replace(sent, createtxg=0, holds=NO_HOLDS, sent=None, clones=())
    # A mark travels with the other properties: not with an increment.
    marked = sent.made and not (onto or step.token) and bool(steps.CARRY_PROPERTIES & set(step.options))
    if source.encrypted and steps.RAW & set(step.options):  # with its key, as that is wrapped now
        host.change(step.target, _salt(source))
    host.forget_partial(step.target)
    host.add_snapshot(step.target, replace(arrived, written=sum(between), made=marked))
    host.change(step.target, {key: Value(value, _SOURCES.get(key, "local")) for key, value in step.override})
    return host.members


def after(pair: Pair, step: steps.Step, made: Mapping[str, Snapshot] = _NOTHING) -> Pair:
    """The pair after a step at one of its ends, none of which takes a member away; a stream changes its target."""
    if isinstance(step, steps.SendStream):
        source = _members(pair.source)[step.snapshot.partition("@")[0]]
        found = received(pair.tag, _members(pair.target), step, source, made)
        return pair.with_tree(End.TARGET, pair.target.with_member(found[step.target]))
    return pair.with_tree(step.end, tree_after(pair.tag, pair.at(step.end), (step,), made))


def tree_after(tag: str, tree: Tree, done: Iterable[steps.Step], made: Mapping[str, Snapshot] = _NOTHING) -> Tree:
    """A tree after steps on its members, none of which takes one away."""
    found: Mapping[str, Member] = _members(tree)
    for step in done:
        found = applied(tag, found, step, made)
    members, excluded = (tuple(found[member.name] for member in part) for part in (tree.members, tree.excluded))
    return replace(tree, members=members, excluded=excluded)


def _members(tree: Tree) -> dict[str, Member]:
    return {member.name: member for member in (*tree.members, *tree.excluded) if member.properties}


def _salt(source: Member) -> dict[str, Value]:
    """What tells by which passphrase the key of a raw stream is wrapped, where it was read."""
    return {key: value for key, value in source.properties.items() if key == "pbkdf2salt"}


def _receive_first(host: HostState, step: steps.SendStream, source: Member) -> None:
    """Make the dataset that a full stream makes: not mounted, with the properties that travel, if they do. Sent raw it
    keeps its encryption, under a root of its own whose key nobody has loaded; else it has that of its parent."""
    native = {key: source.properties[key] for key in ("type", "volsize") if key in source.properties}
    if source.encrypted and steps.RAW & set(step.options):
        root, status = Value(step.target, "-"), Value("unavailable", "-")
        native |= {"encryption": source.properties["encryption"], "encryptionroot": root, "keystatus": status}
        native |= _salt(source)
    if ("encryption", "off") in step.override:
        native |= {"encryptionroot": Value("-", "-"), "keystatus": Value("-", "-")}
    host.create(step.target, native)
    if steps.CARRY_PROPERTIES & set(step.options):
        left_out = {*step.exclude, *(key for key, _ in step.override), "volsize"}
        travels = {
            key: Value(value.value, "received")
            for key, value in source.properties.items()
            if value.source in ("local", "received") and key not in left_out
        }
        host.change(step.target, travels)
