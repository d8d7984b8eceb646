"""Every small pair gives a plan or a typed refusal, and never anything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, product
from typing import Any

import pytest
from msgspec.structs import replace

from tests.core.make import GEN, MASTER, NEW, OLD, REPLICA, TAG, expiring, intent, member
from zrep.core import plan_data as plan
from zrep.core import plan_role as rolechange
from zrep.core import role
from zrep.core.apply import after
from zrep.core.dataset import NO_TOKEN, Member, TokenContents, Value, build_member
from zrep.core.errors import ZrepError
from zrep.core.pair import End, Pair, Tree
from zrep.core.relation import Linked, Relation, SplitBrain, relate
from zrep.core.role import LEGACY, Intent, Role
from zrep.core.steps import DestroySnapshots, Hold, Release, Step, TakeRole
from zrep.zfs import commands

# Snapshots of one side: which of five GUIDs it has, and what is marked on them.
HISTORIES = ["", "1", "1h", "1hs 2", "1hs 2h", "1 2hs", "1s 2s 3hs", "1s 2s 3hs 4h", "daily", "1hs daily", "dailyw 2h"]
HISTORIES += ["2h 3", "1H 2c 3hs 4", "3 4", "1s 2s 3s 4hs"]
INTENTS = [None, intent(), intent(phase="commit"), Intent("promote", NEW), Intent("cancelled", NEW)]
INTENTS += [Intent("init", GEN), Intent("rejoin", NEW, "split", 1, {"fs": "tank/a"}), Intent("nonsense", "")]
GENERATIONS: list[tuple[str, tuple[str, ...]]] = [("", ()), (GEN, ()), (GEN, (LEGACY,)), (NEW, (GEN,)), (OLD, (GEN,))]


def pairs() -> Iterator[Pair]:
    for here, there, (written, written_there) in product(HISTORIES, HISTORIES, [(0, 0), (9, 0), (0, 9)]):
        yield Pair(
            TAG,
            Tree((member("tank/a", replace(MASTER, savecount=2), here, written),)),
            Tree((member("tank/b", replace(REPLICA, savecount=1), there, written_there, readonly="on"),)),
        )


def roles() -> list[Role]:
    found = [
        replace(MASTER, master=master, gen=gen, parents=parents, epoch=epoch, intent=what)
        for master, (gen, parents), epoch, what in product([True, False, None], GENERATIONS, [None, 3], INTENTS)
    ]
    return [*found, Role(), *prefixes()]


def prefixes() -> list[Role]:
    """What a set of the role that landed in part leaves behind."""
    before, after = REPLICA, rolechange.take_role(_linked().target, TAG, NEW, 2).properties
    found = []
    for landed in range(len(after) + 1):
        names = {name.partition(":")[2]: value for name, value in after[:landed]}
        found.append(
            replace(
                before,
                src_host=names.get("src-host", before.src_host),
                src_fs=names.get("src-fs", before.src_fs),
                dest_host=names.get("dest-host", before.dest_host),
                dest_fs=names.get("dest-fs", before.dest_fs),
                epoch=int(names.get("epoch", before.epoch or 0)),
                gen=names.get("gen", before.gen),
                parents=tuple(filter(None, names.get("parent", "").split(","))),
                master={"yes": True}.get(names.get("master", ""), before.master),
                intent=Intent.parse(names.get("inprogress", "")),
            )
        )
    return found


def _linked() -> Pair:
    return Pair(TAG, Tree((member("tank/a", MASTER, "1hs"),)), Tree((member("tank/b", REPLICA, "1hs"),)))


def printable(steps: tuple[Step, ...]) -> None:
    for step in steps:
        words = commands.command(step)
        assert words[0] in ("zfs", "zpool", "mount")
        assert all(isinstance(word, str) and "\n" not in word for word in words), words


def check_data(pair: Pair) -> None:
    """Every plan over snapshots, and what it must never do."""
    base = pair.lanes[0].base
    converge = plan.plan_converge(pair.lanes[0], 77)
    for step in (*converge, *expiring(pair.lanes[0])):
        unit = pair.at(step.end).members[0]
        own = unit.by_guid(base.guid) if base else None
        if isinstance(step, DestroySnapshots):
            assert own is not None
            left = unit.left_over(TAG, own) if step.end is End.TARGET else ()
            for name in step.names:
                doomed = unit.by_name(name)
                assert doomed is not None
                assert doomed.createtxg < own.createtxg or doomed in left
                assert doomed in unit.ours(TAG)
                assert not doomed.holds - {TAG}
                assert not doomed.clones
        if isinstance(step, Hold | Release):
            held = {own.name} if own else set()
            named = {full.partition("@")[2] for full in step.snapshots}
            assert (named == held) if isinstance(step, Hold) else not named & held
    printable(converge)
    try:
        advance = plan.plan_advance(pair.lanes[0])
    except ZrepError:
        return
    assert base == advance.base
    if advance.pending is not None:
        assert base is not None
        half = {**pair.target.members[0].properties, "receive_resume_token": Value("1-x", "-")}
        broken = pair.target.with_member(replace(pair.target.members[0], properties=half))
        same = TokenContents(True, base.guid, advance.pending.guid)
        for [lane], token in [
            (pair.lanes, NO_TOKEN),
            *((replace(pair, target=broken).lanes, t) for t in (NO_TOKEN, same)),
        ]:
            printable(plan.plan_stream(lane, advance.base, advance.pending, token))
    printable(rolechange.plan_final_snapshot(pair))


def test_every_small_history() -> None:
    count = 0
    for pair in pairs():
        check_data(pair)
        count += 1
    assert count == len(HISTORIES) ** 2 * 3


def test_converging_is_done_once() -> None:
    """The plan, applied to what is there, leaves nothing to plan."""
    for pair in pairs():
        done = applied(pair, plan.plan_converge(pair.lanes[0], 77))
        assert plan.plan_converge(done.lanes[0], 78) == (), pair
        base = pair.lanes[0].base
        assert done.lanes[0].base in (None, *done.source.members[0].snapshots)
        assert base is None or done.source.members[0].by_guid(base.guid) is not None


def test_every_prefix_of_converging_ends_the_same() -> None:
    for pair in pairs():
        steps = plan.plan_converge(pair.lanes[0], 77)
        whole = applied(pair, steps)
        for cut in range(len(steps)):
            done = applied(pair, steps[:cut])
            held_on_both(pair, done)
            assert applied(done, plan.plan_converge(done.lanes[0], 77)) == whole


@pytest.mark.thorough
def test_every_cut_of_converging_in_stages_ends_the_same() -> None:
    """The parts of a stage run at the same time: a cut may find any of them, at any place, done or not."""
    cuts = 0
    for pair in pairs():
        steps = plan.plan_converge(pair.lanes[0], 77)
        whole = applied(pair, steps)
        begun = pair
        for parts in plan.stages(steps):
            for places in product(*(range(len(part) + 1) for part in parts)):
                done = applied(begun, chain(*(part[:place] for part, place in zip(parts, places, strict=True))))
                held_on_both(pair, done)
                assert applied(done, plan.plan_converge(done.lanes[0], 77)) == whole
                cuts += 1
            begun = applied(begun, chain(*parts))
        assert begun == whole, "nothing is left out"
    assert cuts > len(HISTORIES) ** 2


def applied(pair: Pair, steps: Iterable[Step]) -> Pair:
    for step in steps:
        pair = after(pair, step)
    return pair


def held_on_both(before: Pair, now: Pair) -> None:
    """If some common snapshot was held on both sides, one is at every moment."""
    if common_held(before):
        assert common_held(now)


def common_held(pair: Pair) -> bool:
    there = {s.guid for s in pair.target.members[0].snapshots if TAG in s.holds}
    return any(s.guid in there for s in pair.source.members[0].snapshots if TAG in s.holds)


def planners(pair: Pair) -> list[Callable[[], tuple[Step, ...]]]:
    what = pair.source.role.intent or intent()
    return [
        lambda: rolechange.plan_quiesce(pair, OLD),
        lambda: rolechange.plan_commit(pair, what),
        lambda: rolechange.plan_abort(pair, what),
        lambda: rolechange.plan_demote(pair),
        lambda: plan.plan_adopt(pair, OLD),
        lambda: (rolechange.take_role(pair.target, TAG, OLD, role.next_epoch(pair.source.role, pair.target.role)),),
        lambda: rolechange.plan_writable(End.TARGET, pair.target, TAG),
        lambda: rolechange.plan_mounted(End.TARGET, pair.target, TAG),
        lambda: rolechange.plan_closed(End.SOURCE, pair.source, TAG),
        lambda: plan.plan_converge(pair.lanes[0], 77),
    ]


@pytest.mark.thorough
def test_every_two_roles() -> None:
    found = roles()
    seen: set[type[Relation]] = set()
    units: list[tuple[Member, Member]] = [
        (member("tank/a", role, "1hs"), member("tank/b", role, "1hs", readonly="on")) for role in found
    ]
    for (one, _), (_, other) in product(units, units):
        relation = relate(one.role, other.role)
        seen.add(type(relation))
        if isinstance(relation, Linked):
            assert not (one.role.master and other.role.master)
    # The plans look at one side's role, or at both sides' epochs: not every two need to be tried.
    for (one, _), (_, other) in product(units[::7], units[::5]):
        for planner in planners(Pair(TAG, Tree((one,)), Tree((other,)))):
            try:
                steps = planner()
            except ZrepError:
                continue
            printable(steps)
            for step in steps:
                if isinstance(step, TakeRole):
                    epoch = int(dict(step.properties)[f"{TAG}:epoch"])
                    what = one.role.intent or intent()
                    assert epoch > max(one.role.epoch or 0, other.role.epoch or 0) or epoch == what.epoch
    assert len(seen) == 7


def test_a_role_that_landed_in_part_is_never_taken_for_a_healthy_one() -> None:
    """Whatever part of the promotion landed on the replica, the old master sees either nothing, or the whole role,
    or something it refuses; and it never sees two masters of one generation."""
    whole = prefixes()
    verdicts = [type(relate(MASTER, role)).__name__ for role in whole]
    assert verdicts[0] == "Linked"
    assert verdicts[-1] == "Stale"
    for landed in whole:
        relation = relate(MASTER, landed)
        assert not isinstance(relation, SplitBrain), landed
        if isinstance(relation, Linked):
            assert landed.links[1::2] == MASTER.links[1::2]
            assert not landed.master


SHAPES: list[dict[str, Any]] = [
    {},
    {"readonly": "on"},
    {"readonly": "on inherited from tank", "mounted": "no -"},
    {"readonly": "on temporary"},
    {"canmount": "noauto"},
    {"canmount": "off", "mountpoint": "none"},
    {"type": "volume"},
]
AGAIN: dict[str, Callable[[Pair], tuple[Step, ...]]] = {
    "plan_converge": lambda pair: plan.plan_converge(pair.lanes[0], 77),
    "plan_closed": lambda pair: rolechange.plan_closed(End.SOURCE, pair.source, TAG),
    "plan_stop": lambda pair: rolechange.plan_stop(End.SOURCE, pair.source, TAG),
    "plan_adopt": lambda pair: plan.plan_adopt(pair, OLD),
}


@pytest.mark.thorough
@pytest.mark.parametrize("planner", AGAIN.values(), ids=AGAIN)
def test_a_plan_that_has_been_applied_leaves_nothing_to_plan(planner: Callable[[Pair], tuple[Step, ...]]) -> None:
    planned = 0
    # The plans look at one side's role, or add a generation to both.
    some = roles()[::3]
    for (one, other), shape in product(
        [*((one, REPLICA) for one in some), *((MASTER, other) for other in some)], SHAPES
    ):
        source = read(member("tank/a", one, "1hs 2", **shape), one)
        target = read(member("tank/b", other, "1hs 2", **shape), other)
        pair = Pair(TAG, Tree((source,)), Tree((target,)))
        steps = planner(pair)
        planned += bool(steps)
        assert planner(applied(pair, steps)) == (), (one, other, shape)
    assert planned


def test_expiring_is_done_once() -> None:
    expired = 0
    for pair in pairs():
        converged = applied(pair, plan.plan_converge(pair.lanes[0], 77, expire=False))
        steps = expiring(converged.lanes[0])
        expired += bool(steps)
        assert expiring(applied(converged, steps).lanes[0]) == (), pair
    assert expired


def read(unit: Member, its: Role) -> Member:
    """A dataset whose role stands in its properties, as it does where it is read."""
    yes_no = {True: "yes", False: "no", None: ""}[its.master]
    values = role.role_values(its, master=True, swap=False, epoch=its.epoch or 0, gen=its.gen, parents=its.parents)
    values |= {"master": yes_no, "canmount": its.canmount, "epoch": "" if its.epoch is None else str(its.epoch)}
    own = {f"{TAG}:{key}": Value(value, "local") for key, value in values.items() if value}
    record = {key: Value(value, "local") for key, value in (role.intent_property(TAG, its.intent),) if value}
    return build_member(TAG, unit.name, {**unit.properties, **own, **record}, unit.snapshots)
