"""What a peer may say that is no answer: one line for a person, an exit code, and no memory without bound."""

from __future__ import annotations

import queue
import shlex
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from zrep.core.errors import BusyError, RefusedError, UnreachableError, UsageError, ZrepError
from zrep.core.requests import Identify, Lock, ReadChildren, Request, RunHooks
from zrep.core.settings import Settings
from zrep.wire import client
from zrep.wire.client import RemoteHost
from zrep.wire.messages import GREETING, PROTOCOL, Answered, Failed, encode, encode_answer

HELLO = encode(GREETING)
LOCK = Lock(("tank/a",), 0)


# Waits for a request; beats are none.
WAIT = """while read -r line; do case "$line" in *'"Ask"'*) break ;; esac; done"""


def peer(tmp_path: Path, said: bytes, *answers: bytes, more: str = "cat > /dev/null") -> RemoteHost:
    """A host whose ssh prints this, then each of the answers after a request, and then does more."""
    lines = ["#!/bin/sh"]
    for number, data in enumerate((said, *answers)):
        path = tmp_path / str(number)
        path.write_bytes(data)
        lines += [WAIT] if number else []
        lines += [f"cat {shlex.quote(str(path))}"]
    script = tmp_path / "ssh"
    script.write_text("\n".join((*lines, more, "")))
    script.chmod(0o755)
    return RemoteHost("beta", Settings(ssh=str(script)))


def refused(host: RemoteHost, request: Request[Any]) -> ZrepError:
    """The error a request ends with; it is the same for the next one."""
    try:
        with pytest.raises(ZrepError) as caught:
            host.ask(request)
        with pytest.raises(ZrepError) as again:
            host.ask(request)
        assert again.value.line() == caught.value.line()
        return caught.value
    finally:
        host.close()


@pytest.mark.parametrize(
    ("said", "answer", "says"),
    [
        (HELLO, b"hello\n", "do not understand each other"),
        (HELLO, b"\xff\n", "do not understand each other"),
        (HELLO, HELLO, "do not understand each other"),
        (HELLO, b"{}\n", "do not understand each other"),
        (HELLO, b'{"id": 1, "result": []}\n', "do not understand each other"),
        (HELLO, encode_answer(1, ["tank/other"]), "not an answer to what was asked"),
        (HELLO, encode_answer(1, "tank/a"), "do not understand each other"),
        (HELLO, encode_answer(1, {"a": 1}), "do not understand each other"),
        (HELLO, b'{"type":"Answered","number":1,"answer":' + b"[" * 100_000 + b"\n", "do not understand each other"),
        (HELLO, b'{"type":"Failed","number":0,"failure":{"kind":"RefusedError","what":"no"}}\n', "no"),
        (b'{"greeting": "zrep-peer", "protocol": 2}\n', b"", f"2 there, {PROTOCOL} here"),
        (b"motd\n" * 5000, b"", "is not this program"),
        (b"x" * 500_000, b"", "is not this program"),
        (b"x" * 500_000 + b"\n" + HELLO, b"", "is not this program"),
    ],
    ids=lambda value: str(value[:40]),
)
def test_nonsense_is_a_refusal(tmp_path: Path, said: bytes, answer: bytes, says: str) -> None:
    error = refused(peer(tmp_path, said, answer), LOCK)
    assert (type(error), error.exit_code) == (RefusedError, 3)
    assert says in error.line()
    assert len(error.line()) < 500


@pytest.mark.parametrize(
    "said", [b"", b"motd\n", HELLO, HELLO + b'{"type":"Answered","number":1,"ans'], ids=lambda said: str(said[-30:])
)
def test_an_end_in_the_middle_is_a_lost_connection(tmp_path: Path, said: bytes) -> None:
    error = refused(peer(tmp_path, said, more="exit 255"), LOCK)
    assert (type(error), error.exit_code) == (UnreachableError, 5)


def test_a_line_without_end_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_BYTES", 100_000)
    error = refused(peer(tmp_path, HELLO, more="exec cat /dev/zero"), LOCK)
    assert "a line that is too long" in error.line()


def test_an_answer_that_would_take_too_much_memory_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lock, "most_weight", 100_000)
    error = refused(peer(tmp_path, HELLO, encode_answer(1, ["a"] * 1500)), LOCK)
    assert "an answer to Lock that is too long: more than 100000 bytes" in error.line()


def test_of_a_second_answer_nothing_is_kept() -> None:
    """It could come before the first was looked at, as often as the peer likes."""
    host = RemoteHost("beta")
    waiting: client._Waiting[Answered | Failed] = queue.SimpleQueue()
    host._waiting[1] = (LOCK, waiting)
    for _ in range(50):
        host._pass_on(encode_answer(1, []).removesuffix(b"\n"))
    assert waiting.qsize() == 1


def test_what_is_said_on_stderr_without_end_is_not_kept(tmp_path: Path) -> None:
    """By the peer, whose words ssh passes on, or by ssh."""
    host = peer(tmp_path, HELLO, more="exec cat /dev/zero >&2")
    assert "too much on stderr" in refused(host, LOCK).line()
    assert len(host._errors) < 2 << 20


def test_what_is_told_is_short(tmp_path: Path) -> None:
    failure = b'{"kind":"RefusedError","what":"%b","evidence":"%b","advice":"%b"}' % ((b"x" * 1_000_000,) * 3)
    host = peer(tmp_path, HELLO, b'{"type":"Failed","number":1,"failure":' + failure + b"}\n")
    with pytest.raises(RefusedError) as caught:
        host.ask(LOCK)
    assert len(caught.value.line()) < 10_000
    host.close()


def test_what_login_files_print_is_skipped(tmp_path: Path) -> None:
    host = peer(tmp_path, b"motd {\n\n" + HELLO, encode_answer(1, []))
    assert host.ask(LOCK) == []
    host.close()


def test_whoever_is_hung_up_on_and_whoever_asks_later_hears_the_reason(tmp_path: Path) -> None:
    host = peer(tmp_path, b"", more="exec sleep 60")
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(host.ask, LOCK)
        while host._child is None:
            time.sleep(0.01)
        host.hang_up(BusyError("the wire is full"))
        error = asked.exception()
    assert isinstance(error, BusyError)
    assert error.what == "the wire is full"
    with pytest.raises(BusyError, match="the wire is full"):
        host.ask(LOCK)
    host.close()


def test_an_error_of_the_peer_is_no_nonsense(tmp_path: Path) -> None:
    failed = (
        b'{"type":"Failed","number":1,"failure":{"kind":"AbsentError","what":"zfs list failed\\u001b[2J",'
        b'"filesystem":"","evidence":"dataset does not exist","advice":""}}\n'
    )
    host = peer(tmp_path, HELLO, failed, encode_answer(2, ["tank/a/b"]))
    with pytest.raises(RefusedError) as caught:
        host.ask(ReadChildren("tank/a"))
    assert caught.value.line() == "zfs list failed?[2J (dataset does not exist)"
    assert host.ask(ReadChildren("tank/a")) == ["tank/a/b"]
    host.close()


def test_what_is_no_text_is_not_asked(tmp_path: Path) -> None:
    host = peer(tmp_path, HELLO, encode_answer(2, []))
    with pytest.raises(UsageError):
        host.ask(RunHooks("x", {"a": "\udc80"}))
    assert host.ask(LOCK) == []
    host.close()


def test_a_peer_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(client, "CONNECT_SECONDS", 0)
    started = time.monotonic()
    assert "fell silent" in refused(peer(tmp_path, HELLO), Identify()).line()
    assert time.monotonic() - started < 10


def test_who_was_held_up_himself_hears_first_what_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a machine has slept: its clock says that nobody was heard of for long."""
    answer = 'sleep 0.5; printf \'{"type":"Answered","number":2,"answer":[]}\\n\'; cat > /dev/null'
    host = peer(tmp_path, HELLO, encode_answer(1, []), b"", more=answer)
    assert host.ask(LOCK) == []
    real = time.monotonic

    def slept() -> float:
        return real() + 3600 * (threading.current_thread() is threading.main_thread())

    monkeypatch.setattr("zrep.wire.client.time.monotonic", slept)
    monkeypatch.setattr(client, "_LAST_LOOK", 60.0)
    assert host.ask(LOCK) == []
    host.close()


def test_one_that_is_there_and_does_not_answer_is_not_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "REQUEST_SECONDS", 0.3)
    assert "takes too long to answer (last heard of" in refused(peer(tmp_path, HELLO), LOCK).line()


def failing(tmp_path: Path, said: str, status: int = 255) -> RemoteHost:
    script = tmp_path / "ssh"
    script.write_text(f"#!/bin/sh\necho {shlex.quote(said)} >&2; exit {status}\n")
    script.chmod(0o755)
    return RemoteHost("beta", Settings(ssh=str(script)))


@pytest.mark.parametrize(
    "reason",
    [
        "Connection closed by 10.0.0.2 port 22",
        "root@beta: Permission denied (publickey).",
        "ssh: connect to host beta port 22: Connection refused",
        "Host key verification failed.",
        "kex_exchange_identification: read: Connection reset by peer",
    ],
)
def test_a_banner_is_not_the_reason(tmp_path: Path, reason: str) -> None:
    banner = "Access is denied to those who were refused, and not found\nverification: see ssh: none"
    error = refused(failing(tmp_path, f"{banner}\n{reason}\nto be continued"), LOCK)
    assert f"({reason})" in error.line()


@pytest.mark.parametrize("folder", ["x" * 100, "missing", "a b", "a%b", 'a"b', "a'b", "${HOME}", "a\\b", "\u00fc"])
def test_the_connection_needs_no_usable_tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """ssh reads the name of its socket as its configuration has it: with words, signs that stand for something else,
    and quotes."""
    with TemporaryDirectory(prefix="t", dir="/tmp") as above:
        for name in ("plain", *((folder,) if folder != "missing" else ())):
            Path(above, name).mkdir()
        for name in (folder, "plain"):
            monkeypatch.setenv("TMPDIR", f"{above}/{name}")
            host = peer(tmp_path, HELLO, encode_answer(1, []))
            assert host.ask(LOCK) == []
            assert (Path(host._directory).parent == Path(above, name)) is (name == "plain")
            host.close()


def test_the_connection_is_nowhere_that_others_could_put_their_own_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a user became root by su, which keeps his TMPDIR: streams would go to whoever listens there."""
    with TemporaryDirectory(prefix="t", dir="/tmp") as theirs:
        Path(theirs).chmod(0o777)
        monkeypatch.setenv("TMPDIR", theirs)
        host = peer(tmp_path, HELLO, encode_answer(1, []))
        assert host.ask(LOCK) == []
        assert Path(host._directory).is_dir()
        assert list(Path(theirs).iterdir()) == []
        host.close()


@pytest.mark.parametrize("bad", ["program", "directory", "link"])
def test_a_program_for_ssh_that_others_could_have_put_there_is_not_run(tmp_path: Path, bad: str) -> None:
    """It would see every stream, as root."""
    folder, ran = tmp_path / "bin", tmp_path / "ran"
    folder.mkdir()
    (folder / "ssh").write_text(f"#!/bin/sh\ntouch {ran}\n")
    (folder / "ssh").chmod(0o777 if bad == "program" else 0o755)
    folder.chmod(0o755 if bad == "program" else 0o777)
    link = tmp_path / "link"
    link.symlink_to(folder / "ssh")
    host = RemoteHost("beta", Settings(ssh=f"{link if bad == 'link' else folder / 'ssh'} -v"))
    error = refused(host, LOCK)
    assert isinstance(error, RefusedError)
    assert f"{'link' if bad == 'link' else 'bin/ssh'} could be from others than root ({folder}" in error.line()
    assert not ran.exists()


def test_no_room_for_the_connection_anywhere_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(prefix: str, dir: str) -> str:  # noqa: A002  # its own word
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(RefusedError, match="no place for the ssh connection") as caught:
        RemoteHost("beta").ask(LOCK)
    assert "No space left on device" in caught.value.line()


def test_a_helper_that_heard_nothing_says_so(tmp_path: Path) -> None:
    error = refused(peer(tmp_path, HELLO, more="cat > /dev/null & exit 75"), LOCK)
    assert (error.exit_code, "it heard nothing of this host for 12 s" in error.line()) == (5, True)


def test_nobody_is_silent_while_streams_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(client, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(client, "BEAT_SECONDS", 0.05)
    script = peer(
        tmp_path,
        HELLO,
        b"",
        more='sleep 1.5; printf \'{"type":"Answered","number":1,"answer":[]}\\n\'; cat > /dev/null',
    )
    moving = iter(range(1000))
    host = RemoteHost("beta", script._settings, moving=lambda: next(moving))
    assert host.ask(LOCK) == []
    host.close()
    still = RemoteHost("beta", script._settings)
    assert "fell silent" in refused(still, LOCK).line()
