"""Snapshots: taking, holding, destroying, rolling back, renaming."""

from __future__ import annotations

from ..script import case

SNAPSHOTS = [
    case(
        "snapshot_atomic",
        "Fact 6: all of them or none, in one transaction group.",
        """
        zfs create tank/c/a
        zfs create tank/c/b
        zfs snapshot tank/c/a@x
        zfs snapshot tank/c/a@x tank/c/b@x
        zfs list -H -o name -t snapshot -r tank/c
        zfs snapshot tank/c/a@y tank/c/b@y
        zfs list -H -o name -t snapshot -r tank/c
        zfs get -H -p -o value createtxg tank/c/a@y tank/c/b@y
        """,
    ),
    case(
        "snapshot_marked",
        "A mark that is set in the snapshot's own transaction group travels with -p, whatever is left out of the "
        "filesystem's properties, and not without.",
        """
        zfs create tank/c/a
        zfs create tank/c/b
        groups zfs snapshot -o zrep:made=yes tank/c/a@1 tank/c/b@1
        zfs list -H -o name,zrep:made -t snapshot -r tank/c
        zfs send -p tank/c/a@1 > full
        zfs receive -u -x zrep:made -x zrep:sent tank/c/d < full
        write tank/c/a f two
        zfs snapshot -o zrep:made=yes tank/c/a@2
        zfs send -i @1 tank/c/a@2 > more
        zfs receive -u tank/c/d < more
        zfs get -H -o name,property,value,source zrep:made tank/c/d tank/c/d@1 tank/c/d@2
        zfs inherit zrep:made tank/c/d@1
        zfs get -H -o name,property,value,source zrep:made tank/c/d@1
        """,
    ),
    case(
        "snapshot_refusals",
        "What snapshot does not take.",
        """
        zfs create tank/c/a
        zfs snapshot tank/c/a@1
        zfs snapshot tank/c/a@1
        zfs snapshot tank/c/none@1
        zfs snapshot tank/c/a@2 tank/c/none@2
        zfs snapshot tank/c/a
        zfs snapshot tank/c/a@
        zfs snapshot tank/c/a@b@c
        zfs snapshot tank/c/a@x%y
        zfs snapshot tank/c/a@2 tank/c/a@3
        zfs snapshot
        zfs list -H -o name -t snapshot -r tank/c
        """,
    ),
    case(
        "holds",
        "Fact 5: a hold makes destroy and rollback fail; taking or releasing one twice is an error.",
        """
        zfs create tank/c/a
        zfs snapshot tank/c/a@1
        zfs snapshot tank/c/a@2
        zfs hold tag tank/c/a@1 tank/c/a@2
        zfs hold tag tank/c/a@1
        zfs hold other tank/c/a@1
        zfs holds -H tank/c/a@1 tank/c/a@2
        zfs get -H -p -o value userrefs tank/c/a@1
        zfs destroy tank/c/a@1
        zfs destroy tank/c/a@1,2
        zfs rollback -r tank/c/a@1
        zfs list -H -o name -t snapshot tank/c/a
        zfs release tag tank/c/a@2
        zfs rollback -r tank/c/a@1
        zfs list -H -o name -t snapshot tank/c/a
        zfs release tag tank/c/a@1
        zfs release tag tank/c/a@1
        zfs release other tank/c/a@1
        zfs holds -H tank/c/a@1
        zfs destroy tank/c/a@1
        """,
    ),
    case(
        "hold_refusals",
        "Of several snapshots each is tried; a hold on one that is missing is an error.",
        """
        zfs create tank/c/a
        zfs snapshot tank/c/a@1
        zfs hold tag tank/c/a@none
        zfs hold tag tank/c/a@none tank/c/a@1
        zfs holds -H tank/c/a@1
        zfs hold tag tank/c/none@1
        zfs hold tag tank/c/a
        zfs hold .tag tank/c/a@1
        zfs hold tag
        zfs release tag tank/c/a@none
        zfs release none tank/c/a@1
        zfs release tag tank/c/none@1
        zfs holds -H tank/c/a@none
        zfs holds -H tank/c/none@1
        zfs holds -H tank/c/a
        zfs holds -H tank/c/a@none tank/c/a@1
        """,
    ),
    case(
        "holds_follow",
        "Fact 5: a hold survives rename, clone and promote, and ends on the promoted side.",
        """
        zfs create tank/c/a
        zfs snapshot tank/c/a@1
        zfs hold tag tank/c/a@1
        zfs rename tank/c/a tank/c/b
        zfs holds -H tank/c/b@1
        zfs rename tank/c/b@1 tank/c/b@one
        zfs holds -H tank/c/b@one
        zfs clone tank/c/b@one tank/c/k
        zfs holds -H tank/c/b@one
        zfs promote tank/c/k
        zfs holds -H tank/c/k@one
        zfs holds -H tank/c/b@one
        zfs get -H -p -o value origin tank/c/b tank/c/k
        """,
    ),
    case(
        "destroy",
        "Snapshots of one filesystem go together; a name that is not there is passed over unless it is the only one.",
        """
        zfs create tank/c/a
        zfs snapshot tank/c/a@1
        zfs snapshot tank/c/a@2
        zfs snapshot tank/c/a@3
        zfs destroy tank/c/a@1,none,2
        zfs list -H -o name -t snapshot tank/c/a
        zfs destroy tank/c/a@none
        zfs destroy tank/c/none@1
        zfs destroy tank/c/none
        zfs destroy tank/c/a
        zfs destroy tank/c
        zfs destroy tank
        zfs destroy tank/c/a@3
        zfs destroy tank/c/a
        zfs get -H type tank/c/a
        """,
    ),
    case(
        "destroy_cloned",
        "A snapshot with a clone stays, and keeps the others of the same command.",
        """
        zfs create tank/c/a
        zfs snapshot tank/c/a@1
        zfs snapshot tank/c/a@2
        zfs clone tank/c/a@1 tank/c/k
        zfs destroy tank/c/a@1
        zfs destroy tank/c/a@2,1
        zfs list -H -o name,clones -t snapshot tank/c/a
        zfs rollback -r tank/c/a@1
        zfs list -H -o name,clones -t snapshot tank/c/a
        """,
    ),
    case(
        "destroy_held_one_of_many",
        "One held snapshot keeps all of its command.",
        """
        zfs create tank/c/a
        zfs snapshot tank/c/a@1
        zfs snapshot tank/c/a@2
        zfs snapshot tank/c/a@3
        zfs hold tag tank/c/a@2
        zfs destroy tank/c/a@1,2,3
        zfs list -H -o name -t snapshot tank/c/a
        """,
    ),
    case(
        "rollback",
        "Only to the newest, unless -r.",
        """
        zfs create tank/c/a
        write tank/c/a f one
        zfs snapshot tank/c/a@1
        write tank/c/a f two
        zfs snapshot tank/c/a@2
        write tank/c/a f three
        zfs rollback tank/c/a@1
        zfs rollback tank/c/a@2
        show tank/c/a
        zfs get -H -p -o value written tank/c/a
        zfs rollback -r tank/c/a@1
        show tank/c/a
        zfs list -H -o name -t snapshot tank/c/a
        zfs rollback tank/c/a@none
        zfs rollback tank/c/a
        """,
    ),
    case(
        "rollback_past_a_clone",
        "-r does not take a snapshot away that has a clone.",
        """
        zfs create tank/c/a
        zfs snapshot tank/c/a@1
        zfs snapshot tank/c/a@2
        zfs clone tank/c/a@2 tank/c/k
        zfs rollback -r tank/c/a@1
        zfs list -H -o name -t snapshot tank/c/a
        """,
    ),
    case(
        "rename_snapshots",
        "Within the filesystem only.",
        """
        zfs create tank/c/a
        zfs snapshot tank/c/a@1
        zfs snapshot tank/c/a@2
        zfs rename tank/c/a@1 tank/c/a@one
        zfs rename tank/c/a@one tank/c/a@2
        zfs rename tank/c/a@one tank/c/b@one
        zfs rename tank/c/a@none tank/c/a@x
        zfs list -H -o name -t snapshot tank/c/a
        """,
    ),
]
