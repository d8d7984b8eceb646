"""What a pool's history says of a pair. Its lines are those of OpenZFS 2.3 (the lab asks a real one)."""

from __future__ import annotations

import time
from typing import cast

import pytest

from tests.ops import hosts as model
from tests.ops import pairs
from tests.ops.hosts import Hosts
from tests.ops.pairs import A, B
from zrep.cli import output
from zrep.core.errors import FailedError, RefusedError
from zrep.core.history import Event, Happened, event, events, names
from zrep.core.requests import Answer, ReadHistory, Request
from zrep.core.settings import Settings
from zrep.host.local import LocalHost
from zrep.ops.history import history, in_order
from zrep.zfs.commands import Completed
from zrep.zfs.history import parse_history

RECORD = '{"detail":{"tank/a":"off default"},"epoch":2,"id":"0a","op":"failover","phase":"prepare"}'
TEXT = """History for 'tank':
2026-11-28.12:00:00 zpool create tank /dev/vdb [user 0 (root) on alpha:linux]
2026-11-28.12:00:05 zfs set zrep:src-host=alpha zrep:master=yes zrep:epoch=1 tank/a [user 0 (root) on alpha:linux]
2026-11-28.12:01:05 zfs set zrep:paused=moving house since 2026-11-28T12:01:05Z tank/a [user 1000 (zrep) on alpha:linux]
2026-11-28.12:02:05 zfs inherit zrep:paused tank/a
2026-11-28.12:03:05 zfs receive -s -u -x zrep:gen tank/a [user 7 on alpha:linux]
2026-11-28.12:03:06 zfs snapshot tank/ab@x [user 0 (root) on alpha:linux]
2026-11-28.25:03:06 zfs snapshot tank/a@nonsense
no line of a history

"""


def test_the_lines_of_a_pool() -> None:
    found = parse_history(TEXT)
    assert [each.at - found[0].at for each in found] == [0, 5, 65, 125, 185, 186]
    assert [each.who for each in found] == ["root@alpha", "root@alpha", "zrep@alpha", "", "7@alpha", "root@alpha"]
    assert found[3] == Happened(1795867325, "zfs inherit zrep:paused tank/a")


def test_what_was_set_without_a_command_is_one_for_each_transaction_group() -> None:
    """As by a channel program; what a command has set is told by that."""
    found = parse_history(
        """2026-11-28.12:00:01 [txg:7] set tank/a (68) zrep:master=yes [on alpha]
2026-11-28.12:00:01 [txg:7] set tank/a (68) zrep:epoch=2 [on alpha]
2026-11-28.12:00:01 [txg:7] set tank/b c (70) zrep:master=no [on alpha]
2026-11-28.12:00:09 [txg:8] inherit tank/a (68) zrep:paused= [on alpha]
2026-11-28.12:05:00 [txg:90] set tank/a (68) zrep:paused=moving house [on alpha]
2026-11-28.12:05:01 zfs set zrep:paused=moving house tank/a [user 0 (root) on alpha:linux]
2026-11-28.12:05:02 [txg:91] snapshot tank/a@x (71) [on alpha]
"""
    )
    assert [(each.command, each.who) for each in found] == [
        ("zfs set zrep:master=yes zrep:epoch=2 tank/a", "alpha"),
        ("zfs set zrep:master=no tank/b c", "alpha"),
        ("zfs inherit zrep:paused tank/a", "alpha"),
        ("zfs set zrep:paused=moving house tank/a", "root@alpha"),
    ]


def test_what_happened_in_one_second_is_told_in_the_order_of_the_pool() -> None:
    found = parse_history(
        """2026-11-28.12:00:01 [txg:7] set tank/a (68) zrep:paused=moving house [on alpha]
2026-11-28.12:00:01 [txg:8] inherit tank/a (68) zrep:paused= [on alpha]
2026-11-28.12:00:01 zfs inherit zrep:paused tank/a [user 0 (root) on alpha:linux]
2026-11-28.12:00:01 [txg:9] set tank/a (68) zrep:epoch=2 [on alpha]
"""
    )
    assert [each.command for each in found] == [
        "zfs set zrep:paused=moving house tank/a",
        "zfs inherit zrep:paused tank/a",
        "zfs set zrep:epoch=2 tank/a",
    ]


def test_a_command_is_about_a_dataset_by_its_whole_name() -> None:
    assert [names(each.command, A) for each in parse_history(TEXT)] == [False, True, True, True, True, False]
    assert names("zfs destroy tank/a@x,y", A)
    assert not names("zfs set a=b tank/a/b", A)


@pytest.mark.parametrize(
    ("command", "what", "role"),
    [
        (f"zfs set zrep:src-host=alpha zrep:master=yes zrep:epoch=4 {A}", "master, epoch 4", True),
        (f"zfs set zrep:master=no zrep:epoch=5 {A}", "replica, epoch 5", True),
        (f"zfs set zrep:inprogress=failover,prepare {A}", "role change under way: failover,prepare", True),
        (f"zfs set zrep:inprogress={RECORD} {A}", "failover under way, prepare", True),
        (f"zfs set zrep:inprogress={RECORD} zrep:places=1/- {A}", "failover under way, prepare", True),
        (f"zfs set zrep:inprogress=[] {A}", "role change under way: []", True),
        (f"zfs set zrep:paused=moving house since now {A}", "paused: moving house since now", True),
        (f"zfs inherit zrep:paused {A}", "pause ended", True),
        (f"zfs inherit zrep:master {A}", "no part of a pair any more", True),
        (f"zfs inherit zrep:inprogress {A}", "no inprogress any more", False),
        (f"zfs rename {A} {A}_split_2_0a", f"rename {A} {A}_split_2_0a", True),
        (f"zfs receive -s {A}", "received", False),
        (f"zfs set quota=1G {A}", "set quota=1G tank/a", False),
        (f"zfs set other:master=yes {A}", f"set other:master=yes {A}", False),
        ("odd", "odd", False),
    ],
)
def test_what_a_command_was_to_a_pair(command: str, what: str, role: bool) -> None:
    found = event("zrep", "alpha", A, Happened(7, command, "root"))
    tag = "zrep" if " zrep:" in command else ""
    assert found == Event(7, "alpha", A, what, role, "root", command, tag)


BROUGHT = f'zfs set zrep:master=yes zrep:inprogress={{"id":"0a","op":"init"}} zrep:epoch=1 {A}'
GIVEN_UP = f"zfs inherit zrep:src-host zrep:master zrep:paused {A}"


@pytest.mark.parametrize(
    ("at", "last", "told"),
    [
        (101, GIVEN_UP, []),
        (131, GIVEN_UP, ["master, epoch 1", "no part of a pair any more"]),
        (101, f"zfs set zrep:master=no zrep:epoch=2 {A}", ["master, epoch 1", "replica, epoch 2"]),
    ],
)
def test_the_role_that_the_first_stream_brings_along_is_none(at: int, last: str, told: list[str]) -> None:
    """Seen of a replica right after init: master, then no part of a pair any more, then replica."""
    happened = [Happened(100, BROUGHT), Happened(100, f"zfs set canmount=2 {A}"), Happened(at, last)]
    found = list(events("zrep", "alpha", A, [*happened, Happened(200, f"zfs set zrep:master=no {A}")]))
    assert [each.what for each in found if each.role] == [*told, "replica"]
    assert len(found) == 4
    assert told or [each.what for each in found[:3:2]] == [
        "master, epoch 1, in a stream",
        "no part of a pair any more, in a stream",
    ]


@pytest.fixture
def remembering(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    """A pair whose pools remember something: the model's have no history."""
    ask = model.ModelHost.ask

    def told(self: model.ModelHost, request: Request[Answer]) -> Answer:
        if isinstance(request, ReadHistory):
            at = {"alpha": 20, "beta": 10}[self.name]
            found = {name: [Happened(at, f"zfs set zrep:master=yes {name}")] for name in request.datasets}
            return cast(Answer, found)
        return ask(self, request)

    monkeypatch.setattr(model.ModelHost, "ask", told)
    pairs.linked(hosts)
    return hosts


def of(hosts: Hosts, host: str, *chosen: str) -> list[tuple[int, str, str]]:
    with hosts.session(host) as session:
        return [(each.at, each.host, each.filesystem) for each in history(session, chosen)]


def test_both_sides_in_the_order_of_time(remembering: Hosts) -> None:
    assert of(remembering, "alpha") == of(remembering, "beta", B) == [(10, "beta", B), (20, "alpha", A)]
    remembering.wire.cut = True
    assert of(remembering, "alpha", A) == [(20, "alpha", A)]
    assert remembering.said == ["only this side's history: lost beta (the link is cut)"]


def test_what_a_filesystem_was_under_each_tag_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [
        f"zfs create {A}",
        f"zfs set zrep:master=yes {A}",
        f"zfs set aside:master=no aside:epoch=2 {A}",
        f"zfs destroy {A}@zrep_000001",
        f"zfs rename {A} {A}_old",
    ]
    happened = [Happened(number, command, "root@alpha") for number, command in enumerate(commands)]
    found = in_order(list(events(tag, "alpha", A, happened)) for tag in ("zrep", "aside"))
    assert [(each.what, each.role, each.tag) for each in found] == [
        (f"create {A}", False, ""),
        ("master", True, "zrep"),
        ("replica, epoch 2", True, "aside"),
        ("destroyed", False, "zrep"),
        (f"rename {A} {A}_old", True, ""),
    ]
    output.events(found, verbose=False)
    *_, replica, renamed, rest = capsys.readouterr().out.splitlines()
    assert replica.endswith("  alpha:tank/a  replica, epoch 2, tag aside  (root@alpha)")
    assert renamed.endswith("  alpha:tank/a  rename tank/a tank/a_old  (root@alpha)")
    assert rest == "and 2 commands that moved no role: -v shows them"


def test_one_command_is_no_commands(capsys: pytest.CaptureFixture[str]) -> None:
    output.events([event("zrep", "alpha", A, Happened(7, f"zfs create {A}"))], verbose=False)
    assert capsys.readouterr().out == "and 1 command that moved no role: -v shows it\n"


def test_what_is_in_no_pair_has_none(remembering: Hosts) -> None:
    with pytest.raises(RefusedError, match="no such filesystem"):
        of(remembering, "alpha", "tank/nothing")


def test_a_long_history_is_read_in_one_go() -> None:
    """A pool that thousands of snapshots a day are made of: each second has a few lines."""
    lines = []
    for number in range(20_000):
        when = f"2026-11-{1 + number // 3600:02d}.12:{number // 60 % 60:02d}:{number % 60:02d}"
        lines.append(f"{when} [txg:{number}] set tank/a{number} (68) a:b=c [on alpha]")
        lines.append(f"{when} zfs set x:y=z tank/b{number} [user 0 (root) on alpha:linux]")
    began = time.process_time()
    assert len(parse_history("\n".join(lines))) == 40_000
    assert time.process_time() - began < 10


def test_who_may_not_read_it_is_told_who_may(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "cannot show history for pool 'tank': permission denied\n"
    monkeypatch.setattr(LocalHost, "look", lambda self, argv: Completed(argv, 0, "", said))
    with pytest.raises(FailedError) as refused:
        LocalHost(Settings(library=False), name="alpha").ask(ReadHistory((A,)))
    assert refused.value.advice == f"as root on alpha: zrep history {A}"
