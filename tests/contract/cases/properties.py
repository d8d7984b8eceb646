"""Setting and inheriting properties, and what it costs."""

from __future__ import annotations

from ..script import case

PROPERTIES = [
    case(
        "set_and_inherit",
        "set makes a property local, inherit takes it away; doing either twice is no error.",
        """
        zfs create tank/c/a
        zfs create tank/c/a/b
        zfs set zrep:master=no zrep:epoch=3 tank/c/a tank/c/a/b
        zfs set zrep:master=no tank/c/a
        zfs get -H -p -o name,property,value,source zrep:master,zrep:epoch tank/c/a tank/c/a/b
        zfs inherit zrep:master tank/c/a/b
        zfs inherit zrep:master tank/c/a/b
        zfs get -H -p -o name,property,value,source zrep:master tank/c/a tank/c/a/b
        zfs inherit zrep:master tank/c/a
        zfs inherit zrep:epoch tank/c/a tank/c/a/b
        zfs get -H -p -o name,property,value,source zrep:master,zrep:epoch tank/c/a tank/c/a/b
        zfs set readonly=on tank/c/a
        zfs get -H -p -o name,property,value,source readonly tank/c/a tank/c/a/b
        zfs set readonly=off tank/c/a/b
        zfs inherit readonly tank/c/a
        zfs get -H -p -o name,property,value,source readonly tank/c/a tank/c/a/b
        zfs set canmount=noauto tank/c/a
        zfs inherit canmount tank/c/a
        zfs inherit -S canmount tank/c/a
        zfs get -H -p -o name,property,value,source canmount tank/c/a
        """,
    ),
    case(
        "set_again",
        "What get prints of what is set can be set again on a clone that takes its place, but for a quota of none.",
        """
        zfs create tank/c/a
        zfs snapshot tank/c/a@1
        zfs set quota=10M reservation=1M refquota=10M tank/c/a
        zfs set quota=none refquota=none reservation=none refreservation=none tank/c/a
        zfs set exec=off recordsize=16K mountpoint=/tank/c/a acltype=posix org:x='a\tb' tank/c/a
        zfs get -H -s local,received -o property,source all tank/c/a
        zfs get -Hp -o name,property,value,source quota,refquota,reservation,recordsize,org:x tank/c/a
        zfs clone -o zrep:split=x -o readonly=on -o canmount=noauto tank/c/a@1 tank/c/b
        zfs set quota=0 tank/c/b
        zfs set refquota=0 tank/c/b
        zfs set reservation=0 tank/c/b
        zfs set refreservation=0 tank/c/b
        zfs set mountpoint=/tank/c/a tank/c/b
        zfs set acltype=posix tank/c/b
        zfs set recordsize=16384 tank/c/b
        zfs get -Hp -o name,property,value,source mounted,mountpoint,acltype,recordsize,reservation tank/c/b
        zfs unmount tank/c/a
        zfs rename -u tank/c/a tank/c/d
        zfs rename -u tank/c/b tank/c/a
        zfs promote tank/c/a
        zfs set quota=none tank/c/a
        zfs get -Hp -o name,property,value,source origin,mounted,mountpoint,quota,exec tank/c/a tank/c/d
        """,
    ),
    case(
        "set_refusals",
        "What set does not take, and its exit status.",
        """
        zfs create tank/c/a
        zfs snapshot tank/c/a@1
        zfs set zrep:x=1 tank/c/none
        zfs set zrep:x=1 tank/c/none tank/c/a
        zfs get -H -o value zrep:x tank/c/a
        zfs set guid=1 tank/c/a
        zfs set nonsense=1 tank/c/a
        zfs set Zrep:x=1 tank/c/a
        zfs set readonly=maybe tank/c/a
        zfs set volsize=16M tank/c/a
        zfs set readonly=on tank/c/a@1
        zfs set mountpoint=relative tank/c/a
        zfs set zrep:x=2 nonsense=1 tank/c/a
        zfs get -H -o value zrep:x tank/c/a
        zfs set zrep:x=1 zrep:x=2 tank/c/a
        zfs set tank/c/a
        zfs set zrep:x=1
        zfs set zrep:x tank/c/a
        zfs inherit guid tank/c/a
        zfs inherit quota tank/c/a
        zfs inherit nonsense tank/c/a
        zfs inherit zrep:x tank/c/none
        """,
    ),
    case(
        "set_on_snapshots",
        "A user property of a snapshot is its own; without one it has that of its filesystem, as inherited.",
        """
        zfs create tank/c/a
        zfs snapshot tank/c/a@1
        zfs snapshot tank/c/a@2
        zfs set zrep:sent=100 tank/c/a@1
        zfs set zrep:fs=yes tank/c/a
        zfs get -H -p -o name,property,value,source zrep:sent,zrep:fs tank/c/a tank/c/a@1 tank/c/a@2
        zfs list -H -p -o name,zrep:sent,zrep:fs -t snapshot tank/c/a
        zfs set zrep:fs=own tank/c/a@1
        zfs inherit zrep:sent tank/c/a@1
        zfs get -H -p -o name,property,value,source zrep:sent,zrep:fs tank/c/a@1
        zfs snapshot -o zrep:sent=5 tank/c/a@3
        zfs get -H -p -o name,property,value,source zrep:sent tank/c/a@3
        """,
    ),
    case(
        "set_in_part",
        "Fact 4: a set of several properties can land in part: what fails is reported, the rest is there.",
        """
        zfs create tank/c/a
        fill tank/c/a f
        zfs set zrep:x=1 quota=1M tank/c/a
        zfs get -H -p -o property,value,source zrep:x,quota tank/c/a
        zfs set quota=1G zrep:y=1 tank/c/a
        zfs get -H -p -o property,value,source zrep:y,quota tank/c/a
        zfs set quota=none tank/c/a
        zfs get -H -p -o property,value,source quota tank/c/a
        """,
    ),
    case(
        "what_a_write_costs",
        "Transaction groups: set, inherit, hold and release wait for one an argument, snapshot for one in all.",
        """
        zfs create tank/c/a
        zfs create tank/c/b
        groups zfs get -H -p guid tank/c/a
        groups zfs snapshot tank/c/a@1 tank/c/b@1
        groups zfs snapshot tank/c/a@2
        groups zfs set zrep:x=1 tank/c/a
        groups zfs set zrep:x=1 zrep:y=2 tank/c/a
        groups zfs set zrep:x=1 zrep:y=2 tank/c/a tank/c/b
        groups zfs set zrep:x=1 tank/c/a@1 tank/c/a@2 tank/c/b@1
        groups zfs inherit zrep:x tank/c/a tank/c/b
        groups zfs hold t tank/c/a@1 tank/c/a@2 tank/c/b@1
        groups zfs release t tank/c/a@1 tank/c/a@2 tank/c/b@1
        groups zfs destroy tank/c/a@1,2
        groups zfs set readonly=on tank/c/a
        """,
    ),
]
