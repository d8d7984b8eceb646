"""Encrypted filesystems and raw streams."""

from __future__ import annotations

from ..script import case

ENCRYPTED = """
key k
zfs create -o encryption=aes-256-gcm -o keyformat=raw -o keylocation=file:///tmp/zrep-contract-k tank/c/a
write tank/c/a f one
zfs snapshot tank/c/a@1
zfs send -w tank/c/a@1 > s1
zfs receive -u tank/c/b < s1
"""

ENCRYPTION = [
    case(
        "encrypted_replica",
        "A raw stream makes a replica that nobody there can read, and that takes raw increments without its key.",
        ENCRYPTED
        + """
        zfs get -H -p -o name,property,value,source encryption,keystatus,encryptionroot tank/c/a tank/c/b
        zfs get -H -p -o name,property,value,source keylocation,keyformat,mounted tank/c/a tank/c/b
        zfs mount tank/c/b
        zfs send tank/c/b@1 > x
        write tank/c/a f two
        zfs snapshot tank/c/a@2
        zfs send -w -i @1 tank/c/a@2 > s2
        zfs receive -u -s tank/c/b < s2
        zfs list -H -p -o name,guid,written -t snapshot -r tank/c
        zfs load-key tank/c/b
        zfs load-key -L file:///tmp/zrep-contract-k tank/c/b
        zfs load-key -L file:///tmp/zrep-contract-k tank/c/b
        zfs mount tank/c/b
        show tank/c/b
        zfs get -H -p -o value written tank/c/b
        zfs unload-key tank/c/b
        zfs unmount tank/c/b
        zfs unload-key tank/c/b
        zfs unload-key tank/c/b
        zfs get -H -p -o value keystatus tank/c/b
        """,
    ),
    case(
        "encrypted_fence",
        "Fact 1, raw: a filesystem cannot be dirtied without its key, but there a bare snapshot already refuses.",
        ENCRYPTED
        + """
        zfs set userquota@4294967294=none tank/c/b
        write tank/c/a f two
        zfs snapshot tank/c/a@2
        zfs send -w -i @1 tank/c/a@2 > s2
        zfs snapshot tank/c/b@fence
        zfs receive -u tank/c/b < s2
        zfs receive -u -s tank/c/b < s2
        zfs destroy tank/c/b@fence
        zfs receive -u tank/c/b < s2
        """,
    ),
    case(
        "encrypted_fence_with_a_key",
        "With its key loaded it is dirtied as any other.",
        ENCRYPTED
        + """
        zfs load-key -L file:///tmp/zrep-contract-k tank/c/b
        zfs set userquota@4294967294=none tank/c/b
        zpool sync tank
        zfs get -H -p -o value written tank/c/b
        zfs snapshot tank/c/b@fence
        zfs rename tank/c/b tank/c/d
        zfs get -H -p -o value encryptionroot,keystatus tank/c/d
        """,
    ),
    case(
        "encrypted_rotate",
        "The way back of an encrypted filesystem: the clone shares the encryption root of its origin until promoted.",
        ENCRYPTED
        + """
        zfs rename tank/c/b tank/c/b_split
        zfs clone -o readonly=on -o canmount=noauto tank/c/b_split@1 tank/c/b
        zfs promote tank/c/b
        zfs get -H -p -o name,property,value,source encryptionroot,keystatus,keylocation,origin tank/c/b tank/c/b_split
        write tank/c/a f two
        zfs snapshot tank/c/a@2
        zfs send -w -i @1 tank/c/a@2 > s2
        zfs receive -u tank/c/b < s2
        zfs get -H -p -o name,property,value,source encryptionroot,keystatus tank/c/b tank/c/b_split
        """,
    ),
    case(
        "encrypted_mount",
        "Mounting what came raw is a modification of it, unless it is read-only.",
        ENCRYPTED
        + """
        zfs load-key -L file:///tmp/zrep-contract-k tank/c/b
        zfs set readonly=on tank/c/b
        zfs mount tank/c/b
        zpool sync tank
        zfs get -H -p -o value written tank/c/b
        write tank/c/a f two
        zfs snapshot tank/c/a@2
        zfs send -w -i @1 tank/c/a@2 > s2
        zfs receive -u tank/c/b < s2
        show tank/c/b
        zfs unmount tank/c/b
        zfs set readonly=off tank/c/b
        zfs mount tank/c/b
        zpool sync tank
        zfs get -H -p -o value written tank/c/b
        write tank/c/a f three
        zfs snapshot tank/c/a@3
        zfs send -w -i @2 tank/c/a@3 > s3
        zfs receive -u tank/c/b < s3
        """,
    ),
    case(
        "encrypted_refusals",
        "Raw onto plain, plain below a root whose key is away.",
        ENCRYPTED
        + """
        zfs create tank/c/p
        zfs snapshot tank/c/p@1
        zfs send tank/c/p@1 > p1
        zfs send -w tank/c/p@1 > w1
        zfs receive -u tank/c/q < w1
        zfs get -H -p -o property,value,source encryption tank/c/q
        zfs receive -u tank/c/b/x < p1
        zfs create tank/c/b/y
        zfs unmount tank/c/a
        zfs unload-key tank/c/a
        zfs snapshot tank/c/a@2
        zfs send tank/c/a@2 > x
        zfs send -w -i @1 tank/c/a@2 > s2
        zfs receive -u tank/c/p < s2
        zfs receive -u tank/c/b < s2
        zfs mount tank/c/a
        """,
    ),
    case(
        "encrypted_parent",
        "Below an encrypted parent properties that travel make it plain, unless encryption is left out of them; "
        "embedded data is refused, and anything while the key is away.",
        """
        key k
        zfs create -o encryption=aes-256-gcm -o keyformat=raw -o keylocation=file:///tmp/zrep-contract-k tank/c/e
        zfs unmount tank/c/e
        zfs create tank/c/p
        write tank/c/p f one
        zfs snapshot tank/c/p@1
        zfs send -p -L -c tank/c/p@1 > p1
        zfs send -p -L -e -c tank/c/p@1 > e1
        zfs receive -s -u tank/c/e/plain < p1
        zfs receive -s -u -x encryption tank/c/e/a < p1
        zfs receive -s -u -x encryption tank/c/e/b < e1
        zfs get -H -p -o name,property,value,source encryption,encryptionroot,keystatus tank/c/e/plain tank/c/e/a
        write tank/c/p f two
        zfs snapshot tank/c/p@2
        zfs send -L -c -i @1 tank/c/p@2 > p2
        zfs receive -s -u tank/c/e/a < p2
        zfs snapshot tank/c/p@3
        zfs send -L -c -i @2 tank/c/p@3 > p3
        zfs unload-key tank/c/e
        zfs receive -s -u tank/c/e/a < p3
        zfs receive -s -u -x encryption tank/c/e/d < p1
        zfs create -u -o canmount=off tank/c/e/x
        """,
    ),
    case(
        "encrypted_with_properties",
        "What is encrypted is sent with its properties only raw. Without them it is encrypted as the parent is, where "
        "encryption is left out of what travels and where it is not.",
        ENCRYPTED
        + """
        zfs send -p tank/c/a@1 > x
        zfs send -p -w tank/c/a@1 > w
        zfs send -L -c tank/c/a@1 > s
        zfs receive -s -u tank/c/plain < s
        zfs create -o encryption=aes-256-gcm -o keyformat=raw -o keylocation=file:///tmp/zrep-contract-k tank/c/e
        zfs unmount tank/c/e
        zfs receive -s -u tank/c/e/a < s
        zfs receive -s -u -x encryption tank/c/e/b < s
        zfs get -H -p -o name,property,value,source encryption,encryptionroot tank/c/plain tank/c/e/a tank/c/e/b
        write tank/c/plain f two
        zfs snapshot tank/c/plain@2
        zfs send -L -c -i @1 tank/c/plain@2 > p2
        zfs receive -s -u tank/c/a < p2
        """,
    ),
    case(
        "encrypted_clone",
        "A clone that comes raw has the key of what it is a clone of.",
        """
        key k
        zfs create tank/c/s
        zfs create tank/c/t
        zfs create -o encryption=aes-256-gcm -o keyformat=raw -o keylocation=file:///tmp/zrep-contract-k tank/c/s/a
        write tank/c/s/a f one
        zfs snapshot tank/c/s/a@1
        zfs send -w -p tank/c/s/a@1 > s1
        zfs receive -u tank/c/t/b < s1
        zfs clone tank/c/s/a@1 tank/c/s/k
        write tank/c/s/k g two
        zfs snapshot tank/c/s/k@2
        zfs send -w -p -i tank/c/s/a@1 tank/c/s/k@2 > s2
        zfs receive -s -u -o readonly=on tank/c/t/d < s2
        zfs get -H -p -o name,property,value origin,encryptionroot,keystatus tank/c/t/b tank/c/t/d
        zfs load-key -L file:///tmp/zrep-contract-k tank/c/t/b
        zfs get -H -p -o value keystatus tank/c/t/d
        zfs mount tank/c/t/d
        show tank/c/t/d
        zfs promote tank/c/t/d
        zfs get -H -p -o name,property,value origin,encryptionroot,keystatus tank/c/t/b tank/c/t/d
        write tank/c/s/k g three
        zfs snapshot tank/c/s/k@3
        zfs send -w -i @2 tank/c/s/k@3 > s3
        zfs receive -s -u tank/c/t/d < s3
        zfs mount tank/c/t/d
        show tank/c/t/d
        """,
    ),
    case(
        "encrypted_tree",
        "Fact 9: raw, each member is an encryption root of its own. It can be made to inherit, clones of it with it, "
        "with no key loaded, and goes on receiving; and to have its own again.",
        """
        phrase k
        phrase l
        zfs create -o encryption=on -o keyformat=passphrase -o keylocation=file:///tmp/zrep-contract-k tank/c/a
        zfs create tank/c/a/x
        write tank/c/a/x f one
        zfs snapshot tank/c/a@1 tank/c/a/x@1
        zfs create tank/c/t
        zfs send -w -p tank/c/a@1 > s1
        zfs receive -u tank/c/t/b < s1
        zfs send -w -p tank/c/a/x@1 > x1
        zfs receive -u tank/c/t/b/x < x1
        zfs set readonly=on tank/c/t/b
        zfs get -H -p -o name,value encryptionroot tank/c/t/b tank/c/t/b/x
        placekey tank/c/t/b/x inherit
        placekey tank/c/t/b/x inherit
        zfs get -H -p -o name,property,value encryptionroot,keystatus,keylocation,written tank/c/t/b/x
        write tank/c/a/x f two
        zfs snapshot tank/c/a/x@2
        zfs send -w -i @1 tank/c/a/x@2 > x2
        zfs receive -u tank/c/t/b/x < x2
        zfs load-key -L file:///tmp/zrep-contract-k tank/c/t/b
        zfs get -H -p -o name,value encryptionroot,keystatus tank/c/t/b/x
        zfs mount tank/c/t/b/x
        show tank/c/t/b/x
        zfs unmount tank/c/t/b/x
        zfs unload-key tank/c/t/b
        zfs change-key -o keyformat=passphrase -o keylocation=file:///tmp/zrep-contract-l tank/c/a/x
        zfs snapshot tank/c/a/x@3
        zfs send -w -i @2 tank/c/a/x@3 > x3
        zfs receive -u tank/c/t/b/x < x3
        zfs get -H -p -o value encryptionroot tank/c/t/b/x
        placekey tank/c/t/b/x own
        placekey tank/c/t/b/x own
        zfs get -H -p -o name,property,value encryptionroot,keystatus,keylocation tank/c/t/b/x
        zfs load-key -L file:///tmp/zrep-contract-l tank/c/t/b/x
        """,
    ),
    case(
        "encrypted_tree_member_moved",
        "What inherits its key is moved nowhere else, but with a key of its own; its next stream brings that. "
        "A clone of an encryption root is renamed where it is.",
        """
        phrase k
        phrase l
        zfs create -o encryption=on -o keyformat=passphrase -o keylocation=file:///tmp/zrep-contract-k tank/c/a
        zfs create tank/c/a/x
        write tank/c/a/x f one
        zfs snapshot tank/c/a@1 tank/c/a/x@1
        zfs create tank/c/t
        zfs send -w -p tank/c/a@1 > s1
        zfs receive -u tank/c/t/b < s1
        zfs send -w -p tank/c/a/x@1 > x1
        zfs receive -u tank/c/t/b/x < x1
        placekey tank/c/t/b/x inherit
        zfs clone -o canmount=noauto tank/c/t/b@1 tank/c/t/k
        zfs rename -u tank/c/t/k tank/c/t/l
        zfs destroy tank/c/t/l
        zfs rename -u tank/c/t/b/x tank/c/t/x
        placekey tank/c/t/b/x own
        zfs rename -u tank/c/t/b/x tank/c/t/x
        zfs get -H -p -o name,property,value encryptionroot,keystatus tank/c/t/x
        zfs change-key -o keyformat=passphrase -o keylocation=file:///tmp/zrep-contract-l tank/c/a/x
        zfs rename tank/c/a/x tank/c/x
        zfs snapshot tank/c/x@2
        zfs send -w -i @1 tank/c/x@2 > x2
        zfs receive -u tank/c/t/x < x2
        zfs load-key -L file:///tmp/zrep-contract-l tank/c/t/x
        zfs mount tank/c/t/x
        show tank/c/t/x
        """,
    ),
    case(
        "encrypted_split",
        "The clone of an encryption root, carried along by a rename of what it lies in, is moved once it is promoted: "
        "it is the encryption root of all that had its key from its origin then, with no key loaded, so that nothing "
        "can be made there.",
        """
        phrase k
        zfs create tank/c/t
        zfs create -o encryption=on -o keyformat=passphrase -o keylocation=file:///tmp/zrep-contract-k tank/c/t/a
        zfs create tank/c/t/a/in
        zfs create tank/c/t/a/other
        write tank/c/t/a/in f one
        zfs snapshot tank/c/t/a@1 tank/c/t/a/in@1
        zfs clone -o canmount=noauto tank/c/t/a@1 tank/c/t/n
        zfs clone -o canmount=noauto tank/c/t/a/in@1 tank/c/m
        zfs create -o canmount=off tank/c/s
        zfs rename -u tank/c/t tank/c/s/t
        zfs create -o canmount=noauto tank/c/t
        zfs rename -u tank/c/s/t/n tank/c/t/a
        zfs promote tank/c/s/t/n
        zfs rename -u tank/c/s/t/n tank/c/t/a
        zfs rename -u tank/c/s/t/a/other tank/c/t/a/other
        zfs rename -u tank/c/m tank/c/t/a/in
        zfs promote tank/c/t/a/in
        zfs get -H -p -r -t filesystem -o name,property,value encryptionroot,keystatus,origin tank/c/s tank/c/t
        zfs create tank/c/s/t/a/new
        zfs load-key tank/c/t/a
        zfs get -H -p -r -t filesystem -o name,property,value keystatus tank/c/s tank/c/t
        """,
    ),
    case(
        "encrypted_tree_key_changed",
        "Fact 9: a changed key is nothing that was written; it comes with the next stream of each member, an empty one "
        "does. pbkdf2salt tells of a passphrase.",
        """
        phrase k
        phrase l
        key r
        zfs create tank/c/p
        zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///tmp/zrep-contract-r tank/c/r
        zfs get -H -p -o name,property,value pbkdf2salt tank/c/p tank/c/r
        zfs create -o encryption=on -o keyformat=passphrase -o keylocation=file:///tmp/zrep-contract-k tank/c/a
        zfs create tank/c/a/x
        zfs create tank/c/t
        zfs snapshot tank/c/a@1 tank/c/a/x@1
        zfs send -w tank/c/a@1 > s1
        zfs receive -u tank/c/t/b < s1
        zfs send -w tank/c/a/x@1 > x1
        zfs receive -u tank/c/t/b/x < x1
        placekey tank/c/t/b/x inherit
        zfs get -H -p -o name,value pbkdf2salt tank/c/a tank/c/a/x tank/c/t/b tank/c/t/b/x
        zfs change-key -o keylocation=file:///tmp/zrep-contract-l tank/c/a
        zfs get -H -p -o name,property,value written,pbkdf2salt tank/c/a tank/c/a/x
        zfs snapshot tank/c/a@2 tank/c/a/x@2
        zfs send -w -i @1 tank/c/a@2 > s2
        zfs receive -u tank/c/t/b < s2
        zfs load-key -L file:///tmp/zrep-contract-l tank/c/t/b
        zfs get -H -p -o name,property,value keystatus,pbkdf2salt tank/c/t/b tank/c/t/b/x
        zfs set readonly=on tank/c/t/b
        zfs mount tank/c/t/b/x
        zfs send -w -i @1 tank/c/a/x@2 > x2
        zfs receive -u tank/c/t/b/x < x2
        zfs mount tank/c/t/b/x
        """,
    ),
]
