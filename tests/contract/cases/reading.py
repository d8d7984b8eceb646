"""Reading: columns, sources, order, what does not apply and what does not exist."""

from __future__ import annotations

from ..script import case

READING = [
    case(
        "rows_that_begin_a_dataset",
        "What begins each dataset's rows: a property that none is without, or the dataset itself before its snapshots.",
        """
        zfs create tank/c/a
        zfs create tank/c/a/x
        zfs create -s -V 8M tank/c/v
        zfs create -o reservation=1M tank/c/r
        zfs snapshot tank/c/a@1 tank/c/a/x@1 tank/c/v@1
        zfs snapshot tank/c/a@0
        zfs set zrep:src-fs='a\tb' tank/c/a
        zfs set zrep:sent=1 tank/c/a@1
        zfs get -Hp -r -s local,default,received -o name,property,value,source reservation,zrep:src-fs,zrep:gen tank/c
        zfs get -Hp -r -s local -o name,property zrep:src-fs,zrep:gen tank/c
        zfs get -Hp -o name,property,value,source zrep:gen,type,zrep:src-fs tank/c/v tank/c/a
        zfs list -Hp -d 1 -t filesystem,volume,snapshot -o name,userrefs,clones,zrep:sent tank/c/v tank/c/a
        """,
    ),
    case("version", "The first line names the userland, the second the kernel module.", "zfs version"),
    case(
        "get_columns",
        "Sources: local, inherited with the name it is from, default, and - for what has none.",
        """
        zfs create -o readonly=on tank/c/a
        zfs create tank/c/a/b
        zfs set zrep:master=yes zrep:empty= tank/c/a
        zfs snapshot tank/c/a/b@1
        zfs get -H -p -o name,property,value,source zrep:master,zrep:empty,zrep:none tank/c/a tank/c/a/b
        zfs get -H -p -o name,property,value,source readonly,atime,type tank/c/a tank/c/a/b
        zfs get -H -p -o name,property,value,source zrep:master,zrep:none,readonly,atime tank/c/a/b@1
        zfs get -H -p -o name,property,value,source type,userrefs,written tank/c/a/b@1
        zfs get -H -p -o value zrep:master tank/c/a
        zfs get -H -p -o name,property,value,received,source zrep:master,readonly tank/c/a
        zfs get -H -p -s local -o name,property,value zrep:master,readonly,atime tank/c/a tank/c/a/b
        zfs get -H -p -s local,none -o name,property,value,source zrep:master,zrep:none,readonly,guid tank/c/a/b
        zfs get -H -p -s inherited -o name,property,value,source zrep:master,zrep:none,readonly,guid tank/c/a/b
        zfs get -H -p -s received zrep:master,readonly tank/c/a/b
        """,
    ),
    case(
        "get_what_does_not_apply",
        "A property that a dataset of this type does not have is a - without a source, never an error.",
        """
        zfs create tank/c/a
        zfs create -s -V 16M tank/c/v
        zfs snapshot tank/c/a@1 tank/c/v@1
        zfs get -H -p volsize,mounted,mountpoint,canmount,sharenfs tank/c/a tank/c/v
        zfs get -H -p quota,refquota,reservation,refreservation tank/c/a tank/c/v
        zfs get -H -p origin,receive_resume_token,encryption,keystatus,encryptionroot,keylocation tank/c/a
        zfs get -H -p volsize,clones,userrefs,origin,mounted,readonly tank/c/a@1 tank/c/v@1
        zfs get -H -p defer_destroy,encryption,keystatus tank/c/a@1 tank/c/v@1
        zfs get -H -p snapshots_changed tank/c/a
        """,
    ),
    case(
        "get_everything",
        "Names and sources of all properties: what a program meets that asks for all.",
        """
        zfs create tank/c/a
        zfs set zrep:master=yes tank/c/a
        zfs snapshot tank/c/a@1
        zfs get -H -p -o name,property,value,source all tank/c/a
        zfs get -H -p -o name,property,value,source all tank/c/a@1
        """,
    ),
    case(
        "get_everything_of_a_volume",
        "The same for a volume.",
        """
        zfs create -s -V 16M tank/c/v
        zfs get -H -p -o name,property,value,source all tank/c/v
        """,
    ),
    case(
        "get_recursive",
        "Datasets come sorted by name, each followed by its snapshots in the order of their making.",
        """
        zfs create tank/c/a
        zfs create tank/c/a/b
        zfs create tank/c/a-b
        zfs create tank/c/ab
        zfs snapshot tank/c/a@z
        zfs snapshot tank/c/a@b tank/c/a/b@b
        zfs get -H -p -r -o name,property,value type tank/c
        zfs get -H -p -r -t filesystem -o name type tank/c
        zfs get -H -p -r -t filesystem,volume -o name,value type tank/c/a
        zfs get -H -p -d 1 -t snapshot -o name type tank/c/a
        zfs get -H -p -t snapshot -o name type tank/c/a
        zfs get -H -p -r -t snapshot -o name type tank/c/a
        zfs get -H -p -d 1 -o name type tank/c
        zfs get -H -p -d 0 -o name type tank/c/a
        zfs get -H -p -o name type tank/c/a@b tank/c/a tank/c/a@z tank/c/a
        """,
    ),
    case(
        "used_by_children",
        "What is below uses something at once, but for a clone that nobody has written to.",
        """
        zfs create tank/c/a
        zfs get -H -p -o property,value usedbychildren tank/c/a
        zfs create tank/c/a/b
        zfs get -H -p -o property,value usedbychildren tank/c/a
        zfs create tank/c/d
        zfs create -s -V 16M tank/c/d/v
        zfs get -H -p -o property,value usedbychildren tank/c/d
        zfs create tank/c/e
        zfs snapshot tank/c/a@s
        zfs clone tank/c/a@s tank/c/e/clone
        zfs get -H -p -o property,value usedbychildren tank/c/e
        write tank/c/e/clone f one
        zfs get -H -p -o property,value usedbychildren tank/c/e
        """,
    ),
    case(
        "what_is_below",
        "All below some datasets, once each, with what they have themselves or inherit from within; of what they have "
        "themselves only the names and values.",
        """
        zfs create tank/c/a
        zfs create tank/c/a/b
        zfs create -s -V 16M tank/c/a/b/v
        zfs create tank/c/d
        zfs set x:y=on tank/c/a/b
        zfs set offsite:src-fs=x tank/c/d
        zfs get -Hp -r -t filesystem,volume -o name,property,value,source readonly,mounted,x:y tank/c/a tank/c/a/b
        zfs get -Hp -s local -t filesystem,volume -o name,property,value all tank/c/a/b tank/c/d
        """,
    ),
    case(
        "get_refusals",
        "One missing dataset does not hide the others: they are printed and the status is 1.",
        """
        zfs create tank/c/a
        zfs get -H -p -o name,value type tank/c/none tank/c/a
        zfs get -H -p -o name,value type tank/c/a@none
        zfs get -H -p -o name,value type nopool/a
        zfs get -H -p -t filesystem type tank/c/a@1
        zfs get -H -p -t snapshot type tank/c/a
        zfs get -H -p nonsense tank/c/a
        zfs get -H -p type /tank/c/a/
        zfs get -H -p type tank/c/a/
        zfs get -H -p type "tank/c/a b,c"
        zfs get
        """,
    ),
    case(
        "written",
        "written counts from the newest snapshot, written@X from X; nothing written is exactly 0.",
        """
        zfs create tank/c/a
        zfs snapshot tank/c/a@1
        zfs get -H -p -o property,value written,written@1 tank/c/a
        write tank/c/a f one
        zfs get -H -p -o property,value written,written@1 tank/c/a
        zfs snapshot tank/c/a@2
        zfs get -H -p -o property,value,source written,written@1,written@2 tank/c/a
        zfs snapshot tank/c/a@3
        zfs list -H -p -t snapshot -o name,written tank/c/a
        zfs get -H -p -o property,value,source written@none,written@tank/c/a@1 tank/c/a
        zfs get -H -p -o property,value,source written@1 tank/c/a@2
        zfs destroy tank/c/a@2
        zfs get -H -p -o property,value written@1,written@3 tank/c/a
        zfs list -H -p -t snapshot -o name,written tank/c/a
        """,
    ),
    case(
        "list",
        "Order by name, or by createtxg for the history of one filesystem.",
        """
        zfs create tank/c/a
        zfs create tank/c/a/b
        zfs snapshot tank/c/a@z
        zfs snapshot tank/c/a@a tank/c/a/b@a
        zfs list -H -p -o name,guid,zrep:sent,written,userrefs -t snapshot tank/c/a
        zfs list -H -p -o name -t snapshot -r -s createtxg tank/c/a
        zfs list -H -p -o name -t snapshot -S createtxg tank/c/a
        zfs list -H -p -o name,guid,used,available,referenced,mountpoint -t filesystem,volume -r tank/c
        zfs list -H -p -o name,creation -t snapshot -d 1 tank/c/a
        zfs list -Hp -r -t snapshot -o guid tank/c tank/c/a/b
        zfs list -H -o name tank/c/a/b tank/c/a
        zfs list -H -o name -t filesystem tank/c/a@z
        zfs list -H -o name tank/c/a@z
        zfs list -H -o name tank/c/none
        zfs list -H -t snapshot tank/c
        zfs list -t snapshot tank/c
        """,
    ),
    case(
        "list_of_many",
        "All of one filesystem's snapshots, oldest first, then all of the next one's.",
        """
        zfs create tank/c/b
        zfs create tank/c/a
        zfs create tank/c/a/x
        zfs create tank/c/a-1
        zfs snapshot tank/c/a@z
        zfs snapshot tank/c/b@y
        zfs snapshot tank/c/a-1@y tank/c/a/x@y
        zfs snapshot tank/c/a@a tank/c/b@a
        zfs list -Hp -d 1 -t snapshot -o name,guid,createtxg tank/c/b tank/c/a-1 tank/c/a tank/c/a/x
        zfs get -Hp -o name,property,value guid,createtxg,creation tank/c/b@y tank/c/a@z
        zfs get -Hp -o name,property,value guid,createtxg,creation tank/c/b@y tank/c/a@none
        """,
    ),
    case(
        "rollback_after_power_loss",
        "The intent log that a pool claims when it is opened counts as written, mounted or not, until a rollback.",
        """
        zfs create tank/c/a
        fsync tank/c/a f one
        zpool sync tank
        zfs snapshot tank/c/a@1
        zfs set readonly=on tank/c/a
        power
        zfs get -H -p -o value mounted tank/c/a
        zfs rollback tank/c/a@1
        zfs get -H -p -o value mounted,written tank/c/a
        zpool sync tank
        zfs get -H -p -o value mounted,written tank/c/a
        """,
    ),
    case(
        "diff",
        "What was written after a snapshot, by file; only of what is mounted.",
        """
        zfs create tank/c/a
        write tank/c/a f one
        write tank/c/a g one
        zfs snapshot tank/c/a@1
        zfs diff -H tank/c/a@1 tank/c/a
        append tank/c/a f two
        zfs diff -H tank/c/a@1 tank/c/a
        write tank/c/a h new
        zfs diff -H tank/c/a@1 tank/c/a
        zfs set readonly=on tank/c/a
        zfs diff -H tank/c/a@1 tank/c/a
        zfs list -H -t snapshot -o name tank/c/a
        zfs diff -H tank/c/a@none tank/c/a
        zfs unmount tank/c/a
        zfs diff -H tank/c/a@1 tank/c/a
        zfs create -V 16M tank/c/v
        zfs snapshot tank/c/v@1
        zfs diff -H tank/c/v@1 tank/c/v
        """,
    ),
    case(
        "zpool",
        "What there is to know about a pool.",
        """
        zpool list -H -p -o name,size,allocated,free,capacity,health,readonly tank
        zpool list -H -p -o name nopool
        zpool list -H -o name tank nopool
        zpool sync tank
        zpool sync nopool
        zpool get -H -p -o name,property,value,source guid,readonly,feature@encryption tank
        zpool get -H -p -o property,value feature@large_blocks,feature@embedded_data tank
        zpool get -H -p -o property,value feature@lz4_compress,feature@zstd_compress tank
        zpool get -H -p -o property,value feature@nothing tank
        """,
    ),
]
