"""Mounting, read-only in its several ways, and what makes a filesystem dirty."""

from __future__ import annotations

from ..script import case
from .setups import VOLUMES

MOUNTING = [
    case(
        "mounting",
        "mount and unmount, and what they say when there is nothing to do.",
        """
        zfs create tank/c/a
        zfs mount tank/c/a
        zfs unmount tank/c/a
        zfs unmount tank/c/a
        zfs get -H -p -o value mounted tank/c/a
        zfs mount tank/c/a
        zfs get -H -p -o value mounted tank/c/a
        zfs set mountpoint=none tank/c/a
        zfs mount tank/c/a
        zfs set mountpoint=legacy tank/c/a
        zfs mount tank/c/a
        zfs unmount tank/c/a
        zfs inherit mountpoint tank/c/a
        zfs get -H -p -o property,value,source mounted,mountpoint tank/c/a
        zfs set canmount=off tank/c/a
        zfs mount tank/c/a
        zfs get -H -p -o value mounted tank/c/a
        zfs set canmount=noauto tank/c/a
        zfs mount tank/c/a
        zfs get -H -p -o value mounted tank/c/a
        zfs mount tank/c/none
        zfs share tank/c/a
        """,
    ),
    case(
        "busy",
        "A filesystem that somebody works in is not unmounted.",
        """
        zfs create tank/c/a
        busy tank/c/a
        zfs unmount tank/c/a
        zfs set mountpoint=/tank/c/z tank/c/a
        zfs get -H -p -o property,value,source mounted,mountpoint tank/c/a
        zfs set canmount=off tank/c/a
        zfs get -H -p -o property,value,source mounted,canmount tank/c/a
        zfs rename tank/c/a tank/c/b
        zfs destroy tank/c/a
        zfs unmount -f tank/c/a
        zfs set readonly=on tank/c/a
        free
        zfs unmount tank/c/a
        """,
    ),
    case(
        "unmount_with_children",
        "Unmounting takes the filesystems below along that are mounted, wherever they are.",
        """
        zfs create tank/c/a
        zfs create tank/c/a/b
        zfs create -o mountpoint=/mnt/elsewhere tank/c/a/elsewhere
        zfs create -o mountpoint=/mnt/elsewhere/b tank/c/a/elsewhere/b
        zfs unmount tank/c/a
        zfs get -H -p -r -o name,value mounted tank/c/a
        zfs mount tank/c/a/b
        zfs get -H -p -r -o name,value mounted tank/c/a
        """,
    ),
    case(
        "mount_over_a_mount",
        "A mount hides what is mounted below its place, and unmounting goes by the path: what lies on top goes.",
        """
        zfs create tank/c/a
        zfs create tank/c/a/b
        zfs create -o mountpoint=/tank/c/a/inside tank/c/other
        leads /tank/c/a/inside
        zfs unmount tank/c/a
        zfs unmount tank/c/other
        zfs unmount tank/c/a
        zfs mount tank/c/a/b
        zfs mount tank/c/other
        leads /tank/c/a/inside
        zfs mount tank/c/a
        leads /tank/c/a/b
        leads /tank/c/a/inside
        zfs get -H -p -r -o name,value mounted tank/c
        zfs unmount tank/c/a/b
        zfs get -H -p -r -o name,value mounted tank/c
        """,
    ),
    case(
        "mount_something_else_over",
        "The same of what is not of ZFS: a remount and an unmount by the path hit it.",
        """
        zfs create tank/c/a
        tmpfs /tank/c/a
        leads /tank/c/a
        mount -o remount,ro /tank/c/a
        touch /tank/c/a/new
        zfs get -H -p -o value,source readonly tank/c/a
        zfs set readonly=on tank/c/a
        zfs get -H -p -o value,source readonly tank/c/a
        umount /tank/c/a
        leads /tank/c/a
        write tank/c/a f one
        zfs get -H -p -o value,source readonly tank/c/a
        tmpfs /tank/c/a
        zfs inherit readonly tank/c/a
        zfs get -H -p -o value,source readonly tank/c/a
        umount /tank/c/a
        write tank/c/a f one
        tmpfs /tank/c/a
        zfs unmount tank/c/a
        zfs get -H -p -o value mounted tank/c/a
        leads /tank/c/a
        """,
    ),
    case(
        "in_another_namespace",
        "A container that has it mounted goes on storing after it was unmounted here, whatever readonly says.",
        """
        zfs create tank/c/a
        write tank/c/a g one
        zfs snapshot tank/c/a@1
        elsewhere map tank/c/a f
        mount -o remount,ro /tank/c/a
        zfs set readonly=on tank/c/a
        zfs unmount tank/c/a
        zfs get -H -p -o value mounted tank/c/a
        zfs snapshot tank/c/a@2
        store tank/c/a f two
        zfs snapshot tank/c/a@3
        zfs rollback tank/c/a@3
        zfs rename tank/c/a tank/c/b
        store tank/c/b f three
        zfs destroy tank/c/b
        zfs mount tank/c/b
        show tank/c/b
        show tank/c/b@2
        show tank/c/b@3
        unmap
        zfs unmount tank/c/b
        zfs get -H -p -o value mounted tank/c/b
        """,
    ),
    case(
        "readonly_of_what_is_above",
        "What inherits readonly follows it although it was remounted; but what was remounted read-only stays that.",
        """
        zfs create tank/c/a
        zfs create tank/c/a/b
        zfs create -o readonly=off tank/c/a/own
        zfs create tank/c/a/own/below
        mount -o remount,rw /tank/c/a/b
        mount -o remount,rw /tank/c/a/own
        mount -o remount,rw /tank/c/a/own/below
        zfs set readonly=on tank/c/a
        zfs get -H -p -r -o name,value,source readonly tank/c/a
        write tank/c/a/b f one
        write tank/c/a/own f one
        mount -o remount,rw /tank/c/a/b
        zfs get -H -p -o value,source readonly tank/c/a/b
        write tank/c/a/b f one
        zfs set readonly=on tank/c/a
        zfs get -H -p -o value,source readonly tank/c/a/b
        write tank/c/a/b f two
        mount -o remount,ro /tank/c/a/b
        mount -o remount,ro /tank/c/a/own/below
        zfs set readonly=off tank/c/a
        zfs get -H -p -r -o name,value,source readonly tank/c/a
        write tank/c/a/b f two
        mount -o remount,rw /tank/c/a/b
        write tank/c/a/b f two
        zfs set readonly=on tank/c/a
        mount -o remount,rw /tank/c/a/b
        zfs inherit readonly tank/c/a
        zfs get -H -p -o value,source readonly tank/c/a/b
        mount -o remount,rw /tank/c/a/b
        zfs set readonly=on tank/c
        zfs get -H -p -r -o name,value,source readonly tank/c/a
        write tank/c/a/b f three
        zfs set readonly=off tank/c
        """,
    ),
    case(
        "readonly",
        "Fact 2: readonly=on stops a write at once, at any level and mounted or not.",
        """
        zfs create tank/c/a
        write tank/c/a f one
        zfs set readonly=on tank/c/a
        write tank/c/a f two
        show tank/c/a
        zfs set readonly=off tank/c/a
        write tank/c/a f three
        show tank/c/a
        zfs create tank/c/a/b
        zfs create -o readonly=off tank/c/a/own
        zfs set readonly=on tank/c/a
        write tank/c/a/b f one
        write tank/c/a/own f one
        zfs get -H -p -r -o name,value,source readonly tank/c/a
        """,
    ),
    case(
        "readonly_and_a_mapping",
        "Fact 2: a writable mapping goes on after readonly=on; mount -o remount,ro first refuses while there is one.",
        """
        zfs create tank/c/a
        map tank/c/a m
        mount -o remount,ro /tank/c/a
        zfs set readonly=on tank/c/a
        mount -o remount,ro /tank/c/a
        zfs snapshot tank/c/a@1
        store tank/c/a m text
        zfs get -H -p -o value written tank/c/a
        unmap
        zfs set readonly=off tank/c/a
        mount -o remount,ro /tank/c/a
        write tank/c/a f one
        zfs get -H -p -o value,source readonly tank/c/a
        mount -o remount,rw /tank/c/a
        write tank/c/a f one
        zfs set readonly=on tank/c/a
        mount -o remount,rw /tank/c/a
        write tank/c/a f two
        zfs get -H -p -o value,source readonly tank/c/a
        zfs unmount tank/c/a
        zfs get -H -p -o value,source readonly tank/c/a
        mount -o remount,ro /tank/c/a
        """,
    ),
    case(
        "mount_directories",
        "Fact 7: mounting below a filesystem makes a directory in it, and that is a modification of it.",
        """
        zfs create tank/c/a
        zfs snapshot tank/c/a@1
        zfs create -u tank/c/a/b
        zfs get -H -p -o value written tank/c/a
        zfs mount tank/c/a/b
        zpool sync tank
        zfs get -H -p -o value written tank/c/a
        zfs create -u tank/c/a/z
        zfs set readonly=on tank/c/a
        zfs mount tank/c/a/z
        zfs get -H -p -o value mounted tank/c/a/z
        """,
    ),
    case(
        "pending_writes",
        "Fact 3: what an application wrote, even with fsync, is not in `written` before a transaction group is closed.",
        """
        # The first fsync of a filesystem makes its intent log, and closes a transaction group for that.
        zfs create tank/c/a
        fsync tank/c/a f zero
        zfs snapshot tank/c/a@1
        fsync tank/c/a f one
        zfs get -H -p -o value written tank/c/a
        zpool sync tank
        zfs get -H -p -o value written tank/c/a
        zfs snapshot tank/c/a@2
        later tank/c/a f two
        zfs get -H -p -o value written tank/c/a
        zfs snapshot tank/c/a@3
        zfs get -H -p -o value written tank/c/a@3 tank/c/a
        show tank/c/a@3
        """,
    ),
    case(
        "dirty",
        "Fact 1: removing a quota of a user who has none dirties a filesystem, read-only and unmounted or not.",
        """
        zfs create tank/c/a
        zfs snapshot tank/c/a@1
        zfs set userquota@4294967294=none tank/c/a
        zfs get -H -p -o value written tank/c/a
        zpool sync tank
        zfs get -H -p -o value written tank/c/a
        zfs unmount tank/c/a
        zfs set readonly=on canmount=noauto tank/c/a
        zfs snapshot tank/c/a@2
        zfs set userquota@4294967294=none tank/c/a
        zpool sync tank
        zfs get -H -p -o value written tank/c/a
        zfs snapshot tank/c/a@3
        zfs set userquota@4294967294=none tank/c/a
        zfs snapshot tank/c/a@4
        zfs list -H -p -t snapshot -o name,written tank/c/a
        """,
    ),
    case(
        "dirty_volume",
        "Fact 1: for a volume, its size set to itself.",
        VOLUMES
        + """
        zfs get -H -p -o value written tank/c/w
        zfs set volsize=16777216 tank/c/w
        zpool sync tank
        zfs get -H -p -o value written tank/c/w
        zfs snapshot tank/c/w@own
        zfs list -H -p -t snapshot -o name,written tank/c/w
        zfs set readonly=on tank/c/w
        zfs set volsize=16777216 tank/c/w
        zfs get -H -p -o property,value,source volsize,written tank/c/w
        zfs set userquota@4294967294=none tank/c/w
        """,
    ),
]
