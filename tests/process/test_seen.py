"""What real runs show on a terminal of a locale without UTF-8, and what the hooks of contrib/hooks make of a real run
of cron's; ZFS is the model's."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.model import World
from tests.process.program import Program
from tests.web import Server, listening

pytestmark = pytest.mark.thorough

LONG = "tank/customers/north/accounting/ledger-2026"
REASON = "Büro zieht um"
HOOKS = Path(__file__).parents[2] / "contrib/hooks"
HOST = os.uname().nodename


def shown(words: list[str], env: dict[str, str]) -> tuple[int, bytes]:
    """The exit status and what a terminal of 80 columns got."""
    own, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    child = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *words], env=env, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    found = b""
    give_up = time.monotonic() + 240
    while select.select([own], [], [], max(0.0, give_up - time.monotonic()))[0]:
        try:
            found += os.read(own, 65536)
        except OSError:  # it has ended
            break
    os.close(own)
    return child.wait(60), found


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Program]:
    """One with long names, one that is paused for a reason that is not ASCII."""
    folder = tmp_path_factory.mktemp("hosts")
    world = World(folder / "world")
    program = Program(world, folder)
    alpha = world.host("alpha")
    alpha.sh(f"zfs create -p {LONG}")
    alpha.sh("zfs create tank/a")
    for words in (
        ("init", LONG, "beta", "tank/replicas/of/customers/north/accounting/ledger-2026"),
        ("init", "tank/a", "beta", "tank/b"),
        ("pause", "tank/a", "--reason", REASON),
    ):
        done = program.run("alpha", *words)
        assert done.returncode == 0, done.stderr
    return world, program


@pytest.fixture(scope="module")
def latin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a real German locale of before UTF-8; where its sources are not installed, what makes Python
    write as in one."""
    folder = tmp_path_factory.mktemp("locales")
    if shutil.which("localedef") and Path("/usr/share/i18n/locales/de_DE").exists():
        words = ["localedef", "-c", "-i", "de_DE", "-f", "ISO-8859-1", str(folder / "de_DE.ISO-8859-1")]
        subprocess.run(words, capture_output=True, timeout=60, check=False)
    if (folder / "de_DE.ISO-8859-1").exists():
        return {"LOCPATH": str(folder), "LANG": "de_DE.ISO-8859-1"}
    return {"LANG": "C", "PYTHONIOENCODING": "iso-8859-1"}


@pytest.mark.parametrize("locale", ["C", "LANG=C", "latin", "not installed"])
def test_a_terminal_without_utf_8_gets_what_it_can_show(
    pairs: tuple[World, Program], latin: dict[str, str], locale: str
) -> None:
    """zrep's own words are ASCII there; what a person wrote comes as the terminal has it."""
    world, program = pairs
    with world.transaction() as state:
        state.record_delay = 0.2  # a stream that lasts long enough to be drawn
    own = {
        "C": {"LC_ALL": "C"},
        "LANG=C": {"LANG": "C"},
        "latin": latin,
        "not installed": {"LANG": "de_DE.ISO-8859-1", "LOCPATH": "/missing"},
    }[locale]
    for words, says in (
        (("list",), ["tank/a", "...", "paused"]),
        (("status",), ["tank/a", "...", "paused"]),
        (("sync", "-v", LONG), [LONG]),
    ):
        for number in range(4):
            world.host("alpha").write(LONG, str(number), os.urandom(3))
        argv, env = program.command("alpha", *words)
        env = {name: value for name, value in env.items() if name not in ("LC_ALL", "LANG", "LC_CTYPE", "PYTHONUTF8")}
        code, found = shown(argv, {**env, "TERM": "xterm", **own})
        assert code == 0, found
        reason = REASON.encode("iso-8859-1" if locale == "latin" else "utf-8")
        assert found.replace(reason, b"").isascii(), (words, found)
        for text in says:
            assert text.encode() in found, (words, text, found)
        assert (reason in found) == (words[0] != "sync"), (words, found)


@pytest.mark.parametrize("form", ["--json", "--html", "--html --output"])
def test_what_programs_read_is_utf_8_in_every_locale(
    pairs: tuple[World, Program], latin: dict[str, str], tmp_path: Path, form: str
) -> None:
    _, program = pairs
    page = tmp_path / "page.html"
    argv, env = program.command("alpha", "status", *form.split(), *([str(page)] if "output" in form else []))
    env = {name: value for name, value in env.items() if name not in ("LC_ALL", "LANG", "LC_CTYPE", "PYTHONUTF8")}
    done = subprocess.run(argv, env={**env, **latin}, capture_output=True, timeout=120, check=True)
    assert REASON in (page.read_bytes() if "output" in form else done.stdout).decode()


# --- hooks ---


@pytest.fixture
def server() -> Iterator[Server]:
    with listening() as made:
        yield made


def test_the_hooks_tell_of_a_peer_that_is_down_and_of_its_return(tmp_path: Path, server: Server) -> None:
    """By what cron runs, with nothing else in their environment than zrep gives them and who installed them."""
    world = World(tmp_path / "world")
    program = Program(world, tmp_path)
    world.host("alpha").sh("zfs create tank/a")
    assert program.run("alpha", "init", "tank/a", "beta", "tank/b").returncode == 0
    hooks, programs = tmp_path / "hooks.d", tmp_path / "programs"
    shutil.copytree(HOOKS, hooks)
    for path in (hooks / "ping", hooks / "webhook"):
        url = f"http://127.0.0.1:{server.server_port}/{path.name}"
        text = path.read_text()
        path.write_text(
            text.replace("${URL:-https://hc-ping.com/UUID}", url).replace("${URL:-https://example.com/zrep}", url)
        )
    programs.mkdir()
    for name in ("mail", "mosquitto_pub"):
        (programs / name).write_text(f'#!/bin/sh\n{{ printf "%s\\n" "$@"; cat; }} >> {tmp_path}/{name}.said\n')
        (programs / name).chmod(0o755)

    def cron() -> subprocess.CompletedProcess[str]:
        words, env = program.command("alpha", "sync", "all")
        env |= {"ZREP_HOOKS": str(hooks), "PATH": f"{programs}:{env['PATH']}"}
        return subprocess.run(
            words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
        )

    world.cut("alpha", "beta")
    runs = [cron(), cron()]
    world.heal()
    runs.append(cron())
    assert [run.returncode for run in runs] == [5, 5, 0]
    trouble, silence, over = (run.stderr.removeprefix("zrep: ").rstrip("\n") for run in runs)
    assert silence == ""
    what = "cannot reach beta"
    assert what in trouble
    assert over.startswith(f"{what}: over after ")
    assert [(path, parse_qs(body)) for path, body in server.heard if path == "/webhook"] == [
        ("/webhook", {"host": [HOST], "event": ["trouble"], "fs": ["tank/a"], "text": [trouble]}),
        ("/webhook", {"host": [HOST], "event": ["over"], "text": [over]}),
    ]
    assert [told for told in server.heard if "ping" in told[0]] == [("/ping/fail", trouble), ("/ping", over)]
    assert (tmp_path / "mail.said").read_text().splitlines() == [
        "-s", f"zrep on {HOST}: trouble: {what}", "root", trouble, "-s", f"zrep on {HOST}: over: {what}", "root", over,
    ]  # fmt: skip
    assert (tmp_path / "mosquitto_pub.said").read_text().splitlines() == [
        "-h", "localhost", "-t", f"zrep/{HOST}/trouble", "-m", trouble,
        "-h", "localhost", "-t", f"zrep/{HOST}/over", "-m", over,
    ]  # fmt: skip


# --- what tired people type ---


@pytest.mark.parametrize(
    ("typed", "code", "says"),
    [
        ("help", 0, "Usage: zrep "),
        ("help sync", 0, "Usage: zrep sync "),
        ("--help sync", 0, "Usage: zrep sync "),
        ("synk all", 2, "Did you mean 'sync'?"),
        ("status tank/a/", 0, "paused"),
        ("list all", 0, "paused"),
        ("status all", 0, "paused"),
        ("failover all", 2, "zrep list -H -o name prints the names"),
        ("list", 0, "tank/a"),
        ("-s", 0, "tank/a"),
        ("lastsent tank/a", 0, "tank/a@zrep_000001"),
        ("sync tank/a@zrep_000001", 2, "zfs clone tank/a@zrep_000001 tank/a_zrep_000001"),
        ("init tank/a", 2, "zrep init --help"),
        ("init tank/a beta", 2, "zrep init FS HOST:DEST_FS"),
        ("changeconfig tank/a --minfree 5", 2, "next: --minfree 5%, or --minfree 5G"),
        ("changeconfig tank/a --compress lzma", 2, "expected zstd, lz4, gzip, pigz or none"),
        ("pause -v tank/a", 0, "paused already"),
        ("changeconfig tank/a gamma", 0, "next: try: ssh gamma true"),
    ],
)
def test_what_is_typed_means_something_or_gets_one_line(
    pairs: tuple[World, Program], typed: str, code: int, says: str
) -> None:
    """The last one changes the pair: nothing comes after it."""
    _, program = pairs
    done = program.run("alpha", *typed.split())
    assert (done.returncode, says in done.stdout + done.stderr) == (code, True), done
    assert len(done.stderr.splitlines()) <= 1
