"""For tests of faults: zrep stopped at a certain point, what a person must be told, and when a pair is whole."""

from __future__ import annotations

import shlex
import subprocess
import time

from tests.lab.hosts import Host, Result
from tests.lab.zrep_on import BUSY, Case, in_step, made, one_line

Hosts = tuple[Host, Host]
Process = subprocess.Popen[str]
CRON = "zrep sync all"
INIT = "zrep init tank/a beta tank/a"
SYNC = "zrep sync tank/a"
FAILOVER = "zrep failover tank/a"
ALONE = "zrep takeover -L -f --yes tank/a"
# Found before the real one, by zrep and by its half on the peer, which then do everything by commands: it stops at the
# points below until /tmp/go is there, at each once. A stream is stopped after 6 MiB have arrived.
TRAP = r"""#!/bin/sh
held() { mkdir "/tmp/held.$1" 2> /dev/null && until [ -e /tmp/go ]; do sleep 0.1; done; }
case "$*" in
    'receive -s '*/a | 'receive -s '*/stream) { head -c 6M; held stream; cat; } | /usr/sbin/zfs "$@"; exit ;;
    *'"phase":"prepare"'*/prepare) held prepare ;;
    *'"phase":"commit"'*/mark) held mark ;;
    *zrep:master=yes*/take) held take ;;
    'promote '*) held promote ;;
esac
exec /usr/sbin/zfs "$@"
"""
TRAP_FILE = "/usr/local/bin/zfs"


def set_trap(*hosts: Host) -> None:
    for host in hosts:
        host.run(f"rm -rf /tmp/held.* /tmp/go {TRAP_FILE}; echo ZREP_LIBRARY=no > /etc/default/zrep; sync")
        host.put(TRAP.encode(), TRAP_FILE, mode="755")


def wait_held(host: Host, point: str) -> None:
    """Until a command on that host is stopped at a point."""
    host.run(f"timeout 60 sh -c 'until [ -d /tmp/held.{point} ]; do sleep 0.1; done'", timeout=70)


def let_go(*hosts: Host) -> None:
    """What is stopped goes on, and nothing is stopped again; zfs is there at every moment."""
    for host in hosts:
        host.run(f"touch /tmp/go; ln -sf /usr/sbin/zfs {TRAP_FILE}.real && mv -T {TRAP_FILE}.real {TRAP_FILE}")


def started(host: Host, command: str) -> Process:
    """A zrep that runs; its process id is in /tmp/pid."""
    return host.popen(f"echo $$ > /tmp/pid; exec {command}")


def in_stream(sender: Host, receiver: Host, command: str) -> Process:
    """A zrep that runs and whose stream is half received, with that half on the receiver's disk."""
    set_trap(receiver)
    run = started(sender, command)
    wait_held(receiver, "stream")
    receiver.run("sleep 0.5; zpool sync")
    return run


def ended(run: Process) -> Result:
    out, err = run.communicate(timeout=120)
    return Result(run.returncode, out, err)


def told(done: Result, code: int, says: str) -> None:
    """It ended with this exit code and one line; only of busy that says nothing of what to do."""
    one_line(done, Case("", "", code, says, advises=code != BUSY))


def tells(host: Host, command: str, code: int, says: str) -> None:
    told(host.run(command, check=False, timeout=120), code, says)


def again(host: Host, command: str, seconds: float = 180) -> None:
    """Run once more: it may be busy for a while (exit 4), and then succeeds silently."""
    give_up = time.monotonic() + seconds
    done = host.run(command, check=False, timeout=120)
    while done.rc == BUSY and time.monotonic() < give_up:
        time.sleep(1)
        done = host.run(command, check=False, timeout=120)
    assert (done.rc, done.out, done.err) == (0, "", ""), done


ROLE = "zrep:master", "readonly", "zrep:gen", "zrep:epoch", "zrep:inprogress", "receive_resume_token"
NOTHING = {"", "-"}


def role(host: Host, filesystem: str) -> dict[str, str]:
    values = host.run(f"zfs get -H -o property,value {','.join(ROLE)} {filesystem}").lines
    return dict(line.split("\t") for line in values)


def digest(host: Host, filesystem: str) -> list[str]:
    """The sha256 of each file in the newest snapshot, mounted or not."""
    return host.run(
        f"snap=$(zfs list -H -o name -t snapshot -d 1 -s createtxg {filesystem} | tail -n 1) && mkdir -p /mnt/look && "
        'mount -t zfs "$snap" /mnt/look && (cd /mnt/look && find . -type f | sort | xargs sha256sum); umount /mnt/look'
    ).lines


def whole(master: Host, replica: Host, filesystem: str = "tank/a") -> None:
    """A healthy pair in step: one master, the same data on both sides, nothing unfinished."""
    ours, theirs = role(master, filesystem), role(replica, filesystem)
    assert (ours["zrep:master"], ours["readonly"]) == ("yes", "off"), ours
    assert (theirs["zrep:master"], theirs["readonly"], theirs["receive_resume_token"]) == ("no", "on", "-"), theirs
    assert (ours["zrep:gen"], ours["zrep:epoch"]) == (theirs["zrep:gen"], theirs["zrep:epoch"])
    assert {ours["zrep:inprogress"], theirs["zrep:inprogress"]} <= NOTHING, (ours, theirs)
    assert in_step(master, filesystem, replica, filesystem)
    found = digest(master, filesystem)
    assert found
    assert found == digest(replica, filesystem)


def may_write(host: Host, filesystem: str = "tank/a") -> bool:
    return host.run(f"touch /{filesystem}/probe", check=False).rc == 0


def base(host: Host, other: Host, filesystem: str = "tank/a") -> str:
    """The short name, on `host`, of the newest snapshot that both have."""
    command = f"zfs list -H -o guid,name -t snapshot -d 1 -s createtxg {filesystem}"
    there = {line.split("\t")[0] for line in other.run(command).lines}
    return [line.partition("@")[2] for line in host.run(command).lines if line.split("\t")[0] in there][-1]


def big(host: Host, mebibytes: int, path: str = "/tank/a/big") -> None:
    host.run(f"head -c {mebibytes}M /dev/urandom > {path}; zpool sync")


def text(host: Host, words: str, path: str = "/tank/a/file") -> None:
    host.run(f"echo {shlex.quote(words)} > {path}")


def replicated(hosts: Hosts) -> Hosts:
    """tank/a on alpha, replicated to beta."""
    alpha, _ = hosts
    made(alpha, "tank/a")
    alpha.run(INIT)
    return hosts
