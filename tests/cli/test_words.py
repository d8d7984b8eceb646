"""What tired people type gets what it means, or one line with what to type."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest
import typer
from msgspec.structs import replace

from tests.ops import pairs
from tests.ops.hosts import Hosts
from tests.ops.pairs import A, B, good
from zrep.cli import main, parser, words
from zrep.cli import run as running
from zrep.cli.fields import field
from zrep.cli.run import filesystems
from zrep.core.errors import UsageError, tagged
from zrep.core.settings import DEFAULT_SETTINGS
from zrep.ops.changeconfig import Config

PROGRAM: Any = typer.main.get_command(parser.app)  # typer exports no types for what it is made of
# What knows no tag.
OF_ALL_TAGS = {"boot", "gate", "version"}


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


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("status -t other", "-t other status"),
        ("-s --tag other -H tank/a", "--tag other status -H tank/a"),
        ("sync tank/a -t other", "-t other sync tank/a"),
        ("-t one status -t other", "-t one status -t other"),
        ("status -t", "status -t"),
        ("pause tank/a --reason x -- -t other", "pause tank/a --reason x -- -t other"),
        ("gate -t other", "gate -t other"),
    ],
)
def test_a_tag_may_stand_after_the_command(typed: str, meant: str) -> None:
    assert main._long_forms(typed.split()) == meant.split()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("snaponly tank/a", "sync --no-send tank/a"),
        ("-t other synconly tank/a tank/b", "-t other sync --no-snapshot tank/a tank/b"),
        ("sentsync -L tank/a@zrep_000001", "sync --no-snapshot tank/a"),
        ("lastsent tank/a", "list --last-sent tank/a"),
        ("getlastsent tank/a", "list --last-sent tank/a"),
        ("uptodate -v tank/a", "status --up-to-date -v tank/a"),
        ("-R tank/a", "refresh tank/a"),
        ("sync -r -c -v tank/a", "sync -v tank/a"),
        ("-t other refresh -r tank/a", "-t other refresh tank/a"),
        ("status -a", "status -a"),
    ],
)
def test_words_of_the_shell_zrep(typed: str, meant: str) -> None:
    assert main._long_forms(typed.split()) == meant.split()


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        ("failover -L tank/a", "on the replica's host: zrep takeover -L FS"),
        ("-t other failover tank/a -L", "on the replica's host: zrep takeover -L FS"),
        ("failover -f tank/a", "zrep failover FS; a replica that was changed by hand before it: zrep sync -f FS"),
        ("refresh -f tank/a", "on the master: zrep sync -f FS"),
        ("-D sync all", "zrep COMMAND -v, or -n"),
        ("status -m tank/a", "zrep status --nagios, or --max-lag TIME"),
        ("setlastsent tank/a zrep_000001", "zrep sentsync FS"),
        ("-V sync", "-V stands alone; next: zrep -V"),
        ("-t other --version", "--version stands alone; next: zrep --version"),
    ],
)
def test_what_is_gone_is_answered_with_what_there_is(typed: str, right: str) -> None:
    """What only the shell zrep took, what has no meaning here that could be taken for it, and what takes no word
    beside it."""
    with pytest.raises(UsageError) as refused:
        main._long_forms(typed.split())
    assert right in refused.value.line()


@pytest.mark.parametrize(
    "typed", ["failover tank/a", "takeover -L tank/a", "pause tank/a --reason -- -L", "list -s sent"]
)
def test_what_is_not_gone_is_taken(typed: str) -> None:
    assert main._long_forms(typed.split()) == typed.split()


@pytest.mark.parametrize("command", sorted(set(PROGRAM.commands) - OF_ALL_TAGS))
def test_an_advice_is_for_the_pairs_of_the_tag(command: str) -> None:
    assert tagged(f"on beta: zrep {command} tank/a", "other") == f"on beta: zrep -t other {command} tank/a"


def test_a_filesystem_after_list_s_wants_its_snapshots() -> None:
    """-s is a field to sort by here, and was the snapshots of what follows."""
    with pytest.raises(UsageError, match="no field 'tank/a'") as refused:
        field("tank/a")
    assert "zrep list --snapshots tank/a" in refused.value.line()


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        ("tank/a@zrep_000001", "zfs clone tank/a@zrep_000001 tank/a_zrep_000001, on the other host by"),
        ("tank/a b@zrep_000001", "zfs clone 'tank/a b@zrep_000001' 'tank/a b_zrep_000001', on the other host by"),
    ],
)
def test_no_replica_is_taken_back_to_an_older_snapshot(typed: str, command: str) -> None:
    """The command that is named can be typed as it is."""
    with pytest.raises(UsageError) as refused:
        main._long_forms(["-S", typed])
    assert command in refused.value.line()


def test_a_snapshot_may_be_a_word_of_its_own() -> None:
    with pytest.raises(UsageError, match="older snapshot") as refused:
        main._long_forms(["sync", "tank/a", "zrep_000001"])
    assert "zfs clone tank/a@zrep_000001 " in refused.value.line()
    for others in (["sync", "tank/a", "data_202611"], ["sync", "tank/a", "tank/zrep_000001"], ["sync", "zrep_000001"]):
        assert main._long_forms(others) == others


def test_changeconfig_passes_on_all_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    import zrep.ops.changeconfig as module

    seen: list[Config] = []
    monkeypatch.setattr(module, "changeconfig", lambda session, name, config: seen.append(config))
    monkeypatch.setattr(running, "run", lambda session, work, name: work() or 0)
    every = {
        "--own-host": "alpha", "--savecount": "7", "--lease": "30", "--minfree": "2%", "--keep": "24h",
        "--keep-foreign": "a*", "--bwlimit": "1M", "--compress": "zstd", "--unsent": "drop", "--max-lag": "1h",
        "--after": "5m", "-x": "atime",
    }  # fmt: skip
    given = [word for pair in every.items() for word in pair]
    more = ["-r", "--moved", "--exclude", "--all-snapshots"]
    assert parser.invoke(["changeconfig", *given, *more, "tank/a", "beta", "tank/b"], DEFAULT_SETTINGS) == 0
    [config] = seen
    assert [name for name in config.__struct_fields__ if getattr(config, name) == getattr(Config(), name)] == []


def test_what_the_shell_zrep_gave_a_replica_is_not_left_out_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings for an init name what says so now; where that is said, and where a replica is there, all is well."""
    import zrep.ops.init as module

    settings = replace(DEFAULT_SETTINGS, not_read="ZREP_CREATE_FLAGS")
    seen: list[str] = []
    monkeypatch.setattr(module, "init", lambda session, request: seen.append(request.props))
    monkeypatch.setattr(running, "run", lambda session, work, name: work() or 0)
    pair = ["tank/a", "beta", "tank/b"]
    with pytest.raises(UsageError, match="ZREP_CREATE_FLAGS is not read any more") as refused:
        parser.invoke(["init", *pair], settings)
    assert "zrep init -o NAME=VALUE" in refused.value.line()
    for options in (["-o", "compression=zstd"], ["-x", "atime"], ["--adopt"]):
        parser.invoke(["init", *options, *pair], settings)
    assert seen == ["compression=zstd", "atime", ""]


def test_slashes_at_the_end_are_of_the_shell() -> None:
    assert words.dataset("tank/a/") == words.one_dataset("tank/a//") == "tank/a"
    assert filesystems(["tank/a/", "tank/b"]) == ["tank/a", "tank/b"]
    assert filesystems(["all/"]) == filesystems(["all"])
    for word in ("/tank/a", "/", "", "tank//a"):
        with pytest.raises(UsageError):
            words.dataset(word)


@pytest.mark.parametrize("words", ["gate --json", "gate --tree tank/a --json", "-t other gate --nagios"])
def test_a_gate_says_nothing_on_the_wire(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its standard output is what the peer reads as answers, or as a stream."""
    assert main.run(words.split()) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert told.err.startswith("zrep: No such option")


@pytest.mark.parametrize(
    ("typed", "changes"),
    [
        ("sync all", True),
        ("-t other -S all", True),
        ("rehearse tank/a -- sh -n", True),
        ("boot", True),
        ("doctor --fix", True),
        ("allow joe tank/a --apply", True),
        ("sync -n all", False),
        ("sync -vn all", False),
        ("sync all --dry-run", False),
        ("help sync", False),
        ("sync -h", False),
        ("version", False),
        ("--version", False),
        ("-V", False),
        ("-l", False),
        ("list -t other", False),
        ("--tag=other status", False),
        ("history tank/a", False),
        ("doctor", False),
        ("allow joe tank/a", False),
    ],
)
def test_what_changes_something(typed: str, changes: bool) -> None:
    assert main.changes_something(typed.split()) is changes


def test_every_command_only_prints_or_can_be_told_to() -> None:
    """By -n; or the table says with which word it does more. At boot there is nobody who would look first."""
    only = {
        name
        for name, command in PROGRAM.commands.items()
        if "dry_run" not in {option.name for option in command.params}
    }
    assert only - {"boot", "gate"} == set(main._PRINTS)


def test_all_is_no_name() -> None:
    with pytest.raises(UsageError, match="knows no 'all'"):
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


@pytest.mark.parametrize(
    ("given", "host", "target"),
    [
        (("beta:tank/b/", ""), "beta", "tank/b"),
        (("beta", "tank/b/"), "beta", "tank/b"),
        (("beta", ""), "beta", ""),
        (("", ""), "", ""),
    ],
)
def test_the_new_peer_of_changeconfig_may_be_one_word(given: tuple[str, str], host: str, target: str) -> None:
    """Of changeconfig, where the dataset stays as it is when none is given."""
    assert words.new_peer(*given) == (host, target)


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


@pytest.mark.parametrize("command", PROGRAM.commands)
def test_the_help_of_each_command_fits_80_columns(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main.run(["help", command]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: zrep {command}" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert not re.search(r"…|\w\.\.\.$", shown, re.MULTILINE)


def test_a_floor_of_five_is_asked_about(hosts: Hosts) -> None:
    pairs.linked(hosts)
    ended = hosts.run("alpha", pairs.changing(A, Config(minfree="5")))
    assert (ended.code, ended.text) == (2, f"{A}: 5 is 5 bytes; next: --minfree 5%, or --minfree 5G")
    good(hosts.run("alpha", pairs.changing(A, Config(minfree=str(2**30)))))


def test_a_new_peer_that_does_not_answer_is_said(hosts: Hosts) -> None:
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.changing(A, Config(peer_host="gamma"))))
    assert hosts.said == [
        f"{A}: gamma is its peer now, and does not answer: cannot reach gamma; if that is no host: "
        f"zrep changeconfig {A} beta {B}"
    ]
    good(hosts.run("alpha", pairs.changing(A, Config(peer_host="beta"))))
    assert len(hosts.said) == 1


def test_a_second_pause_says_since_when_it_is(hosts: Hosts) -> None:
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.pausing(A, "moving house")))
    assert "paused already: moving house since " in good(hosts.run("alpha", pairs.pausing(A))).text


def test_a_pause_without_a_reason_is_said_once(hosts: Hosts) -> None:
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.pausing(A)))
    assert "paused already: since " in good(hosts.run("alpha", pairs.pausing(A))).text


def test_a_snapshot_is_no_filesystem() -> None:
    with pytest.raises(UsageError) as raised:
        words.dataset("tank/a@zrep_000001")
    assert "is a snapshot" in raised.value.what
    assert raised.value.advice.endswith(" tank/a")
