"""What rejoin gives back to the clone that takes the place of a diverged dataset."""

from __future__ import annotations

import re

import pytest

from tests.model.state import Setting
from tests.ops import pairs
from tests.ops.hosts import Hosts, Mode, name_of
from tests.ops.pairs import SYNC_ALL, A, B, good, value
from tests.ops.plugin import thorough
from zrep.ops.init_way import Request

CLONE = f"{A}_rejoin_1"


def cut(line: str) -> str:
    """A line without the generation in the name of a clone."""
    return re.sub(rf"({CLONE})_\w+", r"\1", line)


def test_what_was_delegated_is_delegated_again(hosts: Hosts) -> None:
    """A clone has no delegations: a user who replicates without being root would be out."""
    pairs.diverged(hosts)
    hosts["alpha"].sh(f"zfs allow -u zrep hold,release,receive {A}")
    hosts["alpha"].sh(f"zfs allow -l -g wheel mount {A}")
    hosts["alpha"].sh("zfs allow -u other send tank")
    before = hosts["alpha"].sh(f"zfs allow {A}")
    foreseen = hosts.run("alpha", pairs.rejoining(A), dry_run=True)
    assert f"alpha: zfs allow -u zrep hold,receive,release {CLONE}" in [cut(line) for line in foreseen.lines]
    good(hosts.run("alpha", pairs.rejoining(A)))
    assert hosts["alpha"].sh(f"zfs allow {A}") == before


@pytest.mark.parametrize("mode", thorough(Mode.FAIL, Mode.KILL_AFTER, Mode.PART), ids=name_of)
def test_a_rejoin_that_was_cut_late_is_not_carried_on_over_a_newer_role(hosts: Hosts, mode: Mode) -> None:
    """The dataset has its role and only the copy's record is left; then its new master dies and it is promoted."""
    pairs.diverged(hosts)
    before = hosts.world.dump()
    hosts.wire.reset()
    good(hosts.run("alpha", pairs.rejoining(A)))
    last = len(hosts.wire.log)
    promoted = 0
    for at in range(last):
        hosts.load(before)
        hosts.wire.reset(mode, at)
        hosts.run("alpha", pairs.rejoining(A))
        hosts.wire.reset()
        hosts.wire.cut = True
        ended = hosts.run("alpha", pairs.forcing(A))
        if ended.code != 0 or value(hosts, "alpha", A, "zrep:epoch") != "3":
            continue  # it was a master still, or nothing as long as the copy and the clone change places
        promoted += 1
        role = [value(hosts, "alpha", A, f"zrep:{name}") for name in ("master", "gen", "epoch")]
        hosts["alpha"].write(A, "after", b"the disaster")
        for cut in (True, False):
            hosts.wire.cut = cut
            hosts.run("alpha", pairs.rejoining(A))
            assert [value(hosts, "alpha", A, f"zrep:{name}") for name in ("master", "gen", "epoch")] == role, at
        assert hosts["alpha"].read(A)["after"] == b"the disaster"
        good(hosts.run("beta", pairs.rejoining(B)))
        good(hosts.run("alpha", SYNC_ALL))
    assert promoted > 3


def test_what_is_advised_of_the_root_of_a_pool_goes_past_holds(hosts: Hosts) -> None:
    """A final snapshot that is still held would stop the rollback. Found by the simulation (seed 26)."""
    hosts["alpha"].add_pool("small")
    good(hosts.run("alpha", pairs.initialising(Request("small", "beta", "tank/s"))))
    hosts["alpha"].write("small", "tail", b"mine")
    hosts["alpha"].sh("zfs snapshot small@zrep_000002")
    hosts["alpha"].sh("zfs hold zrep small@zrep_000002")
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing("tank/s")))
    hosts.wire.cut = False
    refused = hosts.run("alpha", pairs.rejoining("small"))
    typed = refused.text.partition("then: ")[2].partition(", then zrep rejoin small")[0].split("; ")
    assert typed == ["zfs release zrep small@zrep_000002", "zfs rollback -r small@zrep_000001"]
    for command in typed:
        hosts["alpha"].sh(command)
    good(hosts.run("alpha", pairs.rejoining("small")))


def test_init_says_what_the_root_of_a_pool_cannot(hosts: Hosts) -> None:
    hosts["alpha"].add_pool("small")
    good(hosts.run("alpha", pairs.initialising(Request("small", "beta", "tank/s"))))
    assert any("small: it is the root of a pool, which cannot be renamed" in line for line in hosts.said)


def test_the_root_of_a_pool_is_not_given_up_half_way(hosts: Hosts) -> None:
    """It cannot be renamed: refused before its role goes, and what is advised leads on."""
    hosts["alpha"].add_pool("small")
    hosts["alpha"].write("small", "one", b"1")
    good(hosts.run("alpha", pairs.initialising(Request("small", "beta", "tank/s"))))
    hosts["alpha"].write("small", "tail", b"mine")
    hosts.wire.cut = True
    good(hosts.run("beta", pairs.forcing("tank/s")))
    hosts.wire.cut = False
    hosts["alpha"].sh("zfs umount small")
    for dry_run in (True, False):
        refused = hosts.run("alpha", pairs.rejoining("small"), dry_run=dry_run)
        assert refused.code == 3
        assert "zfs rollback -r small@zrep_000001, then zrep rejoin small" in refused.text
    assert value(hosts, "alpha", "small", "zrep:master") == "yes"
    assert hosts["alpha"].read("small")["tail"] == b"mine"
    hosts["alpha"].sh("zfs rollback -r small@zrep_000001")
    good(hosts.run("alpha", pairs.rejoining("small")))
    good(hosts.run("beta", SYNC_ALL))


LOOKS = ("get", "list", "holds", "allow")
LIMITS = ("quota", "refquota", "reservation")
SET = {
    "quota": "0",
    "refquota": "0",
    "reservation": "4096",
    "recordsize": "16384",
    "exec": "off",
    "mountpoint": "/srv/a\tb",
    "org.freenas:description": "a\tb\nc",
    "org:bytes": "\udcff\udcc3x",
    "org:empty": "",
    "org:quoted": "'\"$(x)`!= ",
    **{f"org:long{number}": f"{number}" * 8000 for number in range(3)},
}


def set_all(hosts: Hosts) -> None:
    """Everything of SET, and two that were received: as the first stream with properties leaves them."""
    for key, text in SET.items():
        text = "none" if key in ("quota", "refquota") else text
        assert hosts["alpha"].run(["zfs", "set", f"{key}={text}", A]).rc == 0, key
    with hosts.world.transaction() as state:
        dataset = state.hosts["alpha"].datasets[A]
        for key, text in (("setuid", "off"), ("org:received", "r\tr")):
            dataset.props[key] = Setting(received=text)


def settings(hosts: Hosts, name: str) -> dict[str, str]:
    """What is set on a dataset of alpha, but for zrep's own and what makes it a replica."""
    found = {}
    for key in [*SET, "setuid", "org:received"]:
        printed = hosts["alpha"].run(["zfs", "get", "-Hp", "-s", "local,received", "-o", "value", key, name]).out
        found[key] = printed.decode("utf-8", "surrogateescape").removesuffix("\n")
    return found


def test_whatever_is_set_is_set_again(hosts: Hosts) -> None:
    """Values of any bytes and any length, and what was received too; it is said beforehand that it will be its own."""
    pairs.diverged(hosts)
    set_all(hosts)
    good(hosts.run("alpha", pairs.rejoining(A)))
    assert settings(hosts, A) == {**SET, "setuid": "off", "org:received": "r\tr"}
    assert "these properties were received, and will be its own, as if set by hand: setuid, org:received" in "\n".join(
        hosts.said
    )
    assert not [name for name in hosts["alpha"].names() if "_rejoin_" in name]
    good(hosts.run("beta", SYNC_ALL))


@pytest.mark.parametrize("mode", [Mode.KILL_AFTER, *thorough(Mode.PART)], ids=name_of)
def test_it_is_all_there_wherever_a_rejoin_was_cut(hosts: Hosts, mode: Mode) -> None:
    """But for a limit for which there was no room: that is told."""
    pairs.diverged(hosts)
    set_all(hosts)
    before = hosts.world.dump()
    hosts.wire.reset()
    good(hosts.run("alpha", pairs.rejoining(A)))
    first = next(at for at, command in enumerate(hosts.wire.log) if command.argv[1] == "clone")
    changing = [at for at, command in enumerate(hosts.wire.log) if at >= first and command.argv[1] not in LOOKS]
    for at in changing:
        hosts.load(before)
        hosts.wire.reset(mode, at)
        hosts.said.clear()
        hosts.run("alpha", pairs.rejoining(A))
        hosts.wire.reset()
        good(hosts.run("alpha", pairs.rejoining(A)))
        told = [key for key in LIMITS if f"once there is room: zfs set {key}=" in "\n".join(hosts.said)]
        expected = {**SET, "setuid": "off", "org:received": "r\tr", **dict.fromkeys(told, "")}
        assert settings(hosts, A) == expected, at
        assert not [name for name in hosts["alpha"].names() if "_rejoin_" in name], at


def test_what_cannot_be_set_again_is_known_before_the_role_is_given_up(hosts: Hosts) -> None:
    pairs.diverged(hosts)
    hosts["alpha"].sh(f"zfs set compression=zle {A}")
    hosts["alpha"].fail("zfs set compression=zle", err="cannot set property: 'compression' must be one of 'on | off'\n")
    before = hosts["alpha"].names()
    refused = hosts.run("alpha", pairs.rejoining(A))
    assert (refused.code, "cannot be given its compression" in refused.text) == (3, True), refused.text
    assert f"zfs inherit compression {A}" in refused.text
    assert value(hosts, "alpha", A, "zrep:master") == "yes"
    assert hosts["alpha"].names() == before
    assert value(hosts, "alpha", A, "mounted") == "yes"
    hosts["alpha"].sh(f"zfs inherit compression {A}")
    good(hosts.run("alpha", pairs.rejoining(A)))


def test_a_reservation_for_which_there_is_no_room_stops_nothing(hosts: Hosts) -> None:
    pairs.diverged(hosts)
    hosts["alpha"].sh(f"zfs set reservation=1M {A}")
    hosts["alpha"].fail(
        "zfs set reservation=1048576", err="cannot set property: size is greater than available space\n"
    )
    good(hosts.run("alpha", pairs.rejoining(A)))
    assert f"zfs set reservation=1048576 {A}" in "\n".join(hosts.said)
    good(hosts.run("beta", SYNC_ALL))


@pytest.mark.parametrize("name", ["_split_1_", "_rejoin_1_"])
def test_a_name_that_is_taken_is_known_before_the_role_is_given_up(hosts: Hosts, name: str) -> None:
    pairs.diverged(hosts)
    generation = value(hosts, "alpha", A, "zrep:gen")[:8]
    hosts["alpha"].sh(f"zfs create {A}{name}{generation}")
    refused = hosts.run("alpha", pairs.rejoining(A))
    assert (refused.code, f"zfs rename {A}{name}{generation}" in refused.text) == (3, True), refused.text
    assert value(hosts, "alpha", A, "zrep:master") == "yes"


RECORD = (
    '{{"op":"rejoin","id":"0123456789abcdef","phase":"split","epoch":1,'
    '"detail":{{"fs":"tank/c","copy":"tank/d","host":"beta","peer":"tank/c"{}}}}}'
)


@pytest.mark.parametrize("more", ["", ',"written":"x"', ',"written":"7"'], ids=["in part", "odd", "whole"])
@pytest.mark.parametrize("dataset", ["tank/d", "tank/c"])
def test_a_record_that_somebody_made_is_no_rejoin_of_another(hosts: Hosts, dataset: str, more: str) -> None:
    """A user to whom a dataset beside it was delegated says that it is the copy of its rejoin."""
    for name in ("tank/c", "tank/d"):
        hosts["alpha"].sh(f"zfs create {name}")
        good(hosts.run("alpha", pairs.initialising(Request(name, "beta", name))))
    hosts["alpha"].run(["zfs", "set", f"zrep:inprogress={RECORD.format(more)}", dataset])
    before = hosts.world.view()
    ended = hosts.run("alpha", pairs.rejoining("tank/c"))
    assert ended.code == (0 if dataset == "tank/d" else 3), ended.text
    assert hosts.world.view() == before


def test_a_split_copy_is_replicated_once_it_is_none_any_more(hosts: Hosts) -> None:
    """With its mark no sync would look at it again, and status would call that well."""
    pairs.diverged(hosts)
    good(hosts.run("alpha", pairs.rejoining(A)))
    [copy] = [name for name in hosts["alpha"].sh("zfs list -H -o name").decode().split() if "_split_" in name]
    init = pairs.initialising(Request(copy, "beta", "tank/kept"))
    ended = hosts.run("alpha", init)
    assert (ended.code, f"next: zrep clear {copy}" in ended.text) == (3, True), ended.text
    good(hosts.run("alpha", pairs.clearing(copy)))
    good(hosts.run("alpha", init))
    good(hosts.run("alpha", pairs.syncing(copy)))


def test_a_clone_that_is_only_marked_as_one_of_a_rejoin_stays(hosts: Hosts) -> None:
    """Whoever may set properties of somebody's clone says there that a rejoin has made it."""
    pairs.diverged(hosts)
    hosts["alpha"].sh(f"zfs snapshot {A}@mine")
    hosts["alpha"].sh(f"zfs clone {A}@mine tank/clone")
    hosts["alpha"].run(["zfs", "set", f"zrep:split=made for the rejoin of {A}, or so it says", "tank/clone"])
    good(hosts.run("alpha", pairs.rejoining(A)))
    assert "tank/clone" in hosts["alpha"].sh("zfs list -H -o name").decode().split()
