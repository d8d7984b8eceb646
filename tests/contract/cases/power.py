"""Losing power with writes in the intent log."""

from __future__ import annotations

from ..script import case

RETURNED = """
zfs create -o canmount=noauto tank/c/a
zfs mount tank/c/a
fsync tank/c/a f one
zfs snapshot tank/c/a@1
zfs send tank/c/a@1 | zfs receive tank/c/b
write tank/c/b g theirs
zfs snapshot tank/c/b@2
fsync tank/c/a tail mine
later tank/c/a later mine
zfs get -H -p -o value written tank/c/a
power
zfs get -H -p -o name,value mounted tank/c/a tank/c/b
zfs get -H -p -o value written tank/c/a
"""

POWER = [
    case(
        "power_and_the_intent_log",
        "Fact 3: a receive silently discards the intent log of a filesystem not mounted since a crash.",
        RETURNED
        + """
        zfs send -i @1 tank/c/b@2 | zfs receive -u tank/c/a
        zfs mount tank/c/a
        show tank/c/a
        """,
    ),
    case(
        "power_and_a_mount",
        "Fact 3: mounting replays it; then it counts as modified and nothing is lost unseen.",
        RETURNED
        + """
        zfs mount tank/c/a
        zpool sync tank
        zfs get -H -p -o value written tank/c/a
        zfs send -i @1 tank/c/b@2 | zfs receive -u tank/c/a
        show tank/c/a
        """,
    ),
    case(
        "power_and_a_mount_that_nobody_sees",
        "So does a mount in a namespace that ends with the command, read-only, of what ZFS does not mount.",
        RETURNED
        + """
        unshare --mount mount -t zfs -o ro,zfsutil tank/c/a /tmp
        zfs get -H -p -o name,value mounted tank/c/a
        zpool sync tank
        zfs get -H -p -o value written tank/c/a
        zfs snapshot tank/c/a@3
        zfs send tank/c/a@3 | zfs receive tank/c/d
        show tank/c/d
        zfs set canmount=off tank/c/a
        unshare --mount mount -t zfs -o ro,zfsutil tank/c/a /tmp
        zfs set mountpoint=none tank/c/a
        unshare --mount mount -t zfs -o ro,zfsutil tank/c/a /tmp
        zfs set mountpoint=legacy tank/c/a
        unshare --mount mount -t zfs -o ro tank/c/a /tmp
        """,
    ),
    case(
        "power_and_nothing_lost",
        "Opening the pool again claims every intent log: `written` is not 0 although nothing was written since.",
        """
        zfs create tank/c/a
        zfs create tank/c/b
        fsync tank/c/a f one
        write tank/c/b f one
        zfs snapshot tank/c/a@1 tank/c/b@1
        zfs send tank/c/a@1 > s1
        power
        zpool sync tank
        zfs get -H -p -o name,value written tank/c/a tank/c/b
        zfs snapshot tank/c/a@2
        zfs send -i @1 tank/c/a@2 > s2
        zfs rollback tank/c/a@2
        zfs get -H -p -o name,value written tank/c/a
        zfs rollback -r tank/c/a@1
        zpool sync tank
        zfs get -H -p -o name,value written tank/c/a
        """,
    ),
    case(
        "power_and_the_next_stream",
        "That `written` does not hinder a stream: nothing was modified.",
        """
        zfs create tank/c/a
        fsync tank/c/a f one
        zfs snapshot tank/c/a@1
        zfs send tank/c/a@1 | zfs receive tank/c/b
        write tank/c/b g theirs
        zfs snapshot tank/c/b@2
        power
        zfs get -H -p -o name,property,value written,mounted tank/c/a
        zfs send -i @1 tank/c/b@2 | zfs receive tank/c/a
        show tank/c/a
        zfs get -H -p -o name,value written tank/c/a
        """,
    ),
    case(
        "rollback_after_fsync",
        "Rolling back a filesystem that has an intent log.",
        """
        zfs create tank/c/a
        fsync tank/c/a f one
        zfs snapshot tank/c/a@1
        fsync tank/c/a f two
        zfs rollback tank/c/a@1
        zpool sync tank
        zfs get -H -p -o name,value written tank/c/a
        """,
    ),
    case(
        "power_and_a_snapshot",
        "A snapshot and a rollback of a filesystem with an intent log that was not replayed.",
        RETURNED
        + """
        zfs snapshot tank/c/a@own
        zfs list -H -p -o name,written -t snapshot tank/c/a
        zfs mount tank/c/a
        show tank/c/a
        """,
    ),
    case(
        "power_and_a_readonly_mount",
        "A mount replays the intent log although it is read-only.",
        RETURNED
        + """
        zfs set readonly=on tank/c/a
        zfs mount tank/c/a
        zpool sync tank
        show tank/c/a
        """,
    ),
]
