"""Locks: many at once, as `zrep sync all` holds them in several threads, and one that is granted to a stream."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from zrep.core.errors import BusyError, RefusedError, ZrepError
from zrep.core.requests import Lock, Unlock
from zrep.core.settings import Settings
from zrep.host import quiesce, slots
from zrep.host.guard import receive_lock
from zrep.host.local import LocalHost
from zrep.host.locks import Locks
from zrep.host.streams import RECEIVE_BUSY, RECEIVE_NOT_ADMITTED, Admission, under_locks


def test_a_lock_may_go_while_another_thread_starts_a_command(tmp_path: Path) -> None:
    """The command inherits what is held when it starts: no descriptor of that may close under it."""
    host = LocalHost(directory=str(tmp_path))
    names = tuple(f"tank/{number}" for number in range(300))
    assert host.ask(Lock(names, 0.0)) == []
    failed: list[ZrepError] = []

    def work() -> None:
        while host.locks.descriptors():
            try:
                host.run(("true",))
            except ZrepError as error:
                failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for name in names:
        host.ask(Unlock((name,)))
        threading.Event().wait(0.001)
    for thread in threads:
        thread.join()
    assert failed == []
    assert host.ask(Lock(names, 0.0)) == []  # unlocked they are, closed or not
    host.close()


def test_more_locks_than_the_usual_number_of_open_files(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3000:
        pytest.skip(f"at most {hard} open files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        host = LocalHost(directory=str(tmp_path))
        assert host.ask(Lock(tuple(f"tank/{number}" for number in range(1000)), 0.0)) == []
        host.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


Lent = tuple[str, str]
NAME = "tank/a b"


def receive(granted: Lent) -> subprocess.CompletedProcess[str]:
    """What happens on the replica to a stream, with a program that says what it was given in the place of zfs."""
    argv = under_locks([Admission(("cat",), *granted)], marked=False)
    return subprocess.run(argv, input="stream", capture_output=True, text=True, check=False, timeout=20)


@pytest.fixture
def locks(tmp_path: Path) -> Locks:
    held = Locks(str(tmp_path))
    held.take(NAME, 0.0)
    return held


def test_a_stream_is_received_under_the_lock_that_is_lent_to_it(locks: Locks) -> None:
    done = receive(locks.grant(NAME))
    assert (done.returncode, done.stdout) == (0, "stream")
    locks.revoke(NAME, 0.0)


def test_nothing_is_received_while_another_receives(locks: Locks) -> None:
    granted = locks.grant(NAME)
    locks.revoke(NAME, 0.0)
    assert receive(granted).returncode == RECEIVE_BUSY


def test_a_stream_that_comes_after_another_run_took_the_lock_is_refused(locks: Locks, tmp_path: Path) -> None:
    granted = locks.grant(NAME)
    locks.drop_all()
    other = Locks(str(tmp_path))
    other.take(NAME, 0.0)
    other.drop_all()
    assert (receive(granted).returncode, receive(granted).stdout) == (RECEIVE_NOT_ADMITTED, "")


def test_a_ticket_is_for_one_stream(locks: Locks) -> None:
    first = locks.grant(NAME)
    second = locks.grant(NAME)
    assert receive(first).returncode == RECEIVE_NOT_ADMITTED
    assert receive(second).returncode == 0


def test_a_stream_whose_zrep_has_ended_is_refused(tmp_path: Path) -> None:
    """Its other lock has gone with it: anybody may have made the replica a master since, and left no trace here."""
    program = (
        "import sys; from zrep.host.locks import Locks; locks = Locks(sys.argv[1]); locks.take(sys.argv[2], 0.0); "
        "print(*locks.grant(sys.argv[2]), sep='\\n', flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", program, str(tmp_path), NAME]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as lender:
        assert lender.stdout
        granted = lender.stdout.readline().strip("\n"), lender.stdout.readline().strip("\n")
        assert receive(granted).returncode == 0
    assert receive(granted).returncode == RECEIVE_NOT_ADMITTED


def test_a_lock_file_that_was_removed_after_it_was_lent_admits_nothing(locks: Locks) -> None:
    """By a cleaner of /var/run: who locks its successor locks something else."""
    granted = locks.grant(NAME)
    Path(granted[0]).unlink()
    assert receive(granted).returncode == RECEIVE_NOT_ADMITTED
    assert receive(locks.grant(NAME)).returncode == 0


def test_a_lock_file_that_was_removed_before_it_is_lent_is_made_anew(locks: Locks) -> None:
    Path(locks.receive_path(NAME)).unlink()
    assert receive(locks.grant(NAME)).returncode == 0


def test_nothing_is_lent_of_what_is_not_locked(tmp_path: Path) -> None:
    with pytest.raises(BusyError):
        Locks(str(tmp_path)).grant(NAME)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_who_receives_may_be_another_user_than_who_has_the_lock() -> None:
    """As behind a sudo in place of zrep; a process of another user cannot be signalled, but is there."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        locks = Locks(folder)
        locks.take(NAME, 0.0)
        path, ticket = locks.grant(NAME)
        Path(path).chmod(0o666)
        argv = under_locks([Admission(("cat",), path, ticket)], marked=False)
        done = subprocess.run(argv, input="stream", capture_output=True, text=True, check=False, user=65534)
    assert (done.returncode, done.stdout) == (0, "stream"), done.stderr


def test_nobody_else_may_open_what_is_locked(tmp_path: Path) -> None:
    """Whoever may open a lock's file may lock it, and stop replication."""
    settings = Settings(run_directory=str(tmp_path))
    (tmp_path / "zrep").mkdir(mode=0o755)
    (tmp_path / "zrep" / "tank%old.lock").touch(mode=0o644)
    locks = Locks(settings=settings)
    for name in ("tank/a", "tank/old"):
        locks.take(name)
    assert (tmp_path / "zrep").stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "zrep").iterdir()}
    assert set(modes.values()) == {0o600}
    locks.drop_all()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_directory_of_another_user_holds_no_locks(tmp_path: Path) -> None:
    (tmp_path / "zrep").mkdir()
    os.chown(tmp_path / "zrep", 65534, 65534)
    with pytest.raises(RefusedError, match="cannot hold the locks"):
        Locks(settings=Settings(run_directory=str(tmp_path))).take("tank/a")


def test_a_directory_that_others_may_write_holds_no_locks(tmp_path: Path) -> None:
    """Unless it is like /tmp: there nobody can put another one in its place."""
    tmp_path.chmod(0o777)
    with pytest.raises(RefusedError) as refused:
        Locks(settings=Settings(run_directory=str(tmp_path))).take("tank/a")
    assert f"{tmp_path} has mode 777" in refused.value.line()
    tmp_path.chmod(0o1777)
    Locks(settings=Settings(run_directory=str(tmp_path))).take("tank/a")


def test_nothing_that_was_planted_is_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "other").mkdir(mode=0o755)
    (tmp_path / "zrep").symlink_to(tmp_path / "other")
    with pytest.raises(RefusedError, match="cannot hold the locks"):
        Locks(settings=Settings(run_directory=str(tmp_path))).take("tank/a")
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o755
    locks = Locks(str(tmp_path / "other"))
    path = tmp_path / "other" / "tank%a.receive"
    for plant in (partial(os.link, victim), partial(os.symlink, victim), os.mkfifo):
        plant(path)
        with pytest.raises(RefusedError, match="cannot lock"):
            locks.take("tank/a", 0.0)
        assert victim.read_text() == "precious"
        path.unlink()
    locks.drop_all()


def _turn(folder: Path) -> None:
    with quiesce.turn(LocalHost(directory=str(folder))):
        pass


def _slot(folder: Path) -> None:
    slots.take(f"{folder}/{SLOTS}", 1)


def _lock(folder: Path) -> None:
    locks = Locks(str(folder))
    try:
        locks.take("tank/a", 0.0)
    finally:
        locks.drop_all()


SLOTS = "gate-1.slots"
TAKEN = [(_lock, "tank%a.lock"), (_lock, "tank%a.receive"), (_slot, SLOTS), (_turn, "snapshots")]


@pytest.mark.parametrize(("take", "name"), TAKEN, ids=[name for _, name in TAKEN])
def test_no_lock_of_any_kind_is_a_link(tmp_path: Path, take: Callable[[Path], None], name: str) -> None:
    victim, path = tmp_path / "victim", tmp_path / name
    for plant in (partial(os.symlink, victim), partial(os.link, victim), os.mkfifo):
        victim.write_text("precious")
        plant(path)
        with pytest.raises((RefusedError, OSError)):
            take(tmp_path)
        assert victim.read_text() == "precious"
        victim.unlink()
        path.unlink()
        path.symlink_to(victim)
        with pytest.raises((RefusedError, OSError)):
            take(tmp_path)
        assert not victim.exists()
        path.unlink()
    take(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize(("take", "name"), TAKEN, ids=[name for _, name in TAKEN])
def test_nothing_is_locked_that_another_user_has_put_there(
    tmp_path: Path, take: Callable[[Path], None], name: str
) -> None:
    """The directory was open to all before zrep narrowed it: he still has his file open, and may lock it when he
    likes."""
    (tmp_path / name).touch()
    os.chown(tmp_path / name, 65534, 65534)
    with pytest.raises((RefusedError, OSError)) as refused:
        take(tmp_path)
    error = refused.value
    said = error.line() if isinstance(error, RefusedError) else str(error)
    assert "it belongs to the user 65534" in said
    assert name == SLOTS or said.endswith(f"; next: look at it, and remove it: rm {tmp_path / name}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_has_locks_of_his_own_beside_those_of_root() -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        settings = Settings(run_directory=folder, user="backup")
        root = Locks(settings=settings)
        root.take(NAME)
        own = Path(folder) / "zrep-65534"
        try:
            os.seteuid(65534)
            with pytest.raises(RefusedError) as refused:
                Locks(settings=settings).take(NAME)
            assert refused.value.advice.startswith(f"as root: install -d -m 700 -o backup {own}, or")
            os.seteuid(0)
            own.mkdir(mode=0o700)
            os.chown(own, 65534, 65534)
            os.seteuid(65534)
            his = Locks(settings=settings)
            his.take(NAME)
        finally:
            os.seteuid(0)
        assert (root.directory, his.directory) == (f"{folder}/zrep", str(own))
        his.drop_all()
        root.drop_all()


def test_no_stream_is_let_in_by_a_link_in_the_place_of_a_receive_lock(tmp_path: Path) -> None:
    """Even where it leads to one that is granted."""
    locks = Locks(str(tmp_path))
    locks.take("tank/a", 0.0)
    path, token = locks.grant("tank/a")
    link = tmp_path / "link"
    link.symlink_to(path)
    assert receive_lock(str(link), token) == (-1, RECEIVE_NOT_ADMITTED)
    lock, status = receive_lock(path, token)
    assert status == 0
    os.close(lock)
    locks.drop_all()
