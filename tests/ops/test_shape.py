"""Streams that are compressed on the wire, and those whose rate is limited: by programs that zrep itself names."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.ops import pairs, trees
from tests.ops.hosts import Hosts, Work
from tests.ops.pairs import SYNC_ALL, A, B, good
from zrep.core import shape
from zrep.core.pair import End
from zrep.core.steps import SendStream
from zrep.host.machine import Machine
from zrep.ops.changeconfig import Config
from zrep.ops.init_way import Request
from zrep.ops.pairs import open_pair
from zrep.ops.status import status
from zrep.ops.streams import in_sessions
from zrep.zfs import commands

ALL = {"alpha": shape.PROGRAMS, "beta": shape.PROGRAMS}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, ...]]:
    """What is installed, by host: everything, until a test takes something away."""
    found = dict(ALL)
    monkeypatch.setattr(Machine, "stream_programs", lambda machine, filters: found[machine.name])
    return found


def streams(hosts: Hosts) -> list[str]:
    return [command.argv[2] for command in hosts.wire.log if command.stream and command.argv[0] == "sh"]


LIMIT = "if command -v pv >/dev/null; then pv -q -L {0}; else mbuffer -q -s 128k -m 16M -r {0}; fi"


def test_kept_and_used_by_every_stream(hosts: Hosts, installed: dict[str, tuple[str, ...]]) -> None:
    """From the first one, which init sends, to those of the other side once that is master."""
    pairs.source(hosts)
    request = Request(A, "beta", B, compress="zstd", bwlimit=10 << 20)
    good(hosts.run("alpha", pairs.initialising(request)))
    pairs.written(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    good(hosts.run("alpha", pairs.failing_over(A)))
    pairs.written(hosts, "beta", B, "back")
    good(hosts.run("beta", SYNC_ALL))
    through = f'"$@" | zstd -qc | {LIMIT.format(10485760)}'
    assert len(streams(hosts)) == 4
    assert set(streams(hosts)) == {through}


def test_changed_and_ended(hosts: Hosts, installed: dict[str, tuple[str, ...]]) -> None:
    pairs.linked(hosts)
    for config, through in (
        (Config(bwlimit="1M"), [f'"$@" | {LIMIT.format(1048576)}']),
        (Config(bwlimit="none", compress="lz4"), ['"$@" | lz4 -qc']),
        (Config(compress="none"), []),
    ):
        good(hosts.run("alpha", pairs.changing(A, config)))
        hosts.wire.reset()
        pairs.written(hosts, key=config.bwlimit or "x")
        good(hosts.run("alpha", SYNC_ALL))
        assert streams(hosts) == through


@pytest.mark.parametrize("config", [Config(bwlimit="fast"), Config(bwlimit="1"), Config(compress="rm")])
def test_what_makes_no_sense_is_a_usage_error(hosts: Hosts, config: Config) -> None:
    pairs.linked(hosts)
    assert hosts.run("alpha", pairs.changing(A, config)).code == 2


@pytest.mark.parametrize("prop", ["bwlimit=1;reboot", "bwlimit=$(reboot)", "compress=zstd|sh", "compress=sh -c reboot"])
def test_no_word_of_a_property_is_run(hosts: Hosts, prop: str) -> None:
    pairs.linked(hosts)
    hosts["alpha"].run(["zfs", "set", f"zrep:{prop}", A])
    pairs.written(hosts)
    hosts.wire.reset()
    ended = hosts.run("alpha", SYNC_ALL)
    assert (ended.code, streams(hosts)) == (3, [])
    assert "this zrep did not write" in ended.text


# --- what is not installed ---


@pytest.mark.parametrize(
    ("config", "lacks", "said"),
    [
        (Config(bwlimit="1M"), "alpha", "pv or mbuffer is not installed on alpha"),
        (Config(compress="zstd"), "alpha", "zstd is not installed on alpha"),
        (Config(compress="zstd"), "beta", "zstd is not installed on beta"),
    ],
)
def test_changeconfig_asks_before(
    hosts: Hosts, installed: dict[str, tuple[str, ...]], config: Config, lacks: str, said: str
) -> None:
    pairs.linked(hosts)
    installed[lacks] = ("gzip",)
    before = hosts.world.view()
    ended = hosts.run("alpha", pairs.changing(A, config))
    assert (ended.code, said in ended.text) == (3, True)
    assert hosts.world.view() == before


def test_a_limit_needs_nothing_on_the_replica(hosts: Hosts, installed: dict[str, tuple[str, ...]]) -> None:
    pairs.linked(hosts)
    installed.update(alpha=("mbuffer",), beta=())
    good(hosts.run("alpha", pairs.changing(A, Config(bwlimit="1M"))))
    pairs.written(hosts)
    good(hosts.run("alpha", SYNC_ALL))


@pytest.mark.parametrize(
    "work", [SYNC_ALL, pairs.failing_over(A), lambda session: status(session, [])], ids=["sync", "failover", "status"]
)
@pytest.mark.parametrize("lacks", ["alpha", "beta"])
def test_what_was_removed_since_is_said_before_anything_changes(
    hosts: Hosts, installed: dict[str, tuple[str, ...]], work: Work, lacks: str
) -> None:
    pairs.linked(hosts)
    good(hosts.run("alpha", pairs.changing(A, Config(compress="zstd"))))
    pairs.written(hosts)
    installed[lacks] = ()
    snapshots = trees.lines(hosts, "alpha", f"zfs list -H -o name -t snapshot {A}")
    ended = hosts.run("alpha", work)
    where = {"alpha": "here", "beta": "on beta"}[lacks]
    if ended.rows:
        assert [(row.state, row.code) for row in ended.rows] == [("program missing", 3)]
    else:
        assert ended.code == 3
        assert f"zstd is not installed {where} (its streams are compressed by zstd); next: install it {where}, or " in (
            ended.text
        )
        assert f"zrep changeconfig --compress none {A}" in ended.text
    assert trees.lines(hosts, "alpha", f"zfs list -H -o name -t snapshot {A}") == snapshots


@pytest.mark.parametrize("lacks", ["alpha", "beta"])
def test_init_asks_before(hosts: Hosts, installed: dict[str, tuple[str, ...]], lacks: str) -> None:
    pairs.source(hosts)
    installed[lacks] = ()
    before = hosts.world.view()
    ended = hosts.run("alpha", pairs.initialising(Request(A, "beta", B, compress="gzip")))
    assert (ended.code, "gzip is not installed" in ended.text) == (3, True)
    assert hosts.world.view() == before


@pytest.fixture
def filtered(hosts: Hosts, installed: dict[str, tuple[str, ...]], tmp_path: Path) -> Hosts:
    """Streams are to pass through filters, which root of both hosts has allowed."""
    file = tmp_path / "filters"
    file.write_text("squeeze -9 | tee\nswell\n")
    hosts.settings = replace(hosts.settings, filters=str(file), outfilter="squeeze -9 | tee", infilter="swell")
    installed.update(alpha=("squeeze", "tee"), beta=("swell",))
    return hosts


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        (
            "alpha",
            "the filter program squeeze is not installed here (its streams pass through 'squeeze -9 | tee'",
        ),
        ("beta", "the filter program swell is not installed on beta (its streams pass through 'swell'"),
    ],
)
def test_init_asks_for_an_administrators_own_before(
    filtered: Hosts, installed: dict[str, tuple[str, ...]], lacks: str, said: str
) -> None:
    pairs.source(filtered)
    has, installed[lacks] = installed[lacks], ("zstd",)
    before = filtered.world.view()
    ended = filtered.run("alpha", pairs.initialising(Request(A, "beta", B)))
    assert (ended.code, said in ended.text) == (3, True), ended.text
    assert filtered.world.view() == before
    installed[lacks] = has
    good(filtered.run("alpha", pairs.initialising(Request(A, "beta", B))))


@pytest.mark.parametrize(
    ("text", "programs"),
    [
        ("", ()),
        ("zstd -d", ("zstd",)),
        ("LC_ALL=C X=1 /opt/bin/squeeze --level=9|mbuffer -q -m 64M", ("/opt/bin/squeeze", "mbuffer")),
        # More of a shell's language than that: nobody asks for what may be no program.
        ("exec zstd -d", ()),
        ("if true; then zstd; fi", ()),
        ("zstd || cat", ()),
        ("$HOME/squeeze", ()),
        ("{ zstd }", ()),
        ('"my squeeze"', ()),
    ],
)
def test_programs_of_a_filter(text: str, programs: tuple[str, ...]) -> None:
    assert shape.begun(text) == programs


def test_a_host_says_what_there_is_of_its_filters() -> None:
    found = Machine().stream_programs(("sh -c x | no-such-program", "zrep-is-no-filter"))
    assert "sh" in found
    assert {"no-such-program", "zrep-is-no-filter"}.isdisjoint(found)


# --- how they share a wire ---


def test_a_limited_tree_sends_one_stream_at_a_time(hosts: Hosts, installed: dict[str, tuple[str, ...]]) -> None:
    """The rate is that of the pair."""
    trees.grown(hosts)
    good(hosts.run("alpha", pairs.changing(A, Config(bwlimit="1M"))))
    for name in (A, f"{A}/x", f"{A}/x/deep"):
        hosts["alpha"].write(name, "later", b"2")
    pipe, under_way, most = type(hosts.wire).pipe, [0], [0]

    def counted(wire, *ends):  # type: ignore[no-untyped-def]
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        time.sleep(0.05)
        try:
            return pipe(wire, *ends)
        finally:
            under_way[0] -= 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(hosts.wire), "pipe", counted)
        good(hosts.run("alpha", SYNC_ALL))
    assert most == [1]
    assert len(streams(hosts)) == 3


def test_they_share_no_session(hosts: Hosts, installed: dict[str, tuple[str, ...]]) -> None:
    trees.grown(hosts)
    good(hosts.run("alpha", pairs.changing(A, Config(compress="gzip"))))
    with hosts.session("alpha") as session:
        view = open_pair(session, A)
        assert in_sessions(view.lanes, 4, {}) == tuple((number,) for number in range(len(view.lanes)))


# --- the programs themselves ---


@pytest.mark.parametrize("name", shape.COMPRESSORS)
def test_what_one_end_compresses_the_other_takes(name: str, tmp_path: Path) -> None:
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed here")
    data = os.urandom(1000) + b"a" * 3_000_000
    step = SendStream(End.SOURCE, "tank/a@x", "tank/b", compress=name)
    sender, receiver = commands.send(step), commands.receive(step)
    packed = subprocess.run([*sender[:4], "cat"], input=data, capture_output=True, check=True).stdout
    assert len(packed) < len(data) / 10
    assert subprocess.run([*receiver[:4], "cat"], input=packed, capture_output=True, check=True).stdout == data


@pytest.mark.parametrize(("programs", "said"), [(("pv", "mbuffer"), "pv -q -L 65536"), (("mbuffer",), "mbuffer -q -s")])
def test_pv_is_asked_first(programs: tuple[str, ...], said: str, tmp_path: Path) -> None:
    for name in programs:
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tmp_path / name).chmod(0o755)
    (tmp_path / "sh").symlink_to("/bin/sh")
    (tmp_path / "true").symlink_to(shutil.which("true") or "/bin/true")
    argv = commands.send(SendStream(End.SOURCE, "tank/a@x", "tank/b", bwlimit=65536))
    done = subprocess.run([*argv[:4], "true"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(said)


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("500K", 512000), ("10M", 10485760), ("1G", 1 << 30), ("16384", 16384), ("1", None), ("-1", None)],
)
def test_rates(text: str, bytes_: int | None) -> None:
    assert shape.rate(text) == bytes_


@pytest.mark.parametrize("compress", ["", *shape.COMPRESSORS])
@pytest.mark.parametrize("rate", [0, 16384, 10**12])
@pytest.mark.parametrize("text", ["", "tee x", "a | b", "gzip -1", "cat | lz4"])
def test_what_was_put_together_is_read_back(text: str, compress: str, rate: int) -> None:
    assert shape.read_sending(shape.sending(text, compress, rate)) == (text, compress, rate)
    assert shape.read_receiving(shape.receiving(text, compress)) == (text, compress)


@pytest.mark.parametrize("work", [("alpha", pairs.failing_over(A)), ("beta", pairs.taking_over(B))])
def test_what_the_replica_would_send_through_is_looked_at_before_its_role_moves(
    hosts: Hosts, installed: dict[str, tuple[str, ...]], work: tuple[str, Work]
) -> None:
    """Each side has been told for itself: after the role change nothing could be sent back."""
    pairs.linked(hosts)
    good(hosts.run("beta", pairs.changing(B, Config(compress="zstd"))))
    installed["alpha"] = ("pv", "gzip")
    good(hosts.run("alpha", SYNC_ALL))
    ended = hosts.run(*work)
    assert (ended.code, "zstd is not installed" in ended.text) == (3, True), ended.text
    assert pairs.value(hosts, "alpha", A, "readonly") == "off"
    good(hosts.run("beta", pairs.changing(B, Config(compress="none"))))
    good(hosts.run(*work))
