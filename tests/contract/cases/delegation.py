"""Users other than root."""

from __future__ import annotations

from ..script import case
from .setups import NEXT, PAIR

DELEGATION = [
    case(
        "permission_denied",
        "What a user without any permission is told: reading is free, all else is denied.",
        PAIR
        + NEXT
        + """
        nobody zfs get -H -p -o value zrep:x,type tank/c/a
        nobody zfs list -H -o name -t snapshot tank/c/a
        nobody zfs holds -H tank/c/a@1
        nobody zfs set zrep:x=1 tank/c/a
        nobody zfs set zrep:x=1 tank/c/a@1
        nobody zfs inherit zrep:x tank/c/a
        nobody zfs snapshot tank/c/a@3
        nobody zfs snapshot tank/c/a@3 tank/c/b@3
        nobody zfs hold tag tank/c/a@1
        zfs hold tag tank/c/a@1
        nobody zfs release tag tank/c/a@1
        nobody zfs destroy tank/c/a@2
        nobody zfs rename tank/c/a@2 tank/c/a@two
        nobody zfs rename tank/c/b tank/c/x
        nobody zfs rollback tank/c/a@2
        nobody zfs create tank/c/x
        nobody zfs clone tank/c/a@1 tank/c/x
        nobody zfs mount tank/c/b
        nobody zfs unmount tank/c/a
        nobody zfs send tank/c/a@1 > x
        nobody zfs send -nP tank/c/a@1
        nobody zfs receive -u tank/c/b < s2
        nobody zfs receive -u tank/c/x < s1
        nobody zfs destroy tank/c/x
        nobody zfs allow -u root send tank/c/a
        nobody zpool sync tank
        """,
    ),
    case(
        "permission_given",
        "With the permissions of a replication user: what is delegated works on the filesystem and all below it.",
        PAIR
        + NEXT
        + """
        zfs allow -u nobody userprop,snapshot,hold,release,send,destroy,mount,receive,create,rollback tank/c
        nobody zfs set zrep:x=1 tank/c/a
        nobody zfs set readonly=on tank/c/a
        nobody zfs set zrep:x=1 tank/c/a@1
        nobody zfs snapshot tank/c/a@3
        nobody zfs hold tag tank/c/a@3
        nobody zfs release tag tank/c/a@3
        nobody zfs send tank/c/a@1 > x
        nobody zfs receive -u tank/c/b < s2
        nobody zfs destroy tank/c/a@3
        nobody zfs rollback tank/c/b@2
        nobody zfs rename tank/c/b@2 tank/c/b@two
        nobody zfs mount tank/c/b
        zfs list -H -o name -t snapshot -r tank/c
        zfs unallow -u nobody tank/c
        nobody zfs set zrep:x=1 tank/c/a
        """,
    ),
    case(
        "permissions_listed",
        "What is delegated, by scope and by whom; a clone has none of it.",
        """
        zfs create tank/c/a
        zfs allow tank/c/a
        zfs allow -u nobody hold,send tank/c/a
        zfs allow -l -u nobody mount tank/c/a
        zfs allow -d -g daemon snapshot,rename tank/c/a
        zfs allow -e diff tank/c/a
        zfs allow -c destroy tank/c/a
        zfs allow -s @s create,mount tank/c/a
        zfs allow -g users @s tank/c/a
        zfs allow -u 4711 send tank/c/a
        zfs allow -u nobody userprop tank/c
        zfs allow tank/c/a
        zfs snapshot tank/c/a@1
        zfs clone tank/c/a@1 tank/c/b
        zfs allow tank/c/b
        zfs rename tank/c/a tank/c/x
        zfs allow tank/c/x
        """,
    ),
]
