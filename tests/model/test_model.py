"""The model itself: two hosts in process, the same as programs on PATH, many processes at once, and its counters."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.model import Host, Receive, Result, World
from tests.model.programs import environment
from tests.waiting import wait_for


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def alpha(world: World) -> Host:
    host = world.host("alpha")
    host.sh("zfs create tank/a")
    host.write("tank/a", "file", b"one")
    host.sh("zfs snapshot tank/a@1")
    return host


@pytest.fixture
def beta(world: World) -> Host:
    return world.host("beta")


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "world")
    yield world
    world.close()


def shell(world: World, line: str, host: str = "alpha") -> subprocess.CompletedProcess[str]:
    env = environment(world, host)
    return subprocess.run(["/bin/sh", "-c", line], env=env, capture_output=True, text=True, timeout=60, check=False)


def test_a_replica_has_the_snapshot_and_its_content(alpha: Host, beta: Host) -> None:
    beta.sh("zfs receive -u tank/b", alpha.sh("zfs send tank/a@1"))
    guid = "zfs get -H -p -o value guid "
    assert beta.sh(guid + "tank/b@1") == alpha.sh(guid + "tank/a@1")
    assert beta.read("tank/b") == {"file": b"one"}
    assert beta.sh("zfs get -H -p -o value mounted tank/b") == b"no\n"


def test_a_torn_stream_is_resumed(alpha: Host, beta: Host) -> None:
    beta.sh("zfs receive tank/b", alpha.sh("zfs send tank/a@1"))
    for number in range(10):
        alpha.write("tank/a", f"file{number}", b"x" * 100)
    alpha.sh("zfs snapshot tank/a@2")
    sent = alpha.sh("zfs send -i @1 tank/a@2")
    torn = beta.run(["zfs", "receive", "-s", "tank/b"], sent[: len(sent) // 2])
    assert torn.rc == 1
    assert b"Partially received snapshot is saved." in torn.err
    token = beta.sh("zfs get -H -p -o value receive_resume_token tank/b").decode().strip()
    beta.sh("zfs receive -s tank/b", alpha.sh(f"zfs send -t {token}"))
    assert beta.read("tank/b") == alpha.read("tank/a")


def test_a_snapshot_taken_while_a_stream_is_under_way_makes_it_fail(alpha: Host, beta: Host) -> None:
    beta.sh("zfs receive -u tank/b", alpha.sh("zfs send tank/a@1"))
    alpha.write("tank/a", "file", b"two")
    alpha.sh("zfs snapshot tank/a@2")
    sent = alpha.sh("zfs send -i @1 tank/a@2")
    receive = beta.start_receive(["zfs", "receive", "tank/b"], sent)
    assert isinstance(receive, Receive)
    beta.sh("zfs snapshot tank/b@promoted")
    assert beta.finish_receive(receive, sent).rc == 1
    assert beta.run(["zfs", "receive", "tank/b"], sent) == Result(0)  # a bare snapshot does not stop the next


def test_commands_and_transaction_groups_are_counted(alpha: Host) -> None:
    alpha.reset_counters()
    alpha.sh("zfs create tank/c")
    before = alpha.txg_waits()
    alpha.sh("zfs snapshot tank/a@2 tank/c@2")
    assert alpha.txg_waits() == before + 1
    alpha.sh("zfs hold tag tank/a@2 tank/c@2")
    assert alpha.txg_waits() == before + 3
    alpha.sh("zfs set zrep:a=1 zrep:b=2 tank/a tank/c")
    assert alpha.txg_waits() == before + 5
    alpha.sh("zfs get -H -p all tank/a")
    assert alpha.txg_waits() == before + 5
    assert [words[1] for words in alpha.commands] == ["create", "snapshot", "hold", "set", "get"]


def test_a_crash_loses_what_no_transaction_group_had(alpha: Host) -> None:
    alpha.write("tank/a", "first", b"", flushed=False, fsync=True)  # makes the intent log, which closes a group
    alpha.sh("zfs snapshot tank/a@2")
    alpha.write("tank/a", "lost", b"", flushed=False)
    alpha.write("tank/a", "synced", b"", flushed=False, fsync=True)
    assert alpha.sh("zfs get -H -p -o value written tank/a") == b"0\n"
    alpha.crash()
    alpha.mount_all()
    assert set(alpha.read("tank/a")) == {"file", "first", "synced"}


def test_a_full_pool_refuses_a_snapshot(alpha: Host) -> None:
    alpha.set_pool("tank", full=True)
    assert b"out of space" in alpha.run(["zfs", "snapshot", "tank/a@2"]).err


def test_a_copy_of_the_world_goes_its_own_way(world: World, alpha: Host) -> None:
    copy = world.clone()
    assert copy.view() == world.view()
    copy.host("alpha").sh("zfs snapshot tank/a@2")
    assert copy.view() != world.view()
    assert alpha.run(["zfs", "get", "-H", "-p", "guid", "tank/a@2"]).rc == 1


def test_a_command_can_be_made_to_fail_or_to_lose_its_answer(alpha: Host) -> None:
    alpha.fail("zfs snapshot", rc=1, err="cannot: pool I/O is currently suspended\n")
    alpha.fail("zfs hold", rc=255, applied=True)
    assert alpha.run(["zfs", "snapshot", "tank/a@2"]).rc == 1
    assert alpha.run(["zfs", "hold", "tag", "tank/a@1"]).rc == 255
    assert b"tag" in alpha.sh("zfs holds -H tank/a@1")
    assert alpha.run(["zfs", "snapshot", "tank/a@2"]).rc == 0


@pytest.mark.thorough
def test_the_programs_replicate_over_ssh(shared: World) -> None:
    done = shell(
        shared,
        "set -e; zfs create tank/a; zfs snapshot tank/a@1; "
        "zfs send tank/a@1 | ssh -o BatchMode=yes root@beta zfs receive -u tank/b;"
        "zfs get -Hp -o value guid tank/a@1; ssh beta 'hostname; zfs get -Hp -o value guid tank/b@1'",
    )
    assert done.returncode == 0, done.stderr
    first, host, second = done.stdout.split()
    assert (first, host) == (second, "beta")


@pytest.mark.thorough
def test_ssh_knows_its_hosts_and_their_links(shared: World) -> None:
    assert shell(shared, "ssh beta 'exit 7'").returncode == 7
    unknown = shell(shared, "ssh nosuch true")
    assert unknown.returncode == 255
    assert unknown.stderr.strip() == "ssh: Could not resolve hostname nosuch: Name or service not known"
    shared.cut("alpha", "beta")
    lost = shell(shared, "ssh beta true")
    assert lost.returncode == 255
    assert lost.stderr.strip() == "ssh: connect to host beta port 22: No route to host"
    shared.heal()
    assert shell(shared, "ssh beta true").returncode == 0
    shared.host("beta").power_off()
    assert shell(shared, "ssh beta true").returncode == 255
    shared.host("beta").power_on()
    assert shell(shared, "ssh beta true").returncode == 0


@pytest.mark.thorough
def test_a_session_ends_when_its_link_is_cut(shared: World) -> None:
    options = "-o ServerAliveInterval=1 -o ServerAliveCountMax=1"
    env = environment(shared, "alpha")
    session = subprocess.Popen(["ssh", *options.split(), "beta", "echo up; sleep 20"], env=env, stdout=subprocess.PIPE)
    assert session.stdout
    assert session.stdout.readline() == b"up\n"
    shared.cut("alpha", "beta")
    assert session.wait(10) == 255


@pytest.mark.thorough
def test_a_receive_that_is_killed_leaves_its_token(shared: World) -> None:
    shell(shared, "zfs create tank/a; zfs snapshot tank/a@1; zfs send tank/a@1 | ssh beta zfs receive tank/b")
    for number in range(20):
        shared.host("alpha").write("tank/a", f"file{number}", b"x" * 100)
    shell(shared, "zfs snapshot tank/a@2")
    words = ["zfs", "send", "-i", "@1", "tank/a@2"]
    sent = subprocess.run(words, env=environment(shared, "alpha"), capture_output=True, timeout=60, check=True).stdout
    receive = subprocess.Popen(
        ["zfs", "receive", "-s", "tank/b"], env=environment(shared, "beta"), stdin=subprocess.PIPE
    )
    assert receive.stdin
    receive.stdin.write(sent[: len(sent) // 2])
    receive.stdin.flush()
    wait_for(lambda: "busy" in shell(shared, "zfs receive -A tank/b", "beta").stderr)
    receive.kill()
    receive.wait()
    receive.stdin.close()
    token = shell(shared, "zfs get -H -o value receive_resume_token tank/b", "beta").stdout.strip()
    assert token.startswith("1-")
    resumed = shell(shared, f"zfs send -t {token} | ssh beta zfs receive -s tank/b")
    assert resumed.returncode == 0, resumed.stderr
    assert shared.host("beta").read("tank/b") == shared.host("alpha").read("tank/a")


@pytest.mark.thorough
def test_many_processes_at_once_lose_nothing(shared: World) -> None:
    shell(shared, "zfs create tank/a")
    with ThreadPoolExecutor(8) as pool:
        done = list(
            pool.map(lambda n: shell(shared, f"zfs snapshot tank/a@{n} && zfs set zrep:{n}=x tank/a"), range(24))
        )
    assert [d.returncode for d in done] == [0] * 24
    listed = shell(shared, "zfs list -H -t snapshot -o name tank/a").stdout.split()
    assert len(listed) == 24
    users = shell(shared, "zfs get -H -s local -o property all tank/a").stdout.split()
    assert len([name for name in users if name.startswith("zrep:")]) == 24
