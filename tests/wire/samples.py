"""One of everything that crosses between two hosts, and the answers to it."""

from __future__ import annotations

from typing import Any

from zrep.core import requests as asked
from zrep.core import steps
from zrep.core.dataset import Member, PoolSpace, Snapshot, TokenContents, Value
from zrep.core.history import Happened
from zrep.core.mounts import MountEntry
from zrep.core.neighbours import Child
from zrep.core.pair import End
from zrep.core.requests import Failure
from zrep.core.rights import Rights
from zrep.core.role import Intent, Role

A, B, AT = "tank/a", "tank/b c", "tank/a@zrep_000001"
PROPERTIES = (("zrep:sent", "5"), ("readonly", "on"))
TOKEN = "1-c1f1aeb59-c8-789c636064000310a500"
SEND = steps.SendStream(
    End.SOURCE, "tank/a@zrep_000002", B, AT, "", ("-p", "-w"), ("zrep:gen",), PROPERTIES, "pigz", ""
)
INTENT = Intent("failover", "0123456789abcdef", "commit", 3, {A: "off default"}, {"master": "no"})
ROLE = Role("alpha", A, "beta", B, True, 5, 3, "0123456789abcdef", ("f" * 16,), INTENT)
SNAPSHOTS = (
    Snapshot("daily", "17", 10, 1700000000, 4096, 8192, frozenset({"zrep", "mine"}), None, ("tank/clone",)),
    Snapshot("zrep_000001", str(2**64 - 1), 20, 1700000060, sent=1700000061, made=True),
)
MEMBER = Member(A, {"type": Value("filesystem", "-"), "mountpoint": Value("/srv/a\tb", "local")}, ROLE, SNAPSHOTS)
IDENTITY = asked.Identity("alpha", "0a1b", "3.0", "2.3.2", 1700000000.5, "root")
FAILURE = Failure("OccupiedError", "zfs unmount failed", A, "target is busy", "end postgres")

STEPS: tuple[steps.Change, ...] = (
    steps.TakeSnapshot(End.SOURCE, "zrep", (AT,)),
    steps.Hold(End.TARGET, "zrep", (AT, f"{B}@x")),
    steps.Release(End.SOURCE, "zrep", (AT,)),
    steps.DestroySnapshots(End.SOURCE, A, ("x", "-y")),
    steps.Bookmark(End.SOURCE, AT, f"{A}#zrep:zrep_000001"),
    steps.DestroyBookmark(End.SOURCE, f"{A}#zrep:zrep_000001"),
    steps.RenameSnapshot(End.SOURCE, AT, f"{A}@new"),
    steps.SetProperties(End.SOURCE, (A, AT), PROPERTIES),
    steps.InheritProperty(End.SOURCE, (A,), "zrep:paused", True),
    steps.CreateParent(End.TARGET, "tank/x"),
    steps.DiscardPartial(End.TARGET, B),
    steps.CloseTransactionGroup(End.SOURCE, "tank"),
    steps.RemountReadOnly(End.SOURCE, A, "/tank/a"),
    steps.RemountWritable(End.SOURCE, A, "/tank/a"),
    steps.Mount(End.SOURCE, A),
    steps.Mount(End.SOURCE, A, "/tank/a"),
    steps.Unmount(End.SOURCE, A, True, "/tank/a"),
    steps.Share(End.SOURCE, A),
    steps.Rename(End.SOURCE, A, "tank/c"),
    steps.Clone(End.SOURCE, AT, "tank/c", PROPERTIES),
    steps.DestroyClone(End.SOURCE, "tank/c"),
    steps.DestroyAside(End.SOURCE, "tank/c", "zrep", 1700000000),
    steps.PromoteClone(End.SOURCE, "tank/c"),
    steps.ReplayLog(End.SOURCE, A, by_hand=True),
    steps.PlaceKey(End.TARGET, "tank/c", own=True),
    steps.Allow(End.SOURCE, A, ("-u", "bob", "mount")),
    steps.Rollback(End.SOURCE, AT),
    steps.Dirty(End.SOURCE, A),
)

# Every request, with an answer to it.
EXCHANGES: tuple[tuple[asked.Request[Any], Any], ...] = (
    (asked.Identify(), IDENTITY),
    (asked.ReadRights(), Rights("operator", mounts=False)),
    (asked.Dial("root@alpha"), IDENTITY),
    (asked.RunHooks("before-demote", {"ZREP_FS": A}), ["/etc/zrep/hooks.d/x: exit status 1"]),
    (asked.Remember({"zrep tank/a": {"synced": 5, "told": None}, "zrep@news": {"said": {A: ("x", "y", 1, 2)}}}), None),
    (asked.Recall(("zrep tank/a",)), {"zrep tank/a": {"synced": 5, "said": {A: ("x", "y", 1, 2)}}}),
    (asked.ReadUsers(A), asked.Users(("sh (6)", "postgres (7)"), ("postgres (7)",), (), ("/data for sh (6)",), "why")),
    (asked.FindOpenVolumes((A, B)), asked.OpenVolumes({A: ("qemu (6)", "swap")}, "why")),
    (asked.IsInUse(AT, A), True),
    (asked.Lock((A, B), 2.5), [B]),
    (asked.Lock((A,), 0.0, "offsite"), []),
    (asked.ReadHolders((A, B)), {B: ("offsite", 812)}),
    (asked.Unlock((A,)), None),
    (
        asked.Grant("zrep", {B: "0123456789abcdef", A: asked.NO_GENERATION}, {B: B, A: A}),
        {B: ("/run/zrep/b.receive", "7.0a")},
    ),
    (asked.Revoke((A, B)), None),
    (asked.EndReceive(B), 1),
    (asked.IsArriving((B,), 1.0), True),
    (asked.CarryOut(STEPS), asked.Carried(len(STEPS))),
    (asked.CarryOut(STEPS), asked.Carried(3, FAILURE)),
    (
        asked.TakeSnapshots("zrep", (asked.Moment(A, (AT,), {"ZREP_FS": A}),), True),
        asked.Taken({A: "x: exit status 1"}, {A: FAILURE}, {A: ["late"]}),
    ),
    (asked.TakeRole("zrep", steps.TakeRole(End.TARGET, B, "", "0" * 16, PROPERTIES)), asked.Carried(1)),
    (asked.FindRoles("zrep"), {A: ROLE, B: Role()}),
    (asked.ReadRole("zrep", A), ROLE),
    (asked.ReadRole("zrep", A), None),
    (asked.ReadMembers("zrep", (A, B), True), asked.Found({A: MEMBER}, {B: FAILURE})),
    (asked.ReadHistory((A,)), {A: [Happened(1700000000, "zfs set zrep:master=yes tank/a", "root@alpha")]}),
    (asked.ReadLostPools(), {"tank": FAILURE}),
    (asked.ReadSnapshots((AT,)), {AT: SNAPSHOTS[1]}),
    (asked.ReadChildren(A), ["tank/a/b"]),
    (asked.ReadBelow("zrep", (A,)), [Child("tank/a/b", Value("off", "default"), True, ("offsite",), True)]),
    (asked.ReadOwnProperties("zrep"), {A: {"zrep:gen": "1"}}),
    (asked.ReadAllProperties(A), {"quota": Value("1G", "local")}),
    (asked.ReadDelegations(A), [("-u", "bob", "mount")]),
    (asked.ReadMounts(), [MountEntry(7, 1, "/tank/a b", "zfs", A)]),
    (asked.FindUnmakable(("/tank/a/c",)), ["/tank/a/c"]),
    (asked.ReadMarked("zrep:rehearse"), [("tank/c", "77")]),
    (asked.ReadTags(), ["offsite", "zrep"]),
    (asked.ReadPropertyNames(A), ["quota", "offsite:src-fs"]),
    (asked.ReadOtherRoles("zrep", (A, B)), {A: {"offsite": ROLE}}),
    (asked.IsRunning(1), True),
    (asked.ReadSchedule("zrep"), {"/etc/cron.d/zrep": "/usr/bin:/bin"}),
    (asked.ReadSessionLimit(), 10),
    (asked.ReadFeatures("tank"), ["encryption", "large_blocks"]),
    (asked.ReadPoolSpace("tank"), PoolSpace(2**50, 2**40)),
    (asked.ReadToken(TOKEN), TokenContents(True, "1", "2", 3)),
    (asked.ReadStreamSize(SEND), 2**40),
    (asked.ReadStreamSize(SEND), None),
    (asked.IsUnmodified(AT, A), True),
    (asked.FindUnreadable((AT,)), [AT]),
    (asked.ReadDifferences(AT, A), [("+", "/tank/a/x")]),
)
