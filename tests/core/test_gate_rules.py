"""What a gate lets through, request by request: each of them is in this table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from tests.core.knows import NOW, Knows
from zrep.core import requests as asked
from zrep.core import steps
from zrep.core.dataset import Member, Snapshot, Value
from zrep.core.gate import Gate, Lacking
from zrep.core.gate_rules import refusal, refused_receive, refused_send, refused_step, trimmed
from zrep.core.history import Happened
from zrep.core.pair import End
from zrep.core.requests import NO_GENERATION, Request
from zrep.core.role import HERE, PEER, Intent, Role, intent_property

TREE = "tank/data"
A, B, OUT = "tank/data/a", "tank/data/b", "tank/other"
AT, NEXT = f"{A}@zrep_000001", f"{A}@zrep_000002"
T, S = End.TARGET, End.SOURCE

RECEIVE, SEND = Gate((TREE,), receive=True), Gate((TREE,), send=True)
BOTH, KEEP = Gate((TREE,), send=True, receive=True), Gate((TREE,), receive=True, keep=True)
GATES = {"r": RECEIVE, "s": SEND, "b": BOTH, "k": KEEP}

NOTHING, PAIRED = Knows(), Knows({A: ("zrep",)})


def letters(admitted: Any) -> str:
    return "".join(letter for letter, gate in GATES.items() if not admitted(gate))


def one(dataset: str = A) -> list[tuple[Request[Any], str]]:
    """Requests about one dataset, each with the gates that admit it: receive, send, both, keep."""
    at = f"{dataset}@zrep_000001"
    stream = steps.SendStream(S, at, OUT, at, options=("-w", "-L"))
    return [
        (asked.Lock((dataset,), 5.0, "zrep"), "rsbk"),
        (asked.Unlock((dataset,)), "rsbk"),
        (asked.ReadHolders((dataset,)), "rsbk"),
        (asked.ReadMembers("zrep", (dataset,), True, trees=(dataset,)), "rsbk"),
        (asked.ReadSnapshots((at,)), "rsbk"),
        (asked.ReadRole("zrep", dataset), "rsbk"),
        (asked.ReadChildren(dataset), "rsbk"),
        (asked.ReadBelow("zrep", (dataset,)), "rsbk"),
        (asked.ReadOtherRoles("zrep", (dataset,)), "rsbk"),
        (asked.ReadHistory((dataset,)), "rsbk"),
        (asked.ReadAllProperties(dataset), "rsbk"),
        (asked.ReadDelegations(dataset), "rsbk"),
        (asked.ReadPropertyNames(dataset), "rsbk"),
        (asked.IsUnmodified(at, dataset), "rsbk"),
        (asked.Remember({f"zrep {dataset}": {"synced": 1}}), "rsbk"),
        (asked.Recall((f"zrep {dataset}",)), "rsbk"),
        (asked.Grant("zrep", {dataset: "0" * 16}, {dataset: dataset}), "rbk"),
        (asked.Grant("zrep", {dataset: NO_GENERATION}, {dataset: dataset}), "rbk"),
        (asked.Revoke((dataset,)), "rbk"),
        (asked.EndReceive(dataset), "rbk"),
        (asked.IsArriving((dataset,), 1.0), ""),
        (asked.ReadStreamSize(stream), "sb"),
        (asked.ReadDifferences(at, dataset), "sb"),
        (asked.ReadUsers(dataset), "b"),
        (asked.FindOpenVolumes((dataset,)), "b"),
        (asked.IsInUse(at, dataset), "b"),
        (asked.FindUnreadable((at,)), "b"),
        (asked.RunHooks("before-promote", {"ZREP_FS": dataset, "ZREP_TAG": "zrep", "ZREP_EPOCH": "2"}), "b"),
        (asked.TakeSnapshots("zrep", (asked.Moment(dataset, (at,), {"ZREP_FS": dataset}),)), "sb"),
        (asked.TakeRole("zrep", steps.TakeRole(T, dataset, "", "1" * 16, (("zrep:master", "yes"),))), "b"),
    ]


# Of the host, whatever the trees; what lies outside them is not in the answers.
HOST: list[tuple[Request[Any], str]] = [
    (asked.Identify(), "rsbk"),
    (asked.ReadRights(), "rsbk"),
    (asked.Dial("alpha"), "rsbk"),
    (asked.FindRoles("zrep"), "rsbk"),
    (asked.ReadTags(), "rsbk"),
    (asked.ReadOwnProperties("zrep"), "rsbk"),
    (asked.ReadMarked("zrep:rehearse"), "rsbk"),
    (asked.ReadLostPools(), "rsbk"),
    (asked.IsRunning(1), "rsbk"),
    (asked.ReadMounts(), "b"),
    (asked.FindUnmakable(("/tank/a/c",)), "b"),
    (asked.ReadSchedule("zrep"), "b"),
    (asked.ReadSessionLimit(), "b"),
    (asked.ReadPoolSpace("tank"), "rsbk"),
    (asked.ReadPoolSpace("rpool"), ""),
    (asked.ReadFeatures("tank"), "rsbk"),
    (asked.ReadFeatures("rpool"), ""),
    (asked.ReadToken("1-ab"), "sb"),
    (asked.CarryOut(()), "rsbk"),
]

REJOIN = {"fs": A, "host": "beta", "peer": "tank/a", "written": "0"}

# Of a dataset in the tree that is in no pair yet.
STEPS: list[tuple[steps.Change, str]] = [
    (steps.Hold(T, "zrep", (AT,)), "rsbk"),
    (steps.Release(T, "zrep", (AT,)), "rsb"),
    (steps.CloseTransactionGroup(T, "tank"), "rsbk"),
    (steps.CloseTransactionGroup(T, "rpool"), ""),
    (steps.SetProperties(T, (AT,), (("zrep:sent", "1"),)), "rsbk"),
    (steps.SetProperties(T, (AT,), (("zrep:made", "yes"),)), "rsbk"),
    (steps.SetProperties(T, (AT,), (("zrep:master", "no"),)), ""),
    (steps.SetProperties(T, (A,), (("zrep:inprogress", "x"),)), ""),
    (steps.SetProperties(T, (A,), (("zrep:inprogress", ""),)), "rsbk"),
    *((steps.SetProperties(T, (A,), (intent_property("zrep", Intent(word, "1")),)), admitting) for word, admitting in (
        ("init", "rsbk"), ("follow", "rsbk"), ("cancelled", "rsbk"), ("promote", "b"), ("failover", "b"),
        ("stopped", "b"),
    )),
    (steps.SetProperties(T, (A,), (intent_property("zrep", Intent("rejoin", "1", detail=REJOIN)),)), "b"),
    # Of a record, what it says of the role.
    *((steps.SetProperties(T, (A,), (intent_property("zrep", Intent("follow", "1", role=role)),)), admitting)
      for role, admitting in (
        ({"master": "no"}, "rbk"), ({"master": "yes"}, ""), ({"foreign": "*"}, ""), ({"other": "x"}, ""),
        ({"src-host": "x\ny"}, ""), ({"gen": "1"}, "rsbk"),
    )),
    (steps.SetProperties(T, (A,), (("zrep:foreign", "*"),)), ""),
    (steps.SetProperties(T, (A,), (("zrep:src-host", "a\tb"),)), ""),
    # What has no form, with what would make rows of others of it.
    *((steps.SetProperties(T, (A,), ((f"zrep:{name}", "a\tb\nc"),)), "") for name in ("coming", "set", "gen")),
    *((steps.SetProperties(T, (A,), ((f"zrep:{name}", value),)), "") for name, value in (
        ("src-fs", ""), ("dest-host", ""), ("src-fs", "-F"), ("src-host", "-oProxyCommand=x"), ("places", "x"),
        ("props", "mountpoint=/etc"), ("canmount", "x"),
    )),
    (steps.SetProperties(T, (A,), (("zrep:gone", str(NOW)),)), "rsbk"),
    (steps.SetProperties(T, (A,), (("zrep:gone", str(NOW - 86400)),)), ""),
    (steps.SetProperties(T, (A,), (("zrep:gone", "x"),)), ""),
    (steps.SetProperties(T, (A,), (("zrep:master", "no"), ("zrep:savecount", "5"))), "rbk"),
    (steps.SetProperties(T, (A,), (("zrep:master", "yes"),)), ""),
    (steps.SetProperties(T, (A,), (("zrep:driver", PEER), ("zrep:master", "yes"))), "sb"),
    (steps.SetProperties(T, (A,), (("zrep:driver", "here"),)), ""),
    (steps.SetProperties(T, (A,), (("readonly", "on"),)), "rbk"),
    (steps.SetProperties(T, (A,), (("readonly", "off"),)), "b"),
    (steps.SetProperties(T, (A,), (("canmount", "noauto"),)), "rbk"),
    (steps.SetProperties(T, (A,), (("canmount", "on"),)), "b"),
    *((steps.SetProperties(T, (A,), ((name, value),)), "") for name, value in (
        ("mountpoint", "/etc"), ("setuid", "on"), ("sharenfs", "on"), ("exec", "on"), ("devices", "on"), ("quota", "1"),
        ("org.openzfs.systemd:required-by", "x"), ("com.sun:auto-snapshot", "true"), ("zrep:other", "x"),
        ("evil", "x"), (":sent", "x"), ("canmount", "x"), ("reservation", "1"), ("compression", "x; reboot"),
        ("volmode", "full"), ("snapdev", "visible"), ("keylocation", "https://x/y"),
    )),
    (steps.SetProperties(T, (A,), (("compression", "zstd-3"),)), "rbk"),
    (steps.InheritProperty(T, (A,), "compression"), "rbk"),
    (steps.InheritProperty(T, (A,), "exec"), ""),
    (steps.InheritProperty(T, (A,), "zrep:inprogress"), "rsbk"),
    (steps.InheritProperty(T, (A,), "zrep:canmount"), "rsbk"),
    (steps.InheritProperty(T, (A,), "zrep:props"), "b"),
    (steps.InheritProperty(T, (A,), "zrep:src-fs"), ""),
    (steps.InheritProperty(T, (A,), "zrep:savecount"), ""),
    (steps.InheritProperty(T, (A,), "readonly"), "b"),
    (steps.InheritProperty(T, (A,), "mountpoint", received=True), ""),
    (steps.Bookmark(S, AT, f"{A}#zrep:zrep_000001"), "sb"),
    (steps.Bookmark(S, AT, f"{A}#mine"), ""),
    (steps.Bookmark(S, AT, f"{B}#zrep:zrep_000001"), ""),
    (steps.Bookmark(S, AT, f"{OUT}#zrep:zrep_000001"), ""),
    (steps.DestroyBookmark(S, f"{A}#zrep:zrep_000001"), "rsb"),
    (steps.DestroyBookmark(S, f"{A}#mine"), ""),
    (steps.DestroyBookmark(S, f"{OUT}#zrep:zrep_000001"), ""),
    (steps.DestroySnapshots(T, A, ("zrep_000001",)), "rsb"),
    (steps.DestroySnapshots(T, A, ("daily",)), ""),
    (steps.DestroySnapshots(T, A, ("zrep_000001", "daily")), ""),
    (steps.TakeSnapshot(S, "zrep", (AT,)), "sb"),
    (steps.TakeSnapshot(S, "zrep", (f"{A}@mine",)), ""),
    (steps.RenameSnapshot(S, AT, NEXT), "sb"),
    (steps.RenameSnapshot(S, f"{A}@daily", NEXT), ""),
    (steps.RenameSnapshot(S, AT, f"{OUT}@zrep_000002"), ""),
    (steps.CreateParent(T, A), "rbk"),
    (steps.DiscardPartial(T, A), "rbk"),
    (steps.Rename(T, A, B), "rbk"),
    (steps.Rename(T, A, OUT), ""),
    (steps.Rename(T, OUT, A), ""),
    (steps.Rename(T, TREE, A), ""),
    (steps.RemountReadOnly(S, A, "/a"), "b"),
    (steps.RemountWritable(S, A, "/a"), "b"),
    (steps.Mount(S, A, "/a"), "b"),
    (steps.Unmount(S, A, True, "/a"), "b"),
    (steps.Share(S, A), "b"),
    (steps.Clone(T, AT, B, ()), ""),
    (steps.DestroyClone(T, A), ""),
    (steps.DestroyAside(T, A, "zrep", 5), ""),
    (steps.ReplayLog(S, A), "b"),
    (steps.ReplayLog(S, OUT), ""),
    (steps.PlaceKey(T, A), "rbk"),
    (steps.PlaceKey(T, OUT), ""),
    (steps.PromoteClone(T, A), ""),
    (steps.PromoteClone(T, A, f"{B}@zrep_000001"), "rbk"),
    (steps.PromoteClone(T, A, f"{OUT}@zrep_000001"), ""),
    (steps.Allow(T, A, ("-u", "evil", "destroy")), ""),
    (steps.Rollback(T, AT), ""),
    (steps.Dirty(T, A, "1K"), ""),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "admitting"), [*one(), *HOST], ids=lambda value: type(value).__name__)
def test_requests_go_through_the_gates_meant_for_them(request_: Request[Any], admitting: str) -> None:
    known = PAIRED if isinstance(request_, asked.TakeSnapshots | asked.TakeRole) else NOTHING
    assert letters(lambda gate: refusal(gate, request_, known)) == admitting


@pytest.mark.parametrize(("step", "admitting"), STEPS, ids=lambda value: type(value).__name__)
def test_steps_go_through_the_gates_meant_for_them(step: steps.Change, admitting: str) -> None:
    assert letters(lambda gate: refused_step(gate, step, NOTHING)) == admitting
    assert letters(lambda gate: refusal(gate, asked.CarryOut((step,)), NOTHING)) == admitting


OUTSIDE = ("tank", "tank/other", "tank/data2", "tank/data/../other", "tank/data//x", "tank/data/.", "rpool/tank/data")


@pytest.mark.parametrize("name", OUTSIDE)
def test_nothing_outside_goes_through_any(name: str) -> None:
    for request, _ in one(name):
        if isinstance(request, asked.ReadMembers) and name == "tank":
            continue  # as one of its trees it does not either
        assert letters(lambda gate, request=request: refusal(gate, request, NOTHING)) == "", request


def test_the_table_knows_every_request_and_every_step() -> None:
    assert {type(request) for request, _ in [*one(), *HOST]} == set(Request.__subclasses__())
    assert {type(step) for step, _ in STEPS} == set(steps.Change.__subclasses__())


@pytest.mark.parametrize(
    ("gate", "request_", "wider"),
    [
        (RECEIVE, asked.ReadUsers(A), f"zrep gate --tree {TREE} --send --receive"),
        (SEND, asked.Revoke((A,)), f"zrep gate --tree {TREE} --send --receive"),
        (KEEP, asked.RunHooks("after-demote", {"ZREP_FS": A}), f"zrep gate --tree {TREE} --send --receive --keep"),
        (
            Gate((TREE,), send=True, receive=True, keep=True),
            asked.RunHooks("after-demote", {"ZREP_FS": A}),
            f"zrep gate --tree {TREE} --send --receive",
        ),
        (RECEIVE, asked.ReadRole("zrep", OUT), f"zrep gate --tree {TREE} --tree {OUT} --receive"),
        (RECEIVE, asked.ReadSnapshots(("tank/b c@x",)), f"zrep gate --tree {TREE} --tree 'tank/b c' --receive"),
    ],
)
def test_what_a_gate_lacks_is_another_gate_that_admits_it(gate: Gate, request_: Request[Any], wider: str) -> None:
    """One word of it at a time, as whoever reads it has to decide on each."""
    reason = refusal(gate, request_, NOTHING)
    assert isinstance(reason, Lacking)
    assert reason.wider.command == wider
    assert refusal(reason.wider, request_, NOTHING) in ("", "it with --keep")


@pytest.mark.parametrize(
    "request_", [asked.ReadRole("zrep", "tank/data/../other"), asked.CarryOut((steps.Rollback(T, AT),))]
)
def test_what_no_gate_admits_names_none(request_: Request[Any]) -> None:
    reason = refusal(RECEIVE, request_, NOTHING)
    assert reason
    assert not isinstance(reason, Lacking)


def moment(about: Mapping[str, str]) -> asked.TakeSnapshots:
    return asked.TakeSnapshots("zrep", (asked.Moment(A, (AT,), about),))


@pytest.mark.parametrize(
    ("request_", "admitted", "refused"),
    [
        (
            asked.ReadMembers("zrep", ("tank",)),
            asked.ReadMembers("zrep", (A,), trees=(A,)),
            asked.ReadMembers("zrep", ("tank",), trees=("tank",)),
        ),
        (
            moment({"ZREP_FS": A}),
            moment({"ZREP_FS": A, "ZREP_TAG": "zrep"}),
            moment({"ZREP_FS": A, "LD_PRELOAD": "/tmp/x.so"}),
        ),
        (
            asked.Grant("zrep", {A: "1" * 16}, {A: A}),
            asked.Grant("zrep", {A: "1" * 16}, {A: TREE}),
            asked.Grant("zrep", {A: "1" * 16}, {A: OUT}),
        ),
        (
            asked.Grant("zrep", {A: "1" * 16}, {}),
            asked.Grant("zrep", {A: "1" * 16}, {B: B}),
            asked.Grant("zrep", {A: "1" * 16}, {OUT: A}),
        ),
    ],
    ids=["a tree around", "words for hooks", "a root outside", "a member outside"],
)
def test_each_name_in_a_request_is_looked_at(
    request_: Request[Any], admitted: Request[Any], refused: Request[Any]
) -> None:
    gate = SEND if isinstance(request_, asked.TakeSnapshots) else RECEIVE
    assert [bool(refusal(gate, each, PAIRED)) for each in (request_, admitted, refused)] == [False, False, True]


def test_of_pools_that_are_lost_only_those_of_the_trees_are_told() -> None:
    lost = {"tank": asked.Failure("PoolError", "x"), "secret": asked.Failure("PoolError", "y")}
    assert trimmed(RECEIVE, asked.ReadLostPools(), lost) == {"tank": lost["tank"]}


def test_what_is_called_as_no_tag_can_be_is_no_property_of_zrep() -> None:
    for name, why in (("com.sun:gen", ""), ("Com.Sun:gen", "to set Com.Sun:gen"), (f"{'x' * 65}:gen", "to set x")):
        said = refused_step(BOTH, steps.SetProperties(T, (A,), ((name, "1" * 16),)), NOTHING)
        assert (said, said[: len(why)]) == (said if why else "", why)


def test_who_drives_by_a_record_alone_is_still_who_drives_here() -> None:
    known = Knows({A: ("zrep",)}, begun=True, linked={"driver": (HERE,), "master": ("no",), "src-host": ("alpha",)})
    record = intent_property("zrep", Intent("follow", "1", role={"src-host": "gamma", "driver": PEER}))
    said = refused_step(BOTH, steps.SetProperties(T, (A,), (record,)), known)
    assert said == f"that this host dials gamma for {A}"


def test_what_is_in_a_pair_is_nothing_new() -> None:
    assert refusal(RECEIVE, asked.Grant("x", {A: NO_GENERATION}, {}), PAIRED)
    assert not refusal(RECEIVE, asked.Grant("x", {A: "1" * 16}, {}), PAIRED)


KEEPS_BOTH = Gate((TREE,), send=True, receive=True, keep=True)


@pytest.mark.parametrize("name", ["savecount", "minfree", "flags", "paused", "keep", "unsent", "driver"])
def test_how_a_pair_goes_on_that_is_made_is_settled(name: str) -> None:
    value = {"driver": PEER, "flags": "-p", "keep": "24h", "unsent": "drop"}.get(name, "5")
    for step in (
        steps.SetProperties(T, (A,), ((f"zrep:{name}", value),)),
        steps.SetProperties(T, (A,), (intent_property("zrep", Intent("follow", "1", role={name: value})),)),
    ):
        for gate in (RECEIVE, SEND, BOTH):
            assert refused_step(gate, step, PAIRED) == f"to set zrep:{name}, which is settled, of {A}"
            assert not refused_step(gate, step, NOTHING)
            assert not refused_step(gate, step, Knows(PAIRED.pairs, begun=True))
            assert not refused_step(gate, step, Knows({A: ("other",)}))
        for gate in (KEEP, KEEPS_BOTH):
            assert refused_step(gate, step, PAIRED) == f"to set what {A} is kept by"


def test_who_keeps_decides_how_much_once_it_is_in_a_pair() -> None:
    for name, value in (("src-host", "alpha"), ("master", "no"), ("recursive", "on")):
        step = steps.SetProperties(T, (A,), ((f"zrep:{name}", value),))
        assert not refused_step(RECEIVE, step, PAIRED)
        for gate in (KEEP, KEEPS_BOTH):
            assert refused_step(gate, step, PAIRED) == f"to set what {A} is kept by"
    assert not refused_step(KEEP, steps.SetProperties(T, (A,), (("zrep:coming", "x"),)), PAIRED)


@pytest.mark.parametrize(
    ("step", "why"),
    [
        *((steps.SetProperties(T, (f"{A}/x",), ((f"zrep:{name}", value),)), f"to set what {A}/x is kept by")
          for name, value in (("savecount", "1"), ("src-host", "alpha"), ("recursive", "on"), ("exclude", "on"))),
        (steps.SetProperties(T, (f"{A}/x",), (("zrep:canmount", "on"),)), ""),
        (steps.SetProperties(T, (TREE,), (("other:recursive", "on"),)), f"to set what {A} is kept by"),
        (steps.SetProperties(T, (TREE,), (("other:recursive", "off"),)), ""),
        (steps.Rename(T, f"{A}/x", f"{B}/x"), ANOTHER := "to bring what is kept from one pair to another"),
        (steps.Rename(T, f"{B}/x", f"{A}/x"), ANOTHER),
        (steps.Rename(T, f"{A}/x", f"{A}/y/x"), ""),
        (steps.PromoteClone(T, f"{B}/x", AT), ANOTHER),
        (steps.PromoteClone(T, f"{A}/x", f"{B}@zrep_000001"), ANOTHER),
        (steps.PromoteClone(T, f"{A}/x", AT), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)  # fmt: skip
def test_what_is_kept_is_judged_by_no_rules_of_who_sends(step: steps.Change, why: str) -> None:
    """Not of a member of a pair, nor by bringing it into a pair that he makes beside it, or around it."""
    assert refused_step(KEEP, step, Knows({A: ("zrep",)})) == why
    if why == ANOTHER:
        assert not refused_step(RECEIVE, step, Knows({A: ("zrep",)}))


_NEW = {"src-host": "alpha", "dest-host": "beta.lan", "master": "no"}
_PROMOTED = {"src-host": "beta.lan", "dest-host": "alpha", "master": "yes"}


@pytest.mark.parametrize(
    ("now", "given", "refused"),
    [
        # A pair that is begun, and one whose role moves: the name by which the peer knows this host is his business.
        ({}, _NEW, ""),
        (_NEW, _PROMOTED, ""),
        (_NEW, {"src-host": "alpha"}, ""),
        (_NEW, {"dest-host": "other"}, ""),
        ({}, {"src-host": "gamma", "dest-host": "beta", "master": "yes", "driver": PEER}, ""),
        ({"src-host": "gamma", "master": "yes", "driver": PEER}, {"dest-host": "other", "master": "no"}, ""),
        # Somebody else, at once or in parts.
        ({}, {**_NEW, "src-host": "gamma"}, "gamma"),
        ({}, {"src-host": "localhost"}, "localhost"),
        (_NEW, {"src-host": "gamma"}, "gamma"),
        (_NEW, {"master": "yes"}, "beta.lan"),
        ({**_NEW, "dest-host": "gamma"}, {"master": "yes"}, "gamma"),
        (_PROMOTED, {"dest-host": "gamma"}, "gamma"),
        (_PROMOTED, {"src-host": "gamma", "master": "no"}, "gamma"),
        ({"src-host": "gamma"}, {"master": "no"}, "gamma"),
    ],
)
def test_nobody_else_is_dialled_for_a_pair_than_before(
    now: Mapping[str, str], given: Mapping[str, str], refused: str
) -> None:
    known = Knows({A: ("zrep",)}, begun=True, linked={name: (value,) for name, value in now.items()})
    properties = tuple((f"zrep:{name}", value) for name, value in given.items())
    record = intent_property("zrep", Intent("follow", "1", role=given))
    for told in (properties, (record, *properties)):
        said = refused_step(BOTH, steps.SetProperties(T, (A,), told), known)
        assert said == (f"that this host dials {refused} for {A}" if refused else "")
    # Of a record alone the property that is there counts too, as soon as that is gone.
    assert refused_step(BOTH, steps.SetProperties(T, (A,), (record,)), known) or not refused


def test_what_is_kept_does_not_move() -> None:
    requests: tuple[Request[Any], ...] = (
        asked.TakeRole("zrep", steps.TakeRole(T, A, "", "1" * 16, (("zrep:master", "yes"),))),
        asked.RunHooks("before-promote", {"ZREP_FS": A}),
        *(
            asked.CarryOut((step,))
            for step in (
                steps.InheritProperty(T, (A,), "zrep:src-fs"),
                steps.InheritProperty(T, (A,), "readonly"),
                steps.SetProperties(T, (A,), (("canmount", "on"),)),
                steps.Mount(T, A, "/a"),
                steps.DestroySnapshots(T, A, ("zrep_000001",)),
                steps.RenameSnapshot(T, AT, NEXT),
            )
        ),
    )
    for request in requests:
        assert refusal(KEEPS_BOTH, request, PAIRED)


@pytest.mark.parametrize("at", [AT, f"{A}/x@zrep_000001"])
def test_what_is_kept_is_released_under_the_tag_of_its_pair_alone(at: str) -> None:
    assert not refused_step(KEEP, steps.Release(T, "zrep", (at,)), PAIRED)
    for tag in ("forever", "other"):
        assert refused_step(KEEP, steps.Release(T, tag, (at,)), PAIRED) == f"to release {tag}, which is no pair's"


def test_programs_are_at_rest_once_for_each_pair_and_what_is_in_it() -> None:
    def moment(*snapshots: str, of: str = A) -> asked.Moment:
        return asked.Moment(of, snapshots, {"ZREP_FS": of})

    assert not refusal(SEND, asked.TakeSnapshots("zrep", (moment(AT, f"{A}/x@zrep_000001"),)), PAIRED)
    for moments, tag in (
        ((moment(AT), moment(AT)), "zrep"),
        ((moment(AT),), "other"),
        ((moment(f"{B}@zrep_000001"),), "zrep"),
        ((moment(f"{B}@zrep_000001", of=B),), "zrep"),
    ):
        assert refusal(SEND, asked.TakeSnapshots(tag, moments), PAIRED)


def test_hooks_hear_what_zrep_tells_and_nothing_else() -> None:
    for about in ({"LD_PRELOAD": "/x", "ZREP_FS": A}, {"ZREP_FS": A, "ZREP_PEER": "$(reboot)"}, {}, {"ZREP_FS": OUT}):
        assert refusal(BOTH, asked.RunHooks("after-promote", about), NOTHING)
    assert refusal(BOTH, asked.RunHooks("../x", {"ZREP_FS": A}), NOTHING)


def test_notes_are_about_filesystems_and_short() -> None:
    wrong: list[dict[str, Any]] = [
        {"zrep@news": {}},
        {"../x": {}},
        {f"zrep {OUT}": {}},
        {f"zrep {A}": {"x": ["y" * 99999]}},
    ]
    for records in wrong:
        assert refusal(RECEIVE, asked.Remember(records), NOTHING)


def test_nobody_waits_for_long() -> None:
    assert refusal(RECEIVE, asked.Lock((A,), 1e9), NOTHING)


def test_a_stream_brings_what_zrep_gives_it() -> None:
    good = (("readonly", "on"), ("canmount", "noauto"), ("zrep:canmount", "on"))
    assert refused_receive(RECEIVE, A, good) == ""
    for name, value in (("mountpoint", "/etc"), ("canmount", "on"), ("x:y", "z"), ("zrep:canmount", "x\ny")):
        assert refused_receive(RECEIVE, A, ((name, value),))
    assert refused_receive(SEND, A, good)
    assert refused_receive(RECEIVE, OUT, good)


def test_a_stream_goes_out_as_init_lets_it() -> None:
    assert refused_send(SEND, (AT,), ("-p", "-w", "-L", "-e", "-c"), encrypted=True, raw=True) == ""
    assert refused_send(SEND, (AT,), ("-p",), encrypted=True, raw=False)
    for word in ("-R", "-I", "--replicate", "-b", "-h", "-V"):
        assert refused_send(SEND, (AT,), (word,), encrypted=False, raw=False)
    assert refused_send(RECEIVE, (AT,), (), encrypted=False, raw=False)
    assert refused_send(SEND, (AT, f"{OUT}@zrep_000001"), (), encrypted=False, raw=False)


def test_answers_tell_of_the_trees_alone() -> None:
    roles = {A: Role(), OUT: Role(), "tank/data2": Role()}
    assert trimmed(RECEIVE, asked.FindRoles("zrep"), roles) == {A: Role()}
    assert trimmed(RECEIVE, asked.ReadMarked("x:y"), [(A, "1"), (OUT, "2")]) == [(A, "1")]
    assert trimmed(RECEIVE, asked.ReadTags(), ["zrep", "secret"]) == []
    properties = {"type": Value("filesystem", "-"), "available": Value("9", "-"), "mountpoint": Value("/x", "local")}
    above = Member("tank", {**properties, "secret:x": Value("1", "local")}, Role("a", "b", "c", "d"))
    found = trimmed(RECEIVE, asked.ReadMembers("zrep", ("tank", A)), asked.Found({"tank": above}))
    assert found.members == {"tank": Member("tank", properties, Role())}
    cloned = Snapshot("zrep_000001", "1", 1, clones=(B, OUT))
    found = trimmed(RECEIVE, asked.ReadMembers("zrep", (A,)), asked.Found({A: Member(A, {}, Role(), (cloned,))}))
    assert found.members[A].snapshots == (replace(cloned, clones=(B, "a clone elsewhere")),)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (f"zfs set zrep:epoch=3 {A}", True),
        (f"zfs set mountpoint=/srv/secret x:y=a/b {A}", True),
        (f"zfs clone {B}@1 {A}", True),
        (f"zfs snapshot {A}@1 {OUT}@1", False),
        (f"zfs clone {OUT}@1 {A}", False),
        (f"zfs rename {A} tank/data2", False),
        (f"zfs set compression=on tank {A}", False),
    ],
)
def test_a_command_that_names_others_is_none_of_the_peers(command: str, told: bool) -> None:
    happened = Happened(1, command)
    assert trimmed(RECEIVE, asked.ReadHistory((A,)), {A: [happened]}) == {A: [happened] if told else []}
