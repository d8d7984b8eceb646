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
]
