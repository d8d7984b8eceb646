"""What tired people type gets what it means, or one line with what to type."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.ops import pairs
from tests.ops.hosts import Hosts
from tests.ops.pairs import A, good
from zrep.cli import main, words
from zrep.cli.run import filesystems
from zrep.core.errors import UsageError
from zrep.ops.changeconfig import Config


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("help", "--help"),
        ("help sync", "sync --help"),
        ("--help sync", "sync --help"),
        ("-h takeover -L", "takeover --help"),
        ("-t other help sync", "-t other sync --help"),
        ("help -S", "sync --help"),
        ("sync --help", "sync --help"),
        ("sync help", "sync help"),
        ("-S all", "sync all"),
        ("", ""),
    ],
)
def test_help_is_found_wherever_it_is_asked_for(typed: str, meant: str) -> None:
    assert main._long_forms(typed.split()) == meant.split()


@pytest.mark.parametrize("word", sorted(words._GONE))
def test_a_word_of_the_shell_zrep_is_answered_with_what_there_is(
    word: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    assert main.run([word, "tank/a"]) == 2
    assert capsys.readouterr().err.startswith(f"zrep: zrep {word} does not exist any more; next: ")


def test_slashes_at_the_end_are_of_the_shell() -> None:
    assert words.dataset("tank/a/") == words.one_dataset("tank/a//") == "tank/a"
    assert filesystems(["tank/a/", "tank/b"]) == ["tank/a", "tank/b"]
    for word in ("/tank/a", "/", "", "tank//a"):
        with pytest.raises(UsageError):
            words.dataset(word)


def test_all_is_no_name() -> None:
    with pytest.raises(UsageError, match="'all' is for sync, expire and status"):
        words.one_dataset("all")


@pytest.mark.parametrize(
    ("given", "host", "target"),
    [
        (("beta", "tank/b"), "beta", "tank/b"),
        (("beta:tank/b", ""), "beta", "tank/b"),
        (("root@beta:tank/b:c/", ""), "root@beta", "tank/b:c"),
        (("[fe80::1]:tank/b", ""), "[fe80::1]", "tank/b"),
        (("fe80::1", "tank/b"), "fe80::1", "tank/b"),
    ],
)
def test_the_peer_may_be_one_word(given: tuple[str, str], host: str, target: str) -> None:
    assert words.peer(*given) == (host, target)


def test_a_target_that_is_missing_is_said() -> None:
    for host in ("beta", "beta:"):
        with pytest.raises(UsageError, match="DEST_FS"):
            words.peer(host, "")


def test_help_shows_whole_sentences_in_80_columns() -> None:
    program = "from zrep.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "help"],
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "rehearse" in done.stdout
    assert "..." not in done.stdout.replace("[ARGS]...", "")
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_floor_of_five_is_asked_about(hosts: Hosts) -> None:
    pairs.linked(hosts)
    ended = hosts.run("alpha", pairs.changing(A, Config(minfree="5")))
    assert (ended.code, ended.text) == (2, f"{A}: 5 is 5 bytes; next: --minfree 5%, or --minfree 5G")
    good(hosts.run("alpha", pairs.changing(A, Config(minfree=str(2**30)))))


def test_a_new_peer_that_does_not_answer_is_said(hosts: Hosts) -> None:
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.changing(A, Config(peer_host="gamma"))))
    assert hosts.said == [f"{A}: gamma is its peer now, and does not answer: cannot reach gamma"]
    good(hosts.run("alpha", pairs.changing(A, Config(peer_host="beta"))))
    assert len(hosts.said) == 1


def test_a_second_pause_says_since_when_it_is(hosts: Hosts) -> None:
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.pausing(A, "moving house")))
    assert "paused already: moving house since " in good(hosts.run("alpha", pairs.pausing(A))).text


def test_a_snapshot_is_no_filesystem() -> None:
    with pytest.raises(UsageError) as raised:
        words.dataset("tank/a@zrep_000001")
    assert "is a snapshot" in raised.value.what
    assert raised.value.advice.endswith(" tank/a")
