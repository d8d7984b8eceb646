"""A wire that is slow, and a peer behind a real ssh that is not what it should be."""

from __future__ import annotations

import time

import pytest

from tests.lab.hosts import Host, Lab
from tests.lab.zrep_on import (
    OK,
    REFUSED,
    UNREACHABLE,
    Case,
    Obstacle,
    in_step,
    made,
    one_line,
    put,
    rows,
    silent,
    unchanged,
)

Hosts = tuple[Host, Host]
A = "tank/a"


@pytest.mark.thorough
class TestSlow:
    def test_what_fills_the_wire_arrives_and_status_says_so(self, lab: Lab, hosts: Hosts) -> None:
        alpha, beta = hosts
        names = [f"tank/p{number}" for number in range(3)]
        for name in names:
            made(alpha, name)
            alpha.run(f"zrep init {name} beta {name}")
        for name in names:
            alpha.run(f"head -c 400000 /dev/urandom > /{name}/more")
        alpha.run("zpool sync")
        started = time.monotonic()
        alpha.run("zrep status")
        alone = time.monotonic() - started
        lab.slow(beta, delay="300ms", rate="500kbit")
        # A queue as of a modem: what does not fit into two seconds is dropped.
        beta.run("tc qdisc replace dev ifb0 root tbf rate 500kbit burst 8kb latency 2000ms")
        running = alpha.popen("zrep sync all")
        time.sleep(10)
        while running.poll() is None:
            started = time.monotonic()
            status = alpha.run("zrep status", check=False)
            took = time.monotonic() - started
            assert took < 15 + alone, (took, alone, status)  # 3 s on a quiet machine; it was 32 s
            assert status.rc == OK or (status.rc, "the wire to beta is full" in status.out) == (4, True), status
        assert running.wait(timeout=240) == 0, running.communicate()
        lab.heal()
        assert all(in_step(alpha, name, beta, name) for name in names)


HELLO = 'printf \'{"greeting":"zrep-peer","protocol":%s}\\n\''
# What stands where beta's zrep should: a script for sh. P is the protocol of both.
PEERS = [
    Case("another program", "echo hello; exit 0", REFUSED, "is not this program"),
    Case(
        "escape codes",
        "printf '\\033[2J\\033]0;x\\007\\n' >&2; exit 1",
        REFUSED,
        r"is not this program \(\?\[2J\?\]0;x\?\)",
    ),
    Case("a protocol of tomorrow", HELLO % 99 + "; cat > /dev/null", REFUSED, "another protocol"),
    Case("an answer that is none", HELLO % "P" + "; read x; echo '{}'; cat > /dev/null", REFUSED, "do not understand"),
    Case("a line without an end", HELLO % "P" + "; tr '\\0' x < /dev/zero", REFUSED, "a line that is too long"),
    Case("no greeting, for ever", "tr '\\0' x < /dev/zero", REFUSED, "is not this program"),
    Case("it dies at once", HELLO % "P" + "; exit 1", UNREACHABLE, "lost beta", advises=False),
    Case("it is killed", HELLO % "P" + "; read x; kill -9 $$", UNREACHABLE, "(lost|cannot reach) beta", advises=False),
    Case("it falls silent", HELLO % "P" + "; exec sleep 300", UNREACHABLE, "beta fell silent", advises=False),
]


# What beta tells whoever comes: before he is let in, and in the shell that starts zrep there.
_TOLD = "Access is denied to those who were refused or not found; verification: see ssh: none"
_HEARD = "kill -HUP $(cat /run/sshd.pid); until ssh-keyscan -t ed25519 beta 2>&- | grep -q .; do sleep 0.1; done"
BANNER = Obstacle(
    "beta",
    f"echo '{_TOLD}' > /etc/banner; echo Banner /etc/banner > /etc/ssh/sshd_config.d/banner.conf; "
    f"cp /root/.bashrc /root/.bashrc.away; sed -i '1i echo \"{_TOLD}\" >&2' /root/.bashrc; {_HEARD}",
    f"rm /etc/banner /etc/ssh/sshd_config.d/banner.conf; mv /root/.bashrc.away /root/.bashrc; {_HEARD}",
)


def away(path: str) -> Obstacle:
    return Obstacle("beta", f"mv {path} {path}.away", f"mv {path}.away {path}")


# What is wrong behind such words.
BEHIND = [
    Case(
        "a real denial",
        f"zrep sync {A}",
        UNREACHABLE,
        r"cannot reach beta \([^( ]*beta: Permission denied \(publickey\)\.\)",
        obstacle=away("/root/.ssh/authorized_keys"),
    ),
    Case(
        "no zrep there",
        f"zrep sync {A}",
        REFUSED,
        r"zrep was not found on beta(?!.*Access)",
        obstacle=away("/usr/local/bin/zrep"),
    ),
    # It says nothing, so that this is all that was heard.
    Case("it ends at once", f"ZREP_PATH=/bin/false zrep sync {A}", REFUSED, "beta is not this program"),
]


class TestPeer:
    """One pair, which no test changes."""

    @pytest.fixture(scope="class")
    @classmethod
    def linked(cls, lab: Lab) -> Lab:
        lab.reset()
        made(lab.alpha, A)
        lab.alpha.run(f"zrep init {A} beta {A}")
        return lab

    @rows(PEERS)
    def test_it_is_one_line_and_nothing_else(self, linked: Lab, case: Case) -> None:
        alpha, beta = linked.alpha, linked.beta
        protocol = alpha.run("/opt/zrep/bin/python -c 'from zrep.wire.messages import PROTOCOL; print(PROTOCOL)'").out
        script = case.command.replace('"protocol":P', f'"protocol":{protocol.strip()}')
        beta.put(f"#!/bin/sh\n{script}\n".encode(), "/root/bad", mode="755")
        measured = (
            "import resource, subprocess, sys; code = subprocess.run(['zrep', 'sync', 'tank/a']).returncode; "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
        )
        with unchanged(linked):
            done = alpha.run(f'ZREP_PATH=/root/bad python3 -c "{measured}"', check=False, timeout=120)
        assert int(done.out) < 600 << 10  # of 256 MiB that an answer may have
        one_line(type(done)(done.rc, "", done.err), case)
        assert not alpha.run("ls /tmp", check=False).out.count("zrep-bug")

    def test_words_before_the_session_are_not_the_reason(self, linked: Lab) -> None:
        """Those of sshd's banner and of a login's shell, with every word that a refusal has."""
        alpha = linked.alpha
        with put(linked, BANNER):
            assert alpha.run("ssh beta true").err.count(_TOLD) == 2
            silent(alpha, "zrep sync all")
            assert alpha.run(f"zrep status -H -o state {A}").out == "ok\n"
            for case in BEHIND:
                with put(linked, case.obstacle):
                    done = alpha.run(case.command, check=False)
                one_line(done, case)
        silent(alpha, "zrep sync all")

    def test_afterwards_all_is_well(self, linked: Lab) -> None:
        silent(linked.alpha, "zrep sync all")

    def test_a_filter_that_is_not_there_is_named(self, linked: Lab) -> None:
        alpha = linked.alpha
        made(alpha, "tank/f")
        done = alpha.run("ZREP_OUTFILTER=squeeze zrep init tank/f beta tank/f", check=False)
        assert (done.rc, "squeeze >> /etc/zrep/filters; on beta: mkdir" in done.err) == (REFUSED, True), done
        for each in linked:
            each.run("mkdir -p /etc/zrep; echo squeeze > /etc/zrep/filters")
        for name, where in (("ZREP_OUTFILTER", "here"), ("ZREP_INFILTER", "on beta")):
            done = alpha.run(f"{name}=squeeze zrep init tank/f beta tank/f", check=False)
            assert (done.rc, f"the filter program squeeze is not installed {where}" in done.err) == (REFUSED, True), (
                done
            )
            assert "tank/f" not in alpha.run("zrep list -H -o name").out
        # What is no plain program is not looked for before; its stream says it.
        for each in linked:
            each.run("echo 'exec squeeze' > /etc/zrep/filters")
        for name, host in (("ZREP_OUTFILTER", "alpha"), ("ZREP_INFILTER", "beta")):
            done = alpha.run(f"{name}='exec squeeze' zrep init tank/f beta tank/f{host}", check=False)
            assert done.rc == REFUSED, done
            assert "squeeze" in done.err, done
            alpha.run("zrep clear -L tank/f")
        for each in linked:
            each.run("rm /etc/zrep/filters")

    def test_tmpdir_is_no_obstacle(self, linked: Lab) -> None:
        alpha = linked.alpha
        long = "/tmp/" + "x" * 200
        alpha.run(f"mkdir {long}")
        for folder in (long, "/missing", "/proc"):
            silent(alpha, f"TMPDIR={folder} zrep sync {A}")
