"""What core/apply says of every step, over the shapes that matter.

The step's own command runs on the model, whose answers are those of real OpenZFS (tests/contract); what is read then is
what was said, and a step that ZFS refuses is refused. Steps run on alpha; a stream comes from alpha and goes to beta.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from tests.ops.hosts import Hosts
from tests.ops.picture import TAG, differences, look
from zrep.core import steps
from zrep.core.apply import applied, received
from zrep.core.errors import FailedError, ZrepError
from zrep.core.pair import End
from zrep.core.requests import CarryOut, Failure
from zrep.core.steps import SendStream, Step
from zrep.host.local import LocalHost
from zrep.ops.read import read_snapshots
from zrep.zfs import commands

Answer = TypeVar("Answer")
A = "tank/a"
HERE = End.SOURCE
FILESYSTEM = ("zfs create tank/a", "write tank/a", "zfs snapshot tank/a@one")
VOLUME = ("zfs create -V 1G tank/a", "write tank/a", "zfs snapshot tank/a@one")
ENCRYPTED = (
    "zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///key tank/a",
    "write tank/a",
    "zfs snapshot tank/a@one",
)
SHAPES = {
    "a filesystem": FILESYSTEM,
    "a volume": VOLUME,
    "an encrypted one": ENCRYPTED,
    "one written to since": (*FILESYSTEM, "write tank/a"),
    "one not mounted": (*FILESYSTEM, "zfs unmount tank/a"),
    "one with children": (
        *FILESYSTEM, "zfs create tank/a/child", "write tank/a/child", "zfs snapshot tank/a/child@one"
    ),
    "one with a child of its own mind": (
        *FILESYSTEM,
        "zfs create -o readonly=off -o sharenfs=off -o mountpoint=/elsewhere tank/a/child",
    ),
    "one with a snapshot held": (*FILESYSTEM, "zfs hold zrep tank/a@one", "zfs hold backup tank/a@one"),
    "one with a snapshot marked": (*FILESYSTEM, "zfs set zrep:sent=1000 tank/a@one"),
    "one with a clone": (*FILESYSTEM, "zfs clone tank/a@one tank/clone"),
    "one with three snapshots": (
        *FILESYSTEM, "write tank/a", "zfs snapshot tank/a@two", "write tank/a", "zfs snapshot tank/a@three"
    ),
    "one with bookmarks": (
        *FILESYSTEM, "zfs bookmark tank/a@one tank/a#zrep:one", "zfs snapshot tank/a@two",
        "zfs bookmark tank/a@two tank/a#zrep:two", "zfs destroy tank/a@two",
    ),
    "one that is readonly": ("zfs create -o readonly=on tank/a", "zfs snapshot tank/a@one"),
    "one that inherits readonly": (*FILESYSTEM, "zfs set readonly=on tank"),
    "one remounted readonly": (*FILESYSTEM, "mount -o remount,ro /tank/a"),
    "one with a mountpoint of its own": (*FILESYSTEM, "zfs set mountpoint=/data tank/a", "zfs create tank/a/child"),
    "one that inherits its mountpoint": ("zfs set mountpoint=/data tank", *FILESYSTEM, "zfs create tank/a/child"),
    "one that has no mountpoint": (*FILESYSTEM, "zfs set mountpoint=none tank/a"),
    "one that is shared": (*FILESYSTEM, "zfs set sharenfs=on tank/a", "zfs create tank/a/child"),
    "a replica": (
        *FILESYSTEM, "zfs set zrep:src-fs=tank/z zrep:master=no zrep:gen=1111111111111111 readonly=on tank/a"
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One step on one shape. refused: ZFS says no, and so does core/apply."""

    shape: str
    step: Step
    refused: bool = False
    more: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{' '.join((*self.more, *commands.command(self.step)))} on {self.shape}"


def snapshot(name: str) -> Step:
    return steps.TakeSnapshot(HERE, TAG, (f"{A}@{name}",))


def hold(name: str, tag: str = TAG) -> Step:
    return steps.Hold(HERE, tag, (f"{A}@{name}",))


def release(name: str, tag: str = TAG) -> Step:
    return steps.Release(HERE, tag, (f"{A}@{name}",))


def destroy(*names: str) -> Step:
    return steps.DestroySnapshots(HERE, A, names)


def give(*properties: tuple[str, str], to: str = A) -> Step:
    return steps.SetProperties(HERE, (to,), properties)


def inherit(name: str, of: str = A, as_received: bool = False) -> Step:
    return steps.InheritProperty(HERE, (of,), name, as_received)


def clone(*properties: tuple[str, str], of: str = f"{A}@one") -> Step:
    return steps.Clone(HERE, of, "tank/new", properties)


FILESYSTEMS = tuple(shape for shape in SHAPES if shape != "a volume")
# Not those that are mounted otherwise than their property says: what is handed down to them is read when that ends.
HEIRS = tuple(shape for shape in SHAPES if shape != "one remounted readonly")
# Not those in a parent that is readonly: no directory can be made there to mount a clone on.
CLONABLE = tuple(shape for shape in SHAPES if shape != "one that inherits readonly")
# A bookmark counts for a rollback as the snapshot does that it is of.
MORE_RECENT = ("one with three snapshots", "one with bookmarks")
ROLE = (("zrep:src-fs", "tank/x"), ("zrep:master", "yes"), ("zrep:gen", "a" * 16))
CLONED = ("zfs clone tank/a@one tank/new",)
CLASH = (*CLONED, "zfs snapshot tank/new@one")

CASES = [
    # Snapshots.
    *(Case(shape, snapshot("new")) for shape in SHAPES),
    Case("a filesystem", snapshot("one"), refused=True),
    Case("a filesystem", steps.TakeSnapshot(HERE, TAG, ("tank/b@one",)), refused=True),
    Case("one with children", steps.TakeSnapshot(HERE, TAG, (f"{A}@two", f"{A}/child@two"))),
    *(Case(shape, hold("one", "mine")) for shape in SHAPES),
    Case("a filesystem", hold("two"), refused=True),
    *(Case("one with a snapshot held", release("one", tag)) for tag in (TAG, "backup")),
    Case("a filesystem", release("two"), refused=True),
    *(Case(shape, destroy("one")) for shape in SHAPES if shape not in ("one with a snapshot held", "one with a clone")),
    Case("one with a snapshot held", destroy("one"), refused=True),
    Case("one with a clone", destroy("one"), refused=True),
    *(Case("one with three snapshots", destroy(*names)) for names in (("one",), ("two",), ("one", "two"), ("three",))),
    Case("one with three snapshots", destroy("two", "three")),
    *(Case(shape, steps.RenameSnapshot(HERE, f"{A}@one", f"{A}@other")) for shape in SHAPES),
    *(Case(shape, steps.Bookmark(HERE, f"{A}@one", f"{A}#zrep:new")) for shape in SHAPES),
    Case("one with bookmarks", steps.DestroyBookmark(HERE, f"{A}#zrep:one")),
    Case("one with three snapshots", steps.RenameSnapshot(HERE, f"{A}@one", f"{A}@two"), refused=True),
    *(Case(shape, give(("zrep:sent", "77"), to=f"{A}@one")) for shape in SHAPES),
    Case("one with a snapshot marked", give(("zrep:sent", "77"), to=f"{A}@one")),
    Case("a filesystem", give(("zrep:sent", "77"), to=f"{A}@two"), refused=True),
    *(Case(shape, inherit("zrep:sent", f"{A}@one")) for shape in SHAPES),
    # Properties.
    *(Case(shape, give(("readonly", value))) for shape in SHAPES for value in ("on", "off")),
    *(Case(shape, inherit("readonly")) for shape in SHAPES),
    *(Case(shape, give(("canmount", value))) for shape in FILESYSTEMS for value in ("on", "noauto")),
    *(
        Case(shape, give(("canmount", "off")))
        for shape in ("a filesystem", "one not mounted", "one remounted readonly")
    ),
    *(Case(shape, give(("mountpoint", to))) for shape in FILESYSTEMS for to in ("none", "legacy", "/other")),
    *(Case(shape, inherit("mountpoint")) for shape in FILESYSTEMS),
    *(Case(shape, give(("canmount", "noauto"), ("mountpoint", "none"), ("readonly", "on"))) for shape in FILESYSTEMS),
    *(Case(shape, give(("sharenfs", value))) for shape in FILESYSTEMS for value in ("on", "off")),
    *(Case(shape, inherit("sharenfs")) for shape in FILESYSTEMS),
    *(Case(shape, give(*ROLE)) for shape in SHAPES),
    *(Case(shape, steps.TakeRole(HERE, A, "1" * 16, "a" * 16, ROLE)) for shape in SHAPES),
    *(Case(shape, inherit("zrep:master")) for shape in SHAPES),
    Case("a filesystem", give(("readonly", "on"), to="tank/b"), refused=True),
    Case("a volume", give(("volsize", "2147483648"))),
    # What a parent hands down.
    *(Case(shape, give(("readonly", value), to="tank")) for shape in HEIRS for value in ("on", "off")),
    *(Case(shape, inherit("readonly", of="tank")) for shape in HEIRS),
    *(Case(shape, give(("sharenfs", "on"), to="tank")) for shape in SHAPES),
    # Writing.
    *(Case(shape, steps.Rollback(HERE, f"{A}@one")) for shape in SHAPES if shape not in MORE_RECENT),
    *(Case(shape, steps.Rollback(HERE, f"{A}@one"), refused=True) for shape in MORE_RECENT),
    Case("one with three snapshots", steps.Rollback(HERE, f"{A}@three"), more=("write tank/a",)),
    *(Case(shape, steps.Dirty(HERE, A)) for shape in FILESYSTEMS),
    Case("a volume", steps.Dirty(HERE, A, "1073741824")),
    *(Case(shape, steps.CloseTransactionGroup(HERE, "tank")) for shape in SHAPES),
    # Mounting.
    *(Case(shape, steps.Mount(HERE, A)) for shape in ("one not mounted", "one that is readonly")),
    Case("one that is readonly", steps.Mount(HERE, A), more=("zfs unmount tank/a",)),
    Case("one with children", steps.Mount(HERE, A), more=("zfs unmount tank/a",)),
    *(Case(shape, steps.Unmount(HERE, A)) for shape in FILESYSTEMS),
    *(
        Case(shape, remount(HERE, A, "/tank/a"))
        for shape in ("a filesystem", "one that is readonly", "one that inherits readonly", "one remounted readonly")
        for remount in (steps.RemountReadOnly, steps.RemountWritable)
    ),
    *(Case(shape, steps.ReplayLog(HERE, A)) for shape in ("one not mounted",)),
    Case("one not mounted", steps.ReplayLog(HERE, A, by_hand=True), more=("zfs set mountpoint=legacy tank/a",)),
    *(Case(shape, steps.Share(HERE, A)) for shape in ("one that is shared",)),
    # Datasets.
    *(Case(shape, steps.CreateParent(HERE, f"tank/{name}")) for shape in SHAPES for name in ("over",)),
    *(Case(shape, steps.CreateParent(HERE, f"{A}/over")) for shape in FILESYSTEMS),
    Case("a filesystem", steps.CreateParent(HERE, A), refused=True),
    *(Case(shape, steps.Rename(HERE, A, "tank/renamed", volume=shape == "a volume")) for shape in SHAPES),
    Case("one with a clone", steps.Rename(HERE, A, "tank/clone"), refused=True),
    Case("one with a clone", steps.Rename(HERE, "tank/clone", "tank/other")),
    Case("a filesystem", steps.Rename(HERE, "tank/b", "tank/c"), refused=True),
    *(Case(shape, clone()) for shape in CLONABLE),
    *(Case(shape, clone(("readonly", "on"), ("canmount", "noauto"), *ROLE)) for shape in FILESYSTEMS),
    Case("a volume", clone(("readonly", "on"), *ROLE)),
    Case("a filesystem", clone(("mountpoint", "none"))),
    Case("a filesystem", clone(), refused=True, more=CLONED),
    Case("a filesystem", clone(of=f"{A}@two"), refused=True),
    Case("one with three snapshots", clone(of=f"{A}@two")),
    *(Case(shape, steps.PromoteClone(HERE, "tank/new"), more=CLONED) for shape in CLONABLE),
    Case("one with three snapshots", steps.PromoteClone(HERE, "tank/new"), more=("zfs clone tank/a@two tank/new",)),
    Case("a filesystem", steps.PromoteClone(HERE, "tank/new"), more=CLASH, refused=True),
    Case("a filesystem", steps.PromoteClone(HERE, A), refused=True),
    *(
        Case("an encrypted one", steps.PlaceKey(HERE, f"{A}/child", own=own), more=(create,), refused=refused)
        for create, own, refused in (
            (f"zfs create {A}/child", True, False),
            (f"zfs create {A}/child", False, True),
            (ENCRYPTED[0] + "/child", False, False),
            (ENCRYPTED[0] + "/child", True, True),
        )
    ),
    Case(
        "one with a clone",
        steps.PromoteClone(HERE, "tank/third"),
        more=("zfs snapshot tank/clone@own", "zfs clone tank/clone@own tank/third"),
    ),
    *(Case(shape, steps.DestroyClone(HERE, "tank/new"), more=CLONED) for shape in CLONABLE),
    Case("a filesystem", steps.DestroyClone(HERE, "tank/new"), more=(*CLONED, "zfs snapshot tank/new@x"), refused=True),
    Case("one with children", steps.DestroyClone(HERE, A), refused=True),
    Case(
        "a filesystem",
        steps.DestroyAside(HERE, "tank/new", "zrep", 7),
        more=("zfs create tank/new", "zfs set zrep:gone=7 tank/new"),
    ),
    Case("a filesystem", steps.DestroyAside(HERE, "tank/new", "zrep", 7), more=("zfs create tank/new",), refused=True),
    *(Case(shape, steps.Allow(HERE, A, ("-u", "zrep", "hold,release"))) for shape in SHAPES),
]


def arrange(hosts: Hosts, host: str, lines: tuple[str, ...]) -> None:
    for line in lines:
        if line.startswith("write "):
            name = line.partition(" ")[2]
            hosts[host].write(name, f"file{hosts.world.state.counter}", b"x" * 40)
        else:
            hosts[host].sh(line)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_said_of_a_step_is_what_is_read_after_it(hosts: Hosts, shape: str) -> None:
    hosts.wire.driver = "alpha"
    arrange(hosts, "alpha", SHAPES[shape])
    dumped = hosts.world.dump()
    wrong: list[str] = []
    for case in CASES:
        if case.shape == shape:
            hosts.load(dumped)
            arrange(hosts, "alpha", case.more)
            wrong += [f"{case}: {line}" for line in carried_out(hosts, case)]
    assert not wrong, "\n".join(wrong)


def carried_out(hosts: Hosts, case: Case) -> list[str]:
    """Where what is read after a step is not what core/apply says, or one of both refuses it and the other does not."""
    host = hosts.local("alpha")
    before = look(host, hosts["alpha"])
    refusal = carry_out(host, case.step)
    if isinstance(case.step, steps.Dirty):
        hosts["alpha"].sh("zpool sync tank")  # nothing counts as written before
    said = attempt(lambda: applied(TAG, before, case.step))
    if (refusal is not None) is not case.refused or isinstance(said, ZrepError) is not case.refused:
        return [f"ZFS: {refusal}; core/apply: {said}"]
    return differences(before if isinstance(said, ZrepError) else said, look(host, hosts["alpha"]))


def carry_out(host: LocalHost, step: Step) -> Failure | None:
    """A step as zrep carries it out; why it was not. Of a role that is taken, the set without its guard."""
    if isinstance(step, steps.TakeRole):
        step = steps.SetProperties(step.end, (step.dataset,), step.properties)
    assert isinstance(step, steps.Change)
    return host.ask(CarryOut((step,))).failure


def attempt(work: Callable[[], Answer]) -> Answer | ZrepError:
    try:
        return work()
    except ZrepError as error:
        return error


def test_every_step_is_in_the_table() -> None:
    apart = {steps.Change, SendStream, steps.DiscardPartial}
    assert {type(case.step) for case in CASES} == {*steps.Change.__subclasses__(), *Step.__subclasses__()} - apart


# --- streams ---

SECOND = ("write tank/a", "zfs snapshot tank/a@two")
BARE = ("zfs set zrep:sent=1000 tank/a@one", "zfs hold zrep tank/a@one")
B = "tank/b"
RAW = ("-w",)
ENCRYPTED_PARENT = "zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///key tank/over"


def stream(name: str = "one", target: str = B, base: str = "", **more: Any) -> SendStream:
    return SendStream(HERE, f"{A}@{name}", target, f"{A}@{base}" if base else "", **more)


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream. source: what is on alpha; first: a stream that went before it; torn: that broke in the middle; there:
    what was done on beta meanwhile."""

    name: str
    step: SendStream
    source: tuple[str, ...] = FILESYSTEM
    first: SendStream | None = None
    torn: bool = False
    there: tuple[str, ...] = ()
    refused: bool = False


FULL = stream(options=("-p",), exclude=("mountpoint",), override=(("readonly", "on"), ("canmount", "noauto")))
SHARED = ("zfs set sharenfs=on tank/a", "zfs set mountpoint=/data tank/a", "zfs set readonly=on tank/a")
STREAMS = [
    Stream("in full", stream()),
    Stream("in full, of one that is held and marked", stream(), (*FILESYSTEM, *BARE)),
    Stream("in full, of the second", stream("two"), (*FILESYSTEM, *SECOND)),
    Stream("in full, with properties", FULL, (*FILESYSTEM, *SHARED)),
    Stream("in full, with all properties", stream(options=("--props",)), (*FILESYSTEM, *SHARED)),
    Stream("in full, of a replica with properties", FULL, SHAPES["a replica"]),
    Stream("in full, without properties", stream(override=(("readonly", "on"),)), (*FILESYSTEM, *SHARED)),
    Stream("in full, of a volume", stream(options=("-p",), override=(("readonly", "on"),)), VOLUME),
    Stream("in full, of an encrypted one, raw", stream(options=("-w", "-p")), ENCRYPTED),
    Stream("in full, of an encrypted one, not raw", stream(), ENCRYPTED),
    Stream("in full, below an encrypted one", stream(target="tank/over/b"), there=(ENCRYPTED_PARENT,)),
    Stream(
        "in full, kept plain below an encrypted one",
        stream(target="tank/over/b", override=(("encryption", "off"),)),
        there=(ENCRYPTED_PARENT,),
    ),
    Stream("in full, below a readonly one", stream(), there=("zfs set readonly=on tank",)),
    Stream("in full, below one with a mountpoint", stream(), there=("zfs set mountpoint=/data tank",)),
    Stream("an increment", stream("two", base="one"), (*FILESYSTEM, *SECOND), stream()),
    Stream("an increment after properties", stream("two", base="one"), (*FILESYSTEM, *SECOND), FULL),
    Stream("an increment without anything", stream("two", base="one"), (*FILESYSTEM, "zfs snapshot tank/a@two"), FULL),
    Stream("an increment over another", stream("three", base="one"), SHAPES["one with three snapshots"], FULL),
    Stream("an increment of a volume", stream("two", base="one"), (*VOLUME, *SECOND), stream()),
    Stream("an increment, raw", stream("two", base="one", options=RAW), (*ENCRYPTED, *SECOND), stream(options=RAW)),
    Stream(
        "an increment on top of a snapshot of somebody's",
        stream("two", base="one"),
        (*FILESYSTEM, *SECOND),
        FULL,
        there=("zfs snapshot tank/b@weekly",),
    ),
    Stream(
        "an increment into one that is mounted",
        stream("two", base="one"),
        (*FILESYSTEM, *SECOND),
        FULL,
        there=("zfs mount tank/b",),
    ),
    Stream(
        "whose name is taken",
        stream("two", base="one"),
        (*FILESYSTEM, *SECOND),
        FULL,
        there=("zfs snapshot tank/b@two",),
        refused=True,
    ),
    Stream("of a snapshot that is not there", stream("none"), refused=True),
    Stream("the rest of a full one", replace(stream(), token="?"), first=stream(), torn=True),
    Stream("the rest of a full one with properties", replace(FULL, token="?"), first=FULL, torn=True),
]  # fmt: skip


def send(hosts: Hosts, step: SendStream, torn: bool = False) -> str:
    """A stream from alpha to beta; torn: it breaks in the middle. What was said when it was refused."""
    token = hosts["beta"].sh(f"zfs get -Hp -o value receive_resume_token {step.target}").decode() if step.token else ""
    sent = hosts["alpha"].run(list(commands.send(replace(step, token=token.strip()))))
    start = sent.out.find(b"\n") + 1
    whole = sent.out[: start + (len(sent.out) - start) // 2] if torn else sent.out
    got = hosts["beta"].run(list(commands.receive(step)), whole)
    return (sent.err + got.err).decode() if sent.rc or got.rc else ""


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_what_is_said_of_a_stream_is_what_is_read_after_it(hosts: Hosts, case: Stream) -> None:
    arrange(hosts, "alpha", case.source)
    hosts.wire.driver = "alpha"
    if case.first:
        assert bool(send(hosts, case.first, case.torn)) is case.torn
    arrange(hosts, "beta", case.there)
    hosts.wire.driver = "beta"
    source, targets = look(hosts.local("alpha"), hosts["alpha"])[A], look(hosts.local("beta"), hosts["beta"])
    refusal = send(hosts, case.step)
    assert bool(refusal) is case.refused, refusal
    said = attempt(lambda: received(TAG, targets, case.step, source))
    assert isinstance(said, ZrepError) is case.refused, said
    found = differences(targets if isinstance(said, ZrepError) else said, look(hosts.local("beta"), hosts["beta"]))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("increment", [False, True], ids=["of a first stream", "of an increment"])
def test_what_is_half_received_is_forgotten(hosts: Hosts, increment: bool) -> None:
    arrange(hosts, "alpha", (*FILESYSTEM, *SECOND))
    hosts.wire.driver = "beta"
    if increment:
        assert not send(hosts, FULL)
    assert send(hosts, stream("two", base="one") if increment else FULL, torn=True)
    before = look(hosts.local("beta"), hosts["beta"])
    step = steps.DiscardPartial(End.TARGET, B)
    said = applied(TAG, before, step)
    assert hosts["beta"].run(list(commands.command(step))).rc == 0
    found = differences(said, look(hosts.local("beta"), hosts["beta"]))
    assert not found, "\n".join(found)
    assert (B in said) is increment
    with pytest.raises(FailedError):
        applied(TAG, said, step)


def test_snapshots_that_have_been_read_back_are_told_as_they_are(hosts: Hosts) -> None:
    arrange(hosts, "alpha", FILESYSTEM)
    hosts.wire.driver = "alpha"
    assert not send(hosts, FULL)
    alpha, beta = hosts.local("alpha"), hosts.local("beta")
    here, there = look(alpha, hosts["alpha"]), look(beta, hosts["beta"])
    taken, sent = snapshot("two"), stream("two", base="one")
    assert carry_out(alpha, taken) is None
    here = applied(TAG, here, taken, read_snapshots(alpha, [f"{A}@two"]))
    assert not send(hosts, sent)
    there = received(TAG, there, sent, here[A], read_snapshots(beta, [f"{B}@two"]))
    for said, read in ((here[A], look(alpha, hosts["alpha"])[A]), (there[B], look(beta, hosts["beta"])[B])):
        assert [(s.name, s.guid, s.createtxg, s.creation) for s in said.snapshots] == [
            (s.name, s.guid, s.createtxg, s.creation) for s in read.snapshots
        ]


def test_a_value_that_was_received_shows_again(hosts: Hosts) -> None:
    arrange(hosts, "alpha", (*FILESYSTEM, "zfs set sharenfs=on tank/a"))
    assert not send(hosts, stream(options=("-p",)))
    hosts["beta"].sh("zfs set sharenfs=on tank/b")
    before = look(hosts.local("beta"), hosts["beta"])
    step = inherit("sharenfs", B, as_received=True)
    assert carry_out(hosts.local("beta"), step) is None
    found = differences(applied(TAG, before, step), look(hosts.local("beta"), hosts["beta"]))
    assert not found, "\n".join(found)
