"""What somebody found who set out to break it: each was wrong once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from tests.model import World
from tests.ops import pairs
from tests.ops.hosts import Hosts, Mode, ModelHost
from tests.ops.pairs import MINUTE, SYNC_ALL, A, B, good, hit, leased, value
from tests.zfs import tokens
from zrep.core.dataset import Value
from zrep.core.errors import RefusedError
from zrep.core.requests import Answer, Found, Grant, Lock, Recall, Remember
from zrep.core.requests import Request as Asked
from zrep.host.local import LocalHost
from zrep.ops import sync
from zrep.ops.changeconfig import Config
from zrep.ops.init_way import Request

LEASE = Config(lease=5 * MINUTE)


def three(directory: Path) -> Hosts:
    return Hosts(directory, World(hosts=("alpha", "beta", "gamma")))


def second(hosts: Hosts) -> None:
    hosts["alpha"].sh("zfs create tank/c")
    good(hosts.run("alpha", pairs.initialising(Request("tank/c", "beta", "tank/cc"))))


def left_alone(hosts: Hosts, host: str = "alpha", minutes: int = 7) -> None:
    """The wire is cut, and cron runs on."""
    hosts.wire.cut = True
    for _ in range(minutes):
        hosts.run(host, SYNC_ALL)


class TestLease:
    def test_a_side_that_was_promoted_alone_stays_writable(self, hosts: Hosts) -> None:
        leased(hosts, 5 * MINUTE)
        good(hosts.run("beta", pairs.changing(B, LEASE)))
        left_alone(hosts)
        assert value(hosts, "alpha", A, "readonly") == "on"
        good(hosts.run("beta", pairs.forcing(B)))
        left_alone(hosts, "beta")
        assert value(hosts, "beta", B, "readonly") == "off"

    def test_a_side_that_was_promoted_alone_has_its_lease_again_once_it_has_met_its_peer(self, hosts: Hosts) -> None:
        leased(hosts, 5 * MINUTE)
        good(hosts.run("beta", pairs.changing(B, LEASE)))
        hosts.wire.cut = True
        good(hosts.run("beta", pairs.forcing(B)))
        hosts.wire.cut = False
        good(hosts.run("alpha", pairs.rejoining(A)))
        good(hosts.run("beta", SYNC_ALL))
        left_alone(hosts, "beta")
        assert value(hosts, "beta", B, "readonly") == "on"

    def test_takeover_on_a_master_that_its_lease_has_stopped_lasts(self, hosts: Hosts) -> None:
        leased(hosts, MINUTE)
        left_alone(hosts)
        good(hosts.run("alpha", pairs.forcing(A)))
        left_alone(hosts)
        assert value(hosts, "alpha", A, "readonly") == "off"

    def test_a_filesystem_that_is_busy_here_has_reached_nobody(self, hosts: Hosts) -> None:
        leased(hosts, 5 * MINUTE)
        state = hosts.directory / "alpha" / "state" / "zrep tank%a"
        before = json.loads(state.read_text())["reached"]
        other = hosts.local("alpha")
        other.ask(Lock((A,), 0))
        left_alone(hosts, minutes=1)
        other.close()
        assert json.loads(state.read_text())["reached"] == before

    def test_one_that_cannot_be_stopped_keeps_no_other_from_it(self, hosts: Hosts) -> None:
        leased(hosts, MINUTE)
        second(hosts)
        good(hosts.run("alpha", pairs.changing("tank/c", LEASE)))
        good(hosts.run("alpha", SYNC_ALL))
        before = hosts.world.dump()
        hosts.wire.reset()
        hosts.world.pass_time(9 * MINUTE)
        hosts.wire.cut = True
        hosts.run("alpha", SYNC_ALL)
        at = next(n for n, command in enumerate(hosts.wire.log) if command.argv[:2] == ("zfs", "set"))
        hosts.load(before)
        hosts.world.pass_time(9 * MINUTE)
        hosts.wire.reset(Mode.FAIL, at)
        hosts.wire.cut = True
        assert hosts.run("alpha", SYNC_ALL).code == 5
        assert value(hosts, "alpha", "tank/c", "readonly") == "on"

    def test_a_peer_that_is_no_zrep_any_more_is_no_peer(self, hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
        def gone(name: str) -> LocalHost:
            raise RefusedError(f"zrep was not found on {name}")

        leased(hosts, MINUTE)
        monkeypatch.setattr(hosts, "peer", gone)
        for _ in range(4):
            assert hosts.run("alpha", SYNC_ALL).code == 3
        assert value(hosts, "alpha", A, "readonly") == "on"

    def test_a_master_that_was_renamed_keeps_it(self, hosts: Hosts) -> None:
        leased(hosts, MINUTE)
        hosts["alpha"].sh("zfs rename tank/a tank/n")
        left_alone(hosts)
        assert value(hosts, "alpha", "tank/n", "readonly") == "on"

    def test_a_clock_that_was_ahead_once_does_not_make_it_longer(self, hosts: Hosts) -> None:
        leased(hosts, 5 * MINUTE)
        for years in (10, -10):
            hosts.world.pass_time(years * 365 * 86400)
            pairs.written(hosts, key=f"in{years}")
            good(hosts.run("alpha", SYNC_ALL))
        left_alone(hosts, minutes=9)
        assert value(hosts, "alpha", A, "readonly") == "on"

    def test_an_init_that_is_unfinished_is_not_stopped(self, hosts: Hosts) -> None:
        pairs.source(hosts)
        hit(hosts, "alpha", pairs.INIT, Mode.TORN, "zfs", "send")
        hosts.wire.heal()
        good(hosts.run("alpha", pairs.changing(A, LEASE)))
        left_alone(hosts)
        assert value(hosts, "alpha", A, "readonly") == "off"


class TestClear:
    def test_another_pair_of_the_same_names_is_left_alone(self, tmp_path: Path) -> None:
        hosts = three(tmp_path)
        hosts["alpha"].sh("zfs create tank/data")
        good(hosts.run("alpha", pairs.initialising(Request("tank/data", "beta", "tank/data"))))
        good(hosts.run("beta", pairs.clearing("tank/data", here_only=True)))
        good(hosts.run("beta", pairs.initialising(Request("tank/data", "gamma", "tank/data"))))
        good(hosts.run("alpha", pairs.clearing("tank/data")))
        good(hosts.run("beta", pairs.syncing("tank/data")))

    @pytest.mark.parametrize("here_only", [True, False])
    def test_a_master_that_was_stopped_is_writable_again(self, hosts: Hosts, here_only: bool) -> None:
        leased(hosts, MINUTE)
        left_alone(hosts)
        hosts.wire.cut = here_only
        good(hosts.run("alpha", pairs.clearing(A, here_only=here_only)))
        assert value(hosts, "alpha", A, "readonly") == "off"


def by_hand(hosts: Hosts) -> None:
    """alpha's filesystem is mounted with mount(8), not where ZFS would."""
    hosts["alpha"].sh(f"zfs set mountpoint=legacy {A}")
    with hosts.world.transaction() as state:
        state.hosts["alpha"].datasets[A].mounted_at = "/mnt"


def stopped(hosts: Hosts) -> None:
    left_alone(hosts)
    assert value(hosts, "alpha", A, "readonly") == "on"
    hosts.wire.cut = False


def failed_over(hosts: Hosts) -> None:
    ended = hosts.run("alpha", pairs.failing_over(A))
    assert (ended.code, "mounted by mount(8) on alpha" in ended.text) == (3, True)
    assert ended.text.rstrip().endswith(f"take it out of fstab; umount /mnt; zfs set mountpoint=/mnt {A}")


@pytest.mark.parametrize("event", [failed_over, stopped])
def test_a_legacy_mount_stops_no_later_sync(hosts: Hosts, event: Callable[[Hosts], None]) -> None:
    leased(hosts, MINUTE)
    by_hand(hosts)
    event(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    assert value(hosts, "alpha", A, "readonly") == "off"


def test_trouble_with_one_peer_ends_nothing_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if it had been in vain: then it is asked for once more, where nothing is left to fall back to.
    monkeypatch.setattr(sync, "note_pool_space", lambda *_: None)
    hosts = three(tmp_path)
    for host, name in (("beta", A), ("gamma", "tank/c")):
        hosts["alpha"].sh(f"zfs create {name}")
        good(hosts.run("alpha", pairs.initialising(Request(name, host, name))))
        pairs.written(hosts, name=name)
    before = hosts.world.dump()
    hosts.wire.reset()
    hosts.run("alpha", SYNC_ALL)
    at = next(n for n, command in enumerate(hosts.wire.log) if command.argv[:2] == ("zpool", "list"))
    hosts.load(before)
    hosts.wire.reset(Mode.HANG, at)
    assert hosts.run("alpha", SYNC_ALL).code == 1
    assert b"zrep_000002" in hosts["gamma"].sh("zfs list -H -t snapshot -o name")


def test_a_filesystem_with_trouble_is_free_while_others_are_sent(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs.linked(hosts)
    second(hosts)
    hosts["beta"].sh(f"zfs set readonly=off {B}")
    hosts["beta"].sh(f"zfs mount {B}")
    hosts["beta"].write(B, "by hand", b"x")
    pairs.written(hosts, name="tank/c")
    busy: list[list[str]] = []
    pipe = type(hosts.wire).pipe

    def looked_at(*arguments: object) -> object:
        other = LocalHost(name="alpha", directory=str(hosts.directory / "alpha"))
        busy.append(other.ask(Lock((A,), 0)))
        other.close()
        return pipe(*arguments)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(type(hosts.wire), "pipe", looked_at)
    assert "zrep sync -f" in hosts.run("alpha", SYNC_ALL).text
    assert busy == [[]]


def test_takeover_alone_leaves_an_unfinished_init_to_init(hosts: Hosts) -> None:
    pairs.source(hosts)
    hit(hosts, "alpha", pairs.INIT, Mode.TORN, "zfs", "send")
    hosts.wire.heal()
    assert "zrep init" in hosts.run("alpha", pairs.forcing(A)).text
    good(hosts.run("alpha", pairs.INIT))


def test_changeconfig_waits_for_the_end_of_a_role_change_that_would_undo_it(hosts: Hosts) -> None:
    pairs.linked(hosts)
    before = hosts.world.dump()
    hosts.wire.reset()
    hosts.run("beta", pairs.forcing(B))
    at = next(n for n, c in enumerate(hosts.wire.log) if c.argv[:2] == ("zfs", "set") and "promote" in c.argv[2])
    hosts.load(before)
    hosts.wire.reset(Mode.KILL_AFTER, at)
    hosts.run("beta", pairs.forcing(B))
    hosts.wire.reset()
    ended = hosts.run("beta", pairs.changing(B, Config(peer_host="gamma")))
    assert (ended.code, "a role change is unfinished" in ended.text) == (3, True)


def test_a_stopped_master_that_became_a_replica_under_another_tag_stays_read_only(tmp_path: Path) -> None:
    """As an earlier version let it: a role change under one tag while it was stopped under the other."""
    hosts = three(tmp_path)
    leased(hosts, MINUTE)
    good(hosts.run("alpha", pairs.initialising(Request(A, "gamma", "tank/g")), tag="off"))
    stopped(hosts)
    record = value(hosts, "alpha", A, "zrep:inprogress")
    hosts["alpha"].sh(f"zfs inherit zrep:inprogress {A}")
    good(hosts.run("gamma", pairs.taking_over("tank/g"), tag="off"))
    hosts["alpha"].run(["zfs", "set", f"zrep:inprogress={record}", A])
    good(hosts.run("alpha", SYNC_ALL))
    assert value(hosts, "alpha", A, "zrep:inprogress") == ""
    assert value(hosts, "alpha", A, "readonly") == "on"


def test_a_failover_whose_commit_cannot_be_written_down_is_undone(hosts: Hosts) -> None:
    pairs.linked(hosts)
    before = hosts.world.dump()
    hosts.wire.reset()
    good(hosts.run("alpha", pairs.failing_over(A)))
    at = next(n for n, c in enumerate(hosts.wire.log) if any('"phase":"commit"' in word for word in c.argv))
    hosts.load(before)
    hosts.wire.reset(Mode.FAIL, at)
    assert hosts.run("alpha", pairs.failing_over(A)).code == 1
    assert value(hosts, "alpha", A, "readonly") == "off"


def test_the_loss_is_counted_from_what_was_received(hosts: Hosts) -> None:
    """And not from the snapshot by which an earlier attempt has fenced this side."""
    pairs.linked(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    hosts.world.pass_time(36000)
    hit(hosts, "beta", pairs.forcing(B), Mode.KILL_AFTER, "zfs", "hold")
    hosts.wire.reset()
    assert "after @zrep_000001, received 10h" in hosts.run("beta", pairs.forcing(B), dry_run=True).text


def test_a_name_that_is_given_twice_is_one(hosts: Hosts) -> None:
    pairs.linked(hosts)
    pairs.written(hosts)
    ended = good(hosts.run("alpha", lambda session: sync.sync(session, [A, A])))
    assert len(ended.outcomes) == 1


@pytest.mark.parametrize("prop", ["lease=²", "lease=" + "9" * 5000, "epoch=²", "savecount=-1"])
def test_numbers_that_zrep_does_not_write_are_refused(hosts: Hosts, prop: str) -> None:
    pairs.linked(hosts)
    hosts["alpha"].run(["zfs", "set", f"zrep:{prop}", A])
    ended = hosts.run("alpha", SYNC_ALL)
    assert (ended.code, "has properties that this zrep did not write" in ended.text) == (3, True)


@pytest.mark.parametrize("unsent", ["1" + "0" * 400, "-1", '"x"', "null", "1e999", "[]"])
def test_garbage_in_the_memory_is_as_none(hosts: Hosts, unsent: str) -> None:
    pairs.linked(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    (hosts.directory / "beta" / "state" / "zrep tank%b").write_text(f'{{"told": 1, "unsent": {unsent}}}')
    good(hosts.run("beta", pairs.forcing(B), dry_run=True))


def test_a_tab_in_somebody_s_mountpoint(hosts: Hosts) -> None:
    pairs.linked(hosts)
    hosts["beta"].run(["zfs", "create", "-o", "mountpoint=/srv/a\tb", "tank/other"])
    good(hosts.run("alpha", pairs.failing_over(A)))


def test_a_name_is_quoted_in_what_to_do_next(hosts: Hosts) -> None:
    name = "tank/my data"
    hosts["alpha"].run(["zfs", "create", name])
    good(hosts.run("alpha", pairs.initialising(Request(name, "beta", name))))
    hosts["beta"].run(["zfs", "set", "readonly=off", name])
    hosts["beta"].run(["zfs", "mount", name])
    hosts["beta"].write(name, "x", b"x")
    assert f"zrep sync -f '{name}'" in hosts.run("alpha", SYNC_ALL).text


def test_what_to_do_next_is_for_the_pairs_of_the_tag(hosts: Hosts) -> None:
    said = RefusedError("x", advice="zrep clear tank/a, then zrep init; see zrep(8)").tagged("off").line()
    assert "next: zrep -t off clear tank/a, then zrep -t off init; see zrep(8)" in said


def test_one_record_that_cannot_be_kept_keeps_no_other_from_it(tmp_path: Path) -> None:
    host = LocalHost(name="x", directory=str(tmp_path))
    host.ask(Remember({"t" * 300: {"reached": 1}, "zrep tank/a": {"reached": 1}}))
    assert host.ask(Recall(("zrep tank/a",)))


def test_waiting_for_many_that_are_busy_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zrep.host.locks.time", time)
    names = tuple(f"tank/{number}" for number in range(20))
    one, two = LocalHost(name="x", directory=str(tmp_path)), LocalHost(name="x", directory=str(tmp_path))
    one.ask(Lock(names, 0))
    started = time.monotonic()
    assert two.ask(Lock(names, 0.5)) == list(names)
    assert time.monotonic() - started < 5  # for each of them it was half a second


def answering(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """Whoever has the replica says that it has this resume token."""
    asked = ModelHost.ask

    def ask(self: ModelHost, request: Asked[Answer]) -> Answer:
        answer = asked(self, request)
        if self.name != "beta" or not isinstance(answer, Found) or B not in answer.members:
            return answer
        member = answer.members[B]
        given = {**member.properties, "receive_resume_token": Value(token, "-")}
        return cast(Answer, replace(answer, members={**answer.members, B: replace(member, properties=given)}))

    monkeypatch.setattr(ModelHost, "ask", ask)


class TestToken:
    """A replica's host writes its resume token as it likes, and ZFS sends what has the guid in it, whatever that is."""

    @pytest.mark.parametrize("named", ["tank/a@x", "tank/secret@x"])
    @pytest.mark.parametrize("lines", [True, False])
    def test_a_master_sends_nothing_else_by_one(
        self, hosts: Hosts, monkeypatch: pytest.MonkeyPatch, named: str, lines: bool
    ) -> None:
        pairs.linked(hosts)
        hosts["alpha"].sh("zfs create tank/secret")
        hosts["alpha"].write("tank/secret", "key", b"secret")
        hosts["alpha"].sh("zfs snapshot tank/secret@1")
        hosts["alpha"].write(A, "new", b"new")
        hosts["alpha"].sh(f"zfs snapshot {A}@zrep_000002")
        secret, base, sent = (
            int(value(hosts, "alpha", name, "guid"))
            for name in ("tank/secret@1", f"{A}@zrep_000001", f"{A}@zrep_000002")
        )
        hosts["alpha"].sh(f"zfs set zrep:made=yes {A}@zrep_000002")
        shown = f"\n\ttoguid = {sent:#x}\n\tfromguid = {base:#x}" if lines else ""
        answering(monkeypatch, tokens.token(object=1, offset=0, bytes=0, toguid=secret, toname=named + shown))
        hosts.run("alpha", SYNC_ALL)
        sends = [command.argv for command in hosts.wire.log if "send" in command.argv and "-t" in command.argv]
        assert [argv for argv in sends if "-nvP" not in argv] == []

    @pytest.mark.parametrize("raw", [True, False])
    def test_a_token_sends_nothing_in_the_clear_that_goes_raw(
        self, hosts: Hosts, monkeypatch: pytest.MonkeyPatch, raw: bool
    ) -> None:
        """The half of a raw stream, and a token of the same that says nothing of raw."""
        hosts["alpha"].sh(f"zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///key {A}")
        good(hosts.run("alpha", pairs.INIT))
        hosts["alpha"].write(A, "new", b"new")
        hosts["alpha"].sh(f"zfs snapshot {A}@zrep_000002")
        hosts["alpha"].sh(f"zfs set zrep:made=yes {A}@zrep_000002")
        base, sent = (int(value(hosts, "alpha", f"{A}@zrep_00000{n}", "guid")) for n in (1, 2))
        flags = {"rawok": True} if raw else {}
        at = {"object": 1, "offset": 0, "bytes": 0}
        forged = tokens.token(fromguid=base, **at, toguid=sent, toname=f"{A}@zrep_000002", **flags)
        answering(monkeypatch, forged)
        hosts.run("alpha", SYNC_ALL)
        sends = [command.argv for command in hosts.wire.log if "send" in command.argv and "-nvP" not in command.argv]
        assert any("-t" in argv for argv in sends) is raw, sends

    @pytest.mark.parametrize("raw", [True, False])
    def test_an_init_names_no_command_that_sends_in_the_clear_what_goes_raw(
        self, hosts: Hosts, monkeypatch: pytest.MonkeyPatch, raw: bool
    ) -> None:
        """What is half received is judged by its token, and goes on with that: another one could be said later."""
        hosts["alpha"].sh(f"zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///key {A}")
        hosts["alpha"].sh(f"zfs snapshot {A}@theirs")
        hosts["beta"].sh(f"zfs create {B}")
        flags = {"rawok": True} if raw else {}
        guid = int(value(hosts, "alpha", f"{A}@theirs", "guid"))
        half = tokens.token(object=1, offset=0, bytes=0, toguid=guid, toname=f"{A}@theirs", **flags)
        answering(monkeypatch, half)
        ended = hosts.run("alpha", pairs.INIT)
        assert ended.code == 3
        assert (f"zfs send -t {half} | ssh beta zfs receive -s -u {B}" in ended.text) is raw, ended.text
        assert "receive_resume_token" not in ended.text


def test_what_a_peer_grants_that_no_shell_would_take_is_refused(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs.linked(hosts)
    hosts["alpha"].write(A, "new", b"new")
    asked = ModelHost.ask

    def ask(self: ModelHost, request: Asked[Answer]) -> Answer:
        answer = asked(self, request)
        return cast(Answer, {B: ("/run/x'; id", "1.0")}) if isinstance(request, Grant) else answer

    monkeypatch.setattr(ModelHost, "ask", ask)
    ended = hosts.run("alpha", SYNC_ALL)
    assert (ended.code, "cannot be passed through every shell" in ended.text) == (3, True), ended.text
