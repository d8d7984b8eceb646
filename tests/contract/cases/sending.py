"""Sending, and the properties that travel or do not."""

from __future__ import annotations

from ..script import case
from .setups import NEXT, PAIR, VOLUMES

SENDING = [
    case(
        "send_refusals",
        "What send does not take.",
        PAIR
        + NEXT
        + """
        zfs send tank/c/a@none > x
        zfs send tank/c/none@1 > x
        zfs send -i @none tank/c/a@2 > x
        zfs send -i @2 tank/c/a@1 > x
        zfs send -i @2 tank/c/a@2 > x
        zfs send -i tank/c/b@1 tank/c/a@2 > x
        zfs send -i 1 tank/c/a@2 > x
        zfs send -i tank/c/a#none tank/c/a@2 > x
        zfs send -t nonsense > x
        zfs send -t 1-1-0-00 > x
        zfs send -t 2-0-0-00 > x
        zfs send -t 1-0-0-xx > x
        zfs send > x
        zfs send tank/c/a > x
        """,
    ),
    case(
        "send_estimate",
        "-nP tells how much there is to send.",
        PAIR
        + NEXT
        + """
        zfs send -n -P tank/c/a@1
        zfs send -nvP -i @1 tank/c/a@2
        zfs send -nvP -i tank/c/a@1 tank/c/a@2
        zfs send -nP -w -i @1 tank/c/a@2
        zfs send -n tank/c/a@1
        zfs send -nP tank/c/a@none
        """,
    ),
    case(
        "send_from_a_bookmark",
        "A bookmark is as good as the snapshot it is of.",
        PAIR
        + """
        zfs bookmark tank/c/a@1 tank/c/a#1
        zfs bookmark tank/c/a@1 tank/c/a#1
        write tank/c/a g two
        zfs snapshot tank/c/a@2
        zfs destroy tank/c/a@1
        zfs send -i "#1" tank/c/a@2 > s2
        zfs receive -u tank/c/b < s2
        zfs list -H -o name -t snapshot tank/c/b
        zfs destroy tank/c/a#none
        zfs destroy tank/c/a#1
        """,
    ),
    case(
        "send_all_between",
        "-I brings the snapshots between with their guids, and nothing that a user has set on them; from no bookmark.",
        PAIR
        + """
        write tank/c/a g two
        zfs snapshot -o zrep:made=yes tank/c/a@auto1
        zfs hold tag tank/c/a@auto1
        write tank/c/a h three
        zfs snapshot tank/c/a@auto2
        zfs snapshot tank/c/a@2
        zfs send -nvP -I tank/c/a@1 tank/c/a@2
        zfs send -I tank/c/a@1 tank/c/a@2 > s2
        zfs receive -s -u tank/c/b < s2
        zfs list -Hp -o name,guid,written,userrefs,zrep:made -t snapshot -r tank/c
        zfs bookmark tank/c/a@2 tank/c/a#2
        zfs snapshot tank/c/a@auto3
        write tank/c/a i four
        zfs snapshot tank/c/a@3
        zfs destroy tank/c/a@2
        zfs send -I tank/c/a#2 tank/c/a@3 > s3
        zfs send -i tank/c/a#2 tank/c/a@auto3 > s3
        zfs receive -s -u tank/c/b < s3
        zfs send -I tank/c/a@auto3 tank/c/a@3 > s4
        zfs receive -s -u tank/c/b < s4
        zfs list -Hp -o name,guid,written -t snapshot -r tank/c
        """,
    ),
    case(
        "send_all_between_torn",
        "What is torn of several is gone on with snapshot by snapshot: the token is that of one of them.",
        PAIR
        + """
        write tank/c/a g two
        zfs snapshot tank/c/a@auto1
        fill tank/c/a big
        zfs snapshot tank/c/a@2
        zfs send -I tank/c/a@1 tank/c/a@2 > s2
        tear s2 torn
        zfs receive -s -u tank/c/b < torn
        zfs list -H -o name,guid -t snapshot -r tank/c
        zfs send -nvP -t TOKEN:tank/c/b
        zfs send -t TOKEN:tank/c/b > rest
        zfs receive -s -u tank/c/b < rest
        zfs list -H -o name,guid -t snapshot -r tank/c
        """,
    ),
    case(
        "send_from_an_origin",
        "A clone can be sent from the snapshot it was made of.",
        PAIR
        + """
        zfs clone tank/c/a@1 tank/c/k
        zfs snapshot tank/c/k@1
        zfs send -nP -i tank/c/a@1 tank/c/k@1
        zfs send -i tank/c/a@1 tank/c/k@1 > s2
        zfs receive -u tank/c/b < s2
        """,
    ),
    case(
        "replicate",
        "In full, then an increment: GUIDs are the same on both sides, and so is what is in it.",
        PAIR
        + NEXT
        + """
        zfs receive -u -s tank/c/b < s2
        zfs list -H -p -o name,guid -t snapshot -r tank/c
        zfs get -H -p -o name,property,value written,mounted,readonly tank/c/b
        zfs mount tank/c/b
        show tank/c/b
        zfs get -H -p -o value written tank/c/b
        """,
    ),
    case(
        "replicate_a_volume",
        "The same with a volume.",
        VOLUMES
        + """
        zfs set volsize=32M tank/c/v
        zfs snapshot tank/c/v@2
        zfs send -i @1 tank/c/v@2 > s2
        zfs receive -s tank/c/w < s2
        zfs get -H -p -o name,property,value type,volsize,written tank/c/w
        zfs list -H -p -o name,guid -t snapshot -r tank/c
        """,
    ),
    case(
        "replicate_nothing_new",
        "A stream between two equal snapshots is received all the same, and again from the older one.",
        PAIR
        + """
        zfs snapshot tank/c/a@2
        zfs send -i @1 tank/c/a@2 > s2
        zfs receive -u tank/c/b < s2
        zfs list -H -p -o name,written -t snapshot tank/c/b
        zfs snapshot tank/c/a@3
        zfs send -i @1 tank/c/a@3 > s3
        zfs receive -u tank/c/b < s3
        zfs list -H -p -o name,written -t snapshot tank/c/b
        """,
    ),
    case(
        "received_properties",
        "send -p carries what is local, zrep: properties too: they arrive as received. -o makes local, -x keeps out.",
        """
        zfs create -o zrep:master=yes -o compression=gzip tank/c/a
        zfs snapshot tank/c/a@1
        zfs set zrep:sent=5 tank/c/a@1
        zfs send -p tank/c/a@1 > s1
        zfs receive -u tank/c/b < s1
        zfs get -H -p -o property,value,received,source zrep:master,compression tank/c/b
        zfs get -H -p -o property,value,source zrep:sent,zrep:master tank/c/b@1
        zfs receive -u -x zrep:master -o readonly=on -o zrep:own=1 tank/c/d < s1
        zfs get -H -p -o property,value,received,source zrep:master,compression,readonly,zrep:own tank/c/d
        zfs set zrep:master=no tank/c/b
        zfs get -H -p -o property,value,received,source zrep:master tank/c/b
        zfs inherit zrep:master tank/c/b
        zfs get -H -p -o property,value,received,source zrep:master tank/c/b
        zfs inherit -S zrep:master tank/c/b
        zfs get -H -p -o property,value,received,source zrep:master tank/c/b
        """,
    ),
    case(
        "receive_options_next_time",
        "-x and -o on an increment: a local value stays as it is under -x, -o replaces it.",
        PAIR
        + """
        zfs set zrep:master=no zrep:epoch=4 tank/c/b
        """
        + NEXT
        + """
        zfs receive -u -x zrep:master -x zrep:none -o zrep:epoch=5 -o readonly=on tank/c/b < s2
        zfs get -H -p -o property,value,received,source zrep:master,zrep:none,zrep:epoch,readonly tank/c/b
        """,
    ),
    case(
        "first_properties_on_an_existing_one",
        "The first stream with properties into a filesystem takes all its local ones away; the next do not.",
        PAIR
        + """
        zfs set zrep:master=no readonly=on tank/c/b
        write tank/c/a g two
        zfs snapshot tank/c/a@2
        zfs send -p -i @1 tank/c/a@2 > s2
        zfs receive -u -x zrep:master tank/c/b < s2
        zfs get -H -p -o property,value,received,source zrep:master,readonly tank/c/b
        zfs set zrep:master=no readonly=on tank/c/b
        zfs snapshot tank/c/a@3
        zfs send -p -i @2 tank/c/a@3 > s3
        zfs receive -u -x zrep:master tank/c/b < s3
        zfs get -H -p -o property,value,received,source zrep:master,readonly tank/c/b
        """,
    ),
    case(
        "receive_option_refusals",
        "What -o and -x do not take.",
        PAIR
        + """
        zfs receive -u -o guid=1 tank/c/x < s1
        zfs receive -u -o nonsense=1 tank/c/x < s1
        zfs receive -u -o readonly=maybe tank/c/x < s1
        zfs receive -u -x nonsense tank/c/x < s1
        zfs receive -u -o zrep:x=1 -x zrep:x tank/c/x < s1
        zfs receive -u -o zrep:x tank/c/x < s1
        zfs receive -u -o volsize=16M tank/c/x < s1
        zfs get -H type tank/c/x
        """,
    ),
    case(
        "receive_mounts",
        "A new filesystem is mounted unless -u or canmount says otherwise.",
        PAIR
        + """
        zfs receive tank/c/m < s1
        zfs receive -o canmount=noauto tank/c/n < s1
        zfs receive -o mountpoint=none tank/c/o < s1
        zfs get -H -p -o name,value mounted tank/c/b tank/c/m tank/c/n tank/c/o
        show tank/c/m
        """,
    ),
]
