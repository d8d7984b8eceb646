"""What is around a pair on its host: an intent log that nobody replayed, other mounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.model import Host
from tests.ops import pairs
from tests.ops.hosts import Hosts, Work
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from zrep.core.pair_state import State
from zrep.ops.init_way import Request
from zrep.ops.status import status

FROM_EITHER_END = pytest.mark.parametrize(
    ("host", "work"), [("alpha", pairs.failing_over(A)), ("beta", pairs.taking_over(B))], ids=["failover", "takeover"]
)
ENCRYPTED = "-o encryption=on -o keyformat=raw -o keylocation=file:///key"


def changes(hosts: Hosts) -> list[str]:
    """The commands so far that change a role, a mount or what may be written."""
    return [str(c) for c in hosts.wire.log if c.argv[1:2] in (("set",), ("mount",), ("unmount",), ("snapshot",))]


# --- an intent log ---


class Left(NamedTuple):
    """A master as the power loss leaves it: made with these words, changed by this command since; mended by these,
    where it has to be."""

    create: str
    since: str = ""
    mend: tuple[str, ...] = ()


UNMOUNTED = {
    "canmount=noauto": Left("-o canmount=noauto"),
    "canmount=off meanwhile": Left("", f"zfs set canmount=off {A}"),
    "mountpoint=none meanwhile": Left("", f"zfs set mountpoint=none {A}"),
    "mountpoint=legacy meanwhile": Left("", f"zfs set mountpoint=legacy {A}"),
}
LOCKED = {
    "key missing": Left(ENCRYPTED, mend=(f"zfs load-key {A}", f"zfs mount {A}")),
    "key loaded, not mounted": Left(ENCRYPTED, mend=(f"zfs load-key {A}",)),
    "volume without its key": Left(f"-V 1G {ENCRYPTED}", mend=(f"zfs load-key {A}",)),
}


def crashed(hosts: Hosts, left: Left) -> None:
    """alpha acknowledges a write, loses power and comes back; nobody mounts its tank/a, or loads the key of it."""
    hosts["alpha"].sh(f"zfs create {left.create} {A}")
    if "noauto" in left.create:
        hosts["alpha"].sh(f"zfs mount {A}")
    hosts["alpha"].write(A, "one", b"1", flushed=False, fsync=True)  # the first makes the log
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B))))
    hosts["alpha"].write(A, "acknowledged", b"yes", flushed=False, fsync=True)
    hosts["alpha"].crash()
    if left.since:
        if "canmount=noauto" not in left.create and value(hosts, "alpha", A, "mounted") == "yes":
            hosts["alpha"].sh(f"zfs unmount {A}")
        hosts["alpha"].sh(left.since)
    hosts["beta"].load_key(B)


@pytest.mark.parametrize("left", UNMOUNTED.values(), ids=UNMOUNTED.keys())
@FROM_EITHER_END
def test_the_intent_log_of_a_master_that_is_not_mounted_is_in_its_final_snapshot(
    hosts: Hosts, host: str, work: Work, left: Left
) -> None:
    crashed(hosts, left)
    good(hosts.run(host, work, dry_run=True))
    good(hosts.run(host, work))
    assert hosts["beta"].read(B)["acknowledged"] == b"yes"
    assert value(hosts, "alpha", A, "mounted") == "no"


@FROM_EITHER_END
def test_one_that_is_mounted_elsewhere_alone_is_not_given_up(hosts: Hosts, host: str, work: Work) -> None:
    """Whoever has it there may write to it."""
    crashed(hosts, UNMOUNTED["canmount=noauto"])
    hosts["alpha"].mount_elsewhere(A)
    refused = hosts.run(host, work)
    assert (refused.code, "mounted elsewhere" in refused.text) == (3, True)
    assert (value(hosts, "alpha", A, "readonly"), value(hosts, "alpha", A, "zrep:master")) == ("off", "yes")


@pytest.mark.parametrize("left", LOCKED.values(), ids=LOCKED.keys())
@FROM_EITHER_END
def test_no_role_change_before_the_key_of_the_master_is_there_to_replay_its_intent_log(
    hosts: Hosts, host: str, work: Work, left: Left
) -> None:
    crashed(hosts, left)
    hosts.wire.reset()
    shown, refused = hosts.run(host, work, dry_run=True), hosts.run(host, work)
    assert (shown.code, refused.code) == (3, 3)
    assert "would be lost (its key is not loaded); next: on alpha: zfs load-key 'tank/a'" in refused.text
    assert changes(hosts) == []
    for command in left.mend:
        hosts["alpha"].sh(command)
    good(hosts.run(host, work))
    assert hosts["beta"].read(B)["acknowledged"] == b"yes"


@pytest.mark.parametrize("left", UNMOUNTED.values(), ids=UNMOUNTED.keys())
def test_one_that_was_not_written_to_and_that_zfs_does_not_mount_rejoins_without_a_copy(
    hosts: Hosts, left: Left
) -> None:
    hosts["alpha"].sh(f"zfs create {left.create} {A}")
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B))))
    if left.since:
        hosts["alpha"].sh(f"zfs unmount {A}")
        hosts["alpha"].sh(left.since)
    good(hosts.run("beta", pairs.forcing(B)))
    good(hosts.run("alpha", pairs.rejoining(A)))
    assert not [name for name in hosts["alpha"].names() if "_split_" in name]


@pytest.mark.parametrize("left", UNMOUNTED.values(), ids=UNMOUNTED.keys())
def test_what_was_acknowledged_before_a_crash_is_in_the_split_copy_though_zfs_does_not_mount_it(
    hosts: Hosts, left: Left
) -> None:
    crashed(hosts, left)
    good(hosts.run("beta", pairs.forcing(B)))
    good(hosts.run("alpha", pairs.rejoining(A)))
    [copy] = [name for name in hosts["alpha"].names() if "_split_" in name]
    assert hosts["alpha"].read(copy)["acknowledged"] == b"yes"


def test_a_volume_that_rejoins_without_its_key_keeps_its_intent_log_in_the_split_copy(hosts: Hosts) -> None:
    left = LOCKED["volume without its key"]
    crashed(hosts, left)
    good(hosts.run("beta", pairs.forcing(B)))
    good(hosts.run("alpha", pairs.rejoining(A)))
    [copy] = [name for name in hosts["alpha"].names() if "_split_" in name]
    hosts["alpha"].load_key(value(hosts, "alpha", copy, "encryptionroot"))
    assert hosts["alpha"].read(copy)["acknowledged"] == b"yes"
    pairs.written(hosts, "beta", B)
    good(hosts.run("beta", pairs.SYNC_ALL))


# --- other mounts ---


class Mounted(NamedTuple):
    """Something mounted on a host, what is said of it, and how it goes."""

    host: str
    mount: Callable[[Host], object]
    says: str
    unmount: Callable[[Host], object]


def below(host: Host) -> None:
    """Another filesystem whose mountpoint lies below that of tank/b."""
    host.sh("zfs create tank/other")
    host.sh("zfs set mountpoint=/tank/b/inside tank/other")


def parent_that_is_read_only(host: Host) -> None:
    """A filesystem in which tank/b would be mounted, as a replica is that was the master: mounted, and read-only."""
    host.sh("zfs create -o readonly=on tank/other")
    host.sh("zfs set mountpoint=/tank/other/b tank/b")


MOUNTED = {
    "a tmpfs where the replica belongs": Mounted(
        "beta",
        lambda host: host.mount_other("/tank/b"),
        "tmpfs (tmpfs) is mounted on /tank/b, where tank/b belongs (on beta); next: on beta: umount '/tank/b'",
        lambda host: host.unmount_other("/tank/b"),
    ),
    "a tmpfs below": Mounted(
        "beta",
        lambda host: host.mount_other("/tank/b/cache"),
        "tmpfs (tmpfs) is mounted on /tank/b/cache, which tank/b on /tank/b would hide (on beta); next: on beta:",
        lambda host: host.unmount_other("/tank/b/cache"),
    ),
    "another filesystem below": Mounted(
        "beta",
        below,
        "tank/other is mounted on /tank/b/inside, which tank/b on /tank/b would hide (on beta); "
        "next: on beta: zfs unmount 'tank/other'",
        lambda host: host.sh("zfs unmount tank/other"),
    ),
    "a read-only parent without its directory": Mounted(
        "beta",
        parent_that_is_read_only,
        "the directory /tank/other/b for tank/b is not there and cannot be made (tank/other on /tank/other is "
        "read-only on beta); next: on beta: zfs set mountpoint='/mnt/tank/b' 'tank/b'; or make that directory on",
        lambda host: host.sh("zfs set mountpoint=/mnt/tank/b tank/b"),
    ),
    "a tmpfs over the master": Mounted(
        "alpha",
        lambda host: host.mount_other("/tank/a"),
        "tmpfs (tmpfs) is mounted on /tank/a, over tank/a (on alpha); next: on alpha: umount '/tank/a'",
        lambda host: host.unmount_other("/tank/a"),
    ),
    "a tmpfs over a directory that leads to the master": Mounted(
        "alpha",
        lambda host: host.mount_other("/tank"),
        "tmpfs (tmpfs) is mounted on /tank, over tank/a (on alpha); next: on alpha: umount '/tank'",
        lambda host: host.unmount_other("/tank"),
    ),
}
EACH_MOUNT = pytest.mark.parametrize("mounted", MOUNTED.values(), ids=MOUNTED.keys())


@EACH_MOUNT
@FROM_EITHER_END
def test_a_mount_in_the_way_is_named_before_anything_changes(
    hosts: Hosts, host: str, work: Work, mounted: Mounted
) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    mounted.mount(hosts[mounted.host])
    hosts.wire.reset()
    shown, refused = hosts.run(host, work, dry_run=True), hosts.run(host, work)
    assert (shown.code, refused.code) == (3, 3)
    assert mounted.says in refused.text
    assert changes(hosts) == []
    assert "ro" not in hosts.world.state.hosts[mounted.host].others.values()
    mounted.unmount(hosts[mounted.host])
    good(hosts.run(host, work))


def test_what_is_mounted_below_an_old_master_that_is_still_mounted_hinders_no_way_back(hosts: Hosts) -> None:
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.failing_over(A)))
    hosts["alpha"].mount_other(f"/{A}/cache")
    good(hosts.run("beta", pairs.failing_over(B)))


def in_the_middle(hosts: Hosts, words: tuple[str, ...], act: Callable[[], object]) -> None:
    """Something happens at the first command that begins with these words."""

    def before() -> None:
        if hosts.wire.log and hosts.wire.log[-1].argv[: len(words)] == words:
            hosts.wire.before = lambda: None
            act()

    hosts.wire.before = before


def test_what_is_mounted_over_the_master_meanwhile_is_not_remounted(hosts: Hosts) -> None:
    pairs.linked(hosts)
    in_the_middle(hosts, ("zfs", "list"), lambda: hosts["alpha"].mount_other(f"/{A}"))
    refused = hosts.run("alpha", pairs.failing_over(A))
    assert refused.code == 3
    assert "over tank/a" in refused.text
    assert hosts.world.state.hosts["alpha"].others == {f"/{A}": "rw"}
    hosts["alpha"].unmount_other(f"/{A}")
    good(hosts.run("alpha", pairs.SYNC_ALL))
    assert value(hosts, "alpha", A, "readonly") == "off"
    hosts["alpha"].write(A, "after", b"it")


def test_what_is_mounted_over_an_old_master_is_not_unmounted_when_it_rejoins(hosts: Hosts) -> None:
    """zfs unmount goes by the path. Found by the simulation (seed 5)."""
    pairs.diverged(hosts)
    hosts["alpha"].mount_other(f"/{A}")
    refused = hosts.run("alpha", pairs.rejoining(A))
    assert (refused.code, "tmpfs (tmpfs) is mounted on /tank/a, over tank/a" in refused.text) == (3, True)
    assert hosts.world.state.hosts["alpha"].others == {f"/{A}": "rw"}
    assert value(hosts, "alpha", A, "zrep:master") == "yes"
    hosts["alpha"].unmount_other(f"/{A}")
    good(hosts.run("alpha", pairs.rejoining(A)))


def test_what_is_mounted_over_a_master_is_not_unmounted_when_a_failover_insists(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["alpha"].map_file(A)

    def mount_it() -> None:
        hosts["alpha"].mount_other(f"/{A}")

    in_the_middle(hosts, ("mount", "-o", "remount,ro"), mount_it)
    hosts.run("alpha", pairs.failing_over(A, insist=True))
    assert f"/{A}" in hosts.world.state.hosts["alpha"].others


def test_what_is_mounted_over_an_old_master_hinders_nobody_to_stop_it_or_to_promote_it(hosts: Hosts) -> None:
    """The property holds, whatever zfs says of the mount that could not follow. Found by the simulation (seed 6)."""
    pairs.forced(hosts)
    hosts["alpha"].mount_other(f"/{A}")
    assert "has not rejoined" in hosts.run("beta", pairs.syncing(B)).text
    assert "zrep rejoin tank/a" in hosts.run("alpha", SYNC_ALL).text
    assert value(hosts, "alpha", A, "readonly") == "on"
    hosts.wire.cut = True
    assert "umount '/tank/a'" in hosts.run("alpha", pairs.forcing(A)).text
    good(hosts.run("alpha", pairs.forcing(A)))
    assert value(hosts, "alpha", A, "readonly") == "off"
    assert hosts.world.state.hosts["alpha"].others == {f"/{A}": "rw"}


def test_a_new_master_that_is_not_reached_any_more_is_unreachable(hosts: Hosts) -> None:
    """The link is lost right after the commit: as it ends where that happens a moment earlier."""
    pairs.linked(hosts)
    in_the_middle(hosts, ("zfs", "mount"), lambda: setattr(hosts.wire, "cut", True))
    moved = hosts.run("alpha", pairs.failing_over(A))
    assert (moved.code, "tank/b on beta is master now, but could not be made available" in moved.text) == (5, True), (
        moved
    )
    assert "run this again" in moved.text, moved
    asked = hosts.run("alpha", pairs.failing_over(A))
    assert (asked.code, "it is the replica here" in asked.text) == (3, True), "who cannot be asked has the role"
    hosts.wire.cut = False
    again = good(hosts.run("alpha", pairs.failing_over(A)))
    assert "finished the role change: master is beta:tank/b, epoch 2" in again.text
    refused = hosts.run("alpha", pairs.failing_over(A))
    assert (refused.code, "zrep takeover tank/a" in refused.text) == (3, True), refused
    good(hosts.run("beta", pairs.SYNC_ALL))
    good(hosts.run("alpha", pairs.SYNC_ALL))


def test_a_role_that_has_moved_is_finished_although_it_cannot_be_mounted(hosts: Hosts) -> None:
    pairs.linked(hosts)
    in_the_middle(hosts, ("mount", "-o", "remount,ro"), lambda: hosts["beta"].mount_other("/tank/b/cache"))
    moved = hosts.run("alpha", pairs.failing_over(A))
    assert moved.code == 1
    assert "is master now, but could not be made available" in moved.text
    hosts.said.clear()
    good(hosts.run("beta", pairs.SYNC_ALL))
    [told] = hosts.said
    assert "tmpfs (tmpfs) is mounted on /tank/b/cache" in told
    assert told.endswith("then on beta: zfs mount tank/b")
    assert value(hosts, "beta", B, "mounted") == "no"
    hosts.said.clear()
    good(hosts.run("beta", pairs.SYNC_ALL))
    assert hosts.said == []
    rows = hosts.run("beta", lambda session: status(session, [B])).rows
    assert [(row.diagnosis.state, row.diagnosis.advice) for row in rows] == [(State.NOT_MOUNTED, "zfs mount tank/b")]
    hosts["beta"].unmount_other("/tank/b/cache")
    hosts["beta"].sh(f"zfs mount {B}")
    assert hosts.run("beta", lambda session: status(session, [B])).rows[0].diagnosis.state is State.OK
    good(hosts.run("alpha", pairs.taking_over(A)))


def test_a_master_promoted_alone_is_finished_although_it_cannot_be_mounted(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["beta"].mount_other("/tank/b/cache")
    hosts.wire.cut = True
    assert hosts.run("beta", pairs.forcing(B)).code == 3
    assert value(hosts, "beta", B, "mounted") == "no"
    good(hosts.run("beta", pairs.forcing(B)))
    assert value(hosts, "beta", B, "zrep:inprogress") in ("", "-")
    assert hosts.said[-1].endswith("then on beta: zfs mount tank/b")
