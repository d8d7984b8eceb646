"""Pools that stop, and pools that are not there."""

from __future__ import annotations

from ..script import case

POOLS = [
    case(
        "pool_suspended",
        "A list of everything leaves a suspended pool out and says nothing; what names it, or anything in it, is\n"
        "refused at once, and every other pool is as if it were not there.",
        """
        zfs create tank/c/a
        zfs snapshot tank/c/a@1
        zfs send tank/c/a@1 > s1
        ram lost
        zfs create lost/a
        zfs set zrep:x=1 lost/a tank/c/a
        zfs snapshot lost/a@1
        suspend lost
        zpool list -H -o name,health lost
        zfs get -H -s local -o name,property,value zrep:x
        zfs get -H -o name,property,value,source zrep:x lost/a tank/c/a
        zfs get -H -o name,property,value,source zrep:x lost/a
        zfs list -H -p -d 1 -t snapshot -o name lost/a tank/c/a
        zfs list -H -p -d 1 -t snapshot -o name tank/c/a
        zpool sync lost
        zpool sync tank
        zfs set zrep:y=1 lost/a
        zfs inherit zrep:x lost/a
        zfs snapshot tank/c/a@2
        zfs hold tag lost/a@1
        zfs release tag lost/a@1
        zfs destroy lost/a@1
        zfs rename lost/a lost/b
        zfs create lost/new
        zfs receive lost/b < s1
        zfs send lost/a@1
        zfs rollback lost/a@1
        resume lost
        zfs get -H -s local -o name,property,value zrep:x
        """,
    ),
    case(
        "pool_not_imported",
        "What is in a pool that is not imported does not exist, says zfs: only the list of pools tells.",
        """
        zfs create tank/c/a
        ram lost
        zfs create lost/a
        zfs set zrep:x=1 lost/a tank/c/a
        away lost
        zfs get -H -s local -o name,property,value zrep:x
        zfs get -H -o name,property,value,source zrep:x lost/a tank/c/a
        zpool list -H -o name,health lost
        zpool sync lost
        zfs create lost/new
        back lost
        zfs get -H -s local -o name,property,value zrep:x
        """,
    ),
]
