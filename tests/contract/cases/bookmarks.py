"""Bookmarks: what a base leaves where its snapshot was."""

from __future__ import annotations

from ..script import case
from .encryption import ENCRYPTED
from .setups import NEXT, PAIR

_ROWS = "zfs list -Hp -d 1 -t filesystem,volume,snapshot,bookmark -o name,guid,createtxg,userrefs,clones,zrep:sent"
_MARKED = """
zfs bookmark tank/c/a@1 tank/c/a#zrep:1
"""

BOOKMARKS = [
    case(
        "bookmark_list",
        "Bookmarks come with the snapshots, each with the guid and createtxg of what it is of, and no property.",
        PAIR
        + """
        zfs set zrep:sent=5 tank/c/a
        zfs set zrep:sent=6 tank/c/a@1
        zfs bookmark tank/c/a@1 tank/c/a#zrep:1
        zfs snapshot tank/c/a@2
        zfs create tank/c/a/below
        zfs snapshot tank/c/a/below@1
        zfs bookmark tank/c/a/below@1 tank/c/a/below#1
        zfs hold tag tank/c/a@2
        zfs bookmark tank/c/a@2 "tank/c/a#zrep:2"
        """
        + f"""
        {_ROWS} tank/c/a
        {_ROWS} tank/c/a tank/c/b
        zfs list -Hp -d 1 -t filesystem,snapshot,bookmark -o name,written,creation tank/c/a
        zfs destroy tank/c/a@1
        {_ROWS} tank/c/a
        zfs list -H -d 1 -t bookmark -o name,guid tank/c/a
        """,
    ),
    case(
        "bookmark_refusals",
        "What bookmark and destroy do not take.",
        PAIR
        + """
        zfs bookmark tank/c/a@1 tank/c/b#1
        zfs bookmark tank/c/a@1 tank/c/a#1
        zfs bookmark tank/c/a@1 tank/c/a#1
        zfs destroy tank/c/a#none
        nobody zfs bookmark tank/c/a@1 tank/c/a#2
        nobody zfs destroy tank/c/a#1
        zfs allow -u nobody bookmark,destroy tank/c
        nobody zfs bookmark tank/c/a@1 tank/c/a#2
        nobody zfs destroy tank/c/a#1
        """,
    ),
    case(
        "bookmark_stays",
        "A bookmark goes along with its dataset's name, stays where a stream arrives, and follows a promotion.",
        PAIR
        + _MARKED
        + """
        zfs bookmark tank/c/b@1 tank/c/b#1
        """
        + NEXT
        + """
        zfs receive -u tank/c/b < s2
        zfs list -H -t bookmark -o name,guid -r tank/c
        zfs rename tank/c/a tank/c/r
        zfs list -H -t bookmark -o name,guid -r tank/c
        zfs bookmark tank/c/r@2 tank/c/r#2
        zfs clone tank/c/r@1 tank/c/k
        zfs promote tank/c/k
        zfs list -H -t bookmark -o name,guid -r tank/c
        zfs list -H -t snapshot -o name,guid -r tank/c
        """,
    ),
    case(
        "rollback_past_a_bookmark",
        "A rollback to a snapshot goes past no bookmark of a later one; past one of its own it does.",
        PAIR
        + NEXT
        + """
        zfs bookmark tank/c/a@2 tank/c/a#2
        write tank/c/a h three
        zfs rollback tank/c/a@2
        zfs destroy tank/c/a@2
        zfs rollback tank/c/a@1
        zfs destroy tank/c/a#2
        zfs rollback tank/c/a@1
        show tank/c/a
        """,
    ),
    case(
        "send_from_a_bookmark_alone",
        "What was removed, added and changed since is sent, and a torn stream goes on.",
        PAIR
        + _MARKED
        + """
        zfs destroy tank/c/a@1
        unlink tank/c/a f
        fill tank/c/a big
        zfs snapshot tank/c/a@2
        zfs send -nvP -i tank/c/a#zrep:1 tank/c/a@2
        zfs send -i tank/c/a#zrep:1 tank/c/a@2 > s2
        tear s2 torn
        zfs receive -u -s tank/c/b < torn
        zfs send -t TOKEN:tank/c/b > rest
        zfs receive -u -s tank/c/b < rest
        zfs list -H -o name,guid -t snapshot -r tank/c
        """,
    ),
    case(
        "raw_from_a_bookmark",
        "The same raw.",
        ENCRYPTED
        + _MARKED
        + """
        zfs destroy tank/c/a@1
        write tank/c/a g two
        zfs snapshot tank/c/a@2
        zfs send -w -i tank/c/a#zrep:1 tank/c/a@2 > s2
        zfs receive -u -s tank/c/b < s2
        zfs load-key -L file:///tmp/zrep-contract-k tank/c/b
        zfs mount tank/c/b
        show tank/c/b
        """,
    ),
]
