"""Trees to begin with, and how two hosts with one look."""

from __future__ import annotations

from tests.ops import pairs
from tests.ops.hosts import Hosts
from tests.ops.pairs import SYNC_ALL, A, B, good
from zrep.ops.init_way import Request

INIT = pairs.initialising(Request(A, "beta", B, recursive=True))
ROOT = {"alpha": A, "beta": B}


def planted(hosts: Hosts) -> None:
    """tank/a with x, x/deep and a volume on alpha, not replicated yet."""
    alpha = hosts["alpha"]
    for name in (A, f"{A}/x", f"{A}/x/deep"):
        alpha.sh(f"zfs create {name}")
        alpha.write(name, "file", name.encode())
    alpha.sh(f"zfs create -V 1G {A}/vol")


def grown(hosts: Hosts) -> None:
    """The same, replicated as tank/b on beta."""
    planted(hosts)
    good(hosts.run("alpha", INIT))


def written(hosts: Hosts) -> None:
    """The same, with writes to some members that have still to be sent."""
    grown(hosts)
    for name in (A, f"{A}/x/deep"):
        hosts["alpha"].write(name, "later", b"2")


def changed(hosts: Hosts) -> None:
    """The same, with a member that is new, one that was renamed, and one whose source is gone."""
    written(hosts)
    alpha = hosts["alpha"]
    alpha.sh(f"zfs create {A}/x/new")
    alpha.write(f"{A}/x/new", "file", b"new")
    destroy(hosts, f"{A}/vol")
    alpha.sh(f"zfs rename {A}/x {A}/vol")


def cloned(hosts: Hosts) -> None:
    """The same as grown, with clones that were sent, one of them promoted since and one that leaves its origin nothing,
    and one that is new."""
    grown(hosts)
    alpha = hosts["alpha"]
    for origin, clone in ((f"{A}/x", f"{A}/k"), (f"{A}/x/deep", f"{A}/b")):
        alpha.sh(f"zfs snapshot {origin}@mine")
        alpha.sh(f"zfs clone {origin}@mine {clone}")
        alpha.write(clone, "own", clone.encode())
    good(hosts.run("alpha", SYNC_ALL))
    alpha.write(f"{A}/x", "later", b"1")
    good(hosts.run("alpha", SYNC_ALL))
    for clone in (f"{A}/k", f"{A}/b"):
        alpha.sh(f"zfs promote {clone}")
        alpha.write(clone, "promoted", b"1")
    alpha.sh(f"zfs snapshot {A}/k@other")
    alpha.sh(f"zfs clone {A}/k@other {A}/new")
    alpha.write(f"{A}/new", "new", b"1")


KEY = "-o encryption=on -o keyformat=passphrase -o keylocation=file:///key"


def keyed(hosts: Hosts) -> None:
    """An encrypted tree that was replicated, whose key was changed since; a member is new, and one has its own key."""
    alpha = hosts["alpha"]
    for name in ("", "/x", "/x/deep"):
        alpha.sh(f"zfs create {'' if name else KEY} {A}{name}")
        alpha.write(f"{A}{name}", "file", name.encode())
    good(hosts.run("alpha", INIT))
    alpha.sh(f"zfs change-key -o keylocation=file:///other {A}")
    alpha.sh(f"zfs create {A}/x/new")
    alpha.sh(f"zfs change-key -o keyformat=passphrase -o keylocation=file:///key {A}/x/deep")


def promoted(hosts: Hosts) -> None:
    """beta was promoted alone and written to; the old master on alpha is back, unwritten."""
    grown(hosts)
    good(hosts.run("beta", pairs.forcing(B)))
    hosts["beta"].write(f"{B}/x", "on beta", b"1")


def diverged(hosts: Hosts, written: tuple[str, ...] = (f"{A}/x", f"{A}/x/disk")) -> None:
    """The same, but the old master was written to in these members (x and the volume in it, and a new one) after the
    last sync, and has settings of its own."""
    planted(hosts)
    alpha = hosts["alpha"]
    alpha.sh(f"zfs create -V 1G {A}/x/disk")
    alpha.sh(f"zfs set quota=1G compression=lz4 org:note=mine {A}/x")
    alpha.sh(f"zfs allow -u zrep hold,release {A}/x")
    good(hosts.run("alpha", INIT))
    for name in written:
        alpha.write(name, "alone", name.encode())
    alpha.sh(f"zfs create {A}/x/new")
    alpha.write(f"{A}/x/new", "alone", b"new")
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing(B)))
    hosts.wire.cut = False
    hosts["beta"].write(f"{B}/x", "on beta", b"1")


LOCKED = ("/safe", "/safe/in", "/safe/own", "/safe/own/in")


def locked(hosts: Hosts, written: tuple[str, ...] = LOCKED, root: str = "") -> None:
    """A tree with encryption roots of its own in one another, and what has its key from them, that was taken over on
    beta after these members were written to on alpha. root: how its own root is made."""
    alpha = hosts["alpha"]
    for name in ("", *LOCKED, "/x", "/x/deep"):
        own = KEY if name in ("/safe", "/safe/own") else "" if name else root
        alpha.sh(f"zfs create {own} {A}{name}")
        alpha.write(f"{A}{name}", "file", name.encode())
    good(hosts.run("alpha", INIT))
    for name in written:
        alpha.write(f"{A}{name}", "alone", name.encode())
    opened(hosts, "beta", B)
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing(B)))
    hosts.wire.cut = False
    for name in ("/safe/in", "/safe/own/in"):
        hosts["beta"].write(f"{B}{name}", "on beta", b"1")


def opened(hosts: Hosts, host: str, top: str) -> None:
    """Load every key of a tree there."""
    for name in lines(hosts, host, f"zfs get -H -r -o value -t filesystem encryptionroot {top}"):
        if name != "-":
            hosts[host].load_key(name)


def lines(hosts: Hosts, host: str, command: str) -> list[str]:
    return hosts[host].sh(command).decode().splitlines()


def members(hosts: Hosts, host: str) -> list[str]:
    return lines(hosts, host, f"zfs list -H -r -t filesystem,volume -o name {ROOT[host]}")


def snapshots(hosts: Hosts, host: str, name: str) -> list[str]:
    return [line.partition("@")[2] for line in lines(hosts, host, f"zfs list -H -d 1 -t snapshot -o name {name}")]


def contents(hosts: Hosts, host: str, name: str) -> dict[str, bytes]:
    """What the newest snapshot of a member holds."""
    return hosts[host].read(f"{name}@{snapshots(hosts, host, name)[-1]}")


def destroy(hosts: Hosts, name: str) -> None:
    """As an administrator does it, who has to let go of what zrep holds."""
    for full in lines(hosts, "alpha", f"zfs list -H -r -t snapshot -o name {name}"):
        if lines(hosts, "alpha", f"zfs holds -H {full}"):
            hosts["alpha"].sh(f"zfs release zrep {full}")
    hosts["alpha"].sh(f"zfs destroy -r {name}")


def picture(hosts: Hosts) -> dict[str, object]:
    """How both hosts look at an end: every member with its files, role, mount, and what is held of it. Numbers of
    snapshots and seconds differ from run to run."""
    found: dict[str, object] = {}
    for host, root in ROOT.items():
        for name in members(hosts, host) if hosts[host].dataset(root) else []:
            rows = lines(
                hosts, host, f"zfs get -Hp -o property,value readonly,canmount,mounted,type,encryptionroot {name}"
            )
            # Demoted, it stays mounted until the next boot; what is encrypted is not mounted by that.
            if "readonly\ton" in rows or "encryptionroot\t-" not in rows:
                rows = [row for row in rows if not row.startswith("mounted")]
            own = lines(hosts, host, f"zfs get -Hp -s local -o property,value zrep:master,zrep:epoch,zrep:gone {name}")
            own = ["zrep:gone" if line.startswith("zrep:gone") else line for line in own]
            taken = snapshots(hosts, host, name)
            held = [len(lines(hosts, host, f"zfs holds -H {name}@{snapshot}")) for snapshot in taken]
            intent = lines(hosts, host, f"zfs get -Hp -s local -o value zrep:inprogress {name}")
            found[f"{host} {name}"] = {
                "properties": rows,
                "own": own,
                "files": hosts[host].read(name) if "type\tfilesystem" in rows else None,
                "newest": hosts[host].read(f"{name}@{taken[-1]}") if taken else None,
                "held": sum(held),
                "intent": [text for text in intent if text],
            }
    return found


def cron(hosts: Hosts) -> None:
    for host in ROOT:
        hosts.wire.reset()
        hosts.run(host, SYNC_ALL)
