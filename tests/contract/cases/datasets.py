"""Filesystems and volumes: creating, renaming, cloning, promoting."""

from __future__ import annotations

from ..script import case
from .setups import NEXT, PAIR

DATASETS = [
    case(
        "create",
        "New filesystems are mounted unless told otherwise.",
        """
        zfs create tank/c/a
        zfs create -u tank/c/u
        zfs create -o canmount=noauto tank/c/n
        zfs create -o mountpoint=none tank/c/m
        zfs create -p tank/c/p/q/r
        zfs create -p tank/c/p/q/r
        zfs get -H -p -o name,property,value,source mounted,mountpoint,canmount tank/c/a tank/c/u tank/c/n
        zfs get -H -p -o name,property,value,source mounted,mountpoint,canmount tank/c/m tank/c/p/q/r
        zfs create tank/c/a
        zfs create tank/c/x/y
        zfs create nopool/x
        zfs create tank/c/a@1
        zfs create tank/c/x%y
        zfs create -o guid=1 tank/c/x
        zfs create -o zrep:x=1 -o zrep:x=2 tank/c/x
        zfs create -o nonsense tank/c/x
        zfs create
        zfs get -H type tank/c/x
        """,
    ),
    case(
        "create_volume",
        "A volume has a size and reserves it unless sparse.",
        """
        zfs create -V 16M tank/c/v
        zfs create -s -V 16M tank/c/s
        zfs get -H -p -o name,property,value,source volsize,type,written tank/c/v tank/c/s
        zfs get -H -p -o name,property,value,source refreservation tank/c/s
        zfs create -V 10k tank/c/x
        zfs create -V 0 tank/c/x
        zfs create tank/c/v/x
        zfs mount tank/c/v
        zfs set quota=1G tank/c/v
        """,
    ),
    case(
        "rename",
        "A filesystem moves with all below it, and its mount points with it.",
        """
        zfs create tank/c/a
        zfs create tank/c/a/b
        zfs set zrep:x=1 tank/c/a
        zfs snapshot tank/c/a@1
        zfs rename tank/c/a tank/c/n
        zfs get -H -p -r -t filesystem -o name,property,value,source mounted,mountpoint,zrep:x tank/c/n
        zfs list -H -o name -t snapshot -r tank/c
        zfs create tank/c/taken
        zfs rename tank/c/n tank/c/taken
        zfs rename tank/c/n tank/c/n/b
        zfs rename tank/c/n tank/c/none/n
        zfs rename tank/c/n small/n
        zfs rename tank/c/none tank/c/x
        zfs rename tank/c/n tank/c/x@1
        zfs rename -u tank/c/n tank/c/m
        zfs get -H -p -r -t filesystem -o name,property,value mounted,mountpoint tank/c/m
        """,
    ),
    case(
        "name_too_long",
        "A name has at most 255 bytes, the snapshot's included: what would have more below a rename fails it whole.",
        f"""
        zfs create tank/c/a
        zfs create tank/c/a/b
        zfs snapshot -r tank/c/a@zrep_000001
        zfs rename tank/c/a tank/c/{"l" * 235}
        zfs rename tank/c/a tank/c/{"l" * 248}
        zfs rename tank/c/a tank/c/{"l" * 249}
        zfs list -H -o name -t filesystem,snapshot -r tank/c
        zfs rename tank/c/a tank/c/{"l" * 234}
        zfs snapshot tank/c@x tank/c/{"l" * 234}/b@zrep_0000002
        zfs list -H -o name -t snapshot -r tank/c
        zfs send tank/c/{"l" * 234}@zrep_000001 > s
        zfs receive -u tank/c/{"r" * 237} < s
        zfs create tank/c/{"r" * 249}
        """,
    ),
    case(
        "rename_busy",
        "Fact 7: one busy child makes a rename fail whole; -u renames without unmounting.",
        """
        zfs create tank/c/a
        zfs create tank/c/a/b
        zfs create tank/c/a/z
        busy tank/c/a/b
        zfs rename tank/c/a tank/c/n
        zfs get -H -p -r -t filesystem -o name,value mounted tank/c
        zfs unmount tank/c/a/b
        zfs rename -u tank/c/a tank/c/n
        free
        zfs get -H -p -r -t filesystem -o name,value mounted tank/c
        """,
    ),
    case(
        "clone",
        "Fact 7: a clone has none of the local properties of its origin and mounts itself, writable.",
        """
        zfs create -o readonly=on -o zrep:master=no -o mountpoint=/tank/c/elsewhere -o quota=100M tank/c/a
        zfs snapshot tank/c/a@1
        zfs clone tank/c/a@1 tank/c/k
        zfs get -H -p -o property,value,source readonly,zrep:master,mountpoint,quota,mounted,origin tank/c/k
        write tank/c/k f one
        show tank/c/k
        zfs get -H -p -o value clones tank/c/a@1
        zfs clone -o readonly=on -o canmount=noauto tank/c/a@1 tank/c/n
        zfs get -H -p -o property,value,source readonly,canmount,mounted tank/c/n
        zfs clone tank/c/a@1 tank/c/k
        zfs clone tank/c/a@none tank/c/x
        zfs clone tank/c/a tank/c/x
        zfs clone tank/c/a@1 tank/c/none/x
        zfs clone tank/c/a@1 small/x
        """,
    ),
    case(
        "promote",
        "The snapshots up to the origin change sides; each dataset and snapshot is as old as before.",
        """
        zfs create tank/c/a
        write tank/c/a f one
        zfs snapshot tank/c/a@1
        zfs snapshot tank/c/a@2
        zfs snapshot tank/c/a@3
        zfs clone tank/c/a@2 tank/c/k
        zfs get -H -p -o name,value createtxg tank/c/a@1 tank/c/a@2 tank/c/a tank/c/k
        zfs promote tank/c/a
        zfs promote tank/c/k
        zfs list -H -o name -t snapshot -s createtxg -r tank/c
        zfs get -H -p -o name,value origin tank/c/a tank/c/k
        zfs get -H -p -o name,value createtxg tank/c/k@1 tank/c/k@2 tank/c/a tank/c/k
        zfs promote tank/c/k
        zfs promote tank/c/none
        zfs promote tank/c/k@1
        """,
    ),
    case(
        "promote_with_a_clash",
        "Two snapshots of one name do not go together.",
        """
        zfs create tank/c/a
        zfs snapshot tank/c/a@1
        zfs snapshot tank/c/a@2
        zfs clone tank/c/a@2 tank/c/k
        zfs snapshot tank/c/k@1
        zfs promote tank/c/k
        """,
    ),
    case(
        "rotate",
        "The way back for a diverged filesystem: rename, clone at the base, promote; then an increment fits at once.",
        PAIR
        + """
        write tank/c/b own tail
        zfs hold tag tank/c/b@1
        zfs snapshot tank/c/b@split
        zfs rename tank/c/b tank/c/b_split
        zfs set readonly=on mountpoint=none tank/c/b_split
        zfs clone -o readonly=on -o canmount=noauto tank/c/b_split@1 tank/c/b
        zfs promote tank/c/b
        zfs list -H -o name -t snapshot -r -s createtxg tank/c
        zfs get -H -p -o name,property,value origin,written,mounted tank/c/b tank/c/b_split
        zfs holds -H tank/c/b@1
        """
        + NEXT
        + """
        zfs receive -u -s tank/c/b < s2
        zfs mount tank/c/b
        show tank/c/b
        show tank/c/a
        zfs set mountpoint=/tank/c/b_split tank/c/b_split
        show tank/c/b_split
        """,
    ),
]
