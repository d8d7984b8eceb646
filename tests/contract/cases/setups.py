"""How several cases begin."""

PAIR = """
zfs create tank/c/a
write tank/c/a f one
zfs snapshot tank/c/a@1
zfs send tank/c/a@1 > s1
zfs receive -u tank/c/b < s1
"""
NEXT = """
write tank/c/a g two
zfs snapshot tank/c/a@2
zfs send -i @1 tank/c/a@2 > s2
"""
BIG = """
fill tank/c/a big
zfs snapshot tank/c/a@2
zfs send -i @1 tank/c/a@2 > s2
"""
VOLUMES = """
zfs create -s -V 16M tank/c/v
zfs snapshot tank/c/v@1
zfs send tank/c/v@1 > s1
zfs receive tank/c/w < s1
"""
