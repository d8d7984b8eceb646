"""What is set on a master follows to its replica; what was set on the replica by hand is kept, and shown."""

from __future__ import annotations

import pytest

from tests.ops import pairs, trees
from tests.ops.hosts import Hosts, Mode, Work
from tests.ops.pairs import SYNC_ALL, A, B, good
from tests.ops.test_counts import cost
from zrep.cli import words
from zrep.core.errors import UsageError
from zrep.ops.changeconfig import Config
from zrep.ops.init_way import Request
from zrep.ops.status import status
from zrep.zfs.commands import Completed

SHOWN = "name,property,value,source"


def own(hosts: Hosts, host: str, name: str = "", *properties: str) -> dict[str, str]:
    """What is set there itself of these properties."""
    names = ",".join(properties or ("compression", "quota", "atime"))
    words = f"zfs get -H -p -s local,received -o property,value {names} {name or (A if host == 'alpha' else B)}"
    return dict(line.split("\t") for line in hosts[host].sh(words).decode().splitlines())


def detail(hosts: Hosts, host: str = "alpha") -> str:
    with hosts.session(host) as run:
        return status(run, [])[0].detail


@pytest.fixture
def linked(hosts: Hosts) -> Hosts:
    pairs.linked(hosts)
    good(hosts.run("alpha", SYNC_ALL))
    return hosts


def test_what_is_set_and_unset_on_the_master_follows_though_nothing_was_written(linked: Hosts) -> None:
    linked["alpha"].sh(f"zfs set compression=lz4 quota=1g {A}")
    good(linked.run("alpha", SYNC_ALL))
    assert own(linked, "beta") == own(linked, "alpha") == {"compression": "lz4", "quota": "1073741824"}
    linked["alpha"].sh(f"zfs set compression=zstd {A}")
    linked["alpha"].sh(f"zfs set quota=none {A}")
    good(linked.run("alpha", SYNC_ALL))
    assert own(linked, "beta") == own(linked, "alpha") == {"compression": "zstd", "quota": "0"}
    linked["alpha"].sh(f"zfs set quota=3g {A}")
    good(linked.run("alpha", SYNC_ALL))
    assert own(linked, "beta") == own(linked, "alpha")
    assert detail(linked) == ""


def test_nothing_is_changed_where_nothing_has(linked: Hosts) -> None:
    before = cost(linked, SYNC_ALL)
    linked["alpha"].sh(f"zfs set compression=lz4 {A}")
    good(linked.run("alpha", SYNC_ALL))
    assert cost(linked, SYNC_ALL) == before


@pytest.mark.parametrize("master", ["lz4", None])
def test_what_was_set_on_the_replica_by_hand_is_kept_and_shown(linked: Hosts, master: str | None) -> None:
    linked["beta"].sh(f"zfs set compression=zstd {B}")
    if master:
        linked["alpha"].sh(f"zfs set compression={master} {A}")
    good(linked.run("alpha", SYNC_ALL))
    assert own(linked, "beta") == {"compression": "zstd"}
    assert "compression=zstd" in detail(linked)
    assert (master or "none") in detail(linked)
    assert "set here by hand" in detail(linked, "beta")
    linked["beta"].sh(f"zfs inherit compression {B}")
    good(linked.run("alpha", SYNC_ALL))
    assert own(linked, "beta") == own(linked, "alpha")
    assert detail(linked) == ""


def test_a_limit_that_a_hand_has_taken_away_is_kept(linked: Hosts) -> None:
    linked["alpha"].sh(f"zfs set quota=1g {A}")
    good(linked.run("alpha", SYNC_ALL))
    linked["beta"].sh(f"zfs set quota=none {B}")
    good(linked.run("alpha", SYNC_ALL))
    assert own(linked, "beta") == {"quota": "0"}
    assert "quota=none (the master has 1.0G)" in detail(linked)


def test_what_a_hand_made_of_what_had_followed_is_kept(linked: Hosts) -> None:
    linked["alpha"].sh(f"zfs set compression=lz4 {A}")
    good(linked.run("alpha", SYNC_ALL))
    linked["beta"].sh(f"zfs set compression=zstd {B}")
    linked["alpha"].sh(f"zfs set compression=gzip {A}")
    good(linked.run("alpha", SYNC_ALL))
    assert own(linked, "beta") == {"compression": "zstd"}


def test_what_never_follows(linked: Hosts) -> None:
    names = ("mountpoint", "canmount", "readonly", "sharenfs", "com.example:x")
    before = own(linked, "beta", B, *names)
    linked["alpha"].sh(f"zfs set mountpoint=/elsewhere {A}")
    linked["alpha"].sh(f"zfs set canmount=noauto sharenfs=on com.example:x=1 {A}")
    good(linked.run("alpha", SYNC_ALL))
    assert own(linked, "beta", B, *names) == before


def test_what_came_with_the_first_stream_follows(hosts: Hosts) -> None:
    hosts["alpha"].sh(f"zfs create -o compression=lz4 -o atime=off {A}")
    good(hosts.run("alpha", pairs.INIT))
    hosts["alpha"].sh(f"zfs set compression=zstd {A}")
    hosts["alpha"].sh(f"zfs inherit atime {A}")
    good(hosts.run("alpha", SYNC_ALL))
    assert own(hosts, "beta") == own(hosts, "alpha") == {"compression": "zstd"}


def test_after_the_role_has_moved_the_old_master_follows_the_new_one(linked: Hosts) -> None:
    linked["alpha"].sh(f"zfs set compression=lz4 quota=1g {A}")
    good(linked.run("alpha", SYNC_ALL))
    good(linked.run("alpha", pairs.failing_over(A)))
    good(linked.run("beta", SYNC_ALL))
    linked["beta"].sh(f"zfs set compression=zstd quota=2g {B}")
    good(linked.run("beta", SYNC_ALL))
    assert own(linked, "alpha") == own(linked, "beta") == {"compression": "zstd", "quota": "2147483648"}


def test_one_that_cannot_be_set_there_is_told_of_and_stops_nothing_else(linked: Hosts) -> None:
    linked["alpha"].sh(f"zfs set quota=2g atime=off {A}")
    linked["alpha"].write(A, "two", b"2")
    start = linked.world.dump()
    linked.wire.reset()
    good(linked.run("alpha", SYNC_ALL))
    [at] = [n for n, command in enumerate(linked.wire.log) if "quota=2147483648" in command.argv]
    linked.load(start)
    linked.wire.reset(Mode.FAIL, at)
    ended = linked.run("alpha", SYNC_ALL)
    assert f"quota=2147483648 could not follow to beta:{B}" in ended.text
    assert f"zfs set quota=2147483648 {B}" in ended.text
    assert linked["beta"].read(B) == linked["alpha"].read(A)
    assert own(linked, "beta") == {"atime": "off"}
    linked.wire.reset()
    good(linked.run("alpha", SYNC_ALL))
    assert own(linked, "beta") == own(linked, "alpha") == {"quota": "2147483648", "atime": "off"}


def test_what_a_user_may_not_set_there_names_what_lets_him(linked: Hosts) -> None:
    """zrep allow gives the least that data takes."""
    pairs.run_as_operator(linked, "beta")
    linked["alpha"].sh(f"zfs set quota=2g compression=lz4 {A}")
    ended = linked.run("alpha", SYNC_ALL)
    told = [line for line in ended.text.splitlines() if "could not follow" in line]
    for name in ("quota", "compression"):
        [line] = [line for line in told if name in line]
        assert line.endswith(f"; next: as root on beta: zfs allow -u operator {name} {B}"), line
        linked["beta"].sh(line.partition("as root on beta: ")[2])
    good(linked.run("alpha", SYNC_ALL))
    linked["alpha"].sh(f"zfs inherit compression {A}")
    linked["beta"].sh(f"zfs unallow -u operator compression {B}")
    assert f"zfs inherit compression could not follow to beta:{B}" in (text := linked.run("alpha", SYNC_ALL).text)
    assert f"; next: as root on beta: zfs allow -u operator compression {B}" in text


@pytest.mark.parametrize("mode", [Mode.KILL_BEFORE, Mode.KILL_AFTER, Mode.FAIL, Mode.LOST, Mode.POWER_THERE])
def test_a_run_that_is_cut_anywhere_leaves_what_the_next_one_goes_on_with(linked: Hosts, mode: Mode) -> None:
    linked["alpha"].sh(f"zfs set compression=lz4 quota=1g atime=off {A}")
    good(linked.run("alpha", SYNC_ALL))
    linked["alpha"].sh(f"zfs set compression=zstd quota=2g {A}")
    linked["alpha"].sh(f"zfs inherit atime {A}")
    start = linked.world.dump()
    linked.wire.reset()
    good(linked.run("alpha", SYNC_ALL))
    for at in range(len(linked.wire.log)):
        linked.load(start)
        linked.wire.reset(mode, at)
        linked.run("alpha", SYNC_ALL)
        linked.wire.heal()
        good(linked.run("alpha", SYNC_ALL))
        assert own(linked, "beta") == own(linked, "alpha"), at
        assert detail(linked) == ""


def test_each_member_of_a_tree_follows_its_own(hosts: Hosts) -> None:
    hosts["alpha"].sh(f"zfs create {A}")
    hosts["alpha"].sh(f"zfs create {A}/x")
    good(hosts.run("alpha", trees.INIT))
    hosts["alpha"].sh(f"zfs set compression=lz4 {A}/x")
    hosts["beta"].sh(f"zfs set atime=off {B}/x")
    good(hosts.run("alpha", SYNC_ALL))
    assert own(hosts, "beta", f"{B}/x") == {"compression": "lz4", "atime": "off"}
    assert own(hosts, "beta") == {}
    assert f"{A}/x: set on" in detail(hosts)


@pytest.mark.parametrize("where", [B, "tank"])
def test_a_stream_that_finds_no_room_is_told_of_with_the_quota_that_may_be_why(
    linked: Hosts, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    linked["beta"].sh(f"zfs set quota=1g {where}")
    linked["alpha"].write(A, "two", b"2")

    def full(host: str, argv: tuple[str, ...], stream: bytes) -> Completed:
        return Completed(argv, 1, "", "cannot receive incremental stream: out of space\n")

    monkeypatch.setattr(linked.wire, "_receive", full)
    said = linked.run("alpha", SYNC_ALL).text
    assert f"out of space; on beta: quota=1.0G on {where}" in said
    assert f"on beta: zfs set quota=SIZE {where}, a larger one" in said
    linked["beta"].sh(f"zfs set quota=none {where}")
    assert "quota" not in linked.run("alpha", SYNC_ALL).text.partition("make room")[0]


@pytest.mark.parametrize("recursive", [False, True])
def test_init_chooses_for_the_replica(hosts: Hosts, recursive: bool) -> None:
    hosts["alpha"].sh(f"zfs create -o compression=lz4 -o atime=off -o quota=1g {A}")
    hosts["alpha"].sh(f"zfs create -o compression=gzip -o quota=2g {A}/x")
    chosen = words.properties(["compression=zstd"], ["atime", "quota"])
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B, recursive=recursive, props=chosen))))
    hosts["alpha"].sh(f"zfs set compression=gzip-9 {A}")
    hosts["alpha"].sh(f"zfs set quota=3g recordsize=16k {A}")
    good(hosts.run("alpha", SYNC_ALL))
    assert own(hosts, "beta", B, "compression", "atime", "recordsize") == {"compression": "zstd", "recordsize": "16384"}
    assert hosts["beta"].sh(f"zfs get -H -p -o value quota {B}") == b"0\n"
    assert detail(hosts).partition("; below")[0] == ""
    if recursive:
        shown = hosts["beta"].sh(f"zfs get -H -p -o value compression,quota {B}/x")
        assert shown == b"zstd\n0\n"


@pytest.mark.parametrize(
    ("given", "excluded"),
    [(["mountpoint=/x"], []), ([], ["readonly"]), (["compression"], []), ([], ["quota=1"]), (["atime=on"], ["atime"]),
     (["compression=x; y"], [])],
)  # fmt: skip
def test_what_init_cannot_choose_is_refused(given: list[str], excluded: list[str]) -> None:
    with pytest.raises(UsageError):
        words.properties(given, excluded)


def choosing(props: str) -> Work:
    return pairs.changing(A, Config(props=props))


@pytest.mark.parametrize("recursive", [False, True])
def test_what_does_not_follow_can_be_chosen_later_and_given_up(hosts: Hosts, recursive: bool) -> None:
    hosts["alpha"].sh(f"zfs create {A}")
    hosts["alpha"].sh(f"zfs set compression=lz4 atime=off quota=1G {A}")
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B, recursive=recursive))))
    good(hosts.run("alpha", choosing("compression=zstd,atime,quota")))
    hosts["alpha"].sh(f"zfs set compression=gzip quota=2G {A}")
    good(hosts.run("alpha", SYNC_ALL))
    shown = hosts["beta"].sh(f"zfs get -H -o value compression,atime,quota {B}").decode().split()
    assert shown == ["zstd", "on", "0"] or shown == ["zstd", "on", "none"]
    good(hosts.run("alpha", choosing("none")))
    good(hosts.run("alpha", SYNC_ALL))
    assert own(hosts, "beta") == own(hosts, "alpha")
    before = hosts.world.view()
    good(hosts.run("alpha", SYNC_ALL))
    assert hosts.world.view() == before


def test_what_is_set_on_the_replica_by_hand_stays_when_it_is_chosen(hosts: Hosts) -> None:
    hosts["alpha"].sh(f"zfs create {A}")
    good(hosts.run("alpha", pairs.initialising(Request(A, "beta", B))))
    hosts["beta"].sh(f"zfs set recordsize=16K {B}")
    good(hosts.run("alpha", choosing("recordsize")))
    assert pairs.value(hosts, "beta", B, "recordsize") in ("16384", "16K")
