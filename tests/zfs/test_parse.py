"""What zfs prints, as zrep reads it: roles, errors."""

from __future__ import annotations

import pytest

from zrep.core.dataset import Value, role_of
from zrep.core.errors import FailedError, ZrepError
from zrep.core.mounts import MountEntry
from zrep.core.role import Intent
from zrep.zfs import errors as zfs_errors
from zrep.zfs import parse
from zrep.zfs.commands import Completed

WHOLE = {
    "src-host": "alpha",
    "src-fs": "tank/a",
    "dest-host": "beta",
    "dest-fs": "tank/b",
    "master": "no",
    "epoch": "1",
    "gen": "1" * 16,
}
TURNED = {**WHOLE, "src-host": "beta", "src-fs": "tank/b", "dest-host": "alpha", "dest-fs": "tank/a", "master": "yes"}
TURNED |= {"epoch": "2", "gen": "2" * 16}


def properties(values: dict[str, str], source: str = "local") -> dict[str, Value]:
    return {f"zrep:{name}": Value(value, source) for name, value in values.items()}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, ""),
        ({"epoch": "abc"}, "zrep:epoch is 'abc'"),
        ({"epoch": "-1"}, "zrep:epoch is '-1'"),
        ({"epoch": "1", "master": "maybe"}, "zrep:master is 'maybe'"),
        ({"savecount": "lots"}, "zrep:savecount is 'lots'"),
        ({"inprogress": "garbage"}, "zrep:inprogress is 'garbage'"),
        ({"inprogress": ""}, ""),
        ({"inprogress": Intent("failover", "x").text()}, ""),
        ({"epoch": "x", "savecount": "y"}, "zrep:epoch is 'x', zrep:savecount is 'y'"),
    ],
)
def test_what_zrep_never_writes_is_noticed(change: dict[str, str], says: str) -> None:
    assert role_of("zrep", "tank/b", properties(WHOLE | change)).unreadable == says


@pytest.mark.parametrize("source", ["inherited from tank", "received", "default", "-"])
def test_only_local_properties_make_a_role(source: str) -> None:
    assert not role_of("zrep", "tank/x", properties(WHOLE, source)).paired


def test_a_replica_of_the_shell_zrep_has_its_masters_properties_received() -> None:
    shell = {name: value for name, value in WHOLE.items() if name not in ("epoch", "gen", "parent")}
    received = properties(shell, "received")
    role = role_of("zrep", "tank/b", received)
    assert (role.paired, role.master, role.gen) == (True, False, "")
    assert not role_of("zrep", "tank/other", received).paired
    assert not role_of("zrep", "tank/b", properties(WHOLE, "received")).paired


def test_the_shell_zrep_marks_only_masters() -> None:
    shell = {name: value for name, value in WHOLE.items() if name not in ("master", "epoch", "gen")}
    assert role_of("zrep", "tank/b", properties(shell)).master is False
    assert role_of("zrep", "tank/b", properties(shell | {"gen": "1"})).master is None
    assert role_of("zrep", "tank/b", properties({"savecount": "5"})).master is None


@pytest.mark.parametrize("landed", range(len(TURNED) + 1))
def test_the_record_of_a_new_role_decides_however_much_of_the_set_landed(landed: int) -> None:
    values = WHOLE | dict(list(TURNED.items())[:landed])
    record = Intent("promote", "2" * 16, role=TURNED).text()
    role = role_of("zrep", "tank/b", properties({**values, "inprogress": record}))
    assert role.links == ("beta", "tank/b", "alpha", "tank/a")
    assert (role.master, role.epoch, role.gen) == (True, 2, "2" * 16)
    assert role.partially_applied is (landed < len(TURNED))


@pytest.mark.parametrize(
    ("said", "kind", "evidence"),
    [
        ("cannot open 'x': dataset does not exist", zfs_errors.AbsentError, "cannot open 'x': dataset does not exist"),
        ("cannot receive incremental stream: destination tank/b has been modified\nsince most recent snapshot",
         zfs_errors.ModifiedError, "cannot receive incremental stream: destination tank/b has been modified"),
        ("cannot receive incremental stream: most recent snapshot of tank/b does not\nmatch incremental source",
         zfs_errors.NoBaseError, "cannot receive incremental stream: most recent snapshot of tank/b does not"),
        ("cannot create snapshots : out of space", zfs_errors.NoSpaceError, "cannot create snapshots : out of space"),
        ("cannot set property for 'tank/a': permission denied", zfs_errors.DeniedError,
         "cannot set property for 'tank/a': permission denied"),
        ("cannot receive: failed to read from stream\ncannot receive new filesystem stream: incomplete stream",
         zfs_errors.BrokenStreamError, "cannot receive new filesystem stream: incomplete stream"),
        ("cannot receive: stream has unsupported feature, feature flags = 30430004",
         zfs_errors.UnknownFeatureError,
         "cannot receive: stream has unsupported feature, feature flags = 30430004: longname, large_microzap"),
        ("cannot receive: stream has unsupported feature, feature flags = 40000004", zfs_errors.UnknownFeatureError,
         "cannot receive: stream has unsupported feature, feature flags = 40000004"),
        ("last login: never\ncannot receive: out of space", zfs_errors.NoSpaceError, "cannot receive: out of space"),
        ("last login: yesterday\ncannot do it: no idea", FailedError, "cannot do it: no idea"),
        ("something else\nquite unknown", FailedError, "quite unknown"),
        ("", FailedError, "exit status 1"),
    ],
)  # fmt: skip
def test_errors_are_typed_by_what_zfs_says(said: str, kind: type[ZrepError], evidence: str) -> None:
    error = zfs_errors.error(Completed(("zfs", "receive", "tank/b"), 1, "", said + "\n"))
    assert (type(error), error.what, error.evidence) == (kind, "zfs receive failed", evidence)


ALLOWED = """---- Permissions on tank/c/a b ---------------------------------------
Permission sets:
\t@s create,mount
Create time permissions:
\tdestroy
Local permissions:
\tuser operator mount
Descendent permissions:
\tgroup daemon rename,snapshot
Local+Descendent permissions:
\tuser domain user hold,send
\tuser (unknown: 4711) send
\tgroup users @s
\teveryone diff
Permissions of a time to come:
\tuser operator time
---- Permissions on tank/c -------------------------------------------
Local+Descendent permissions:
\tuser operator userprop
"""


def test_what_is_delegated_is_read_as_the_words_that_delegate_it() -> None:
    assert parse.parse_allowed(ALLOWED, "tank/c/a b") == [
        ("-s", "@s", "create,mount"),
        ("-c", "destroy"),
        ("-l", "-u", "operator", "mount"),
        ("-d", "-g", "daemon", "rename,snapshot"),
        ("-u", "domain user", "hold,send"),
        ("-u", "4711", "send"),
        ("-g", "users", "@s"),
        ("-e", "diff"),
    ]
    assert parse.parse_allowed("", "tank") == []


GONE = "cannot open 'tank/a': dataset does not exist\n"


@pytest.mark.parametrize(
    ("status", "said"),
    [(-9, ""), (-9, GONE), (1, ""), (1, f"{GONE}cannot open 'tank/c': I/O error\n"), (2, "bad property list\n")],
)
def test_a_zfs_get_that_was_ended_or_failed_says_nothing_of_what_is_not_there(status: int, said: str) -> None:
    row = "tank/b\tzrep:paused\tpermission denied\tlocal\n"
    with pytest.raises(FailedError, match="zfs get failed") as caught:
        zfs_errors.present(Completed(("zfs", "get"), status, row, said))
    assert "permission" not in caught.value.evidence


@pytest.mark.parametrize(("status", "said"), [(0, ""), (1, GONE), (1, GONE * 2)])
def test_what_zfs_get_says_is_not_there_is_not_there(status: int, said: str) -> None:
    assert zfs_errors.present(Completed(("zfs", "get"), status, "x", said)).out == "x"


def test_mounts_are_those_of_the_kernel_names_with_blanks_among_them() -> None:
    text = (
        "25 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
        "40 25 0:40 / /tank/a\\040b rw,relatime shared:20 master:3 - zfs tank/a\\040b rw,xattr,noacl\n"
    )
    assert parse.parse_mountinfo(text) == [
        MountEntry(25, 1, "/", "ext4", "/dev/vda1", "254:1", ("1",)),
        MountEntry(40, 25, "/tank/a b", "zfs", "tank/a b", "0:40", ("20", "3")),
    ]


@pytest.mark.parametrize(("identity", "flags"), [(25, ("relatime",)), (40, ("nosuid", "noexec", "noatime")), (7, ())])
def test_the_flags_of_a_mount_are_what_a_remount_has_to_keep(identity: int, flags: tuple[str, ...]) -> None:
    text = (
        "25 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
        "40 25 0:40 / /tank/a ro,nosuid,noexec,noatime shared:20 - zfs tank/a ro,xattr,noacl\n"
    )
    assert parse.mount_flags(text, identity) == flags


@pytest.mark.parametrize("text", ["x", "1 2 3", "1 x 0:40 / /a rw - zfs a rw", "1 2 0:40 / /a rw zfs a rw"])
def test_a_list_of_mounts_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(FailedError, match="mountinfo"):
        parse.parse_mountinfo(text)


HISTORY = """\
txg birth state ndirty nread nwritten reads writes otime qtime wtime stime
30 78431184000 C 0 0 0 0 0 3305715712 2048 6656 105472
31 81000000000 S 0 0 0 0 0 1000000000 1000 3000 0
32 82779596416 O 0 0 0 0 0 0 0 0 0
"""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (HISTORY, 18.0),
        (HISTORY.replace(" S ", " C "), 0.0),
        ("", 0.0),
        ("31 x S 0 0 0 0 0 y z w 0\n", 100.0),
        ("31 S\n", 0.0),
    ],
    ids=["one is being written", "none is", "no history", "no numbers", "no columns"],
)
def test_how_long_a_transaction_group_is_being_written(text: str, seconds: float) -> None:
    assert parse.seconds_of_sync(text, 100.0) == pytest.approx(seconds, abs=0.001)
