"""Pools without space."""

from __future__ import annotations

from ..script import case

SPACE = [
    case(
        "full_pool",
        "What still works on a pool without space, and what is said of the rest.",
        """
        zfs create small/c
        zfs create small/c/a
        write small/c/a f one
        zfs snapshot small/c/a@1
        zfs set zrep:x=1 small/c/a
        hog small/c
        zfs snapshot small/c/a@2
        zfs create small/c/x
        zfs set zrep:y=1 small/c/a
        zfs inherit zrep:x small/c/a
        zfs hold tag small/c/a@1
        zfs release tag small/c/a@1
        zfs destroy small/c/a@1
        zfs list -H -o name -t snapshot small/c/a
        unhog small/c
        zfs snapshot small/c/a@3
        """,
    ),
    case(
        "full_receive",
        "A stream that does not fit.",
        """
        zfs create small/c
        zfs create tank/c/a
        write tank/c/a f one
        zfs snapshot tank/c/a@1
        zfs send tank/c/a@1 > s1
        zfs receive -u small/c/b < s1
        fill tank/c/a big 4000000
        zfs snapshot tank/c/a@2
        zfs send -i @1 tank/c/a@2 > s2
        hog small/c
        zfs receive -u small/c/b < s2
        zfs list -H -o name -t snapshot small/c/b
        zfs receive -u small/c/d < s1
        zfs get -H type small/c/d
        """,
    ),
]
